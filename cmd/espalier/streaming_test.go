package main

import (
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
)

// sequences writes a model of the integer executor's goldens and a dataset of sequences for it, each an S of float32, in a folder; with a
// label at each of twelve steps too, if asked for.
func sequences[S any](t *testing.T, model string, classes int, each bool) (folder string) {
	t.Helper()
	folder = t.TempDir()
	write(t, filepath.Join(folder, "model.tflite"), read(t, "../../optimizer/exec/integer/testdata/streaming/"+model+".tflite"))
	draw := rand.New(rand.NewPCG(1, 2))
	arrays := map[string]any{}
	for split, n := range map[string]int{"train": 120, "test": 40} {
		x, y, steps := make([]S, n), make([]int64, n), make([][12]int64, n)
		for i := range y {
			y[i] = int64(i % classes)
			for k := range steps[i] {
				steps[i][k] = y[i]
			}
			fill(reflect.ValueOf(&x[i]).Elem(), func() float64 { return draw.NormFloat64() + float64(y[i]) })
		}
		arrays["x_"+split], arrays["y_"+split] = x, y
		if each {
			arrays["each_"+split] = steps
		}
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
		"in variables": {sequences[[12][3][10]float32](t, "mixed_int8", 2, false), "", nil},
		"in pairs of inputs and outputs": {sequences[[12][1][6]float32](t, "frames_f32", 4, false), ", states: [{input: near_in, output: near_out}, {input: far_in, output: far_out}]",
			[]string{"--state", "near_in=near_out", "--state", "far_in=far_out"}},
	} {
		t.Run(name, func(t *testing.T) {
			at := func(name string) string { return filepath.Join(tc.folder, name) }
			write(t, at("pipeline.yaml"), []byte("apiVersion: espalier.dev/v1alpha1\nkind: OptimizationPipeline\nmetadata: {name: wake}\nspec:\n  model: {uri: model.tflite"+tc.states+
				"}\n  dataset: {uri: data.npz}\n  training: {epochs: 1, learningRate: 1e-3}\n  stages:\n  - {name: cluster, cluster: {clusters: 16}}\n  - {name: cqat, quantize: {}}\n"))
			for _, command := range [][]string{
				{"inspect", at("model.tflite")},
				append([]string{"benchmark", at("model.tflite"), "--inference", "--time", "50ms"}, tc.flags...),
				append([]string{"benchmark", at("model.tflite"), "--technique", "pqat", "--batch", "8", "--steps", "6", "--time", "50ms"}, tc.flags...),
				append([]string{"sensitivity", at("model.tflite"), "--dataset", at("data.npz")}, tc.flags...),
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

// A target for each step has a network trained and measured at each of them, without a word in the manifest; leaves remember it.
func TestNetworksWithStateAnswerAtEachStep(t *testing.T) {
	folder := sequences[[12][3][10]float32](t, "mixed_f32", 2, true)
	at := func(name string) string { return filepath.Join(folder, name) }
	write(t, at("pipeline.yaml"), []byte("apiVersion: espalier.dev/v1alpha1\nkind: OptimizationPipeline\nmetadata: {name: voice}\nspec:\n  model: {uri: model.tflite}\n"+
		"  dataset: {uri: data.npz, labels: each}\n  training: {epochs: 1, learningRate: 1e-3}\n  stages:\n  - {name: qat, quantize: {}}\n"))
	_, said, code := espalier(t.Context(), "run", at("pipeline.yaml"), "-o", at("out"))
	if code != 0 || !strings.Contains(said, "at each of 12 positions") {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	leaf, err := tflite.ReadFile(at("out/leaves/qat.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	if shape := leaf.Subgraph().Tensors[leaf.Subgraph().Outputs[0]].Shape; !leaf.EachStep() || !slices.Equal(shape, []int32{1, 1}) {
		t.Errorf("the leaf gives %v and answers at each step: %t", shape, leaf.EachStep())
	}
	spec := []string{"--dataset", at("data.npz"), "--dataset-spec", "{labels: each}"}
	for _, model := range []string{"model.tflite", "out/leaves/qat.tflite"} {
		out, said, code := espalier(t.Context(), append([]string{"evaluate", at(model)}, spec...)...)
		if code != 0 || !strings.Contains(out, "Accuracy") {
			t.Errorf("%s: exit code %d\n%s%s", model, code, out, said)
		}
	}
	if out, said, code := espalier(t.Context(), append([]string{"compare", at("model.tflite"), at("out/leaves/qat.tflite")}, spec...)...); code != 0 || !strings.Contains(out, "Agreement") {
		t.Errorf("compare: exit code %d\n%s%s", code, out, said)
	}
}

// To measure a network whose state --state names, its file is written with that.
func TestSizesAreThoseOfTheFileThatIsGiven(t *testing.T) {
	folder := sequences[[12][1][6]float32](t, "frames_f32", 3, false)
	model := filepath.Join(folder, "model.tflite")
	flags := []string{"--dataset", filepath.Join(folder, "data.npz"), "--state", "near_in=near_out", "--state", "far_in=far_out", "-o", "json"}
	want := float64(len(read(t, model)))
	var evaluated struct{ Metrics measure.Metrics }
	out, said, code := espalier(t.Context(), append([]string{"evaluate", model}, flags...)...)
	if err := json.Unmarshal([]byte(out), &evaluated); err != nil || code != 0 || evaluated.Metrics[measure.FileBytes] != want {
		t.Errorf("evaluate: exit code %d, %v, %v bytes, want %v\n%s", code, err, evaluated.Metrics[measure.FileBytes], want, said)
	}
}

func TestOneStepIsNoSequence(t *testing.T) {
	folder := sequences[[1][6]float32](t, "gru_f32", 3, false)
	spec := []string{"--dataset", filepath.Join(folder, "data.npz"), "--state", "h=h_next"}
	for command, tc := range map[string]struct {
		flags []string
		code  int
		want  string
	}{
		"evaluate":    {spec, 0, "a sample is one step"},
		"sensitivity": {spec, 3, "what a step leaves in the state"},
		"compare":     {spec[:2], 4, "no array is left for input h [8]"},
		"benchmark":   {[]string{"--steps", "4", "--time", "1ms"}, 2, "keeps no state, so that --steps says nothing: leave it out"},
	} {
		args := []string{command, filepath.Join(folder, "model.tflite")}
		if command == "compare" {
			args = append(args, args[1])
		}
		if _, said, code := espalier(t.Context(), append(args, tc.flags...)...); code != tc.code || !strings.Contains(said, tc.want) {
			t.Errorf("%s: exit code %d\n%s", command, code, said)
		}
	}
}
