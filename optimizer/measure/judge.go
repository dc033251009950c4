package measure

import (
	"math"

	"gonum.org/v1/gonum/integrate"
	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/answer"
)

// judge adds the metrics of an output; original, which may be nil, is the float original's column on the same samples.
type judge func(c, original *column, m Metrics)

// judges are the metrics by kind of output.
var judges = map[answer.Kind]judge{
	answer.Classes:         judgeClasses,
	answer.Binary:          judgeClasses,
	answer.PositionClasses: judgePositions,
	answer.MultiLabel:      judgeLabels,
	answer.Values:          judgeValues,
	answer.Reconstruction:  judgeReconstruction,
	answer.Heatmaps:        judgeHeatmaps,
	answer.Embedding:       judgeEmbedding,
}

func judgeClasses(c, original *column, m Metrics) {
	told := c.truth.len() > 0
	if told {
		m[Accuracy] = c.right()
		if area, ok := auc(c.scores, c.truth, 0, 1); ok && c.scores != nil {
			m[AUC] = area
		}
	}
	if original == nil {
		return
	}
	m[Agreement] = same(c.classes, original.classes)
	if told {
		m[AccuracyDrop] = original.right() - m[Accuracy]
	}
}

func judgePositions(c, original *column, m Metrics) {
	judgeClasses(c, original, m)
	if c.truth.len() > 0 {
		m[MeanIoU] = c.meanIoU()
	}
}

func judgeLabels(c, original *column, m Metrics) {
	judgeClasses(&column{out: c.out, classes: c.classes, truth: c.truth}, original, m)
	if c.truth.len() == 0 {
		return
	}
	m[F1] = c.f1()
	sum, n := 0.0, 0
	for label := range c.out.Positions {
		if area, ok := auc(c.scores, c.truth, label, c.out.Positions); ok {
			sum, n = sum+area, n+1
		}
	}
	if n > 0 {
		m[AUC] = sum / float64(n)
	}
}

func judgeValues(c, original *column, m Metrics) {
	wanted := c.wanted
	switch {
	case c.errors != nil:
		m[MeanSquaredError] = stat.Mean(c.errors, nil)
	case original != nil:
		wanted = original.values
	}
	if e, ok := relative(c.values, wanted, c.out.Width); ok {
		m[RelativeError] = e
	}
}

func judgeReconstruction(c, _ *column, m Metrics) {
	m[MeanSquaredError] = stat.Mean(c.errors, nil)
	if area, ok := auc(c.scores, c.truth, 0, 1); ok {
		m[AUC] = area
	}
}

// judgeHeatmaps counts the keypoints that lie at the very place.
func judgeHeatmaps(c, original *column, m Metrics) {
	judgeClasses(c, original, m)
	if c.errors != nil {
		m[MeanSquaredError] = stat.Mean(c.errors, nil)
	}
}

func judgeEmbedding(c, original *column, m Metrics) {
	if original == nil || c.values == nil {
		return
	}
	m[Agreement] = max(0, stat.Mean(c.cosines(original), nil))
	if e, ok := relative(c.values, original.values, c.out.Width); ok {
		m[RelativeError] = e
	}
}

// right is the share of answers that are the target's.
func (c *column) right() float64 { return same(c.classes, c.truth) }

// same is the share of equal elements.
func same(a, b list) float64 {
	n := 0
	for i := range a.len() {
		if a.at(i) == b.at(i) {
			n++
		}
	}
	return float64(n) / float64(max(1, a.len()))
}

// meanIoU is the mean, over the classes that occur, of the positions that are rightly of a class over those that are of it by answer or
// target.
func (c *column) meanIoU() float64 {
	both, either := make([]float64, c.out.Classes), make([]float64, c.out.Classes)
	for i := range c.classes.len() {
		got, want := c.classes.at(i), c.truth.at(i)
		if got == want {
			both[got]++
			either[got]++
			continue
		}
		either[got]++
		either[want]++
	}
	sum, n := 0.0, 0.0
	for k := range both {
		if either[k] > 0 {
			sum, n = sum+both[k]/either[k], n+1
		}
	}
	return sum / max(1, n)
}

// f1 is the mean, over the labels that occur, of 2·hits/(2·hits + misses + false alarms).
func (c *column) f1() float64 {
	labels := c.out.Positions
	hits, wrong := make([]float64, labels), make([]float64, labels)
	for i := range c.classes.len() {
		switch got, want := c.classes.at(i), c.truth.at(i); {
		case got != want:
			wrong[i%labels]++
		case got == 1:
			hits[i%labels]++
		}
	}
	sum, n := 0.0, 0.0
	for k := range hits {
		if hits[k]+wrong[k] > 0 {
			sum, n = sum+2*hits[k]/(2*hits[k]+wrong[k]), n+1
		}
	}
	return sum / max(1, n)
}

// auc is the area under the ROC curve of scores from, from+step …: the share of pairs of one sample of each class that the score puts in
// the right order, ties counting half. ok is false without two classes of both kinds.
func auc(scores []float32, truth list, from, step int) (area float64, ok bool) {
	if truth.len() == 0 || len(scores) != truth.len() {
		return 0, false
	}
	var sorted []float64
	var ones []bool
	positives := 0
	for i := from; i < len(scores); i += step {
		if truth.at(i) > 1 || scores[i] != scores[i] {
			return 0, false
		}
		positives += truth.at(i)
		sorted, ones = append(sorted, float64(scores[i])), append(ones, truth.at(i) == 1)
	}
	if positives == 0 || positives == len(ones) {
		return 0, false
	}
	stat.SortWeightedLabeled(sorted, ones, nil)
	tpr, fpr, _ := stat.ROC(nil, sorted, ones, nil)
	return integrate.Trapezoidal(fpr, tpr), true
}

// relative is the root of the mean, over columns, of the squared error as a share of the variance of what is wanted: 0 is exact, 1 no
// better than always saying the mean. Columns that never change do not count.
func relative(got, wanted []float32, width int) (float64, bool) {
	if len(got) == 0 || len(wanted) != len(got) || width == 0 {
		return 0, false
	}
	moments, squares := answer.NewMoments(width), make([]float64, width)
	moments.Add(wanted)
	for i, v := range got {
		d := float64(v) - float64(wanted[i])
		squares[i%width] += float64(d * d)
	}
	sum, n, rows := 0.0, 0.0, float64(len(got)/width)
	for k, spread := range moments.Spread() {
		if spread > 0 {
			sum, n = sum+squares[k]/rows/(spread*spread), n+1
		}
	}
	if n == 0 {
		return 0, false
	}
	return math.Sqrt(sum / n), true
}

// cosine is the cosine of the angle between two vectors; 1 of two that are zero.
func cosine(a, b []float32) float64 {
	dot, x, y := 0.0, 0.0, 0.0
	for i, v := range a {
		dot += float64(float64(v) * float64(b[i]))
		x += float64(float64(v) * float64(v))
		y += float64(float64(b[i]) * float64(b[i]))
	}
	if x == 0 || y == 0 {
		if x == y {
			return 1
		}
		return 0
	}
	return dot / math.Sqrt(x*y)
}
