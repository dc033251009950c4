package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// otherController is who runs Jobs in another cluster.
const otherController = "kueue.x-k8s.io/multikueue"

// sentElsewhere has another controller run the Jobs of a queue, as a webhook of Kueue's does for MultiKueue.
func sentElsewhere(_ *Options, o *ctrl.Options, _ *Reconciler) {
	o.NewClient = func(config *rest.Config, options client.Options) (client.Client, error) {
		c, err := client.NewWithWatch(config, options)
		if err != nil {
			return nil, err
		}
		return interceptor.NewClient(c, interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.CreateOption) error {
				if job, ok := object.(*batchv1.Job); ok && job.Labels[QueueLabel] != "" {
					job.Spec.ManagedBy = ptr.To(otherController)
				}
				return c.Create(ctx, object, o...)
			},
		}), nil
	}
}

// elsewhere is another cluster: what it makes of each Job sent to it, once, as far as the Job's status tells.
func (w *world) elsewhere(carryOut func(order *stage.Order, job *batchv1.Job)) {
	go func() {
		seen := map[string]bool{}
		for ; w.t.Context().Err() == nil; time.Sleep(20 * time.Millisecond) {
			var list batchv1.JobList
			if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
				continue
			}
			for i := range list.Items {
				job := &list.Items[i]
				if !(child{job: job}).elsewhere() || seen[job.Name] || job.DeletionTimestamp != nil {
					continue
				}
				seen[job.Name] = true
				order := &stage.Order{}
				if err := json.Unmarshal([]byte(job.Spec.Template.Spec.Containers[0].Env[0].Value), order); err != nil {
					w.t.Error(err)
				}
				go carryOut(order, job)
			}
		}
	}()
}

// report writes what another cluster says of a Job.
func (w *world) report(job *batchv1.Job, ready int32, conditions ...batchv1.JobCondition) {
	ctx := w.t.Context()
	if err := w.client.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
		return // it was deleted, or the test is over
	}
	now := metav1.Now()
	if job.Status.StartTime == nil {
		job.Status.StartTime = &now
	}
	job.Status.Active, job.Status.Ready = min(1, int32(2-len(conditions))), &ready
	for _, k := range conditions {
		k.Status, k.LastTransitionTime, k.LastProbeTime = corev1.ConditionTrue, now, now
		job.Status.Conditions = append(job.Status.Conditions, k)
		if k.Type == batchv1.JobComplete {
			job.Status.CompletionTime, job.Status.Succeeded = &now, 1
		}
	}
	if err := w.client.Status().Update(ctx, job); err != nil && ctx.Err() == nil {
		w.t.Errorf("status of Job %s: %v", job.Name, err)
	}
}

var (
	done    = []batchv1.JobCondition{{Type: batchv1.JobSuccessCriteriaMet, Reason: "CompletionsReached"}, {Type: batchv1.JobComplete, Reason: "CompletionsReached"}}
	tooLate = []batchv1.JobCondition{
		{Type: batchv1.JobFailureTarget, Reason: batchv1.JobReasonDeadlineExceeded}, {Type: batchv1.JobFailed, Reason: batchv1.JobReasonDeadlineExceeded},
	}
)

func queued(p *v1alpha1.OptimizationPipeline) { p.Labels = map[string]string{QueueLabel: "far"} }

func TestWhatRanInAnotherClusterIsReadFromTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elsewhere(func(o *stage.Order, job *batchv1.Job) {
		w.report(job, 0)
		if o.Stage == "prune" {
			time.Sleep(3 * time.Second) // longer than a pod of this cluster may take to start
		}
		w.report(job, 1)
		if o.Stage == "prune" {
			time.Sleep(time.Second)
		}
		w.outcome(o)
		w.report(job, 0, done...)
	})
	w.run(sentElsewhere, bound(1))
	w.pipeline("p", queued, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.RunPolicy.StartDeadlineSeconds, p.Spec.RunPolicy.NodeLostSeconds = ptr.To[int64](1), ptr.To[int64](1)
		p.Spec.RunPolicy.Retries = ptr.To[int32](0)
		p.Spec.Template.NodeSelector = &map[string]string{"only": "there"}
	})
	for _, state := range []v1alpha1.StageState{v1alpha1.StageQueued, v1alpha1.StageRunning, v1alpha1.StageCompleted} {
		w.until("p", "having prune "+string(state), func(p *v1alpha1.OptimizationPipeline) bool { return stageStatus(&p.Status, "prune").State == state })
	}
	p := w.settled("p", walk.ReasonAllStagesRun)
	once := map[string]int{walk.Baseline: 1, "prune": 1, "cluster": 1, "pcqat": 1, walk.Publish: 1}
	if diff := cmp.Diff(once, w.reads); diff != "" || len(w.ran()) > 0 {
		t.Errorf("pods that ran here: %v; reads:\n%s", w.ran(), diff)
	}
	for _, s := range p.Status.Stages {
		if s.Attempt != 1 || s.Failures != 0 || s.State != v1alpha1.StageCompleted {
			t.Errorf("stage %s is %s as attempt %d after %d failures", s.Name, s.State, s.Attempt, s.Failures)
		}
	}
	readers := 0
	for _, job := range w.jobs("p", "") {
		reader := child{job: &job}
		if !reader.reads() {
			continue
		}
		readers++
		pod := job.Spec.Template.Spec
		if job.Labels[QueueLabel] != "" || job.Spec.ManagedBy != nil || pod.NodeSelector["only"] != "" || !slices.Equal(pod.Containers[0].Args, []string{"stage", "read"}) ||
			pod.Containers[0].Resources.Requests.Cpu().MilliValue() > 50 || job.Spec.TTLSecondsAfterFinished == nil {
			t.Errorf("Job %s reads with %v: %+v", job.Name, pod.Containers[0].Args, job.Labels)
		}
	}
	if readers != len(once) {
		t.Errorf("%d Jobs that read", readers)
	}
}

func TestAResultThatIsNotInTheStoreIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elsewhere(func(o *stage.Order, job *batchv1.Job) {
		if o.Stage != "prune" || o.Attempt > 1 {
			w.outcome(o)
		}
		w.report(job, 0, done...)
	})
	w.run(sentElsewhere)
	w.pipeline("p", queued, func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](5) })
	p := w.waits("p", walk.ReasonRetrying)
	if got := stageStatus(&p.Status, "prune"); got.Failures != 1 || got.LastFailure == nil || got.LastFailure.Message[:len(reasonResultLost)] != reasonResultLost {
		t.Errorf("prune has %d failures: %+v", got.Failures, got.LastFailure)
	}
	p = w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, "prune").Attempt; got != 2 || w.reads["prune"] != 2 {
		t.Errorf("prune is attempt %d, read %d times", got, w.reads["prune"])
	}
}

func TestWhatIsToBeReadFollowsTheSpec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unreadable = waitingPod("CreateContainerConfigError", `secret "s3" not found`)
	w.elsewhere(func(o *stage.Order, job *batchv1.Job) {
		w.outcome(o)
		w.report(job, 0, done...)
	})
	w.run(sentElsewhere)
	w.pipeline("p", queued)
	p := w.waits("p", "CreateContainerConfigError")
	if got := stageStatus(&p.Status, walk.Baseline); got.State != v1alpha1.StageQueued || got.Attempt != 1 {
		t.Errorf("the baseline is %s as attempt %d", got.State, got.Attempt)
	}
	w.mu.Lock()
	w.unreadable = nil
	w.mu.Unlock()
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Model.URI = "s3://models/other.tflite" }) // what was about to be read is of no use
	p = w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, walk.Baseline); got.Attempt != 2 || got.Failures != 0 || w.reads[walk.Baseline] != 2 {
		t.Errorf("the baseline is attempt %d after %d failures, read %d times", got.Attempt, got.Failures, w.reads[walk.Baseline])
	}
}

func TestAJobsOwnDeadlineIsFinalOnlyForWhatRan(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ready   int32
		reason  string
		attempt int32
	}{
		"nothing ever started": {0, walk.ReasonConstraintsMet, 2},
		"it ran":               {1, walk.ReasonDeadline, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.metrics["pcqat"] = "400"
			w.elsewhere(func(o *stage.Order, job *batchv1.Job) {
				if o.Stage != "prune" || o.Attempt > 1 {
					w.outcome(o)
					w.report(job, 0, done...)
					return
				}
				w.report(job, tt.ready)
				state := v1alpha1.StageQueued
				if tt.ready > 0 {
					state = v1alpha1.StageRunning
				}
				w.until("p", fmt.Sprint("having prune ", state), func(p *v1alpha1.OptimizationPipeline) bool { return stageStatus(&p.Status, "prune").State == state })
				w.report(job, 0, tooLate...)
			})
			w.run(sentElsewhere)
			w.pipeline("p", queued, bytes("500"), func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = ptr.To[int32](0) })
			p := w.settled("p", tt.reason)
			if got := stageStatus(&p.Status, "prune"); got.Attempt != tt.attempt {
				t.Errorf("prune is %s as attempt %d: %s", got.State, got.Attempt, got.Message)
			}
		})
	}
}
