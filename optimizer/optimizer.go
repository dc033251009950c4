// Package optimizer compresses trained TFLite networks: it prunes, clusters and quantizes them step by step so that no step undoes the
// step before, and emits int8 leaves that are checked against what was promised of them.
//
// A Source is the network to compress. A Task applies one technique to it or to what an earlier task made of it: Baseline, Prune,
// Cluster or Quantize. Its Outcome holds the float model that later tasks build on and the int8 leaf.
//
//	source, err := optimizer.Read(data)
//	data, err := dataset.Open("data.npz", dataset.Spec{})
//	task := &optimizer.Task{Source: source, Input: source.Float, Data: data, Training: train.DefaultConfig()}
//	pruned, err := task.Prune(ctx, prune.Options{Sparsity: 0.5})
//	task.Input = pruned.Model
//	leaf, err := task.Quantize(ctx, optimizer.QuantizeOptions{})
//
// The parts are packages of their own: tflite (the format), graph (float execution and gradients), integer (int8 execution), weight (the
// parametrization), prune, cluster, quantize (the techniques), train (the loop), dataset, measure, report.
package optimizer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// AlgorithmVersion changes when the same inputs give other bytes than before. It is part of every stage's name in a store.
const AlgorithmVersion = "3"

// Source is a network to compress, as it was given and as the float network that stages work on.
type Source struct {
	Given *tflite.Model
	Float *tflite.Model
	// Known are, for an int8 network, the quantizations of its activations, which stages keep.
	Known map[int]quantize.Params
	// Int8 says that the network was given quantized: the file itself is the first leaf.
	Int8 bool
	// Notes say what was rewritten on reading.
	Notes []string
}

// Read reads a network from a .tflite file's content, normalises it, checks that its weights are finite and gives every shape its
// numbers (ir.Specialize). samples are the shapes of the dataset's samples, one an input, without the batch: a network whose input size
// is open cannot be read without, which is an *ir.OpenError.
func Read(data []byte, samples ...[]int) (*Source, error) {
	given, err := tflite.Read(data)
	if err != nil {
		return nil, err
	}
	float := given.Clone()
	notes, err := tflite.Normalise(float)
	if err != nil {
		return nil, err
	}
	if err := tflite.CheckFinite(float); err != nil {
		return nil, err
	}
	s := &Source{Given: given, Float: float, Notes: notes}
	decided, err := ir.Specialize(float, samples)
	if err != nil {
		return nil, err
	}
	s.Notes = append(s.Notes, decided...)
	if !quantized(float) {
		return s, nil
	}
	if ir.OpenSizes(given) {
		s.Given = given.Clone()
		if _, err := ir.Specialize(s.Given, samples); err != nil {
			return nil, err
		}
	}
	imported, err := quantize.ImportInt8(float)
	if err != nil {
		return nil, err
	}
	s.Float, s.Known, s.Int8 = imported.Model, imported.Known, true
	return s, s.keep(float, imported)
}

// keep records in the float network what the weights of the int8 one are held to: their integers tell better than the values.
func (s *Source) keep(given *tflite.Model, imported *quantize.Imported) error {
	findings, err := weight.Load(given, weight.DefaultThresholds)
	if err != nil {
		return err
	}
	states := map[int]weight.State{}
	for _, f := range findings {
		if moved := imported.Tensor[f.Tensor]; moved != quantize.None {
			states[moved] = f.State
			s.Notes = append(s.Notes, "kept from the input: "+f.String())
		}
	}
	return weight.WriteState(s.Float, states)
}

// quantized reports whether a model computes in int8: any operator's output is.
func quantized(m *tflite.Model) bool {
	g := m.Subgraph()
	for _, o := range g.Operators {
		for _, t := range o.Outputs {
			if t >= 0 && g.Tensors[t].Type == schema.TensorTypeINT8 {
				return true
			}
		}
	}
	return false
}

// Task is what every technique starts from.
type Task struct {
	Source *Source       // the pipeline's network: teacher, and whose activation ranges are kept
	Input  *tflite.Model // the float model to work on
	Data   *dataset.Dataset
	// Training says how to train; with 0 epochs the technique is only applied.
	Training train.Config
	// Leaf says how leaves are quantized.
	Leaf LeafOptions

	// Progress, if set, is told how far training has come.
	Progress func(train.Progress)
	// Checkpoint, if set, is where training resumes from and is saved to.
	Checkpoint *Checkpoint
	// Workers bounds goroutines; 0: as many as there are processors. It changes no result.
	Workers int
}

// LeafOptions say how int8 leaves are made.
type LeafOptions struct {
	quantize.Options
	Calibration quantize.Calibration
	Samples     int // of the training split to calibrate on; 0: 512
}

// ErrCheckpoint says that training cannot resume from Checkpoint.Load; without it training starts anew.
var ErrCheckpoint = errors.New("resume")

// Checkpoint loads and saves the state of a training under way.
type Checkpoint struct {
	Load  []byte // what Save wrote before; nil starts anew
	Save  func(write func(io.Writer) error) error
	Every time.Duration // default a minute
}

// Outcome is what a technique made.
type Outcome struct {
	Model *tflite.Model // the float model that later tasks build on; nil after Quantize
	Leaf  *tflite.Model // the int8 leaf
	// States are what the weights are held to, by tensor of the float model.
	States map[int]weight.State
	// Promises are the same by tensor of the leaf; the leaf was checked against them.
	Promises     map[int]weight.State
	Training     *train.Result // nil if nothing was trained
	Verification *quantize.Verification
	SNR          []quantize.LayerSNR
	Notes        []string // decisions, one line each
}

// Baseline makes the level-0 leaf: the network quantized after training, or an int8 network as it is.
func (t *Task) Baseline(ctx context.Context) (*Outcome, error) {
	out := &Outcome{Model: t.Source.Float, Notes: slices.Clone(t.Source.Notes)}
	if t.Source.Int8 {
		out.Leaf = t.Source.Given
		out.Notes = append(out.Notes, "the network is int8 already: it is the first leaf, unchanged, and its activation ranges are kept")
		return out, nil
	}
	s, err := t.open(t.Source.Float)
	if err != nil {
		return nil, err
	}
	return out, s.ptq(ctx, out)
}

// session is one technique at work: the network, its weights and what is promised of them.
type session struct {
	*Task
	model   *tflite.Model
	net     *float.Network
	kernels []weight.Kernel
	tensors map[int]*weight.Tensor
	notes   []string
}

// open compiles the network and gives every kernel its parametrization, kept zeros and clusters included.
func (t *Task) open(m *tflite.Model) (*session, error) {
	net, err := float.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	s := &session{Task: t, model: m, net: net, kernels: weight.Kernels(m), tensors: map[int]*weight.Tensor{}}
	thresholds := weight.DefaultThresholds
	if t.Source.Int8 { // see Source.keep
		thresholds = weight.OnlyRecorded
	}
	findings, err := weight.Load(m, thresholds)
	if err != nil {
		return nil, err
	}
	states := map[int]weight.State{}
	for _, f := range findings {
		states[f.Tensor] = f.State
		if !f.Recorded {
			s.note("kept from the input: %s", f)
		}
	}
	trainable := map[int]bool{}
	for _, p := range net.Params {
		trainable[p.Tensor] = trainable[p.Tensor] || p.Trainable
	}
	for _, k := range s.kernels {
		values, err := m.Float32s(m.Subgraph().Tensors[k.Tensor])
		if err != nil {
			return nil, err
		}
		var w *weight.Tensor
		if state, ok := states[k.Tensor]; ok {
			w, err = weight.FromState(k.Name, values, state)
		} else {
			w, err = weight.New(k.Name, k.Shape, k.Axis, values)
		}
		if err != nil {
			return nil, err
		}
		s.tensors[k.Tensor] = w
		if !trainable[k.Tensor] {
			s.note("weights %q do not train: no gradient reaches them", k.Name)
		}
	}
	return s, nil
}

func (s *session) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// steps is the number of optimizer steps of the training.
func (s *session) steps() int {
	batch := max(s.Training.BatchSize, 1)
	return s.Training.Epochs * ((s.Data.Train.Len() + batch - 1) / batch)
}

// train runs the training loop on the session's weights.
func (s *session) train(ctx context.Context, ranges *train.Ranges, beforeStep func(step, total int) error) (*train.Result, error) {
	if s.Training.Epochs == 0 {
		return nil, nil
	}
	task := train.Task{
		Network: s.net, Weights: s.tensors, Ranges: ranges, Train: s.Data.Train, Validation: s.Data.Validation, Workers: s.Workers,
		Hooks: train.Hooks{BeforeStep: beforeStep, Progress: s.Progress, ProgressEvery: 200 * time.Millisecond},
	}
	if s.needsTeacher() {
		teacher, err := float.Compile(s.Source.Float, s.net.MicroBatch)
		if err != nil {
			return nil, err
		}
		task.Teacher = teacher
	}
	var trainer *train.Trainer
	if c := s.Checkpoint; c != nil && c.Save != nil {
		task.Hooks.Checkpoint = func() error { return c.Save(trainer.Save) }
		task.Hooks.CheckpointEvery = c.Every
		if c.Every == 0 {
			task.Hooks.CheckpointEvery = time.Minute
		}
	}
	trainer, err := train.New(task, s.Training)
	if err != nil {
		return nil, err
	}
	if c := s.Checkpoint; c != nil && c.Load != nil {
		if err := trainer.Load(bytes.NewReader(c.Load)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
		}
	}
	result, err := trainer.Run(ctx)
	if errors.Is(err, context.Canceled) && s.Checkpoint != nil && s.Checkpoint.Save != nil {
		return nil, errors.Join(err, s.Checkpoint.Save(trainer.Save))
	}
	return result, err
}

// needsTeacher reports whether the original network's answers are part of the loss.
func (s *session) needsTeacher() bool {
	return s.Training.Distillation.Weight > 0 || s.Data.Train.Classes() == 0 && dataset.TargetSize(s.Data.Train) == 0
}

// floatModel writes the trained values into a copy of the model, with what is promised of them.
func (s *session) floatModel() (*tflite.Model, map[int]weight.State, error) {
	m := s.model.Clone()
	tensors := m.Subgraph().Tensors
	for _, p := range s.net.Params {
		if _, parametrized := s.tensors[p.Tensor]; !parametrized && p.Trainable {
			m.SetData(tensors[p.Tensor], tflite.Float32Bytes(p.Value))
		}
	}
	states := map[int]weight.State{}
	for i, w := range s.tensors {
		if err := w.Check(); err != nil {
			return nil, nil, err
		}
		m.SetData(tensors[i], tflite.Float32Bytes(w.Values()))
		if state := w.State(); state.Mask != nil || state.Clustered() {
			states[i] = state
		}
	}
	if err := weight.WriteState(m, states); err != nil {
		return nil, nil, err
	}
	return m, states, tflite.CheckFinite(m)
}

// leafOptions are the options of the leaf with the ranges of an int8 input.
func (s *session) leafOptions() quantize.Options {
	o := s.Leaf.Options
	o.Known = s.Source.Known
	return o
}

// samples is the number of calibration samples.
func (s *session) samples() int {
	n := s.Leaf.Samples
	if n == 0 {
		n = 512
	}
	return min(n, s.Data.Train.Len())
}

// ptq makes the leaf of a float model by quantization after training.
func (s *session) ptq(ctx context.Context, out *Outcome) error {
	result, err := quantize.PTQ(ctx, out.Model, quantize.PTQOptions{Options: s.leafOptions(), Calibration: s.Leaf.Calibration}, quantize.FeedOf(s.Data.Train), s.samples())
	if err != nil {
		return err
	}
	return s.finish(ctx, out, result.Leaf, result.Plan, nil)
}

// finish compacts nothing and changes nothing: it checks the leaf against what was promised and against its simulation.
func (s *session) finish(ctx context.Context, out *Outcome, leaf *quantize.Leaf, plan *quantize.Plan, simulation *float.Network) error {
	out.Leaf = leaf.Model
	out.Notes = append(append(out.Notes, s.notes...), leaf.Notes...)
	out.Notes = append(out.Notes, plan.Kept()...)
	out.Promises = map[int]weight.State{}
	for t, state := range out.States {
		if moved := leaf.Tensor[t]; moved != quantize.None && leaf.Model.Subgraph().Tensors[moved].Type == schema.TensorTypeINT8 {
			out.Promises[moved] = state
		}
	}
	checks := quantize.Checks{
		Promises: out.Promises, Feed: quantize.FeedOf(s.Data.Train), Samples: min(verifySamples, s.Data.Train.Len()),
		Classifier: s.Data.Train.Classes() > 1 && s.outputs() > 1, Simulation: simulation,
	}
	var err error
	if out.Verification, err = quantize.Verify(ctx, leaf.Model, checks); err != nil {
		return fmt.Errorf("the emitted leaf broke an invariant: %w", err)
	}
	out.SNR, err = quantize.SNR(ctx, out.floatOf(s.model), plan, leaf, quantize.FeedOf(s.Data.Train), min(snrSamples, s.Data.Train.Len()))
	return err
}

// verifySamples and snrSamples bound what checking and describing a leaf costs.
const (
	verifySamples = 200
	snrSamples    = 32
)

func (o *Outcome) floatOf(otherwise *tflite.Model) *tflite.Model {
	if o.Model != nil {
		return o.Model
	}
	return otherwise
}

// outputs is the number of values the network's first output has for a sample.
func (s *session) outputs() int {
	g := s.net.Graph
	return g.Numel(g.Outputs[0]) / max(s.net.MicroBatch, 1)
}

// plan plans the quantization of the session's model.
func (s *session) plan() (*quantize.Plan, error) {
	g, err := ir.Parse(s.model, 0)
	if err != nil {
		return nil, err
	}
	return quantize.NewPlan(g, s.leafOptions())
}

// sparsity is the share of zeros of a mask.
func sparsity(mask []uint8) float64 {
	zeros := 0
	for _, m := range mask {
		if m == 0 {
			zeros++
		}
	}
	return float64(zeros) / math.Max(1, float64(len(mask)))
}
