package main

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
)

// sequences writes a model of the integer executor's goldens and a dataset of sequences for it, each an S of float32, in a folder.
func sequences[S any](t *testing.T, model string, classes int) (folder string) {
	t.Helper()
	folder = t.TempDir()
	write(t, filepath.Join(folder, "model.tflite"), read(t, "../../optimizer/exec/integer/testdata/streaming/"+model+".tflite"))
	draw := rand.New(rand.NewPCG(1, 2))
	arrays := map[string]any{}
	for split, n := range map[string]int{"train": 120, "test": 40} {
		x, y := make([]S, n), make([]int64, n)
		for i := range y {
			y[i] = int64(i % classes)
			fill(reflect.ValueOf(&x[i]).Elem(), func() float64 { return draw.NormFloat64() + float64(y[i]) })
		}
		arrays["x_"+split], arrays["y_"+split] = x, y
	}
	writeNPZ(t, filepath.Join(folder, "data.npz"), arrays)
	return folder
}

// fill sets every number of an array of arrays.
func fill(v reflect.Value, next func() float64) {
	if v.Kind() != reflect.Array {
		v.SetFloat(next())
		return
	}
	for i := range v.Len() {
		fill(v.Index(i), next)
	}
}

// The commands of the guide's section on networks with state.
func TestNetworksWithStateAreShownMeasuredAndCompressed(t *testing.T) {
	for name, tc := range map[string]struct {
		folder string
		states string
		flags  []string
	}{
		"in variables": {sequences[[12][3][10]float32](t, "mixed_int8", 2), "", nil},
		"in pairs of inputs and outputs": {sequences[[12][1][6]float32](t, "frames_f32", 4), ", states: [{input: near_in, output: near_out}, {input: far_in, output: far_out}]",
			[]string{"--state", "near_in=near_out", "--state", "far_in=far_out"}},
	} {
		t.Run(name, func(t *testing.T) {
			at := func(name string) string { return filepath.Join(tc.folder, name) }
			write(t, at("pipeline.yaml"), []byte("apiVersion: espalier.dev/v1alpha1\nkind: OptimizationPipeline\nmetadata: {name: wake}\nspec:\n  model: {uri: model.tflite"+tc.states+
				"}\n  dataset: {uri: data.npz}\n  training: {epochs: 1, learningRate: 1e-3}\n  stages:\n  - {name: cluster, cluster: {clusters: 16}}\n  - {name: cqat, quantize: {}}\n"))
			for _, command := range [][]string{
				{"inspect", at("model.tflite")},
				append([]string{"evaluate", at("model.tflite"), "--dataset", at("data.npz")}, tc.flags...),
				{"run", at("pipeline.yaml"), "-o", at("out")},
				{"evaluate", at("out/leaves/cqat.tflite"), "--dataset", at("data.npz")},
				{"inspect", at("out/leaves/cqat.tflite")},
				append([]string{"compare", at("model.tflite"), at("out/leaves/cqat.tflite"), "--dataset", at("data.npz")}, tc.flags...),
				{"bundle", at("out/leaves/cqat.tflite"), "--target", "cortex-m4", "--dataset", at("data.npz"), "-o", at("firmware")},
			} {
				out, said, code := espalier(t.Context(), command...)
				if code != 0 {
					t.Fatalf("%s: exit code %d\n%s", strings.Join(command, " "), code, said)
				}
				if command[0] == "inspect" && command[1] != at("model.tflite") && !strings.Contains(out, "keeps state from one step to the next: ") {
					t.Errorf("%s: %s", strings.Join(command, " "), out)
				}
				if command[0] == "evaluate" && !strings.Contains(out, "Accuracy") {
					t.Errorf("%s: %s", strings.Join(command, " "), out)
				}
			}
			leaf, err := tflite.ReadFile(at("out/leaves/cqat.tflite"))
			if err != nil {
				t.Fatal(err)
			}
			given, err := tflite.ReadFile(at("model.tflite"))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(leaf.Subgraph().Inputs), len(given.Subgraph().Inputs); got != want {
				t.Errorf("the leaf has %d inputs, the model %d", got, want)
			}
		})
	}
}
