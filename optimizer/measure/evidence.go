package measure

import (
	"math"

	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/interval"
)

// Evidence is what the intervals of the main output's Accuracy, AccuracyDrop and Agreement follow from; original, which may be nil, is
// the float original's answers. Answers of one sample depend on each other: of outputs with several, and of embeddings, the samples are
// as many as would have one answer each and vary as much.
func (a *Answers) Evidence(original *Answers) interval.Evidence {
	c := a.columns[a.main]
	var before *column
	if original != nil && original.samples == a.samples && len(original.columns) == len(a.columns) {
		before = original.columns[a.main]
	}
	told := c.truth.len() > 0
	switch {
	case a.samples == 0:
		return interval.Evidence{}
	case c.out.Kind == answer.Embedding && c.values != nil && before != nil && before.values != nil:
		n, _ := effective(c.cosines(before))
		return interval.Evidence{Samples: n}
	case c.classes.len() == 0: // it chooses nothing
		return interval.Evidence{}
	case c.classes.len() == a.samples:
		e := interval.Evidence{Samples: a.samples}
		if told && before != nil {
			for i := range a.samples {
				if was, is := before.classes.at(i) == c.truth.at(i), c.classes.at(i) == c.truth.at(i); was != is {
					e.Changed++
				}
			}
		}
		return e
	}
	e := interval.Evidence{Samples: a.samples} // where nothing varies, nothing tells how answers depend on each other
	var right []float64
	varies := false
	if told {
		right = shares(c.classes, c.truth, a.samples)
		e.Samples, varies = effective(right)
	}
	if before == nil {
		return e
	}
	if n, ok := effective(shares(c.classes, before.classes, a.samples)); ok && varies {
		e.Samples = min(e.Samples, n)
	} else if ok {
		e.Samples = n
	}
	if told {
		drops := shares(before.classes, c.truth, a.samples)
		for i, r := range right {
			drops[i] -= r
		}
		mean, n := stat.Mean(drops, nil), float64(e.Samples)
		e.Changed = int(math.Ceil(n * (n*varianceOfMean(drops) + mean*mean)))
	}
	return e
}

// Intervals are those of the main output's metrics that have one.
func (m Metrics) Intervals(e interval.Evidence) map[Name]interval.Interval {
	out := map[Name]interval.Interval{}
	for name, value := range m {
		if in, ok := e.Of(string(name), value, interval.Default); ok {
			out[name] = in
		}
	}
	return out
}

// shares are the shares of equal elements, sample by sample.
func shares(a, b list, samples int) []float64 {
	out := make([]float64, samples)
	positions := a.len() / samples
	for i := range a.len() {
		if a.at(i) == b.at(i) {
			out[i/positions] += 1 / float64(positions)
		}
	}
	return out
}

// effective is the number of samples with one answer each, right or wrong, whose share varies as the mean of these does; varies is false
// where it does not, and the number that of the shares.
func effective(shares []float64) (n int, varies bool) {
	mean, variance := stat.Mean(shares, nil), varianceOfMean(shares)
	as := mean * (1 - mean) / variance
	if !(as > 0) || len(shares) < 2 || math.IsInf(as, 0) {
		return len(shares), false
	}
	return int(min(max(as, 1), math.MaxInt32)), true
}

func varianceOfMean(values []float64) float64 {
	if len(values) < 2 {
		return 0
	}
	return stat.Variance(values, nil) / float64(len(values))
}

// cosines are those between the answers of two models, sample by sample.
func (c *column) cosines(other *column) []float64 {
	out, size := make([]float64, c.samples), c.out.Size
	for i := range out {
		out[i] = cosine(c.values[i*size:(i+1)*size], other.values[i*size:(i+1)*size])
	}
	return out
}
