package train

import (
	"fmt"

	"espalier.dev/espalier/optimizer/dataset"
)

// Evaluate scores the network as it is on samples: the loss without smoothing and class weights, and without the teacher where
// there are labels or targets.
func (t *Trainer) Evaluate(src dataset.Source) (Score, error) {
	t.start()
	defer t.hire()()
	t.refresh()
	o := *t.objective
	o.smoothing, o.weights = 0, nil
	if o.kind != none {
		o.alpha = 0
	}
	size, n := t.task.Network.MicroBatch, src.Len()
	count := (n + size - 1) / size
	sums, failed := make([]tally, count), make([]error, count)
	t.parallel(count, func(w *worker, k int) {
		sums[k], failed[k] = t.evaluate(w, &o, src, span(k*size, min((k+1)*size, n)))
	})
	var sum tally
	for k := range sums {
		if failed[k] != nil {
			return Score{}, fmt.Errorf("evaluating %w", failed[k])
		}
		sum.add(sums[k])
	}
	return sum.score(&o), nil
}

func (t *Trainer) evaluate(w *worker, o *objective, src dataset.Source, samples []int) (tally, error) {
	if w.forward == nil {
		w.forward = t.task.Network.NewForwardExec(t.task.Network.LossTensor())
	}
	if err := w.read(o, w.forward, src, samples); err != nil {
		return tally{}, err
	}
	x := w.forward.Input(0)
	var answers [][]float32
	if o.alpha > 0 {
		answers = w.taught(x)
	}
	inputs := w.original(o, x)
	w.forward.Forward()
	return w.losses(o, w.forward, inputs, answers, nil, 0), nil
}
