package measure

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"espalier.dev/espalier/optimizer/answer"
)

// Interval is where a metric of all samples of the kind lies, with some confidence, given those that were measured.
type Interval struct{ Low, High float64 }

// ShareInterval is the interval of a share of so many samples, by Jeffreys' prior: quantiles of Beta(k + ½, n − k + ½). At 0 and 1 it
// is one-sided (Brown, Cai and DasGupta, Statistical Science 16, 2001).
func ShareInterval(share float64, samples int, confidence float64) Interval {
	n := float64(samples)
	beta := distuv.Beta{Alpha: share*n + 0.5, Beta: (1-share)*n + 0.5}
	tail := (1 - confidence) / 2
	in := Interval{Low: beta.Quantile(tail), High: beta.Quantile(1 - tail)}
	if share == 0 {
		in.Low = 0
	}
	if share == 1 {
		in.High = 1
	}
	return in
}

// DropInterval is the interval of a drop in accuracy between two models on the same samples, of which lost are right only before and
// gained only after. It is the normal one with half a sample added to each of the four cells (Agresti and Min, Statistics in Medicine
// 24, 2005): samples on which both are right, or both wrong, tell nothing of the drop.
func DropInterval(lost, gained, samples int, confidence float64) Interval {
	n, d := float64(samples)+2, float64(lost-gained)
	spread := math.Sqrt(max(float64(lost+gained)+1-d*d/n, 0)) / n
	z := distuv.UnitNormal.Quantile(1 - (1-confidence)/2)
	return Interval{Low: max(d/n-z*spread, -1), High: min(d/n+z*spread, 1)}
}

// Intervals are those of the main output's Accuracy, AccuracyDrop and Agreement, where it makes one choice a sample; the choices of
// one sample are not independent, so that nothing is said of outputs with several. original may be nil.
func (a *Answers) Intervals(original *Answers, confidence float64) map[Name]Interval {
	out := map[Name]Interval{}
	c := a.columns[a.main]
	if kind := c.out.Kind; kind != answer.Classes && kind != answer.Binary || c.classes.len() != a.samples || a.samples == 0 {
		return out
	}
	told := c.truth.len() > 0
	if told {
		out[Accuracy] = ShareInterval(c.right(), a.samples, confidence)
	}
	if original == nil {
		return out
	}
	before := original.columns[original.main]
	out[Agreement] = ShareInterval(same(c.classes, before.classes), a.samples, confidence)
	if !told {
		return out
	}
	lost, gained := 0, 0
	for i := range a.samples {
		switch was, is := before.classes.at(i) == c.truth.at(i), c.classes.at(i) == c.truth.at(i); {
		case was && !is:
			lost++
		case is && !was:
			gained++
		}
	}
	out[AccuracyDrop] = DropInterval(lost, gained, a.samples, confidence)
	return out
}
