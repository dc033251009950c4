package walk

import (
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
)

// settle looks for the answer, in order, so that a leaf is taken only when everything before it is over.
func (w *walk) settle() {
	var satisfying []string
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		if !s.over() {
			return
		}
		if w.ends(s) {
			w.d.Answered = true
			return
		}
		missed, known := w.d.Verdicts[s.Name]
		if !known || len(missed) > 0 {
			continue
		}
		satisfying = append(satisfying, s.Name)
		if w.first() {
			w.take(s.Name)
			return
		}
	}
	w.d.Answered = true
	if len(satisfying) == 0 { // undecided where a leaf did not come about: it might have satisfied
		w.d.judged = !slices.ContainsFunc(w.d.Stages, func(s Stage) bool { return s.State != v1alpha1.StageCompleted })
		return
	}
	w.take(satisfying[len(satisfying)-1]) // no constraints: the last leaf
	if w.spec.Selection.Defaulted().Strategy == v1alpha1.SelectBest {
		w.take(w.best(satisfying))
	}
}

func (w *walk) take(name string) {
	w.d.Answered, w.d.judged, w.d.Met, w.d.Selected = true, true, true, name
}

// ends reports whether a stage's outcome ends the walk whatever the others do.
func (w *walk) ends(s *Stage) bool {
	switch {
	case s.State == v1alpha1.StageFailed && s.Reason == ReasonInputChanged:
		w.d.Reason, w.d.Message = ReasonInputChanged, s.fact.Message
		if !strings.Contains(w.d.Message, v1alpha1.RerunAnnotation) {
			w.d.Message += fmt.Sprintf("; set the annotation %s to a new value to start from what is there now", v1alpha1.RerunAnnotation)
		}
	case s.Name == Baseline && s.State == v1alpha1.StageFailed:
		w.d.Reason = s.Reason
		if w.d.Reason == "" {
			w.d.Reason = ReasonBaselineFailed
		}
		switch s.Reason {
		case ReasonInvalidModel, ReasonInvalidDataset:
			w.d.Message = "the model or the dataset cannot be used: " + s.fact.Message
		case ReasonInvalidSpec:
			w.d.Message = s.fact.Message
		default:
			w.d.Message = "the baseline failed: " + s.fact.Message
		}
	case s.Name == Baseline:
		return w.hopeless(s)
	default:
		return false
	}
	return true
}

// hopeless ends the walk where a constraint fails on the first leaf that no stage can change: all plain int8 leaves of one graph
// share file size and arena, unless their weights are encoded. A percent is left for what quantize stages add or drop. A stage that makes
// another kind of leaf may help, or one that takes channels out.
func (w *walk) hopeless(baseline *Stage) bool {
	plain := leafForm(w.spec.EffectiveLeaf(nil))
	for i := range w.spec.Stages {
		stage := &w.spec.Stages[i]
		if !reflect.DeepEqual(leafForm(w.spec.EffectiveLeaf(stage)), plain) || stage.Prune != nil && stage.Prune.Structure == v1alpha1.PruneChannels {
			return false
		}
	}
	for _, s := range w.d.Verdicts[baseline.Name] {
		why := ""
		fixed := w.spec.Search == nil && !plain.Encoded() && slices.Contains([]v1alpha1.Metric{v1alpha1.FileBytes, v1alpha1.FlashBytes, v1alpha1.ArenaBytes}, s.Constraint.Metric)
		switch {
		case fixed && s.above && s.relative().Cmp(big.NewRat(1, 100)) >= 0:
			why = "every int8 leaf of this network has about the same, so no stage can help; " + advice[s.Constraint.Metric] + leaner(plain, s.Constraint.Metric)
		case w.spec.Search != nil:
			why = w.beyondTrials(s)
		}
		if why == "" {
			continue
		}
		w.d.Nearest, w.d.judged, w.d.Reason = baseline.Name, true, ReasonCannotBeMet
		w.d.Message = fmt.Sprintf("%s: %s", s, why)
		return true
	}
	return false
}

// beyondTrials says why no trial of a search can make up for what the baseline misses; "" where one may. Untrained trials answer at best as
// the original does.
func (w *walk) beyondTrials(s Shortfall) string {
	trains := w.spec.Training.Trains()
	switch s.Constraint.Metric {
	case v1alpha1.Accuracy, v1alpha1.AUC, v1alpha1.MeanIoU, v1alpha1.F1, v1alpha1.MeanSquaredError:
		if trains || w.facts.Baseline == nil {
			return ""
		}
		original := &v1alpha1.Leaf{Metrics: w.facts.Baseline.Metrics}
		c := s.Constraint
		c.Confidence = nil
		for _, missed := range Judge([]v1alpha1.Constraint{c}, original) {
			if missed.by != nil && missed.relative().Cmp(big.NewRat(1, 100)) >= 0 {
				return fmt.Sprintf("the original itself has %s, and trials without training only come near its answers; bound it by less, or give training epochs", missed.Value)
			}
		}
	}
	return ""
}

// leafForm is what decides a leaf's size: all options but how ranges and integers are found.
func leafForm(o v1alpha1.LeafOptions) v1alpha1.LeafOptions {
	o.Calibration, o.Reconstruct, o.Equalize = v1alpha1.Calibration{}, nil, nil
	return o.Defaulted()
}

// best returns the leaf with the best objective; the earlier one where they tie.
func (w *walk) best(names []string) string {
	objective := w.spec.Selection.Defaulted().Objective
	value := func(name string) string { return Value(w.at[name].fact.Leaf.Metrics, objective) }
	best := names[0]
	for _, name := range names[1:] {
		if better(objective, value(name), value(best)) {
			best = name
		}
	}
	return best
}

// nearest returns the leaf with the least sum of relative shortfalls; the earlier one where they tie.
func (w *walk) nearest() string {
	best, least := "", new(big.Rat)
	for i := range w.d.Stages {
		missed, known := w.d.Verdicts[w.d.Stages[i].Name]
		if !known {
			continue
		}
		sum := new(big.Rat)
		for _, s := range missed {
			sum.Add(sum, s.relative())
		}
		if best == "" || sum.Cmp(least) < 0 {
			best, least = w.d.Stages[i].Name, sum
		}
	}
	return best
}

// publish adds the last stage: once there is an answer and nothing else is under way, what was found is put where people look for it.
// Its inputs are the answer and every leaf, so that another decision from the same leaves is published anew.
func (w *walk) publish() {
	if !w.facts.Publish {
		return
	}
	s := Stage{Name: Publish, State: v1alpha1.StagePending}
	w.publishable = w.d.Answered && len(w.d.Verdicts) > 0
	for i := range w.d.Stages {
		w.publishable = w.publishable && !w.d.Stages[i].inFlight()
	}
	f := w.facts.Stages[Publish]
	s.fact = Fact{Attempt: f.Attempt} // counted on, or what was published once would count as published now
	switch {
	case w.publishable:
		if w.facts.Versions != nil {
			s.InputHash = w.publishHash()
		}
		w.state(&s)
	case f.inFlight():
		s.fact, s.Attempt = f, f.Attempt
		s.State, s.Reason, s.Message = v1alpha1.StageStopping, ReasonStopping, "there is more to come before it"
	case w.d.Answered && len(w.d.Verdicts) == 0:
		s.State, s.Message = v1alpha1.StageSkipped, "there is no leaf to publish"
	case f.LastFailure != nil: // counted on, should the same be published
		s.InputHash = f.InputHash
		s.fact = Fact{Attempt: f.Attempt, InputHash: f.InputHash, Failures: f.Failures, LastFailure: f.LastFailure}
	}
	w.d.Stages = append(w.d.Stages, s)
}
