package search

import (
	"encoding/json"
	"slices"

	"espalier.dev/espalier/api/v1alpha1"
)

// MostHelpers bounds how many make trials beside the search's own process: with each doubling it is one trial further ahead.
const MostHelpers = 7

// Helpers is how many may make trials beside the search's own process. There is none where what is measured of a trial depends on what runs
// beside it.
func Helpers(spec *v1alpha1.OptimizationPipelineSpec) int32 {
	if spec.Search == nil || spec.Search.Minimize == v1alpha1.LatencyMicros || len(spec.Measurements) > 0 ||
		slices.ContainsFunc(spec.Constraints, func(c v1alpha1.Constraint) bool { return c.Metric == v1alpha1.LatencyMicros }) {
		return 0
	}
	return min(v1alpha1.Or(spec.RunPolicy.Parallelism, v1alpha1.DefaultParallelism)-1, MostHelpers)
}

// Likely is a trial that a search may want once the one that it waits for is over.
type Likely struct {
	// Stages are the trial, last, and those that it builds on. Their names are those of one course of the search.
	Stages []v1alpha1.Stage
	// IDs tell each of Stages from all other trials, whatever their names.
	IDs []string
}

// ID is that of the trial.
func (l Likely) ID() string { return l.IDs[len(l.IDs)-1] }

// maxReplays bounds how many courses Ahead looks at.
const maxReplays = 32

// Ahead are the trials that Next may want once the one that it waits for is over, and can be made now: the likelier first, of equally likely
// ones those that are wanted sooner. made are results of trials that were made ahead, by ID. What Next wants does not depend on them.
func Ahead(in Input, made map[string]Result) []Likely {
	type course struct {
		outcomes []tried
		share    float64 // of all courses
	}
	type found struct {
		Likely
		share float64
	}
	var out []found
	queue := []course{{share: 1}}
	for n := 0; n < maxReplays && len(queue) > 0; n++ {
		first := 0
		for i := range queue {
			if queue[i].share > queue[first].share {
				first = i
			}
		}
		c := queue[first]
		queue = slices.Delete(queue, first, first+1)
		s := &search{Input: in, made: made, assumed: c.outcomes}
		s.run()
		if !s.waiting {
			continue
		}
		if trial := s.last(); len(c.outcomes) > 0 && s.makable() {
			if i := slices.IndexFunc(out, func(f found) bool { return f.ID() == trial.ID() }); i < 0 {
				out = append(out, found{trial, c.share})
			} else {
				out[i].share += c.share
			}
		}
		for _, o := range s.outcomes() {
			queue = append(queue, course{append(slices.Clone(c.outcomes), o.tried), c.share * o.share})
		}
	}
	slices.SortStableFunc(out, func(a, b found) int {
		switch {
		case a.share > b.share:
			return -1
		case a.share < b.share:
			return 1
		}
		return 0
	})
	trials := make([]Likely, len(out))
	for i := range out {
		trials[i] = out[i].Likely
	}
	return trials
}

// Course are the trials of a plan, each with those that it builds on.
func Course(plan *Plan) []Likely {
	s := &search{plan: *plan}
	out := make([]Likely, len(plan.Trials))
	for i := range plan.Trials {
		s.ids = append(s.ids, s.id(&plan.Trials[i].Stage))
		out[i] = s.chain(i)
	}
	return out
}

// outcome is what may come of a trial, and how likely that is.
type outcome struct {
	tried
	share float64
}

// outcomes are what may come of the trial that is waited for, as far as it decides what is tried next. A leaf that holds is taken for the
// smallest so far: a larger one leads where one leads that does not hold.
func (s *search) outcomes() []outcome {
	at := len(s.plan.Trials)
	trial := &s.plan.Trials[at-1]
	size := -float64(at)
	out := []outcome{
		{tried{name: trial.Stage.Name, holds: true, small: true, size: size}, 0.5},
		{tried{name: trial.Stage.Name, small: true, size: size}, 0.5},
	}
	if trial.narrows() && !s.priced(s.Spec.Search.Minimize) {
		out[0].share = 0.25
		out = append(out, outcome{tried{name: trial.Stage.Name, holds: true, size: size}, 0.25})
	}
	return out
}

// last is the last trial.
func (s *search) last() Likely { return s.chain(len(s.plan.Trials) - 1) }

func (s *search) chain(i int) Likely {
	var out Likely
	for i >= 0 {
		stage := s.plan.Trials[i].Stage
		out.Stages, out.IDs = append(out.Stages, stage), append(out.IDs, s.ids[i])
		i = s.index(stage.From)
	}
	slices.Reverse(out.Stages)
	slices.Reverse(out.IDs)
	return out
}

// makable reports whether what the last trial works on is there.
func (s *search) makable() bool {
	from := s.plan.Trials[len(s.plan.Trials)-1].Stage.From
	i := s.index(from)
	return i < 0 || s.Results[from].Leaf != nil || s.made[s.ids[i]].Leaf != nil
}

// index is where a trial is in the plan, -1 of the model.
func (s *search) index(name string) int {
	return slices.IndexFunc(s.plan.Trials, func(t Trial) bool { return t.Stage.Name == name })
}

// id tells a trial of the plan from all others, whatever its name.
func (s *search) id(stage *v1alpha1.Stage) string {
	of := *stage
	of.Name = ""
	if i := s.index(of.From); i >= 0 {
		of.From = s.ids[i]
	}
	text, err := json.Marshal(of)
	if err != nil { // a stage is plain data
		panic(err)
	}
	return string(text)
}
