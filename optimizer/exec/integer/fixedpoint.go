package integer

import (
	"math"
	"math/bits"
)

// multiplier is a positive real number as TensorFlow Lite's kernels hold it: value·2^(shift−31), value in [2³⁰, 2³¹), or 0.
type multiplier struct {
	value int32
	shift int // positive to the left
}

// newMultiplier rounds a real number of at least 0. Anything below about 2⁻³¹ becomes 0; NaN too, which no check lets through.
func newMultiplier(real float64) multiplier {
	if !(real > 0) {
		return multiplier{}
	}
	fraction, shift := math.Frexp(real)
	value := int64(math.Round(float64(fraction * (1 << 31))))
	if value == 1<<31 {
		value /= 2
		shift++
	}
	if shift < -31 {
		return multiplier{}
	}
	return multiplier{int32(value), shift}
}

// of returns x times the multiplier, rounded twice: by the doubling high product, and again by the shift to the right. A shift to
// the left wraps as the kernels' 32-bit integers do, and of its bits the lowest five count, as processors shift such integers.
func (m multiplier) of(x int32) int32 {
	left, right := 0, 0
	if m.shift > 0 {
		left = m.shift
	} else {
		right = -m.shift
	}
	return roundingShiftRight(highMul(x<<(left&31), m.value), right)
}

// ofWide returns x times the multiplier cut to 16 bits, rounded once. It is for sums of products with int16 activations. Of a multiplier of 2¹⁴ or
// more the shifts are negative; LiteRT leaves them to the processor, and 64-bit ones, of Arm and of x86, take them modulo 64.
func (m multiplier) ofWide(x int64) int32 {
	reduced, half, shift := m.wide()
	return int32((x*reduced + half) >> (shift & 63))
}

// wide is what ofWide multiplies by, adds, and shifts by.
func (m multiplier) wide() (reduced, half int64, shift uint8) {
	reduced = math.MaxInt16
	if m.value < 0x7fff0000 {
		reduced = int64((m.value + 1<<15) >> 16)
	}
	right := 15 - m.shift
	return reduced, 1 << ((right - 1) & 63), uint8(right & 63)
}

// highMul returns the high half of 2·a·b, rounded to nearest, halves up; −2³¹·−2³¹ saturates.
func highMul(a, b int32) int32 {
	if a == math.MinInt32 && b == math.MinInt32 {
		return math.MaxInt32
	}
	return int32((int64(a)*int64(b) + 1<<30) >> 31)
}

// highMul16 is highMul of 16-bit numbers.
func highMul16(a, b int16) int16 {
	if a == math.MinInt16 && b == math.MinInt16 {
		return math.MaxInt16
	}
	return int16((int32(a)*int32(b) + 1<<14) >> 15)
}

// roundingShiftRight divides by 2^shift, halves away from zero. Shifts that are negative, or no smaller than the number is wide, mean
// nothing; they give what processors make of the kernels' code, of whose shifts they see the lowest bits.
func roundingShiftRight[T int16 | int32](x T, shift int) T {
	mask := T(int64(1)<<(shift&63) - 1)
	remainder, threshold := x&mask, mask>>1
	if x < 0 {
		threshold++
	}
	x >>= shift & 31
	if remainder > threshold {
		x++
	}
	return x
}

// shiftLeft multiplies by 2^shift and saturates.
func shiftLeft(x int32, shift int) int32 {
	if shift == 0 {
		return x
	}
	threshold := int32(1)<<(31-shift) - 1
	switch {
	case x > threshold:
		return math.MaxInt32
	case x < -threshold:
		return math.MinInt32
	default:
		return x << shift
	}
}

// halfSum returns (a+b)/2, halves away from zero.
func halfSum(a, b int32) int32 {
	sum := int64(a) + int64(b)
	if sum >= 0 {
		return int32((sum + 1) / 2)
	}
	return int32((sum - 1) / 2)
}

func saturate(x int64) int32 { return int32(min(max(x, math.MinInt32), math.MaxInt32)) }

// Numbers below are fixed point: Qn has n integer bits, the sign bit and 31−n bits of fraction. A product of Qa and Qb by highMul
// is Q(a+b).

// expTaylor returns e^x in Q0 for x in [−1/4, 0), Q0: a Taylor polynomial around −1/8.
func expTaylor(x int32) int32 {
	const expOfEighth, third = 1895147668, 715827883 // e^(−1/8), 1/3
	x += 1 << 28
	x2 := highMul(x, x)
	x3 := highMul(x2, x)
	x4 := highMul(x2, x2)
	tail := roundingShiftRight(highMul(roundingShiftRight(x4, 2)+x3, third)+x2, 1)
	return expOfEighth + highMul(expOfEighth, x+tail)
}

// expNegative returns e^x in Q0 for x ≤ 0 in Q5: the part below 1/4 by polynomial, each bit above by its own factor.
func expNegative(x int32) int32 {
	const quarter = 1 << 24
	if x == 0 {
		return math.MaxInt32
	}
	fraction := x&(quarter-1) - quarter
	result := expTaylor(shiftLeft(fraction, 5))
	rest := fraction - x
	for i, factor := range [...]int32{1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242} { // e^(−2^(i−2))
		if rest&(quarter<<i) != 0 {
			result = highMul(result, factor)
		}
	}
	return result
}

// oneOverOnePlus returns 1/(1+x) in Q0 for x in [0, 1), Q0: three Newton steps for the reciprocal of (1+x)/2.
func oneOverOnePlus(x int32) int32 {
	const f48over17, f32over17, one = 1515870810, -1010580540, 1 << 29 // Q2
	half := halfSum(x, math.MaxInt32)
	y := f48over17 + highMul(half, f32over17)
	for range 3 {
		y += shiftLeft(highMul(y, one-highMul(half, y)), 2)
	}
	return shiftLeft(y, 1)
}

// reciprocal returns 1/x as a Q0 number in (1/2, 1] and the number of bits by which x, in Q(digits), exceeds one.
func reciprocal(x int32, digits int) (inverse int32, bitsOverUnit int) {
	headroom := bits.LeadingZeros32(uint32(x))
	return oneOverOnePlus(int32(uint32(x)<<headroom - 1<<31)), digits - headroom
}

// inverseSqrt returns 1/√x for x ≥ 0 as a multiplier (0 and 1 alike give almost one): five Newton steps.
func inverseSqrt(x int32) multiplier {
	if x <= 1 {
		return multiplier{math.MaxInt32, 0}
	}
	right := 11
	for x >= 1<<29 {
		x /= 4
		right++
	}
	pairs := (bits.LeadingZeros32(uint32(x))-1)/2 - 1
	right -= pairs
	x <<= 2 * pairs
	const threeHalves, halfSqrt2 = 1<<28 + 1<<27, 1518500250 // Q3, Q0
	halfX := roundingShiftRight(x>>1, 1)
	y := int32(1 << 28)
	for range 5 {
		y3 := shiftLeft(highMul(highMul(y, y), y), 6)
		y = shiftLeft(highMul(threeHalves, y)-highMul(halfX, y3), 3)
	}
	y = highMul(y, halfSqrt2)
	if right < 0 {
		y, right = y<<-right, 0
	}
	return multiplier{y, -right}
}

// log returns ln x in Q5 for x ≥ 1 in Q12. x is brought near one twice, once as it is and once times √½, and the nearer of the two
// serves a rational approximation; what was taken out comes back times ln 2.
func log(x int32) int32 {
	const (
		ln2, sqrtSqrtHalf, sqrtHalf          = 1488522236, 1805811301, 1518500250 // Q0
		alphaN, alphaD, alphaI, alphaF       = 117049297, 127690142, 1057819769, 638450708
		digits, accumulator, quarter   int32 = 12, 6, 536870912 >> 6
	)
	headroomA := int32(bits.LeadingZeros32(uint32(x)))
	a := shiftLeft(x, int(headroomA)-1)
	rA := shiftLeft(highMul(a, sqrtHalf), 1)
	powerA := saturate(int64(shiftLeft(digits-headroomA, int(31-accumulator))) + int64(quarter))

	b := highMul(x, sqrtHalf)
	headroomB := int32(bits.LeadingZeros32(uint32(b))) - 1
	rB := shiftLeft(x, int(headroomB))
	powerB := saturate(int64(shiftLeft(digits-headroomB, int(31-accumulator))) - int64(quarter))

	r, power := min(rA, rB), max(powerA, powerB)
	p := halfSum(r, sqrtSqrtHalf)
	q := r - sqrtSqrtHalf
	q += q
	square := highMul(q, q)
	numerator := highMul(q, r) + highMul(highMul(q, square), alphaN)
	denominator := highMul(p, alphaI+q+highMul(alphaD, square)) + highMul(alphaF, q) // minus one
	quotient := highMul(roundingShiftRight(numerator, int(accumulator)), oneOverOnePlus(denominator))
	return shiftLeft(highMul(power, ln2)+quotient, 1)
}
