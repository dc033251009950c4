package integer

import "espalier.dev/espalier/optimizer/tflite/schema"

// MINIMUM and MAXIMUM: of the codes themselves, so all three tensors must be quantized alike.
type minKernel struct{}
type maxKernel struct{}

func buildMinMax(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.sameQuant(a, out); err != nil {
		return nil, err
	}
	if err := c.sameQuant(b, out); err != nil {
		return nil, err
	}
	least := c.n.Op == schema.BuiltinOperatorMINIMUM
	switch {
	case c.wide && least:
		return newBinary16(c, func(a, b int16) int16 { return min(a, b) }), nil
	case c.wide:
		return newBinary16(c, func(a, b int16) int16 { return max(a, b) }), nil
	case least:
		return newBinary(c, minKernel{}), nil
	default:
		return newBinary(c, maxKernel{}), nil
	}
}

func (minKernel) row(y, a, b []int8) {
	for i := range y {
		y[i] = min(at(a, i), at(b, i))
	}
}

func (maxKernel) row(y, a, b []int8) {
	for i := range y {
		y[i] = max(at(a, i), at(b, i))
	}
}
