package quantize

import (
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// TestIntegersKeepCodesWhereABiasNeedsALargerScale gives a layer whose input has all but faded codes of their own: its scales are
// raised until its biases fit, and its integers pass the check; integers of other signs or of another layer do not.
func TestIntegersKeepCodesWhereABiasNeedsALargerScale(t *testing.T) {
	b := tflitetest.New()
	kernel := []float32{0.5, -0.25, 0.125, 0, 0.5, -0.5, 0.25, 0.25}
	b.Output(b.Dense("dense", b.Input("x", 1, 4), kernel, []float32{0.7, 0}, 2, tflitetest.None))
	m := b.Model()
	plan, err := PlanOf(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := plan.Layers[0]
	params := make([]Params, len(plan.Groups))
	for i := range params {
		params[i] = Params{Scale: 1e-9}
	}
	codes := []int8{64, -32, 16, 0, 127, -127, 64, 64}
	given := Weights{Codes: codes, Scale: []float32{1. / 128, 1. / 254}}
	weights, notes, err := plan.Integers(m, params, map[int]Weights{l.Weight: given})
	if err != nil {
		t.Fatal(err)
	}
	if w := weights[l.Weight]; !(w.Scale[0] > 0.3) || w.Scale[1] != given.Scale[1] || string(asBytes(w.Codes)) != string(asBytes(codes)) || len(notes) != 1 {
		t.Fatalf("scales %v, codes %v, notes %q", w.Scale, w.Codes, notes)
	}
	if err := plan.CheckIntegers(m, params, weights); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(w *Weights){
		"another sign beside the bias":        func(w *Weights) { w.Codes[0] = -64 },
		"another weight where none is raised": func(w *Weights) { w.Codes[5] = -125 },
	} {
		w := Weights{Codes: append([]int8(nil), codes...), Scale: weights[l.Weight].Scale}
		change(&w)
		if err := plan.CheckIntegers(m, params, map[int]Weights{l.Weight: w}); err == nil || !strings.Contains(err.Error(), `layer "dense`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func asBytes(codes []int8) []byte {
	out := make([]byte, len(codes))
	for i, c := range codes {
		out[i] = byte(c)
	}
	return out
}
