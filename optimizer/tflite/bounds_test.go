package tflite_test

import (
	"math"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Every bound of Check at its edge: the last that is allowed, and the first that is not.
func TestCheckHoldsItsBounds(t *testing.T) {
	scales := func(axis int32, scale ...float32) func(m *tflite.Model) {
		return func(m *tflite.Model) { // of the kernel, [4 3 3 2]
			m.Subgraph().Tensors[1].Quantization = &schema.QuantizationParametersT{Scale: scale, QuantizedDimension: axis}
		}
	}
	zero := func(points ...int64) func(m *tflite.Model) {
		return func(m *tflite.Model) {
			m.Subgraph().Tensors[1].Quantization = &schema.QuantizationParametersT{Scale: []float32{1, 1, 1, 1}, ZeroPoint: points}
		}
	}
	shape := func(dims ...int32) func(m *tflite.Model) {
		return func(m *tflite.Model) {
			s := m.Subgraph()
			s.Tensors = append(s.Tensors, &schema.TensorT{Name: "more", Shape: dims})
		}
	}
	for name, tt := range map[string]struct {
		change func(m *tflite.Model)
		want   string // empty: it is allowed
	}{
		"nothing":                                               {func(*tflite.Model) {}, ""},
		"the schema before":                                     {func(m *tflite.Model) { m.Version = 2 }, "schema version is 2"},
		"data in buffer 0":                                      {func(m *tflite.Model) { m.Buffers[0].Data = []byte{1} }, "buffer 0"},
		"an operator code below 0":                              {func(m *tflite.Model) { c := m.OperatorCodes[0]; c.BuiltinCode, c.DeprecatedBuiltinCode = -2, -1 }, "-1 is no operator"},
		"metadata of the last buffer":                           {func(m *tflite.Model) { m.ModelT.Metadata[0].Buffer = uint32(len(m.Buffers) - 1) }, ""},
		"metadata of the one after it":                          {func(m *tflite.Model) { m.ModelT.Metadata[0].Buffer = uint32(len(m.Buffers)) }, "metadata 0"},
		"a signature of the next subgraph":                      {func(m *tflite.Model) { m.SignatureDefs[0].SubgraphIndex = 1 }, "subgraph 1 of 1"},
		"a signature of the next tensor":                        {func(m *tflite.Model) { m.SignatureDefs[0].Inputs[0].TensorIndex = uint32(len(m.Subgraph().Tensors)) }, "is tensor"},
		"an input that is the next tensor":                      {func(m *tflite.Model) { m.Subgraph().Inputs[0] = int32(len(m.Subgraph().Tensors)) }, "input: tensor"},
		"an input below 0":                                      {func(m *tflite.Model) { m.Subgraph().Inputs[0] = -1 }, "tensor -1"},
		"a tensor of the buffer after last":                     {func(m *tflite.Model) { m.Subgraph().Tensors[0].Buffer = uint32(len(m.Buffers)) }, "buffer"},
		"the last type":                                         {func(m *tflite.Model) { shape(1)(m); last(m).Type = schema.TensorTypeFLOAT8_E5M2 }, ""},
		"the type after the last":                               {func(m *tflite.Model) { shape(1)(m); last(m).Type = schema.TensorTypeFLOAT8_E5M2 + 1 }, "is unknown"},
		"a type below 0":                                        {func(m *tflite.Model) { shape(1)(m); last(m).Type = -1 }, "is unknown"},
		"eight dimensions":                                      {shape(1, 1, 1, 1, 1, 1, 1, 1), ""},
		"nine dimensions":                                       {shape(1, 1, 1, 1, 1, 1, 1, 1, 1), "9 dimensions, at most 8"},
		"a signature of the same rank":                          {func(m *tflite.Model) { shape(1, 2)(m); last(m).ShapeSignature = []int32{-1, 2} }, ""},
		"a signature of another rank":                           {func(m *tflite.Model) { shape(1, 2)(m); last(m).ShapeSignature = []int32{-1} }, "differ in rank"},
		"half a byte of four bits":                              {func(m *tflite.Model) { packed(m, 3, 2) }, ""},
		"a byte of four bits too many":                          {func(m *tflite.Model) { packed(m, 3, 3) }, "takes 2 bytes, its buffer has 3"},
		"a scale of 0":                                          {scales(0, 0), ""},
		"a scale that is no number":                             {scales(0, float32(math.NaN())), "scale 0"},
		"an endless scale":                                      {scales(0, 1, float32(math.Inf(1))), "scale 1"},
		"scales of the first dimension":                         {scales(0, 1, 1, 1, 1), ""},
		"scales of the last dimension":                          {scales(3, 1, 1), ""},
		"scales of the dimension after it":                      {scales(4, 1, 1), "quantized dimension 4"},
		"scales of a dimension below 0":                         {scales(-1, 1, 1), "quantized dimension -1"},
		"too many scales":                                       {scales(3, 1, 1, 1), "3 scales for 2 channels"},
		"scales of the first dimension, said to be of the last": {scales(3, 1, 1, 1, 1), "4 scales for 2 channels"},
		"scales of a bias":                                      {func(m *tflite.Model) { bias(m, 4) }, ""},
		"scales that a bias has not":                            {func(m *tflite.Model) { bias(m, 3) }, "quantized dimension 3"},
		"an empty constant that is read": {func(m *tflite.Model) {
			shape(0)(m)
			o := m.Subgraph().Operators[0]
			o.Inputs = append(o.Inputs, int32(len(m.Subgraph().Tensors)-1))
		}, ""},
		"an output that is left out": {func(m *tflite.Model) { o := m.Subgraph().Operators[0]; o.Outputs = append(o.Outputs, -1) }, ""},
		"an output further below 0":  {func(m *tflite.Model) { o := m.Subgraph().Operators[0]; o.Outputs = append(o.Outputs, -2) }, "output is tensor -2"},
		"one behind an output that is left out": {func(m *tflite.Model) {
			o := m.Subgraph().Operators[0]
			o.Outputs = append([]int32{-1, 99}, o.Outputs...)
		}, "output is tensor 99"},
		"a constant behind one that is left out": {func(m *tflite.Model) { o := m.Subgraph().Operators[0]; o.Outputs = append(o.Outputs, -1, o.Inputs[1]) }, "another producer"},
		"an intermediate that is the first":      {func(m *tflite.Model) { m.Subgraph().Operators[0].Intermediates = []int32{0} }, ""},
		"a custom operator that reads the next": {func(m *tflite.Model) {
			m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: schema.BuiltinOperatorCUSTOM, CustomCode: "Mine"})
			o := m.Subgraph().Operators[0]
			o.OpcodeIndex, o.Inputs[0] = uint32(len(m.OperatorCodes)-1), 99
		}, `operator 0 "Mine": input is tensor 99`},
		"one that is built in": {func(m *tflite.Model) { m.Subgraph().Operators[0].Inputs[0] = 99 }, "operator 0 CONV_2D: input is tensor 99"},
		"quantization in blocks, which is not looked at": {func(m *tflite.Model) {
			scales(9, 1, 1, 1)(m)
			m.Subgraph().Tensors[1].Quantization.Details = &schema.QuantizationDetailsT{Type: schema.QuantizationDetailsBlockwiseQuantization}
		}, ""},
		"no details of quantization": {func(m *tflite.Model) {
			scales(9, 1, 1, 1)(m)
			m.Subgraph().Tensors[1].Quantization.Details = &schema.QuantizationDetailsT{}
		}, "quantized dimension 9"},
		"one zero point for all":             {zero(0), ""},
		"as many zero points as scales":      {zero(math.MinInt32, math.MaxInt32, 0, 0), ""},
		"fewer zero points than scales":      {zero(0, 0), "4 scales but 2 zero points"},
		"a zero point below 32 bits":         {zero(math.MinInt32 - 1), "zero point 0"},
		"a zero point above 32 bits":         {zero(math.MaxInt32 + 1), "zero point 0"},
		"an operator of the next code":       {func(m *tflite.Model) { m.Subgraph().Operators[0].OpcodeIndex = uint32(len(m.OperatorCodes)) }, "operator code"},
		"an operator that reads the next":    {func(m *tflite.Model) { m.Subgraph().Operators[0].Inputs[0] = int32(len(m.Subgraph().Tensors)) }, "input is tensor"},
		"an input that is left out":          {func(m *tflite.Model) { o := m.Subgraph().Operators[0]; o.Inputs = append(o.Inputs, -1) }, ""},
		"an input further below 0":           {func(m *tflite.Model) { o := m.Subgraph().Operators[0]; o.Inputs = append(o.Inputs, -2) }, "input is tensor -2"},
		"an operator that writes the next":   {func(m *tflite.Model) { m.Subgraph().Operators[0].Outputs[0] = int32(len(m.Subgraph().Tensors)) }, "output is tensor"},
		"an operator that writes a constant": {func(m *tflite.Model) { o := m.Subgraph().Operators[0]; o.Outputs = append(o.Outputs, o.Inputs[1]) }, "another producer"},
	} {
		t.Run(name, func(t *testing.T) {
			m := small()
			tt.change(m)
			switch err := m.Check(); {
			case tt.want == "" && err != nil:
				t.Errorf("what is allowed is refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error saying %q", err, tt.want)
			}
		})
	}
}

// bias gives the bias of the convolution, [4], so many scales and the kernel's axis.
func bias(m *tflite.Model, scales int) {
	m.Subgraph().Tensors[2].Quantization = &schema.QuantizationParametersT{Scale: make([]float32, scales), QuantizedDimension: 3}
}

func last(m *tflite.Model) *schema.TensorT {
	return m.Subgraph().Tensors[len(m.Subgraph().Tensors)-1]
}

// packed adds a constant of so many elements of four bits in so many bytes.
func packed(m *tflite.Model, elements int32, size int) {
	m.Buffers = append(m.Buffers, &schema.BufferT{Data: make([]byte, size)})
	m.Subgraph().Tensors = append(m.Subgraph().Tensors, &schema.TensorT{
		Name: "packed", Type: schema.TensorTypeINT4, Shape: []int32{elements}, Buffer: uint32(len(m.Buffers) - 1)})
}
