package ir_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// controlled is a model of one WHILE or IF, whose subgraphs are the primary ones of other models.
func controlled(build func(b *builder) (op int32), parts ...func(b *builder)) *tflite.Model {
	b := tflitetest.New()
	b.Output(build(b))
	m := b.Model()
	for _, part := range parts {
		b := tflitetest.New()
		part(b)
		other := b.Model()
		sub := other.Subgraph()
		for _, t := range sub.Tensors {
			if data := other.Data(t); len(data) > 0 {
				t.Buffer = m.AddBuffer(data)
			}
		}
		for _, o := range sub.Operators {
			code := *other.OperatorCodes[o.OpcodeIndex]
			m.OperatorCodes = append(m.OperatorCodes, &code)
			o.OpcodeIndex = uint32(len(m.OperatorCodes) - 1)
		}
		m.Subgraphs = append(m.Subgraphs, sub)
	}
	return m
}

// counts is the condition of a loop: its counter, the first of its two values, is below n.
func counts(n int32) func(b *builder) {
	return func(b *builder) {
		i := b.Input("i")
		b.Input("x", 1, 3)
		less := b.Op("less", schema.BuiltinOperatorLESS, schema.BuiltinOptionsNONE, nil, []int32{}, i, b.Scalar(b.Ints("n", n)))
		asInts(b, i)
		b.SetType(less, schema.TensorTypeBOOL)
		b.Output(less)
	}
}

// doubles is the body of a loop: the counter and one more, twice the other value.
func doubles(b *builder) {
	i, x := b.Input("i"), b.Input("x", 1, 3)
	next := b.Op("next", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, []int32{}, i, b.Scalar(b.Ints("one", 1)))
	asInts(b, i, next)
	b.Output(next)
	b.Output(b.Op("y", schema.BuiltinOperatorMUL, schema.BuiltinOptionsNONE, nil, []int32{1, 3}, x, b.Const("two", []float32{2}, 1)))
}

func loopFrom(counter func(b *builder) int32) func(b *builder) int32 {
	return func(b *builder) int32 {
		x := b.Input("x", 1, 3)
		out := b.Ops("y", schema.BuiltinOperatorWHILE, schema.BuiltinOptionsWhileOptions, &schema.WhileOptionsT{CondSubgraphIndex: 1, BodySubgraphIndex: 2}, [][]int32{{}, {1, 3}}, counter(b), x)
		asInts(b, out[0])
		return out[1]
	}
}

func zero(b *builder) int32 { return b.Scalar(b.Ints("zero", 0)) }

func TestSpecializeWritesLoopsAsTheirRepetitions(t *testing.T) {
	m := controlled(loopFrom(zero), counts(3), doubles)
	notes, err := ir.Specialize(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"operator 0 WHILE written as its 3 repetitions, 3 operators, which leaves have too: " +
		"a recurrent layer is one operator where the converter fuses it, see docs/guide.md, networks that keep state"}, notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"MUL", "MUL", "MUL"}, operators(m)); diff != "" {
		t.Fatal(diff)
	}
	ops := m.Subgraph().Operators
	if ops[0].Inputs[1] != ops[2].Inputs[1] {
		t.Error("the constant of the body is there more than once")
	}
	if len(m.Subgraphs) != 1 {
		t.Errorf("%d subgraphs are left", len(m.Subgraphs))
	}
	if out := m.Subgraph().Tensors[m.Subgraph().Outputs[0]]; m.Subgraph().Outputs[0] != ops[2].Outputs[0] || out.Name != "y" {
		t.Errorf("the model gives %q", out.Name)
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}

// The converter makes one tensor of the zeros that an LSTM and a loop behind it begin with.
func TestALoopDoesNotBeginWithWhatAnLSTMLeft(t *testing.T) {
	m := controlled(func(b *builder) int32 {
		inputs := slices.Repeat([]int32{-1}, 24)
		inputs[0] = b.Input("x", 1, 2, 3)
		for slot := 1; slot <= 8; slot++ {
			inputs[slot] = b.Const("w", make([]float32, 9), 3, 3)
		}
		for slot := 12; slot <= 15; slot++ {
			inputs[slot] = b.Const("v", make([]float32, 3), 3)
		}
		for slot := 18; slot <= 19; slot++ {
			inputs[slot] = b.Const("state", nil, 1, 3)
			b.Tensor(inputs[slot]).Buffer, b.Tensor(inputs[slot]).IsVariable = 0, true
		}
		h := b.Op("h", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions,
			&schema.UnidirectionalSequenceLSTMOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeTANH}, []int32{1, 2, 3}, inputs...)
		out := b.Ops("y", schema.BuiltinOperatorWHILE, schema.BuiltinOptionsWhileOptions, &schema.WhileOptionsT{CondSubgraphIndex: 1, BodySubgraphIndex: 2}, [][]int32{{}, {1, 3}}, zero(b), inputs[18])
		asInts(b, out[0])
		return b.Op("sum", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, []int32{1, 2, 3}, h, out[1])
	}, counts(1), doubles)
	notes, err := ir.Specialize(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) == 0 || !strings.HasPrefix(notes[0], "operator 1 WHILE begins with zeros, as trained") {
		t.Errorf("notes %q", notes)
	}
	sub := m.Subgraph()
	from := sub.Tensors[sub.Operators[len(sub.Operators)-1].Inputs[1]] // twice zeros, folded
	if from.IsVariable || !bytes.Equal(m.Data(from), make([]byte, 12)) {
		t.Errorf("the loop gives %+v", from)
	}
}

func TestSpecializeWritesIfAsAChoice(t *testing.T) {
	build := func(condition func(b *builder, x int32) int32) *tflite.Model {
		branch := func(code schema.BuiltinOperator) func(b *builder) {
			return func(b *builder) { b.Output(b.Unary("y", code, b.Input("x", 1, 3))) }
		}
		return controlled(func(b *builder) int32 {
			x := b.Input("x", 1, 3)
			return b.Op("y", schema.BuiltinOperatorIF, schema.BuiltinOptionsIfOptions, &schema.IfOptionsT{ThenSubgraphIndex: 1, ElseSubgraphIndex: 2}, []int32{1, 3}, condition(b, x), x)
		}, branch(schema.BuiltinOperatorABS), branch(schema.BuiltinOperatorNEG))
	}
	for name, test := range map[string]struct {
		condition func(b *builder, x int32) int32
		want      []string
	}{
		"of the input": {func(b *builder, x int32) int32 {
			sum := b.Op("sum", schema.BuiltinOperatorSUM, schema.BuiltinOptionsNONE, nil, []int32{}, x, b.Ints("axes", 0, 1))
			positive := b.Op("p", schema.BuiltinOperatorGREATER, schema.BuiltinOptionsNONE, nil, []int32{}, sum, b.Const("limit", []float32{0}, 1))
			b.Scalar(positive)
			b.SetType(positive, schema.TensorTypeBOOL)
			return positive
		}, []string{"SUM", "GREATER", "ABS", "NEG", "SELECT_V2"}},
		"constant": {func(b *builder, _ int32) int32 { return b.Raw("no", schema.TensorTypeBOOL, []byte{0}) }, []string{"NEG"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := build(test.condition)
			if _, err := ir.Specialize(m, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, operators(m)); diff != "" {
				t.Error(diff)
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoopsThatCannotBeWrittenOutSayWhy(t *testing.T) {
	input := func(b *builder) int32 {
		i := b.Input("i")
		asInts(b, i)
		return i
	}
	for name, test := range map[string]struct {
		m    *tflite.Model
		want string
	}{
		"as often as the input says": {controlled(loopFrom(input), counts(3), doubles), "depends on the input"},
		"without end":                {controlled(loopFrom(zero), counts(1<<30), doubles), "512 repetitions"},
		"of no subgraph":             {controlled(loopFrom(zero), counts(3)), "subgraph 2 of 2"},
		"of another form": {controlled(loopFrom(zero), counts(3), func(b *builder) {
			b.Output(b.Unary("y", schema.BuiltinOperatorABS, b.Input("x", 1, 3)))
		}), "gives 2 values to subgraph 2, which takes 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ir.Specialize(test.m, nil); err == nil || !strings.Contains(err.Error(), "WHILE") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// variable is a model that adds a variable, which subgraph 1 sets to 1, 2, 3, stored as float32 or float16, to its input.
func variable(assigns, half bool) *tflite.Model {
	handle := func(b *builder) int32 {
		v := b.Op("v", schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOptionsVarHandleOptions, &schema.VarHandleOptionsT{SharedName: "v"}, []int32{})
		b.SetType(v, schema.TensorTypeRESOURCE)
		return v
	}
	assign := func(b *builder, v, value int32) {
		b.Ops("", schema.BuiltinOperatorASSIGN_VARIABLE, schema.BuiltinOptionsAssignVariableOptions, &schema.AssignVariableOptionsT{}, nil, v, value)
	}
	return controlled(func(b *builder) int32 {
		x := b.Input("x", 1, 3)
		b.Ops("", schema.BuiltinOperatorCALL_ONCE, schema.BuiltinOptionsCallOnceOptions, &schema.CallOnceOptionsT{InitSubgraphIndex: 1}, nil)
		v := handle(b)
		y := b.Add("y", x, b.Op("value", schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOptionsReadVariableOptions, &schema.ReadVariableOptionsT{}, []int32{1, 3}, v), tflitetest.None)
		if assigns {
			assign(b, v, y)
		}
		return y
	}, func(b *builder) {
		if !half {
			assign(b, handle(b), b.Const("first", []float32{1, 2, 3}, 1, 3))
			return
		}
		stored := b.Raw("half", schema.TensorTypeFLOAT16, []byte{0x00, 0x3c, 0x00, 0x40, 0x00, 0x42}, 1, 3)
		assign(b, handle(b), b.Unary("first", schema.BuiltinOperatorDEQUANTIZE, stored))
	})
}

func TestSpecializeMakesVariablesThatNothingSetsConstants(t *testing.T) {
	for _, half := range []bool{false, true} {
		m := variable(false, half)
		if _, err := ir.Specialize(m, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"ADD"}, operators(m)); diff != "" || len(m.Subgraphs) != 1 {
			t.Fatal(diff, len(m.Subgraphs))
		}
		values, err := m.Float32s(m.Subgraph().Tensors[m.Subgraph().Operators[0].Inputs[1]])
		if diff := cmp.Diff([]float32{1, 2, 3}, values); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
}

func TestSpecializeRefusesVariablesWithoutValues(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 3)
	v := b.Op("v", schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOptionsVarHandleOptions, &schema.VarHandleOptionsT{SharedName: "dense/kernel"}, []int32{})
	b.SetType(v, schema.TensorTypeRESOURCE)
	b.Output(b.Add("y", x, b.Op("value", schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOptionsReadVariableOptions, &schema.ReadVariableOptionsT{}, []int32{1, 3}, v), tflitetest.None))
	_, err := ir.Specialize(b.Model(), nil)
	for _, want := range []string{"operator 0 VAR_HANDLE", `"dense/kernel"`, "left the weights out", "from_keras_model"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestSpecializeLeavesState(t *testing.T) {
	m := variable(true, false)
	if _, err := ir.Specialize(m, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ADD", "ASSIGN_VARIABLE"}, operators(m)); diff != "" {
		t.Error(diff)
	}
	if at := ir.KeepsState(m); !strings.Contains(at, "ASSIGN_VARIABLE") {
		t.Errorf("%q keeps state", at)
	}
}
