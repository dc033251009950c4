package train

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/stream"
)

// worker is what one goroutine needs to run samples through the networks.
type worker struct {
	net      *float.Network
	exec     *float.Exec  // of the network; nil until needed
	grads    *float.Grads // of the lane it runs
	teacher  *float.Exec
	forward  *float.Exec   // of the network, without backward
	teaches  []int         // the teacher's loss tensors, by head
	answers  [][][]float32 // the teacher's, by head and sample
	sample   [][]float32   // one sample's inputs
	fed      [][]float32   // inputs of an Exec
	copied   [][]float32   // inputs before quantization, where they are the target
	targets  [][]float32   // by target of the dataset, samples one after the other
	truth    [][]float32   // one sample's
	sizes    []int         // of targets
	classes  []int         // of targets, 0 where they are values
	work     []float64     // for the loss
	real     int           // samples of the micro-batch that count; the rest is padding
	capacity int           // samples of a micro-batch
	// Of sequences in chunks:
	chunks *stream.Chunks
	whole  [][]float32 // sequences, by input
	left   [][]float32 // what a chunk left, by state
	told   [][]float32 // what the teacher says of sequences, by head
}

func newWorker(t *Trainer) *worker {
	n, inputs := t.task.Network, len(t.task.Train.Inputs())
	w := &worker{
		net: n, grads: n.NewGrads(), capacity: n.MicroBatch, sizes: t.sizes, classes: t.classes, truth: make([][]float32, len(t.sizes)), chunks: t.task.Chunks,
		sample: make([][]float32, inputs), fed: make([][]float32, inputs), answers: make([][][]float32, len(t.heads)), work: make([]float64, 2*t.width()),
	}
	if w.chunks != nil {
		for _, in := range t.task.Train.Inputs() {
			w.whole = append(w.whole, make([]float32, n.MicroBatch*in.Size()))
		}
		w.left, w.told = make([][]float32, len(n.Graph.Inputs)-inputs), make([][]float32, len(t.heads))
	}
	for _, size := range t.sizes {
		w.targets = append(w.targets, make([]float32, n.MicroBatch*size))
	}
	if t.task.Teacher != nil {
		for _, o := range t.heads {
			w.teaches = append(w.teaches, t.task.Outputs[o.output].LossTensor(t.task.Teacher.Graph))
		}
		w.teacher = t.task.Teacher.NewForwardExec(append(w.carried(), w.teaches...)...)
	}
	return w
}

// carried are the tensors that an Exec of sequences in chunks is read for what the next chunk finds.
func (w *worker) carried() []int {
	if w.chunks == nil {
		return nil
	}
	return slices.Concat(w.chunks.Left[:]...)
}

// passes is how many times an Exec runs for a micro-batch: once a chunk.
func (w *worker) passes() int {
	if w.chunks == nil {
		return 1
	}
	return w.chunks.Count()
}

// asked reports whether answers of a pass have a loss.
func (w *worker) asked(pass int) bool { return w.chunks == nil || w.chunks.Asked(pass) }

// pass runs a pass. Of sequences in chunks it is the next, after the one before or with the first state.
func (w *worker) pass(e *float.Exec, pass int) {
	if w.chunks == nil {
		e.Forward()
		return
	}
	for j, whole := range w.whole {
		whole = whole[:len(whole)/w.capacity*e.Batch()]
		for k := range e.Batch() {
			copy(sampleOf(e.Input(j), k, e.Batch()), w.chunks.Piece(sampleOf(whole, k, e.Batch()), pass))
		}
	}
	for s := range w.left {
		state := e.Input(len(w.whole) + s)
		if pass == 0 {
			clear(state)
			continue
		}
		copy(state, w.left[s])
	}
	e.Forward()
	for s, t := range w.chunks.After(pass) {
		w.left[s] = append(w.left[s][:0], e.Tensor(t)...)
	}
}

// last runs all passes; the Exec has what the last gives.
func (w *worker) last(e *float.Exec) {
	for pass := range w.passes() {
		w.pass(e, pass)
	}
}

// setBatch prepares an Exec for count samples. A network that only runs its file's batch gets its last sample repeated.
func (w *worker) setBatch(e *float.Exec, count int) {
	w.real = count
	if e.SetBatch(count) == nil {
		return
	}
	_ = e.SetBatch(w.capacity) // the initial setting, which cannot fail
}

// read fills the inputs of an Exec with samples and notes their targets.
func (w *worker) read(heads []*objective, e *float.Exec, src dataset.Source, samples []int) error {
	w.setBatch(e, len(samples))
	inputs := len(w.sample)
	told := slices.ContainsFunc(heads, func(o *objective) bool { return o.target >= 0 })
	for k, i := range samples {
		for j, size := range w.sizes {
			w.truth[j] = w.targets[j][k*size : (k+1)*size]
		}
		for j := range inputs {
			w.sample[j] = sampleOf(w.inputs(e)[j], k, e.Batch())
		}
		if err := src.Read(i, w.sample); err != nil {
			return err
		}
		if !told {
			continue
		}
		if err := src.Truth(i, w.truth); err != nil {
			return err
		}
		if err := w.check(i); err != nil {
			return err
		}
	}
	for k := len(samples); k < e.Batch(); k++ {
		for j := range inputs {
			copy(sampleOf(w.inputs(e)[j], k, e.Batch()), sampleOf(w.inputs(e)[j], len(samples)-1, e.Batch()))
		}
	}
	return nil
}

// check refuses classes that a target does not have.
func (w *worker) check(sample int) error {
	for j, classes := range w.classes {
		if classes == 0 {
			continue
		}
		for _, v := range w.truth[j] {
			if v < 0 || int(v) >= classes {
				return fmt.Errorf("sample %d has label %v; the dataset has %d classes", sample, v, classes)
			}
		}
	}
	return nil
}

// sampleOf is sample k of a batch of n.
func sampleOf(x []float32, k, n int) []float32 {
	per := len(x) / n
	return x[k*per : (k+1)*per]
}

// inputs are an Exec's; of sequences in chunks these.
func (w *worker) inputs(e *float.Exec) [][]float32 {
	for j := range w.fed {
		if w.chunks != nil {
			w.fed[j] = w.whole[j][:len(w.whole[j])/w.capacity*e.Batch()]
			continue
		}
		w.fed[j] = e.Input(j)
	}
	return w.fed
}

// original returns the inputs as read: the Exec's own, or a copy if they are a target, since quantization changes them.
func (w *worker) original(heads []*objective, x [][]float32) [][]float32 {
	if !slices.ContainsFunc(heads, func(o *objective) bool { return o.inputs }) {
		return x
	}
	if w.copied == nil {
		w.copied = make([][]float32, len(x))
	}
	for j, values := range x {
		w.copied[j] = append(w.copied[j][:0], values...)
	}
	return w.copied
}

// taught runs the teacher on the inputs of the micro-batch and returns its loss tensors for every sample.
func (w *worker) taught(heads []*objective, x [][]float32) [][][]float32 {
	w.setBatch(w.teacher, w.real)
	if w.chunks != nil {
		return w.taughtSequences(heads)
	}
	for j, values := range x {
		w.teacher.SetInput(j, values)
	}
	w.teacher.Forward()
	for h := range heads {
		z := w.teacher.Tensor(w.teaches[h])
		per := len(z) / w.teacher.Batch()
		w.answers[h] = w.answers[h][:0]
		for k := range w.real {
			w.answers[h] = append(w.answers[h], z[k*per:(k+1)*per])
		}
	}
	return w.answers
}

// taughtSequences is taught of sequences in chunks.
func (w *worker) taughtSequences(heads []*objective) [][][]float32 {
	for pass := range w.passes() {
		w.pass(w.teacher, pass)
		if !w.asked(pass) {
			continue
		}
		for h, o := range heads {
			if w.told[h] == nil {
				w.told[h] = make([]float32, w.capacity*o.outputs)
			}
			z := w.teacher.Tensor(w.teaches[h])
			w.answers[h] = w.answers[h][:0]
			for k := range w.real {
				whole := w.told[h][k*o.outputs:][:o.outputs]
				copy(w.chunks.Fresh(whole, pass), w.chunks.NewOf(sampleOf(z, k, w.teacher.Batch()), pass))
				w.answers[h] = append(w.answers[h], whole)
			}
		}
	}
	return w.answers
}

// losses adds up the losses of a pass of the micro-batch in an Exec that ran forward and, with train, writes the gradient of each sample's loss
// times share where Backward reads it. answers holds the teacher's loss tensors of every sample; each, unless
// it is nil, gets the samples' losses added.
func (w *worker) losses(heads []*objective, e *float.Exec, pass int, inputs [][]float32, answers [][][]float32, train bool, share float64, each []float32) tally {
	if train {
		e.ClearLossGrads()
	}
	sum := tally{}
	if pass == w.passes()-1 {
		sum.samples = w.real
	}
	for h, whole := range heads {
		o := whole.of(w.chunks, pass)
		z := e.Tensor(o.tensor)
		var dz []float32
		if train {
			dz = e.LossGrad(o.tensor)
		}
		for k := range w.real {
			var want truth
			z, d := sampleOf(z, k, e.Batch()), []float32(nil)
			if dz != nil {
				d = sampleOf(dz, k, e.Batch())
			}
			switch {
			case o.inputs:
				want.target = sampleOf(inputs[o.input], k, e.Batch())
			case o.target >= 0:
				size := w.sizes[o.target]
				want.target = w.targets[o.target][k*size : (k+1)*size]
			}
			if answers != nil {
				want.teacher = answers[h][k]
			}
			if w.chunks != nil && w.chunks.Each {
				want = truth{w.chunks.Fresh(want.target, pass), w.chunks.Fresh(want.teacher, pass)}
				z, d = w.chunks.NewOf(z, pass), w.chunks.NewOf(d, pass)
			}
			loss, right := o.sample(z, want, d, share, w.work)
			sum.loss += loss
			if each != nil {
				each[k] += float32(loss)
			}
			if h == 0 {
				sum.right += right
			}
		}
	}
	return sum
}
