package ir

import "slices"

// gatherND is GATHER_ND: each row of ids names a place by its first dimensions.
func gatherND(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	x, ids := c.in(0), c.in(1)
	if len(ids.Shape) == 0 || len(x.Shape) == 0 {
		return c.fail("places %v of %v", ids.Shape, x.Shape)
	}
	depth := ids.Shape[len(ids.Shape)-1]
	if depth < 1 || depth > len(x.Shape) {
		return c.fail("places of %d numbers in %v", depth, x.Shape)
	}
	if x.Batched {
		c.mix("its places count the samples")
	}
	c.n.Attr = GatherND{Dims: slices.Clone(x.Shape[:depth]), Piece: numel(x.Shape[depth:])}
	c.give(slices.Concat(ids.Shape[:len(ids.Shape)-1], x.Shape[depth:]))
	return nil
}
