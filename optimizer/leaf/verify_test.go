package leaf

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Every operator model of the material, quantized on the samples it is tried on, stays within a few codes of the float model, and
// each of its operators is the simulation's.
func TestEveryOperatorQuantized(t *testing.T) {
	nothing := []string{"elu", "sum_hw"} // models without an operator that becomes int8
	codes := map[string]float64{         // largest distance from the float model in codes of the output; 2 where not listed
		"add_self_relu": 3, "conv_same_s1_relu": 4, "fc": 3, "dw_same_s1_relu": 4, "dw_same_s2_relu6": 4, "softmax": 8, "se_block": 4,
		"conv_1x1_relu6": 3, "residual": 4, "mul_self": 3, "tanh": 3, "sqrt_rsqrt": 16,
		"l2_norm": 30, // the direction of a short vector of three codes
	}
	for _, path := range testmaterial.Glob(t, "models/ops/*_f32.tflite") {
		name := strings.TrimSuffix(filepath.Base(path), "_f32.tflite")
		t.Run(name, func(t *testing.T) {
			m := model(t, "ops/"+name+"_f32")
			result, err := quantized(context.Background(), m, ptqOptions{}, noise, 40)
			if slices.Contains(nothing, name) {
				if err == nil || !strings.HasPrefix(err.Error(), "nothing to quantize: ") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "op_"+name, result.Model)
			v, err := Verify(context.Background(), result.Model, Checks{Feed: noise, Samples: 40})
			if err != nil {
				t.Errorf("verification: %v", err)
			}
			if v != nil {
				for _, a := range v.Operators {
					t.Logf("%s: differ %d, off %d of %d, worst %d", a.Op, a.Differ, a.Off, a.Values, a.Worst)
				}
			}
			limit := codes[name]
			if limit == 0 {
				limit = 2
			}
			if got := distance(t, m, result, noise, 40); got > limit {
				t.Errorf("%.2f codes from the float model", got)
			}
		})
	}
}

// distance is the largest difference between a leaf's first output and its float model's, in codes of the leaf's output.
func distance(t *testing.T, m *tflite.Model, result *ptqResult, feed quantize.Feed, n int) float64 {
	t.Helper()
	float, err := integer.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := integer.Compile(result.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	out := result.Model.Subgraph().Tensors[result.Model.Subgraph().Outputs[0]]
	worst := 0.0
	for i := range n {
		want := slices.Clone(run(t, float, feed, i))
		for k, v := range run(t, leaf, feed, i) {
			worst = max(worst, math.Abs(float64(v-want[k]))/float64(out.Quantization.Scale[0]))
		}
	}
	return worst
}

// The same with int16 activations: what has no such kernel stays float, and nothing is farther from the float model than 8 bits of
// weights make it.
func TestEveryOperatorQuantizedTo16x8(t *testing.T) {
	for _, path := range testmaterial.Glob(t, "models/ops/*_f32.tflite") {
		name := strings.TrimSuffix(filepath.Base(path), "_f32.tflite")
		t.Run(name, func(t *testing.T) {
			m := model(t, "ops/"+name+"_f32")
			result, err := quantized(context.Background(), m, ptqOptions{Options: quantize.Options{Width: quantize.Wide}}, noise, 40)
			if err != nil && strings.HasPrefix(err.Error(), "nothing to quantize: ") {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "op_"+name+"_16x8", result.Model)
			if _, err := Verify(context.Background(), result.Model, Checks{Feed: noise, Samples: 40}); err != nil {
				t.Errorf("verification: %v", err)
			}
			out := result.Model.Subgraph().Tensors[result.Model.Subgraph().Outputs[0]]
			if out.Type != schema.TensorTypeINT16 {
				t.Fatalf("the output is %s", out.Type)
			}
			// The weights of a layer are off by a 256th of the largest at most, and its sums by as much of theirs.
			if got := distance(t, m, result, noise, 40) / math.MaxInt16; got > 1.0/64 {
				t.Errorf("%.4f of the output's range from the float model", got)
			}
		})
	}
}

// Layers of either width, by name: what lies between is converted.
func TestWidthsMixByRule(t *testing.T) {
	for name, options := range map[string]quantize.Options{
		"one layer of int16":          {Rules: []quantize.WidthRule{{Layers: "depthwise*", Width: quantize.Wide}}},
		"the first of int16":          {Rules: []quantize.WidthRule{{Layers: "conv*", Width: quantize.Wide}}},
		"all but the last":            {Width: quantize.Wide, Rules: []quantize.WidthRule{{Layers: "dense*", Width: quantize.Narrow}}},
		"all, with one in float":      {Width: quantize.Wide, KeepFloat: []string{"depthwise"}},
		"all, float outside":          {Width: quantize.Wide, IO: quantize.IOFloat32},
		"one layer, float outside":    {IO: quantize.IOFloat32, Rules: []quantize.WidthRule{{Layers: "dense*", Width: quantize.Wide}}},
		"the first rule that matches": {Rules: []quantize.WidthRule{{Layers: "d*", Width: quantize.Narrow}, {Layers: "*", Width: quantize.Wide}}},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := quantized(context.Background(), tflitetest.Classifier(), ptqOptions{Options: options}, noise, 32)
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "widths_"+strings.NewReplacer(" ", "_", ",", "").Replace(name), result.Model)
			if _, err := Verify(context.Background(), result.Model, Checks{Feed: noise, Samples: 50, Classifier: true}); err != nil {
				t.Fatal(err)
			}
			for _, l := range result.Plan.Layers {
				bias := schema.TensorTypeINT32
				if result.Plan.Nodes[l.Node].Wide {
					bias = schema.TensorTypeINT64
				}
				if got := result.Model.Subgraph().Tensors[result.Tensor[l.Bias]].Type; got != bias {
					t.Errorf("the bias of %s is %s, want %s", l.Name, got, bias)
				}
			}
			if _, err := SNR(context.Background(), tflitetest.Classifier(), result.Plan, result.Emitted, noise, 4); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := quantize.PlanOf(tflitetest.Classifier(), quantize.Options{Rules: []quantize.WidthRule{{Layers: "nothing*"}}})
	if err == nil || !strings.Contains(err.Error(), `the rule for layers "nothing*" matches none; the model has`) {
		t.Errorf("a rule that matches nothing: %v", err)
	}
}

// run gives an executor sample i and returns its first output.
func run(t *testing.T, e *integer.Executor, feed quantize.Feed, i int) []float32 {
	t.Helper()
	g := e.Graph()
	inputs := make([][]float32, len(g.Inputs))
	for k, in := range g.Inputs {
		inputs[k] = make([]float32, g.Numel(in))
	}
	if err := feed(i, inputs); err != nil {
		t.Fatal(err)
	}
	for k, x := range inputs {
		if err := e.SetInput(k, x); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	return e.Output(0)
}

// An int8 file that is imported and emitted again computes the same bytes: its scales, weights and biases are all kept.
func TestImportedInt8ModelsAreEmittedUnchanged(t *testing.T) {
	float := map[string]quantize.IO{"ds_cnn_s_quantized": quantize.IOFloat32}
	for _, name := range []string{
		"kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "ad01_int8", "ds_cnn_s_quantized", "person_detect", "conv_fc_mnist_srq_a8w8",
	} {
		t.Run(name, func(t *testing.T) {
			m := model(t, name)
			im, err := quantize.ImportInt8(m)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := quantize.PlanOf(im.Model, quantize.Options{Known: im.Known, IO: float[name]})
			if err != nil {
				t.Fatal(err)
			}
			for g := range plan.Groups {
				if plan.Groups[g].Fixed == nil {
					t.Errorf("tensors %v lost their quantization", plan.Groups[g].Tensors)
				}
			}
			leaf, err := Emit(im.Model, plan, plan.Params(make([]quantize.Range, len(plan.Groups))), im.Weights)
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "imported_"+name, leaf.Model)
			before, err := integer.Compile(m, 1)
			if err != nil {
				t.Fatal(err)
			}
			after, err := integer.Compile(leaf.Model, 1)
			if err != nil {
				t.Fatal(err)
			}
			wide := func(i int, inputs [][]float32) error {
				err := noise(i, inputs)
				for k := range inputs[0] {
					inputs[0][k] *= 40
				}
				return err
			}
			for i := range 5 {
				run(t, before, wide, i)
				run(t, after, wide, i)
				if !bytes.Equal(before.OutputBytes(0), after.OutputBytes(0)) {
					t.Fatalf("sample %d: the answers differ", i)
				}
			}
		})
	}
}

func TestVerifyReportsALayerThatDisagrees(t *testing.T) {
	// The simulation of another leaf: same graph, other weights.
	m := twoLayers()
	result := ptq(t, m, ptqOptions{})
	leaf := result.Model
	simulation, err := result.Plan.Simulate(m, result.Params, result.Weights, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range simulation.Params {
		for i := range p.Value {
			p.Value[i] = -p.Value[i]
		}
	}
	simulation.Refresh()
	_, err = Verify(context.Background(), leaf, Checks{Feed: noise, Samples: 20, Classifier: true, Simulation: simulation, Place: result.Tensor})
	if err == nil || !strings.Contains(err.Error(), "codes from the simulation's") {
		t.Errorf("got %v", err)
	}
	if v, err := Verify(context.Background(), leaf, Checks{Feed: noise, Samples: 20, Classifier: true}); err != nil || v.TopOne != 1 {
		t.Errorf("a sound leaf: %v, %v", v, err)
	}
}

// The published keyword-spotting file: a simulation that rounds once chooses another class in about 1 % of the samples, where two
// classes score within two codes of each other.
func TestTiesAreNotDisagreement(t *testing.T) {
	l := kws(t)
	v, err := Verify(context.Background(), model(t, "kws_ref_model"), Checks{Feed: l.feed, Samples: 300, Classifier: true})
	if err != nil {
		t.Fatal(err)
	}
	if v.TopOne < v.Strict || v.Strict < 0.97 {
		t.Errorf("agreement %v, strictly %v", v.TopOne, v.Strict)
	}
	t.Logf("agreement %v, strictly %v", v.TopOne, v.Strict)
}

func TestMixedLeavesAreVerifiedToo(t *testing.T) {
	for name, options := range map[string]quantize.Options{
		"float inputs and outputs": {IO: quantize.IOFloat32},
		"a layer kept float":       {KeepFloat: []string{"depthwise"}},
		"both":                     {IO: quantize.IOFloat32, KeepFloat: []string{"conv*", "dense"}},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := quantized(context.Background(), tflitetest.Classifier(), ptqOptions{Options: options}, noise, 32)
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "mixed_"+strings.ReplaceAll(name, " ", "_"), result.Model)
			v, err := Verify(context.Background(), result.Model, Checks{Feed: noise, Samples: 50, Classifier: true})
			if err != nil {
				t.Fatal(err)
			}
			if v.Strict < 0.98 {
				t.Errorf("the same class in %v of the samples", v.Strict)
			}
			if _, err := SNR(context.Background(), tflitetest.Classifier(), result.Plan, result.Emitted, noise, 4); err != nil {
				t.Error(err)
			}
		})
	}
}

// The file's batch is that of no sample: operators are compared for one, be it that they alone do not tell what one is.
func TestLeavesOfAFixedBatchAreVerified(t *testing.T) {
	b := tflitetest.New()
	reshape := func(name string, x int32, shape ...int32) int32 {
		return b.Op(name, schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsNONE, nil, shape, x, b.Ints(name+"_shape", shape...))
	}
	flat := reshape("flat", b.Input("x", 2, 3, 4), 6, 4)
	weights := []float32{1, -1, 0.5, 0.25, 0.3, 0.2, -0.7, 1}
	b.Output(reshape("apart", b.Dense("dense", flat, weights, []float32{0.1, -0.2}, 2, tflitetest.ReLU), 2, 3, 2))
	result, err := quantized(context.Background(), b.Model(), ptqOptions{}, noise, 16)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Verify(context.Background(), result.Model, Checks{Feed: noise, Samples: 20})
	if err != nil {
		t.Fatal(err)
	}
	var compared []int64
	for _, a := range v.Operators {
		compared = append(compared, a.Values)
	}
	if want := []int64{20 * 12, 20 * 6, 20 * 6}; !slices.Equal(compared, want) {
		t.Errorf("%v values compared, want %v", compared, want)
	}
}

func TestBrokenAgreementNamesTheLayer(t *testing.T) {
	for name, tc := range map[string]struct {
		v    Verification
		want string
	}{
		"far from the simulation":     {Verification{TopOne: 1, Operators: []Agreement{{Name: "a", Op: "MEAN", Values: 10, Off: 1, Worst: 3}}}, `layer "a" (MEAN): the result is 3 codes from the simulation's, more than rounding explains`},
		"often off by one":            {Verification{TopOne: 1, Operators: []Agreement{{Name: "a", Op: "MEAN", Values: 100, Off: 1, Worst: 1}}}, `layer "a" (MEAN): 99.00 % of the results are the simulation's, 99.9 % are required`},
		"scores far off":              {Verification{TopOne: 1, Noise: 9, NoiseOf: "dense"}, `the leaf's "dense" is 9.0 codes from the simulation's on average, at most 4 are allowed`},
		"another class":               {Verification{TopOne: 0.9, Samples: 200}, "the leaf and its simulation choose the same class for 90.00 % of the samples, 99.5 % are required"},
		"as far off as it is moved":   {Verification{TopOne: 1, Noise: 6, NoiseOf: "dense", Quantization: 3}, ""},
		"farther":                     {Verification{TopOne: 1, Noise: 6.5, NoiseOf: "dense", Quantization: 3}, `the leaf's "dense" is 6.5 codes from the simulation's on average, at most 6 are allowed`},
		"another class as the floats": {Verification{TopOne: 0.86, Samples: 200, Quantization: 3, FloatTopOne: 0.9}, ""},
		"more often than the floats":  {Verification{TopOne: 0.84, Samples: 200, Quantization: 3, FloatTopOne: 0.9}, "the leaf and its simulation choose the same class for 84.00 % of the samples, 85.0 % are required"},
		"though little is moved":      {Verification{TopOne: 0.9, Samples: 200, Quantization: 2, FloatTopOne: 0.9}, "the leaf and its simulation choose the same class for 90.00 % of the samples, 99.5 % are required"},
		"one class of few samples":    {Verification{TopOne: 0.9, Samples: 10}, ""},
		"rounded twice by a kernel":   {Verification{TopOne: 1, Operators: []Agreement{{Name: "a", Op: "MEAN", Values: 100, Differ: 5, Worst: 1}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.v.check()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || err.Error() != tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSNROfEveryLayer(t *testing.T) {
	m := tflitetest.Classifier()
	result, err := quantized(context.Background(), m, ptqOptions{}, noise, 32)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := SNR(context.Background(), m, result.Plan, result.Emitted, noise, 16)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range layers {
		names = append(names, l.Name)
		if l.Name != "softmax" && (l.Decibel < 25 || l.Decibel > 60) {
			t.Errorf("%s: %.1f dB", l.Name, l.Decibel)
		}
	}
	if want := []string{"x", "conv", "pool", "depthwise", "flat", "dense", "softmax"}; !slices.Equal(names, want) {
		t.Errorf("layers %v, want %v", names, want)
	}
}

func BenchmarkVerify(b *testing.B) {
	result, err := quantized(context.Background(), tflitetest.Classifier(), ptqOptions{}, noise, 16)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Verify(context.Background(), result.Model, Checks{Feed: noise, Samples: 8, Classifier: true}); err != nil {
			b.Fatal(err)
		}
	}
}
