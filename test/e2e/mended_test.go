package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
)

// The tests of this file run beside each other, when all others are over, and nothing of theirs is emulated. The operator is upgraded before
// them: it walks the pipelines of the first of these namespaces, and another operator, which has three places, those of the others.
var (
	roomy = []string{"alone", "digest", "evicted-twice", "gateway", "helped", "janitor", "late", "made-again", "measured", "node-lost", "removed", "searched", "unmeasured", "vela"}
	crowd = []string{"crowd-image", "crowd-next", "crowd-quota", "crowd-secret"}
)

const cloudNode = "cloud"

// mended has a test run beside the others of this file, in namespaces of its own. It returns the operator's image by its digest.
func mended(t *testing.T, namespaces ...string) string {
	t.Helper()
	t.Parallel()
	for _, name := range namespaces {
		if !slices.Contains(slices.Concat(roomy, crowd), name) {
			t.Fatalf("no operator has the namespace %s", name)
		}
		namespaceWithInputs(t, name)
	}
	image, err := upgraded()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// upgraded has the operator run an image of a registry, and returns it by its digest. Its name stands for another image afterwards.
var upgraded = sync.OnceValues(func() (image string, err error) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)))) // of this machine alone: containerd asks for no TLS
	host := strings.TrimPrefix(server.URL, "http://")
	name := host + "/espalier:v2"
	if image, err = push(name, "upgrade", binary("amd64"), binary("arm64")); err != nil {
		return "", err
	}
	args, err := json.Marshal([]string{"manager", "--leader-elect", "--allowed-images=" + host + "/late:1," + host + "/weigh@*," + host + "/vela@*", "--namespace=" + strings.Join(roomy, ",")})
	if err != nil {
		return "", err
	}
	container := fmt.Sprintf(`{"name":"manager","image":%q,"imagePullPolicy":"IfNotPresent","args":%s,"env":[{"name":"ESPALIER_IMAGE","value":%[1]q}]}`, name, args)
	for _, command := range [][]string{
		{"patch", "deployment/espalier-controller-manager", "--patch", `{"spec":{"template":{"spec":{"containers":[` + container + `]}}}}`},
		{"rollout", "status", "deployment/espalier-controller-manager", "--timeout=180s"},
	} {
		if out, err := kubectl(context.Background(), append([]string{"-n", "espalier-system"}, command...)...); err != nil {
			return "", fmt.Errorf("kubectl %s: %w\n%s", command[0], err, out)
		}
	}
	if err := alone(); err != nil {
		return "", err
	}
	other, err := push(name, "other", filepath.Join(folder, "nodes", cloudNode, "pause"))
	if err == nil && other == image {
		err = fmt.Errorf("%s is still %s", name, image)
	}
	return image, err
})

// alone waits for the operator before the upgrade to be gone: a rollout counts no pod that is ending, though it may still decide.
func alone() error {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if out, err := kubectl(context.Background(), "-n", "espalier-system", "get", "pods", "-o", "name"); err == nil && strings.Count(out, "pod/") == 1 {
			return nil
		}
	}
	return errors.New("the operator before the upgrade is still there")
}

// push makes an image of programs and gives it a name in a registry. It returns it by its digest.
func push(name, layout string, programs ...string) (string, error) {
	layout = filepath.Join(folder, layout)
	pack := exec.Command("go", append([]string{"run", "./hack/image", "-o", layout + ".tar", "-layout", layout, "-ref", name}, programs...)...)
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pack an image: %w\n%s", err, out)
	}
	return tag(name, layout)
}

// tag gives an image that was made a name in a registry. It returns it by its digest.
func tag(name, layout string) (string, error) {
	out, err := exec.Command(filepath.Join(root, "bin", "crane"), "push", layout, name).Output()
	if err != nil {
		return "", fmt.Errorf("push an image: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// plain is a pipeline of one short stage with a store of its own, changed.
func plain(t *testing.T, namespace string, change func(*v1alpha1.OptimizationPipelineSpec)) *v1alpha1.OptimizationPipeline {
	t.Helper()
	return pipeline(t, namespace, func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Artifacts.URI = "s3://compressed/" + namespace
		s.Stages, s.Constraints = s.Stages[:1], nil
		s.Template.ImagePullPolicy, s.Template.NodeSelector = "", &map[string]string{corev1.LabelHostname: cloudNode}
		s.Template.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
		if change != nil {
			change(s)
		}
	})
}

// slow has the stage train for a minute or more on the fifth of a processor.
func slow(s *v1alpha1.OptimizationPipelineSpec, epochs int32) {
	s.Stages[0].Training.Epochs = &epochs
	s.Template.Resources.Limits[corev1.ResourceCPU] = resource.MustParse("200m")
}

// edit changes a pipeline that is there.
func edit(t *testing.T, p *v1alpha1.OptimizationPipeline, change func(*v1alpha1.OptimizationPipelineSpec)) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		change(&p.Spec)
		return kube.Update(t.Context(), p)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ready waits for a pipeline's answer to its spec as it is now, and logs how long that took.
func ready(t *testing.T, p *v1alpha1.OptimizationPipeline) {
	t.Helper()
	start, generation := time.Now(), p.Generation
	await(t, p, "it is ready", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == generation && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	t.Logf("%s/%s is ready after %s", p.Namespace, p.Name, time.Since(start).Round(time.Second))
}

// unharmed checks that a stage came to its end as an attempt, without a failure.
func unharmed(t *testing.T, p *v1alpha1.OptimizationPipeline, name string, attempt int32) {
	t.Helper()
	if s := stageOf(p, name); s.State != v1alpha1.StageCompleted || s.Attempt != attempt || s.Failures != 0 || s.LastFailure != nil {
		t.Errorf("%s of %s is %s as attempt %d, %d failures, the last %+v; want attempt %d and none", name, p.Namespace, s.State, s.Attempt, s.Failures, s.LastFailure, attempt)
	}
}

// jobs of a pipeline's stage; of all its stages with "".
func jobs(t *testing.T, p *v1alpha1.OptimizationPipeline, stage string) []batchv1.Job {
	t.Helper()
	var list batchv1.JobList
	children(t, &list, p, stage)
	return list.Items
}

// eventually waits for something.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s it is in vain to wait for %s", within, what)
		}
	}
}

// logs reports whether a pod's log says something.
func logs(t *testing.T, pod *corev1.Pod, message string) bool {
	t.Helper()
	out, _ := kubectl(t.Context(), "-n", pod.Namespace, "logs", pod.Name) // it may not run yet
	return strings.Contains(out, `"msg":"`+message+`"`)
}

// ctr has a node's containerd do something.
func ctr(t *testing.T, node string, args ...string) {
	t.Helper()
	bin, err := controlplane.Bin()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-a", filepath.Join(folder, "nodes", node, "containerd.sock"), "-n", "k8s.io"}, args...)
	if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "ctr"), args...).CombinedOutput(); err != nil {
		t.Errorf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// stored is a file of the bucket server.
func stored(uri string) string { return filepath.Join(folder, "s3", strings.TrimPrefix(uri, "s3://")) }

// TestWhatCannotStartStopsNobodyElse has as many pipelines that cannot start as there are places.
func TestWhatCannotStartStopsNobodyElse(t *testing.T) {
	image := mended(t, crowd...)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "crowd-quota", Name: "none"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")},
	}}
	if err := kube.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quota", time.Minute, func() bool {
		return kube.Get(t.Context(), client.ObjectKeyFromObject(quota), quota) == nil && len(quota.Status.Hard) > 0
	})
	operator(t, "--image="+image, "--allowed-images=localhost/none:1", "--max-in-flight=3", "--namespace="+strings.Join(crowd, ","))

	tests := []struct {
		namespace   string
		change      func(*v1alpha1.OptimizationPipelineSpec)
		reason, say string
		mend        func(*v1alpha1.OptimizationPipeline)
	}{
		{
			namespace: "crowd-image", reason: "ImagePullBackOff", say: "image localhost/none:1 cannot be had",
			change: func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Template.Image, s.Template.ImagePullPolicy = "localhost/none:1", corev1.PullNever
			},
			mend: func(p *v1alpha1.OptimizationPipeline) {
				edit(t, p, func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.Image, s.Template.ImagePullPolicy = "", "" })
			},
		},
		{
			namespace: "crowd-quota", reason: "QuotaExceeded", say: "exceeded quota: none",
			mend: func(*v1alpha1.OptimizationPipeline) {
				if err := kube.Delete(t.Context(), quota); err != nil {
					t.Error(err)
				}
			},
		},
		{
			namespace: "crowd-secret", reason: "FailedMount", say: `secret "later" not found`,
			change: func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts.CredentialsSecretRef.Name = "later" },
			mend: func(*v1alpha1.OptimizationPipeline) {
				later := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "crowd-secret", Name: "later"}, StringData: map[string]string{"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey}}
				if err := kube.Create(t.Context(), later); err != nil {
					t.Error(err)
				}
			},
		},
	}
	stuck := make([]*v1alpha1.OptimizationPipeline, len(tests))
	for i, tt := range tests {
		stuck[i] = plain(t, tt.namespace, tt.change)
		eventually(t, "a Job in "+tt.namespace, time.Minute, func() bool { return len(jobs(t, stuck[i], "")) == 1 })
	}
	next := plain(t, "crowd-next", nil)
	if _, c := says(t, next, "InFlightLimit", soon); !strings.Contains(c.Message, "3 Jobs are in flight") {
		t.Errorf("it waits for another reason: %s", c.Message)
	}
	cause := func() {
		t.Helper()
		for i, tt := range tests {
			if took, c := says(t, stuck[i], tt.reason, soon); !strings.Contains(c.Message, tt.say) {
				t.Errorf("%s: it does not say %q: %s", tt.namespace, tt.say, c.Message)
			} else {
				t.Logf("%s after %s more: %s", c.Reason, took.Round(time.Second), c.Message)
			}
		}
	}
	cause()
	ready(t, next)
	cause()
	for i, tt := range tests {
		tt.mend(stuck[i])
	}
	start := time.Now()
	for i, tt := range tests { // what an edit mends goes on at once, the others when their turn comes
		ready(t, stuck[i])
		t.Logf("%s goes on, and is ready %s after it was mended", tt.namespace, time.Since(start).Round(time.Second))
		if s := stageOf(stuck[i], walk.Baseline); s.Failures != 0 {
			t.Errorf("%s: %d failures, the last %+v", stuck[i].Namespace, s.Failures, s.LastFailure)
		}
	}
}

// operator runs another operator on this machine until the test is over.
func operator(t *testing.T, args ...string) {
	t.Helper()
	var said bytes.Buffer
	args = append([]string{"manager", "--kubeconfig", filepath.Join(folder, "kubeconfig"), "--metrics-bind-address=0", "--health-probe-bind-address=0"}, args...)
	command := exec.CommandContext(t.Context(), binary(runtime.GOARCH), args...)
	command.Stderr, command.Cancel = &said, func() error { return command.Process.Signal(syscall.SIGTERM) }
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := command.Wait(); t.Failed() {
			t.Logf("the operator of the crowd: %v\n%s", err, &said)
		}
	})
}

func TestAPodThatDoesNotStartInTimeIsReplaced(t *testing.T) {
	host, _, _ := strings.Cut(mended(t, "late"), "/")
	image := host + "/late:1" // nobody has pushed it
	p := plain(t, "late", func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Template.Image = image
		s.RunPolicy.StartDeadlineSeconds, s.RunPolicy.Retries = ptr.To[int64](10), ptr.To[int32](0)
	})
	start := time.Now()
	await(t, p, "its first attempt is given up", func(p *v1alpha1.OptimizationPipeline) bool {
		said := stageOf(p, walk.Baseline).Message
		return strings.Contains(said, "attempt 1 did not start within startDeadlineSeconds, 10") && strings.Contains(said, "image "+image+" cannot be had")
	})
	t.Logf("after %s: %s", time.Since(start).Round(time.Second), stageOf(p, walk.Baseline).Message)
	if _, err := tag(image, filepath.Join(folder, "upgrade")); err != nil {
		t.Fatal(err)
	}
	ready(t, p)
	unharmed(t, p, walk.Baseline, 2)
}

// edge is the node that one test at a time has for itself.
var edge sync.Mutex

// TestAStageGoesOnElsewhereWhenItsNodeIsLost takes the power from a node, as far as Kubernetes can tell.
func TestAStageGoesOnElsewhereWhenItsNodeIsLost(t *testing.T) {
	mended(t, "node-lost")
	edge.Lock()
	defer edge.Unlock()
	p := plain(t, "node-lost", func(s *v1alpha1.OptimizationPipelineSpec) {
		slow(s, 200)
		s.RunPolicy.NodeLostSeconds, s.RunPolicy.Retries = ptr.To[int64](10), ptr.To[int32](0)
		here := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{edgeNode}}}}
		s.Template.NodeSelector = &map[string]string{}
		s.Template.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 100, Preference: here}},
		}}
	})
	name := p.Spec.Stages[0].Name
	await(t, p, "its training is saved", func(*v1alpha1.OptimizationPipeline) bool {
		saved, _ := filepath.Glob(stored("s3://compressed/node-lost/checkpoints/node-lost/*"))
		return len(saved) > 0
	})
	lost := pods(t, p, name)
	if len(lost) != 1 || lost[0].Spec.NodeName != edgeNode || len(lost[0].Status.ContainerStatuses) != 1 {
		t.Fatalf("its pods are %+v", lost)
	}
	signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { signal(t, syscall.SIGCONT) })
	ctr(t, edgeNode, "tasks", "kill", "--signal", "SIGKILL", strings.TrimPrefix(lost[0].Status.ContainerStatuses[0].ContainerID, "containerd://"))
	start := time.Now()
	says(t, p, "NodeNotReady", 2*time.Minute)
	t.Logf("the node is missed after %s", time.Since(start).Round(time.Second))
	var heir corev1.Pod
	await(t, p, "another attempt resumes", func(p *v1alpha1.OptimizationPipeline) bool {
		for _, pod := range pods(t, p, name) {
			if pod.UID != lost[0].UID {
				heir = pod
				return logs(t, &heir, "resumed")
			}
		}
		return false
	})
	t.Logf("another attempt resumes after %s, on %s", time.Since(start).Round(time.Second), heir.Spec.NodeName)
	if heir.Spec.NodeName != cloudNode {
		t.Errorf("it runs on %s", heir.Spec.NodeName)
	}
	ready(t, p)
	unharmed(t, p, name, 2)
	events, err := kubectl(t.Context(), "-n", p.Namespace, "get", "events", "--field-selector", "reason=NodeLost")
	if err != nil || !strings.Contains(events, "its node "+edgeNode+" has not answered for nodeLostSeconds, 10") {
		t.Errorf("no event says which node is lost: %v\n%s", err, events)
	}
	signal(t, syscall.SIGCONT)
	eventually(t, "the Job that is left to go once the node is back", 2*time.Minute, func() bool { return len(jobs(t, p, name)) == 1 })
}

func TestEvictionsAreNoFailures(t *testing.T) {
	mended(t, "evicted-twice")
	p := plain(t, "evicted-twice", func(s *v1alpha1.OptimizationPipelineSpec) {
		slow(s, 80)
		s.RunPolicy.Retries = ptr.To[int32](0)
	})
	name := p.Spec.Stages[0].Name
	gone := map[string]bool{}
	newest := func(p *v1alpha1.OptimizationPipeline) *corev1.Pod {
		for _, pod := range pods(t, p, name) {
			if !gone[string(pod.UID)] {
				return &pod
			}
		}
		return nil
	}
	for range 2 {
		var victim *corev1.Pod
		await(t, p, "a pod trains", func(p *v1alpha1.OptimizationPipeline) bool {
			victim = newest(p)
			return victim != nil && logs(t, victim, "training")
		})
		gone[string(victim.UID)] = true
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: victim.Name}}
		if err := kube.SubResource("eviction").Create(t.Context(), victim, eviction); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		await(t, p, "another pod resumes", func(p *v1alpha1.OptimizationPipeline) bool {
			heir := newest(p)
			return heir != nil && logs(t, heir, "resumed")
		})
		t.Logf("another pod resumes after %s", time.Since(start).Round(time.Second))
	}
	ready(t, p)
	unharmed(t, p, name, 1)
}

func TestWhatWasRemovedFromTheStoreIsMadeAgain(t *testing.T) {
	mended(t, "removed")
	most := func(bytes v1alpha1.Decimal) []v1alpha1.Constraint {
		return []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: &bytes}}
	}
	p := plain(t, "removed", func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Stages[0].Prune.Sparsity, s.Constraints = "0.6", most("30000")
	})
	ready(t, p)
	before := *p.Status.Published
	for _, kind := range []string{"blobs", "stages", "checkpoints"} { // as docs/artifacts.md has it
		if err := os.RemoveAll(stored(p.Spec.Artifacts.URI + "/" + kind)); err != nil {
			t.Fatal(err)
		}
	}
	if got := artifact.Digest(read(t, stored(before.URI))); got != before.Digest {
		t.Errorf("what is published went with it: %s", got)
	}
	edit(t, p, func(s *v1alpha1.OptimizationPipelineSpec) { s.Constraints = most("30001") })
	ready(t, p)
	got := p.Status.Published
	if got == nil || got.Generation != p.Generation || got.Stage != p.Spec.Stages[0].Name || got.Digest != before.Digest {
		t.Fatalf("published %+v, before that %+v", got, before)
	}
	for _, file := range []string{got.URI, p.Spec.Artifacts.URI + "/" + artifact.BlobName(got.Digest)} {
		if digest := artifact.Digest(read(t, stored(file))); digest != got.Digest {
			t.Errorf("%s is %s", file, digest)
		}
	}
	for _, name := range []string{walk.Baseline, got.Stage} {
		if n := len(jobs(t, p, name)); n != 2 {
			t.Errorf("%s has %d Jobs, want one and one that made it again", name, n)
		}
	}
}

func TestDeletingFailedJobsBuysNoAttempts(t *testing.T) {
	mended(t, "janitor")
	p := plain(t, "janitor", func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Artifacts.S3.Endpoint = "http://10.89.0.1:1" // nobody listens there
		s.RunPolicy.Retries, s.RunPolicy.BackoffSeconds = ptr.To[int32](2), ptr.To[int32](1)
	})
	start := time.Now()
	seen := map[string]bool{}
	clean := func() {
		t.Helper()
		for _, job := range jobs(t, p, "") {
			seen[job.Name] = true
			failed := slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
				return c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue
			})
			if failed && job.DeletionTimestamp == nil {
				if err := kube.Delete(t.Context(), &job, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
					t.Fatal(err)
				}
			}
		}
	}
	eventually(t, "the last attempt", 4*time.Minute, func() bool {
		clean()
		return kube.Get(t.Context(), client.ObjectKeyFromObject(p), p) == nil && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled)
	})
	s := stageOf(p, walk.Baseline)
	t.Logf("%d attempts in %s: %s", s.Attempt, time.Since(start).Round(time.Second), s.Message)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		clean()
	}
	if s.Attempt != 3 || s.Failures != 3 || len(seen) != 3 || len(jobs(t, p, "")) != 0 {
		t.Errorf("attempt %d, %d failures, Jobs %v; want one and two retries", s.Attempt, s.Failures, seen)
	}
}

func TestAPipelineMadeAgainHasNoLeafUntilItsOwn(t *testing.T) {
	mended(t, "made-again")
	p := plain(t, "made-again", nil)
	ready(t, p)
	before, latest := *p.Status.Published, stored(p.Spec.Artifacts.URI+"/"+stage.Home(p.Namespace, p.Name)+"/"+stage.SelectedFile)
	if got := artifact.Digest(read(t, latest)); got != before.Digest {
		t.Errorf("%s is %s, published was %s", latest, got, before.Digest)
	}
	if err := kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pipeline and its Jobs to go", 2*time.Minute, func() bool {
		return apierrors.IsNotFound(kube.Get(t.Context(), client.ObjectKeyFromObject(p), p)) && len(jobs(t, p, "")) == 0
	})
	p = plain(t, "made-again", func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Prune.Sparsity = "0.8" })
	start := time.Now()
	await(t, p, "it says what an earlier pipeline left", func(p *v1alpha1.OptimizationPipeline) bool {
		if p.Status.Published != nil {
			t.Errorf("published %+v", p.Status.Published)
		}
		return condition(p, v1alpha1.ConditionPublished) == "False EarlierPipeline"
	})
	t.Logf("after %s: %s", time.Since(start).Round(time.Second), meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionPublished).Message)
	if _, err := os.Stat(latest); !os.IsNotExist(err) {
		t.Errorf("%s of the earlier pipeline: %v", latest, err)
	}
	ready(t, p)
	if got := p.Status.Published; got.Digest == before.Digest || artifact.Digest(read(t, latest)) != got.Digest || artifact.Digest(read(t, stored(got.URI))) != got.Digest {
		t.Errorf("published %+v, before that %+v", got, before)
	}
}

// TestEveryNodeRunsTheOperatorsImage has a node that never saw the image's name, which stands for another image by now.
func TestEveryNodeRunsTheOperatorsImage(t *testing.T) {
	image := mended(t, "digest")
	edge.Lock()
	defer edge.Unlock()
	p := plain(t, "digest", func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Template.NodeSelector = &map[string]string{corev1.LabelHostname: edgeNode}
	})
	ready(t, p)
	list := pods(t, p, "")
	if len(list) != 3 { // baseline, the stage, publish
		t.Errorf("%d pods", len(list))
	}
	for _, pod := range list {
		if got := pod.Status.ContainerStatuses[0].ImageID; pod.Spec.NodeName != edgeNode || pod.Spec.Containers[0].Image != image || got != image {
			t.Errorf("pod %s on %s runs %s, which is %s; the operator is %s", pod.Name, pod.Spec.NodeName, pod.Spec.Containers[0].Image, got, image)
		}
	}
}
