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

// compared are how the operands of a comparison are quantized.
func (c *compiler) compared() (a, b quant, err error) {
	if out := c.out(0); out.Type != schema.TensorTypeBOOL {
		return a, b, c.unsupported("%s is %s, want BOOL", out, out.Type)
	}
	if a, err = c.quant(c.in(0)); err != nil {
		return a, b, err
	}
	b, err = c.quant(c.in(1))
	return a, b, err
}

func buildCompare(c *compiler) (runner, error) {
	a, b, err := c.compared()
	if err != nil {
		return nil, err
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

// buildCompare16 is a comparison of int16 values. EQUAL and NOT_EQUAL rescale as of int8; the others compare the codes themselves, so
// that both operands must be quantized alike.
func buildCompare16(c *compiler) (runner, error) {
	a, b, err := c.compared()
	if err != nil {
		return nil, err
	}
	k := &compare16{newPairs(c), comparisons[c.n.Op], func(code int32) int32 { return code }, func(code int32) int32 { return code }}
	if c.n.Op == schema.BuiltinOperatorEQUAL || c.n.Op == schema.BuiltinOperatorNOT_EQUAL {
		const extra = 8
		mA, mB := newMultiplier(float64(a.scale)), newMultiplier(float64(b.scale))
		k.scaleA, k.scaleB = func(code int32) int32 { return mA.of(code << extra) }, func(code int32) int32 { return mB.of(code << extra) }
	}
	return k, nil
}

type compare16 struct {
	pairs
	holds          func(a, b int32) bool
	scaleA, scaleB func(code int32) int32
}

func (k *compare16) run(m *memory) error {
	eachRow(&k.pairs, m.bytes[k.out], m.int16s(k.a), m.int16s(k.b), func(y []byte, a, b []int16) {
		for i := range y {
			y[i] = 0
			if k.holds(k.scaleA(int32(at(a, i))), k.scaleB(int32(at(b, i)))) {
				y[i] = 1
			}
		}
	})
	return nil
}
