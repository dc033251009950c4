package controllers

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// goalOf is a pipeline with a search of so many Jobs.
func goalOf(parallelism int32) func(*v1alpha1.OptimizationPipeline) {
	return func(p *v1alpha1.OptimizationPipeline) {
		bytes("2000")(p)
		p.Spec.Stages, p.Spec.Search, p.Spec.RunPolicy.Parallelism = nil, &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes}, &parallelism
	}
}

// helpers are the Jobs that help a pipeline's search and are not on their way out, by number.
func (w *world) helpers(pipeline string) map[int32]batchv1.Job {
	out := map[int32]batchv1.Job{}
	for _, job := range w.jobs(pipeline, walk.Search) {
		if c := (child{job: &job}); c.helps() != "" && !c.deleting() && c.inFlight() {
			out[c.number()] = job
		}
	}
	return out
}

// searches has a pipeline's search run until it is released.
func searches(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage == walk.Search} }

// TestASearchHasHelpersWhileItRuns has one of them die, which is nobody's business.
func TestASearchHasHelpersWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics[walk.Search] = "600"
	w.play = func(o *stage.Order, pod *corev1.Pod) act {
		if o.Helper == 2 {
			return act{exit: 137, reason: reasonOOMKilled}
		}
		return searches(o, pod)
	}
	w.run()
	w.pipeline("goal", goalOf(4))
	w.eventually("two helpers, and one that failed", func() bool {
		n := len(w.helpers("goal"))
		return n == 2 && len(w.jobs("goal", walk.Search)) == 4
	})
	i := slices.IndexFunc(w.jobs("goal", walk.Search), func(j batchv1.Job) bool { return j.Labels[HelpsLabel] == "" })
	leader := w.jobs("goal", walk.Search)[i]
	for n, job := range w.helpers("goal") {
		order, err := stage.ParseOrder(job.Spec.Template.Spec.Containers[0].Env[0].Value)
		if err != nil || order.Helper != n || order.InputHash != leader.Annotations[InputHashAnnotation] {
			t.Errorf("helper %d is told: %+v, %v", n, order, err)
		}
		if owner := job.OwnerReferences[0]; len(job.OwnerReferences) != 1 || owner.UID != leader.UID || metav1.GetControllerOf(&job) != nil {
			t.Errorf("helper %d is owned by %+v", n, job.OwnerReferences)
		}
	}
	time.Sleep(100 * time.Millisecond)
	if s := stageStatus(&w.get("goal").Status, walk.Search); s.State != v1alpha1.StageRunning || s.Attempt != 1 || s.Job != leader.Name {
		t.Errorf("the search, whose helper failed, is %+v", s)
	}
	w.edit("goal", func(p *v1alpha1.OptimizationPipeline) { *p.Spec.RunPolicy.Parallelism = 2 })
	w.eventually("one to be too many", func() bool {
		helpers := w.helpers("goal")
		_, first := helpers[1]
		return len(helpers) == 1 && first
	})
	w.endSearch("goal")
	if p := w.settled("goal", walk.ReasonConstraintsMet); p.Status.Selected.Stage != walk.Search || len(p.Status.Stages) != 3 {
		t.Error(describe(p))
	}
	w.eventually("helpers to go", func() bool { return len(w.helpers("goal")) == 0 })
}

// endSearch has the pod of a search that was left running end well.
func (w *world) endSearch(pipeline string) {
	w.t.Helper()
	var pods corev1.PodList
	if err := w.client.List(w.t.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{PipelineLabel: pipeline, StageLabel: walk.Search}); err != nil {
		w.t.Fatal(err)
	}
	for i := range pods.Items {
		if pods.Items[i].Labels[HelperLabel] != "" {
			continue
		}
		order, err := stage.ParseOrder(pods.Items[i].Spec.Containers[0].Env[0].Value)
		if err != nil {
			w.t.Fatal(err)
		}
		w.end(w.t.Context(), &pods.Items[i], order, act{})
	}
}

// TestHelpersTakePlacesThatNobodyWaitsFor has one place beside the search, which another pipeline comes to want.
func TestHelpersTakePlacesThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = searches
	r := w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.MaxInFlight = 2 })
	w.pipeline("goal", goalOf(4))
	w.eventually("a helper", func() bool { return len(w.helpers("goal")) == 1 })
	if inFlight, _ := r.places.numbers(); inFlight != 2 {
		t.Errorf("%d Jobs in flight, and two are allowed", inFlight)
	}
	w.edit("goal", func(p *v1alpha1.OptimizationPipeline) { *p.Spec.RunPolicy.Parallelism = 2 }) // none is missing
	w.pipeline("other", bytes("2000"))
	w.settled("other", walk.ReasonConstraintsMet)
	if s := stageStatus(&w.get("goal").Status, walk.Search); s.State != v1alpha1.StageRunning || s.Attempt != 1 {
		t.Errorf("the search is %+v", s)
	}
}

func TestASearchThatStopsTakesItsHelpersAlong(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(w *world){
		"suspended": func(w *world) {
			w.edit("goal", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = true })
		},
		"given stages": func(w *world) {
			w.edit("goal", func(p *v1alpha1.OptimizationPipeline) {
				p.Spec.Search, p.Spec.Stages = nil, []v1alpha1.Stage{{Name: "prune", Prune: &v1alpha1.Prune{Sparsity: "0.5"}}}
			})
		},
		"deleted": func(w *world) {
			if err := w.client.Delete(w.t.Context(), w.get("goal")); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.play = searches
			w.run()
			w.pipeline("goal", goalOf(2))
			w.eventually("a helper", func() bool { return len(w.helpers("goal")) == 1 })
			stop(w)
			w.eventually("the Jobs to go", func() bool { return len(w.jobs("goal", walk.Search)) == 0 })
		})
	}
}

// TestParallelismLeavesTheJobOfASearchAlone has it told of no more than what the pipeline says.
func TestParallelismLeavesTheJobOfASearchAlone(t *testing.T) {
	of := func(parallelism int32) *batchv1.Job {
		job := built(t, walk.Search, goalOf(parallelism), func(p *v1alpha1.OptimizationPipeline) { p.Spec = search.Whole(&p.Spec) })
		job.Spec.Template.Spec.Containers[0].Env[0].Value = ""
		return job
	}
	if diff := cmp.Diff(of(1), of(3)); diff != "" {
		t.Error(diff)
	}
}
