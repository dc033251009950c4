package walk

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
)

// update writes golden files that are not there. One that is there is what a release has stored, and is never written again.
var update = flag.Bool("update", false, "write the golden files of testdata that are not there")

func golden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if os.IsNotExist(err) && *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v: run go test ./internal/walk -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: stored results would have other names, and everything would train again (see docs/design.md):\n%s", file, diff)
	}
}

func TestWhatIsHashedAndItsHashStay(t *testing.T) {
	files, err := filepath.Glob("testdata/forms/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	v, pinned := Versions{Algorithm: "golden"}, v1alpha1.Baseline{ModelDigest: "sha256:model", DatasetDigest: "sha256:dataset"}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := v1alpha1.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			fmt.Fprintf(&out, "%s\n  names the reading %s\n", Baseline, BaselineHash(&p.Spec, v))
			names := []string{Baseline}
			for i := range p.Spec.Stages {
				names = append(names, p.Spec.Stages[i].Name)
			}
			for _, name := range names {
				in, err := StageInputs(&p.Spec, name)
				if err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(in)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&out, "%s\n  %s\n  %s\n", name, text, StageHash(&p.Spec, name, v, pinned, "sha256:parent"))
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", out.String())
		})
	}
}

func TestEveryDefaultIsAssumed(t *testing.T) {
	for path, section := range map[string]any{
		"prune": v1alpha1.Prune{Sparsity: "0.5"}.Defaulted(), "cluster": v1alpha1.Cluster{Clusters: 16}.Defaulted(),
		"quantize": v1alpha1.Quantize{Calibration: v1alpha1.Calibration{Method: "Percentile"}}.Defaulted(),
		"leaf":     v1alpha1.LeafOptions{Calibration: v1alpha1.Calibration{Method: "Percentile"}}.Defaulted(),
		"training": v1alpha1.Training{Distillation: &v1alpha1.Distillation{}}.Defaulted(),
	} {
		got, err := written(path, section)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"prune": `{"sparsity":"0.5"}`, "cluster": `{"clusters":16}`, "training": `{"distillation":{}}`,
			"quantize": `{"calibration":{"method":"Percentile"}}`, "leaf": `{"calibration":{"method":"Percentile"}}`,
		}[path]
		if text, _ := json.Marshal(got); string(text) != want {
			t.Errorf("%s is written as %s, want %s: a default that is new goes to assumed; one that changed needs another form", path, text, want)
		}
	}
}

func TestAFieldThatIsAddedRenamesNothing(t *testing.T) {
	type later struct {
		v1alpha1.Cluster `json:",inline"`
		Rounding         string `json:"rounding"` // a field of a later version, filled in with its default
	}
	assumed["cluster.rounding"] = `"Nearest"`
	defer delete(assumed, "cluster.rounding")
	section := v1alpha1.Cluster{Clusters: 16, Scope: "Tensor"}.Defaulted()
	now, err := written("cluster", section)
	if err != nil {
		t.Fatal(err)
	}
	then, err := written("cluster", later{section, "Nearest"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(now, then); diff != "" {
		t.Error(diff)
	}
	if named, _ := written("cluster", later{section, "Up"}); cmp.Equal(now, named) {
		t.Error("what it says otherwise is not hashed")
	}
}

// finished are pipelines that came to an end, as an API server has them.
func finished(t *testing.T) map[string]*v1alpha1.OptimizationPipeline {
	t.Helper()
	names := []string{"baseline", "prune", "pqat", "cluster", "pcqat", "only"}
	out := map[string]*v1alpha1.OptimizationPipeline{}
	for name, change := range map[string]option{
		"all-run":   func(*v1alpha1.OptimizationPipelineSpec) {},
		"first-met": need(v1alpha1.Constraint{Metric: v1alpha1.CompressedBytes, Max: dec("200")}),
		"not-met":   need(v1alpha1.Constraint{Metric: v1alpha1.CompressedBytes, Max: dec("100")}, v1alpha1.Constraint{Metric: v1alpha1.AccuracyDrop, Max: dec("0.01")}),
		"best": func(s *v1alpha1.OptimizationPipelineSpec) {
			best(s)
			s.Training = v1alpha1.Training{LearningRate: dec("1e-3"), ClassWeights: []v1alpha1.Decimal{"1.50", "1"}, Distillation: &v1alpha1.Distillation{}}
			s.Dataset.Preprocessing = &v1alpha1.Preprocessing{Scale: ptr(v1alpha1.Quotient("1/255"))}
			s.Leaf.KeepFloat = []string{"head/*"}
		},
	} {
		spec := chain(change)
		spec.Model.URI, spec.Dataset.URI = "s3://models/m.tflite", "s3://data/d.npz"
		spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://artifacts/here"}}
		v := Versions{Algorithm: "golden"}
		facts := known(spec, v, names...)
		facts.Publish = true
		d := Decide(spec, facts, noon)
		if s := d.Stage(Publish); d.Stage(Publish) != nil && s.State == v1alpha1.StagePending {
			facts.Stages[Publish] = Fact{State: v1alpha1.StageCompleted, Attempt: 1, InputHash: s.InputHash}
			d = Decide(spec, facts, noon)
		}
		p := &v1alpha1.OptimizationPipeline{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "lab", Generation: 1}, Spec: *spec,
		}
		p.Status = d.Status(facts, Shown{Generation: 1, Now: noon, Previous: &p.Status, AlgorithmVersion: v.Algorithm})
		out[name] = p
	}
	return out
}

func TestWhatAReleaseFinishedIsFinishedForThisOne(t *testing.T) {
	if *update {
		for name, p := range finished(t) {
			data, err := yaml.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if file := filepath.Join("testdata", "finished", name+".yaml"); missing(file) {
				if err := os.WriteFile(file, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	files, err := filepath.Glob("testdata/finished/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d stored pipelines: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var p v1alpha1.OptimizationPipeline
			if err := yaml.UnmarshalStrict(data, &p); err != nil {
				t.Fatal(err)
			}
			versions := map[string]*Versions{"as it is frozen": nil, "hashed anew": {Algorithm: p.Status.AlgorithmVersion}}
			for name, v := range versions {
				facts := RecordedFacts(&p.Status, p.Generation, p.Status.Rerun)
				facts.Publish, facts.Versions = true, v
				d := Decide(&p.Spec, facts, noon)
				if len(d.Start)+len(d.Stop) > 0 || !d.Finished {
					t.Errorf("%s: starts %q, stops %q: %s", name, d.Start, d.Stop, d.Message)
				}
				status := d.Status(facts, Shown{Generation: p.Generation, Now: noon, Previous: &p.Status, AlgorithmVersion: p.Status.AlgorithmVersion})
				want := p.Status.DeepCopy()
				if find(want.Conditions, v1alpha1.ConditionPublished).Type == "" { // of a version that did not say what is published
					if s := want.Selected; s != nil {
						want.Published = &v1alpha1.Published{Generation: p.Generation, Stage: s.Stage, Digest: s.Digest, Metrics: s.Metrics}
					}
					want.Conditions = append(want.Conditions, find(status.Conditions, v1alpha1.ConditionPublished))
				}
				if diff := cmp.Diff(*want, status); diff != "" {
					t.Errorf("%s: the status does not stand:\n%s", name, diff)
				}
			}

			// A change of what is wanted is decided from what was measured: at most the answer is published anew.
			spec := p.Spec.DeepCopy()
			spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: dec("1000000")}}
			facts := RecordedFacts(&p.Status, p.Generation+1, p.Status.Rerun)
			facts.Publish, facts.Versions = true, &Versions{Algorithm: p.Status.AlgorithmVersion}
			for _, start := range Decide(spec, facts, noon).Start {
				if start != Publish {
					t.Errorf("with other constraints %s runs again", start)
				}
			}
		})
	}
}

func missing(file string) bool {
	_, err := os.Stat(file)
	return os.IsNotExist(err)
}

func TestTheOrderOfFieldsIsNotHashed(t *testing.T) {
	one, err := written("training", v1alpha1.Training{Epochs: ptr(int32(9)), Seed: ptr(int64(7))})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte(`{"epochs":9,"seed":7}`); !bytes.Equal(text, want) {
		t.Errorf("%s, want %s", text, want)
	}
}
