package config

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
)

// pipelineNamed is a pipeline of some spec and name.
func pipelineNamed(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	p := pipelineOf(t, spec)
	p.SetName(name)
	return p
}

func TestAnAPIServerTakesNumbersWithAndWithoutQuotes(t *testing.T) {
	plane := controlplane.Start(t, controlplane.Options{})
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(rest.CopyConfig(plane.Config), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(p *unstructured.Unstructured, manager string) error {
		return c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(p), client.FieldOwner(manager), client.ForceOwnership)
	}
	const spec = `
training: {learningRate: LR, classWeights: [WEIGHT, 2]}
dataset: {uri: s3://datasets/d.npz, preprocessing: {scale: SCALE, mean: [HALF]}, split: {validation: TENTH}}
stages:
- {name: prune, prune: {sparsity: HALF}}
- {name: cluster, cluster: {clusters: 16, entropy: HALF}}
constraints: [{metric: AccuracyDrop, max: TENTH}, {metric: FileBytes, max: 90000}]
`
	quoted := strings.NewReplacer("LR", `"1e-3"`, "WEIGHT", `"1.5"`, "SCALE", `"1/255"`, "HALF", `"0.5"`, "TENTH", `"0.1"`)
	bare := strings.NewReplacer("LR", "1e-3", "WEIGHT", "1.50", "SCALE", `"2/510"`, "HALF", ".5", "TENTH", "0.10")

	// A pipeline that was written with quotes is applied without: nothing of it is made anew.
	hashes := func(name string) []string {
		var p v1alpha1.OptimizationPipeline
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, &p); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		versions, pinned := walk.Versions{Algorithm: "1"}, v1alpha1.Baseline{ModelDigest: "sha256:m", DatasetDigest: "sha256:d"}
		return []string{
			walk.BaselineHash(&p.Spec, versions), walk.StageHash(&p.Spec, "prune", versions, pinned, "sha256:m"), walk.StageHash(&p.Spec, "cluster", versions, pinned, "sha256:p"),
		}
	}
	if err := apply(pipelineNamed(t, "numbers", quoted.Replace(spec)), "before"); err != nil {
		t.Fatal(err)
	}
	want := hashes("numbers")
	if err := apply(pipelineNamed(t, "numbers", bare.Replace(spec)), "after"); err != nil {
		t.Fatal(err)
	}
	if got := hashes("numbers"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("without quotes %q, with quotes %q", got, want)
	}
	text, err := yaml.Marshal(pipelineNamed(t, "numbers", bare.Replace(spec)))
	if err != nil {
		t.Fatal(err)
	}
	local, err := v1alpha1.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := walk.BaselineHash(&local.Spec, walk.Versions{Algorithm: "1"}); got != want[0] {
		t.Error("a machine and a cluster read the same manifest otherwise")
	}

	for name, tt := range map[string]struct{ spec, want string }{
		"above":     {"stages: [{name: prune, prune: {sparsity: 1.5}}]", "should be less than 1"},
		"one":       {"stages: [{name: prune, prune: {sparsity: 1}}]", "should be less than 1"},
		"negative":  {"training: {weightDecay: -0.5}", "should be greater than or equal to 0"},
		"word":      {`stages: [{name: prune, prune: {sparsity: "half"}}]`, "should match"},
		"nan":       {`stages: [{name: prune, prune: {sparsity: "NaN"}}]`, "should match"},
		"infinite":  {`training: {clipNorm: "Inf"}`, "should match"},
		"exponent":  {`constraints: [{metric: FileBytes, max: "1e999"}]`, "should match"},
		"truth":     {"stages: [{name: prune, prune: {sparsity: true}}]", "sparsity"},
		"object":    {"stages: [{name: prune, prune: {sparsity: {a: 1}}}]", "sparsity"},
		"empty":     {"stages: [{name: prune, prune: {sparsity: {}}}]", "sparsity"},
		"list":      {"training: {learningRate: [0.5]}", "learningRate"},
		"unbounded": {"constraints: [{metric: FileBytes}]", "a constraint needs min or max"},
		"direction": {"constraints: [{metric: FileBytes, min: 0.5}]", "bound it by max"},
		"rule":      {"stages: [{name: prune, prune: {sparsity: 0.5, rules: [{layers: a, skip: true, sparsity: 0.1}]}}]", "either skips layers"},
		"method":    {"stages: [{name: q, quantize: {calibration: {percentile: 99.9}}}]", "percentile applies"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := apply(pipelineNamed(t, name, tt.spec), "test"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error saying %q", err, tt.want)
			}
		})
	}
}
