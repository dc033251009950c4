package walk

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

func dec(s string) *v1alpha1.Decimal { d := v1alpha1.Decimal(s); return &d }

func ptr[T any](v T) *T { return &v }

// noon is when decisions are made.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *metav1.Time { t := metav1.NewTime(noon.Add(-d)); return &t }

// chain is prune → pqat, prune → cluster → pcqat, model → only, changed by options.
func chain(options ...func(*v1alpha1.OptimizationPipelineSpec)) *v1alpha1.OptimizationPipelineSpec {
	s := &v1alpha1.OptimizationPipelineSpec{
		Stages: []v1alpha1.Stage{
			{Name: "prune", Prune: &v1alpha1.Prune{Sparsity: "0.5"}}, {Name: "pqat", Quantize: &v1alpha1.Quantize{}},
			{Name: "cluster", Cluster: &v1alpha1.Cluster{Clusters: 16}}, {Name: "pcqat", Quantize: &v1alpha1.Quantize{}},
			{Name: "only", From: "model", Cluster: &v1alpha1.Cluster{Clusters: 16}},
		},
	}
	for _, option := range options {
		option(s)
	}
	return s
}

type option = func(*v1alpha1.OptimizationPipelineSpec)

func need(constraints ...v1alpha1.Constraint) option {
	return func(s *v1alpha1.OptimizationPipelineSpec) { s.Constraints = constraints }
}
func parallel(n int32) option {
	return func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Parallelism = &n }
}
func suspended(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Suspend = true }
func best(s *v1alpha1.OptimizationPipelineSpec)      { s.Selection.Strategy = v1alpha1.SelectBest }
func bestBy(m v1alpha1.Metric) option {
	return func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Selection = v1alpha1.Selection{Strategy: v1alpha1.SelectBest, Objective: m}
	}
}
func retries(n int32) option {
	return func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Retries = &n }
}

var (
	small = v1alpha1.Constraint{Metric: v1alpha1.CompressedBytes, Max: dec("100")}
	good  = v1alpha1.Constraint{Metric: v1alpha1.AccuracyDrop, Max: dec("0.01")}
	flash = v1alpha1.Constraint{Metric: v1alpha1.FileBytes, Max: dec("500")}
	tight = v1alpha1.Constraint{Metric: v1alpha1.FileBytes, Max: dec("596")}
	arena = v1alpha1.Constraint{Metric: v1alpha1.ArenaBytes, Max: dec("1")}
)

// leaf is a completed stage.
func leaf(bytes, drop string) Fact {
	return Fact{State: v1alpha1.StageCompleted, Attempt: 1, Leaf: &v1alpha1.Leaf{Metrics: []v1alpha1.MetricValue{
		{Name: "CompressedBytes", Value: bytes}, {Name: "AccuracyDrop", Value: drop}, {Name: "FileBytes", Value: "600"},
	}}}
}

var (
	running  = Fact{State: v1alpha1.StageRunning, Attempt: 1, Job: "job"}
	stopping = Fact{State: v1alpha1.StageStopping, Attempt: 1, Job: "job"}
	failure  = Fact{State: v1alpha1.StageFailed, Attempt: 1, Message: "loss is NaN"}
	changed  = Fact{State: v1alpha1.StageFailed, Attempt: 1, Reason: ReasonInputChanged, Message: "s3://models/m.tflite has another digest"}
)

// evicted is a failure that may pass, some time ago.
func evicted(attempt int32, since time.Duration) Fact {
	return Fact{State: v1alpha1.StageFailed, Attempt: attempt, Retry: true, Reason: "Evicted", Message: "the node ran out of memory", Ended: ago(since)}
}

// lost is a publish that did not find what the first attempt of a stage made, after so many failures.
func lost(failures int32, name string) Fact {
	return Fact{State: v1alpha1.StageFailed, Attempt: failures, Retry: true, Reason: ReasonResultsLost, Message: "gone", Ended: ago(time.Hour), Lost: map[string]int32{name: 1}}
}

// again is the same by the second attempt.
func again(f Fact) Fact { f.Attempt = 2; return f }

type stages = map[string]Fact

// with adds to the facts of a walk whose baseline is over and does not satisfy.
func with(more stages) stages {
	all := stages{"baseline": leaf("200", "0")}
	maps.Copy(all, more)
	return all
}

func TestDecide(t *testing.T) {
	tests := map[string]struct {
		spec          *v1alpha1.OptimizationPipelineSpec
		stages        stages
		publish       bool
		wantStart     string // names, joined
		wantStop      string
		wantSelected  string
		wantReason    string
		wantFinished  bool
		wantReady     bool
		wantSuspended bool
		wantProgress  string
		wantMessage   string
		wantAgain     time.Duration // from noon
	}{
		"nothing known: the baseline starts": {
			spec: chain(need(small)), wantStart: "baseline", wantReason: ReasonProgressing, wantProgress: "0/5", wantMessage: "0 of 5 stages completed",
		},
		"nothing starts before the baseline is over": {
			spec: chain(need(small), parallel(9)), stages: stages{"baseline": running}, wantReason: ReasonProgressing, wantProgress: "0/5", wantMessage: "running baseline",
		},
		"the baseline's leaf satisfies: everything else is skipped": {
			spec: chain(need(small)), stages: stages{"baseline": leaf("90", "0")},
			wantSelected: "baseline", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "0/5",
			wantMessage: "the leaf of baseline meets the constraint",
		},
		"a chain goes one by one": {
			spec: chain(need(small)), stages: with(nil), wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"the next stage waits while one runs": {
			spec: chain(need(small)), stages: with(stages{"prune": running}), wantReason: ReasonProgressing, wantProgress: "0/5", wantMessage: "0 of 5 stages completed; running prune",
		},
		"branches run side by side where parallelism allows": {
			spec: chain(need(small), parallel(2)), stages: with(nil), wantStart: "prune only", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"siblings start when their input is there": {
			spec: chain(need(small), parallel(3)), stages: with(stages{"prune": leaf("200", "0"), "only": running}), wantStart: "pqat cluster", wantReason: ReasonProgressing, wantProgress: "1/5",
		},
		"a stage being stopped still takes its place": {
			spec: chain(need(small)), stages: with(stages{"prune": stopping}), wantStop: "prune", wantReason: ReasonProgressing, wantProgress: "0/5", wantMessage: "stopping prune",
		},
		"a satisfying leaf waits for those before it, and nothing after it starts": {
			spec:   chain(need(small), parallel(3)),
			stages: with(stages{"prune": running, "pqat": leaf("50", "0")}), wantReason: ReasonProgressing, wantProgress: "1/5", wantMessage: "1 of 5 stages completed, 3 skipped; running prune",
		},
		"what runs after a satisfying leaf is stopped even before the answer is known": {
			spec:   chain(need(small), parallel(3)),
			stages: with(stages{"prune": leaf("200", "0"), "pqat": running, "cluster": leaf("50", "0"), "only": running}), wantStop: "only", wantReason: ReasonProgressing, wantProgress: "2/5",
		},
		"the first satisfying leaf wins; the walk ends when what still ran has stopped": {
			spec:     chain(need(small), parallel(3)),
			stages:   with(stages{"prune": leaf("90", "0"), "only": running}),
			wantStop: "only", wantSelected: "prune", wantReason: ReasonStopping, wantProgress: "1/5", wantMessage: "stopping only",
		},
		"the first satisfying leaf wins": {
			spec: chain(need(small, good), parallel(3)), stages: with(stages{"prune": leaf("90", "0")}),
			wantSelected: "prune", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "1/5", wantMessage: "the leaf of prune meets all 2 constraints",
		},
		"Best runs everything": {
			spec: chain(need(small), best), stages: with(stages{"prune": leaf("90", "0")}), wantStart: "pqat", wantReason: ReasonProgressing, wantProgress: "1/5",
		},
		"Best takes the smallest satisfying leaf": {
			spec: chain(need(small, good), best),
			stages: with(stages{"prune": leaf("90", "0"), "pqat": leaf("80", "0.005"), "cluster": leaf("40", "0.02"), "pcqat": leaf("45", "0.01"),
				"only": leaf("60", "0")}),
			wantSelected: "pcqat", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "5/5",
			wantMessage: "the leaf of pcqat meets all 2 constraints: its CompressedBytes, 45, is the best of the 4 that do; next is only with 60",
		},
		"Best takes the one that satisfies": {
			spec:         chain(need(small), best),
			stages:       with(stages{"prune": leaf("90", "0"), "pqat": leaf("150", "0"), "cluster": leaf("140", "0"), "pcqat": leaf("145", "0"), "only": leaf("160", "0")}),
			wantSelected: "prune", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "5/5", wantMessage: "the leaf of prune meets the constraint, no other does",
		},
		"Best takes the first of equals": {
			spec: chain(need(small), best), stages: with(stages{"prune": leaf("90", "0"), "pqat": leaf("45", "0"), "cluster": leaf("45.0", "0"), "pcqat": leaf("50", "0"), "only": leaf("60", "0")}),
			wantSelected: "pqat", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "5/5",
		},
		"Best by another objective": {
			spec:         chain(need(small), bestBy(v1alpha1.AccuracyDrop)),
			stages:       with(stages{"prune": leaf("90", "0.01"), "pqat": leaf("45", "0.02"), "cluster": leaf("45", "-0.001"), "pcqat": leaf("50", "0"), "only": leaf("60", "0")}),
			wantSelected: "cluster", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "5/5",
		},
		"Best without constraints takes the best of all": {
			spec:         chain(best),
			stages:       with(stages{"prune": leaf("90", "0"), "pqat": leaf("45", "0"), "cluster": leaf("30", "0"), "pcqat": leaf("50", "0"), "only": leaf("60", "0")}),
			wantSelected: "cluster", wantFinished: true, wantReady: true, wantReason: ReasonAllStagesRun, wantProgress: "5/5", wantMessage: "the best CompressedBytes, cluster",
		},
		"no constraints: all run and the last leaf is taken": {
			spec: chain(), stages: stages{"baseline": leaf("1", "0"), "prune": leaf("2", "0"), "pqat": leaf("3", "0"), "cluster": leaf("4", "0"), "pcqat": leaf("5", "0"), "only": leaf("6", "0")},
			wantSelected: "only", wantFinished: true, wantReady: true, wantReason: ReasonAllStagesRun, wantProgress: "5/5", wantMessage: "no constraints: the last leaf, only, is taken",
		},
		"no constraints: the walk goes on": {
			spec: chain(), stages: stages{"baseline": leaf("1", "0")}, wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"no constraints: a failed stage is not passed over in silence": {
			spec: chain(), stages: with(stages{"prune": leaf("2", "0"), "pqat": leaf("3", "0"), "cluster": failure, "only": leaf("6", "0")}),
			wantSelected: "only", wantFinished: true, wantReason: ReasonStageFailed, wantProgress: "3/5", wantMessage: "cluster failed: loss is NaN",
		},
		"nothing satisfies: the nearest leaf, its shortfall and what to try": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("150", "0"), "pqat": leaf("140", "0"), "cluster": leaf("110", "0"), "pcqat": leaf("120", "0"), "only": leaf("130", "0")}),
			wantFinished: true, wantReason: ReasonNotMet, wantProgress: "5/5",
			wantMessage: "no leaf meets every constraint; cluster is nearest: CompressedBytes is 110, 10 above max 100 (try more sparsity, fewer clusters or a higher entropy weight)",
		},
		"nothing satisfies: drops and sizes are weighed by their bounds": {
			spec: chain(need(small, good)), stages: with(stages{"prune": leaf("101", "0.02"), "pqat": leaf("150", "0.01"), "cluster": leaf("110", "0.012"), "pcqat": leaf("140", "0"), "only": leaf("139", "0.5")}),
			wantFinished: true, wantReason: ReasonNotMet, wantProgress: "5/5",
			wantMessage: "cluster is nearest: CompressedBytes is 110, 10 above max 100 (try more sparsity, fewer clusters or a higher entropy weight); AccuracyDrop is 0.012, 0.002 above max 0.01 (try more epochs",
		},
		"a constraint that no stage can change ends the walk at once": {
			spec: chain(need(small, flash)), stages: with(nil),
			wantFinished: true, wantReason: ReasonCannotBeMet, wantProgress: "0/5", wantMessage: "FileBytes is 600, 100 above max 500: every int8 leaf",
		},
		"leaves of another kind, of a stage's own, may change what is fixed": {
			spec: chain(need(flash), func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Leaf.KeepFloat = []string{"dense"}
				s.Stages[1].Quantize.KeepFloat = []string{}
			}), stages: with(nil), wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"channels that are taken out may change what is fixed": {
			spec: chain(need(flash), func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Stages[0].Prune = &v1alpha1.Prune{Structure: v1alpha1.PruneChannels, Channels: new(v1alpha1.Decimal("0.5"))}
			}), stages: with(nil), wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"files with encoded weights differ in size": {
			spec: chain(need(flash), func(s *v1alpha1.OptimizationPipelineSpec) { s.Leaf.Encode = "Auto" }), stages: with(nil),
			wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"nothing satisfies though weights are encoded": {
			spec:         chain(need(flash), func(s *v1alpha1.OptimizationPipelineSpec) { s.Leaf.Encode = "Auto" }),
			stages:       with(stages{"prune": leaf("150", "0"), "pqat": leaf("140", "0"), "cluster": leaf("110", "0"), "pcqat": leaf("120", "0"), "only": leaf("130", "0")}),
			wantFinished: true, wantReason: ReasonNotMet, wantProgress: "5/5", wantMessage: "(its weights are encoded, and take less with more sparsity or fewer clusters;",
		},
		"another calibration does not change what is fixed": {
			spec: chain(need(flash), func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[1].Quantize.Calibration.Method = "MSE" }), stages: with(nil),
			wantFinished: true, wantReason: ReasonCannotBeMet, wantProgress: "0/5", wantMessage: "FileBytes is 600",
		},
		"a constraint missed by less than a percent may still be met": {
			spec: chain(need(tight)), stages: with(nil), wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"a metric that was not measured does not end the walk at once": {
			spec: chain(need(arena)), stages: with(nil), wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"a metric that nothing gives says what it needs": {
			spec: chain(need(v1alpha1.Constraint{Metric: v1alpha1.AUC, Min: dec("0.9")})), stages: with(stages{"prune": leaf("150", "0"), "pqat": leaf("140", "0"), "cluster": leaf("110", "0"), "pcqat": leaf("120", "0"), "only": leaf("130", "0")}),
			wantFinished: true, wantReason: ReasonNotMet, wantProgress: "5/5",
			wantMessage: "AUC could not be measured on this dataset (it needs labels of two classes",
		},
		"a failed stage takes down what builds on it, not its siblings": {
			spec: chain(need(small)), stages: with(stages{"prune": failure}), wantStart: "only", wantReason: ReasonProgressing, wantProgress: "0/5", wantMessage: "0 of 5 stages completed, 1 failed, 3 skipped",
		},
		"a failed stage is named at the end": {
			spec: chain(need(small)), stages: with(stages{"prune": failure, "only": leaf("120", "0")}),
			wantFinished: true, wantReason: ReasonStageFailed, wantProgress: "1/5", wantMessage: "only is nearest: CompressedBytes is 120, 20 above max 100 (try more sparsity, fewer clusters or a higher entropy weight); prune failed: loss is NaN",
		},
		"a failed stage does not matter where a leaf satisfies": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("120", "0"), "pqat": failure, "cluster": leaf("90", "0")}),
			wantSelected: "cluster", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "2/5",
		},
		"a failure's own reason is the pipeline's": {
			spec: chain(need(small)), stages: with(stages{"prune": {State: v1alpha1.StageFailed, Reason: "OutOfMemory", Message: "raise limits.memory"}, "only": leaf("120", "0")}),
			wantFinished: true, wantReason: "OutOfMemory", wantProgress: "1/5", wantMessage: "; prune failed: raise limits.memory",
		},
		"a failed baseline ends the walk": {
			spec: chain(need(small)), stages: stages{"baseline": failure}, wantFinished: true, wantReason: ReasonBaselineFailed, wantProgress: "0/5", wantMessage: "the baseline failed: loss is NaN",
		},
		"a model that cannot be used is said to be one": {
			spec: chain(need(small)), stages: stages{"baseline": {State: v1alpha1.StageFailed, Reason: ReasonInvalidModel, Message: "no .tflite file"}}, wantFinished: true, wantReason: ReasonInvalidModel, wantProgress: "0/5",
			wantMessage: "the model or the dataset cannot be used: no .tflite file",
		},
		"so is a dataset": {
			spec: chain(need(small)), stages: stages{"baseline": {State: v1alpha1.StageFailed, Reason: ReasonInvalidDataset, Message: "no samples"}}, wantFinished: true, wantReason: ReasonInvalidDataset, wantProgress: "0/5",
			wantMessage: "the model or the dataset cannot be used: no samples",
		},
		"memory that ran out is not the model's fault": {
			spec: chain(need(small), retries(0)), stages: stages{"baseline": {State: v1alpha1.StageFailed, Attempt: 1, Retry: true, Reason: "OOMKilled", Message: "raise limits.memory"}}, wantFinished: true, wantReason: "OOMKilled", wantProgress: "0/5",
			wantMessage: "the baseline failed: raise limits.memory",
		},
		"a baseline past its deadline says so once": {
			spec: chain(need(small)), stages: stages{"baseline": {State: v1alpha1.StageRunning, Attempt: 1, Started: ago(25 * time.Hour)}}, wantStop: "baseline", wantFinished: true, wantReason: ReasonDeadline, wantProgress: "0/5",
			wantMessage: "the baseline failed: attempt 1 took longer than activeDeadlineSeconds, 86400",
		},
		"a failed baseline has its own reason": {
			spec: chain(need(small)), stages: stages{"baseline": {State: v1alpha1.StageFailed, Reason: "BadCredentials", Message: "403"}}, wantFinished: true, wantReason: "BadCredentials", wantProgress: "0/5", wantMessage: "the baseline failed: 403",
		},
		"an input that changed ends the walk": {
			spec: chain(need(small)), stages: with(stages{"prune": changed}), wantFinished: true, wantReason: ReasonInputChanged, wantProgress: "0/5", wantMessage: "set the annotation espalier.dev/rerun",
		},
		"an input that changed stops what runs": {
			spec: chain(need(small), parallel(2)), stages: with(stages{"prune": changed, "only": running}), wantStop: "only", wantReason: ReasonStopping, wantProgress: "0/5",
		},
		"an input that changed does not undo an answer": {
			spec: chain(need(small), parallel(2)), stages: with(stages{"prune": leaf("90", "0"), "only": changed}), wantSelected: "prune", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "1/5",
		},
		"suspended: nothing starts": {
			spec: chain(need(small), suspended), wantSuspended: true, wantReason: ReasonSuspended, wantProgress: "0/5", wantMessage: "spec.runPolicy.suspend is true",
		},
		"suspended: what runs is stopped": {
			spec: chain(need(small), suspended), stages: with(stages{"prune": running}), wantStop: "prune", wantReason: ReasonSuspended, wantProgress: "0/5",
		},
		"suspended after the answer: the answer stands": {
			spec: chain(need(small), suspended), stages: with(stages{"prune": leaf("90", "0")}), wantSelected: "prune", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "1/5",
		},
		"a failure that may pass is tried again when the backoff is over": {
			spec: chain(need(small)), stages: with(stages{"prune": evicted(1, 10*time.Second)}), wantStart: "prune", wantReason: ReasonRetrying, wantProgress: "0/5",
			wantMessage: "prune: attempt 1 failed, retry 1 of 3: Evicted: the node ran out of memory",
		},
		"a failure that may pass waits for the backoff": {
			spec: chain(need(small)), stages: with(stages{"prune": evicted(1, 4*time.Second)}), wantStart: "only", wantReason: ReasonRetrying, wantProgress: "0/5", wantAgain: 6 * time.Second,
		},
		"the backoff doubles": {
			spec: chain(need(small)), stages: with(stages{"prune": evicted(3, 10*time.Second), "only": running}), wantReason: ReasonRetrying, wantProgress: "0/5", wantAgain: 30 * time.Second,
		},
		"the backoff has a limit": {
			spec: chain(need(small), retries(20)), stages: with(stages{"prune": evicted(20, 0), "only": running}), wantReason: ReasonRetrying, wantProgress: "0/5", wantAgain: time.Hour,
		},
		"a node's clock that is an hour ahead does not hold up the next attempt for longer": {
			spec: chain(need(small)), stages: with(stages{"prune": evicted(1, -time.Hour)}), wantStart: "only", wantReason: ReasonRetrying, wantProgress: "0/5", wantAgain: 10 * time.Second,
		},
		"retries come to an end": {
			spec: chain(need(small)), stages: with(stages{"prune": evicted(4, time.Hour), "only": leaf("120", "0")}), wantFinished: true, wantReason: "Evicted", wantProgress: "1/5",
		},
		"failures before the last edit do not count": {
			spec: chain(need(small)), stages: with(stages{"prune": func() Fact { f := evicted(7, time.Hour); f.Failures = 2; return f }()}), wantStart: "prune", wantReason: ReasonRetrying, wantProgress: "0/5",
		},
		"no retries: the first failure counts": {
			spec: chain(need(small), retries(0)), stages: with(stages{"prune": evicted(1, time.Hour), "only": leaf("120", "0")}), wantFinished: true, wantReason: "Evicted", wantProgress: "1/5",
		},
		"an attempt within its deadline is looked at again when that is over": {
			spec: chain(need(small)), stages: with(stages{"prune": {State: v1alpha1.StageRunning, Attempt: 1, Started: ago(time.Hour)}}), wantReason: ReasonProgressing, wantProgress: "0/5",
			wantAgain: 23 * time.Hour,
		},
		"an attempt past its deadline is stopped and has failed": {
			spec: chain(need(small)), stages: with(stages{"prune": {State: v1alpha1.StageRunning, Attempt: 1, Started: ago(25 * time.Hour)}}), wantStart: "only", wantStop: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
			wantMessage: "1 failed",
		},
		"a stage's own deadline counts": {
			spec:   chain(need(small), func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].ActiveDeadlineSeconds = ptr(int64(60)) }),
			stages: with(stages{"prune": {State: v1alpha1.StageRunning, Attempt: 1, Started: ago(time.Hour)}, "only": leaf("120", "0")}), wantStop: "prune", wantFinished: true, wantReason: ReasonDeadline, wantProgress: "1/5",
			wantMessage: "; prune failed: attempt 1 took longer than activeDeadlineSeconds, 60",
		},
		"a stage held back is queued and lets no other pass": {
			spec: chain(need(small)), stages: with(stages{"prune": {State: v1alpha1.StageQueued, Reason: "WaitingForVolume", Message: "claim models is in use"}}), wantReason: "WaitingForVolume", wantProgress: "0/5",
			wantMessage: "queued prune; prune: claim models is in use",
		},
		"a Job that waits for quota is queued": {
			spec: chain(need(small)), stages: with(stages{"prune": {State: v1alpha1.StageQueued, Attempt: 1, Job: "j"}}), wantReason: ReasonQueued, wantProgress: "0/5",
		},
		"what keeps a stage from running is the pipeline's reason": {
			spec: chain(need(small), parallel(2)), stages: with(stages{"prune": {State: v1alpha1.StageRunning, Attempt: 1, Job: "j", Reason: "Unschedulable", Message: "no arm64 node"}}), wantStart: "only",
			wantReason: "Unschedulable", wantProgress: "0/5", wantMessage: "running prune; prune: no arm64 node",
		},
		"skipped in an earlier status means nothing": {
			spec: chain(need(small)), stages: with(stages{"prune": {State: v1alpha1.StageSkipped}}), wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"an answer is published": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("90", "0")}), publish: true, wantStart: "publish", wantSelected: "prune", wantReason: ReasonPublishing, wantProgress: "1/5",
		},
		"publishing waits for what is being stopped": {
			spec: chain(need(small), parallel(2)), stages: with(stages{"prune": leaf("90", "0"), "only": running}), publish: true, wantStop: "only", wantSelected: "prune", wantReason: ReasonStopping, wantProgress: "1/5",
		},
		"nothing is published before there is an answer": {
			spec: chain(need(small)), stages: with(nil), publish: true, wantStart: "prune", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"publishing that has no point any more is stopped": {
			spec: chain(need(small)), stages: with(stages{"publish": running}), publish: true, wantStart: "", wantStop: "publish", wantReason: ReasonProgressing, wantProgress: "0/5",
		},
		"the walk ends when the answer is published": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("90", "0"), "publish": {State: v1alpha1.StageCompleted}}), publish: true, wantSelected: "prune", wantFinished: true, wantReady: true, wantReason: ReasonConstraintsMet, wantProgress: "1/5",
		},
		"what did not satisfy is published as well": {
			spec: chain(need(flash)), stages: with(nil), publish: true, wantStart: "publish", wantReason: ReasonPublishing, wantProgress: "0/5",
		},
		"publishing that fails is not success": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("90", "0"), "publish": {State: v1alpha1.StageFailed, Reason: "BadCredentials", Message: "403"}}), publish: true,
			wantSelected: "prune", wantFinished: true, wantReason: ReasonPublishFailed, wantProgress: "1/5", wantMessage: "it could not be published: BadCredentials: 403",
		},
		"publishing that fails is told beside the answer": {
			spec: chain(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages = s.Stages[:1] }), publish: true,
			stages:       with(stages{"prune": leaf("90", "0"), "publish": {State: v1alpha1.StageFailed, Reason: ReasonInvalidSpec, Message: "too long"}}),
			wantSelected: "prune", wantFinished: true, wantReason: ReasonPublishFailed, wantProgress: "1/1",
			wantMessage: "no constraints: the last leaf, prune, is taken; it could not be published: InvalidSpec: too long",
		},
		"what publish did not find runs again, and nothing else": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("120", "0"), "pqat": leaf("90", "0"), "publish": lost(1, "pqat")}), publish: true,
			wantStart: "pqat", wantReason: ReasonRetrying, wantProgress: "1/5", wantMessage: "pqat: attempt 1 failed, retry 1 of 3: ResultsLost: what it made is not in the store any more",
		},
		"what was made again is published": {
			spec: chain(need(small), retries(0)), stages: with(stages{"prune": leaf("120", "0"), "pqat": again(leaf("90", "0")), "publish": lost(1, "pqat")}), publish: true,
			wantStart: "publish", wantSelected: "pqat", wantReason: ReasonRetrying, wantProgress: "2/5",
		},
		"what is lost again and again is given up": {
			spec: chain(need(small), retries(0)), stages: with(stages{"prune": leaf("120", "0"), "pqat": again(leaf("90", "0")), "publish": lost(2, "prune")}), publish: true,
			wantSelected: "pqat", wantFinished: true, wantReason: ReasonPublishFailed, wantProgress: "2/5", wantMessage: "it could not be published: ResultsLost: gone",
		},
		"publishing is tried again": {
			spec: chain(need(small)), stages: with(stages{"prune": leaf("90", "0"), "publish": evicted(1, time.Minute)}), publish: true, wantStart: "publish", wantSelected: "prune", wantReason: ReasonRetrying, wantProgress: "1/5",
		},
		"there is nothing to publish where no leaf came about": {
			spec: chain(need(small)), stages: stages{"baseline": failure}, publish: true, wantFinished: true, wantReason: ReasonBaselineFailed, wantProgress: "0/5",
		},
		"suspended: publishing waits": {
			spec: chain(need(small), suspended), stages: with(stages{"prune": leaf("90", "0")}), publish: true, wantSelected: "prune", wantSuspended: true, wantReason: ReasonSuspended, wantProgress: "1/5",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			facts := Facts{Stages: tt.stages, Publish: tt.publish}
			facts.TakeBack(tt.spec)
			d := Decide(tt.spec, facts, noon)
			type outcome struct {
				Start, Stop, Selected, Reason, Progress string
				Finished, Ready, Suspended              bool
			}
			want := outcome{tt.wantStart, tt.wantStop, tt.wantSelected, tt.wantReason, tt.wantProgress, tt.wantFinished, tt.wantReady, tt.wantSuspended}
			got := outcome{strings.Join(d.Start, " "), strings.Join(d.Stop, " "), d.Selected, d.Reason, d.Progress(), d.Finished, d.Ready, d.Suspended}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(d.Message, tt.wantMessage) {
				t.Errorf("message %q, want %q in it", d.Message, tt.wantMessage)
			}
			if tt.wantAgain == 0 != d.Again.IsZero() || tt.wantAgain != 0 && d.Again.Sub(noon) != tt.wantAgain {
				t.Errorf("again %v, want noon + %v", d.Again, tt.wantAgain)
			}
			coherent(t, &d)
		})
	}
}

func TestASearchEndsBeforeTrialsThatCannotHelp(t *testing.T) {
	bound := func(m v1alpha1.Metric, min, max string) v1alpha1.Constraint {
		c := v1alpha1.Constraint{Metric: m}
		if min != "" {
			c.Min = dec(min)
		}
		if max != "" {
			c.Max = dec(max)
		}
		return c
	}
	original := []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}, {Name: "MeanSquaredError", Value: "2"}}
	tests := map[string]struct {
		of     v1alpha1.Constraint
		epochs int32
		want   string // "": trials go on
	}{
		"a file size that fewer channels may have": {bound("FileBytes", "", "300"), 0, ""},
		"a time that fewer channels may take":      {bound("LatencyMicros", "", "40"), 1, ""},
		"an accuracy that the original lacks":      {bound("Accuracy", "0.95", ""), 0, "Accuracy is 0.89, 0.06 below min 0.95: the original itself has 0.9, and trials without training only come near its answers; bound it by less"},
		"that training may bring":                  {bound("Accuracy", "0.95", ""), 1, ""},
		"that is nearly there":                     {bound("Accuracy", "0.901", ""), 0, ""},
		"that the original has":                    {bound("Accuracy", "0.895", ""), 0, ""},
		"an error that the original is not below":  {bound("MeanSquaredError", "", "1"), 0, "the original itself has 2"},
		"what the original was not measured by":    {bound("AUC", "0.9", ""), 0, ""},
		"what trials are for":                      {bound("CompressedBytes", "", "20"), 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.OptimizationPipelineSpec{Search: &v1alpha1.Search{}, Constraints: []v1alpha1.Constraint{tt.of}}
			spec.Training.Epochs = &tt.epochs
			of := leaf("200", "0")
			of.Leaf.Metrics = append(of.Leaf.Metrics, []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.89"}, {Name: "MeanSquaredError", Value: "2.1"}, {Name: "LatencyMicros", Value: "80"}}...)
			d := Decide(spec, Facts{Stages: stages{"baseline": of}, Baseline: &v1alpha1.Baseline{Metrics: original}}, noon)
			if hopeless := d.Reason == ReasonCannotBeMet; hopeless != (tt.want != "") || !strings.Contains(d.Message, tt.want) {
				t.Errorf("%s: %s", d.Reason, d.Message)
			}
			spec.Search, spec.Stages = nil, chain().Stages
			if tt.of.Metric == v1alpha1.FileBytes {
				return
			}
			if d := Decide(spec, Facts{Stages: stages{"baseline": of}, Baseline: &v1alpha1.Baseline{Metrics: original}}, noon); d.Reason != ReasonProgressing {
				t.Errorf("of stages: %s: %s", d.Reason, d.Message)
			}
		})
	}
}

// coherent checks what holds of every decision.
func coherent(t *testing.T, d *Decision) {
	t.Helper()
	if d.Finished && len(d.Start) > 0 || d.Ready && !d.Finished || d.Ready && d.Stalled() || d.Finished && !d.Answered {
		t.Errorf("finished %v, ready %v, stalled %v, answered %v with start %v", d.Finished, d.Ready, d.Stalled(), d.Answered, d.Start)
	}
	if d.Reason == "" || d.Message == "" {
		t.Error("a decision without reason or message")
	}
	for _, s := range d.Stages {
		if s.State == "" {
			t.Errorf("%s has no state", s.Name)
		}
		if d.Finished && s.inFlight() {
			t.Errorf("finished, but %s is %s", s.Name, s.State)
		}
	}
	true := map[string]bool{}
	for _, c := range d.Conditions(nil, 1, metav1.NewTime(noon)) {
		true[c.Type] = c.Status == metav1.ConditionTrue
	}
	if n := count(true["Ready"], true["Reconciling"], true["Stalled"], d.Suspended); n != 1 {
		t.Errorf("%d of Ready, Reconciling, Stalled and suspended hold, want one: %v", n, true)
	}
}

func count(values ...bool) (n int) {
	for _, v := range values {
		if v {
			n++
		}
	}
	return n
}

func TestTheAnswerDoesNotDependOnTheOrderOfOutcomes(t *testing.T) {
	spec := chain(need(small, good), parallel(8))
	final := stages{"baseline": leaf("200", "0"), "prune": leaf("150", "0"), "pqat": leaf("99", "0.02"), "cluster": leaf("90", "0.03"), "pcqat": leaf("80", "0.01"), "only": leaf("70", "0")}
	// Whenever something runs, either one of the running stages may end first: walk every way.
	var play func(known stages, trail string)
	ways := 0
	play = func(known stages, trail string) {
		d := Decide(spec, Facts{Stages: known}, noon)
		next := maps.Clone(known)
		if next == nil {
			next = stages{}
		}
		for _, name := range d.Stop {
			delete(next, name)
		}
		for _, name := range d.Start {
			next[name] = running
		}
		if d.Finished {
			ways++
			if d.Selected != "pcqat" {
				t.Errorf("after%s %q is selected, want pcqat", trail, d.Selected)
			}
			return
		}
		ended := false
		for name, f := range next {
			if f.State == v1alpha1.StageRunning {
				ended = true
				then := maps.Clone(next)
				then[name] = final[name]
				play(then, trail+" "+name)
			}
		}
		if !ended && len(d.Stop) == 0 {
			t.Fatalf("after%s nothing runs and nothing starts: %s", trail, d.Message)
		} else if !ended {
			play(next, trail)
		}
	}
	play(nil, "")
	if ways < 5 {
		t.Errorf("only %d ways were walked", ways)
	}
}
