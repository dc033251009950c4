package integer

// SQUARED_DIFFERENCE: as ADD, on twice the larger scale with 7 more bits.
type squaredDifferenceKernel struct {
	a, b   [256]int32 // rescaled operands by code
	output multiplier
	zero   int32
}

func buildSquaredDifference(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	const extra = 7
	scale := float64(2 * max(a.scale, b.scale))
	k := &squaredDifferenceKernel{zero: out.zero}
	if k.output, err = c.belowOne(float64(scale*scale) / float64(float32((1<<(2*extra))*out.scale))); err != nil {
		return nil, err
	}
	mA, mB := newMultiplier(float64(a.scale)/scale), newMultiplier(float64(b.scale)/scale)
	for code := int32(-128); code < 128; code++ {
		k.a[uint8(code)] = mA.of((code - a.zero) << extra)
		k.b[uint8(code)] = mB.of((code - b.zero) << extra)
	}
	return newBinary(c, k), nil
}

func (k *squaredDifferenceKernel) row(y, a, b []int8) {
	for i := range y {
		d := k.a[uint8(at(a, i))] - k.b[uint8(at(b, i))]
		y[i] = clamp(k.output.of(d*d)+k.zero, -128, 127)
	}
}
