package ir

import "slices"

// scatterND is SCATTER_ND: zeros of a constant shape, to which pieces are added at the places that the rows of ids name.
func scatterND(c *call) error {
	if err := c.want(3); err != nil {
		return err
	}
	shape, err := c.constants(2, "shape")
	if err != nil {
		return err
	}
	if err := checkShape(shape); err != nil {
		return c.fail("shape: %v", err)
	}
	ids, updates := c.in(0).Shape, c.in(1).Shape
	if len(ids) == 0 {
		return c.fail("places %v", ids)
	}
	depth := ids[len(ids)-1]
	if depth < 1 || depth > len(shape) {
		return c.fail("places of %d numbers in %v", depth, shape)
	}
	if want := slices.Concat(ids[:len(ids)-1], shape[depth:]); !slices.Equal(want, updates) {
		return c.fail("updates %v, want %v", updates, want)
	}
	c.mix("its places count the samples")
	c.n.Attr = ScatterND{Dims: slices.Clone(shape[:depth]), Piece: numel(shape[depth:])}
	c.give(slices.Clone(shape))
	return nil
}

// segmentSum is SEGMENT_SUM: rows of the first input that have the same constant id, added up. Ids rise from 0.
func segmentSum(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	ids, err := c.constants(1, "ids")
	if err != nil {
		return err
	}
	x := c.in(0).Shape
	if len(x) == 0 || len(ids) != x[0] || len(ids) == 0 {
		return c.fail("%d ids of %v", len(ids), x)
	}
	if ids[0] < 0 || !slices.IsSorted(ids) || ids[len(ids)-1] > maxElements {
		return c.fail("ids %v do not rise from 0", ids)
	}
	c.mix("it adds samples up")
	c.n.Attr = SegmentSum{IDs: ids, Piece: numel(x[1:])}
	c.give(slices.Concat([]int{ids[len(ids)-1] + 1}, x[1:]))
	return nil
}
