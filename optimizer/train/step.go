package train

import (
	"fmt"
	"math"
	"math/rand/v2"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/kernel"
)

// chunk is part of a parameter's gradient, for adding up lanes in parallel.
type chunk struct{ param, from, to int }

const chunkSize = 1 << 14

// start makes workers, sums and the rest that a run needs.
func (t *Trainer) start() {
	if t.ready {
		return
	}
	t.ready = true
	n := t.task.Network
	for range t.task.Workers {
		t.workers = append(t.workers, newWorker(t))
	}
	used := min(lanes, (min(t.config.BatchSize, t.task.Train.Len())+n.MicroBatch-1)/n.MicroBatch)
	for range used {
		t.grads = append(t.grads, n.NewGrads())
	}
	t.sums = make([]tally, used)
	for _, p := range t.params {
		for from := 0; from < len(p.param.Value); from += chunkSize {
			t.chunks = append(t.chunks, chunk{p.index, from, min(from+chunkSize, len(p.param.Value))})
		}
		p.regroup(t.grads[0].Param[p.index])
	}
	t.failed = make([]error, used)
	t.tasks = tasks{t.materializeParam, t.trainLane, t.reduceChunk, t.backwardParam, t.updateParam}
}

// batch is the step being taken.
type batch struct {
	src     dataset.Source
	samples []int
	rate    float64 // learning rate
	clip    float64 // factor of gradients
}

// tasks are the parts of a step that workers share, made once so that a step allocates nothing.
type tasks struct{ materialize, train, reduce, backward, update func(w *worker, i int) }

func (t *Trainer) materializeParam(_ *worker, i int) { t.params[i].materialize(t.task.Network) }
func (t *Trainer) backwardParam(_ *worker, i int) {
	t.params[i].backward(t.grads[0].Param[t.params[i].index])
}
func (t *Trainer) updateParam(_ *worker, i int) {
	t.params[i].update(&t.config, t.step+1, t.batch.rate, t.batch.clip)
}

// order returns the samples of an epoch, shuffled by seed and epoch.
func (t *Trainer) order(epoch int) []int {
	random := rand.New(rand.NewPCG(uint64(t.config.Seed), uint64(epoch)))
	return random.Perm(t.task.Train.Len())
}

// refresh computes the effective weights.
func (t *Trainer) refresh() {
	t.parallel(len(t.params), t.tasks.materialize)
	t.task.Network.RefreshConstants()
}

// runStep trains on one batch of samples.
func (t *Trainer) runStep(src dataset.Source, samples []int, rate float64) (tally, error) {
	t.batch = batch{src, samples, rate, 1}
	t.refresh()
	if err := t.gradients(); err != nil {
		return tally{}, err
	}
	t.reduce()
	var sum tally
	for _, s := range t.sums {
		sum.add(s)
	}
	t.parallel(len(t.params), t.tasks.backward)
	squares := 0.0
	for _, p := range t.params {
		squares += p.squares
	}
	if !isFinite(sum.loss) || !isFinite(squares) {
		return tally{}, t.diagnose(src, samples, sum.loss)
	}
	if norm := math.Sqrt(squares); t.config.ClipNorm > 0 && norm > t.config.ClipNorm {
		t.batch.clip = t.config.ClipNorm / norm
	}
	t.parallel(len(t.params), t.tasks.update)
	if t.task.Ranges != nil {
		t.task.Ranges.update(&t.config, t.step+1, rate, t.grads[0].Act)
	}
	t.grads[0].Reset()
	return sum, nil
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// gradients runs the micro-batches of a batch forward and backward: micro-batch i in lane i mod lanes, in order.
func (t *Trainer) gradients() error {
	t.parallel(len(t.grads), t.tasks.train)
	for _, err := range t.failed {
		if err != nil {
			return fmt.Errorf("training %w", err)
		}
	}
	return nil
}

// trainLane runs the micro-batches of one lane.
func (t *Trainer) trainLane(w *worker, lane int) {
	size, samples := t.task.Network.MicroBatch, t.batch.samples
	t.sums[lane], t.failed[lane] = tally{}, nil
	for first := lane * size; first < len(samples); first += len(t.grads) * size {
		part := samples[first:min(first+size, len(samples))]
		sum, err := t.microBatch(w, lane, t.batch.src, part, 1/float64(len(samples)))
		if err != nil {
			t.failed[lane] = err
			return
		}
		t.sums[lane].add(sum)
	}
}

func (t *Trainer) microBatch(w *worker, lane int, src dataset.Source, samples []int, share float64) (tally, error) {
	if w.exec == nil {
		w.exec = t.task.Network.NewExec(true)
	}
	if err := w.read(t.objective, w.exec, src, samples); err != nil {
		return tally{}, err
	}
	answers := t.answers(w, w.exec.Input(0), samples)
	inputs := w.original(t.objective, w.exec.Input(0))
	w.exec.Forward()
	sum := w.losses(t.objective, w.exec, inputs, answers, w.exec.LossGrad(), share)
	w.exec.Backward(t.grads[lane])
	return sum, nil
}

// reduce adds the lanes up in the first, in order, and empties the others.
func (t *Trainer) reduce() {
	t.parallel(len(t.chunks), t.tasks.reduce)
	for _, g := range t.grads[1:] {
		t.grads[0].AddAct(g)
		g.ResetAct()
	}
}

func (t *Trainer) reduceChunk(_ *worker, i int) {
	c := t.chunks[i]
	sum := t.grads[0].Param[c.param][c.from:c.to]
	for _, g := range t.grads[1:] {
		part := g.Param[c.param][c.from:c.to]
		kernel.Axpy(sum, 1, part)
		clear(part)
	}
}
