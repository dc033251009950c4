package measure

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestInspectDescribesEveryModel(t *testing.T) {
	for _, path := range testmaterial.Glob(t, "models/*.tflite", "models/ops/*.tflite", "peers/*/*.tflite") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			rel, _ := filepath.Rel(filepath.Dir(testmaterial.Path(t, "README.md")), path)
			in, err := Inspect(material(t, rel))
			if err != nil {
				t.Fatal(err)
			}
			if in.Unsupported != "" {
				t.Log(in.Unsupported)
			}
			if _, err := json.Marshal(in); err != nil {
				t.Error(err)
			}
			for _, tensor := range in.Tensors {
				if tensor.Constant() && tensor.Elements > 0 && (tensor.Distinct == 0 || tensor.Zeros > tensor.Elements || tensor.Min > tensor.Max) {
					t.Errorf("%+v", tensor)
				}
			}
		})
	}
}

func TestInspectCounts(t *testing.T) {
	in, err := Inspect(material(t, "peers/tfmot_mnist_cnn/pcqat.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	// figures of material/peers/tfmot_mnist_cnn.json, by Python
	dense := in.Tensors[8]
	if dense.Role != RoleKernel || dense.Distinct != 7 || math.Abs(float64(dense.Zeros)/float64(dense.Elements)-0.597) > 0.001 {
		t.Errorf("%+v", dense)
	}
	if conv := in.Tensors[4]; conv.Distinct != 16 || conv.Zeros != 54 || conv.Scales != 12 {
		t.Errorf("%+v", conv)
	}
	if in.Multiplications != 26*26*12*9+2028*10 {
		t.Errorf("%d multiplications", in.Multiplications)
	}
}

func TestInspectListsSignaturesAndOpenSizes(t *testing.T) {
	read := func(name string) *Inspection {
		content, err := os.ReadFile(filepath.Join("..", "..", "test", "testdata", "cases", name, "model.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		in, err := Inspect(content)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	two := read("47-two-signatures").Signatures
	want := []Signature{
		{"decode", 0, []Port{{"z", 0, "FLOAT32", []int{1, 4}}}, []Port{{"x", 2, "FLOAT32", []int{1, 16}}}},
		{"infer", 1, []Port{{"x", 0, "FLOAT32", []int{1, 16}}}, []Port{{"y", 3, "FLOAT32", []int{1, 4}}}},
	}
	if diff := cmp.Diff(want, two); diff != "" {
		t.Error(diff)
	}
	open := read("13-dynamic-image-size")
	if diff := cmp.Diff([]int{-1, -1, -1, 1}, open.Tensors[open.Signatures[0].Inputs[0].Tensor].ShapeSignature); diff != "" {
		t.Error(diff)
	}
}

func TestInspectDescribesWhatDoesNotFitAtTheSizesInTheFile(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 1, 1, 2)
	b.Tensor(x).ShapeSignature = []int32{1, -1, -1, 2}
	b.Output(b.Op("pool", schema.BuiltinOperatorMAX_POOL_2D, schema.BuiltinOptionsPool2DOptions,
		&schema.Pool2DOptionsT{FilterHeight: 2, FilterWidth: 2, StrideH: 2, StrideW: 2, Padding: schema.PaddingVALID}, []int32{1, 1, 1, 2}, x))
	content, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	in, err := Inspect(content)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Operators) != 1 || in.Tensors[0].Role != RoleInput || !strings.HasPrefix(in.Unsupported, "at the sizes in the file, operator 0 MAX_POOL_2D") {
		t.Errorf("%+v", in)
	}
}

func TestCompare(t *testing.T) {
	mnist := open(t, "mnist", dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: "1/255"}})
	float, ptq := material(t, "models/mnist_cnn_float.tflite"), material(t, "peers/tfmot_mnist_cnn/ptq.tflite")
	c, err := Compare(context.Background(), float, ptq, dataset.First(mnist.Test, 200), 20, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Samples != 200 || c.LayerSamples != 20 {
		t.Errorf("metrics of %d samples, layers of %d", c.Samples, c.LayerSamples)
	}
	if c.Samples != 200 || c.Metrics[Agreement] < 0.99 || len(c.Layers) == 0 || len(c.Constants) < 2 {
		t.Errorf("%d samples, metrics %v, %d layers, %d constants", c.Samples, c.Metrics, len(c.Layers), len(c.Constants))
	}
	if c.Output.Decibel == nil || *c.Output.Decibel < 25 {
		t.Errorf("outputs at %v dB", c.Output.Decibel)
	}
	for _, l := range c.Layers {
		if l.Decibel == nil || *l.Decibel < 20 || *l.Decibel > 80 {
			t.Errorf("layer %s at %v dB", l.Name, l.Decibel)
		}
	}
	for _, k := range c.Constants {
		if k.Decibel != nil && *k.Decibel < 30 {
			t.Errorf("constant %+v", k)
		}
	}
	same, err := Compare(context.Background(), ptq, ptq, nil, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range same.Constants {
		if k.Changed != 0 || k.Decibel != nil || k.Largest != 0 {
			t.Errorf("a model differs from itself: %+v", k)
		}
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}

// A network is described whatever can run, and one that is written out when it is read can.
func TestInspectSaysWhetherANetworkRunsOnceItIsWrittenOut(t *testing.T) {
	for _, name := range []string{"04-lstm-fused", "08-streaming-state-int8", "19-int16-activations"} {
		data, err := os.ReadFile("../../test/testdata/cases/" + name + "/model.tflite")
		if err != nil {
			t.Fatal(err)
		}
		in, err := Inspect(data)
		if err != nil || len(in.Operators) == 0 || in.Unsupported != "" {
			t.Errorf("%s: %v, cannot be run: %q", name, err, in.Unsupported)
		}
	}
}

// What lies within loops and fused layers is counted, once for every step, of fused layers beside the operator too: a quantized one, which
// runs as it is, counts as the float one, which is written out.
func TestInspectCountsWithinLoopsAndFusedLayers(t *testing.T) {
	// Of a sequence's first step, whose state is zeros, there is no product by the state.
	lstm := func(steps, inputs, cells, gates int64) int64 { return gates * cells * (steps*inputs + (steps-1)*cells) }
	for path, want := range map[string]struct{ all, operators int64 }{
		"../exec/integer/testdata/operators/while_list_f32.tflite":            {5 * (3*4 + 4*4), 0},
		"../../test/testdata/cases/04-lstm-fused/model.tflite":                {lstm(12, 4, 10, 4) + 4*10, lstm(12, 4, 10, 4) + 4*10},
		"../exec/integer/testdata/recurrent/lstm_int8.tflite":                 {lstm(6, 4, 7, 4), lstm(6, 4, 7, 4)},
		"../exec/integer/testdata/recurrent/lstm_time_major_int8.tflite":      {2 * lstm(6, 3, 5, 4) / 6, 2 * lstm(6, 3, 5, 4) / 6}, // a sample is a row of the first dimension, here a step,
		"../exec/integer/testdata/recurrent/lstm_coupled_clipped_int8.tflite": {lstm(9, 3, 6, 3), lstm(9, 3, 6, 3)},
		"../exec/integer/testdata/recurrent/svdf_int8.tflite":                 {10*6 + 10*4, 10*6 + 10*4},
		"../exec/integer/testdata/recurrent/svdf_f32.tflite":                  {10*6 + 10*4, 10*6 + 10*4},
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		in, err := Inspect(data)
		if err != nil || in.Multiplications != want.all || in.Unsupported != "" {
			t.Errorf("%s: %v, %d multiplications, want %d, cannot be run: %q", path, err, in.Multiplications, want.all, in.Unsupported)
		}
		if in.ArenaBytes <= 0 {
			t.Errorf("%s: an arena of %d bytes", path, in.ArenaBytes)
		}
		of := int64(0)
		for _, o := range in.Operators {
			of += o.Multiplications
		}
		if of != want.operators {
			t.Errorf("%s: %d multiplications of its operators, want %d", path, of, want.operators)
		}
	}
}

// The demo's record lists weights that are held to nothing.
func TestInspectIsSilentOnFreeWeights(t *testing.T) {
	content, err := os.ReadFile("../../hack/demo/glyphs.tflite")
	if err != nil {
		t.Fatal(err)
	}
	if in, err := Inspect(content); err != nil || len(in.Findings) > 0 {
		t.Errorf("%q, %v", in.Findings, err)
	}
}
