package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/controllers"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
)

// TestManagerAndStagesComeToWhatRunComesTo has `espalier manager` walk a tree on a real control plane. The test is the node: it carries
// out each pod's order with the code that a container runs, on a claim that is a folder.
func TestManagerAndStagesComeToWhatRunComesTo(t *testing.T) {
	plane := controlplane.Start(t, controlplane.Options{ControllerManager: true})
	manifest := project(t)
	claims := t.TempDir()
	claim := filepath.Join(claims, "work")
	if err := os.Mkdir(claim, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.tflite", "data.npz"} {
		write(t, filepath.Join(claim, name), read(t, filepath.Join(filepath.Dir(manifest), name)))
	}
	p := decode(t, manifest)
	p.Namespace, p.Generation = "default", 0
	p.Spec.Model.URI, p.Spec.Dataset.URI = "pvc://work/model.tflite", "pvc://work/data.npz"
	p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://work/out"}}

	ctx, cancel := context.WithCancel(t.Context())
	cmd := newRootCommand(&ioStreams{Out: io.Discard, Err: io.Discard})
	cmd.SetArgs([]string{"manager", "--image=espalier:test", "--kubeconfig=" + plane.Kubeconfig, "--namespace=default", "--health-probe-bind-address=0", "--metrics-bind-address=0"})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	scheme, err := controllers.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, client: c, claims: claims, seen: map[string]bool{}}
	for deadline := time.Now().Add(2 * time.Minute); !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady); time.Sleep(20 * time.Millisecond) {
		n.work(ctx)
		if err := c.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) || meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled) {
			t.Fatalf("not ready: %+v", p.Status)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	out := filepath.Join(t.TempDir(), "out")
	if _, stderr, code := espalier(t.Context(), "run", manifest, "-o", out); code != 0 {
		t.Fatalf("run: %d: %s", code, stderr)
	}
	published := filepath.Join(claim, "out", "default", "corners")
	if got, want := p.Status.Published.URI, "pvc://work/out/default/corners/"+stage.DigestFile(p.Status.Selected.Digest); got != want || p.Status.Selected.URI != want {
		t.Errorf("the leaf is at %s, and selected at %s, want %s", got, p.Status.Selected.URI, want)
	}
	if content := read(t, filepath.Join(published, filepath.Base(p.Status.Published.URI))); artifact.Digest(content) != p.Status.Published.Digest {
		t.Errorf("%s has another digest", p.Status.Published.URI)
	}
	if string(read(t, filepath.Join(published, "leaf.tflite"))) != string(read(t, filepath.Join(out, "leaves", p.Status.Selected.Stage+".tflite"))) {
		t.Error("the cluster's leaf is not that of espalier run")
	}
	for i := range p.Status.Stages {
		if s := &p.Status.Stages[i]; s.Leaf != nil && string(read(t, filepath.Join(published, "leaves", s.Name+".tflite"))) != string(read(t, filepath.Join(out, "leaves", s.Name+".tflite"))) {
			t.Errorf("leaf %s is not that of espalier run", s.Name)
		}
	}
	result, err := v1alpha1.Decode(read(t, filepath.Join(published, stage.ResultFile)))
	if err != nil {
		t.Fatalf("result.json: %v", err)
	}
	if !meta.IsStatusConditionTrue(result.Status.Conditions, v1alpha1.ConditionReady) || result.Status.Selected.URI != p.Status.Selected.URI || result.Status.Published.URI != p.Status.Published.URI {
		t.Errorf("result.json says %+v", result.Status)
	}
}

// node carries out pods.
type node struct {
	t      *testing.T
	client client.Client
	claims string
	seen   map[string]bool
	hold   map[string]bool // pipelines whose pods wait
}

func (n *node) work(ctx context.Context) {
	n.t.Helper()
	var pods corev1.PodList
	if err := n.client.List(ctx, &pods, client.HasLabels{controllers.PipelineLabel}); err != nil {
		n.t.Fatal(err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; !n.seen[string(pod.UID)] && !n.hold[pod.Labels[controllers.PipelineLabel]] {
			n.seen[string(pod.UID)] = true
			n.carryOut(ctx, pod)
		}
	}
}

func (n *node) carryOut(ctx context.Context, pod *corev1.Pod) {
	n.t.Helper()
	order, err := stage.ParseOrder(pod.Spec.Containers[0].Env[0].Value)
	if err != nil {
		n.t.Fatal(err)
	}
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now}
	n.set(ctx, pod, status)
	job := stage.Job{Claims: n.claims, Cache: n.t.TempDir(), Workers: 2, Log: slog.New(slog.DiscardHandler)}
	outcome, failure := job.Run(ctx, order)
	if failure != nil {
		n.t.Logf("stage %s: %v", order.Stage, failure)
	}
	message, err := outcome.Marshal()
	if err != nil {
		n.t.Fatal(err)
	}
	status.Phase = corev1.PodSucceeded
	if failure != nil {
		status.Phase = corev1.PodFailed
	}
	status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(fault.ExitCode(failure)), Message: string(message), StartedAt: now, FinishedAt: metav1.Now(),
	}}}}
	n.set(ctx, pod, status)
	if order.Stage == walk.Publish {
		n.t.Logf("published %s", outcome.URI)
	}
}

func (n *node) set(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) {
	n.t.Helper()
	for range 5 {
		if err := n.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			n.t.Fatal(err)
		}
		pod.Status = status
		if n.client.Status().Update(ctx, pod) == nil {
			return
		}
	}
	n.t.Fatalf("status of pod %s cannot be written", pod.Name)
}
