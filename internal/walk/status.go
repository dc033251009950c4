package walk

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

// Reasons of the condition ConstraintsMet besides those of the decision.
const (
	ReasonUndecided     = "Undecided"
	ReasonNoConstraints = "NoConstraints"
)

// Shown is what a status says besides the decision and the facts.
type Shown struct {
	Generation int64
	Now        time.Time
	// Previous is the status so far, for the times of its conditions.
	Previous *v1alpha1.OptimizationPipelineStatus
	// AlgorithmVersion and Rerun are those that the results are of.
	AlgorithmVersion, Rerun string
	// StoredURI names the file of a leaf in the store, PublishedURI the one that publish makes of it. Nil: there is none.
	StoredURI, PublishedURI func(digest string) string
}

// Status returns the status that shows a decision and the facts it was made from. Deciding again from what it records, see RecordedFacts,
// gives the same decision.
func (d *Decision) Status(facts Facts, shown Shown) v1alpha1.OptimizationPipelineStatus {
	var previous []metav1.Condition
	if shown.Previous != nil {
		previous = shown.Previous.Conditions
	}
	status := v1alpha1.OptimizationPipelineStatus{
		ObservedGeneration: shown.Generation,
		Progress:           d.Progress(),
		AlgorithmVersion:   shown.AlgorithmVersion,
		Rerun:              shown.Rerun,
		Baseline:           facts.Baseline.DeepCopy(),
		Conditions:         d.Conditions(previous, shown.Generation, metav1.NewTime(shown.Now)),
	}
	for i := range d.Stages {
		status.Stages = append(status.Stages, d.Stages[i].status())
	}
	if facts.Publish {
		status.Published = d.published(facts, shown)
		condition := d.publishedCondition(facts, status.Published, previous, shown)
		status.Conditions = append(status.Conditions, stamped(previous, shown.Generation, metav1.NewTime(shown.Now), condition)...)
	}
	if s := d.Stage(d.Selected); s != nil {
		status.Selected = &v1alpha1.Selected{Stage: s.Name, Digest: s.fact.Leaf.Digest, Metrics: s.fact.Leaf.DeepCopy().Metrics,
			Intervals: Intervals(d.constraints, s.fact.Leaf)}
		switch {
		case status.Published != nil && status.Published.Digest == status.Selected.Digest:
			status.Selected.URI = status.Published.URI
		case shown.StoredURI != nil:
			status.Selected.URI = shown.StoredURI(status.Selected.Digest)
		}
	}
	return status
}

// status shows one stage.
func (s *Stage) status() v1alpha1.StageStatus {
	f := s.fact
	out := v1alpha1.StageStatus{Name: s.Name, Input: s.Input, State: s.State, Attempt: s.Attempt, InputHash: s.InputHash, Settings: s.shownSettings()}
	switch {
	case s.State != v1alpha1.StageCompleted:
		out.Message = Truncate(s.Message, v1alpha1.MaxStageMessage)
	case s.Name == Search:
		out.Message = Truncate(cause(s.Reason, s.Message), v1alpha1.MaxStageMessage)
	}
	if s.State == v1alpha1.StagePending || s.State == v1alpha1.StageSkipped {
		out.Attempt = f.Attempt // one that is about to start is shown when it has
		if f.LastFailure != nil {
			out.Failures, out.LastFailure, out.InputHash = f.Failures, f.LastFailure.DeepCopy(), cmp.Or(out.InputHash, f.InputHash)
		}
		return out
	}
	out.Job, out.Reused, out.StartTime, out.CompletionTime, out.Leaf = f.Job, f.Reused, f.Started, f.Ended, f.Leaf.DeepCopy()
	if s.State != v1alpha1.StageCompleted && f.LastFailure != nil {
		out.Failures, out.LastFailure = f.Failures, f.LastFailure.DeepCopy()
	}
	if f.InputHash != "" {
		out.InputHash = f.InputHash
	}
	if f.Model != "" {
		out.Model = &v1alpha1.Artifact{Digest: f.Model}
	}
	return out
}

// shownSettings are those that a finished stage had, and that another will have.
func (s *Stage) shownSettings() *v1alpha1.StageSettings {
	switch {
	case s.State == v1alpha1.StageCompleted && s.fact.Settings != nil:
		if *s.fact.Settings == (v1alpha1.StageSettings{}) {
			return nil
		}
		return s.fact.Settings.DeepCopy()
	case s.settings == nil:
		return nil
	}
	out := s.settings.DeepCopy()
	if s.fact.LearningRate != "" {
		out.LearningRate = s.fact.LearningRate
	}
	if s.fact.Epochs > 0 {
		out.Epochs = &s.fact.Epochs
	}
	return out
}

// Conditions states a decision as the four conditions of the status: Ready sums up; Reconciling while something will still happen,
// Stalled when nothing will until the spec changes, never both, and neither while the spec suspends it; ConstraintsMet once there is an answer. Transition times are those of
// previous conditions where the status did not change.
func (d *Decision) Conditions(previous []metav1.Condition, generation int64, now metav1.Time) []metav1.Condition {
	ready := metav1.ConditionUnknown
	switch {
	case d.Ready:
		ready = metav1.ConditionTrue
	case d.Stalled(), d.Suspended:
		ready = metav1.ConditionFalse
	}
	return stamped(previous, generation, now,
		metav1.Condition{Type: v1alpha1.ConditionReady, Status: ready, Reason: d.Reason, Message: d.Message},
		metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: truth(!d.Ready && !d.Stalled() && !d.Suspended), Reason: d.Reason, Message: d.Message},
		metav1.Condition{Type: v1alpha1.ConditionStalled, Status: truth(d.Stalled()), Reason: d.Reason, Message: d.Message},
		d.constraintsMet(),
	)
}

// stamped are conditions as a status holds them: with generation and time, which is that of the previous one where the status is the same.
func stamped(previous []metav1.Condition, generation int64, now metav1.Time, conditions ...metav1.Condition) []metav1.Condition {
	for i := range conditions {
		c := &conditions[i]
		c.Message, c.ObservedGeneration, c.LastTransitionTime = Truncate(c.Message, v1alpha1.MaxConditionMessage), generation, now
		if p := find(previous, c.Type); p.Status == c.Status {
			c.LastTransitionTime = p.LastTransitionTime
		}
	}
	return conditions
}

// constraintsMet says what became of the constraints, whatever else went wrong.
func (d *Decision) constraintsMet() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionConstraintsMet, Status: metav1.ConditionUnknown, Reason: ReasonUndecided, Message: d.Message}
	switch {
	case !d.Answered || !d.judged:
	case len(d.constraints) == 0:
		c.Status, c.Reason = truth(d.Met), ReasonNoConstraints
	case d.Met:
		c.Status, c.Reason = metav1.ConditionTrue, ReasonConstraintsMet
	case d.Reason == ReasonCannotBeMet:
		c.Status, c.Reason = metav1.ConditionFalse, ReasonCannotBeMet
	default:
		c.Status, c.Reason = metav1.ConditionFalse, ReasonNotMet
	}
	return c
}

func truth(yes bool) metav1.ConditionStatus {
	if yes {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}
