package ir_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// operand adds a tensor to a model; x is an input, w a constant of zeros, n integers, one a scalar, absent nothing.
type operand = func(b *builder) int32

func x(shape ...int32) operand { return func(b *builder) int32 { return b.Input("x", shape...) } }

func w(shape ...int32) operand {
	elements := int32(1)
	for _, d := range shape {
		elements *= d
	}
	return func(b *builder) int32 { return b.Const("w", make([]float32, elements), shape...) }
}

func n(values ...int32) operand { return func(b *builder) int32 { return b.Ints("n", values...) } }

func one(value int32) operand { return func(b *builder) int32 { return number(b, value) } }

func absent(*builder) int32 { return -1 }

func of(kind schema.TensorType, o operand) operand {
	return func(b *builder) int32 {
		t := o(b)
		b.SetType(t, kind)
		return t
	}
}

func shaped(o operand, shape ...int32) operand {
	return func(b *builder) int32 {
		t := o(b)
		b.Tensor(t).Shape = shape
		return t
	}
}

func list(operands ...operand) []operand { return operands }

// ruled is an operator of an inference rule: what the rule makes of it, or the reason why it refuses it.
type ruled struct {
	name    string
	options *schema.BuiltinOptionsT
	inputs  []operand
	attr    any
	shapes  [][]int // of the outputs
	mixes   string  // why the outputs are not batched, and another batch is not possible
	fixed   string  // why another batch is not possible although they are
	refused string
	outputs int // where refused and not 1
}

func with(kind schema.BuiltinOptions, value any) *schema.BuiltinOptionsT {
	return &schema.BuiltinOptionsT{Type: kind, Value: value}
}

func (r ruled) parse(t *testing.T, op schema.BuiltinOperator) {
	build := func() (*builder, []int32) {
		b := tflitetest.New()
		var inputs []int32
		for _, o := range r.inputs {
			inputs = append(inputs, o(b))
		}
		kind, value := schema.BuiltinOptionsNONE, any(nil)
		if r.options != nil {
			kind, value = r.options.Type, r.options.Value
		}
		shapes := make([][]int32, max(len(r.shapes), r.outputs))
		if len(shapes) == 0 {
			shapes = make([][]int32, 1)
		}
		return b, b.Ops("y", op, kind, value, shapes, inputs...)
	}
	b, outputs := build()
	for _, o := range outputs {
		b.Output(o)
	}
	m := b.Model()
	g, err := ir.Parse(m, 0)
	if r.refused != "" {
		var typed *ir.Error
		if !errors.As(err, &typed) || typed.Reason != r.refused {
			t.Errorf("got  %v\nwant %s", err, r.refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.attr, g.Nodes[0].Attr); diff != "" {
		t.Errorf("attribute: %s", diff)
	}
	for i, o := range outputs {
		if diff := cmp.Diff(r.shapes[i], g.Tensors[o].Shape); diff != "" {
			t.Errorf("output %d: %s", i, diff)
		}
		if batched := r.mixes == ""; g.Tensors[o].Batched != batched {
			t.Errorf("output %d: batched %t, want %t", i, !batched, batched)
		}
	}
	const times = 3
	g, err = ir.Parse(m, times*g.FileBatch)
	if reason := r.mixes + r.fixed; reason != "" {
		var typed *ir.BatchError
		if !errors.As(err, &typed) || !strings.Contains(typed.Reason, reason) {
			t.Errorf("at another batch: got  %v\nwant %s", err, reason)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outputs {
		want := append([]int{times * r.shapes[i][0]}, r.shapes[i][1:]...)
		if diff := cmp.Diff(want, g.Tensors[o].Shape); diff != "" {
			t.Errorf("output %d at another batch: %s", i, diff)
		}
	}
}

func TestRulesInferShapesAttributesAndBatches(t *testing.T) {
	conv3D := func(d, h, w, dd, dh, dw int32, padding schema.Padding) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsConv3DOptions, &schema.Conv3DOptionsT{StrideD: d, StrideH: h, StrideW: w,
			DilationDFactor: dd, DilationHFactor: dh, DilationWFactor: dw, Padding: padding, FusedActivationFunction: tflitetest.ReLU6})
	}
	conv2D := func(stride, dilation int32, padding schema.Padding) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsConv2DOptions, &schema.Conv2DOptionsT{StrideH: stride, StrideW: stride,
			DilationHFactor: dilation, DilationWFactor: dilation, Padding: padding})
	}
	transposed := with(schema.BuiltinOptionsTransposeConvOptions, &schema.TransposeConvOptionsT{StrideH: 2, StrideW: 2, Padding: schema.PaddingSAME})
	keep := with(schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{KeepNumDims: true})
	adjoint := func(x, y bool) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsBatchMatMulOptions, &schema.BatchMatMulOptionsT{AdjX: x, AdjY: y})
	}
	norm := func(radius int32, bias, alpha float32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsLocalResponseNormalizationOptions,
			&schema.LocalResponseNormalizationOptionsT{Radius: radius, Bias: bias, Alpha: alpha, Beta: 0.5})
	}
	onAxis := func(axis int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsOneHotOptions, &schema.OneHotOptionsT{Axis: axis})
	}
	rank := func(r int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsSVDFOptions, &schema.SVDFOptionsT{Rank: r, FusedActivationFunction: tflitetest.ReLU})
	}
	mirror := func(mode schema.MirrorPadMode) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: mode})
	}
	squeezed := func(axes ...int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsSqueezeOptions, &schema.SqueezeOptionsT{SqueezeDims: axes})
	}
	packed := func(axis int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{Axis: axis})
	}
	unpacked := func(axis, num int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Axis: axis, Num: num})
	}
	parts := func(num int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: num})
	}
	gathered := func(axis, dims int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: axis, BatchDims: dims})
	}
	kept := with(schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true})
	deep := func(block int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsDepthToSpaceOptions, &schema.DepthToSpaceOptionsT{BlockSize: block})
	}
	wide := func(block int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsSpaceToDepthOptions, &schema.SpaceToDepthOptionsT{BlockSize: block})
	}
	const gates, integers = schema.TensorTypeBOOL, schema.TensorTypeINT32
	joined := func(axis int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: axis})
	}
	for op, cases := range map[schema.BuiltinOperator][]ruled{
		schema.BuiltinOperatorCONV_2D: {
			{name: "of one channel", options: conv2D(1, 1, schema.PaddingVALID), inputs: list(x(1, 1, 1, 1), w(1, 1, 1, 1), w(1)),
				attr: ir.Conv{Window: ir.Window{KH: 1, KW: 1, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, InH: 1, InW: 1, OutH: 1, OutW: 1}, Groups: 1}, shapes: [][]int{{1, 1, 1, 1}}},
			{name: "one group", options: conv2D(1, 2, schema.PaddingVALID), inputs: list(x(1, 6, 7, 2), w(4, 2, 3, 2), w(4)),
				attr: ir.Conv{Window: ir.Window{KH: 2, KW: 3, StrideH: 1, StrideW: 1, DilationH: 2, DilationW: 2, InH: 6, InW: 7, OutH: 4, OutW: 3}, Groups: 1}, shapes: [][]int{{1, 4, 3, 4}}},
			{name: "grouped", options: conv2D(2, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 4), w(6, 2, 3, 2)),
				attr: ir.Conv{Window: ir.Window{KH: 2, KW: 3, StrideH: 2, StrideW: 2, DilationH: 1, DilationW: 1, PadBottom: 1, PadRight: 1, InH: 5, InW: 6, OutH: 3, OutW: 3}, Groups: 2}, shapes: [][]int{{1, 3, 3, 6}}},
			{name: "groups without filters of their own", options: conv2D(1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 4), w(5, 2, 3, 2)), refused: "weights [5 2 3 2] do not fit input [1 5 6 4]"},
			{name: "half a channel", options: conv2D(1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 4), w(6, 2, 3, 3)), refused: "weights [6 2 3 3] do not fit input [1 5 6 4]"},
			{name: "no filters", options: conv2D(1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 4), w(0, 2, 3, 4)), refused: "weights [0 2 3 4] do not fit input [1 5 6 4]"},
			{name: "no image", options: conv2D(1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6), w(6, 2, 3, 3)), refused: `tensor 0 "x" has shape [1 5 6], want four dimensions (NHWC)`},
			{name: "no weights", options: conv2D(1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 4)), refused: "input 1 is missing"},
			{name: "no dilation", options: conv2D(1, 0, schema.PaddingSAME), inputs: list(x(1, 5, 6, 4), w(6, 2, 3, 4)), refused: "kernel 2×3, stride 1×1, dilation 0×0: all must be at least 1"},
			{name: "a padding of another kind", options: conv2D(1, 1, 7), inputs: list(x(1, 5, 6, 4), w(6, 2, 3, 4)), refused: "padding Padding(7) is unknown"},
			{name: "a window as large as the image", options: conv2D(1, 1, schema.PaddingVALID), inputs: list(x(1, 2, 3, 4), w(6, 2, 3, 4)),
				attr: ir.Conv{Window: ir.Window{KH: 2, KW: 3, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, InH: 2, InW: 3, OutH: 1, OutW: 1}, Groups: 1}, shapes: [][]int{{1, 1, 1, 6}}},
			{name: "a window one too high", options: conv2D(1, 1, schema.PaddingVALID), inputs: list(x(1, 1, 3, 4), w(6, 2, 3, 4)), refused: "a window of 2×3 (dilation 1×1) does not fit 1×3 pixels"},
		},
		schema.BuiltinOperatorDEPTHWISE_CONV_2D: {
			{name: "of one channel", options: with(schema.BuiltinOptionsDepthwiseConv2DOptions, &schema.DepthwiseConv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}),
				inputs: list(x(1, 1, 1, 1), w(1, 1, 1, 1)),
				attr:   ir.Conv{Window: ir.Window{KH: 1, KW: 1, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, InH: 1, InW: 1, OutH: 1, OutW: 1}, Depthwise: true, DepthMultiplier: 1, Groups: 1}, shapes: [][]int{{1, 1, 1, 1}}},
			{name: "two filters a channel", options: with(schema.BuiltinOptionsDepthwiseConv2DOptions, &schema.DepthwiseConv2DOptionsT{StrideH: 1, StrideW: 2, DilationHFactor: 1, DilationWFactor: 1}),
				inputs: list(x(1, 4, 6, 3), w(1, 3, 3, 6), w(6)),
				attr: ir.Conv{Window: ir.Window{KH: 3, KW: 3, StrideH: 1, StrideW: 2, DilationH: 1, DilationW: 1, PadTop: 1, PadBottom: 1, PadRight: 1, InH: 4, InW: 6, OutH: 4, OutW: 3},
					Depthwise: true, DepthMultiplier: 2, Groups: 1}, shapes: [][]int{{1, 4, 3, 6}}},
			{name: "several sets", inputs: list(x(1, 4, 6, 3), w(2, 3, 3, 6)), refused: "weights [2 3 3 6] do not fit input [1 4 6 3]"},
			{name: "one and a half filters a channel", inputs: list(x(1, 4, 6, 4), w(1, 3, 3, 6)), refused: "weights [1 3 3 6] do not fit input [1 4 6 4]"},
			{name: "no channels", inputs: list(x(1, 4, 6, 3), w(1, 3, 3, 0)), refused: "weights [1 3 3 0] do not fit input [1 4 6 3]"},
		},
		schema.BuiltinOperatorTRANSPOSE_CONV: {
			{name: "of one channel", options: transposed, inputs: list(n(1, 2, 2, 1), w(1, 1, 1, 1), x(1, 1, 1, 1)),
				attr: ir.TransposeConv{Window: ir.Window{KH: 1, KW: 1, StrideH: 2, StrideW: 2, DilationH: 1, DilationW: 1, InH: 1, InW: 1, OutH: 2, OutW: 2}}, shapes: [][]int{{1, 2, 2, 1}}},
			{name: "twice the size", options: transposed, inputs: list(n(1, 6, 8, 5), w(5, 3, 3, 2), x(1, 3, 4, 2), w(5)),
				attr: ir.TransposeConv{Window: ir.Window{KH: 3, KW: 3, StrideH: 2, StrideW: 2, DilationH: 1, DilationW: 1, PadBottom: 1, PadRight: 1, InH: 3, InW: 4, OutH: 6, OutW: 8}}, shapes: [][]int{{1, 6, 8, 5}}},
			{name: "an output of three dimensions", options: transposed, inputs: list(n(6, 8, 5), w(5, 3, 3, 2), x(1, 3, 4, 2)), refused: "output shape [6 8 5], weights [5 3 3 2] and input [1 3 4 2] do not fit"},
			{name: "other channels", options: transposed, inputs: list(n(1, 6, 8, 5), w(5, 3, 3, 3), x(1, 3, 4, 2)), refused: "output shape [1 6 8 5], weights [5 3 3 3] and input [1 3 4 2] do not fit"},
			{name: "no filter", options: transposed, inputs: list(n(1, 6, 8, 0), w(0, 3, 3, 2), x(1, 3, 4, 2)), refused: "output shape [1 6 8 0], weights [0 3 3 2] and input [1 3 4 2] do not fit"},
			{name: "other samples", options: transposed, inputs: list(n(2, 6, 8, 5), w(5, 3, 3, 2), x(1, 3, 4, 2)), refused: "output shape [2 6 8 5] does not fit weights [5 3 3 2] and input [1 3 4 2]"},
			{name: "other filters", options: transposed, inputs: list(n(1, 6, 8, 4), w(5, 3, 3, 2), x(1, 3, 4, 2)), refused: "output shape [1 6 8 4] does not fit weights [5 3 3 2] and input [1 3 4 2]"},
			{name: "another height", options: transposed, inputs: list(n(1, 8, 8, 5), w(5, 3, 3, 2), x(1, 3, 4, 2)), refused: "input is 3×4, an output of 8×8 wants 4×4"},
			{name: "another width", options: transposed, inputs: list(n(1, 6, 6, 5), w(5, 3, 3, 2), x(1, 3, 4, 2)), refused: "input is 3×4, an output of 6×6 wants 3×3"},
		},
		schema.BuiltinOperatorCONV_3D: {
			{name: "of one channel", options: conv3D(1, 1, 1, 1, 1, 1, schema.PaddingVALID), inputs: list(x(1, 1, 1, 1, 1), w(1, 1, 1, 1, 1), w(1)),
				attr: ir.Conv3D{In: [3]int{1, 1, 1}, Out: [3]int{1, 1, 1}, Kernel: [3]int{1, 1, 1}, Stride: [3]int{1, 1, 1}, Dilation: [3]int{1, 1, 1}, Channels: 1, Outputs: 1, Act: ir.Relu6}, shapes: [][]int{{1, 1, 1, 1, 1}}},
			{name: "VALID", options: conv3D(2, 1, 3, 1, 2, 1, schema.PaddingVALID), inputs: list(x(1, 5, 6, 7, 2), w(2, 3, 1, 2, 4), w(4)),
				attr: ir.Conv3D{In: [3]int{5, 6, 7}, Out: [3]int{2, 2, 3}, Kernel: [3]int{2, 3, 1}, Stride: [3]int{2, 1, 3}, Dilation: [3]int{1, 2, 1}, Channels: 2, Outputs: 4, Act: ir.Relu6}, shapes: [][]int{{1, 2, 2, 3, 4}}},
			{name: "SAME", options: conv3D(2, 1, 3, 1, 2, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 7, 2), w(2, 3, 1, 2, 4)),
				attr: ir.Conv3D{In: [3]int{5, 6, 7}, Out: [3]int{3, 6, 3}, Kernel: [3]int{2, 3, 1}, Stride: [3]int{2, 1, 3}, Dilation: [3]int{1, 2, 1}, Pad: [3]int{0, 2, 0}, Channels: 2, Outputs: 4, Act: ir.Relu6}, shapes: [][]int{{1, 3, 6, 3, 4}}},
			{name: "other channels", options: conv3D(1, 1, 1, 1, 1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 7, 2), w(2, 3, 1, 3, 4)), refused: "weights [2 3 1 3 4] do not fit input [1 5 6 7 2]"},
			{name: "an image", options: conv3D(1, 1, 1, 1, 1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 2), w(2, 3, 1, 2, 4)), refused: "weights [2 3 1 2 4] do not fit input [1 5 6 2]"},
			{name: "no filter", options: conv3D(1, 1, 1, 1, 1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 7, 2), w(2, 3, 1, 2, 0)), refused: "weights [2 3 1 2 0] do not fit input [1 5 6 7 2]"},
			{name: "no stride", options: conv3D(1, 1, 0, 1, 1, 1, schema.PaddingSAME), inputs: list(x(1, 5, 6, 7, 2), w(2, 3, 1, 2, 4)), refused: "kernel [2 3 1], strides [1 1 0], dilations [1 1 1]: all must be at least 1"},
			{name: "no dilation", options: conv3D(1, 1, 1, 1, 1, 0, schema.PaddingSAME), inputs: list(x(1, 5, 6, 7, 2), w(2, 3, 1, 2, 4)), refused: "kernel [2 3 1], strides [1 1 1], dilations [1 1 0]: all must be at least 1"},
			{name: "a window one too deep", options: conv3D(1, 1, 1, 1, 1, 1, schema.PaddingVALID), inputs: list(x(1, 5, 6, 7, 2), w(6, 3, 1, 2, 4)), refused: "a window of [6 3 1] does not fit [5 6 7]"},
			{name: "another bias", options: conv3D(1, 1, 1, 1, 1, 1, schema.PaddingVALID), inputs: list(x(1, 5, 6, 7, 2), w(5, 6, 7, 2, 4), w(3)), refused: `bias tensor 2 "w" has 3 elements for 4 channels`},
		},
		schema.BuiltinOperatorFULLY_CONNECTED: {
			{name: "of one number", inputs: list(x(1, 1), w(1, 1)), attr: ir.FullyConnected{Rows: 1, In: 1, Out: 1}, shapes: [][]int{{1, 1}}},
			{name: "with its dimensions", options: keep, inputs: list(x(1, 3, 5), w(2, 5)), attr: ir.FullyConnected{KeepDims: true, Rows: 3, In: 5, Out: 2}, shapes: [][]int{{1, 3, 2}}},
			{name: "with its dimensions, in other rows", options: keep, inputs: list(x(1, 3, 4), w(2, 6)), refused: "weights [2 6] do not fit input [1 3 4]"},
			{name: "in other rows", inputs: list(x(1, 3, 4), w(2, 6)), attr: ir.FullyConnected{Rows: 2, In: 6, Out: 2}, shapes: [][]int{{2, 2}}},
			{name: "samples in one row", inputs: list(x(2, 3), w(2, 6)), attr: ir.FullyConnected{Rows: 1, In: 6, Out: 2}, shapes: [][]int{{1, 2}}, mixes: "a row of its input has several samples"},
			{name: "shuffled", options: with(schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{WeightsFormat: schema.FullyConnectedOptionsWeightsFormatSHUFFLED4x16INT8}),
				inputs: list(x(1, 3), w(2, 3)), refused: "shuffled weights are not supported: convert the model without them"},
			{name: "no output", inputs: list(x(1, 3), w(0, 3)), refused: "weights [0 3] do not fit input [1 3]"},
			{name: "weights of three dimensions", inputs: list(x(1, 3), w(2, 3, 1)), refused: "weights [2 3 1] do not fit input [1 3]"},
			{name: "a scalar", inputs: list(x(), w(2, 1)), refused: "weights [2 1] do not fit input []"},
		},
		schema.BuiltinOperatorBATCH_MATMUL: {
			{name: "one matrix for all", inputs: list(x(1, 2, 3), w(3, 4)), attr: ir.BatchMatMul{M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{}, A: []int{}, B: []int{}}}, shapes: [][]int{{1, 2, 4}}},
			{name: "heads", inputs: list(x(1, 5, 2, 3), w(1, 5, 3, 4)), attr: ir.BatchMatMul{M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{5}, A: []int{1}, B: []int{1}}}, shapes: [][]int{{1, 5, 2, 4}}},
			{name: "x transposed", options: adjoint(true, false), inputs: list(x(1, 3, 2), w(3, 4)), attr: ir.BatchMatMul{AdjX: true, M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{}, A: []int{}, B: []int{}}}, shapes: [][]int{{1, 2, 4}}},
			{name: "y transposed", options: adjoint(false, true), inputs: list(x(1, 2, 3), w(4, 3)), attr: ir.BatchMatMul{AdjY: true, M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{}, A: []int{}, B: []int{}}}, shapes: [][]int{{1, 2, 4}}},
			{name: "rows of samples", inputs: list(x(1, 3), w(3, 4)), attr: ir.BatchMatMul{M: 1, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{}, A: []int{}, B: []int{}}}, shapes: [][]int{{1, 4}}},
			{name: "columns of samples", options: adjoint(true, false), inputs: list(x(1, 3), w(1, 4)), attr: ir.BatchMatMul{AdjX: true, M: 3, K: 1, N: 4, Broadcast: ir.Broadcast{Shape: []int{}, A: []int{}, B: []int{}}}, shapes: [][]int{{3, 4}},
				mixes: "shapes [3 3] and [1 4] do not fit"},
			{name: "a vector", inputs: list(x(3), w(3, 4)), refused: "shapes [3] and [3 4], want at least two dimensions"},
			{name: "by a vector", inputs: list(x(1, 3), w(3)), refused: "shapes [1 3] and [3], want at least two dimensions"},
			{name: "of other depth", inputs: list(x(1, 2, 3), w(4, 3)), refused: "shapes [1 2 3] and [4 3] do not fit"},
			{name: "of other matrices", inputs: list(x(2, 2, 3), w(3, 3, 4)), refused: "shapes [2] and [3] do not combine"},
			{name: "a matrix a sample of the file", inputs: list(x(2, 2, 3), w(2, 3, 4)), attr: ir.BatchMatMul{M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{2}, A: []int{1}, B: []int{1}}}, shapes: [][]int{{2, 2, 4}}, mixes: "shapes [6] and [2] do not combine"},
			{name: "several of a sample", inputs: list(x(1, 2, 3), w(5, 3, 4)), attr: ir.BatchMatMul{M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{5}, A: []int{0}, B: []int{1}}}, shapes: [][]int{{5, 2, 4}}, mixes: "shapes [3] and [5] do not combine"},
			{name: "matrices of samples after constant ones", inputs: list(w(5, 2, 3), x(3, 4)), attr: ir.BatchMatMul{M: 2, K: 3, N: 4, Broadcast: ir.Broadcast{Shape: []int{5}, A: []int{1}, B: []int{0}}}, shapes: [][]int{{5, 2, 4}}, mixes: "shapes [5 2 3] and [9 4] do not fit"},
		},
		schema.BuiltinOperatorSUM: {
			{name: "with its dimensions", options: kept, inputs: list(x(1, 3, 4), n(-1)), attr: ir.Reduce{Axes: []int{2}, KeepDims: true}, shapes: [][]int{{1, 3, 1}}},
			{name: "of two axes, each named twice", inputs: list(x(1, 3, 4, 5), n(3, 1, -1, 1)), attr: ir.Reduce{Axes: []int{1, 3}}, shapes: [][]int{{1, 4}}},
			{name: "of the samples", inputs: list(x(2, 3), n(0)), attr: ir.Reduce{Axes: []int{0}}, shapes: [][]int{{3}}, mixes: "it reduces over the samples"},
			{name: "of nine axes", inputs: list(x(1, 3), n(1, 1, 1, 1, 1, 1, 1, 1, 1)), refused: "9 axes of 2 dimensions"},
			{name: "of an axis before the first", inputs: list(x(1, 3), n(-3)), refused: "axis -3 of 2 dimensions"},
		},
		schema.BuiltinOperatorARG_MAX: {
			{name: "of the last", inputs: list(x(1, 3, 4), n(-1)), attr: ir.ArgReduce{Axis: 2}, shapes: [][]int{{1, 3}}},
			{name: "of one", inputs: list(x(1, 1), n(1)), attr: ir.ArgReduce{Axis: 1}, shapes: [][]int{{1}}},
			{name: "of none", inputs: list(x(1, 0), n(1)), refused: "nothing along axis 1 of [1 0]"},
			{name: "of two axes", inputs: list(x(1, 3, 4), n(1, 2)), refused: "2 axes, want 1"},
			{name: "of the samples", inputs: list(x(2, 3), n(0)), attr: ir.ArgReduce{Axis: 0}, shapes: [][]int{{3}}, mixes: "it reduces over the samples"},
			{name: "of what runs", inputs: list(x(2, 3)), refused: "input 1 is missing"},
		},
		schema.BuiltinOperatorCUMSUM: {
			{name: "backwards", options: with(schema.BuiltinOptionsCumsumOptions, &schema.CumsumOptionsT{Reverse: true}), inputs: list(x(1, 3), n(1)), attr: ir.Cumsum{Axis: 1, Reverse: true}, shapes: [][]int{{1, 3}}},
			{name: "of those before", options: with(schema.BuiltinOptionsCumsumOptions, &schema.CumsumOptionsT{Exclusive: true}), inputs: list(x(1, 3), n(-1)), attr: ir.Cumsum{Axis: 1, Exclusive: true}, shapes: [][]int{{1, 3}}},
			{name: "of the samples", inputs: list(x(2, 3), n(0)), attr: ir.Cumsum{}, shapes: [][]int{{2, 3}}, mixes: "it adds the samples up"},
			{name: "of an axis after the last", inputs: list(x(1, 3), n(2)), refused: "axis 2 of 2 dimensions"},
		},
		schema.BuiltinOperatorGATHER_ND: {
			{name: "pieces", inputs: list(x(2, 3, 4), shaped(n(0, 0, 1, 1, 0, 2, 0, 0, 1, 0), 5, 2)), attr: ir.GatherND{Dims: []int{2, 3}, Piece: 4}, shapes: [][]int{{5, 4}}, mixes: "its places count the samples"},
			{name: "elements", inputs: list(x(2, 3), shaped(n(0, 0), 1, 2)), attr: ir.GatherND{Dims: []int{2, 3}, Piece: 1}, shapes: [][]int{{1}}, mixes: "its places count the samples"},
			{name: "places of a table", inputs: list(w(7, 3), of(integers, x(1, 4, 1))), attr: ir.GatherND{Dims: []int{7}, Piece: 3}, shapes: [][]int{{1, 4, 3}}},
			{name: "places of too many numbers", inputs: list(x(2, 3), shaped(n(0, 0, 0), 1, 3)), refused: "places of 3 numbers in [2 3]"},
			{name: "places of no number", inputs: list(x(2, 3), shaped(n(), 1, 0)), refused: "places of 0 numbers in [2 3]"},
			{name: "a place without dimensions", inputs: list(x(2, 3), one(0)), refused: "places [] of [2 3]"},
			{name: "of a scalar", inputs: list(x(), n(0)), refused: "places [1] of []"},
		},
		schema.BuiltinOperatorSCATTER_ND: {
			{name: "pieces", inputs: list(shaped(n(0, 3), 2, 1), x(2, 4), n(5, 4)), attr: ir.ScatterND{Dims: []int{5}, Piece: 4}, shapes: [][]int{{5, 4}}, mixes: "updates [6 4], want [2 4]"},
			{name: "pieces of other size", inputs: list(shaped(n(0, 3), 2, 1), x(2, 3), n(5, 4)), refused: "updates [2 3], want [2 4]"},
			{name: "elements", inputs: list(shaped(n(0, 3), 1, 2), x(1), n(5, 4)), attr: ir.ScatterND{Dims: []int{5, 4}, Piece: 1}, shapes: [][]int{{5, 4}}, mixes: "updates [3], want [1]"},
			{name: "places of too many numbers", inputs: list(shaped(n(0, 3, 0), 1, 3), x(1), n(5, 4)), refused: "places of 3 numbers in [5 4]"},
			{name: "places of no number", inputs: list(shaped(n(), 1, 0), x(1, 5, 4), n(5, 4)), refused: "places of 0 numbers in [5 4]"},
			{name: "no places", inputs: list(one(0), x(1), n(5)), refused: "places []"},
			{name: "a negative shape", inputs: list(n(0), x(), n(-1)), refused: "shape: shape [-1] has a negative dimension"},
		},
		schema.BuiltinOperatorSEGMENT_SUM: {
			{name: "of one row", inputs: list(x(1, 3), n(0)), attr: ir.SegmentSum{IDs: []int{0}, Piece: 3}, shapes: [][]int{{1, 3}}, mixes: "1 ids of [3 3]"},
			{name: "with a gap", inputs: list(x(4, 3), n(0, 0, 1, 3)), attr: ir.SegmentSum{IDs: []int{0, 0, 1, 3}, Piece: 3}, shapes: [][]int{{4, 3}}, mixes: "4 ids of [12 3]"},
			{name: "of numbers", inputs: list(x(2), n(0, 0)), attr: ir.SegmentSum{IDs: []int{0, 0}, Piece: 1}, shapes: [][]int{{1}}, mixes: "2 ids of [6]"},
			{name: "too few ids", inputs: list(x(4, 3), n(0, 0, 1)), refused: "3 ids of [4 3]"},
			{name: "negative ids", inputs: list(x(2, 3), n(-1, 0)), refused: "ids [-1 0] do not rise from 0"},
			{name: "ids that fall", inputs: list(x(2, 3), n(1, 0)), refused: "ids [1 0] do not rise from 0"},
			{name: "a scalar", inputs: list(x(), n(0)), refused: "1 ids of []"},
		},
		schema.BuiltinOperatorLOCAL_RESPONSE_NORMALIZATION: {
			{name: "of every channel alone", options: norm(0, 0.5, 0), inputs: list(x(1, 3)), attr: ir.LocalNorm{Bias: 0.5, Beta: 0.5}, shapes: [][]int{{1, 3}}},
			{name: "a negative radius", options: norm(-1, 1, 1), inputs: list(x(1, 3)), refused: "radius -1, bias 1 and alpha 1: what it divides by could be 0"},
			{name: "no bias", options: norm(1, 0, 1), inputs: list(x(1, 3)), refused: "radius 1, bias 0 and alpha 1: what it divides by could be 0"},
			{name: "a negative alpha", options: norm(1, 1, -1), inputs: list(x(1, 3)), refused: "radius 1, bias 1 and alpha -1: what it divides by could be 0"},
			{name: "of samples", options: norm(1, 2, 3), inputs: list(x(3)), attr: ir.LocalNorm{Radius: 1, Bias: 2, Alpha: 3, Beta: 0.5}, shapes: [][]int{{3}}, mixes: "it works along the only dimension, the samples"},
			{name: "of a scalar", options: norm(1, 2, 3), inputs: list(x()), refused: `tensor 0 "x" has no dimension to work along`},
		},
		schema.BuiltinOperatorL2_NORMALIZATION: {
			{name: "clamped", options: with(schema.BuiltinOptionsL2NormOptions, &schema.L2NormOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeRELU_N1_TO_1}), inputs: list(x(1, 3)), attr: ir.L2Norm{Act: ir.ReluN1To1}, shapes: [][]int{{1, 3}}},
		},
		schema.BuiltinOperatorLOG_SOFTMAX: {{name: "of rows", inputs: list(x(1, 3)), attr: ir.Softmax{Beta: 1}, shapes: [][]int{{1, 3}}}},
		schema.BuiltinOperatorGELU: {
			{name: "approximate", options: with(schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{Approximate: true}), inputs: list(x(1, 3)), attr: ir.Gelu{Approximate: true}, shapes: [][]int{{1, 3}}},
			{name: "of nothing", inputs: list(absent), refused: "input 0 is missing"},
		},
		schema.BuiltinOperatorLEAKY_RELU: {
			{name: "of a fifth", options: with(schema.BuiltinOptionsLeakyReluOptions, &schema.LeakyReluOptionsT{Alpha: 0.2}), inputs: list(x(1, 3)), attr: ir.LeakyRelu{Alpha: 0.2}, shapes: [][]int{{1, 3}}},
			{name: "of nothing", inputs: list(absent), refused: "input 0 is missing"},
		},
		schema.BuiltinOperatorONE_HOT: {
			{name: "classes last", options: onAxis(-1), inputs: list(x(1, 3), one(5), shaped(w(1)), shaped(w(1))), attr: ir.OneHot{Axis: 2, Depth: 5}, shapes: [][]int{{1, 3, 5}}},
			{name: "classes between", options: onAxis(1), inputs: list(x(1, 3), one(5), shaped(w(1)), shaped(w(1))), attr: ir.OneHot{Axis: 1, Depth: 5}, shapes: [][]int{{1, 5, 3}}},
			{name: "classes first", options: onAxis(0), inputs: list(x(2, 3), one(5), shaped(w(1)), shaped(w(1))), attr: ir.OneHot{Depth: 5}, shapes: [][]int{{5, 2, 3}}, mixes: "it puts classes before the samples"},
			{name: "no class", options: onAxis(-1), inputs: list(x(1, 3), one(0), shaped(w(1)), shaped(w(1))), attr: ir.OneHot{Axis: 2}, shapes: [][]int{{1, 3, 0}}},
			{name: "less than no class", options: onAxis(-1), inputs: list(x(1, 3), one(-1), shaped(w(1)), shaped(w(1))), refused: "depth [-1], on [] and off []: one number each"},
			{name: "two depths", options: onAxis(-1), inputs: list(x(1, 3), n(5, 5), shaped(w(1)), shaped(w(1))), refused: "depth [5 5], on [] and off []: one number each"},
			{name: "two values on", options: onAxis(-1), inputs: list(x(1, 3), one(5), w(2), shaped(w(1))), refused: "depth [5], on [2] and off []: one number each"},
			{name: "two values off", options: onAxis(-1), inputs: list(x(1, 3), one(5), shaped(w(1)), w(2)), refused: "depth [5], on [] and off [2]: one number each"},
			{name: "an axis too far", options: onAxis(3), inputs: list(x(1, 3), one(5), shaped(w(1)), shaped(w(1))), refused: "axis 3 of 3 dimensions"},
			{name: "without a value off", options: onAxis(-1), inputs: list(x(1, 3), one(5), shaped(w(1))), refused: "input 3 is missing"},
			{name: "a value on for each sample", options: onAxis(-1), inputs: list(x(1, 3), one(5), x(1), w(1)), attr: ir.OneHot{Axis: 2, Depth: 5}, shapes: [][]int{{1, 3, 5}}, mixes: "depth [5], on [3] and off [1]: one number each"},
		},
		schema.BuiltinOperatorSELECT: {
			{name: "a row each", inputs: list(of(gates, x(2)), x(2, 3), w(1, 3)), attr: ir.Select{Shape: []int{2, 3}, Condition: []int{1, 0}, A: []int{3, 1}, B: []int{0, 1}}, shapes: [][]int{{2, 3}}},
			{name: "element by element", inputs: list(of(gates, x(2)), x(2), w(1)), attr: ir.Select{Shape: []int{2}, Condition: []int{1}, A: []int{1}, B: []int{0}}, shapes: [][]int{{2}}},
			{name: "a row each, of too many", inputs: list(of(gates, x(2)), w(3, 4), w(3, 4)), refused: "shapes [2] and [3 4] do not combine"},
			{name: "what does not combine", inputs: list(of(gates, x(2)), w(2, 4), w(2, 3)), refused: "shapes [2 4] and [2 3] do not combine"},
		},
		schema.BuiltinOperatorSELECT_V2: {
			{name: "a condition at the end", inputs: list(of(gates, func(b *builder) int32 { return b.Raw("condition", gates, []byte{1, 0}, 2) }), x(2, 2), w(1, 2)), attr: ir.Select{Shape: []int{2, 2}, Condition: []int{0, 1}, A: []int{2, 1}, B: []int{0, 1}}, shapes: [][]int{{2, 2}}},
			{name: "a condition of the samples at the end", inputs: list(of(gates, x(2)), w(1, 2), w(1, 2)), attr: ir.Select{Shape: []int{1, 2}, Condition: []int{0, 1}, A: []int{0, 1}, B: []int{0, 1}}, shapes: [][]int{{1, 2}}, mixes: "shapes [6] and [1 2] do not combine"},
		},
		schema.BuiltinOperatorPRELU: {
			{name: "a slope a channel", inputs: list(x(1, 3, 4), w(4)), attr: ir.Binary{Broadcast: ir.Broadcast{Shape: []int{3, 4}, A: []int{4, 1}, B: []int{0, 1}}}, shapes: [][]int{{1, 3, 4}}},
			{name: "slopes that widen", inputs: list(x(1, 3, 1), w(4)), refused: "alpha [4] is wider than the input [1 3 1]"},
			{name: "slopes that do not fit", inputs: list(x(1, 3, 2), w(4)), refused: "shapes [1 3 2] and [4] do not combine"},
		},
		schema.BuiltinOperatorADD_N: {
			{name: "of two", inputs: list(x(1, 3), w(1, 3)), attr: ir.AddN{}, shapes: [][]int{{1, 3}}, fixed: "inputs of shapes [3 3] and [1 3]"},
			{name: "of one", inputs: list(x(1, 3)), attr: ir.AddN{}, shapes: [][]int{{1, 3}}},
			{name: "of two shapes", inputs: list(x(1, 3), w(3)), refused: "inputs of shapes [1 3] and [3]"},
			{name: "of none", refused: "input 0 is missing"},
		},
		schema.BuiltinOperatorSUB: {
			{name: "a constant a sample", options: with(schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{PotScaleInt16: true, FusedActivationFunction: tflitetest.ReLU}), inputs: list(x(2, 3), w(2, 3)),
				attr: ir.Binary{Broadcast: ir.Broadcast{Shape: []int{6}, A: []int{1}, B: []int{1}}, Act: ir.Relu, PowersOfTwo: true}, shapes: [][]int{{2, 3}}, mixes: "shapes [6 3] and [2 3] do not combine"},
			{name: "a constant that is the same", inputs: list(x(2, 3), w(1, 3)), attr: ir.Binary{Broadcast: ir.Broadcast{Shape: []int{2, 3}, A: []int{3, 1}, B: []int{0, 1}}}, shapes: [][]int{{2, 3}}},
			{name: "a column by a row", inputs: list(x(1, 3, 1, 2), w(4, 2)), attr: ir.Binary{Broadcast: ir.Broadcast{Shape: []int{3, 4, 2}, A: []int{2, 0, 1}, B: []int{0, 2, 1}}}, shapes: [][]int{{1, 3, 4, 2}}},
			{name: "a sample of the file repeated", inputs: list(x(1, 3), w(2, 3)), attr: ir.Binary{Broadcast: ir.Broadcast{Shape: []int{2, 3}, A: []int{0, 1}, B: []int{3, 1}}}, shapes: [][]int{{2, 3}}, mixes: "shapes [3 3] and [2 3] do not combine"},
			{name: "samples at the end", inputs: list(x(2), w(1, 2)), attr: ir.Binary{Broadcast: ir.Broadcast{Shape: []int{2}, A: []int{1}, B: []int{1}}}, shapes: [][]int{{1, 2}}, mixes: "shapes [6] and [1 2] do not combine"},
		},
		schema.BuiltinOperatorRFFT2D: {
			{name: "planes", inputs: list(x(1, 3, 9), n(4, 8)), attr: ir.RFFT2D{InH: 3, InW: 9, H: 4, W: 8}, shapes: [][]int{{1, 4, 5}}},
			{name: "rows of two", inputs: list(x(1, 3, 9), n(1, 2)), attr: ir.RFFT2D{InH: 3, InW: 9, H: 1, W: 2}, shapes: [][]int{{1, 1, 2}}},
			{name: "no power of two", inputs: list(x(1, 3, 9), n(4, 6)), refused: "length 6 is no power of two"},
			{name: "no length", inputs: list(x(1, 3, 9), n(0, 4)), refused: "length 0 is no power of two"},
			{name: "three lengths", inputs: list(x(1, 3, 9), n(4, 4, 4)), refused: "lengths [4 4 4] of [1 3 9]: want two, of the last two dimensions"},
			{name: "a row", inputs: list(x(9), n(4, 4)), refused: "lengths [4 4] of [9]: want two, of the last two dimensions"},
			{name: "across samples", inputs: list(x(2, 9), n(2, 8)), attr: ir.RFFT2D{InH: 2, InW: 9, H: 2, W: 8}, shapes: [][]int{{2, 5}}, mixes: "it transforms across the samples"},
		},
		schema.BuiltinOperatorCOMPLEX_ABS: {
			{name: "of complex numbers", inputs: list(of(schema.TensorTypeCOMPLEX64, x(1, 3))), attr: ir.Unary{}, shapes: [][]int{{1, 3}}},
			{name: "of real numbers", inputs: list(x(1, 3)), refused: `reads tensor 0 "x" of type FLOAT32, want COMPLEX64`},
			{name: "of nothing", inputs: list(absent), refused: "input 0 is missing"},
		},
		schema.BuiltinOperatorSVDF: {
			{name: "of one number", options: rank(1), inputs: list(x(1, 1), w(1, 1), w(1, 1)), attr: ir.SVDF{Rank: 1, Act: ir.Relu}, shapes: [][]int{{1, 1}}, fixed: "its state is that of one sequence"},
			{name: "of rank 2", options: rank(2), inputs: list(x(1, 4), w(6, 4), w(6, 3), w(3)), attr: ir.SVDF{Rank: 2, Act: ir.Relu}, shapes: [][]int{{1, 3}}, fixed: "its state is that of one sequence"},
			{name: "of rank 0", options: rank(0), inputs: list(x(1, 4), w(6, 4), w(6, 3)), refused: "input [1 4], features [6 4] and time [6 3] do not go together at rank 0"},
			{name: "of rank 4", options: rank(4), inputs: list(x(1, 4), w(6, 4), w(6, 3)), refused: "input [1 4], features [6 4] and time [6 3] do not go together at rank 4"},
			{name: "of other inputs", options: rank(2), inputs: list(x(1, 4), w(6, 3), w(6, 3)), refused: "input [1 4], features [6 3] and time [6 3] do not go together at rank 2"},
			{name: "of other filters", options: rank(2), inputs: list(x(1, 4), w(6, 4), w(5, 3)), refused: "input [1 4], features [6 4] and time [5 3] do not go together at rank 2"},
			{name: "without a memory", options: rank(2), inputs: list(x(1, 4), w(6, 4), w(6, 0)), refused: "input [1 4], features [6 4] and time [6 0] do not go together at rank 2"},
			{name: "of another bias", options: rank(2), inputs: list(x(1, 4), w(6, 4), w(6, 3), w(6)), refused: "a bias of 6 for 3 units"},
			{name: "of a row", options: rank(2), inputs: list(x(4), w(6, 4), w(6, 3)), refused: `tensor 0 "x" is missing or has not 2 dimensions`},
		},
		schema.BuiltinOperatorTOPK_V2: {
			{name: "two of three", inputs: list(x(1, 3), one(2)), attr: ir.TopK{Size: 3, K: 2}, shapes: [][]int{{1, 2}, {1, 2}}},
			{name: "all", inputs: list(x(1, 3), one(3)), attr: ir.TopK{Size: 3, K: 3}, shapes: [][]int{{1, 3}, {1, 3}}},
			{name: "one", inputs: list(x(1, 3), one(1)), attr: ir.TopK{Size: 3, K: 1}, shapes: [][]int{{1, 1}, {1, 1}}},
			{name: "none", inputs: list(x(1, 3), one(0)), outputs: 2, refused: "the first [0] of [1 3]"},
			{name: "four of three", inputs: list(x(1, 3), one(4)), outputs: 2, refused: "the first [4] of [1 3]"},
			{name: "two numbers", inputs: list(x(1, 3), n(1, 1)), outputs: 2, refused: "the first [1 1] of [1 3]"},
			{name: "of a scalar", inputs: list(x(), one(1)), outputs: 2, refused: "the first [1] of []"},
			{name: "of samples", inputs: list(x(3), one(2)), attr: ir.TopK{Size: 3, K: 2}, shapes: [][]int{{2}, {2}}, mixes: "it works along the only dimension, the samples"},
			{name: "without the places", inputs: list(x(1, 3), one(2)), outputs: 1, refused: "has 1 outputs, want 2"},
		},
		schema.BuiltinOperatorTILE: {
			{name: "rows", inputs: list(x(1, 2, 3), n(1, 4, 1)), attr: ir.Repeat{Shape: []int{1, 1, 4, 2, 1, 3}, Strides: []int{0, 6, 0, 3, 0, 1}}, shapes: [][]int{{1, 8, 3}}},
			{name: "to nothing", inputs: list(x(1, 3), n(1, 0)), attr: ir.Repeat{Shape: []int{1, 1, 0, 3}, Strides: []int{0, 3, 0, 1}}, shapes: [][]int{{1, 0}}},
			{name: "less than never", inputs: list(x(1, 3), n(1, -1)), refused: "multiples [1 -1] of [1 3]"},
			{name: "too few", inputs: list(x(1, 3), n(1)), refused: "multiples [1] of [1 3]"},
			{name: "samples", inputs: list(x(2, 3), n(2, 1)), attr: ir.Repeat{Shape: []int{2, 2, 1, 3}, Strides: []int{0, 3, 0, 1}}, shapes: [][]int{{4, 3}}, mixes: "it repeats the samples"},
		},
		schema.BuiltinOperatorBROADCAST_TO: {
			{name: "rows", inputs: list(x(1, 1, 3), n(1, 4, 3)), attr: ir.Repeat{Shape: []int{1, 4, 3}, Strides: []int{0, 0, 1}}, shapes: [][]int{{1, 4, 3}}},
			{name: "what has no 1", inputs: list(x(1, 2, 3), n(1, 4, 3)), refused: "shapes [1 2 3] and [1 4 3] do not combine"},
			{name: "to less", inputs: list(x(1, 2, 3), n(1, 3)), refused: "[1 2 3] does not broadcast to [1 3]"},
			{name: "to a negative", inputs: list(x(1, 1, 3), n(1, -4, 3)), refused: "shape [1 -4 3] has a negative dimension"},
			{name: "samples", inputs: list(x(1, 3), n(2, 3)), attr: ir.Repeat{Shape: []int{2, 3}, Strides: []int{0, 1}}, shapes: [][]int{{2, 3}}, mixes: "output 0 would be [3 3], not [2 3]"},
		},
		schema.BuiltinOperatorRESHAPE: {
			{name: "one number to a scalar, as old converters write it", inputs: list(w(1), n(0)), attr: ir.Reshape{}, shapes: [][]int{{}}, mixes: "it is one for all samples"},
			{name: "to nine dimensions", inputs: list(x(1, 3), n(1, 3, 1, 1, 1, 1, 1, 1, 1)), refused: "target has 9 dimensions, at most 8 are supported"},
			{name: "to eight dimensions", inputs: list(x(1, 3), n(1, 3, 1, 1, 1, 1, 1, 1)), attr: ir.Reshape{}, shapes: [][]int{{1, 3, 1, 1, 1, 1, 1, 1}}},
			{name: "nothing to nothing", inputs: list(x(1, 0), n(1, 0)), attr: ir.Reshape{}, shapes: [][]int{{1, 0}}},
			{name: "an open size of nothing", inputs: list(x(1, 0), n(0, -1)), refused: "[0 -1] does not have the 0 elements of [1 0]"},
			{name: "an open size that does not divide", inputs: list(x(1, 3), n(2, -1)), refused: "[2 -1] does not have the 3 elements of [1 3]"},
			{name: "a negative size", inputs: list(x(1, 3), n(-2, -2)), refused: "[-2 -2] does not have the 3 elements of [1 3]"},
			{name: "more elements than there may be", inputs: list(x(1, 3), n(1<<16, 1<<16)), refused: "[65536 65536] does not have the 3 elements of [1 3]"},
			{name: "by its options", options: with(schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{3, 1}}), inputs: list(x(1, 3)), attr: ir.Reshape{}, shapes: [][]int{{3, 1}}},
			{name: "of nothing", inputs: list(absent), refused: "input 0 is missing"},
			{name: "to two outputs", inputs: list(x(1, 3), n(1, 3)), outputs: 2, refused: "has 2 outputs, want 1"},
		},
		schema.BuiltinOperatorSQUEEZE: {
			{name: "of all", inputs: list(x(1, 1, 5)), attr: ir.Reshape{}, shapes: [][]int{{5}}},
			{name: "of one", options: squeezed(-2), inputs: list(x(1, 1, 5, 1)), refused: "dimension 2 of [1 1 5 1] is not 1"},
			{name: "of the last", options: squeezed(-1), inputs: list(x(1, 1, 5, 1)), attr: ir.Reshape{}, shapes: [][]int{{1, 1, 5}}},
		},
		schema.BuiltinOperatorEXPAND_DIMS: {
			{name: "after the last", inputs: list(x(1, 3), one(-1)), attr: ir.Reshape{}, shapes: [][]int{{1, 3, 1}}},
			{name: "after the first", inputs: list(x(1, 3), one(1)), attr: ir.Reshape{}, shapes: [][]int{{1, 1, 3}}},
			{name: "too far", inputs: list(x(1, 3), one(3)), refused: "axis 3 of 3 dimensions"},
			{name: "at two places", inputs: list(x(1, 3), n(1, 1)), refused: "2 axes, want 1"},
		},
		schema.BuiltinOperatorPAD: {
			{name: "rows", inputs: list(x(1, 3), n(0, 0, 1, 2)), attr: ir.Pad{Before: []int{0, 1}, After: []int{0, 2}, Value: -1}, shapes: [][]int{{1, 6}}},
			{name: "samples before", inputs: list(x(2, 3), n(1, 0, 0, 0)), attr: ir.Pad{Before: []int{1, 0}, After: []int{0, 0}, Value: -1}, shapes: [][]int{{3, 3}}, mixes: "it pads the dimension of the samples"},
			{name: "samples after", inputs: list(x(2, 3), n(0, 1, 0, 0)), attr: ir.Pad{Before: []int{0, 0}, After: []int{1, 0}, Value: -1}, shapes: [][]int{{3, 3}}, mixes: "it pads the dimension of the samples"},
			{name: "too few", inputs: list(x(1, 3), n(0, 0)), refused: "2 paddings for 2 dimensions"},
			{name: "less than none before", inputs: list(x(1, 3), n(0, 0, -1, 2)), refused: "paddings -1 and 2 of dimension 1"},
			{name: "less than none after", inputs: list(x(1, 3), n(0, 0, 1, -2)), refused: "paddings 1 and -2 of dimension 1"},
		},
		schema.BuiltinOperatorPADV2: {
			{name: "with a number", inputs: list(x(1, 3), n(0, 0, 1, 2), shaped(w(1))), attr: ir.Pad{Before: []int{0, 1}, After: []int{0, 2}, Value: 2}, shapes: [][]int{{1, 6}}},
			{name: "with two", inputs: list(x(1, 3), n(0, 0, 1, 2), w(2)), refused: `pad value tensor 2 "w" is not one number`},
			{name: "with one a sample", inputs: list(x(1, 3), n(0, 0, 1, 2), x(1)), refused: `pad value tensor 2 "x" is not one number`},
		},
		schema.BuiltinOperatorMIRROR_PAD: {
			{name: "reflected", options: mirror(schema.MirrorPadModeREFLECT), inputs: list(x(1, 3), n(0, 0, 2, 2)), attr: ir.MirrorPad{Before: []int{0, 2}, After: []int{0, 2}}, shapes: [][]int{{1, 7}}},
			{name: "reflected too far before", options: mirror(schema.MirrorPadModeREFLECT), inputs: list(x(1, 3), n(0, 0, 3, 0)), refused: "paddings 3 and 0 mirror more than dimension 1 of [1 3] has"},
			{name: "reflected too far after", options: mirror(schema.MirrorPadModeREFLECT), inputs: list(x(1, 3), n(0, 0, 0, 3)), refused: "paddings 0 and 3 mirror more than dimension 1 of [1 3] has"},
			{name: "symmetric", options: mirror(schema.MirrorPadModeSYMMETRIC), inputs: list(x(1, 3), n(0, 0, 3, 3)), attr: ir.MirrorPad{Before: []int{0, 3}, After: []int{0, 3}, Symmetric: true}, shapes: [][]int{{1, 9}}},
			{name: "symmetric too far", options: mirror(schema.MirrorPadModeSYMMETRIC), inputs: list(x(1, 3), n(0, 0, 0, 4)), refused: "paddings 0 and 4 mirror more than dimension 1 of [1 3] has"},
			{name: "without amounts", options: mirror(schema.MirrorPadModeSYMMETRIC), inputs: list(x(1, 3)), refused: "input 1 is missing"},
		},
		schema.BuiltinOperatorSLICE: {
			{name: "of what runs", inputs: list(w(2, 3), n(0, 1), n(2, 2)), attr: ir.StridedSlice{Begin: []int{0, 1}, Stride: []int{1, 1}, Count: []int{2, 2}, Shrink: []bool{false, false}}, shapes: [][]int{{2, 2}}, mixes: "it is one for all samples"},
			{name: "to the end", inputs: list(x(1, 5), n(0, 1), n(1, -1)), attr: ir.StridedSlice{Begin: []int{0, 1}, Stride: []int{1, 1}, Count: []int{1, 4}, Shrink: []bool{false, false}}, shapes: [][]int{{1, 4}}},
			{name: "nothing at the end", inputs: list(x(1, 5), n(0, 5), n(1, 0)), attr: ir.StridedSlice{Begin: []int{0, 5}, Stride: []int{1, 1}, Count: []int{1, 0}, Shrink: []bool{false, false}}, shapes: [][]int{{1, 0}}},
			{name: "all", inputs: list(x(1, 5), n(0, 0), n(1, 5)), attr: ir.StridedSlice{Begin: []int{0, 0}, Stride: []int{1, 1}, Count: []int{1, 5}, Shrink: []bool{false, false}}, shapes: [][]int{{1, 5}}},
			{name: "beyond the end", inputs: list(x(1, 5), n(0, 1), n(1, 5)), refused: "begin [0 1] and size [1 5] of [1 5]"},
			{name: "from beyond the end", inputs: list(x(1, 5), n(0, 6), n(1, 0)), refused: "begin [0 6] and size [1 0] of [1 5]"},
			{name: "from before the first", inputs: list(x(1, 5), n(0, -1), n(1, 2)), refused: "begin [0 -1] and size [1 2] of [1 5]"},
			{name: "less than nothing", inputs: list(x(1, 5), n(0, 1), n(1, -2)), refused: "begin [0 1] and size [1 -2] of [1 5]"},
			{name: "one begin", inputs: list(x(1, 5), n(1), n(1, 2)), refused: "begin [1] and size [1 2] of [1 5]"},
			{name: "one size", inputs: list(x(1, 5), n(0, 1), n(1)), refused: "begin [0 1] and size [1] of [1 5]"},
			{name: "some samples", inputs: list(x(2, 5), n(1, 0), n(1, 5)), attr: ir.StridedSlice{Begin: []int{1, 0}, Stride: []int{1, 1}, Count: []int{1, 5}, Shrink: []bool{false, false}}, shapes: [][]int{{1, 5}}, mixes: "it takes some of the samples"},
		},
		schema.BuiltinOperatorTRANSPOSE: {
			{name: "rows and columns", inputs: list(x(1, 3, 4), n(0, -1, 1)), attr: ir.Transpose{Perm: []int{0, 2, 1}}, shapes: [][]int{{1, 4, 3}}},
			{name: "samples", inputs: list(x(2, 3), n(1, 0)), attr: ir.Transpose{Perm: []int{1, 0}}, shapes: [][]int{{3, 2}}, mixes: "it moves the dimension of the samples"},
			{name: "one twice", inputs: list(x(2, 3), n(0, 0)), refused: "permutation [0 0] of [2 3]"},
			{name: "too few", inputs: list(x(2, 3), n(0)), refused: "permutation [0] of [2 3]"},
			{name: "one too far", inputs: list(x(2, 3), n(0, 2)), refused: "axis 2 of 2 dimensions"},
		},
		schema.BuiltinOperatorREVERSE_V2: {
			{name: "rows", inputs: list(x(1, 3, 4), n(-1, 1)), attr: ir.Reverse{Axes: []int{1, 2}}, shapes: [][]int{{1, 3, 4}}},
			{name: "samples", inputs: list(x(2, 3), n(0)), attr: ir.Reverse{Axes: []int{0}}, shapes: [][]int{{2, 3}}, mixes: "it reverses the samples"},
			{name: "too far", inputs: list(x(2, 3), n(2)), refused: "axis 2 of 2 dimensions"},
		},
		schema.BuiltinOperatorCONCATENATION: {
			{name: "rows", options: joined(-1), inputs: list(x(1, 3), x(1, 4)), attr: ir.Concat{Axis: 1}, shapes: [][]int{{1, 7}}},
			{name: "samples", options: joined(0), inputs: list(x(2, 3), x(2, 3)), attr: ir.Concat{}, shapes: [][]int{{4, 3}}, mixes: "it joins along the dimension of the samples"},
			{name: "a constant", options: joined(1), inputs: list(x(1, 3), w(1, 4)), attr: ir.Concat{Axis: 1}, shapes: [][]int{{1, 7}}, mixes: `tensor 1 "w" is not one a sample`},
			{name: "other rows", options: joined(2), inputs: list(x(1, 3, 2), x(1, 4, 2)), refused: "input 1 has shape [1 4 2], which does not fit [1 3 4] along axis 2"},
			{name: "other ranks", options: joined(1), inputs: list(x(1, 3, 2), x(1, 3)), refused: "input 1 has shape [1 3], which does not fit [1 3 2] along axis 1"},
			{name: "too far", options: joined(2), inputs: list(x(1, 3), x(1, 3)), refused: "axis 2 of 2 dimensions"},
		},
		schema.BuiltinOperatorPACK: {
			{name: "last", options: packed(-1), inputs: list(x(1, 3), x(1, 3)), attr: ir.Pack{Axis: 2}, shapes: [][]int{{1, 3, 2}}},
			{name: "samples", options: packed(0), inputs: list(x(3, 2), x(3, 2)), attr: ir.Pack{}, shapes: [][]int{{2, 3, 2}}, mixes: "it stacks whole batches"},
			{name: "a constant", options: packed(1), inputs: list(x(1, 3), w(1, 3)), attr: ir.Pack{Axis: 1}, shapes: [][]int{{1, 2, 3}}, mixes: `tensor 1 "w" is not one a sample`},
			{name: "other shapes", options: packed(1), inputs: list(x(1, 3), x(1, 4)), refused: "inputs of shapes [1 3] and [1 4]"},
			{name: "too far", options: packed(3), inputs: list(x(1, 3)), refused: "axis 3 of 3 dimensions"},
		},
		schema.BuiltinOperatorUNPACK: {
			{name: "rows", options: unpacked(-1, 2), inputs: list(x(1, 3, 2)), attr: ir.Unpack{Axis: 2, Num: 2}, shapes: [][]int{{1, 3}, {1, 3}}},
			{name: "samples", options: unpacked(0, 2), inputs: list(x(2, 3)), attr: ir.Unpack{Axis: 0, Num: 2}, shapes: [][]int{{3}, {3}}, mixes: "2 outputs, num 2, from [6 3] along axis 0"},
			{name: "another number", options: unpacked(1, 3), inputs: list(x(1, 2)), outputs: 3, refused: "3 outputs, num 3, from [1 2] along axis 1"},
			{name: "other outputs", options: unpacked(1, 2), inputs: list(x(1, 2)), refused: "1 outputs, num 2, from [1 2] along axis 1"},
			{name: "too far", options: unpacked(2, 1), inputs: list(x(1, 1)), refused: "axis 2 of 2 dimensions"},
			{name: "of nothing", inputs: list(absent), refused: "input 0 is missing"},
		},
		schema.BuiltinOperatorSPLIT: {
			{name: "in halves", options: parts(2), inputs: list(one(-1), x(1, 6)), attr: ir.Split{Axis: 1, Num: 2, Sizes: []int{3, 3}, Data: 1}, shapes: [][]int{{1, 3}, {1, 3}}},
			{name: "samples", options: parts(2), inputs: list(one(0), x(2, 3)), attr: ir.Split{Num: 2, Sizes: []int{1, 1}, Data: 1}, shapes: [][]int{{1, 3}, {1, 3}}, mixes: "it takes the samples apart"},
			{name: "unevenly", options: parts(2), inputs: list(one(1), x(1, 5)), outputs: 2, refused: "2 outputs, num_splits 2, from [1 5] along axis 1"},
			{name: "another number", options: parts(3), inputs: list(one(1), x(1, 6)), outputs: 2, refused: "2 outputs, num_splits 3, from [1 6] along axis 1"},
		},
		schema.BuiltinOperatorSPLIT_V: {
			{name: "with an open size", inputs: list(x(1, 6), n(1, -1, 2), one(1)), attr: ir.Split{Axis: 1, Num: 3, Sizes: []int{1, 3, 2}}, shapes: [][]int{{1, 1}, {1, 3}, {1, 2}}},
			{name: "all and nothing", inputs: list(x(1, 6), n(6, 0), one(-1)), attr: ir.Split{Axis: 1, Num: 2, Sizes: []int{6, 0}}, shapes: [][]int{{1, 6}, {1, 0}}},
			{name: "samples", inputs: list(x(2, 3), n(1, 1), one(0)), attr: ir.Split{Num: 2, Sizes: []int{1, 1}}, shapes: [][]int{{1, 3}, {1, 3}}, mixes: "sizes [1 1] of [6 3] along axis 0"},
			{name: "too little", inputs: list(x(1, 6), n(1, 4), one(1)), outputs: 2, refused: "sizes [1 4] of [1 6] along axis 1"},
			{name: "too much", inputs: list(x(1, 6), n(7, 0), one(1)), outputs: 2, refused: "sizes [7 0] of [1 6] along axis 1"},
			{name: "more than there is", inputs: list(x(1, 6), n(6, 6, -1), one(1)), outputs: 3, refused: "sizes [6 6 -6] of [1 6] along axis 1"},
			{name: "two open sizes", inputs: list(x(1, 6), n(-1, -1), one(1)), outputs: 2, refused: "sizes [-1 -1] of [1 6] along axis 1"},
			{name: "two axes", inputs: list(x(1, 6), n(6), n(1, 1)), refused: "1 outputs, sizes [6], axes [1 1]"},
			{name: "other outputs", inputs: list(x(1, 6), n(3, 3), one(1)), refused: "1 outputs, sizes [3 3], axes [1]"},
			{name: "too far", inputs: list(x(1, 6), n(6), one(2)), refused: "axis 2 of 2 dimensions"},
		},
		schema.BuiltinOperatorGATHER: {
			{name: "one number a sample", options: gathered(1, 1), inputs: list(x(2, 3), of(integers, x(2))), attr: ir.Gather{Axis: 1, BatchDims: 1}, shapes: [][]int{{2}}},
			{name: "columns", options: gathered(1, 0), inputs: list(x(1, 3, 4), n(2, 0)), attr: ir.Gather{Axis: 1}, shapes: [][]int{{1, 2, 4}}},
			{name: "rows of a table", inputs: list(w(7, 4), of(integers, x(1, 3))), attr: ir.Gather{}, shapes: [][]int{{1, 3, 4}}},
			{name: "a column a sample", options: gathered(1, -1), inputs: list(x(2, 3), of(integers, x(2))), attr: ir.Gather{Axis: 1}, shapes: [][]int{{2, 2}}, mixes: "it gathers across samples"},
			{name: "columns a sample", options: gathered(1, 1), inputs: list(x(2, 3), of(integers, x(2, 5))), attr: ir.Gather{Axis: 1, BatchDims: 1}, shapes: [][]int{{2, 5}}},
			{name: "samples", options: gathered(0, 0), inputs: list(x(2, 3), n(0)), attr: ir.Gather{}, shapes: [][]int{{1, 3}}, mixes: "it gathers across samples"},
			{name: "other samples", options: gathered(1, 1), inputs: list(x(2, 3), n(1)), refused: "batch_dims 1 of [2 3] and indices [1], axis 1"},
			{name: "beyond the axis", options: gathered(0, 1), inputs: list(x(2, 3), of(integers, x(2, 5))), refused: "batch_dims 1 of [2 3] and indices [2 5], axis 0"},
			{name: "too far back", options: gathered(1, -2), inputs: list(x(2, 3), n(1)), refused: "batch_dims -2 of [2 3] and indices [1], axis 1"},
			{name: "more dimensions than there are", options: gathered(1, 1), inputs: list(x(2, 3), one(1)), refused: "batch_dims 1 of [2 3] and indices [], axis 1"},
		},
		schema.BuiltinOperatorDEPTH_TO_SPACE: {
			{name: "by more than there may be", options: deep(70000), inputs: list(x(1, 1, 1, 0)), refused: "block size 70000 does not fit [1 1 1 0]"},
			{name: "by 2", options: deep(2), inputs: list(x(1, 3, 4, 8)), attr: ir.BlockSize(2), shapes: [][]int{{1, 6, 8, 2}}},
			{name: "by 1", options: deep(1), inputs: list(x(1, 3, 4, 8)), attr: ir.BlockSize(1), shapes: [][]int{{1, 3, 4, 8}}},
			{name: "by 3", options: deep(3), inputs: list(x(1, 3, 4, 6)), refused: "block size 3 does not fit [1 3 4 6]"},
			{name: "by 0", options: deep(0), inputs: list(x(1, 3, 4, 6)), refused: "block size 0 does not fit [1 3 4 6]"},
		},
		schema.BuiltinOperatorSPACE_TO_DEPTH: {
			{name: "by more than there may be", options: wide(70000), inputs: list(x(1, 0, 0, 2)), refused: "block size 70000 does not fit [1 0 0 2]"},
			{name: "by 2", options: wide(2), inputs: list(x(1, 6, 8, 2)), attr: ir.BlockSize(2), shapes: [][]int{{1, 3, 4, 8}}},
			{name: "by 1", options: wide(1), inputs: list(x(1, 6, 8, 2)), attr: ir.BlockSize(1), shapes: [][]int{{1, 6, 8, 2}}},
			{name: "odd rows", options: wide(2), inputs: list(x(1, 5, 8, 2)), refused: "block size 2 does not fit [1 5 8 2]"},
			{name: "odd columns", options: wide(2), inputs: list(x(1, 6, 7, 2)), refused: "block size 2 does not fit [1 6 7 2]"},
			{name: "by 0", options: wide(0), inputs: list(x(1, 6, 8, 2)), refused: "block size 0 does not fit [1 6 8 2]"},
		},
		schema.BuiltinOperatorRESIZE_BILINEAR: {
			{name: "by corners", options: with(schema.BuiltinOptionsResizeBilinearOptions, &schema.ResizeBilinearOptionsT{AlignCorners: true}), inputs: list(x(1, 3, 4, 2), n(5, 1)), attr: ir.Resize{AlignCorners: true}, shapes: [][]int{{1, 5, 1, 2}}},
			{name: "by corners and pixels", options: with(schema.BuiltinOptionsResizeBilinearOptions, &schema.ResizeBilinearOptionsT{AlignCorners: true, HalfPixelCenters: true}), inputs: list(x(1, 3, 4, 2), n(5, 6)), refused: "align_corners and half_pixel_centers exclude each other"},
			{name: "to no row", inputs: list(x(1, 3, 4, 2), n(0, 6)), refused: "cannot resize [1 3 4 2] to [0 6]"},
			{name: "to no column", inputs: list(x(1, 3, 4, 2), n(5, 0)), refused: "cannot resize [1 3 4 2] to [5 0]"},
			{name: "from nothing", inputs: list(x(1, 0, 4, 2), n(5, 6)), refused: "cannot resize [1 0 4 2] to [5 6]"},
			{name: "to three sizes", inputs: list(x(1, 3, 4, 2), n(5, 6, 2)), refused: "cannot resize [1 3 4 2] to [5 6 2]"},
		},
		schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: {
			{name: "by pixels", options: with(schema.BuiltinOptionsResizeNearestNeighborOptions, &schema.ResizeNearestNeighborOptionsT{HalfPixelCenters: true}), inputs: list(x(1, 1, 1, 2), n(1, 6)), attr: ir.Resize{HalfPixel: true}, shapes: [][]int{{1, 1, 6, 2}}},
		},
		schema.BuiltinOperatorCAST: {
			{name: "to what its output is", inputs: list(of(integers, x(1, 3))), attr: ir.Cast{From: integers, To: schema.TensorTypeFLOAT32}, shapes: [][]int{{1, 3}}},
			{name: "to two outputs", inputs: list(x(1, 3)), outputs: 2, refused: "has 2 outputs, want 1"},
		},
	} {
		for _, c := range cases {
			t.Run(op.String()+"/"+c.name, func(t *testing.T) { c.parse(t, op) })
		}
	}
}
