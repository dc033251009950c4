package integer

// ABS.
func buildAbs(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	m := newMultiplier(float64(in.scale / out.scale))
	return newTable(c, func(code int8) int8 {
		x := int32(code) - in.zero
		x = max(x, -x)
		if in.scale != out.scale {
			x = m.of(x)
		}
		return clamp(x+out.zero, -128, 127)
	}), nil
}
