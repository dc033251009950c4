package channel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
	"github.com/google/go-cmp/cmp"
)

var seed uint64

func gauss(n int32) []float32 {
	seed++
	random := rand.New(rand.NewPCG(seed, 4))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(0.3 * random.NormFloat64())
	}
	return v
}

// net builds networks on images of [1, 6, 6, 3]: layers are named, and end in a dense layer of 4.
type net struct{ *tflitetest.Builder }

func (b net) conv(name string, x, out int32) int32 {
	in := b.Shape(x)[3]
	return b.Conv(name, x, gauss(out*9*in), gauss(out), out, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
}

// grouped is a convolution of so many groups.
func (b net) grouped(name string, x, out, groups int32) int32 {
	s := b.Shape(x)
	w := b.Const(name+"/kernel", gauss(out*9*s[3]/groups), out, 3, 3, s[3]/groups)
	o := &schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
	return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{s[0], s[1], s[2], out}, x, w, b.Const(name+"/bias", gauss(out), out))
}

// depthwise is a depthwise convolution of a multiplier.
func (b net) depthwise(name string, x, multiplier int32) int32 {
	s := b.Shape(x)
	w := b.Const(name+"/kernel", gauss(9*s[3]*multiplier), 1, 3, 3, s[3]*multiplier)
	o := &schema.DepthwiseConv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DepthMultiplier: multiplier, DilationWFactor: 1, DilationHFactor: 1}
	return b.Op(name, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, o, []int32{s[0], s[1], s[2], s[3] * multiplier}, x, w)
}

func (b net) transposed(name string, x, out int32) int32 {
	s := b.Shape(x)
	shape := []int32{1, 2 * s[1], 2 * s[2], out}
	o := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideW: 2, StrideH: 2}
	w := b.Const(name+"/kernel", gauss(out*4*s[3]), out, 2, 2, s[3])
	return b.Op(name, schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, o, shape, b.Ints(name+"/shape", shape...), w, x, b.Const(name+"/bias", gauss(out), out))
}

func (b net) reshape(name string, x int32, shape ...int32) int32 {
	return b.Op(name, schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: shape}, shape, x, b.Ints(name+"/shape", shape...))
}

// with adds an operator that combines two tensors of one shape, or repeats the second.
func (b net) with(name string, op schema.BuiltinOperator, x, y int32) int32 {
	return b.Op(name, op, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, y)
}

func (b net) transpose(name string, x int32, order ...int32) int32 {
	var shape []int32
	for _, axis := range order {
		shape = append(shape, b.Shape(x)[axis])
	}
	return b.Op(name, schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, shape, x, b.Ints(name+"/order", order...))
}

// halves are constants that a file has as float16: a DEQUANTIZE gives them.
func (b net) halves(name string, shape ...int32) int32 {
	n := int32(1)
	for _, d := range shape {
		n *= d
	}
	x := b.Const(name+"/half", make([]float32, n/2), shape...)
	b.SetType(x, schema.TensorTypeFLOAT16)
	return b.Unary(name, schema.BuiltinOperatorDEQUANTIZE, x)
}

// slice is a STRIDED_SLICE in steps of 1.
func (b net) slice(name string, x int32, o *schema.StridedSliceOptionsT, begin, end, shape []int32) int32 {
	steps := b.Ints(name+"/steps", slices.Repeat([]int32{1}, len(begin))...)
	return b.Op(name, schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, o, shape, x, b.Ints(name+"/begin", begin...), b.Ints(name+"/end", end...), steps)
}

// networks by name; each is what lies between the input and the last layer.
var networks = map[string]struct {
	build  func(b net, x int32) int32
	groups []string // of the weights, with how many units
	stays  []string
}{
	"one after the other, and a flatten": {
		func(b net, x int32) int32 { return b.conv("b", b.conv("a", x, 8), 6) }, []string{"8 a", "6 b"}, nil,
	},
	"pools, activations and padding": {
		func(b net, x int32) int32 {
			x = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, b.conv("a", x, 8), 2, 2, schema.PaddingSAME)
			x = b.Unary("tanh", schema.BuiltinOperatorTANH, x)
			pads := b.Ints("pads", 0, 0, 1, 1, 1, 1, 0, 0)
			return b.conv("b", b.Op("pad", schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, []int32{1, 5, 5, 8}, x, pads), 4)
		}, []string{"8 a", "4 b"}, nil,
	},
	"batch normalization by constants": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			x = b.Op("scale", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), x, b.Const("scale/by", gauss(8), 8))
			return b.Op("shift", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), b.Const("shift/by", gauss(8), 1, 1, 1, 8), x)
		}, []string{"8 a"}, nil,
	},
	"a residual": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Add("sum", x, b.conv("c", b.conv("b", x, 6), 8), tflitetest.ReLU)
		}, []string{"8 a+c", "6 b"}, nil,
	},
	"a residual that pads its channels": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 4)
			wide := b.Op("pad", schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, []int32{1, 6, 6, 8}, x, b.Ints("pads", 0, 0, 0, 0, 0, 0, 2, 2))
			return b.Add("sum", wide, b.conv("b", x, 8), tflitetest.ReLU)
		}, []string{"4 a+b", "4 b"}, nil,
	},
	"a concatenation": {
		func(b net, x int32) int32 {
			return b.conv("c", b.Concat("both", 3, b.conv("a", x, 8), b.conv("b", x, 6)), 4)
		}, []string{"8 a", "6 b", "4 c"}, nil,
	},
	"a concatenation with the input": {
		func(b net, x int32) int32 { return b.conv("c", b.Concat("both", 3, x, b.conv("b", x, 6)), 4) }, []string{"6 b", "4 c"}, nil,
	},
	"a depthwise convolution": {
		func(b net, x int32) int32 { return b.conv("b", b.depthwise("d", b.conv("a", x, 8), 1), 4) }, []string{"8 a+d", "4 b"}, nil,
	},
	"a depthwise convolution with a multiplier": {
		func(b net, x int32) int32 { return b.conv("b", b.depthwise("d", b.conv("a", x, 8), 2), 4) }, []string{"8 a+d", "4 b"}, nil,
	},
	"a depthwise convolution of the input": {
		func(b net, x int32) int32 { return b.conv("b", b.depthwise("d", x, 2), 4) }, []string{"4 b"},
		[]string{`d: DEPTHWISE_CONV_2D "d" reads each channel, which stay, of "x"`},
	},
	"a depthwise convolution of one channel": {
		func(b net, x int32) int32 { return b.conv("b", b.depthwise("d", b.conv("a", x, 1), 8), 4) }, []string{"8 d", "4 b"},
		[]string{`a: DEPTHWISE_CONV_2D "d" reads the only channel of "a"`},
	},
	"a grouped convolution": {
		func(b net, x int32) int32 { return b.conv("b", b.grouped("g", b.conv("a", x, 8), 6, 2), 4) }, []string{"4 a", "3 g", "4 b"}, nil,
	},
	"a grouped convolution of single channels": {
		func(b net, x int32) int32 { return b.conv("b", b.grouped("g", b.conv("a", x, 8), 16, 8), 4) }, []string{"8 a+g", "4 b"}, nil,
	},
	"channels shuffled between groups": {
		func(b net, x int32) int32 {
			x = b.reshape("apart", b.conv("a", x, 8), 1, 6, 6, 2, 4)
			x = b.Op("turn", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 6, 6, 4, 2}, x, b.Ints("turn/order", 0, 1, 2, 4, 3))
			return b.grouped("g", b.reshape("together", x, 1, 6, 6, 8), 4, 2)
		}, []string{"2 a", "2 g"}, nil,
	},
	"a transposed convolution": {
		func(b net, x int32) int32 { return b.conv("b", b.transposed("t", b.conv("a", x, 8), 6), 4) }, []string{"8 a", "6 t", "4 b"}, nil,
	},
	"a gate of every channel": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			s := b.MeanHW("mean", x)
			s = b.Dense("up", b.Dense("down", s, gauss(3*8), gauss(3), 3, tflitetest.ReLU), gauss(8*3), gauss(8), 8, tflitetest.None)
			s = b.reshape("gate", b.Unary("sigmoid", schema.BuiltinOperatorLOGISTIC, s), 1, 1, 1, 8)
			return b.Op("gated", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), x, s)
		}, []string{"8 a+up", "3 down"}, nil,
	},
	"parts of a split": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			parts := b.Ops("split", schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: 2}, [][]int32{{1, 6, 6, 4}, {1, 6, 6, 4}}, b.Scalar(b.Ints("axis", 3)), x)
			return b.Concat("both", 3, b.conv("b", parts[0], 4), b.conv("c", parts[1], 4))
		}, []string{"4 a", "4 b", "4 c"}, nil,
	},
	"a slice": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.conv("b", b.Op("slice", schema.BuiltinOperatorSLICE, schema.BuiltinOptionsSliceOptions, &schema.SliceOptionsT{}, []int32{1, 6, 6, 3}, x, b.Ints("begin", 0, 0, 0, 2), b.Ints("size", -1, -1, -1, 3)), 4)
		}, []string{"8 a", "4 b"}, nil,
	},
	"blocks of space to depth and back": {
		func(b net, x int32) int32 {
			x = b.Op("deep", schema.BuiltinOperatorSPACE_TO_DEPTH, schema.BuiltinOptionsSpaceToDepthOptions, &schema.SpaceToDepthOptionsT{BlockSize: 2}, []int32{1, 3, 3, 32}, b.conv("a", x, 8))
			x = b.conv("b", x, 16)
			return b.Op("wide", schema.BuiltinOperatorDEPTH_TO_SPACE, schema.BuiltinOptionsDepthToSpaceOptions, &schema.DepthToSpaceOptionsT{BlockSize: 2}, []int32{1, 6, 6, 4}, x)
		}, []string{"8 a", "4 b"}, nil,
	},
	"a sum with the input": {
		func(b net, x int32) int32 { return b.conv("b", b.Add("sum", x, b.conv("a", x, 3), tflitetest.None), 4) }, []string{"4 b"},
		[]string{`a: ADD "sum" reads the channels, which stay, of "x"`},
	},
	"a mean over channels": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Op("mean", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, []int32{1, 6, 6, 1}, x, b.Ints("axes", 3))
		}, nil, []string{`a: MEAN "mean" reads the channels together of "a"`},
	},
	"stacked, and taken apart": {
		func(b net, x int32) int32 {
			x = b.Op("stack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: 2, Axis: 1}, []int32{1, 2, 6, 6, 8}, b.conv("a", x, 8), b.conv("b", x, 8))
			parts := b.Ops("parts", schema.BuiltinOperatorUNPACK, schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Num: 2, Axis: 1}, [][]int32{{1, 6, 6, 8}, {1, 6, 6, 8}}, x)
			return b.Concat("both", 3, b.conv("c", parts[0], 4), b.conv("d", parts[1], 6))
		}, []string{"8 a+b", "4 c", "6 d"}, nil,
	},
	"stacked behind the channels": {
		func(b net, x int32) int32 {
			return b.Op("stack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: 2, Axis: 4}, []int32{1, 6, 6, 8, 2}, b.conv("a", x, 8), b.conv("b", x, 8))
		}, []string{"8 a+b"}, nil,
	},
	"stacked on the input": {
		func(b net, x int32) int32 {
			return b.Op("stack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: 2, Axis: 1}, []int32{1, 2, 6, 6, 3}, b.conv("a", x, 3), x)
		}, nil, []string{`a: PACK "stack" reads the channels of "a"`},
	},
	"taken apart into channels": {
		func(b net, x int32) int32 {
			parts := b.Ops("parts", schema.BuiltinOperatorUNPACK, schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Num: 2, Axis: 3}, [][]int32{{1, 6, 6}, {1, 6, 6}}, b.conv("a", x, 2))
			return b.Concat("rows", 1, parts...)
		}, nil, []string{`a: UNPACK "parts" reads the channels together of "a"`},
	},
	"concatenated by rows": {
		func(b net, x int32) int32 {
			return b.conv("c", b.Concat("rows", 1, b.conv("a", x, 8), b.conv("b", x, 8)), 4)
		}, []string{"8 a+b", "4 c"}, nil,
	},
	"concatenated by rows with the input": {
		func(b net, x int32) int32 { return b.Concat("rows", 1, b.conv("a", x, 3), x) }, nil,
		[]string{`a: CONCATENATION "rows" reads the channels, which stay, of "x"`},
	},
	"mirrored rows": {
		func(b net, x int32) int32 {
			pads := b.Ints("pads", 0, 0, 1, 1, 0, 1, 0, 0)
			return b.Op("mirror", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeREFLECT}, []int32{1, 8, 7, 8}, b.conv("a", x, 8), pads)
		}, []string{"8 a"}, nil,
	},
	"mirrored channels": {
		func(b net, x int32) int32 {
			pads := b.Ints("pads", 0, 0, 0, 0, 0, 0, 1, 1)
			return b.Op("mirror", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeREFLECT}, []int32{1, 6, 6, 10}, b.conv("a", x, 8), pads)
		}, nil, []string{`a: MIRROR_PAD "mirror" reads the channels together of "a"`},
	},
	"sums along rows": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Op("sums", schema.BuiltinOperatorCUMSUM, schema.BuiltinOptionsCumsumOptions, &schema.CumsumOptionsT{}, b.Shape(x), x, b.Scalar(b.Ints("axis", 1)))
		}, []string{"8 a"}, nil,
	},
	"sums along channels": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Op("sums", schema.BuiltinOperatorCUMSUM, schema.BuiltinOptionsCumsumOptions, &schema.CumsumOptionsT{}, b.Shape(x), x, b.Scalar(b.Ints("axis", 3)))
		}, nil, []string{`a: CUMSUM "sums" reads the channels together of "a"`},
	},
	"a mean that leaves rows out": {
		func(b net, x int32) int32 {
			return b.Op("mean", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1, 6, 8}, b.conv("a", x, 8), b.Ints("axes", 1))
		}, []string{"8 a"}, nil,
	},
	"parts of different sizes": {
		func(b net, x int32) int32 {
			parts := b.Ops("split", schema.BuiltinOperatorSPLIT_V, schema.BuiltinOptionsSplitVOptions, &schema.SplitVOptionsT{NumSplits: 2}, [][]int32{{1, 6, 6, 3}, {1, 6, 6, 5}},
				b.conv("a", x, 8), b.Ints("sizes", 3, 5), b.Scalar(b.Ints("axis", 3)))
			return b.Concat("both", 3, b.conv("b", parts[0], 4), b.conv("c", parts[1], 6))
		}, []string{"8 a", "4 b", "6 c"}, nil,
	},
	"a slice that leaves rows out": {
		func(b net, x int32) int32 {
			return b.Op("slice", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{ShrinkAxisMask: 2}, []int32{1, 6, 3}, b.conv("a", x, 8),
				b.Ints("begin", 0, 2, 0, 4), b.Ints("end", 1, 3, 6, 7), b.Ints("strides", 1, 1, 1, 1))
		}, []string{"8 a"}, nil,
	},
	"a slice of every other channel": {
		func(b net, x int32) int32 {
			return b.Op("slice", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{}, []int32{1, 6, 6, 4}, b.conv("a", x, 8),
				b.Ints("begin", 0, 0, 0, 0), b.Ints("end", 1, 6, 6, 8), b.Ints("strides", 1, 1, 1, 2))
		}, nil, []string{`a: STRIDED_SLICE "slice" reads the channels together of "a"`},
	},
	"a mask for all channels": {
		func(b net, x int32) int32 {
			y := b.conv("a", x, 8)
			return b.Op("masked", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(y), y, b.conv("m", x, 1))
		}, []string{"8 a"}, []string{`m: MUL "masked" reads the only channel of "m"`},
	},
	"a softmax over channels": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Op("soft", schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 1}, b.Shape(x), x)
		}, nil, []string{`a: SOFTMAX "soft" reads the channels together of "a"`},
	},
	"repeated rows": {
		func(b net, x int32) int32 {
			return b.Op("tile", schema.BuiltinOperatorTILE, schema.BuiltinOptionsTileOptions, &schema.TileOptionsT{}, []int32{1, 12, 6, 8}, b.conv("a", x, 8), b.Ints("times", 1, 2, 1, 1))
		}, []string{"8 a"}, nil,
	},
	"repeated channels": {
		func(b net, x int32) int32 {
			return b.Op("tile", schema.BuiltinOperatorTILE, schema.BuiltinOptionsTileOptions, &schema.TileOptionsT{}, []int32{1, 6, 6, 16}, b.conv("a", x, 8), b.Ints("times", 1, 1, 1, 2))
		}, nil, []string{`a: TILE "tile" reads the channels together of "a"`},
	},
	"a row for every place": {
		func(b net, x int32) int32 {
			wide := b.Op("wide", schema.BuiltinOperatorBROADCAST_TO, schema.BuiltinOptionsNONE, nil, []int32{1, 6, 6, 8}, b.reshape("row", b.MeanHW("mean", b.conv("a", x, 8)), 1, 1, 1, 8), b.Ints("wide/shape", 1, 6, 6, 8))
			return b.conv("b", wide, 4)
		}, []string{"8 a", "4 b"}, nil,
	},
	"a shape that two layers read": {
		func(b net, x int32) int32 {
			shape, o := b.Ints("shape", 1, 36, 8), &schema.ReshapeOptionsT{NewShape: []int32{1, 36, 8}}
			cut := b.Op("cut", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, o, []int32{1, 36, 8}, b.conv("a", x, 8), shape)
			whole := b.Op("whole", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, o, []int32{1, 36, 8}, b.conv("b", x, 8), shape)
			return b.Concat("both", 1, b.Unary("tanh", schema.BuiltinOperatorTANH, b.reshape("flat cut", cut, 1, 288)), b.Op("soft", schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 1}, []int32{1, 288},
				b.reshape("flat whole", whole, 1, 288)))
		}, []string{"8 a"}, []string{`b: SOFTMAX "soft" reads the channels together of "flat whole"`},
	},
	"one channel, flattened beside others": {
		func(b net, x int32) int32 {
			return b.Concat("both", 1, b.Flatten("flat a", b.conv("a", x, 1)), b.Flatten("flat b", b.conv("b", x, 8)))
		}, []string{"8 b"}, []string{"a: all of its channels hang together"},
	},
	"one channel, place by place beside others": {
		func(b net, x int32) int32 {
			return b.Concat("both", 2, b.reshape("places a", b.conv("a", x, 1), 1, 36, 1), b.reshape("places b", b.conv("b", x, 8), 1, 36, 8))
		}, []string{"8 b"}, []string{"a: all of its channels hang together"},
	},
	"one channel, as a number": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			number := b.Op("number", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{}, nil, b.MeanHW("mean", b.conv("m", x, 1)), b.Ints("none"))
			return b.with("scaled", schema.BuiltinOperatorMUL, x, number)
		}, []string{"8 a"}, []string{"m: all of its channels hang together"},
	},
	"channels in front of flattened planes": {
		func(b net, x int32) int32 {
			return b.reshape("planes", b.transpose("front", b.conv("a", x, 8), 0, 3, 1, 2), 1, 8, 36)
		}, []string{"8 a"}, nil,
	},
	"channels in front of all": {
		func(b net, x int32) int32 {
			x = b.transpose("front", b.conv("a", x, 8), 3, 1, 2, 0)
			x = b.with("twice", schema.BuiltinOperatorADD, x, b.Unary("tanh", schema.BuiltinOperatorTANH, x))
			return b.transpose("back", x, 3, 1, 2, 0)
		}, []string{"8 a"}, nil,
	},
	"channels in two rows": {
		func(b net, x int32) int32 { return b.reshape("rows", b.conv("a", x, 8), 1, 6, 6, 2, 4) }, []string{"4 a"}, nil,
	},
	"a target of the shape of another": {
		func(b net, x int32) int32 {
			shape := b.Op("shape", schema.BuiltinOperatorSHAPE, schema.BuiltinOptionsNONE, nil, []int32{4}, x)
			b.SetType(shape, schema.TensorTypeINT32)
			return b.Op("like x", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsNONE, nil, b.Shape(x), b.conv("a", x, 3), shape)
		}, nil, []string{`a: RESHAPE "like x" reads a shape that is computed for of "a"`},
	},
	"a target that only the options have": {
		func(b net, x int32) int32 {
			return b.Op("lines", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 36, 8}}, []int32{1, 36, 8}, b.conv("a", x, 8))
		}, []string{"8 a"}, nil,
	},
	"options of a target that say less than it": {
		func(b net, x int32) int32 {
			shape := b.Ints("shape", 1, 36, 8)
			return b.Op("lines", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, -1}}, []int32{1, 36, 8}, b.conv("a", x, 8), shape)
		}, []string{"8 a"}, nil,
	},
	"weights of half the bits": {
		func(b net, x int32) int32 {
			w, o := b.halves("w", 8, 1, 1, 8), &schema.Conv2DOptionsT{StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
			x = b.conv("a", x, 8)
			return b.Op("b", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w)
		}, nil, []string{`a: CONV_2D "b" reads the channels of "a"`},
	},
	"weights of int8 beside floats": {
		func(b net, x int32) int32 {
			w, o := b.Const("b/kernel", gauss(16), 8, 1, 1, 8), &schema.Conv2DOptionsT{StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
			b.SetType(w, schema.TensorTypeINT8)
			x = b.conv("a", x, 8)
			return b.Op("b", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w)
		}, nil, []string{`a: CONV_2D "b" reads the channels of "a"`},
	},
	"a factor of half the bits": {
		func(b net, x int32) int32 {
			by := b.halves("by", 1, 1, 1, 8)
			return b.with("scaled", schema.BuiltinOperatorMUL, b.conv("a", x, 8), by)
		}, nil, []string{`a: MUL "scaled" reads "by", which is computed`},
	},
	"a grouped convolution of what stays": {
		func(b net, x int32) int32 { return b.conv("b", b.grouped("g", b.Concat("twice", 3, x, x), 4, 2), 4) }, []string{"2 g", "4 b"}, nil,
	},
	"stacked before the channels": {
		func(b net, x int32) int32 {
			return b.Op("stack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: 2, Axis: 3}, []int32{1, 6, 6, 2, 8}, b.conv("a", x, 8), b.conv("b", x, 8))
		}, []string{"8 a+b"}, nil,
	},
	"a mean that leaves out what lies before the channels": {
		func(b net, x int32) int32 {
			return b.conv("b", b.reshape("pixel", b.MeanHW("mean", b.conv("a", x, 8)), 1, 1, 1, 8), 4)
		}, []string{"8 a", "4 b"}, nil,
	},
	"a slice of rows alone": {
		func(b net, x int32) int32 {
			return b.slice("slice", b.conv("a", x, 8), &schema.StridedSliceOptionsT{}, []int32{0, 2, 0}, []int32{1, 4, 6}, []int32{1, 2, 6, 8})
		}, []string{"8 a"}, nil,
	},
	"a slice behind an ellipsis": {
		func(b net, x int32) int32 {
			return b.slice("slice", b.conv("a", x, 8), &schema.StridedSliceOptionsT{EllipsisMask: 1}, []int32{0, 4}, []int32{0, 7}, []int32{1, 6, 6, 3})
		}, nil, []string{`a: STRIDED_SLICE "slice" reads the channels together of "a"`},
	},
	"a slice with an axis of its own": {
		func(b net, x int32) int32 {
			return b.slice("slice", b.conv("a", x, 8), &schema.StridedSliceOptionsT{NewAxisMask: 1}, []int32{0, 0, 0, 0, 4}, []int32{0, 1, 6, 6, 7}, []int32{1, 1, 6, 6, 3})
		}, nil, []string{`a: STRIDED_SLICE "slice" reads the channels together of "a"`},
	},
	"weights that are an operand too": {
		func(b net, x int32) int32 {
			w := b.Const("w/kernel", gauss(8*8), 8, 8)
			y := b.MeanHW("mean", b.conv("a", x, 8))
			y = b.Op("w", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 8}, y, w)
			return b.Op("sum", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{8, 8}, y, w)
		}, nil, []string{`a: ADD "sum" reads all of "w/kernel"`, `w: ADD "sum" reads all of "w/kernel"`},
	},
	"weights that two layers share": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			w, o := b.Const("s/kernel", gauss(64), 8, 1, 1, 8), &schema.Conv2DOptionsT{StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
			x = b.Op("once", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w)
			return b.Op("twice", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w)
		}, []string{"8 a+s"}, nil,
	},
}

func build(name string) *tflite.Model { return whole(networks[name].build) }

// whole is a network of an input, what is built on it, and a dense layer.
func whole(built func(b net, x int32) int32) *tflite.Model {
	seed = 0
	b := net{tflitetest.New()}
	x := built(b, b.Input("x", 1, 6, 6, 3))
	flat := b.Flatten("flat", x)
	b.Output(b.Dense("last", flat, gauss(4*b.Shape(flat)[1]), gauss(4), 4, tflitetest.None))
	return b.Model()
}

func short(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, strings.TrimSuffix(strings.TrimSuffix(name, "/kernel"), "/weights"))
	}
	return strings.Join(list, "+")
}

// describe gives the groups, with how many units they have, and what stays but for the last layer.
func describe(s *Structure) (groups, stays []string) {
	for _, g := range s.Groups {
		groups = append(groups, fmt.Sprint(len(g.Units), " ", short(g.Names)))
	}
	for _, stay := range s.Stays {
		if name := short([]string{stay.Name}); name != "last" {
			stays = append(stays, name+": "+stay.Why)
		}
	}
	return groups, stays
}

func TestCouple(t *testing.T) {
	for name, want := range networks {
		t.Run(name, func(t *testing.T) {
			s, err := Couple(build(name))
			if err != nil {
				t.Fatal(err)
			}
			groups, stays := describe(s)
			if d := cmp.Diff(want.groups, groups); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(want.stays, stays); d != "" {
				t.Error(d)
			}
			if !slices.Contains(s.Stays, Stay{"last/kernel", `they are the network's output "last"`}) {
				t.Errorf("the last layer is not said to stay: %v", s.Stays)
			}
		})
	}
}

// Where a file has its tensors changes nothing.
func TestCoupleWhateverTheOrderOfTensors(t *testing.T) {
	for name, want := range networks {
		t.Run(name, func(t *testing.T) {
			for first := range build(name).Subgraph().Tensors {
				m := build(name)
				tflitetest.Rotate(m, first)
				s, err := Couple(m)
				if err != nil {
					t.Fatal(err)
				}
				groups, stays := describe(s)
				if d := cmp.Diff(want.groups, groups) + cmp.Diff(want.stays, stays); d != "" {
					t.Errorf("with tensor %d first:\n%s", first, d)
				}
			}
		})
	}
}

// A network without channels computes what the whole one does where its layers multiply these by zero, with fewer values.
func TestApply(t *testing.T) {
	for name, network := range networks {
		if network.groups == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := build(name)
			s, err := Couple(m)
			if err != nil {
				t.Fatal(err)
			}
			targets, _, err := s.NewPlan(Options{Share: 0.5})
			if err != nil {
				t.Fatal(err)
			}
			importance, random := map[int]float64{}, rand.New(rand.NewPCG(3, 3))
			for _, g := range s.Groups {
				for _, unit := range g.Units {
					importance[unit] = random.Float64()
				}
			}
			removed, asked := s.Choose(targets, importance), 0
			for _, target := range targets {
				asked += target.Cut
			}
			if len(removed) != asked {
				t.Errorf("%d units go instead of %d", len(removed), asked)
			}
			cuts := s.Of(removed)
			for at, list := range cuts {
				for i, c := range list {
					if len(c.Kept) == 0 || len(c.Kept) == c.Of || i > 0 && list[i-1].Axis >= c.Axis {
						t.Errorf("tensor %d: cuts %v", at, list)
					}
				}
			}
			left, err := s.Apply(m, cuts)
			if err != nil {
				t.Fatal(err)
			}
			options(t, left)
			more := 0
			if name == "a shape that two layers read" {
				more = 1
			}
			if got, want := len(left.Subgraph().Tensors), len(m.Subgraph().Tensors)+more; got != want {
				t.Errorf("%d tensors, want %d", got, want)
			}
			content, err := left.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if left, err = tflite.Read(content); err != nil {
				t.Fatal(err)
			}
			zeros := m.Clone()
			for _, k := range weight.Kernels(m) {
				values, err := m.Float32s(m.Subgraph().Tensors[k.Tensor])
				if err != nil {
					t.Fatal(err)
				}
				kept := Values(values, k.Shape, cuts[k.Tensor])
				got, err := left.Float32s(left.Subgraph().Tensors[k.Tensor])
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, kept) {
					t.Errorf("weights %q are not those of the channels that are left", k.Name)
				}
				for _, c := range cuts[k.Tensor] {
					inner := 1
					for _, d := range k.Shape[c.Axis+1:] {
						inner *= d
					}
					for i := range values {
						if !slices.Contains(c.Kept, i/inner%c.Of) && c.Axis != k.Axis {
							values[i] = 0
						}
					}
				}
				zeros.SetData(zeros.Subgraph().Tensors[k.Tensor], tflite.Float32Bytes(values))
			}
			want, got := run(t, zeros), run(t, left)
			for i := range want {
				if math.Abs(float64(want[i]-got[i])) > 1e-4 {
					t.Errorf("output %d is %v, want %v", i, got[i], want[i])
				}
			}
		})
	}
}

// options checks that what options say again of shapes is so, and that what is computed has no data.
func options(t *testing.T, m *tflite.Model) {
	t.Helper()
	g := m.Subgraph()
	for _, o := range g.Operators {
		x, y := g.Tensors[o.Inputs[0]], g.Tensors[o.Outputs[0]]
		if y.Buffer != 0 {
			t.Errorf("%q has a buffer", y.Name)
		}
		if o.BuiltinOptions == nil {
			continue
		}
		switch o := o.BuiltinOptions.Value.(type) {
		case *schema.DepthwiseConv2DOptionsT:
			if x.Shape[3]*o.DepthMultiplier != y.Shape[3] {
				t.Errorf("%q: multiplier %d makes %d channels of %d", y.Name, o.DepthMultiplier, y.Shape[3], x.Shape[3])
			}
		case *schema.ReshapeOptionsT:
			for axis, d := range o.NewShape {
				if d != open && d != y.Shape[axis] {
					t.Errorf("%q: the options have a shape of %v, it has %v", y.Name, o.NewShape, y.Shape)
				}
			}
		}
	}
}

// Sizes that a model leaves open stay open.
func TestApplyKeepsOpenSizes(t *testing.T) {
	m := build("one after the other, and a flatten")
	g := m.Subgraph()
	for _, x := range g.Tensors {
		if x.Buffer == 0 {
			x.ShapeSignature = append([]int32{open}, x.Shape[1:]...)
		}
	}
	flat := g.Tensors[slices.IndexFunc(g.Tensors, func(x *schema.TensorT) bool { return x.Name == "flat" })]
	flat.ShapeSignature[1] = open
	s, err := Couple(m)
	if err != nil {
		t.Fatal(err)
	}
	targets, _, err := s.NewPlan(Options{Share: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.Apply(m, s.Of(s.Choose(targets, nil)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int32{}
	for _, x := range left.Subgraph().Tensors {
		if x.Buffer == 0 {
			got[x.Name] = x.ShapeSignature
		}
	}
	want := map[string][]int32{"x": {-1, 6, 6, 3}, "a": {-1, 6, 6, 4}, "b": {-1, 6, 6, 3}, "flat": {-1, -1}, "last": {-1, 4}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if flat.Shape[1] != 6*6*6 {
		t.Errorf("the model that was given has changed: %v", flat.Shape)
	}
}

func TestUnits(t *testing.T) {
	m := build("a residual")
	s, err := Couple(m)
	if err != nil {
		t.Fatal(err)
	}
	first, second := s.Groups[0].Units, s.Groups[1].Units
	want := map[string]map[int][]int{"x": {}, "a": {3: first}, "sum": {3: first}, "b/bias": {0: second}, "b/kernel": {0: second, 3: first}, "c/kernel": {0: first, 3: second}}
	for at, x := range m.Subgraph().Tensors {
		if units, ok := want[x.Name]; ok {
			if d := cmp.Diff(units, s.Units(at)); d != "" {
				t.Errorf("%s: %s", x.Name, d)
			}
		}
	}
}

func run(t *testing.T, m *tflite.Model) []float32 {
	t.Helper()
	n, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := n.NewExec(false)
	random := rand.New(rand.NewPCG(1, 1))
	x := e.Input(0)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	e.Forward()
	return slices.Clone(e.Output(0))
}

// Of a part of the channels something is left, whatever matters least.
func TestChooseLeavesSomethingOfEveryPart(t *testing.T) {
	s, err := Couple(build("a slice"))
	if err != nil {
		t.Fatal(err)
	}
	targets, _, err := s.NewPlan(Options{Share: 0.75})
	if err != nil {
		t.Fatal(err)
	}
	importance := map[int]float64{}
	for i, unit := range targets[0].Units {
		importance[unit] = math.Abs(float64(i) - 3) // the slice is of 2, 3 and 4
	}
	removed := s.Choose(targets[:1], importance)
	var left []int
	for i, unit := range targets[0].Units {
		if !removed[unit] {
			left = append(left, i)
		}
	}
	if d := cmp.Diff([]int{0, 2}, left); d != "" && !slices.Contains(left, 4) {
		t.Error(d)
	}
}

func TestPlanByRules(t *testing.T) {
	s, err := Couple(build("a residual"))
	if err != nil {
		t.Fatal(err)
	}
	quarter, whole := 0.25, 1.0
	for name, test := range map[string]struct {
		options Options
		cut     string // units by group
		fails   string
	}{
		"a share of every layer":              {Options{Share: 0.5}, "a+c 4, b 3", ""},
		"a rule for one":                      {Options{Share: 0.5, Rules: []Rule{{Layers: "a*", Share: &quarter}}}, "a+c 2, b 3", ""},
		"a rule for what hangs together":      {Options{Share: 0.5, Rules: []Rule{{Layers: "c*", Skip: true}}}, "b 3", ""},
		"the first rule counts":               {Options{Share: 0.5, Rules: []Rule{{Layers: "b*", Share: &quarter}, {Layers: "*", Skip: true}}}, "b 2", ""},
		"one of every layer stays":            {Options{Share: 0.999}, "a+c 7, b 5", ""},
		"a rule for the last layer":           {Options{Share: 0.5, Rules: []Rule{{Layers: "last*", Skip: true}}}, "a+c 4, b 3", ""},
		"a rule that names nothing":           {Options{Share: 0.5, Rules: []Rule{{Layers: "nothing", Skip: true}}}, "", `rule "nothing" matches no weights`},
		"a share that is none":                {Options{Share: 1}, "", "outside [0, 1)"},
		"a rule of none for one":              {Options{Share: 0.5, Rules: []Rule{{Layers: "a*", Share: new(float64)}}}, "b 3", ""},
		"a rule that is none":                 {Options{Share: 0.5, Rules: []Rule{{Layers: "a*", Share: &whole}}}, "", `rule "a*": channels 1 is outside [0, 1)`},
		"nothing is taken out of small parts": {Options{Share: 0.01}, "", ""},
		"nothing is asked for":                {Options{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			targets, notes, err := s.NewPlan(test.options)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got error %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, target := range targets {
				got = append(got, fmt.Sprint(short(target.Names), " ", target.Cut))
			}
			if d := cmp.Diff(test.cut, strings.Join(got, ", ")); d != "" {
				t.Error(d)
			}
			if len(notes) == 0 || !strings.Contains(notes[len(notes)-1], `stay: they are the network's output "last"`) {
				t.Errorf("notes %q do not name the last layer", notes)
			}
			if said := strings.Contains(strings.Join(notes, "\n"), `"a/kernel", "c/kernel": all 8 stay, since a share of`); said != (test.options.Share == 0.01) {
				t.Errorf("notes %q of what a share is too small for", notes)
			}
		})
	}
}

// Wide layers keep whole lanes of channels.
func TestWideLayersKeepMultiples(t *testing.T) {
	one := func(width int32) func(b net, x int32) int32 {
		return func(b net, x int32) int32 { return b.conv("a", x, width) }
	}
	for name, test := range map[string]struct {
		build func(b net, x int32) int32
		share float64
		kept  string // units by group
		stay  string // why none goes
	}{
		"the nearest below":             {one(32), 0.4, "a 16 of 32", ""},
		"the nearest above":             {one(32), 0.3, "a 24 of 32", ""},
		"of two as near the more":       {one(32), 0.375, "a 24 of 32", ""},
		"at least one":                  {one(64), 0.95, "a 8 of 64", ""},
		"all where that is nearest":     {one(20), 0.05, "", `"a/kernel": all 20 stay, since a multiple of 8 of them are kept`},
		"a width that is no multiple":   {one(20), 0.2, "a 16 of 20", ""},
		"narrow layers keep any number": {one(15), 0.3, "a 10 of 15", ""},
		"units of many channels": {func(b net, x int32) int32 {
			return b.grouped("g", b.conv("a", x, 64), 64, 4)
		}, 0.4, "a 10 of 16, g 10 of 16", ""}, // 40 channels
		"units of as many channels as lanes need": {func(b net, x int32) int32 {
			return b.grouped("g", b.conv("a", x, 64), 64, 4)
		}, 0.45, "a 10 of 16, g 10 of 16", ""}, // two units are a lane
		"units that are few but wide": {func(b net, x int32) int32 {
			return b.grouped("g", b.conv("a", x, 16), 16, 4)
		}, 0.5, "a 2 of 4, g 2 of 4", ""},
		"units that stay": {func(b net, x int32) int32 {
			return b.grouped("g", b.conv("a", x, 24), 24, 4)
		}, 0.2, "", `"a/kernel": all 24 stay, since a multiple of 8 of them are kept`},
		"units that a share is too small for": {func(b net, x int32) int32 {
			return b.grouped("g", b.conv("a", x, 24), 24, 4)
		}, 0.01, "", `"a/kernel": all 24 stay, since a share of 0.01 rounds to none`},
		"the narrowest counts": {func(b net, x int32) int32 {
			return b.depthwise("d", b.conv("a", x, 16), 2)
		}, 0.4, "a+d 8 of 16", ""},
	} {
		t.Run(name, func(t *testing.T) {
			seed = 0
			b := net{tflitetest.New()}
			flat := b.Flatten("flat", test.build(b, b.Input("x", 1, 6, 6, 3)))
			b.Output(b.Dense("last", flat, gauss(4*b.Shape(flat)[1]), gauss(4), 4, tflitetest.None))
			s, err := Couple(b.Model())
			if err != nil {
				t.Fatal(err)
			}
			targets, notes, err := s.NewPlan(Options{Share: test.share})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, target := range targets {
				got = append(got, fmt.Sprintf("%s %d of %d", short(target.Names), len(target.Units)-target.Cut, len(target.Units)))
			}
			if d := cmp.Diff(test.kept, strings.Join(got, ", ")); d != "" {
				t.Error(d)
			}
			if said := strings.Join(notes, "\n"); !strings.Contains(said, test.stay) || strings.Contains(said, ": all ") != (test.stay != "") {
				t.Errorf("notes: %q", notes)
			}
		})
	}
}

func TestNamesInMessages(t *testing.T) {
	names := slices.Repeat([]string{"w"}, 13)
	dozen := "weights " + strings.Repeat(`"w", `, 11) + `"w"`
	for n, want := range map[int]string{1: `weights "w"`, 12: dozen, 13: dozen + ", …"} {
		if got := named(names[:n]); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestNothingToCut(t *testing.T) {
	s, err := Couple(build("a mean over channels"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = s.NewPlan(Options{Share: 0.5}); err == nil || !strings.Contains(err.Error(), `no channels can be cut: channels of weights "a/kernel" stay: MEAN "mean"`) {
		t.Errorf("got %v", err)
	}
}

func TestCutsAfterCuts(t *testing.T) {
	first := Cuts{1: {{0, 6, []int{0, 2, 4, 5}}}, 2: {{3, 4, []int{1, 2}}}}
	second := Cuts{1: {{0, 4, []int{1, 3}}, {3, 3, []int{0}}}, 2: {{0, 2, []int{1}}}}
	want := Cuts{1: {{0, 6, []int{2, 5}}, {3, 3, []int{0}}}, 2: {{0, 2, []int{1}}, {3, 4, []int{1, 2}}}}
	if d := cmp.Diff(want, second.After(first)); d != "" {
		t.Error(d)
	}
	values := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}
	if d := cmp.Diff([]int{6, 8, 15, 17}, Values(values, []int{6, 3}, []Cut{{0, 6, []int{2, 5}}, {1, 3, []int{0, 2}}})); d != "" {
		t.Error(d)
	}
}

func TestRecord(t *testing.T) {
	m := build("a residual")
	s, err := Couple(m)
	if err != nil {
		t.Fatal(err)
	}
	targets, _, err := s.NewPlan(Options{Share: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	cuts := s.Of(s.Choose(targets, nil))
	left, err := s.Apply(m, cuts)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(left, cuts, []int{1, 4}); err != nil {
		t.Fatal(err)
	}
	got, gone, err := Read(left)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(cuts, got) + cmp.Diff([]int{1, 4}, gone); d != "" {
		t.Error(d)
	}
	data, _ := left.Metadata(MetadataName)
	m.SetMetadata(MetadataName, data)
	if _, _, err := Read(m); err == nil || !strings.Contains(err.Error(), "another tool changed the file") {
		t.Errorf("of the whole network: got %v", err)
	}
	if err := Write(left, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, gone, err := Read(left); got != nil || gone != nil || err != nil {
		t.Errorf("without a record: got %v, %v, %v", got, gone, err)
	}
}

func TestRecordsThatDoNotFitAreRefused(t *testing.T) {
	b := net{tflitetest.New()}
	x := b.Input("x", 1, 6, 6, 3)
	b.Output(b.conv("a", x, 2))
	m := b.Model() // tensors 0 to 3: input, kernel, bias, output
	for name, test := range map[string]struct{ cuts, fails string }{
		"of the first tensor":   {`{"tensor":0,"axis":3,"of":4,"kept":"Bw=="}`, ""},
		"of one of two":         {`{"tensor":3,"axis":0,"of":2,"kept":"AQ=="}`, ""},
		"of the last":           {`{"tensor":3,"axis":3,"of":3,"kept":"Aw=="}`, ""},
		"of no tensor":          {`{"tensor":4,"axis":0,"of":3,"kept":"Aw=="}`, "tensor 4 has no axis 0 of 2 channels"},
		"of less than none":     {`{"tensor":-1,"axis":0,"of":3,"kept":"Aw=="}`, "tensor -1 has no axis 0 of 2 channels"},
		"of no axis":            {`{"tensor":3,"axis":4,"of":3,"kept":"Aw=="}`, "tensor 3 has no axis 4 of 2 channels"},
		"of an axis before all": {`{"tensor":3,"axis":-1,"of":3,"kept":"Aw=="}`, "tensor 3 has no axis -1 of 2 channels"},
		"of other sizes":        {`{"tensor":3,"axis":3,"of":3,"kept":"AQ=="}`, "tensor 3 has no axis 3 of 1 channels"},
		"of no channels":        {`{"tensor":3,"axis":3,"of":0,"kept":""}`, "is not that of 0 channels"},
		"of one channel":        {`{"tensor":3,"axis":0,"of":1,"kept":"AQ=="}`, "is not that of 1 channels"},
		"too short":             {`{"tensor":3,"axis":3,"of":9,"kept":"Aw=="}`, "is not that of 9 channels"},
		"in no base64":          {`{"tensor":3,"axis":3,"of":3,"kept":"?"}`, "is not that of 3 channels"},
		"twice":                 {`{"tensor":3,"axis":3,"of":3,"kept":"Aw=="},{"tensor":3,"axis":3,"of":4,"kept":"Aw=="}`, "axis 3 is recorded twice"},
	} {
		m.SetMetadata(MetadataName, []byte(`{"version":1,"cuts":[`+test.cuts+`]}`))
		if _, _, err := Read(m); (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %v, want %q", name, err, test.fails)
		}
	}
	for gone, fails := range map[string]string{"[0,3]": "", "[3,0]": "not in order", "[2,2]": "not in order", "[-1]": "not in order"} {
		m.SetMetadata(MetadataName, []byte(`{"version":1,"cuts":[],"gone":`+gone+`}`))
		if _, _, err := Read(m); (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Errorf("operators %s: %v, want %q", gone, err, fails)
		}
	}
	m.SetMetadata(MetadataName, []byte(`{"version":2,"cuts":[]}`))
	if _, _, err := Read(m); err == nil || !strings.Contains(err.Error(), "version 2; this version of espalier reads 1") {
		t.Errorf("of another version: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"version":1,"cuts":[{"tensor":1,"axis":0,"of":8,"kept":"Dw=="}]}`))
	f.Add([]byte(`{"version":1,"cuts":null,"gone":[1,2,9]}`))
	f.Add([]byte(`{"version":1,"cuts":[{"tensor":-1,"axis":9,"of":-8,"kept":""}]}`))
	m := build("a residual")
	f.Fuzz(func(t *testing.T, data []byte) {
		m.SetMetadata(MetadataName, data)
		cuts, gone, err := Read(m)
		if err != nil {
			return
		}
		if !slices.IsSorted(gone) || len(gone) > 0 && gone[0] < 0 {
			t.Errorf("operators %v", gone)
		}
		for tensor, list := range cuts {
			for _, c := range list {
				if int(m.Subgraph().Tensors[tensor].Shape[c.Axis]) != len(c.Kept) {
					t.Errorf("tensor %d: %v does not fit", tensor, c)
				}
			}
		}
	})
}
