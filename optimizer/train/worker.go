package train

import (
	"fmt"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
)

// worker is what one goroutine needs to run samples through the networks.
type worker struct {
	net      *float.Network
	exec     *float.Exec  // of the network; nil until needed
	grads    *float.Grads // of the lane it runs
	teacher  *float.Exec
	forward  *float.Exec // of the network, without backward
	labels   []int
	answers  [][]float32 // the teacher's
	copied   []float32   // inputs before quantization, where they are the target
	targets  []float32
	work     []float64 // for the loss
	real     int       // samples of the micro-batch that count; the rest is padding
	capacity int       // samples of a micro-batch
}

func newWorker(t *Trainer) *worker {
	n := t.task.Network
	w := &worker{
		net: n, grads: n.NewGrads(), capacity: n.MicroBatch, labels: make([]int, n.MicroBatch),
		work: make([]float64, 2*t.objective.outputs), targets: make([]float32, n.MicroBatch*t.objective.targets),
	}
	if t.task.Teacher != nil {
		w.teacher = t.task.Teacher.NewForwardExec(t.task.Teacher.LossTensor())
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

// read fills the inputs of an Exec with samples and notes their labels and targets.
func (w *worker) read(o *objective, e *float.Exec, src dataset.Source, samples []int) error {
	w.setBatch(e, len(samples))
	x := e.Input(0)
	per := len(x) / e.Batch()
	for k, i := range samples {
		label, err := src.Read(i, x[k*per:(k+1)*per])
		if err != nil {
			return err
		}
		if label >= src.Classes() {
			return fmt.Errorf("sample %d has label %d; the dataset has %d classes", i, label, src.Classes())
		}
		if src.Classes() == 0 {
			label = -1
		} else if label < 0 && o.kind != none {
			return fmt.Errorf("sample %d has no label", i)
		}
		w.labels[k] = label
		if o.targets > 0 && o.kind != none {
			if err := src.Target(i, w.targets[k*o.targets:(k+1)*o.targets]); err != nil {
				return err
			}
		}
	}
	for k := len(samples); k < e.Batch(); k++ {
		copy(x[k*per:(k+1)*per], x[(len(samples)-1)*per:len(samples)*per])
	}
	return nil
}

// original returns the inputs as read: the Exec's own, or a copy if they are the target, since quantization changes them.
func (w *worker) original(o *objective, x []float32) []float32 {
	if !o.inputs {
		return x
	}
	w.copied = append(w.copied[:0], x...)
	return w.copied
}

// taught runs the teacher on the inputs of the micro-batch and returns its loss tensor for every sample.
func (w *worker) taught(x []float32) [][]float32 {
	w.setBatch(w.teacher, w.real)
	w.teacher.SetInput(0, x)
	w.teacher.Forward()
	z := w.teacher.Tensor(w.teacherTensor())
	per := len(z) / w.teacher.Batch()
	w.answers = w.answers[:0]
	for k := range w.real {
		w.answers = append(w.answers, z[k*per:(k+1)*per])
	}
	return w.answers
}

func (w *worker) teacherTensor() int { return w.teacher.Network().LossTensor() }

// losses adds up the loss of the micro-batch in an Exec that ran forward, and writes the gradient of each sample's loss times
// share to dz, which may be nil. answers holds the teacher's loss tensor of every sample.
func (w *worker) losses(o *objective, e *float.Exec, inputs []float32, answers [][]float32, dz []float32, share float64) tally {
	z := e.Tensor(w.net.LossTensor())
	per := len(inputs) / e.Batch()
	clear(dz)
	sum := tally{samples: w.real}
	for k := range w.real {
		want := truth{label: w.labels[k]}
		switch {
		case o.inputs:
			want.target = inputs[k*per : (k+1)*per]
		case o.targets > 0:
			want.target = w.targets[k*o.targets : (k+1)*o.targets]
		}
		if answers != nil {
			want.teacher = answers[k]
		}
		var d []float32
		if dz != nil {
			d = dz[k*o.outputs : (k+1)*o.outputs]
		}
		loss, right := o.sample(z[k*o.outputs:(k+1)*o.outputs], want, d, share, w.work)
		sum.loss += loss
		if right {
			sum.right++
		}
	}
	return sum
}
