package integer

// PRELU: x where it is not negative, else x·alpha; a multiplier for each.
type preluKernel struct {
	x, alpha, zero int32 // zero points
	identity, leak multiplier
}

func buildPrelu(c *compiler) (runner, error) {
	x, alpha, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	k := &preluKernel{
		x: x.zero, alpha: alpha.zero, zero: out.zero,
		identity: c.product(x.scale, 1, out.scale), leak: c.product(x.scale, alpha.scale, out.scale),
	}
	return newBinary(c, k), nil
}

func (k *preluKernel) row(y, x, alpha []int8) {
	for i := range y {
		v := int32(at(x, i)) - k.x
		if v >= 0 {
			v = k.identity.of(v)
		} else {
			v = k.leak.of(v * (int32(at(alpha, i)) - k.alpha))
		}
		y[i] = clamp(v+k.zero, -128, 127)
	}
}
