package train

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
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
}

func newWorker(t *Trainer) *worker {
	n := t.task.Network
	w := &worker{
		net: n, grads: n.NewGrads(), capacity: n.MicroBatch, sizes: t.sizes, classes: t.classes, truth: make([][]float32, len(t.sizes)),
		sample: make([][]float32, len(n.Graph.Inputs)), fed: make([][]float32, len(n.Graph.Inputs)), answers: make([][][]float32, len(t.heads)), work: make([]float64, 2*t.width()),
	}
	for _, size := range t.sizes {
		w.targets = append(w.targets, make([]float32, n.MicroBatch*size))
	}
	if t.task.Teacher != nil {
		for _, o := range t.heads {
			w.teaches = append(w.teaches, t.task.Outputs[o.output].LossTensor(t.task.Teacher.Graph))
		}
		w.teacher = t.task.Teacher.NewForwardExec(w.teaches...)
	}
	return w
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
			w.sample[j] = sampleOf(e.Input(j), k, e.Batch())
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
			copy(sampleOf(e.Input(j), k, e.Batch()), sampleOf(e.Input(j), len(samples)-1, e.Batch()))
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

// inputs are an Exec's.
func (w *worker) inputs(e *float.Exec) [][]float32 {
	for j := range w.fed {
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

// losses adds up the losses of the micro-batch in an Exec that ran forward and, with train, writes the gradient of each sample's loss
// times share where Backward reads it. answers holds the teacher's loss tensors of every sample; each, unless
// it is nil, gets the samples' losses added.
func (w *worker) losses(heads []*objective, e *float.Exec, inputs [][]float32, answers [][][]float32, train bool, share float64, each []float32) tally {
	if train {
		e.ClearLossGrads()
	}
	sum := tally{samples: w.real}
	for h, o := range heads {
		z := e.Tensor(o.tensor)
		var dz []float32
		if train {
			dz = e.LossGrad(o.tensor)
		}
		for k := range w.real {
			var want truth
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
			var d []float32
			if dz != nil {
				d = dz[k*o.outputs : (k+1)*o.outputs]
			}
			loss, right := o.sample(z[k*o.outputs:(k+1)*o.outputs], want, d, share, w.work)
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
