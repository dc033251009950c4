package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

func cumsum(c *call) error {
	o, err := options[schema.CumsumOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	shape := c.in(0).Shape
	axis, err := c.axisIn(1, len(shape))
	if err != nil {
		return err
	}
	if axis == 0 {
		c.mix("it adds the samples up")
	}
	c.n.Attr = Cumsum{Axis: axis, Exclusive: o.Exclusive, Reverse: o.Reverse}
	c.give(slices.Clone(shape))
	return nil
}
