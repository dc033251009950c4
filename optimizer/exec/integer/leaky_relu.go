package integer

import "espalier.dev/espalier/optimizer/ir"

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
	return newTable(c, func(code int8) int8 {
		x := int32(code) - in.zero
		if x >= 0 {
			return clamp(out.zero+identity.of(x), -128, 127)
		}
		return clamp(out.zero+sign*leak.of(x), -128, 127)
	}), nil
}
