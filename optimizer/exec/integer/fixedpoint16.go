package integer

// Numbers below are fixed point of 16 bits: Qn has n integer bits, the sign bit and 15−n bits of fraction. Constants are those of 32 bits,
// rounded.

func constant16(c int32) int16 { return int16(roundingShiftRight(c, 16)) }

func saturate16(x int32) int16 { return clamp16(x, -1<<15, 1<<15-1) }

// expTaylor16 returns e^x in Q0 for x in [−1/4, 0), Q0.
func expTaylor16(x int16) int16 {
	ofEighth, third := constant16(1895147668), constant16(715827883)
	x += 1 << 12
	x2 := highMul16(x, x)
	x3, x4 := highMul16(x2, x), highMul16(x2, x2)
	quarter := int16(roundingShiftRight(int32(x4), 2))
	tail := int16(roundingShiftRight(int32(highMul16(quarter+x3, third)+x2), 1))
	return saturate16(int32(ofEighth) + int32(highMul16(ofEighth, x+tail)))
}

// expNegative16 returns e^x in Q0 for x ≤ 0 in Q(digits), digits up to 7.
func expNegative16(x int16, digits int) int16 {
	switch {
	case x == 0:
		return 1<<15 - 1
	case digits > 5 && x < -1<<(20-digits): // −32
		return 0
	}
	quarter := int16(1) << (15 - digits - 2)
	fraction := x&(quarter-1) - quarter
	result := expTaylor16(shiftLeft16(fraction, digits))
	rest := fraction - x
	for i, factor := range [...]int32{1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242} { // e^(−2^(i−2))
		if digits > i-2 && rest&(quarter<<i) != 0 {
			result = highMul16(result, constant16(factor))
		}
	}
	return result
}

// newton16 returns 2/(1+x) in Q2 for x in [0, 1), Q0.
func newton16(x int16) int16 {
	half := int16(halfSum(int32(x), 1<<15-1))
	const one = 1 << 13
	y := constant16(1515870810) + highMul16(half, constant16(-1010580540))
	for range 3 {
		y += shiftLeft16(highMul16(y, one-highMul16(half, y)), 2)
	}
	return y
}

// sigmoidQ0 returns 1/(1+e^−x) in Q0 for x in Q(digits).
func sigmoidQ0(x int16, digits int) int16 {
	if x == 0 {
		return 1 << 14
	}
	y := shiftLeft16(newton16(expNegative16(min(x, -x), digits)), 1)
	if x < 0 {
		return 1<<15 - 1 - y
	}
	return y
}

// tanhQ0 returns tanh x in Q0 for x in Q(digits).
func tanhQ0(x int16, digits int) int16 {
	if x == 0 {
		return 0
	}
	y := shiftLeft16(newton16(expNegative16(min(x, -x), digits+1))-1<<13, 2)
	if x < 0 {
		return -y
	}
	return y
}
