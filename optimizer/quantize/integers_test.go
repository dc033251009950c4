package quantize

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
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

// dense plans one layer of two channels of two weights.
func dense(t *testing.T, options Options, kernel, bias []float32) (*tflite.Model, *Plan) {
	t.Helper()
	b := tflitetest.New()
	b.Output(b.Dense("dense", b.Input("x", 1, 2), kernel, bias, 2, tflitetest.None))
	m := b.Model()
	plan, err := PlanOf(m, options)
	if err != nil {
		t.Fatal(err)
	}
	return m, plan
}

// unit gives every group of a plan the scale 1.
func unit(p *Plan) []Params {
	params := make([]Params, len(p.Groups))
	for g := range params {
		params[g] = Params{Scale: 1, Wide: p.Groups[g].Wide}
	}
	return params
}

// A weight may lie half a step from what its integer means, and with 4 bits further where the largest code clips it.
func TestIntegersStandForTheWeights(t *testing.T) {
	for name, tc := range map[string]struct {
		bits    Bits
		weights []float32
		codes   []int8
		bad     bool
	}{
		"exact":                     {Eight, []float32{1, -2, 3, 127}, []int8{1, -2, 3, 127}, false},
		"half a step":               {Eight, []float32{1.5, -2.5, 3, 0}, []int8{1, -2, 3, 0}, false},
		"half a step the other way": {Eight, []float32{1.5, -2.5, 3, 0}, []int8{2, -3, 3, 0}, false},
		"more than half a step":     {Eight, []float32{1.6, -2, 3, 0}, []int8{1, -2, 3, 0}, true},
		"8 bits do not clip":        {Eight, []float32{130, -2, 3, 0}, []int8{127, -2, 3, 0}, true},
		"4 bits clip above":         {Four, []float32{9, 7, 0, 0}, []int8{7, 7, 0, 0}, false},
		"4 bits clip below":         {Four, []float32{-9, -7, 0, 0}, []int8{-7, -7, 0, 0}, false},
		"at the code of others":     {Four, []float32{-9, 0, 0, 0}, []int8{-8, 0, 0, 0}, false},
		"the largest, but inside":   {Four, []float32{5, 0, 0, 0}, []int8{7, 0, 0, 0}, true},
		"the least, but inside":     {Four, []float32{-5, 0, 0, 0}, []int8{-7, 0, 0, 0}, true},
		"not the largest code":      {Four, []float32{9, 0, 0, 0}, []int8{6, 0, 0, 0}, true},
		"not the least code":        {Four, []float32{-9, 0, 0, 0}, []int8{-6, 0, 0, 0}, true},
		"on the other side":         {Four, []float32{-9, 0, 0, 0}, []int8{7, 0, 0, 0}, true},
		"NaN":                       {Eight, []float32{float32(math.NaN()), 0, 0, 0}, []int8{0, 0, 0, 0}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, plan := dense(t, Options{Bits: tc.bits}, tc.weights, nil)
			w := Weights{Codes: tc.codes, Scale: []float32{1, 1}, Int4: tc.bits == Four}
			err := plan.CheckIntegers(m, unit(plan), map[int]Weights{plan.Layers[0].Weight: w})
			if (err != nil) != tc.bad {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Integers that a stage gives are those of the plan's layers: as many, within the codes there are, of the planned width.
func TestGivenIntegersThatDoNotFitAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		given Weights
		want  string
	}{
		"too few":          {Weights{Codes: make([]int8, 3), Scale: []float32{1}}, `layer "dense/kernel": 3 codes for 4 weights`},
		"of another width": {Weights{Codes: make([]int8, 4), Scale: []float32{1}, Int4: true}, `layer "dense/kernel": its integers are of another width than planned`},
	} {
		m, plan := dense(t, Options{}, []float32{1, 2, 3, 4}, nil)
		if _, _, err := plan.Integers(m, unit(plan), map[int]Weights{plan.Layers[0].Weight: tc.given}); err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	m, plan := dense(t, Options{}, []float32{1, float32(math.NaN()), 3, 4}, nil)
	if _, _, err := plan.Integers(m, unit(plan), nil); err == nil || !strings.Contains(err.Error(), "dense/kernel") {
		t.Errorf("a weight that is no number: %v", err)
	}
}

// Scales of int8 layers grow until 32 bits hold the bias; the biases of int16 layers have 64.
func TestOnlyBiasesOf32BitsRaiseScales(t *testing.T) {
	for name, tc := range map[string]struct {
		width  Width
		raised bool
	}{"int8": {Narrow, true}, "int16": {Wide, false}} {
		m, plan := dense(t, Options{Width: tc.width}, []float32{1, 1, 1e-9, 1e-9}, []float32{0, 1e3})
		weights, _, err := plan.Integers(m, unit(plan), nil)
		if err != nil {
			t.Fatal(err)
		}
		if scale := weights[plan.Layers[0].Weight].Scale[1]; scale > 1e-8 != tc.raised {
			t.Errorf("%s: scale %v", name, scale)
		}
	}
}

// Two layers that share weights need scales that hold both biases.
func TestSharedWeightsHoldTheBiasesOfAll(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	w := b.Const("w", []float32{1e-9, 1e-9, 1e-9, 1e-9}, 2, 2)
	layer := func(name string, x int32, bias ...float32) int32 {
		return b.Op(name, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 2}, x, w, b.Const(name+"/bias", bias, 2))
	}
	b.Output(layer("second", layer("first", x, 1e3, 1), 1, 1e6))
	m := b.Model()
	plan, err := PlanOf(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	weights, notes, err := plan.Integers(m, unit(plan), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(weights) != 1 || len(notes) != 0 {
		t.Errorf("%d weights, notes %q", len(weights), notes)
	}
	for c, bias := range []float64{1e3, 1e6} {
		if scale := float64(weights[int(w)].Scale[c]); bias/scale > maxBias || bias/scale < maxBias/1.02 {
			t.Errorf("channel %d: the largest bias has code %v of %d", c, bias/scale, maxBias)
		}
	}
}

// Codes that an earlier stage chose come back as they were, those of layers that it did not cluster do not.
func TestStoredCodesAreThoseOfClusteredLayers(t *testing.T) {
	kernel := []float32{0.5, -1, 0.25, 0.5}
	m, plan := dense(t, Options{}, kernel, nil)
	at := plan.Layers[0].Weight
	clustered := weight.State{Shape: []int{2, 2}, Scope: weight.Shared, Clusters: 3, Scale: []float32{0.5, 0.25}, CodeSets: [][]int8{{-2, 1, 2}}}
	for name, tc := range map[string]struct {
		state weight.State
		want  map[int]Weights
	}{
		"clustered": {clustered, map[int]Weights{at: {Codes: []int8{1, -2, 1, 2}, Scale: []float32{0.5, 0.25}}}},
		"pruned":    {weight.State{Shape: []int{2, 2}, Mask: []uint8{1, 1, 1, 1}}, map[int]Weights{}},
	} {
		if err := weight.WriteState(m, map[int]weight.State{at: tc.state}); err != nil {
			t.Fatal(err)
		}
		got, err := plan.Stored(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if err := weight.WriteState(m, map[int]weight.State{at: clustered}); err != nil {
		t.Fatal(err)
	}
	m.SetData(m.Subgraph().Tensors[at], tflite.Float32Bytes([]float32{0.3, -1, 0.25, 0.5}))
	if _, err := plan.Stored(m); err == nil || !strings.Contains(err.Error(), `"dense/kernel"`) {
		t.Errorf("values off the codes: %v", err)
	}
}

// The simulation computes with the values of the integers, and wants those of every layer.
func TestSimulationComputesWithTheIntegers(t *testing.T) {
	m, plan := dense(t, Options{}, []float32{1, 0, 0, 1}, nil)
	params := make([]Params, len(plan.Groups))
	for g := range params {
		params[g] = Params{Scale: 0.5}
	}
	w := Weights{Codes: []int8{2, 0, 0, -1}, Scale: []float32{1}}
	net, err := plan.Simulate(m, params, map[int]Weights{plan.Layers[0].Weight: w}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := net.NewExec(false)
	copy(e.Input(0), []float32{1.2, 3})
	e.Forward()
	if diff := cmp.Diff([]float32{2, -3}, e.Output(0)); diff != "" { // 1.2 rounds to 1
		t.Error(diff)
	}
	if _, err := plan.Simulate(m, params, nil, 1); err == nil || err.Error() != `layer "dense/kernel" has no integers` {
		t.Errorf("without integers: %v", err)
	}
}
