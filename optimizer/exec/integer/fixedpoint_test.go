package integer

import (
	"math"
	"testing"
)

func TestMultiplierIsTheRealProductWithinOne(t *testing.T) {
	for _, real := range []float64{0, 1e-12, 1.0 / 256, 0.1, 0.4999999999, 0.5, 0.9999999999, 1, 1.75, 200} {
		m := newMultiplier(real)
		for _, x := range []int32{0, 1, -1, 7, -77, 12345, -543210, 1 << 22, -(1 << 22)} {
			want := float64(x) * real
			if got := float64(m.of(x)); math.Abs(got-want) > 1 {
				t.Errorf("%d × %v = %v, want %v", x, real, got, want)
			}
		}
	}
}

func TestRoundingIsAwayFromZeroAtHalves(t *testing.T) {
	for _, test := range []struct {
		x     int32
		shift int
		want  int32
	}{{3, 1, 2}, {-3, 1, -2}, {5, 2, 1}, {6, 2, 2}, {-6, 2, -2}, {-5, 2, -1}, {7, 0, 7}, {math.MinInt32, 31, -1}, {math.MaxInt32, 31, 1}, {5, 32, 6}, {5, -2, 1}, {-5, -1, -1}} {
		if got := roundingShiftRight(test.x, test.shift); got != test.want {
			t.Errorf("%d / 2^%d = %d, want %d", test.x, test.shift, got, test.want)
		}
	}
	if got := highMul(math.MinInt32, math.MinInt32); got != math.MaxInt32 {
		t.Errorf("the product that overflows is %d, want saturation", got)
	}
	if got := highMul16(math.MinInt16, math.MinInt16); got != math.MaxInt16 {
		t.Errorf("the 16-bit product that overflows is %d, want saturation", got)
	}
}

func TestFixedPointFunctionsAreCloseToTheRealOnes(t *testing.T) {
	close := func(name string, x, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s(%v) = %v, want %v", name, x, got, want)
		}
	}
	for x := 0.0; x > -16; x -= 0.037 {
		close("exp", x, float64(expNegative(int32(x*(1<<26))))/(1<<31), math.Exp(x), 2e-7)
	}
	for x := 0.0; x < 1; x += 0.013 {
		close("1/(1+x)", x, float64(oneOverOnePlus(int32(x*(1<<31))))/(1<<31), 1/(1+x), 1e-8)
	}
	for x := 1.0; x < 4000; x *= 1.1 {
		close("log", x, float64(log(int32(x*(1<<19))))/(1<<26), math.Log(x), 2e-5)
	}
	for _, x := range []int32{2, 3, 4, 100, 12345, 1 << 29, math.MaxInt32} {
		m := inverseSqrt(x)
		close("1/√", float64(x), float64(m.value)*math.Pow(2, float64(m.shift-31))*math.Sqrt(float64(x)), 1, 1e-4)
	}
	inverse, over := reciprocal(5<<19, 12) // 5 in Q12
	close("reciprocal", 5, float64(inverse)/(1<<31)*math.Pow(2, -float64(over)), 0.2, 1e-8)
}
