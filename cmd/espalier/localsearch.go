package main

import (
	"context"
	"path/filepath"
	"strconv"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// search has the walk go on with what the search tries next, until that is nothing.
func (l *localWalk) search(ctx context.Context) (walk.Decision, error) {
	given := l.pipeline
	l.plan = &search.Plan{}
	for {
		spec := search.Run(&given.Spec, l.plan.Stages())
		l.pipeline = given.DeepCopy()
		l.pipeline.Spec = spec
		l.runner.Spec = &l.pipeline.Spec
		d, err := l.walk(ctx)
		if err != nil || l.plan.Ended != "" || !l.mayGoOn(d) {
			return d, err
		}
		if l.layers == nil {
			l.view.log("search   looks at what each layer tolerates")
			found, err := l.runner.Sensitivity(ctx)
			if err != nil {
				return d, err
			}
			l.layers = found.Layers
		}
		before := len(l.plan.Trials)
		plan := search.Next(search.Input{Spec: &given.Spec, Layers: l.layers, Results: l.trials()})
		l.plan = &plan
		for _, t := range plan.Trials[before:] {
			l.view.log("search   %s %s", t.Stage.Name, t.Why)
		}
		if plan.Ended != "" {
			l.view.log("search   ended: %s", plan.Ended)
		}
	}
}

// mayGoOn reports whether trials may help: the baseline is there, nothing ended the walk for good, and no leaf is taken as the first.
func (l *localWalk) mayGoOn(d walk.Decision) bool {
	if l.results[walk.Baseline] == nil || d.Suspended || d.Reason == walk.ReasonCannotBeMet {
		return false
	}
	return l.pipeline.Spec.Search.Minimize != "" || !d.Met
}

// trials are the results of the stages that are over.
func (l *localWalk) trials() map[string]search.Result {
	out := map[string]search.Result{}
	for name, fact := range l.facts.Stages {
		switch fact.State {
		case v1alpha1.StageFailed:
			out[name] = search.Result{Seconds: fact.Ended.Sub(fact.Started.Time).Seconds()}
		case v1alpha1.StageCompleted:
			seconds, _ := strconv.ParseFloat(l.results[name].Seconds, 64)
			out[name] = search.Result{Leaf: fact.Leaf, Seconds: seconds}
		}
	}
	return out
}

// searched is what the search did. Paths in its manifest are relative to the folder that it is written to, not to that of the goal.
func (l *localWalk) searched(d walk.Decision, from, to string) (*stage.Searched, error) {
	if l.plan == nil {
		return nil, nil
	}
	out := &stage.Searched{Layers: l.layers, Plan: *l.plan, Manifest: search.Manifest(l.pipeline, l.plan, d.Selected)}
	if out.Manifest == nil {
		return out, nil
	}
	spec := &out.Manifest.Spec
	for _, uri := range []*string{&spec.Model.URI, &spec.Dataset.URI} {
		if v1alpha1.Scheme(*uri) != "" || filepath.IsAbs(*uri) {
			continue
		}
		moved, err := moved(*uri, from, to)
		if err != nil {
			return nil, err
		}
		*uri = moved
	}
	return out, nil
}

// moved is a path relative to one folder as a path relative to another.
func moved(path, from, to string) (string, error) {
	whole, err := filepath.Abs(filepath.Join(from, path))
	if err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	out, err := filepath.Rel(to, whole)
	return filepath.ToSlash(out), err
}
