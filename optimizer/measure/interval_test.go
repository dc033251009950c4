package measure

import (
	"math"
	"testing"

	"espalier.dev/espalier/optimizer/answer"
)

// Jeffreys' intervals by numerical integration of the Beta density, the paired ones by hand.
func TestIntervals(t *testing.T) {
	for name, c := range map[string]struct{ got, want Interval }{
		"half of ten":                   {ShareInterval(0.5, 10, 0.95), Interval{0.224, 0.776}},
		"all of ten":                    {ShareInterval(1, 10, 0.95), Interval{0.783, 1}},
		"none of ten":                   {ShareInterval(0, 10, 0.95), Interval{0, 0.217}},
		"881 of a thousand":             {ShareInterval(0.881, 1000, 0.95), Interval{0.860, 0.900}},
		"a drop of ten in a thousand":   {DropInterval(20, 10, 1000, 0.95), Interval{-0.001, 0.021}},
		"no sample answered otherwise":  {DropInterval(0, 0, 1000, 0.95), Interval{-0.002, 0.002}},
		"as many gained as lost":        {DropInterval(8, 8, 200, 0.95), Interval{-0.040, 0.040}},
		"every sample lost":             {DropInterval(10, 0, 10, 0.95), Interval{0.567, 1}},
		"a drop with little confidence": {DropInterval(20, 10, 1000, 0.5), Interval{0.006, 0.014}},
	} {
		if math.Abs(c.got.Low-c.want.Low) > 6e-4 || math.Abs(c.got.High-c.want.High) > 6e-4 {
			t.Errorf("%s: got %.4f to %.4f, want %.3f to %.3f", name, c.got.Low, c.got.High, c.want.Low, c.want.High)
		}
	}
}

func choicesOf(kind answer.Kind, truth, classes []int) *Answers {
	out := &answer.Output{Kind: kind}
	c := &column{out: out, samples: len(classes), classes: newList(len(classes), 3), truth: newList(len(truth), 3)}
	for i, v := range classes {
		c.classes.set(i, v)
	}
	for i, v := range truth {
		c.truth.set(i, v)
	}
	return &Answers{samples: len(classes), columns: []*column{c}}
}

func TestDropsAreComparedSampleBySample(t *testing.T) {
	truth := []int{0, 1, 2, 0, 1, 2, 0, 1}
	original := choicesOf(answer.Classes, truth, []int{0, 1, 2, 0, 1, 0, 1, 0}) // five right
	leaf := choicesOf(answer.Classes, truth, []int{1, 1, 2, 0, 1, 2, 1, 0})     // one lost, one gained
	got := leaf.Intervals(original, 0.95)
	if got[AccuracyDrop] != DropInterval(1, 1, 8, 0.95) || got[Accuracy] != ShareInterval(5./8, 8, 0.95) || got[Agreement] != ShareInterval(6./8, 8, 0.95) {
		t.Errorf("got %v", got)
	}
	if got := leaf.Intervals(nil, 0.95); len(got) != 1 {
		t.Errorf("without an original there is %v", got)
	}
	if got := choicesOf(answer.Classes, nil, []int{0, 1}).Intervals(choicesOf(answer.Classes, nil, []int{0, 0}), 0.95); len(got) != 1 || got[Agreement] == (Interval{}) {
		t.Errorf("without labels there is %v", got)
	}
	if got := choicesOf(answer.PositionClasses, truth, truth).Intervals(original, 0.95); len(got) != 0 {
		t.Errorf("several choices a sample give %v", got)
	}
}
