package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// ownerIndex indexes Jobs and pods by the UID of the object that controls them.
const ownerIndex = ".metadata.controller"

// justWritten is how long what was written here may take to show up in the cache. After that it is asked for, or written again.
const justWritten = 10 * time.Second

func ownerUID(o client.Object) []string {
	if owner := metav1.GetControllerOf(o); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}

// observation is what was seen of a pipeline's Jobs.
type observation struct {
	children  []child  // by stage, then by attempt
	followers []child  // Jobs that follow others, some of which may be gone
	helpers   []child  // Jobs that make trials beside a search's
	pending   []string // stages whose Job was just created
	lost      []string // stages whose Job is gone, though nobody here stopped it
}

// origin is where a look gets what it sees.
type origin bool

const (
	cached origin = false
	live   origin = true // from the API server
)

// observe lists the pipeline's Jobs and their pods. From the caches, only a Job that the status says is under way and that is not there
// is asked for: whether it was deleted or is not there yet makes all the difference. The caches are three watches, and each may be
// behind the others: beside another controller, which leader election allows for a moment, a Job may show up before the end of the stage
// it builds on. A live look reads what causes after what it causes: the Jobs, their pods, then the pipeline.
func (r *Reconciler) observe(ctx context.Context, p *v1alpha1.OptimizationPipeline, from origin) (*observation, error) {
	o := &observation{}
	reader, match := client.Reader(r.Client), client.ListOption(client.MatchingFields{ownerIndex: string(p.UID)})
	if from == live {
		reader, match = r.Live, client.MatchingLabels{PipelineLabel: p.Name}
	}
	var jobs batchv1.JobList
	if err := reader.List(ctx, &jobs, client.InNamespace(p.Namespace), match); err != nil {
		return nil, fmt.Errorf("list the Jobs: %w", err)
	}
	for _, of := range byOrder(jobs.Items) { // readers first, then what measures, then the stages'
		for _, job := range of {
			if !metav1.IsControlledBy(job, p) {
				continue
			}
			c, err := r.child(ctx, p, job, o.followers, from)
			if err != nil {
				return nil, err
			}
			if c.follows() != "" {
				o.followers = append(o.followers, c)
			} else {
				o.children = append(o.children, c)
			}
		}
	}
	if from == live {
		now := &v1alpha1.OptimizationPipeline{} // what is read into one that is there keeps its fields that are gone
		if err := r.Live.Get(ctx, client.ObjectKeyFromObject(p), now); err != nil {
			return nil, err
		}
		if p.UID != now.UID {
			return nil, fmt.Errorf("the pipeline was made anew while it was looked at")
		}
		*p = *now
	}
	for i := range p.Status.Stages {
		if err := r.missing(ctx, p, &p.Status.Stages[i], o); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(o.children, func(a, b child) int { return int(a.attempt()) - int(b.attempt()) })
	var err error
	o.helpers, err = r.helpers(ctx, p)
	return o, err
}

// child is a Job with its pods. After the API server was away the cache may have Jobs again long before it has pods: of a Job that is
// over and whose outcome no pod of the cache tells, the pods are asked for. That costs a call once, as the outcome is then recorded.
func (r *Reconciler) child(ctx context.Context, p *v1alpha1.OptimizationPipeline, job *batchv1.Job, followers []child, from origin) (child, error) {
	r.created.forget(client.ObjectKeyFromObject(job))
	c := child{job: job, ran: ranSince(p, job)}
	for i := range followers {
		switch f := &followers[i]; {
		case f.follows() != job.Name:
		case f.reads():
			c.reader = f
		default:
			c.measurers = append(c.measurers, *f)
		}
	}
	var err error
	if from == cached {
		c.pods, err = podsOf(ctx, r.Client, job, client.MatchingFields{ownerIndex: string(job.UID)})
	}
	if err == nil && (from == live || c.unexplained() && c.reader == nil && !recorded(p, c)) {
		c.pods, err = podsOf(ctx, r.Live, job, client.MatchingLabels{batchv1.ControllerUidLabel: string(job.UID)})
	}
	if err == nil && c.follows() == "" {
		r.justMade(p, &c)
	}
	return c, err
}

// justMade adds to a stage's Job the one that was just created to follow it, which the cache will have.
func (r *Reconciler) justMade(p *v1alpha1.OptimizationPipeline, c *child) {
	next, lacks := c.lacks()
	if !lacks {
		return
	}
	name, now := next.name(p, c.stage(), c.job.Annotations[InputHashAnnotation], c.attempt()), r.Clock.Now()
	if !r.created.recent(types.NamespacedName{Namespace: c.job.Namespace, Name: name}, now) {
		return
	}
	made := child{job: &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: c.job.Namespace, Name: name, CreationTimestamp: metav1.NewTime(now)}}}
	at := c
	if next.job != c.job.Name {
		at = c.measurer(next.measures)
	}
	if next.reads {
		made.job.Labels = with(c.job.Labels, map[string]string{ReaderLabel: next.job})
		at.reader = &made
		return
	}
	made.job.Labels = with(c.job.Labels, map[string]string{MeasuresLabel: next.job, MeasurementLabel: next.measures})
	c.measurers = append(c.measurers, made)
}

// byOrder are Jobs in the order in which they have to be known: those that read, those that measure, those of stages.
func byOrder(jobs []batchv1.Job) [3][]*batchv1.Job {
	var out [3][]*batchv1.Job
	for i := range jobs {
		at := 2
		switch c := (child{job: &jobs[i]}); {
		case c.reads():
			at = 0
		case c.measures() != "":
			at = 1
		}
		out[at] = append(out[at], &jobs[i])
	}
	return out
}

// ranSince is since when the status has a Job run, nil where it does not.
func ranSince(p *v1alpha1.OptimizationPipeline, job *batchv1.Job) *metav1.Time {
	if s := stageStatus(&p.Status, job.Labels[StageLabel]); s.Job == job.Name {
		return s.StartTime
	}
	return nil
}

// all are the Jobs, with those that follow others.
func (o *observation) all() []child {
	out := slices.Concat(o.children, o.followers)
	for _, c := range o.children {
		out = append(out, c.unseen()...)
	}
	return out
}

// taking are the Jobs that may take up places.
func (o *observation) taking() []child { return append(o.all(), o.helpers...) }

// podsOf lists a Job's pods, newest first.
func podsOf(ctx context.Context, from client.Reader, job *batchv1.Job, match client.ListOption) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := from.List(ctx, &list, client.InNamespace(job.Namespace), match); err != nil {
		return nil, fmt.Errorf("list the pods of Job %s: %w", job.Name, err)
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		pods = append(pods, &list.Items[i])
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		if d := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return pods, nil
}

// recorded reports whether the status has the outcome of a Job's attempt, or of a later one.
func recorded(p *v1alpha1.OptimizationPipeline, c child) bool {
	s := stageStatus(&p.Status, c.stage())
	over := s.State == v1alpha1.StageCompleted || s.State == v1alpha1.StageFailed
	return c.attempt() < s.Attempt || over && c.is(s.Job)
}

// missing accounts for a stage's Job that the status says is under way and that the cache does not have.
func (r *Reconciler) missing(ctx context.Context, p *v1alpha1.OptimizationPipeline, s *v1alpha1.StageStatus, o *observation) error {
	underWay := s.State == v1alpha1.StageQueued || s.State == v1alpha1.StageRunning || s.State == v1alpha1.StageStopping
	if !underWay || s.Job == "" || slices.ContainsFunc(o.children, func(c child) bool { return c.job.Name == s.Job }) {
		return nil
	}
	key := types.NamespacedName{Namespace: p.Namespace, Name: s.Job}
	if r.created.recent(key, r.Clock.Now()) {
		o.pending = append(o.pending, s.Name)
		return nil
	}
	var job batchv1.Job
	err := r.Live.Get(ctx, key, &job)
	switch {
	case apierrors.IsNotFound(err):
		if s.State != v1alpha1.StageStopping {
			o.lost = append(o.lost, s.Name)
		}
		return nil
	case err != nil:
		return fmt.Errorf("look for Job %s: %w", s.Job, err)
	case metav1.IsControlledBy(&job, p):
		c, err := r.child(ctx, p, &job, o.followers, live)
		if err != nil {
			return err
		}
		o.children = append(o.children, c)
	}
	return nil
}

// facts says what is known of each stage: what the status has recorded, and what the Jobs say besides. An outcome that is recorded
// stands, whatever becomes of its Job.
func (o *observation) facts(p *v1alpha1.OptimizationPipeline, rerun string, now time.Time) walk.Facts {
	facts := walk.RecordedFacts(&p.Status, p.Generation, rerun)
	facts.Publish = true
	for _, name := range o.pending {
		s := stageStatus(&p.Status, name)
		facts.Stages[name] = walk.Fact{State: v1alpha1.StageQueued, Attempt: s.Attempt, InputHash: s.InputHash, Job: s.Job}.After(facts.Stages[name])
	}
	if p.Status.ObservedGeneration == p.Generation && p.Status.Rerun == rerun { // another spec: another chance
		for _, name := range o.lost {
			facts.Stages[name] = lostJob(stageStatus(&p.Status, name), now).Fail(facts.Stages[name])
		}
	}
	recorded := facts.Stages[walk.Baseline]
	for _, c := range o.children { // later attempts overrule earlier ones
		o.apply(&facts, p, rerun, c, now)
	}
	facts.TakeBack(&p.Spec)
	if refused := refusal(p, rerun, recorded); refused != "" {
		facts.Stages[walk.Baseline] = walk.Fact{
			State: v1alpha1.StageFailed, Attempt: facts.Stages[walk.Baseline].Attempt, Reason: walk.ReasonInvalidSpec, Message: refused,
		}
	}
	return facts
}

// refusal says why a spec makes no walk, given what is recorded of the baseline. It is checked in full once: what that says stands for the
// generation and the rerun token, whatever Jobs of earlier ones say and a later version would.
func refusal(p *v1alpha1.OptimizationPipeline, rerun string, recorded walk.Fact) string {
	err := checkSpec(&p.Spec)
	looked := p.Status.ObservedGeneration == p.Generation && p.Status.Rerun == rerun
	if err == nil && looked && recorded.Reason == walk.ReasonInvalidSpec && recorded.Job == "" {
		return recorded.Message
	}
	if err == nil && !looked {
		err = p.Check()
	}
	if err == nil && !looked {
		err = checkOrder(p)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// apply has a Job's fact count, unless one of a later attempt does or its outcome is recorded.
func (o *observation) apply(facts *walk.Facts, p *v1alpha1.OptimizationPipeline, rerun string, c child, now time.Time) {
	name, known := c.stage(), facts.Stages[c.stage()]
	stands := (known.State == v1alpha1.StageCompleted || known.State == v1alpha1.StageFailed) && known.Job == c.job.Name
	if c.attempt() < known.Attempt || stands {
		return
	}
	fact := c.leave(c.fact(), p.Spec.RunPolicy.NodeLost(), now)
	if _, name, m := c.awaited(); name != "" && m == nil && c.of(p.Generation, rerun) && !p.Spec.MeasuresInJob(name) {
		fact = walk.Fact{State: v1alpha1.StageFailed, Attempt: c.attempt(), InputHash: fact.InputHash, Job: c.job.Name, Retry: true, Ended: ptr.To(metav1.NewTime(now)), Reason: reasonBadOutcome,
			Message: "it awaits a measurement that has no Job of its own"}
	}
	unknown := fact.State == v1alpha1.StageCompleted || fact.State == ""
	if unknown && known.LastFailure != nil && c.attempt() <= known.LastFailure.Attempt {
		return // what it made is not in the store any more, or could not be read
	}
	if fact.State == v1alpha1.StageRunning && c.elsewhere() && fact.Started == nil {
		fact.Started = ptr.To(metav1.NewTime(now)) // its pods are not known here: when it was first seen to run
	}
	switch {
	case fact.State == v1alpha1.StageFailed && !c.of(p.Generation, rerun):
		fact = c.nothing() // another spec, another chance
	case fact.State == v1alpha1.StageFailed:
		fact = fact.Fail(known)
	case fact.State == v1alpha1.StageCompleted && name == walk.Baseline:
		facts.Baseline = c.baseline()
	case fact.State != v1alpha1.StageCompleted:
		fact = fact.After(known)
	}
	facts.Stages[name] = fact
}

// lostJob is the fact that an attempt's Job is gone and its outcome with it: somebody deleted it.
func lostJob(s *v1alpha1.StageStatus, now time.Time) walk.Fact {
	return walk.Fact{
		State: v1alpha1.StageFailed, Attempt: s.Attempt, InputHash: s.InputHash, Started: s.StartTime, Ended: ptr.To(metav1.NewTime(now)), Retry: true,
		Reason: reasonJobLost, Message: fmt.Sprintf("Job %s was deleted before its outcome was known; the next attempt resumes from the checkpoint", s.Job),
	}
}

func stageStatus(status *v1alpha1.OptimizationPipelineStatus, name string) *v1alpha1.StageStatus {
	for i := range status.Stages {
		if status.Stages[i].Name == name {
			return &status.Stages[i]
		}
	}
	return &v1alpha1.StageStatus{}
}

// lately remembers Jobs that were written here, until the cache has what was written.
type lately struct {
	mu sync.Mutex
	at map[types.NamespacedName]time.Time
}

func (c *lately) add(key types.NamespacedName, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[types.NamespacedName]time.Time{}
	}
	for k, t := range c.at {
		if now.Sub(t) > justWritten {
			delete(c.at, k)
		}
	}
	c.at[key] = now
}

func (c *lately) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.at, key)
}

func (c *lately) recent(key types.NamespacedName, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, known := c.at[key]
	return known && now.Sub(t) <= justWritten
}
