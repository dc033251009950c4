package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// hold has a stage run without an end for as long as holds is true.
func (w *world) hold(name string, holds *bool) {
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		return act{hang: *holds && o.Stage == name}
	}
}

// says checks the condition Published.
func (w *world) says(p *v1alpha1.OptimizationPipeline, reason, message string) {
	w.t.Helper()
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionPublished)
	if c == nil || c.Reason != reason || !strings.Contains(c.Message, message) || (c.Status == "True") != (p.Status.Published != nil) {
		w.t.Errorf("want %s: %s; published %+v%s", reason, message, p.Status.Published, describe(p))
	}
}

// tells waits for an event of a pipeline.
func (w *world) tells(reason, message string) {
	w.t.Helper()
	w.eventually("the event "+reason, func() bool {
		var events corev1.EventList
		if err := w.client.List(w.t.Context(), &events, client.InNamespace(w.namespace), client.MatchingFields{"involvedObject.kind": v1alpha1.Kind}); err != nil {
			w.t.Fatal(err)
		}
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == reason && strings.Contains(e.Message, message) })
	})
}

func TestWhatIsPublishedStandsWhileAStageIsEdited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var holds bool
	w.hold("cluster", &holds)
	w.metrics["cluster"] = "400"
	w.run()
	w.pipeline("p", bytes("500"))
	first := w.settled("p", walk.ReasonConstraintsMet).Status.Published
	if first == nil || first.Stage != "cluster" || first.Generation != 1 || first.URI != w.home("p")+stage.DigestFile(first.Digest) || len(first.Metrics) == 0 || first.Time == nil {
		t.Fatalf("published %+v", first)
	}
	w.mu.Lock()
	holds = true
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[1].Cluster.Clusters = 8 })
	p := w.until("p", "running the other cluster", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == 2 && stageStatus(&p.Status, "cluster").State == v1alpha1.StageRunning
	})
	if got := p.Status.Published; p.Status.Selected != nil || got == nil || got.URI != first.URI || got.Generation != 1 {
		t.Errorf("selected %+v, published %+v", p.Status.Selected, got)
	}
	w.says(p, walk.ReasonEarlierGeneration, "the leaf of cluster, published for generation 1, stands until generation 2 publishes its answer")
	w.mu.Lock()
	holds = false
	w.mu.Unlock()
	w.release("cluster")
	p = w.settled("p", walk.ReasonConstraintsMet)
	if got := p.Status.Published; got == nil || got.URI == first.URI || got.Generation != 2 || got.URI != p.Status.Selected.URI {
		t.Errorf("selected %+v, published %+v", p.Status.Selected, got)
	}
	w.says(p, walk.ReasonPublished, "the leaf of cluster is published")
}

// TestAnAnswerThatComesBackIsPublishedAgain has the Job that once published an answer still there when that is the answer again.
func TestAnAnswerThatComesBackIsPublishedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.pipeline("p")
	w.settled("p", walk.ReasonAllStagesRun)
	for _, clusters := range []int32{8, 16} {
		w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[1].Cluster.Clusters = clusters })
		w.settled("p", walk.ReasonAllStagesRun)
	}
	if got := w.ran()[walk.Publish]; got != 3 || len(w.jobs("p", walk.Publish)) != 3 {
		t.Errorf("published %d times, with %d Jobs", got, len(w.jobs("p", walk.Publish)))
	}
}

func TestASpecThatFailsWithdrawsWhatItNoLongerStandsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.pipeline("p", bytes("1000"))
	first := w.settled("p", walk.ReasonConstraintsMet).Status.Published
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[0].Prune.Sparsity = "1.5" }) // what is none takes nothing away
	p := w.settled("p", walk.ReasonInvalidSpec)
	if got := p.Status.Published; got == nil || got.URI != first.URI {
		t.Errorf("published %+v", got)
	}
	w.says(p, walk.ReasonEarlierGeneration, "published for generation 1, stands")
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Stages[0].Prune.Sparsity = "0.5"
		bytes("10")(p)
	})
	p = w.settled("p", walk.ReasonNotMet)
	if p.Status.Selected != nil || p.Status.Published != nil {
		t.Errorf("selected %+v, published %+v", p.Status.Selected, p.Status.Published)
	}
	withdrawn := "the leaf of " + first.Stage + " (" + first.Digest + "), published for generation 1, is withdrawn: no leaf meets the constraints of generation 3"
	w.says(p, walk.ReasonWithdrawn, withdrawn)
	w.tells(walk.ReasonWithdrawn, withdrawn)
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.played[len(w.played)-1]; last.Stage != walk.Publish || last.Status.Selected != nil || last.Status.Published == nil || last.First {
		t.Errorf("the last order is %+v", last)
	}
}

func TestAPipelineMadeAnewHasNoLeafUntilItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var holds bool
	w.hold("prune", &holds)
	w.run()
	p := w.pipeline("p")
	w.settled("p", walk.ReasonAllStagesRun)
	if err := w.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.eventually("the Jobs to go", func() bool { return len(w.jobs("p", "")) == 0 })
	w.mu.Lock()
	holds = true
	w.mu.Unlock()
	w.pipeline("p", bytes("5000"), func(p *v1alpha1.OptimizationPipeline) { p.Spec.Selection.Strategy = v1alpha1.SelectBest })
	p = w.until("p", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
	})
	left := "an earlier pipeline of this name left 5 files in the store: its leaf.tflite is withdrawn, the rest stays until this one publishes"
	w.says(p, walk.ReasonEarlierPipeline, left)
	w.tells(walk.ReasonEarlierPipeline, left)
	w.mu.Lock()
	holds = false
	w.mu.Unlock()
	w.release("prune")
	p = w.settled("p", walk.ReasonConstraintsMet)
	w.says(p, walk.ReasonPublished, "")
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Annotations = map[string]string{v1alpha1.RerunAnnotation: "again"}
	})
	p = w.until("p", "read again", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.Rerun == "again" && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	w.says(p, walk.ReasonPublished, "") // what is there is its own
}

func TestAnUpgradeOfAStatusThatDoesNotSayWhatIsPublishedStartsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var holds bool
	w.hold("cluster", &holds)
	first := w.run()
	w.pipeline("p")
	p := w.settled("p", walk.ReasonAllStagesRun)
	first.stop()
	old := p.Status.DeepCopy()
	old.Published, old.Selected.URI = nil, w.home("p")+"leaf.tflite"
	meta.RemoveStatusCondition(&old.Conditions, v1alpha1.ConditionPublished)
	p.Status = *old
	if err := w.client.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	runs := w.ran()[walk.Publish]
	w.run()
	p = w.until("p", "published", func(p *v1alpha1.OptimizationPipeline) bool { return p.Status.Published != nil })
	if got, want := p.Status.Published.URI, "s3://artifacts/here/"+artifact.BlobName(p.Status.Selected.Digest); got != want || p.Status.Selected.URI != want {
		t.Errorf("published as %s, want %s", got, want)
	}
	w.says(p, walk.ReasonPublished, "")
	if w.ran()[walk.Publish] != runs {
		t.Error("it was published again")
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"runPolicy":{"parallelism":2}}}`))
	if err := w.client.Patch(t.Context(), p, patch); err != nil {
		t.Fatal(err)
	}
	p = w.until("p", "looked at again", func(p *v1alpha1.OptimizationPipeline) bool { return p.Status.Published.Generation == 2 })
	if w.ran()[walk.Publish] != runs || p.Status.Published.URI != p.Status.Selected.URI {
		t.Errorf("published %+v", p.Status.Published)
	}
	w.mu.Lock()
	holds = true
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[1].Cluster.Clusters = 8 })
	w.until("p", "running the other cluster", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == 3 && stageStatus(&p.Status, "cluster").State == v1alpha1.StageRunning
	})
	w.mu.Lock()
	holds = false
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[1].Cluster.Clusters = 16 })
	p = w.settled("p", walk.ReasonAllStagesRun)
	if got, want := p.Status.Published.URI, "s3://artifacts/here/"+artifact.BlobName(p.Status.Selected.Digest); w.ran()[walk.Publish] != runs || got != want {
		t.Errorf("published %d times more, as %s, want %s", w.ran()[walk.Publish]-runs, got, want)
	}
}

// TestASpecThatIsRefusedStaysRefused has the Jobs of the spec before it still there when the refused one is looked at again.
func TestASpecThatIsRefusedStaysRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run()
	w.pipeline("p", bytes("1000"))
	published := w.settled("p", walk.ReasonConstraintsMet).Status.Published
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Stages[0].Prune.Sparsity = "1.5"
		bytes("500")(p)
	})
	said := describe(w.settled("p", walk.ReasonInvalidSpec))
	stands := func(what string) {
		t.Helper()
		time.Sleep(3 * time.Second)
		p := w.get("p")
		if got := p.Status.Published; describe(p) != said || w.ran()["prune"] > 0 || got == nil || got.URI != published.URI {
			t.Errorf("%s: ran %v, published %+v%s\nwas%s", what, w.ran(), got, describe(p), said)
		}
	}
	job := w.jobs("p", walk.Publish)[0]
	if err := w.client.Delete(t.Context(), &job, client.PropagationPolicy("Background")); err != nil {
		t.Fatal(err)
	}
	stands("an event of another Job")
	first.stop()
	w.run()
	stands("a restart")
}

func TestAStageThatFailsWithdrawsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["cluster"] = "400"
	fails := false
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !fails || o.Stage != "cluster" {
			return act{}
		}
		data, _ := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: stage.ReasonUnavailable, Message: "storage.example.com does not answer"}).Marshal()
		return act{exit: int32(fault.ExitCode(fault.As(fault.Storage, errSilent))), message: string(data)}
	}
	w.run()
	w.pipeline("p", bytes("500"), func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = ptr.To[int32](0) })
	first := w.settled("p", walk.ReasonConstraintsMet).Status.Published
	w.mu.Lock()
	fails = true
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[1].Cluster.Clusters = 12 })
	p := w.until("p", "over", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == 2 && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled)
	})
	if got := p.Status.Published; got == nil || got.URI != first.URI {
		t.Errorf("published %+v", got)
	}
	w.says(p, walk.ReasonEarlierGeneration, "published for generation 1, stands")
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionConstraintsMet); c.Reason != walk.ReasonUndecided {
		t.Errorf("%+v", c)
	}
}

// TestAPublicationThatIsSkippedIsCountedOn has a spec refused while another answer is put in place of the first, which then comes back.
func TestAPublicationThatIsSkippedIsCountedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var holds bool
	w.hold(walk.Publish, &holds)
	w.run()
	w.pipeline("p")
	w.settled("p", walk.ReasonAllStagesRun)
	w.mu.Lock()
	holds = true
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[1].Cluster.Clusters = 8 })
	w.until("p", "publishing the other answer", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == 2 && stageStatus(&p.Status, walk.Publish).State == v1alpha1.StageRunning
	})
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Artifacts.URI = "folder/x" })
	w.settled("p", walk.ReasonInvalidSpec)
	w.mu.Lock()
	holds = false
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts.URI = "s3://artifacts/here"
		p.Spec.Stages[1].Cluster.Clusters = 16
	})
	p := w.settled("p", walk.ReasonAllStagesRun)
	if s := stageStatus(&p.Status, walk.Publish); s.Attempt != 3 || p.Status.Published.Generation != 4 {
		t.Errorf("published by attempt %d: %+v", s.Attempt, p.Status.Published)
	}
}
