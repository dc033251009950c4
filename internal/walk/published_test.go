package walk

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
)

// life is a pipeline whose spec changes while its status is all that is remembered.
type life struct {
	t      *testing.T
	spec   *v1alpha1.OptimizationPipelineSpec
	status v1alpha1.OptimizationPipelineStatus
	now    time.Time
	left   int32 // files that the baseline finds of an earlier pipeline
}

func begin(t *testing.T, options ...option) *life {
	t.Helper()
	l := &life{t: t, spec: chain(options...), now: noon}
	l.spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://b"}}
	return l
}

// look decides from the status and what happens besides, and keeps the status that comes of it.
func (l *life) look(generation int64, happens stages) Decision {
	l.t.Helper()
	l.now = l.now.Add(time.Minute)
	facts := RecordedFacts(&l.status, generation, "")
	facts.Publish, facts.Versions = true, &versions
	for name, f := range happens {
		if name == Baseline {
			facts.Baseline = &pinned
			f.Earlier = l.left
		}
		f.Job = "job"
		facts.Stages[name] = f
	}
	d := Decide(l.spec, facts, l.now)
	l.status = d.Status(facts, l.shown(generation))
	again := RecordedFacts(&l.status, generation, "")
	again.Publish, again.Versions = true, &versions
	d2 := Decide(l.spec, again, l.now)
	if diff := cmp.Diff(l.status, d2.Status(again, l.shown(generation))); diff != "" {
		l.t.Errorf("the status does not stand:\n%s", diff)
	}
	return d
}

func (l *life) shown(generation int64) Shown {
	at := l.spec.Artifacts.URI
	return Shown{
		Generation: generation, Now: l.now, Previous: l.status.DeepCopy(), AlgorithmVersion: versions.Algorithm,
		StoredURI: func(d string) string { return at + "/blobs/" + d }, PublishedURI: func(d string) string { return at + "/p/" + d },
	}
}

// ends has every stage that a generation starts end at once, those of the spec with so many bytes.
func (l *life) ends(generation int64, bytes string) Decision {
	l.t.Helper()
	d := l.look(generation, nil)
	for range 20 {
		if len(d.Start) == 0 {
			return d
		}
		happens := stages{}
		for _, name := range d.Start {
			s := d.Stage(name)
			f := leaf(bytes, "0")
			if name == Baseline {
				f = leaf("300", "0")
			}
			f.Leaf.Digest, f.Model = "sha256:"+name+bytes, "sha256:model"+name+bytes
			if name == Publish {
				f.Leaf, f.Model = nil, ""
			}
			f.Attempt, f.InputHash, f.Ended = s.Attempt, s.InputHash, ago(noon.Sub(l.now))
			happens[name] = f
		}
		d = l.look(generation, happens)
	}
	l.t.Fatalf("no end: %s", d.Message)
	return d
}

// says is what the status says of what is published: the condition, the leaf, its generation and where it is.
func (l *life) says(what, want string) {
	l.t.Helper()
	c := find(l.status.Conditions, v1alpha1.ConditionPublished)
	got := string(c.Status) + " " + c.Reason
	if p := l.status.Published; p != nil {
		got += ", " + p.Digest + " of " + p.Stage + " for " + string(rune('0'+p.Generation)) + " at " + p.URI
		if p.Time == nil || len(p.Metrics) == 0 {
			l.t.Errorf("%s: published at %v with %d metrics", what, p.Time, len(p.Metrics))
		}
	}
	if s := l.status.Selected; s != nil {
		got += "; selected at " + s.URI
	}
	if got != want {
		l.t.Errorf("%s:\n%s\nwant\n%s\nmessage: %s", what, got, want, c.Message)
	}
}

func (l *life) message() string {
	return find(l.status.Conditions, v1alpha1.ConditionPublished).Message
}

func TestWhatIsPublishedStandsUntilTheNextAnswer(t *testing.T) {
	l := begin(t, need(small))
	l.look(1, nil)
	l.says("a new pipeline", "False NotPublished")
	l.ends(1, "90")
	first := "sha256:prune90 of prune for "
	l.says("its answer", "True Published, "+first+"1 at s3://b/p/sha256:prune90; selected at s3://b/p/sha256:prune90")

	l.spec.RunPolicy.Parallelism = ptr(int32(2))
	l.look(2, nil)
	l.says("an edit that changes no answer", "True Published, "+first+"2 at s3://b/p/sha256:prune90; selected at s3://b/p/sha256:prune90")

	l.spec.Stages[0].Prune.Sparsity = "0.6"
	d := l.look(3, nil)
	l.says("a stage is edited and runs", "True EarlierGeneration, "+first+"2 at s3://b/p/sha256:prune90")
	if want := "the leaf of prune, published for generation 2, stands until generation 3 publishes its answer"; l.message() != want || d.Finished {
		t.Errorf("it says %q, finished: %v", l.message(), d.Finished)
	}
	if p := statusOf(&l.status, Publish); p.Attempt != 1 {
		t.Errorf("attempts to publish are not counted on: %d", p.Attempt)
	}
	d = l.look(3, stages{"prune": {State: v1alpha1.StageCompleted, Attempt: 2, InputHash: d.Stage("prune").InputHash, Model: "sha256:m", Leaf: &v1alpha1.Leaf{Digest: "sha256:new", Metrics: leaf("80", "0").Leaf.Metrics}}})
	l.says("it is selected and not yet published", "True EarlierGeneration, "+first+"2 at s3://b/p/sha256:prune90; selected at s3://b/blobs/sha256:new")
	if strings.Join(d.Start, " ") != Publish || d.Stage(Publish).Attempt != 2 {
		t.Errorf("starts %v, publish as attempt %d", d.Start, d.Stage(Publish).Attempt)
	}
	l.ends(3, "80")
	l.says("the next answer", "True Published, sha256:new of prune for 3 at s3://b/p/sha256:new; selected at s3://b/p/sha256:new")

	l.spec.Artifacts.URI = "s3://other"
	l.look(4, nil)
	l.says("another store", "True EarlierGeneration, sha256:new of prune for 3 at s3://b/p/sha256:new; selected at s3://b/p/sha256:new")
	l.ends(4, "80")
	l.says("published there", "True Published, sha256:new of prune for 4 at s3://other/p/sha256:new; selected at s3://other/p/sha256:new")
}

func TestAnAnswerWithoutALeafWithdrawsWhatWasPublished(t *testing.T) {
	l := begin(t, need(small))
	l.ends(1, "90")
	l.spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: dec("50")}}
	d := l.look(2, nil)
	for range 9 { // what else there is does not meet it either
		if strings.Join(d.Start, " ") == Publish {
			break
		}
		l.says("before the answer is published", "True EarlierGeneration, sha256:prune90 of prune for 1 at s3://b/p/sha256:prune90")
		s := d.Stage(d.Start[0])
		f := leaf("90", "0")
		f.Attempt, f.InputHash, f.Model, f.Leaf.Digest = s.Attempt, s.InputHash, "sha256:m", "sha256:l"
		d = l.look(2, stages{s.Name: f})
	}
	d = l.ends(2, "")
	l.says("no leaf meets the constraint", "False Withdrawn")
	if want := "the leaf of prune (sha256:prune90), published for generation 1, is withdrawn: no leaf meets the constraints of generation 2"; l.message() != want || d.Reason != ReasonNotMet {
		t.Errorf("%s: %s", d.Reason, l.message())
	}
	l.spec.Stages[0].Prune.Sparsity = "0.6"
	l.look(3, nil)
	l.says("while it walks again", "False Withdrawn")
	l.ends(3, "40")
	l.says("published again", "True Published, sha256:prune40 of prune for 3 at s3://b/p/sha256:prune40; selected at s3://b/p/sha256:prune40")
}

func TestWhatIsWithdrawnFromAnotherStoreSaysWhatStaysThere(t *testing.T) {
	l := begin(t, need(small))
	l.ends(1, "90")
	l.spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: dec("50")}}
	l.spec.Artifacts.URI = "s3://other"
	l.ends(2, "90")
	l.says("no leaf meets the constraint", "False Withdrawn")
	if want := "; it was published in another store, where s3://b/p/sha256:prune90 stays, and leaf.tflite beside it"; !strings.HasSuffix(l.message(), want) {
		t.Error(l.message())
	}
}

func TestAWalkThatEndsUndecidedWithdrawsNothing(t *testing.T) {
	stands := "True EarlierGeneration, sha256:prune90 of prune for 1 at s3://b/p/sha256:prune90"
	for name, tt := range map[string]struct {
		stage   string
		failure Fact
		publish bool
	}{
		"a spec that makes no stage": {Baseline, Fact{State: v1alpha1.StageFailed, Attempt: 2, Reason: ReasonInvalidSpec, Message: "m"}, false},
		"a model that is broken":     {Baseline, Fact{State: v1alpha1.StageFailed, Attempt: 2, Reason: ReasonInvalidModel, Message: "m"}, false},
		"a stage that fails":         {"prune", Fact{State: v1alpha1.StageFailed, Attempt: 2, Reason: "StorageUnavailable", Message: "m"}, true},
		"an input that changed":      {"prune", Fact{State: v1alpha1.StageFailed, Attempt: 2, Reason: ReasonInputChanged, Message: "m"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := begin(t, need(small))
			l.ends(1, "90")
			l.spec.Stages[0].Prune.Sparsity = "0.6"
			if tt.stage == Baseline {
				l.spec.Model.URI = "s3://another"
			}
			d := l.look(2, nil)
			f := tt.failure
			f.InputHash = d.Stage(tt.stage).InputHash
			if d = l.look(2, stages{tt.stage: f}); len(d.Start) > 0 != tt.publish {
				t.Errorf("starts %v", d.Start)
			}
			d = l.ends(2, "")
			if !d.Finished || d.Ready {
				t.Errorf("finished %v, ready %v: %s", d.Finished, d.Ready, d.Message)
			}
			l.says("it ends", stands)
		})
	}
}

func TestAPipelineMadeAnewSaysWhatAnEarlierOneLeft(t *testing.T) {
	l := begin(t, need(small))
	if facts := RecordedFacts(&l.status, 1, ""); !facts.NothingPublished() {
		t.Error("a new pipeline has published something")
	}
	l.left = 7
	d := l.look(1, nil)
	l.says("before the baseline has looked", "False NotPublished")
	f := leaf("300", "0")
	f.Attempt, f.InputHash, f.Model = 1, d.Stage(Baseline).InputHash, "sha256:m"
	l.look(1, stages{Baseline: f})
	l.says("when it has", "False EarlierPipeline")
	if !strings.Contains(l.message(), "left 7 files in the store: its leaf.tflite is withdrawn, the rest stays until this one publishes") {
		t.Error(l.message())
	}
	l.look(1, nil)
	l.says("as it goes on", "False EarlierPipeline")
	l.ends(1, "90")
	l.says("it has its own", "True Published, sha256:prune90 of prune for 1 at s3://b/p/sha256:prune90; selected at s3://b/p/sha256:prune90")

	l = begin(t, need(small)) // one that has no answer puts its own files there too
	l.left = 7
	l.ends(1, "200")
	l.says("no leaf meets the constraint", "False NotPublished")
	if facts := RecordedFacts(&l.status, 1, ""); facts.NothingPublished() {
		t.Error("what is there is not its own")
	}

	l = begin(t, need(small))
	l.left = 1
	d = l.look(1, nil)
	l.look(1, stages{Baseline: {State: v1alpha1.StageFailed, Attempt: 1, Reason: ReasonInvalidModel, InputHash: d.Stage(Baseline).InputHash}})
	l.says("the model is broken", "False EarlierPipeline")
}

// TestAStatusOfAVersionThatDidNotSayWhatIsPublished is an upgrade of the operator: what was selected and published is in the store under
// the name that holds its digest.
func TestAStatusOfAVersionThatDidNotSayWhatIsPublished(t *testing.T) {
	l := begin(t, need(small))
	l.ends(1, "90")
	l.status.Published, l.status.Conditions = nil, l.status.Conditions[:4]
	l.status.Selected.URI = "s3://b/ns/name/leaf.tflite"
	d := l.look(1, nil)
	if len(d.Start)+len(d.Stop) > 0 || !d.Finished {
		t.Errorf("starts %v, stops %v", d.Start, d.Stop)
	}
	l.says("finished", "True Published, sha256:prune90 of prune for 1 at s3://b/blobs/sha256:prune90; selected at s3://b/blobs/sha256:prune90")
	l.spec.Stages[0].Prune.Sparsity = "0.6"
	l.look(2, nil)
	l.says("edited", "True EarlierGeneration, sha256:prune90 of prune for 1 at s3://b/blobs/sha256:prune90")
	l.ends(2, "80")
	l.says("published anew", "True Published, sha256:prune80 of prune for 2 at s3://b/p/sha256:prune80; selected at s3://b/p/sha256:prune80")
}

func statusOf(status *v1alpha1.OptimizationPipelineStatus, name string) v1alpha1.StageStatus {
	for _, s := range status.Stages {
		if s.Name == name {
			return s
		}
	}
	return v1alpha1.StageStatus{}
}
