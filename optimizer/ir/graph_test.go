package ir_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestTensorsGiveTheirValues(t *testing.T) {
	long := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1<<40), math.MaxUint64)
	for name, test := range map[string]struct {
		tensor  ir.Tensor
		floats  []float32
		numbers []float32
		int8s   []int8
		ints    []int
		count   int // of floats in computation
	}{
		"floats":             {tensor: ir.Tensor{Type: schema.TensorTypeFLOAT32, Shape: []int{2}, Const: []byte{0, 0, 128, 63, 0, 0, 0, 192}}, floats: []float32{1, -2}, numbers: []float32{1, -2}, count: 2},
		"whole numbers":      {tensor: ir.Tensor{Type: schema.TensorTypeINT32, Shape: []int{1, 2}, Const: []byte{5, 1, 0, 0, 255, 255, 255, 255}}, numbers: []float32{261, -1}, ints: []int{261, -1}, count: 2},
		"long numbers":       {tensor: ir.Tensor{Type: schema.TensorTypeINT64, Shape: []int{2}, Const: long}, numbers: []float32{1 << 40, -1}, ints: []int{1 << 40, -1}, count: 2},
		"flags":              {tensor: ir.Tensor{Type: schema.TensorTypeBOOL, Shape: []int{3}, Const: []byte{0, 1, 2}}, numbers: []float32{0, 1, 1}, count: 3},
		"codes":              {tensor: ir.Tensor{Type: schema.TensorTypeINT8, Shape: []int{2}, Const: []byte{1, 255}}, int8s: []int8{1, -1}, count: 2},
		"codes of four bits": {tensor: ir.Tensor{Type: schema.TensorTypeINT4, Shape: []int{3}, Const: []byte{0xf1, 0x07}}, int8s: []int8{1, -1, 7}, count: 3},
		"complex numbers":    {tensor: ir.Tensor{Type: schema.TensorTypeCOMPLEX64, Shape: []int{2, 3}}, count: 12},
		"activations":        {tensor: ir.Tensor{Type: schema.TensorTypeINT32, Shape: []int{2}}, count: 2},
		"flags that run":     {tensor: ir.Tensor{Type: schema.TensorTypeBOOL, Shape: []int{2}}, count: 2},
		"codes that run":     {tensor: ir.Tensor{Type: schema.TensorTypeINT8, Shape: []int{2}}, count: 2},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.floats, test.tensor.Float32s()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.numbers, test.tensor.Numbers()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.int8s, test.tensor.Int8s()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.ints, test.tensor.Ints()); diff != "" {
				t.Error(diff)
			}
			if got := test.tensor.Floats(); got != test.count {
				t.Errorf("%d floats, want %d", got, test.count)
			}
		})
	}
}

func TestPerTensorIsOneScale(t *testing.T) {
	one := ir.Tensor{Quant: &ir.Quant{Scale: []float32{0.5}, ZeroPoint: []int32{3}}}
	if scale, zero, ok := one.PerTensor(); scale != 0.5 || zero != 3 || !ok {
		t.Errorf("%g %d %t", scale, zero, ok)
	}
	for _, other := range []ir.Tensor{{}, {Quant: &ir.Quant{Scale: []float32{1, 2}, ZeroPoint: []int32{0, 0}}}} {
		if _, _, ok := other.PerTensor(); ok {
			t.Errorf("%v has one scale", other.Quant)
		}
	}
}

func TestActivationsBound(t *testing.T) {
	inf := float32(math.Inf(1))
	for act, want := range map[ir.Activation][2]float32{ir.None: {-inf, inf}, ir.Relu: {0, inf}, ir.ReluN1To1: {-1, 1}, ir.Relu6: {0, 6}} {
		if lo, hi := act.Bounds(); lo != want[0] || hi != want[1] {
			t.Errorf("%d: %g to %g, want %v", act, lo, hi, want)
		}
	}
}

func TestMultiplicationsAreCounted(t *testing.T) {
	one := &schema.Conv3DOptionsT{StrideD: 1, StrideH: 1, StrideW: 1, DilationDFactor: 1, DilationHFactor: 1, DilationWFactor: 1, Padding: schema.PaddingVALID}
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  int64
	}{
		"CONV_2D": {func(b *builder) int32 {
			return b.Conv("y", b.Input("x", 1, 4, 5, 2), make([]float32, 3*2*3*2), nil, 3, 2, 3, 1, schema.PaddingVALID, tflitetest.None)
		}, (3 * 3 * 3) * (2 * 3 * 2)},
		"DEPTHWISE_CONV_2D": {func(b *builder) int32 {
			return b.Depthwise("y", b.Input("x", 1, 4, 5, 2), make([]float32, 2*3*2), nil, 2, 3, 1, schema.PaddingVALID, tflitetest.None)
		}, (3 * 3 * 2) * (2 * 3)},
		"TRANSPOSE_CONV": {func(b *builder) int32 {
			return b.Op("y", schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, &schema.TransposeConvOptionsT{StrideH: 2, StrideW: 2}, []int32{2, 6, 8, 5},
				b.Ints("shape", 2, 6, 8, 5), b.Const("w", make([]float32, 5*3*3*2), 5, 3, 3, 2), b.Input("x", 2, 3, 4, 2))
		}, 2 * (3 * 4) * (5 * 3 * 3 * 2)},
		"CONV_3D": {func(b *builder) int32 {
			return b.Op("y", schema.BuiltinOperatorCONV_3D, schema.BuiltinOptionsConv3DOptions, one, []int32{1, 2, 3, 4, 5}, b.Input("x", 1, 3, 4, 5, 2), b.Const("w", make([]float32, 2*2*2*2*5), 2, 2, 2, 2, 5))
		}, (2 * 3 * 4 * 5) * (2 * 2 * 2 * 2)},
		"FULLY_CONNECTED": {func(b *builder) int32 {
			return b.Dense("y", b.Input("x", 3, 4), make([]float32, 20), nil, 5, tflitetest.None)
		}, 3 * 4 * 5},
		"BATCH_MATMUL": {func(b *builder) int32 {
			return b.Op("y", schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsNONE, nil, []int32{2, 3, 5}, b.Input("x", 2, 3, 4), b.Const("w", make([]float32, 20), 4, 5))
		}, 2 * 3 * 4 * 5},
	} {
		b := tflitetest.New()
		b.Output(test.build(b))
		g, err := ir.Parse(b.Model(), 0)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := g.Nodes[0].Attr.(ir.Multiplier).Multiplications(g, &g.Nodes[0]); got != test.want {
			t.Errorf("%s: %d multiplications, want %d", name, got, test.want)
		}
	}
}

func TestEndsSayWhereALossAttaches(t *testing.T) {
	unary := func(b *builder, op schema.BuiltinOperator, x int32) int32 { return b.Unary("u", op, x) }
	first := func(b *builder, op schema.BuiltinOperator, x, axis int32) int32 {
		y := b.Op("arg", op, schema.BuiltinOptionsNONE, nil, []int32{1}, x, number(b, axis))
		asInts(b, y)
		return y
	}
	soft := func(b *builder, x int32, beta float32) int32 {
		return b.Op("softmax", schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: beta}, b.Shape(x), x)
	}
	for name, test := range map[string]struct {
		build func(b *builder, x int32) (out, loss int32)
		want  ir.Ending
	}{
		"values":  {func(b *builder, x int32) (int32, int32) { return x, x }, ir.Ending{Beta: 1}},
		"softmax": {func(b *builder, x int32) (int32, int32) { return soft(b, x, 2), x }, ir.Ending{Last: ir.SoftmaxEnd, Beta: 2}},
		"softmax under another shape": {func(b *builder, x int32) (int32, int32) {
			return reshapeTo(b, soft(b, x, 1), []int32{1, 1, 4}, 1, 1, 4), x
		}, ir.Ending{Last: ir.SoftmaxEnd, Beta: 1}},
		"logistic": {func(b *builder, x int32) (int32, int32) { return unary(b, schema.BuiltinOperatorLOGISTIC, x), x }, ir.Ending{Last: ir.LogisticEnd, Beta: 1}},
		"unit rows": {func(b *builder, x int32) (int32, int32) {
			y := unary(b, schema.BuiltinOperatorL2_NORMALIZATION, x)
			return y, y
		}, ir.Ending{Last: ir.UnitEnd, Beta: 1}},
		"the greatest": {func(b *builder, x int32) (int32, int32) { return first(b, schema.BuiltinOperatorARG_MAX, x, 1), x }, ir.Ending{Beta: 1, Index: true}},
		"the greatest of a softmax": {func(b *builder, x int32) (int32, int32) {
			return first(b, schema.BuiltinOperatorARG_MAX, soft(b, x, 1), 1), x
		}, ir.Ending{Last: ir.SoftmaxEnd, Beta: 1, Index: true}},
		"the greatest as a float": {func(b *builder, x int32) (int32, int32) {
			return b.Unary("cast", schema.BuiltinOperatorCAST, first(b, schema.BuiltinOperatorARG_MAX, x, 1)), x
		}, ir.Ending{Beta: 1, Index: true}},
		"the greatest along the samples": {func(b *builder, x int32) (int32, int32) { return first(b, schema.BuiltinOperatorARG_MAX, x, 0), x }, ir.Ending{Beta: 1, Cut: true}},
		"the least":                      {func(b *builder, x int32) (int32, int32) { return first(b, schema.BuiltinOperatorARG_MIN, x, 1), x }, ir.Ending{Beta: 1, Cut: true}},
		"whole numbers": {func(b *builder, x int32) (int32, int32) {
			y := b.Unary("cast", schema.BuiltinOperatorCAST, x)
			asInts(b, y)
			return y, x
		}, ir.Ending{Beta: 1, Cut: true}},
		"other floats": {func(b *builder, x int32) (int32, int32) {
			y := b.Unary("cast", schema.BuiltinOperatorCAST, soft(b, x, 1))
			b.SetType(y, schema.TensorTypeFLOAT16)
			return y, x
		}, ir.Ending{Last: ir.SoftmaxEnd, Beta: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			logits := b.Dense("dense", b.Input("x", 1, 3), make([]float32, 12), nil, 4, tflitetest.None)
			out, loss := test.build(b, logits)
			b.Output(out)
			g, err := ir.Parse(b.Model(), 0)
			if err != nil {
				t.Fatal(err)
			}
			got := g.End(0)
			test.want.Tensor = int(loss)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseNamesWhatIsWrongWithAFile(t *testing.T) {
	relu := func() *tflite.Model {
		b := tflitetest.New()
		y := b.Unary("y", schema.BuiltinOperatorRELU, b.Input("x", 1, 2))
		b.Output(b.Unary("z", schema.BuiltinOperatorRELU, y))
		b.Const("c", []float32{1, 2}, 1, 2)
		return b.Model()
	}
	for name, test := range map[string]struct {
		spoil func(g *schema.SubGraphT)
		want  string
	}{
		"a code beyond the last":          {func(g *schema.SubGraphT) { g.Operators[1].OpcodeIndex = 1 }, "operator 1: operator code 1 of 1"},
		"an input beyond the last":        {func(g *schema.SubGraphT) { g.Operators[1].Inputs[0] = 4 }, "operator 1 RELU: input is tensor 4 of 4"},
		"an input before the first":       {func(g *schema.SubGraphT) { g.Operators[1].Inputs[0] = -2 }, "operator 1 RELU: input is tensor -2 of 4"},
		"an output beyond the last":       {func(g *schema.SubGraphT) { g.Operators[1].Outputs[0] = 4 }, "operator 1 RELU: output is tensor 4 of 4"},
		"an output before the first":      {func(g *schema.SubGraphT) { g.Operators[1].Outputs[0] = -2 }, "operator 1 RELU: output is tensor -2 of 4"},
		"a model output beyond the last":  {func(g *schema.SubGraphT) { g.Outputs[0] = 4 }, "model input or output is tensor 4 of 4"},
		"a model output before the first": {func(g *schema.SubGraphT) { g.Outputs[0] = -1 }, "model input or output is tensor -1 of 4"},
		"a constant that is written":      {func(g *schema.SubGraphT) { g.Operators[1].Outputs[0] = 3 }, `operator 1 RELU: writes tensor 3 "c", which is a constant`},
		"a tensor written twice":          {func(g *schema.SubGraphT) { g.Operators[1].Outputs[0] = 1 }, `operator 1 RELU: writes tensor 1 "y", which operator 0 makes`},
		"a tensor read before":            {func(g *schema.SubGraphT) { g.Operators[0].Inputs[0] = 2 }, `operator 1 RELU: writes tensor 2 "z", which operator 0 has read before`},
		"an operator that reads itself":   {func(g *schema.SubGraphT) { g.Operators[1].Inputs[0] = 2 }, `operator 1 RELU: writes tensor 2 "z", which operator 1 has read before`},
		"data of another size":            {func(g *schema.SubGraphT) { g.Tensors[3].Shape = []int32{1, 3} }, `tensor 3 "c": FLOAT32[1 3] takes 12 bytes, its buffer has 8`},
		"nine dimensions": {func(g *schema.SubGraphT) { g.Tensors[0].Shape = []int32{1, 1, 1, 1, 1, 1, 1, 1, 2} },
			`tensor 0 "x": shape [1 1 1 1 1 1 1 1 2] has 9 dimensions, at most 8 are supported`},
		"eight dimensions":  {func(g *schema.SubGraphT) { g.Tensors[0].Shape = []int32{1, 1, 1, 1, 1, 1, 1, 2} }, ""},
		"the most elements": {func(g *schema.SubGraphT) { g.Tensors[0].Shape = []int32{1, math.MaxInt32} }, ""},
		"one element more than the most": {func(g *schema.SubGraphT) { g.Tensors[0].Shape = []int32{1 << 16, 1 << 15} },
			`tensor 0 "x": shape [65536 32768] has more than 2147483647 elements`},
		"a negative dimension": {func(g *schema.SubGraphT) { g.Tensors[0].Shape = []int32{1, -2} }, `tensor 0 "x": shape [1 -2] has a negative dimension`},
		"scales along a dimension of another size": {func(g *schema.SubGraphT) {
			g.Tensors[0].Quantization = &schema.QuantizationParametersT{Scale: []float32{1, 1, 1}, QuantizedDimension: 1}
		}, `tensor 0 "x": 3 scales on dimension 1 of shape [1 2]`},
		"zero points of another number": {func(g *schema.SubGraphT) {
			g.Tensors[0].Quantization = &schema.QuantizationParametersT{Scale: []float32{1}, ZeroPoint: []int64{1, 2}}
		}, `tensor 0 "x": 1 scales but 2 zero points`},
		"scales along what is not there": {func(g *schema.SubGraphT) {
			g.Tensors[0].Quantization = &schema.QuantizationParametersT{Scale: []float32{1, 1}, QuantizedDimension: 2}
		}, `tensor 0 "x": 2 scales on dimension 2 of shape [1 2]`},
	} {
		m := relu()
		test.spoil(m.Subgraph())
		if _, err := ir.Parse(m, 0); errText(err) != test.want {
			t.Errorf("%s: got  %v\nwant %s", name, err, test.want)
		}
	}
	if _, err := ir.Parse(nil, 0); errText(err) != "the model has no subgraph" {
		t.Error(err)
	}
	if _, err := ir.Outline(nil); errText(err) != "the model has no subgraph" {
		t.Error(err)
	}
	if _, err := ir.Parse(tflitetest.Classifier(), -1); errText(err) != "batch is -1, want at least 1, or 0 for the file's" {
		t.Error(err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// recurrent builds a fused layer of 3 steps of 2 numbers with 2 units; slots that are not filled are absent.
func recurrent(op schema.BuiltinOperator, kind schema.BuiltinOptions, options any, size int, filled func(b *builder, inputs []int32), shape ...int32) *builder {
	b := tflitetest.New()
	inputs := make([]int32, size)
	for i := range inputs {
		inputs[i] = -1
	}
	inputs[0] = b.Input("x", shape...)
	filled(b, inputs)
	b.Output(b.Op("y", op, kind, options, []int32{shape[0], shape[1], 2}, inputs...))
	return b
}

// state is a variable that begins with zeros.
func state(b *builder) int32 {
	t := b.Const("state", nil, 1, 2)
	b.Tensor(t).Buffer, b.Tensor(t).IsVariable = 0, true
	return t
}

// Files that are measured come with the int8 weights of hybrid quantization, which are not normalised.
func TestSpecializeDequantizesTheWeightsOfRecurrentLayers(t *testing.T) {
	for name, test := range map[string]struct {
		op       schema.BuiltinOperator
		kind     schema.BuiltinOptions
		options  any
		size     int
		matrices []int
		vectors  []int
	}{
		"LSTM": {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions,
			&schema.UnidirectionalSequenceLSTMOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeTANH}, 24, []int{1, 2, 3, 4, 5, 6, 7, 8}, []int{12, 13, 14, 15}},
		"RNN": {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN, schema.BuiltinOptionsSequenceRNNOptions,
			&schema.SequenceRNNOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeTANH}, 5, []int{1, 2}, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			constants := func(hybrid bool) (values [][]float32) {
				m := recurrent(test.op, test.kind, test.options, test.size, func(b *builder, inputs []int32) {
					for _, i := range test.matrices {
						if !hybrid {
							inputs[i] = b.Const("w", []float32{0.5, -1, 1.5, float32(i)}, 2, 2)
							continue
						}
						inputs[i] = b.Raw("w", schema.TensorTypeINT8, []byte{1, 0xfe, 3, byte(2 * i)}, 2, 2)
						b.Quantize(inputs[i], 0, 0, 0.5)
					}
					for _, i := range test.vectors {
						inputs[i] = b.Const("v", []float32{1, 2}, 2)
					}
				}, 1, 2, 2).Model()
				if _, err := ir.Specialize(m, nil); err != nil {
					t.Fatal(err)
				}
				g, err := ir.Parse(m, 0)
				if err != nil {
					t.Fatal(err)
				}
				for i := range g.Nodes {
					if n := &g.Nodes[i]; n.Op == schema.BuiltinOperatorFULLY_CONNECTED {
						values = append(values, g.Input(n, 1).Float32s())
					}
				}
				return values
			}
			want := constants(false)
			if diff := cmp.Diff(want, constants(true)); diff != "" || len(want) != 2 || want[0] == nil || want[1] == nil {
				t.Error(want, diff)
			}
		})
	}
}

func TestSpecializeWritesRecurrentLayersAsSteps(t *testing.T) {
	const lstm, rnn = schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN
	weights := func(b *builder, inputs []int32, from, to int) {
		for i := from; i <= to; i++ {
			inputs[i] = b.Const("w", []float32{1, 2, 3, 4}, 2, 2)
		}
	}
	vectors := func(b *builder, inputs []int32, from, to int) {
		for i := from; i <= to; i++ {
			inputs[i] = b.Const("v", []float32{1, 2}, 2)
		}
	}
	all := func(b *builder, inputs []int32) {
		weights(b, inputs, 1, 8)
		vectors(b, inputs, 12, 15)
	}
	options := func(o schema.UnidirectionalSequenceLSTMOptionsT) *schema.UnidirectionalSequenceLSTMOptionsT {
		o.FusedActivationFunction = schema.ActivationFunctionTypeTANH
		return &o
	}
	const kind, size = schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions, 24
	sequence := []int32{1, 2, 2}
	for name, test := range map[string]struct {
		model *builder
		want  string // its operators
		err   string
	}{
		"LSTM": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, all, sequence...),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC TANH MUL LOGISTIC TANH MUL " +
				"FULLY_CONNECTED ADD SPLIT LOGISTIC LOGISTIC TANH MUL MUL ADD LOGISTIC TANH MUL PACK"},
		"LSTM by time": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{TimeMajor: true}), size, all, 2, 1, 2),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC TANH MUL LOGISTIC TANH MUL " +
				"FULLY_CONNECTED ADD SPLIT LOGISTIC LOGISTIC TANH MUL MUL ADD LOGISTIC TANH MUL PACK"},
		"LSTM without an input gate": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[1], inputs[5], inputs[12] = -1, -1, -1
		}, sequence...),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC SUB TANH MUL LOGISTIC TANH MUL " +
				"FULLY_CONNECTED ADD SPLIT LOGISTIC SUB TANH MUL MUL ADD LOGISTIC TANH MUL PACK"},
		"LSTM with peepholes": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			vectors(b, inputs, 9, 11)
		}, sequence...),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC TANH MUL MUL ADD LOGISTIC TANH MUL " +
				"FULLY_CONNECTED ADD SPLIT MUL ADD LOGISTIC MUL ADD LOGISTIC TANH MUL MUL ADD MUL ADD LOGISTIC TANH MUL PACK"},
		"LSTM that clips and projects": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{CellClip: 3, ProjClip: 2}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			weights(b, inputs, 16, 16)
		}, sequence...),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC TANH MUL MINIMUM MAXIMUM LOGISTIC TANH MUL FULLY_CONNECTED MINIMUM MAXIMUM " +
				"FULLY_CONNECTED ADD SPLIT LOGISTIC LOGISTIC TANH MUL MUL ADD MINIMUM MAXIMUM LOGISTIC TANH MUL FULLY_CONNECTED MINIMUM MAXIMUM PACK"},
		"RNN": {model: recurrent(rnn, schema.BuiltinOptionsSequenceRNNOptions, &schema.SequenceRNNOptionsT{FusedActivationFunction: tflitetest.ReLU}, 4, func(b *builder, inputs []int32) {
			weights(b, inputs, 1, 2)
			vectors(b, inputs, 3, 3)
		}, sequence...), want: "FULLY_CONNECTED UNPACK RELU FULLY_CONNECTED ADD RELU PACK"},
		"layer normalization": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			vectors(b, inputs, 23, 23)
		}, sequence...), err: "layer normalization inside is not supported"},
		"diagonal weights": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{DiagonalRecurrentTensors: true}), size, all, sequence...),
			err: "diagonal recurrent weights are not supported"},
		"no cell gate": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[3] = -1
		}, sequence...), err: "it lacks the weights of a gate"},
		"two gates": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[1], inputs[3] = -1, -1
		}, sequence...), err: "it lacks the weights of a gate"},
		"one recurrent matrix too few": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[7] = -1
		}, sequence...), err: "input 7, of its recurrent_kernel, is no float32 constant like those of the other gates"},
		"the first bias missing": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[12] = -1
		}, sequence...), err: "input 13, of its bias, is there, input 12 is not"},
		"weights of another width": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[4] = b.Const("w", make([]float32, 6), 2, 3)
		}, sequence...), err: "input 4, of its kernel, is no float32 constant like those of the other gates"},
		"a state from outside": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[19] = b.Input("state", 1, 2)
		}, sequence...), err: "is given from outside"},
		"a state that an operator makes": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[19] = b.Unary("made", schema.BuiltinOperatorTANH, b.Input("state", 1, 2))
		}, sequence...), err: "is given from outside"},
		"a state that is a constant": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[18] = b.Const("state", []float32{1, 2}, 1, 2)
		}, sequence...), err: "is given from outside"},
		"states of zeros stored as float16": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			for _, slot := range []int{18, 19} {
				half := b.Raw("half", schema.TensorTypeFLOAT16, make([]byte, 4), 1, 2)
				inputs[slot] = b.Unary("state", schema.BuiltinOperatorDEQUANTIZE, half)
				b.Tensor(inputs[slot]).IsVariable = true
			}
		}, sequence...),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC TANH MUL LOGISTIC TANH MUL " +
				"FULLY_CONNECTED ADD SPLIT LOGISTIC LOGISTIC TANH MUL MUL ADD LOGISTIC TANH MUL PACK"},
		"a state that something else reads": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[18] = state(b)
			b.Output(b.Unary("reader", schema.BuiltinOperatorTANH, inputs[18]))
		}, sequence...), err: "is given from outside"},
		"a state of its own": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[18], inputs[19] = state(b), state(b)
		}, sequence...),
			want: "FULLY_CONNECTED UNPACK " +
				"SPLIT LOGISTIC TANH MUL LOGISTIC TANH MUL " +
				"FULLY_CONNECTED ADD SPLIT LOGISTIC LOGISTIC TANH MUL MUL ADD LOGISTIC TANH MUL PACK"},
		"one step": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, all, 1, 1, 2),
			err: "it computes one step a call and keeps its state from call to call"},
		"more steps than are written out": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, all, 1, 513, 2),
			err: "its 513 steps are more than the 512 that are written out"},
		"a matrix of two dimensions for a sequence": {model: recurrent(lstm, kind, options(schema.UnidirectionalSequenceLSTMOptionsT{}), size, func(b *builder, inputs []int32) {
			all(b, inputs)
			inputs[2] = b.Const("w", []float32{1, 2}, 2)
		}, sequence...), err: "input 2 is missing or has not 2 dimensions"},
	} {
		t.Run(name, func(t *testing.T) {
			m := test.model.Model()
			_, err := ir.Specialize(m, nil)
			if test.err != "" {
				var typed *ir.Error
				if !errors.As(err, &typed) || !strings.Contains(typed.Reason, test.err) {
					t.Errorf("got  %v\nwant %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(test.want), operators(m)); diff != "" {
				t.Error(diff)
			}
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			want := []int{1, 2, 2}
			if strings.HasSuffix(name, "by time") {
				want = []int{2, 1, 2}
			}
			if diff := cmp.Diff(want, g.Tensors[g.Outputs[0]].Shape); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConstantsThatAreStoredShortBecomeFloats(t *testing.T) {
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  []float32
	}{
		"half floats": {func(b *builder) int32 {
			return b.Raw("w", schema.TensorTypeFLOAT16, []byte{0x00, 0x3c, 0x00, 0xc0}, 1, 2)
		}, []float32{1, -2}},
		"codes": {func(b *builder) int32 {
			w := b.Raw("w", schema.TensorTypeINT8, []byte{1, 255}, 1, 2)
			b.Quantize(w, 0, 3, 0.5)
			return w
		}, []float32{-1, -2}},
		"codes with a scale a row": {func(b *builder) int32 {
			w := b.Raw("w", schema.TensorTypeINT8, []byte{1, 2, 3, 4}, 2, 2)
			b.Quantize(w, 0, 0, 0.5, 2)
			return w
		}, []float32{0.5, 1, 6, 8}},
		"codes with a scale a column": {func(b *builder) int32 {
			w := b.Raw("w", schema.TensorTypeINT8, []byte{1, 2, 3, 4}, 2, 2)
			b.Quantize(w, 1, 0, 0.5, 2)
			return w
		}, []float32{0.5, 4, 1.5, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			w := test.build(b)
			y := b.Unary("y", schema.BuiltinOperatorDEQUANTIZE, w)
			b.Output(b.Op("z", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, b.Shape(w), y, b.Input("x", 1, 1)))
			g, err := ir.Parse(b.Model(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, g.Tensors[y].Float32s()); diff != "" || !g.Nodes[0].Folded {
				t.Error(diff, g.Nodes[0].Folded)
			}
		})
	}
}

func TestQuantizedRecurrentLayersStay(t *testing.T) {
	const lstm, kind = schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions
	weights := func(b *builder, inputs []int32) {
		for i := 1; i <= 8; i++ {
			inputs[i] = b.Raw("w", schema.TensorTypeINT8, []byte{1, 2, 3, 4}, 2, 2)
		}
		b.SetType(inputs[0], schema.TensorTypeINT8)
	}
	filled := func(slot int) func(b *builder, inputs []int32) {
		return func(b *builder, inputs []int32) {
			weights(b, inputs)
			inputs[slot] = b.Const("v", []float32{1, 2}, 2)
		}
	}
	for name, c := range map[string]struct {
		fill          func(b *builder, inputs []int32)
		act           tflitetest.Act
		intermediates []int32
		hidden        int
		unsupported   string
	}{
		"plain":                   {fill: weights, hidden: -1},
		"with what leaves a cell": {fill: weights, intermediates: []int32{1, 1, 1, 1, 2}, hidden: 2},
		"with four of five":       {fill: weights, intermediates: []int32{1, 1, 1, 1}, hidden: -1},
		"peepholes":               {fill: filled(11), hidden: -1, unsupported: "peephole connections inside a quantized one are not supported: give the float model"},
		"a projection":            {fill: filled(16), hidden: -1, unsupported: "a projection inside a quantized one are not supported: give the float model"},
		"layer normalization":     {fill: filled(20), hidden: -1, unsupported: "layer normalization inside a quantized one are not supported: give the float model"},
		"another activation":      {fill: weights, act: tflitetest.ReLU, hidden: -1, unsupported: "of quantized ones only those that activate by TANH are supported: give the float model"},
	} {
		act := schema.ActivationFunctionTypeTANH
		if c.act != 0 {
			act = c.act
		}
		m := recurrent(lstm, kind, &schema.UnidirectionalSequenceLSTMOptionsT{FusedActivationFunction: act, CellClip: 3}, 24, c.fill, 1, 3, 2).Model()
		m.Subgraph().Operators[0].Intermediates = c.intermediates
		g, err := ir.Parse(m, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(ir.SequenceLSTM{CellClip: 3, Hidden: c.hidden, Unsupported: c.unsupported}, g.Nodes[0].Attr); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestOpenSizesAreThoseBesidesTheBatch(t *testing.T) {
	for name, c := range map[string]struct {
		signature []int32
		want      bool
	}{
		"none": {nil, false}, "the batch": {[]int32{-1, 2, 3}, false}, "a size": {[]int32{1, 2, -1}, true}, "of another rank": {[]int32{-1, -1}, false},
	} {
		b := tflitetest.New()
		x := b.Input("x", 1, 2, 3)
		b.Output(b.Unary("y", schema.BuiltinOperatorRELU, x))
		m := b.Model()
		m.Subgraph().Tensors[x].ShapeSignature = c.signature
		if got := ir.OpenSizes(m); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestSamplesFitOpenSizesWithAChannelMoreOrLess(t *testing.T) {
	for name, c := range map[string]struct {
		signature []int32
		sample    []int
		want      []int32 // of the input; none: refused
	}{
		"as they are":                 {[]int32{-1, -1, 3}, []int{5, 3}, []int32{1, 5, 3}},
		"without the channel":         {[]int32{-1, -1, 1}, []int{5}, []int32{1, 5, 1}},
		"without channels":            {[]int32{-1, -1, 3}, []int{5}, nil},
		"with a channel":              {[]int32{-1, -1, -1}, []int{5, 4, 1}, []int32{1, 5, 4}},
		"with channels":               {[]int32{-1, -1, -1}, []int{5, 4, 3}, nil},
		"of two dimensions more":      {[]int32{-1, -1, -1}, []int{5, 4, 1, 1}, nil},
		"a channel more than is open": {[]int32{-1, -1, 1}, []int{5, 1, 1}, []int32{1, 5, 1}},
	} {
		b := tflitetest.New()
		x := open(b, b.Input("x", 1, 1, max(c.signature[2], 1)), c.signature...)
		b.Output(b.Unary("y", schema.BuiltinOperatorRELU, x))
		m := b.Model()
		_, err := ir.Specialize(m, [][]int{c.sample})
		if c.want == nil {
			var e *ir.OpenError
			if !errors.As(err, &e) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, m.Subgraph().Tensors[m.Subgraph().Outputs[0]].Shape); diff != "" || err != nil {
			t.Errorf("%s: %s%v", name, diff, err)
		}
	}
}
