package ir

import (
	"slices"
)

// tile repeats a tensor along every dimension.
func tile(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	times, err := c.constants(1, "multiples")
	if err != nil {
		return err
	}
	shape := c.in(0).Shape
	if len(times) != len(shape) {
		return c.fail("multiples %v of %v", times, shape)
	}
	attr, out, step := Repeat{}, slices.Clone(shape), numel(shape)
	for i, n := range times {
		if n < 0 || n > maxElements {
			return c.fail("multiples %v of %v", times, shape)
		}
		step /= max(shape[i], 1)
		out[i] *= n
		attr.Shape, attr.Strides = append(attr.Shape, n, shape[i]), append(attr.Strides, 0, step)
	}
	if len(times) > 0 && times[0] != 1 {
		c.mix("it repeats the samples")
	}
	c.n.Attr = attr
	c.give(out)
	return nil
}

// broadcastTo repeats a tensor where its dimensions are 1.
func broadcastTo(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	out, err := c.constants(1, "shape")
	if err != nil {
		return err
	}
	x := c.in(0)
	if c.file != nil && x.Batched && len(out) == len(x.Shape) && len(out) > 0 && c.Tensors[c.n.Inputs[1]].Producer < 0 {
		out[0] = x.Shape[0] // the constant has the file's batch
	}
	if err := checkShape(out); err != nil {
		return c.fail("%v", err)
	}
	got, err := broadcastShape(c, x.Shape, out)
	if err != nil {
		return err
	}
	if !slices.Equal(got, out) {
		return c.fail("%v does not broadcast to %v", x.Shape, out)
	}
	c.keepApart(out, x)
	c.n.Attr = Repeat{Shape: slices.Clone(out), Strides: repeatStrides(x.Shape, out)}
	c.give(out)
	return nil
}
