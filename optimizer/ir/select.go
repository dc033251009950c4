package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// selectOf is SELECT and SELECT_V2. The condition of a SELECT may be one a row.
func selectOf(c *call) error {
	if err := c.want(3); err != nil {
		return err
	}
	condition, a, b := c.in(0), c.in(1), c.in(2)
	shape := condition.Shape
	if c.n.Op == schema.BuiltinOperatorSELECT && len(shape) == 1 && len(a.Shape) > 1 && shape[0] == a.Shape[0] {
		shape = append(slices.Clone(shape), slices.Repeat([]int{1}, len(a.Shape)-1)...)
	}
	out, err := broadcastShape(c, a.Shape, b.Shape)
	if err != nil {
		return err
	}
	if out, err = broadcastShape(c, shape, out); err != nil {
		return err
	}
	seen := *condition
	seen.Shape = shape
	c.keepApart(out, &seen, a, b)
	c.n.Attr = Select{Shape: slices.Clone(out), Condition: repeatStrides(shape, out), A: repeatStrides(a.Shape, out), B: repeatStrides(b.Shape, out)}
	c.give(out)
	return nil
}

// repeatStrides are a tensor's strides along the dimensions of out, which it broadcasts to.
func repeatStrides(shape, out []int) []int {
	s := make([]int, len(out))
	step := 1
	for i := len(out) - 1; i >= 0; i-- {
		d := dim(shape, i, len(out))
		if d != 1 {
			s[i] = step
		}
		step *= d
	}
	return s
}
