package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// Work is a technique at work on a network: its weights, to be changed, and the means to train them.
type Work struct {
	// Kernels are the network's weights.
	Kernels []weight.Kernel
	// Tensors are their parametrizations by tensor of the model, kept zeros and clusters included.
	Tensors map[int]*weight.Tensor

	run      *Run
	network  *Network
	net      *float.Network
	notes    []string
	warnings []string
	once     []string
	training *train.Result
	preview  func() error   // gives weights the form that training ends with, for a search of the learning rate; nil: they have it
	back     func(step int) // told when training goes back to a step
	settled  int            // the step from which on a schedule changes nothing more
	chosen   map[int]bool   // tensors whose clusters are the technique's doing
	fitted   bool           // the weights that training starts from are reconstructed
	meets    *tflite.Model  // whose outputs reconstruction has layers meet; nil: the network's
	layers   operators      // those whose layers it has do so; nil: all
}

// open compiles the network and gives every kernel its parametrization.
func (r *Run) open(n *Network) (*Work, error) {
	if n.Final() {
		return nil, errors.New("the network was trained to be quantized: no technique works on it")
	}
	net, err := float.Compile(n.model, 0)
	if err != nil {
		return nil, err
	}
	w := &Work{Kernels: n.Kernels(), Tensors: map[int]*weight.Tensor{}, chosen: map[int]bool{}, run: r, network: n, net: net}
	net.Attach(answer.LossTensors(r.Outputs, net.Graph)...)
	states := n.States()
	largest, err := r.largest(n)
	if err != nil {
		return nil, err
	}
	trainable := map[int]bool{}
	for _, p := range net.Params {
		trainable[p.Tensor] = trainable[p.Tensor] || p.Trainable
	}
	for _, k := range w.Kernels {
		values, err := n.model.Float32s(n.model.Subgraph().Tensors[k.Tensor])
		if err != nil {
			return nil, err
		}
		state, ok := states[k.Tensor]
		if !ok {
			state = weight.State{Shape: k.Shape, Axis: k.Axis}
		}
		most := weight.MaxCode
		if n, ok := largest[k.Tensor]; ok {
			most = n
		}
		t, err := weight.FromState(k.Name, values, state.Within(most))
		if err != nil {
			return nil, err
		}
		w.Tensors[k.Tensor] = t
		if !trainable[k.Tensor] {
			w.Note("weights %q do not train: no gradient reaches them", k.Name)
		}
	}
	return w, nil
}

// reopen goes on with another network, whose weights are those that the work is on now.
func (w *Work) reopen(n *Network) error {
	fresh, err := w.run.open(n)
	if err != nil {
		return err
	}
	w.Kernels, w.Tensors, w.network, w.net = fresh.Kernels, fresh.Tensors, fresh.network, fresh.net
	return nil
}

// Note records a decision for the report.
func (w *Work) Note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// Warn records a decision that a person should see at once, not in the report only.
func (w *Work) Warn(format string, args ...any) {
	w.warnings = append(w.warnings, fmt.Sprintf(format, args...))
	w.Note(format, args...)
}

// Once records a decision that a person should see with the first stage that makes it.
func (w *Work) Once(text string) {
	w.once, w.notes = append(w.once, text), append(w.notes, text)
}

// Steps is the number of optimizer steps of the training, or those that a schedule is drawn over where they are not known.
func (w *Work) Steps() int {
	c := w.run.Training
	return c.Sketched(w.run.Data.Train.Len())
}

// Train runs the training loop on the weights. before, which may be nil, is called before every step, and may change masks.
func (w *Work) Train(ctx context.Context, before func(step int) error) error {
	return w.train(ctx, nil, before)
}

func (w *Work) train(ctx context.Context, ranges *train.Ranges, before func(step int) error) (err error) {
	r := w.run
	if r.Training.Epochs == 0 {
		return nil
	}
	hooks := train.Hooks{Progress: r.Progress, ProgressEvery: 200 * time.Millisecond}
	hooks.BeforeTrials, hooks.Back = w.preview, w.back
	if before != nil {
		hooks.BeforeStep = func(step, _ int) error { return before(step) }
	}
	task, err := w.task()
	if err != nil {
		return err
	}
	task.Ranges, task.Hooks, task.Fitted = ranges, hooks, w.fitted
	var trainer *train.Trainer
	if c := r.Checkpoint; c != nil && c.Save != nil {
		task.Hooks.Checkpoint = func() error { return c.Save(trainer.Save) }
		task.Hooks.CheckpointEvery = c.Every
		if c.Every == 0 {
			task.Hooks.CheckpointEvery = time.Minute
		}
	}
	config := r.Training
	config.EarlyStop.From = w.settled / max(1, train.Steps(1, config.BatchSize, r.Data.Train.Len()))
	if trainer, err = train.New(task, config); err != nil {
		return err
	}
	if c := r.Checkpoint; c != nil && c.Load != nil {
		if err := trainer.Load(bytes.NewReader(c.Load)); err != nil {
			return fmt.Errorf("%w: %w", ErrCheckpoint, err)
		}
	}
	w.training, err = trainer.Run(ctx)
	if err == nil && w.training.RangeTest != nil {
		w.Note("%v", w.training.RangeTest)
		if len(w.training.RangeTest.Backs) > 0 {
			w.warnings = append(w.warnings, w.training.RangeTest.String())
		}
	}
	if err == nil && w.training.Sought != nil {
		w.Note("%v", w.training.Sought)
	}
	if err == nil {
		w.noteKept(w.training, ranges != nil)
	}
	if errors.Is(err, context.Canceled) && r.Checkpoint != nil && r.Checkpoint.Save != nil {
		return errors.Join(err, r.Checkpoint.Save(trainer.Save))
	}
	return err
}

// noteKept notes which weights training ended with, where not the last; that it was for nothing, or too short, a person should see.
func (w *Work) noteKept(r *train.Result, quantized bool) {
	switch text := r.Kept(); {
	case text == "":
	case r.Best < 0:
		w.Warn("%s", text)
	default:
		w.Note("%s", text)
	}
	if text := r.Unfinished(); text != "" {
		if quantized && !w.fitted { // short stages of other kinds are reconstructed by themselves where they can be
			text += ", and quantize: {reconstruct: true} makes up for much without training"
		}
		w.Warn("%s", text)
	}
}

// task is what a training is of, whatever it does with it.
func (w *Work) task() (t train.Task, err error) {
	r := w.run
	t = train.Task{Network: w.net, Weights: w.Tensors, Outputs: r.Outputs, Train: r.Data.Train, Validation: w.validation(), Workers: r.Workers, Chunks: w.network.chunks()}
	if w.needsTeacher() {
		t.Teacher, err = float.Compile(w.network.from.model, w.net.MicroBatch)
	}
	return t, err
}

// knowsByHeart reports whether the network, as it is, knows the validation samples by heart: they do not say what training is worth then.
func (w *Work) knowsByHeart() (bool, error) {
	task, err := w.task()
	if err != nil {
		return false, err
	}
	t, err := train.New(task, w.run.Training)
	if err != nil {
		return false, err
	}
	return t.KnowsByHeart()
}

// validation is the split that training is followed on; none where it lacks the targets that training has.
func (w *Work) validation() dataset.Source {
	v := w.run.Data.Validation
	if v == nil || len(v.Targets()) != len(w.run.Data.Train.Targets()) {
		return nil
	}
	return v
}

// needsTeacher reports whether the original network's answers are part of the loss.
func (w *Work) needsTeacher() bool {
	return w.run.Training.Distillation.Weight > 0 || slices.ContainsFunc(w.run.Outputs, func(o answer.Output) bool { return o.Distilled() })
}

// Done returns the network that the weights make now, with what they are held to.
func (w *Work) Done() (*Network, error) {
	m := w.network.model.Clone()
	tensors := m.Subgraph().Tensors
	for _, p := range w.net.Params {
		if _, parametrized := w.Tensors[p.Tensor]; !parametrized && p.Trainable {
			m.SetData(tensors[p.Tensor], tflite.Float32Bytes(p.Value))
		}
	}
	given := w.network.States()
	states := map[int]weight.State{}
	for i, t := range w.Tensors {
		if err := t.Check(); err != nil {
			return nil, err
		}
		m.SetData(tensors[i], tflite.Float32Bytes(t.Values()))
		if state := t.State(); state.Mask != nil || state.Clustered() {
			state.Found = given[i].Found && state.Clustered() && !w.chosen[i]
			states[i] = state
		}
	}
	if err := weight.WriteState(m, states); err != nil {
		return nil, err
	}
	return w.network.next(m, w.network.ids, states), tflite.CheckFinite(m)
}
