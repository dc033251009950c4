package ir_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// steps are the operators of a layer of 4 steps of 3 numbers with 5 cells.
func steps(t *testing.T, clip float32, byTime bool) *tflite.Model {
	t.Helper()
	b := tflitetest.New()
	shape := []int32{1, 4, 3}
	if byTime {
		shape = []int32{4, 1, 3}
	}
	b.Output(b.Unary("out", schema.BuiltinOperatorRELU, b.LSTM("lstm", b.Input("x", shape...), 5, clip, byTime, 1)))
	m := b.Model()
	if _, err := ir.Specialize(m, nil); err != nil {
		t.Fatal(err)
	}
	return m
}

// What Specialize writes as steps is found with the weights of all gates, and of each step its cell and its output.
func TestAnLSTMIsFoundInItsSteps(t *testing.T) {
	for _, c := range []struct {
		clip   float32
		byTime bool
	}{{0, false}, {1.5, false}, {0, true}} {
		g, err := ir.Parse(steps(t, c.clip, c.byTime), 0)
		if err != nil {
			t.Fatal(err)
		}
		found := ir.FindLSTMs(g)
		if len(found) != 1 {
			t.Fatalf("%+v: %d found", c, len(found))
		}
		l := found[0]
		if diff := cmp.Diff([]any{c.clip, c.byTime, 1, 3, 5, 4, 4, len(g.Nodes) - 1}, []any{l.CellClip, l.TimeMajor, l.Batch, l.Inputs, l.Units, len(l.Cells), len(l.Hidden), len(l.Nodes)}); diff != "" {
			t.Errorf("%+v: %s", c, diff)
		}
		if !slices.Equal(g.Tensors[l.Kernel].Float32s(), gatesOf(1, 5*3)) || !slices.Equal(g.Tensors[l.Recurrent].Float32s(), gatesOf(11, 5*5)) || !slices.Equal(g.Tensors[l.Bias].Float32s(), gatesOf(21, 5)) {
			t.Errorf("%+v: the weights are others", c)
		}
		if l.X != g.Inputs[0] || l.Output != g.Nodes[len(g.Nodes)-1].Inputs[0] || l.Nodes[len(l.Nodes)-1] != g.Tensors[l.Output].Producer {
			t.Errorf("%+v: from %d to %d", c, l.X, l.Output)
		}
	}
}

// gatesOf are the weights of the four gates, one after the other.
func gatesOf(seed uint64, n int32) (values []float32) {
	for gate := range uint64(4) {
		values = append(values, tflitetest.Weights(seed+gate, n)...)
	}
	return values
}

// No layer is found where something else reads what is inside, or where a step is another.
func TestOtherStepsAreNoLSTM(t *testing.T) {
	first := func(m *tflite.Model, code schema.BuiltinOperator) *schema.OperatorT {
		for _, o := range m.Subgraph().Operators {
			if found, _ := m.Op(o); found == code {
				return o
			}
		}
		t.Fatal(code)
		return nil
	}
	last := func(m *tflite.Model, code schema.BuiltinOperator) *schema.OperatorT {
		slices.Reverse(m.Subgraph().Operators)
		o := first(m, code)
		slices.Reverse(m.Subgraph().Operators)
		return o
	}
	for name, change := range map[string]func(m *tflite.Model){
		"a cell is an output": func(m *tflite.Model) {
			m.Subgraph().Outputs = append(m.Subgraph().Outputs, last(m, schema.BuiltinOperatorTANH).Inputs[0])
		},
		"a gate is read elsewhere": func(m *tflite.Model) {
			last(m, schema.BuiltinOperatorRELU).Inputs[0] = first(m, schema.BuiltinOperatorLOGISTIC).Outputs[0]
		},
		"gates change places": func(m *tflite.Model) { slices.Reverse(last(m, schema.BuiltinOperatorSPLIT).Outputs) },
		"another state": func(m *tflite.Model) {
			last(m, schema.BuiltinOperatorFULLY_CONNECTED).Inputs[0] = first(m, schema.BuiltinOperatorPACK).Inputs[0]
		},
		"steps in another order":   func(m *tflite.Model) { slices.Reverse(first(m, schema.BuiltinOperatorPACK).Inputs) },
		"a step missing":           func(m *tflite.Model) { o := first(m, schema.BuiltinOperatorPACK); o.Inputs[3] = o.Inputs[2] },
		"another recurrent matrix": func(m *tflite.Model) { other(m, last(m, schema.BuiltinOperatorFULLY_CONNECTED), 1) },
		"a recurrent bias": func(m *tflite.Model) {
			o := last(m, schema.BuiltinOperatorFULLY_CONNECTED)
			o.Inputs = append(o.Inputs[:2:2], first(m, schema.BuiltinOperatorFULLY_CONNECTED).Inputs[2])
		},
		"a bound of one step": func(m *tflite.Model) {
			last(m, schema.BuiltinOperatorMAXIMUM).Inputs[1] = last(m, schema.BuiltinOperatorMINIMUM).Inputs[1]
		},
		"an activation between them": func(m *tflite.Model) {
			last(m, schema.BuiltinOperatorADD).BuiltinOptions.Value = &schema.AddOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeRELU}
		},
	} {
		m := steps(t, 1.5, false)
		change(m)
		g, err := ir.Parse(m, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		if found := ir.FindLSTMs(g); len(found) != 0 {
			t.Errorf("%s: %d found", name, len(found))
		}
	}
}

// other gives an operator a copy of an input.
func other(m *tflite.Model, o *schema.OperatorT, slot int) {
	copied := *m.Subgraph().Tensors[o.Inputs[slot]]
	m.Subgraph().Tensors = append(m.Subgraph().Tensors, &copied)
	o.Inputs = slices.Clone(o.Inputs)
	o.Inputs[slot] = int32(len(m.Subgraph().Tensors) - 1)
}

// Why leaves have the steps of a layer that no int8 kernel computes is said when it is read.
func TestStepsThatLeavesHaveTooAreNoted(t *testing.T) {
	for want, change := range map[string]func(m *tflite.Model, o *schema.OperatorT){
		"": func(*tflite.Model, *schema.OperatorT) {},
		"has all gates": func(_ *tflite.Model, o *schema.OperatorT) {
			o.Inputs[ir.LSTMWeights], o.Inputs[ir.LSTMRecurrent], o.Inputs[ir.LSTMBiases] = -1, -1, -1
		},
		"has no peephole connections": func(_ *tflite.Model, o *schema.OperatorT) { o.Inputs[10] = o.Inputs[13] },
		"has no projection":           func(_ *tflite.Model, o *schema.OperatorT) { o.Inputs[16] = o.Inputs[5] },
		"activates by TANH": func(_ *tflite.Model, o *schema.OperatorT) {
			o.BuiltinOptions.Value.(*schema.UnidirectionalSequenceLSTMOptionsT).FusedActivationFunction = schema.ActivationFunctionTypeRELU
		},
	} {
		b := tflitetest.New()
		b.Output(b.LSTM("lstm", b.Input("x", 1, 4, 3), 5, 0, false, 1))
		m := b.Model()
		change(m, m.Subgraph().Operators[0])
		notes, err := ir.Specialize(m, nil)
		if err != nil || len(notes) != 1 || strings.Contains(notes[0], "leaves have the steps too: ") != (want != "") || !strings.Contains(notes[0], want) {
			t.Errorf("%q: %q, %v", want, notes, err)
		}
	}
}
