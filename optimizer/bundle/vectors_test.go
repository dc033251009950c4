package bundle

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// value is a tensor of a network that is made up; without a scale it is not quantized.
type value struct {
	name  string
	typ   schema.TensorType
	scale float32
	zero  int64
	shape []int32
}

// step is an operator without options.
type step struct {
	op      schema.BuiltinOperator
	in, out []int32
}

func network(inputs, outputs []int32, values []value, steps ...step) *tflite.Model {
	m := &tflite.Model{ModelT: &schema.ModelT{Version: 3, Buffers: []*schema.BufferT{{}}, Subgraphs: []*schema.SubGraphT{{Inputs: inputs, Outputs: outputs}}}}
	g := m.Subgraph()
	for _, v := range values {
		t := &schema.TensorT{Name: v.name, Type: v.typ, Shape: v.shape}
		if v.scale != 0 {
			t.Quantization = &schema.QuantizationParametersT{Scale: []float32{v.scale}, ZeroPoint: []int64{v.zero}}
		}
		g.Tensors = append(g.Tensors, t)
	}
	for i, s := range steps {
		m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: s.op, DeprecatedBuiltinCode: int8(min(s.op, 127)), Version: 1})
		g.Operators = append(g.Operators, &schema.OperatorT{OpcodeIndex: uint32(i), Inputs: s.in, Outputs: s.out})
	}
	return m
}

const (
	float32s = schema.TensorTypeFLOAT32
	int8s    = schema.TensorTypeINT8
	quantize = schema.BuiltinOperatorQUANTIZE
)

func TestTheFirstOperatorThatComputesInFloatIsNamed(t *testing.T) {
	float, code := value{"f", float32s, 0, 0, []int32{1, 4}}, value{"q", int8s, 0.5, 3, []int32{1, 4}}
	values := []value{float, float, code, {"y", float32s, 0, 0, []int32{1, 4}}}
	const relu, reshape, shape = schema.BuiltinOperatorRELU, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSHAPE
	for name, tt := range map[string]struct {
		steps []step
		want  string
	}{
		"none":                      {nil, ""},
		"float to float":            {[]step{{reshape, []int32{0}, []int32{1}}, {relu, []int32{1}, []int32{3}}}, "operator 1 RELU (y)"},
		"what moves values":         {[]step{{reshape, []int32{0}, []int32{1}}}, ""},
		"what reads a shape":        {[]step{{shape, []int32{0}, []int32{1}}}, ""},
		"into codes and out again":  {[]step{{quantize, []int32{0}, []int32{2}}, {schema.BuiltinOperatorDEQUANTIZE, []int32{2}, []int32{1}}}, ""},
		"codes":                     {[]step{{relu, []int32{2}, []int32{2}}}, ""},
		"without inputs":            {[]step{{relu, nil, []int32{1}}, {relu, []int32{0}, []int32{3}}}, "operator 1 RELU (y)"},
		"without outputs":           {[]step{{relu, []int32{0}, nil}}, ""},
		"without the first input":   {[]step{{relu, []int32{-1, 0}, []int32{1}}}, ""},
		"one that we know not":      {[]step{{schema.BuiltinOperatorLSH_PROJECTION, []int32{0}, []int32{3}}}, "operator 0 LSH_PROJECTION (y)"},
		"from the file's 1st input": {[]step{{relu, []int32{0}, []int32{1}}}, "operator 0 RELU (f)"},
	} {
		if got := computesInFloat(network([]int32{0}, []int32{1}, values, tt.steps...)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestEndsHaveTheirScale(t *testing.T) {
	m := network([]int32{0, 1}, nil, []value{{"x", float32s, 0, 0, []int32{1, 3, 5}}, {"q", int8s, 0.25, -7, []int32{2, 4}}})
	want := []End{{Name: "x", Type: "FLOAT32", Shape: []int32{1, 3, 5}}, {Name: "q", Type: "INT8", Shape: []int32{2, 4}, Scale: 0.25, Zero: -7}}
	if diff := cmp.Diff(want, ends(m, m.Subgraph().Inputs)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFiguresOfTheCard(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{percent(1, 8), "12.5 %"}, {percent(0, 0), "0.0 %"}, {count(1, "sample"), "1 sample"}, {count(0, "sample"), "0 samples"}, {cell("a |\n b"), `a \| b`},
		{identifier("az09_"), "az09_"}, {identifier("0a"), "model_0a"}, {identifier("a{`/:"), "a____"}, // those are the neighbours of a, z, 0 and 9
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestAFolderHoldsTheFiles(t *testing.T) {
	b := &Bundle{Files: []File{{"a/b.txt", []byte("b")}, {"c.txt", []byte("c")}}}
	folder := filepath.Join(t.TempDir(), "bundle")
	if err := b.WriteFolder(folder); err != nil {
		t.Fatal(err)
	}
	for _, f := range b.Files {
		if got, err := os.ReadFile(filepath.Join(folder, f.Path)); err != nil || !slices.Equal(got, f.Content) {
			t.Errorf("%s: %q, %v", f.Path, got, err)
		}
	}
}

func TestAFolderThatCannotBeMadeIsAnError(t *testing.T) {
	if err := (&Bundle{}).WriteFolder(filepath.Join(t.TempDir(), "none", "bundle")); err == nil {
		t.Error("a bundle is written into a folder that is not there")
	}
}

// sequence is a source of samples.
type sequence struct {
	samples [][]float32
	err     error
}

func (s sequence) Len() int { return len(s.samples) }
func (s sequence) Inputs() []dataset.Array {
	return []dataset.Array{{Name: "x", Shape: []int{len(s.samples[0])}}}
}
func (s sequence) Targets() []dataset.Target { return nil }
func (s sequence) Read(i int, x [][]float32) error {
	copy(x[0], s.samples[i])
	return s.err
}
func (s sequence) Truth(int, [][]float32) error { return nil }

func TestVectorsAreTheFirstSamples(t *testing.T) {
	shape := []int32{1, 2}
	one := network([]int32{0}, []int32{1}, []value{{"x", int8s, 0.5, 0, shape}, {"y", int8s, 1, 3, shape}}, step{quantize, []int32{0}, []int32{1}})
	batch := network([]int32{0}, []int32{1}, []value{{"x", int8s, 0.5, 0, []int32{2, 2}}, {"y", int8s, 1, 3, []int32{2, 2}}}, step{quantize, []int32{0}, []int32{1}})
	unsigned := network([]int32{0}, []int32{1}, []value{{"x", schema.TensorTypeUINT8, 0.5, 128, shape}, {"y", schema.TensorTypeUINT8, 1, 131, shape}}, step{quantize, []int32{0}, []int32{1}})
	states := network([]int32{2, 0}, []int32{1, 3}, []value{{"x", int8s, 0.5, 0, shape}, {"y", int8s, 1, 3, shape}, {"before", int8s, 0.5, 7, shape}, {"after", int8s, 0.5, 7, shape}},
		step{quantize, []int32{0}, []int32{1}}, step{quantize, []int32{2}, []int32{3}})
	if err := states.SetStates([]tflite.StatePair{{Input: "before", Output: "after"}}); err != nil {
		t.Fatal(err)
	}
	source := sequence{samples: [][]float32{{1, -2}, {4, 0}, {0, 10}}}
	x := [][]byte{{2, 0xfc}, {8, 0}, {0, 20}}
	y := [][]byte{{4, 1}, {7, 3}, {3, 13}}
	flipped := func(b []byte) []byte { return []byte{b[0] ^ 0x80, b[1] ^ 0x80} }
	for name, tt := range map[string]struct {
		model  *tflite.Model
		source dataset.Source
		n      int
		want   []Vector
	}{
		"two":                {one, source, 2, []Vector{{[][]byte{x[0]}, [][]byte{y[0]}}, {[][]byte{x[1]}, [][]byte{y[1]}}}},
		"no more than there": {one, source, 9, []Vector{{[][]byte{x[0]}, [][]byte{y[0]}}, {[][]byte{x[1]}, [][]byte{y[1]}}, {[][]byte{x[2]}, [][]byte{y[2]}}}},
		"in every place":     {batch, source, 1, []Vector{{[][]byte{slices.Concat(x[0], x[0])}, [][]byte{slices.Concat(y[0], y[0])}}}},
		"of uint8":           {unsigned, source, 1, []Vector{{[][]byte{flipped(x[0])}, [][]byte{flipped(y[0])}}}},
		"the first step":     {states, sequence{samples: [][]float32{{1, -2, 4, 0}}}, 1, []Vector{{[][]byte{{7, 7}, x[0]}, [][]byte{y[0], {7, 7}}}}},
	} {
		got, err := vectors(tt.model, tt.source, tt.n, integer.TFLM())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := vectors(one, sequence{source.samples, broken}, 1); !errors.Is(err, broken) || !strings.Contains(err.Error(), "test vector 0") {
		t.Errorf("a sample that cannot be read: %v", err)
	}
	if _, err := vectors(one, sequence{samples: [][]float32{{1, 2, 3}}}, 1); err == nil {
		t.Error("a sample of another size passes")
	}
}

func TestNoiseFillsWhatAnInputHolds(t *testing.T) {
	shape := []int32{1, 64}
	int16s := func(b []byte) (out []float64) {
		for i := 0; i < len(b); i += 2 {
			out = append(out, float64(int16(binary.LittleEndian.Uint16(b[i:]))))
		}
		return out
	}
	codes := func(b []byte) (out []float64) {
		for _, v := range b {
			out = append(out, float64(int8(v)))
		}
		return out
	}
	floats := func(b []byte) (out []float64) {
		for i := 0; i < len(b); i += 4 {
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))))
		}
		return out
	}
	q := value{"q", int8s, 0.25, 28, shape}
	f := value{"x", float32s, 0, 0, shape}
	for name, tt := range map[string]struct {
		model     *tflite.Model
		read      func([]byte) []float64
		low, high float64
	}{
		"int8":                     {network([]int32{0}, []int32{1}, []value{q, f}, step{schema.BuiltinOperatorDEQUANTIZE, []int32{0}, []int32{1}}), codes, -128, 127},
		"int16":                    {network([]int32{0}, []int32{1}, []value{{"q", schema.TensorTypeINT16, 0.5, 0, shape}, f}, step{schema.BuiltinOperatorDEQUANTIZE, []int32{0}, []int32{1}}), int16s, -32768, 32767},
		"float into int8":          {network([]int32{0}, []int32{1}, []value{f, q}, step{quantize, []int32{0}, []int32{1}}), floats, -39, 24.75},
		"float behind another one": {network([]int32{2, 0}, []int32{3, 1}, []value{f, q, {"x2", float32s, 0, 0, shape}, {"q2", int8s, 4, 0, shape}}, step{quantize, []int32{0}, []int32{1}}, step{quantize, []int32{2}, []int32{3}}), floats, -512, 508},
		"float":                    {network([]int32{0}, []int32{1}, []value{f, f}, step{schema.BuiltinOperatorRELU, []int32{0}, []int32{1}}), floats, -1, 1},
		"float into int16":         {network([]int32{0}, []int32{1}, []value{f, {"q", schema.TensorTypeINT16, 0.5, 0, shape}}, step{quantize, []int32{0}, []int32{1}}), floats, -1, 1},
	} {
		got, err := vectors(tt.model, nil, 16)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var all []float64
		for _, v := range got {
			for k, input := range v.Inputs {
				if slices.Max(input) == 0 {
					t.Errorf("%s: input %d is all zero", name, k)
				}
			}
			all = append(all, tt.read(v.Inputs[0])...)
		}
		least, most, room := slices.Min(all), slices.Max(all), (tt.high-tt.low)/50
		if least < tt.low || least > tt.low+room || most > tt.high || most < tt.high-room {
			t.Errorf("%s: from %v to %v, want %v to %v", name, least, most, tt.low, tt.high)
		}
		// Each quarter has its share.
		for k := range 4 {
			from, n := tt.low+float64(k)*(tt.high-tt.low)/4, 0
			for _, v := range all {
				if v >= from && v <= from+(tt.high-tt.low)/4 {
					n++
				}
			}
			if share := float64(n) / float64(len(all)); math.Abs(share-0.25) > 0.05 {
				t.Errorf("%s: %v of the values are in quarter %d", name, share, k)
			}
		}
	}
}
