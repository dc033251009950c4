package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// storedURI is where a leaf is in the store, publishedURI where publish puts it.
func (v *view) storedURI(digest string) string { return v.address(artifact.BlobName(digest)) }

func (v *view) publishedURI(digest string) string {
	return v.address(stage.Home(v.pipeline.Namespace, v.pipeline.Name) + "/" + stage.DigestFile(digest))
}

// address is that of a file in the store.
func (v *view) address(name string) string {
	if v.pipeline.Spec.Artifacts == nil {
		return ""
	}
	return strings.TrimRight(v.pipeline.Spec.Artifacts.URI, "/") + "/" + name
}

// news is something that a status says and the one before did not.
type news struct {
	warning         bool
	reason, message string
	minor           bool // for the log alone: the Job's own events tell it too
}

// newsOf compares two statuses of a pipeline: what became of stages, and what of the whole.
func newsOf(before, after *v1alpha1.OptimizationPipelineStatus) []news {
	var out []news
	for i := range after.Stages {
		now := &after.Stages[i]
		was := stageStatus(before, now.Name)
		if n := stageNews(was, now); n.reason != "" {
			out = append(out, n)
		}
	}
	was, now := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionPublished), meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionPublished)
	if now != nil && (was == nil || was.Reason != now.Reason) && (now.Reason == walk.ReasonWithdrawn || now.Reason == walk.ReasonEarlierPipeline) {
		out = append(out, news{warning: true, reason: now.Reason, message: now.Message})
	}
	was, now = meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady), meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionReady)
	if now != nil && waits(now.Reason) && hasStarted(before) {
		return out // waiting its turn is told once, not at every stage
	}
	if now != nil && (was == nil || was.Reason != now.Reason || was.Status != now.Status) && tellsOutcome(after, now.Reason) {
		out = append(out, news{warning: !meta.IsStatusConditionTrue(after.Conditions, v1alpha1.ConditionReady) && !waits(now.Reason), reason: now.Reason, message: now.Message})
	}
	return out
}

// waits reports whether a reason says that a pipeline waits its turn, as all do at times.
func waits(reason string) bool { return reason == reasonInFlightLimit || reason == reasonWaitForVolume }

// hasStarted reports whether a Job was made for any stage.
func hasStarted(status *v1alpha1.OptimizationPipelineStatus) bool {
	return slices.ContainsFunc(status.Stages, func(s v1alpha1.StageStatus) bool { return s.Attempt > 0 })
}

// tellsOutcome reports whether a reason of Ready is worth an event: how it ended, or what stands in the way.
func tellsOutcome(status *v1alpha1.OptimizationPipelineStatus, reason string) bool {
	if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReconciling) {
		return true
	}
	switch reason {
	case walk.ReasonProgressing, walk.ReasonQueued, walk.ReasonStopping, walk.ReasonPublishing, walk.ReasonSuspended, walk.ReasonRetrying:
		return false
	}
	return true
}

func stageNews(was, now *v1alpha1.StageStatus) news {
	changed := was.State != now.State || was.Attempt != now.Attempt
	switch {
	case now.State == v1alpha1.StageCompleted && changed:
		word := "completed"
		if now.Reused {
			word = "was in the store already"
		}
		return news{reason: "StageCompleted", message: fmt.Sprintf("stage %s %s", now.Name, word)}
	case now.State == v1alpha1.StageFailed && changed:
		return news{warning: true, reason: "StageFailed", message: fmt.Sprintf("stage %s failed: %s", now.Name, now.Message)}
	case now.State == v1alpha1.StagePending && strings.HasPrefix(now.Message, "attempt ") && was.Message != now.Message:
		return news{warning: true, reason: "StageRetrying", message: fmt.Sprintf("stage %s: %s", now.Name, now.Message)}
	case now.Job != "" && now.Job != was.Job && now.State != v1alpha1.StageStopping:
		return news{minor: true, reason: "StageStarted", message: fmt.Sprintf("stage %s started as Job %s", now.Name, now.Job)}
	}
	return news{}
}

// maxNote bounds an event's text, in bytes.
const maxNote = 1000

// tell logs, sends events and counts metrics; only of what the status says.
func (r *Reconciler) tell(ctx context.Context, v *view) {
	for _, n := range newsOf(&v.before, &v.pipeline.Status) {
		log.FromContext(ctx).Info(n.message, "reason", n.reason)
		if n.minor {
			continue
		}
		kind := corev1.EventTypeNormal
		if n.warning {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(v.pipeline, nil, kind, n.reason, "Walk", "%s", walk.Truncate(n.message, maxNote))
	}
	measure(v)
}
