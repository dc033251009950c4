package integer

import (
	"errors"
	"math/bits"

	"espalier.dev/espalier/optimizer/ir"
)

// DIV: times the fixed-point reciprocal of the divisor. There is no code for a division by zero: it is an error.
type divKernel struct {
	pairs
	a, b, zero int32 // zero points
	output     multiplier
	lo, hi     int32
}

func buildDiv(c *compiler) (runner, error) {
	a, b, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	k := &divKernel{pairs: newPairs(c), a: a.zero, b: b.zero, zero: out.zero}
	k.output = newMultiplier(float64(a.scale / float32(b.scale*out.scale)))
	k.lo, k.hi = out.bounds(c.n.Attr.(ir.Binary).Act)
	return k, nil
}

func (k *divKernel) run(m *memory) error {
	for _, code := range m.int8s(k.pairs.b) {
		if int32(code) == k.b {
			return errors.New("division by zero")
		}
	}
	k.each(m, k)
	return nil
}

func (k *divKernel) row(y, a, b []int8) {
	for i := range y {
		x, d := int32(at(a, i))-k.a, int32(at(b, i))-k.b
		if d < 0 {
			x, d = -x, -d
		}
		inverse, bitsOverUnit := reciprocal(d, 31)
		headroom := signBits(x)
		quotient := highMul(x<<headroom, inverse)
		right := bitsOverUnit + headroom - k.output.shift // never to the left, as the kernel takes the multiplier for less than one
		y[i] = clamp(roundingShiftRight(highMul(quotient, k.output.value), right)+k.zero, k.lo, k.hi)
	}
}

// signBits returns how many bits after the first repeat it: how far x can be shifted left.
func signBits(x int32) int {
	if x < 0 {
		x = ^x
	}
	return bits.LeadingZeros32(uint32(x)) - 1
}
