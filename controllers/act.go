package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

// act stops and starts what was decided. The facts take up what came of it; a stage that has to wait says for what.
func (r *Reconciler) act(ctx context.Context, v *view) error {
	var problems []error
	for _, c := range v.seen.children {
		if v.pointless(c) {
			problems = append(problems, r.stop(ctx, c))
			continue
		}
		problems = append(problems, r.requeue(ctx, v, c))
	}
	r.places.observe(client.ObjectKeyFromObject(v.pipeline), placesOf(v.seen.children), v.unseen(), v.decision.Start)
	for _, name := range v.decision.Start {
		fact, err := r.start(ctx, v, v.decision.Stage(name))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		v.facts.Stages[name] = fact
	}
	return errors.Join(problems...)
}

// pointless reports whether a Job is to be stopped: it was decided, its stage is gone from the spec, or a later attempt took its place.
func (v *view) pointless(c child) bool {
	if !c.inFlight() || c.deleting() {
		return false
	}
	s := v.decision.Stage(c.stage())
	return s == nil || slices.Contains(v.decision.Stop, c.stage()) || c.attempt() < v.facts.Stages[c.stage()].Attempt
}

// stops reports whether a Job is to be stopped.
func (v *view) stops() bool { return slices.ContainsFunc(v.seen.children, v.pointless) }

// stop deletes a Job. It stays until its pods are gone, so that nothing takes its place before.
func (r *Reconciler) stop(ctx context.Context, c child) error {
	err := r.Client.Delete(ctx, c.job, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &c.job.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("stop Job %s: %w", c.job.Name, err)
	}
	return nil
}

// requeue has a Job under way follow the queue and priority that the pipeline says now: a name was mistyped, or it has become urgent. What
// Kueue would not follow is left alone: it moves a Job to another queue only while it holds it back, and changes a priority class only into
// another one.
func (r *Reconciler) requeue(ctx context.Context, v *view, c child) error {
	if !c.inFlight() || c.deleting() {
		return nil
	}
	spec, changed := &v.pipeline.Spec, map[string]string{}
	for key, value := range queueing(v.pipeline, spec.EffectiveTemplate(spec.Stage(c.stage())).Labels) {
		old := c.job.Labels[key]
		if old != value && (key == QueueLabel && c.suspended() || key == PriorityLabel && old != "") {
			changed[key] = value
		}
	}
	if len(changed) == 0 {
		return nil
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": c.job.UID, "labels": changed}})
	if err != nil {
		return err
	}
	err = r.Client.Patch(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: c.job.Namespace, Name: c.job.Name}}, client.RawPatch(types.MergePatchType, data))
	// refused: it was admitted meanwhile, and what comes after it follows; or the name is none, which the next Job's creation says
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
		return fmt.Errorf("label Job %s: %w", c.job.Name, err)
	}
	return nil
}

// start creates a stage's Job, if there is a place for it, and returns what is then known of the stage.
func (r *Reconciler) start(ctx context.Context, v *view, s *walk.Stage) (walk.Fact, error) {
	held := walk.Fact{State: v1alpha1.StageQueued, Attempt: s.Attempt - 1}
	started := walk.Fact{State: v1alpha1.StageQueued, Attempt: s.Attempt, InputHash: s.InputHash}
	job, err := v.attempt(s, r.Image).job()
	if err != nil {
		started.State, started.Reason, started.Message = v1alpha1.StageFailed, walk.ReasonInvalidSpec, err.Error()
		return started, nil
	}
	key := client.ObjectKeyFromObject(v.pipeline)
	exclusive, err := r.exclusive(ctx, job)
	if err != nil {
		return held, err
	}
	var ok bool
	t := ticket{ticketKey: ticketKey{key, s.Name}, exempt: job.Labels[QueueLabel] != "", claims: exclusive}
	if held.Reason, held.Message, ok = r.places.acquire(t, job.Name); !ok {
		return held, nil
	}
	started.Job = job.Name
	r.created.add(client.ObjectKeyFromObject(job), r.Clock.Now())
	err = r.Client.Create(ctx, job)
	if err == nil {
		return started, nil
	}
	if apierrors.IsAlreadyExists(err) {
		return r.taken(ctx, v, job, started, held)
	}
	r.created.forget(client.ObjectKeyFromObject(job))
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		held.Reason, held.Message = diagnoseRejection(sentence(err.Error()))
		v.lookAgain(retryRejected)
		return held, nil
	}
	return held, fmt.Errorf("create Job %s: %w", job.Name, err)
}

// taken looks at the Job that has the name already: another controller's, or this one's before it was killed, is as good as created;
// anything else means wait.
func (r *Reconciler) taken(ctx context.Context, v *view, job *batchv1.Job, started, held walk.Fact) (walk.Fact, error) {
	var found batchv1.Job
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(job), &found)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return held, fmt.Errorf("look at Job %s: %w", job.Name, err)
	case err == nil && found.DeletionTimestamp == nil && metav1.IsControlledBy(&found, v.pipeline):
		return started, nil
	case err == nil && found.DeletionTimestamp == nil:
		held.Message = fmt.Sprintf("Job %s is there already and not this pipeline's; delete it", job.Name)
	default:
		held.Message = fmt.Sprintf("Job %s is being deleted", job.Name)
	}
	r.created.forget(client.ObjectKeyFromObject(job))
	held.Reason = reasonJobNameTaken
	v.lookAgain(retryTaken)
	return held, nil
}

// exclusive returns the Job's claims that one node may mount at a time. A claim that is not there is its pod's to complain about.
func (r *Reconciler) exclusive(ctx context.Context, job *batchv1.Job) ([]string, error) {
	var out []string
	for _, name := range claimsOf(job) {
		var claim corev1.PersistentVolumeClaim
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name}, &claim)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("look at claim %s: %w", name, err)
		case oneNode(claim.Spec.AccessModes):
			out = append(out, name)
		}
	}
	return out, nil
}

func oneNode(modes []corev1.PersistentVolumeAccessMode) bool {
	return !slices.Contains(modes, corev1.ReadWriteMany) &&
		(slices.Contains(modes, corev1.ReadWriteOnce) || slices.Contains(modes, corev1.ReadWriteOncePod))
}

func claimsOf(job *batchv1.Job) []string {
	var out []string
	for i := range job.Spec.Template.Spec.Volumes {
		if source := job.Spec.Template.Spec.Volumes[i].PersistentVolumeClaim; source != nil {
			out = append(out, source.ClaimName)
		}
	}
	return out
}

// placesOf are the places a pipeline's Jobs take up.
func placesOf(children []child) []place {
	var out []place
	for _, c := range children {
		if c.inFlight() && c.succeeded() == nil {
			out = append(out, place{job: c.job.Name, claims: claimsOf(c.job), exempt: c.job.Labels[QueueLabel] != ""})
		}
	}
	return out
}

// unseen names the Jobs that were just created.
func (v *view) unseen() []string {
	var out []string
	for _, name := range v.seen.pending {
		out = append(out, stageStatus(&v.pipeline.Status, name).Job)
	}
	return out
}

// expire has the Jobs deleted in a while whose outcome is recorded. Failed attempts are kept as long as others may follow: they are what
// retries are counted by.
func (r *Reconciler) expire(ctx context.Context, v *view) error {
	ttl := v1alpha1.Or(v.pipeline.Spec.TTLSecondsAfterFinished, v1alpha1.DefaultTTL)
	var problems []error
	for _, c := range v.seen.children {
		over := c.succeeded() != nil || !c.inFlight()
		key := client.ObjectKeyFromObject(c.job)
		if !over || c.deleting() || c.job.Spec.TTLSecondsAfterFinished != nil || !v.recorded(c) || r.expiring.recent(key, v.now) {
			continue
		}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"ttlSecondsAfterFinished":%d}}`, c.job.UID, ttl))
		err := r.Client.Patch(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: c.job.Namespace, Name: c.job.Name}}, patch)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			problems = append(problems, fmt.Errorf("set the time to live of Job %s: %w", c.job.Name, err))
			continue
		}
		r.expiring.add(key, v.now)
	}
	return errors.Join(problems...)
}

// recorded reports whether the status holds what came of a Job, or nobody will ask.
func (v *view) recorded(c child) bool {
	s := stageStatus(&v.pipeline.Status, c.stage())
	switch {
	case s.Name == "" || s.Attempt > c.attempt() && s.InputHash != c.job.Annotations[InputHashAnnotation]:
		return true
	case s.State == v1alpha1.StageCompleted, s.State == v1alpha1.StageFailed, s.State == v1alpha1.StageSkipped:
		return s.Attempt >= c.attempt()
	}
	return false
}

// attempt is what a stage's Job is built for.
func (v *view) attempt(s *walk.Stage, image string) attempt {
	a := attempt{
		pipeline: v.pipeline, stage: s, pinned: v.facts.Baseline, rerun: v.rerun, version: v.running, image: image,
	}
	if s.Name == walk.Publish {
		a.status = ptr.To(v.decision.Status(v.facts, v.shown(false)))
	}
	return a
}
