package ir

import "slices"

// topK is TOPK_V2 along the last dimension.
func topK(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	k, err := c.constants(1, "k")
	if err != nil {
		return err
	}
	shape := slices.Clone(c.in(0).Shape)
	if len(k) != 1 || len(shape) == 0 || k[0] < 1 || k[0] > shape[len(shape)-1] {
		return c.fail("the first %v of %v", k, shape)
	}
	if len(shape) == 1 {
		c.mix("it works along the only dimension, the samples")
	}
	c.n.Attr = TopK{Size: shape[len(shape)-1], K: k[0]}
	shape[len(shape)-1] = k[0]
	c.give(shape, slices.Clone(shape))
	return nil
}
