package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

func transpose(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	shape := c.in(0).Shape
	perm, err := c.constants(1, "permutation")
	if err != nil {
		return err
	}
	if len(perm) != len(shape) {
		return c.fail("permutation %v of %v", perm, shape)
	}
	out, seen := make([]int, len(perm)), make([]bool, len(perm))
	for i, a := range perm {
		a, err := c.axis(a, len(shape))
		if err != nil {
			return err
		}
		if seen[a] {
			return c.fail("permutation %v of %v", perm, shape)
		}
		perm[i], seen[a], out[i] = a, true, shape[a]
	}
	if len(perm) > 0 && perm[0] != 0 {
		c.mix("it moves the dimension of the samples")
	}
	c.n.Attr = Transpose{Perm: perm}
	c.give(out)
	return nil
}

func reverse(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	list, err := c.constants(1, "axes")
	if err != nil {
		return err
	}
	axes, err := c.axes(list, len(c.in(0).Shape))
	if err != nil {
		return err
	}
	if slices.Contains(axes, 0) {
		c.mix("it reverses the samples")
	}
	c.n.Attr = Reverse{Axes: axes}
	c.give(slices.Clone(c.in(0).Shape))
	return nil
}

func concat(c *call) error {
	o, err := options[schema.ConcatenationOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(max(len(c.n.Inputs), 1)); err != nil {
		return err
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	out := slices.Clone(c.in(0).Shape)
	axis, err := c.axis(int(o.Axis), len(out))
	if err != nil {
		return err
	}
	c.sameForEach()
	for i := range c.n.Inputs[1:] {
		s := slices.Clone(c.in(i + 1).Shape)
		if len(s) == len(out) {
			out[axis] += s[axis]
			s[axis] = out[axis]
		}
		if !slices.Equal(s, out) {
			if c.file != nil && c.mixes != "" {
				return c.fail("%s", c.mixes)
			}
			return c.fail("input %d has shape %v, which does not fit %v along axis %d", i+1, c.in(i+1).Shape, out, axis)
		}
	}
	if axis == 0 {
		c.mix("it joins along the dimension of the samples")
	}
	c.n.Attr = Concat{Axis: axis, Act: act}
	c.give(out)
	return nil
}

// sameForEach records that samples mix if some inputs are batched and others are not.
func (c *call) sameForEach() {
	for i := range c.n.Inputs {
		if t := c.in(i); t != nil && !t.Batched {
			c.mix("%s is not one a sample", t)
		}
	}
}

func pack(c *call) error {
	o, err := options[schema.PackOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(max(len(c.n.Inputs), 1)); err != nil {
		return err
	}
	shape := c.in(0).Shape
	axis, err := c.axis(int(o.Axis), len(shape)+1)
	if err != nil {
		return err
	}
	c.sameForEach()
	for i := range c.n.Inputs {
		if !slices.Equal(c.in(i).Shape, shape) {
			if c.file != nil && c.mixes != "" {
				return c.fail("%s", c.mixes)
			}
			return c.fail("inputs of shapes %v and %v", shape, c.in(i).Shape)
		}
	}
	if axis == 0 {
		c.mix("it stacks whole batches")
	}
	c.n.Attr = Pack{Axis: axis}
	c.give(slices.Insert(slices.Clone(shape), axis, len(c.n.Inputs)))
	return nil
}

func unpack(c *call) error {
	o, err := options[schema.UnpackOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(1); err != nil {
		return err
	}
	shape := c.in(0).Shape
	axis, err := c.axis(int(o.Axis), len(shape))
	if err != nil {
		return err
	}
	if shape[axis] != int(o.Num) || len(c.n.Outputs) != int(o.Num) {
		return c.fail("%d outputs, num %d, from %v along axis %d", len(c.n.Outputs), o.Num, shape, axis)
	}
	if axis == 0 {
		c.mix("it takes the samples apart")
	}
	c.n.Attr = Unpack{Axis: axis, Num: int(o.Num)}
	for range c.n.Outputs {
		c.give(slices.Delete(slices.Clone(shape), axis, axis+1))
	}
	return nil
}

func split(c *call) error {
	o, err := options[schema.SplitOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	shape := c.in(1).Shape
	axis, err := c.axisIn(0, len(shape))
	if err != nil {
		return err
	}
	num := len(c.n.Outputs)
	if num < 1 || num != int(o.NumSplits) || shape[axis]%num != 0 {
		return c.fail("%d outputs, num_splits %d, from %v along axis %d", num, o.NumSplits, shape, axis)
	}
	sizes := make([]int, num)
	for i := range sizes {
		sizes[i] = shape[axis] / num
	}
	return c.splitInto(1, axis, sizes)
}

func splitV(c *call) error {
	if err := c.want(3); err != nil {
		return err
	}
	shape := c.in(0).Shape
	sizes, err := c.constants(1, "sizes")
	if err != nil {
		return err
	}
	list, err := c.constants(2, "axis")
	if err != nil {
		return err
	}
	if len(list) != 1 || len(sizes) != len(c.n.Outputs) {
		return c.fail("%d outputs, sizes %v, axes %v", len(c.n.Outputs), sizes, list)
	}
	axis, err := c.axis(list[0], len(shape))
	if err != nil {
		return err
	}
	sum, open := 0, -1
	for i, s := range sizes {
		if s == -1 && open < 0 {
			open = i
			continue
		}
		if s < 0 || s > shape[axis] {
			return c.fail("sizes %v of %v along axis %d", sizes, shape, axis)
		}
		sum += s
	}
	if open >= 0 {
		sizes[open] = shape[axis] - sum
		sum = shape[axis]
	}
	if sum != shape[axis] || slices.Min(append([]int{0}, sizes...)) < 0 {
		return c.fail("sizes %v of %v along axis %d", sizes, shape, axis)
	}
	return c.splitInto(0, axis, sizes)
}

func (c *call) splitInto(data, axis int, sizes []int) error {
	if axis == 0 {
		c.mix("it takes the samples apart")
	}
	c.n.Attr = Split{Axis: axis, Num: len(sizes), Sizes: sizes, Data: data}
	for _, s := range sizes {
		shape := slices.Clone(c.in(data).Shape)
		shape[axis] = s
		c.give(shape)
	}
	return nil
}

func gather(c *call) error {
	o, err := options[schema.GatherOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	x, indices := c.in(0), c.in(1)
	axis, err := c.axis(int(o.Axis), len(x.Shape))
	if err != nil {
		return err
	}
	dims := int(o.BatchDims)
	if dims < 0 {
		dims += len(indices.Shape)
	}
	if dims < 0 || dims > axis || dims > len(indices.Shape) || !slices.Equal(x.Shape[:dims], indices.Shape[:dims]) {
		return c.fail("batch_dims %d of %v and indices %v, axis %d", o.BatchDims, x.Shape, indices.Shape, axis)
	}
	switch {
	case x.Batched && !indices.Batched && axis > 0 && dims == 0:
	case !x.Batched && indices.Batched && axis == 0 && dims == 0:
	case x.Batched && indices.Batched && dims > 0:
	default:
		c.mix("it gathers across samples")
	}
	c.n.Attr = Gather{Axis: axis, BatchDims: dims}
	c.give(slices.Concat(x.Shape[:axis], indices.Shape[dims:], x.Shape[axis+1:]))
	return nil
}

func shapeOf(c *call) error {
	if err := c.want(1); err != nil {
		return err
	}
	c.n.Attr = ShapeOf{}
	if c.n.Op == schema.BuiltinOperatorRANK {
		c.give([]int{})
	} else {
		c.give([]int{len(c.in(0).Shape)})
	}
	c.still = true
	return nil
}
