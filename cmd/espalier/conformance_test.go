package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// cases are networks, datasets and pipelines of the kinds that users reported elsewhere, each with what is expected of it.
const cases = "../../test/testdata/cases"

// walked is a case that `espalier run` was given.
type walked struct {
	t      *testing.T
	said   string // everything printed
	code   int
	status v1alpha1.OptimizationPipelineStatus
	out    string
}

// walkCase runs a case's manifest, edited by pairs of old and new text.
// associated are the files that are appended to a model, by name.
func associated(t *testing.T, model []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(model), int64(len(model)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.File {
		content, err := archive.Open(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(text)
	}
	return files
}

// metadata is what TFLite's metadata tools say of a model.
func metadata(t *testing.T, model []byte) string {
	t.Helper()
	m, err := tflite.Read(model)
	if err != nil {
		t.Fatal(err)
	}
	data, ok := m.Metadata("TFLITE_METADATA")
	if !ok {
		t.Error("TFLITE_METADATA is gone")
	}
	return string(data)
}

func walkCase(t *testing.T, name, manifest string, edits ...string) *walked {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join(cases, name))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, manifest))
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer(append(edits, "{uri: ", "{uri: "+folder+"/")...).Replace(string(text))
	w := &walked{t: t, out: filepath.Join(t.TempDir(), "out")}
	path := filepath.Join(t.TempDir(), "pipeline.yaml")
	write(t, path, []byte(edited))
	var said bytes.Buffer
	command := newRootCommand(&ioStreams{Out: &said, Err: &said})
	command.SetArgs([]string{"run", path, "-o", w.out})
	err = command.ExecuteContext(context.Background())
	if err != nil {
		fmt.Fprintf(&said, "espalier: %s\n", fault.Line(err))
	}
	w.said, w.code = said.String(), fault.ExitCode(err)
	if data, err := os.ReadFile(filepath.Join(w.out, "result.json")); err == nil {
		var p v1alpha1.OptimizationPipeline
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		w.status = p.Status
	}
	return w
}

// activations checks the types of the activations that convolutions and fully connected layers of the last leaf read.
func (w *walked) activations(convolutions, dense schema.TensorType) {
	w.t.Helper()
	m, err := tflite.ReadFile(filepath.Join(w.out, "leaves", "pcqat.tflite"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		want, ok := map[schema.BuiltinOperator]schema.TensorType{schema.BuiltinOperatorCONV_2D: convolutions, schema.BuiltinOperatorFULLY_CONNECTED: dense}[code]
		if !ok {
			continue
		}
		if got := m.Subgraph().Tensors[o.Inputs[0]].Type; got != want {
			w.t.Errorf("%s reads %s, want %s", code, got, want)
		}
	}
}

// metric is a leaf's metric.
func (w *walked) metric(stage, name string) float64 {
	w.t.Helper()
	for _, s := range w.status.Stages {
		if s.Name != stage || s.Leaf == nil {
			continue
		}
		if v, ok := valueOf(s.Leaf.Metrics, name); ok {
			return v
		}
	}
	w.t.Errorf("the leaf of %s has no %s\n%s", stage, name, w.tail())
	return 0
}

func (w *walked) float(name string) float64 {
	w.t.Helper()
	v, ok := valueOf(w.status.Baseline.Metrics, name)
	if !ok {
		w.t.Errorf("the float model has no %s", name)
	}
	return v
}

func valueOf(metrics []v1alpha1.MetricValue, name string) (float64, bool) {
	for _, m := range metrics {
		if m.Name == name {
			v, err := strconv.ParseFloat(m.Value, 64)
			return v, err == nil
		}
	}
	return 0, false
}

func (w *walked) tail() string { return w.said[max(0, len(w.said)-2000):] }

// leaves are the stages of the cases' pipelines.
var leaves = []string{"baseline", "prune", "pqat", "cluster", "pcqat"}

// all wants every stage completed, zeros and clusters kept by all that come after.
func (w *walked) all() bool {
	w.t.Helper()
	if w.code != 0 || len(w.status.Stages) == 0 {
		w.t.Errorf("exit code %d\n%s", w.code, w.tail())
		return false
	}
	for _, s := range w.status.Stages {
		if s.State != v1alpha1.StageCompleted {
			w.t.Errorf("stage %s is %s: %s", s.Name, s.State, s.Message)
			return false
		}
	}
	for _, name := range leaves[1:] {
		if z := w.metric(name, "Sparsity"); z < 0.43 {
			w.t.Errorf("the leaf of %s has %v zeros", name, z)
		}
	}
	for _, name := range leaves[3:] {
		if c := w.metric(name, "Clusters"); c > 8 {
			w.t.Errorf("the leaf of %s has %v clusters", name, c)
		}
	}
	return true
}

// near wants every stage completed, accuracy of the untrained int8 leaf near the float model's and of the trained ones not far.
func (w *walked) near(ptq, trained float64) {
	w.t.Helper()
	if !w.all() {
		return
	}
	float := w.float("Accuracy")
	for name, within := range map[string]float64{"baseline": ptq, "pqat": trained, "pcqat": trained} {
		if a := w.metric(name, "Accuracy"); a < float-within {
			w.t.Errorf("the leaf of %s has accuracy %v, the float model %v", name, a, float)
		}
	}
}

// refused wants one line of at most so many characters that says all of these, and no result.
func (w *walked) refused(code int, words ...string) {
	w.t.Helper()
	lines := strings.Split(strings.TrimSpace(w.said), "\n")
	last := lines[len(lines)-1]
	if w.code != code || !strings.HasPrefix(last, "espalier: ") || len(last) > 500 {
		w.t.Errorf("exit code %d, want %d and one line\n%s", w.code, code, w.tail())
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			w.t.Errorf("the refusal does not say %q: %s", word, last)
		}
	}
}

func (w *walked) says(words ...string) {
	w.t.Helper()
	for _, word := range words {
		if !strings.Contains(w.said, word) {
			w.t.Errorf("nothing says %q\n%s", word, w.tail())
		}
	}
}

// shares wants of every leaf as many kernels as the original has, though its operators read some of them again and again, and the
// zeros and clusters of each kernel counted once.
func (w *walked) shares(name string) {
	w.t.Helper()
	want, _, _ := kernels(w.t, filepath.Join(cases, name, "model.tflite"))
	for _, stage := range leaves[1:] {
		got, zeros, codes := kernels(w.t, filepath.Join(w.out, "leaves", stage+".tflite"))
		if got != want {
			w.t.Errorf("the leaf of %s has %d kernels, the original %d", stage, got, want)
		}
		if s := w.metric(stage, "Sparsity"); math.Abs(s-zeros) > 1e-5 {
			w.t.Errorf("%s: Sparsity %v, %v of the weights in the file are 0", stage, s, zeros)
		}
		if c := w.metric(stage, "Clusters"); slices.Contains(leaves[3:], stage) && int(c) != codes {
			w.t.Errorf("%s: Clusters %v, at most %d codes a kernel in the file", stage, c, codes)
		}
	}
}

// kernels counts the kernels that a file's FULLY_CONNECTED read, the share of zeros in those of int8 and the most codes one has.
func kernels(t *testing.T, path string) (count int, zeros float64, codes int) {
	t.Helper()
	m, err := tflite.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen, uses, weights := map[int32]bool{}, 0, 0
	for _, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		if code != schema.BuiltinOperatorFULLY_CONNECTED {
			continue
		}
		uses++
		kernel := o.Inputs[1]
		if seen[kernel] {
			continue
		}
		seen[kernel] = true
		data := m.Data(m.Subgraph().Tensors[kernel])
		weights += len(data)
		zeros += float64(bytes.Count(data, []byte{0}))
		distinct := map[byte]bool{}
		for _, v := range data {
			distinct[v] = true
		}
		codes = max(codes, len(distinct))
	}
	if uses < 2*len(seen) {
		t.Errorf("%s: %d operators read %d kernels: none is shared", path, uses, len(seen))
	}
	return len(seen), zeros / float64(weights), codes
}

// reports wants words in the report.
func (w *walked) reports(words ...string) {
	w.t.Helper()
	page, err := os.ReadFile(filepath.Join(w.out, "report.html"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, word := range words {
		if !bytes.Contains(page, []byte(word)) {
			w.t.Errorf("the report does not say %q", word)
		}
	}
}

// expectations is what expected.md says of every case, in numbers.
var expectations = map[string]func(t *testing.T, name string){
	"01-conv1d-causal-dilated": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"02-conv1d-transpose-dynamic-batch": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.03, 0.15)
	},
	"03-unet-per-pixel-classes": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.15)
		if w.float("Accuracy") < 0.8 {
			t.Errorf("accuracy per pixel of the float model is %v", w.float("Accuracy"))
		}
	},
	"04-lstm-fused": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.05)
		w.says("UNIDIRECTIONAL_SEQUENCE_LSTM written as its 12 steps")
	},
	"06-gru-unrolled": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.04)
		w.shares(name)
	},
	"08-streaming-state-int8": func(t *testing.T, name string) {
		walkCase(t, name, "pipeline.yaml").refused(3, "keeps state", "samples of 1 step ", "give longer sequences")
		walkCase(t, name, "p2.yaml").refused(3, "keeps state", "samples of 1 step ", "give longer sequences")
	},
	"10-two-inputs": func(t *testing.T, name string) { // its data has one: the other is named
		walkCase(t, name, "pipeline.yaml").refused(4, "input", "samples")
	},
	"11-two-outputs-class-and-box": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.05) },
	"12-dynamic-time-axis":         func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.03, 0.05) },
	"99-wavenet-open-time": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.05)
		w.says("4 convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND written as dilated convolutions")
		m, err := tflite.ReadFile(filepath.Join(w.out, "leaves", "pcqat.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		if input := m.Subgraph().Tensors[m.Subgraph().Inputs[0]]; !slices.Equal(input.ShapeSignature, []int32{-1, -1, 1}) {
			t.Errorf("the leaf's input is %v, its signature %v", input.Shape, input.ShapeSignature)
		}
	},
	"13-dynamic-image-size": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.03, 0.25) },
	"19-int16-activations": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.02)
		w.activations(schema.TensorTypeINT16, schema.TensorTypeINT16)
		w = walkCase(t, name, "pipeline.yaml", "stages:", "leaf: {activations: Int8}\n  stages:")
		w.near(0.02, 0.04)
		w.activations(schema.TensorTypeINT8, schema.TensorTypeINT8)
	},
	"22-rfft-audio-front-end": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.04)
		w.reports("RFFT2D stays float", "COMPLEX_ABS stays float")
	},
	"28-clusters-above-distinct": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		if w.code != 0 {
			t.Fatalf("exit code %d\n%s", w.code, w.tail())
		}
		for _, leaf := range leaves {
			if c := w.metric(leaf, "Clusters"); c > 3 {
				t.Errorf("the leaf of %s has %v clusters of 3", leaf, c)
			}
		}
	},
	"29-diverging-learning-rate": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		if w.code != 7 {
			t.Errorf("exit code %d, want 7\n%s", w.code, w.tail())
		}
		w.says("diverged", "lower learning rate")
	},
	"32-sigmoid-binary-one-output": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.05) },
	"33-multi-label-sigmoid": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.all()
		for _, metric := range []string{"Accuracy", "F1", "AUC"} {
			if f, p := w.float(metric), w.metric("pcqat", metric); f < 0.7 || p < f-0.06 {
				t.Errorf("%s is %v in float, %v in the last leaf", metric, f, p)
			}
		}
	},
	"34-regression-outputs-of-different-size": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.all()
		if e := w.float("RelativeError"); e > 0.1 {
			t.Errorf("the float model's error relative to each target's spread is %v", e)
		}
		w.says("differ in spread", "keepFloat")
	},
	"35-embedding-token-ids": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"36-attention-layernorm": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"41-labels-float-column": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"42-labels-strings":      func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"47-two-signatures": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.refused(3, `"decode"`, `"infer"`, "model.signature")
	},
	"55-softplus-mish-qat": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"56-clusters-metric-1x1-depthwise": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		if w.code != 0 || w.status.Selected == nil || w.status.Selected.Stage != "cluster" {
			t.Errorf("exit code %d, selected %v\n%s", w.code, w.status.Selected, w.tail())
		}
		if c := w.metric("prune", "Clusters"); c <= 16 {
			t.Errorf("the pruned leaf has %v clusters", c)
		}
	},
	"58b-unet-one-hot-batch-1": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.15)
	},
	"59-unet-no-labels-batch-1": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.all()
		if a := w.metric("baseline", "Agreement"); a < 0.9 {
			t.Errorf("agreement per pixel of the untrained leaf is %v", a)
		}
		if a := w.metric("pcqat", "Agreement"); a < 0.75 {
			t.Errorf("agreement per pixel of the last leaf is %v", a)
		}
	},
	"60-lstm-unrolled-batch-1": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.05)
		w.shares(name)
	},
	"68-metadata-zip-appended": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml", "data.npz", "data.npz, preprocessing: {offset: 1e-3}")
		w.near(0.02, 0.04)
		leaf, err := os.ReadFile(filepath.Join(w.out, "leaves", "pcqat.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		given, err := os.ReadFile(filepath.Join(cases, name, "model.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		w.says("associated files")
		if diff := cmp.Diff(associated(t, given), associated(t, leaf)); diff != "" || len(associated(t, leaf)) == 0 {
			t.Errorf("associated files: %s", diff)
		}
		if diff := cmp.Diff(metadata(t, given), metadata(t, leaf)); diff != "" {
			t.Errorf("TFLITE_METADATA: %s", diff)
		}
		m, err := tflite.Read(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if said, _ := m.Metadata(dataset.PreprocessingMetadata); !strings.HasSuffix(string(said), `"offset":[0.001]}]}`) {
			t.Errorf("how the input is made: %q", said)
		}
	},
	"75-channel-shuffle-dynamic-batch": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"76-dense-on-sequence":             func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"77-argmax-output": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.05)
	},
	"81-image-folder-odd-files": func(t *testing.T, name string) {
		odd := func(set string) *walked { return walkCase(t, name, "pipeline.yaml", "SET", set) }
		t.Run("plain", func(t *testing.T) {
			if w := odd("plain"); w.code != 0 {
				t.Errorf("exit code %d\n%s", w.code, w.tail())
			}
		})
		t.Run("odd encodings", func(t *testing.T) {
			if w := odd("odd"); w.code != 0 {
				t.Errorf("exit code %d\n%s", w.code, w.tail())
			}
		})
		t.Run("a gray picture", func(t *testing.T) { odd("odd2").refused(4, "gray") })
		t.Run("a broken file", func(t *testing.T) { odd("bad").refused(4, "broken.jpg") })
		t.Run("WebP and BMP", func(t *testing.T) {
			if w := odd("webp"); w.code != 0 {
				t.Errorf("exit code %d\n%s", w.code, w.tail())
			}
		})
		t.Run("a class the test folder lacks", func(t *testing.T) { odd("missingtestclass").says("test has no samples of class blue") })
	},
	"83-csv-and-wav": func(t *testing.T, name string) {
		entries, err := os.ReadDir(filepath.Join(cases, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() == "model.tflite" || !e.IsDir() && !strings.HasSuffix(e.Name(), ".csv") {
				continue
			}
			t.Run(e.Name(), func(t *testing.T) {
				w := walkCase(t, name, "p.yaml", "wav}", e.Name()+"}")
				if e.Name() == "wav" {
					w.refused(4, "recordings have up to 800 samples", "features")
				} else if accuracy := w.metric("pqat", "Accuracy"); w.code != 0 || accuracy < 0.95 {
					t.Errorf("exit code %d, accuracy %v\n%s", w.code, accuracy, w.tail())
				}
			})
		}
	},
	"85-two-heads-no-labels": func(t *testing.T, name string) {
		trained, untrained := walkCase(t, name, "pipeline.yaml"), walkCase(t, name, "p0.yaml")
		trained.all()
		worse := 0
		for _, s := range trained.status.Stages {
			if s.Name != "pcqat" || s.Leaf == nil {
				continue
			}
			for _, m := range s.Leaf.Metrics {
				if !strings.HasPrefix(m.Name, "RelativeError") && !strings.HasPrefix(m.Name, "Agreement") {
					continue
				}
				after, _ := strconv.ParseFloat(m.Value, 64)
				before := untrained.metric("pcqat", m.Name)
				if m.Name[0] == 'A' == (after < before) && after != before {
					t.Errorf("%s is %v after training, %v without", m.Name, after, before)
				}
				worse++
			}
		}
		if worse < 2 {
			t.Errorf("%d metrics of two outputs", worse)
		}
	},
	"87-where-greater-select": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"88-pattern-2-4-not-divisible": func(t *testing.T, name string) {
		w := walkCase(t, name, "pipeline.yaml")
		w.near(0.02, 0.04)
		w.says("2:4")
	},
	"93-tutorial-reshape-conv-batch-none": func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"95-padv2-minus-inf-maxpool":          func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"96-clip-to-infinity":                 func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.02, 0.04) },
	"98-attention-mask-1e9":               func(t *testing.T, name string) { walkCase(t, name, "pipeline.yaml").near(0.03, 0.15) },
}

func TestEvaluateMeasuresTheSignatureThatIsNamed(t *testing.T) {
	folder := filepath.Join(cases, "47-two-signatures")
	evaluate := func(args ...string) (string, error) {
		var said bytes.Buffer
		command := newRootCommand(&ioStreams{Out: &said, Err: &said})
		command.SetArgs(append([]string{"evaluate", filepath.Join(folder, "model.tflite"), "--dataset", filepath.Join(folder, "data.npz")}, args...))
		err := command.ExecuteContext(t.Context())
		return said.String(), err
	}
	if said, err := evaluate("--signature", "infer"); err != nil || !strings.Contains(said, "Accuracy") {
		t.Errorf("%v\n%s", err, said)
	}
	if _, err := evaluate("--signature", "decode"); err == nil || !strings.Contains(err.Error(), "[4]") {
		t.Errorf("samples of 16 values go into the 4 of decode: %v", err)
	}
	if _, err := evaluate("--signature", "nope"); fault.ClassOf(err) != fault.Spec || !strings.Contains(err.Error(), `"infer"`) {
		t.Errorf("a signature that there is not: %v", err)
	}
}

// The network has inputs audio and context and outputs cls and box; the arrays of shape.npz have other names than its inputs.
func TestSeveralInputsAndOutputs(t *testing.T) {
	const named = "a1-two-inputs-two-outputs"
	for name, edits := range map[string][]string{
		"arrays by the inputs' names": nil,
		"arrays by their shape":       {"data.npz", "shape.npz"},
		"arrays as the manifest says": {"data.npz}", "shape.npz, samples: {audio: a, context: b}}"},
		"outputs as the manifest says": {"  stages:", `  outputs:
  - {name: output_0, target: y_cls, weight: "2"}
  - {name: output_1, target: y_box, loss: MeanSquaredError}
  stages:`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := walkCase(t, named, "pipeline.yaml", edits...)
			w.near(0.03, 0.15)
			w.says("y_cls", "y_box")
			if p, q := w.metric("prune", "MeanSquaredError/output_1"), w.metric("pqat", "MeanSquaredError/output_1"); q > 1.02*p {
				t.Errorf("the error of the second output is %v before training and %v after", p, q)
			}
		})
	}
	t.Run("a bound on the second output", func(t *testing.T) {
		t.Parallel()
		w := walkCase(t, named, "pipeline.yaml", "  stages:", `  constraints: [{metric: RelativeError, output: output_1, max: "0.01"}]
  stages:`)
		if w.code != 5 {
			t.Errorf("exit code %d\n%s", w.code, w.tail())
		}
		w.says("output_1")
	})
	t.Run("a bound on the first output alone", func(t *testing.T) {
		t.Parallel()
		w := walkCase(t, named, "pipeline.yaml", "  stages:", `  constraints: [{metric: AccuracyDrop, max: "0.5"}]
  stages:`)
		w.says(`no constraint is on the answers of output_1: leaves may spoil them and still be taken; {metric: RelativeError, output: "output_1", max: …}`)
		w.reports("no constraint is on the answers of output_1: leaves may spoil them")
	})
	t.Run("an output that there is not", func(t *testing.T) {
		t.Parallel()
		walkCase(t, named, "pipeline.yaml", "  stages:", "  outputs: [{name: mask}]\n  stages:").refused(2, "mask", "output_0", "output_1")
	})
	t.Run("an input that there is not", func(t *testing.T) {
		t.Parallel()
		walkCase(t, named, "pipeline.yaml", "data.npz}", "shape.npz, samples: {video: a, context: b}}").refused(4, "video", "audio", "context")
	})
	t.Run("a test split without labels", func(t *testing.T) {
		t.Parallel()
		w := walkCase(t, named, "pipeline.yaml", "data.npz", "unlabelled.npz")
		if w.all(); w.metric("baseline", "Agreement") < 0.97 {
			t.Errorf("the untrained leaf agrees in %v", w.metric("baseline", "Agreement"))
		}
	})
}

// A mask for every band of a spectrum: a causal convolution and an unrolled GRU, with int16 activations, of the last leaf but for the
// convolution.
func TestASpeechMaskKeepsItsErrorIn16x8(t *testing.T) {
	w := walkCase(t, "a2-speech-mask-int16", "pipeline.yaml")
	if !w.all() {
		return
	}
	if got, float := w.metric("baseline", "MeanSquaredError"), w.float("MeanSquaredError"); got > float*1.001 {
		t.Errorf("the PTQ leaf's error is %v, the float model's %v", got, float)
	}
	for _, stage := range []string{"pqat", "pcqat"} {
		if z := w.metric(stage, "Sparsity"); z < 0.499 {
			t.Errorf("the leaf of %s has %v zeros", stage, z)
		}
		if got, pruned := w.metric(stage, "MeanSquaredError"), w.metric("prune", "MeanSquaredError"); got > pruned*1.05 {
			t.Errorf("the error of %s is %v, that of prune %v", stage, got, pruned)
		}
	}
	if c := w.metric("pcqat", "Clusters"); c > 8 {
		t.Errorf("the last leaf has %v codes", c)
	}
	w.activations(schema.TensorTypeINT8, schema.TensorTypeINT16)
}

func TestEveryCaseComesToWhatIsExpected(t *testing.T) {
	entries, err := os.ReadDir(cases)
	if err != nil {
		t.Fatal(err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "a") }) // of tests of their own
	if len(entries) != len(expectations) {
		t.Errorf("%d cases, %d expectations", len(entries), len(expectations))
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			expect := expectations[e.Name()]
			if expect == nil {
				t.Fatal("nothing is expected of it")
			}
			t.Parallel()
			expect(t, e.Name())
		})
	}
}
