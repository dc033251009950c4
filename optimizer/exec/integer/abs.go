package integer

import "math"

// ABS.
func buildAbs(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	m := newMultiplier(float64(in.scale / out.scale))
	f := func(x int32) int32 {
		x = max(x, -x)
		if in.scale != out.scale {
			x = m.of(x)
		}
		return x + out.zero
	}
	if c.wide {
		return newElementwise(c, func(code int16) int16 { return clamp16(f(int32(code)), math.MinInt16, math.MaxInt16) }), nil
	}
	return newTable(c, func(code int8) int8 { return clamp(f(int32(code)-in.zero), -128, 127) }), nil
}
