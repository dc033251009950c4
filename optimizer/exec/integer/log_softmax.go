package integer

import "math"

// logSoftmaxKernel is LOG_SOFTMAX over the last dimension: x − max − ln Σ e^(x−max), in Q5.
type logSoftmaxKernel struct {
	in, out, depth int
	scaled         [256]int32 // differences below the row's largest, in Q5
	exp            [256]int32 // their exponentials, in Q0
	far            int32
	reverse        multiplier // from Q5 back to codes
}

func buildLogSoftmax(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.fixedOutput(out, 16.0/256, 127); err != nil {
		return nil, err
	}
	m, far, err := c.scaledDifference(1, in.scale)
	if err != nil {
		return nil, err
	}
	shape := c.in(0).Shape
	k := &logSoftmaxKernel{in: c.n.Inputs[0], out: c.n.Outputs[0], depth: shape[len(shape)-1], far: far}
	k.reverse = newMultiplier(float64(int64(1)<<(31-m.shift)) / float64(m.value))
	for d := range int32(256) {
		k.scaled[d] = m.of(-d)
		if d <= far {
			k.exp[d] = expNegative(k.scaled[d])
		}
	}
	return k, nil
}

func (k *logSoftmaxKernel) run(m *memory) error {
	x, y := m.int8s(k.in), m.int8s(k.out)
	for len(x) > 0 {
		k.row(y[:k.depth], x[:k.depth])
		x, y = x[k.depth:], y[k.depth:]
	}
	return nil
}

func (k *logSoftmaxKernel) row(y, x []int8) {
	const integerBits, accumulatorBits, outputBits = 5, 12, 4
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
	logSum := log(saturate(sum))
	least := max(-k.far-1, k.reverse.of(logSum+math.MinInt32)) // below it, the difference would leave Q5
	for i, v := range x {
		y[i] = -128
		if d := int32(v) - largest; d > least {
			y[i] = clamp(roundingShiftRight(k.scaled[-d]-logSum, 31-integerBits-outputBits)+127, -128, 127)
		}
	}
}
