package integer

import (
	"math"
	"math/bits"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// softmaxKernel is SOFTMAX over the last dimension: e^(x−max) in fixed point, relative to their sum.
type softmaxKernel struct {
	in, out, depth int
	// By how far a code is below the row's largest: e^(−scale·beta·d) in Q0, and whether d counts at all.
	exp [256]int32
	far int32 // differences beyond are taken for zero
	// wide is set where the output is int16, of scale 2⁻¹⁶ from −32768 on.
	wide bool
}

func buildSoftmax(c *compiler) (runner, error) {
	in, err := c.quant(c.in(0))
	if err != nil {
		return nil, err
	}
	wide := c.out(0).Type == schema.TensorTypeINT16
	if wide {
		scale, zero, _ := c.out(0).PerTensor()
		err = c.fixedOutput(quant{scale: scale, zero: zero}, 1.0/(1<<16), math.MinInt16)
	} else {
		var out quant
		if out, err = c.quant(c.out(0)); err == nil {
			err = c.fixedOutput(out, 1.0/256, -128)
		}
	}
	if err != nil {
		return nil, err
	}
	shape := c.in(0).Shape
	k := &softmaxKernel{in: c.n.Inputs[0], out: c.n.Outputs[0], depth: shape[len(shape)-1], wide: wide}
	m, far, err := c.scaledDifference(float64(c.n.Attr.(ir.Softmax).Beta), in.scale)
	if err != nil {
		return nil, err
	}
	k.far = far
	for d := int32(0); d <= min(far, 255); d++ {
		k.exp[d] = expNegative(m.of(-d))
	}
	return k, nil
}

// scaledDifference returns the multiplier that brings differences of codes to Q5 (kernels/internal/quantization_util.cc,
// PreprocessSoftmaxScaling), and the largest difference that stays within it.
func (c *compiler) scaledDifference(beta float64, scale float32) (m multiplier, far int32, err error) {
	const integerBits = 5
	real := min(float64(beta*float64(scale))*(1<<(31-integerBits)), 1<<31-1)
	if !(real > 1) {
		return m, 0, c.unsupported("beta %v and scale %v of %s are too small to compute with", beta, scale, c.in(0))
	}
	m = newMultiplier(real)
	far = int32(math.Floor(float64(1<<integerBits-1) * (1 << (31 - integerBits)) / math.Pow(2, float64(m.shift))))
	return m, far, nil
}

func (k *softmaxKernel) run(m *memory) error {
	if k.wide {
		softmaxRows(k, m.int16s(k.out), m.int8s(k.in), 16)
	} else {
		softmaxRows(k, m.int8s(k.out), m.int8s(k.in), 8)
	}
	return nil
}

func softmaxRows[T int8 | int16](k *softmaxKernel, y []T, x []int8, bits int) {
	for len(x) > 0 {
		softmaxRow(k, y[:k.depth], x[:k.depth], bits)
		x, y = x[k.depth:], y[k.depth:]
	}
}

// softmaxRow gives codes of as many bits.
func softmaxRow[T int8 | int16](k *softmaxKernel, y []T, x []int8, bits int) {
	const accumulatorBits = 12
	least := int32(-1) << (bits - 1)
	largest := int32(-128)
	for _, v := range x {
		largest = max(largest, int32(v))
	}
	sum := int64(0) // Q12; the kernels' 32 bits hold 4095 equal values
	for _, v := range x {
		if d := largest - int32(v); d <= k.far {
			sum += int64(roundingShiftRight(k.exp[d], accumulatorBits))
		}
	}
	inverse, bitsOverUnit := reciprocal(saturate(sum), accumulatorBits)
	shift := bitsOverUnit + 31 - bits // over 31 every share rounds to nothing; LiteRT aborts there
	for i, v := range x {
		y[i] = T(least)
		if d := largest - int32(v); d <= k.far && shift < 32 {
			y[i] = T(min(roundingShiftRight(highMul(inverse, k.exp[d]), shift)+least, -least-1))
		}
	}
}

// softmax16 is SOFTMAX of int16 over the last dimension: e^(x−max) and the reciprocal of their sum by tables.
type softmax16 struct {
	in, out, depth int
	multiplier     // of differences: 65535 is 10
	exp, inverse   *lookup
}

func buildSoftmax16(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.fixedOutput(out, 1.0/(1<<15), 0); err != nil {
		return nil, err
	}
	const all = 65535.0 // codes
	shape, beta := c.in(0).Shape, c.n.Attr.(ir.Softmax).Beta
	k := &softmax16{in: c.n.Inputs[0], out: c.n.Outputs[0], depth: shape[len(shape)-1]}
	if c.tflm { // its tables are of float32 and its factor of float64, LiteRT's the other way round
		k.multiplier = newMultiplier(float64(float64(in.scale)*float64(beta)) / (10.0 / all))
		k.exp, k.inverse = softmaxTables(single)
		return k, nil
	}
	k.multiplier = newMultiplier(float64(in.scale*beta) / (10.0 / all))
	k.exp, k.inverse = softmaxTables(double)
	return k, nil
}

// softmaxTables are e^x from −10 to 0, and 1/(1+x) from 0 to 1, computed to the width of narrow.
func softmaxTables(narrow func(float64) float64) (exp, inverse *lookup) {
	const unit = 65536.0 / 2 // what outputs of a table are multiplied by
	exp = newLookup(-10, 0, unit, narrow, func(x float64) float64 { return narrow(math.Exp(x)) })
	inverse = newLookup(0, 1, unit, narrow, func(x float64) float64 { return narrow(1 / narrow(1+x)) })
	return exp, inverse
}

func (k *softmax16) run(m *memory) error {
	x, y := m.int16s(k.in), m.int16s(k.out)
	for len(x) > 0 {
		k.row(y[:k.depth], x[:k.depth])
		x, y = x[k.depth:], y[k.depth:]
	}
	return nil
}

func (k *softmax16) row(y, x []int16) {
	largest := int32(math.MinInt16)
	for _, v := range x {
		largest = max(largest, int32(v))
	}
	sum := int32(0) // Q16
	for i, v := range x {
		y[i] = k.exp.at(clamp16(k.of(int32(v)-largest)+math.MaxInt16, math.MinInt16, math.MaxInt16))
		sum += int32(y[i])
	}
	headroom := bits.LeadingZeros32(uint32(sum))
	above := int32((int64(sum)<<(headroom-1)+1<<13)>>14) - (1<<15 + 1<<16) // of the sum's leading bit, from its middle
	inverse := k.inverse.at(clamp16(above, math.MinInt16, math.MaxInt16))
	shift := 31 - headroom
	for i, v := range y {
		y[i] = clamp16(int32((int64(v)*int64(inverse)+1<<(shift-1))>>shift), 0, math.MaxInt16)
	}
}
