package integer

import "espalier.dev/espalier/optimizer/tflite/schema"

// compareKernel is a comparison of int8 values: both rescaled to 1/256, rounded, and then compared.
type compareKernel struct {
	pairs
	a, b  [256]int32 // rescaled operands by code
	holds func(a, b int32) bool
}

// comparisons are what the operators ask of rescaled values.
var comparisons = map[schema.BuiltinOperator]func(a, b int32) bool{
	schema.BuiltinOperatorEQUAL:         func(a, b int32) bool { return a == b },
	schema.BuiltinOperatorNOT_EQUAL:     func(a, b int32) bool { return a != b },
	schema.BuiltinOperatorLESS:          func(a, b int32) bool { return a < b },
	schema.BuiltinOperatorLESS_EQUAL:    func(a, b int32) bool { return a <= b },
	schema.BuiltinOperatorGREATER:       func(a, b int32) bool { return a > b },
	schema.BuiltinOperatorGREATER_EQUAL: func(a, b int32) bool { return a >= b },
}

func buildCompare(c *compiler) (runner, error) {
	a, err := c.quant(c.in(0))
	if err != nil {
		return nil, err
	}
	b, err := c.quant(c.in(1))
	if err != nil {
		return nil, err
	}
	if out := c.out(0); out.Type != schema.TensorTypeBOOL {
		return nil, c.unsupported("%s is %s, want BOOL", out, out.Type)
	}
	const extra = 8 // bits below the unit
	k := &compareKernel{pairs: newPairs(c), holds: comparisons[c.n.Op]}
	mA, mB := newMultiplier(float64(a.scale)), newMultiplier(float64(b.scale))
	for code := int32(-128); code < 128; code++ {
		k.a[uint8(code)] = mA.of((code - a.zero) << extra)
		k.b[uint8(code)] = mB.of((code - b.zero) << extra)
	}
	return k, nil
}

func (k *compareKernel) row(y, a, b []int8) {
	for i := range y {
		y[i] = 0
		if k.holds(k.a[uint8(at(a, i))], k.b[uint8(at(b, i))]) {
			y[i] = 1
		}
	}
}

func (k *compareKernel) run(m *memory) error {
	k.each(m, k)
	return nil
}
