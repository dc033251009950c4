package controllers

import (
	"maps"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"espalier.dev/espalier/api/v1alpha1"
)

// asksForMore lets changes of a pipeline through that a person makes, and not those of its status.
func asksForMore() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectNew.GetDeletionTimestamp() != nil || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetAnnotations()[v1alpha1.RerunAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.RerunAnnotation] ||
			!maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
	}}
}

// tellsOfJob lets through what of a Job's news may change a decision. That it is there, and has started, does not: it was created here, and
// where it gets no pod, that is looked into after a while. Nor does its time to live, which is set here.
func tellsOfJob() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			c := child{job: e.Object.(*batchv1.Job)}
			return c.suspended() || c.elsewhere() || !c.inFlight() || c.deleting()
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := *e.ObjectOld.(*batchv1.Job), *e.ObjectNew.(*batchv1.Job)
			before.ResourceVersion, before.Status.StartTime = after.ResourceVersion, after.Status.StartTime
			before.Spec.TTLSecondsAfterFinished = after.Spec.TTLSecondsAfterFinished
			return !equality.Semantic.DeepEqual(before, after)
		},
	}
}

// tellsOfPod lets through what of a pod's news may change a decision: not that it is there, nor where.
func tellsOfPod() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			pod := e.Object.(*corev1.Pod)
			return pod.DeletionTimestamp != nil || !equality.Semantic.DeepEqual(pod.Status, corev1.PodStatus{Phase: corev1.PodPending})
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := *e.ObjectOld.(*corev1.Pod), *e.ObjectNew.(*corev1.Pod)
			before.ResourceVersion, before.Spec.NodeName = after.ResourceVersion, after.Spec.NodeName
			return !equality.Semantic.DeepEqual(before, after)
		},
	}
}
