package integer

import "espalier.dev/espalier/optimizer/ir"

// MUL: the product of the codes less their zero points, rescaled once.
type mulKernel struct {
	a, b, zero int32 // zero points
	output     multiplier
	lo, hi     int32
}

func buildMul(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	k := &mulKernel{a: a.zero, b: b.zero, zero: out.zero, output: c.product(a.scale, b.scale, out.scale)}
	k.lo, k.hi = out.bounds(c.n.Attr.(ir.Binary).Act)
	return newBinary(c, k), nil
}

// product is what products of codes of two scales are multiplied by.
func (c *compiler) product(a, b, out float32) multiplier {
	if c.tflm { // computes it of float64
		return newMultiplier(float64(a) * float64(b) / float64(out))
	}
	return newMultiplier(float64(float32(a*b) / out))
}

func (k *mulKernel) row(y, a, b []int8) {
	for i := range y {
		product := (int32(at(a, i)) - k.a) * (int32(at(b, i)) - k.b)
		y[i] = clamp(k.output.of(product)+k.zero, k.lo, k.hi)
	}
}

func buildMul16(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	m := c.product(a.scale, b.scale, out.scale)
	lo, hi := out.bounds(c.n.Attr.(ir.Binary).Act)
	return newBinary16(c, func(a, b int16) int16 { return clamp16(m.of(int32(a)*int32(b)), lo, hi) }), nil
}
