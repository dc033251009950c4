package measure

import (
	"math"
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/interval"
)

func choicesOf(kind answer.Kind, samples int, truth, classes []int) *Answers {
	out := &answer.Output{Kind: kind, Classes: 3, Positions: len(classes) / samples}
	c := &column{out: out, samples: samples, classes: newList(len(classes), 3), truth: newList(len(truth), 3)}
	for i, v := range classes {
		c.classes.set(i, v)
	}
	for i, v := range truth {
		c.truth.set(i, v)
	}
	return &Answers{samples: samples, columns: []*column{c}}
}

func TestDropsAreComparedSampleBySample(t *testing.T) {
	truth := []int{0, 1, 2, 0, 1, 2, 0, 1}
	original := choicesOf(answer.Classes, 8, truth, []int{0, 1, 2, 0, 1, 0, 1, 0}) // five right
	leaf := choicesOf(answer.Classes, 8, truth, []int{1, 1, 2, 0, 1, 2, 1, 0})     // one lost, one gained
	if got := leaf.Evidence(original); got != (interval.Evidence{Samples: 8, Changed: 2}) {
		t.Errorf("got %+v", got)
	}
	if got := leaf.Evidence(nil); got != (interval.Evidence{Samples: 8}) {
		t.Errorf("without an original it is %+v", got)
	}
	if got := choicesOf(answer.Classes, 2, nil, []int{0, 1}).Evidence(choicesOf(answer.Classes, 2, nil, []int{0, 0})); got != (interval.Evidence{Samples: 2}) {
		t.Errorf("without labels it is %+v", got)
	}
	values := &Answers{samples: 2, columns: []*column{{out: &answer.Output{Kind: answer.Values}, samples: 2}}}
	if got := values.Evidence(values); got != (interval.Evidence{}) {
		t.Errorf("numbers have %+v", got)
	}
}

// The samples of outputs with many choices are those of the samples' own spread: as many as choices where these are independent, as
// many as samples where all choices of a sample are alike.
func TestChoicesOfOneSampleCountByHowMuchTheyTell(t *testing.T) {
	const samples, positions = 400, 25
	rng := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		alike       bool
		least, most int
	}{
		"independent": {false, samples * positions * 8 / 10, samples * positions * 12 / 10},
		"alike":       {true, samples * 9 / 10, samples * 11 / 10},
	} {
		truth, before, after := make([]int, samples*positions), make([]int, samples*positions), make([]int, samples*positions)
		answers := func(out []int, wrong float64) {
			for i := range out {
				if c.alike && i%positions > 0 {
					out[i] = out[i-1]
				} else if out[i] = 0; rng.Float64() < wrong {
					out[i] = 1
				}
			}
		}
		answers(before, 0.2)
		answers(after, 0.3)
		leaf, original := choicesOf(answer.PositionClasses, samples, truth, after), choicesOf(answer.PositionClasses, samples, truth, before)
		got := leaf.Evidence(original)
		if got.Samples < c.least || got.Samples > c.most {
			t.Errorf("%s: %d samples, want %d to %d", name, got.Samples, c.least, c.most)
		}
		if same := original.Evidence(original); same.Samples != original.Evidence(nil).Samples || same.Changed != 0 {
			t.Errorf("%s: the same answers count as %+v, alone as %d", name, same, original.Evidence(nil).Samples)
		}
		drops := shares(original.columns[0].classes, original.columns[0].truth, samples)
		for i, r := range shares(leaf.columns[0].classes, leaf.columns[0].truth, samples) {
			drops[i] -= r
		}
		in, _ := got.Of("AccuracyDrop", 0, 0.95)
		if want := 2 * 1.96 * math.Sqrt(varianceOfMean(drops)); math.Abs(in.High-in.Low-want) > 0.1*want {
			t.Errorf("%s: the drop's interval is %.4f wide, want about %.4f", name, in.High-in.Low, want)
		}
	}
	if got := choicesOf(answer.MultiLabel, 2, []int{1, 1, 1, 1}, []int{1, 1, 1, 1}).Evidence(nil); got.Samples != 2 {
		t.Errorf("two samples without a fault count as %d", got.Samples)
	}
}

func TestEmbeddingsHaveEvidenceOfTheirCosines(t *testing.T) {
	out := &answer.Output{Kind: answer.Embedding, Size: 2}
	a := &Answers{samples: 3, columns: []*column{{out: out, samples: 3, values: []float32{1, 0, 1, 0, 1, 0}}}}
	b := &Answers{samples: 3, columns: []*column{{out: out, samples: 3, values: []float32{1, 0, 1, 0.1, 1, 0.2}}}}
	if got := b.Evidence(a); got.Samples <= 3 {
		t.Errorf("cosines of nearly one tell as much as %d samples", got.Samples)
	}
	if got := b.Evidence(nil); got != (interval.Evidence{}) {
		t.Errorf("without an original: %+v", got)
	}
}
