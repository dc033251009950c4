package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// ADD and SUB: both operands on twice the larger scale, with 20 more bits, then one rescaling.
type addKernel struct {
	a, b   [256]int32 // rescaled operands by code; b negated for SUB
	output multiplier
	zero   int32
	lo, hi int32
}

func buildAdd(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	const extra = 20
	scale := 2 * float64(max(a.scale, b.scale))
	k := &addKernel{output: newMultiplier(scale / float64((1<<extra)*float64(out.scale))), zero: out.zero}
	k.lo, k.hi = out.bounds(c.n.Attr.(ir.Binary).Act)
	sign := int32(1)
	if c.n.Op == schema.BuiltinOperatorSUB {
		sign = -1
	}
	mA, mB := newMultiplier(float64(a.scale)/scale), newMultiplier(float64(b.scale)/scale)
	for code := int32(-128); code < 128; code++ {
		k.a[uint8(code)] = mA.of((code - a.zero) << extra)
		k.b[uint8(code)] = sign * mB.of((code-b.zero)<<extra)
	}
	p := newPairs(c)
	if p.Same() && c.paysForPairs() {
		exact := func(y []int8, a int8, b []int8) { k.row(y, []int8{a}, b) }
		scaleA, scaleB := float64(a.scale)/float64(out.scale), float64(sign)*float64(b.scale)/float64(out.scale)
		if sum := kernel.NewInt8Sum(scaleA, scaleB, a.zero, b.zero, k.zero, k.lo, k.hi, exact); sum != nil {
			return &binaryKernel{p, sumRow{sum}}, nil
		}
	}
	return newBinary(c, k), nil
}

// sumRow is ADD or SUB by package kernel, of operands of one shape.
type sumRow struct{ *kernel.Int8Sum }

func (s sumRow) row(y, a, b []int8) { s.Run(y, a, b) }

func (k *addKernel) row(y, a, b []int8) {
	for i := range y {
		sum := k.a[uint8(at(a, i))] + k.b[uint8(at(b, i))]
		y[i] = clamp(k.output.of(sum)+k.zero, k.lo, k.hi)
	}
}
