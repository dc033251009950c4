package controllers

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

func TestAnImageIsPinnedByWhatItsRegistryHasAlone(t *testing.T) {
	sum := "sha256:" + strings.Repeat("0a", 32)
	for _, tt := range []struct{ image, id, want string }{
		{"registry.example.com:5000/team/espalier:v1", "registry.example.com:5000/team/espalier@" + sum, "registry.example.com:5000/team/espalier@" + sum},
		{"registry.example.com:5000/espalier", "registry.example.com:5000/espalier@" + sum, "registry.example.com:5000/espalier@" + sum},
		{"espalier:latest", "docker.io/library/espalier@" + sum, "espalier@" + sum},
		{"espalier:latest", "docker-pullable://espalier@" + sum, "espalier@" + sum},
		{"espalier:latest", sum, ""}, // put on the node by hand
		{"espalier:latest", "docker.io/library/import-2026-11-27@" + sum, ""},
		{"registry.example.com/espalier:v1", "mirror.example.com/espalier@" + sum, ""},
	} {
		got, err := pinned(tt.image, tt.id)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s as %s: %q, %v, want %q", tt.image, tt.id, got, err, tt.want)
		}
	}
}

// managerPod makes a pod such as the manager's own, with an image.
func (w *world) managerPod(image string) *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "manager"}}
	pod.Spec = podSpec(v1alpha1.PodTemplate{}, mounts{}, corev1.Container{Name: "manager", Image: image, SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}})
	w.eventually("a pod of the manager", func() bool { return w.client.Create(w.t.Context(), pod) == nil })
	return pod
}

// runsAs has a pod's kubelet say what its image is.
func (w *world) runsAs(pod *corev1.Pod, imageID string) {
	w.setStatus(w.t.Context(), pod, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Image: pod.Spec.Containers[0].Image, ImageID: imageID,
	}}})
}

func TestTheManagerWaitsForItsKubeletToSayWhatItsImageIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const image = "registry.example.com/espalier:v1"
	pod, sum := w.managerPod(image), "sha256:"+strings.Repeat("0a", 32)
	key := client.ObjectKeyFromObject(pod)
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := PinImage(soon, w.client, key, image); err == nil || !strings.Contains(err.Error(), "does not say yet which image it runs") {
		t.Errorf("before its kubelet says so: %v", err)
	}
	time.AfterFunc(500*time.Millisecond, func() { w.runsAs(pod, "registry.example.com/espalier@"+sum) })
	if got, err := PinImage(t.Context(), w.client, key, image); err != nil || got != "registry.example.com/espalier@"+sum {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := PinImage(t.Context(), w.client, key, "another:v1"); err == nil || !strings.Contains(err.Error(), "no container of pod manager has the image another:v1") {
		t.Errorf("of another image: %v", err)
	}
}

func TestJobsRunTheImageByItsDigest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pinned := "espalier@sha256:" + strings.Repeat("0a", 32)
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Pinned = pinned })
	w.pipeline("plain")
	w.pipeline("named", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Template.Image = "espalier:test" })
	for _, name := range []string{"plain", "named"} {
		w.settled(name, walk.ReasonAllStagesRun)
		for _, job := range w.jobs(name, "") {
			if got := job.Spec.Template.Spec.Containers[0].Image; got != pinned {
				t.Errorf("%s runs %s", job.Name, got)
			}
		}
	}
}

func TestAnUpgradeLetsJobsEndWithTheImageTheyBeganWith(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bytes   string // of the leaf that was under way
		reason  string
		version string
		runs    int // of every stage
	}{
		"it was all that was missing": {"400", walk.ReasonConstraintsMet, "1", 1},
		"it does not decide the walk": {"600", walk.ReasonNotMet, "2", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			holds := true
			w.hold("cluster", &holds)
			w.metrics["cluster"] = tt.bytes
			of := func(version string) tweak {
				return func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Version, o.Image = version, "espalier:"+version }
			}
			first := w.run(of("1"))
			w.pipeline("p", bytes("500"))
			running := func(p *v1alpha1.OptimizationPipeline) bool {
				return stageStatus(&p.Status, "cluster").State == v1alpha1.StageRunning
			}
			w.until("p", "running cluster", running)
			first.stop()
			w.mu.Lock()
			holds = false
			w.mu.Unlock()
			w.run(of("2"))
			p := w.until("p", "seen by the new operator", func(p *v1alpha1.OptimizationPipeline) bool {
				return strings.Contains(stageStatus(&p.Status, "pcqat").Message, "waits for what an earlier version of the operator began")
			})
			if !running(p) || p.Status.AlgorithmVersion != "1" {
				t.Errorf("version %s%s", p.Status.AlgorithmVersion, describe(p))
			}
			began := w.jobs("p", "")
			w.release("cluster")
			p = w.settled("p", tt.reason)
			if got := w.ran(); p.Status.AlgorithmVersion != tt.version || got["prune"] != tt.runs || got["cluster"] != tt.runs || got["publish"] != 1 {
				t.Errorf("version %s, runs %v%s", p.Status.AlgorithmVersion, got, describe(p))
			}
			for _, job := range w.jobs("p", "") {
				want := "espalier:2"
				if slices.ContainsFunc(began, func(b batchv1.Job) bool { return b.UID == job.UID }) {
					want = "espalier:1"
				}
				if got := job.Spec.Template.Spec.Containers[0].Image; got != want {
					t.Errorf("%s runs %s, want %s", job.Name, got, want)
				}
			}
		})
	}
}

func TestAnImageOfAnotherVersionIsNotTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fails := 3
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		if o.Stage != "prune" || fails == 0 {
			return act{}
		}
		fails--
		return otherVersion(t, o)
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = new(int32) })
	p := w.waits("p", stage.ReasonVersion)
	if got := stageStatus(&p.Status, "prune"); got.State != v1alpha1.StagePending || !strings.Contains(got.Message, "take template.image out or move it along, or name the operator's by digest") {
		t.Errorf("prune is %s: %s", got.State, got.Message)
	}
	p = w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, "prune").Attempt; got != 4 {
		t.Errorf("prune's attempt is %d", got)
	}
}

// otherVersion is the end of a stage whose image is of another version.
func otherVersion(t *testing.T, o *stage.Order) act {
	data, err := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: stage.ReasonVersion, Message: "of another version"}).Marshal()
	if err != nil {
		t.Error(err)
	}
	return act{exit: 2, message: string(data)}
}

func TestAnImageOfAnotherVersionLeavesTheRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var attempts atomic.Int32
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage != "prune" {
			return act{}
		}
		switch attempts.Add(1) {
		case 1, 2:
			return otherVersion(t, o)
		case 3:
			return act{exit: 1}
		}
		return act{}
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = ptr.To[int32](1) })
	w.settled("p", walk.ReasonAllStagesRun)
}

// slowClock is a clock of a manager that other clocks are ahead of.
type slowClock struct{ clock.PassiveClock }

func (c slowClock) Now() time.Time { return c.PassiveClock.Now().Add(-3 * time.Minute) }

func TestAClockAheadDoesNotTakeThePause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage != "prune" {
			return act{}
		}
		return otherVersion(t, o)
	}
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Clock = slowClock{clock.RealClock{}} })
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](4) })
	tried := func(n int32) time.Time {
		w.until("p", "tried", func(p *v1alpha1.OptimizationPipeline) bool {
			last := stageStatus(&p.Status, "prune").LastFailure
			return last != nil && last.Attempt == n
		})
		return time.Now()
	}
	first := tried(1)
	if took := tried(2).Sub(first); took < 2*time.Second || took > 20*time.Second {
		t.Errorf("with backoffSeconds 4 the next attempt failed after %s", took)
	}
}

func TestFailedAttemptsWithoutEndKeepTheLastJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage != "prune" {
			return act{}
		}
		return otherVersion(t, o)
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.TTLSecondsAfterFinished = new(int32) })
	w.until("p", "tried", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").Attempt > keptAttempts
	})
	w.eventually("the first attempt's Job to go", func() bool {
		kept := w.jobs("p", "prune")
		return len(kept) > 0 && !slices.ContainsFunc(kept, func(j batchv1.Job) bool { return j.Labels[AttemptLabel] == "1" })
	})
	if kept := len(w.jobs("p", "prune")); kept < keptAttempts {
		t.Errorf("%d Jobs are kept", kept)
	}
}
