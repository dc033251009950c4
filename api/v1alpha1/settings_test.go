package v1alpha1

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestMetricsOfOutputsFitAStatus(t *testing.T) {
	for _, c := range []struct {
		metric Metric
		output string
		want   string // what follows the slash; "~": digits do after it
	}{
		{Accuracy, "", "Accuracy"},
		{MeanSquaredError, "box", "MeanSquaredError/box"},
		{Accuracy, "eighteen_letters_x", "Accuracy/eighteen_letters_x"},
		{Accuracy, "nineteen_letters_xy", "Accuracy/nineteen_lett~"},
		{Accuracy, "two words", "Accuracy/two_words~"},
		{Accuracy, "bell\a", "Accuracy/bell_~"},
		{Accuracy, "not\xffUTF-8", "Accuracy/not_UTF-8~"},
		{Accuracy, strings.Repeat("é", 20), "Accuracy/" + strings.Repeat("é", 6) + "~"},
	} {
		got := c.metric.Of(c.output)
		name, digits, cut := strings.Cut(got, "~")
		if cut {
			name += "~"
		}
		if name != c.want || cut && len(digits) != 4 || len(got) > MaxMetricName || !utf8.ValidString(got) {
			t.Errorf("%s of %q is %q, want %q", c.metric, c.output, got, c.want)
		}
	}
	if a, b := Accuracy.Of("nineteen_letters_xy"), Accuracy.Of("nineteen_letters_xz"); a == b {
		t.Errorf("two outputs have one name: %s", a)
	}
}

func TestMoreIsBetterOfSomeMetrics(t *testing.T) {
	for m, want := range map[Metric]bool{
		Accuracy: true, Agreement: true, AUC: true, MeanIoU: true, F1: true, Sparsity: true,
		AccuracyDrop: false, MeanSquaredError: false, FileBytes: false, ArenaBytes: false, LatencyMicros: false, "energy": false, "": false,
	} {
		if m.HigherIsBetter() != want {
			t.Errorf("%s: higher is better: %v", m, !want)
		}
	}
	for m, want := range map[Metric]bool{"a": true, "energy": true, "z9": true, Accuracy: false, F1: false, "": false, "_a": false, "{": false} {
		if m.Measured() != want {
			t.Errorf("%q is one that a measurement gives: %v", m, !want)
		}
	}
}

func TestMeasurementsGiveWhatTheyName(t *testing.T) {
	spec := OptimizationPipelineSpec{Measurements: []Measurement{
		{Name: "energy", Unit: "µJ"},
		{Name: "board", Job: &MeasurementJob{}, Metrics: []MeasuredMetric{{Name: "cycles"}, {Name: "stack", Unit: "bytes"}}},
	}}
	if diff := cmp.Diff([]MeasuredMetric{{Name: "energy", Unit: "µJ"}}, spec.Measurement("energy").Gives()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(spec.Measurements[1].Metrics, spec.Measurement("board").Gives()); diff != "" {
		t.Error(diff)
	}
	if spec.Measurement("other") != nil || spec.MeasuresInJob("other") || spec.MeasuresInJob("energy") || !spec.MeasuresInJob("board") {
		t.Error("only board has a Job of its own")
	}
}

func TestNumbersHaveOneTextAndOneValue(t *testing.T) {
	for text, want := range map[Quotient]Quotient{
		"0.50": "0.5", "1/255": "1/255", "2/4": "0.5", "1/3": "1/3", "3": "3", "1/0": "1/0", "half": "half", "1/x": "1/x", "-2.5e1": "-25", "": "",
	} {
		if got := text.Canonical(); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	for _, refused := range []Decimal{"1e100", "1e-100", "1/2", "0x10", "1p4", "1_0", "", Decimal(strings.Repeat("1", 65))} {
		if r, err := refused.Rat(); err == nil || refused.Canonical() != refused {
			t.Errorf("%q is %v", refused, r)
		}
	}
	for _, taken := range []Decimal{"1e99", "1e-99", "1e+9", Decimal(strings.Repeat("1", 64))} {
		if _, err := taken.Rat(); err != nil {
			t.Error(err)
		}
	}
	for text, want := range map[Decimal]string{"3": "3", "-3": "-3", "0.5": `"0.5"`, "03": `"03"`, "+3": `"+3"`, "2147483647": "2147483647", "2147483648": `"2147483648"`, "half": `"half"`} {
		written, err := json.Marshal(text)
		if err != nil || string(written) != want {
			t.Errorf("%s is written as %s, want %s (%v)", text, written, want, err)
		}
		var read Decimal
		if err := json.Unmarshal(written, &read); err != nil || read != text {
			t.Errorf("%s is read as %s (%v)", written, read, err)
		}
	}
	for text, want := range map[string]float64{"": 7, "0": 0, "2.5e-1": 0.25} {
		if got, err := ptr(Decimal(text)).Float(7); err != nil || got != want {
			t.Errorf("%q is %v, want %v (%v)", text, got, want, err)
		}
	}
	if got, err := (*Decimal)(nil).Float(7); err != nil || got != 7 {
		t.Errorf("what is not set is %v, want 7 (%v)", got, err)
	}
	if _, err := ptr(Decimal("half")).Float(7); err == nil || !strings.Contains(err.Error(), `"half" is not a decimal number`) {
		t.Error(err)
	}
}

func TestADatasetsSectionIsReadAlone(t *testing.T) {
	d, err := DecodeDataset([]byte("preprocessing: {scale: 1/255}\nlabels: classes"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (DatasetSource{Labels: "classes", Preprocessing: &Preprocessing{Scale: ptr(Quotient("1/255"))}}); !cmp.Equal(d, want) {
		t.Error(cmp.Diff(want, d))
	}
	if d, err := DecodeDataset(nil); err != nil || !cmp.Equal(d, DatasetSource{}) {
		t.Errorf("nothing: %+v, %v", d, err)
	}
	for text, want := range map[string]string{
		"uri: data.npz":                "uri: leave it out",
		"[1, 2]":                       "is no mapping of the fields of a dataset",
		"a: [":                         "not valid YAML",
		"preprocessing: {scale: half}": "preprocessing.scale: ",
		"labls: classes":               "labls: unknown field; did you mean labels?",
		"shuffle: 010":                 "shuffle: 010 is 8 to some readers of YAML",
	} {
		if _, err := DecodeDataset([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestModelAndDatasetInheritTheStoresCredentials(t *testing.T) {
	store := &S3Options{Endpoint: "https://minio"}
	secret := &LocalReference{Name: "store"}
	spec := OptimizationPipelineSpec{Artifacts: &ArtifactStore{}}
	spec.Artifacts.URI, spec.Artifacts.S3, spec.Artifacts.CredentialsSecretRef = "s3://bucket/runs", store, secret
	for name, c := range map[string]struct {
		own  Location
		want Location
	}{
		"in the same store":   {Location{URI: "s3://models/m"}, Location{URI: "s3://models/m", S3: store, CredentialsSecretRef: secret}},
		"in a claim":          {Location{URI: "pvc://claim/m"}, Location{URI: "pvc://claim/m"}},
		"a path":              {Location{URI: "m"}, Location{URI: "m"}},
		"with a store":        {Location{URI: "s3://models/m", S3: &S3Options{}}, Location{URI: "s3://models/m", S3: &S3Options{}}},
		"with credentials":    {Location{URI: "s3://models/m", CredentialsSecretRef: &LocalReference{}}, Location{URI: "s3://models/m", CredentialsSecretRef: &LocalReference{}}},
		"of the web, as HTTP": {Location{URI: "https://models/m"}, Location{URI: "https://models/m"}},
	} {
		spec.Model.Location, spec.Dataset.Location = c.own, c.own
		if got := spec.ModelLocation(); !cmp.Equal(got, c.want) {
			t.Errorf("a model %s: %s", name, cmp.Diff(c.want, got))
		}
		if got := spec.DatasetLocation(); !cmp.Equal(got, c.want) {
			t.Errorf("a dataset %s: %s", name, cmp.Diff(c.want, got))
		}
	}
	spec.Artifacts = nil
	if got := spec.ModelLocation(); !cmp.Equal(got, spec.Model.Location) {
		t.Errorf("without artifacts: %+v", got)
	}
}

func TestTimesOfARun(t *testing.T) {
	if p := (RunPolicy{}); p.StartDeadline() != time.Hour || p.NodeLost() != 10*time.Minute {
		t.Errorf("a Job may wait %s for its container, and a node be silent for %s", p.StartDeadline(), p.NodeLost())
	}
	if p := (RunPolicy{StartDeadlineSeconds: ptr(int64(90)), NodeLostSeconds: ptr(int64(30))}); p.StartDeadline() != 90*time.Second || p.NodeLost() != 30*time.Second {
		t.Errorf("a Job may wait %s for its container, and a node be silent for %s", p.StartDeadline(), p.NodeLost())
	}
	for by, another := range map[string]bool{"": false, ManagedByOperator: false, "kueue.x-k8s.io/multikueue": true} {
		if got := (&OptimizationPipelineSpec{ManagedBy: by}).ManagedByAnother(); got != another {
			t.Errorf("%q is another controller: %v", by, got)
		}
	}
}

func TestAStagesTemplateOverridesThePipelinesFieldByField(t *testing.T) {
	memory := func(text string) corev1.ResourceList { return corev1.ResourceList{"memory": resource.MustParse(text)} }
	given := PodTemplate{
		Image: "one", PriorityClassName: "low", Labels: map[string]string{"team": "a", "tier": "x"},
		Env: []EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}, NodeSelector: &map[string]string{"arch": "amd64"},
		Tolerations: []corev1.Toleration{{Key: "spot"}}, TerminationGracePeriodSeconds: ptr(int64(5)),
	}
	given.Resources.Limits = memory("1Gi")
	spec := OptimizationPipelineSpec{Template: given}
	with := func(change func(*PodTemplate)) PodTemplate {
		t := *given.DeepCopy()
		change(&t)
		return t
	}
	requests := PodTemplate{}
	requests.Resources.Requests = memory("2Gi")
	for name, c := range map[string]struct {
		stage *Stage
		want  PodTemplate
	}{
		"an implicit stage":         {nil, given},
		"a stage that says nothing": {&Stage{}, given},
		"another image":             {&Stage{Template: PodTemplate{Image: "two"}}, with(func(p *PodTemplate) { p.Image = "two" })},
		"labels by their keys": {&Stage{Template: PodTemplate{Labels: map[string]string{"team": "b", "run": "1"}, Annotations: map[string]string{"n": "1"}}},
			with(func(p *PodTemplate) {
				p.Labels, p.Annotations = map[string]string{"team": "b", "tier": "x", "run": "1"}, map[string]string{"n": "1"}
			})},
		"variables by their names": {&Stage{Template: PodTemplate{Env: []EnvVar{{Name: "C", Value: "3"}, {Name: "B", Value: "4"}}}},
			with(func(p *PodTemplate) {
				p.Env = []EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "4"}, {Name: "C", Value: "3"}}
			})},
		"the first variable": {&Stage{Template: PodTemplate{Env: []EnvVar{{Name: "A", Value: "5"}}}},
			with(func(p *PodTemplate) { p.Env = []EnvVar{{Name: "A", Value: "5"}, {Name: "B", Value: "2"}} })},
		"other resources":   {&Stage{Template: requests}, with(func(p *PodTemplate) { p.Resources = requests.Resources })},
		"no tolerations":    {&Stage{Template: PodTemplate{Tolerations: []corev1.Toleration{}}}, with(func(p *PodTemplate) { p.Tolerations = []corev1.Toleration{} })},
		"other nodes":       {&Stage{Template: PodTemplate{NodeSelector: &map[string]string{}}}, with(func(p *PodTemplate) { p.NodeSelector = &map[string]string{} })},
		"secrets for pulls": {&Stage{Template: PodTemplate{ImagePullSecrets: []LocalReference{{Name: "s"}}}}, with(func(p *PodTemplate) { p.ImagePullSecrets = []LocalReference{{Name: "s"}} })},
		"time to end":       {&Stage{Template: PodTemplate{TerminationGracePeriodSeconds: ptr(int64(9))}}, with(func(p *PodTemplate) { p.TerminationGracePeriodSeconds = ptr(int64(9)) })},
	} {
		if diff := cmp.Diff(c.want, spec.EffectiveTemplate(c.stage)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if diff := cmp.Diff(given, spec.Template); diff != "" {
			t.Fatalf("%s changed the pipeline:\n%s", name, diff)
		}
	}
}

func TestEpochsOfAStageReplaceWhatThePipelineSeeks(t *testing.T) {
	three, most, minutes := int32(3), int32(30), Decimal("10")
	seeking := Training{MaxEpochs: &most, MaxMinutes: &minutes}
	for name, c := range map[string]struct {
		pipeline, stage, want Training
		seeks, trains         bool
	}{
		"as many as there are":        {Training{Epochs: &three}, Training{}, Training{Epochs: &three}, false, true},
		"as many in place of seeking": {seeking, Training{Epochs: &three}, Training{Epochs: &three}, false, true},
		"seeking by epochs":           {Training{Epochs: &three}, Training{MaxEpochs: &most}, Training{MaxEpochs: &most}, true, true},
		"seeking by time":             {Training{Epochs: &three}, Training{MaxMinutes: &minutes}, Training{MaxMinutes: &minutes}, true, true},
		"none":                        {seeking, Training{Epochs: new(int32)}, Training{Epochs: new(int32)}, false, false},
		"the default":                 {Training{}, Training{}, Training{}, false, true},
	} {
		spec := OptimizationPipelineSpec{Training: c.pipeline}
		got := spec.Effective(&Stage{Training: c.stage})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if got.Seeks() != c.seeks || got.Trains() != c.trains {
			t.Errorf("%s: seeks %v, trains %v", name, got.Seeks(), got.Trains())
		}
		if all := got.Defaulted(); (all.Epochs == nil) != c.seeks {
			t.Errorf("%s: with its defaults %v epochs", name, all.Epochs)
		}
	}
}

func TestDistillationIsMergedByField(t *testing.T) {
	a, b, hot := Decimal("0.2"), Decimal("0.8"), Decimal("4")
	spec := OptimizationPipelineSpec{Training: Training{Distillation: &Distillation{Weight: &a, Temperature: &hot}}}
	got := spec.Effective(&Stage{Training: Training{Distillation: &Distillation{Weight: &b}}})
	if diff := cmp.Diff(&Distillation{Weight: &b, Temperature: &hot}, got.Distillation); diff != "" || *spec.Training.Distillation.Weight != a {
		t.Error(diff, *spec.Training.Distillation.Weight)
	}
	spec.Training.Distillation = nil
	if diff := cmp.Diff(&Distillation{Weight: &b, Temperature: ptr(Decimal("2"))}, spec.Effective(&Stage{Training: Training{Distillation: &Distillation{Weight: &b}}}).Defaulted().Distillation); diff != "" {
		t.Error(diff)
	}
}

// docs/manifest.md names these defaults: written out they change nothing.
func TestDefaultsThatAreWrittenOutChangeNothing(t *testing.T) {
	var written Training
	text := `{"epochs":3,"batchSize":64,"optimizer":"Adam","momentum":0.9,"weightDecay":0,"schedule":"Cosine","stepEpochs":1,"stepFactor":0.5,
		"warmupEpochs":0,"clipNorm":0,"labelSmoothing":0,"earlyStopEpochs":0,"seed":1}`
	if err := json.Unmarshal([]byte(text), &written); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(written, Training{}.Defaulted()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(written, written.Defaulted()); diff != "" {
		t.Error(diff)
	}
	shown := Training{}.Defaulted().Shown()
	if *shown.Epochs != 3 || shown.BatchSize != 64 || shown.LearningRate != "" || shown.Optimizer != "Adam" || shown.Schedule != "Cosine" || *shown.Seed != 1 {
		t.Errorf("shown: %+v", shown)
	}
	no, yes := false, true
	off := LeafOptions{PerTensorDense: &no, Reconstruct: &no, KeepFloat: []string{}, Rules: []LeafRule{}}.Defaulted()
	if diff := cmp.Diff(LeafOptions{}.Defaulted(), off); diff != "" {
		t.Error(diff)
	}
	if got := (LeafOptions{Equalize: &no}).Defaulted(); got.Equalize != &no { // for devices that have it done by default
		t.Errorf("equalize: false: %+v", got)
	}
	on := LeafOptions{PerTensorDense: &yes, Reconstruct: &yes, Equalize: &yes, KeepFloat: []string{"a"}, Rules: []LeafRule{{Layers: "b"}}}
	if got := on.Defaulted(); got.PerTensorDense != &yes || got.Reconstruct != &yes || got.Equalize != &yes || len(got.KeepFloat) != 1 || len(got.Rules) != 1 {
		t.Errorf("what is set: %+v", got)
	}
	for _, c := range []struct{ given, want Stage }{
		{Stage{Prune: &Prune{}}, Stage{Prune: &Prune{Structure: PruneWeights, Scope: "Layer", Schedule: "Polynomial"}}},
		{Stage{Prune: &Prune{Reconstruct: &yes}}, Stage{Prune: &Prune{Structure: PruneWeights, Scope: "Layer", Schedule: "Constant", Reconstruct: &yes}}},
		{Stage{Prune: &Prune{Reconstruct: &no}}, Stage{Prune: &Prune{Structure: PruneWeights, Scope: "Layer", Schedule: "Polynomial", Reconstruct: &no}}},
		{Stage{Prune: &Prune{Structure: PruneChannels}}, Stage{Prune: &Prune{Structure: PruneChannels}}},
		{Stage{Cluster: &Cluster{}}, Stage{Cluster: &Cluster{Scope: "Shared", Entropy: ptr(Decimal("1"))}}},
	} {
		name, got := c.given.Technique()
		_, same := c.want.Technique()
		if diff := cmp.Diff(same, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	few := ptr(int32(9))
	for _, c := range []struct{ given, want Calibration }{
		{Calibration{}, Calibration{Method: "MinMax", Samples: ptr(int32(512))}},
		{Calibration{Method: "Percentile", Samples: few}, Calibration{Method: "Percentile", Samples: few, Percentile: ptr(Decimal("99.99"))}},
		{Calibration{Method: "Percentile", Percentile: ptr(Decimal("99"))}, Calibration{Method: "Percentile", Samples: ptr(int32(512)), Percentile: ptr(Decimal("99"))}},
		{Calibration{Method: "MSE"}, Calibration{Method: "MSE", Samples: ptr(int32(512))}},
	} {
		if diff := cmp.Diff(c.want, c.given.Defaulted()); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(Selection{Strategy: SelectFirst, Objective: CompressedBytes}, Selection{}.Defaulted()); diff != "" {
		t.Error(diff)
	}
}

func TestTechniquesOfStages(t *testing.T) {
	if diff := cmp.Diff([]string{"fineTune", "prune", "cluster", "quantize"}, Techniques()); diff != "" {
		t.Error(diff)
	}
	for name, stage := range map[string]Stage{"fineTune": {FineTune: &FineTune{}}, "prune": {Prune: &Prune{}}, "cluster": {Cluster: &Cluster{}}, "quantize": {Quantize: &Quantize{}}, "": {}} {
		if got, _ := stage.Technique(); got != name || stage.Final() != (name == "quantize") {
			t.Errorf("%s: technique %s, final %v", name, got, stage.Final())
		}
	}
	spec := OptimizationPipelineSpec{Stages: []Stage{{Name: "a"}, {Name: "b"}}}
	if spec.Stage("b") != &spec.Stages[1] || spec.Stage("c") != nil {
		t.Error("a stage is found by its name")
	}
}
