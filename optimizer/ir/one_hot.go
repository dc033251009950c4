package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

func oneHot(c *call) error {
	o, err := options[schema.OneHotOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(4); err != nil {
		return err
	}
	depth, err := c.constants(1, "depth")
	if err != nil {
		return err
	}
	shape := c.in(0).Shape
	if len(depth) != 1 || depth[0] < 0 || depth[0] > maxElements || c.in(2).Numel() != 1 || c.in(3).Numel() != 1 {
		return c.fail("depth %v, on %v and off %v: one number each", depth, c.in(2).Shape, c.in(3).Shape)
	}
	axis, err := c.axis(int(o.Axis), len(shape)+1)
	if err != nil {
		return err
	}
	if axis == 0 {
		c.mix("it puts classes before the samples")
	}
	c.n.Attr = OneHot{Axis: axis, Depth: depth[0]}
	c.batchedOnly(0)
	c.give(slices.Insert(slices.Clone(shape), axis, depth[0]))
	return nil
}
