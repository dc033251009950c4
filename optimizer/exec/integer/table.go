package integer

import (
	"fmt"
	"math"
)

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

// elementwise is an int16 operator of one input that treats every element alike.
type elementwise struct {
	in, out int
	f       func(int16) int16
}

func newElementwise(c *compiler, f func(code int16) int16) runner {
	return &elementwise{c.n.Inputs[0], c.n.Outputs[0], f}
}

func (k *elementwise) run(m *memory) error {
	x, y := m.int16s(k.in), m.int16s(k.out)
	for i, v := range x {
		y[i] = k.f(v)
	}
	return nil
}

// lookup is a function of int16 codes by 512 straight pieces: the codes where they meet.
type lookup [513]int16

// newLookup tabulates f on [lo, hi] for codes of an output of scale 1/inverse. Each piece is moved by half of what it would be off in
// its middle. narrow rounds every number on the way to the width the kernels compute in.
func newLookup(lo, hi, inverse float64, narrow, f func(float64) float64) *lookup {
	scaled := func(y float64) float64 { return math.Round(narrow(y * inverse)) }
	code := func(x float64) int16 { return int16(min(max(x, math.MinInt16), math.MaxInt16)) }
	t := new(lookup)
	step := narrow(narrow(hi-lo) / 512)
	for i := range 512 {
		at := narrow(lo + narrow(float64(i)*step))
		sample, next := scaled(f(at)), f(narrow(lo+narrow(float64(i+1)*step)))
		between := math.Round(narrow(narrow(narrow(next*inverse)+sample) / 2))
		middle := scaled(f(narrow(at + narrow(step/2))))
		t[i] = code(sample - math.Round((between-middle)/2))
	}
	t[512] = code(scaled(f(hi)))
	return t
}

// at interpolates.
func (t *lookup) at(code int16) int16 {
	i := 256 + int(code>>7)
	slope := int32(t[i+1]) - int32(t[i])
	return int16(int32(t[i]) + (slope*int32(code&127)+64)>>7)
}
