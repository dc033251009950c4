package walk

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
)

var (
	versions = Versions{Algorithm: "1"}
	pinned   = v1alpha1.Baseline{ModelDigest: "sha256:m", DatasetDigest: "sha256:d"}
)

func TestHashDependsOnEveryInput(t *testing.T) {
	base := Inputs{AlgorithmVersion: "1", KernelClass: "avx2", Technique: 1, Training: 2, Dataset: 3, Parent: "p", Data: "d", Teacher: "t"}
	want, err := base.Hash()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Inputs){
		"algorithm": func(i *Inputs) { i.AlgorithmVersion = "2" }, "kernels": func(i *Inputs) { i.KernelClass = "neon" },
		"technique": func(i *Inputs) { i.Technique = 9 }, "training": func(i *Inputs) { i.Training = 9 }, "dataset": func(i *Inputs) { i.Dataset = 9 },
		"parent": func(i *Inputs) { i.Parent = "x" }, "data": func(i *Inputs) { i.Data = "x" }, "teacher": func(i *Inputs) { i.Teacher = "x" },
	} {
		changed := base
		change(&changed)
		if got, _ := changed.Hash(); got == want {
			t.Errorf("another %s has the same hash", name)
		}
	}
}

func TestStageHash(t *testing.T) {
	base := StageHash(chain(), "prune", versions, pinned, "sha256:m")
	tests := map[string]struct {
		change option
		same   bool
	}{
		"a default written out":             {func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = ptr(int32(3)) }, true},
		"a default written out at a stage":  {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Training.Momentum = dec("0.9") }, true},
		"a rate where one was to be found":  {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Training.LearningRate = dec("1e-4") }, false},
		"a technique's default written out": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Prune.Scope = "Layer" }, true},
		"a number written otherwise":        {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Prune.Sparsity = ".50" }, true},
		"another name":                      {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[1].Name = "x" }, true},
		"another image":                     {func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.Image = "x" }, true},
		"other resources":                   {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Template.PriorityClassName = "x" }, true},
		"other constraints":                 {need(small), true},
		"another address":                   {func(s *v1alpha1.OptimizationPipelineSpec) { s.Dataset.URI, s.Model.URI = "x", "y" }, true},
		"another stage's settings":          {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[1].Training.Seed = ptr(int64(9)) }, true},
		"another seed":                      {func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Seed = ptr(int64(9)) }, false},
		"other epochs of the stage":         {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Training.Epochs = ptr(int32(9)) }, false},
		"another sparsity":                  {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Prune.Sparsity = "0.6" }, false},
		"another technique": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Stages[0].Prune, s.Stages[0].Quantize = nil, &v1alpha1.Quantize{}
		}, false},
		"zeros chosen otherwise": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Prune.Reconstruct = ptr(true) }, false},
		"zeros never chosen so":  {func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Prune.Reconstruct = ptr(false) }, false},
		"what an output is trained by": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Outputs = []v1alpha1.Output{{Name: "box", Loss: "MeanSquaredError"}}
		}, false},
		"chunks of sequences": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Model.Chunk = ptr(int32(64)) }, false},
		"other preparation of samples": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Dataset.Samples = map[string]v1alpha1.ArrayName{"x": "x"}
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := StageHash(chain(tt.change), "prune", versions, pinned, "sha256:m"); got == base != tt.same {
				t.Errorf("same hash: %v, want %v", got == base, tt.same)
			}
		})
	}
	reconstructed := func(schedule string) string {
		return StageHash(chain(func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Stages[0].Prune.Reconstruct, s.Stages[0].Prune.Schedule = ptr(true), schedule
		}), "prune", versions, pinned, "sha256:m")
	}
	if reconstructed("") != reconstructed("Constant") {
		t.Error("zeros chosen at once have another hash with their schedule written out")
	}
	other := map[string]string{
		"the algorithm": StageHash(chain(), "prune", Versions{Algorithm: "2"}, pinned, "sha256:m"),
		"the parent":    StageHash(chain(), "prune", versions, pinned, "sha256:x"),
		"the dataset":   StageHash(chain(), "prune", versions, v1alpha1.Baseline{ModelDigest: "sha256:m"}, "sha256:m"),
		"the teacher":   StageHash(chain(), "prune", versions, v1alpha1.Baseline{DatasetDigest: "sha256:d"}, "sha256:m"),
	}
	for name, got := range other {
		if got == base || !strings.HasPrefix(got, "sha256:") {
			t.Errorf("another of %s: %s", name, got)
		}
	}
	if BaselineHash(chain(func(s *v1alpha1.OptimizationPipelineSpec) { s.Model.Chunk = ptr(int32(64)) }), versions) == BaselineHash(chain(), versions) {
		t.Error("ranges of chunks have the hash of those of whole sequences")
	}
	if got := StageHash(chain(), "prune", Versions{Algorithm: "1", Rerun: "x"}, pinned, "sha256:m"); got != base {
		t.Error("a rerun names other results")
	}
}

// Leaf options that are not set, or are the defaults, change no name.
func TestHashesOfLeafOptions(t *testing.T) {
	own := func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Stages[1].Quantize.KeepFloat, s.Stages[1].Quantize.InputOutput = []string{"a*"}, "Float32"
	}
	without := chain(own)
	prune, pqat := StageHash(without, "prune", versions, pinned, "p"), StageHash(without, "pqat", versions, pinned, "p")
	baseline := BaselineHash(without, versions)
	leaf := func(o v1alpha1.LeafOptions) option {
		return func(s *v1alpha1.OptimizationPipelineSpec) { s.Leaf = o }
	}
	tests := map[string]struct {
		spec                      *v1alpha1.OptimizationPipelineSpec
		prune, quantize, baseline bool // the same as without
	}{
		"none": {chain(own), true, true, true},
		"the defaults written out": {chain(own, leaf(v1alpha1.LeafOptions{
			PerTensorDense: ptr(false), Reconstruct: ptr(false), Calibration: v1alpha1.Calibration{Method: "MinMax", Samples: ptr(int32(512))},
		})), true, true, true},
		"what the stage overrides":  {chain(own, leaf(v1alpha1.LeafOptions{KeepFloat: []string{"b"}})), false, true, false},
		"what it leaves alone":      {chain(own, leaf(v1alpha1.LeafOptions{PerTensorDense: ptr(true)})), false, false, false},
		"other integers":            {chain(own, leaf(v1alpha1.LeafOptions{Reconstruct: ptr(true)})), false, false, false},
		"equalized":                 {chain(own, leaf(v1alpha1.LeafOptions{Equalize: ptr(true)})), false, false, false},
		"not equalized":             {chain(own, leaf(v1alpha1.LeafOptions{Equalize: ptr(false)})), true, true, true},
		"what it says already":      {chain(leaf(v1alpha1.LeafOptions{InputOutput: "Float32", KeepFloat: []string{"a*"}})), false, true, false},
		"int16":                     {chain(own, leaf(v1alpha1.LeafOptions{Activations: "Int16"})), false, false, false},
		"a layer of int16":          {chain(own, leaf(v1alpha1.LeafOptions{Rules: []v1alpha1.LeafRule{{Layers: "a", Activations: "Int16"}}})), false, false, false},
		"int4":                      {chain(own, leaf(v1alpha1.LeafOptions{Weights: "Int4"})), false, false, false},
		"encoded":                   {chain(own, leaf(v1alpha1.LeafOptions{Encode: "Auto"})), false, false, false},
		"not encoded":               {chain(own, leaf(v1alpha1.LeafOptions{Encode: "None"})), true, true, true},
		"int8 whatever the model's": {chain(own, leaf(v1alpha1.LeafOptions{InputOutput: "Int8"})), false, true, false},
	}
	for name, tt := range tests {
		for stage, want := range map[string]struct {
			hash string
			same bool
		}{"prune": {prune, tt.prune}, "pqat": {pqat, tt.quantize}} {
			if got := StageHash(tt.spec, stage, versions, pinned, "p"); got == want.hash != want.same {
				t.Errorf("%s: %s has %s, the same: want %v", name, stage, got, want.same)
			}
		}
		if got := BaselineHash(tt.spec, versions); got == baseline != tt.baseline {
			t.Errorf("%s: the baseline has %s, the same: want %v", name, got, tt.baseline)
		}
	}
	plain, int8 := chain(), chain(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[1].Quantize.InputOutput = "Int8" })
	if StageHash(plain, "pqat", versions, pinned, "p") == StageHash(int8, "pqat", versions, pinned, "p") {
		t.Error("Int8 names the result of the model's own type, which may be float")
	}
}

func TestTheHashedConfigurationSharesNothingWithTheSpec(t *testing.T) {
	spec := chain(func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Training.LearningRate = dec("1E-3")
		s.Training.ClassWeights = []v1alpha1.Decimal{"1.0", "2"}
		s.Dataset.Preprocessing = &v1alpha1.Preprocessing{Scale: ptr(v1alpha1.Quotient("2/510")), Mean: []v1alpha1.Quotient{"0.50"}}
	})
	before := spec.DeepCopy()
	in, err := StageInputs(spec, "prune")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, spec); diff != "" {
		t.Errorf("hashing changed the spec:\n%s", diff)
	}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"learningRate":"0.001"`, `"classWeights":[1,2]`, `"scale":"1/255"`, `"mean":["0.5"]`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s does not say %s", data, want)
		}
	}
	if _, err := StageInputs(spec, "nowhere"); err == nil {
		t.Error("a stage that is not there has inputs")
	}
}

// known makes facts whose hashes are those of a spec: every stage is completed, its model the digest of its name.
func known(spec *v1alpha1.OptimizationPipelineSpec, v Versions, names ...string) Facts {
	facts := Facts{Stages: stages{}, Versions: &v, Baseline: &pinned}
	inputs := map[string]string{}
	for i, input := range spec.Inputs() {
		inputs[spec.Stages[i].Name] = input
	}
	for _, name := range names {
		f := leaf("200", "0")
		f.Model = "sha256:" + name
		switch parent := inputs[name]; parent {
		case "":
			f.InputHash = BaselineHash(spec, v)
		case "model":
			f.InputHash = StageHash(spec, name, v, pinned, pinned.ModelDigest)
		default:
			f.InputHash = StageHash(spec, name, v, pinned, "sha256:"+parent)
		}
		facts.Stages[name] = f
	}
	return facts
}

func TestOnlyWhatChangedAndWhatBuildsOnItRunsAgain(t *testing.T) {
	all := []string{"baseline", "prune", "pqat", "cluster", "pcqat", "only"}
	change := func(f func(*v1alpha1.OptimizationPipelineSpec)) *v1alpha1.OptimizationPipelineSpec {
		return chain(need(small), parallel(9), f)
	}
	tests := map[string]struct {
		spec      *v1alpha1.OptimizationPipelineSpec
		versions  Versions
		more      stages
		wantStart string
		wantStop  string
		wantState map[string]v1alpha1.StageState
	}{
		"nothing changed: nothing runs": {spec: change(func(*v1alpha1.OptimizationPipelineSpec) {}), versions: versions},
		"constraints are decided again from what was measured": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Constraints[0].Max = dec("300") }), versions: versions,
		},
		"the template does not matter": {spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.Image = "x" }), versions: versions},
		"a leaf's stage runs again alone": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[1].Training.Epochs = ptr(int32(9)) }), versions: versions, wantStart: "pqat",
			wantState: map[string]v1alpha1.StageState{"pqat": v1alpha1.StagePending},
		},
		"what builds on a changed stage waits for it": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[2].Cluster.Clusters = 8 }), versions: versions, wantStart: "cluster",
			wantState: map[string]v1alpha1.StageState{"cluster": v1alpha1.StagePending, "pcqat": v1alpha1.StagePending},
		},
		"another input of a stage": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[4].From = "prune" }), versions: versions, wantStart: "only",
			wantState: map[string]v1alpha1.StageState{"only": v1alpha1.StagePending},
		},
		"a stage that moved is the same stage": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) {
				s.Stages[1], s.Stages[2] = s.Stages[2], s.Stages[1]
				s.Stages[2].From = "prune"
			}), versions: versions,
		},
		"another model: the baseline first": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Model.URI = "x" }), versions: versions, wantStart: "baseline",
			wantState: map[string]v1alpha1.StageState{"baseline": v1alpha1.StagePending, "prune": v1alpha1.StagePending, "pqat": v1alpha1.StagePending,
				"cluster": v1alpha1.StagePending, "pcqat": v1alpha1.StagePending, "only": v1alpha1.StagePending},
		},
		"a rerun token: the baseline first": {
			spec: change(func(*v1alpha1.OptimizationPipelineSpec) {}), versions: Versions{Algorithm: "1", Rerun: "again"}, wantStart: "baseline",
			wantState: map[string]v1alpha1.StageState{"baseline": v1alpha1.StagePending, "prune": v1alpha1.StagePending, "pqat": v1alpha1.StagePending,
				"cluster": v1alpha1.StagePending, "pcqat": v1alpha1.StagePending, "only": v1alpha1.StagePending},
		},
		"an attempt at what it is no longer is stopped first": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[1].Training.Epochs = ptr(int32(9)) }), versions: versions,
			more: stages{"pqat": {State: v1alpha1.StageRunning, Attempt: 2, Job: "j", InputHash: "sha256:old"}}, wantStop: "pqat",
			wantState: map[string]v1alpha1.StageState{"pqat": v1alpha1.StageStopping},
		},
		"an attempt whose input is being made anew is stopped": {
			spec: change(func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[2].Cluster.Clusters = 8 }), versions: versions,
			more: stages{"pcqat": {State: v1alpha1.StageRunning, Attempt: 1, Job: "j", InputHash: "sha256:old"}}, wantStart: "cluster", wantStop: "pcqat",
			wantState: map[string]v1alpha1.StageState{"cluster": v1alpha1.StagePending, "pcqat": v1alpha1.StageStopping},
		},
		"a failure of other settings is forgotten": {
			spec: change(func(*v1alpha1.OptimizationPipelineSpec) {}), versions: versions,
			more: stages{"pqat": {State: v1alpha1.StageFailed, Attempt: 4, InputHash: "sha256:old"}}, wantStart: "pqat",
			wantState: map[string]v1alpha1.StageState{"pqat": v1alpha1.StagePending},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			facts := known(chain(need(small)), versions, all...)
			facts.Versions = &tt.versions
			maps.Copy(facts.Stages, tt.more)
			d := Decide(tt.spec, facts, noon)
			states := map[string]v1alpha1.StageState{}
			for _, s := range d.Stages {
				if s.State != v1alpha1.StageCompleted {
					states[s.Name] = s.State
				}
			}
			if tt.wantState == nil {
				tt.wantState = map[string]v1alpha1.StageState{}
			}
			if diff := cmp.Diff(tt.wantState, states); diff != "" {
				t.Errorf("states:\n%s", diff)
			}
			if got := strings.Join(d.Start, " "); got != tt.wantStart {
				t.Errorf("starts %q, want %q", got, tt.wantStart)
			}
			if got := strings.Join(d.Stop, " "); got != tt.wantStop {
				t.Errorf("stops %q, want %q", got, tt.wantStop)
			}
			for _, name := range d.Start {
				if s := d.Stage(name); s.InputHash == "" || s.Attempt != facts.Stages[name].Attempt+1 {
					t.Errorf("%s starts as attempt %d of %q", name, s.Attempt, s.InputHash)
				}
			}
			coherent(t, &d)
		})
	}
}

func TestAStageMadeAnewWithTheSameOutputSparesWhatBuildsOnIt(t *testing.T) {
	spec := chain(need(small))
	facts := known(spec, versions, "baseline", "prune", "pqat", "cluster", "pcqat", "only")
	changed := chain(need(small), func(s *v1alpha1.OptimizationPipelineSpec) { s.Stages[0].Training.EarlyStopEpochs = ptr(int32(50)) })
	f := facts.Stages["prune"]
	f.InputHash = StageHash(changed, "prune", versions, pinned, pinned.ModelDigest)
	facts.Stages["prune"] = f // another hash, the same model
	if d := Decide(changed, facts, noon); !d.Finished {
		t.Errorf("%s; start %v", d.Message, d.Start)
	}
}

func TestAnotherAnswerIsPublishedAnew(t *testing.T) {
	spec := chain(need(small))
	facts := known(spec, versions, "baseline", "prune", "pqat", "cluster", "pcqat", "only")
	facts.Publish = true
	d := Decide(spec, facts, noon)
	if strings.Join(d.Start, " ") != "publish" {
		t.Fatalf("starts %v", d.Start)
	}
	facts.Stages["publish"] = Fact{State: v1alpha1.StageCompleted, InputHash: d.Stage("publish").InputHash}
	if d := Decide(spec, facts, noon); !d.Finished || d.Ready {
		t.Errorf("published: %s", d.Message)
	}
	spec.Constraints[0].Max = dec("300")
	if d := Decide(spec, facts, noon); strings.Join(d.Start, " ") != "publish" || d.Selected != "baseline" {
		t.Errorf("with other constraints: selected %q, starts %v", d.Selected, d.Start)
	}
}

func TestASearchIsNamedByWhatItsTrialsFollowFrom(t *testing.T) {
	named := func(change func(*v1alpha1.OptimizationPipelineSpec)) string {
		most := v1alpha1.Decimal("0.01")
		spec := &v1alpha1.OptimizationPipelineSpec{
			Search: &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes}, Stages: []v1alpha1.Stage{{Name: Search}},
			Constraints: []v1alpha1.Constraint{{Metric: v1alpha1.AccuracyDrop, Max: &most}},
		}
		change(spec)
		return StageHash(spec, Search, Versions{Algorithm: "1"}, v1alpha1.Baseline{ModelDigest: "m", DatasetDigest: "d"}, "m")
	}
	plain := named(func(*v1alpha1.OptimizationPipelineSpec) {})
	trials, minutes, lower, zero, few := int32(24), v1alpha1.Decimal("60.0"), v1alpha1.Decimal("0.02"), int32(0), int32(5)
	same := map[string]func(*v1alpha1.OptimizationPipelineSpec){
		"defaults written out": func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Search.MaxTrials, s.Search.MaxMinutes = &trials, &minutes
		},
		"how it is run": func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Retries = &few },
	}
	for name, change := range same {
		if named(change) != plain {
			t.Errorf("%s: another name", name)
		}
	}
	other := map[string]func(*v1alpha1.OptimizationPipelineSpec){
		"fewer trials":       func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.MaxTrials = &few },
		"no minimize":        func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.Minimize = "" },
		"another constraint": func(s *v1alpha1.OptimizationPipelineSpec) { s.Constraints[0].Max = &lower },
		"no training":        func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = &zero },
	}
	for name, change := range other {
		if got := named(change); got == plain || got == "" {
			t.Errorf("%s: the same name, or none", name)
		}
	}
}

func TestMeasurementsNameWhatAnAttemptMakes(t *testing.T) {
	const result = "sha256:1"
	spec := chain()
	if got := AttemptHash(spec, result); got != result {
		t.Errorf("without measurements it is %s, want the result's own", got)
	}
	seconds, names := int32(5), map[string]string{}
	for name, m := range map[string]v1alpha1.Measurement{
		"one":             {Name: "a", Command: []string{"x"}, Image: "i"},
		"another command": {Name: "a", Command: []string{"y"}, Image: "i"},
		"another image":   {Name: "a", Command: []string{"x"}, Image: "j"},
		"other metrics":   {Name: "b", Command: []string{"x"}, Image: "i"},
	} {
		spec.Measurements = []v1alpha1.Measurement{m}
		before := AttemptHash(spec, result)
		spec.Measurements[0].TimeoutSeconds, spec.Measurements[0].Retries, spec.Measurements[0].Unit = &seconds, &seconds, "B"
		if got := AttemptHash(spec, result); got != before || got == result || names[got] != "" {
			t.Errorf("%s: %s, that of %q too, or changed by what no value follows from", name, got, names[got])
		}
		names[before] = name
	}
}

// For a device that takes one scale a tensor channels are equalized where nothing is said, so that saying no makes other leaves there, and nowhere else.
func TestNotEqualizedIsAnotherResultWhereItIsTheDefault(t *testing.T) {
	for device, same := range map[string]bool{"stm32mp2": false, "cortex-a": true} {
		hashes := func(equalize *bool) [3]string {
			spec := chain(func(s *v1alpha1.OptimizationPipelineSpec) { s.Target.Device, s.Leaf.Equalize = device, equalize })
			return [3]string{StageHash(spec, "prune", versions, pinned, "p"), StageHash(spec, "pqat", versions, pinned, "p"), StageHash(spec, Baseline, versions, pinned, "p")}
		}
		silent, off, on := hashes(nil), hashes(ptr(false)), hashes(ptr(true))
		for i, stage := range []string{"prune", "pqat", Baseline} {
			if (off[i] == silent[i]) != same || on[i] == silent[i] || on[i] == off[i] {
				t.Errorf("%s for %s: nothing said %s, false %s, true %s", stage, device, silent[i], off[i], on[i])
			}
		}
	}
}
