package walk

import (
	"fmt"
	"slices"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

// Decision is what to do next and what has been found.
type Decision struct {
	// Stages are the baseline, the spec's in their order, and publish where the facts ask for it.
	Stages []Stage
	// Start names the stages to start now, in order.
	Start []string
	// Stop names the stages under way whose attempt has no point any more, or ran out of time.
	Stop []string
	// Again is when to decide again even if nothing happens until then; zero: not before something happens.
	Again time.Time

	// Answered says that the walk has its answer; Finished, that besides nothing is under way and nothing more will be started.
	Answered, Finished bool
	// Ready says that the walk is finished and came to a good end.
	Ready bool
	// Suspended says that nothing is under way because the spec asks for that.
	Suspended bool

	// Selected is the stage whose leaf is taken, "" while undecided or where none satisfies.
	Selected string
	// Met says whether the selected leaf meets every constraint; without constraints any leaf does.
	Met bool
	// Verdicts are the constraints each known leaf misses, by stage.
	Verdicts map[string][]Shortfall
	// Nearest is, where no leaf satisfies, the one that misses least.
	Nearest string
	// Reason is a word for conditions, Message a sentence for people.
	Reason, Message string

	constraints []v1alpha1.Constraint
	judged      bool // every leaf that could satisfy was judged
}

// Stage is what was decided of one stage.
type Stage struct {
	Name    string
	Input   string // the stage it works on, or model; "" of an implicit stage
	State   v1alpha1.StageState
	Attempt int32 // the one under way or over; of a stage to start, the one to start
	// InputHash names the inputs the stage has now; "" while its input is not known.
	InputHash string
	// Parent is the digest of the float model to work on; "" while not known.
	Parent string
	// Reason and Message say why the stage stands where it does.
	Reason, Message string

	fact     Fact // what counts of the facts
	settings *v1alpha1.StageSettings
}

// Which bound of its spec ended a search.
const (
	EndedByTrials  = "MaxTrials"
	EndedByMinutes = "MaxMinutes"
)

// Reasons of a decision, as conditions carry them. A stage that failed or waits for a reason of its own lends that to the decision.
const (
	ReasonProgressing    = "Progressing"
	ReasonQueued         = "Queued"
	ReasonRetrying       = "Retrying"
	ReasonStopping       = "Stopping"
	ReasonSuspended      = "Suspended"
	ReasonPublishing     = "Publishing"
	ReasonConstraintsMet = "ConstraintsMet"
	ReasonAllStagesRun   = "AllStagesRun"
	ReasonNotMet         = "ConstraintsNotMet"
	ReasonCannotBeMet    = "ConstraintsCannotBeMet"
	ReasonStageFailed    = "StageFailed"
	ReasonBaselineFailed = "BaselineFailed"
	ReasonPublishFailed  = "PublishFailed"
	ReasonResultsLost    = "ResultsLost" // of publish: what it is to publish is not in the store, and is made again
	ReasonInputChanged   = "InputChanged"
	ReasonInvalidSpec    = "InvalidSpec" // of a baseline that cannot even be started
	ReasonInvalidModel   = "InvalidModel"
	ReasonInvalidDataset = "InvalidDataset"
	ReasonDeadline       = "DeadlineExceeded"
	ReasonVersion        = "VersionMismatch" // of a stage: its image is of another version than the operator
)

// Stage returns what was decided of a stage, nil where the pipeline has none of that name.
func (d *Decision) Stage(name string) *Stage {
	for i := range d.Stages {
		if d.Stages[i].Name == name {
			return &d.Stages[i]
		}
	}
	return nil
}

// Running reports whether a stage runs.
func (d *Decision) Running() bool {
	return slices.ContainsFunc(d.Stages, func(s Stage) bool { return s.State == v1alpha1.StageRunning })
}

// Stalled reports whether nothing will happen until the spec or the rerun token changes, and not because all is well.
func (d *Decision) Stalled() bool { return d.Finished && !d.Ready }

// Progress is completed stages / stages of the spec, as the printer column shows it.
func (d *Decision) Progress() string {
	completed, all := 0, 0
	for i := range d.Stages {
		if d.Stages[i].implicit() {
			continue
		}
		all++
		if d.Stages[i].State == v1alpha1.StageCompleted {
			completed++
		}
	}
	return fmt.Sprintf("%d/%d", completed, all)
}

func (s *Stage) implicit() bool { return s.Name == Baseline || s.Name == Publish }

// inFlight reports whether an attempt is under way.
func (s *Stage) inFlight() bool {
	return s.State == v1alpha1.StageRunning || s.State == v1alpha1.StageStopping || s.State == v1alpha1.StageQueued && s.fact.inFlight()
}

// over reports whether nothing more will come of the stage.
func (s *Stage) over() bool {
	return s.State == v1alpha1.StageCompleted || s.State == v1alpha1.StageFailed || s.State == v1alpha1.StageSkipped
}

// stop has an attempt that is under way stopped.
func (s *Stage) stop(reason, message string) {
	if s.inFlight() {
		s.State, s.Reason, s.Message = v1alpha1.StageStopping, reason, message
	}
}
