package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
)

// plane is the control plane that the tests of this package share: it takes longer to start than any of them.
var plane struct {
	once sync.Once
	it   *controlplane.ControlPlane
	err  error
}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := m.Run()
	if plane.it != nil {
		if err := plane.it.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

func restConfig(t testing.TB) *rest.Config {
	t.Helper()
	plane.once.Do(func() { plane.it, plane.err = controlplane.New(controlplane.Options{ControllerManager: true}) })
	if errors.Is(plane.err, controlplane.ErrNoBinaries) {
		t.Skip(plane.err)
	}
	if plane.err != nil {
		t.Fatal(plane.err)
	}
	return rest.CopyConfig(plane.it.Config)
}

// world is a namespace of a real cluster, whose nodes are played by the test.
type world struct {
	t         testing.TB
	config    *rest.Config
	client    client.WithWatch
	namespace string

	mu       sync.Mutex
	pods     map[string]bool           // seen
	store    map[string]*stage.Outcome // what is committed, by input hash
	runs     map[string]int            // pods that ran, by stage
	reads    map[string]int            // pods that read a result, by stage
	computed map[string]int            // pods that computed a result and did not find it, by input hash
	played   []stage.Order
	play     func(order *stage.Order, pod *corev1.Pod) act // nil: succeeds
	metrics  map[string]string                             // CompressedBytes by stage; default 1000
	files    map[string]int32                              // what is published, by pipeline
	latency  int                                           // LatencyMicros of what is computed; 0: not measured
	model    string                                        // what the model's address holds

	unreadable *corev1.PodStatus // of pods that read results; nil: they read
}

// act is what a pod does.
type act struct {
	hang    bool // stays as it is
	exit    int32
	reason  string // of the container's end
	message string
	status  *corev1.PodStatus // instead: this
}

var namespaces struct {
	sync.Mutex
	n int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, restConfig(t))
}

func newWorldOn(t testing.TB, config *rest.Config) *world {
	t.Helper()
	w := &world{t: t, config: config, pods: map[string]bool{}, store: map[string]*stage.Outcome{}, runs: map[string]int{}, reads: map[string]int{}, computed: map[string]int{}, files: map[string]int32{}, metrics: map[string]string{}}
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = client.NewWithWatch(w.config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	namespaces.Lock()
	namespaces.n++
	w.namespace = fmt.Sprintf("w%d", namespaces.n)
	namespaces.Unlock()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := w.client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	go w.nodes(t.Context())
	return w
}

// running is a controller that runs.
type running struct {
	*Reconciler
	stop func()
}

// tweak changes a controller before it starts.
type tweak func(*Options, *ctrl.Options, *Reconciler)

// run starts a controller for the world's namespace. It ends with the test, or with stop.
func (w *world) run(tweaks ...tweak) *running {
	w.t.Helper()
	scheme, err := Scheme()
	if err != nil {
		w.t.Fatal(err)
	}
	cached, err := CacheOptions(w.namespace)
	if err != nil {
		w.t.Fatal(err)
	}
	options := Options{Image: "espalier:test", Policy: Policy{PriorityClasses: []string{"high"}, IDs: DefaultIDs}, Concurrency: 4}
	managed := ctrl.Options{
		Scheme: scheme, Cache: cached, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", Logger: logr.Discard(),
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, GracefulShutdownTimeout: ptr.To(5 * time.Second),
	}
	for _, f := range tweaks {
		f(&options, &managed, nil)
	}
	mgr, err := ctrl.NewManager(w.config, managed)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := New(mgr, options)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range tweaks {
		f(&options, &managed, r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("manager: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return &running{r, stop}
}

// nodes play every pod of the namespace once.
func (w *world) nodes(ctx context.Context) {
	for ctx.Err() == nil {
		var pods corev1.PodList
		if err := w.client.List(ctx, &pods, client.InNamespace(w.namespace), client.HasLabels{PipelineLabel}); err == nil {
			for i := range pods.Items {
				pod := &pods.Items[i]
				w.mu.Lock()
				seen := w.pods[string(pod.UID)]
				w.pods[string(pod.UID)] = true
				w.mu.Unlock()
				if !seen && pod.DeletionTimestamp == nil {
					go w.playPod(ctx, pod)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *world) playPod(ctx context.Context, pod *corev1.Pod) {
	order := &stage.Order{}
	if err := json.Unmarshal([]byte(pod.Spec.Containers[0].Env[0].Value), order); err != nil {
		w.t.Errorf("order of %s: %v", pod.Name, err)
		return
	}
	if slices.Contains(pod.Spec.Containers[0].Args, "read") {
		w.playReader(ctx, pod, order)
		return
	}
	w.mu.Lock()
	play := w.play
	w.played = append(w.played, *order)
	w.mu.Unlock()
	a := act{}
	if play != nil {
		a = play(order, pod)
	}
	if a.status != nil {
		w.setStatus(ctx, pod, *a.status)
		return
	}
	now := metav1.Now()
	w.setStatus(ctx, pod, corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, ContainerStatuses: []corev1.ContainerStatus{{
		Name: containerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}})
	w.mu.Lock()
	w.runs[order.Stage]++
	w.mu.Unlock()
	if a.hang {
		return
	}
	w.end(ctx, pod, order, a)
}

// playReader answers what `espalier stage read` does: what is in the store, or that nothing is.
func (w *world) playReader(ctx context.Context, pod *corev1.Pod, order *stage.Order) {
	w.mu.Lock()
	w.reads[order.Stage]++
	stored := w.store[order.InputHash]
	held := w.unreadable
	w.mu.Unlock()
	switch {
	case held != nil:
		w.setStatus(ctx, pod, *held)
	case stored != nil:
		answer := *stored
		answer.Stage = order.Stage
		w.end(ctx, pod, order, act{message: said(answer)})
	default:
		lost := stage.Outcome{Stage: order.Stage, InputHash: order.InputHash, Reason: walk.ReasonResultsLost, Message: "the store does not have the stage's result"}
		w.end(ctx, pod, order, act{exit: 6, message: said(lost)})
	}
}

// end ends a pod that runs.
func (w *world) end(ctx context.Context, pod *corev1.Pod, order *stage.Order, a act) {
	phase, message := corev1.PodSucceeded, a.message
	if a.exit != 0 {
		phase = corev1.PodFailed
	} else if message == "" {
		message = w.outcome(order)
	}
	now := metav1.Now()
	w.setStatus(ctx, pod, corev1.PodStatus{Phase: phase, StartTime: &now, ContainerStatuses: []corev1.ContainerStatus{{
		Name: containerName, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: a.exit, Reason: a.reason, Message: message, StartedAt: now, FinishedAt: now,
		}},
	}}})
}

// release ends the pod of a stage that was left running.
func (w *world) release(stageName string) {
	w.t.Helper()
	var pods corev1.PodList
	if err := w.client.List(w.t.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{StageLabel: stageName}); err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning })
	if i < 0 {
		w.t.Fatalf("none of the %d pods of %s runs", len(pods.Items), stageName)
	}
	order, err := stage.ParseOrder(pods.Items[i].Spec.Containers[0].Env[0].Value)
	if err != nil {
		w.t.Fatal(err)
	}
	w.end(w.t.Context(), &pods.Items[i], order, act{})
}

func (w *world) setStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var current corev1.Pod
		if err := w.client.Get(ctx, client.ObjectKeyFromObject(pod), &current); err != nil {
			return err
		}
		current.Status = status
		return w.client.Status().Update(ctx, &current)
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		w.t.Errorf("status of pod %s: %v", pod.Name, err)
	}
}

// outcome is what a stage's container answers, as the real one does: the same for the same inputs, the second time from the store.
func (w *world) outcome(order *stage.Order) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.store[order.InputHash]
	awaits := ""
	if own := inJobs(&order.Spec); o == nil && order.Stage != walk.Publish && len(own) > 0 {
		if i := slices.Index(own, order.Measure) + 1; i < len(own) { // of a stage's own Job -1
			awaits = own[i]
		}
	}
	if o == nil || order.Stage == walk.Publish {
		w.computed[order.InputHash]++
		o = &stage.Outcome{InputHash: order.InputHash}
		if order.Stage != walk.Publish {
			bytes := w.metrics[order.Stage]
			if bytes == "" {
				bytes = "1000"
			}
			o.Leaf = &v1alpha1.Leaf{Digest: digest("leaf", order.InputHash), Samples: 1000, Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}, {Name: "CompressedBytes", Value: bytes}}}
			for i := range order.Spec.Measurements {
				for _, g := range order.Spec.Measurements[i].Gives() {
					o.Leaf.Metrics = append(o.Leaf.Metrics, v1alpha1.MetricValue{Name: g.Name, Value: bytes})
				}
			}
			if w.latency > 0 {
				o.Leaf.Metrics = append(o.Leaf.Metrics, v1alpha1.MetricValue{Name: "LatencyMicros", Value: strconv.Itoa(w.latency)})
			}
		}
		if s := order.Spec.Stage(order.Stage); s != nil && s.Quantize == nil {
			o.Model = digest("model", order.InputHash)
		}
		if order.Stage == walk.Baseline {
			o.Baseline = &v1alpha1.Baseline{ModelDigest: digest("model", w.model), DatasetDigest: digest("dataset"), Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.91"}}}
		}
		stored := *o
		stored.Reused = true
		if awaits == "" {
			w.store[order.InputHash] = &stored
		}
	}
	answer := *o
	answer.Awaits = awaits
	answer.Stage = order.Stage
	switch {
	case order.Stage == walk.Publish:
		w.files[order.Pipeline] = 5
	case order.First:
		answer.Earlier = w.files[order.Pipeline]
	}
	data, err := answer.Marshal()
	if err != nil {
		w.t.Error(err)
	}
	return string(data)
}

// inJobs are the measurements that have Jobs of their own.
func inJobs(spec *v1alpha1.OptimizationPipelineSpec) []string {
	var out []string
	for _, m := range spec.Measurements {
		if m.Job != nil {
			out = append(out, m.Name)
		}
	}
	return out
}

// home is where a pipeline publishes.
func (w *world) home(pipeline string) string {
	return "s3://artifacts/here/" + stage.Home(w.namespace, pipeline) + "/"
}

func digest(parts ...string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strings.Join(parts, "\n"))))
}

// pipeline is a chain of prune, cluster and quantize.
func (w *world) pipeline(name string, changes ...func(*v1alpha1.OptimizationPipeline)) *v1alpha1.OptimizationPipeline {
	p := chainPipeline(w.namespace, name, changes...)
	if err := w.client.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func chainPipeline(namespace, name string, changes ...func(*v1alpha1.OptimizationPipeline)) *v1alpha1.OptimizationPipeline {
	p := &v1alpha1.OptimizationPipeline{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	p.Spec.Model.URI, p.Spec.Dataset.URI = "s3://models/m.tflite", "s3://data/d.npz"
	p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://artifacts/here"}}
	p.Spec.Stages = []v1alpha1.Stage{
		{Name: "prune", Prune: &v1alpha1.Prune{Sparsity: "0.5"}},
		{Name: "cluster", Cluster: &v1alpha1.Cluster{Clusters: 16}},
		{Name: "pcqat", Quantize: &v1alpha1.Quantize{}},
	}
	p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](0)
	for _, change := range changes {
		change(p)
	}
	return p
}

// bytes has a leaf take at most so many.
func bytes(max v1alpha1.Decimal) func(*v1alpha1.OptimizationPipeline) {
	return func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: &max}}
	}
}

// get reads a pipeline.
func (w *world) get(name string) *v1alpha1.OptimizationPipeline {
	w.t.Helper()
	p := &v1alpha1.OptimizationPipeline{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// edit changes a pipeline.
func (w *world) edit(name string, change func(*v1alpha1.OptimizationPipeline)) {
	w.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		p := w.get(name)
		change(p)
		return w.client.Update(w.t.Context(), p)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a pipeline to be as wanted.
func (w *world) until(name, what string, ok func(*v1alpha1.OptimizationPipeline) bool) *v1alpha1.OptimizationPipeline {
	w.t.Helper()
	var p *v1alpha1.OptimizationPipeline
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if p = w.get(name); ok(p) {
			return p
		}
	}
	w.t.Fatalf("%s never was %s: %s", name, what, describe(p))
	return nil
}

// settled waits for a pipeline to come to an end with a reason.
func (w *world) settled(name, reason string) *v1alpha1.OptimizationPipeline {
	w.t.Helper()
	return w.until(name, reason, func(p *v1alpha1.OptimizationPipeline) bool {
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		return p.Status.ObservedGeneration == p.Generation && ready != nil && ready.Reason == reason &&
			meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionReconciling)
	})
}

// waits waits for a pipeline to say why it does not go on.
func (w *world) waits(name, reason string) *v1alpha1.OptimizationPipeline {
	w.t.Helper()
	return w.until(name, "waiting for "+reason, func(p *v1alpha1.OptimizationPipeline) bool {
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReconciling)
		return c != nil && c.Status == metav1.ConditionTrue && c.Reason == reason
	})
}

func describe(p *v1alpha1.OptimizationPipeline) string {
	var b strings.Builder
	for _, c := range p.Status.Conditions {
		fmt.Fprintf(&b, "\n%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, s := range p.Status.Stages {
		fmt.Fprintf(&b, "\n  %s %s attempt %d job %s: %s", s.Name, s.State, s.Attempt, s.Job, s.Message)
	}
	return b.String()
}

// jobs lists the Jobs of a pipeline's stage; of every one where it is empty.
func (w *world) jobs(pipeline, stage string) []batchv1.Job {
	w.t.Helper()
	match := client.MatchingLabels{PipelineLabel: pipeline}
	if stage != "" {
		match[StageLabel] = stage
	}
	var list batchv1.JobList
	if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace), match); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// eventually waits for something.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("waited in vain for %s", what)
}

func (w *world) ran() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for k, v := range w.runs {
		out[k] = v
	}
	return out
}
