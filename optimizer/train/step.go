package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/kernel"
)

// chunk is part of a parameter's gradient. Every lane adds its own in turn; several may do so side by side, a chunk apart.
type chunk struct {
	param, from, to int
	turn            atomic.Int64 // the lane that adds next
}

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
	t.sum, t.reducing.L = n.NewGrads(), &sync.Mutex{}
	used := min(maxLanes, (min(t.config.BatchSize, t.task.Train.Len())+n.MicroBatch-1)/n.MicroBatch)
	t.lanes = make([]lane, used)
	for _, p := range t.params {
		for from := 0; from < len(p.param.Value); from += chunkSize {
			t.chunks = append(t.chunks, &chunk{param: p.index, from: from, to: min(from+chunkSize, len(p.param.Value))})
		}
		p.regroup(t.sum.Param[p.index])
	}
	t.tasks = tasks{t.materializeParam, t.trainLane, t.backwardParam, t.updateParam}
}

// batch is the step being taken.
type batch struct {
	src     dataset.Source
	samples []int
	rate    float64 // learning rate
	clip    float64 // factor of gradients
}

// tasks are the parts of a step that workers share, made once so that a step allocates nothing.
type tasks struct{ materialize, train, backward, update func(w *worker, i int) }

func (t *Trainer) materializeParam(_ *worker, i int) { t.params[i].materialize(t.task.Network) }
func (t *Trainer) backwardParam(_ *worker, i int) {
	t.params[i].backward(t.sum.Param[t.params[i].index])
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
	var sum tally
	for i := range t.lanes {
		sum.add(t.lanes[i].tally)
		t.sum.AddAct(t.lanes[i].act)
	}
	t.parallel(len(t.params), t.tasks.backward)
	squares := 0.0
	for _, p := range t.params {
		squares += p.squares
	}
	if !isFinite(sum.loss) || !isFinite(squares) {
		return tally{}, t.diagnose(src, samples, sum.loss)
	}
	t.norm = math.Sqrt(squares)
	if bound := t.clipNorm(); bound > 0 && t.norm > bound {
		t.batch.clip = bound / t.norm
	}
	t.parallel(len(t.params), t.tasks.update)
	if t.task.Ranges != nil {
		t.task.Ranges.update(&t.config, t.step+1, rate, t.sum.Act)
	}
	t.sum.Reset()
	return sum, nil
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// gradients runs the micro-batches of a batch forward and backward: micro-batch i in lane i mod lanes, in order.
func (t *Trainer) gradients() error {
	t.turn = 0
	for _, c := range t.chunks {
		c.turn.Store(0)
	}
	t.parallel(len(t.lanes), t.tasks.train)
	for i := range t.lanes {
		if err := t.lanes[i].err; err != nil {
			return fmt.Errorf("training %w", err)
		}
	}
	return nil
}

// trainLane runs the micro-batches of one lane and adds its gradients to the sum.
func (t *Trainer) trainLane(w *worker, i int) {
	l := &t.lanes[i]
	size, samples := t.task.Network.MicroBatch, t.batch.samples
	l.tally, l.err = tally{}, nil
	for first := i * size; first < len(samples) && l.err == nil; first += len(t.lanes) * size {
		part := samples[first:min(first+size, len(samples))]
		var sum tally
		sum, l.err = t.microBatch(w, t.batch.src, part, 1/float64(len(samples)))
		l.tally.add(sum)
	}
	t.reduce(w.grads, int64(i))
	l.act = append(l.act[:0], w.grads.Act...)
	w.grads.ResetAct()
}

// reduce adds a lane's gradients to the sum, chunk by chunk behind the lane before it, and empties them. Lanes are begun in order, so the
// one that is waited for has a worker.
func (t *Trainer) reduce(g *float.Grads, lane int64) {
	t.reducing.L.Lock()
	for t.turn != lane {
		t.reducing.Wait()
	}
	t.turn++
	t.reducing.Broadcast()
	t.reducing.L.Unlock()
	for _, c := range t.chunks {
		for c.turn.Load() != lane { // not for long: that lane is adding up
			runtime.Gosched()
		}
		part := g.Param[c.param][c.from:c.to]
		kernel.Axpy(t.sum.Param[c.param][c.from:c.to], 1, part)
		clear(part)
		c.turn.Add(1)
	}
}

func (t *Trainer) microBatch(w *worker, src dataset.Source, samples []int, share float64) (tally, error) {
	if w.exec == nil {
		w.exec = t.task.Network.NewExec(true, w.carried()...)
	}
	if err := w.read(t.heads, w.exec, src, samples); err != nil {
		return tally{}, err
	}
	answers := t.answers(w, w.inputs(w.exec), samples)
	inputs := w.original(t.heads, w.inputs(w.exec))
	var sum tally
	for pass := range w.passes() {
		w.pass(w.exec, pass)
		if !w.asked(pass) {
			w.exec.Observe(w.grads)
			continue
		}
		sum.add(w.losses(t.heads, w.exec, pass, inputs, answers, true, share, nil))
		w.exec.Backward(w.grads)
	}
	return sum, nil
}
