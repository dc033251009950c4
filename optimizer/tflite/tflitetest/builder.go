// Package tflitetest builds small float models in memory, for tests and for the demo's model.
package tflitetest

import (
	"fmt"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Builder assembles a single-subgraph model operator by operator. Methods return the index of the tensor they make; shapes that
// cannot be combined panic, since a test's model is the test's own.
type Builder struct {
	m *tflite.Model
	g *schema.SubGraphT
}

// Act is a fused activation.
type Act = schema.ActivationFunctionType

// The fused activations.
const (
	None  = schema.ActivationFunctionTypeNONE
	ReLU  = schema.ActivationFunctionTypeRELU
	ReLU6 = schema.ActivationFunctionTypeRELU6
)

// New returns an empty model under construction.
func New() *Builder {
	g := &schema.SubGraphT{Name: "main"}
	return &Builder{
		m: &tflite.Model{ModelT: &schema.ModelT{Version: 3, Subgraphs: []*schema.SubGraphT{g}, Buffers: []*schema.BufferT{{}}}},
		g: g,
	}
}

// Model returns the model; it is checked by writing and reading it once.
func (b *Builder) Model() *tflite.Model {
	m, err := tflite.Read(b.File())
	if err != nil {
		panic(err)
	}
	return m
}

// File returns the model's file.
func (b *Builder) File() []byte {
	data, err := b.m.Marshal()
	if err != nil {
		panic(err)
	}
	return data
}

// Input adds a float32 input.
func (b *Builder) Input(name string, shape ...int32) int32 {
	t := b.tensor(name, shape, 0)
	b.g.Inputs = append(b.g.Inputs, t)
	return t
}

// Output marks a tensor as an output.
func (b *Builder) Output(t int32) { b.g.Outputs = append(b.g.Outputs, t) }

// Const adds a float32 constant.
func (b *Builder) Const(name string, values []float32, shape ...int32) int32 {
	return b.tensor(name, shape, b.m.AddBuffer(tflite.Float32Bytes(values)))
}

// Ints adds an int32 constant vector.
func (b *Builder) Ints(name string, values ...int32) int32 {
	t := b.tensor(name, []int32{int32(len(values))}, b.m.AddBuffer(tflite.Int32Bytes(values)))
	b.g.Tensors[t].Type = schema.TensorTypeINT32
	return t
}

func (b *Builder) tensor(name string, shape []int32, buffer uint32) int32 {
	b.g.Tensors = append(b.g.Tensors, &schema.TensorT{Name: name, Shape: shape, Buffer: buffer, HasRank: true})
	return int32(len(b.g.Tensors) - 1)
}

// Shape returns the shape of a tensor.
func (b *Builder) Shape(t int32) []int32 { return b.g.Tensors[t].Shape }

// Op adds any builtin operator with one output of the given shape. Options may be nil.
func (b *Builder) Op(name string, op schema.BuiltinOperator, kind schema.BuiltinOptions, options any, shape []int32, inputs ...int32) int32 {
	return b.Ops(name, op, kind, options, [][]int32{shape}, inputs...)[0]
}

// Ops adds any builtin operator with outputs of the given shapes. Options may be nil.
func (b *Builder) Ops(name string, op schema.BuiltinOperator, kind schema.BuiltinOptions, options any, shapes [][]int32, inputs ...int32) []int32 {
	code := -1
	for i, c := range b.m.OperatorCodes {
		if c.BuiltinCode == op {
			code = i
		}
	}
	if code < 0 {
		code = len(b.m.OperatorCodes)
		b.m.OperatorCodes = append(b.m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: op, Version: 1})
	}
	o := &schema.OperatorT{OpcodeIndex: uint32(code), Inputs: inputs}
	for _, shape := range shapes {
		o.Outputs = append(o.Outputs, b.tensor(name, shape, 0))
	}
	if options != nil {
		o.BuiltinOptions = &schema.BuiltinOptionsT{Type: kind, Value: options}
	}
	b.g.Operators = append(b.g.Operators, o)
	return o.Outputs
}

// Conv adds a CONV_2D: weights [out, kh, kw, in], bias [out] or nil, SAME or VALID padding.
func (b *Builder) Conv(name string, x int32, weights, bias []float32, out, kh, kw, stride int32, padding schema.Padding, act Act) int32 {
	in := b.Shape(x)
	w := b.Const(name+"/kernel", weights, out, kh, kw, in[3])
	h, v := spatial(in[1], kh, stride, padding), spatial(in[2], kw, stride, padding)
	options := &schema.Conv2DOptionsT{Padding: padding, StrideH: stride, StrideW: stride, DilationHFactor: 1, DilationWFactor: 1, FusedActivationFunction: act}
	return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, options,
		[]int32{in[0], h, v, out}, x, w, b.bias(name, bias, out))
}

// Depthwise adds a DEPTHWISE_CONV_2D with multiplier 1: weights [1, kh, kw, channels], bias [channels] or nil.
func (b *Builder) Depthwise(name string, x int32, weights, bias []float32, kh, kw, stride int32, padding schema.Padding, act Act) int32 {
	in := b.Shape(x)
	w := b.Const(name+"/kernel", weights, 1, kh, kw, in[3])
	h, v := spatial(in[1], kh, stride, padding), spatial(in[2], kw, stride, padding)
	options := &schema.DepthwiseConv2DOptionsT{Padding: padding, StrideH: stride, StrideW: stride, DepthMultiplier: 1, DilationHFactor: 1, DilationWFactor: 1, FusedActivationFunction: act}
	return b.Op(name, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, options,
		[]int32{in[0], h, v, in[3]}, x, w, b.bias(name, bias, in[3]))
}

// Dense adds a FULLY_CONNECTED: weights [out, in], bias [out] or nil; the input is [batch, in].
func (b *Builder) Dense(name string, x int32, weights, bias []float32, out int32, act Act) int32 {
	in := b.Shape(x)
	w := b.Const(name+"/kernel", weights, out, in[len(in)-1])
	return b.Op(name, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions,
		&schema.FullyConnectedOptionsT{FusedActivationFunction: act}, []int32{in[0], out}, x, w, b.bias(name, bias, out))
}

func (b *Builder) bias(name string, values []float32, n int32) int32 {
	if values == nil {
		return -1
	}
	return b.Const(name+"/bias", values, n)
}

// Pool adds a MAX_POOL_2D or AVERAGE_POOL_2D of a square window.
func (b *Builder) Pool(name string, op schema.BuiltinOperator, x, window, stride int32, padding schema.Padding) int32 {
	in := b.Shape(x)
	options := &schema.Pool2DOptionsT{Padding: padding, StrideH: stride, StrideW: stride, FilterHeight: window, FilterWidth: window}
	return b.Op(name, op, schema.BuiltinOptionsPool2DOptions, options,
		[]int32{in[0], spatial(in[1], window, stride, padding), spatial(in[2], window, stride, padding), in[3]}, x)
}

// Add adds an element-wise ADD of equal shapes.
func (b *Builder) Add(name string, x, y int32, act Act) int32 {
	return b.Op(name, schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{FusedActivationFunction: act, PotScaleInt16: true}, b.Shape(x), x, y)
}

// Concat adds a CONCATENATION along an axis.
func (b *Builder) Concat(name string, axis int32, inputs ...int32) int32 {
	shape := append([]int32{}, b.Shape(inputs[0])...)
	for _, x := range inputs[1:] {
		shape[axis] += b.Shape(x)[axis]
	}
	return b.Op(name, schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: axis}, shape, inputs...)
}

// Flatten adds a RESHAPE to [batch, −1].
func (b *Builder) Flatten(name string, x int32) int32 {
	n := int32(1)
	for _, d := range b.Shape(x)[1:] {
		n *= d
	}
	shape := b.Ints(name+"/shape", -1, n)
	return b.Op(name, schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{-1, n}}, []int32{b.Shape(x)[0], n}, x, shape)
}

// MeanHW adds a MEAN over height and width (global average pooling).
func (b *Builder) MeanHW(name string, x int32) int32 {
	in := b.Shape(x)
	return b.Op(name, schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{in[0], in[3]}, x, b.Ints(name+"/axes", 1, 2))
}

// Softmax adds a SOFTMAX over the last dimension.
func (b *Builder) Softmax(name string, x int32) int32 {
	return b.Op(name, schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 1}, b.Shape(x), x)
}

// Unary adds an operator without options whose output has the input's shape, such as LOGISTIC, TANH or HARD_SWISH.
func (b *Builder) Unary(name string, op schema.BuiltinOperator, x int32) int32 {
	return b.Op(name, op, schema.BuiltinOptionsNONE, nil, b.Shape(x), x)
}

func spatial(in, window, stride int32, padding schema.Padding) int32 {
	if padding == schema.PaddingSAME {
		return (in + stride - 1) / stride
	}
	if in < window {
		panic(fmt.Sprintf("window %d over %d pixels", window, in))
	}
	return (in - window + stride) / stride
}

// Scalar turns a tensor of one element into a scalar.
func (b *Builder) Scalar(t int32) int32 {
	b.g.Tensors[t].Shape = []int32{}
	return t
}

// SetType changes the type of a tensor.
func (b *Builder) SetType(t int32, kind schema.TensorType) { b.g.Tensors[t].Type = kind }
