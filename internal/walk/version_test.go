package walk

import (
	"strings"
	"testing"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

func TestWhatAnEarlierOperatorRunsGoesOnAndNothingElseStarts(t *testing.T) {
	ending := Versions{Algorithm: versions.Algorithm, Ending: true}
	decide := func(change func(stages)) (Decision, string) {
		spec := chain(need(small), parallel(3))
		facts := known(spec, versions, "baseline", "prune")
		prune := facts.Stages["prune"]
		prune.State, prune.Leaf, prune.Model, prune.Job, prune.Started = v1alpha1.StageRunning, nil, "", "job", ago(time.Minute)
		facts.Stages["prune"] = prune
		if change != nil {
			change(facts.Stages)
		}
		facts.Versions, facts.Publish = &ending, true
		d := Decide(spec, facts, noon)
		return d, strings.Join(d.Start, " ") + "|" + strings.Join(d.Stop, " ")
	}
	d, acts := decide(nil)
	if acts != "|" || !d.Running() || d.Finished || d.Stage("only").State != v1alpha1.StagePending || !strings.Contains(d.Stage("only").Message, "earlier version") {
		t.Errorf("%s: %+v", acts, d.Stage("only"))
	}
	over := func(bytes string) func(stages) {
		return func(s stages) {
			f := leaf(bytes, "0")
			f.InputHash, f.Model = s["prune"].InputHash, "sha256:m"
			s["prune"] = f
		}
	}
	if d, acts = decide(over("90")); acts != "publish|" || !d.Answered || d.Selected != "prune" {
		t.Errorf("with what was missing: %s, selected %q", acts, d.Selected)
	}
	if d, acts = decide(over("900")); acts != "|" || d.Answered || d.Running() {
		t.Errorf("where it is not enough: %s, running %v", acts, d.Running())
	}
	if _, acts = decide(func(s stages) { f := s["prune"]; f.InputHash = "sha256:other"; s["prune"] = f }); acts != "|prune" {
		t.Errorf("what works on something else: %s", acts)
	}
}

func TestAnImageOfAnotherVersionIsTriedAgainWithoutEnd(t *testing.T) {
	prune := func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages = s.Stages[:1] }
	mismatched := func(times int32) Fact {
		f := Fact{Attempt: 50} // attempts that ended otherwise lengthen no pause
		for range times {
			f = Fact{State: v1alpha1.StageFailed, Attempt: f.Attempt + 1, Retry: true, Reason: ReasonVersion, Message: "take template.image out", Ended: ago(0)}.Fail(f)
		}
		return f
	}
	for failures, wait := range map[int32]time.Duration{1: 10 * time.Second, 5: 160 * time.Second, 40: time.Hour} {
		f := mismatched(failures)
		d := Decide(chain(need(small), retries(1), prune), Facts{Stages: with(stages{"prune": f})}, noon)
		if d.Finished || d.Stage("prune").State != v1alpha1.StagePending || d.Reason != ReasonVersion || d.Again.Sub(noon) != wait || len(d.Start) > 0 {
			t.Errorf("after %d failures: starts %v, %s, again in %s", failures, d.Start, d.Reason, d.Again.Sub(noon))
		}
		if !strings.HasSuffix(d.Message, "failed and is followed by another: take template.image out") {
			t.Error(d.Message)
		}
		f.LastFailure.Time = ago(2 * time.Hour)
		d = Decide(chain(need(small), retries(1), prune), Facts{Stages: with(stages{"prune": f})}, noon)
		if strings.Join(d.Start, " ") != "prune" || d.Stage("prune").Attempt != failures+51 {
			t.Errorf("after %d failures and the pause: starts %v", failures, d.Start)
		}
	}
	spec := chain(need(small), func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.BackoffSeconds = ptr(int32(0)) })
	if d := Decide(spec, Facts{Stages: with(stages{"prune": mismatched(3)})}, noon); d.Again.Sub(noon) != 4*time.Second {
		t.Errorf("without backoffSeconds it is tried again in %s", d.Again.Sub(noon))
	}
}

func TestAnImageOfAnotherVersionCountsAgainstNoRetry(t *testing.T) {
	other := Fact{State: v1alpha1.StageFailed, Retry: true, Reason: ReasonVersion, Message: "take template.image out"}
	crash := Fact{State: v1alpha1.StageFailed, Retry: true, Reason: ReasonStageFailed, Message: "its container ended with exit code 1"}
	spec, known := chain(need(small), retries(1), func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages = s.Stages[:1] }), Fact{}
	for i, tt := range []struct {
		failed Fact
		counts int32
		wait   time.Duration
		state  v1alpha1.StageState
	}{
		{other, 0, 10 * time.Second, v1alpha1.StagePending},
		{other, 0, 20 * time.Second, v1alpha1.StagePending},
		{crash, 1, 10 * time.Second, v1alpha1.StagePending},
		{other, 1, 10 * time.Second, v1alpha1.StagePending},
		{crash, 2, 0, v1alpha1.StageFailed},
	} {
		failed := tt.failed
		failed.Attempt, failed.Ended = known.Attempt+1, ago(-time.Hour) // a clock that is ahead
		facts := Facts{Stages: with(stages{"prune": failed.Fail(known)})}
		d := Decide(spec, facts, noon)
		status := d.Status(facts, Shown{Now: noon})
		s := status.Stages[1]
		if s.State != tt.state || s.Failures != tt.counts || s.LastFailure.Attempt != failed.Attempt {
			t.Fatalf("attempt %d: %s, %d failures, the last %+v", i+1, s.State, s.Failures, s.LastFailure)
		}
		if tt.state == v1alpha1.StageFailed {
			continue
		}
		known = RecordedFacts(&status, 0, "").Stages["prune"]
		facts.Stages["prune"] = failed.Fail(known) // its Job is still there
		later := noon.Add(tt.wait / 2)
		if d = Decide(spec, facts, later); len(d.Start) > 0 || !d.Again.Equal(noon.Add(tt.wait)) {
			t.Errorf("attempt %d is followed at %s by %v, want %s after noon", i+1, d.Again, d.Start, tt.wait)
		}
	}
}
