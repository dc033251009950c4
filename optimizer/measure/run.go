package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

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
	// Progress is called now and then, never by two goroutines at once.
	Progress func(done, total int)
}

// Answers is what a model says of every sample of a source.
type Answers struct {
	Task    Task
	scored  bool // answers have scores that order them from class 0 to class 1
	answers []answer
}

// Len returns the number of samples.
func (a *Answers) Len() int { return len(a.answers) }

// Classes returns the class answered for each sample; all −1 for tasks without classes.
func (a *Answers) Classes() []int {
	out := make([]int, len(a.answers))
	for i, s := range a.answers {
		out[i] = int(s.class)
	}
	return out
}

// Confusion counts samples by label (row) and answer (column), n × n; nil without class labels or answers.
func (a *Answers) Confusion(n int) [][]int {
	if a.Task != Classification && a.Task != Binary || len(a.answers) == 0 || a.answers[0].label < 0 {
		return nil
	}
	out := make([][]int, n)
	for i := range out {
		out[i] = make([]int, n)
	}
	for _, s := range a.answers {
		if int(s.label) < n && int(s.class) < n {
			out[s.label][s.class]++
		}
	}
	return out
}

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
	inputs, outputs, err := sampleSizes(exec.Graph(), source)
	if err != nil {
		return nil, err
	}
	f, err := taskOf(exec.Graph(), source, inputs, outputs)
	if err != nil {
		return nil, err
	}
	r := &runner{source: source, form: f, inputs: inputs, batch: exec.Batch(), progress: o.Progress,
		out: make([]answer, source.Len())}
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
	return &Answers{Task: f.task, scored: f.scored(), answers: r.out}, nil
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
	form     form
	inputs   int
	batch    int
	next     atomic.Int64
	failed   atomic.Bool
	out      []answer
	progress func(done, total int)
	mu       sync.Mutex
	done     int
}

func (r *runner) blocks() int { return (len(r.out) + r.batch - 1) / r.batch }

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
	target := make([]float32, dataset.TargetSize(r.source))
	for {
		block := int(r.next.Add(1) - 1)
		if block >= r.blocks() || r.failed.Load() {
			return nil
		}
		err := ctx.Err()
		if err == nil {
			err = r.block(exec, block*r.batch, x, target)
		}
		if err != nil {
			r.failed.Store(true)
			return &failure{block, err}
		}
	}
}

// block runs the samples from first on.
func (r *runner) block(exec *integer.Executor, first int, x, target []float32) error {
	n := min(r.batch, len(r.out)-first)
	for k := range n {
		label, err := r.source.Read(first+k, x[k*r.inputs:][:r.inputs])
		if err != nil {
			return err
		}
		r.out[first+k].label = int32(label)
	}
	if err := exec.SetInput(0, x[:n*r.inputs]); err != nil {
		return err
	}
	if err := exec.Run(); err != nil {
		return err
	}
	y := exec.Output(0)
	for k := range n {
		if len(target) > 0 {
			if err := r.source.Target(first+k, target); err != nil {
				return err
			}
		}
		label := r.out[first+k].label
		r.out[first+k] = r.form.read(x[k*r.inputs:][:r.inputs], y[k*r.form.outputs:][:r.form.outputs], target)
		r.out[first+k].label = label
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
	r.progress(r.done, len(r.out))
}

// Metrics returns what follows from the answers; original, which may be nil, is the float original's on the same source.
func (a *Answers) Metrics(original *Answers) Metrics {
	m := Metrics{}
	labelled := len(a.answers) > 0 && a.answers[0].label >= 0
	answers := a.Task == Classification || a.Task == Binary
	if labelled && answers {
		m[Accuracy] = a.share(func(_ int, s answer) bool { return s.class == s.label })
	}
	if auc, ok := a.auc(); ok {
		m[AUC] = auc
	}
	if !answers {
		sum := 0.0
		for _, s := range a.answers {
			sum += s.error
		}
		m[MeanSquaredError] = sum / float64(len(a.answers))
	}
	if original == nil || original.Len() != a.Len() || original.Task != a.Task {
		return m
	}
	if answers {
		m[Agreement] = a.share(func(i int, s answer) bool { return s.class == original.answers[i].class })
	}
	if labelled && answers {
		m[AccuracyDrop] = original.Metrics(nil)[Accuracy] - m[Accuracy]
	}
	return m
}

func (a *Answers) share(holds func(i int, s answer) bool) float64 {
	n := 0
	for i, s := range a.answers {
		if holds(i, s) {
			n++
		}
	}
	return float64(n) / float64(len(a.answers))
}

// auc is the area under the ROC curve by ranks (Mann and Whitney): the share of pairs of one sample of each class that the score
// puts in the right order, ties counting half. ok is false without two classes of both kinds.
func (a *Answers) auc() (area float64, ok bool) {
	if !a.scored {
		return 0, false
	}
	sorted := slices.Clone(a.answers)
	slices.SortStableFunc(sorted, func(x, y answer) int {
		switch {
		case x.score < y.score:
			return -1
		case x.score > y.score:
			return 1
		default:
			return 0
		}
	})
	below, pairs, positives := 0.0, 0.0, 0.0
	for i := 0; i < len(sorted); {
		j, zeros, ones := i, 0.0, 0.0
		for ; j < len(sorted) && sorted[j].score == sorted[i].score; j++ {
			switch sorted[j].label {
			case 0:
				zeros++
			case 1:
				ones++
			default:
				return 0, false
			}
		}
		pairs += ones * (below + zeros/2)
		below, positives, i = below+zeros, positives+ones, j
	}
	if below == 0 || positives == 0 {
		return 0, false
	}
	return pairs / (below * positives), true
}

func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
