package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// goalOf is the first manifest of the guide, which a newcomer meets.
func goalOf(t *testing.T) string {
	t.Helper()
	guide, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(guide), "\n## 3.")
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(chapter)
	if block == nil || !strings.Contains(block[1], "search: {minimize") {
		t.Fatal("chapter 3 of the guide does not begin with a goal")
	}
	return block[1]
}

func searched(t *testing.T, manifest, out string) (p v1alpha1.OptimizationPipeline, s *stage.Searched, stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := espalier(context.Background(), "run", manifest, "-o", out)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	found, s, err := stage.ReadResult(read(t, filepath.Join(out, "result.json")))
	if err != nil {
		t.Fatal(err)
	}
	return *found, s, stdout, stderr
}

// measured is a metric of a stage's leaf; of one without a leaf it is infinite.
func measured(s *v1alpha1.StageStatus, name v1alpha1.Metric) float64 {
	if s.Leaf == nil {
		return math.Inf(1)
	}
	v, err := strconv.ParseFloat(walk.Value(s.Leaf.Metrics, name), 64)
	if err != nil {
		return math.Inf(1)
	}
	return v
}

func TestASearchSaysHowLeavesAreStored(t *testing.T) {
	o := searchOptions{model: "m.tflite", dataset: "d.npz", target: "cortex-m4", leaf: "{encode: Auto}", minimize: "none", minutes: "1", trials: 2, constraints: []string{"{metric: FlashBytes, max: 9}"}}
	p, err := o.pipeline(false)
	if err != nil || !p.Spec.Leaf.Encoded() {
		t.Errorf("%v: %+v", err, p)
	}
	o.leaf = "{encode: Zip}"
	if _, err := o.pipeline(false); err == nil || !strings.Contains(err.Error(), "spec.leaf.encode") {
		t.Error(err)
	}
}

func TestAGoalFindsALeafThatItsStagesMakeAgain(t *testing.T) {
	path := project(t)
	write(t, path, []byte(goalOf(t)+"  training: {epochs: 1, batchSize: 32, learningRate: \"3e-3\"}\n"))
	out := filepath.Join(t.TempDir(), "out")
	p, s, stdout, stderr := searched(t, path, out)
	if p.Status.Selected == nil || s == nil || s.Manifest == nil || len(s.Trials) < 5 || s.Ended == "" {
		t.Fatalf("%+v\n%s", s, stderr)
	}
	size, _ := strconv.ParseFloat(walk.Value(p.Status.Selected.Metrics, v1alpha1.CompressedBytes), 64)
	for i := range p.Status.Stages {
		if at := &p.Status.Stages[i]; measured(at, v1alpha1.AccuracyDrop) <= 0.01 && measured(at, v1alpha1.CompressedBytes) < size {
			t.Errorf("%s is smaller than %s", at.Name, p.Status.Selected.Stage)
		}
	}
	if !strings.Contains(stdout, "/found.yaml") || !strings.Contains(stderr, "search   trial-01 prices a bit at 10 by what layers tolerate, and is the first") || !strings.Contains(stderr, "search   ended: ") {
		t.Errorf("it is not said:\n%s%s", stdout, stderr)
	}

	for _, name := range []string{"found.yaml", "result.json"} {
		again, none, _, _ := searched(t, filepath.Join(out, name), filepath.Join(t.TempDir(), "again"))
		if again.Status.Selected.Digest != p.Status.Selected.Digest || none != nil {
			t.Errorf("%s selects %s of %s, by a search: %v", name, again.Status.Selected.Digest, again.Status.Selected.Stage, none != nil)
		}
	}

	second, anew, _, stderr := searched(t, path, filepath.Join(t.TempDir(), "second"))
	if second.Status.Selected.Digest != p.Status.Selected.Digest || len(anew.Trials) != len(s.Trials) {
		t.Errorf("another search finds another leaf:\n%s", stderr)
	}

	resumed, _, _, _ := searched(t, path, out)
	for i := range resumed.Status.Stages {
		if at := &resumed.Status.Stages[i]; at.State == v1alpha1.StageCompleted && !at.Reused {
			t.Errorf("%s was made again", at.Name)
		}
	}
	if resumed.Status.Selected.Digest != p.Status.Selected.Digest {
		t.Error("a search that goes on finds another leaf")
	}

	page := string(read(t, filepath.Join(out, "report.html")))
	if _, stderr, code := espalier(context.Background(), "report", out); code != 0 {
		t.Fatal(stderr)
	}
	if after := string(read(t, filepath.Join(out, "report.html"))); after != page || !strings.Contains(page, "is the first") {
		t.Error("the report is another, or does not say what was tried")
	}
}

func TestASearchWithoutMinimizeEndsAtTheFirstLeaf(t *testing.T) {
	path := project(t)
	text := strings.Replace(goalOf(t), "minimize: CompressedBytes, ", "", 1)
	text = strings.Replace(text, "max: 0.01", "max: 0.1", 1) // one sample is 0.0104
	write(t, path, []byte(strings.Replace(text, "  search:", "  - {metric: Clusters, max: 16}\n  search:", 1)))
	p, s, _, stderr := searched(t, path, filepath.Join(t.TempDir(), "out"))
	if len(s.Trials) != 1 || p.Status.Selected.Stage != "trial-01" {
		t.Errorf("%d trials, selected %s\n%s", len(s.Trials), p.Status.Selected.Stage, stderr)
	}
}

func TestASearchThatFindsNothingLeavesNoStages(t *testing.T) {
	path := project(t)
	text := strings.Replace(goalOf(t), "  search:", "  - {metric: CompressedBytes, max: 100}\n  training: {epochs: 0}\n  search:", 1)
	write(t, path, []byte(strings.Replace(text, "maxTrials: 24", "maxTrials: 2", 1)))
	out := filepath.Join(t.TempDir(), "out")
	write(t, mustFolder(t, out, stage.FoundFile), []byte("of an earlier run"))
	_, stderr, code := espalier(context.Background(), "run", path, "-o", out)
	if _, err := os.Stat(filepath.Join(out, stage.FoundFile)); code != 5 || err == nil || !strings.Contains(stderr, "all 2 trials of maxTrials were made") {
		t.Errorf("exit code %d, %v:\n%s", code, err, stderr)
	}
	if _, stderr, code := espalier(context.Background(), "run", filepath.Join(out, "result.json"), "-o", t.TempDir()); code != 2 || !strings.Contains(stderr, "run the manifest of the search instead") {
		t.Errorf("of the result: exit code %d: %s", code, stderr)
	}
	var result struct {
		Spec     v1alpha1.OptimizationPipelineSpec
		Searched *stage.Searched
	}
	if err := json.Unmarshal(read(t, filepath.Join(out, "result.json")), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Spec.Stages) > 0 || result.Spec.Search == nil || result.Searched.Manifest != nil || len(result.Searched.Trials) != 2 {
		t.Errorf("%+v", result)
	}
}

func mustFolder(t *testing.T, folder, file string) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, file)
}

func TestZerosThatAGoalAsksForAreThere(t *testing.T) {
	path := project(t)
	text := strings.Replace(goalOf(t), "max: 0.01", "max: 0.9", 1)
	write(t, path, []byte(strings.Replace(text, "  search:", "  - {metric: Sparsity, min: 0.7}\n  training: {epochs: 0}\n  search:", 1)))
	write(t, path, []byte(strings.Replace(string(read(t, path)), "minimize: CompressedBytes, ", "", 1)))
	out := filepath.Join(t.TempDir(), "out")
	p, s, _, stderr := searched(t, path, out)
	if p.Status.Selected == nil || p.Status.Selected.Stage != "trial-01" || len(s.Trials) != 1 {
		t.Fatalf("%+v\n%s", p.Status.Selected, stderr)
	}
	leaf, result := filepath.Join(out, "leaves", "trial-01.tflite"), filepath.Join(out, "result.json")
	data := filepath.Join(filepath.Dir(path), "data.npz")
	if _, stderr, code := espalier(context.Background(), "evaluate", leaf, "--dataset", data, "--pipeline", result); code != 0 {
		t.Errorf("evaluate as the search's result says: exit code %d: %s", code, stderr)
	}
	firmware := filepath.Join(out, "firmware")
	if _, stderr, code := espalier(context.Background(), "bundle", leaf, "--target", "cortex-m4", "-o", firmware); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	card := string(read(t, filepath.Join(firmware, "MODEL_CARD.md")))
	sparsity := walk.Value(p.Status.Selected.Metrics, v1alpha1.Sparsity)
	for _, want := range []string{`- trial-01: prune {`, `"reconstruct":true`, "| Sparsity | " + sparsity + " |", " on the validation split |"} {
		if !strings.Contains(card, want) {
			t.Errorf("the model card does not say %q:\n%s", want, card)
		}
	}
}

func TestAModelCardNamesEveryTechnique(t *testing.T) {
	p := &v1alpha1.OptimizationPipeline{}
	p.Spec.Stages = []v1alpha1.Stage{{Name: "fineTune", FineTune: &v1alpha1.FineTune{}}, {Name: "prune", Prune: &v1alpha1.Prune{}},
		{Name: "cluster", Cluster: &v1alpha1.Cluster{}}, {Name: "quantize", Quantize: &v1alpha1.Quantize{}}}
	for _, technique := range v1alpha1.Techniques() {
		if line, _ := stageLine(p, technique); !strings.HasPrefix(line, technique+": "+technique+" {") {
			t.Errorf("%s: %q", technique, line)
		}
	}
	if line, _ := stageLine(p, "another"); line != "another" {
		t.Error(line)
	}
}

// TestSearchIsRunOfAGoal has flags in place of a manifest.
func TestSearchIsRunOfAGoal(t *testing.T) {
	path := project(t)
	folder := filepath.Dir(path)
	write(t, path, []byte(strings.Replace(goalOf(t), "  search:", "  training: {epochs: 0}\n  search:", 1)))
	p, s, _, _ := searched(t, path, filepath.Join(t.TempDir(), "out"))
	model, data, out := filepath.Join(folder, "model.tflite"), filepath.Join(folder, "data.npz"), filepath.Join(t.TempDir(), "out")
	if _, stderr, code := espalier(context.Background(), "search", model, "--dataset", data, "--epochs", "0", "-o", out); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	found, same, err := stage.ReadResult(read(t, filepath.Join(out, "result.json")))
	if err != nil {
		t.Fatal(err)
	}
	if found.Name != "model" || found.Status.Selected.Digest != p.Status.Selected.Digest || len(same.Trials) != len(s.Trials) {
		t.Errorf("search found %+v of %d trials, run %+v of %d", found.Status.Selected, len(same.Trials), p.Status.Selected, len(s.Trials))
	}
	again, _, _, _ := searched(t, filepath.Join(out, "found.yaml"), filepath.Join(t.TempDir(), "again"))
	if again.Status.Selected.Digest != p.Status.Selected.Digest {
		t.Error("found.yaml makes another leaf")
	}
	for flags, want := range map[string]string{
		"--constraint|{metric: Accuracy, min: 010}":       "--constraint: ",
		"--constraint|AccuracyDrop<=0.01":                 "is no section of a manifest, such as {metric: AccuracyDrop, max: 0.01}\n",
		"--constraint|[{metric: F1, min: 0.5}]":           "is no section of a manifest, such as {metric: AccuracyDrop, max: 0.01}\n",
		"--constraint|{metric: F1":                        "is no section of a manifest, such as {metric: AccuracyDrop, max: 0.01}: ",
		"--constraint|{metric: Accurate, min: 0.5}":       "Accurate",
		"--dataset-spec|{uri: elsewhere}":                 "--dataset names the dataset",
		"--dataset-spec|@" + filepath.Join(out, "absent"): "names a file of YAML",
		"--constraint|null":                               "--constraint: metric",
		"--target|cortex-m99":                             "no target is named",
		"--trials|33":                                     "--trials: 33 is not allowed",
		"--minimize|Accuracy":                             "--minimize: \"Accuracy\" is not allowed",
	} {
		flag, value, _ := strings.Cut(flags, "|")
		if _, stderr, code := espalier(context.Background(), "search", model, "--dataset", data, flag, value, "-o", out); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s %s: exit code %d: %s", flag, value, code, stderr)
		}
	}
}

func TestAnEmptySectionOfASearchSaysNothing(t *testing.T) {
	for _, text := range []string{"", "null", "~", "{}"} {
		o := &searchOptions{model: "model.tflite", dataset: "data.npz", preparation: text, minimize: "none", minutes: "60", trials: 3, constraints: []string{"{metric: F1, min: 0.5}"}}
		if p, err := o.pipeline(false); err != nil || p.Spec.Dataset.URI != "data.npz" || p.Spec.Search == nil {
			t.Errorf("%q: %v, %+v", text, err, p)
		}
	}
}

func TestAModelsFileNamesItsPipeline(t *testing.T) {
	for path, want := range map[string]string{
		"a/DS_CNN.tflite": "ds-cnn", "s3://b/model-2.int8.tflite": "model-2-int8", "-.tflite": "model", "": "model", strings.Repeat("x", 49) + "-y.tflite": strings.Repeat("x", 49),
	} {
		if got := nameOf(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// Where codes do not lower what is minimized, channels are taken out, and the model card of the leaf says so.
func TestASearchForLessArithmeticTakesChannelsOut(t *testing.T) {
	path := project(t)
	text := strings.Replace(goalOf(t), "minimize: CompressedBytes, maxTrials: 24", "minimize: Multiplications, maxTrials: 3", 1)
	text = strings.Replace(text, "{metric: AccuracyDrop, max: 0.01}", "{metric: AccuracyDrop, max: 0.9}", 1)
	write(t, path, []byte(text+"  training: {epochs: 0}\n"))
	out := filepath.Join(t.TempDir(), "out")
	p, s, stdout, stderr := searched(t, path, out)
	baseline, found := p.Status.Stages[0], walk.Value(p.Status.Selected.Metrics, v1alpha1.Multiplications)
	if less, err := strconv.ParseFloat(found, 64); err != nil || less > 0.7*measured(&baseline, v1alpha1.Multiplications) || s.Trials[0].Multiplications != 0.5 {
		t.Errorf("%s multiplications: %+v\n%s", found, s.Trials, stderr)
	}
	plain := decode(t, filepath.Join(out, stage.FoundFile)).Spec.Stages
	if len(plain) != 1 || plain[0].Prune.Multiplications == nil || plain[0].Prune.Channels != nil {
		t.Errorf("the manifest that was found does not say it: %+v", plain)
	}
	if !strings.Contains(stdout, "MULTS") {
		t.Errorf("the table does not show them:\n%s", stdout)
	}
	k, err := historyOf(read(t, filepath.Join(out, "leaves", p.Status.Selected.Stage+".tflite")), filepath.Join(out, "leaves", "x.tflite"), "")
	if err != nil || len(k.history) < 2 || !strings.Contains(strings.Join(k.history, "\n"), `prune {"structure":"Channels"`) {
		t.Errorf("the card says %q: %v", k.history, err)
	}
}

// The result of stages names its model as the manifest does, whose folder it does not know.
func TestAResultIsRunWhereItsModelIs(t *testing.T) {
	path := project(t)
	out := filepath.Join(t.TempDir(), "out")
	content := strings.Replace(goalOf(t), "  search: {minimize: CompressedBytes, maxTrials: 24, maxMinutes: 60}", "  training: {epochs: 0}\n  stages: [{name: p, prune: {sparsity: 0.5}}]", 1)
	write(t, path, []byte(content))
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", out); code > 5 || code == 2 {
		t.Fatal(stderr)
	}
	result := filepath.Join(out, "result.json")
	if _, stderr, code := espalier(context.Background(), "run", result, "-o", t.TempDir()); code != 2 || !strings.Contains(stderr, "is not beside it: the paths in a run's result are relative to the manifest") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	beside := filepath.Join(filepath.Dir(path), "result.json")
	write(t, beside, read(t, result))
	if _, stderr, code := espalier(context.Background(), "run", beside, "-o", t.TempDir()); code == 2 {
		t.Error(stderr)
	}
}

func TestASearchSpeaksOfFlags(t *testing.T) {
	one := &searchOptions{constraints: []string{"{metric: F1, min: 0.5}"}}
	two := &searchOptions{constraints: []string{"{metric: F1, min: 0.5}", "{metric: FileBytes}"}}
	for text, want := range map[string]string{
		"spec.search.maxTrials: 33 is not allowed":                                     "--trials: 33 is not allowed",
		"all 3 trials of maxTrials were made":                                          "all 3 trials of --trials were made",
		"the trials took the 2 minutes of maxMinutes":                                  "the trials took the 2 minutes of --minutes",
		"the trials took the one minute of maxMinutes":                                 "the trials took the one minute of --minutes",
		"try a higher search.maxTrials or more training.epochs":                        "try a higher --trials or more --epochs",
		"spec.constraints[0].metric: \"F\" is not":                                     "--constraint: metric: \"F\" is not",
		"spec.leaf.encode: Zip; spec.leaf: weights":                                    "--leaf: encode: Zip; --leaf: weights",
		"have weights encoded (leaf.encode: Auto); else":                               "have weights encoded (--leaf '{encode: Auto}'); else",
		"try leaf: {activations: Int16} if":                                            "try --leaf '{activations: Int16}' if",
		"spec.dataset.split: less; spec.dataset.split.test: \"1.5\"":                   "--dataset-spec: split: less; --dataset-spec: split.test: \"1.5\"",
		"split.validation takes some":                                                  "--dataset-spec split.validation takes some",
		"split.test and split.validation divide":                                       "--dataset-spec split.test and split.validation divide",
		"by dataset.preprocessing.resize":                                              "by --dataset-spec preprocessing.resize",
		"preprocessing.resize, crop and channels change it":                            "--dataset-spec preprocessing.resize, crop and channels change it",
		"leave dataset.target out":                                                     "leave --dataset-spec target out",
		"spec: a search cannot; spec: nor":                                             "a search cannot; spec: nor",
		"model.states: the model has no input":                                         "--state: the model has no input",
		"d.npz: not found; spec.dataset.uri of a manifest is relative to the manifest": "d.npz: not found",
		"my/dataset.npz, leaf.tflite, dataset.npz":                                     "my/dataset.npz, leaf.tflite, dataset.npz",
	} {
		if got := one.inFlags(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got, want := two.inFlags("spec.constraints[1]: min or max"), "--constraint \"{metric: FileBytes}\": min or max"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := two.inFlags("spec.constraints[99999999999999999999]: x"); got != "--constraint: x" {
		t.Error(got)
	}
}
