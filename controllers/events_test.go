package controllers

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// TestNewsThatMayChangeADecision has objects as a cache keeps them.
func TestNewsThatMayChangeADecision(t *testing.T) {
	cached := func(o client.Object) client.Object {
		kept, err := slim(o)
		if err != nil {
			t.Fatal(err)
		}
		return kept.(client.Object)
	}
	job := func(change func(*batchv1.Job)) client.Object {
		j := jobWith("", "").job
		change(j)
		return cached(j)
	}
	pod := func(change func(*corev1.Pod)) client.Object {
		p := podIn(corev1.PodPending)
		change(p)
		return cached(p)
	}
	same := func(*batchv1.Job) {}
	condition := func(kind batchv1.JobConditionType) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.ResourceVersion, j.Status.Conditions = "2", []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue}}
		}
	}
	tests := map[string]struct {
		of            predicate.Predicate
		before, after client.Object // before is nil of one that is new
		want          bool
	}{
		"a Job that was created":  {tellsOfJob(), nil, job(same), false},
		"a Job that is held back": {tellsOfJob(), nil, job(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }), true},
		"a Job that was complete": {tellsOfJob(), nil, job(condition(batchv1.JobComplete)), true},
		"it started":              {tellsOfJob(), job(func(j *batchv1.Job) { j.Status.StartTime = nil }), job(same), false},
		"its pod is counted":      {tellsOfJob(), job(same), job(func(j *batchv1.Job) { j.Status.Active, j.Status.Ready, j.ResourceVersion = 1, ptr.To[int32](1), "2" }), false},
		"it is about to complete": {tellsOfJob(), job(same), job(condition(batchv1.JobSuccessCriteriaMet)), false},
		"it is complete":          {tellsOfJob(), job(same), job(condition(batchv1.JobComplete)), true},
		"it has a time to live":   {tellsOfJob(), job(same), job(func(j *batchv1.Job) { j.Spec.TTLSecondsAfterFinished = ptr.To[int32](1) }), false},
		"it is held back again":   {tellsOfJob(), job(same), job(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }), true},
		"it is deleted":           {tellsOfJob(), job(same), job(func(j *batchv1.Job) { j.DeletionTimestamp = &noon }), true},
		"it runs elsewhere":       {tellsOfJob(), elsewhereJob(0), elsewhereJob(1), true},
		"a pod that was created":  {tellsOfPod(), nil, pod(func(*corev1.Pod) {}), false},
		"a pod that has failed":   {tellsOfPod(), nil, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), true},
		"it has a node":           {tellsOfPod(), pod(func(*corev1.Pod) {}), pod(scheduledTo("n")), false},
		"no node takes it": {tellsOfPod(), pod(func(*corev1.Pod) {}), pod(func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse}}
		}), true},
		"its container is made":    {tellsOfPod(), pod(scheduledTo("n")), pod(stuckIn("ContainerCreating")), false},
		"it has no image":          {tellsOfPod(), pod(stuckIn("ContainerCreating")), pod(stuckIn("ErrImagePull")), true},
		"it runs":                  {tellsOfPod(), pod(scheduledTo("n")), pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), true},
		"its finalizer is removed": {tellsOfPod(), pod(func(p *corev1.Pod) { p.Finalizers = []string{batchv1.JobTrackingFinalizer} }), pod(func(p *corev1.Pod) { p.ResourceVersion = "2" }), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.of.Create(event.CreateEvent{Object: tt.after})
			if tt.before != nil {
				got = tt.of.Update(event.UpdateEvent{ObjectOld: tt.before, ObjectNew: tt.after})
			}
			if got != tt.want {
				t.Errorf("let through: %v", got)
			}
		})
	}
}

func elsewhereJob(ready int32) client.Object {
	job := jobWith("", "").job
	job.Spec.ManagedBy, job.Status.Ready = ptr.To(otherController), &ready
	return slimJob(job)
}

func scheduledTo(node string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.NodeName, p.ResourceVersion = node, "2"
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	}
}

func stuckIn(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status = *waitingPod(reason, "") }
}
