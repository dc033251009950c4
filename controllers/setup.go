package controllers

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer"
)

// Options of the controller.
type Options struct {
	Image       string             // of the stages, where a template names none
	Pinned      string             // the same by its digest; empty: not known
	Policy      Policy             // what pipelines may name
	Resources   Resources          // of the stages, where a template names none
	MaxInFlight int                // Jobs in flight in the cluster; 0: no bound
	Concurrency int                // pipelines reconciled side by side; 0: 1
	Clock       clock.PassiveClock // nil: the machine's
	Version     string             // of the algorithm; empty: this binary's
	StartGrace  time.Duration      // how long a Job that cannot start keeps its place while others wait; 0: a minute
}

// maxRetryDelay bounds the wait between two tries of a Reconcile that failed.
const maxRetryDelay = time.Minute

// Scheme knows every kind that the controller reads or writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

// CacheOptions has a manager cache no more than the controller needs: of Jobs and pods those of pipelines, without what they are told;
// of everything no managed fields. No namespaces: all.
func CacheOptions(namespaces ...string) (cache.Options, error) {
	ours, err := labels.NewRequirement(PipelineLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	selector := labels.NewSelector().Add(*ours)
	options := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.OptimizationPipeline{}: {Transform: slim},
			&batchv1.Job{}:                   {Label: selector, Transform: slim},
			&corev1.Pod{}:                    {Label: selector, Transform: slim},
		},
	}
	for _, ns := range namespaces {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[ns] = cache.Config{}
	}
	return options, nil
}

// slim keeps of objects what the controller reads, which of Jobs and pods is a small part; above all not the order, which holds a whole
// pipeline. So what is in the cache is never written back whole: it is patched, or deleted by name.
func slim(object any) (any, error) {
	switch o := object.(type) {
	case *batchv1.Job:
		return slimJob(o), nil
	case *corev1.Pod:
		return slimPod(o), nil
	case *v1alpha1.OptimizationPipeline:
		o.ManagedFields = nil
		delete(o.Annotations, corev1.LastAppliedConfigAnnotation) // the manifest once more
	}
	return object, nil
}

func slimJob(job *batchv1.Job) *batchv1.Job {
	out := &batchv1.Job{ObjectMeta: slimMeta(job), Status: batchv1.JobStatus{
		StartTime: job.Status.StartTime, CompletionTime: job.Status.CompletionTime,
	}}
	for _, k := range job.Status.Conditions {
		switch k.Type {
		case batchv1.JobComplete, batchv1.JobFailed, batchv1.JobSuspended:
			out.Status.Conditions = append(out.Status.Conditions, k)
		}
	}
	out.Spec.Suspend, out.Spec.TTLSecondsAfterFinished, out.Spec.ManagedBy = job.Spec.Suspend, job.Spec.TTLSecondsAfterFinished, job.Spec.ManagedBy
	out.Spec.Template.Spec.TerminationGracePeriodSeconds = job.Spec.Template.Spec.TerminationGracePeriodSeconds
	if (child{job: job}).elsewhere() {
		out.Status.Ready = job.Status.Ready
	}
	for i := range job.Spec.Template.Spec.Volumes {
		if v := &job.Spec.Template.Spec.Volumes[i]; v.PersistentVolumeClaim != nil {
			out.Spec.Template.Spec.Volumes = append(out.Spec.Template.Spec.Volumes, *v)
		}
	}
	return out
}

func slimPod(pod *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{ObjectMeta: slimMeta(pod), Status: corev1.PodStatus{
		Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message,
	}}
	out.Spec.NodeName = pod.Spec.NodeName
	for _, k := range pod.Status.Conditions {
		switch k.Type {
		case corev1.PodScheduled:
			if k.Status == corev1.ConditionFalse {
				out.Status.Conditions = append(out.Status.Conditions, k)
			}
		case corev1.PodReady, corev1.ContainersReady: // tell whether the node of one that runs is silent
			if pod.Status.Phase == corev1.PodRunning {
				out.Status.Conditions = append(out.Status.Conditions, k)
			}
		case corev1.DisruptionTarget:
			out.Status.Conditions = append(out.Status.Conditions, k)
		}
	}
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == containerName && !beingMade(s) {
			out.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: s.Name, Image: s.Image, ImageID: s.ImageID, State: s.State}}
		}
	}
	return out
}

// beingMade reports whether nothing is known of a container yet but that it is being made.
func beingMade(s *corev1.ContainerStatus) bool {
	if s.State.Waiting == nil {
		return false
	}
	reason, _ := diagnoseWaiting(s.State.Waiting, s.Image)
	return reason == ""
}

// slimMeta keeps who an object is and whose.
func slimMeta(o metav1.Object) metav1.ObjectMeta {
	out := metav1.ObjectMeta{
		Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(), OwnerReferences: o.GetOwnerReferences(),
		CreationTimestamp: o.GetCreationTimestamp(), DeletionTimestamp: o.GetDeletionTimestamp(), Labels: map[string]string{}, Annotations: map[string]string{},
	}
	for _, key := range []string{PipelineLabel, StageLabel, AttemptLabel, QueueLabel, PriorityLabel, ReaderLabel, MeasuresLabel, MeasurementLabel, HelpsLabel, HelperLabel} {
		if value, ok := o.GetLabels()[key]; ok {
			out.Labels[key] = value
		}
	}
	for _, key := range []string{InputHashAnnotation, GenerationAnnotation, TokenAnnotation, ForeignAnnotation} {
		if value, ok := o.GetAnnotations()[key]; ok {
			out.Annotations[key] = value
		}
	}
	return out
}

// New sets the controller up with a manager, whose cache is as CacheOptions has it.
func New(mgr manager.Manager, o Options) (*Reconciler, error) {
	r := &Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: o.Clock, Events: mgr.GetEventRecorder("espalier"),
		Image: o.Image, Pinned: o.Pinned, Policy: o.Policy, Resources: o.Resources, Version: o.Version, explanations: newExplanations(),
	}
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if r.Version == "" {
		r.Version = optimizer.AlgorithmVersion
	}
	r.startGrace = cmp.Or(o.StartGrace, defaultStartGrace)
	mapper := mgr.GetRESTMapper()
	r.queues.look = func() bool {
		_, err := mapper.RESTMapping(schema.GroupKind{Group: "kueue.x-k8s.io", Kind: "Workload"})
		return err == nil
	}
	var waking wakeUp
	r.places = newPlaces(o.MaxInFlight, waking.add)
	counted.Store(r.places)
	reader := client.Reader(mgr.GetCache())
	pipelines.reader.Store(&reader)
	for _, object := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), object, ownerIndex, ownerUID); err != nil {
			return nil, fmt.Errorf("index %T by owner: %w", object, err)
		}
	}
	return r, ctrl.NewControllerManagedBy(mgr).
		Named("optimizationpipeline").
		For(&v1alpha1.OptimizationPipeline{}, builder.WithPredicates(asksForMore())).
		Owns(&batchv1.Job{}, builder.WithPredicates(tellsOfJob())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(pipelineOf), builder.WithPredicates(tellsOfPod())).
		WatchesRawSource(source.Func(waking.start)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: o.Concurrency,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, maxRetryDelay),
		}).
		Complete(r)
}

// pipelineOf names the pipeline that a pod belongs to.
func pipelineOf(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[PipelineLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}

// wakeUp puts pipelines into the controller's queue.
type wakeUp struct {
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

func (w *wakeUp) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.queue.Store(&queue)
	return nil
}

func (w *wakeUp) add(pipeline types.NamespacedName) {
	if queue := w.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: pipeline})
	}
}

// rebuild takes up the places of everything in flight, once, before anything is started.
func (r *Reconciler) rebuild(ctx context.Context) error {
	r.rebuilt.Lock()
	defer r.rebuilt.Unlock()
	if r.rebuilt.done {
		return nil
	}
	children, err := r.jobs(ctx)
	if err != nil {
		return err
	}
	by := map[types.NamespacedName][]child{}
	for _, c := range children {
		key := types.NamespacedName{Namespace: c.job.Namespace, Name: c.job.Labels[PipelineLabel]}
		by[key] = append(by[key], c)
	}
	for key, children := range by {
		r.places.observe(key, placesOf(children, v1alpha1.DefaultNodeLost*time.Second, r.Clock.Now()), nil, nil)
	}
	r.rebuilt.done = true
	return r.line(ctx)
}

// line has every pipeline that wants to start something in the queue before anything is started, so that the order after a restart is
// the one before it. What cannot be looked at now asks when it is.
func (r *Reconciler) line(ctx context.Context) error {
	var list v1alpha1.OptimizationPipelineList
	if err := r.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("list the pipelines: %w", err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if p.DeletionTimestamp != nil || settled(p) {
			continue
		}
		seen, err := r.observe(ctx, p, cached)
		if err != nil {
			continue
		}
		v := r.view(p, seen)
		v.decide()
		wanted, err := r.prepare(ctx, v)
		if err != nil {
			continue
		}
		var tickets []ticket
		for i := range wanted {
			tickets = append(tickets, wanted[i].ticket)
		}
		r.places.observe(client.ObjectKeyFromObject(p), placesOf(seen.taking(), p.Spec.RunPolicy.NodeLost(), v.now), v.unseen(), tickets)
	}
	return nil
}

// settled reports whether a pipeline's status says that nothing more will happen.
func settled(p *v1alpha1.OptimizationPipeline) bool {
	return p.Status.ObservedGeneration == p.Generation && p.Status.Rerun == token(p) &&
		meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionReconciling)
}

// jobs lists Jobs of pipelines, without their pods.
func (r *Reconciler) jobs(ctx context.Context, options ...client.ListOption) ([]child, error) {
	var list batchv1.JobList
	if err := r.Client.List(ctx, &list, options...); err != nil {
		return nil, fmt.Errorf("list the Jobs: %w", err)
	}
	out := make([]child, len(list.Items))
	for i := range list.Items {
		out[i] = child{job: &list.Items[i]}
	}
	return out, nil
}
