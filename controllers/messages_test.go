package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clocktesting "k8s.io/utils/clock/testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

func TestANodeThatIsFullIsNotAskedToBeAnother(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/4 nodes are available: 1 Insufficient cpu, 3 node(s) didn't match Pod's node affinity/selector.",
	}}}}
	reason, message := diagnosePending(pod)
	if reason != reasonUnschedulable || !strings.Contains(message, "requests or add nodes") || strings.Contains(message, "is there an arm64 node") {
		t.Errorf("%s: %s", reason, message)
	}
}

func TestWaitingItsTurnIsToldOnceAndIsNoWarning(t *testing.T) {
	status := func(reason string, attempt int32) *v1alpha1.OptimizationPipelineStatus {
		s := &v1alpha1.OptimizationPipelineStatus{Stages: []v1alpha1.StageStatus{{Name: walk.Baseline, State: v1alpha1.StageQueued, Attempt: attempt}}}
		for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling} {
			value := metav1.ConditionUnknown
			if kind == v1alpha1.ConditionReconciling {
				value = metav1.ConditionTrue
			}
			meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: kind, Status: value, Reason: reason})
		}
		return s
	}
	first := newsOf(&v1alpha1.OptimizationPipelineStatus{}, status(reasonInFlightLimit, 0))
	if len(first) != 1 || first[0].warning || first[0].reason != reasonInFlightLimit {
		t.Errorf("the first time: %+v", first)
	}
	if again := newsOf(status(walk.ReasonProgressing, 1), status(reasonInFlightLimit, 1)); len(again) != 0 {
		t.Errorf("at a later stage: %+v", again)
	}
	if trouble := newsOf(status(walk.ReasonProgressing, 1), status(reasonImagePull, 1)); len(trouble) != 1 || !trouble[0].warning {
		t.Errorf("trouble: %+v", trouble)
	}
}

func TestAStaleCacheIsNotWaitedForWithoutEnd(t *testing.T) {
	var w written
	w.set(called("p"), "1000", noon.Time)
	for after, want := range map[time.Duration]bool{0: true, justWritten: true, justWritten + time.Second: false} {
		if got := w.newer(called("p"), "900", noon.Add(after)); got != want {
			t.Errorf("after %s the cache is waited for: %v", after, got)
		}
	}
	if w.newer(called("p"), "1001", noon.Time) {
		t.Error("a newer version is waited for")
	}
}

func TestThosePlacesAreHeldByAreNamedInTheirOwnNamespaceOnly(t *testing.T) {
	s := newPlaces(2, nil)
	s.observe(called("mine"), []place{{job: "m"}}, nil, nil)
	theirs := called("secret-project")
	theirs.Namespace = "theirs"
	s.observe(theirs, []place{{job: "t"}}, nil, nil)
	_, message, ok := s.acquire(want("waits"), "job")
	if ok || !strings.Contains(message, "1 of this namespace (mine), 1 of others") || strings.Contains(message, "secret") {
		t.Error(message)
	}
}

// TestAFinishedAnswerIsFrozen decides from a status whose hashes this version would never make.
func TestAFinishedAnswerIsFrozen(t *testing.T) {
	leaf := func(bytes string) *v1alpha1.Leaf {
		return &v1alpha1.Leaf{Digest: digest("leaf", bytes), Metrics: []v1alpha1.MetricValue{{Name: "CompressedBytes", Value: bytes}}}
	}
	p := chainPipeline("ns", "p", bytes("500"))
	p.Generation = 3
	p.Status = v1alpha1.OptimizationPipelineStatus{
		ObservedGeneration: 3, AlgorithmVersion: "0", Baseline: &v1alpha1.Baseline{ModelDigest: digest("m"), DatasetDigest: digest("d")},
		Stages: []v1alpha1.StageStatus{
			{Name: walk.Baseline, State: v1alpha1.StageCompleted, Attempt: 1, InputHash: "sha256:another", Leaf: leaf("1000")},
			{Name: "prune", Input: "model", State: v1alpha1.StageCompleted, Attempt: 1, InputHash: "sha256:form", Leaf: leaf("400"), Model: &v1alpha1.Artifact{Digest: digest("p")}},
			{Name: "cluster", Input: "prune", State: v1alpha1.StageSkipped},
			{Name: "pcqat", Input: "cluster", State: v1alpha1.StageSkipped},
			{Name: walk.Publish, State: v1alpha1.StageCompleted, Attempt: 1, InputHash: "sha256:of hashing"},
		},
	}
	for kind, value := range map[string]metav1.ConditionStatus{v1alpha1.ConditionReady: metav1.ConditionTrue, v1alpha1.ConditionReconciling: metav1.ConditionFalse} {
		meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: kind, Status: value, Reason: walk.ReasonConstraintsMet})
	}
	decide := func() *view {
		r := &Reconciler{Version: "1", Clock: clocktesting.NewFakePassiveClock(noon.Time), places: newPlaces(0, nil)}
		v := r.view(p, &observation{})
		v.decide()
		return v
	}
	v := decide()
	if !v.decision.Finished || !v.decision.Ready || len(v.decision.Start) > 0 || v.decision.Selected != "prune" || v.version != "0" {
		t.Errorf("starts %v, selected %q, version %s: %s", v.decision.Start, v.decision.Selected, v.version, v.decision.Message)
	}
	p.Generation = 4 // another spec is decided by what the stages are now
	if v := decide(); len(v.decision.Start) == 0 {
		t.Errorf("nothing is started for another spec: %s", v.decision.Message)
	}
}

func TestAFailureIsSaidWhileItsRetryWaitsForAPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Pipeline == "holder" {
			return act{hang: true}
		}
		data, _ := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: stage.ReasonUnavailable, Message: "no answer"}).Marshal()
		return act{exit: 6, message: string(data)}
	}
	w.run(bound(1))
	w.pipeline("failed", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](3) })
	w.waits("failed", walk.ReasonRetrying)
	w.pipeline("holder")
	p := w.waits("failed", reasonInFlightLimit)
	if got := stageStatus(&p.Status, walk.Baseline).Message; !strings.Contains(got, "before that, ") || !strings.Contains(got, "no answer") {
		t.Errorf("its message is %q", got)
	}
}
