package integer

import "math"

// HARD_SWISH: x·relu6(x+3)/6 in 16-bit fixed point. The last product does not round, which cancels the bias of the rounding before it.
func buildHardSwish(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	hires := float32((1.0 / 128) * in.scale)
	toOutput := newMultiplier(float64(hires / out.scale))
	toThree := newMultiplier(float64(hires / float32(3.0/32768))) // 3.0 becomes 32768
	if toOutput.shift > 0 {
		return nil, c.unsupported("%s has a scale over 128 times smaller than %s", c.out(0), c.in(0))
	}
	outputValue, threeValue := to16(toOutput.value), to16(toThree.value)
	return newTable(c, func(code int8) int8 {
		x := int16(int32(code)-in.zero) << 7
		onOutputScale := highMul16(x, outputValue) // before its shift
		relu := x
		if toThree.shift > 0 {
			relu = shiftLeft16(relu, toThree.shift-1)
		}
		relu = highMul16(relu, threeValue)
		if toThree.shift > 0 {
			relu = shiftLeft16(relu, 1)
		} else {
			relu = roundingShiftRight(relu, -toThree.shift)
		}
		relu = int16((int32(relu) + 1<<15) >> 1) // from [-1, 1] to [0, 1]
		y := int16(int32(relu) * int32(onOutputScale) / (1 << 15))
		y = roundingShiftRight(y, -toOutput.shift)
		return clamp(int32(int16(int32(y)+out.zero)), -128, 127)
	}), nil
}

// to16 rounds a 32-bit multiplier to its upper half.
func to16(value int32) int16 {
	if value >= math.MaxInt32-1<<15 {
		return math.MaxInt16
	}
	return int16((value + 1<<15) >> 16)
}

func shiftLeft16(x int16, shift int) int16 {
	return int16(min(max(int64(x)<<min(shift, 32), math.MinInt16), math.MaxInt16))
}
