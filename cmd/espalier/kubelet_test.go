package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/controllers"
)

// kubelet carries out pods as a node does, scheduler included: a process for each, SIGTERM when the pod is deleted, and the pod goes when
// the process has ended.
type kubelet struct {
	t      *testing.T
	client client.Client
	claims string
	env    []string // of every process, besides the pod's own

	mu   sync.Mutex
	pods map[types.UID]*execution
	all  []*execution             // in the order they came
	most int                      // processes that ran at a time
	hold map[string]chan struct{} // pods whose process is not started before this is closed, by pipeline and stage
}

// execution is what a pod came to.
type execution struct {
	pod     string
	what    string // pipeline and stage
	order   string
	stop    func() // closes stopped
	stopped chan struct{}

	mu      sync.Mutex
	process *container
	running bool
	code    int
}

// log is what the pod's process has logged.
func (e *execution) log() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process == nil {
		return ""
	}
	return e.process.log.String()
}

func (e *execution) runs() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

const nodeName = "edge"

func newKubelet(ctx context.Context, t *testing.T, c client.Client, claims string) *kubelet {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelArchStable: "arm64"}}}
	if err := c.Create(ctx, node); err != nil {
		t.Fatal(err)
	}
	k := &kubelet{t: t, client: c, claims: claims, pods: map[types.UID]*execution{}, hold: map[string]chan struct{}{}}
	go k.run(ctx)
	return k
}

func (k *kubelet) run(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		var pods corev1.PodList
		if err := k.client.List(ctx, &pods, client.HasLabels{controllers.PipelineLabel}); err != nil {
			continue
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			k.mu.Lock()
			e := k.pods[pod.UID]
			if e == nil && pod.DeletionTimestamp == nil {
				stopped := make(chan struct{})
				e = &execution{
					pod: pod.Name, what: pod.Labels[controllers.PipelineLabel] + " " + pod.Labels[controllers.StageLabel], order: pod.Spec.Containers[0].Env[0].Value,
					stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) }),
				}
				k.pods[pod.UID] = e
				k.all = append(k.all, e)
				go k.carryOut(ctx, pod, e)
			}
			k.mu.Unlock()
			if e != nil && pod.DeletionTimestamp != nil {
				e.stop()
			}
		}
	}
}

// carryOut runs a pod to its end.
func (k *kubelet) carryOut(ctx context.Context, pod *corev1.Pod, e *execution) {
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}}
	if err := k.client.SubResource("binding").Create(ctx, pod, binding); err != nil {
		return // deleted before it was bound: nothing is left of it
	}
	k.count(e, true)
	defer k.count(e, false)
	started := metav1.Now()
	k.set(ctx, pod, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}})
	end := k.process(ctx, pod, e)
	end.StartedAt, end.FinishedAt = started, metav1.Now()
	phase := corev1.PodSucceeded
	if end.ExitCode != 0 {
		phase = corev1.PodFailed
	}
	k.set(ctx, pod, phase, corev1.ContainerState{Terminated: end})
	select {
	case <-e.stopped:
		if err := k.client.Delete(ctx, pod, client.GracePeriodSeconds(0)); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			k.t.Errorf("delete pod %s: %v", pod.Name, err)
		}
	default:
	}
}

// process runs the pod's process, unless it is stopped before that.
func (k *kubelet) process(ctx context.Context, pod *corev1.Pod, e *execution) *corev1.ContainerStateTerminated {
	k.mu.Lock()
	held := k.hold[e.what]
	k.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-e.stopped:
			return k.ended(e, 143, "")
		case <-ctx.Done():
			return k.ended(e, 143, "")
		}
	}
	folder := k.t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "cache"), 0o755); err != nil {
		k.t.Error(err)
		return k.ended(e, 1, err.Error())
	}
	if err := k.mountSecrets(ctx, pod, folder); err != nil {
		k.t.Error(err)
		return k.ended(e, 1, err.Error())
	}
	p := startContainer(k.t, folder, k.claims, e.order, k.env...)
	e.mu.Lock()
	e.process = p
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.cmd.Wait() // its exit code says it
	}()
	select {
	case <-ended:
	case <-e.stopped:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	<-ended
	message, err := os.ReadFile(p.termination)
	if err != nil {
		k.t.Error(err)
	}
	return k.ended(e, p.cmd.ProcessState.ExitCode(), string(message))
}

// mountSecrets writes the keys that the pod's volumes name to where its container mounts them, in a folder.
func (k *kubelet) mountSecrets(ctx context.Context, pod *corev1.Pod, folder string) error {
	paths := map[string]string{}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		paths[m.Name] = filepath.Join(folder, m.MountPath)
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		if err := os.MkdirAll(paths[v.Name], 0o755); err != nil {
			return err
		}
		for _, source := range v.Projected.Sources {
			var secret corev1.Secret
			if err := k.client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: source.Secret.Name}, &secret); err != nil {
				return err
			}
			for _, item := range source.Secret.Items {
				content, there := secret.Data[item.Key]
				if !there && (source.Secret.Optional == nil || !*source.Secret.Optional) {
					return fmt.Errorf("secret %s has no key %s", secret.Name, item.Key)
				}
				if there {
					if err := os.WriteFile(filepath.Join(paths[v.Name], item.Path), content, 0o600); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (k *kubelet) ended(e *execution, code int, message string) *corev1.ContainerStateTerminated {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.code = code
	return &corev1.ContainerStateTerminated{ExitCode: int32(code), Message: message}
}

// count keeps count of what runs.
func (k *kubelet) count(e *execution, running bool) {
	e.mu.Lock()
	e.running = running
	e.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, other := range k.all {
		if other.runs() {
			n++
		}
	}
	k.most = max(k.most, n)
}

// holding keeps the pods of a stage from doing anything until the function it returns is called.
func (k *kubelet) holding(pipeline, stage string) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := make(chan struct{})
	k.hold[pipeline+" "+stage] = held
	return sync.OnceFunc(func() { close(held) })
}

// of returns what came of the pods of a stage, in the order they came.
func (k *kubelet) of(pipeline, stage string) []*execution {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*execution
	for _, e := range k.all {
		if e.what == pipeline+" "+stage {
			out = append(out, e)
		}
	}
	return out
}

func (k *kubelet) set(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState) {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := k.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		pod.Status.Phase = phase
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, State: state}}
		return k.client.Status().Update(ctx, pod)
	})
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		k.t.Error(fmt.Errorf("status of pod %s: %w", pod.Name, err))
	}
}
