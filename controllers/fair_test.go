package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// bound has a controller hold so many Jobs in flight, and Jobs that cannot start give their place back after a second.
func bound(n int) tweak {
	return func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.MaxInFlight, o.StartGrace = n, time.Second }
}

func TestAJobThatCannotStartHoldsUpNobody(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"no image": func(w *world) {
			w.play = func(o *stage.Order, _ *corev1.Pod) act {
				if o.Pipeline == "stuck" && o.Stage == walk.Baseline && o.Attempt == 1 {
					return act{status: waitingPod("ErrImagePull", "not found")}
				}
				return act{}
			}
		},
		"no node": func(w *world) {
			w.play = func(o *stage.Order, _ *corev1.Pod) act {
				if o.Pipeline == "stuck" && o.Stage == walk.Baseline && o.Attempt == 1 {
					return act{status: &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
						Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available: 3 Insufficient cpu.",
					}}}}
				}
				return act{}
			}
		},
		"no secret": func(w *world) {
			w.play = func(o *stage.Order, _ *corev1.Pod) act {
				if o.Pipeline == "stuck" && o.Stage == walk.Baseline && o.Attempt == 1 {
					return act{status: waitingPod("CreateContainerConfigError", `secret "s3" not found`)}
				}
				return act{}
			}
		},
	}
	for name, trouble := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			trouble(w)
			w.run(bound(1))
			w.pipeline("stuck")
			w.until("stuck", "having a Job", func(p *v1alpha1.OptimizationPipeline) bool {
				return stageStatus(&p.Status, walk.Baseline).Job != ""
			})
			w.pipeline("next")
			w.settled("next", walk.ReasonAllStagesRun)
			p := w.settled("stuck", walk.ReasonAllStagesRun) // it was tried again
			if got := stageStatus(&p.Status, walk.Baseline).Attempt; got != 2 {
				t.Errorf("the baseline ran as attempt %d", got)
			}
		})
	}
}

func TestARefusedJobHoldsNoPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}
	if err := w.client.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	w.eventually("the quota to hold", func() bool {
		return w.client.Get(t.Context(), client.ObjectKeyFromObject(quota), quota) == nil && len(quota.Status.Hard) > 0
	})
	r := w.run(bound(1))
	w.pipeline("refused")
	w.waits("refused", reasonQuotaExceeded)
	if n, waiting := r.places.numbers(); n != 0 || waiting != 0 {
		t.Errorf("%d places are taken and %d stages wait: there is no Job", n, waiting)
	}
	w.pipeline("another")
	w.waits("another", reasonQuotaExceeded) // and not InFlightLimit
}

func TestATerminatingPipelineKeepsNoTicketAndItsJobsStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Pipeline == "running"} }
	w.run(bound(1))
	kept := func(p *v1alpha1.OptimizationPipeline) { p.Finalizers = []string{"example.com/keep"} }
	w.pipeline("running", kept)
	w.until("running", "running", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, walk.Baseline).State == v1alpha1.StageRunning
	})
	w.pipeline("waiting", kept)
	w.waits("waiting", reasonInFlightLimit)
	w.pipeline("last")
	w.waits("last", reasonInFlightLimit)
	for _, name := range []string{"waiting", "running"} {
		if err := w.client.Delete(t.Context(), w.get(name)); err != nil {
			t.Fatal(err)
		}
	}
	w.settled("last", walk.ReasonAllStagesRun)
	w.eventually("the Jobs to stop", func() bool { return len(w.jobs("running", "")) == 0 })
	for _, name := range []string{"waiting", "running"} {
		w.edit(name, func(p *v1alpha1.OptimizationPipeline) { p.Finalizers = nil })
	}
}

func TestAQueuesLabelAloneEscapesNoBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(*stage.Order, *corev1.Pod) act { return act{hang: true} }
	w.run(bound(1))
	for i := range 3 {
		w.pipeline(fmt.Sprint("p", i), func(p *v1alpha1.OptimizationPipeline) { p.Labels = map[string]string{QueueLabel: "nobodys"} })
	}
	for i := range 3 {
		w.until(fmt.Sprint("p", i), "looked at", func(p *v1alpha1.OptimizationPipeline) bool { return len(p.Status.Stages) > 0 })
	}
	var list batchv1.JobList
	if err := w.client.List(t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Errorf("%d Jobs at a bound of one, without Kueue", len(list.Items))
	}
}

func TestTheOldestPipelineFinishesFirstAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run(bound(1))
	const pipelines = 5
	for i := range pipelines {
		w.pipeline(fmt.Sprint("p", i))
		time.Sleep(1100 * time.Millisecond / pipelines) // times of creation are in seconds; equal ones go by name
	}
	w.settled("p0", walk.ReasonAllStagesRun)
	first.stop()
	w.run(bound(1))
	w.settled(fmt.Sprint("p", pipelines-1), walk.ReasonAllStagesRun)
	w.mu.Lock()
	defer w.mu.Unlock()
	var order []string
	for _, o := range w.played {
		if len(order) == 0 || order[len(order)-1] != o.Pipeline {
			order = append(order, o.Pipeline)
		}
	}
	if !slices.IsSorted(order) || len(order) != pipelines {
		t.Errorf("their Jobs ran in the order %v", order)
	}
}

func TestAPriorityCountsAsFarAsTheInstallationLetsIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		most int32
		want string
	}{
		"not at all":   {0, "a b c d"},
		"up to three":  {3, "b c a d"},
		"to any bound": {1000, "c b a d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for i, priority := range []int32{0, 3, 1000, -1} { // nobody is served yet
				w.pipeline(string(rune('a'+i)), func(p *v1alpha1.OptimizationPipeline) { p.Spec.Priority = priority })
				if i < 3 {
					time.Sleep(time.Second) // so that they are not of one age
				}
			}
			w.run(bound(1), func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Policy.MaxPriority = tt.most })
			for _, name := range strings.Fields(tt.want) {
				w.settled(name, walk.ReasonAllStagesRun)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			var order []string
			for _, o := range w.played {
				if !slices.Contains(order, o.Pipeline) {
					order = append(order, o.Pipeline)
				}
			}
			if got := strings.Join(order, " "); got != tt.want {
				t.Errorf("their Jobs ran in the order %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnothersPipelineIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.pipeline("anothers", func(p *v1alpha1.OptimizationPipeline) { p.Spec.ManagedBy = "example.com/controller" })
	w.pipeline("ours", func(p *v1alpha1.OptimizationPipeline) { p.Spec.ManagedBy = v1alpha1.ManagedByOperator })
	w.settled("ours", walk.ReasonAllStagesRun)
	p := w.get("anothers")
	if p.Status.ObservedGeneration != -1 || len(p.Status.Conditions) > 0 || len(w.jobs("anothers", "")) > 0 {
		t.Errorf("it has %d Jobs and the status %+v", len(w.jobs("anothers", "")), p.Status)
	}
	for _, to := range []string{"", v1alpha1.ManagedByOperator} {
		p.Spec.ManagedBy = to
		if err := w.client.Update(t.Context(), p); err == nil || !strings.Contains(err.Error(), "managedBy cannot be changed") {
			t.Errorf("changed to %q: %v", to, err)
		}
	}
	if err := w.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.eventually("it to go", func() bool {
		return apierrors.IsNotFound(w.client.Get(t.Context(), client.ObjectKeyFromObject(p), p))
	})
}
