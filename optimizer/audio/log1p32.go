package audio

import "math"

// The coefficients of log1p32, of fdlibm's log1pf.
const (
	ln2High = float32(6.9313812256e-01) // its last bits are zero: times an exponent it is exact
	ln2Low  = float32(9.0580006145e-06)
)

var log1pSeries = [7]float32{6.6666668653e-01, 4.0000000596e-01, 2.8571429849e-01, 2.2222198546e-01, 1.8183572590e-01, 1.5313838422e-01, 1.4798198640e-01}

// log1p32 is ln(1+x) of x ≥ 0 as the C libraries of firmware compute it (newlib's, musl's, glibc's before 2.41, after fdlibm's log1pf), which is
// not always the nearest float: 1+x is 2^k·(1+f) with f near 0, and ln(1+f) a series of s = f/(2+f). No product is fused with a sum.
func log1p32(x float32) float32 {
	f, rest, k := x, float32(0), 0
	if x >= 0.41421356 {
		u := 1 + x
		mantissa, exponent := math.Frexp(float64(u)) // in [0.5, 1)
		k = exponent - 1
		if rest = x - (u - 1); k > 0 {
			rest = 1 - (u - x)
		}
		rest /= u
		f = float32(2 * mantissa)
		if math.Float32bits(f)&0x7fffff >= 0x3504f7 { // above √2
			f, k = f/2, k+1
		}
		f--
	}
	n := float32(k)
	low := float32(n*ln2Low) + rest
	half := float32(float32(0.5*f) * f)
	if math.Abs(float64(f)) < 1.0/(1<<20) {
		r := half * (1 - float32(float32(0.6666666666)*f))
		return float32(n*ln2High) - ((r - low) - f)
	}
	s := f / (2 + f)
	z := float32(s * s)
	r := float32(0)
	for i := len(log1pSeries) - 1; i >= 0; i-- {
		r = float32(z * (log1pSeries[i] + r))
	}
	r = float32(s * (half + r))
	if k == 0 {
		return f - (half - r)
	}
	return float32(n*ln2High) - ((half - (r + low)) - f)
}
