package integer

import "espalier.dev/espalier/optimizer/ir"

// l2NormKernel is L2_NORMALIZATION over the last dimension: codes less the zero point over the root of the sum of their squares.
type l2NormKernel struct {
	in, out, depth int
	zero           int32
}

func buildL2Norm(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.fixedOutput(out, 1.0/128, 0); err != nil {
		return nil, err
	}
	if c.n.Attr.(ir.L2Norm).Act != ir.None {
		return nil, c.unsupported("a fused activation is not supported on this operator")
	}
	shape := c.in(0).Shape
	return &l2NormKernel{c.n.Inputs[0], c.n.Outputs[0], shape[len(shape)-1], in.zero}, nil
}

func (k *l2NormKernel) run(m *memory) error {
	const outputBits = 7 // the output's scale is 2⁻⁷
	x, y := m.int8s(k.in), m.int8s(k.out)
	for len(x) > 0 {
		sum := int32(0)
		for _, v := range x[:k.depth] {
			d := int32(v) - k.zero
			sum += d * d
		}
		inverse := inverseSqrt(sum)
		inverse.shift += outputBits
		for i, v := range x[:k.depth] {
			y[i] = clamp(inverse.of(int32(v)-k.zero), -128, 127)
		}
		x, y = x[k.depth:], y[k.depth:]
	}
	return nil
}
