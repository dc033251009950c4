package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/tflite"
)

// Options say how a model is run. The zero value uses every processor.
type Options struct {
	// Workers run samples side by side. Default GOMAXPROCS. Results do not depend on it.
	Workers int
	// Batch is the number of samples of one run of the model. Default 8; the file's own where the model knows no other.
	Batch int
	// Outputs describe the model's outputs; nil: they are described from the model and the source.
	Outputs []answer.Output
	// Progress is called now and then, never by two goroutines at once.
	Progress func(done, total int)
}

// Answers is what a model says of every sample of a source.
type Answers struct {
	// Outputs describe the model's outputs.
	Outputs []answer.Output
	main    int
	samples int
	columns []*column // by output
}

// Len returns the number of samples.
func (a *Answers) Len() int { return a.samples }

// Run runs a model, float or int8, over a source. Errors name what does not fit: more than one input, another input shape, labels
// past the outputs, an operator that cannot be run.
func Run(ctx context.Context, model []byte, source dataset.Source, o Options) (*Answers, error) {
	if o.Batch == 0 {
		o.Batch = 8
	}
	n, err := read(model, source, o.Batch)
	if err != nil {
		return nil, err
	}
	return run(ctx, n, source, o)
}

// compile compiles for a batch, or for the file's where the model cannot have another.
func compile(m *tflite.Model, batch int, options ...integer.Option) (*integer.Executor, error) {
	exec, err := integer.Compile(m, batch, options...)
	var fixed *ir.BatchError
	if errors.As(err, &fixed) {
		return integer.Compile(m, 0, options...)
	}
	return exec, err
}

func run(ctx context.Context, exec *network, source dataset.Source, o Options) (*Answers, error) {
	inputs, _, err := exec.sampleSizes(source)
	if err != nil {
		return nil, err
	}
	list := o.Outputs
	if list == nil {
		targets, err := answer.Survey(source)
		if err == nil {
			list, err = exec.describe(targets, nil, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(list) != len(exec.outputs()) {
		return nil, fmt.Errorf("the model has %d outputs, %d are described", len(exec.outputs()), len(list))
	}
	answers := &Answers{main: answer.Main(list), samples: source.Len()} // whatever targets this split has
	list = toldBy(list, exec, source)
	answers.Outputs = list
	for i := range list {
		if size := exec.size(i); size != list[i].Size {
			return nil, fmt.Errorf("output %s has %d values, %d are described", list[i].Name, size, list[i].Size)
		}
		answers.columns = append(answers.columns, newColumn(&list[i], source.Len()))
	}
	r := &runner{source: source, answers: answers, inputs: inputs, batch: exec.Batch(), progress: o.Progress}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, r.blocks())
	errs := make([]error, workers)
	var group sync.WaitGroup
	var lost panics.Relay
	for w := range workers {
		clone := exec
		if w > 0 {
			clone = exec.Clone()
		}
		group.Go(func() {
			defer lost.Catch()
			errs[w] = r.work(ctx, clone)
		})
	}
	group.Wait()
	lost.Throw()
	if err := first(errs); err != nil {
		return nil, err
	}
	return answers, nil
}

// toldBy is a description for a split that has targets where the described one had none, or none where that had some.
func toldBy(list []answer.Output, n *network, source dataset.Source) []answer.Output {
	told := slices.ContainsFunc(list, func(o answer.Output) bool { return o.Target >= 0 })
	if has := len(source.Targets()) > 0; told == has {
		return list
	}
	out := slices.Clone(list)
	if told {
		for i := range out {
			out[i].Target = -1
		}
		return out
	}
	targets, err := answer.Survey(source)
	if err != nil {
		return list
	}
	described, err := n.describe(targets, nil, nil)
	if err != nil {
		return list
	}
	for i := range out {
		d, o := &described[i], &out[i]
		if d.Kind == o.Kind && d.Classes == o.Classes && d.Positions == o.Positions && d.Activation == o.Activation && d.Width == o.Width {
			out[i].Target, out[i].Indexed = d.Target, d.Indexed
		}
	}
	return out
}

// sampleSizes returns the values of one sample in and out of a model, by input and of the first output.
func (n *network) sampleSizes(source dataset.Source) (inputs []int, outputs int, err error) {
	if n.chunks == nil {
		return sampleSizes(n.Graph(), source)
	}
	for _, a := range source.Inputs() { // which were found to be sequences
		inputs = append(inputs, a.Size())
	}
	return inputs, n.size(0), nil
}

// sampleSizes is that of a graph.
func sampleSizes(g *ir.Graph, source dataset.Source) (inputs []int, outputs int, err error) {
	arrays := source.Inputs()
	if len(g.Inputs) != len(arrays) {
		return nil, 0, &dataset.FitError{Err: fmt.Errorf("the model has %d inputs, samples have %d: a dataset has an array for each, by its name or as dataset.samples says; inputs that are state are named as such (--state, model.states)", len(g.Inputs), len(arrays))}
	}
	if len(g.Outputs) == 0 {
		return nil, 0, errors.New("the model has no outputs")
	}
	batch := max(1, g.Batch)
	for k, t := range g.Inputs {
		in := g.Tensors[t]
		inputs = append(inputs, in.Numel()/batch)
		shape := in.Shape
		if len(shape) > 0 && in.Batched {
			shape = shape[1:]
		}
		if err := dataset.FitShape(arrays[k], shape, " "+in.Name); err != nil {
			return nil, 0, err
		}
	}
	out := g.Tensors[g.Outputs[0]]
	outputs = out.Numel() / batch
	switch {
	case outputs == 0:
		return nil, 0, fmt.Errorf("output %q of shape %v has no values for each of %d samples: convert the model with a batch of 1", out.Name, out.Shape, batch)
	case !out.Batched && g.Batch > 1:
		return nil, 0, fmt.Errorf("output %q of shape %v does not belong to single samples: the model is fixed to %d at once and they are not kept apart along the first dimension, as where time is that (time_major): convert it with a batch of 1", out.Name, out.Shape, batch)
	}
	return inputs, outputs, nil
}

// feed sets a network's inputs to n samples, the k-th of which is number at(k): x has room for a batch of each input, sample for the places of one.
func feed(exec *network, source dataset.Source, at func(k int) int, n int, inputs []int, x, sample [][]float32) error {
	for k := range n {
		for i, size := range inputs {
			sample[i] = x[i][k*size:][:size]
		}
		if err := source.Read(at(k), sample); err != nil {
			return err
		}
	}
	for i, size := range inputs {
		sample[i] = x[i][:n*size]
	}
	return exec.set(sample)
}

// room makes room for a batch of every input.
func room(inputs []int, batch int) [][]float32 {
	out := make([][]float32, len(inputs))
	for i, size := range inputs {
		out[i] = make([]float32, batch*size)
	}
	return out
}

// runner shares blocks of samples among workers.
type runner struct {
	source   dataset.Source
	answers  *Answers
	inputs   []int
	batch    int
	next     atomic.Int64
	failed   atomic.Bool
	progress func(done, total int)
	mu       sync.Mutex
	done     int
}

func (r *runner) blocks() int { return (r.answers.samples + r.batch - 1) / r.batch }

// failure is an error at a block; the first block's is reported.
type failure struct {
	block int
	error
}

func first(errs []error) error {
	var at *failure
	for _, err := range errs {
		var f *failure
		if errors.As(err, &f) && (at == nil || f.block < at.block) {
			at = f
		}
	}
	if at == nil {
		return nil
	}
	return at.error
}

// work runs blocks until there are none left, or something failed.
func (r *runner) work(ctx context.Context, exec *network) error {
	x, sample := room(r.inputs, r.batch), make([][]float32, len(r.inputs))
	targets := make([][][]float32, r.batch) // by sample and target
	for k := range targets {
		targets[k] = dataset.Truths(r.source)
	}
	for {
		block := int(r.next.Add(1) - 1)
		if block >= r.blocks() || r.failed.Load() {
			return nil
		}
		err := ctx.Err()
		if err == nil {
			err = r.block(exec, block*r.batch, x, sample, targets)
		}
		if err != nil {
			r.failed.Store(true)
			return &failure{block, err}
		}
	}
}

// block runs the samples from first on.
func (r *runner) block(exec *network, first int, x, sample [][]float32, targets [][][]float32) error {
	n := min(r.batch, r.answers.samples-first)
	for k := range n {
		if err := r.source.Truth(first+k, targets[k]); err != nil {
			return err
		}
	}
	if err := feed(exec, r.source, func(k int) int { return first + k }, n, r.inputs, x, sample); err != nil {
		return err
	}
	if err := exec.run(); err != nil {
		return ofSamples(err, first, first+n-1)
	}
	for i, c := range r.answers.columns {
		y, size, in := exec.Output(i), c.out.Size, r.inputs[c.out.Input]
		for k := range n {
			if at := slices.IndexFunc(y[k*size:][:size], func(v float32) bool { return v != v }); at >= 0 {
				return fmt.Errorf("value %d of output %s is NaN for sample %d: an operator reads what it has no value for; keep it from there (a maximum before a LOG, a SQRT "+
					"or a divisor, a minimum before an EXP), or remove such samples", at, c.out.Name, first+k)
			}
			var target []float32
			if c.out.Target >= 0 {
				target = targets[k][c.out.Target]
			}
			c.read(first+k, x[c.out.Input][k*in:][:in], y[k*size:][:size], target)
		}
	}
	r.report(n)
	return nil
}

// ofSamples says whose ids are beyond the network's table, where that is what an executor failed at with the samples from first to last.
func ofSamples(err error, first, last int) error {
	var beyond *integer.IndexError
	if !errors.As(err, &beyond) {
		return err
	}
	which := fmt.Sprintf("sample %d", first)
	if last > first {
		which = fmt.Sprintf("one of the samples %d to %d", first, last)
	}
	return &dataset.SampleError{Err: fmt.Errorf("%s has the id %d, the network's table those from 0 to %d: number ids as the network was trained with (%w)", which, beyond.At, beyond.Size-1, err)}
}

func (r *runner) report(n int) {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	r.progress(r.done, r.answers.samples)
}

// Metrics returns what follows from the answers; original, which may be nil, is the float original's on the same source. Metrics of
// outputs but the main one carry the output's name (see Of).
func (a *Answers) Metrics(original *Answers) Metrics {
	m := Metrics{}
	if original != nil && (original.Len() != a.Len() || len(original.columns) != len(a.columns)) {
		original = nil
	}
	for i, c := range a.columns {
		var other *column
		if original != nil && original.columns[i].out.Kind == c.out.Kind && original.columns[i].out.Size == c.out.Size {
			other = original.columns[i]
		}
		of := Metrics{}
		judges[c.out.Kind](c, other, of)
		for name, v := range of {
			if i != a.main {
				name = name.Of(c.out.Name)
			}
			m[name] = v
		}
	}
	return m
}

func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
