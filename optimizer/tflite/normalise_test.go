package tflite_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// embedding is a float network whose table dynamic range quantization made int8: GATHER takes rows of it and DEQUANTIZE makes them float.
// In an int8 one something reads the rows as they are.
func embedding(int8 bool) *tflite.Model {
	b := tflitetest.New()
	ids := b.Input("ids", 1, 2)
	b.SetType(ids, schema.TensorTypeINT32)
	table := b.Raw("table", schema.TensorTypeINT8, []byte{1, 2, 0xff, 127}, 2, 2)
	b.Quantize(table, 0, 0, 0.5)
	rows := b.Op("rows", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, []int32{1, 2, 2}, table, ids)
	b.SetType(rows, schema.TensorTypeINT8)
	b.Quantize(rows, 0, 0, 0.5)
	b.Output(b.Unary("y", schema.BuiltinOperatorTANH, b.Op("real", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2, 2}, rows)))
	if int8 {
		b.Output(rows)
	}
	return b.Model()
}

func TestNormaliseMakesTablesOfFloatNetworksFloat(t *testing.T) {
	m := embedding(false)
	notes, err := tflite.Normalise(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1 int8 tables of a float network dequantized (hybrid quantization)"}, notes); diff != "" {
		t.Error(diff)
	}
	ops := m.Subgraph().Operators
	if n := len(m.Subgraph().Tensors); n != 4 {
		t.Errorf("%d tensors, want the table, ids, rows and the answer", n)
	}
	if len(ops) != 2 || ops[1].Inputs[0] != ops[0].Outputs[0] {
		t.Fatalf("%d operators, TANH reads %d", len(ops), ops[len(ops)-1].Inputs[0])
	}
	values, err := m.Float32s(m.Subgraph().Tensors[ops[0].Inputs[0]])
	if diff := cmp.Diff([]float32{0.5, 1, -0.5, 63.5}, values); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if rows := m.Subgraph().Tensors[ops[0].Outputs[0]]; rows.Type != schema.TensorTypeFLOAT32 || rows.Quantization != nil {
		t.Errorf("the rows are %s, %+v", rows.Type, rows.Quantization)
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}

func TestNormaliseLeavesTablesOfInt8Networks(t *testing.T) {
	m := embedding(true)
	if notes, err := tflite.Normalise(m); err != nil || notes != nil {
		t.Errorf("notes %q, error %v", notes, err)
	}
}

func TestNormaliseGivesConvolutionsABias(t *testing.T) {
	for name, test := range map[string]struct {
		kind, want schema.TensorType
		inputs     []int32 // of the operator, besides the first two
	}{
		"float, left out": {schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT32, nil},
		"float, none":     {schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT32, []int32{-1}},
		"int8":            {schema.TensorTypeINT8, schema.TensorTypeINT32, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 4, 4, 1)
			w := b.Const("w", []float32{1, 2}, 2, 1, 1, 1)
			if test.kind == schema.TensorTypeINT8 {
				w = b.Raw("w", test.kind, []byte{1, 2}, 2, 1, 1, 1)
				b.Quantize(w, 0, 0, 0.5, 0.25)
				b.SetType(x, test.kind)
				b.Quantize(x, 0, 3, 0.125)
			}
			y := b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions,
				&schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}, []int32{1, 4, 4, 2}, append([]int32{x, w}, test.inputs...)...)
			b.SetType(y, test.kind)
			b.Output(y)
			m := b.Model()
			notes, err := tflite.Normalise(m)
			if err != nil || len(notes) != 1 {
				t.Fatal(notes, err)
			}
			bias := m.Subgraph().Tensors[m.Subgraph().Operators[0].Inputs[2]]
			if diff := cmp.Diff(make([]byte, 8), m.Data(bias)); diff != "" || bias.Type != test.want {
				t.Error(bias.Type, diff)
			}
			if test.kind == schema.TensorTypeINT8 {
				if diff := cmp.Diff([]float32{0.0625, 0.03125}, bias.Quantization.Scale); diff != "" {
					t.Error(diff)
				}
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// hybrid is a FULLY_CONNECTED of int8 weights, [2 2], behind a layer of float weights.
func hybrid(change func(w *schema.TensorT)) (*tflite.Model, *schema.TensorT) {
	b := tflitetest.New()
	x := b.Unary("x2", schema.BuiltinOperatorTANH, b.Input("x", 1, 2))
	x = b.Dense("real", x, make([]float32, 4), make([]float32, 2), 2, tflitetest.None)
	w := b.Raw("w", schema.TensorTypeINT8, []byte{1, 2, 3, 0xfc}, 2, 2)
	b.Output(b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 2}, x, w))
	m := b.Model()
	t := m.Subgraph().Tensors[w]
	change(t)
	return m, t
}

func TestNormaliseHonoursScalesAndZeroPoints(t *testing.T) {
	for name, tc := range map[string]struct {
		q    *schema.QuantizationParametersT
		want []float32
		says string
	}{
		"one scale":                     {&schema.QuantizationParametersT{Scale: []float32{0.5}, ZeroPoint: []int64{1}}, []float32{0, 0.5, 1, -2.5}, ""},
		"one without a zero point":      {&schema.QuantizationParametersT{Scale: []float32{0.5}}, []float32{0.5, 1, 1.5, -2}, ""},
		"scales of rows":                {&schema.QuantizationParametersT{Scale: []float32{0.5, 2}, ZeroPoint: []int64{1, 3}}, []float32{0, 0.5, 0, -14}, ""},
		"scales of columns":             {&schema.QuantizationParametersT{Scale: []float32{0.5, 2}, ZeroPoint: []int64{1, 3}, QuantizedDimension: 1}, []float32{0, -2, 1, -14}, ""},
		"scales and one zero point":     {&schema.QuantizationParametersT{Scale: []float32{0.5, 2}, ZeroPoint: []int64{1}}, []float32{0, 0.5, 4, -10}, ""},
		"none":                          {nil, nil, "integer weights without data or scales"},
		"no scales":                     {&schema.QuantizationParametersT{}, nil, "integer weights without data or scales"},
		"a scale of 0":                  {&schema.QuantizationParametersT{Scale: []float32{0.5, 0}}, nil, "scale 1 is 0, where it must be above 0: convert the float model instead"},
		"blocks":                        {&schema.QuantizationParametersT{Scale: []float32{1}, Details: &schema.QuantizationDetailsT{Type: schema.QuantizationDetailsBlockwiseQuantization}}, nil, "blockwise or custom quantization"},
		"details that say nothing":      {&schema.QuantizationParametersT{Scale: []float32{1}, Details: &schema.QuantizationDetailsT{}}, []float32{1, 2, 3, -4}, ""},
		"scales of rows, one zero each": {&schema.QuantizationParametersT{Scale: []float32{1, 2}, ZeroPoint: []int64{0, 0}}, []float32{1, 2, 6, -8}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, w := hybrid(func(w *schema.TensorT) { w.Quantization = tc.q })
			notes, err := tflite.Normalise(m)
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), `tensor 5 "w": `+tc.says) {
					t.Fatalf("error %v, want %q", err, tc.says)
				}
				return
			}
			if err != nil || notes[len(notes)-1] != "1 integer weights of float operators dequantized (hybrid quantization)" {
				t.Fatal(notes, err)
			}
			values, err := m.Float32s(w)
			if diff := cmp.Diff(tc.want, values); diff != "" || err != nil || w.Quantization != nil {
				t.Error(err, w.Quantization, diff)
			}
		})
	}
}

func TestNormaliseMakesAllHybridOperandsFloat(t *testing.T) {
	for name, test := range map[string]struct {
		build func(b *tflitetest.Builder, w int32) int32
		want  schema.TensorType // of the constant
	}{
		"a recurrent matrix": {func(b *tflitetest.Builder, w int32) int32 {
			inputs := []int32{b.Input("x", 1, 3, 2), b.Const("kernel", make([]float32, 4), 2, 2), w, b.Const("bias", make([]float32, 2), 2), -1}
			return b.Op("y", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN, schema.BuiltinOptionsSequenceRNNOptions, &schema.SequenceRNNOptionsT{}, []int32{1, 3, 2}, inputs...)
		}, schema.TensorTypeFLOAT32},
		"a factor": {func(b *tflitetest.Builder, w int32) int32 {
			return b.Op("y", schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, &schema.BatchMatMulOptionsT{}, []int32{1, 2}, b.Input("x", 1, 2), w)
		}, schema.TensorTypeFLOAT32},
		"what an operator without activations reads": {func(b *tflitetest.Builder, w int32) int32 {
			return b.Op("y", schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOptionsReadVariableOptions, &schema.ReadVariableOptionsT{}, []int32{1, 2}, w)
		}, schema.TensorTypeINT8},
		"a factor of int8": {func(b *tflitetest.Builder, w int32) int32 {
			x := b.Input("x", 1, 2)
			b.SetType(x, schema.TensorTypeINT8)
			b.Quantize(x, 0, 0, 1)
			return b.Op("y", schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, &schema.BatchMatMulOptionsT{}, []int32{1, 2}, x, w)
		}, schema.TensorTypeINT8},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			w := b.Raw("w", schema.TensorTypeINT8, []byte{1, 2, 3, 0xfc}, 2, 2)
			b.Quantize(w, 0, 0, 0.5)
			b.Output(test.build(b, w))
			m := b.Model()
			of := m.Subgraph().Tensors[w]
			if _, err := tflite.Normalise(m); err != nil || of.Type != test.want {
				t.Fatal(of.Type, err)
			}
			if test.want != schema.TensorTypeFLOAT32 {
				return
			}
			values, err := m.Float32s(of)
			if diff := cmp.Diff([]float32{0.5, 1, 1.5, -2}, values); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

func TestNormaliseSaysWhatItMended(t *testing.T) {
	quantized := func(shape []int32, kind schema.TensorType, q schema.QuantizationParametersT) *schema.TensorT {
		return &schema.TensorT{Name: "q", Shape: shape, Type: kind, Quantization: &q}
	}
	for name, tc := range map[string]struct {
		tensor *schema.TensorT
		want   schema.QuantizationParametersT
		notes  []string
	}{
		"a bias of the weights' axis": {quantized([]int32{2}, schema.TensorTypeINT32, schema.QuantizationParametersT{Scale: []float32{1, 2}, ZeroPoint: []int64{0, 0}, QuantizedDimension: 3}),
			schema.QuantizationParametersT{Scale: []float32{1, 2}, ZeroPoint: []int64{0, 0}}, []string{"1 biases had the weights' quantized dimension; set to 0"}},
		"a bias of one scale": {quantized([]int32{2}, schema.TensorTypeINT32, schema.QuantizationParametersT{Scale: []float32{1}, ZeroPoint: []int64{0}, QuantizedDimension: 3}),
			schema.QuantizationParametersT{Scale: []float32{1}, ZeroPoint: []int64{0}, QuantizedDimension: 3}, nil},
		"weights": {quantized([]int32{1, 2}, schema.TensorTypeINT8, schema.QuantizationParametersT{Scale: []float32{1, 2}, ZeroPoint: []int64{0, 0}, QuantizedDimension: 1}),
			schema.QuantizationParametersT{Scale: []float32{1, 2}, ZeroPoint: []int64{0, 0}, QuantizedDimension: 1}, nil},
		"no zero points": {quantized([]int32{1, 2}, schema.TensorTypeINT8, schema.QuantizationParametersT{Scale: []float32{1, 2}, QuantizedDimension: 1}),
			schema.QuantizationParametersT{Scale: []float32{1, 2}, ZeroPoint: []int64{0, 0}, QuantizedDimension: 1}, []string{"1 quantized tensors had no zero points; set to 0"}},
		"uint8 activations of no scale yet": {quantized([]int32{1, 2}, schema.TensorTypeUINT8, schema.QuantizationParametersT{Scale: []float32{0}, ZeroPoint: []int64{128}}),
			schema.QuantizationParametersT{Scale: []float32{0}, ZeroPoint: []int64{0}}, []string{"1 uint8 tensors converted to int8"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := small()
			m.Subgraph().Tensors = append(m.Subgraph().Tensors, tc.tensor)
			notes, err := tflite.Normalise(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.notes, notes); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(&tc.want, tc.tensor.Quantization); diff != "" {
				t.Error(diff)
			}
			if last(m) != tc.tensor {
				t.Error("a tensor went that nothing reads")
			}
			if m.Unsigned {
				t.Error("no weights were uint8")
			}
		})
	}
}

// convolution is a CONV_2D of one channel.
func convolution(b *tflitetest.Builder, name string, inputs ...int32) int32 {
	return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions,
		&schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}, []int32{1, 4, 4, 1}, inputs...)
}

func TestNormaliseLeavesConvolutionsThatHaveABias(t *testing.T) {
	b := tflitetest.New()
	x := b.Unary("t", schema.BuiltinOperatorTANH, b.Input("x", 1, 4, 4, 1))
	wide := b.Input("wide", 1, 4, 4, 1)
	b.SetType(wide, schema.TensorTypeINT16)
	whole := b.Raw("whole", schema.TensorTypeINT8, []byte{1}, 1, 1, 1, 1)
	b.Quantize(whole, 0, 0, 1)
	y := convolution(b, "wide_out", wide, whole) // of int16 nothing is made up
	b.SetType(y, schema.TensorTypeINT16)
	w := b.Const("w", []float32{2}, 1, 1, 1, 1)
	b.Output(y)
	b.Output(convolution(b, "bare", convolution(b, "biased", x, w, b.Const("bias", []float32{3}, 1)), w))
	m := b.Model()
	notes, err := tflite.Normalise(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1 convolutions without a bias have one of zeros: LiteRT wants it"}, notes); diff != "" {
		t.Error(diff)
	}
	var biases []string
	for _, o := range m.Subgraph().Operators[1:] {
		name := ""
		if len(o.Inputs) > 2 {
			name = m.Subgraph().Tensors[o.Inputs[2]].Name
		}
		biases = append(biases, name)
	}
	if diff := cmp.Diff([]string{"", "bias", "w_bias"}, biases); diff != "" {
		t.Error(diff)
	}
}

func TestNormaliseFoldsConstantsAlone(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	b.SetType(x, schema.TensorTypeINT8)
	b.Quantize(x, 0, 0, 0.5)
	real := b.Op("real", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, x)
	half := b.Raw("half", schema.TensorTypeFLOAT16, []byte{0, 0x3c, 0, 0xc1}, 1, 2)
	whole := b.Raw("whole", schema.TensorTypeINT8, []byte{2, 0xff}, 1, 2)
	b.Quantize(whole, 0, 1, 0.5)
	answer := b.Op("answer", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, half)
	sum := b.Add("sum", real, b.Op("a", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, half), tflitetest.None)
	sum = b.Add("sum2", sum, b.Op("b", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, whole), tflitetest.None)
	b.Output(sum)
	b.Output(answer)
	m := b.Model()
	notes, err := tflite.Normalise(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2 constants behind a DEQUANTIZE stored as float32 (float16 or integer weights)"}, notes); diff != "" {
		t.Error(diff)
	}
	var codes []schema.BuiltinOperator
	for _, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		codes = append(codes, code)
	}
	add, dequantize := schema.BuiltinOperatorADD, schema.BuiltinOperatorDEQUANTIZE
	if diff := cmp.Diff([]schema.BuiltinOperator{dequantize, dequantize, add, add}, codes); diff != "" {
		t.Fatal(diff) // of what is not known, and of what the network answers
	}
	for i, want := range map[int][]float32{2: {1, -2.5}, 3: {0.5, -1}} {
		values, err := m.Float32s(m.Subgraph().Tensors[m.Subgraph().Operators[i].Inputs[1]])
		if diff := cmp.Diff(want, values); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}

func TestFiniteIsAskedOfFloatsAlone(t *testing.T) {
	if err := tflite.CheckFinite(embedding(false)); err != nil {
		t.Error(err)
	}
	b := tflitetest.New()
	half := b.Raw("half", schema.TensorTypeFLOAT16, []byte{0, 0x3c, 1, 0x7e}, 1, 2)
	b.Output(b.Op("y", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, half))
	if err := tflite.CheckFinite(b.Model()); err == nil || !strings.Contains(err.Error(), `tensor 0 "half": element 1 is NaN`) {
		t.Errorf("half a NaN: %v", err)
	}
}

// TestWeightsThatADepthwiseConvolutionSharesBecomeTwo has scales along other axes in int8.
func TestWeightsThatADepthwiseConvolutionSharesBecomeTwo(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4, 4, 2)
	w := b.Const("w", []float32{1, 2, 3, 4, 5, 6, 7, 8}, 1, 2, 2, 2)
	deep := b.Op("deep", schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions,
		&schema.DepthwiseConv2DOptionsT{StrideW: 1, StrideH: 1, DepthMultiplier: 1}, []int32{1, 4, 4, 2}, x, w, b.Const("twobias", []float32{0, 0}, 2))
	b.Output(convolution(b, "wide", deep, w, b.Const("bias", []float32{0}, 1)))
	m := b.Model()
	notes, err := tflite.Normalise(m)
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "a copy of its own each") {
		t.Fatalf("%q, %v", notes, err)
	}
	ops := m.Subgraph().Operators
	own, given := ops[0].Inputs[1], ops[1].Inputs[1]
	if own == given || !cmp.Equal(m.Data(m.Subgraph().Tensors[own]), m.Data(m.Subgraph().Tensors[given])) || m.Subgraph().Tensors[own].Buffer == m.Subgraph().Tensors[given].Buffer {
		t.Errorf("tensors %d and %d", own, given)
	}
	if notes, err = tflite.Normalise(m); err != nil || len(notes) != 0 {
		t.Errorf("again: %q, %v", notes, err)
	}
}
