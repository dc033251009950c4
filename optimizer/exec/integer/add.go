package integer

import (
	"math"

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
	output, err := c.belowOne(scale / float64((1<<extra)*float64(out.scale)))
	if err != nil {
		return nil, err
	}
	k := &addKernel{output: output, zero: out.zero}
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

// buildAdd16 is ADD and SUB of int16: as int8, with 15 more bits. Where a file of old says so and all scales are powers of two, one
// operand is shifted instead and the sum saturates.
func buildAdd16(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	attr := c.n.Attr.(ir.Binary)
	lo, hi := out.bounds(attr.Act)
	sign := int32(1)
	if c.n.Op == schema.BuiltinOperatorSUB {
		sign = -1
	}
	if attr.PowersOfTwo && powerOfTwo(a.scale) && powerOfTwo(b.scale) && powerOfTwo(out.scale) {
		shiftA, shiftB := math.Ilogb(float64(out.scale))-math.Ilogb(float64(a.scale)), math.Ilogb(float64(out.scale))-math.Ilogb(float64(b.scale))
		if min(shiftA, shiftB) != 0 {
			return nil, c.unsupported("of scales that are powers of two, the smaller of %s and %s must be that of %s", c.in(0), c.in(1), c.out(0))
		}
		return newBinary16(c, func(a, b int16) int16 {
			return clamp16(roundingShiftRight(int32(a), shiftA)+sign*roundingShiftRight(int32(b), shiftB), lo, hi)
		}), nil
	}
	const extra = 15
	scale := 2 * float64(max(a.scale, b.scale))
	mA, mB := newMultiplier(float64(a.scale)/scale), newMultiplier(float64(b.scale)/scale)
	output, err := c.belowOne(scale / float64((1<<extra)*float64(out.scale)))
	if err != nil {
		return nil, err
	}
	return newBinary16(c, func(a, b int16) int16 {
		return clamp16(output.of(mA.of(int32(a)<<extra)+sign*mB.of(int32(b)<<extra)), lo, hi)
	}), nil
}

// belowOne is the multiplier of a sum, a difference or its square, for which the kernels take no number of 1 or more.
func (c *compiler) belowOne(real float64) (multiplier, error) {
	m := newMultiplier(real)
	if m.shift > 0 {
		return m, c.unsupported("the scale of %s is so much smaller than those of its inputs that LiteRT stops, or answers at random: calibrate again with samples that reach the values it takes", c.out(0))
	}
	return m, nil
}

func powerOfTwo(x float32) bool {
	fraction, _ := math.Frexp(float64(x))
	return fraction == 0.5
}
