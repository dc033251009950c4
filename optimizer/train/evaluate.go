package train

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
)

// Evaluate scores the network as it is on samples: the loss without smoothing and class weights, and without the teacher where
// there are labels or targets.
func (t *Trainer) Evaluate(src dataset.Source) (Score, error) { return t.score(src, nil) }

// score is Evaluate, and fills each, unless it is nil, with the samples' losses.
func (t *Trainer) score(src dataset.Source, each []float32) (Score, error) {
	t.start()
	defer t.hire()()
	t.refresh()
	heads := make([]*objective, len(t.heads))
	for h := range heads {
		o := *t.heads[h]
		o.smoothing, o.weights = 0, nil
		if o.kind != none {
			o.alpha = 0
		}
		heads[h] = &o
	}
	sum, err := t.total(heads, src, span(0, src.Len()), each)
	if err != nil {
		return Score{}, fmt.Errorf("evaluating %w", err)
	}
	return sum.score(heads[0]), nil
}

// total adds the losses of samples up, of the network as it is, and fills each, unless it is nil, with them.
func (t *Trainer) total(heads []*objective, src dataset.Source, samples []int, each []float32) (sum tally, err error) {
	size, n := t.task.Network.MicroBatch, len(samples)
	count := (n + size - 1) / size
	sums, failed := make([]tally, count), make([]error, count)
	t.parallel(count, func(w *worker, k int) {
		from, to := k*size, min((k+1)*size, n)
		var part []float32
		if each != nil {
			part = each[from:to]
		}
		sums[k], failed[k] = t.evaluate(w, heads, src, samples[from:to], part)
	})
	for k := range sums {
		if failed[k] != nil {
			return sum, failed[k]
		}
		sum.add(sums[k])
	}
	return sum, nil
}

func (t *Trainer) evaluate(w *worker, heads []*objective, src dataset.Source, samples []int, each []float32) (tally, error) {
	if w.forward == nil {
		w.forward = t.task.Network.NewForwardExec(append(w.carried(), tensorsOf(heads)...)...)
	}
	if err := w.read(heads, w.forward, src, samples); err != nil {
		return tally{}, err
	}
	x := w.inputs(w.forward)
	var answers [][][]float32
	if slices.ContainsFunc(heads, func(o *objective) bool { return o.alpha > 0 }) {
		answers = w.taught(heads, x)
	}
	inputs := w.original(heads, x)
	var sum tally
	for pass := range w.passes() {
		if w.pass(w.forward, pass); w.asked(pass) {
			sum.add(w.losses(heads, w.forward, pass, inputs, answers, false, 0, each))
		}
	}
	return sum, nil
}

// tensorsOf are the heads' loss tensors.
func tensorsOf(heads []*objective) []int {
	out := make([]int, len(heads))
	for h, o := range heads {
		out[h] = o.tensor
	}
	return out
}
