package leaf

import (
	"testing"

	"espalier.dev/espalier/optimizer/quantize"
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
