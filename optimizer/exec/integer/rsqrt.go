package integer

import "math"

// RSQRT: the inverse root of the code in fixed point, then the scales. Zero gives the largest code; negative numbers have none.
func buildRsqrt(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	const keep = 20 // bits kept below the unit between the two products
	root := float32(math.Sqrt(float64(in.scale)))
	scales := newMultiplier(1 / float64(root*out.scale))
	k := newTable(c, func(code int8) int8 {
		x := int32(code) - in.zero
		if x <= 0 {
			return 127
		}
		inverse := inverseSqrt(x)
		inverse.shift += keep
		m := scales
		m.shift -= keep
		return clamp(m.of(inverse.of(1))+out.zero, -128, 127)
	})
	k.least = int8(in.zero)
	return k, nil
}
