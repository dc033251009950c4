package quantize_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// lstm is a network of one layer of 3 steps of 2 numbers with 4 cells, as its steps, and a dense layer.
func lstm(t *testing.T) *tflite.Model {
	t.Helper()
	b := tflitetest.New()
	b.Output(b.Dense("dense", b.Flatten("flat", b.LSTM("lstm", b.Input("x", 1, 3, 2), 4, 0, false, 1)), tflitetest.Weights(3, 24), nil, 2, tflitetest.None))
	m := b.Model()
	if _, err := ir.Specialize(m, nil); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnLSTMIsPlannedAsOneOperator(t *testing.T) {
	m := lstm(t)
	plan, err := quantize.PlanOf(m, quantize.Options{Fuse: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.LSTMs) != 1 || len(plan.Stepwise) != 0 {
		t.Fatalf("%d layers, %v", len(plan.LSTMs), plan.Stepwise)
	}
	l := plan.LSTMs[0]
	if l.Input != plan.Tensor[plan.Graph.Inputs[0]] || l.Cell == quantize.None {
		t.Errorf("it reads group %d, the cells are group %d", l.Input, l.Cell)
	}
	for _, h := range l.Hidden {
		if plan.Tensor[h] != plan.Tensor[l.Output] {
			t.Errorf("output %d of a step has another quantization than what is given", h)
		}
	}
	for _, layer := range plan.Layers {
		want := plan.Graph.Tensors[layer.Weight].Shape[0]
		if plan.Nodes[layer.Node].LSTM != nil {
			want = 4
		}
		if layer.Scales != want {
			t.Errorf("%s: %d scales, want %d", layer.Name, layer.Scales, want)
		}
	}
	ranges := make([]quantize.Range, len(plan.Groups))
	for g := range ranges {
		ranges[g] = quantize.Range{Min: -3, Max: 1}
	}
	params := plan.Params(ranges)
	if got, want := params[l.Cell], (quantize.Params{Scale: 1.0 / (1 << 13), Wide: true}); got != want {
		t.Errorf("cells within ±3: %+v, want %+v", got, want)
	}
	if got, want := params[plan.Tensor[l.Sums[0]]], (quantize.Params{Scale: 1.0 / (1 << 12), Wide: true}); got != want {
		t.Errorf("sums: %+v, want %+v", got, want)
	}
	without, err := quantize.PlanOf(m, quantize.Options{})
	if err != nil || len(without.LSTMs) != 0 {
		t.Errorf("one operator is made without being asked for: %v", err)
	}
}

func TestAnLSTMStaysItsStepsWhereOneOperatorCannotBe(t *testing.T) {
	m := lstm(t)
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := ir.FindLSTMs(g)[0]
	for want, options := range map[string]quantize.Options{
		`is kept float by pattern "lstm/*"`:          {KeepFloat: []string{"lstm/*"}},
		"its activations are int16":                  {Width: quantize.Wide},
		"its weights have 4 bits":                    {Rules: []quantize.WidthRule{{Layers: "*recurrent_kernel", Bits: quantize.Four}}},
		"the device has none":                        {Steps: map[int]string{found.Kernel: "the device has none"}},
		"the network was given quantized, as its st": {Known: map[int]quantize.Params{found.Cells[1]: {Scale: 0.1}}},
	} {
		options.Fuse = true
		plan, err := quantize.PlanOf(m, options)
		if err != nil {
			t.Fatal(want, err)
		}
		if len(plan.LSTMs) != 0 || len(plan.Stepwise) != 1 || !strings.Contains(plan.Stepwise[0], want) || !strings.Contains(plan.Stepwise[0], "stays its 3 steps") {
			t.Errorf("%d layers, %v, want %q", len(plan.LSTMs), plan.Stepwise, want)
		}
	}
}

func TestCellParamsArePowersOfTwo(t *testing.T) {
	for _, c := range []struct {
		r     quantize.Range
		power int
	}{
		{quantize.Range{Max: 0.1}, -15}, {quantize.Range{Min: -1, Max: 0.5}, -15}, {quantize.Range{Max: 1.01}, -14}, {quantize.Range{Min: -4.1, Max: 4}, -12},
		{quantize.Range{Max: 64}, -9}, {quantize.Range{Max: 1000}, -9},
	} {
		if got, want := c.r.CellParams(), (quantize.Params{Scale: float32(math.Ldexp(1, c.power)), Wide: true}); got != want {
			t.Errorf("%+v: %+v, want %+v", c.r, got, want)
		}
	}
}

func TestAnLSTMsIntegersHaveAScalePerGate(t *testing.T) {
	m := lstm(t)
	plan, err := quantize.PlanOf(m, quantize.Options{Fuse: true})
	if err != nil {
		t.Fatal(err)
	}
	weights, _, err := plan.Integers(m, plan.Params(slices.Repeat([]quantize.Range{{Min: -1, Max: 1}}, len(plan.Groups))), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range plan.Layers {
		w := weights[l.Weight]
		if plan.Nodes[l.Node].LSTM == nil {
			continue
		}
		if len(w.Scale) != 4 {
			t.Errorf("%s: %d scales", l.Name, len(w.Scale))
		}
		for gate := range 4 { // the largest weight of each is the largest code
			codes, _ := w.Part(gate, 4)
			if slices.Max(codes) < 126 && slices.Min(codes) > -126 {
				t.Errorf("%s: gate %d has codes from %d to %d", l.Name, gate, slices.Min(codes), slices.Max(codes))
			}
		}
	}
}
