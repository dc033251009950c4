package integer

import "fmt"

// table is an int8 operator of one input that treats every element alike: one output code for each input code.
type table struct {
	in, out int
	code    [256]int8 // by uint8(input code)
	least   int8      // smallest input code the operator is defined for
}

// newTable tabulates f, a kernel's arithmetic on one code.
func newTable(c *compiler, f func(code int8) int8) *table {
	k := &table{in: c.n.Inputs[0], out: c.n.Outputs[0], least: -128}
	for code := -128; code <= 127; code++ {
		k.code[uint8(int8(code))] = f(int8(code))
	}
	return k
}

func (k *table) run(m *memory) error {
	x, y := m.int8s(k.in), m.int8s(k.out)
	y = y[:len(x)]
	if k.least > -128 {
		for _, v := range x {
			if v < k.least {
				return fmt.Errorf("value %d is below the zero point: not defined for negative numbers", v)
			}
		}
	}
	for i, v := range x {
		y[i] = k.code[uint8(v)]
	}
	return nil
}
