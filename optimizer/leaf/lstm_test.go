package leaf

import (
	"context"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// sequences is a network of two LSTMs, the second of which reads the first, as their steps.
func sequences(t *testing.T, clip float32) *tflite.Model {
	t.Helper()
	b := tflitetest.New()
	second := b.LSTM("second", b.LSTM("first", b.Input("x", 1, 12, 6), 10, clip, false, 1), 7, 0, false, 7)
	b.Output(b.Dense("dense", b.Flatten("flat", second), tflitetest.Weights(3, 12*7*4), nil, 4, tflitetest.None))
	m := b.Model()
	if _, err := ir.Specialize(m, nil); err != nil {
		t.Fatal(err)
	}
	return m
}

// An LSTM is one operator in a leaf, which computes what the network's steps do: checked at each step, and as a whole.
func TestAnLSTMIsOneOperator(t *testing.T) {
	for name, clip := range map[string]float32{"plain": 0, "clipped": 0.4} {
		t.Run(name, func(t *testing.T) {
			m := sequences(t, clip)
			made, err := quantized(context.Background(), m, ptqOptions{Options: quantize.Options{Fuse: true}}, noise, 40)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range made.Model.Subgraph().Operators {
				code, _ := made.Model.Op(o)
				if lstm := code == schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM; lstm != (i < 2) || i > 3 {
					t.Errorf("operator %d of the leaf is %s", i, code)
				}
			}
			keep(t, "lstm_"+name, made.Model)
			for _, at := range made.Model.Subgraph().Operators[0].Intermediates {
				if shape := made.Model.Subgraph().Tensors[at].Shape; len(shape) != 1 || shape[0] != 0 {
					t.Errorf("a tensor of inside has shape %v: TFLM takes those of no elements only", shape)
				}
			}
			simulation, err := made.Plan.Simulate(m, made.Params, made.Weights, 1)
			if err != nil {
				t.Fatal(err)
			}
			checks := Checks{Feed: noise, Samples: 40, Simulation: simulation, Place: made.Tensor}
			v, err := Verify(context.Background(), made.Model, checks)
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Operators) < 3 || v.Operators[0].Values != 40*12*10 || v.Operators[1].Off > 0 || v.Noise > 1 {
				t.Errorf("%+v", v)
			}
			other := made.Model.Clone()
			hidden := other.Subgraph().Tensors[other.Subgraph().Operators[0].Intermediates[4]]
			hidden.Quantization.Scale[0] *= 1.1
			if _, err := Verify(context.Background(), other, checks); err == nil || !strings.Contains(err.Error(), `layer "first" (UNIDIRECTIONAL_SEQUENCE_LSTM)`) {
				t.Errorf("a leaf whose outputs are another's: %v", err)
			}
		})
	}
}

// Zeros and codes of the weights of all gates are those of each gate's tensor.
func TestTheGatesOfAnLSTMKeepItsPromises(t *testing.T) {
	m := sequences(t, 0)
	plan, err := quantize.PlanOf(m, quantize.Options{Fuse: true})
	if err != nil {
		t.Fatal(err)
	}
	states := map[int]weight.State{}
	for _, k := range weight.Kernels(m) {
		state := weight.State{Shape: k.Shape, Axis: k.Axis}
		values, err := m.Float32s(m.Subgraph().Tensors[k.Tensor])
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			if i%3 == 0 || i < len(values)/4 {
				values[i] = 0
			}
			state.Mask = append(state.Mask, map[bool]uint8{true: 1}[values[i] != 0])
		}
		m.SetData(m.Subgraph().Tensors[k.Tensor], tflite.Float32Bytes(values))
		states[k.Tensor] = state
	}
	made, err := Emit(m, plan, plan.Params(make([]quantize.Range, len(plan.Groups))), nil)
	if err != nil {
		t.Fatal(err)
	}
	promises := made.Promises(states)
	if len(promises) != 17 { // eight each, and the dense layer
		t.Errorf("%d tensors are held to something", len(promises))
	}
	if _, err := Verify(context.Background(), made.Model, Checks{Promises: promises}); err != nil {
		t.Error(err)
	}
	for _, o := range made.Model.Subgraph().Operators[:2] {
		for gate := range len(ir.LSTMGates) {
			tensor := made.Model.Subgraph().Tensors[o.Inputs[ir.LSTMRecurrent+gate]]
			zeros := 0
			codes, err := made.Model.Int8s(tensor)
			if err != nil {
				t.Fatal(err)
			}
			for _, code := range codes {
				if code == 0 {
					zeros++
				}
			}
			if (zeros == len(codes)) != (gate == 0) {
				t.Errorf("%s: %d of %d are zeros", tensor.Name, zeros, len(codes))
			}
			codes[len(codes)-1], codes[len(codes)-2], codes[len(codes)-3] = 1, 1, 1
			changed := made.Model.Clone()
			changed.SetData(changed.Subgraph().Tensors[o.Inputs[ir.LSTMRecurrent+gate]], tflite.Int8Bytes(codes))
			if _, err := Verify(context.Background(), changed, Checks{Promises: promises}); err == nil || !strings.Contains(err.Error(), tensor.Name) {
				t.Errorf("%s: a zero that is gone: %v", tensor.Name, err)
			}
		}
	}
}
