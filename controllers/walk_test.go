package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

func TestAChainRunsUntilALeafMeetsTheConstraints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["cluster"] = "400"
	w.run()
	w.pipeline("chain", bytes("500"), func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.TTLSecondsAfterFinished = ptr.To[int32](1) })
	p := w.settled("chain", walk.ReasonConstraintsMet)
	if diff := cmp.Diff(map[string]int{"baseline": 1, "prune": 1, "cluster": 1, "publish": 1}, w.ran()); diff != "" {
		t.Errorf("runs:\n%s", diff)
	}
	if got := p.Status.Selected; got == nil || got.Stage != "cluster" || got.URI != w.home("chain")+stage.DigestFile(got.Digest) {
		t.Errorf("selected %+v", got)
	}
	if got, want := p.Status.Selected.Digest, stageStatus(&p.Status, "cluster").Leaf.Digest; got != want {
		t.Errorf("the selected leaf has digest %q, want %q", got, want)
	}
	if got := stageStatus(&p.Status, "pcqat").State; got != v1alpha1.StageSkipped {
		t.Errorf("pcqat is %s", got)
	}
	if p.Status.Progress != "2/3" || p.Status.Baseline == nil {
		t.Errorf("progress %s, baseline %v", p.Status.Progress, p.Status.Baseline)
	}
	w.eventually("the Jobs to go after their time to live", func() bool { return len(w.jobs("chain", "")) == 0 })
	again := w.get("chain")
	if diff := cmp.Diff(p.Status, again.Status); diff != "" {
		t.Errorf("the status changed with the Jobs gone:\n%s", diff)
	}
	var events corev1.EventList
	w.eventually("the events", func() bool {
		if err := w.client.List(t.Context(), &events, client.InNamespace(w.namespace), client.MatchingFields{"involvedObject.kind": v1alpha1.Kind}); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == walk.ReasonConstraintsMet }) &&
			slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == "StageCompleted" })
	})
}

func TestBestRunsEverythingSideBySideAndTakesTheSmallest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["prune"], w.metrics["only"], w.metrics["pcqat"] = "450", "300", "400"
	w.run()
	w.pipeline("best", bytes("500"), func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Selection.Strategy, p.Spec.RunPolicy.Parallelism = v1alpha1.SelectBest, ptr.To[int32](4)
		p.Spec.Stages = append(p.Spec.Stages, v1alpha1.Stage{Name: "only", From: "model", Cluster: &v1alpha1.Cluster{Clusters: 8}})
	})
	p := w.settled("best", walk.ReasonConstraintsMet)
	if p.Status.Selected.Stage != "only" || p.Status.Progress != "4/4" {
		t.Errorf("selected %s after %s", p.Status.Selected.Stage, p.Status.Progress)
	}
	if diff := cmp.Diff(map[string]int{"baseline": 1, "prune": 1, "cluster": 1, "pcqat": 1, "only": 1, "publish": 1}, w.ran()); diff != "" {
		t.Errorf("runs:\n%s", diff)
	}
}

func TestBranchesRunSideBySideWithinParallelism(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage != "baseline"} }
	w.run()
	w.pipeline("wide", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.RunPolicy.Parallelism = ptr.To[int32](2)
		for _, name := range []string{"a", "b", "c"} {
			p.Spec.Stages = append(p.Spec.Stages, v1alpha1.Stage{Name: name, From: "model", Cluster: &v1alpha1.Cluster{Clusters: 8}})
		}
	})
	p := w.until("wide", "running two stages", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning && stageStatus(&p.Status, "a").State == v1alpha1.StageRunning
	})
	if n := len(w.jobs("wide", "")); n != 3 {
		t.Errorf("%d Jobs, want the baseline's and two: %s", n, describe(p))
	}
}

func TestAPassingFailureIsRetriedAndAFinalOneIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fails := map[string]int{"prune": 2}
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		if fails[o.Stage]--; fails[o.Stage] >= 0 {
			data, _ := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: stage.ReasonUnavailable, Message: "no answer"}).Marshal()
			return act{exit: 6, message: string(data)}
		}
		if o.Stage == "cluster" {
			data, _ := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: stage.ReasonTraining, Message: "loss is NaN in layer 3"}).Marshal()
			return act{exit: 7, message: string(data)}
		}
		return act{}
	}
	w.run()
	w.pipeline("fails", bytes("500"))
	p := w.settled("fails", stage.ReasonTraining)
	prune, cluster := stageStatus(&p.Status, "prune"), stageStatus(&p.Status, "cluster")
	if prune.State != v1alpha1.StageCompleted || prune.Attempt != 3 {
		t.Errorf("prune is %s after %d attempts", prune.State, prune.Attempt)
	}
	if cluster.State != v1alpha1.StageFailed || cluster.Attempt != 1 || cluster.Message != "TrainingDiverged: loss is NaN in layer 3" {
		t.Errorf("cluster is %s after %d attempts: %s", cluster.State, cluster.Attempt, cluster.Message)
	}
	if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("not stalled: %s", describe(p))
	}
	// Another spec gives what failed another chance.
	w.edit("fails", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = ptr.To[int32](1) })
	p = w.settled("fails", stage.ReasonTraining)
	if got := stageStatus(&p.Status, "cluster").Attempt; got != 2 {
		t.Errorf("cluster's attempt after another spec is %d", got)
	}
	if got := stageStatus(&p.Status, "prune").Attempt; got != 3 {
		t.Errorf("prune ran again: attempt %d", got)
	}
}

func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage == "prune" {
			return act{exit: 137, reason: "OOMKilled"}
		}
		return act{}
	}
	w.run()
	w.pipeline("oom", bytes("500"), func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.RunPolicy.Retries, p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](2), ptr.To[int32](1)
	})
	start := time.Now()
	p := w.settled("oom", reasonOOMKilled)
	if got := stageStatus(&p.Status, "prune"); got.Attempt != 3 || !strings.Contains(got.Message, "limits.memory") {
		t.Errorf("attempt %d: %s", got.Attempt, got.Message)
	}
	if took := time.Since(start); took < 3*time.Second-time.Second {
		t.Errorf("gave up after %s: the waits are 1 s and 2 s", took)
	}
}

func TestSuspendStopsTheJobAndResumeGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hang := true
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		return act{hang: hang && o.Stage == "prune"}
	}
	w.run()
	w.pipeline("suspended")
	w.until("suspended", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
	})
	w.edit("suspended", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = true })
	p := w.settled("suspended", walk.ReasonSuspended)
	if jobs := w.jobs("suspended", "prune"); len(jobs) != 0 {
		t.Errorf("suspended with %d Jobs of prune", len(jobs))
	}
	if got := stageStatus(&p.Status, "prune"); got.State != v1alpha1.StagePending || got.Attempt != 1 {
		t.Errorf("prune is %s, attempt %d", got.State, got.Attempt)
	}
	w.mu.Lock()
	hang = false
	w.mu.Unlock()
	w.edit("suspended", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = false })
	p = w.settled("suspended", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, "prune").Attempt; got != 2 {
		t.Errorf("prune resumed as attempt %d", got)
	}
	if got := stageStatus(&p.Status, "baseline").Attempt; got != 1 {
		t.Errorf("baseline ran %d times", got)
	}
}

func TestAnEditMidRunStopsOnlyWhatItChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hang := true
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		return act{hang: hang && o.Stage == "cluster"}
	}
	w.run()
	w.pipeline("edited")
	running := func(attempt int32) func(*v1alpha1.OptimizationPipeline) bool {
		return func(p *v1alpha1.OptimizationPipeline) bool {
			s := stageStatus(&p.Status, "cluster")
			return s.State == v1alpha1.StageRunning && s.Attempt == attempt && p.Status.ObservedGeneration == p.Generation
		}
	}
	first := w.until("edited", "running cluster", running(1))
	w.edit("edited", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Template.PriorityClassName = "high" })
	w.until("edited", "still running cluster", running(1))
	w.edit("edited", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Stages[1].Cluster.Clusters = 8
		p.Spec.Template.PriorityClassName = ""
	})
	second := w.until("edited", "running the other cluster", running(2))
	if stageStatus(&first.Status, "cluster").InputHash == stageStatus(&second.Status, "cluster").InputHash {
		t.Error("other settings have the same hash")
	}
	if stageStatus(&second.Status, "prune").Attempt != 1 || len(w.jobs("edited", "cluster")) != 1 {
		t.Errorf("more than cluster was touched: %s", describe(second))
	}
	w.edit("edited", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages = slices.Delete(p.Spec.Stages, 1, 2) })
	p := w.settled("edited", walk.ReasonAllStagesRun)
	w.eventually("the Job of a stage that is gone to be stopped", func() bool { return len(w.jobs("edited", "cluster")) == 0 })
	if p.Status.Selected.Stage != "pcqat" || stageStatus(&p.Status, "pcqat").Input != "prune" {
		t.Errorf("selected %s on %s", p.Status.Selected.Stage, stageStatus(&p.Status, "pcqat").Input)
	}
	// Constraints are decided again from what was measured, and published.
	runs := w.ran()
	w.edit("edited", bytes("2000"))
	p = w.settled("edited", walk.ReasonConstraintsMet)
	runs["publish"]++
	if diff := cmp.Diff(runs, w.ran()); diff != "" || p.Status.Selected.Stage != "baseline" {
		t.Errorf("selected %s; runs:\n%s", p.Status.Selected.Stage, diff)
	}
}

func TestAChangedInputStopsTheWalkUntilRerun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		if o.Stage == "prune" && w.model == "" {
			w.model = "another"
			data, _ := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: walk.ReasonInputChanged, Message: "the model changed"}).Marshal()
			return act{exit: 3, message: string(data)}
		}
		return act{}
	}
	w.run()
	w.pipeline("rerun")
	p := w.settled("rerun", walk.ReasonInputChanged)
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled); !strings.Contains(c.Message, v1alpha1.RerunAnnotation) {
		t.Errorf("no remedy: %s", c.Message)
	}
	w.edit("rerun", func(p *v1alpha1.OptimizationPipeline) {
		p.Annotations = map[string]string{v1alpha1.RerunAnnotation: strings.Repeat("ä", 70)}
	})
	p = w.settled("rerun", walk.ReasonAllStagesRun)
	if p.Status.Baseline.ModelDigest != digest("model", "another") || p.Status.Rerun != strings.Repeat("ä", 63) {
		t.Errorf("baseline %s, token %q", p.Status.Baseline.ModelDigest, p.Status.Rerun)
	}
	if got := stageStatus(&p.Status, "baseline").Attempt; got != 2 {
		t.Errorf("baseline's attempt is %d", got)
	}
}

func TestAnUpgradeDoesNotRetrainWhatIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["cluster"] = "400"
	first := w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Version = "1" })
	w.pipeline("old", bytes("500"))
	p := w.settled("old", walk.ReasonConstraintsMet)
	first.stop()
	runs := w.ran()

	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Version = "2" })
	w.pipeline("new", bytes("500"))
	if p := w.settled("new", walk.ReasonConstraintsMet); p.Status.AlgorithmVersion != "2" {
		t.Errorf("a new pipeline is of version %s", p.Status.AlgorithmVersion)
	}
	if diff := cmp.Diff(p.Status, w.get("old").Status); diff != "" {
		t.Errorf("the upgrade touched a finished pipeline:\n%s", diff)
	}
	for stage := range runs {
		runs[stage] *= 2
	}
	// Another constraint is decided from what there is; what has to be trained is trained by the new version, and what it works on.
	w.edit("old", bytes("1500"))
	p = w.until("old", "decided again", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.Selected != nil && p.Status.Selected.Stage == "baseline" && stageStatus(&p.Status, "publish").State == v1alpha1.StageCompleted
	})
	runs["publish"]++
	if diff := cmp.Diff(runs, w.ran()); diff != "" || p.Status.AlgorithmVersion != "1" {
		t.Errorf("version %s; runs:\n%s", p.Status.AlgorithmVersion, diff)
	}
	w.edit("old", bytes("300"))
	w.mu.Lock()
	w.metrics["pcqat"] = "200"
	w.mu.Unlock()
	p = w.settled("old", walk.ReasonConstraintsMet)
	if p.Status.AlgorithmVersion != "2" || p.Status.Selected.Stage != "pcqat" {
		t.Errorf("version %s, selected %s", p.Status.AlgorithmVersion, p.Status.Selected.Stage)
	}
}

func TestASpecThatNoClusterCanRunSaysSoUntilItIsMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.pipeline("invalid", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Artifacts = nil })
	p := w.settled("invalid", walk.ReasonInvalidSpec)
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled); c == nil || !strings.HasPrefix(c.Message, "spec.artifacts is missing") {
		t.Errorf("condition %+v", c)
	}
	w.edit("invalid", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://artifacts"}}
	})
	w.settled("invalid", walk.ReasonAllStagesRun)

	w.pipeline("beyond", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[0].Prune.Sparsity = "1.5" }) // in quotes: no API server sees how much it is
	p = w.settled("beyond", walk.ReasonInvalidSpec)
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled); c == nil || !strings.HasPrefix(c.Message, "spec.stages[0].prune.sparsity: \"1.5\" is not allowed: must be at least 0 and below 1") {
		t.Errorf("condition %+v", c)
	}
	for _, token := range []string{"", "again"} { // it stays refused, whatever else happens to it
		w.edit("beyond", func(p *v1alpha1.OptimizationPipeline) {
			p.Annotations = map[string]string{"example.com/noted": "yes"}
			if token != "" {
				p.Annotations[v1alpha1.RerunAnnotation] = token
			}
		})
		w.until("beyond", "the token "+token, func(p *v1alpha1.OptimizationPipeline) bool { return p.Status.Rerun == token })
		w.settled("beyond", walk.ReasonInvalidSpec)
	}
	if jobs := w.jobs("beyond", ""); len(jobs) > 0 {
		t.Errorf("%d Jobs were made", len(jobs))
	}
}

// TestASearchIsOneStage has no stages of its own, and the leaf that its trials came to.
func TestASearchIsOneStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics[walk.Search] = "600"
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage == walk.Search && o.Attempt == 1 {
			return act{exit: 1}
		}
		if o.Spec.Search != nil && len(o.Spec.Stages) != 1 {
			t.Errorf("%s of a search is told of %d stages", o.Stage, len(o.Spec.Stages))
		}
		return act{}
	}
	w.run()
	goal := func(p *v1alpha1.OptimizationPipeline) {
		bytes("2000")(p)
		p.Spec.Stages, p.Spec.Selection, p.Spec.Search = nil, v1alpha1.Selection{}, &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes}
	}
	w.pipeline("goal", goal)
	p := w.settled("goal", walk.ReasonConstraintsMet)
	if p.Status.Selected.Stage != walk.Search || p.Status.Progress != "1/1" || len(p.Status.Stages) != 3 || len(p.Spec.Stages) != 0 {
		t.Errorf("%+v of %d stages, %d of the spec's", p.Status.Selected, len(p.Status.Stages), len(p.Spec.Stages))
	}
	if s := stageStatus(&p.Status, walk.Search); s.Attempt != 2 {
		t.Errorf("attempt %d", s.Attempt)
	}
	before := len(w.jobs("goal", walk.Search))
	w.edit("goal", func(p *v1alpha1.OptimizationPipeline) { bytes("100")(p) }) // what it tries depends on what is asked
	if w.settled("goal", walk.ReasonNotMet); len(w.jobs("goal", walk.Search)) != before+1 {
		t.Errorf("%d Jobs, then %d", before, len(w.jobs("goal", walk.Search)))
	}
	w.edit("goal", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Search, p.Spec.Stages = nil, []v1alpha1.Stage{{Name: "search", Prune: &v1alpha1.Prune{Sparsity: "0.5"}}}
		bytes("2000")(p)
	})
	if p = w.settled("goal", walk.ReasonConstraintsMet); p.Status.Selected.Stage != walk.Baseline {
		t.Errorf("%+v", p.Status.Selected)
	}
	w.pipeline("first", goal, func(p *v1alpha1.OptimizationPipeline) { p.Spec.Search.Minimize = "" })
	if p = w.settled("first", walk.ReasonConstraintsMet); p.Status.Selected.Stage != walk.Baseline || len(w.jobs("first", walk.Search)) > 0 {
		t.Errorf("%+v where the baseline will do", p.Status.Selected)
	}
}

func TestDeletingThePipelineEndsItsJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage == "prune"} }
	r := w.run()
	w.pipeline("deleted")
	p := w.until("deleted", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
	})
	if err := w.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.eventually("the Jobs and pods to go", func() bool {
		var pods corev1.PodList
		if err := w.client.List(t.Context(), &pods, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		inFlight, waiting := r.places.numbers()
		return len(w.jobs("deleted", "")) == 0 && len(pods.Items) == 0 && inFlight == 0 && waiting == 0
	})
	w.mu.Lock()
	w.play = nil
	w.mu.Unlock()
	w.pipeline("deleted") // one of the same name starts from nothing
	w.settled("deleted", walk.ReasonAllStagesRun)
}
