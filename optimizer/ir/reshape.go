package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// reshaped gives an output of the same elements. Whether batched or not, memory is untouched, so that at another batch the
// leading dimension scales whatever the target says; only a target computed from the batch must agree, which finish checks.
func (c *call) reshaped(shape []int) error {
	x := c.in(0)
	if numel(shape) != x.Numel() {
		return c.fail("%v does not have the %d elements of %v", shape, x.Numel(), x.Shape)
	}
	c.n.Attr = Reshape{}
	c.give(shape)
	return nil
}

func reshape(c *call) error {
	if err := c.want(1); err != nil {
		return err
	}
	if len(c.n.Outputs) != 1 || c.n.Outputs[0] < 0 {
		return c.fail("has %d outputs, want 1", len(c.n.Outputs))
	}
	x, target := c.in(0), []int(nil)
	switch t := c.in(1); {
	case t != nil && t.Const != nil && len(t.Shape) <= 1:
		target = t.Ints()
		if c.file != nil && x.Batched && t.Producer < 0 {
			return c.reshaped(c.scaled(0)) // a constant has the file's batch in it
		}
	case c.file != nil && x.Batched:
		return c.reshaped(c.scaled(0))
	case t == nil || t.Const != nil:
		o, err := options[schema.ReshapeOptionsT](c)
		if err != nil {
			return err
		}
		target = ints(o.NewShape)
	default:
		return c.reshaped(c.scaled(0)) // a target known only when running: the file's shape has to do
	}
	if len(target) > maxRank {
		return c.fail("target has %d dimensions, at most %d are supported", len(target), maxRank)
	}
	shape, ok := resolve(target, x.Numel())
	if !ok {
		return c.fail("%v does not have the %d elements of %v", target, x.Numel(), x.Shape)
	}
	return c.reshaped(shape)
}

// resolve replaces the −1 of a target shape. Old converters write [0] for a scalar.
func resolve(target []int, elements int) ([]int, bool) {
	if len(target) == 1 && target[0] == 0 && elements == 1 {
		return []int{}, true
	}
	shape, open, known := slices.Clone(target), -1, 1
	for i, d := range target {
		switch {
		case d == -1 && open < 0:
			open = i
		case d < 0 || d > maxElements || known*d > maxElements:
			return nil, false
		default:
			known *= d
		}
	}
	if open >= 0 {
		if known == 0 || elements%known != 0 {
			return nil, false
		}
		shape[open] = elements / known
	}
	return shape, true
}

func squeeze(c *call) error {
	o, err := options[schema.SqueezeOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(1); err != nil {
		return err
	}
	x := c.in(0)
	axes, err := c.axes(ints(o.SqueezeDims), len(x.Shape))
	if err != nil {
		return err
	}
	if c.file != nil && x.Batched {
		return c.reshaped(c.scaled(0))
	}
	shape := []int{}
	for i, d := range x.Shape {
		listed := slices.Contains(axes, i)
		if listed && d != 1 {
			return c.fail("dimension %d of %v is not 1", i, x.Shape)
		}
		if !listed && (len(axes) > 0 || d != 1) {
			shape = append(shape, d)
		}
	}
	return c.reshaped(shape)
}

func expandDims(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	x := c.in(0)
	list, err := c.constants(1, "axis")
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return c.fail("%d axes, want 1", len(list))
	}
	axis, err := c.axis(list[0], len(x.Shape)+1)
	if err != nil {
		return err
	}
	if c.file != nil && x.Batched {
		return c.reshaped(c.scaled(0))
	}
	return c.reshaped(slices.Insert(slices.Clone(x.Shape), axis, 1))
}
