package controllers

import (
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
)

// janitor deletes the namespace's Jobs that are as wanted, as soon as it sees them, and returns the names of all it saw.
func (w *world) janitor(policy metav1.DeletionPropagation, unwanted func(*batchv1.Job) bool) func() []string {
	var mu sync.Mutex
	seen := map[string]bool{}
	go func() {
		for w.t.Context().Err() == nil {
			var list batchv1.JobList
			if w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)) != nil {
				continue
			}
			for i := range list.Items {
				job := &list.Items[i]
				mu.Lock()
				seen[job.Name] = true
				mu.Unlock()
				if job.DeletionTimestamp == nil && unwanted(job) {
					_ = w.client.Delete(w.t.Context(), job, client.PropagationPolicy(policy)) // it may be gone
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		var names []string
		for name := range seen {
			names = append(names, name)
		}
		return names
	}
}

func TestTheRetryBudgetOutlastsTheJobs(t *testing.T) {
	t.Parallel()
	failed := func(job *batchv1.Job) bool { return child{job: job}.condition(batchv1.JobFailed) != nil }
	active := func(job *batchv1.Job) bool { return job.Status.Active > 0 }
	tests := map[string]struct {
		policy     metav1.DeletionPropagation
		unwanted   func(*batchv1.Job) bool
		exit       int32
		wantReason string
	}{
		"failed Jobs are deleted":                   {metav1.DeletePropagationBackground, failed, 137, reasonOOMKilled},
		"failed Jobs are deleted in the foreground": {metav1.DeletePropagationForeground, failed, 137, reasonOOMKilled},
		"Jobs are deleted while they run":           {metav1.DeletePropagationBackground, active, 0, reasonJobLost},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.play = func(*stage.Order, *corev1.Pod) act {
				return act{hang: tt.exit == 0, exit: tt.exit, reason: reasonOOMKilled}
			}
			jobs := w.janitor(tt.policy, tt.unwanted)
			w.run()
			start := time.Now()
			w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
				p.Spec.RunPolicy.Retries, p.Spec.RunPolicy.BackoffSeconds = ptr.To[int32](2), ptr.To[int32](1)
			})
			p := w.settled("p", tt.wantReason)
			if took := time.Since(start); took < 2*time.Second {
				t.Errorf("it ended after %s: the attempts followed each other without a pause", took)
			}
			s := stageStatus(&p.Status, "baseline")
			if names := jobs(); len(names) > 3 || s.Attempt != 3 {
				t.Errorf("attempt %d, Jobs %v; want one and two retries", s.Attempt, names)
			}
			if s.Failures != 3 || s.LastFailure == nil || s.LastFailure.Attempt != 3 || !strings.HasPrefix(s.LastFailure.Message, tt.wantReason+": ") {
				t.Errorf("%d failures, the last %+v", s.Failures, s.LastFailure)
			}
		})
	}
}

func TestAResultWhoseJobIsDeletedAtOnceCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.janitor(metav1.DeletePropagationForeground, func(job *batchv1.Job) bool { return child{job: job}.condition(batchv1.JobComplete) != nil })
	w.run()
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = ptr.To[int32](0) })
	p := w.until("p", "published", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "publish").State == v1alpha1.StageCompleted
	})
	for _, s := range p.Status.Stages {
		if s.Attempt != 1 || s.Failures != 0 {
			t.Errorf("stage %s: attempt %d, %d failures", s.Name, s.Attempt, s.Failures)
		}
	}
}
