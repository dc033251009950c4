package walk

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

// The implicit stages. The baseline pins the inputs, measures the float model and makes the level-0 leaf; publish puts the answer
// where people look for it. Search has no technique: it makes the trials of a search, and its leaf is the one that those came to.
const (
	Baseline = v1alpha1.BaselineStage
	Publish  = v1alpha1.PublishStage
	Search   = v1alpha1.SearchStage
)

// Facts are what is known of a pipeline.
type Facts struct {
	// Stages is what is known of each stage, the implicit ones among them, by name.
	Stages map[string]Fact
	// Baseline is what the baseline pinned; nil until it completed.
	Baseline *v1alpha1.Baseline
	// Versions, where given, has facts checked against what they were made from: a stage whose inputs are others now counts as
	// not run. Without it facts are taken at their word, as within one `espalier run`, which pins its inputs first.
	Versions *Versions
	// Publish says that a publish stage ends the walk, as in a cluster.
	Publish bool
	// Published is the leaf that was published last, nil for none.
	Published *v1alpha1.Published
}

// Versions are what results depend on besides the spec and the pinned inputs.
type Versions struct {
	Algorithm   string // of the optimizer
	KernelClass string // SIMD level, where all stages run on one machine; empty where the first result counts, whichever node made it
	Rerun       string // token of the annotation espalier.dev/rerun
	Ending      bool   // of an earlier operator: what runs goes on to its end, and of what comes after it only publish is started
}

// Fact is what is known of one stage. The zero Fact says that nothing happened.
type Fact struct {
	// State is Queued, Running or Stopping while an attempt is under way, then Completed or Failed. Queued without a Job says that
	// the caller holds the stage back, for Reason. Any other state says that no attempt is under way.
	State v1alpha1.StageState
	// Attempt is the last one, from 1; 0: none.
	Attempt int32
	// Lost are the stages, with the attempt that counted, whose result publish did not find in the store; see TakeBack.
	Lost map[string]int32
	// Failures are the attempts that failed since the spec or the rerun token changed, whatever the stage does now, without those that count
	// against no retry. 0 with State Failed: all.
	Failures int32
	// LastFailure is the last attempt that failed, counted or not; nil where none is recorded.
	LastFailure *v1alpha1.StageFailure
	// Retry says that the failure may pass.
	Retry bool
	// Reason is a word for why it failed, or what keeps it from running (Unschedulable, ImagePull …); Message is the sentence. Message of a search
	// that is over says why, whether a stage made it or the walk that knows its trials, and Reason which bound of the spec it was.
	Reason, Message string
	// InputHash names the inputs of the attempt. Empty: not known, and not checked.
	InputHash string
	// Job, where there is one.
	Job string
	// Reused says that the result was in the store already.
	Reused bool
	// Started and Ended are the times of the attempt.
	Started, Ended *metav1.Time
	// Model is the digest of the float model that later stages build on, "" of a quantize stage.
	Model string
	// Leaf is the deployable model, nil until Completed.
	Leaf *v1alpha1.Leaf
	// LearningRate is the one that a stage found, as a decimal; "" where it was told one.
	LearningRate string
	// Epochs are those that a stage trained, where the validation loss decided how many; 0 elsewhere.
	Epochs int32
	// Earlier are files that the baseline found where the pipeline publishes, though it has not published yet.
	Earlier int32
	// Settings are those that the status has of a stage that is Completed; nil: those that the spec comes to now.
	Settings *v1alpha1.StageSettings
}

// inFlight reports whether an attempt is under way.
func (f Fact) inFlight() bool {
	return f.State == v1alpha1.StageRunning || f.State == v1alpha1.StageStopping || f.State == v1alpha1.StageQueued && !f.held()
}

// held reports whether the caller holds the stage back.
func (f Fact) held() bool { return f.State == v1alpha1.StageQueued && f.Job == "" }

// ended reports whether the attempt has an outcome.
func (f Fact) ended() bool {
	return f.State == v1alpha1.StageCompleted || f.State == v1alpha1.StageFailed
}

// failures returns the attempts that count against the retries.
func (f Fact) failures() int32 {
	if f.Failures == 0 {
		return max(f.Attempt, 1)
	}
	return f.Failures
}

// lost reports whether the last failure was that results are not in the store any more.
func (f Fact) lost() bool {
	if f.LastFailure == nil {
		return false
	}
	reason, _ := splitCause(f.LastFailure.Message)
	return reason == ReasonResultsLost
}

// Fail returns the fact that an attempt of the stage failed: f says how, and before is what was known of the stage. An attempt is counted
// once, however often it is looked at.
func (f Fact) Fail(before Fact) Fact {
	f = f.After(before)
	if f.LastFailure == nil || f.LastFailure.Attempt < f.Attempt {
		message := f.Message
		if !f.mended() {
			f.Failures++
		} else if n := mismatches(f.LastFailure); n > 0 {
			message = fmt.Sprintf("tried %d times: %s", min(n, math.MaxInt32-1)+1, message)
		}
		f.LastFailure = &v1alpha1.StageFailure{Attempt: f.Attempt, Time: f.Ended, Message: Truncate(cause(f.Reason, message), v1alpha1.MaxStageMessage)}
	}
	return f
}

// After returns the fact with the failures before it, if they are of the same inputs, or of what was lost and is made again: that may differ,
// in its latency for instance, and a store that keeps losing it must not be given another chance each time.
func (f Fact) After(before Fact) Fact {
	if before.InputHash == f.InputHash || before.lost() {
		f.Failures, f.LastFailure = before.Failures, before.LastFailure
	}
	return f
}

// failedBefore returns the fact that the attempts so far failed, as a status has it of a stage that is to be tried again.
func failedBefore(s *v1alpha1.StageStatus) Fact {
	f := Fact{
		State: v1alpha1.StageFailed, Attempt: s.Attempt, InputHash: s.InputHash, Retry: true,
		Failures: s.Failures, LastFailure: s.LastFailure.DeepCopy(), Ended: s.LastFailure.Time,
	}
	f.Reason, f.Message = splitCause(s.LastFailure.Message)
	return f
}

// RecordedFacts returns what a status says of outcomes: completed stages, and failed ones as long as spec and rerun token are those they
// failed under. Others give what failed another chance: its attempts are counted on, but not against the retries.
func RecordedFacts(status *v1alpha1.OptimizationPipelineStatus, generation int64, rerun string) Facts {
	facts := Facts{Stages: map[string]Fact{}, Baseline: status.Baseline.DeepCopy()}
	current := status.ObservedGeneration == generation && status.Rerun == rerun
	for i := range status.Stages {
		s := &status.Stages[i]
		f := Fact{
			State: s.State, Attempt: s.Attempt, InputHash: s.InputHash, Job: s.Job, Reused: s.Reused,
			Started: s.StartTime, Ended: s.CompletionTime, Leaf: s.Leaf.DeepCopy(),
		}
		if s.Model != nil {
			f.Model = s.Model.Digest
		}
		switch {
		case s.State == v1alpha1.StageCompleted:
			if s.Name == Search {
				f.Reason, f.Message = splitCause(s.Message)
			}
			f.Settings = &v1alpha1.StageSettings{} // of a version that recorded none
			if s.Settings != nil {
				f.Settings = s.Settings.DeepCopy()
			}
		case s.State == v1alpha1.StageFailed && current:
			f.Reason, f.Message = splitCause(s.Message)
			f.Failures, f.LastFailure = s.Failures, s.LastFailure.DeepCopy()
		case s.LastFailure != nil && current:
			f = failedBefore(s)
		case s.Attempt > 0:
			f = Fact{Attempt: s.Attempt, InputHash: s.InputHash}
		default:
			continue
		}
		facts.Stages[s.Name] = f
	}
	facts.recordPublished(status)
	return facts
}

// TakeBack has what publish did not find in the store count as not made: the attempts that made it failed after all, and others follow.
func (f Facts) TakeBack(spec *v1alpha1.OptimizationPipelineSpec) {
	publish := f.Stages[Publish]
	if publish.failures() > retriesOf(spec, publish) {
		return // it was lost again and again
	}
	for name, attempt := range publish.Lost {
		made := f.Stages[name]
		if made.State != v1alpha1.StageCompleted || made.Attempt > attempt {
			continue
		}
		f.Stages[name] = Fact{
			State: v1alpha1.StageFailed, Attempt: made.Attempt, InputHash: made.InputHash, Retry: true, Ended: publish.Ended,
			Reason: ReasonResultsLost, Message: "what it made is not in the store any more",
		}.Fail(made)
	}
}

var causePattern = regexp.MustCompile(`(?s)^([A-Z][A-Za-z0-9]+): (.*)$`)

// cause is a failure in one text, as a stage's status holds it.
func cause(reason, message string) string {
	if reason == "" {
		return message
	}
	return reason + ": " + message
}

// splitCause undoes cause.
func splitCause(text string) (reason, message string) {
	if m := causePattern.FindStringSubmatch(text); m != nil {
		return m[1], m[2]
	}
	return "", text
}

// Truncate keeps a text within so many bytes, whole words where they are not too long, and says that there was more.
func Truncate(text string, limit int) string {
	const more = "…"
	if len(text) <= limit {
		return text
	}
	end := limit - len(more)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	if space := strings.LastIndexByte(text[:end+1], ' '); space >= end/2 {
		end = space
	}
	return strings.TrimRight(text[:end], " ,;:") + more
}

// list joins names for people.
func list(names []string) string { return strings.Join(names, ", ") }

// counted is "1 stage" or "3 stages".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
