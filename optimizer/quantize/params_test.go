package quantize

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParamsOfARange(t *testing.T) {
	for name, tc := range map[string]struct {
		r    Range
		want Params
	}{
		"a ReLU range has its zero at the lowest code":             {Range{0, 255}, Params{1, -128, false}},
		"a range below zero has its zero at the highest code":      {Range{-255, 0}, Params{1, 127, false}},
		"a range is widened to include zero from above":            {Range{51, 255}, Params{1, -128, false}},
		"a range is widened to include zero from below":            {Range{-255, -51}, Params{1, 127, false}},
		"an asymmetric range has its zero in between":              {Range{-1, 1.55}, Params{float32(2.55 / 255), -28, false}},
		"the zero point is rounded to a code":                      {Range{-128.375, 126.625}, Params{1, 0, false}},
		"a tensor that is always zero gets the unit range":         {Range{0, 0}, Params{float32(1.0 / 255), -128, false}},
		"a range too narrow for float32 arithmetic counts as zero": {Range{0, 1e-30}, Params{float32(1.0 / 255), -128, false}},
		"a narrow range keeps its ends' ratio and grows":           {Range{-2.5e-8, 7.5e-8}, Params{float32(1e-6 / 255), -64, false}},
		"one as wide as needed stays":                              {Range{0, 2e-6}, Params{float32(2e-6) / 255, -128, false}},
		"a range of no values counts as zero":                      {Empty(), Params{float32(1.0 / 255), -128, false}},
		"NaN counts as zero":                                       {Range{float32(math.NaN()), float32(math.NaN())}, Params{float32(1.0 / 255), -128, false}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.r.Params()); diff != "" {
				t.Error(diff)
			}
			if err := tc.r.CompactParams().Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCompactScalesHaveEightSignificantBitsAndKeepTheRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		r := Range{Min: -float32(rng.ExpFloat64()), Max: float32(rng.ExpFloat64())}
		exact, compact := r.Params(), r.CompactParams()
		if math.Float32bits(compact.Scale)&0xffff != 0 {
			t.Fatalf("%v: scale %v has more than 8 significant bits", r, compact.Scale)
		}
		if ratio := compact.Scale / exact.Scale; ratio < 1 || ratio > 1+1.0/128 {
			t.Fatalf("%v: scale grew by %v", r, ratio)
		}
	}
}

// research/optimizers.md §1.6: the codes must be the integer executor's, not near them.
func TestQuantizeRoundsHalfAwayFromZeroAndSaturates(t *testing.T) {
	p := Params{Scale: 0.5, ZeroPoint: 10}
	for name, tc := range map[string]struct {
		x    float32
		want int
	}{
		"half a step up":             {0.25, 11},
		"half a step down":           {-0.25, 9},
		"just under half a step":     {math.Nextafter32(0.25, 0), 10},
		"one and a half steps":       {0.75, 12},
		"minus one and a half steps": {-0.75, 8},
		"above the range":            {1e9, 127},
		"below the range":            {-1e9, -128},
		"infinity":                   {float32(math.Inf(1)), 127},
		"NaN":                        {float32(math.NaN()), 10},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.Quantize(tc.x); got != tc.want {
				t.Errorf("Quantize(%v) = %d, want %d", tc.x, got, tc.want)
			}
		})
	}
}

func TestFakeQuantizeIsIdempotent(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		p := Range{Min: -float32(rng.ExpFloat64()), Max: float32(rng.ExpFloat64())}.Params()
		for range 100 {
			x := p.Dequantize(p.Quantize(float32(rng.NormFloat64())))
			if got := p.Dequantize(p.Quantize(x)); got != x {
				t.Fatalf("%v: %v became %v", p, x, got)
			}
		}
		if p.Dequantize(p.Quantize(0)) != 0 {
			t.Fatalf("%v: 0 is not representable", p)
		}
	}
}

func TestParamsAndRangeInvertEachOther(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		p := Params{Scale: float32(rng.ExpFloat64()) + 1e-3, ZeroPoint: int32(rng.IntN(256)) - 128}
		got := p.Range().Params()
		if got.ZeroPoint != p.ZeroPoint || math.Abs(float64(got.Scale/p.Scale-1)) > 1e-6 {
			t.Fatalf("%v became %v", p, got)
		}
	}
}

func TestRangeGradientIsTheChainRule(t *testing.T) {
	// f(scale, zero) = 3·scale + 0.01·zero, numerically differentiated through the conversion without its rounding.
	f := func(lo, hi float64) float64 {
		scale := (hi - lo) / 255
		return 3*scale + 0.01*(-128-lo/scale)
	}
	const lo, hi, eps = -0.7, 2.1, 1e-6
	dMin, dMax := Range{lo, hi}.Gradient(3, 0.01)
	wantMin, wantMax := (f(lo+eps, hi)-f(lo-eps, hi))/(2*eps), (f(lo, hi+eps)-f(lo, hi-eps))/(2*eps)
	if math.Abs(float64(dMin)-wantMin) > 1e-4 || math.Abs(float64(dMax)-wantMax) > 1e-4 {
		t.Errorf("got %v %v, want %v %v", dMin, dMax, wantMin, wantMax)
	}
}

// TFMOT's quant_ops_test.py: with decay 0.999 from 0, one step on ±1 gives ±0.001.
func TestOneMovingAverageStepMatchesTFMOT(t *testing.T) {
	m := MovingAverage{Decay: 0.999}
	m.Update(Range{-1, 1})
	if math.Abs(float64(m.Range.Min)+0.001) > 1e-7 || math.Abs(float64(m.Range.Max)-0.001) > 1e-7 {
		t.Errorf("got %v, want ±0.001", m.Range)
	}
}

func BenchmarkFakeQuantize(b *testing.B) {
	p := Range{-1, 1}.Params()
	x := float32(0.3)
	for b.Loop() {
		x = p.Dequantize(p.Quantize(x))
	}
}

// int16 is symmetric, its scale that of the farther end, and what moves that end moves the scale.
func TestWideParamsAreSymmetric(t *testing.T) {
	for name, tc := range map[string]struct {
		r        Range
		farthest float32
		min, max float32 // of the gradient for 1 a step
	}{
		"the upper end": {Range{-1, 3}, 3, 0, 1.0 / math.MaxInt16},
		"the lower end": {Range{-5, 3}, 5, -1.0 / math.MaxInt16, 0},
		"one side":      {Range{0.5, 2}, 2, 0, 1.0 / math.MaxInt16},
	} {
		exact, compact := tc.r.WideParams(true), tc.r.WideParams(false)
		if err := exact.Check(); err != nil || !exact.Wide || exact.ZeroPoint != 0 {
			t.Errorf("%s: %+v, %v", name, exact, err)
		}
		if got := exact.Quantize(tc.farthest); got != math.MaxInt16 {
			t.Errorf("%s: the farther end has code %d", name, got)
		}
		if compact.Scale < exact.Scale || compact.Scale > exact.Scale*1.01 {
			t.Errorf("%s: scale %v, exact %v", name, compact.Scale, exact.Scale)
		}
		if lo, hi := tc.r.WideGradient(1); lo != tc.min || hi != tc.max {
			t.Errorf("%s: gradient %v, %v", name, lo, hi)
		}
		if q := exact.Quantize(-1e9); q != math.MinInt16 || exact.Code(exactBytes(q), 0) != q {
			t.Errorf("%s: the lowest code is %d", name, q)
		}
	}
	if (Params{Scale: 1, ZeroPoint: 3, Wide: true}).Check() == nil {
		t.Error("a zero point of int16 is let through")
	}
}

func exactBytes(code int) []byte { return []byte{byte(code), byte(code >> 8)} }
