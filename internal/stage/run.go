package stage

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/measurement"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/train"
)

// Runner runs stages of one pipeline.
type Runner struct {
	Spec  *v1alpha1.OptimizationPipelineSpec
	Store *artifact.Store
	// Prepared are the model and the dataset. Where it is nil, Prepare gets them when a stage has to be computed; Run is then for
	// one goroutine.
	Prepared *Prepared
	Prepare  func(context.Context) (*Prepared, error)
	// Pinned holds the digests of model and dataset where they are known without Prepared.
	Pinned *v1alpha1.Baseline
	// KernelClass is part of what names a result: the SIMD level where all stages run on one machine; empty where the first
	// result counts, whichever machine made it.
	KernelClass string
	Workers     int
	// ReadOnly has only committed results count: nothing is run, measured or written.
	ReadOnly bool
	// Measure runs the programs of spec.measurements; nil where there are none.
	Measure measurement.Runner
	// Elsewhere has measurements with a Job of their own made there: a stage that needs one is not over, which is an *awaitsError.
	Elsewhere bool
	// Measures names the measurement that is made here, of a leaf that is in the store, and nothing else is; "": stages are run.
	Measures string
	// Progress is told how far a stage's training has come.
	Progress func(stage string, p train.Progress)
	// Warn, if set, is told of what went wrong and does not matter.
	Warn func(stage string, err error)
	// CheckpointEvery is how often a training under way is saved; default half a minute.
	CheckpointEvery time.Duration
	// Grace bounds the saving of a training that is stopped; 0: no bound.
	Grace time.Duration
	// Say, if set, is told what a search tries, and what came of it.
	Say func(text string, attrs ...any)
	// Guard, if set, makes an error of a panic in what it is given.
	Guard func(func() error) error

	helpers int32           // Jobs that may make trials of a search beside this process
	notes   *artifact.Notes // that they are told by
	rhythm  rhythm
	crew    *crew // of the search whose trials are run; nil: none
}

// Once is a warning of a leaf that others of the pipeline may give too: it need not be said again.
type Once string

func (o Once) Error() string { return string(o) }

// Run returns the result of a stage, walk.Baseline or one of the spec's: the committed one if there is one (reused), else by running
// it, which a ReadOnly one does not do. parent is the float model it works on, "" for the pipeline's own.
func (r *Runner) Run(ctx context.Context, name, parent string) (result *Result, hash string, reused bool, err error) {
	s, err := r.settings(name)
	if err != nil {
		return nil, "", false, err
	}
	if r.Pinned == nil {
		if err := r.prepare(ctx); err != nil {
			return nil, "", false, err
		}
	}
	if parent == "" {
		parent = r.digests().ModelDigest
	}
	trained, err := r.hash(s, parent)
	if err != nil {
		return nil, "", false, err
	}
	programs, err := r.programs()
	if err != nil {
		return nil, "", false, err
	}
	hash = walk.MeasuredHash(trained, r.Spec.Measurements, programs) // with what measurements give of the leaf
	result, err = r.committed(ctx, s, hash)
	if errors.Is(err, artifact.ErrNotFound) && r.crew.await(ctx, hash) {
		result, err = r.committed(ctx, s, hash)
	}
	switch {
	case err == nil && (!s.searches() || r.ReadOnly):
		return result, hash, !r.crew.isFresh(hash), nil
	case err != nil && !errors.Is(err, artifact.ErrNotFound):
		return nil, hash, false, err
	case r.ReadOnly && (hash == trained || s.searches()):
		return nil, hash, false, fault.As(fault.Storage, fmt.Errorf("%w: %w", errNoResult, err))
	case s.searches(): // what it tried before is in the store
		result, reused, err = r.search(ctx, hash)
		return result, hash, reused, err
	case hash != trained:
		result, err = r.measured(ctx, s, trained, hash, parent, programs)
		return result, hash, false, err
	}
	result, err = r.trained(ctx, s, hash, parent)
	return result, hash, false, err
}

// committed returns the result that the store has under a hash, or an error that is artifact.ErrNotFound.
func (r *Runner) committed(ctx context.Context, s settings, hash string) (*Result, error) {
	result, err := artifact.GetResult[Result](ctx, r.Store, hash)
	if err == nil {
		err = r.check(ctx, s, hash, result)
	}
	if err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	if result.Stage = s.name; r.readsOnly() || s.searches() {
		return result, nil
	}
	r.tell(result)
	return result, r.timed(ctx, result)
}

// trained runs a stage.
func (r *Runner) trained(ctx context.Context, s settings, hash, parent string) (*Result, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if err := r.checker().runs(s.stage); err != nil {
		return nil, err
	}
	return r.compute(ctx, s, hash, parent)
}

// readsOnly reports whether stages are not run here.
func (r *Runner) readsOnly() bool { return r.ReadOnly || r.Measures != "" }

// errNoResult says that there is nothing to read.
var errNoResult = errors.New("the store does not have the stage's result")

// check compares a committed result with its leaf. One that does not tell the truth is removed, and counts as not there.
func (r *Runner) check(ctx context.Context, s settings, hash string, result *Result) error {
	leaf, err := r.Store.GetBlob(ctx, result.Leaf)
	if err != nil {
		return err
	}
	wrong := result.contradicts(s, leaf)
	if wrong == nil {
		return nil
	}
	r.warn(s.name, fmt.Errorf("the result %s is not believed: %w", hash, wrong))
	if err := r.Store.DeleteResult(ctx, hash); err != nil {
		return err
	}
	return artifact.ErrNotFound
}

func (r *Runner) warn(name string, err error) {
	if r.Warn != nil {
		r.Warn(name, err)
	}
}

func (r *Runner) guarded(f func() error) error {
	if r.Guard == nil {
		return f()
	}
	return r.Guard(f)
}

// prepare gets the model and the dataset, unless they are there.
func (r *Runner) prepare(ctx context.Context) (err error) {
	if r.Prepared == nil {
		r.Prepared, err = r.Prepare(ctx)
	}
	return err
}

// digests are those of model and dataset.
func (r *Runner) digests() v1alpha1.Baseline {
	if r.Pinned != nil {
		return *r.Pinned
	}
	return r.Prepared.digests()
}

// settings are a stage's effective settings.
type settings struct {
	name     string
	stage    *v1alpha1.Stage // nil: the baseline
	training v1alpha1.Training
	leaf     v1alpha1.LeafOptions
}

func (r *Runner) settings(name string) (settings, error) {
	if name == walk.Baseline {
		return settings{name: name, leaf: r.Spec.EffectiveLeaf(nil)}, nil
	}
	for i := range r.Spec.Stages {
		if stage := &r.Spec.Stages[i]; stage.Name == name {
			return settings{name, stage, r.Spec.Effective(stage), r.Spec.EffectiveLeaf(stage)}, nil
		}
	}
	return settings{}, fault.As(fault.Spec, fmt.Errorf("the pipeline has no stage %q", name))
}

// technique is the settings' technique in a word.
func (s settings) technique() string {
	if s.stage == nil {
		return walk.Baseline
	}
	if s.searches() {
		return walk.Search
	}
	name, _ := s.stage.Technique()
	return name
}

// searches reports whether the stage makes the trials of a search.
func (s settings) searches() bool { return s.stage != nil && searches(s.stage) }

func searches(s *v1alpha1.Stage) bool {
	name, _ := s.Technique()
	return name == ""
}

func (r *Runner) hash(s settings, parent string) (string, error) {
	versions := walk.Versions{Algorithm: optimizer.AlgorithmVersion, KernelClass: r.KernelClass}
	hash := walk.StageHash(r.Spec, s.name, versions, r.digests(), parent)
	if hash == "" {
		return "", fault.As(fault.Spec, fmt.Errorf("the settings of stage %q cannot be hashed", s.name))
	}
	return hash, nil
}

// timed measures a reused leaf's latency anew: it belongs to the machine, not to the file.
func (r *Runner) timed(ctx context.Context, result *Result) error {
	content, err := r.Store.GetBlob(ctx, result.Leaf)
	if err != nil {
		return fault.As(fault.Storage, err)
	}
	sample, err := blankFor(content)
	if err != nil {
		return fault.As(fault.Storage, err)
	}
	latency, err := measure.TimeLatency(ctx, content, sample, measure.LatencyOptions{})
	if err != nil {
		return err
	}
	result.setLatency(measure.Format(latency.P50))
	return nil
}

// compute runs a stage and commits what it made.
func (r *Runner) compute(ctx context.Context, s settings, hash, parent string) (*Result, error) {
	start := time.Now()
	network, err := r.network(ctx, s, parent)
	if err != nil {
		return nil, err
	}
	run, err := r.setUp(ctx, s, hash)
	if err != nil {
		return nil, err
	}
	outcome, err := apply(ctx, run, network, s)
	if errors.Is(err, lineage.ErrCheckpoint) { // one of another build: it is overwritten
		r.warn(s.name, err)
		run.Checkpoint.Load = nil
		outcome, err = apply(ctx, run, network, s)
	}
	if err != nil {
		return nil, classify(err)
	}
	result, err := r.describe(ctx, s, outcome)
	if err != nil {
		return nil, err
	}
	result.Seconds = measure.Format(time.Since(start).Seconds())
	committed, err := artifact.PutResult(ctx, r.Store, hash, result)
	if err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	if committed != result { // another process was quicker
		committed.Stage = s.name
		committed.setLatency(walk.Value(result.Metrics, v1alpha1.Metric(measure.LatencyMicros)))
	}
	if err := r.Store.DeleteCheckpoint(ctx, hash); err != nil {
		r.warn(s.name, fmt.Errorf("delete the checkpoint: %w", err))
	}
	r.tell(committed)
	return committed, nil
}

// tell says what a person should see of a result: what was decided when it was made, and what it leaves open of the constraints as they are now.
func (r *Runner) tell(result *Result) {
	for _, text := range result.Once {
		r.warn(result.Stage, Once(text))
	}
	for _, text := range slices.Concat(result.Warnings, result.doubts(r.Spec.Constraints)) {
		r.warn(result.Stage, errors.New(text))
	}
}

// classify tells damaged samples and failures of training from broken invariants.
func classify(err error) error {
	var diverged *train.DivergedError
	var sample *dataset.SampleError
	switch {
	case errors.As(err, &diverged):
		return fault.As(fault.Training, err)
	case errors.As(err, &sample):
		return fault.As(fault.Dataset, err)
	}
	return err
}

// Check converts every stage's settings, and resolves its rules against the model's layers, before anything runs. Stages whose leaf would not run
// on the device fail when their turn comes, which a walk that takes an earlier leaf never sees: warnings name them. It is an error where the baseline
// is one of these, all stages are, or there are no constraints, so that every stage has to run.
func (r *Runner) Check() (warnings []string, err error) {
	c := r.checker()
	if err := c.checkLeaf(r.Spec.EffectiveLeaf(nil)); err != nil {
		return nil, fault.As(fault.Spec, fmt.Errorf("spec.leaf: %w", err))
	}
	if err := c.runs(nil); err != nil {
		return nil, fmt.Errorf("spec.target: %w", err)
	}
	if err := checkIdle(r.Spec, r.Prepared.Outputs); err != nil {
		return nil, fault.As(fault.Spec, err)
	}
	if _, err := r.programs(); err != nil {
		return nil, err
	}
	stages := 0
	var refused []error
	for i := range r.Spec.Stages {
		s := &r.Spec.Stages[i]
		if searches(s) {
			continue
		}
		stages++
		if err := c.check(s, r.Spec.Effective(s)); err != nil {
			return nil, fault.As(fault.Spec, fmt.Errorf("spec.stages[%d] %q: %w", i, s.Name, err))
		}
		if err := c.checkScales(s); err != nil {
			return nil, fault.As(fault.Spec, fmt.Errorf("spec.stages[%d] %q: %w", i, s.Name, err))
		}
		if err := c.runs(s); err != nil {
			refused = append(refused, fmt.Errorf("spec.stages[%d] %q: %w", i, s.Name, err))
		}
	}
	if len(refused) > 0 && (len(refused) == stages || len(r.Spec.Constraints) == 0) {
		return nil, refused[0]
	}
	for _, err := range refused {
		warnings = append(warnings, fmt.Sprintf("%v; it fails when its turn comes, unless an earlier leaf is taken", err))
	}
	return warnings, nil
}

// checker is that of the spec's settings.
func (r *Runner) checker() *checker {
	return &checker{spec: r.Spec, network: r.Prepared.Network, classes: dataset.ClassCount(r.Prepared.Data.Train)}
}

// checkScales reports clusters of a stage, or of those it builds on, that perTensorDense contradicts.
func (c *checker) checkScales(s *v1alpha1.Stage) error {
	wanted, err := leafOptions(c.spec.EffectiveLeaf(s))
	if err != nil || !wanted.PerTensorDense || s.Quantize != nil && s.Quantize.Preserve == "None" {
		return err
	}
	for _, at := range c.spec.Line(s) {
		if at.Cluster == nil {
			continue
		}
		technique, err := techniqueOf(at)
		if err != nil {
			return err
		}
		own, err := leafOptions(c.spec.EffectiveLeaf(at))
		if err != nil {
			return err
		}
		if err := wanted.CheckAfter(c.network, technique.(lineage.Cluster), own); err != nil {
			return fmt.Errorf("cluster stage %q: %w", at.Name, err)
		}
	}
	return nil
}

// checker holds what settings have to fit.
type checker struct {
	spec    *v1alpha1.OptimizationPipelineSpec
	network *lineage.Network
	classes int                    // of the dataset; 0 where it has none
	run     []v1alpha1.LeafOptions // those whose leaves run on the device
}

func (c *checker) check(s *v1alpha1.Stage, t v1alpha1.Training) error {
	config, err := training(t)
	if err != nil {
		return err
	}
	if n := len(config.ClassWeights); n > 0 && config.Epochs > 0 && n != c.classes {
		return fmt.Errorf("classWeights has %d numbers, the dataset %d classes (dataset.classes declares more than its labels show)", n, c.classes)
	}
	technique, err := techniqueOf(s)
	if err != nil {
		return err
	}
	if err := technique.Check(c.network); err != nil {
		return err
	}
	if s.Quantize != nil {
		return c.checkLeaf(c.spec.EffectiveLeaf(s))
	}
	return nil
}

// oneScale reports whether a stage keeps clusters that have one scale a tensor, of a stage that it builds on: in its leaf weights have one too.
func (c *checker) oneScale(s *v1alpha1.Stage) bool {
	for _, at := range c.spec.Line(s) {
		if at.Quantize != nil && at.Quantize.Preserve == "None" {
			return false
		}
		if at.Cluster != nil && at.Cluster.Scope == "Tensor" {
			return true
		}
	}
	return false
}

func (c *checker) checkLeaf(o v1alpha1.LeafOptions) error {
	leaf, err := leafOptions(o)
	if err != nil {
		return err
	}
	if err := c.checkEncoding(leaf.Encode); err != nil {
		return err
	}
	return leaf.Check(c.network)
}

// runs reports operators of a stage's leaf that its device lacks, before anything is trained for it, as far as that is known
// (lineage.Run.Placed): once for leaves of the same options. nil is the baseline.
func (c *checker) runs(s *v1alpha1.Stage) error {
	o := c.spec.EffectiveLeaf(s)
	if s != nil && c.oneScale(s) {
		o.PerTensorDense = new(true)
	}
	if slices.ContainsFunc(c.run, func(had v1alpha1.LeafOptions) bool { return reflect.DeepEqual(had, o) }) {
		return nil
	}
	leaf, err := leafOptions(o)
	if err != nil {
		return err
	}
	if leaf.Target, err = Target(c.spec); err != nil {
		return err
	}
	report, err := (&lineage.Run{Leaf: leaf}).Placed(c.network)
	if err != nil {
		return err
	}
	if report != nil && !report.Runs {
		return fault.As(fault.Model, fmt.Errorf("a leaf %w", report.Err()))
	}
	c.run = append(c.run, o)
	return nil
}

// checkEncoding reports an encoding that the target does not decode.
func (c *checker) checkEncoding(e lineage.Encoding) error {
	if len(e.Kinds()) == 0 {
		return nil
	}
	t, err := Target(c.spec)
	if err != nil {
		return err
	}
	name := "LiteRT"
	if t != nil {
		name = t.Name
	}
	for _, k := range e.Kinds() {
		if t == nil || !t.Decodes(k) {
			return fmt.Errorf("encode %s: %s does not decode weights: name a target that does (espalier targets lists them under ENCODINGS), or leave encode out", e, name)
		}
	}
	return nil
}

// network is what a stage works on.
func (r *Runner) network(ctx context.Context, s settings, parent string) (*lineage.Network, error) {
	original := r.Prepared.Network
	if s.stage == nil || parent == r.Prepared.ModelDigest {
		return original, nil
	}
	m, err := r.input(ctx, s.name, parent)
	if err != nil {
		return nil, err
	}
	n, err := original.Next(m)
	return n, fault.As(fault.Storage, err)
}

// setUp says how a stage is run.
func (r *Runner) setUp(ctx context.Context, s settings, hash string) (*lineage.Run, error) {
	run := &lineage.Run{Data: r.Prepared.Data, Workers: r.Workers, Outputs: r.Prepared.Outputs}
	var err error
	if run.Leaf, err = leafOptions(s.leaf); err != nil {
		return nil, err
	}
	if run.Leaf.Target, err = Target(r.Spec); err != nil {
		return nil, err
	}
	if r.Progress != nil {
		run.Progress = func(p train.Progress) { r.Progress(s.name, p) }
	}
	if s.stage == nil {
		return run, nil
	}
	if run.Training, err = training(s.training); err != nil {
		return nil, err
	}
	return run, r.checkpoints(ctx, run, s.name, hash)
}

// apply runs the stage's technique.
func apply(ctx context.Context, run *lineage.Run, n *lineage.Network, s settings) (*lineage.Outcome, error) {
	if s.stage == nil {
		return run.Baseline(ctx, n)
	}
	technique, err := techniqueOf(s.stage)
	if err != nil {
		return nil, err
	}
	return run.Apply(ctx, n, technique)
}
