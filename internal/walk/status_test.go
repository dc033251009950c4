package walk

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

func TestDecidingAgainFromWhatTheStatusRecordsGivesTheSame(t *testing.T) {
	names := []string{"baseline", "prune", "pqat", "cluster", "pcqat", "only"}
	tests := map[string]func(f *Facts){
		"everything completed": func(*Facts) {},
		"a stage failed": func(f *Facts) {
			f.Stages["cluster"] = Fact{State: v1alpha1.StageFailed, Attempt: 4, Reason: "OutOfMemory", Message: "raise limits.memory", InputHash: f.Stages["cluster"].InputHash, Started: ago(time.Hour), Ended: ago(0)}
		},
		"a failure without a reason, that speaks of one": func(f *Facts) {
			f.Stages["cluster"] = Fact{State: v1alpha1.StageFailed, Attempt: 4, Message: "at tensor 12: Scale: NaN", InputHash: f.Stages["cluster"].InputHash}
		},
		"an input changed":       func(f *Facts) { c := changed; c.InputHash = f.Stages["prune"].InputHash; f.Stages["prune"] = c },
		"not yet over":           func(f *Facts) { delete(f.Stages, "pcqat") },
		"only the baseline":      func(f *Facts) { f.Stages = stages{"baseline": f.Stages["baseline"]} },
		"nothing at all":         func(f *Facts) { f.Stages, f.Baseline = nil, nil },
		"published":              func(f *Facts) { f.Publish = true },
		"a rate that was found":  func(f *Facts) { s := f.Stages["only"]; s.LearningRate = "0.002"; f.Stages["only"] = s },
		"a leaf from the store":  func(f *Facts) { s := f.Stages["only"]; s.Reused = true; f.Stages["only"] = s },
		"a stage out of retries": func(f *Facts) { s := evicted(4, 0); s.InputHash = f.Stages["pqat"].InputHash; f.Stages["pqat"] = s },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			spec := chain(need(small))
			facts := known(spec, versions, names...)
			change(&facts)
			shown := Shown{Generation: 3, Now: noon, AlgorithmVersion: "1", StoredURI: func(d string) string { return "s3://b/" + d }}
			d := Decide(spec, facts, noon)
			status := d.Status(facts, shown)

			recorded := RecordedFacts(&status, 3, "")
			recorded.Versions, recorded.Publish = facts.Versions, facts.Publish
			shown.Previous, shown.Now = &status, noon.Add(time.Hour)
			again := Decide(spec, recorded, noon.Add(time.Hour))
			if diff := cmp.Diff(status, again.Status(recorded, shown)); diff != "" {
				t.Errorf("the status does not stand:\n%s", diff)
			}
			if diff := cmp.Diff(d.Start, again.Start); diff != "" {
				t.Errorf("other stages start:\n%s", diff)
			}
		})
	}
}

func TestAStatusSaysWhyASearchEnded(t *testing.T) {
	spec := &v1alpha1.OptimizationPipelineSpec{Search: &v1alpha1.Search{Minimize: "CompressedBytes"}, Constraints: []v1alpha1.Constraint{small},
		Selection: v1alpha1.Selection{Strategy: v1alpha1.SelectBest, Objective: "CompressedBytes"}, Stages: []v1alpha1.Stage{{Name: Search}}}
	facts := known(spec, Versions{}, Baseline, Search)
	made := facts.Stages[Search]
	made.Leaf, made.Reason, made.Message = leaf("90", "0").Leaf, EndedByTrials, "all 3 trials of maxTrials were made"
	facts.Stages[Search] = made
	d := Decide(spec, facts, noon)
	status := d.Status(facts, Shown{})
	again := RecordedFacts(&status, 0, "").Stages[Search]
	if i := len(status.Stages) - 1; status.Stages[i].Message != "MaxTrials: all 3 trials of maxTrials were made" || again.Reason != made.Reason || again.Message != made.Message {
		t.Errorf("%+v, %+v", status.Stages[i], again)
	}
	if want := "the leaf of search meets the constraint: its CompressedBytes is 90, that of the baseline 200"; d.Message != want {
		t.Errorf("%s, want %s", d.Message, want)
	}
}

func TestAStatusSaysWhatDefaultsCameTo(t *testing.T) {
	spec := chain(func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Training.Epochs, s.Training.LearningRate = ptr(int32(9)), dec("1e-3")
		s.Stages[1].Training = v1alpha1.Training{Epochs: ptr(int32(0)), Optimizer: "SGD", LearningRate: dec("0.5")}
	})
	spec.Stages[2].Training.Seed = ptr(int64(7))
	facts := known(spec, versions, "baseline", "prune")
	set := func(epochs int32, rate, optimizer string, seed int64) *v1alpha1.StageSettings {
		return &v1alpha1.StageSettings{Epochs: &epochs, BatchSize: 64, LearningRate: rate, Optimizer: optimizer, Schedule: "Cosine", Seed: &seed}
	}
	settings := func(d Decision, facts Facts) map[string]*v1alpha1.StageSettings {
		out := map[string]*v1alpha1.StageSettings{}
		status := d.Status(facts, Shown{Generation: 1, Now: noon})
		for i := range status.Stages {
			out[status.Stages[i].Name] = status.Stages[i].Settings
		}
		return out
	}
	want := map[string]*v1alpha1.StageSettings{
		"baseline": nil, "prune": set(9, "1e-3", "Adam", 1), "pqat": set(0, "0.5", "SGD", 1), "cluster": set(9, "1e-3", "Adam", 7),
		"pcqat": set(9, "1e-3", "Adam", 1), "only": set(9, "1e-3", "Adam", 1),
	}
	if diff := cmp.Diff(want, settings(Decide(spec, facts, noon), facts)); diff != "" {
		t.Error(diff)
	}

	// What a stage had when it was over stays, whatever a spec comes to later; one that found its rate says it.
	spec.Training.LearningRate = nil
	s := facts.Stages["prune"]
	s.LearningRate, s.InputHash = "0.002", ""
	facts.Stages["prune"], facts.Versions = s, nil
	d := Decide(spec, facts, noon)
	status := d.Status(facts, Shown{Generation: 1, Now: noon})
	recorded := RecordedFacts(&status, 1, "")
	spec.Training.Epochs = ptr(int32(1))
	if got := settings(Decide(spec, recorded, noon), recorded); !cmp.Equal(got["prune"], set(9, "0.002", "Adam", 1)) || got["cluster"].LearningRate != "" || *got["cluster"].Epochs != 1 {
		t.Errorf("prune had %+v, cluster will have %+v", got["prune"], got["cluster"])
	}
}

func TestAStatusSaysHowManyEpochsWereSought(t *testing.T) {
	spec := chain(func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Training.Epochs, s.Training.MaxEpochs = nil, ptr(int32(30))
		s.Stages[1].Training.Epochs = ptr(int32(2))
		s.Stages[2].Training.MaxMinutes = dec("5")
	})
	facts := known(spec, versions, "baseline", "prune")
	f := facts.Stages["prune"]
	f.Epochs, f.InputHash = 11, ""
	facts.Stages["prune"], facts.Versions = f, nil
	status := Decide(spec, facts, noon)
	want := map[string]*int32{"prune": ptr(int32(11)), "pqat": ptr(int32(2)), "cluster": nil, "pcqat": nil, "only": nil}
	for _, s := range status.Status(facts, Shown{Generation: 1, Now: noon}).Stages[1:] {
		if diff := cmp.Diff(want[s.Name], s.Settings.Epochs); diff != "" {
			t.Errorf("%s: %s", s.Name, diff)
		}
	}
	if e := spec.Effective(&spec.Stages[2]); *e.MaxEpochs != 30 || *e.MaxMinutes != "5" {
		t.Errorf("a stage's time sets the pipeline's epochs aside: %+v", e)
	}
}

func TestAnotherGenerationGivesFailuresAnotherChance(t *testing.T) {
	spec := chain(need(small))
	facts := known(spec, versions, "baseline", "prune")
	facts.Stages["prune"] = Fact{State: v1alpha1.StageFailed, Attempt: 4, Reason: "OutOfMemory", Message: "m", InputHash: facts.Stages["prune"].InputHash}
	d := Decide(spec, facts, noon)
	status := d.Status(facts, Shown{Generation: 1, Now: noon})
	recorded := RecordedFacts(&status, 2, "")
	recorded.Versions = &versions
	d = Decide(spec, recorded, noon)
	if strings.Join(d.Start, " ") != "prune" || d.Stage("prune").Attempt != 5 {
		t.Errorf("starts %v as attempt %d, want prune as attempt 5, so that its Job has a name of its own", d.Start, d.Stage("prune").Attempt)
	}
	if again := RecordedFacts(&status, 1, "token").Stages["prune"]; again.State != "" || again.Attempt != 4 {
		t.Errorf("with another rerun token the failure still stands: %+v", again)
	}
	status = d.Status(recorded, Shown{Generation: 2, Now: noon})
	recorded = RecordedFacts(&status, 2, "")
	recorded.Versions = &versions
	if d = Decide(spec, recorded, noon); strings.Join(d.Start, " ") != "prune" || d.Stage("prune").Attempt != 5 {
		t.Errorf("killed after the status patch: starts %v as attempt %d", d.Start, d.Stage("prune").Attempt)
	}
}

func TestConditions(t *testing.T) {
	full := stages{"baseline": leaf("200", "0"), "prune": leaf("150", "0"), "pqat": leaf("140", "0"), "cluster": leaf("110", "0"), "pcqat": leaf("120", "0"), "only": leaf("130", "0")}
	tests := map[string]struct {
		spec   *v1alpha1.OptimizationPipelineSpec
		stages stages
		want   string // status and reason of Ready, Reconciling, Stalled, ConstraintsMet
	}{
		"under way":             {chain(need(small)), with(nil), "Unknown Progressing, True Progressing, False Progressing, Unknown Undecided"},
		"met":                   {chain(need(small)), stages{"baseline": leaf("1", "0")}, "True ConstraintsMet, False ConstraintsMet, False ConstraintsMet, True ConstraintsMet"},
		"met, still stopping":   {chain(need(small), parallel(2)), with(stages{"prune": leaf("1", "0"), "only": running}), "Unknown Stopping, True Stopping, False Stopping, True ConstraintsMet"},
		"not met":               {chain(need(small)), full, "False ConstraintsNotMet, False ConstraintsNotMet, True ConstraintsNotMet, False ConstraintsNotMet"},
		"cannot be met":         {chain(need(flash)), with(nil), "False ConstraintsCannotBeMet, False ConstraintsCannotBeMet, True ConstraintsCannotBeMet, False ConstraintsCannotBeMet"},
		"no constraints":        {chain(), full, "True AllStagesRun, False AllStagesRun, False AllStagesRun, True NoConstraints"},
		"the baseline failed":   {chain(need(small)), stages{"baseline": failure}, "False BaselineFailed, False BaselineFailed, True BaselineFailed, Unknown Undecided"},
		"an input changed":      {chain(need(small)), with(stages{"prune": changed}), "False InputChanged, False InputChanged, True InputChanged, Unknown Undecided"},
		"suspended":             {chain(need(small), suspended), with(nil), "False Suspended, False Suspended, False Suspended, Unknown Undecided"},
		"suspended, stopping":   {chain(need(small), suspended), with(stages{"prune": running}), "Unknown Suspended, True Suspended, False Suspended, Unknown Undecided"},
		"a stage failed, unmet": {chain(need(small)), with(stages{"prune": failure, "only": leaf("120", "0")}), "False StageFailed, False StageFailed, True StageFailed, Unknown Undecided"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := Decide(tt.spec, Facts{Stages: tt.stages}, noon)
			var got []string
			for _, c := range d.Conditions(nil, 7, metav1.NewTime(noon)) {
				got = append(got, string(c.Status)+" "+c.Reason)
				if c.ObservedGeneration != 7 || c.Message == "" || !c.LastTransitionTime.Time.Equal(noon) {
					t.Errorf("%+v", c)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTransitionTimesStandWhileTheStatusDoes(t *testing.T) {
	d := Decide(chain(need(small)), Facts{}, noon)
	first := d.Conditions(nil, 1, metav1.NewTime(noon))
	later := d.Conditions(first, 2, metav1.NewTime(noon.Add(time.Hour)))
	for i := range later {
		if !later[i].LastTransitionTime.Time.Equal(noon) || later[i].ObservedGeneration != 2 {
			t.Errorf("%+v", later[i])
		}
	}
	d = Decide(chain(need(small)), Facts{Stages: stages{"baseline": leaf("1", "0")}}, noon)
	for _, c := range d.Conditions(first, 1, metav1.NewTime(noon.Add(time.Hour))) {
		if changed := c.Type != "Stalled"; changed == c.LastTransitionTime.Time.Equal(noon) {
			t.Errorf("%+v", c)
		}
	}
}

func TestTheLongestMessagesKeepTheStatusInBounds(t *testing.T) {
	spec := chain(need(small))
	long := strings.Repeat("ü", 40000)
	facts := Facts{Stages: stages{"baseline": {State: v1alpha1.StageFailed, Reason: "R", Message: long}}}
	d := Decide(spec, facts, noon)
	status := d.Status(facts, Shown{})
	for _, c := range status.Conditions {
		if len(c.Message) > v1alpha1.MaxConditionMessage || !strings.HasSuffix(c.Message, "…") {
			t.Errorf("%s has %d bytes", c.Type, len(c.Message))
		}
	}
	if n := len(status.Stages[0].Message); n > v1alpha1.MaxStageMessage {
		t.Errorf("the stage's message has %d bytes", n)
	}
	if data, err := json.Marshal(status); err != nil || strings.Contains(string(data), "\ufffd") {
		t.Errorf("a character was cut: %v", err)
	}
}

func TestTruncateCutsBetweenWords(t *testing.T) {
	for text, want := range map[string]string{
		"short":                          "short",
		"what the model's address holds": "what the model's…",
		strings.Repeat("x", 30):          strings.Repeat("x", 17) + "…",
	} {
		if got := Truncate(text, 20); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
