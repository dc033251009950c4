package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/controllers"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// nodes play every pod, and watch what becomes of pipelines.
type nodes struct {
	client client.Client
	runs   time.Duration // how long a pod runs

	mu       sync.Mutex
	started  []types.NamespacedName // pipelines, by the pods that started
	pods     map[types.UID]bool
	running  int
	peak     int
	ended    map[types.NamespacedName]time.Time // the last pod of a pipeline
	overhead []time.Duration
	done     map[string]map[string]time.Time // when pipelines came to their end, by namespace
}

func newNodes(ctx context.Context, runs time.Duration, config *rest.Config, c client.Client, scheme *runtime.Scheme) (*nodes, error) {
	n := &nodes{client: c, runs: runs, pods: map[types.UID]bool{}, ended: map[types.NamespacedName]time.Time{}, done: map[string]map[string]time.Time{}}
	watched, err := cache.New(config, cache.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	for object, handle := range map[client.Object]func(context.Context, any){&corev1.Pod{}: n.pod, &batchv1.Job{}: n.job, &v1alpha1.OptimizationPipeline{}: n.pipeline} {
		informer, err := watched.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, err
		}
		handler := toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(o any) { handle(ctx, o) }, UpdateFunc: func(_, o any) { handle(ctx, o) },
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	go watched.Start(ctx) //nolint:errcheck // ends with the program
	if !watched.WaitForCacheSync(ctx) {
		return nil, ctx.Err()
	}
	return n, nil
}

// pod runs a pod once.
func (n *nodes) pod(ctx context.Context, object any) {
	pod := object.(*corev1.Pod)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.pods[pod.UID] {
		n.pods[pod.UID] = true
		n.started = append(n.started, pipelineOf(pod))
		n.running++
		n.peak = max(n.peak, n.running)
		go n.play(ctx, pod.DeepCopy())
	}
}

func (n *nodes) play(ctx context.Context, pod *corev1.Pod) {
	order, err := stage.ParseOrder(pod.Spec.Containers[0].Env[0].Value)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := metav1.Now()
	n.patch(ctx, pod, corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now})
	time.Sleep(n.runs)
	n.patch(ctx, pod, corev1.PodStatus{Phase: corev1.PodSucceeded, StartTime: &now, ContainerStatuses: []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: answer(order), StartedAt: now, FinishedAt: metav1.Now()}},
	}}})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running--
	n.ended[pipelineOf(pod)] = time.Now()
}

func (n *nodes) patch(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) {
	data, err := json.Marshal(map[string]any{"status": status})
	if err == nil {
		err = n.client.Status().Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, data))
	}
	if err != nil && ctx.Err() == nil {
		fmt.Println(err)
	}
}

// answer is what a stage's container says.
func answer(o *stage.Order) string {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(o.InputHash)))
	out := stage.Outcome{Stage: o.Stage, InputHash: o.InputHash}
	if o.Stage != walk.Publish {
		out.Leaf = &v1alpha1.Leaf{Digest: digest, Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.95"}, {Name: "CompressedBytes", Value: "84211"}}}
	}
	if strings.HasPrefix(o.Stage, "prune") {
		out.Model = digest
	}
	if o.Stage == walk.Baseline {
		out.Baseline = &v1alpha1.Baseline{ModelDigest: digest, DatasetDigest: digest}
	}
	data, err := out.Marshal()
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// job notes how long a pipeline took from one stage to the next.
func (n *nodes) job(_ context.Context, object any) {
	job := object.(*batchv1.Job)
	key := pipelineOf(job)
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, known := n.ended[key]; known && job.Status.StartTime == nil {
		n.overhead = append(n.overhead, time.Since(at))
		delete(n.ended, key)
	}
}

func (n *nodes) pipeline(_ context.Context, object any) {
	p := object.(*v1alpha1.OptimizationPipeline)
	if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done[p.Namespace] == nil {
		n.done[p.Namespace] = map[string]time.Time{}
	}
	if _, known := n.done[p.Namespace][p.Name]; !known {
		n.done[p.Namespace][p.Name] = time.Now()
	}
}

// pipelineOf is the pipeline that a Job or a pod is of.
func pipelineOf(o client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetLabels()[controllers.PipelineLabel]}
}

// await waits until so many pipelines of a namespace have come to their end.
func (n *nodes) await(ctx context.Context, namespace string, count int) error {
	start := time.Now()
	for told := start; n.settled(namespace) < count; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if time.Since(told) > 15*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %d of %d settled after %s\n", namespace, n.settled(namespace), count, time.Since(start).Round(time.Second))
		}
	}
	return nil
}

func (n *nodes) settled(namespace string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.done[namespace])
}

func (n *nodes) overheads() []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]time.Duration(nil), n.overhead...)
}

func (n *nodes) most() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peak
}
