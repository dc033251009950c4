package ir

import "espalier.dev/espalier/optimizer/tflite/schema"

// svdf is SVDF: input [batch, inputs], weights of features [filters, inputs] and of time [filters, memory], bias [units], and a state that
// it keeps from run to run.
func svdf(c *call) error {
	o, err := options[schema.SVDFOptionsT](c)
	if err != nil {
		return err
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	x, features, time := c.in(0), c.in(1), c.in(2)
	for _, t := range []*Tensor{x, features, time} {
		if t == nil || len(t.Shape) != 2 {
			return c.fail("%s is missing or has not 2 dimensions", t)
		}
	}
	filters, rank := features.Shape[0], int(o.Rank)
	if rank < 1 || filters%rank != 0 || features.Shape[1] != x.Shape[1] || time.Shape[0] != filters || time.Shape[1] < 1 {
		return c.fail("input %v, features %v and time %v do not go together at rank %d", x.Shape, features.Shape, time.Shape, rank)
	}
	if bias := c.in(3); bias != nil && bias.Numel() != filters/rank {
		return c.fail("a bias of %d for %d units", bias.Numel(), filters/rank)
	}
	if c.Batch != c.FileBatch {
		return c.fail("its state is that of one sequence")
	}
	c.n.Attr = SVDF{Rank: rank, Act: act}
	c.give([]int{x.Shape[0], filters / rank})
	return nil
}

// Multiplications are one a weight of features and of time, and row of the input.
func (SVDF) Multiplications(g *Graph, n *Node) int64 {
	return int64(g.Input(n, 0).Shape[0]) * int64(g.Input(n, 1).Numel()+g.Input(n, 2).Numel())
}
