package walk

import (
	"fmt"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

// Decide derives the next step.
func Decide(spec *v1alpha1.OptimizationPipelineSpec, facts Facts, now time.Time) Decision {
	w := &walk{spec: spec, facts: facts, now: now, at: map[string]*Stage{}}
	w.d.constraints = spec.Constraints
	w.observe()
	w.judge()
	w.settle()
	w.trim()
	w.publish()
	w.suspend()
	w.start()
	w.conclude()
	return w.d
}

// walk is one decision in the making.
type walk struct {
	spec  *v1alpha1.OptimizationPipelineSpec
	facts Facts
	now   time.Time
	d     Decision
	at    map[string]*Stage // by name

	publishable bool // there is an answer and nothing else is under way
}

// observe gives every stage the state it has by itself and by its input; inputs come before what builds on them.
func (w *walk) observe() {
	inputs := w.spec.Inputs()
	w.d.Stages = make([]Stage, 1, len(inputs)+2)
	w.d.Stages[0] = Stage{Name: Baseline}
	for i := range w.spec.Stages {
		stage := &w.spec.Stages[i]
		w.d.Stages = append(w.d.Stages, Stage{Name: stage.Name, Input: inputs[i], settings: w.spec.Effective(stage).Defaulted().Shown()})
	}
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		w.at[s.Name] = s
		w.identify(s)
		w.state(s)
	}
}

// parent returns the stage that s waits for; nil of the baseline and of publish.
func (w *walk) parent(s *Stage) *Stage {
	switch {
	case s.implicit():
		return nil
	case s.Input == v1alpha1.FromModel:
		return w.at[Baseline]
	default:
		return w.at[s.Input]
	}
}

// identify names the inputs the stage has now, as far as they are known.
func (w *walk) identify(s *Stage) {
	if s.Name == Baseline {
		if w.facts.Versions != nil {
			s.InputHash = AttemptHash(w.spec, BaselineHash(w.spec, *w.facts.Versions))
		}
		return
	}
	parent := w.parent(s)
	if parent.State != v1alpha1.StageCompleted || w.at[Baseline].State != v1alpha1.StageCompleted {
		return
	}
	s.Parent = parent.fact.Model
	if w.facts.Baseline == nil {
		return
	}
	if parent.Name == Baseline {
		s.Parent = w.facts.Baseline.ModelDigest
	}
	if w.facts.Versions != nil {
		s.InputHash = AttemptHash(w.spec, StageHash(w.spec, s.Name, *w.facts.Versions, *w.facts.Baseline, s.Parent))
	}
}

// state says where the stage stands: what the facts say, if they are about the inputs it has now.
func (w *walk) state(s *Stage) {
	f := w.facts.Stages[s.Name]
	if w.stale(s, f) {
		s.State, s.fact.Attempt = v1alpha1.StagePending, f.Attempt // counted on, so that no two attempts of a stage have one name
		if f.Reason == ReasonResultsLost {                         // for as long as a Job may still say that the result is there
			s.fact = Fact{Attempt: f.Attempt, InputHash: f.InputHash, Failures: f.Failures, LastFailure: f.LastFailure}
		}
		if f.inFlight() {
			s.fact, s.Attempt = f, f.Attempt
			s.State, s.Reason, s.Message = v1alpha1.StageStopping, ReasonStopping, "what it works on is another now"
		}
		w.block(s)
		return
	}
	s.fact, s.Attempt, s.Reason, s.Message = f, f.Attempt, f.Reason, f.Message
	switch {
	case f.State == v1alpha1.StageFailed:
		w.failed(s)
	case f.State == v1alpha1.StageCompleted:
		s.State = f.State
	case f.inFlight():
		s.State = f.State
		w.overdue(s)
	case f.held():
		s.State = f.State
	default:
		s.State, s.Reason, s.Message = v1alpha1.StagePending, "", ""
	}
	w.block(s)
}

// stale reports whether a fact is about other inputs than the stage has now. An outcome, or an attempt under way, does not count either
// while those are not known: its input is being made anew.
func (w *walk) stale(s *Stage, f Fact) bool {
	if w.facts.Versions == nil || f.InputHash == "" || f.InputHash == s.InputHash {
		return false
	}
	return s.InputHash != "" || f.ended() || f.inFlight()
}

// block skips a stage whose input will never be there.
func (w *walk) block(s *Stage) {
	parent := w.parent(s)
	if parent == nil || s.State != v1alpha1.StagePending && s.State != v1alpha1.StageQueued || s.inFlight() {
		return
	}
	switch parent.State {
	case v1alpha1.StageFailed:
		s.State, s.Message = v1alpha1.StageSkipped, fmt.Sprintf("%s, which it works on, failed", parent.Name)
	case v1alpha1.StageSkipped:
		s.State, s.Message = v1alpha1.StageSkipped, fmt.Sprintf("%s, which it works on, cannot run", parent.Name)
	}
}

// judge weighs every leaf that is known.
func (w *walk) judge() {
	w.d.Verdicts = map[string][]Shortfall{}
	for i := range w.d.Stages {
		if s := &w.d.Stages[i]; s.State == v1alpha1.StageCompleted && s.fact.Leaf != nil {
			w.d.Verdicts[s.Name] = Judge(w.spec.Constraints, s.fact.Leaf)
		}
	}
}

// trim skips and stops what has no point: everything once there is an answer, and with strategy First whatever comes after a leaf that
// satisfies, as a leaf before it may be taken instead but none after it.
func (w *walk) trim() {
	pointless := w.d.Answered
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		if pointless {
			s.stop(ReasonStopping, "the answer is known without it")
			if !s.inFlight() && !s.over() {
				s.State, s.Reason, s.Message = v1alpha1.StageSkipped, "", "the answer is known without it"
			}
		}
		if missed, known := w.d.Verdicts[s.Name]; known && len(missed) == 0 && w.first() {
			pointless = true
		}
	}
}

// first reports whether the first leaf that satisfies is taken.
func (w *walk) first() bool {
	return len(w.spec.Constraints) > 0 && w.spec.Selection.Defaulted().Strategy == v1alpha1.SelectFirst
}

// suspend stops whatever is under way where the spec asks for that.
func (w *walk) suspend() {
	if !w.spec.RunPolicy.Suspend {
		return
	}
	for i := range w.d.Stages {
		w.d.Stages[i].stop(ReasonSuspended, "the pipeline is suspended")
	}
}

// start picks what may run now: in order, inputs ready, within parallelism. What waits its turn does not let others pass.
func (w *walk) start() {
	var busy int32
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		if s.State == v1alpha1.StageStopping {
			w.d.Stop = append(w.d.Stop, s.Name)
		}
		if s.inFlight() || s.fact.held() && s.State == v1alpha1.StageQueued {
			busy++
		}
	}
	limit := v1alpha1.Or(w.spec.RunPolicy.Parallelism, v1alpha1.DefaultParallelism)
	ending := w.facts.Versions != nil && w.facts.Versions.Ending
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		if ending && s.State == v1alpha1.StagePending && s.Name != Publish {
			s.Reason, s.Message = "", "waits for what an earlier version of the operator began; what that does not decide is computed anew"
			continue
		}
		if w.spec.RunPolicy.Suspend || s.State != v1alpha1.StagePending || !w.inputReady(s) || w.backingOff(s) || busy >= limit {
			continue
		}
		s.Attempt = s.fact.Attempt + 1
		w.d.Start = append(w.d.Start, s.Name)
		busy++
	}
}

// inputReady reports whether what the stage works on is there.
func (w *walk) inputReady(s *Stage) bool {
	if s.Name == Publish {
		return w.publishable
	}
	parent := w.parent(s)
	return parent == nil || parent.State == v1alpha1.StageCompleted && w.at[Baseline].State == v1alpha1.StageCompleted
}
