package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
	m, err := read(model, source.Shape())
	if err != nil {
		return nil, err
	}
	if o.Batch == 0 {
		o.Batch = 8
	}
	exec, err := compile(m, o.Batch)
	if err != nil {
		return nil, err
	}
	return run(ctx, exec, source, o)
}

// compile compiles for a batch, or for the file's where the model cannot have another.
func compile(m *tflite.Model, batch int) (*integer.Executor, error) {
	exec, err := integer.Compile(m, batch)
	var fixed *ir.BatchError
	if errors.As(err, &fixed) {
		return integer.Compile(m, 0)
	}
	return exec, err
}

func run(ctx context.Context, exec *integer.Executor, source dataset.Source, o Options) (*Answers, error) {
	inputs, _, err := sampleSizes(exec.Graph(), source)
	if err != nil {
		return nil, err
	}
	list := o.Outputs
	if list == nil {
		targets, err := answer.Survey(source)
		if err == nil {
			list, err = answer.Describe(exec.Graph(), targets, nil, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(list) != len(exec.Graph().Outputs) {
		return nil, fmt.Errorf("the model has %d outputs, %d are described", len(exec.Graph().Outputs), len(list))
	}
	answers := &Answers{Outputs: list, main: answer.Main(list), samples: source.Len()}
	for i := range list {
		if size := exec.Graph().Numel(exec.Graph().Outputs[i]) / max(1, exec.Batch()); size != list[i].Size {
			return nil, fmt.Errorf("output %s has %d values, %d are described", list[i].Name, size, list[i].Size)
		}
		answers.columns = append(answers.columns, newColumn(&list[i], source.Len()))
	}
	r := &runner{source: source, answers: answers, inputs: inputs, batch: exec.Batch(), progress: o.Progress}
	targets, err := answer.Survey(source)
	if err != nil {
		return nil, err
	}
	for i := range targets {
		r.sizes = append(r.sizes, targets[i].Size())
	}
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

// sampleSizes returns the values of one sample in and out of a model.
func sampleSizes(g *ir.Graph, source dataset.Source) (inputs, outputs int, err error) {
	if len(g.Inputs) != 1 {
		return 0, 0, fmt.Errorf("the model has %d inputs; models of more than one input are not supported", len(g.Inputs))
	}
	if len(g.Outputs) == 0 {
		return 0, 0, errors.New("the model has no outputs")
	}
	in, out := g.Tensors[g.Inputs[0]], g.Tensors[g.Outputs[0]]
	batch := max(1, g.Batch)
	inputs, outputs = in.Numel()/batch, out.Numel()/batch
	if n := numel(source.Shape()); n != inputs {
		shape := in.Shape
		if len(shape) > 0 && in.Batched {
			shape = shape[1:]
		}
		return 0, 0, fmt.Errorf("samples have shape %v (%d values), the model's input %s is %v (%d values); dataset.preprocessing "+
			"can resize, crop and reshape", source.Shape(), n, in.Name, shape, inputs)
	}
	if !out.Batched && g.Batch > 1 || outputs == 0 {
		return 0, 0, fmt.Errorf("output %q of shape %v does not belong to single samples", out.Name, out.Shape)
	}
	return inputs, outputs, nil
}

// runner shares blocks of samples among workers.
type runner struct {
	source   dataset.Source
	answers  *Answers
	sizes    []int // of targets
	inputs   int
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
func (r *runner) work(ctx context.Context, exec *integer.Executor) error {
	x := make([]float32, r.batch*r.inputs)
	targets := make([][][]float32, r.batch) // by sample and target
	for k := range targets {
		for _, size := range r.sizes {
			targets[k] = append(targets[k], make([]float32, size))
		}
	}
	for {
		block := int(r.next.Add(1) - 1)
		if block >= r.blocks() || r.failed.Load() {
			return nil
		}
		err := ctx.Err()
		if err == nil {
			err = r.block(exec, block*r.batch, x, targets)
		}
		if err != nil {
			r.failed.Store(true)
			return &failure{block, err}
		}
	}
}

// block runs the samples from first on.
func (r *runner) block(exec *integer.Executor, first int, x []float32, targets [][][]float32) error {
	n := min(r.batch, r.answers.samples-first)
	for k := range n {
		if err := answer.Read(r.source, first+k, x[k*r.inputs:][:r.inputs], targets[k]); err != nil {
			return err
		}
	}
	if err := exec.SetInput(0, x[:n*r.inputs]); err != nil {
		return err
	}
	if err := exec.Run(); err != nil {
		return err
	}
	for i, c := range r.answers.columns {
		y, size := exec.Output(i), c.out.Size
		for k := range n {
			var target []float32
			if c.out.Target >= 0 {
				target = targets[k][c.out.Target]
			}
			c.read(first+k, x[k*r.inputs:][:r.inputs], y[k*size:][:size], target)
		}
	}
	r.report(n)
	return nil
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
