package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// sample is an 8×8 picture with a bright square in one of four corners: the class.
type sample [8][8][1]float32

// project writes a model, a dataset and a manifest to a folder and returns the manifest's path.
func project(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "model.tflite"), classifier(t))
	samples, labels := corners(320, 1)
	writeNPZ(t, filepath.Join(folder, "data.npz"), map[string]any{"x_train": samples, "y_train": labels, "x_test": samples[:96], "y_test": labels[:96]})
	write(t, filepath.Join(folder, "pipeline.yaml"), []byte(manifest))
	return filepath.Join(folder, "pipeline.yaml")
}

const manifest = `
apiVersion: espalier.dev/v1alpha1
kind: OptimizationPipeline
metadata: {name: corners}
spec:
  model: {uri: model.tflite}
  dataset: {uri: data.npz}
  training: {epochs: 2, batchSize: 32, learningRate: "3e-3"}
  stages:
  - {name: prune, prune: {sparsity: "0.5"}}
  - {name: pqat, quantize: {}}
  - {name: cluster, cluster: {clusters: 8}}
  - {name: pcqat, quantize: {}}
`

// classifier is a small network whose weights are set so that training can only refine it.
func classifier(t *testing.T) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	normal := func(n int, sd float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(sd * rng.NormFloat64())
		}
		return out
	}
	b := tflitetest.New()
	x := b.Input("x", 1, 8, 8, 1)
	y := b.Conv("conv", x, normal(8*9, 0.4), normal(8, 0.1), 8, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, y, 2, 2, schema.PaddingVALID)
	y = b.Flatten("flat", y)
	y = b.Dense("dense", y, normal(4*128, 0.1), normal(4, 0.1), 4, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	data, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func corners(n int, seed uint64) ([]sample, []int64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	samples, labels := make([]sample, n), make([]int64, n)
	for i := range samples {
		labels[i] = int64(i % 4)
		top, left := int(labels[i])/2*4, int(labels[i])%2*4
		for y := range 8 {
			for x := range 8 {
				samples[i][y][x][0] = float32(0.3 * rng.NormFloat64())
				if y >= top && y < top+4 && x >= left && x < left+4 {
					samples[i][y][x][0]++
				}
			}
		}
	}
	return samples, labels
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeNPZ(t *testing.T, path string, arrays map[string]any) {
	t.Helper()
	w, err := npz.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(arrays)) { // the same bytes whenever they are written
		if err := w.Write(name, arrays[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// espalier runs a command and returns what it printed and its exit code.
func espalier(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	streams := &ioStreams{Out: &out, Err: &errs}
	command := newRootCommand(streams)
	command.SetArgs(args)
	err := command.ExecuteContext(ctx)
	streams.fail(err)
	return out.String(), errs.String(), fault.ExitCode(err)
}

func TestRunWalksTheTreeAndReusesIt(t *testing.T) {
	path := project(t)
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	first := files(t, out)
	for _, want := range []string{"leaves/baseline.tflite", "leaves/pcqat.tflite", "models/cluster.tflite", "result.json", "report.html"} {
		if first[want] == "" {
			t.Errorf("%s is missing", want)
		}
	}
	var p v1alpha1.OptimizationPipeline
	if err := json.Unmarshal([]byte(first["result.json"]), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status.Selected == nil || p.Status.Selected.Stage != "pcqat" || p.Status.Progress != "4/4" {
		t.Errorf("status: %+v, want pcqat selected and 4/4", p.Status)
	}
	if _, err := v1alpha1.Decode([]byte(first["result.json"])); err != nil {
		t.Errorf("the result is no valid pipeline: %v", err)
	}
	if at := p.Status.Selected.URI; artifact.Digest(read(t, filepath.Join(out, at))) != p.Status.Selected.Digest || !strings.HasSuffix("sha256:"+filepath.Base(at), p.Status.Selected.Digest) {
		t.Errorf("%s is not the selected leaf, or does not say which it is", at)
	}
	checkPromises(t, filepath.Join(out, "leaves", "pcqat.tflite"))

	notes := notesOf(stderr)
	stdout, stderr, code = espalier(context.Background(), "run", path, "-o", out)
	if code != 0 || strings.Count(stdout, "(reused)") != 5 {
		t.Errorf("second run: exit code %d\n%s%s", code, stdout, stderr)
	}
	if diff := cmp.Diff(notes, notesOf(stderr)); diff != "" {
		t.Errorf("second run: it says other things of the same stages:\n%s", diff)
	}
	second := files(t, out)
	for name := range first {
		if strings.HasSuffix(name, ".tflite") && first[name] != second[name] {
			t.Errorf("%s changed", name)
		}
	}
	if stdout, stderr, code = espalier(context.Background(), "report", out); code != 0 || !strings.Contains(stdout, "report.html") {
		t.Errorf("report: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// notesOf are the lines of notes in what a run said.
func notesOf(stderr string) (notes []string) {
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "note ") {
			notes = append(notes, line)
		}
	}
	return notes
}

// checkPromises counts zeros and codes in the emitted integers.
func checkPromises(t *testing.T, leaf string) {
	t.Helper()
	m, err := tflite.ReadFile(leaf)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, tensor := range m.Subgraph().Tensors {
		if !strings.HasSuffix(tensor.Name, "/kernel") {
			continue
		}
		codes, err := m.Int8s(tensor)
		if err != nil {
			t.Fatal(err)
		}
		distinct, zeros := map[int8]bool{}, 0
		for _, c := range codes {
			distinct[c] = true
			if c == 0 {
				zeros++
			}
		}
		if len(distinct) > 8 || zeros != len(codes)/2 {
			t.Errorf("%s: %d codes, %d of %d zero; want at most 8 and half", tensor.Name, len(distinct), zeros, len(codes))
		}
		checked++
	}
	if checked != 2 {
		t.Errorf("%d kernels found, want 2", checked)
	}
}

// files reads a folder, the cache aside.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == ".cache" {
				return fs.SkipDir
			}
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		out[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnInterruptedRunResumesToTheSameBytes(t *testing.T) {
	path := project(t)
	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", whole); code != 0 {
		t.Fatal(stderr)
	}
	var resumed atomic.Int64
	interrupted := 0
	for range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		streams := &interrupter{cancel: cancel, resumed: &resumed}
		var out bytes.Buffer
		command := newRootCommand(&ioStreams{Out: &out, Err: streams})
		command.SetArgs([]string{"run", path, "-o", parts})
		err := command.ExecuteContext(ctx)
		cancel()
		if fault.ExitCode(err) == fault.Interrupted {
			interrupted++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if interrupted == 0 || resumed.Load() == 0 {
		t.Fatalf("the run was interrupted %d times and resumed %d times", interrupted, resumed.Load())
	}
	a, b := files(t, whole), files(t, parts)
	for name := range a {
		if strings.HasSuffix(name, ".tflite") && a[name] != b[name] {
			t.Errorf("%s differs after %d interruptions", name, interrupted)
		}
	}
}

// interrupter cancels a run once a stage has trained an epoch.
type interrupter struct {
	cancel  context.CancelFunc
	resumed *atomic.Int64 // times a run said so
}

func (w *interrupter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "epoch 1/2") {
		w.cancel()
	}
	if strings.Contains(string(p), "resumed at step") {
		w.resumed.Add(1)
	}
	return len(p), nil
}

func TestBadInputIsOneLineWithARemedyAndNothingIsWritten(t *testing.T) {
	samples, labels := corners(64, 2)
	data := func(folder string, arrays map[string]any) {
		writeNPZ(t, filepath.Join(folder, "data.npz"), arrays)
	}
	replace := func(old, new string) func(string) {
		return func(folder string) {
			write(t, filepath.Join(folder, "pipeline.yaml"), []byte(strings.Replace(manifest, old, new, 1)))
		}
	}
	tests := map[string]struct {
		break_ func(folder string)
		code   int
		want   []string
	}{
		"a truncated model": {func(folder string) {
			path := filepath.Join(folder, "model.tflite")
			content, _ := os.ReadFile(path)
			write(t, path, content[:len(content)/2])
		}, 3, []string{"model.tflite", "truncated"}},
		"no model at all": {func(folder string) { write(t, filepath.Join(folder, "model.tflite"), []byte("hello")) }, 3, []string{"model.tflite", "truncated"}},
		"a missing model": {replace("model.tflite", "nowhere.tflite"), 3, []string{"nowhere.tflite", "spec.model.uri"}},
		"NaN weights": {func(folder string) {
			m, err := tflite.ReadFile(filepath.Join(folder, "model.tflite"))
			if err != nil {
				t.Fatal(err)
			}
			weights, _ := m.Float32s(m.Subgraph().Tensors[1])
			weights[7] = float32(math.NaN())
			m.SetData(m.Subgraph().Tensors[1], tflite.Float32Bytes(weights))
			if err := tflite.WriteFile(filepath.Join(folder, "model.tflite"), m); err != nil {
				t.Fatal(err)
			}
		}, 3, []string{"conv/kernel", "element 7 is NaN", "export it again"}},
		"labels out of range": {func(folder string) {
			bad := append([]int64{}, labels...)
			bad[9] = 4
			data(folder, map[string]any{"x_train": samples, "y_train": bad, "x_test": samples, "y_test": labels})
		}, 4, []string{"labels up to 4", "4 classes"}},
		"a wrong input shape": {func(folder string) {
			wide := make([][8][9]float32, 64)
			data(folder, map[string]any{"x_train": wide, "y_train": labels, "x_test": wide, "y_test": labels})
		}, 4, []string{"[8 9]", "[8 8 1]", "preprocessing"}},
		"an empty dataset": {func(folder string) {
			data(folder, map[string]any{"x_train": []float32{}, "y_train": []int64{}})
		}, 4, []string{"x_train"}},
		"fewer labels than samples": {func(folder string) {
			data(folder, map[string]any{"x_train": samples, "y_train": labels[:60], "x_test": samples, "y_test": labels})
		}, 4, []string{"64", "60"}},
		"NaN samples": {func(folder string) {
			bad := append([]sample{}, samples...)
			bad[3][2][1][0] = float32(math.NaN())
			data(folder, map[string]any{"x_train": samples, "y_train": labels, "x_test": bad, "y_test": labels})
		}, 4, []string{"NaN"}},
		"a missing dataset":                   {replace("data.npz", "nowhere.npz"), 4, []string{"nowhere.npz", "spec.dataset.uri"}},
		"an unknown field":                    {replace("batchSize", "batchsize"), 2, []string{"spec.training.batchsize", "batchSize"}},
		"a value out of range":                {replace(`"0.5"`, `"1.5"`), 2, []string{"spec.stages[0].prune.sparsity", "below 1"}},
		"a digest that is not it":             {replace("{uri: model.tflite}", "{uri: model.tflite, digest: \"sha256:"+strings.Repeat("0", 64)+"\"}"), 3, []string{"spec.model.digest"}},
		"a rule that matches none":            {replace(`{sparsity: "0.5"}`, `{sparsity: "0.5", rules: [{layers: "nothing*", skip: true}]}`), 2, []string{"spec.stages[0]", "nothing*", "conv/kernel"}},
		"a layer to keep float that is none":  {replace("quantize: {}", `quantize: {keepFloat: ["nothing*"]}`), 2, []string{"spec.stages[1]", "nothing*", "conv/kernel"}},
		"every layer of a leaf to keep float": {replace("quantize: {}", `quantize: {keepFloat: ["*"]}`), 2, []string{"spec.stages[1]", "keepFloat * leaves nothing to quantize", "name only"}},
		"every layer to keep float":           {replace("  stages:", `  leaf: {keepFloat: ["*"]}`+"\n  stages:"), 2, []string{"spec.leaf", "keepFloat * leaves nothing to quantize"}},
		"a rule for a layer that is none":     {replace("quantize: {}", `quantize: {rules: [{layers: "nothing*", activations: Int16}]}`), 2, []string{"spec.stages[1]", "nothing*", "conv/kernel"}},
		"a layer of every leaf to keep float": {replace("  stages:", `  leaf: {keepFloat: ["nothing*"]}`+"\n  stages:"), 2, []string{"spec.leaf", "nothing*", "conv/kernel"}},
		"clusters of more scales than a quantize stage may have": {replace("{name: pcqat, quantize: {}}", "{name: pcqat, quantize: {perTensorDense: true}}"), 2,
			[]string{"spec.stages[3]", `cluster stage "cluster"`, "dense/kernel", "scope Tensor"}},
		"clusters of more scales than leaves may have": {func(folder string) {
			text := strings.Replace(manifest, "  stages:", "  leaf: {perTensorDense: true}\n  stages:", 1)
			write(t, filepath.Join(folder, "pipeline.yaml"), []byte(strings.Replace(text, "clusters: 8", "clusters: 8, scope: Channel", 1)))
		}, 2, []string{"spec.stages[2]", "dense/kernel", "scope Tensor"}},
		"a metric that nothing gives":             {replace("  stages:", "  constraints: [{metric: AUC, min: \"0.9\"}]\n  stages:"), 2, []string{"spec.constraints[0]", "AUC", "two classes"}},
		"encoded weights for LiteRT":              {replace("  stages:", "  leaf: {encode: Auto}\n  stages:"), 2, []string{"spec.leaf: encode Auto: LiteRT does not decode weights", "leave encode out"}},
		"encoded weights of a stage":              {replace("quantize: {}", "quantize: {encode: LUT}"), 2, []string{"spec.stages[1]", "encode LUT: LiteRT does not decode weights"}},
		"encoded weights for an NPU":              {replace("  stages:", "  target: {device: edgetpu}\n  leaf: {encode: Auto}\n  stages:"), 2, []string{"spec.leaf: encode Auto: edgetpu does not decode weights"}},
		"class weights of other classes":          {replace("batchSize", `classWeights: [1, 2, 3], batchSize`), 2, []string{"spec.stages[0]", "3 numbers", "4 classes"}},
		"a sparsity that its pattern contradicts": {replace(`{sparsity: "0.5"}`, `{sparsity: "0.75", pattern: "2:4"}`), 2, []string{"spec.stages[0]", "2:4", "write 0.5"}},
		"a shift out of the image":                {replace("{uri: data.npz}", "{uri: data.npz, augmentation: {shift: {height: 9, width: 0}}}"), 2, []string{"spec.dataset.augmentation.shift.height", "8 pixels"}},
		"a stage on one that is not there":        {replace("{name: pqat,", "{name: pqat, from: nowhere,"), 2, []string{"spec.stages[1].from", "nowhere", "allowed here: model, prune"}},
		"a momentum that Adam has not":            {replace("batchSize", "momentum: 0.5, batchSize"), 2, []string{"spec.training.momentum has no effect with optimizer Adam", "optimizer to SGD"}},
		"classes that are said to be numbers":     {replace("{uri: data.npz}", "{uri: data.npz, target: Values}"), 4, []string{"dataset.target is Values", "leave dataset.target out"}},
		"a learning rate too great":               {replace(`"3e-3"`, `"1e5"`), 2, []string{"spec.training.learningRate", "at most 1000"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := project(t)
			tt.break_(filepath.Dir(path))
			out := filepath.Join(t.TempDir(), "out")
			_, stderr, code := espalier(context.Background(), "run", path, "-o", out)
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			last := lines[len(lines)-1]
			if code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, last)
			}
			if said := last[strings.Index(last, ": ")+1:]; strings.Count(stderr, said) != 1 {
				t.Errorf("it is said more than once:\n%s", stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(last, want) {
					t.Errorf("the last line is %q, want %q in it", last, want)
				}
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}

func TestLeafOptionsHoldForEveryLeafAndAStageOverridesThem(t *testing.T) {
	path := project(t)
	text := strings.Replace(manifest, "  stages:", "  leaf: {inputOutput: Float32, keepFloat: [dense*]}\n  stages:", 1)
	text = strings.Replace(text, "{name: pcqat, quantize: {}}", "{name: pcqat, quantize: {inputOutput: Int8, keepFloat: []}}", 1)
	write(t, path, []byte(text))
	out := filepath.Join(t.TempDir(), "out")
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", out); code != 0 {
		t.Fatal(stderr)
	}
	int8, float := schema.TensorTypeINT8, schema.TensorTypeFLOAT32
	for leaf, want := range map[string][2]schema.TensorType{"baseline": {float, float}, "prune": {float, float}, "pqat": {float, float}, "cluster": {float, float}, "pcqat": {int8, int8}} {
		m, err := tflite.ReadFile(filepath.Join(out, "leaves", leaf+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		g := m.Subgraph()
		if got := g.Tensors[g.Inputs[0]].Type; got != want[0] {
			t.Errorf("%s takes %s, want %s", leaf, got, want[0])
		}
		for _, op := range g.Operators {
			if m.OperatorCodes[op.OpcodeIndex].BuiltinCode == schema.BuiltinOperatorFULLY_CONNECTED && g.Tensors[op.Outputs[0]].Type != want[1] {
				t.Errorf("the dense layer of %s gives %s, want %s", leaf, g.Tensors[op.Outputs[0]].Type, want[1])
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "leaf: inputs and outputs Float32, dense* in float"; !strings.Contains(string(page), want) {
		t.Errorf("the report does not say %q", want)
	}
}

func TestDenseLayersHaveOneScaleInEveryLeafThatIsAskedTo(t *testing.T) {
	path := project(t)
	write(t, path, []byte(strings.Replace(manifest, "  stages:", "  leaf: {perTensorDense: true}\n  stages:", 1)))
	out := filepath.Join(t.TempDir(), "out")
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", out); code != 0 {
		t.Fatal(stderr)
	}
	for _, leaf := range []string{"baseline", "prune", "pqat", "cluster", "pcqat"} {
		m, err := tflite.ReadFile(filepath.Join(out, "leaves", leaf+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		g := m.Subgraph()
		for _, op := range g.Operators {
			code := m.OperatorCodes[op.OpcodeIndex].BuiltinCode
			got := 0
			if len(op.Inputs) > 1 && g.Tensors[op.Inputs[1]].Quantization != nil {
				got = len(g.Tensors[op.Inputs[1]].Quantization.Scale)
			}
			if code == schema.BuiltinOperatorFULLY_CONNECTED && got != 1 || code == schema.BuiltinOperatorCONV_2D && got != 8 {
				t.Errorf("%s: %s has %d scales", leaf, code, got)
			}
		}
	}
}

func TestConstraintsNotMetIsExitCode5AndNamesTheNearestLeaf(t *testing.T) {
	path := project(t)
	write(t, path, []byte(manifest+"  constraints:\n  - {metric: CompressedBytes, max: 10}\n"))
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out"))
	if code != 5 || !strings.Contains(stdout, "is nearest: CompressedBytes is") || !strings.Contains(stdout, "try more sparsity") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// 96 samples decide. A leaf that answers as the model does surely drops by less than 0.05, but not by less than 0.01: one has to be better.
func TestAConfidenceBindsTheIntervalThatIsShown(t *testing.T) {
	path := project(t)
	run := func(constraint string) (result v1alpha1.OptimizationPipeline, page, stdout, stderr string, code int) {
		out := filepath.Join(t.TempDir(), "out")
		write(t, path, []byte(manifest+"  constraints:\n  - "+constraint+"\n"))
		stdout, stderr, code = espalier(context.Background(), "run", path, "-o", out)
		if data, err := os.ReadFile(filepath.Join(out, "result.json")); err == nil {
			if err := json.Unmarshal(data, &result); err != nil {
				t.Fatal(err)
			}
			html, _ := os.ReadFile(filepath.Join(out, "report.html"))
			page = string(html)
		}
		return result, page, stdout, stderr, code
	}
	result, page, stdout, stderr, code := run(`{metric: AccuracyDrop, max: "0.05", confidence: "0.9"}`)
	s := result.Status.Selected
	if code != 0 || s == nil || len(s.Intervals) != 3 || s.Intervals[1].Name != "AccuracyDrop" || s.Intervals[1].Confidence != "0.9" || s.Intervals[0].Confidence != "0.95" ||
		!strings.Contains(stdout, "with confidence 0.9 AccuracyDrop "+s.Intervals[1].Low+" to "+s.Intervals[1].High) || !strings.Contains(page, "with confidence 0.95 or 0.9, as 96 samples tell") {
		t.Errorf("exit code %d, selected %+v\n%s%s", code, s, stdout, stderr)
	}
	result, _, stdout, stderr, code = run(`{metric: AccuracyDrop, max: "0.01", confidence: "0.95"}`)
	if code != 0 || result.Status.Selected == nil || result.Status.Selected.Stage != "prune" || !strings.Contains(stdout, "AccuracyDrop is 0, but 96 samples leave it up to 0.02") ||
		!strings.Contains(stderr, "96 samples are too few to tell AccuracyDrop max 0.01") {
		t.Errorf("exit code %d, selected %+v\n%s%s", code, result.Status.Selected, stdout, stderr)
	}
	for _, l := range result.Status.Stages[:2] {
		if l.Leaf == nil || l.Leaf.Samples != 96 {
			t.Errorf("%s: %+v", l.Name, l.Leaf)
		}
	}
	if _, _, stdout, stderr, code = run(`{metric: Agreement, min: "0.99", confidence: "0.95"}`); code != 2 || stdout != "" || !strings.Contains(stderr, "spec.constraints[0]: 96 samples are too few") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestInspectEvaluateCompareBenchmark(t *testing.T) {
	path := project(t)
	folder := filepath.Dir(path)
	model, data := filepath.Join(folder, "model.tflite"), filepath.Join(folder, "data.npz")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"inspect":             {[]string{"inspect", model}, "conv/kernel"},
		"inspect as JSON":     {[]string{"inspect", model, "-o", "json"}, `"fileBytes"`},
		"open sizes":          {[]string{"inspect", filepath.Join(cases, "13-dynamic-image-size", "model.tflite")}, "open sizes, which the dataset's samples decide"},
		"signatures":          {[]string{"inspect", filepath.Join(cases, "47-two-signatures", "model.tflite"), "--signature", "infer"}, `signature "infer": x FLOAT32 [1 16] → y FLOAT32 [1 4] (shown here)`},
		"evaluate":            {[]string{"evaluate", model, "--dataset", data}, "Accuracy"},
		"evaluate as JSON":    {[]string{"evaluate", model, "--dataset", data, "-o", "json", "--original", model}, `"Agreement": 1`},
		"intervals":           {[]string{"evaluate", model, "--dataset", data, "--original", model}, "in parentheses: where it lies"},
		"intervals as JSON":   {[]string{"evaluate", model, "--dataset", data, "-o", "json", "--original", model}, `"intervals"`},
		"intervals of drops":  {[]string{"compare", model, model, "--dataset", data}, "0 (-0.0200 to 0.0200)"},
		"compare":             {[]string{"compare", model, model, "--dataset", data}, "equal"},
		"split":               {[]string{"evaluate", model, "--dataset", data, "--split", "train"}, "split            train\n"},
		"split as JSON":       {[]string{"evaluate", model, "--dataset", data, "-o", "json"}, `"split": "test"`},
		"split compared":      {[]string{"compare", model, model, "--dataset", data, "--split", "validation"}, "samples of the validation split; outputs"},
		"compared as JSON":    {[]string{"compare", model, model, "--dataset", data, "--split", "train", "-o", "json"}, `"split": "train"`},
		"benchmark":           {[]string{"benchmark", model, "--technique", "pqat", "--batch", "8", "--time", "100ms"}, "samples/s"},
		"benchmark inference": {[]string{"benchmark", model, "--inference", "--time", "50ms"}, "p99"},
		"benchmark of masks":  {[]string{"benchmark", filepath.Join(cases, "03-unet-per-pixel-classes", "model.tflite"), "--batch", "2", "--time", "10ms"}, "samples/s"},
		"version":             {[]string{"version", "-o", "json"}, `"kernelClass"`},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := espalier(context.Background(), tt.args...)
			if code != 0 || !strings.Contains(stdout, tt.want) {
				t.Errorf("exit code %d, want %q in\n%s%s", code, tt.want, stdout, stderr)
			}
		})
	}
}

// What the example has jq select of inspect's tensors is there.
func TestTheExampleOfInspectSelectsTensors(t *testing.T) {
	stdout, _, code := espalier(context.Background(), "inspect", "--help")
	selects := regexp.MustCompile(`select\(\.role == "(.+?)"\)`).FindStringSubmatch(stdout)
	if code != 0 || selects == nil {
		t.Fatalf("exit code %d, no selection by role in\n%s", code, stdout)
	}
	stdout, stderr, _ := espalier(context.Background(), "inspect", "-o", "json", filepath.Join(filepath.Dir(project(t)), "model.tflite"))
	var in measure.Inspection
	if err := json.Unmarshal([]byte(stdout), &in); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	if !slices.ContainsFunc(in.Tensors, func(tensor measure.Tensor) bool { return string(tensor.Role) == selects[1] }) {
		t.Errorf("no tensor has the role %q", selects[1])
	}
}

func TestEvaluateAndCompareSayWhatTheyMeasureOnAndWhichFlagToSet(t *testing.T) {
	folder := filepath.Dir(project(t))
	model, single, wide := filepath.Join(folder, "model.tflite"), filepath.Join(folder, "single.npz"), filepath.Join(folder, "wide.npz")
	samples, labels := corners(32, 1)
	writeNPZ(t, single, map[string]any{"x": samples, "y": labels})
	writeNPZ(t, wide, map[string]any{"x": make([][8][9]float32, 32), "y": labels})
	beyond := filepath.Join(folder, "beyond.npz")
	tooMany := slices.Clone(labels)
	tooMany[0] = 9
	writeNPZ(t, beyond, map[string]any{"x": samples, "y": tooMany})
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"evaluate on one split":       {[]string{"evaluate", model, "--dataset", single}, 0, "training, validation and test are the same samples"},
		"compare on one split":        {[]string{"compare", model, model, "--dataset", single}, 0, "training, validation and test are the same samples"},
		"a shape that does not fit":   {[]string{"evaluate", model, "--dataset", wide}, 4, "--dataset-spec"},
		"compare of such a shape":     {[]string{"compare", model, model, "--dataset", wide}, 4, "--dataset-spec"},
		"sensitivity to such a shape": {[]string{"sensitivity", model, "--dataset", wide}, 4, "--dataset-spec"},
		"labels past the outputs":     {[]string{"evaluate", model, "--dataset", beyond}, 4, "label"},
		"a fit that is asked for":     {[]string{"evaluate", model, "--dataset", wide, "--dataset-spec", "{preprocessing: {crop: {height: 8, width: 8}}}"}, 0, "note"},
		"a field of another kind":     {[]string{"evaluate", model, "--dataset", single, "--dataset-spec", "{preprocessing: {std: 0.5}}"}, 2, "preprocessing.std: is a number, want a list"},
		"an octal number":             {[]string{"evaluate", model, "--dataset", single, "--dataset-spec", "{split: {seed: 010}}"}, 2, "split.seed: 010 is 8"},
		"a rate below 0":              {[]string{"evaluate", model, "--dataset", single, "--dataset-spec", "{preprocessing: {audio: {sampleRate: -5}}}"}, 2, "preprocessing.audio.sampleRate"},
		"a frame without end":         {[]string{"evaluate", model, "--dataset", single, "--dataset-spec", "{preprocessing: {audio: {features: MFCC, frameLength: 9223372036854775807}}}"}, 2, "preprocessing.audio.frameLength"},
		"no dataset":                  {[]string{"evaluate", model}, 2, `required flag(s) "dataset" not set: usage: espalier evaluate MODEL --dataset DATA`},
		"no model":                    {[]string{"evaluate", "nowhere.tflite", "--dataset", single}, 3, "no such file or directory: check the path"},
		"a folder for a model":        {[]string{"inspect", folder}, 3, "is a directory: name a file in it"},
		"a dataset that is not there": {[]string{"evaluate", model, "--dataset", "nowhere"}, 4, "nowhere: no such file or directory: check the path"},
		"a file that is not there":    {[]string{"evaluate", model, "--dataset", single, "--dataset-spec", "@nowhere.yaml"}, 2, "@FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := espalier(context.Background(), tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, want %d and %q in\n%s", code, tt.code, tt.want, stderr)
			}
		})
	}
}

func TestEvaluateTakesAPipelinesWordForHowADatasetIsPrepared(t *testing.T) {
	path := project(t)
	folder, out := filepath.Dir(path), filepath.Join(t.TempDir(), "out")
	data := filepath.Join(folder, "data.npz")
	samples, labels := corners(320, 1)
	for i := range samples {
		for y := range samples[i] {
			for x := range samples[i][y] {
				samples[i][y][x][0] += 100
			}
		}
	}
	writeNPZ(t, data, map[string]any{"x_train": samples, "y_train": labels, "x_test": samples[:64], "y_test": labels[:64]})
	write(t, path, []byte(strings.Replace(manifest, "uri: data.npz", "uri: data.npz, preprocessing: {mean: [100]}", 1)))
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", out); code != 0 {
		t.Fatal(stderr)
	}
	model, result := filepath.Join(out, "leaves", "pqat.tflite"), filepath.Join(out, "result.json")
	p, err := v1alpha1.Decode(read(t, result))
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, s := range p.Status.Stages {
		if s.Name == "pqat" {
			for _, m := range s.Leaf.Metrics {
				if m.Name == "Accuracy" {
					want = m.Value
				}
			}
		}
	}
	const guess = "Accuracy is what guessing among 4 classes gives"
	if _, stderr, code := espalier(context.Background(), "evaluate", model, "--dataset", data, "--dataset-spec", "{preprocessing: {scale: 1}}"); code != 0 || !strings.Contains(stderr, guess) {
		t.Errorf("exit code %d, no word of guessing: %s", code, stderr)
	}
	for spec, guesses := range map[string]bool{"{preprocessing: {scale: 1}}": true, "{preprocessing: {mean: [100]}}": false} {
		_, stderr, _ := espalier(context.Background(), "search", model, "--dataset", data, "--dataset-spec", spec, "--trials", "1", "--epochs", "0", "-o", t.TempDir())
		if strings.Contains(stderr, "note     the original's "+guess) != guesses {
			t.Errorf("search with %s: word of guessing: %t, want %t: %s", spec, !guesses, guesses, stderr)
		}
	}
	stdout, stderr, code := espalier(context.Background(), "evaluate", model, "--dataset", data, "--pipeline", result, "--split", "validation")
	if code != 0 || want == "" || !strings.Contains(stdout, " "+want+" (") || strings.Contains(stderr, guess) {
		t.Errorf("exit code %d, want Accuracy %s as in the status:\n%s%s", code, want, stdout, stderr)
	}
	stdout, stderr, code = espalier(context.Background(), "evaluate", model, "--dataset", data, "--split", "validation")
	if code != 0 || !strings.Contains(stdout, " "+want+" (") || !strings.Contains(stderr, "is made as the model's file says: mean 100 (preprocessing: {scale: 1}") {
		t.Errorf("exit code %d, want Accuracy %s by the leaf's word:\n%s%s", code, want, stdout, stderr)
	}
	// Of two files to compare the one that has a word counts, of two words the first.
	float := filepath.Join(folder, "model.tflite")
	m, err := tflite.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := m.Metadata(dataset.PreprocessingMetadata)
	m.SetMetadata(dataset.PreprocessingMetadata, bytes.Replace(said, []byte("[100]"), []byte("[7]"), 1))
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	another := filepath.Join(folder, "another.tflite")
	write(t, another, content)
	const differ = "do not say the same of how inputs are made"
	for _, tt := range []struct {
		a, b, mean string
		differ     bool
	}{{float, model, "100", false}, {model, float, "100", false}, {model, another, "100", true}, {another, model, "7", true}} {
		stdout, stderr, code := espalier(context.Background(), "compare", tt.a, tt.b, "--dataset", data, "--split", "validation")
		if code != 0 || !strings.Contains(stderr, "is made as the model's file says: mean "+tt.mean+" (") || strings.Contains(stderr, differ) != tt.differ || tt.mean == "100" && !strings.Contains(stdout, " "+want+" (") {
			t.Errorf("compare %s %s: exit code %d, want Accuracy %s with mean %s:\n%s%s", tt.a, tt.b, code, want, tt.mean, stdout, stderr)
		}
	}
	// So it is for evaluate, whose original is the second.
	if stdout, stderr, code := espalier(context.Background(), "evaluate", float, "--original", model, "--dataset", data, "--split", "validation"); code != 0 ||
		!strings.Contains(stderr, "is made as the model's file says: mean 100 (") || !strings.Contains(stdout, "AccuracyDrop") {
		t.Errorf("evaluate %s --original %s: exit code %d\n%s%s", float, model, code, stdout, stderr)
	}
	var narrow bytes.Buffer
	cmd := newRootCommand(&ioStreams{Out: &narrow, Err: io.Discard, width: 20})
	cmd.SetArgs([]string{"inspect", model})
	if err := cmd.Execute(); err != nil || !strings.Contains(narrow.String(), "how inputs are made: "+string(said)+"\n") {
		t.Errorf("%v: inspect cuts how the input is made in a terminal:\n%s", err, &narrow)
	}
	stdout, _, _ = espalier(context.Background(), "inspect", model)
	if !strings.Contains(stdout, `how inputs are made: {"inputs":[{"input":"`) || !strings.Contains(stdout, `","mean":[100]}]}`) {
		t.Errorf("inspect does not say how the input is made:\n%s", stdout)
	}
	// Another pipeline that begins with a model of this one says itself how inputs are made: of samples as they are.
	write(t, path, []byte(strings.NewReplacer("uri: model.tflite", "uri: "+filepath.Join(out, "models", "prune.tflite"), "epochs: 2", "epochs: 0").Replace(manifest)))
	next := filepath.Join(t.TempDir(), "out")
	_, stderr, code = espalier(context.Background(), "run", path, "-o", next)
	if code != 0 || !strings.Contains(stderr, `prune.tflite has it, is left out, as the manifest has samples taken as they are stored: {"inputs":[{"input":"`) || !strings.Contains(stderr, `"mean":[100]}]}`) {
		t.Errorf("exit code %d, no word of what is replaced:\n%s", code, stderr)
	}
	leaf, err := tflite.ReadFile(filepath.Join(next, "leaves", "pqat.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	if said, there := leaf.Metadata(dataset.PreprocessingMetadata); there {
		t.Errorf("the leaf still says %s", said)
	}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"two words for it":         {[]string{"evaluate", model, "--dataset", data, "--pipeline", path, "--dataset-spec", "{}"}, "leave one out"},
		"a file that is none":      {[]string{"compare", model, model, "--dataset", data, "--pipeline", data}, "--pipeline " + data},
		"a file that there is not": {[]string{"evaluate", model, "--dataset", data, "--pipeline", "nowhere.yaml"}, "name a manifest or a result.json"},
	} {
		if _, stderr, code := espalier(context.Background(), tt.args...); code != 2 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, want 2 and %q in\n%s", name, code, tt.want, stderr)
		}
	}
}

// The stages that sensitivity prints are stages of a manifest.
func TestRulesFromSensitivityRun(t *testing.T) {
	path := project(t)
	folder := filepath.Dir(path)
	model, data, page := filepath.Join(folder, "model.tflite"), filepath.Join(folder, "data.npz"), filepath.Join(folder, "s.html")
	stdout, stderr, code := espalier(context.Background(), "sensitivity", model, "--dataset", data, "--html", page)
	if code != 0 || !strings.Contains(stdout, "dense/kernel") || !strings.Contains(stdout, "50 % zeros") || !strings.Contains(stdout, "int8 is of the weights alone") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("What each layer bears")) {
		t.Errorf("the page: %v", err)
	}
	begin, _, _ := strings.Cut(manifest, "  training:")
	stages := ""
	for _, line := range strings.Split(stdout, "\n") {
		if strings.HasPrefix(line, "- name: ") || strings.HasPrefix(line, "  prune:") || strings.HasPrefix(line, "  cluster:") || strings.HasPrefix(line, "    ") {
			stages += "  " + line + "\n"
		}
	}
	write(t, path, []byte(begin+"  training: {epochs: 0}\n  stages:\n"+stages))
	if out, errs, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out")); code != 0 || !strings.Contains(out, "cluster") {
		t.Errorf("exit code %d of\n%s\n%s%s", code, stages, out, errs)
	}
	stdout, _, code = espalier(context.Background(), "sensitivity", model, "--dataset", data, "-o", "json")
	var found struct {
		Layers []struct{ Prune, Cluster []any }
		Plans  []any
	}
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != 0 || len(found.Layers) != 2 || len(found.Plans) != 3 || len(found.Layers[0].Prune) != 10 {
		t.Errorf("as JSON: exit code %d, %v, %+v", code, err, found)
	}
	if _, stderr, code = espalier(context.Background(), "sensitivity", model, "--dataset", data, "--sparsity", "0.55"); code != 2 || !strings.Contains(stderr, "rules are written for one of") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestAStagePastItsDeadlineSaysSoOnce(t *testing.T) {
	path, out := project(t), filepath.Join(t.TempDir(), "out")
	write(t, path, []byte(strings.NewReplacer("epochs: 2", "epochs: 9999", "  stages:", "  runPolicy: {activeDeadlineSeconds: 1}\n  stages:").Replace(manifest)))
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", out); code == 0 {
		t.Fatalf("it ended well:\n%s", stderr)
	}
	p, err := v1alpha1.Decode(read(t, filepath.Join(out, "result.json")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := statusOf(p, "prune").Message, "DeadlineExceeded: it took longer than activeDeadlineSeconds, 1; raise it"; got != want {
		t.Errorf("the stage says %q, want %q", got, want)
	}
	for _, c := range p.Status.Conditions {
		if strings.Count(c.Message, "DeadlineExceeded") > 1 || strings.Contains(c.Message, "context") {
			t.Errorf("%s: %q", c.Type, c.Message)
		}
	}
}

func TestAFailureIsToldInWhole(t *testing.T) {
	for name, constraints := range map[string]string{"without constraints": "", "with one": "  constraints: [{metric: Sparsity, min: 0.9}]\n"} {
		path := project(t)
		begin, _, _ := strings.Cut(manifest, "  stages:")
		write(t, path, []byte(begin+constraints+"  stages: [{name: wild, prune: {sparsity: 0.5}, training: {epochs: 5, learningRate: 1000}}]\n"))
		out := filepath.Join(t.TempDir(), "out")
		stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out)
		if code == 0 || strings.Count(stderr, "training diverged") != 1 || !strings.Contains(stderr, "wild         failed: training diverged") || !strings.Contains(stdout, "wild failed: training diverged") {
			t.Errorf("%s: exit code %d\n%s%s", name, code, stdout, stderr)
		}
		if !strings.Contains(string(read(t, filepath.Join(out, "result.json"))), "training diverged") {
			t.Errorf("%s: the result does not say why", name)
		}
	}
}

func TestALeafThatAnswersAllSamplesAlikeIsWarnedOf(t *testing.T) {
	path := project(t)
	begin, _, _ := strings.Cut(manifest, "  stages:")
	write(t, path, []byte(begin+"  stages: [{name: few, prune: {sparsity: 0.999}, training: {epochs: 0}}, {name: some, from: model, prune: {sparsity: 0.2}, training: {epochs: 0}}]\n"))
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out)
	if warned := "note     few: answers all samples alike: "; code != 0 || !strings.Contains(stdout+stderr, warned) || strings.Contains(stdout+stderr, "note     some: answers") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if page := string(read(t, filepath.Join(out, "report.html"))); !strings.Contains(page, "answers all samples alike: ") || !strings.Contains(page, "try less prune.sparsity") {
		t.Error("the report does not say it")
	}
}

// What is so of several leaves is said of the first that is known.
func TestAWarningThatHoldsOnceIsSaidOnce(t *testing.T) {
	var told bytes.Buffer
	warn := warner(newView(&ioStreams{Out: io.Discard, Err: &told}, &v1alpha1.OptimizationPipelineSpec{}))
	for _, name := range []string{"baseline", "pqat"} {
		warn(name, stage.Once("it stays its steps"))
		warn(name, errors.New("it is small"))
	}
	if got, want := told.String(), "note     baseline: it stays its steps\nnote     baseline: it is small\nnote     pqat: it is small\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestARemedyNamesTheFlagWithAFittingExample(t *testing.T) {
	for message, want := range map[string]string{
		"name features (preprocessing.audio.features: MFCC)": "'{preprocessing: {audio: {features: MFCC}}}'",
		"no shape that fits: preprocessing.resize":           `'{preprocessing: {scale: "1/255"}}'`,
		"the file is broken":                                 "",
		"preprocessing: as --dataset-spec says":              "",
	} {
		got := named(errors.New(message)).Error()
		if want == "" && got != message || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
}
