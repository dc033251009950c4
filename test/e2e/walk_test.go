package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
)

// local is what `espalier run` makes of the demo's manifest with the binary of the stages' image, so on the same CPU features.
var local struct {
	sync.Once
	out    string
	result v1alpha1.OptimizationPipeline
}

// inputs puts the demo's model and dataset into buckets.
var inputs = sync.OnceValue(func() error {
	for _, bucket := range []string{"models", "datasets", "compressed"} {
		if err := os.MkdirAll(filepath.Join(folder, "s3", bucket), 0o755); err != nil {
			return err
		}
	}
	model, err := os.ReadFile(filepath.Join(root, "hack/demo/glyphs.tflite"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "s3/models/glyphs.tflite"), model, 0o644); err != nil {
		return err
	}
	command := exec.Command("go", "run", "./hack/demo", "data", "-per-class", "60", "-o", filepath.Dir(dataset()))
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("make the dataset: %w\n%s", err, out)
	}
	return nil
})

func dataset() string { return filepath.Join(folder, "s3/datasets/glyphs.npz") }

func localRun(t *testing.T) {
	t.Helper()
	local.Do(func() {
		local.out = filepath.Join(folder, "local")
		path := filepath.Join(folder, "pipeline.yaml")
		if err := os.WriteFile(path, manifest(t), 0o644); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), binary("arm64"), "run", path, "-o", local.out)
		command.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("espalier run: %v\n%s", err, out)
		}
		if err := json.Unmarshal(read(t, filepath.Join(local.out, "result.json")), &local.result); err != nil {
			t.Fatal(err)
		}
	})
	if local.result.Status.Selected == nil {
		t.Fatal("espalier run selected nothing")
	}
}

// sameAsLocal compares a finished pipeline with `espalier run`: states, what was selected, every leaf's bytes and metrics.
func sameAsLocal(t *testing.T, p *v1alpha1.OptimizationPipeline) {
	t.Helper()
	localRun(t)
	want := &local.result.Status
	if p.Status.Selected == nil || p.Status.Selected.Stage != want.Selected.Stage {
		t.Fatalf("selected %+v, espalier run %s", p.Status.Selected, want.Selected.Stage)
	}
	for _, w := range want.Stages { // the cluster's has publish too
		s := stageOf(p, w.Name)
		if s.Name != w.Name || s.State != w.State || (s.Leaf == nil) != (w.Leaf == nil) {
			t.Errorf("stage %s is %s, espalier run's %s %s", s.Name, s.State, w.Name, w.State)
			continue
		}
		if s.Leaf == nil {
			continue
		}
		if s.Leaf.Digest != w.Leaf.Digest {
			t.Errorf("leaf of %s is %s, espalier run's %s", s.Name, s.Leaf.Digest, w.Leaf.Digest)
		}
		for _, m := range w.Leaf.Metrics {
			if got := metric(s.Leaf.Metrics, m.Name); m.Name != "LatencyMicros" && got != m.Value {
				t.Errorf("%s of %s is %q, espalier run's %s", m.Name, s.Name, got, m.Value)
			}
		}
	}
}

func stageOf(p *v1alpha1.OptimizationPipeline, name string) v1alpha1.StageStatus {
	for _, s := range p.Status.Stages {
		if s.Name == name {
			return s
		}
	}
	return v1alpha1.StageStatus{}
}

func metric(metrics []v1alpha1.MetricValue, name string) string {
	for _, m := range metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return ""
}

// finished waits for a pipeline's end and checks what everybody may rely on.
func finished(t *testing.T, p *v1alpha1.OptimizationPipeline) {
	t.Helper()
	await(t, p, "it is ready", func(p *v1alpha1.OptimizationPipeline) bool {
		return condition(p, v1alpha1.ConditionReady) == "True ConstraintsMet"
	})
	if p.Status.ObservedGeneration != p.Generation || p.Status.Progress != "3/3" || condition(p, v1alpha1.ConditionConstraintsMet) != "True ConstraintsMet" ||
		strings.HasPrefix(condition(p, v1alpha1.ConditionReconciling), "True") || strings.HasPrefix(condition(p, v1alpha1.ConditionStalled), "True") {
		t.Errorf("status %+v", p.Status)
	}
}

// onlyOnArm64 checks where stages ran and what they said of it. A pipeline is over with its last pod, and that pod's Job says so a
// little later.
func onlyOnArm64(t *testing.T, p *v1alpha1.OptimizationPipeline) {
	t.Helper()
	var jobs batchv1.JobList
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if err := kube.List(t.Context(), &jobs, client.InNamespace(p.Namespace)); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(jobs.Items, func(j batchv1.Job) bool { return j.Status.Succeeded == 0 }) || time.Now().After(end) {
			break
		}
	}
	if len(jobs.Items) != 5 { // baseline, three stages, publish
		t.Errorf("%d Jobs, want 5", len(jobs.Items))
	}
	for _, j := range jobs.Items {
		if j.Spec.Template.Spec.NodeSelector[corev1.LabelArchStable] != "arm64" || j.Status.Succeeded != 1 {
			t.Errorf("Job %s: %v, %d succeeded", j.Name, j.Spec.Template.Spec.NodeSelector, j.Status.Succeeded)
		}
	}
	for _, pod := range pods(t, p, "") {
		log, err := kubectl(t.Context(), "-n", p.Namespace, "logs", pod.Name)
		if err != nil || pod.Spec.NodeName != edgeNode || !strings.Contains(log, `"arch":"arm64"`) {
			t.Errorf("pod %s on %s: %v\n%s", pod.Name, pod.Spec.NodeName, err, log)
		}
	}
}

func TestAWalkOverS3IsThatOfRun(t *testing.T) {
	p := pipeline(t, namespaceWithInputs(t, "over-s3"), nil)
	finished(t, p)
	onlyOnArm64(t, p)
	sameAsLocal(t, p)

	// the published leaf, fetched as anybody would, is the one in status and measures the same here
	credentials := t.TempDir()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey} {
		if err := os.WriteFile(filepath.Join(credentials, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := artifact.Options{S3: artifact.S3Options{Endpoint: endpoint, PathStyle: true}, CredentialsDir: credentials}
	fetched, err := artifact.Fetch(t.Context(), strings.TrimSuffix(p.Status.Published.URI, stage.DigestFile(p.Status.Published.Digest)), options, artifact.Cache{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	leaf := filepath.Join(fetched.Path, "leaf.tflite")
	if string(read(t, leaf)) != string(read(t, filepath.Join(local.out, "leaves", p.Status.Selected.Stage+".tflite"))) {
		t.Error("the published leaf is another than espalier run's")
	}
	if artifact.Digest(read(t, filepath.Join(fetched.Path, stage.DigestFile(p.Status.Published.Digest)))) != p.Status.Published.Digest {
		t.Errorf("%s has another digest", p.Status.Published.URI)
	}
	for _, s := range p.Status.Stages {
		if s.Leaf != nil && artifact.Digest(read(t, filepath.Join(fetched.Path, "leaves", s.Name+".tflite"))) != s.Leaf.Digest {
			t.Errorf("the published leaf of %s is not the one of status", s.Name)
		}
	}
	for _, name := range []string{"result.json", "report.html"} {
		if len(read(t, filepath.Join(fetched.Path, name))) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	out := espalier(t, "evaluate", leaf, "--dataset", dataset(), "--dataset-spec", `{preprocessing: {scale: "1/255"}}`, "--split", "validation",
		"--original", filepath.Join(root, "hack/demo/glyphs.tflite"))
	for _, name := range []string{"Accuracy", "AccuracyDrop", "Agreement", "CompressedBytes"} {
		if want := metric(p.Status.Selected.Metrics, name); !strings.Contains(strings.Join(strings.Fields(out), " ")+" ", name+" "+want+" ") {
			t.Errorf("%s is %s in status; evaluate says\n%s", name, want, out)
		}
	}
}

func namespaceWithInputs(t *testing.T, name string) string {
	t.Helper()
	ns := namespace(t, name)
	if err := inputs(); err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestAWalkOnClaimsIsThatOfRun(t *testing.T) {
	ns := namespaceWithInputs(t, "on-claims")
	claim(t, ns, "models", map[string]string{"glyphs.tflite": filepath.Join(folder, "s3/models/glyphs.tflite"), "glyphs.npz": dataset()})
	store := claim(t, ns, "compressed", nil)
	p := pipeline(t, ns, func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Model.URI, s.Dataset.URI, s.Artifacts = "pvc://models/glyphs.tflite", "pvc://models/glyphs.npz", &v1alpha1.ArtifactStore{}
		s.Artifacts.URI = "pvc://compressed/store"
	})
	finished(t, p)
	onlyOnArm64(t, p)
	sameAsLocal(t, p)
	at := strings.Replace(p.Status.Published.URI, "pvc://compressed", store, 1)
	if string(read(t, at)) != string(read(t, filepath.Join(local.out, "leaves", p.Status.Selected.Stage+".tflite"))) {
		t.Errorf("%s is another leaf than espalier run's", p.Status.Published.URI)
	}
}

// claim makes a claim bound to a folder on the node that holds copies of files, and returns the folder.
func claim(t *testing.T, namespace, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(folder, "claims", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, from := range files {
		if err := os.WriteFile(filepath.Join(dir, file), read(t, from), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	here := corev1.NodeSelectorRequirement{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{edgeNode}}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
		NodeAffinity:           &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{here}}}}},
	}}
	bound := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: volume.Spec.AccessModes, VolumeName: volume.Name, StorageClassName: ptr.To(""), Resources: corev1.VolumeResourceRequirements{Requests: size},
	}}
	for _, object := range []client.Object{volume, bound} {
		if err := kube.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = kube.Delete(context.Background(), volume) })
	return dir
}

func TestAnEvictedStageGoesOnFromItsCheckpoint(t *testing.T) {
	p := pipeline(t, namespaceWithInputs(t, "evicted"), func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts.URI = "s3://compressed/evicted" })
	var victim *corev1.Pod
	await(t, p, "pcqat trains", func(p *v1alpha1.OptimizationPipeline) bool {
		list := pods(t, p, "pcqat")
		if len(list) == 0 {
			return false
		}
		victim = &list[0]
		log, _ := kubectl(t.Context(), "-n", p.Namespace, "logs", victim.Name)
		return strings.Contains(log, `"msg":"training"`)
	})
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: victim.Name}}
	if err := kube.SubResource("eviction").Create(t.Context(), victim, eviction); err != nil {
		t.Fatal(err)
	}
	finished(t, p)
	var logs []string
	for _, pod := range pods(t, p, "pcqat") {
		if pod.UID != victim.UID {
			log, err := kubectl(t.Context(), "-n", p.Namespace, "logs", pod.Name)
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, log)
		}
	}
	if len(logs) != 1 || !strings.Contains(logs[0], `"msg":"resumed"`) {
		t.Errorf("%d other pods; the one that went on should say where it resumed\n%s", len(logs), strings.Join(logs, "\n"))
	}
	if s := stageOf(p, "pcqat"); s.Attempt != 1 {
		t.Errorf("the eviction cost an attempt: %+v", s)
	}
	sameAsLocal(t, p)
}

func TestDeletingAPipelineMidRunLeavesNothingRunning(t *testing.T) {
	p := pipeline(t, namespaceWithInputs(t, "deleted"), func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts.URI = "s3://compressed/deleted" })
	await(t, p, "prune runs", func(p *v1alpha1.OptimizationPipeline) bool {
		list := pods(t, p, "prune")
		return len(list) == 1 && list[0].Status.Phase == corev1.PodRunning
	})
	if err := kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(90 * time.Second)
	for {
		var jobs batchv1.JobList
		if err := kube.List(t.Context(), &jobs, client.InNamespace(p.Namespace)); err != nil {
			t.Fatal(err)
		}
		err := kube.Get(t.Context(), client.ObjectKeyFromObject(p), &v1alpha1.OptimizationPipeline{})
		left := pods(t, p, "")
		if apierrors.IsNotFound(err) && len(jobs.Items) == 0 && len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after 90 s: pipeline %v, %d Jobs, %d pods", err, len(jobs.Items), len(left))
		}
		time.Sleep(500 * time.Millisecond)
	}
}
