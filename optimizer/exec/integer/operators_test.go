package integer_test

import (
	"fmt"
	"math"
	"testing"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// twice is how far, in codes, a value that is rounded twice may be from the real one: ½ for the last rounding, ¼ for the one before.
const twice = 0.76

var (
	wide   = affine{0.05, -10}
	narrow = affine{0.02, 5}
)

func TestUnaryOperatorsAreTheRealFunctions(t *testing.T) {
	for _, test := range []struct {
		op        schema.BuiltinOperator
		kind      schema.BuiltinOptions
		options   any
		in, out   affine
		f         func(float64) float64
		tolerance float64 // codes
	}{
		{op: schema.BuiltinOperatorRELU, in: wide, out: narrow, f: func(x float64) float64 { return max(x, 0) }, tolerance: twice},
		{op: schema.BuiltinOperatorRELU6, in: wide, out: affine{0.025, -128}, f: func(x float64) float64 { return min(max(x, 0), 6) }, tolerance: twice},
		{op: schema.BuiltinOperatorRELU_N1_TO_1, in: wide, out: narrow, f: func(x float64) float64 { return min(max(x, -1), 1) }, tolerance: twice},
		{op: schema.BuiltinOperatorRELU_0_TO_1, in: wide, out: narrow, f: func(x float64) float64 { return min(max(x, 0), 1) }, tolerance: twice},
		{op: schema.BuiltinOperatorLEAKY_RELU, kind: schema.BuiltinOptionsLeakyReluOptions, options: &schema.LeakyReluOptionsT{Alpha: 0.3}, in: wide, out: wide,
			f: func(x float64) float64 { return max(x, 0) + 0.3*min(x, 0) }, tolerance: twice},
		{op: schema.BuiltinOperatorLEAKY_RELU, kind: schema.BuiltinOptionsLeakyReluOptions, options: &schema.LeakyReluOptionsT{Alpha: -0.3}, in: wide, out: wide,
			f: func(x float64) float64 { return max(x, 0) - 0.3*min(x, 0) }, tolerance: twice},
		{op: schema.BuiltinOperatorHARD_SWISH, in: wide, out: wide, f: func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 }, tolerance: 1},
		{op: schema.BuiltinOperatorHARD_SWISH, in: affine{0.002, 0}, out: affine{0.001, 0}, f: func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 }, tolerance: 1},
		{op: schema.BuiltinOperatorLOGISTIC, in: wide, out: affine{1.0 / 256, -128}, f: func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, tolerance: 0.51},
		{op: schema.BuiltinOperatorTANH, in: wide, out: affine{1.0 / 128, 0}, f: math.Tanh, tolerance: 0.51},
		{op: schema.BuiltinOperatorELU, in: wide, out: wide, f: func(x float64) float64 {
			if x < 0 {
				return math.Expm1(x)
			}
			return x
		}, tolerance: 0.51},
		{op: schema.BuiltinOperatorGELU, in: wide, out: wide, f: func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }, tolerance: 0.51},
		{op: schema.BuiltinOperatorGELU, kind: schema.BuiltinOptionsGeluOptions, options: &schema.GeluOptionsT{Approximate: true}, in: wide, out: wide,
			f: func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }, tolerance: twice},
		{op: schema.BuiltinOperatorEXP, in: narrow, out: affine{0.05, -128}, f: math.Exp, tolerance: 0.51},
		{op: schema.BuiltinOperatorLOG, in: affine{0.03, -129 + 1}, out: affine{0.03, 0}, f: func(x float64) float64 { return math.Log(max(x, 1e-9)) }, tolerance: 0.51},
		{op: schema.BuiltinOperatorABS, in: wide, out: affine{0.04, -128}, f: math.Abs, tolerance: twice},
		{op: schema.BuiltinOperatorABS, in: wide, out: wide, f: math.Abs, tolerance: 0},
		{op: schema.BuiltinOperatorRSQRT, in: affine{0.03, -128}, out: affine{0.05, -128}, f: func(x float64) float64 { return 1 / math.Sqrt(x) }, tolerance: twice},
		{op: schema.BuiltinOperatorQUANTIZE, in: wide, out: narrow, f: func(x float64) float64 { return x }, tolerance: twice},
	} {
		t.Run(test.op.String(), func(t *testing.T) {
			b := newBuilder()
			y := b.op(test.op, test.kind, test.options, test.out, []int32{1, 256}, b.input(test.in, 1, 256))
			x := allCodes(256)
			got := run(t, compile(t, b.model(y), 0), x)
			want := make([]float64, len(x))
			for i, code := range x {
				want[i] = test.f(test.in.real(int8(code)))
			}
			near(t, got, test.out, want, test.tolerance)
		})
	}
}

func TestBinaryOperatorsBroadcastAndAreTheRealFunctions(t *testing.T) {
	type test struct {
		op        schema.BuiltinOperator
		a, b, out affine
		f         func(a, b float64) float64
		tolerance float64
	}
	tests := []test{
		{schema.BuiltinOperatorADD, wide, narrow, wide, func(a, b float64) float64 { return a + b }, twice},
		{schema.BuiltinOperatorSUB, wide, narrow, wide, func(a, b float64) float64 { return a - b }, twice},
		{schema.BuiltinOperatorMUL, wide, narrow, affine{0.08, 3}, func(a, b float64) float64 { return a * b }, twice},
		{schema.BuiltinOperatorMINIMUM, wide, wide, wide, math.Min, 0},
		{schema.BuiltinOperatorMAXIMUM, wide, wide, wide, math.Max, 0},
		{schema.BuiltinOperatorSQUARED_DIFFERENCE, wide, narrow, affine{0.2, -128}, func(a, b float64) float64 { return (a - b) * (a - b) }, 1.6},
		{schema.BuiltinOperatorDIV, wide, affine{0.02, -128}, wide, func(a, b float64) float64 { return a / b }, twice},
		{schema.BuiltinOperatorDIV, wide, affine{0.02, 127}, wide, func(a, b float64) float64 { return a / b }, twice},
	}
	shapes := []struct{ a, b []int32 }{
		{[]int32{1, 6, 5}, []int32{1, 6, 5}}, {[]int32{1, 6, 5}, []int32{5}}, {[]int32{1, 6, 5}, []int32{1}}, {[]int32{1, 6, 5}, []int32{1, 6, 1}},
		{[]int32{1, 1, 5}, []int32{6, 1}}, {[]int32{1, 6, 1, 5}, []int32{1, 1, 7, 1}},
	}
	for _, test := range tests {
		for _, s := range shapes {
			t.Run(fmt.Sprint(test.op, s.a, s.b), func(t *testing.T) {
				b := newBuilder()
				x, y := b.input(test.a, s.a...), b.input(test.b, s.b...)
				shape := broadcast(s.a, s.b)
				m := b.model(b.plain(test.op, test.out, shape, x, y))
				dataA, dataB := randomCodes(b.rng, elements(s.a)), randomCodes(b.rng, elements(s.b))
				if test.op == schema.BuiltinOperatorDIV {
					for i, v := range dataB { // no zeros, and none of tiny size
						dataB[i] = byte(int8(int(int8(v))/2 - 1))
					}
				}
				got := run(t, compile(t, m, 0), dataA, dataB)
				want := make([]float64, elements(shape))
				for i := range want {
					want[i] = test.f(test.a.real(int8(dataA[source(i, shape, s.a)])), test.b.real(int8(dataB[source(i, shape, s.b)])))
				}
				near(t, got, test.out, want, test.tolerance)
			})
		}
	}
}

// broadcast is numpy's rule for shapes known to fit.
func broadcast(a, b []int32) []int32 {
	out := make([]int32, max(len(a), len(b)))
	for i := range out {
		out[i] = 1
		if k := i - len(out) + len(a); k >= 0 {
			out[i] = max(out[i], a[k])
		}
		if k := i - len(out) + len(b); k >= 0 {
			out[i] = max(out[i], b[k])
		}
	}
	return out
}

// source returns the element of a tensor that element i of a broadcast shape comes from.
func source(i int, shape, of []int32) int {
	at, step := 0, 1
	for d := len(shape) - 1; d >= 0; d-- {
		index := i % int(shape[d])
		i /= int(shape[d])
		if k := d - len(shape) + len(of); k >= 0 {
			if of[k] > 1 {
				at += index * step
			}
			step *= int(of[k])
		}
	}
	return at
}

func TestPreluTakesItsSlopeFromAlpha(t *testing.T) {
	b := newBuilder()
	alpha := affine{0.01, 20}
	x := b.input(wide, 1, 64, 4)
	m := b.model(b.plain(schema.BuiltinOperatorPRELU, wide, []int32{1, 64, 4}, x, b.codes(alpha, -100, 100, 4)))
	slopes := m.Buffers[m.Subgraph().Tensors[1].Buffer].Data
	data := allCodes(256)
	got := run(t, compile(t, m, 0), data)
	want := make([]float64, len(data))
	for i, code := range data {
		v := wide.real(int8(code))
		want[i] = max(v, 0) + min(v, 0)*alpha.real(int8(slopes[i%4]))
	}
	near(t, got, wide, want, twice)
}

func TestSoftmaxesAreTheRealFunctions(t *testing.T) {
	for _, depth := range []int32{1, 2, 10, 300, 4000} {
		for _, scale := range []float32{0.001, 0.1, 3} {
			in := affine{scale, 3}
			b := newBuilder()
			x := b.input(in, 3, depth)
			options := &schema.SoftmaxOptionsT{Beta: 1}
			m := b.model(b.op(schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, options, affine{1.0 / 256, -128}, []int32{3, depth}, x))
			data := randomCodes(b.rng, 3*int(depth))
			soft, logs := softmax(in, data, int(depth))
			near(t, run(t, compile(t, m, 0), data), affine{1.0 / 256, -128}, soft, 1)

			b = newBuilder()
			x = b.input(in, 3, depth)
			m = b.model(b.plain(schema.BuiltinOperatorLOG_SOFTMAX, affine{16.0 / 256, 127}, []int32{3, depth}, x))
			near(t, run(t, compile(t, m, 0), data), affine{16.0 / 256, 127}, logs, 1)
		}
	}
}

func softmax(in affine, data []byte, depth int) (soft, logs []float64) {
	for r := 0; r < len(data); r += depth {
		largest, sum := math.Inf(-1), 0.0
		for _, code := range data[r : r+depth] {
			largest = max(largest, in.real(int8(code)))
		}
		for _, code := range data[r : r+depth] {
			sum += math.Exp(in.real(int8(code)) - largest)
		}
		for _, code := range data[r : r+depth] {
			l := in.real(int8(code)) - largest - math.Log(sum)
			soft, logs = append(soft, math.Exp(l)), append(logs, l)
		}
	}
	return soft, logs
}

func TestReductionsAreTheRealOnes(t *testing.T) {
	shape := []int32{2, 3, 4, 5}
	for name, test := range map[string]struct {
		op   schema.BuiltinOperator
		out  affine
		axes []int32
		f    func(values []float64) float64
	}{
		"mean over the image":    {schema.BuiltinOperatorMEAN, narrow, []int32{1, 2}, mean},
		"mean over channels":     {schema.BuiltinOperatorMEAN, narrow, []int32{3}, mean},
		"mean over everything":   {schema.BuiltinOperatorMEAN, narrow, []int32{0, 1, 2, 3}, mean},
		"mean over nothing":      {schema.BuiltinOperatorMEAN, wide, nil, mean},
		"sum over a middle axis": {schema.BuiltinOperatorSUM, affine{0.3, 4}, []int32{-2}, func(v []float64) float64 { return mean(v) * float64(len(v)) }},
		"maximum over two axes":  {schema.BuiltinOperatorREDUCE_MAX, wide, []int32{1, 3}, func(v []float64) float64 { return extreme(v, math.Max) }},
		"minimum over two axes":  {schema.BuiltinOperatorREDUCE_MIN, wide, []int32{0, 2}, func(v []float64) float64 { return extreme(v, math.Min) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder()
			reduced := map[int32]bool{}
			for _, a := range test.axes {
				reduced[(a+4)%4] = true
			}
			kept := []int32{}
			for d, n := range shape {
				if reduced[int32(d)] {
					n = 1
				}
				kept = append(kept, n)
			}
			x := b.input(wide, shape...)
			axes := b.Ints("axes", test.axes...)
			m := b.model(b.op(test.op, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, test.out, kept, x, axes))
			data := randomCodes(b.rng, elements(shape))
			groups := make([][]float64, elements(kept))
			for i, code := range data {
				to := source(i, shape, kept)
				groups[to] = append(groups[to], wide.real(int8(code)))
			}
			want := make([]float64, len(groups))
			for i, g := range groups {
				want[i] = test.f(g)
			}
			near(t, run(t, compile(t, m, 0), data), test.out, want, twice)
		})
	}
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func extreme(v []float64, f func(a, b float64) float64) float64 {
	best := v[0]
	for _, x := range v {
		best = f(best, x)
	}
	return best
}

func TestBatchMatMulIsTheRealProduct(t *testing.T) {
	for _, adjX := range []bool{false, true} {
		for _, adjY := range []bool{false, true} {
			b := newBuilder()
			sx, sy := []int32{2, 1, 3, 4}, []int32{5, 4, 6}
			if adjX {
				sx = []int32{2, 1, 4, 3}
			}
			if adjY {
				sy = []int32{5, 6, 4}
			}
			out := affine{0.1, 7}
			x, y := b.input(wide, sx...), b.input(narrow, sy...)
			m := b.model(b.op(schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, &schema.BatchMatMulOptionsT{AdjX: adjX, AdjY: adjY},
				out, []int32{2, 5, 3, 6}, x, y))
			dataX, dataY := randomCodes(b.rng, elements(sx)), randomCodes(b.rng, elements(sy))
			got := run(t, compile(t, m, 0), dataX, dataY)
			want := make([]float64, 2*5*3*6)
			for i := range want {
				n, c, r, k := i/90, i%6, i/6%3, i/18%5
				for d := range 4 {
					atX, atY := n*12+r*4+d, k*24+d*6+c
					if adjX {
						atX = n*12 + d*3 + r
					}
					if adjY {
						atY = k*24 + c*4 + d
					}
					want[i] += wide.real(int8(dataX[atX])) * narrow.real(int8(dataY[atY]))
				}
			}
			near(t, got, out, want, twice)
		}
	}
}

func TestL2NormalizationHasLengthOne(t *testing.T) {
	b := newBuilder()
	m := b.model(b.plain(schema.BuiltinOperatorL2_NORMALIZATION, affine{1.0 / 128, 0}, []int32{4, 16}, b.input(wide, 4, 16)))
	data := randomCodes(b.rng, 64)
	for i := range 16 {
		data[48+i] = byte(wide.zero & 0xff) // a row of zeros stays one
	}
	want := make([]float64, 64)
	for r := range 4 {
		length := 0.0
		for _, code := range data[16*r : 16*r+16] {
			length = math.Hypot(length, wide.real(int8(code)))
		}
		for i, code := range data[16*r : 16*r+16] {
			want[16*r+i] = wide.real(int8(code)) / max(length, 1e-9)
		}
	}
	near(t, run(t, compile(t, m, 0), data), affine{1.0 / 128, 0}, want, 1)
}

func TestBilinearResizeIsTheRealOne(t *testing.T) {
	for _, options := range []*schema.ResizeBilinearOptionsT{{}, {AlignCorners: true}, {HalfPixelCenters: true}} {
		for _, size := range []int32{1, 3, 7, 16} {
			b := newBuilder()
			x := b.input(wide, 1, 5, 5, 2)
			m := b.model(b.op(schema.BuiltinOperatorRESIZE_BILINEAR, schema.BuiltinOptionsResizeBilinearOptions, options, wide, []int32{1, size, size, 2}, x, b.Ints("size", size, size)))
			data := randomCodes(b.rng, 50)
			got := run(t, compile(t, m, 0), data)
			var want []float64
			for y := range int(size) {
				for x := range int(size) {
					for c := range 2 {
						want = append(want, bilinear(data, place(y, size, options), place(x, size, options), c))
					}
				}
			}
			near(t, got, wide, want, 1.2)
		}
	}
}

// place returns where pixel i of a dimension resized from 5 comes from.
func place(i int, size int32, options *schema.ResizeBilinearOptionsT) float64 {
	scale := 5 / float64(size)
	switch {
	case options.AlignCorners && size > 1:
		return float64(i) * 4 / float64(size-1)
	case options.HalfPixelCenters:
		return min(max((float64(i)+0.5)*scale-0.5, 0), 4)
	default:
		return min(float64(i)*scale, 4)
	}
}

func bilinear(data []byte, y, x float64, c int) float64 {
	sum := 0.0
	for iy := range 5 {
		for ix := range 5 {
			w := max(1-math.Abs(float64(iy)-y), 0) * max(1-math.Abs(float64(ix)-x), 0)
			sum += w * wide.real(int8(data[(iy*5+ix)*2+c]))
		}
	}
	return sum
}
