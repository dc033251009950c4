package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
)

// Reconciler walks pipelines' trees with Jobs. New makes one.
type Reconciler struct {
	Client    client.Client // reads from the caches
	Live      client.Reader // reads from the API server
	Clock     clock.PassiveClock
	Events    events.EventRecorder
	Image     string    // of the stages, where a template names none
	Pinned    string    // the same by its digest; empty: not known
	Policy    Policy    // what pipelines may name
	Resources Resources // of the stages, where a template names none
	Version   string    // of the algorithm: results of another are made anew, unless the walk is over

	places       *places
	created      lately // Jobs
	expiring     lately // Jobs given a time to live
	setbacks     setbacks
	queues       queues
	startGrace   time.Duration // of Jobs that cannot start
	explanations *explanations
	written      written
	rebuilt      struct {
		sync.Mutex
		done bool
	}
}

const (
	retryRejected = 30 * time.Second // after the API server refused a Job
	retryTaken    = 5 * time.Second  // while another Job has the name
	retryBehind   = 100 * time.Millisecond
)

// +kubebuilder:rbac:groups=espalier.dev,resources=optimizationpipelines,verbs=get;list;watch
// +kubebuilder:rbac:groups=espalier.dev,resources=optimizationpipelines/status,verbs=patch
// +kubebuilder:rbac:groups=espalier.dev,resources=optimizationpipelines/finalizers,verbs=update
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get
// +kubebuilder:rbac:groups="",resources=events,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile takes a pipeline one step further: observe, decide, act, and one status patch, if it changed.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if err := r.rebuild(ctx); err != nil {
		return ctrl.Result{}, err
	}
	p := &v1alpha1.OptimizationPipeline{}
	if err := r.Client.Get(ctx, request.NamespacedName, p); err != nil {
		return ctrl.Result{}, r.gone(ctx, request.NamespacedName, err)
	}
	if p.Spec.ManagedByAnother() {
		return ctrl.Result{}, nil
	}
	if p.DeletionTimestamp != nil {
		return ctrl.Result{}, r.end(ctx, p)
	}
	if r.written.newer(request.NamespacedName, p.ResourceVersion, r.Clock.Now()) {
		return ctrl.Result{RequeueAfter: retryBehind}, nil // the cache has not what was decided last
	}
	v, err := r.look(ctx, p, cached)
	if err == nil && v.stops() { // the one thing that cannot be undone is done only by what is so now
		if v, err = r.look(ctx, p, live); err == nil && p.DeletionTimestamp != nil {
			return ctrl.Result{}, r.end(ctx, p)
		}
	}
	if err != nil {
		r.places.withdraw(request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	acted := r.act(ctx, v)
	changed, err := r.show(ctx, v)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retryBehind}, acted // somebody else wrote: once more, from that
	}
	if err != nil {
		return ctrl.Result{}, errors.Join(acted, client.IgnoreNotFound(err))
	}
	if changed {
		r.tell(ctx, v)
	}
	return v.result(), errors.Join(acted, r.expire(ctx, v))
}

// view is a pipeline as it is seen in one Reconcile.
type view struct {
	pipeline *v1alpha1.OptimizationPipeline
	before   v1alpha1.OptimizationPipelineStatus
	seen     *observation
	facts    walk.Facts
	decision walk.Decision
	now      time.Time
	rerun    string        // token
	version  string        // of the algorithm that the results are of
	running  string        // of the algorithm that new results would be of
	again    time.Duration // 0: not before something happens

	contended bool          // somebody waits for a place
	grace     time.Duration // of Jobs that cannot start
}

// view is what an observation says of a pipeline, before anything is decided.
func (r *Reconciler) view(p *v1alpha1.OptimizationPipeline, seen *observation) *view {
	v := &view{
		pipeline: p, before: *p.Status.DeepCopy(), seen: seen, now: r.Clock.Now(), rerun: token(p), version: r.Version, running: r.Version,
		contended: r.places.contended(), grace: r.startGrace,
	}
	v.facts = seen.facts(p, v.rerun, v.now)
	p.Spec = search.Whole(&p.Spec) // from here on it is as the walk sees it
	return v
}

// look observes and decides. A live look reads the pipeline anew.
func (r *Reconciler) look(ctx context.Context, p *v1alpha1.OptimizationPipeline, from origin) (*view, error) {
	seen, err := r.observe(ctx, p, from)
	if err != nil {
		return nil, err
	}
	v := r.view(p, seen)
	if len(v.seen.pending) > 0 {
		v.lookAgain(justWritten)
	}
	if err := r.explain(ctx, v); err != nil {
		return nil, err
	}
	v.decide()
	for _, c := range seen.all() {
		if at, stuck := v.yieldsAt(c); stuck {
			wait := at.Sub(v.now)
			if r.places.limit > 0 { // others may come to wait for its place
				wait = min(wait, v.grace)
			}
			v.lookAgain(max(wait, retryBehind))
		}
		if at, doubtful := c.abandonedAt(p.Spec.RunPolicy.NodeLost()); doubtful && at.After(v.now) {
			v.lookAgain(at.Sub(v.now))
		}
	}
	return v, nil
}

// decide has internal/walk decide. Results that an earlier version made count as long as nothing has to be run beside them: an upgrade of
// the operator does not retrain what is finished. What runs goes on to its end first: it may be all that was missing.
func (v *view) decide() {
	if settled(v.pipeline) { // a frozen answer: what it was made from is not asked again, as this version may name it otherwise
		v.version = cmp.Or(v.pipeline.Status.AlgorithmVersion, v.version)
		if v.decideAgain(); v.decision.Finished {
			return
		}
		v.version = v.running
	}
	earlier := v.pipeline.Status.AlgorithmVersion
	if earlier != "" && earlier != v.running {
		v.version = earlier
		v.facts.Versions = &walk.Versions{Algorithm: earlier, Rerun: v.rerun, Ending: true}
		if v.decision = walk.Decide(&v.pipeline.Spec, v.facts, v.now); v.decision.Answered || v.decision.Running() {
			return
		}
		v.version = v.running
	}
	v.facts.Versions = &walk.Versions{Algorithm: v.version, Rerun: v.rerun}
	v.decision = walk.Decide(&v.pipeline.Spec, v.facts, v.now)
}

// decideAgain decides from the facts as they are. Where nothing is hashed anew, stages keep the names of their inputs.
func (v *view) decideAgain() {
	v.decision = walk.Decide(&v.pipeline.Spec, v.facts, v.now)
	for i := range v.decision.Stages {
		if s := &v.decision.Stages[i]; v.facts.Versions == nil && s.InputHash == "" {
			s.InputHash = stageStatus(&v.before, s.Name).InputHash
		}
	}
}

// show patches the status, if what is known and decided now is not what it says.
func (r *Reconciler) show(ctx context.Context, v *view) (changed bool, err error) {
	v.decideAgain() // what was started is under way now
	if len(v.decision.Start) > 0 {
		v.lookAgain(retryBehind)
	}
	old := v.pipeline.DeepCopy()
	v.pipeline.Status = v.decision.Status(v.facts, v.shown())
	if equality.Semantic.DeepEqual(old.Status, v.pipeline.Status) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, v.pipeline, patch); err != nil {
		return false, fmt.Errorf("patch the status: %w", err)
	}
	r.written.set(client.ObjectKeyFromObject(v.pipeline), v.pipeline.ResourceVersion, r.Clock.Now())
	return true, nil
}

func (v *view) shown() walk.Shown {
	return walk.Shown{
		Generation: v.pipeline.Generation, Now: v.now, Previous: &v.before, AlgorithmVersion: v.version, Rerun: v.rerun,
		StoredURI: v.storedURI, PublishedURI: v.publishedURI,
	}
}

func (v *view) lookAgain(after time.Duration) {
	if v.again == 0 || after < v.again {
		v.again = after
	}
}

// result has the pipeline reconciled again when there is a reason to that no event tells of.
func (v *view) result() ctrl.Result {
	if !v.decision.Again.IsZero() {
		v.lookAgain(max(v.decision.Again.Sub(v.now), retryBehind))
	}
	return ctrl.Result{RequeueAfter: v.again}
}

// gone forgets a pipeline that is no more.
func (r *Reconciler) gone(ctx context.Context, key types.NamespacedName, err error) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	r.written.forget(key)
	children, err := r.jobs(ctx, client.InNamespace(key.Namespace), client.MatchingLabels{PipelineLabel: key.Name})
	if err == nil {
		r.places.observe(key, placesOf(children, v1alpha1.DefaultNodeLost*time.Second, r.Clock.Now()), nil, nil)
	}
	return err
}

// token is the rerun annotation as the status can hold it.
func token(p *v1alpha1.OptimizationPipeline) string {
	text := p.Annotations[v1alpha1.RerunAnnotation]
	for utf8.RuneCountInString(text) > v1alpha1.MaxRerunToken {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return text
}

// written remembers the last version of each pipeline that was written here, so that nothing is decided from an older one.
type written struct {
	mu      sync.Mutex
	version map[types.NamespacedName]writtenVersion
}

type writtenVersion struct {
	version string
	at      time.Time
}

func (w *written) set(key types.NamespacedName, version string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.version == nil {
		w.version = map[types.NamespacedName]writtenVersion{}
	}
	w.version[key] = writtenVersion{version, now}
}

func (w *written) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.version, key)
}

// newer reports whether what was written is newer than a version, and so lately that the cache may not have it yet. After that the API
// server does not have it either: it was restored from a backup. Versions that cannot be compared are not newer.
func (w *written) newer(key types.NamespacedName, version string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, known := w.version[key]
	if !known || now.Sub(last.at) > justWritten {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(last.version, version)
	return err == nil && order > 0
}
