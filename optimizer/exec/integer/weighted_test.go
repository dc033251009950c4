package integer_test

import (
	"bytes"
	"fmt"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// geometry is a convolution to be tried.
type geometry struct {
	h, w, in, out          int32
	kh, kw                 int32
	stride, dilation       int32
	padding                schema.Padding
	act                    schema.ActivationFunctionType
	groups                 int32
	perTensor, withoutBias bool
	zero                   int64 // of weights with one scale
}

func (b *builder) geometry() geometry {
	pick := func(values ...int32) int32 { return values[b.rng.IntN(len(values))] }
	g := geometry{
		h: pick(5, 8, 13, 25), w: pick(5, 9, 10), in: pick(1, 2, 3, 8, 17, 64), out: pick(1, 4, 13, 32, 67),
		kh: pick(1, 1, 2, 3, 5), kw: pick(1, 1, 3, 4), stride: pick(1, 1, 2, 3), dilation: 1, groups: 1,
		padding: schema.Padding(b.rng.IntN(2)), act: schema.ActivationFunctionType(b.rng.IntN(4)),
		perTensor: b.rng.IntN(3) == 0, withoutBias: b.rng.IntN(4) == 0,
	}
	if g.perTensor {
		g.zero = []int64{0, -128, 127, int64(b.rng.IntN(256) - 128)}[b.rng.IntN(4)]
	}
	if g.stride == 1 && g.kh*g.kw > 1 {
		g.dilation = pick(1, 1, 2)
	}
	g.kh, g.kw = min(g.kh, g.h/g.dilation), min(g.kw, g.w/g.dilation)
	return g
}

func (g geometry) output() (h, w int32) {
	reachH, reachW := (g.kh-1)*g.dilation+1, (g.kw-1)*g.dilation+1
	if g.padding == schema.PaddingSAME {
		return (g.h + g.stride - 1) / g.stride, (g.w + g.stride - 1) / g.stride
	}
	return (g.h-reachH)/g.stride + 1, (g.w-reachW)/g.stride + 1
}

func (b *builder) filter(g geometry, axis int32, shape ...int32) int32 {
	w := b.weights(axis, shape...)
	if g.perTensor {
		b.Quantize(w, 0, g.zero, 0.005)
	}
	return w
}

func (b *builder) biasOrNone(g geometry, n int32) int32 {
	if g.withoutBias {
		return -1
	}
	return b.bias(n)
}

func convModel(b *builder, g geometry) *tflite.Model {
	x := b.input(wide, 1, g.h, g.w, g.in)
	w := b.filter(g, 0, g.out, g.kh, g.kw, g.in/g.groups)
	h, v := g.output()
	options := &schema.Conv2DOptionsT{
		Padding: g.padding, StrideH: g.stride, StrideW: g.stride, DilationHFactor: g.dilation, DilationWFactor: g.dilation, FusedActivationFunction: g.act,
	}
	return b.model(b.op(schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, options, affine{0.1, -20}, []int32{1, h, v, g.out}, x, w, b.biasOrNone(g, g.out)))
}

func depthwiseModel(b *builder, g geometry) *tflite.Model {
	mult := int32(1 + b.rng.IntN(3)/2)
	x := b.input(wide, 1, g.h, g.w, g.in)
	w := b.filter(g, 3, 1, g.kh, g.kw, g.in*mult)
	h, v := g.output()
	options := &schema.DepthwiseConv2DOptionsT{
		Padding: g.padding, StrideH: g.stride, StrideW: g.stride, DilationHFactor: g.dilation, DilationWFactor: g.dilation, FusedActivationFunction: g.act,
		DepthMultiplier: mult,
	}
	return b.model(b.op(schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, options, affine{0.05, -20},
		[]int32{1, h, v, g.in * mult}, x, w, b.biasOrNone(g, g.in*mult)))
}

func denseModel(b *builder, g geometry) *tflite.Model {
	x := b.input(wide, 1, g.h, g.in)
	w := b.filter(g, 0, g.out, g.in)
	options := &schema.FullyConnectedOptionsT{FusedActivationFunction: g.act, KeepNumDims: true}
	return b.model(b.op(schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, options, affine{0.05, -20},
		[]int32{1, g.h, g.out}, x, w, b.biasOrNone(g, g.out)))
}

func TestFastPathsGiveTheBytesOfThePlainLoops(t *testing.T) {
	for name, build := range map[string]func(*builder, geometry) *tflite.Model{"conv": convModel, "depthwise": depthwiseModel, "dense": denseModel} {
		b := newBuilder()
		for i := range 60 {
			g := b.geometry()
			if name == "conv" && i%10 == 0 && g.in%2 == 0 {
				g.groups, g.out = 2, 2*g.out
			}
			t.Run(fmt.Sprintf("%s %+v", name, g), func(t *testing.T) {
				b := newBuilder()
				m := build(b, g)
				const batch = 3
				fast, plain := compile(t, m, batch), compile(t, m, batch, integer.Reference())
				x := randomCodes(b.rng, batch*fast.Graph().Numel(fast.Graph().Inputs[0])/batch)
				if !bytes.Equal(run(t, fast, x), run(t, plain, x)) {
					t.Error("they differ")
				}
			})
		}
	}
}

func TestConvolutionsAreTheRealOnes(t *testing.T) {
	b := newBuilder()
	for range 40 {
		g := b.geometry()
		if g.in%2 == 0 {
			g.groups, g.out = 2, 2*g.out
		}
		b := newBuilder()
		e := compile(t, convModel(b, g), 0)
		x := randomCodes(b.rng, e.Graph().Numel(e.Graph().Inputs[0]))
		near(t, run(t, e, x), affine{0.1, -20}, realConv(e.Graph(), g, x), twice)
	}
}

// realConv is the convolution of real values, clamped by the activation.
func realConv(gr *ir.Graph, g geometry, x []byte) []float64 {
	n := &gr.Nodes[0]
	attr, weights, bias := n.Attr.(ir.Conv), gr.Input(n, 1), gr.Input(n, 2)
	lo, hi := attr.Act.Bounds()
	codes := weights.Int8s()
	var out []float64
	for y := range attr.OutH {
		for z := range attr.OutW {
			for o := range int(g.out) {
				scale := float64(weights.Quant.Scale[min(o, len(weights.Quant.Scale)-1)])
				sum := 0.0
				if bias != nil {
					sum = float64(bias.Ints()[o]) * scale * float64(wide.scale)
				}
				depth := int(g.in / g.groups)
				first := o / (int(g.out) / int(g.groups)) * depth
				for i := range attr.KH {
					for j := range attr.KW {
						iy, ix := y*attr.StrideH-attr.PadTop+i*attr.DilationH, z*attr.StrideW-attr.PadLeft+j*attr.DilationW
						if iy < 0 || ix < 0 || iy >= attr.InH || ix >= attr.InW {
							continue
						}
						for c := range depth {
							sum += scale * float64(int32(codes[((o*attr.KH+i)*attr.KW+j)*depth+c])-weights.Quant.ZeroPoint[0]) * wide.real(int8(x[(iy*attr.InW+ix)*int(g.in)+first+c]))
						}
					}
				}
				out = append(out, min(max(sum, float64(lo)), float64(hi)))
			}
		}
	}
	return out
}

func TestTransposedConvolutionIsTheAdjointOfAConvolution(t *testing.T) {
	b := newBuilder()
	x := b.input(wide, 1, 4, 3, 5)
	w := b.weights(0, 7, 3, 3, 5)
	options := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideH: 2, StrideW: 2}
	out := affine{0.08, 3}
	y := b.op(schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, options, out, []int32{1, 8, 6, 7}, b.Ints("shape", 1, 8, 6, 7), w, x, b.bias(7))
	e := compile(t, b.model(y), 2)
	data := randomCodes(b.rng, 2*60)
	got := run(t, e, data)
	g := e.Graph()
	attr, weights, bias := g.Nodes[0].Attr.(ir.TransposeConv), g.Input(&g.Nodes[0], 1), g.Input(&g.Nodes[0], 3).Ints()
	codes := weights.Int8s()
	want := make([]float64, 2*8*6*7)
	for i := range want {
		want[i] = float64(bias[i%7]) * float64(weights.Quant.Scale[i%7]) * float64(wide.scale)
	}
	for i, code := range data {
		n, iy, ix, c := i/60, i/15%4, i/5%3, i%5
		for k := range 7 * 3 * 3 {
			o, ky, kx := k/9, k/3%3, k%3
			oy, ox := iy*2-attr.PadTop+ky, ix*2-attr.PadLeft+kx
			if oy >= 0 && oy < 8 && ox >= 0 && ox < 6 {
				want[((n*8+oy)*6+ox)*7+o] += float64(weights.Quant.Scale[o]) * float64(codes[k*5+c]) * wide.real(int8(code))
			}
		}
	}
	near(t, got, out, want, twice)
}

func TestUint8ModelsRunAsInt8(t *testing.T) {
	b := newBuilder()
	x := b.Input("x", 1, 4)
	b.Tensor(x).Type = schema.TensorTypeUINT8
	b.Quantize(x, 0, 118, 0.05)
	w := b.Raw("w", schema.TensorTypeUINT8, []byte{130, 120, 0, 255, 128, 128, 3, 90}, 2, 4)
	b.Quantize(w, 0, 120, 0.01)
	y := b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 2}, x, w, b.Ints("bias", 100, -100))
	b.Tensor(y).Type = schema.TensorTypeUINT8
	b.Quantize(y, 0, 100, 0.03)
	e := compile(t, b.model(y), 0)
	if err := e.SetInput(0, []float32{1, -2, 0.5, 3}); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	// Σ 0.01·(w−120)·x + 0.0005·bias: 0.01·(10 − 60 + 405) + 0.05 and 0.01·(8 − 16 − 58.5 − 90) − 0.05.
	for i, want := range []float32{3.6, -1.615} {
		if d := e.Output(0)[i] - want; d > 0.0151 || d < -0.0151 {
			t.Errorf("output %d is %v, want %v", i, e.Output(0)[i], want)
		}
	}
}

// TestAveragesOfUint8AreRoundedUp has, behind a layer whose weights are uint8, averages that lie between two codes: LiteRT rounds
// (1 + 2 + 1 + 2) / 4 of uint8 to 2, whatever the zero point.
func TestAveragesOfUint8AreRoundedUp(t *testing.T) {
	b := newBuilder()
	unsigned := func(x int32) int32 {
		b.SetType(x, schema.TensorTypeUINT8)
		b.Quantize(x, 0, 128, 1)
		return x
	}
	x := unsigned(b.Input("x", 1, 2, 2, 1))
	w := b.Raw("w", schema.TensorTypeUINT8, []byte{1}, 1, 1, 1, 1)
	b.Quantize(w, 0, 0, 1)
	same := unsigned(b.Op("same", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions,
		&schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}, []int32{1, 2, 2, 1}, x, w, b.Ints("bias", 0)))
	y := unsigned(b.Op("y", schema.BuiltinOperatorAVERAGE_POOL_2D, schema.BuiltinOptionsPool2DOptions,
		&schema.Pool2DOptionsT{FilterHeight: 2, FilterWidth: 2, StrideH: 1, StrideW: 1, Padding: schema.PaddingVALID}, []int32{1, 1, 1, 1}, same))
	m := b.model(y)
	for name, e := range map[string]*integer.Executor{"fast": compile(t, m, 0), "plain": compile(t, m, 0, integer.Reference())} {
		if err := e.SetInput(0, []float32{-127, -126, -127, -126}); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		if got := e.OutputBytes(0)[0] ^ 0x80; got != 2 {
			t.Errorf("%s: code %d, want 2", name, got)
		}
	}
}

// TestScalesOfUint8LayersAreMultipliedAsFloat32 has sums whose code depends on it; those wanted are LiteRT 2.3's reference kernels'.
func TestScalesOfUint8LayersAreMultipliedAsFloat32(t *testing.T) {
	for name, test := range map[string]struct {
		op              schema.BuiltinOperator
		kind            schema.BuiltinOptions
		options         any
		in, weight, out float32
		sum             int32
		want            byte
	}{
		"conv": {schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, &schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1},
			0.03683730214834213, 0.0020215942058712244, 0.11060551553964615, -109164, 55},
		"depthwise": {schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions,
			&schema.DepthwiseConv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1, DepthMultiplier: 1},
			0.007576636970043182, 0.0020494137424975634, 0.055128712207078934, -228997, 63},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder()
			x := b.Input("x", 1, 1, 1, 1)
			b.SetType(x, schema.TensorTypeUINT8)
			b.Quantize(x, 0, 128, test.in)
			w := b.Raw("w", schema.TensorTypeUINT8, []byte{200}, 1, 1, 1, 1)
			b.Quantize(w, 0, 120, test.weight)
			y := b.Op("y", test.op, test.kind, test.options, []int32{1, 1, 1, 1}, x, w, b.Ints("bias", test.sum))
			b.SetType(y, schema.TensorTypeUINT8)
			b.Quantize(y, 0, 128, test.out)
			e := compile(t, b.model(y), 0)
			if err := e.SetInput(0, []float32{0}); err != nil {
				t.Fatal(err)
			}
			if err := e.Run(); err != nil {
				t.Fatal(err)
			}
			if got := e.OutputBytes(0)[0] ^ 0x80; got != test.want { // its int8 code is 128 less
				t.Errorf("code %d, want %d", got, test.want)
			}
		})
	}
}
