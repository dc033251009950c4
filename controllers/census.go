package controllers

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

// States of a pipeline, as espalier_pipelines counts them.
const (
	statePending     = "Pending" // without a status yet
	stateReady       = "Ready"
	stateReconciling = "Reconciling"
	stateStalled     = "Stalled"
	stateSuspended   = "Suspended"
)

// census counts the cached pipelines by state and reason when it is asked. Both are few: the number of series is bounded.
type census struct {
	reader atomic.Pointer[client.Reader] // of the process's controller
	desc   *prometheus.Desc
}

var pipelines = &census{desc: prometheus.NewDesc("espalier_pipelines", "Pipelines there are, by state and the reason of their condition Ready.", []string{"state", "reason"}, nil)}

// Describe implements prometheus.Collector.
func (c *census) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements prometheus.Collector. Every state has a series, of pipelines without a reason if there are none.
func (c *census) Collect(out chan<- prometheus.Metric) {
	reader := c.reader.Load()
	if reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // until the cache is filled
	defer cancel()
	var list v1alpha1.OptimizationPipelineList
	if err := (*reader).List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		out <- prometheus.NewInvalidMetric(c.desc, err)
		return
	}
	for key, n := range count(list.Items) {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), key.state, key.reason)
	}
}

type stateAndReason struct{ state, reason string }

func count(items []v1alpha1.OptimizationPipeline) map[stateAndReason]int {
	counts := map[stateAndReason]int{
		{statePending, ""}: 0, {stateReady, ""}: 0, {stateReconciling, ""}: 0, {stateStalled, ""}: 0, {stateSuspended, ""}: 0,
	}
	for i := range items {
		if items[i].Spec.ManagedByAnother() {
			continue
		}
		counts[stateOf(&items[i].Status)]++
	}
	return counts
}

func stateOf(status *v1alpha1.OptimizationPipelineStatus) stateAndReason {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return stateAndReason{state: statePending}
	case ready.Reason == walk.ReasonSuspended:
		return stateAndReason{stateSuspended, ready.Reason}
	case meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionStalled):
		return stateAndReason{stateStalled, ready.Reason}
	case meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReconciling):
		return stateAndReason{stateReconciling, ready.Reason}
	default:
		return stateAndReason{stateReady, ready.Reason}
	}
}
