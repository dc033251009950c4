package leaf

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// emitted plans and emits a model with the range [−2, 3] for every free group.
func emitted(t *testing.T, m *tflite.Model, options quantize.Options, weights map[int]quantize.Weights) (*Emitted, *quantize.Plan, []quantize.Params) {
	t.Helper()
	plan, err := quantize.PlanOf(m, options)
	if err != nil {
		t.Fatal(err)
	}
	ranges := make([]quantize.Range, len(plan.Groups))
	for g := range ranges {
		ranges[g] = quantize.Range{Min: -2, Max: 3}
	}
	params := plan.Params(ranges)
	leaf, err := Emit(m, plan, params, weights)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Model.Marshal(); err != nil {
		t.Fatal(err)
	}
	return leaf, plan, params
}

// listing renders the operators of a model with their tensors' names and types, constants left out.
func listing(m *tflite.Model) []string {
	var lines []string
	g := m.Subgraph()
	names := func(list []int32) string {
		var out []string
		for _, t := range list {
			if t >= 0 && !m.IsConst(g.Tensors[t]) {
				out = append(out, fmt.Sprintf("%s:%s", g.Tensors[t].Name, g.Tensors[t].Type))
			}
		}
		return strings.Join(out, ", ")
	}
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		lines = append(lines, fmt.Sprintf("%s %s → %s", code, names(o.Inputs), names(o.Outputs)))
	}
	return lines
}

func TestEmitKeepsOperatorsAndTensorsInPlace(t *testing.T) {
	m := tflitetest.Classifier()
	m.SetMetadata("CONVERSION_METADATA", []byte("stale"))
	m.SetMetadata("labels", []byte("kept"))
	leaf, _, _ := emitted(t, m, quantize.Options{}, nil)
	want := []string{
		"CONV_2D x:INT8 → conv:INT8",
		"MAX_POOL_2D conv:INT8 → pool:INT8",
		"DEPTHWISE_CONV_2D pool:INT8 → depthwise:INT8",
		"RESHAPE depthwise:INT8 → flat:INT8",
		"FULLY_CONNECTED flat:INT8 → dense:INT8",
		"SOFTMAX dense:INT8 → softmax:INT8",
	}
	if diff := cmp.Diff(want, listing(leaf.Model)); diff != "" {
		t.Error(diff)
	}
	for i, tensor := range leaf.Model.Subgraph().Tensors {
		if was := m.Subgraph().Tensors[i]; was.Name != tensor.Name || leaf.Tensor[i] != i {
			t.Errorf("tensor %d %q became %q", i, was.Name, tensor.Name)
		}
	}
	if _, ok := leaf.Model.Metadata("CONVERSION_METADATA"); ok {
		t.Error("stale metadata kept")
	}
	if _, ok := leaf.Model.Metadata("labels"); !ok {
		t.Error("metadata that is still true dropped")
	}
	if m.Subgraph().Tensors[0].Type != schema.TensorTypeFLOAT32 {
		t.Error("the float model was changed")
	}
}

func TestEmitFollowsTheSpecification(t *testing.T) {
	leaf, plan, params := emitted(t, tflitetest.Classifier(), quantize.Options{}, nil)
	tensors := leaf.Model.Subgraph().Tensors
	for _, l := range plan.Layers {
		w, bias := tensors[l.Weight], tensors[l.Bias]
		channels := int(w.Shape[l.Axis])
		if w.Type != schema.TensorTypeINT8 || len(w.Quantization.Scale) != channels || int(w.Quantization.QuantizedDimension) != l.Axis {
			t.Errorf("%s: %v, %d scales on axis %d", l.Name, w.Type, len(w.Quantization.Scale), w.Quantization.QuantizedDimension)
		}
		if bias.Type != schema.TensorTypeINT32 || len(bias.Quantization.Scale) != channels {
			t.Errorf("%s: bias %v with %d scales", l.Name, bias.Type, len(bias.Quantization.Scale))
		}
		input := tensors[l.Input].Quantization.Scale[0]
		for c, s := range bias.Quantization.Scale {
			if s != input*w.Quantization.Scale[c] {
				t.Errorf("%s: bias scale %d is %v, not the input's times the weight's", l.Name, c, s)
			}
		}
		for i, q := range leaf.Weights[l.Weight].Codes {
			if q == -128 {
				t.Errorf("%s: code %d is −128", l.Name, i)
			}
		}
	}
	softmax := tensors[leaf.Model.Subgraph().Outputs[0]].Quantization
	if softmax.Scale[0] != 1.0/256 || softmax.ZeroPoint[0] != -128 {
		t.Errorf("softmax: %v %v", softmax.Scale, softmax.ZeroPoint)
	}
	if conv, pool := params[plan.Tensor[plan.Layers[0].Output]], tensors[plan.Layers[1].Input].Quantization; conv.Scale != pool.Scale[0] {
		t.Errorf("pool has scale %v, its input %v", pool.Scale[0], conv.Scale)
	}
	want := map[schema.BuiltinOperator]int32{
		schema.BuiltinOperatorCONV_2D: 3, schema.BuiltinOperatorDEPTHWISE_CONV_2D: 3, schema.BuiltinOperatorFULLY_CONNECTED: 4,
		schema.BuiltinOperatorMAX_POOL_2D: 2, schema.BuiltinOperatorSOFTMAX: 2, schema.BuiltinOperatorRESHAPE: 1,
	}
	for op, version := range versions(t, leaf.Model) {
		if version != want[op] {
			t.Errorf("%s has version %d, want %d", op, version, want[op])
		}
	}
}

// versions writes and reads a model and returns its operator versions.
func versions(t *testing.T, m *tflite.Model) map[schema.BuiltinOperator]int32 {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := tflite.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	found := map[schema.BuiltinOperator]int32{}
	for _, c := range read.OperatorCodes {
		found[c.BuiltinCode] = c.Version
	}
	return found
}

func TestEmitConvertsAtTheBorders(t *testing.T) {
	elu := func() *tflite.Model {
		b := tflitetest.New()
		x := b.Input("x", 1, 4)
		y := b.Dense("a", x, tflitetest.Weights(1, 16), tflitetest.Weights(2, 4), 4, tflitetest.None)
		y = b.Unary("elu", schema.BuiltinOperatorELU, y)
		b.Output(b.Dense("b", y, tflitetest.Weights(3, 16), tflitetest.Weights(4, 4), 4, tflitetest.None))
		return b.Model()
	}
	shared := func() *tflite.Model {
		b := tflitetest.New()
		x := b.Input("x", 1, 4)
		y := b.Unary("elu", schema.BuiltinOperatorELU, x)
		z := b.Unary("relu", schema.BuiltinOperatorRELU, x)
		b.Output(b.Add("sum", y, z, tflitetest.None))
		b.Output(y)
		return b.Model()
	}
	mixed := func() *tflite.Model {
		b := tflitetest.New()
		x := b.Input("x", 1, 4)
		y := b.Dense("a", x, tflitetest.Weights(1, 16), tflitetest.Weights(2, 4), 4, tflitetest.None)
		z := b.Unary("tanh", schema.BuiltinOperatorTANH, x)
		b.Output(b.Concat("concat", 1, y, z))
		return b.Model()
	}
	for name, tc := range map[string]struct {
		model   func() *tflite.Model
		options quantize.Options
		want    []string
	}{
		"float inputs and outputs": {
			model: tflitetest.Classifier, options: quantize.Options{IO: quantize.IOFloat32},
			want: []string{
				"QUANTIZE x:FLOAT32 → x_int8:INT8",
				"CONV_2D x_int8:INT8 → conv:INT8",
				"MAX_POOL_2D conv:INT8 → pool:INT8",
				"DEPTHWISE_CONV_2D pool:INT8 → depthwise:INT8",
				"RESHAPE depthwise:INT8 → flat:INT8",
				"FULLY_CONNECTED flat:INT8 → dense:INT8",
				"SOFTMAX dense:INT8 → softmax_int8:INT8",
				"DEQUANTIZE softmax_int8:INT8 → softmax:FLOAT32",
			},
		},
		"a layer kept float": {
			model: tflitetest.Classifier, options: quantize.Options{KeepFloat: []string{"depthwise"}},
			want: []string{
				"CONV_2D x:INT8 → conv:INT8",
				"MAX_POOL_2D conv:INT8 → pool:INT8",
				"DEQUANTIZE pool:INT8 → pool_float:FLOAT32",
				"DEPTHWISE_CONV_2D pool_float:FLOAT32 → depthwise:FLOAT32",
				"QUANTIZE depthwise:FLOAT32 → depthwise_int8:INT8",
				"RESHAPE depthwise_int8:INT8 → flat:INT8",
				"FULLY_CONNECTED flat:INT8 → dense:INT8",
				"SOFTMAX dense:INT8 → softmax:INT8",
			},
		},
		"an operator without an int8 form": {
			model: elu,
			want: []string{
				"FULLY_CONNECTED x:INT8 → a:INT8",
				"DEQUANTIZE a:INT8 → a_float:FLOAT32",
				"ELU a_float:FLOAT32 → elu:FLOAT32",
				"QUANTIZE elu:FLOAT32 → elu_int8:INT8",
				"FULLY_CONNECTED elu_int8:INT8 → b:INT8",
			},
		},
		"a float result that is also an int8 output is converted once": {
			model: shared,
			want: []string{
				"DEQUANTIZE x:INT8 → x_float:FLOAT32",
				"ELU x_float:FLOAT32 → elu_float:FLOAT32",
				"QUANTIZE elu_float:FLOAT32 → elu:INT8",
				"RELU x:INT8 → relu:INT8",
				"ADD elu:INT8, relu:INT8 → sum:INT8",
			},
		},
		"a float result that is also a float output": {
			model: shared, options: quantize.Options{IO: quantize.IOFloat32},
			want: []string{
				"ELU x:FLOAT32 → elu:FLOAT32",
				"QUANTIZE x:FLOAT32 → x_int8:INT8",
				"RELU x_int8:INT8 → relu:INT8",
				"QUANTIZE elu:FLOAT32 → elu_int8:INT8",
				"ADD elu_int8:INT8, relu:INT8 → sum_int8:INT8",
				"DEQUANTIZE sum_int8:INT8 → sum:FLOAT32",
			},
		},
		"a fixed quantization into a concatenation": {
			model: mixed,
			want: []string{
				"FULLY_CONNECTED x:INT8 → a:INT8",
				"TANH x:INT8 → tanh:INT8",
				"QUANTIZE tanh:INT8 → tanh_int8:INT8",
				"CONCATENATION a:INT8, tanh_int8:INT8 → concat:INT8",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, _, _ := emitted(t, tc.model(), tc.options, nil)
			if diff := cmp.Diff(tc.want, listing(leaf.Model)); diff != "" {
				t.Error(diff)
			}
			if _, err := ir.Parse(leaf.Model, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEmitCopiesGivenIntegersAndScales(t *testing.T) {
	m := tflitetest.Classifier()
	plan, err := quantize.PlanOf(m, quantize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dense := plan.Layers[2].Weight
	given := quantize.Weights{Codes: make([]int8, 3*64), Scale: []float32{0.123456, 3e-5, 7}}
	for i := range given.Codes {
		given.Codes[i] = int8(i%5 - 2) // far from ±127: a scale derived from max|w| would differ
	}
	leaf, _, _ := emitted(t, m, quantize.Options{}, map[int]quantize.Weights{dense: given})
	tensor := leaf.Model.Subgraph().Tensors[dense]
	codes, err := leaf.Model.Int8s(tensor)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(codes, given.Codes) || !slices.Equal(tensor.Quantization.Scale, given.Scale) {
		t.Errorf("wrote %v × %v", tensor.Quantization.Scale, codes[:5])
	}
	if len(leaf.Notes) != 0 {
		t.Errorf("notes %v", leaf.Notes)
	}
}

func TestEmitRaisesScalesForBiasesAndSaysSo(t *testing.T) {
	m := tflitetest.Classifier()
	plan, err := quantize.PlanOf(m, quantize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dense := plan.Layers[2].Weight
	leaf, _, _ := emitted(t, m, quantize.Options{}, map[int]quantize.Weights{dense: {Codes: make([]int8, 3*64), Scale: []float32{0.01, 1e-15, 0.01}}})
	if want := `layer "dense/kernel": scales of channels [1] raised, so that their biases fit int32`; !slices.Equal(leaf.Notes, []string{want}) {
		t.Errorf("notes %q", leaf.Notes)
	}
}

func TestEmitClonesConstantsThatNeedTwoForms(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4)
	c := b.Const("c", tflitetest.Weights(1, 4), 4)
	add := &schema.AddOptionsT{}
	y := b.Op("sum", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, add, []int32{1, 4}, x, c)
	z := b.Op("kept", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, add, []int32{1, 4}, y, c)
	b.Output(b.Op("max", schema.BuiltinOperatorMAXIMUM, schema.BuiltinOptionsMaximumMinimumOptions, &schema.MaximumMinimumOptionsT{}, []int32{1, 4}, z, c))
	leaf, _, _ := emitted(t, b.Model(), quantize.Options{KeepFloat: []string{"kept"}}, nil)
	var forms []string
	for _, o := range leaf.Model.Subgraph().Operators {
		if len(o.Inputs) > 1 {
			tensor := leaf.Model.Subgraph().Tensors[o.Inputs[1]]
			forms = append(forms, fmt.Sprint(tensor.Name, " ", tensor.Type))
		}
	}
	if diff := cmp.Diff([]string{"c_int8 INT8", "c FLOAT32", "c_int8 INT8"}, forms); diff != "" {
		t.Error(diff)
	}
}

// A plan is made once; the weights and biases that training leaves in a later version of the model are what counts.
func TestEmitTakesTheModelsValuesNotThePlans(t *testing.T) {
	m := tflitetest.Classifier()
	plan, err := quantize.PlanOf(m, quantize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	params := plan.Params(make([]quantize.Range, len(plan.Groups)))
	later := m.Clone()
	dense := plan.Layers[2]
	later.SetData(later.Subgraph().Tensors[dense.Bias], tflite.Float32Bytes([]float32{1, 2, -3}))
	weights := make([]float32, 3*64)
	weights[0], weights[64], weights[128] = 0.5, -0.25, 1
	later.SetData(later.Subgraph().Tensors[dense.Weight], tflite.Float32Bytes(weights))
	leaf, err := Emit(later, plan, params, nil)
	if err != nil {
		t.Fatal(err)
	}
	im, err := quantize.ImportInt8(leaf.Model)
	if err != nil {
		t.Fatal(err)
	}
	bias, err := im.Model.Float32s(im.Model.Subgraph().Tensors[dense.Bias])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{1, 2, -3}, bias, cmp.Comparer(func(a, b float32) bool { return a-b < 1e-4 && b-a < 1e-4 })); diff != "" {
		t.Errorf("bias: %s", diff)
	}
	if codes := leaf.Weights[dense.Weight].Codes; codes[0] < 126 || codes[64] > -126 || codes[128] < 126 || codes[1] != 0 {
		t.Errorf("codes %d %d %d %d", codes[0], codes[64], codes[128], codes[1])
	}
}

func TestWeightsKeptAsFloat16BecomeInt8(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	half := b.Raw("half", schema.TensorTypeFLOAT16, []byte{0x00, 0x3c, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x3c}, 2, 2) // 1, −2.5, 0, 1
	w := b.Op("w", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{2, 2}, half)
	options := &schema.FullyConnectedOptionsT{}
	b.Output(b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, options, []int32{1, 2}, x, w, -1))
	leaf, _, _ := emitted(t, b.Model(), quantize.Options{}, nil)
	if diff := cmp.Diff([]string{"FULLY_CONNECTED x:INT8 → y:INT8"}, listing(leaf.Model)); diff != "" {
		t.Error(diff)
	}
	if n := len(leaf.Model.Subgraph().Tensors); n != 3 {
		t.Errorf("%d tensors left, want 3", n)
	}
}

func TestPerTensorDenseHasOneScale(t *testing.T) {
	leaf, plan, _ := emitted(t, tflitetest.Classifier(), quantize.Options{PerTensorDense: true}, nil)
	for _, l := range plan.Layers {
		want := leaf.Model.Subgraph().Tensors[l.Weight].Shape[l.Axis]
		if l.Name == "dense/kernel" {
			want = 1
		}
		if got := len(leaf.Model.Subgraph().Tensors[l.Weight].Quantization.Scale); got != int(want) {
			t.Errorf("%s has %d scales", l.Name, got)
		}
	}
}

func TestImportInvertsEmit(t *testing.T) {
	for name, options := range map[string]quantize.Options{
		"int8 inputs and outputs":  {},
		"float inputs and outputs": {IO: quantize.IOFloat32},
		"one scale a dense layer":  {PerTensorDense: true},
		"a layer kept float":       {KeepFloat: []string{"depthwise"}},
		"int16":                    {Width: quantize.Wide},
		"a layer of int16":         {Rules: []quantize.WidthRule{{Layers: "depthwise*", Width: quantize.Wide}}},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, plan, params := emitted(t, tflitetest.Classifier(), options, nil)
			im, err := quantize.ImportInt8(leaf.Model)
			if err != nil {
				t.Fatal(err)
			}
			for i, g := range plan.Tensor {
				if g != quantize.None && im.Known[im.Tensor[leaf.Tensor[i]]] != params[g] {
					t.Errorf("%s: quantization %v, want %v", plan.Graph.Tensors[i].String(), im.Known[im.Tensor[leaf.Tensor[i]]], params[g])
				}
			}
			options.Known = im.Known
			again, err := quantize.PlanOf(im.Model, options)
			if err != nil {
				t.Fatal(err)
			}
			second, err := Emit(im.Model, again, again.Params(make([]quantize.Range, len(again.Groups))), im.Weights)
			if err != nil {
				t.Fatal(err)
			}
			first, err := leaf.Model.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			bytes, err := second.Model.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(listing(leaf.Model), listing(second.Model)); diff != "" {
				t.Error(diff)
			}
			if len(first) != len(bytes) {
				t.Errorf("%d bytes became %d", len(first), len(bytes))
			}
		})
	}
}

func TestEmitRefusesWhatDoesNotFit(t *testing.T) {
	m := tflitetest.Classifier()
	plan, err := quantize.PlanOf(m, quantize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	params := plan.Params(make([]quantize.Range, len(plan.Groups)))
	bad := slices.Clone(params)
	bad[0].ZeroPoint = 200
	for name, tc := range map[string]struct {
		params  []quantize.Params
		weights map[int]quantize.Weights
		want    string
	}{
		"too few quantizations":    {params[:1], nil, "1 quantizations for a plan of 5 groups"},
		"an impossible zero point": {bad, nil, `quantization of tensor 0 "x": zero point 200 is outside [-128, 127]`},
		"weights of another shape": {params, map[int]quantize.Weights{plan.Layers[0].Weight: {Codes: make([]int8, 2), Scale: []float32{1}}}, `layer "conv/kernel": 2 codes for 72 weights`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Emit(m, plan, tc.params, tc.weights); err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// LiteRT's default path crashes at an int8 DEPTHWISE_CONV_2D without a bias.
func TestEmitGivesDepthwiseLayersABias(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4, 4, 3)
	options := &schema.DepthwiseConv2DOptionsT{StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1, DepthMultiplier: 1}
	b.Output(b.Op("y", schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, options, []int32{1, 3, 3, 3}, x, b.Const("kernel", tflitetest.Weights(1, 12), 1, 2, 2, 3)))
	m := b.Model()
	leaf, _, _ := emitted(t, m, quantize.Options{}, nil)
	o := leaf.Model.Subgraph().Operators[0]
	if len(o.Inputs) != 3 {
		t.Fatalf("inputs %v", o.Inputs)
	}
	bias := leaf.Model.Subgraph().Tensors[o.Inputs[2]]
	if bias.Type != schema.TensorTypeINT32 || len(bias.Quantization.Scale) != 3 || !slices.Equal(leaf.Model.Data(bias), make([]byte, 12)) {
		t.Errorf("bias %+v of %v", bias, leaf.Model.Data(bias))
	}
	if wide, _, _ := emitted(t, m, quantize.Options{Width: quantize.Wide}, nil); len(wide.Model.Subgraph().Operators[0].Inputs) != 2 {
		t.Error("a bias with int16 activations, where none is needed")
	}
}
