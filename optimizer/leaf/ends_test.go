package leaf

import (
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestTheLeafsClassIsAnyOfThoseItGivesTheMost(t *testing.T) {
	scores := &end{leaf: operand{params: quantize.Params{Scale: 0.1}}}
	for name, test := range map[string]struct {
		simulated, answers []float32
		topOne, strict     float64
	}{
		"the same":                              {[]float32{0, 5, 1}, []float32{0, 0.9, 0.1}, 1, 1},
		"another":                               {[]float32{0, 5, 1}, []float32{0, 0.1, 0.9}, 0, 0},
		"another that is a tie":                 {[]float32{0, 5, 4.9}, []float32{0, 0.4, 0.6}, 1, 0},
		"one of several with the same number":   {[]float32{0, 1, 5}, []float32{0, 0.5, 0.5}, 1, 0},
		"one of several, of which none is best": {[]float32{5, 1, 2}, []float32{0, 0.5, 0.5}, 0, 0},
		"none stands out":                       {[]float32{0, 1, 5}, []float32{0, 0, 0}, 1, 0},
		"more answers than there are scores":    {[]float32{5, 1}, []float32{9, 0, 0}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := &ends{scores: scores}
			e.judge(test.simulated, test.answers)
			if topOne, strict := e.agreement(); topOne != test.topOne || strict != test.strict {
				t.Errorf("top one %v and strictly %v, want %v and %v", topOne, strict, test.topOne, test.strict)
			}
		})
	}
}

// What is said of all samples is a share of them, and what is allowed grows with what quantization itself moves.
func TestNoiseAndAgreementAreOfAllSamples(t *testing.T) {
	scores := &end{name: "scores", leaf: operand{params: quantize.Params{Scale: 0.1}}, squares: 18, moved: 8, compared: 2}
	e := &ends{scores: scores, list: []*end{
		{name: "quiet", squares: 1, compared: 1}, scores,
		{name: "loud but moved more", squares: 64, moved: 10000, compared: 1},
	}}
	for _, answers := range [][]float32{{0, 1}, {0, 1}, {1, 0}, {0, 1}} {
		e.judge([]float32{0, 5}, answers)
	}
	if topOne, strict := e.agreement(); topOne != 0.75 || strict != 0.75 {
		t.Errorf("top one %v and strictly %v, want 3 of 4", topOne, strict)
	}
	if codes, name, moved := e.noise(); codes != 3 || name != "scores" || moved != 2 {
		t.Errorf("%q is %v codes off, moved by %v; want scores, 3 and 2", name, codes, moved)
	}
	if codes, name, _ := (&ends{list: []*end{{name: "equal", compared: 4}, {name: "too", compared: 4}}}).noise(); codes != 0 || name != "equal" {
		t.Errorf("of none that differ %q with %v", name, codes)
	}
}

// Differences are counted in codes; of int16 in what a code of int8 would be where int8 layers add their rounding.
func TestUnitsOfDifferences(t *testing.T) {
	for _, c := range []struct {
		wide, mixed bool
		want        float64
	}{{false, false, 0.5}, {false, true, 0.5}, {true, false, 8}, {true, true, 128}} {
		if got := (&ends{mixed: c.mixed}).unit(quantize.Params{Scale: 0.5, Wide: c.wide}); got != c.want {
			t.Errorf("wide %v, mixed %v: %v, want %v", c.wide, c.mixed, got, c.want)
		}
	}
	b := tflitetest.New()
	b.Output(b.Dense("a", b.Input("x", 1, 4), tflitetest.Weights(1, 16), nil, 4, tflitetest.None))
	e := endsOf(t, b)
	if !e.mixed || len(e.list) != 1 || e.scores != e.list[0] || e.scores.name != "a" {
		t.Errorf("results %+v, scores %+v, mixed %v", e.list, e.scores, e.mixed)
	}
}

// Where a code of the scores is more than a unit of e^x, a tie moves their softmax over much of its range: the scores alone are compared.
func TestAnOutputBySoftmaxIsComparedUnlessItsScoresAreSteep(t *testing.T) {
	for _, c := range []struct {
		weights float32
		want    []string
	}{{0.01, []string{"p", "z"}}, {1000, []string{"z"}}} {
		b := tflitetest.New()
		weights := tflitetest.Weights(1, 16)
		for k := range weights {
			weights[k] *= c.weights
		}
		z := b.Dense("z", b.Input("x", 1, 4), weights, nil, 4, tflitetest.None)
		b.Output(b.Op("p", schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 1}, b.Shape(z), z))
		var names []string
		e := endsOf(t, b)
		for _, one := range e.list {
			names = append(names, one.name)
		}
		if !slices.Equal(names, c.want) || e.scores == nil || e.scores.name != "z" {
			t.Errorf("weights times %v: compared %v, scores %+v", c.weights, names, e.scores)
		}
	}
}

// endsOf are those of the leaf that a network is quantized to after training.
func endsOf(t *testing.T, b *tflitetest.Builder) *ends {
	t.Helper()
	result := ptq(t, b.Model(), ptqOptions{})
	g, err := ir.Parse(result.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	simulation, err := result.Plan.Simulate(b.Model(), result.Params, result.Weights, 1)
	if err != nil {
		t.Fatal(err)
	}
	return newEnds(g, simulation, result.Tensor)
}
