package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// Walk walks a tree in this process: decide, start what was decided, wait for one outcome, decide again.
type Walk struct {
	// Failure is that of the first stage that failed.
	Failure error

	pipeline *v1alpha1.OptimizationPipeline
	runner   *Runner
	view     View
	facts    walk.Facts
	results  map[string]*Result
	started  map[string]metav1.Time
	cancel   map[string]context.CancelFunc

	plan   *search.Plan // nil of a pipeline with stages of its own
	layers []sensitivity.Layer
	least  float64 // share of the multiplications that is left with every channel out that can go
}

// View is told how a walk goes on.
type View interface {
	// Begin says that a stage started; End, that it was stopped.
	Begin(stage string)
	End(stage string)
	// Leaf says what came of a stage; reused, that the store had it.
	Leaf(stage string, result *Result, reused bool)
	Failed(stage string, err error)
	// Say is a line for people, such as why a search tries what it tries.
	Say(format string, args ...any)
}

// ran is what came of one stage.
type ran struct {
	name   string
	result *Result
	hash   string
	reused bool
	err    error
}

// NewWalk makes one of a pipeline, whose spec is the runner's too.
func NewWalk(p *v1alpha1.OptimizationPipeline, r *Runner, v View) *Walk {
	return &Walk{pipeline: p, runner: r, view: v, facts: walk.Facts{Stages: map[string]walk.Fact{}}, results: map[string]*Result{},
		started: map[string]metav1.Time{}, cancel: map[string]context.CancelFunc{}}
}

// Run walks, or searches where the pipeline says so, until nothing is left to do. A cancelled context or an unusable baseline ends it with
// an error.
func (l *Walk) Run(ctx context.Context) (walk.Decision, error) {
	if l.pipeline.Spec.Search != nil {
		return l.search(ctx)
	}
	return l.walk(ctx)
}

// Started reports whether any stage has come to a result.
func (l *Walk) Started() bool { return len(l.results) > 0 }

// walk is Run of a pipeline's own stages.
func (l *Walk) walk(ctx context.Context) (walk.Decision, error) {
	outcomes := make(chan ran)
	running := 0
	for {
		d := walk.Decide(&l.pipeline.Spec, l.facts, time.Now())
		if ctx.Err() == nil {
			for _, name := range d.Start {
				l.start(ctx, name, outcomes)
				running++
			}
		}
		for _, name := range d.Stop {
			l.cancel[name]()
		}
		if running == 0 {
			return d, l.ended(ctx, d)
		}
		o := <-outcomes
		running--
		l.record(o)
	}
}

// ended is the error the walk itself ends with.
func (l *Walk) ended(ctx context.Context, d walk.Decision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Reason == walk.ReasonBaselineFailed {
		return l.Failure
	}
	return nil
}

func (l *Walk) start(ctx context.Context, name string, outcomes chan<- ran) {
	ctx, l.cancel[name] = l.bounded(ctx, name)
	l.facts.Stages[name] = walk.Fact{State: v1alpha1.StageRunning, Attempt: 1}
	l.started[name] = thisSecond()
	parent := ""
	inputs := l.pipeline.Spec.Inputs()
	for i := range l.pipeline.Spec.Stages {
		if s := &l.pipeline.Spec.Stages[i]; s.Name == name && inputs[i] != v1alpha1.FromModel {
			parent = l.results[inputs[i]].Model
		}
	}
	l.view.Begin(name)
	go func() {
		o := ran{name: name}
		o.err = l.runner.guarded(func() (err error) {
			o.result, o.hash, o.reused, err = l.runner.Run(ctx, name, parent)
			return err
		})
		outcomes <- o
	}()
}

// bounded is a context that a stage's deadline ends, if the manifest sets one: the default is for Jobs.
func (l *Walk) bounded(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	spec := &l.pipeline.Spec
	s := spec.Stage(name)
	if spec.RunPolicy.ActiveDeadlineSeconds == nil && (s == nil || s.ActiveDeadlineSeconds == nil) {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, spec.Deadline(name))
}

func thisSecond() metav1.Time { return metav1.NewTime(time.Now().UTC().Truncate(time.Second)) }

func (l *Walk) record(o ran) {
	l.cancel[o.name]()
	started, ended := l.started[o.name], thisSecond()
	fact := walk.Fact{Attempt: 1, InputHash: o.hash, Reused: o.reused, Started: &started, Ended: &ended}
	switch {
	case errors.Is(o.err, context.Canceled):
		delete(l.facts.Stages, o.name)
		l.view.End(o.name)
		return
	case o.err != nil:
		if l.Failure == nil {
			l.Failure = o.err
		}
		fact.State, fact.Message = v1alpha1.StageFailed, fault.Line(o.err)
		if errors.Is(o.err, context.DeadlineExceeded) {
			fact.Reason = walk.ReasonDeadline
			fact.Message = fmt.Sprintf("it took longer than activeDeadlineSeconds, %d; raise it", int64(l.pipeline.Spec.Deadline(o.name).Seconds()))
		}
		l.view.Failed(o.name, o.err)
	default:
		l.results[o.name] = o.result
		fact.State, fact.Model, fact.LearningRate = v1alpha1.StageCompleted, o.result.Model, o.result.FoundRate()
		fact.Epochs = o.result.FoundEpochs()
		fact.Leaf = o.result.Status()
		if o.name == walk.Baseline {
			pinned := l.runner.digests()
			pinned.Metrics = o.result.Float
			l.facts.Baseline = &pinned
		}
		l.view.Leaf(o.name, o.result, o.reused)
	}
	l.facts.Stages[o.name] = fact
}

// CacheFolder is the store of a run, in its folder.
const CacheFolder = ".cache"

// Filled returns the pipeline with its status, as a cluster would show it.
func (l *Walk) Filled(d walk.Decision) *v1alpha1.OptimizationPipeline {
	p := l.pipeline.DeepCopy()
	p.Status = d.Status(l.facts, walk.Shown{
		Generation: p.Generation, Now: thisSecond().Time, AlgorithmVersion: optimizer.AlgorithmVersion,
		StoredURI: func(digest string) string { return CacheFolder + "/" + artifact.BlobName(digest) },
	})
	return p
}
