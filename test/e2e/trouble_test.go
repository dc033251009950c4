package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
)

// soon is how long a trouble may last before the pipeline says what it is. A secret that is missing takes longest: the kubelet tells of it
// by an event alone, and those are read when a pod has been waiting for a while.
const soon = 30 * time.Second

// TestWhatCannotGoOnIsNamedWithinSeconds has real kubelets, a real scheduler and a real store refuse what they refuse.
func TestWhatCannotGoOnIsNamedWithinSeconds(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		reason string
		say    string // the remedy
		final  bool
		takes  time.Duration // until it happens
	}{
		"no node of that architecture": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Template.NodeSelector = &map[string]string{corev1.LabelArchStable: "riscv64"}
			},
			reason: "Unschedulable", say: "spec.template.nodeSelector",
		},
		"no such claim": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://nowhere/store"}}
			},
			reason: "Unschedulable", say: "create the claim",
		},
		"an image that is not there": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.Image = "localhost/none:1" },
			reason: "ImagePullBackOff", say: "spec.template.image",
		},
		"a registry that is not there": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Template.Image, s.Template.ImagePullPolicy = "localhost:1/none:1", corev1.PullIfNotPresent
			},
			reason: "ImagePullBackOff", say: "connection refused",
		},
		"no such service account": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.ServiceAccountName = "nobody" },
			reason: "ServiceAccountMissing", say: "spec.template.serviceAccountName",
		},
		"too little memory": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Template.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
				s.Template.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
			},
			reason: "OOMKilled", say: "spec.template.resources.limits.memory", final: true,
			takes: 3 * time.Minute, // the kernel frees what it can before it kills
		},
		"too little time": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) {
				s.RunPolicy.ActiveDeadlineSeconds = ptr.To[int64](1)
				slow := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")} // else the baseline may be in time
				s.Template.Resources.Requests, s.Template.Resources.Limits = slow, slow
			},
			reason: "DeadlineExceeded", say: "activeDeadlineSeconds", final: true,
			takes: 2 * time.Minute, // a container that is told to stop before it listens is killed after its grace period
		},
		"a wrong key": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts.CredentialsSecretRef.Name = "wrong" },
			reason: "AccessDenied", say: "check the credentials", final: true,
		},
		"no such bucket": {
			change: func(s *v1alpha1.OptimizationPipelineSpec) { s.Model.URI = "s3://nowhere/glyphs.tflite" },
			reason: "NotFound", say: "spec.model.uri", final: true,
		},
	}
	ns := namespaceWithInputs(t, "trouble")
	wrong := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "wrong"}, StringData: map[string]string{"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": "wrong"}}
	if err := kube.Create(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { // one after another: the node is emulated, and slow
			p := named(t, ns, strings.ReplaceAll(name, " ", "-"), func(s *v1alpha1.OptimizationPipelineSpec) {
				s.RunPolicy.Retries = ptr.To[int32](0)
				tt.change(s)
			})
			took, c := says(t, p, tt.reason, tt.takes+soon)
			t.Logf("%s after %s: %s", c.Reason, took.Round(time.Second), c.Message)
			if !strings.Contains(c.Message, tt.say) {
				t.Errorf("it does not say %q: %s", tt.say, c.Message)
			}
			if got := meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled); got != tt.final {
				t.Errorf("stalled: %v, want %v", got, tt.final)
			}
			if err := kube.Delete(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASecretThatIsMissingIsNamedAndWaitedFor(t *testing.T) {
	ns := namespaceWithInputs(t, "secret")
	p := named(t, ns, "waits", func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Artifacts.CredentialsSecretRef.Name, s.Artifacts.URI = "later", "s3://compressed/secret"
		s.Stages, s.Constraints = s.Stages[:1], nil
	})
	took, c := says(t, p, "FailedMount", soon)
	t.Logf("%s after %s: %s", c.Reason, took.Round(time.Second), c.Message)
	if !strings.Contains(c.Message, `secret "later" not found`) {
		t.Errorf("it does not say which secret: %s", c.Message)
	}
	later := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "later"}, StringData: map[string]string{"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey}}
	if err := kube.Create(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	await(t, p, "it is ready", func(p *v1alpha1.OptimizationPipeline) bool {
		return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	if s := stageOf(p, "baseline"); s.Attempt != 1 {
		t.Errorf("waiting cost an attempt: %+v", s)
	}
}

// TestAStageOutlastsASilentKubelet stops a kubelet for as long as it takes Kubernetes to give the node up, then lets it go on.
func TestAStageOutlastsASilentKubelet(t *testing.T) {
	p := pipeline(t, namespaceWithInputs(t, "silent"), func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Artifacts.URI = "s3://compressed/silent"
		s.Stages, s.Constraints = s.Stages[:1], nil
	})
	stage := p.Spec.Stages[0].Name
	await(t, p, stage+" runs", func(p *v1alpha1.OptimizationPipeline) bool {
		list := pods(t, p, stage)
		return len(list) == 1 && list[0].Status.Phase == corev1.PodRunning
	})
	signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { signal(t, syscall.SIGCONT) })
	took, c := says(t, p, "NodeNotReady", 2*time.Minute) // a node has 50 s by default
	t.Logf("%s after %s: %s", c.Reason, took.Round(time.Second), c.Message)
	if !strings.Contains(c.Message, "node "+edgeNode+" does not answer") {
		t.Errorf("it does not say which node: %s", c.Message)
	}
	signal(t, syscall.SIGCONT)
	await(t, p, "it is ready", func(p *v1alpha1.OptimizationPipeline) bool {
		return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	localRun(t)
	got := stageOf(p, stage)
	for _, want := range local.result.Status.Stages {
		if want.Name == stage && (got.Attempt != 1 || got.Leaf.Digest != want.Leaf.Digest) {
			t.Errorf("attempt %d made %s, espalier run %s", got.Attempt, got.Leaf.Digest, want.Leaf.Digest)
		}
	}
}

// signal sends a signal to the kubelet of the node that runs stages.
func signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(string(read(t, filepath.Join(folder, "nodes", edgeNode, "kubelet.pid"))), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// says waits for Ready to have a reason, and returns how long that took.
func says(t *testing.T, p *v1alpha1.OptimizationPipeline, reason string, within time.Duration) (time.Duration, *metav1.Condition) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if c != nil && c.Reason == reason {
			return time.Since(start), c
		}
		if time.Since(start) > within {
			t.Fatalf("after %s it says %+v", within, c)
		}
	}
}
