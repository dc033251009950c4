package controllers

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// diagnosePending says what keeps a pod from running, nothing where it just takes its time.
func diagnosePending(pod *corev1.Pod) (reason, message string) {
	if k := podCondition(pod, corev1.PodScheduled); k.Status == corev1.ConditionFalse {
		switch k.Reason {
		case corev1.PodReasonUnschedulable:
			return reasonUnschedulable, "no node takes its pod: " + sentence(k.Message) + remedyUnschedulable(k.Message)
		case corev1.PodReasonSchedulingGated:
			return corev1.PodReasonSchedulingGated, "its pod is held back by scheduling gates"
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		s := &pod.Status.InitContainerStatuses[i]
		if s.State.Waiting == nil {
			continue
		}
		if reason, message := diagnoseWaiting(s.State.Waiting, s.Image); reason != "" {
			return reason, strings.Replace(message, "check spec.template.image", "check the image of "+s.Name+" and spec.measurements", 1)
		}
	}
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.State.Waiting != nil {
			return diagnoseWaiting(s.State.Waiting, s.Image)
		}
	}
	return "", ""
}

// remedyUnschedulable says what to change, where the scheduler's message tells.
func remedyUnschedulable(message string) string {
	for _, known := range []struct{ said, remedy string }{
		{"Insufficient", "; lower spec.template.resources.requests or add nodes"}, // of the nodes that are right otherwise
		{"untolerated taint", "; add to spec.template.tolerations"},
		{"node affinity/selector", "; is there an arm64 node? spec.template.nodeSelector chooses others, {} any"},
		{"persistentvolumeclaim", "; create the claim, or correct the pvc:// address"},
	} {
		if strings.Contains(message, known.said) {
			return known.remedy
		}
	}
	return ""
}

// diagnoseWaiting says what a container waits for. Kubernetes alternates between words and texts for one trouble with an image; here it
// has one, so that the status does not flicker.
func diagnoseWaiting(w *corev1.ContainerStateWaiting, image string) (reason, message string) {
	switch w.Reason {
	case "", "ContainerCreating", "PodInitializing":
		return "", ""
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError":
		return reasonImagePull, fmt.Sprintf("image %s cannot be had%s; check spec.template.image and imagePullSecrets", image, imageCause(w.Message))
	default: // CreateContainerConfigError, CreateContainerError, RunContainerError …
		if !reasonPattern.MatchString(w.Reason) {
			return reasonNotStarted, sentence(w.Reason + " " + w.Message)
		}
		return w.Reason, "its container cannot be started: " + sentence(w.Message)
	}
}

// imageCause is the part of a message on an image that both of Kubernetes's words for the trouble have.
func imageCause(message string) string {
	if _, cause, found := strings.Cut(message, "ErrImagePull: "); found {
		message = cause
	}
	message = sentence(message)
	if message == "" || strings.HasPrefix(message, "Back-off pulling image") {
		return ""
	}
	return ": " + message
}

// diagnoseEvent says what the warning of an event means for a stage, nothing where it means nothing.
func diagnoseEvent(reason, message string) (string, string) {
	message = sentence(message)
	switch reason {
	case "FailedCreate":
		return diagnoseRejection(message)
	case "FailedMount", "FailedAttachVolume", "FailedMapVolume":
		return reasonFailedMount, "a volume of its pod cannot be mounted: " + message + "; create what is missing, and it goes on"
	case "FailedCreatePodSandBox", "FailedScheduling", "FailedBinding", "ProvisioningFailed":
		return reason, message
	}
	return "", ""
}

// diagnoseRejection says why no pod, or no Job, could be created.
func diagnoseRejection(message string) (string, string) {
	switch {
	case strings.Contains(message, "exceeded quota"), strings.Contains(message, "failed quota"):
		return reasonQuotaExceeded, "the namespace's quota does not admit it: " + message
	case strings.Contains(message, "violates PodSecurity"):
		return reasonPodSecurity, "the namespace's pod security does not admit it: " + message
	case strings.Contains(message, "serviceaccount") && strings.Contains(message, "not found"):
		return reasonServiceAccount, "create the service account or correct spec.template.serviceAccountName: " + message
	default:
		return reasonFailedCreate, "it could not be created: " + message
	}
}
