package target

import (
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// chain is a model of RELUs that follow each other, over tensors of so many bytes.
func chain(bytes ...int32) *tflite.Model {
	var tensors []*schema.TensorT
	for _, n := range bytes {
		tensors = append(tensors, tensor(schema.TensorTypeINT8, 0, 1, n))
	}
	m := oneOperator(schema.BuiltinOperatorRELU, nil, tensors[0], tensors[1])
	g := m.Subgraphs[0]
	g.Tensors, g.Operators, g.Outputs = tensors, nil, []int32{int32(len(tensors) - 1)}
	for i := range int32(len(tensors) - 1) {
		g.Operators = append(g.Operators, &schema.OperatorT{Inputs: []int32{i}, Outputs: []int32{i + 1}})
	}
	return m
}

// Of an operator it is said what is in the arena while it runs: what it reads, what it writes, what others read later.
func TestWhatIsAliveWhileAnOperatorRuns(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	later := chain(32, 48, 16)
	later.Subgraphs[0].Outputs = []int32{2, 0} // the input stays to the end
	constant := chain(32, 48, 16)
	constant.Subgraphs[0].Tensors[0].Buffer, constant.Subgraphs[0].Inputs = 1, nil
	for name, c := range map[string]struct {
		model   *tflite.Model
		alive   []int
		planned int
	}{
		"one after the other":       {chain(32, 48, 16), []int{80, 64}, 80},
		"three":                     {chain(16, 16, 64, 32), []int{32, 80, 96}, 96},
		"sizes are rounded up":      {chain(17, 1), []int{48}, 48},
		"an input that is returned": {later, []int{80, 96}, 96},
		"a constant":                {constant, []int{48, 64}, 64},
	} {
		got, err := MemoryOf(c.model, d)
		if err != nil {
			t.Fatal(err)
		}
		var alive []int
		for _, o := range got.Operators {
			alive = append(alive, o.Alive)
		}
		if !slices.Equal(alive, c.alive) || got.Planned != c.planned {
			t.Errorf("%s: alive %v, planned %d; want %v and %d", name, alive, got.Planned, c.alive, c.planned)
		}
	}
}

// A file that calls subgraphs that are not there, or calls itself, is laid out as far as it goes.
func TestCallsThatDoNotEndAreLaidOut(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"one behind the last": &schema.IfOptionsT{ThenSubgraphIndex: 1, ElseSubgraphIndex: 7}, "one before the first": &schema.IfOptionsT{ThenSubgraphIndex: -1, ElseSubgraphIndex: 1},
		"itself": &schema.CallOnceOptionsT{InitSubgraphIndex: 0}, "itself twice": &schema.WhileOptionsT{},
	} {
		m := chain(32, 48)
		m.Subgraphs[0].Operators[0].BuiltinOptions = &schema.BuiltinOptionsT{Value: value}
		if got, err := MemoryOf(m, d); err != nil || got.Planned != 80 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestOffsetsThatAreNoneAreRefused(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	words := func(v ...int32) []byte { return tflite.Int32Bytes(v) }
	for name, c := range map[string]struct {
		data []byte
		want string // "": they are taken
	}{
		"all":              {words(1, 0, 2, 0, 32), ""},
		"left to planning": {words(1, 0, 2, -1, -1), ""},
		"none":             {words(1, 0, 0), "does not hold an offset for each of 2 tensors: remove it"},
		"cut off":          {words(1, 0, 2, 0, 32)[:19], "does not hold an offset for each of 2 tensors"},
		"no header":        {words(1, 0), "does not hold an offset for each of 2 tensors"},
		"of more":          {words(1, 0, 3, 0, 32, 64), "does not hold an offset for each of 2 tensors"},
		"before all":       {words(1, 0, 2, -2, 0), "places tensor 0 at -2"},
		"beyond all":       {words(1, 0, 2, 0, 1<<30), "places tensor 1 at 1073741824"},
	} {
		m := chain(32, 48)
		m.SetMetadata(offlinePlan, c.data)
		if _, err := MemoryOf(m, d); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestDevicesAreFoundByRuntime(t *testing.T) {
	for _, c := range []struct {
		runtime      Runtime
		device, want string // an error where it has a space
	}{
		{"", "", "litert"}, {LiteRT, "", "litert"}, {TFLM, "", "tflm"}, {TFLM, "Cortex-M4", "cortex-m4"}, {"", "cortex-a", "cortex-a"},
		{"", "cortex-m4", "cortex-m4 runs TFLM in the catalogue, not LiteRT: name that runtime, or another device"},
		{TFLM, "cortex-m5", `no target is named "cortex-m5": did you mean cortex-m4, cortex-m55,`},
		{TFLM, "avr", `no target is named "avr": use one of cortex-a, `},
	} {
		found, err := Find(c.runtime, c.device)
		if strings.Contains(c.want, " ") {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q with %s: %v, want %q", c.device, c.runtime, err, c.want)
			}
		} else if err != nil || found.Name != c.want {
			t.Errorf("%q with %s: %v, %v, want %s", c.device, c.runtime, found, err, c.want)
		}
	}
}

// A kernel that nothing is recorded of is counted with more than any that is, and that is said.
func TestUnknownKernelsAreGuessedAloud(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	m := chain(32, 48, 16)
	m.OperatorCodes[0].BuiltinCode = schema.BuiltinOperatorTILE
	got, err := MemoryOf(m, d)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"what the kernel of TILE keeps is not recorded: counted with 176 bytes"}; !slices.Equal(got.Notes, want) {
		t.Errorf("%q, want %q", got.Notes, want)
	}
	if known, err := MemoryOf(chain(32, 48, 16), d); err != nil || known.Structures >= got.Structures {
		t.Errorf("structures take %d bytes, of a kernel that is known %d (%v)", got.Structures, known.Structures, err)
	}
}
