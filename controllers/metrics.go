package controllers

import (
	"cmp"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

// The metrics have no label that names a pipeline, stage or leaf: the number of series is fixed. What a Reconcile costs is
// controller-runtime's to say (controller_runtime_reconcile_time_seconds, rest_client_requests_total).
var (
	stageSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "espalier_stage_duration_seconds", Help: "Time from the start of a stage's last attempt to its end.",
		Buckets: prometheus.ExponentialBuckets(1, 3, 12), // 1 s to 2 days
	}, []string{"technique", "outcome", "reused"})
	attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "espalier_stage_attempts_total", Help: "Jobs that were created for stages.",
	}, []string{"technique"})
	finished = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "espalier_pipelines_finished_total", Help: "Walks that came to an end, by how.",
	}, []string{"result"})
	selectedShare = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "espalier_selected_leaf_ratio", Help: "Metrics of selected leaves that are shares of one.",
		Buckets: []float64{-0.05, 0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 1},
	}, []string{"metric"})
	selectedBytes = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "espalier_selected_leaf_bytes", Help: "Sizes of selected leaves.",
		Buckets: prometheus.ExponentialBuckets(1<<10, 2, 18), // 1 KiB to 128 MiB
	}, []string{"metric"})
	selectedLatency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "espalier_selected_leaf_latency_seconds", Help: "Median latency of selected leaves, one thread, on the node that measured it.",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18), // 50 µs to 6.5 s
	})
	inFlight = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "espalier_jobs_in_flight", Help: "Jobs of stages that are under way.",
	}, func() float64 { n, _ := counted.Load().numbers(); return float64(n) })
	waiting = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "espalier_stages_waiting", Help: "Stages that wait for a place among the Jobs in flight, or for a volume.",
	}, func() float64 { _, n := counted.Load().numbers(); return float64(n) })
)

// counted are the places of the process's controller.
var counted atomic.Pointer[places]

func init() {
	counted.Store(newPlaces(0, nil))
	metrics.Registry.MustRegister(stageSeconds, attempts, finished, selectedShare, selectedBytes, selectedLatency, inFlight, waiting, pipelines)
	// Every series is there from the start: an increase is seen only of a counter that has been zero.
	for _, technique := range append(v1alpha1.Techniques(), walk.Baseline, walk.Publish) {
		attempts.WithLabelValues(technique)
		for _, outcome := range []v1alpha1.StageState{v1alpha1.StageCompleted, v1alpha1.StageFailed} {
			stageSeconds.WithLabelValues(technique, string(outcome), "false")
			stageSeconds.WithLabelValues(technique, string(outcome), "true")
		}
	}
	for _, result := range []string{resultReady, resultNotMet, resultFailed} {
		finished.WithLabelValues(result)
	}
}

// How walks end, as espalier_pipelines_finished_total counts them.
const (
	resultReady  = "Ready"
	resultNotMet = "ConstraintsNotMet"
	resultFailed = "Failed"
)

// measure counts what a new status says.
func measure(v *view) {
	before, after := &v.before, &v.pipeline.Status
	for i := range after.Stages {
		now := &after.Stages[i]
		was := stageStatus(before, now.Name)
		if now.Job != "" && now.Job != was.Job {
			attempts.WithLabelValues(technique(&v.pipeline.Spec, now.Name)).Inc()
		}
		over := now.State == v1alpha1.StageCompleted || now.State == v1alpha1.StageFailed
		if over && (was.State != now.State || was.Attempt != now.Attempt) && now.StartTime != nil && now.CompletionTime != nil {
			stageSeconds.WithLabelValues(technique(&v.pipeline.Spec, now.Name), string(now.State), strconv.FormatBool(now.Reused)).
				Observe(now.CompletionTime.Sub(now.StartTime.Time).Seconds())
		}
	}
	if result := resultOf(after); result != "" && result != resultOf(before) {
		finished.WithLabelValues(result).Inc()
		if after.Selected != nil {
			measureSelected(after.Selected.Metrics)
		}
	}
}

// resultOf says how a walk ended in one of a few words, "" while it has not.
func resultOf(status *v1alpha1.OptimizationPipelineStatus) string {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReconciling):
		return ""
	case ready.Reason == walk.ReasonSuspended:
		return ""
	case meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady):
		return resultReady
	case ready.Reason == walk.ReasonNotMet, ready.Reason == walk.ReasonCannotBeMet:
		return resultNotMet
	default:
		return resultFailed
	}
}

func measureSelected(values []v1alpha1.MetricValue) {
	for _, m := range values {
		value, err := strconv.ParseFloat(m.Value, 64)
		if err != nil {
			continue
		}
		switch v1alpha1.Metric(m.Name) {
		case v1alpha1.Accuracy, v1alpha1.AccuracyDrop, v1alpha1.Agreement, v1alpha1.AUC, v1alpha1.Sparsity:
			selectedShare.WithLabelValues(m.Name).Observe(value)
		case v1alpha1.FileBytes, v1alpha1.FlashBytes, v1alpha1.CompressedBytes, v1alpha1.ArenaBytes:
			selectedBytes.WithLabelValues(m.Name).Observe(value)
		case v1alpha1.LatencyMicros:
			selectedLatency.Observe(value / 1e6)
		}
	}
}

// technique names a stage's technique, or the implicit stage: baseline, search or publish.
func technique(spec *v1alpha1.OptimizationPipelineSpec, name string) string {
	s := spec.Stage(name)
	if s == nil {
		return name
	}
	technique, _ := s.Technique()
	return cmp.Or(technique, name) // a search has none
}
