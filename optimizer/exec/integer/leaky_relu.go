package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
)

// LEAKY_RELU: one multiplier for each sign. A negative alpha is its absolute value's product, negated.
func buildLeakyRelu(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	alpha := c.n.Attr.(ir.LeakyRelu).Alpha
	identity := newMultiplier(float64(in.scale / out.scale))
	slope, sign := float32(in.scale*alpha)/out.scale, int32(1)
	if slope < 0 {
		slope, sign = -slope, -1
	}
	leak := newMultiplier(float64(slope))
	f := func(x int32) int32 {
		if x >= 0 {
			return out.zero + identity.of(x)
		}
		return out.zero + sign*leak.of(x)
	}
	if c.wide {
		return newElementwise(c, func(code int16) int16 { return clamp16(f(int32(code)), math.MinInt16, math.MaxInt16) }), nil
	}
	return newTable(c, func(code int8) int8 { return clamp(f(int32(code)-in.zero), -128, 127) }), nil
}
