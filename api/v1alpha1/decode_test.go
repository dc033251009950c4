package v1alpha1

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const good = `
apiVersion: espalier.dev/v1alpha1
kind: OptimizationPipeline
metadata: {name: test}
spec:
  model: {uri: model.tflite}
  dataset: {uri: data.npz, preprocessing: {scale: "1/255"}}
  training: {epochs: 3, batchSize: 64, learningRate: "1e-4", seed: 1}
  stages:
  - {name: prune, prune: {sparsity: "0.5"}}
  - {name: pqat, quantize: {}}
  - {name: cluster, cluster: {clusters: 16}}
  - {name: cluster-only, from: model, cluster: {clusters: 16}}
  constraints:
  - {metric: AccuracyDrop, max: "0.01"}
  - {metric: CompressedBytes, max: 90000}
`

func TestDecodeAcceptsTheDesignsManifest(t *testing.T) {
	p, err := Decode([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"model", "prune", "prune", "model"}, p.Spec.Inputs()); diff != "" {
		t.Errorf("inputs:\n%s", diff)
	}
	if got := *p.Spec.Constraints[1].Max; got != "90000" {
		t.Errorf("max is %q, want 90000", got)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(data)
	if err != nil {
		t.Fatalf("what was written is not read: %v", err)
	}
	if diff := cmp.Diff(p, again); diff != "" {
		t.Errorf("a round trip through JSON changed the pipeline:\n%s", diff)
	}
}

// change is the good manifest with something else in it.
func change(old, new string) string { return strings.Replace(good, old, new, 1) }

func TestDecodeRefusesWithPathAndRemedy(t *testing.T) {
	many := strings.Repeat("\n  - {name: sN, prune: {sparsity: \"0.5\"}}", 33)
	for i := range 33 {
		many = strings.Replace(many, "sN", "s"+string(rune('a'+i/6))+string(rune('a'+i%6)), 1)
	}
	tests := map[string]struct{ manifest, want string }{
		"nothing":                                {"", "empty"},
		"no YAML":                                {"a: [", "not valid YAML"},
		"a knob where it was":                    {change("  training:", "  retries: 5\n  training:"), "spec.retries: unknown field; it is one of spec.runPolicy"},
		"another kind":                           {change("kind: OptimizationPipeline", "kind: Pod"), "want apiVersion"},
		"two documents":                          {good + "---" + good, "more than one pipeline"},
		"a misspelt field":                       {change("batchSize: 64", "batchsize: 64"), "spec.training.batchsize: unknown field; did you mean batchSize?"},
		"a number that is an object":             {change("epochs: 3", "epochs: {max: 30}"), "spec.training.epochs.max: unknown field; did you mean spec.training.maxEpochs?"},
		"a template as a Job's":                  {change("  training:", "  template: {spec: {nodeSelector: {}}}\n  training:"), "spec.template.spec: unknown field; what a pod may be given stands in template itself"},
		"a stage's template as a Job's":          {change("{clusters: 16}}", "{clusters: 16}, template: {metadata: {labels: {}}}}"), "spec.stages[2].template.metadata: unknown field; what a pod"},
		"a host's network":                       {change("  training:", "  template: {hostNetwork: true}\n  training:"), "spec.template.hostNetwork: unknown field; known are affinity"},
		"a misspelt field of a stage":            {change("sparsity:", "sparcity:"), "spec.stages[0].prune.sparcity: unknown field; did you mean sparsity?"},
		"a field that resembles nothing":         {change("seed: 1", "zzz: 1"), "known are batchSize"},
		"an octal number":                        {change("seed: 1", "seed: 010"), "spec.training.seed: 010 is 8 to some readers of YAML and 10 to others: write the one you mean"},
		"a number of leading zeros":              {change("epochs: 3", "epochs: 08"), "spec.training.epochs: 08 is 8 with a zero before it"},
		"a hexadecimal number":                   {change("batchSize: 64", "batchSize: 0x10"), "spec.training.batchSize: 0x10 is 16 to some readers of YAML and a text to others: write 16"},
		"a binary number in a list":              {change("{}}", "{keepFloat: [0b11]}}"), "spec.stages[1].quantize.keepFloat[0]: 0b11 is 3 to some"},
		"a number that is not finite":            {change(`"1e-4"`, ".inf"), "spec.training.learningRate: .inf is no finite number"},
		"a bound that is no number":              {change("90000", "-.Inf"), "spec.constraints[1].max: -.Inf is no finite number"},
		"a label of an octal number":             {change("metadata: {", "metadata: {labels: {build: 0755}, "), "metadata.labels.build: 0755 is 493"},
		"a name for a list":                      {change("{}}", "{keepFloat: dense}}"), "spec.stages[1].quantize.keepFloat: is a text, want a list: write it in brackets"},
		"a number for a list":                    {change("preprocessing: {", "preprocessing: {std: 0.5, "), "spec.dataset.preprocessing.std: is a number, want a list"},
		"a number for a mapping":                 {change("preprocessing: {", "preprocessing: {crop: 5, "), "spec.dataset.preprocessing.crop: is a whole number, want a mapping of fields: its fields are height, width"},
		"a fraction for a whole number":          {change("epochs: 3", "epochs: 1.5"), "spec.training.epochs: is a number with a fraction, want a whole number"},
		"a whole number in quotes":               {change("epochs: 3", `epochs: "3"`), "spec.training.epochs: is a text, want a whole number: write digits, without quotes"},
		"a text that YAML takes for no":          {change("dataset: {", "dataset: {labels: y, "), "spec.dataset.labels: is true or false, want a text: quote it"},
		"a number for a text":                    {change("{}}", "{keepFloat: [1]}}"), "spec.stages[1].quantize.keepFloat[0]: is a whole number, want a text: quote it"},
		"a number for true":                      {change("dataset: {", "dataset: {augmentation: {horizontalFlip: 1}, "), "horizontalFlip: is a whole number, want true or false: write true or false"},
		"nothing for a list":                     {change("{}}", "{keepFloat: null}}"), "keepFloat: is empty, want a list: give it a value"},
		"a name for a stage":                     {change(`{name: pqat, quantize: {}}`, "pqat"), "spec.stages[1]: is a text, want a mapping of fields: its fields are activeDeadlineSeconds"},
		"a repeated key":                         {change("seed: 1", "epochs: 4"), "already set"},
		"a metric that is not there":             {change("AccuracyDrop", "AcuracyDrop"), "spec.constraints[0].metric"},
		"a constraint without bounds":            {change(`{metric: AccuracyDrop, max: "0.01"}`, `{metric: AccuracyDrop}`), "a constraint needs min or max"},
		"two constraints on a metric":            {change("{metric: CompressedBytes, max: 90000}", "{metric: AccuracyDrop, min: 0}"), "spec.constraints[1]: another constraint is on AccuracyDrop already: one constraint may have both min and max"},
		"a number of epochs below 0":             {change("epochs: 3", "epochs: -1"), "spec.training.epochs: -1 is not allowed: must be at least 0"},
		"a batch that is too large":              {change("batchSize: 64", "batchSize: 99999"), "spec.training.batchSize: 99999 is not allowed: must be at most 65536"},
		"a sparsity above 1":                     {change(`"0.5"`, "1.5"), `spec.stages[0].prune.sparsity: "1.5" is not allowed: must be at least 0 and below 1`},
		"a name in capitals":                     {change("name: test", "name: Test"), "metadata.name must be a DNS label"},
		"a label of two words":                   {change("metadata: {", "metadata: {labels: {a b: x}, "), `metadata.labels: "a b" is not allowed: name part must consist of`},
		"no dataset":                             {change("  dataset: {uri: data.npz, preprocessing: {scale: \"1/255\"}}\n", ""), "spec.dataset: is missing"},
		"no stages":                              {good[:strings.Index(good, "  stages:")] + "  stages: []\n", "spec.stages"},
		"too many stages":                        {change("\n  - {name: pqat, quantize: {}}", many), "spec.stages"},
		"two techniques in a stage":              {change("quantize: {}", `quantize: {}, prune: {sparsity: "0.5"}`), "exactly one of"},
		"no technique in a stage":                {change("{name: pqat, quantize: {}}", "{name: pqat}"), "exactly one of"},
		"a name that is no DNS label":            {change("name: pqat", "name: P_QAT"), "spec.stages[1].name"},
		"a name twice":                           {change("name: pqat", "name: prune"), "spec.stages[1]: another one before it has name prune too: each is to have its own"},
		"a reserved name":                        {change("name: pqat", "name: baseline"), "reserved"},
		"from a stage that is not there":         {change("from: model", "from: nowhere"), `spec.stages[3].from: "nowhere" is not allowed: from must name a stage of this pipeline, or be model; allowed here: model, prune, cluster`},
		"from a quantize stage":                  {change("from: model", "from: pqat"), `spec.stages[3].from: "pqat" is not allowed: from must name a stage that yields a model: a quantize stage yields only a leaf; allowed here: model, prune, cluster`},
		"from a later stage":                     {change("{name: pqat, quantize: {}}", "{name: pqat, from: cluster, quantize: {}}"), `spec.stages[1].from: "cluster" is not allowed: from must name an earlier stage: move that stage up; allowed here: model, prune`},
		"from the first stage, a quantize stage": {change("{name: prune,", "{name: ptq, quantize: {}}\n  - {name: prune, from: ptq,"), `spec.stages[1].from: "ptq" is not allowed: from must name a stage that yields a model: a quantize stage yields only a leaf; allowed here: model`},
		"from itself":                            {change("name: cluster, ", "name: cluster, from: cluster, "), `spec.stages[2].from: "cluster" is not allowed: from must name an earlier stage: move that stage up; allowed here: model, prune`},
		"an unknown value of several":            {change("dataset: {", "dataset: {format: NPX, "), "spec.dataset.format: NPX is not known; did you mean NPZ?"},
		"a text of many characters":              {change(`max: "0.01"`, `max: "`+strings.Repeat("1", 33)+`"`), "spec.constraints[0].max: "},
		"a sparsity that is no number":           {change(`"0.5"`, `"half"`), "spec.stages[0].prune.sparsity"},
		"a sparsity of 1":                        {change(`"0.5"`, `"1.0"`), "must be at least 0 and below 1"},
		"one cluster":                            {change("clusters: 16", "clusters: 1"), "spec.stages[2].cluster.clusters"},
		"a digest that is none":                  {change("uri: model.tflite", "uri: model.tflite, digest: md5:1"), "spec.model.digest"},
		"a place outside the claim":              {change("uri: model.tflite", "uri: pvc://claim/../model.tflite"), "must not climb"},
		"no number":                              {change(`max: "0.01"`, `max: .nan`), "spec.constraints[0].max: .nan is no finite number"},
		"no end":                                 {change(`max: "0.01"`, `max: .inf`), "spec.constraints[0].max: .inf is no finite number"},
		"a number beyond any":                    {change(`max: "0.01"`, `max: 1e999`), `"1e999" is not allowed: want a number such as 3, 0.5 or 1e-4`},
		"a number beyond the bounds":             {change(`max: "0.01"`, `max: 1e150`), `"1e+150" is not allowed: want a number such as 3, 0.5 or 1e-4`},
		"a truth for a number":                   {change(`max: "0.01"`, `max: true`), "spec.constraints[0].max: boolean is not a number such as 3, 0.5 or 1e-4"},
		"a list for a number":                    {change(`max: "0.01"`, `max: [1]`), "spec.constraints[0].max"},
		"an object for a number":                 {change(`max: "0.01"`, `max: {a: 1}`), "spec.constraints[0].max"},
		"a number out of bounds":                 {change(`"0.5"`, `1.5`), "must be at least 0 and below 1"},
		"numbers that contradict":                {change(`max: "0.01"`, `max: 0.01, min: 0.02`), "min must not be above max"},
		"a name that is too long":                {change("name: test", "name: "+strings.Repeat("a", 64)), "at most 63 characters"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(tt.manifest))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error saying %q", err, tt.want)
			}
			isPlain(t, err)
		})
	}
}

func TestEveryFieldOfTheStageOverridesThePipelines(t *testing.T) {
	var spec OptimizationPipelineSpec
	full := `{"epochs":1,"batchSize":2,"learningRate":3,"optimizer":"SGD","momentum":"0.4","weightDecay":"0.5","schedule":"Step","warmupEpochs":6,
		"clipNorm":7,"labelSmoothing":"0.8","classWeights":[9],"distillation":{"weight":"0.1"},"earlyStopEpochs":11,"seed":12}`
	stage := Stage{}
	if err := json.Unmarshal([]byte(full), &stage.Training); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stage.Training, spec.Effective(&stage)); diff != "" {
		t.Errorf("the stage's settings:\n%s", diff)
	}
	spec.Training = stage.Training
	if diff := cmp.Diff(spec.Training, spec.Effective(&Stage{})); diff != "" {
		t.Errorf("the pipeline's settings:\n%s", diff)
	}
}

func TestSamplesDecode(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples (%v)", err)
	}
	for _, file := range append(files, "../../hack/demo/pipeline.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(data); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("apiVersion: espalier.dev/v1alpha1\nkind: OptimizationPipeline\nspec: {stages: [{}]}"))
	f.Add([]byte("- 1\n- 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(p); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNumbersMeanTheSameWithAndWithoutQuotes(t *testing.T) {
	for text, want := range map[string]Decimal{
		`"0.5"`: "0.5", "0.5": "0.5", "0.50": "0.5", ".5": "0.5", "5e-1": "0.5", "0.1": "0.1", "1e-7": "0.0000001", `"1e-7"`: "0.0000001",
		"0.123456789012345": "0.123456789012345", "0": "0", "0.0": "0", "1e-20": "0.00000000000000000001", `"0.12345678901234567890"`: "0.1234567890123456789",
	} {
		p, err := Decode([]byte(change(`"0.5"`, text)))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := p.Spec.Stages[0].Prune.Sparsity.Canonical(); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		if err := p.Check(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCheckHoldsTheRulesThatAnAPIServerDoesNot(t *testing.T) {
	one, half := Decimal("1"), Decimal("0.5")
	for name, tt := range map[string]struct {
		change func(*OptimizationPipelineSpec)
		want   string
	}{
		"a sparsity in quotes": {func(s *OptimizationPipelineSpec) { s.Stages[0].Prune.Sparsity = "1.5" }, "spec.stages[0].prune.sparsity: \"1.5\" is not allowed: must be at least 0 and below 1"},
		"a number too large":   {func(s *OptimizationPipelineSpec) { s.Constraints[1].Max = ptr(Decimal("1e150")) }, "spec.constraints[1].max"},
		"min above max":        {func(s *OptimizationPipelineSpec) { s.Constraints[0].Min, s.Constraints[0].Max = &one, &half }, "min must not be above max"},
		"more constraints than a status has metrics": {func(s *OptimizationPipelineSpec) {
			for i := range MaxMetrics {
				s.Constraints = append(s.Constraints, Constraint{Metric: MeanSquaredError, Output: fmt.Sprint("head", i), Max: &one})
			}
		}, "spec.constraints: has "},
		"percents":            {func(s *OptimizationPipelineSpec) { s.Constraints[0].Max = ptr(Decimal("5")) }, "write 0.95 for 95 %"},
		"nothing to train on": {func(s *OptimizationPipelineSpec) { s.Dataset.Split = &Split{Validation: &half, Test: &half} }, "leave something to train on"},
		"nothing":             {func(s *OptimizationPipelineSpec) { s.Training.ClassWeights = []Decimal{""} }, "spec.training.classWeights[0]"},
		"an object":           {func(s *OptimizationPipelineSpec) { s.Constraints[0].Max = ptr(Decimal("{}")) }, "spec.constraints[0].max"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Decode([]byte(good))
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&p.Spec)
			if err := p.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error saying %q", err, tt.want)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestWhatIsNoNumberKeepsNobodyFromReadingPipelines(t *testing.T) {
	for _, text := range []string{"true", "null", "{}", "[1]", "1e999", `"x"`} {
		var list OptimizationPipelineList
		if err := json.Unmarshal([]byte(`{"items":[{"spec":{"constraints":[{"metric":"AUC","max":`+text+`}],"dataset":{"preprocessing":{"mean":[`+text+`]}}}}]}`), &list); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	p, err := Decode([]byte(good))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := p.Check(); err != nil {
			b.Fatal(err)
		}
	}
}
