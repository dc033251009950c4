package float

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Steps and tolerances of gradient checks: for functions linear in each element, and for smooth ones.
const (
	linearStep, linearTolerance = 0.25, 1e-5
	smoothStep, smoothTolerance = 1.0 / 32, 2e-4
)

type builder = tflitetest.Builder

// gradientCase is a network of one operator, or a few.
type gradientCase struct {
	name   string
	input  []int32
	build  func(b *builder, x int32) int32
	smooth bool
	one    bool // runs at batch 1 only: it mixes samples
}

func normal(n int) []float32 {
	random := rand.New(rand.NewPCG(uint64(n), 3))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(random.NormFloat64())
	}
	return v
}

func positive(n int) []float32 {
	v := normal(n)
	for i := range v {
		v[i] = 1 + v[i]*v[i]
	}
	return v
}

func (c gradientCase) model() *tflite.Model {
	b := tflitetest.New()
	b.Output(c.build(b, b.Input("x", c.input...)))
	return b.Model()
}

func allCases() []gradientCase {
	return slices.Concat(convolutions(), products(), binaries(), pools(), movements(), unaries(), matrices(), choices())
}

func TestGradientsMatchDifferences(t *testing.T) {
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			for _, batch := range []int{1, 3} {
				if c.one && batch > 1 {
					continue
				}
				check(t, c.model(), batch, !c.smooth)
			}
		})
	}
}

func TestGradientsOfMaterialMatchDifferences(t *testing.T) {
	for _, name := range []string{
		"add_self_relu", "conv1d", "inverted", "residual", "se_block", "split", "strided_slice", "prelu", "reshape_transpose", "transpose_conv",
		"resize_bilinear", "resize_nearest", "reduce_max", "squeeze_expand", "dw_mult3",
	} {
		t.Run(name, func(t *testing.T) {
			check(t, readModel(t, testmaterial.Path(t, "models/ops/"+name+"_f32.tflite")), 2, false)
		})
	}
}

func convolutions() []gradientCase {
	conv := func(out, k, stride int32, padding schema.Padding, act tflitetest.Act) func(b *builder, x int32) int32 {
		return func(b *builder, x int32) int32 {
			in := b.Shape(x)[3]
			return b.Conv("y", x, normal(int(out*k*k*in)), normal(int(out)), out, k, k, stride, padding, act)
		}
	}
	depthwise := func(k, stride int32, padding schema.Padding, act tflitetest.Act) func(b *builder, x int32) int32 {
		return func(b *builder, x int32) int32 {
			c := b.Shape(x)[3]
			return b.Depthwise("y", x, normal(int(k*k*c)), normal(int(c)), k, k, stride, padding, act)
		}
	}
	const same, valid, none, relu, relu6 = schema.PaddingSAME, schema.PaddingVALID, tflitetest.None, tflitetest.ReLU, tflitetest.ReLU6
	return []gradientCase{
		{name: "1x1 convolution", input: []int32{1, 3, 4, 5}, build: conv(7, 1, 1, same, none)},
		{name: "1x1 convolution with stride 2", input: []int32{1, 5, 4, 3}, build: conv(4, 1, 2, same, relu)},
		{name: "3x3 convolution, same padding", input: []int32{1, 5, 6, 3}, build: conv(4, 3, 1, same, relu)},
		{name: "3x3 convolution, same padding, stride 2", input: []int32{1, 6, 7, 2}, build: conv(3, 3, 2, same, none)},
		{name: "3x3 convolution, valid padding, stride 2", input: []int32{1, 7, 6, 2}, build: conv(3, 3, 2, valid, relu6)},
		{name: "5x5 convolution on a small image", input: []int32{1, 4, 3, 2}, build: conv(3, 5, 1, same, none)},
		{name: "3x3 convolution of one channel", input: []int32{1, 5, 6, 1}, build: conv(4, 3, 1, same, relu)},
		{name: "5x5 convolution of one narrow channel, valid rows", input: []int32{1, 7, 6, 1}, build: conv(3, 5, 1, valid, none)},
		{name: "9x9 convolution of one small channel", input: []int32{1, 3, 4, 1}, build: conv(2, 9, 1, same, none)},
		{name: "convolution of one channel, stride and dilation apart", input: []int32{1, 9, 8, 1}, build: func(b *builder, x int32) int32 {
			w := b.Const("kernel", normal(3*3*2*1), 3, 3, 2, 1)
			o := &schema.Conv2DOptionsT{Padding: same, StrideH: 2, StrideW: 1, DilationHFactor: 1, DilationWFactor: 3}
			return b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{1, 5, 8, 3}, x, w)
		}},
		{name: "convolution in several strips", input: []int32{1, 20, 21, 16}, build: conv(3, 3, 1, same, none)},
		{name: "convolution with dilation", input: []int32{1, 7, 8, 2}, build: func(b *builder, x int32) int32 {
			w := b.Const("kernel", normal(3*3*2*2), 3, 3, 2, 2)
			o := &schema.Conv2DOptionsT{Padding: same, StrideH: 1, StrideW: 1, DilationHFactor: 2, DilationWFactor: 3}
			return b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{1, 7, 8, 3}, x, w)
		}},
		{name: "convolution in two groups", input: []int32{1, 5, 4, 6}, build: func(b *builder, x int32) int32 {
			w, bias := b.Const("kernel", normal(4*3*2*3), 4, 3, 2, 3), b.Const("bias", normal(4), 4)
			o := &schema.Conv2DOptionsT{Padding: same, StrideH: 2, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1, FusedActivationFunction: relu}
			return b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{1, 3, 4, 4}, x, w, bias)
		}},
		{name: "depthwise 3x3, same padding", input: []int32{1, 5, 4, 6}, build: depthwise(3, 1, same, relu)},
		{name: "depthwise 3x3, same padding, stride 2", input: []int32{1, 6, 5, 5}, build: depthwise(3, 2, same, none)},
		{name: "depthwise 5x5, valid padding", input: []int32{1, 7, 6, 3}, build: depthwise(5, 1, valid, relu6)},
		{name: "depthwise with dilation and multiplier", input: []int32{1, 6, 7, 2}, build: func(b *builder, x int32) int32 {
			w, bias := b.Const("kernel", normal(3*3*6), 1, 3, 3, 6), b.Const("bias", normal(6), 6)
			o := &schema.DepthwiseConv2DOptionsT{Padding: same, StrideH: 1, StrideW: 1, DepthMultiplier: 3, DilationHFactor: 2, DilationWFactor: 2}
			return b.Op("y", schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, o, []int32{1, 6, 7, 6}, x, w, bias)
		}},
		{name: "transposed convolution, same padding, stride 2", input: []int32{1, 3, 4, 3}, build: transposed(6, 7, 3, 2, same, relu)},
		{name: "transposed convolution, valid padding", input: []int32{1, 3, 4, 2}, build: transposed(5, 6, 3, 1, valid, none)},
		{name: "transposed convolution, valid padding, stride 3", input: []int32{1, 2, 3, 2}, build: transposed(5, 8, 2, 3, valid, none)},
	}
}

func transposed(h, w, k, stride int32, padding schema.Padding, act tflitetest.Act) func(b *builder, x int32) int32 {
	return func(b *builder, x int32) int32 {
		const out = 2
		in := b.Shape(x)[3]
		shape, bias := b.Ints("shape", 1, h, w, out), b.Const("bias", normal(out), out)
		kernel := b.Const("kernel", normal(int(out*k*k*in)), out, k, k, in)
		o := &schema.TransposeConvOptionsT{Padding: padding, StrideH: stride, StrideW: stride, FusedActivationFunction: act}
		return b.Op("y", schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, o, []int32{1, h, w, out}, shape, kernel, x, bias)
	}
}

func products() []gradientCase {
	return []gradientCase{
		{name: "fully connected", input: []int32{1, 9}, build: func(b *builder, x int32) int32 {
			return b.Dense("y", x, normal(45), normal(5), 5, tflitetest.None)
		}},
		{name: "fully connected without bias, with ReLU", input: []int32{1, 8}, build: func(b *builder, x int32) int32 {
			return b.Dense("y", x, normal(32), nil, 4, tflitetest.ReLU)
		}},
		{name: "two layers that share weights", input: []int32{1, 4}, smooth: true, build: func(b *builder, x int32) int32 {
			w := b.Const("shared", normal(16), 4, 4)
			layer := func(x int32) int32 {
				return b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 4}, x, w, -1)
			}
			return layer(layer(x))
		}},
		{name: "fully connected with computed weights", input: []int32{1, 3}, smooth: true, build: func(b *builder, x int32) int32 {
			w := b.Unary("w", schema.BuiltinOperatorTANH, b.Const("c", normal(6), 2, 3))
			return b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 2}, x, w, -1)
		}},
		{name: "a tensor read by three operators", input: []int32{1, 4, 4, 3}, smooth: true, build: func(b *builder, x int32) int32 {
			y := b.Conv("a", x, normal(27*3), normal(3), 3, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
			left := b.Depthwise("l", y, normal(27), nil, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
			right := b.Unary("r", schema.BuiltinOperatorTANH, y)
			return b.Add("y", b.Add("s", left, right, tflitetest.None), y, tflitetest.None)
		}},
		{name: "a reshaped tensor read under both shapes", input: []int32{1, 2, 2, 3}, smooth: true, build: func(b *builder, x int32) int32 {
			y := b.Unary("a", schema.BuiltinOperatorTANH, x)
			flat := b.Flatten("f", y)
			sum := b.Add("s", b.Flatten("g", b.Unary("b", schema.BuiltinOperatorTANH, y)), flat, tflitetest.None)
			return b.Dense("y", sum, normal(24), nil, 2, tflitetest.None)
		}},
	}
}

func binaries() []gradientCase {
	var cases []gradientCase
	for _, op := range []schema.BuiltinOperator{
		schema.BuiltinOperatorADD, schema.BuiltinOperatorSUB, schema.BuiltinOperatorMUL, schema.BuiltinOperatorDIV,
		schema.BuiltinOperatorMINIMUM, schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorSQUARED_DIFFERENCE,
	} {
		kind, options := schema.BuiltinOptionsNONE, any(nil)
		if op == schema.BuiltinOperatorADD {
			kind, options = schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{FusedActivationFunction: tflitetest.ReLU}
		}
		operand := normal
		if op == schema.BuiltinOperatorDIV {
			operand = positive
		}
		smooth := op == schema.BuiltinOperatorDIV || op == schema.BuiltinOperatorSQUARED_DIFFERENCE || op == schema.BuiltinOperatorMUL
		for _, shape := range [][]int32{{1, 3, 2, 4}, {4}, {1, 1, 1, 4}, {3, 1, 1}, {1}, {3, 2, 4}} {
			n := 1
			for _, d := range shape {
				n *= int(d)
			}
			cases = append(cases,
				gradientCase{name: fmt.Sprintf("%s of a tensor and a constant %v", op, shape), input: []int32{1, 3, 2, 4}, smooth: smooth, build: func(b *builder, x int32) int32 {
					return b.Op("y", op, kind, options, b.Shape(x), x, b.Const("c", operand(n), shape...))
				}})
			if op != schema.BuiltinOperatorDIV {
				cases = append(cases, gradientCase{name: fmt.Sprintf("%s of a constant %v and a tensor", op, shape), input: []int32{1, 3, 2, 4}, smooth: smooth, build: func(b *builder, x int32) int32 {
					return b.Op("y", op, kind, options, b.Shape(x), b.Const("c", operand(n), shape...), x)
				}})
			}
		}
		if op != schema.BuiltinOperatorDIV && op != schema.BuiltinOperatorMINIMUM && op != schema.BuiltinOperatorMAXIMUM {
			cases = append(cases, gradientCase{name: fmt.Sprintf("%s of a tensor and itself", op), input: []int32{1, 2, 3}, smooth: smooth, build: func(b *builder, x int32) int32 {
				return b.Op("y", op, kind, options, b.Shape(x), x, x)
			}})
		}
		cases = append(cases, gradientCase{name: fmt.Sprintf("%s of a tensor and its channels' means", op), input: []int32{1, 3, 2, 4}, smooth: true, build: func(b *builder, x int32) int32 {
			square := b.Unary("q", schema.BuiltinOperatorEXP, x)
			mean := b.Op("m", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, []int32{1, 1, 1, 4}, square, b.Ints("axes", 1, 2))
			return b.Op("y", op, kind, options, b.Shape(x), x, mean)
		}})
	}
	for _, shape := range [][]int32{{4}, {1, 1, 4}, {3, 2, 4}, {3, 2, 1}} {
		cases = append(cases, gradientCase{name: fmt.Sprintf("PRELU with slopes %v", shape), input: []int32{1, 3, 2, 4}, build: func(b *builder, x int32) int32 {
			n := 1
			for _, d := range shape {
				n *= int(d)
			}
			return b.Op("y", schema.BuiltinOperatorPRELU, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("slopes", normal(n), shape...))
		}})
	}
	return cases
}

func pools() []gradientCase {
	var cases []gradientCase
	for _, op := range []schema.BuiltinOperator{schema.BuiltinOperatorMAX_POOL_2D, schema.BuiltinOperatorAVERAGE_POOL_2D, schema.BuiltinOperatorL2_POOL_2D} {
		for _, p := range []schema.Padding{schema.PaddingSAME, schema.PaddingVALID} {
			for _, size := range [][2]int32{{2, 2}, {3, 1}, {3, 2}} {
				cases = append(cases, gradientCase{name: fmt.Sprintf("%s %s %d stride %d", op, p, size[0], size[1]), input: []int32{1, 5, 6, 3}, smooth: op == schema.BuiltinOperatorL2_POOL_2D, build: func(b *builder, x int32) int32 {
					return b.Pool("y", op, x, size[0], size[1], p)
				}})
			}
		}
	}
	for _, op := range []schema.BuiltinOperator{schema.BuiltinOperatorMEAN, schema.BuiltinOperatorSUM, schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOperatorREDUCE_MIN, schema.BuiltinOperatorREDUCE_PROD} {
		for _, r := range []struct {
			axes  []int32
			keep  bool
			shape []int32
		}{
			{[]int32{1, 2}, false, []int32{1, 4}},
			{[]int32{2, 1}, true, []int32{1, 1, 1, 4}},
			{[]int32{-1}, false, []int32{1, 2, 3}},
			{[]int32{1, 3}, false, []int32{1, 3}},
			{[]int32{1, 2, 3}, false, []int32{1}},
			{[]int32{2}, true, []int32{1, 2, 1, 4}},
		} {
			cases = append(cases, gradientCase{name: fmt.Sprintf("%s over %v", op, r.axes), input: []int32{1, 2, 3, 4}, build: func(b *builder, x int32) int32 {
				return b.Op("y", op, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: r.keep}, r.shape, x, b.Ints("axes", r.axes...))
			}})
		}
	}
	for _, mode := range []struct{ align, half bool }{{}, {align: true}, {half: true}} {
		for _, size := range [][2]int32{{6, 8}, {2, 3}, {5, 7}} {
			cases = append(cases,
				gradientCase{name: fmt.Sprintf("bilinear resizing to %v %v", size, mode), input: []int32{1, 3, 4, 2}, build: func(b *builder, x int32) int32 {
					o := &schema.ResizeBilinearOptionsT{AlignCorners: mode.align, HalfPixelCenters: mode.half}
					return b.Op("y", schema.BuiltinOperatorRESIZE_BILINEAR, schema.BuiltinOptionsResizeBilinearOptions, o, []int32{1, size[0], size[1], 2}, x, b.Ints("size", size[:]...))
				}},
				gradientCase{name: fmt.Sprintf("nearest resizing to %v %v", size, mode), input: []int32{1, 3, 4, 2}, build: func(b *builder, x int32) int32 {
					o := &schema.ResizeNearestNeighborOptionsT{AlignCorners: mode.align, HalfPixelCenters: mode.half}
					return b.Op("y", schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR, schema.BuiltinOptionsResizeNearestNeighborOptions, o, []int32{1, size[0], size[1], 2}, x, b.Ints("size", size[:]...))
				}})
		}
	}
	return cases
}

func movements() []gradientCase {
	op := func(op schema.BuiltinOperator, kind schema.BuiltinOptions, options any, shape []int32, operands ...[]int32) func(b *builder, x int32) int32 {
		return func(b *builder, x int32) int32 {
			in := []int32{x}
			for _, values := range operands {
				in = append(in, b.Ints("ints", values...))
			}
			return b.Op("y", op, kind, options, shape, in...)
		}
	}
	pads := func(rows ...int32) func(b *builder) int32 {
		return func(b *builder) int32 {
			bits := make([]float32, len(rows))
			for i, v := range rows {
				bits[i] = math.Float32frombits(uint32(v))
			}
			t := b.Const("pads", bits, int32(len(rows)/2), 2)
			b.SetType(t, schema.TensorTypeINT32)
			return t
		}
	}
	image := []int32{1, 3, 4, 8}
	return []gradientCase{
		{name: "TRANSPOSE", input: image, build: op(schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 8, 3, 4}, []int32{0, 3, 1, 2})},
		{name: "RESHAPE", input: image, build: op(schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{-1, 96}}, []int32{1, 96}, []int32{-1, 96})},
		{name: "STRIDED_SLICE", input: image, build: op(schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{BeginMask: 1, EndMask: 1, ShrinkAxisMask: 4},
			[]int32{1, 2, 3}, []int32{0, 0, 2, 6}, []int32{0, 3, 3, 0}, []int32{1, 2, 1, -2})},
		{name: "PAD", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, []int32{1, 6, 5, 9}, x, pads(0, 0, 1, 2, 1, 0, 0, 1)(b))
		}},
		{name: "PADV2", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorPADV2, schema.BuiltinOptionsPadV2Options, &schema.PadV2OptionsT{}, []int32{1, 6, 5, 8}, x, pads(0, 0, 1, 2, 1, 0, 0, 0)(b), b.Const("v", []float32{3}, 1))
		}},
		{name: "MIRROR_PAD reflecting", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeREFLECT}, []int32{1, 6, 5, 8}, x, pads(0, 0, 1, 2, 1, 0, 0, 0)(b))
		}},
		{name: "MIRROR_PAD symmetric", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeSYMMETRIC}, []int32{1, 6, 5, 8}, x, pads(0, 0, 1, 2, 1, 0, 0, 0)(b))
		}},
		{name: "CONCATENATION of a tensor, a constant and the tensor", input: []int32{1, 2, 3}, build: func(b *builder, x int32) int32 {
			y := b.Unary("n", schema.BuiltinOperatorNEG, x)
			return b.Concat("y", 2, x, y, x)
		}},
		{name: "CONCATENATION along rows", input: []int32{1, 2, 3}, build: func(b *builder, x int32) int32 { return b.Concat("y", 1, x, x) }},
		{name: "DEPTH_TO_SPACE", input: image, build: op(schema.BuiltinOperatorDEPTH_TO_SPACE, schema.BuiltinOptionsDepthToSpaceOptions, &schema.DepthToSpaceOptionsT{BlockSize: 2}, []int32{1, 6, 8, 2})},
		{name: "SPACE_TO_DEPTH", input: []int32{1, 4, 6, 3}, build: op(schema.BuiltinOperatorSPACE_TO_DEPTH, schema.BuiltinOptionsSpaceToDepthOptions, &schema.SpaceToDepthOptionsT{BlockSize: 2}, []int32{1, 2, 3, 12})},
		{name: "GATHER", input: image, build: op(schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: 2}, []int32{1, 3, 3, 8}, []int32{2, 0, 2})},
		{name: "PACK", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{Axis: 2, ValuesCount: 2}, []int32{1, 3, 2, 4, 8}, x, b.Unary("n", schema.BuiltinOperatorNEG, x))
		}},
		{name: "SLICE", input: image, build: op(schema.BuiltinOperatorSLICE, schema.BuiltinOptionsSliceOptions, &schema.SliceOptionsT{}, []int32{1, 2, 3, 8}, []int32{0, 1, 0, 0}, []int32{1, 2, 3, -1})},
		{name: "SQUEEZE", input: []int32{1, 1, 4, 1}, build: op(schema.BuiltinOperatorSQUEEZE, schema.BuiltinOptionsSqueezeOptions, &schema.SqueezeOptionsT{SqueezeDims: []int32{1, 3}}, []int32{1, 4})},
		{name: "EXPAND_DIMS", input: image, build: op(schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOptionsExpandDimsOptions, &schema.ExpandDimsOptionsT{}, []int32{1, 3, 1, 4, 8}, []int32{2})},
		{name: "SPLIT", input: image, smooth: true, build: func(b *builder, x int32) int32 {
			parts := b.Ops("y", schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: 2}, [][]int32{{1, 3, 4, 4}, {1, 3, 4, 4}}, b.Ints("axis", 3), x)
			return b.Add("s", parts[0], b.Unary("n", schema.BuiltinOperatorSQUARE, parts[1]), tflitetest.None)
		}},
		{name: "SPLIT_V", input: image, build: func(b *builder, x int32) int32 {
			parts := b.Ops("y", schema.BuiltinOperatorSPLIT_V, schema.BuiltinOptionsSplitVOptions, &schema.SplitVOptionsT{NumSplits: 2}, [][]int32{{1, 3, 3, 8}, {1, 3, 1, 8}}, x, b.Ints("sizes", 3, 1), b.Ints("axis", 2))
			return b.Op("s", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{1, 3, 3, 8}, parts[0], parts[1])
		}},
		{name: "UNPACK", input: []int32{1, 2, 5}, build: func(b *builder, x int32) int32 {
			parts := b.Ops("y", schema.BuiltinOperatorUNPACK, schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Axis: 1, Num: 2}, [][]int32{{1, 5}, {1, 5}}, x)
			return b.Op("s", schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}, []int32{1, 5}, parts[0], parts[1])
		}},
		{name: "REVERSE_V2", input: image, build: op(schema.BuiltinOperatorREVERSE_V2, schema.BuiltinOptionsReverseV2Options, &schema.ReverseV2OptionsT{}, image, []int32{1, 3})},
	}
}

func unaries() []gradientCase {
	var cases []gradientCase
	for _, op := range []schema.BuiltinOperator{
		schema.BuiltinOperatorRELU, schema.BuiltinOperatorRELU6, schema.BuiltinOperatorRELU_N1_TO_1, schema.BuiltinOperatorRELU_0_TO_1,
		schema.BuiltinOperatorLOGISTIC, schema.BuiltinOperatorTANH, schema.BuiltinOperatorHARD_SWISH, schema.BuiltinOperatorELU, schema.BuiltinOperatorABS,
		schema.BuiltinOperatorNEG, schema.BuiltinOperatorEXP, schema.BuiltinOperatorSQUARE, schema.BuiltinOperatorSIN, schema.BuiltinOperatorCOS,
	} {
		cases = append(cases, gradientCase{name: op.String(), input: []int32{1, 2, 3, 4}, smooth: true, build: func(b *builder, x int32) int32 {
			if op == schema.BuiltinOperatorLOGISTIC { // recognised as the loss's were it last
				return b.Unary("y", schema.BuiltinOperatorNEG, b.Unary("l", op, x))
			}
			return b.Unary("y", op, x)
		}})
	}
	for _, op := range []schema.BuiltinOperator{schema.BuiltinOperatorSQRT, schema.BuiltinOperatorRSQRT, schema.BuiltinOperatorLOG} {
		cases = append(cases, gradientCase{name: op.String(), input: []int32{1, 2, 3, 4}, smooth: true, build: func(b *builder, x int32) int32 {
			square := b.Op("a", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, b.Shape(x), b.Unary("s", schema.BuiltinOperatorSQUARE, x), b.Const("c", positive(24), b.Shape(x)...))
			return b.Unary("y", op, square)
		}})
	}
	neg := func(b *builder, y int32) int32 { return b.Unary("y", schema.BuiltinOperatorNEG, y) }
	return append(cases,
		gradientCase{name: "LEAKY_RELU", input: []int32{1, 5, 4}, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorLEAKY_RELU, schema.BuiltinOptionsLeakyReluOptions, &schema.LeakyReluOptionsT{Alpha: 0.3}, b.Shape(x), x)
		}},
		gradientCase{name: "GELU", input: []int32{1, 5, 4}, smooth: true, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{}, b.Shape(x), x)
		}},
		gradientCase{name: "GELU by tanh", input: []int32{1, 5, 4}, smooth: true, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{Approximate: true}, b.Shape(x), x)
		}},
		gradientCase{name: "SOFTMAX inside", input: []int32{1, 3, 5}, smooth: true, build: func(b *builder, x int32) int32 {
			return neg(b, b.Op("s", schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 0.7}, b.Shape(x), x))
		}},
		gradientCase{name: "LOG_SOFTMAX inside", input: []int32{1, 3, 5}, smooth: true, build: func(b *builder, x int32) int32 {
			return neg(b, b.Op("s", schema.BuiltinOperatorLOG_SOFTMAX, schema.BuiltinOptionsLogSoftmaxOptions, &schema.LogSoftmaxOptionsT{}, b.Shape(x), x))
		}},
		gradientCase{name: "L2_NORMALIZATION", input: []int32{1, 3, 5}, smooth: true, build: func(b *builder, x int32) int32 {
			return b.Op("s", schema.BuiltinOperatorL2_NORMALIZATION, schema.BuiltinOptionsL2NormOptions, &schema.L2NormOptionsT{}, b.Shape(x), x)
		}},
		gradientCase{name: "LOCAL_RESPONSE_NORMALIZATION", input: []int32{1, 3, 7}, smooth: true, build: func(b *builder, x int32) int32 {
			o := &schema.LocalResponseNormalizationOptionsT{Radius: 2, Bias: 0.8, Alpha: 0.5, Beta: 0.75}
			return b.Op("s", schema.BuiltinOperatorLOCAL_RESPONSE_NORMALIZATION, schema.BuiltinOptionsLocalResponseNormalizationOptions, o, b.Shape(x), x)
		}},
		gradientCase{name: "CAST between floats", input: []int32{1, 3, 5}, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorCAST, schema.BuiltinOptionsCastOptions, &schema.CastOptionsT{}, b.Shape(x), x)
		}},
	)
}
