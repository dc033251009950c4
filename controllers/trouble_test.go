package controllers

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	applyv1alpha1 "espalier.dev/espalier/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// waitingPod is the status of a pod whose container waits.
func waitingPod(reason, message string) *corev1.PodStatus {
	return &corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: containerName, Image: "registry/espalier:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}
}

func TestWhatKeepsAPodFromRunningIsSaidWhileItLasts(t *testing.T) {
	t.Parallel()
	unschedulable := &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
	}}}
	tests := map[string]struct {
		status      *corev1.PodStatus
		wantReason  string
		wantMessage string
	}{
		"no node takes it":             {unschedulable, "Unschedulable", "is there an arm64 node?"},
		"its image cannot be pulled":   {waitingPod("ErrImagePull", "not found"), "ImagePullBackOff", "registry/espalier:1"},
		"a secret's key is not there":  {waitingPod("CreateContainerConfigError", `couldn't find key ca.crt in Secret`), "CreateContainerConfigError", "ca.crt"},
		"its container cannot be made": {waitingPod("CreateContainerError", "no command"), "CreateContainerError", "no command"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.play = func(*stage.Order, *corev1.Pod) act { return act{status: tt.status} }
			w.run()
			w.pipeline("p")
			start := time.Now()
			p := w.waits("p", tt.wantReason)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("said after %s", took)
			}
			if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReconciling); !strings.Contains(c.Message, tt.wantMessage) {
				t.Errorf("message %q does not say %q", c.Message, tt.wantMessage)
			}
			if got := stageStatus(&p.Status, walk.Baseline).State; got != v1alpha1.StageQueued {
				t.Errorf("the stage is %s", got)
			}
			w.resolve("p")
			w.settled("p", walk.ReasonAllStagesRun)
		})
	}
}

// resolve ends the trouble of the pods there are, and that of those to come.
func (w *world) resolve(pipeline string) {
	w.t.Helper()
	w.mu.Lock()
	w.play = nil
	w.mu.Unlock()
	var pods corev1.PodList
	if err := w.client.List(w.t.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{PipelineLabel: pipeline}); err != nil {
		w.t.Fatal(err)
	}
	for i := range pods.Items {
		if pods.Items[i].Status.Phase != corev1.PodSucceeded {
			w.playPod(w.t.Context(), &pods.Items[i])
		}
	}
}

func TestASecretThatIsMissingIsNamedAndWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(_ *stage.Order, pod *corev1.Pod) act {
		w.warn(pod, "Pod", "FailedMount", `MountVolume.SetUp failed for volume "artifacts-credentials" : secret "s3" not found`)
		return act{status: waitingPod("ContainerCreating", "")}
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "s3"}
	})
	p := w.waits("p", reasonFailedMount)
	if got := stageStatus(&p.Status, walk.Baseline).Message; !strings.Contains(got, `secret "s3" not found`) {
		t.Errorf("message %q", got)
	}
	w.resolve("p") // the secret is there now: the kubelet goes on
	w.settled("p", walk.ReasonAllStagesRun)
}

// warn writes an event as Kubernetes's components do.
func (w *world) warn(about client.Object, kind, reason, message string) {
	w.t.Helper()
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "e-"},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: w.namespace, Name: about.GetName(), UID: about.GetUID()},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if err := w.client.Create(w.t.Context(), event); err != nil {
		w.t.Error(err)
	}
}

func TestAQuotaThatAdmitsNoPodIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quota := w.quota("pods")
	w.run()
	w.pipeline("p")
	start := time.Now()
	p := w.waits("p", reasonQuotaExceeded)
	t.Logf("said after %s: %s", time.Since(start).Round(100*time.Millisecond), stageStatus(&p.Status, walk.Baseline).Message)
	if err := w.client.Delete(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	w.settled("p", walk.ReasonAllStagesRun)
}

func TestAQuotaThatAdmitsNoJobIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.quota("count/jobs.batch")
	w.run()
	w.pipeline("p")
	p := w.waits("p", reasonQuotaExceeded)
	if got := stageStatus(&p.Status, walk.Baseline); got.State != v1alpha1.StageQueued || got.Attempt != 0 || got.Job != "" {
		t.Errorf("a stage without a Job is %s, attempt %d, job %q", got.State, got.Attempt, got.Job)
	}
}

// quota forbids a resource altogether, once it is in force.
func (w *world) quota(name corev1.ResourceName) *corev1.ResourceQuota {
	w.t.Helper()
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "none"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{name: resource.MustParse("0")},
	}}
	if err := w.client.Create(w.t.Context(), quota); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the quota", func() bool {
		var q corev1.ResourceQuota
		return w.client.Get(w.t.Context(), client.ObjectKeyFromObject(quota), &q) == nil && len(q.Status.Hard) > 0
	})
	return quota
}

func TestADeadlineEndsAStageForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage == "prune"} }
	w.run()
	w.pipeline("p", bytes("500"), func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[0].ActiveDeadlineSeconds = ptr.To[int64](1) })
	p := w.settled("p", walk.ReasonDeadline)
	if got := stageStatus(&p.Status, "prune"); got.Attempt != 1 || !strings.Contains(got.Message, "activeDeadlineSeconds") {
		t.Errorf("attempt %d: %s", got.Attempt, got.Message)
	}
}

func TestADeadlineCountsFromWhenTheContainerStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const deadline = 2 * time.Second
	w.play = func(o *stage.Order, pod *corev1.Pod) act {
		if o.Stage == "prune" {
			w.setStatus(t.Context(), pod, *waitingPod("ContainerCreating", ""))
			time.Sleep(2 * deadline) // an image that is large
		}
		return act{}
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Stages[0].ActiveDeadlineSeconds = ptr.To(int64(deadline.Seconds()))
	})
	p := w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, "prune"); got.Attempt != 1 || got.Failures != 0 {
		t.Errorf("attempt %d after %d failures", got.Attempt, got.Failures)
	}
}

func TestAJobThatDoesNotStartInTimeIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage == walk.Baseline && o.Attempt == 1 {
			return act{status: waitingPod("ErrImagePull", "connection refused")}
		}
		return act{}
	}
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.StartGrace = time.Second })
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.RunPolicy.StartDeadlineSeconds, p.Spec.RunPolicy.Retries = ptr.To[int64](1), ptr.To[int32](0)
	})
	w.until("p", "told why", func(p *v1alpha1.OptimizationPipeline) bool {
		got := stageStatus(&p.Status, walk.Baseline).Message
		return strings.Contains(got, "startDeadlineSeconds, 1") && strings.Contains(got, "connection refused")
	})
	p := w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, walk.Baseline); got.Attempt != 2 || got.Failures != 0 {
		t.Errorf("attempt %d after %d failures", got.Attempt, got.Failures)
	}
}

func TestAnEditedSpecMendsAJobThatDoesNotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage == walk.Baseline && o.Attempt == 1 {
			return act{status: waitingPod("ErrImageNeverPull", "it is not present")}
		}
		return act{}
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Template.ImagePullPolicy, p.Spec.RunPolicy.Retries = corev1.PullNever, ptr.To[int32](0)
	})
	w.waits("p", reasonImagePull)
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Template.ImagePullPolicy = corev1.PullIfNotPresent })
	p := w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, walk.Baseline); got.Attempt != 2 || got.Failures != 0 {
		t.Errorf("attempt %d after %d failures", got.Attempt, got.Failures)
	}
}

func TestAStageLeavesANodeThatIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, pod *corev1.Pod) act {
		if o.Stage != "prune" || o.Attempt > 1 {
			return act{}
		}
		w.bind(pod, "edge-7")
		now := metav1.Now()
		return act{status: &corev1.PodStatus{
			Phase:             corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{Name: containerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}},
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: now}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
			},
		}}
	}
	w.run(bound(1)) // the pod that nobody hears of holds no place
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.RunPolicy.NodeLostSeconds, p.Spec.RunPolicy.Retries = ptr.To[int64](2), ptr.To[int32](0) // it is no failure of the stage's
	})
	w.waits("p", reasonNodeNotReady)
	p := w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, "prune").Attempt; got != 2 {
		t.Errorf("attempt %d", got)
	}
	w.eventually("an event that names the node", func() bool {
		return slices.ContainsFunc(w.events("p"), func(e string) bool {
			return strings.HasPrefix(e, "NodeLost: ") && strings.Contains(e, "node edge-7 has not answered for nodeLostSeconds, 2")
		})
	})
}

// TestAnAttemptThatIsStoppedCountsAsNoFailure has pods that never end, as on a node that is gone.
func TestAnAttemptThatIsStoppedCountsAsNoFailure(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		first act // of prune
		then  func(*world)
	}{
		"as the spec changed": {act{hang: true}, func(w *world) {
			w.until("p", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
				return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
			})
			w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Stages[0].Prune.Sparsity = "0.6" })
		}},
		"as it did not start": {act{status: waitingPod("ErrImagePull", "connection refused")}, func(*world) {}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.play = func(o *stage.Order, pod *corev1.Pod) act {
				if o.Stage != "prune" || o.Attempt > 1 {
					return act{}
				}
				w.bind(pod, "edge-7")
				return tt.first
			}
			w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.StartGrace = time.Second })
			w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
				p.Spec.RunPolicy.NodeLostSeconds, p.Spec.RunPolicy.StartDeadlineSeconds = ptr.To[int64](2), ptr.To[int64](8) // its pod has to be bound by then
				p.Spec.RunPolicy.Retries, p.Spec.Template.TerminationGracePeriodSeconds = ptr.To[int32](0), ptr.To[int64](1)
			})
			tt.then(w)
			p := w.settled("p", walk.ReasonAllStagesRun)
			if got := stageStatus(&p.Status, "prune"); got.Attempt != 2 || len(w.jobs("p", "prune")) != 2 {
				t.Errorf("attempt %d beside %d Jobs: the first is to be there yet", got.Attempt, len(w.jobs("p", "prune")))
			}
		})
	}
}

// events are those of a pipeline, each its reason and what it says.
func (w *world) events(pipeline string) []string {
	w.t.Helper()
	var list corev1.EventList
	if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.MatchingFields{"involvedObject.name": pipeline}); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range list.Items {
		out = append(out, e.Reason+": "+e.Message)
	}
	return out
}

// bind has a pod on a node that nobody hears of: it stays until it says that it ended.
func (w *world) bind(pod *corev1.Pod, name string) {
	w.t.Helper()
	node := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: name}}
	if err := w.client.SubResource("binding").Create(w.t.Context(), pod, node); err != nil {
		w.t.Error(err)
	}
}

func TestATemplateThatMakesNoJobIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	tests := map[string]struct {
		change func(*v1alpha1.PodTemplate)
		say    string
	}{
		"labels": {func(t *v1alpha1.PodTemplate) { t.Labels = map[string]string{"team": "no label at all!"} }, "no label at all!"},
		"requests": {func(t *v1alpha1.PodTemplate) {
			t.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
			t.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		}, "cpu limit"},
		"selector": {func(t *v1alpha1.PodTemplate) { t.NodeSelector = ptr.To(map[string]string{"a/b/c": "d"}) }, "a/b/c"},
	}
	for name, tt := range tests {
		w.pipeline(name, func(p *v1alpha1.OptimizationPipeline) { tt.change(&p.Spec.Template) })
		p := w.settled(name, walk.ReasonInvalidSpec)
		if got := stageStatus(&p.Status, walk.Baseline).Message; !strings.Contains(got, tt.say) || !strings.Contains(got, "spec.template") {
			t.Errorf("%s: %s", name, got)
		}
		if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled) {
			t.Errorf("%s is not stalled", name)
		}
		w.edit(name, func(p *v1alpha1.OptimizationPipeline) { p.Spec.Template = v1alpha1.PodTemplate{} })
		w.settled(name, walk.ReasonAllStagesRun)
	}
}

func TestAnEvictionThatIsThePodsOwnFaultCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Attempt > 1 {
			return act{}
		}
		return act{status: &corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: `Usage of EmptyDir volume "cache" exceeds the limit "10Gi".`}}
	}
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](2) })
	p := w.waits("p", walk.ReasonRetrying)
	if got := stageStatus(&p.Status, walk.Baseline).Message; !strings.Contains(got, "Evicted") || !strings.Contains(got, "cacheSizeLimit") {
		t.Errorf("message %q", got)
	}
	p = w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, walk.Baseline).Attempt; got != 2 {
		t.Errorf("attempt %d", got)
	}
}

// crowd tells how many pods run at a time.
type crowd struct{ now, most int }

// slowly has pods take a while, and counts them.
func (w *world) slowly(c *crowd) func(*stage.Order, *corev1.Pod) act {
	return func(*stage.Order, *corev1.Pod) act {
		w.mu.Lock()
		c.now++
		c.most = max(c.most, c.now)
		w.mu.Unlock()
		time.Sleep(150 * time.Millisecond)
		w.mu.Lock()
		c.now--
		w.mu.Unlock()
		return act{}
	}
}

func TestJobsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var c crowd
	w.play = w.slowly(&c)
	limit := func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.MaxInFlight = 2 }
	first := w.run(limit)
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, name := range names {
		w.pipeline(name)
	}
	w.waits("f", reasonInFlightLimit)
	first.stop() // another controller takes up the places that are taken
	second := w.run(limit)
	for _, name := range names {
		w.settled(name, walk.ReasonAllStagesRun)
	}
	if c.most > 2 {
		t.Errorf("%d pods ran at a time", c.most)
	}
	w.eventually("every place to be given back", func() bool { inFlight, waiting := second.places.numbers(); return inFlight == 0 && waiting == 0 })
}

func TestAClaimOfOneNodeIsUsedByOneJobAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "work"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	if err := w.client.Create(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	var c crowd
	w.play = w.slowly(&c)
	w.run()
	onClaim := func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts.URI, p.Spec.RunPolicy.Parallelism = "pvc://work/out", ptr.To[int32](4)
		p.Spec.Stages = append(p.Spec.Stages, v1alpha1.Stage{Name: "only", From: "model", Cluster: &v1alpha1.Cluster{Clusters: 8}})
	}
	w.pipeline("a", onClaim)
	w.pipeline("b", onClaim)
	w.waits("b", reasonWaitForVolume)
	w.settled("a", walk.ReasonAllStagesRun)
	w.settled("b", walk.ReasonAllStagesRun)
	if c.most > 1 {
		t.Errorf("%d pods used the claim at a time", c.most)
	}
}

func TestAQueuedJobSaysThatItWaitsForTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(*stage.Order, *corev1.Pod) act { return act{hang: true} }
	w.run(func(o *Options, _ *ctrl.Options, r *Reconciler) {
		if o.MaxInFlight = 1; r != nil {
			r.queues.look = func() bool { return true } // as if Kueue's kinds were there
		}
	})
	w.pipeline("busy")
	w.until("busy", "running", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, walk.Baseline).State == v1alpha1.StageRunning
	})
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Labels = map[string]string{QueueLabel: "lab"} })
	w.eventually("the Job, whatever is in flight", func() bool { return len(w.jobs("p", "")) == 1 })
	job := w.jobs("p", "")[0]
	if job.Labels[QueueLabel] != "lab" || job.Spec.Template.Labels[QueueLabel] != "" || job.Spec.Suspend != nil && *job.Spec.Suspend {
		t.Errorf("Job's labels %v, pod's %v, suspend %v", job.Labels, job.Spec.Template.Labels, job.Spec.Suspend)
	}
	patch := client.MergeFrom(job.DeepCopy())
	job.Spec.Suspend = ptr.To(true) // what Kueue does until it admits
	if err := w.client.Patch(t.Context(), &job, patch); err != nil {
		t.Fatal(err)
	}
	w.until("p", "waiting for the queue", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, walk.Baseline).Message == "waits for queue lab to admit it"
	})
	w.mu.Lock()
	w.play = nil
	w.mu.Unlock()
	patch = client.MergeFrom(job.DeepCopy())
	job.Spec.Suspend = ptr.To(false)
	if err := w.client.Patch(t.Context(), &job, patch); err != nil {
		t.Fatal(err)
	}
	w.until("p", "done with its baseline", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, walk.Baseline).State == v1alpha1.StageCompleted
	})
}

func TestAJobUnderWayFollowsItsPipelinesQueueAndPriority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(*stage.Order, *corev1.Pod) act { return act{hang: true} }
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Labels = map[string]string{QueueLabel: "lba", PriorityLabel: "low"}
	})
	w.eventually("the Job", func() bool { return len(w.jobs("p", "")) == 1 })
	suspend := func(held bool) {
		t.Helper()
		job := w.jobs("p", "")[0]
		patch := client.MergeFrom(job.DeepCopy())
		job.Spec.Suspend = ptr.To(held)
		if err := w.client.Patch(t.Context(), &job, patch); err != nil {
			t.Fatal(err)
		}
	}
	labelled := func(queue, priority string) {
		t.Helper()
		w.edit("p", func(p *v1alpha1.OptimizationPipeline) {
			p.Labels = map[string]string{QueueLabel: queue, PriorityLabel: priority}
		})
	}
	has := func(queue, priority string) {
		t.Helper()
		w.eventually("queue "+queue+", priority "+priority, func() bool {
			l := w.jobs("p", "")[0].Labels
			return l[QueueLabel] == queue && l[PriorityLabel] == priority
		})
	}
	uid := w.jobs("p", "")[0].UID
	suspend(true)
	labelled("lab", "low")
	has("lab", "low")
	suspend(false)
	w.until("p", "running", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, walk.Baseline).State == v1alpha1.StageRunning
	})
	labelled("other", "high") // a Job that was admitted stays where it is
	has("lab", "high")
	if jobs := w.jobs("p", ""); len(jobs) != 1 || jobs[0].UID != uid {
		t.Errorf("the Job was made again: %v", jobs)
	}
}

func TestTwoManagersThatApplyDoNotFightEachOtherOrTheController(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["prune"] = "400"
	w.run()
	spec := func() *applyv1alpha1.OptimizationPipelineApplyConfiguration {
		return applyv1alpha1.OptimizationPipeline("p", w.namespace).WithSpec(applyv1alpha1.OptimizationPipelineSpec().
			WithModel(applyv1alpha1.NetworkSource().WithURI("s3://m/m.tflite")).
			WithDataset(applyv1alpha1.DatasetSource().WithURI("s3://d/d.npz")).
			WithArtifacts(applyv1alpha1.ArtifactStore().WithURI("s3://a")).
			WithStages(applyv1alpha1.Stage().WithName("prune").WithPrune(applyv1alpha1.Prune().WithSparsity("0.5"))))
	}
	constraint := func(max v1alpha1.Decimal) *applyv1alpha1.OptimizationPipelineApplyConfiguration {
		return applyv1alpha1.OptimizationPipeline("p", w.namespace).WithSpec(applyv1alpha1.OptimizationPipelineSpec().
			WithConstraints(applyv1alpha1.Constraint().WithMetric(v1alpha1.CompressedBytes).WithMax(max)))
	}
	apply := func(owner string, c *applyv1alpha1.OptimizationPipelineApplyConfiguration) {
		t.Helper()
		if err := w.client.Apply(t.Context(), c, client.FieldOwner(owner)); err != nil {
			t.Fatalf("%s: %v", owner, err)
		}
	}
	apply("gitops", spec())
	apply("device-team", constraint("500"))
	p := w.settled("p", walk.ReasonConstraintsMet)
	before := p.ResourceVersion
	apply("gitops", spec())
	apply("device-team", constraint("500"))
	if p := w.get("p"); p.ResourceVersion != before || len(p.Spec.Constraints) != 1 || len(p.Spec.Stages) != 1 {
		t.Errorf("applying the same again changed it: %+v", p.Spec)
	}
	if err := w.client.Apply(t.Context(), constraint("600"), client.FieldOwner("gitops")); err == nil || !strings.Contains(err.Error(), "device-team") {
		t.Errorf("one manager took another's constraint: %v", err)
	}
}

func TestTheRoleIsEnough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content, err := os.ReadFile("../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(content, role); err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		if slices.Contains(rule.Verbs, "*") || slices.Contains(rule.Resources, "*") || slices.Contains(rule.Resources, "secrets") {
			t.Errorf("more than least privilege: %+v", rule)
		}
	}
	role.Name = "role-of-" + w.namespace
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "it"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: w.namespace}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "work"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	for _, o := range []client.Object{role, binding, claim} {
		if err := w.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.config = rest.CopyConfig(w.config)
	w.config.Impersonate.UserName = w.namespace
	var denied []string
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(r)
			if err == nil && response.StatusCode == http.StatusForbidden {
				w.mu.Lock()
				denied = append(denied, r.Method+" "+r.URL.Path)
				w.mu.Unlock()
			}
			return response, err
		})
	})
	quota := w.quota("pods") // has events read
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Artifacts.URI = "pvc://work" })
	w.waits("p", reasonQuotaExceeded)
	if err := w.client.Delete(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = true }) // has a Job deleted
	w.settled("p", walk.ReasonSuspended)
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = false })
	w.settled("p", walk.ReasonAllStagesRun)
	w.eventually("an event", func() bool {
		var events corev1.EventList
		return w.client.List(t.Context(), &events, client.InNamespace(w.namespace), client.MatchingFields{"involvedObject.kind": v1alpha1.Kind}) == nil && len(events.Items) > 0
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(denied) > 0 {
		t.Errorf("the role does not allow: %v", denied)
	}
}

// findLost has publish fail where the store has lost what it is to publish, as the real one does.
func (w *world) findLost(o *stage.Order, _ *corev1.Pod) act {
	if o.Stage != walk.Publish {
		return act{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := map[string]int32{}
	for _, s := range o.Status.Stages {
		if s.Leaf != nil && w.store[s.InputHash] == nil {
			lost[s.Name] = s.Attempt
		}
	}
	if len(lost) == 0 {
		return act{}
	}
	data, err := (&stage.Outcome{Stage: o.Stage, InputHash: o.InputHash, Reason: walk.ReasonResultsLost, Message: "gone", Lost: lost}).Marshal()
	if err != nil {
		w.t.Error(err)
	}
	return act{exit: 6, message: string(data)}
}

func TestWhatPublishDoesNotFindIsMadeAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*v1alpha1.OptimizationPipeline){
		"the store was emptied and a constraint edited": bytes("600"),
		"artifacts.uri was changed":                     func(p *v1alpha1.OptimizationPipeline) { p.Spec.Artifacts.URI = "s3://elsewhere" },
		"the first leaf is enough then":                 bytes("1000"),
		"without retries": func(p *v1alpha1.OptimizationPipeline) {
			p.Spec.Artifacts.URI, p.Spec.RunPolicy.Retries = "s3://elsewhere", ptr.To[int32](0)
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.play, w.metrics["cluster"] = w.findLost, "400"
			w.run()
			w.pipeline("p", bytes("500"))
			w.settled("p", walk.ReasonConstraintsMet)
			w.mu.Lock()
			clear(w.store)
			w.mu.Unlock()
			w.edit("p", change)
			p := w.settled("p", walk.ReasonConstraintsMet)
			if name == "the first leaf is enough then" { // the others are not made again, and do not come back with their Jobs
				if got := p.Status; got.Selected == nil || got.Selected.Stage != walk.Baseline || got.Progress != "0/3" || w.ran()["prune"] != 1 {
					t.Errorf("selected %+v, progress %s, prune ran %d times", got.Selected, got.Progress, w.ran()["prune"])
				}
			} else if got := p.Status.Selected; got == nil || got.Stage != "cluster" {
				t.Errorf("selected %+v", got)
			}
			for _, s := range p.Status.Stages {
				if s.State == v1alpha1.StageCompleted && s.Name != walk.Publish && w.store[s.InputHash] == nil {
					t.Errorf("%s is not in the store", s.Name)
				}
			}
		})
	}
}

func TestOnlyWhatIsLostRunsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = w.findLost
	w.run()
	w.pipeline("p")
	p := w.settled("p", walk.ReasonAllStagesRun)
	w.mu.Lock()
	delete(w.store, stageStatus(&p.Status, "pcqat").InputHash)
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Selection.Strategy = v1alpha1.SelectBest })
	w.settled("p", walk.ReasonAllStagesRun)
	if diff := cmp.Diff(map[string]int{"baseline": 1, "prune": 1, "cluster": 1, "pcqat": 2, "publish": 3}, w.ran()); diff != "" {
		t.Errorf("runs:\n%s", diff)
	}
}

func TestAStoreThatKeepsLosingResultsIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, pod *corev1.Pod) act {
		if o.Stage == walk.Publish {
			w.mu.Lock()
			clear(w.store)
			w.latency++ // what is made again is measured again
			w.mu.Unlock()
		}
		return w.findLost(o, pod)
	}
	w.run()
	w.pipeline("p")
	p := w.settled("p", walk.ReasonPublishFailed)
	if got := stageStatus(&p.Status, walk.Publish); got.Failures != 4 || w.ran()[walk.Publish] != 4 {
		t.Errorf("publish: %d failures, ran %d times; want one and three retries", got.Failures, w.ran()[walk.Publish])
	}
}
