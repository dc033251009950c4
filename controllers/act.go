package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

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
	for _, c := range v.seen.all() {
		switch {
		case v.pointless(c):
			problems = append(problems, r.stop(ctx, c))
			r.tellLost(v, c)
			continue
		case v.yields(c):
			problems = append(problems, r.yield(ctx, v, c))
			continue
		}
		problems = append(problems, r.requeue(ctx, v, c))
	}
	wanted, err := r.prepare(ctx, v)
	problems = append(problems, err)
	tickets := make([]ticket, len(wanted))
	for i := range wanted {
		tickets[i] = wanted[i].ticket
	}
	r.places.observe(client.ObjectKeyFromObject(v.pipeline), placesOf(v.seen.taking(), v.pipeline.Spec.RunPolicy.NodeLost(), v.now), append(v.unseen(), r.unseenHelpers(v)...), tickets)
	for i := range wanted {
		fact, err := r.start(ctx, v, &wanted[i])
		if err != nil {
			problems = append(problems, err)
			continue
		}
		v.facts.Stages[wanted[i].stage.Name] = fact.After(v.facts.Stages[wanted[i].stage.Name])
	}
	return errors.Join(append(problems, r.help(ctx, v))...)
}

// pointless reports whether a Job is to be stopped: it was decided, its stage is gone from the spec, or a later attempt took its place.
func (v *view) pointless(c child) bool {
	if !c.inFlight() || c.deleting() {
		return false
	}
	s, fact := v.decision.Stage(c.stage()), v.facts.Stages[c.stage()]
	return s == nil || slices.Contains(v.decision.Stop, c.stage()) || c.attempt() < fact.Attempt || c.abandoned(v.pipeline.Spec.RunPolicy.NodeLost(), v.now)
}

// tellLost says of a Job that is stopped because nobody waits for its node any more, which is.
func (r *Reconciler) tellLost(v *view, c child) {
	limit := v.pipeline.Spec.RunPolicy.NodeLost()
	if c.abandoned(limit, v.now) {
		r.Events.Eventf(v.pipeline, nil, corev1.EventTypeWarning, reasonNodeLost, "Walk", "stage %s: its node %s has not answered for nodeLostSeconds, %d; the next attempt resumes from the checkpoint",
			c.stage(), c.live().Spec.NodeName, int64(limit.Seconds()))
	}
}

// stops reports whether a Job is to be stopped.
func (v *view) stops() bool {
	return slices.ContainsFunc(v.seen.all(), v.pointless) || slices.ContainsFunc(v.seen.all(), v.yields)
}

// yields reports whether a Job gives its place back: it cannot start, has had its grace, and others wait for a place. While nobody does it
// keeps it, for a node, an image or a quota to come, until its time to start is over or the spec is another.
func (v *view) yields(c child) bool {
	at, stuck := v.yieldsAt(c)
	return stuck && !at.After(v.now)
}

// yieldsAt is when a Job that does not start gives its place back, if nothing changes.
func (v *view) yieldsAt(c child) (at time.Time, stuck bool) {
	fact := v.facts.Stages[c.stage()]
	if fact.State != v1alpha1.StageQueued || !c.is(fact.Job) || !c.inFlight() || c.deleting() || c.suspended() || c.elsewhere() {
		return at, false
	}
	if pod := c.live(); c.follows() != "" && pod != nil && ran(pod) { // the fact is another's of the attempt
		return at, false
	}
	since := c.waitsSince()
	at = since.Add(v.pipeline.Spec.RunPolicy.StartDeadline())
	switch {
	case fact.Reason == "" || fact.Reason == reasonDisrupted: // nothing keeps it from starting
	case !c.of(v.pipeline.Generation, v.rerun): // the spec was edited, which may mend it
		at = since
	case v.contended && !c.queued():
		at = earlier(at, since.Add(v.grace))
	}
	return at, true
}

// is reports whether the Job is one of a name, or follows it.
func (c child) is(name string) bool { return c.job.Name == name || c.follows() == name }

// waitsSince is since when the Job could have had a container that runs.
func (c child) waitsSince() time.Time {
	if pod := c.live(); pod != nil {
		return pod.CreationTimestamp.Time
	}
	since := c.job.CreationTimestamp.Time
	if c.job.Status.StartTime != nil {
		since = c.job.Status.StartTime.Time // a queue may have admitted it long after it was created
	}
	if len(c.pods) > 0 { // over; another is to follow, or the Job is about to say that it is over too
		since = later(since, c.pods[0].CreationTimestamp.Time)
		since = later(since, podCondition(c.pods[0], corev1.DisruptionTarget).LastTransitionTime.Time)
		if end := terminated(c.pods[0]); end != nil {
			since = later(since, end.FinishedAt.Time)
		}
	}
	return since
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// yield stops a Job that cannot start. It is tried again as another attempt that counts against no retry: at once where the spec is another
// than that of the Job, else after a while.
func (r *Reconciler) yield(ctx context.Context, v *view, c child) error {
	fact := v.facts.Stages[c.stage()]
	if deadline := v.pipeline.Spec.RunPolicy.StartDeadline(); v.now.Sub(c.waitsSince()) >= deadline {
		why := fact.Message
		if fact.Reason == "" {
			fact.Reason, why = reasonNotStarted, "Kubernetes says not why"
		}
		fact.Message = fmt.Sprintf("attempt %d did not start within startDeadlineSeconds, %d, and is followed by another: %s", c.attempt(), int64(deadline.Seconds()), why)
	}
	if c.of(v.pipeline.Generation, v.rerun) {
		r.setBack(v, c.stage(), fact.Reason, fact.Message, v.grace)
	}
	if err := r.stop(ctx, c); err != nil {
		return err
	}
	fact.State = v1alpha1.StageStopping
	v.facts.Stages[c.stage()] = fact
	return nil
}

// setBack remembers that a stage is not to be tried again for a while.
func (r *Reconciler) setBack(v *view, stage, reason, message string, wait time.Duration) {
	b := r.setbacks.add(setbackKey{v.pipeline.UID, stage}, setback{
		reason: reason, message: message, generation: v.pipeline.Generation, rerun: v.rerun, wait: wait,
	}, v.now)
	v.lookAgain(b.until.Sub(v.now))
}

// end stops the Jobs of a pipeline that is being deleted and takes it out of the queue: a finalizer may keep it for long.
func (r *Reconciler) end(ctx context.Context, p *v1alpha1.OptimizationPipeline) error {
	seen, err := r.observe(ctx, p, cached)
	if err != nil {
		r.places.withdraw(client.ObjectKeyFromObject(p))
		return client.IgnoreNotFound(err)
	}
	var problems []error
	for _, c := range seen.all() {
		if c.inFlight() && !c.deleting() {
			problems = append(problems, r.stop(ctx, c))
		}
	}
	r.places.observe(client.ObjectKeyFromObject(p), placesOf(seen.taking(), p.Spec.RunPolicy.NodeLost(), r.Clock.Now()), nil, nil)
	return errors.Join(problems...)
}

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
	if !c.inFlight() || c.deleting() || c.reads() {
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

// candidate is a stage to start, with the Job that does it, or that the attempt before lacks.
type candidate struct {
	ticket
	stage *walk.Stage
	job   *batchv1.Job
}

// held is what is known of a stage that was not started after all.
func (c *candidate) held() walk.Fact {
	f := walk.Fact{State: v1alpha1.StageQueued, Attempt: c.stage.Attempt - 1, InputHash: c.stage.InputHash}
	if c.follows {
		f.Attempt = c.stage.Attempt
	}
	return f
}

// unfinished returns the attempt before the one to start, if that is not over: what it made may be in the store and is read first, or its leaf
// has to be measured.
func (v *view) unfinished(s *walk.Stage) (walk.Stage, following, bool) {
	before := *s
	before.Attempt--
	if failure := v.facts.Stages[s.Name].LastFailure; failure != nil && failure.Attempt >= before.Attempt {
		return before, following{}, false
	}
	for _, c := range v.seen.children {
		if c.stage() == s.Name && c.attempt() == before.Attempt && c.job.Annotations[InputHashAnnotation] == s.InputHash {
			next, lacks := c.lacks()
			return before, next, lacks && (next.reads || v.pipeline.Spec.MeasuresInJob(next.measures)) // else it was edited, and the next attempt measures beside the stage
		}
	}
	return before, following{}, false
}

// prepare builds the Jobs of the stages that are to start. One that makes no Job, and one that was set back a short while ago, takes no
// place and is not waited for.
func (r *Reconciler) prepare(ctx context.Context, v *view) ([]candidate, error) {
	var out []candidate
	var problems []error
	for i, name := range v.decision.Start {
		c := candidate{stage: v.decision.Stage(name)}
		held := c.held()
		if b, waits := r.setbacks.pending(setbackKey{v.pipeline.UID, name}, v.pipeline.Generation, v.rerun, v.now); waits {
			held.Reason, held.Message = b.reason, b.message
			v.facts.Stages[name] = held.After(v.facts.Stages[name])
			v.lookAgain(b.until.Sub(v.now))
			continue
		}
		before, after, follows := v.unfinished(c.stage)
		if follows {
			c.stage = &before
		}
		job, err := r.build(v, c.stage, after)
		if err != nil {
			v.facts.Stages[name] = walk.Fact{
				State: v1alpha1.StageFailed, Attempt: c.stage.Attempt, InputHash: c.stage.InputHash, Reason: walk.ReasonInvalidSpec, Message: err.Error(),
				Job: v.followed(c.stage, follows),
			}
			continue
		}
		exclusive, err := r.exclusive(ctx, job)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		c.job, c.ticket = job, ticket{
			ticketKey: ticketKey{client.ObjectKeyFromObject(v.pipeline), name}, created: v.pipeline.CreationTimestamp.Time, index: i,
			priority: min(v.pipeline.Spec.Priority, r.Policy.MaxPriority),
			exempt:   job.Labels[QueueLabel] != "" && r.queues.there(v.now), claims: exclusive, follows: follows,
		}
		out = append(out, c)
	}
	return out, errors.Join(problems...)
}

// start creates a stage's Job, if there is a place for it, and returns what is then known of the stage. A place is kept only where a Job
// came about.
func (r *Reconciler) start(ctx context.Context, v *view, c *candidate) (walk.Fact, error) {
	held, job := c.held(), c.job
	started := walk.Fact{State: v1alpha1.StageQueued, Attempt: c.stage.Attempt, InputHash: c.stage.InputHash, Job: v.jobOf(c.stage)}
	var ok bool
	if held.Reason, held.Message, ok = r.places.acquire(c.ticket, job.Name); !ok {
		if c.stage.Reason == walk.ReasonRetrying {
			held.Message += "; before that, " + c.stage.Message
		}
		return held, nil
	}
	r.created.add(client.ObjectKeyFromObject(job), r.Clock.Now())
	v.lookAgain(min(patienceJob, v.grace)) // by then it has a pod
	err := r.Client.Create(ctx, job)
	if err == nil {
		if c.exempt && !(child{job: job}).queued() {
			r.queues.absent(v.now) // its queue is nobody's: the next ones take places
		}
		return started, nil
	}
	if apierrors.IsAlreadyExists(err) {
		fact, err := r.taken(ctx, v, job, started, held)
		if err != nil || fact.Job == "" {
			r.places.release(c.pipeline, job.Name)
		}
		return fact, err
	}
	r.created.forget(client.ObjectKeyFromObject(job))
	r.places.release(c.pipeline, job.Name)
	if malformed(err) {
		held.State, held.Attempt, held.Reason, held.Job = v1alpha1.StageFailed, c.stage.Attempt, walk.ReasonInvalidSpec, v.followed(c.stage, c.follows)
		from := "spec.template"
		if m := job.Labels[MeasurementLabel]; m != "" {
			from += " and the job of spec.measurements " + m
		}
		held.Message = fmt.Sprintf("no Job can be made of %s: %s", from, sentence(err.Error()))
		return held, nil
	}
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		held.Reason, held.Message = diagnoseRejection(sentence(err.Error()))
		r.setBack(v, c.ticket.stage, held.Reason, held.Message, retryRejected)
		return held, nil
	}
	return held, fmt.Errorf("create Job %s: %w", job.Name, err)
}

// jobOf is the name of the Job of a stage's attempt.
func (v *view) jobOf(s *walk.Stage) string {
	return jobName(v.pipeline, s.Name, s.InputHash, s.Attempt)
}

// followed is the Job of the attempt that another one cannot follow, whose failure stands by that name; "" of an attempt without one.
func (v *view) followed(s *walk.Stage, follows bool) string {
	if !follows {
		return ""
	}
	return v.jobOf(s)
}

// malformed reports whether the API server refused an object for what a field of it says, which no patience mends. A policy or a webhook that
// refuses it names no field, and may change its mind.
func malformed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field != "" })
}

// build makes the Job of a stage that the installation allows.
func (r *Reconciler) build(v *view, s *walk.Stage, after following) (*batchv1.Job, error) {
	if err := r.Policy.check(&v.pipeline.Spec, r.Image); err != nil {
		return nil, err
	}
	a := v.attempt(s)
	a.own, a.image = r.Image, cmp.Or(r.Pinned, r.Image)
	a.after, a.defaults = after, r.Resources
	if after.pinned != nil {
		a.pinned = after.pinned
	}
	spec := &v.pipeline.Spec
	a.foreign = !r.Policy.trusts(spec.EffectiveTemplate(spec.Stage(s.Name)).Image, r.Image)
	a.shared = r.Policy.SharedStore
	return a.job()
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

// exclusive returns the Job's claims that one node may mount at a time. They are asked for one by one: a cache would hold every claim of the
// cluster. A claim that is not there is its pod's to complain about.
func (r *Reconciler) exclusive(ctx context.Context, job *batchv1.Job) ([]string, error) {
	var out []string
	for _, name := range claimsOf(job) {
		var claim corev1.PersistentVolumeClaim
		err := r.Live.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name}, &claim)
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

// placesOf are the places a pipeline's Jobs take up. What is abandoned by the time keeps its claims alone, which its node may still have;
// of Jobs whose pods were not looked at nothing is.
func placesOf(children []child, nodeLost time.Duration, now time.Time) []place {
	var out []place
	for _, c := range children {
		if c.inFlight() && c.succeeded() == nil {
			out = append(out, place{job: c.job.Name, claims: claimsOf(c.job), exempt: c.queued() || c.abandoned(nodeLost, now)})
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
	for _, c := range v.seen.all() {
		if c.job.UID == "" {
			out = append(out, c.job.Name)
		}
	}
	return out
}

// keptAttempts are how many of a stage's last attempts keep their Jobs while others may follow: their logs say why.
const keptAttempts = 3

// expire has the Jobs deleted in a while whose outcome is recorded, but not the last attempts of a stage that may be tried again.
func (r *Reconciler) expire(ctx context.Context, v *view) error {
	ttl := v1alpha1.Or(v.pipeline.Spec.RunPolicy.TTLSecondsAfterFinished, v1alpha1.DefaultTTL)
	var problems []error
	for _, c := range v.seen.all() {
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
	case s.Attempt-c.attempt() >= keptAttempts: // one may be tried without end
		return true
	case s.State == v1alpha1.StageCompleted, s.State == v1alpha1.StageFailed, s.State == v1alpha1.StageSkipped:
		return s.Attempt >= c.attempt()
	}
	return false
}

// attempt is what a stage's Job is built for.
func (v *view) attempt(s *walk.Stage) attempt {
	a := attempt{
		pipeline: v.pipeline, stage: s, pinned: v.facts.Baseline, rerun: v.rerun, version: v.running,
		first: v.facts.NothingPublished(),
	}
	if s.Name == walk.Publish {
		a.status = ptr.To(v.decision.Status(v.facts, v.shown()))
	}
	return a
}
