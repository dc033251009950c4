package stage

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
)

// search has the walk go on with what the search tries next, until that is nothing.
func (l *Walk) search(ctx context.Context) (walk.Decision, error) {
	given := l.pipeline
	l.plan = &search.Plan{}
	for {
		spec := search.Run(&given.Spec, l.plan.Stages())
		l.pipeline = given.DeepCopy()
		l.pipeline.Spec = spec
		l.runner.Spec = &l.pipeline.Spec
		d, err := l.walk(ctx)
		if err == nil && (fault.ClassOf(l.Failure) == fault.Storage || fault.ClassOf(l.Failure) == fault.Measurement) { // which says nothing of the trial
			err = l.Failure
		}
		if err != nil || l.plan.Ended != "" || !l.mayGoOn(d) {
			return d, err
		}
		if l.layers == nil {
			l.view.Say("search   looks at what each layer tolerates")
			found, err := l.runner.Sensitivity(ctx)
			if err != nil {
				return d, err
			}
			l.layers, l.least = found.Layers, found.Least
		}
		before := len(l.plan.Trials)
		in := search.Input{Spec: &given.Spec, Layers: l.layers, Least: l.least, Results: l.trials()}
		plan := search.Next(in)
		l.plan = &plan
		l.runner.crew.follow(in, &plan, l.results)
		if err := stuck(before, &plan); err != nil {
			return d, err
		}
		for _, t := range plan.Trials[before:] {
			if t.Price > 0 && !slices.ContainsFunc(plan.Trials[:before], func(t search.Trial) bool { return t.Price > 0 }) {
				l.view.Say("search   the price of a bit is how much error a layer may take on to save one bit of its weights (1: as much as cluster stages do by default): the higher, the smaller the leaf")
			}
			l.view.Say("search   %s %s", t.Stage.Name, t.Why)
		}
		if plan.Ended != "" {
			l.view.Say("search   ended: %s", plan.Ended)
			l.facts.Stages[walk.Search] = walk.Fact{Reason: plan.Limit, Message: plan.Ended}
		}
	}
}

// stuck is an error where a plan tries nothing more and has not ended: the same would be planned again and again.
func stuck(before int, plan *search.Plan) error {
	if plan.Ended != "" || len(plan.Trials) > before {
		return nil
	}
	return fmt.Errorf("the search waits for the last of its %d trials, which is not made", before)
}

// mayGoOn reports whether trials may help: the baseline is there, nothing ended the walk for good, and no leaf is taken as the first.
func (l *Walk) mayGoOn(d walk.Decision) bool {
	if l.results[walk.Baseline] == nil || d.Suspended || d.Reason == walk.ReasonCannotBeMet {
		return false
	}
	return l.pipeline.Spec.Search.Minimize != "" || !d.Met
}

// trials are the results of the stages that are over.
func (l *Walk) trials() map[string]search.Result {
	out := map[string]search.Result{}
	for name, fact := range l.facts.Stages {
		switch fact.State {
		case v1alpha1.StageFailed:
			out[name] = search.Result{Seconds: fact.Ended.Sub(fact.Started.Time).Seconds()}
		case v1alpha1.StageCompleted:
			seconds, _ := strconv.ParseFloat(l.results[name].Seconds, 64)
			out[name] = search.Result{Leaf: fact.Leaf, Undone: l.results[name].Undone, Seconds: seconds}
		}
	}
	return out
}

// Searched is what the search did, nil where there was none. Paths in its manifest are relative to the folder that it is written to, not to that of the goal.
func (l *Walk) Searched(d walk.Decision, from, to string) (*Searched, error) {
	if l.plan == nil {
		return nil, nil
	}
	out := &Searched{Layers: l.layers, Plan: *l.plan, Manifest: search.Manifest(l.pipeline, l.plan, d.Selected)}
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
	for i := range spec.Measurements {
		if err := moveFiles(spec.Measurements[i].Command, from, to); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// search makes all trials of the pipeline's search, those that the store does not have, and commits the leaf that they come to: the one that
// is taken or, where none will do, the nearest.
func (r *Runner) search(ctx context.Context, hash string) (result *Result, reused bool, err error) {
	p := &v1alpha1.OptimizationPipeline{Spec: search.Run(r.Spec, nil)}
	p.Spec.RunPolicy = v1alpha1.RunPolicy{} // which is the stage's
	own := *r
	own.Spec = &p.Spec
	if r.helpers > 0 {
		own.crew = newCrew(r)
		defer own.crew.lead(ctx)()
	}
	w := NewWalk(p, &own, said{r})
	d, err := w.Run(ctx)
	if err != nil {
		return nil, false, err
	}
	taken := cmp.Or(d.Selected, d.Nearest, walk.Baseline)
	done := *w.results[taken]
	done.Stage, done.Technique, done.Model = walk.Search, walk.Search, ""
	done.Searched = &Searched{Layers: w.layers, Plan: *w.plan, Taken: taken}
	reused = true
	for _, s := range w.Filled(d).Status.Stages {
		if s.Name != walk.Baseline {
			done.Searched.Made = append(done.Searched.Made, s)
			reused = reused && s.Reused
		}
	}
	result, err = artifact.PutResult(ctx, r.Store, hash, &done)
	return result, reused, fault.As(fault.Storage, err)
}

// said is a walk's view that says things in a log.
type said struct{ *Runner }

func (v said) Begin(stage string) { v.say("trial started", "trial", stage) }

func (v said) End(stage string) { v.say("trial stopped", "trial", stage) }

func (v said) Leaf(stage string, r *Result, reused bool) {
	v.say("trial completed", "trial", stage, "reused", reused, "leaf", r.Leaf, "metrics", metricAttrs(r.Metrics))
}

func (v said) Failed(stage string, err error) {
	v.say("trial failed", "trial", stage, "error", fault.Line(err))
}

func (v said) Say(format string, args ...any) { v.say(oneLine(fmt.Sprintf(format, args...))) }

func (r *Runner) say(text string, attrs ...any) {
	if r.Say != nil {
		r.Say(text, attrs...)
	}
}

// expand has the trials of a search that one stage made stand in its place, as if the walk had made them. A search that made none stays.
func (p *Publication) expand(ctx context.Context) error {
	pipeline := p.Pipeline
	if pipeline.Spec.Search == nil {
		return nil
	}
	i := slices.IndexFunc(pipeline.Status.Stages, func(s v1alpha1.StageStatus) bool { return s.Name == walk.Search })
	if i < 0 || pipeline.Status.Stages[i].Leaf == nil {
		p.Searched = &Searched{}
		return nil
	}
	status := &pipeline.Status
	result, err := p.result(ctx, &status.Stages[i])
	if err != nil {
		return err
	}
	if result.Searched == nil {
		return fmt.Errorf("%w: the result of the search has no trials", artifact.ErrDamaged)
	}
	p.Searched = result.Searched
	p.Searched.attempt = status.Stages[i].Attempt
	status.Stages = slices.Concat(status.Stages[:i], p.Searched.Made, status.Stages[i+1:])
	pipeline.Spec = search.Run(&pipeline.Spec, p.Searched.Plan.Stages())
	if status.Selected != nil && status.Selected.Stage == walk.Search {
		status.Selected.Stage = p.Searched.Taken
		p.Searched.Manifest = search.Manifest(pipeline, &p.Searched.Plan, p.Searched.Taken)
	}
	p.Searched.Made, p.Searched.Taken = nil, "" // that is in the status
	return nil
}

// moveFiles rewrites the words of a command that name files relative to a folder.
func moveFiles(command []string, from, to string) error {
	for i, word := range command {
		info, err := os.Stat(filepath.Join(from, word))
		if err != nil || !info.Mode().IsRegular() || filepath.IsAbs(word) || i == 0 && !strings.ContainsRune(word, '/') {
			continue
		}
		if command[i], err = moved(word, from, to); err != nil {
			return err
		}
		if i == 0 && !strings.ContainsRune(command[i], '/') { // else it would be looked for in PATH
			command[i] = "./" + command[i]
		}
	}
	return nil
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
