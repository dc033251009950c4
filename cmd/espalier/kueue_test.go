package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/controllers"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
	"espalier.dev/espalier/test/kueue"
)

// TestKueue has `espalier manager` and a real Kueue share a control plane, with the objects of config/samples/kueue.yaml and quota for one
// Job. The test is the node; every pod is a process of `espalier stage`.
func TestKueue(t *testing.T) {
	kueue.Need(t)
	q := newQueued(t)
	t.Run("pipelines take turns", q.takeTurns)
	t.Run("a preempted stage goes on from its checkpoint", q.preempted)
	t.Run("a pipeline moves to another queue while it waits", q.moves)
	t.Run("a pipeline that becomes urgent goes first", q.becomesUrgent)
}

// queued is a cluster whose queue lab admits one Job at a time.
type queued struct {
	t        *testing.T
	client   client.Client
	node     *kubelet
	claim    string // folder
	manifest string // of the project
	sample   *v1alpha1.OptimizationPipeline
}

func newQueued(t *testing.T) *queued {
	t.Helper()
	plane := controlplane.Start(t, controlplane.Options{ControllerManager: true})
	kueue.Start(t, plane)
	scheme, err := controllers.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	q := &queued{t: t, manifest: project(t)}
	if q.client, err = client.New(plane.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	claims := t.TempDir()
	q.claim = filepath.Join(claims, "work")
	if err := os.Mkdir(q.claim, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.tflite", "data.npz"} {
		write(t, filepath.Join(q.claim, name), read(t, filepath.Join(filepath.Dir(q.manifest), name)))
	}
	q.queues(filepath.Join("..", "..", "config", "samples", "kueue.yaml"))

	ctx, cancel := context.WithCancel(context.Background())
	cmd := newRootCommand(&ioStreams{Out: io.Discard, Err: io.Discard})
	cmd.SetArgs([]string{"manager", "--image=espalier:test", "--kubeconfig=" + plane.Kubeconfig, "--namespace=default", "--health-probe-bind-address=0", "--metrics-bind-address=0"})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	q.node = newKubelet(ctx, t, q.client, claims)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return q
}

// queues creates the sample's queue with quota for one Job of its pipeline.
func (q *queued) queues(path string) {
	q.t.Helper()
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(read(q.t, path)), "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			q.t.Fatal(err)
		}
		if o.GetKind() != v1alpha1.Kind {
			objects = append(objects, o)
			continue
		}
		p, err := v1alpha1.Decode([]byte(document))
		if err != nil {
			q.t.Fatal(err)
		}
		q.sample = p
	}
	for _, o := range objects {
		switch o.GetKind() {
		case "LocalQueue":
			o.SetNamespace(metav1.NamespaceDefault)
		case "ClusterQueue":
			groups, _, _ := unstructured.NestedSlice(o.Object, "spec", "resourceGroups")
			flavor := groups[0].(map[string]any)["flavors"].([]any)[0].(map[string]any)
			for _, r := range flavor["resources"].([]any) {
				if r := r.(map[string]any); r["name"] == "cpu" {
					r["nominalQuota"] = q.sample.Spec.Template.Resources.Requests.Cpu().String()
				}
			}
			if err := unstructured.SetNestedSlice(o.Object, groups, "spec", "resourceGroups"); err != nil {
				q.t.Fatal(err)
			}
		}
		if err := q.client.Create(q.t.Context(), o); err != nil {
			q.t.Fatal(err)
		}
	}
}

// pipeline creates one of the project's in the sample's queue, with a store of its own.
func (q *queued) pipeline(t *testing.T, name string, change func(*v1alpha1.OptimizationPipeline)) {
	t.Helper()
	p := decode(t, q.manifest)
	p.Name, p.Namespace, p.Generation = name, metav1.NamespaceDefault, 0
	p.Labels = map[string]string{controllers.QueueLabel: q.sample.Labels[controllers.QueueLabel]}
	p.Spec.Template.Resources = q.sample.Spec.Template.Resources
	p.Spec.Model.URI, p.Spec.Dataset.URI = "pvc://work/model.tflite", "pvc://work/data.npz"
	p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://work/" + name}}
	if change != nil {
		change(p)
	}
	if err := q.client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func (q *queued) get(t *testing.T, name string) *v1alpha1.OptimizationPipeline {
	t.Helper()
	p := &v1alpha1.OptimizationPipeline{}
	if err := q.client.Get(t.Context(), client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// stageJob returns the one Job of a stage.
func (q *queued) stageJob(t *testing.T, pipeline, stage string) *batchv1.Job {
	t.Helper()
	var list batchv1.JobList
	match := client.MatchingLabels{controllers.PipelineLabel: pipeline, controllers.StageLabel: stage}
	if err := q.client.List(t.Context(), &list, client.InNamespace(metav1.NamespaceDefault), match); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("stage %s of %s has %d Jobs", stage, pipeline, len(list.Items))
	}
	return &list.Items[0]
}

func statusOf(p *v1alpha1.OptimizationPipeline, name string) v1alpha1.StageStatus {
	for _, s := range p.Status.Stages {
		if s.Name == name {
			return s
		}
	}
	return v1alpha1.StageStatus{}
}

// is waits for a stage to be in a state.
func (q *queued) is(t *testing.T, pipeline, name string, state v1alpha1.StageState) {
	t.Helper()
	eventually(t, pipeline+"'s "+name+" "+string(state), func() bool { return statusOf(q.get(t, pipeline), name).State == state })
}

// waits waits for a pipeline to say that a stage waits for a queue, and for nothing else.
func (q *queued) waits(t *testing.T, pipeline, name, queue string) {
	t.Helper()
	q.is(t, pipeline, name, v1alpha1.StageQueued)
	eventually(t, pipeline+" to say what it waits for", func() bool {
		p := q.get(t, pipeline)
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReconciling)
		return statusOf(p, name).Message == "waits for queue "+queue+" to admit it" &&
			c != nil && c.Status == metav1.ConditionTrue && c.Reason == walk.ReasonQueued && strings.Contains(c.Message, "waits for queue "+queue) &&
			!meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled)
	})
}

// ends waits for a pipeline to be ready, and reports a stage that was not done at the first attempt.
func (q *queued) ends(t *testing.T, name string) {
	t.Helper()
	var p *v1alpha1.OptimizationPipeline
	eventually(t, name+" at its end", func() bool {
		p = q.get(t, name)
		if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled) {
			t.Fatalf("%s: %+v", name, p.Status)
		}
		return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	for _, s := range p.Status.Stages {
		if s.State != v1alpha1.StageCompleted || s.Attempt != 1 {
			t.Errorf("%s: stage %s is %s at attempt %d", name, s.Name, s.State, s.Attempt)
		}
		if job := q.stageJob(t, name, s.Name); job.Status.Failed != 0 {
			t.Errorf("%s: Job %s counts %d failures", name, job.Name, job.Status.Failed)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func (q *queued) takeTurns(t *testing.T) {
	release := q.node.holding("first", walk.Baseline)
	defer release()
	q.pipeline(t, "first", nil)
	q.is(t, "first", walk.Baseline, v1alpha1.StageRunning)
	q.pipeline(t, "second", nil)
	q.waits(t, "second", walk.Baseline, "lab")
	if n := len(q.node.of("second", walk.Baseline)); n != 0 {
		t.Errorf("%d pods without quota", n)
	}
	if s := statusOf(q.get(t, "second"), walk.Baseline); s.Attempt != 1 || s.StartTime != nil {
		t.Errorf("a stage that waits has attempt %d, start %v", s.Attempt, s.StartTime)
	}
	release()
	q.ends(t, "first")
	q.ends(t, "second")
	if q.node.most != 1 {
		t.Errorf("%d pods ran at a time, there is quota for one", q.node.most)
	}
}

// preempted has urgent work come while a stage trains. That work keeps the quota for longer than the stage's deadline.
func (q *queued) preempted(t *testing.T) {
	const deadline = 20 * time.Second
	trains := func(spec *v1alpha1.OptimizationPipelineSpec) {
		spec.Stages = spec.Stages[:1]
		spec.Stages[0].Training.Epochs = ptr.To[int32](3000) // some seconds
	}
	release := q.node.holding("urgent", walk.Baseline)
	defer release()
	q.pipeline(t, "patient", func(p *v1alpha1.OptimizationPipeline) {
		p.Labels[controllers.PriorityLabel] = "background"
		trains(&p.Spec)
		p.Spec.RunPolicy.ActiveDeadlineSeconds = ptr.To(int64(deadline.Seconds()))
	})
	q.is(t, "patient", "prune", v1alpha1.StageRunning)
	before := q.stageJob(t, "patient", "prune")
	q.checkpointed(t, "patient", before.Annotations[controllers.InputHashAnnotation])

	q.pipeline(t, "urgent", func(p *v1alpha1.OptimizationPipeline) { p.Labels[controllers.PriorityLabel] = "urgent" })
	q.waits(t, "patient", "prune", "lab")
	q.is(t, "urgent", walk.Baseline, v1alpha1.StageRunning)
	taken := time.Now()
	first := q.node.of("patient", "prune")[0]
	eventually(t, "the end of the preempted pod", func() bool { return !first.runs() }) // Kueue does not wait for it
	if first.code != 130 || !strings.Contains(first.log(), stage.ReasonInterrupted) {
		t.Errorf("it was not interrupted: exit code %d\n%s", first.code, first.log())
	}
	held := q.stageJob(t, "patient", "prune")
	if !*held.Spec.Suspend || held.Status.StartTime != nil || held.Status.Failed != 0 {
		t.Errorf("while it waits its Job has suspend %v, start %v, %d failures", *held.Spec.Suspend, held.Status.StartTime, held.Status.Failed)
	}
	time.Sleep(deadline + 2*time.Second - time.Since(taken))
	q.waits(t, "patient", "prune", "lab")
	release()
	q.ends(t, "urgent")
	q.ends(t, "patient")

	pods := q.node.of("patient", "prune")
	for _, e := range pods[1:] {
		if e.order != first.order {
			t.Errorf("pod %s was told something else", e.pod)
		}
		if e.log() != "" && !strings.Contains(e.log(), `"msg":"resumed"`) {
			t.Errorf("pod %s began anew:\n%s", e.pod, e.log())
		}
	}
	last := pods[len(pods)-1]
	if step := firstStep(t, last.log()); len(pods) < 2 || step < 10 {
		t.Errorf("the last of %d pods began at step %d", len(pods), step)
	}
	after := q.stageJob(t, "patient", "prune")
	if after.UID != before.UID || !after.Status.StartTime.After(before.Status.StartTime.Add(deadline)) {
		t.Errorf("Job %s started %s, before it was preempted %s %s", after.UID, after.Status.StartTime, before.UID, before.Status.StartTime)
	}
	published := read(t, filepath.Join(q.claim, "patient", "default", "patient", "leaves", "prune.tflite"))
	if string(published) != string(q.undisturbed(t, trains)) {
		t.Error("the leaf is another than without preemption")
	}
	for line := range strings.Lines(last.log()) {
		if strings.Contains(line, `"msg":"resumed"`) {
			t.Logf("%d pods, the last: %s", len(pods), line)
		}
	}
}

// checkpointed waits until a stage has saved a checkpoint.
func (q *queued) checkpointed(t *testing.T, pipeline, hash string) {
	t.Helper()
	store, err := artifact.Open(t.Context(), "file://"+filepath.Join(q.claim, pipeline), artifact.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	store = store.In("default")
	eventually(t, "a checkpoint", func() bool {
		_, err := store.LoadCheckpoint(t.Context(), hash)
		if err != nil && !errors.Is(err, artifact.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// undisturbed is the leaf of prune as `espalier run` makes it.
func (q *queued) undisturbed(t *testing.T, change func(*v1alpha1.OptimizationPipelineSpec)) []byte {
	t.Helper()
	p := decode(t, q.manifest)
	change(&p.Spec)
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(q.manifest)
	local := filepath.Join(folder, "local.yaml")
	write(t, local, text)
	out := filepath.Join(folder, "out")
	if _, stderr, code := espalier(t.Context(), "run", local, "-o", out); code != 0 {
		t.Fatalf("run: %d: %s", code, stderr)
	}
	return read(t, filepath.Join(out, "leaves", "prune.tflite"))
}

func (q *queued) moves(t *testing.T) {
	q.pipeline(t, "mistyped", func(p *v1alpha1.OptimizationPipeline) { p.Labels[controllers.QueueLabel] = "lba" })
	q.waits(t, "mistyped", walk.Baseline, "lba")
	q.label(t, "mistyped", controllers.QueueLabel, "lab")
	q.ends(t, "mistyped")
}

func (q *queued) becomesUrgent(t *testing.T) {
	defer q.node.holding("ahead", walk.Baseline)()
	q.pipeline(t, "ahead", nil)
	q.is(t, "ahead", walk.Baseline, v1alpha1.StageRunning)
	q.pipeline(t, "behind", func(p *v1alpha1.OptimizationPipeline) { p.Labels[controllers.PriorityLabel] = "background" })
	q.waits(t, "behind", walk.Baseline, "lab")
	q.label(t, "behind", controllers.PriorityLabel, "urgent")
	q.ends(t, "behind")
	if s := statusOf(q.get(t, "ahead"), walk.Baseline); s.State == v1alpha1.StageCompleted {
		t.Errorf("what is less urgent ended first: %+v", s)
	}
}

// label changes a label as `kubectl label` does.
func (q *queued) label(t *testing.T, pipeline, key, value string) {
	t.Helper()
	p := q.get(t, pipeline)
	patch := client.MergeFrom(p.DeepCopy())
	p.Labels[key] = value
	if err := q.client.Patch(t.Context(), p, patch); err != nil {
		t.Fatal(err)
	}
}
