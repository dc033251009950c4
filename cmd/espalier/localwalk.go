package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// localWalk walks a tree in this process: decide, start what was decided, wait for one outcome, decide again.
type localWalk struct {
	pipeline *v1alpha1.OptimizationPipeline
	runner   *stage.Runner
	view     *view
	facts    walk.Facts
	results  map[string]*stage.Result
	started  map[string]metav1.Time
	cancel   map[string]context.CancelFunc
	failure  error // of the first stage that failed

	plan   *search.Plan // nil of a pipeline with stages of its own
	layers []sensitivity.Layer
}

// outcome is what came of one stage.
type outcome struct {
	name   string
	result *stage.Result
	hash   string
	reused bool
	err    error
}

func newLocalWalk(p *v1alpha1.OptimizationPipeline, r *stage.Runner, v *view) *localWalk {
	return &localWalk{pipeline: p, runner: r, view: v, facts: walk.Facts{Stages: map[string]walk.Fact{}}, results: map[string]*stage.Result{},
		started: map[string]metav1.Time{}, cancel: map[string]context.CancelFunc{}}
}

// walk runs until nothing is left to do. A cancelled context or an unusable baseline ends it with an error.
func (l *localWalk) walk(ctx context.Context) (walk.Decision, error) {
	outcomes := make(chan outcome)
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
func (l *localWalk) ended(ctx context.Context, d walk.Decision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Reason == walk.ReasonBaselineFailed {
		return l.failure
	}
	return nil
}

func (l *localWalk) start(ctx context.Context, name string, outcomes chan<- outcome) {
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
	l.view.begin(name)
	go func() {
		o := outcome{name: name}
		o.err = guarded(func() (err error) {
			o.result, o.hash, o.reused, err = l.runner.Run(ctx, name, parent)
			return err
		})
		outcomes <- o
	}()
}

// bounded is a context that a stage's deadline ends, if the manifest sets one: the default is for Jobs.
func (l *localWalk) bounded(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	spec := &l.pipeline.Spec
	s := spec.Stage(name)
	if spec.RunPolicy.ActiveDeadlineSeconds == nil && (s == nil || s.ActiveDeadlineSeconds == nil) {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, spec.Deadline(name))
}

func thisSecond() metav1.Time { return metav1.NewTime(time.Now().UTC().Truncate(time.Second)) }

func (l *localWalk) record(o outcome) {
	l.cancel[o.name]()
	started, ended := l.started[o.name], thisSecond()
	fact := walk.Fact{Attempt: 1, InputHash: o.hash, Reused: o.reused, Started: &started, Ended: &ended}
	switch {
	case errors.Is(o.err, context.Canceled):
		delete(l.facts.Stages, o.name)
		l.view.end(o.name)
		return
	case o.err != nil:
		if l.failure == nil {
			l.failure = o.err
		}
		fact.State, fact.Message = v1alpha1.StageFailed, oneLine(o.err)
		if errors.Is(o.err, context.DeadlineExceeded) {
			fact.Reason = walk.ReasonDeadline
			fact.Message = fmt.Sprintf("it took longer than activeDeadlineSeconds, %d; raise it", int64(l.pipeline.Spec.Deadline(o.name).Seconds()))
		}
		l.view.failed(o.name, o.err)
	default:
		l.results[o.name] = o.result
		fact.State, fact.Model, fact.LearningRate = v1alpha1.StageCompleted, o.result.Model, o.result.FoundRate()
		fact.Epochs = o.result.FoundEpochs()
		fact.Leaf = o.result.Status()
		if o.name == walk.Baseline {
			l.facts.Baseline = &v1alpha1.Baseline{
				ModelDigest: l.runner.Prepared.ModelDigest, DatasetDigest: l.runner.Prepared.Data.Digest, Metrics: o.result.Float,
			}
		}
		l.view.leaf(o.name, o.result, o.reused)
	}
	l.facts.Stages[o.name] = fact
}

// cacheFolder is the store of a run, in its folder.
const cacheFolder = ".cache"

// filled returns the pipeline with its status, as a cluster would show it.
func (l *localWalk) filled(d walk.Decision) *v1alpha1.OptimizationPipeline {
	p := l.pipeline.DeepCopy()
	p.Status = d.Status(l.facts, walk.Shown{
		Generation: p.Generation, Now: thisSecond().Time, AlgorithmVersion: optimizer.AlgorithmVersion,
		StoredURI: func(digest string) string { return cacheFolder + "/" + artifact.BlobName(digest) },
	})
	return p
}
