package kernel

import (
	"fmt"
	"math"
	"testing"
)

// oddQuant returns a random quantization.
func (m memory) quant() Quant {
	return Quant{Scale: float32(math.Exp2(m.rng.NormFloat64())), Zero: int32(m.rng.IntN(256) - 128)}
}

// bounds returns the bounds of one of the activations.
func (m memory) bounds() (lo, hi float32) {
	inf := float32(math.Inf(1))
	b := [][2]float32{{-inf, inf}, {0, inf}, {0, 6}, {-1, 1}}[m.rng.IntN(4)]
	return b[0], b[1]
}

func TestPassesOverValuesEqualPortable(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 8)
		for range 300 {
			n := mem.rng.IntN(120)
			x, y, q := mem.odd(n), mem.odd(n), mem.quant()
			lo, hi := mem.bounds()
			check := func(what string, run, portable func(y []float32)) {
				got, want := mem.copied(y), mem.copied(y)
				run(got)
				portable(want)
				equal(t, fmt.Sprintf("%s of %v", what, x), got, want)
			}
			check(fmt.Sprintf("fake quantization %+v", q), func(y []float32) { FakeQuant(y, x, q) }, func(y []float32) { fakeQuantPortable(y, x, q) })
			check("clamp", func(y []float32) { Clamp(y, x, lo, hi) }, func(y []float32) { clampPortable(y, x, lo, hi) })
			check("gate", func(y []float32) { ClampBackward(y, x, lo, hi) }, func(y []float32) { gatePortable(y, x, lo, hi) })
			check("scale", func(y []float32) { Scale(y, 1.25) }, func(y []float32) { scalePortable(y, 1.25) })
			check("sum", func(y []float32) { Axpy(y, 1, x) }, func(y []float32) { axpyPortable(y, 1, x) })
			if got, want := MinMax(EmptyRange(), x), minMaxPortable(EmptyRange(), x); got != want {
				t.Fatalf("range of %v is %v, want %v", x, got, want)
			}
			a, b := mem.floats(n), mem.floats(n)
			got, want := mem.copied(b), mem.copied(b)
			MulAdd(got, a, b)
			mulAddPortable(want, a, b)
			near(t, "products", got, want, 1)
		}
	})
}

func TestLongPassesAreCutWithoutASeam(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 9)
		n := 2*strip + 37
		x, q := mem.odd(n), Quant{Scale: 0.1, Zero: 3}
		got, want := mem.floats(n), mem.floats(n)
		FakeQuant(got, x, q)
		fakeQuantPortable(want, x, q)
		equal(t, "fake quantization", got, want)
		if got, want := MinMax(EmptyRange(), x), minMaxPortable(EmptyRange(), x); got != want {
			t.Errorf("range is %v, want %v", got, want)
		}
		clean := mem.floats(n)
		sum := 0.0
		for _, v := range clean {
			sum += float64(v) * float64(v)
		}
		if got := SumSquares(clean); math.Abs(got-sum) > 1e-9*sum {
			t.Errorf("sum of squares is %v, want %v", got, sum)
		}
	})
}

// compareRows compares the passes over rows of c values with their definition, a pass for each step.
func compareRows(t *testing.T, mem memory, rows, c int, wild bool) {
	numbers := mem.floats
	if wild {
		numbers = mem.odd
	}
	n := rows * c
	raw, bias, q := numbers(n), mem.floats(c), mem.quant()
	lo, hi := mem.bounds()
	what := fmt.Sprintf("%d rows of %d, bounds %v %v, %+v", rows, c, lo, hi, q)

	want := mem.copied(raw)
	biasActPortable(want, bias, 0, lo, hi)
	got := mem.copied(raw)
	BiasAct(got, bias, rows, c, lo, hi)
	equal(t, what+": bias and activation", got, want)

	b := bias
	if mem.rng.IntN(3) == 0 {
		b, want = nil, mem.copied(raw)
		clampPortable(want, raw, lo, hi)
	}
	y, wantY := mem.floats(n), mem.floats(n)
	fakeQuantPortable(wantY, want, q)
	limits := BiasActQuant(y, raw, b, rows, c, lo, hi, q, Range{-0.25, 0.25})
	equal(t, what+": before quantization", raw, want)
	equal(t, what+": quantized", y, wantY)
	if w := minMaxPortable(Range{-0.25, 0.25}, want); limits != w {
		t.Fatalf("%s: range %v, want %v", what, limits, w)
	}
	compareRowsBackward(t, mem, what, raw, rows, c, lo, hi, q)
	limits = BiasActQuant(raw, raw, nil, rows, c, lo, hi, q, Range{-0.25, 0.25}) // clamping again changes nothing
	equal(t, what+": quantized in place", raw, wantY)
	if w := minMaxPortable(Range{-0.25, 0.25}, want); limits != w {
		t.Fatalf("%s: range %v in place, want %v", what, limits, w)
	}
}

func compareRowsBackward(t *testing.T, mem memory, what string, raw []float32, rows, c int, lo, hi float32, q Quant) {
	dy, dbias := mem.floats(rows*c), mem.floats(c)
	want, wantBias := mem.copied(dy), mem.copied(dbias)
	gatePortable(want, raw, lo, hi)
	sumRowsPortable(wantBias, want, 0)
	got, gotBias := mem.copied(dy), mem.copied(dbias)
	BiasActBackward(got, raw, gotBias, rows, c, lo, hi)
	equal(t, what+": gradient", got, want)
	near(t, what+": gradient of the bias", gotBias, wantBias, rows)

	want, wantBias = mem.copied(dy), mem.copied(dbias)
	scale, clipped := quantBackwardPortable(want, raw, q)
	gatePortable(want, raw, lo, hi)
	sumRowsPortable(wantBias, want, 0)
	got, gotBias = mem.copied(dy), mem.copied(dbias)
	dScale, dZero := BiasActQuantBackward(got, raw, gotBias, rows, c, lo, hi, q)
	equal(t, what+": gradient through the quantizer", got, want)
	near(t, what+": gradient of the bias", gotBias, wantBias, rows)
	near(t, what+": gradients of scale and zero point", []float32{dScale / 128, dZero}, []float32{float32(scale) / 128, float32(-clipped) * q.Scale}, 64*rows*c)

	got = mem.copied(dy)
	scale2, zero2 := BiasActQuantBackward(got, raw, nil, rows, c, lo, hi, q)
	equal(t, what+": gradient through the quantizer, no bias", got, want)
	near(t, what+": gradients of scale and zero point, no bias", []float32{scale2 / 128, zero2}, []float32{float32(scale) / 128, float32(-clipped) * q.Scale}, 64*rows*c)
}

func TestPassesOverRowsAgreeWithTheirStepsForAnyWidth(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 10)
		for i := range 200 {
			compareRows(t, mem, 1+mem.rng.IntN(60), 1+mem.rng.IntN(80), i%2 == 0)
		}
		compareRows(t, mem, 40, 276, false)
		compareRows(t, mem, 300, 276, true)
		compareRows(t, mem, 3, 3001, false)
		for _, rows := range []int{1, 2, 3, 5} {
			compareRows(t, mem, rows, 276, false)
		}
	})
}

func TestPassesOverRowsAllocateNothing(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		x, y, bias := make([]float32, 50*30), make([]float32, 50*30), make([]float32, 30)
		if n := testing.AllocsPerRun(5, func() {
			BiasAct(x, bias, 50, 30, 0, 1)
			BiasActQuant(y, x, bias, 50, 30, 0, 1, Quant{Scale: 1, Zero: 0}, EmptyRange())
			BiasActBackward(y, x, bias, 50, 30, 0, 1)
			BiasActQuantBackward(y, x, bias, 50, 30, 0, 1, Quant{Scale: 1, Zero: 0})
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestBoundsGateWhereTheQuantizerClips(t *testing.T) {
	mem := newMemory(t, 11)
	for range 200 {
		q := Quant{Scale: float32(math.Exp2(float64(mem.rng.IntN(5) - 3))), Zero: int32(mem.rng.IntN(256) - 128)}
		x := mem.floats(400)
		for i := range x {
			x[i] = q.Scale * (float32(mem.rng.IntN(1024)-512) / 2)
		}
		got, want := mem.floats(len(x)), mem.floats(len(x))
		copy(want, got)
		lo, hi := q.Bounds(-30, 40)
		ClampBackward(got, x, lo, hi)
		quantBackwardPortable(want, x, q)
		gatePortable(want, x, -30, 40)
		equal(t, fmt.Sprintf("%+v", q), got, want)
	}
}

func TestGradientsOfScaleAndZeroPointAreThoseOfLSQ(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		q, inf := Quant{Scale: 0.1, Zero: 10}, float32(math.Inf(1))
		x, dy := []float32{0.34, -0.26, 50, -50}, []float32{1, 1, 1, 1}
		dScale, dZero := BiasActQuantBackward(dy, x, nil, 1, 4, -inf, inf, q)
		equal(t, "gradient", dy, []float32{1, 1, 0, 0})
		// inside: round(x/s) − x/s, −0.4 and −0.4; clipped: 117 and −138; the zero point moves the clipped ones by −s each
		near(t, "scale and zero point", []float32{dScale, dZero}, []float32{-0.4 - 0.4 + 117 - 138, -0.2}, 4)
	})
}

func FuzzRows(f *testing.F) {
	f.Add(uint64(1), uint8(10), uint16(12), true)
	f.Fuzz(func(t *testing.T, seed uint64, rows uint8, c uint16, wild bool) {
		inEveryClass(t, func(t *testing.T) { compareRows(t, newMemory(t, seed), int(rows)+1, int(c)%400+1, wild) })
	})
}

func FuzzFakeQuant(f *testing.F) {
	f.Add(uint32(0x3f000000), uint32(0x3f800000), int8(0))
	f.Add(uint32(0x7fc00000), uint32(0x3dcccccd), int8(-128))
	f.Fuzz(func(t *testing.T, x, scale uint32, zero int8) {
		q := Quant{Scale: math.Float32frombits(scale), Zero: int32(zero)}
		if !(q.Scale > 0) || math.IsInf(float64(q.Scale), 1) {
			return
		}
		inEveryClass(t, func(t *testing.T) {
			in, got, want := make([]float32, 16), make([]float32, 16), make([]float32, 16)
			for i := range in {
				in[i] = math.Float32frombits(x + uint32(i))
			}
			FakeQuant(got, in, q)
			fakeQuantPortable(want, in, q)
			equal(t, fmt.Sprintf("%v by %+v", in, q), got, want)
		})
	})
}
