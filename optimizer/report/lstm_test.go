package report

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// The gates of an LSTM, which are tensors of their own in a leaf, are one layer of the model together; what comes behind them stays its own.
func TestGatesAreOneLayer(t *testing.T) {
	layer := func(name, op string, rows int, codes ...int64) Layer {
		l := Layer{Name: name, Op: op, Shape: []int{rows, len(codes) / rows}, Weights: len(codes), Density: CodeDensity(codes, codeSpan)}
		l.Zeros, l.Codes = l.Density.Zeros, l.Density.codes()
		return l
	}
	const lstm, dense = "UNIDIRECTIONAL_SEQUENCE_LSTM", "FULLY_CONNECTED"
	model := []Layer{
		layer("lstm/kernel", dense, 4, 1, 2, 3, 4, 5, 6, 7, 8), layer("lstm/recurrent", dense, 4, 1, 2, 3, 4), layer("dense_cell", dense, 1, 1, 2, 3),
	}
	leaf := []Layer{
		layer("lstm/kernel_input", lstm, 1, 0, 0), layer("lstm/kernel_forget", lstm, 1, 0, 5), layer("lstm/kernel_cell", lstm, 1, 5, 6), layer("lstm/kernel_output", lstm, 1, 6, 0),
		layer("lstm/recurrent_input", lstm, 1, 0), layer("lstm/recurrent_forget", lstm, 1, 1), layer("lstm/recurrent_cell", lstm, 1, 2), layer("lstm/recurrent_output", lstm, 1, 3),
		layer("dense_cell", dense, 1, 7, 8, 9),
	}
	untouched := slices.Clone(leaf[0].Density.Counts)
	d := &Data{Stages: []Stage{{Layers: model}, {Name: "pqat", Final: true, Leaf: &Leaf{Layers: leaf}}}}
	rows, _ := d.densities()
	for i, want := range []string{"50.0 % zeros, 3 codes", "25.0 % zeros, 4 codes", "3 codes"} {
		if panels := rows[i].Panels; len(panels) != 2 || panels[1].Note != want {
			t.Errorf("%s: %+v, want %q", rows[i].Name, panels, want)
		}
	}
	if now, ok := become(model, 0, leaf); !ok || now.Weights != 8 || now.Density.total() != 8 || !slices.Equal(now.Shape, []int{4, 2}) {
		t.Errorf("%t: %+v", ok, now)
	}
	if !slices.Equal(leaf[0].Density.Counts, untouched) || leaf[0].Shape[0] != 1 {
		t.Error("the leaf's own layers have changed")
	}
	if now, ok := become([]Layer{{Name: "dense_cell"}, {Name: "dense_cell"}}, 0, leaf); ok {
		t.Errorf("of two layers of one name the first became %+v", now)
	}
	if now, ok := become(model[:2], 1, leaf[8:]); ok {
		t.Errorf("a layer that is gone became %+v", now)
	}
	d.Search, d.Verdict.Stage = &Search{Prices: []Priced{{Layer: "lstm/kernel", Price: "2"}, {Layer: "dense_cell", Price: "1"}}}, "pqat"
	if priced := d.priced(); len(priced) != 5 || priced[0].Price != "2" || priced[4].Price != "1" {
		t.Errorf("%+v", priced)
	}
}

// The weights of a gate are held against their part of the float model's.
func TestGatesHaveTheNoiseOfTheirPart(t *testing.T) {
	const lstm = "UNIDIRECTIONAL_SEQUENCE_LSTM"
	values := make([]float32, 8)
	for i := range values {
		values[i] = float32(i + 1)
	}
	b := tflitetest.New()
	b.Output(b.Dense("dense", b.Input("x", 1, 2), values, nil, 4, tflitetest.None))
	m := b.Model()
	kernels := weight.Kernels(m)
	name := kernels[0].Name
	for i, c := range []struct {
		layer Layer
		want  []float64
	}{
		{Layer{Name: name + "_forget", Op: lstm}, []float64{3, 4}},
		{Layer{Name: name + "_output", Op: lstm}, []float64{7, 8}},
		{Layer{Name: name, Op: "FULLY_CONNECTED"}, []float64{1, 2, 3, 4, 5, 6, 7, 8}},
		{Layer{Name: "another", Op: "FULLY_CONNECTED"}, nil},
	} {
		got, err := c.layer.reference(m, kernels, i, 4)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", c.layer.Name, err, diff)
		}
	}
	if got, err := (&Layer{Name: name + "_input", Op: lstm}).reference(m, append(kernels, kernels[0]), 0, 4); got != nil || err != nil {
		t.Errorf("of two kernels of one name one is taken: %v, %v", got, err)
	}
}
