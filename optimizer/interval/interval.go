// Package interval says how far shares of few samples can be trusted: confidence intervals of accuracies, drops and agreements, and how
// many samples would tell.
package interval

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Default is the confidence of intervals that are shown.
const Default = 0.95

// Interval is where a metric of all samples of the kind lies, with some confidence, given those that were measured.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Evidence is what intervals follow from besides the metrics themselves. The zero value is none.
type Evidence struct {
	// Samples is how many independent samples tell as much as those that were measured: their number, where each has one answer.
	Samples int `json:"samples,omitempty"`
	// Changed is how many of them only one of model and original answers right.
	Changed int `json:"changed,omitempty"`
}

// Of returns the interval of a metric that was measured as value; ok is false of metrics that have none, and without evidence.
func (e Evidence) Of(metric string, value, confidence float64) (in Interval, ok bool) {
	if e.Samples <= 0 {
		return Interval{}, false
	}
	switch metric {
	case "Accuracy", "Agreement":
		return Share(value, float64(e.Samples), confidence), true
	case "AccuracyDrop":
		return Drop(value, float64(e.Changed), float64(e.Samples), confidence), true
	}
	return Interval{}, false
}

// Share is the interval of a share of so many samples, by Jeffreys' prior: quantiles of Beta(k + ½, n − k + ½). At 0 and 1 it is
// one-sided (Brown, Cai and DasGupta, Statistical Science 16, 2001).
func Share(share, samples, confidence float64) Interval {
	share = min(max(share, 0), 1)
	beta := distuv.Beta{Alpha: share*samples + 0.5, Beta: (1-share)*samples + 0.5}
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

// Drop is the interval of a drop in accuracy between two models on the same samples, of which so many are right in one of them only. It
// is the normal one with half a sample added to each of the four cells (Agresti and Min, Statistics in Medicine 24, 2005): samples on
// which both are right, or both wrong, tell nothing of the drop.
func Drop(drop, changed, samples, confidence float64) Interval {
	n, d := samples+2, drop*samples
	spread := math.Sqrt(max(changed+1-d*d/n, 0)) / n
	z := distuv.UnitNormal.Quantile(1 - (1-confidence)/2)
	return Interval{Low: max(d/n-z*spread, -1), High: min(d/n+z*spread, 1)}
}

// most is the most samples that are worth speaking of.
const most = 10_000_000

// Least returns how many samples it takes until the interval of a leaf that answers like its original, and of a share like the truth,
// stays within a bound: min of a share, max of a drop. 0: no number does.
func Least(metric string, bound, confidence float64) int {
	within := func(samples int) bool {
		e := Evidence{Samples: samples}
		if metric == "AccuracyDrop" {
			in, _ := e.Of(metric, 0, confidence)
			return in.High <= bound
		}
		in, ok := e.Of(metric, 1, confidence)
		return ok && in.Low >= bound
	}
	if !within(most) {
		return 0
	}
	return 1 + sort.Search(most-1, func(i int) bool { return within(i + 1) })
}

// Wanted returns about how many samples would tell a value from a bound: with as much of them the same, the interval would end before it. It is
// 0 of other metrics, of a value that is the bound, and of more than are worth speaking of.
func (e Evidence) Wanted(metric string, value, bound, confidence float64) int {
	tells := func(samples int) bool {
		n := float64(samples)
		in := Share(value, n, confidence)
		if metric == "AccuracyDrop" {
			in = Drop(value, float64(e.Changed)*n/float64(e.Samples), n, confidence)
		}
		if bound < value {
			return in.Low >= bound
		}
		return in.High <= bound
	}
	if _, known := e.Of(metric, value, confidence); !known || value == bound || !tells(most) {
		return 0
	}
	return roundUp(float64(1 + sort.Search(most-1, func(i int) bool { return tells(i + 1) })))
}

// roundUp rounds up to two digits.
func roundUp(n float64) int {
	unit := math.Pow(10, max(math.Floor(math.Log10(n))-1, 0))
	return int(math.Ceil(n/unit) * unit)
}
