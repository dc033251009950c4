package interval

import (
	"math"
	"testing"
)

// Jeffreys' intervals by numerical integration of the Beta density, the paired ones by hand.
func TestIntervals(t *testing.T) {
	for name, c := range map[string]struct{ got, want Interval }{
		"half of ten":                   {Share(0.5, 10, 0.95), Interval{0.224, 0.776}},
		"all of ten":                    {Share(1, 10, 0.95), Interval{0.783, 1}},
		"none of ten":                   {Share(0, 10, 0.95), Interval{0, 0.217}},
		"881 of a thousand":             {Share(0.881, 1000, 0.95), Interval{0.860, 0.900}},
		"a mean cosine above one":       {Share(1.0000001, 10, 0.95), Interval{0.783, 1}},
		"a drop of ten in a thousand":   {Drop(0.01, 30, 1000, 0.95), Interval{-0.001, 0.021}},
		"no sample answered otherwise":  {Drop(0, 0, 1000, 0.95), Interval{-0.002, 0.002}},
		"as many gained as lost":        {Drop(0, 16, 200, 0.95), Interval{-0.040, 0.040}},
		"every sample lost":             {Drop(1, 10, 10, 0.95), Interval{0.567, 1}},
		"a drop with little confidence": {Drop(0.01, 30, 1000, 0.5), Interval{0.006, 0.014}},
	} {
		if math.Abs(c.got.Low-c.want.Low) > 6e-4 || math.Abs(c.got.High-c.want.High) > 6e-4 {
			t.Errorf("%s: got %.4f to %.4f, want %.3f to %.3f", name, c.got.Low, c.got.High, c.want.Low, c.want.High)
		}
	}
}

func TestEvidenceGivesTheIntervalsOfSharesAndDrops(t *testing.T) {
	e := Evidence{Samples: 1000, Changed: 30}
	if in, ok := e.Of("Agreement", 0.97, 0.95); !ok || in != Share(0.97, 1000, 0.95) {
		t.Errorf("Agreement: %v, %v", in, ok)
	}
	if in, ok := e.Of("AccuracyDrop", 0.01, 0.9); !ok || in != Drop(0.01, 30, 1000, 0.9) {
		t.Errorf("AccuracyDrop: %v, %v", in, ok)
	}
	if _, ok := e.Of("CompressedBytes", 100, 0.95); ok {
		t.Error("bytes have an interval")
	}
	if _, ok := (Evidence{}).Of("Accuracy", 0.9, 0.95); ok {
		t.Error("no samples give an interval")
	}
}

func TestTheLeastSamplesAreJustEnough(t *testing.T) {
	for name, c := range map[string]struct {
		metric            string
		bound, confidence float64
	}{
		"a drop":           {"AccuracyDrop", 0.01, 0.95},
		"a small drop":     {"AccuracyDrop", 0.0001, 0.99},
		"an accuracy":      {"Accuracy", 0.9, 0.95},
		"a high agreement": {"Agreement", 0.999, 0.9},
	} {
		best := map[string]float64{"Accuracy": 1, "Agreement": 1}[c.metric]
		n := Least(c.metric, c.bound, c.confidence)
		enough, _ := Evidence{Samples: n}.Of(c.metric, best, c.confidence)
		fewer, _ := Evidence{Samples: n - 1}.Of(c.metric, best, c.confidence)
		within := func(in Interval) bool {
			if c.metric == "AccuracyDrop" {
				return in.High <= c.bound
			}
			return in.Low >= c.bound
		}
		if n < 2 || !within(enough) || within(fewer) {
			t.Errorf("%s: %d samples give %v, one less %v", name, n, enough, fewer)
		}
	}
	if n := Least("Accuracy", 0, 0.95); n != 1 {
		t.Errorf("no bound takes %d samples", n)
	}
	if Least("Accuracy", 1, 0.95) != 0 || Least("AccuracyDrop", 0, 0.95) != 0 {
		t.Error("what no number of samples shows is given one")
	}
}

func TestWantedSamplesTellAValueFromTheBound(t *testing.T) {
	for name, c := range map[string]struct {
		metric       string
		value, bound float64
		evidence     Evidence
		want         int
	}{
		"a bound below":             {"Agreement", 0.974, 0.97, Evidence{Samples: 500}, 6800},
		"a bound above":             {"AccuracyDrop", 0.004, 0.01, Evidence{Samples: 1000, Changed: 40}, 4300},
		"a value that is the bound": {"Accuracy", 0.88, 0.88, Evidence{Samples: 1000}, 0},
		"a bound that is very near": {"Accuracy", 0.88, 0.8799999, Evidence{Samples: 1000}, 0},
		"a metric without interval": {"F1", 0.88, 0.8, Evidence{Samples: 1000}, 0},
		"no samples":                {"Accuracy", 0.88, 0.8, Evidence{}, 0},
	} {
		if got := c.evidence.Wanted(c.metric, c.value, c.bound, 0.95); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	for _, samples := range []int{50, 200, 1000, 5000} {
		e := Evidence{Samples: samples, Changed: samples / 20}
		for k := 1; k < 40; k++ {
			for _, share := range []float64{0.2, 0.5, 0.9} {
				value := 1 - float64(k)/40
				in, _ := e.Of("Accuracy", value, 0.95)
				for _, bound := range []float64{value + share*(in.Low-value), value + share*(in.High-value)} {
					n := e.Wanted("Accuracy", value, bound, 0.95)
					if then := Share(value, float64(n), 0.95); bound < value && then.Low < bound || bound > value && then.High > bound {
						t.Errorf("accuracy %v, bound %v: %d samples leave %v", value, bound, n, then)
					}
				}
				drop := 0.05 * value
				in, _ = e.Of("AccuracyDrop", drop, 0.95)
				bound := drop + share*(in.High-drop)
				n := e.Wanted("AccuracyDrop", drop, bound, 0.95)
				if then := Drop(drop, float64(e.Changed)*float64(n)/float64(samples), float64(n), 0.95); then.High > bound {
					t.Errorf("drop %v, bound %v: %d samples leave %v", drop, bound, n, then)
				}
			}
		}
	}
}
