package controllers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// built builds the Job of a stage of a chain.
func built(t *testing.T, name string, changes ...func(*v1alpha1.OptimizationPipeline)) *batchv1.Job {
	t.Helper()
	p := chainPipeline("ns", "keyword-spotting", changes...)
	p.UID, p.Generation = "0b7e", 3
	a := attempt{pipeline: p, stage: &walk.Stage{Name: name, Attempt: 2, InputHash: digest("in"), Parent: digest("parent")},
		pinned: &v1alpha1.Baseline{ModelDigest: digest("m"), DatasetDigest: digest("d")}, rerun: "token", version: "1", image: "espalier:1"}
	job, err := a.job()
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// orderOf reads what a Job's container is told.
func orderOf(t *testing.T, job *batchv1.Job) *stage.Order {
	t.Helper()
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		if v.Name == stage.OrderEnv {
			order, err := stage.ParseOrder(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			return order
		}
	}
	t.Fatal("no order")
	return nil
}

// seen says of a pod what a test wants to know, by name.
var seen = map[string]func(*batchv1.Job) any{
	"nodeSelector": func(j *batchv1.Job) any { return j.Spec.Template.Spec.NodeSelector },
	"tolerations":  func(j *batchv1.Job) any { return len(j.Spec.Template.Spec.Tolerations) },
	"image":        func(j *batchv1.Job) any { return j.Spec.Template.Spec.Containers[0].Image },
	"deadline":     func(j *batchv1.Job) any { return *j.Spec.ActiveDeadlineSeconds },
	"grace":        func(j *batchv1.Job) any { return *j.Spec.Template.Spec.TerminationGracePeriodSeconds },
	"fsGroup":      func(j *batchv1.Job) any { return v1alpha1.Or(j.Spec.Template.Spec.SecurityContext.FSGroup, 0) },
	"user":         func(j *batchv1.Job) any { return v1alpha1.Or(j.Spec.Template.Spec.SecurityContext.RunAsUser, 0) },
	"cache": func(j *batchv1.Job) any {
		return j.Spec.Template.Spec.Volumes[0].EmptyDir.SizeLimit.String()
	},
	"GOMEMLIMIT": func(j *batchv1.Job) any { return variable(j, "GOMEMLIMIT") },
	"GOMAXPROCS": func(j *batchv1.Job) any { return variable(j, "GOMAXPROCS") },
	"PROXY":      func(j *batchv1.Job) any { return variable(j, "PROXY") },
	"job queue":  func(j *batchv1.Job) any { return j.Labels[QueueLabel] },
	"pod queue":  func(j *batchv1.Job) any { return j.Spec.Template.Labels[QueueLabel] },
	"priority":   func(j *batchv1.Job) any { return j.Labels[PriorityLabel] + j.Spec.Template.Labels[PriorityLabel] },
	"pod team":   func(j *batchv1.Job) any { return j.Spec.Template.Labels["team"] },
	"mounts": func(j *batchv1.Job) any {
		var out []string
		spec := j.Spec.Template.Spec
		for i, m := range spec.Containers[0].VolumeMounts {
			if m.Name != spec.Volumes[i].Name {
				return "mounts and volumes differ"
			}
			text := m.MountPath
			if m.ReadOnly {
				text += " ro"
			}
			if p := spec.Volumes[i].Projected; p != nil {
				text += " " + p.Sources[0].Secret.Name
				for _, source := range p.Sources {
					for _, item := range source.Secret.Items {
						text += "/" + item.Key
						if v1alpha1.Or(source.Secret.Optional, false) {
							text += "?"
						}
					}
				}
			}
			out = append(out, text)
		}
		return out
	},
}

// variable is a variable's value, or the field it comes from.
func variable(j *batchv1.Job, name string) string {
	value := ""
	for _, v := range j.Spec.Template.Spec.Containers[0].Env {
		if v.Name == name {
			value = v.Value
			if v.ValueFrom != nil {
				value = "from " + v.ValueFrom.ResourceFieldRef.Resource
			}
		}
	}
	return value
}

func TestJobFollowsTheTemplate(t *testing.T) {
	const keys = "/AWS_ACCESS_KEY_ID/AWS_SECRET_ACCESS_KEY/AWS_SESSION_TOKEN?"
	type pipeline = v1alpha1.OptimizationPipeline
	tests := map[string]struct {
		stage  string
		change func(*pipeline)
		want   map[string]any
	}{
		"the defaults": {"prune", func(*pipeline) {}, map[string]any{
			"nodeSelector": map[string]string{"kubernetes.io/arch": "arm64"}, "tolerations": 0, "image": "espalier:1", "deadline": int64(86400 + 3600 + 300), "grace": int64(60),
			"fsGroup": int64(0), "user": int64(0), "cache": "10Gi", "GOMEMLIMIT": "from limits.memory", "GOMAXPROCS": "from limits.cpu", "job queue": "", "mounts": []string{"/cache"},
		}},
		"any node":     {"prune", func(p *pipeline) { p.Spec.Template.NodeSelector = &map[string]string{} }, map[string]any{"nodeSelector": map[string]string{}}},
		"another node": {"prune", func(p *pipeline) { p.Spec.Template.NodeSelector = &map[string]string{"a": "b"} }, map[string]any{"nodeSelector": map[string]string{"a": "b"}}},
		"what a stage says counts more": {"cluster", func(p *pipeline) {
			p.Spec.Template = v1alpha1.PodTemplate{Image: "all", Labels: map[string]string{"team": "a"}, Env: []v1alpha1.EnvVar{{Name: "PROXY", Value: "all"}}}
			p.Spec.Stages[1].Template = v1alpha1.PodTemplate{Image: "one", Labels: map[string]string{"team": "b"}, Env: []v1alpha1.EnvVar{{Name: "PROXY", Value: "one"}}}
			p.Spec.Stages[1].ActiveDeadlineSeconds = ptr.To[int64](60)
		}, map[string]any{"image": "one", "pod team": "b", "PROXY": "one", "deadline": int64(60 + 3600 + 300)}},
		"another stage's template does not count": {"prune", func(p *pipeline) { p.Spec.Stages[1].Template.Image = "one" }, map[string]any{"image": "espalier:1"}},
		"the Go runtime keeps to the memory there is": {"prune", func(p *pipeline) {
			p.Spec.Template.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1000Mi")}
		}, map[string]any{"GOMEMLIMIT": "943718400"}},
		"a variable of the user's counts more": {"prune", func(p *pipeline) { p.Spec.Template.Env = []v1alpha1.EnvVar{{Name: "GOMEMLIMIT", Value: "off"}} }, map[string]any{"GOMEMLIMIT": "off"}},
		"a queue of the pipeline's":            {"prune", func(p *pipeline) { p.Labels = map[string]string{QueueLabel: "q"} }, map[string]any{"job queue": "q", "pod queue": ""}},
		"a queue of the template's": {"prune", func(p *pipeline) {
			p.Labels = map[string]string{QueueLabel: "q"}
			p.Spec.Template.Labels = map[string]string{QueueLabel: "other"}
		}, map[string]any{"job queue": "other", "pod queue": ""}},
		"a priority of the pipeline's": {"prune", func(p *pipeline) { p.Labels = map[string]string{PriorityLabel: "low"} }, map[string]any{"priority": "low"}},
		"a priority of the stage's": {"prune", func(p *pipeline) {
			p.Labels = map[string]string{PriorityLabel: "low"}
			p.Spec.Stages[0].Template.Labels = map[string]string{PriorityLabel: "high"}
		}, map[string]any{"priority": "high"}},
		"claims: inputs are read-only, a group owns the files": {"prune", func(p *pipeline) {
			p.Spec.Model.URI, p.Spec.Dataset.URI, p.Spec.Artifacts.URI = "pvc://in/m.tflite", "pvc://in/d.npz", "pvc://out"
		}, map[string]any{"mounts": []string{"/cache", "/claims/out", "/claims/in ro"}, "fsGroup": int64(65532)}},
		"one claim for all is written": {"prune", func(p *pipeline) {
			p.Spec.Model.URI, p.Spec.Dataset.URI, p.Spec.Artifacts.URI = "pvc://all/m.tflite", "pvc://all/d.npz", "pvc://all/out"
		}, map[string]any{"mounts": []string{"/cache", "/claims/all"}}},
		"another owner of the files": {"prune", func(p *pipeline) {
			p.Spec.Artifacts.URI = "pvc://out"
			p.Spec.Template.SecurityContext = &v1alpha1.SecurityContext{FSGroup: ptr.To[int64](7), RunAsUser: ptr.To[int64](8)}
		}, map[string]any{"fsGroup": int64(7), "user": int64(8)}},
		"secrets: model and dataset inherit the artifacts'": {"prune", func(p *pipeline) {
			p.Spec.Artifacts.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "s3"}
			p.Spec.Artifacts.S3 = &v1alpha1.S3Options{CASecretRef: &v1alpha1.LocalReference{Name: "ca"}}
			p.Spec.Dataset.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "data"}
		}, map[string]any{"mounts": []string{"/cache", "/secrets/artifacts/credentials ro s3" + keys, "/secrets/artifacts/ca ro ca/ca.crt",
			"/secrets/model/credentials ro s3" + keys, "/secrets/model/ca ro ca/ca.crt", "/secrets/dataset/credentials ro data" + keys}}},
		"publish needs the artifacts alone": {"publish", func(p *pipeline) {
			p.Spec.Model.URI, p.Spec.Artifacts.URI = "pvc://in/m.tflite", "pvc://out"
		}, map[string]any{"mounts": []string{"/cache", "/claims/out"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := built(t, tt.stage, tt.change)
			got := map[string]any{}
			for key := range tt.want {
				got[key] = seen[key](job)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJobIsWhatTheOperatorPromises(t *testing.T) {
	job := built(t, "prune", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Template.Annotations = map[string]string{"a": "b"}
		p.Spec.Template.TerminationGracePeriodSeconds = ptr.To[int64](90)
		p.Spec.Model.URI = "s3://models/$(HOME)/m.tflite"
	})
	pod := job.Spec.Template.Spec
	container := pod.Containers[0]
	if job.Spec.Suspend != nil || job.Spec.TTLSecondsAfterFinished != nil || *job.Spec.BackoffLimit != 0 || pod.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("suspend, time to live, backoff or restarts: %+v", job.Spec)
	}
	if owner := metav1.GetControllerOf(job); owner == nil || owner.UID != "0b7e" || owner.Kind != v1alpha1.Kind || !*owner.BlockOwnerDeletion {
		t.Errorf("owner %+v", owner)
	}
	want := map[string]string{"a": "b", InputHashAnnotation: digest("in"), GenerationAnnotation: "3", TokenAnnotation: "token"}
	if diff := cmp.Diff(want, job.Annotations); diff != "" {
		t.Errorf("annotations:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"app.kubernetes.io/name": "espalier", "app.kubernetes.io/component": "stage", "app.kubernetes.io/managed-by": "espalier",
		PipelineLabel: "keyword-spotting", StageLabel: "prune", AttemptLabel: "2"}, job.Labels); diff != "" {
		t.Errorf("labels:\n%s", diff)
	}
	rules := job.Spec.PodFailurePolicy.Rules
	if rules[0].Action != batchv1.PodFailurePolicyActionIgnore || rules[0].OnPodConditions[0].Type != corev1.DisruptionTarget {
		t.Errorf("disruptions count: %+v", rules[0])
	}
	if diff := cmp.Diff(fault.FinalCodes(), rules[1].OnExitCodes.Values); diff != "" || rules[1].Action != batchv1.PodFailurePolicyActionFailJob {
		t.Errorf("final exit codes:\n%s", diff)
	}
	if s := container.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 || !*pod.SecurityContext.RunAsNonRoot {
		t.Errorf("security %+v, %+v", s, pod.SecurityContext)
	}
	if *pod.AutomountServiceAccountToken || container.TerminationMessagePath != stage.TerminationPath || container.Args[0] != "stage" {
		t.Errorf("container %+v", container)
	}
	order := orderOf(t, job)
	if order.Stage != "prune" || order.Attempt != 2 || order.InputHash != digest("in") || order.Parent != digest("parent") || order.Pinned == nil ||
		order.AlgorithmVersion != "1" || order.CacheBytes != 10<<30 || order.GraceSeconds != 90 || order.Spec.Model.URI != "s3://models/$(HOME)/m.tflite" {
		t.Errorf("order %+v", order)
	}
	if order.Spec.Template.Annotations != nil {
		t.Error("the order has the template")
	}
	if data, _ := json.Marshal(container.Env[0]); strings.Contains(string(data), "$(") {
		t.Error("Kubernetes would expand what looks like a variable in the order")
	}
}

func TestOrderTooLargeForAnEnvironmentVariableIsRefused(t *testing.T) {
	p := chainPipeline("ns", "p", func(p *v1alpha1.OptimizationPipeline) {
		for i := range p.Spec.Stages {
			for range 4096 {
				p.Spec.Stages[i].Training.ClassWeights = append(p.Spec.Stages[i].Training.ClassWeights, "0.123456789")
			}
		}
	})
	_, err := attempt{pipeline: p, stage: &walk.Stage{Name: "prune"}}.job()
	if err == nil || !strings.Contains(err.Error(), "classWeights") {
		t.Errorf("error %v", err)
	}
}

// An order that fits while stages run, and not with their status: that is said before the first.
func TestASpecThatCouldNotBePublishedIsRefusedAtOnce(t *testing.T) {
	for weights, refused := range map[int]bool{10: false, 4096: false, 8000: true} {
		p := chainPipeline("ns", "p", func(p *v1alpha1.OptimizationPipeline) {
			for range weights {
				p.Spec.Training.ClassWeights = append(p.Spec.Training.ClassWeights, "0.123456789")
			}
		})
		if _, err := (attempt{pipeline: p, stage: &walk.Stage{Name: "prune"}}).job(); err != nil {
			t.Fatal(err)
		}
		if err := checkOrder(p); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "shorten classWeights or rules") {
			t.Errorf("%d weights: %v", weights, err)
		}
	}
	p := chainPipeline("ns", "p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Training.ClassWeights = slices.Repeat([]v1alpha1.Decimal{v1alpha1.Decimal("0." + strings.Repeat("1", 24))}, 4096)
	})
	p.Generation = 1
	if said := refusal(p, "", walk.Fact{}); !strings.Contains(said, "with the status of 5 stages") {
		t.Errorf("refused: %q", said)
	}
}

func TestJobName(t *testing.T) {
	pipeline := func(name, uid string) *v1alpha1.OptimizationPipeline {
		p := chainPipeline("ns", name)
		p.UID = types.UID(uid)
		return p
	}
	long := strings.Repeat("a", 22) + "-" + strings.Repeat("b", 40)
	names := map[string]string{
		"plain":                jobName(pipeline("kws", "1"), "prune", "h", 1),
		"another pipeline":     jobName(pipeline("kws", "2"), "prune", "h", 1),
		"another attempt":      jobName(pipeline("kws", "1"), "prune", "h", 2),
		"another input":        jobName(pipeline("kws", "1"), "prune", "i", 1),
		"another stage":        jobName(pipeline("kws", "1"), "prune-2", "h", 1),
		"a long name":          jobName(pipeline(long, "1"), "prune", "h", 1),
		"a long stage":         jobName(pipeline(long, "1"), strings.Repeat("s", 40), "h", 1),
		"a cut after a hyphen": jobName(pipeline(long, "1"), strings.Repeat("s", 29), "h", 1),
	}
	distinct := map[string]bool{}
	for what, name := range names {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 || strings.Contains(name, "--") {
			t.Errorf("%s: %q: %v", what, name, problems)
		}
		distinct[name] = true
	}
	if len(distinct) != len(names) {
		t.Errorf("some names are the same: %v", names)
	}
	if !strings.HasPrefix(names["plain"], "kws-prune-") {
		t.Errorf("%q does not read well", names["plain"])
	}
}

func TestSpecsThatNoClusterCanRunAreRefused(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		want   string
	}{
		"all is well":                      {func(*v1alpha1.OptimizationPipelineSpec) {}, ""},
		"nowhere to put artifacts":         {func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts = nil }, "spec.artifacts is missing"},
		"artifacts in a folder of the pod": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts.URI = "file:///out" }, "spec.artifacts.uri"},
		"a model beside the manifest":      {func(s *v1alpha1.OptimizationPipelineSpec) { s.Model.URI = "m.tflite" }, "spec.model.uri"},
		"a dataset beside the manifest":    {func(s *v1alpha1.OptimizationPipelineSpec) { s.Dataset.URI = "d.npz" }, "spec.dataset.uri"},
		"a search":                         {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages, s.Search = nil, &v1alpha1.Search{} }, ""},
		"a measurement without an image": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Measurements = []v1alpha1.Measurement{{Name: "n", Command: []string{"x"}}}
		}, "spec.measurements[0] n has no image"},
		"a model that the image itself has": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Model.URI = "file:///m.tflite" }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := chainPipeline("ns", "p")
			tt.change(&p.Spec)
			err := checkSpec(&p.Spec)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
