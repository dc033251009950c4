package equalize

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// net builds networks on images of [1, 6, 6, 3] whose channels differ much in size.
type net struct {
	*tflitetest.Builder
	random *rand.Rand
}

func (b net) gauss(n int32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(0.3 * b.random.NormFloat64())
	}
	return v
}

// uneven are weights whose outputs, each of taps values, differ up to a hundred times in size.
func (b net) uneven(outputs, taps int32) []float32 {
	v := b.gauss(outputs * taps)
	for o := range outputs {
		by := float32(math.Pow(10, -2*b.random.Float64()))
		for i := range taps {
			v[o*taps+i] *= by
		}
	}
	return v
}

func (b net) conv(name string, x, out int32, act tflitetest.Act) int32 {
	in := b.Shape(x)[3]
	return b.Conv(name, x, b.uneven(out, 9*in), b.gauss(out), out, 3, 3, 1, schema.PaddingSAME, act)
}

func (b net) grouped(name string, x, out, groups int32) int32 {
	s := b.Shape(x)
	w := b.Const(name+"/kernel", b.gauss(out*9*s[3]/groups), out, 3, 3, s[3]/groups)
	o := &schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
	return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{s[0], s[1], s[2], out}, x, w, b.Const(name+"/bias", b.gauss(out), out))
}

func (b net) depthwise(name string, x, multiplier int32) int32 {
	s := b.Shape(x)
	w := b.Const(name+"/kernel", b.gauss(9*s[3]*multiplier), 1, 3, 3, s[3]*multiplier)
	o := &schema.DepthwiseConv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DepthMultiplier: multiplier, DilationWFactor: 1, DilationHFactor: 1}
	return b.Op(name, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, o, []int32{s[0], s[1], s[2], s[3] * multiplier}, x, w)
}

func (b net) transposed(name string, x, out int32) int32 {
	s := b.Shape(x)
	shape := []int32{1, 2 * s[1], 2 * s[2], out}
	o := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideW: 2, StrideH: 2}
	w := b.Const(name+"/kernel", b.gauss(out*4*s[3]), out, 2, 2, s[3])
	return b.Op(name, schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, o, shape, b.Ints(name+"/shape", shape...), w, x, b.Const(name+"/bias", b.gauss(out), out))
}

func (b net) mul(name string, x, y int32) int32 {
	return b.Op(name, schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), x, y)
}

func (b net) div(name string, x, y int32) int32 {
	return b.Op(name, schema.BuiltinOperatorDIV, schema.BuiltinOptionsDivOptions, &schema.DivOptionsT{}, []int32{1, 6, 6, 8}, x, y)
}

// pads are of height, width and channels, before and after.
func (b net) pads(sides ...int32) int32 {
	return b.Raw("pads", schema.TensorTypeINT32, tflite.Int32Bytes(append([]int32{0, 0}, sides...)), 4, 2)
}

func (b net) axis(axis int32) int32 {
	return b.Scalar(b.Ints("axis", axis))
}

// cropped is a STRIDED_SLICE; a last channel of stride −2 goes down to 0.
func (b net) cropped(name string, x int32, begin, end, stride []int32, shrink int32) int32 {
	o := &schema.StridedSliceOptionsT{ShrinkAxisMask: shrink}
	var shape []int32
	for i := range begin {
		if shrink>>i&1 == 1 {
			continue
		}
		n := (end[i] - begin[i] + stride[i] - 1) / stride[i]
		if stride[i] < 0 {
			n = (begin[i] - end[i] - stride[i] - 1) / -stride[i]
		}
		shape = append(shape, n)
	}
	return b.Op(name, schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, o, shape, x, b.Ints(name+"/begin", begin...), b.Ints(name+"/end", end...), b.Ints(name+"/stride", stride...))
}

// networks by name; each is what lies between the input and a last dense layer. units is how many channels are free, classes how many
// lie side by side.
var networks = map[string]struct {
	build          func(b net, x int32) int32
	units, classes int
}{
	"one after the other": {func(b net, x int32) int32 { return b.conv("b", b.conv("a", x, 8, tflitetest.ReLU), 6, tflitetest.ReLU) }, 14, 2},
	"depthwise": {func(b net, x int32) int32 {
		return b.conv("c", b.depthwise("b", b.conv("a", x, 8, tflitetest.ReLU), 2), 4, tflitetest.ReLU)
	}, 8 + 16 + 4, 3},
	"residual": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.None)
		return b.Add("sum", x, b.conv("c", b.conv("b", x, 5, tflitetest.ReLU), 8, tflitetest.None), tflitetest.ReLU)
	}, 8 + 5, 2},
	"grouped":    {func(b net, x int32) int32 { return b.grouped("b", b.conv("a", x, 8, tflitetest.ReLU), 6, 2) }, 14, 2},
	"transposed": {func(b net, x int32) int32 { return b.transposed("b", b.conv("a", x, 8, tflitetest.ReLU), 4) }, 12, 2},
	"concatenated, pooled and padded": {func(b net, x int32) int32 {
		x = b.Concat("both", 3, b.conv("a", x, 4, tflitetest.ReLU), b.conv("b", x, 3, tflitetest.None))
		x = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, x, 2, 2, schema.PaddingSAME)
		pads := b.Ints("pads", 0, 0, 1, 1, 1, 1, 0, 0)
		return b.Op("pad", schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, []int32{1, 5, 5, 7}, x, pads)
	}, 7, 1},
	"constants that are added and multiplied": {func(b net, x int32) int32 {
		x = b.mul("scale", b.conv("a", x, 8, tflitetest.ReLU), b.Const("scale/by", b.gauss(8), 8))
		return b.Op("shift", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), b.Const("shift/by", b.gauss(8), 1, 1, 1, 8), x)
	}, 8, 1},
	"a gate": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		gate := b.Unary("gate", schema.BuiltinOperatorLOGISTIC, b.Dense("g", b.MeanHW("mean", x), b.gauss(8*8), b.gauss(8), 8, tflitetest.None))
		return b.mul("gated", x, gate)
	}, 8, 1},
	"weights used twice": {func(b net, x int32) int32 {
		x = b.conv("a", x, 4, tflitetest.ReLU)
		w, bias := b.Const("w", b.gauss(4*9*4), 4, 3, 3, 4), b.Const("w/bias", b.gauss(4), 4)
		for _, name := range []string{"first", "second"} {
			o := &schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1, FusedActivationFunction: schema.ActivationFunctionTypeRELU}
			x = b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w, bias)
		}
		return x
	}, 4, 1},
	"swish": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.None)
		return b.mul("swish", x, b.Unary("sigmoid", schema.BuiltinOperatorLOGISTIC, x))
	}, 0, 0},
	"tanh": {func(b net, x int32) int32 {
		return b.Unary("tanh", schema.BuiltinOperatorTANH, b.conv("a", x, 8, tflitetest.None))
	}, 0, 0},
	"RELU6": {func(b net, x int32) int32 {
		return b.conv("b", b.conv("a", x, 8, tflitetest.ReLU6), 6, tflitetest.ReLU6)
	}, 14, 2},
	"mirrored": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		o := &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeREFLECT}
		return b.Op("pad", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, o, []int32{1, 9, 6, 8}, x, b.pads(1, 2, 0, 0, 0, 0))
	}, 8, 1},
	"mirrored among channels": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		o := &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeREFLECT}
		return b.Op("pad", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, o, []int32{1, 6, 6, 11}, x, b.pads(0, 0, 0, 0, 1, 2))
	}, 0, 0},
	"mirrored before the channels": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		o := &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeSYMMETRIC}
		return b.Op("pad", schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, o, []int32{1, 6, 6, 9}, x, b.pads(0, 0, 0, 0, 1, 0))
	}, 0, 0},
	"channels of zeros on either side": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		x = b.Op("pad", schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, []int32{1, 6, 6, 11}, x, b.pads(0, 0, 0, 0, 1, 2))
		return b.conv("b", x, 4, tflitetest.ReLU)
	}, 12, 2},
	"channels of another number": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("pad", schema.BuiltinOperatorPADV2, schema.BuiltinOptionsPadV2Options, &schema.PadV2OptionsT{}, []int32{1, 6, 6, 9}, x, b.pads(0, 0, 0, 0, 1, 0), b.Const("value", []float32{-1}, 1))
	}, 0, 0},
	"PRELU": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.None)
		return b.Op("prelu", schema.BuiltinOperatorPRELU, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("alpha", b.gauss(8), 1, 1, 8))
	}, 8, 1},
	"PRELU with a slope that is computed": {func(b net, x int32) int32 {
		a := b.conv("a", x, 8, tflitetest.None)
		return b.Op("prelu", schema.BuiltinOperatorPRELU, schema.BuiltinOptionsNONE, nil, b.Shape(a), a, b.conv("alpha", x, 8, tflitetest.None))
	}, 0, 0},
	"transposed places": {func(b net, x int32) int32 {
		x = b.conv("a", b.cropped("narrow", x, []int32{0, 0, 0, 0}, []int32{1, 6, 4, 3}, []int32{1, 1, 1, 1}, 0), 8, tflitetest.ReLU)
		return b.Op("t", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 4, 6, 8}, x, b.Ints("perm", 0, 2, 1, 3))
	}, 8, 1},
	"transposed channels": {func(b net, x int32) int32 {
		x = b.conv("a", x, 6, tflitetest.ReLU)
		return b.Op("t", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 6, 6, 6}, x, b.Ints("perm", 0, 1, 3, 2))
	}, 0, 0},
	"every other channel": {func(b net, x int32) int32 {
		return b.cropped("slice", b.conv("a", x, 8, tflitetest.ReLU), []int32{0, 1, 0, 1}, []int32{1, 5, 6, 8}, []int32{1, 2, 1, 3}, 0)
	}, 8, 1},
	"channels back to front": {func(b net, x int32) int32 {
		return b.cropped("slice", b.conv("a", x, 8, tflitetest.ReLU), []int32{0, 0, 0, 6}, []int32{1, 6, 6, 1}, []int32{1, 1, 1, -2}, 0)
	}, 8, 1},
	"one channel": {func(b net, x int32) int32 {
		return b.cropped("slice", b.conv("a", x, 8, tflitetest.ReLU), []int32{0, 0, 0, 2}, []int32{1, 6, 6, 3}, []int32{1, 1, 1, 1}, 1<<3)
	}, 0, 0},
	"one row": {func(b net, x int32) int32 {
		return b.cropped("slice", b.conv("a", x, 8, tflitetest.ReLU), []int32{0, 2, 0, 2}, []int32{1, 3, 6, 7}, []int32{1, 1, 1, 1}, 1<<1)
	}, 8, 1},
	"parts of channels": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		parts := b.Ops("split", schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: 2}, [][]int32{{1, 6, 6, 4}, {1, 6, 6, 4}}, b.axis(3), x)
		return b.Add("sum", parts[0], b.conv("b", parts[1], 4, tflitetest.ReLU), tflitetest.None)
	}, 8, 1},
	"parts of places": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		parts := b.Ops("split", schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: 2}, [][]int32{{1, 3, 6, 8}, {1, 3, 6, 8}}, b.axis(1), x)
		return b.Concat("both", 2, parts[1], parts[0])
	}, 8, 1},
	"side by side in height": {func(b net, x int32) int32 {
		return b.Concat("both", 1, b.conv("a", x, 8, tflitetest.ReLU), b.conv("b", x, 8, tflitetest.ReLU))
	}, 8, 1},
	"a divisor that is constant": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.div("share", x, b.Const("by", []float32{1, 2, 3, 4, 5, 6, 7, 8}, 8))
	}, 8, 1},
	"a divisor that is an activation": {func(b net, x int32) int32 {
		by := b.Op("shift", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{1, 6, 6, 8}, b.conv("a", x, 8, tflitetest.ReLU), b.Const("one", slices.Repeat([]float32{1}, 8), 8))
		return b.div("share", b.Const("of", slices.Repeat([]float32{3}, 8), 1, 1, 1, 8), by)
	}, 0, 0},
	"a factor before an activation": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("scale", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), b.Const("by", b.gauss(8), 8), x)
	}, 8, 1},
	"a product of two": {func(b net, x int32) int32 { // the first keeps its freedom, the second stays
		return b.mul("product", b.conv("a", x, 8, tflitetest.ReLU), b.conv("b", x, 8, tflitetest.ReLU))
	}, 8, 1},
	"one map that multiplies all channels": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.mul("attention", x, b.conv("map", x, 1, tflitetest.ReLU))
	}, 8, 1},
	"the largest channel": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("max", schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1, 6, 6}, x, b.Ints("axes", 3))
	}, 0, 0},
	"the largest place": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("max", schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1, 6, 8}, x, b.Ints("axes", 1))
	}, 8, 1},
	"the product of places": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("prod", schema.BuiltinOperatorREDUCE_PROD, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1, 6, 8}, x, b.Ints("axes", 1))
	}, 0, 0},
	"a kernel that is an addend too": {func(b net, x int32) int32 {
		x = b.Dense("d", b.MeanHW("mean", b.conv("a", x, 4, tflitetest.ReLU)), b.gauss(16), nil, 4, tflitetest.ReLU)
		w := b.Const("w", b.gauss(16), 4, 4)
		y := b.Op("e", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 4}, x, w, -1)
		return b.Op("f", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{4, 4}, w, y)
	}, 4, 1},
	"a scalar": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("shift", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), x, b.Const("shift/by", []float32{0.5}))
	}, 0, 0},
}

func model(build func(b net, x int32) int32) *tflite.Model {
	b := net{tflitetest.New(), rand.New(rand.NewPCG(3, 4))}
	x := build(b, b.Input("x", 1, 6, 6, 3))
	x = b.Flatten("flat", x)
	b.Output(b.Dense("out", x, b.gauss(5*b.Shape(x)[1]), b.gauss(5), 5, tflitetest.None))
	return b.Model()
}

func feed(i int, inputs [][]float32) error {
	random := rand.New(rand.NewPCG(uint64(i), 9))
	for k := range inputs[0] {
		inputs[0][k] = float32(3 * random.NormFloat64())
	}
	return nil
}

// Scaled networks compute what the given one does, whatever the factors are.
func TestScaledNetworksComputeTheSame(t *testing.T) {
	for name, tt := range networks {
		t.Run(name, func(t *testing.T) {
			m := model(tt.build)
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := Find(g, nil)
			if s.Units() != tt.units || s.Classes() != tt.classes {
				t.Errorf("%d units in %d classes, want %d in %d", s.Units(), s.Classes(), tt.units, tt.classes)
			}
			sizes, err := s.Measure(context.Background(), m, nil, feed, 8)
			if err != nil {
				t.Fatal(err)
			}
			mixes := make([]Mix, s.Classes())
			for i := range mixes {
				mixes[i] = Mix{Activation: 1}
			}
			factors := s.Factors(sizes, mixes)
			if len(s.clipped) == 0 { // any others have to do as well
				random := rand.New(rand.NewPCG(1, 1))
				for u := range factors {
					factors[u] *= math.Exp(random.NormFloat64())
				}
			}
			scaled, err := s.Apply(m, factors)
			if err != nil {
				t.Fatal(err)
			}
			want, got := run(t, m), run(t, scaled)
			for i := range want {
				if d := math.Abs(float64(want[i] - got[i])); d > 1e-4*(1+math.Abs(float64(want[i]))) {
					t.Fatalf("output %d is %v, before %v", i, got[i], want[i])
				}
			}
			if tt.units > 0 && cmp.Equal(values(t, m), values(t, scaled)) {
				t.Error("no constant changed")
			}
		})
	}
}

// values are those of a model's first kernel.
func values(t *testing.T, m *tflite.Model) []float32 {
	t.Helper()
	for _, tensor := range m.Subgraph().Tensors {
		if tensor.Name == "a/kernel" || tensor.Name == "a_w" || m.IsConst(tensor) && tensor.Type == schema.TensorTypeFLOAT32 {
			v, err := m.Float32s(tensor)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return nil
}

func run(t *testing.T, m *tflite.Model) (out []float32) {
	t.Helper()
	n, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	exec := n.NewForwardExec()
	for i := range 8 {
		if err := feed(i, [][]float32{exec.Input(0)}); err != nil {
			t.Fatal(err)
		}
		exec.Forward()
		out = append(out, exec.Output(0)...)
	}
	return out
}

func TestChannelsBecomeOneSize(t *testing.T) {
	tests := map[string]struct {
		act   tflitetest.Act
		bound float64 // of factor times largest value
	}{"RELU": {tflitetest.ReLU, math.Inf(1)}, "RELU6": {tflitetest.ReLU6, 6}}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := model(func(b net, x int32) int32 { return b.depthwise("b", b.conv("a", x, 16, tt.act), 1) })
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := Find(g, nil)
			measure := func(m *tflite.Model) *Sizes {
				sizes, err := s.Measure(context.Background(), m, nil, feed, 8)
				if err != nil {
					t.Fatal(err)
				}
				return sizes
			}
			before := measure(m)
			mixes := make([]Mix, s.Classes())
			for i := range mixes {
				mixes[i] = Mix{Activation: 1}
			}
			factors := s.Factors(before, mixes)
			scaled, err := s.Apply(m, factors)
			if err != nil {
				t.Fatal(err)
			}
			after := measure(scaled)
			for u, size := range after.Activation {
				switch {
				case before.Activation[u] == 0:
				case before.Stays[u] && factors[u] != 1:
					t.Errorf("unit %d reaches 6 and is multiplied by %v", u, factors[u])
				case size < 0.999 && !(before.Most[u] < 1/before.Activation[u]):
					t.Errorf("unit %d is %.3f of the largest, before %.3f", u, size, before.Activation[u])
				}
			}
		})
	}
}

func TestFactors(t *testing.T) {
	inf := math.Inf(1)
	s := &Structure{roots: make([]int, 4), class: []int{0, 0, 0, 0}, classes: 1}
	sizes := &Sizes{
		Activation: []float64{0.25, 1, 0, 1e-6}, Reader: []float64{1, 0.25, 1, 1}, Maker: []float64{1, 1, 1, 0.25},
		Most: []float64{inf, inf, inf, 3}, Stays: make([]bool, 4),
	}
	tests := map[string]struct {
		mix  Mix
		want []float64
	}{
		"none":          {None, []float64{1, 1, 1, 1}},
		"activations":   {Mix{Activation: 1}, []float64{4, 1, 1, 3}},
		"half and half": {Mix{Activation: 0.5, Reader: 0.5}, []float64{2, 0.5, 1, 3}},
		"weights":       {Mix{Maker: 0.5, Reader: 0.5}, []float64{1, 0.5, 1, 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, s.Factors(sizes, []Mix{tt.mix})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Clustered weights keep their codes: what reads and makes their channels stays.
func TestKeptConstantsStay(t *testing.T) {
	m := model(networks["one after the other"].build)
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if n.Op == schema.BuiltinOperatorFULLY_CONNECTED {
			if s := Find(g, map[int]bool{n.Inputs[1]: true}); s.Units() != 8 {
				t.Errorf("%d units are free, want those of the first convolution, 8", s.Units())
			}
		}
	}
}

// Sizes of a network worked out by hand: x → 1×1 convolution a of 3 channels, RELU6 → depthwise d → dense y.
func TestSizesOfChannels(t *testing.T) {
	build := func() *tflite.Model {
		b := tflitetest.New()
		a := b.Conv("a", b.Input("x", 1, 1, 1, 2), []float32{1, 0, 0, 2, 0, 0}, []float32{0, 0, 0}, 3, 1, 1, 1, schema.PaddingVALID, tflitetest.ReLU6)
		d := b.Depthwise("d", a, []float32{0.5, 0.25, 3}, nil, 1, 1, 1, schema.PaddingVALID, tflitetest.None)
		b.Output(b.Dense("y", b.Flatten("flat", d), []float32{4, -1, 0, 0.5, 2, 0}, nil, 2, tflitetest.None))
		return b.Model()
	}
	rows := [][]float32{{3, -1}, {-2, 0.75}, {1, 0.5}} // a: {3 0 0} {0 1.5 0} {1 1 0}
	one := []float64{1, 1, 1}
	for name, tc := range map[string]struct {
		rows   [][]float32
		single bool
		want   map[string]Sizes // of the units of a and of d
	}{
		"a scale per channel": {rows, false, map[string]Sizes{
			"a": {Activation: []float64{1, 0.5, 0}, Reader: one, Maker: one, Most: []float64{2, 4, math.Inf(1)}, Stays: make([]bool, 3)},
			"d": {Activation: []float64{1, 0.25, 0}, Reader: []float64{1, 1, 1}, Maker: one, Most: slices.Repeat([]float64{math.Inf(1)}, 3), Stays: make([]bool, 3)},
		}},
		"one scale": {rows, true, map[string]Sizes{
			"a": {Activation: []float64{1, 0.5, 0}, Reader: []float64{0.5 / 3, 0.25 / 3, 1}, Maker: []float64{0.5, 1, 1}, Most: []float64{2, 4, math.Inf(1)}, Stays: make([]bool, 3)},
			"d": {Activation: []float64{1, 0.25, 0}, Reader: []float64{1, 0.5, 1}, Maker: []float64{0.5 / 3, 0.25 / 3, 1}, Most: slices.Repeat([]float64{math.Inf(1)}, 3), Stays: make([]bool, 3)},
		}},
		"at the bound": {[][]float32{{6, 1}, {2, 10}}, false, map[string]Sizes{
			"a": {Activation: []float64{1, 1, 0}, Reader: one, Maker: one, Most: []float64{1, 1, math.Inf(1)}, Stays: []bool{true, true, false}},
		}},
		"just below it": {[][]float32{{5.75, 0}}, false, map[string]Sizes{
			"a": {Activation: []float64{1, 0, 0}, Reader: one, Maker: one, Most: []float64{6 / 5.75, math.Inf(1), math.Inf(1)}, Stays: make([]bool, 3)},
		}},
		"always 0": {[][]float32{{-1, -1}}, false, map[string]Sizes{
			"a": {Activation: []float64{0, 0, 0}, Reader: one, Maker: one, Most: slices.Repeat([]float64{math.Inf(1)}, 3), Stays: make([]bool, 3)},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := build()
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := Find(g, nil)
			if s.Units() != 6 || s.Classes() != 2 {
				t.Fatalf("%d units in %d classes", s.Units(), s.Classes())
			}
			single := map[int]bool{}
			for i := range g.Tensors {
				single[i] = tc.single
			}
			sizes, err := s.Measure(context.Background(), m, single, func(i int, inputs [][]float32) error {
				copy(inputs[0], tc.rows[i])
				return nil
			}, len(tc.rows))
			if err != nil {
				t.Fatal(err)
			}
			for layer, want := range tc.want {
				var got Sizes
				for _, u := range s.activations[g.Nodes[map[string]int{"a": 0, "d": 1}[layer]].Outputs[0]] {
					u := s.unit(u)
					got.Activation, got.Reader, got.Maker = append(got.Activation, sizes.Activation[u]), append(got.Reader, sizes.Reader[u]), append(got.Maker, sizes.Maker[u])
					got.Most, got.Stays = append(got.Most, sizes.Most[u]), append(got.Stays, sizes.Stays[u])
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-6, 0)); diff != "" {
					t.Errorf("%s: %s", layer, diff)
				}
			}
		})
	}
}

// Every sample is looked at once, wherever the largest value is; errors of a sample are told.
func TestEverySampleCounts(t *testing.T) {
	m := model(func(b net, x int32) int32 { return b.conv("a", x, 2, tflitetest.None) })
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := Find(g, nil)
	net, err := float.Compile(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, net.MicroBatch, lanes*net.MicroBatch + 1, 2*lanes*net.MicroBatch + 3} {
		seen := make([]atomic.Int32, n)
		if _, err := s.Measure(context.Background(), m, nil, func(i int, inputs [][]float32) error {
			seen[i].Add(1)
			return nil
		}, n); err != nil {
			t.Fatal(err)
		}
		for i := range seen {
			if times := seen[i].Load(); times != 1 {
				t.Fatalf("sample %d of %d is looked at %d times", i, n, times)
			}
		}
	}
	if _, err := s.Measure(context.Background(), m, nil, feed, 0); err == nil || err.Error() != "equalization needs at least one sample" {
		t.Errorf("no samples: %v", err)
	}
	broken := errors.New("no such sample")
	if _, err := s.Measure(context.Background(), m, nil, func(int, [][]float32) error { return broken }, 1); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Measure(cancelled, m, nil, feed, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
