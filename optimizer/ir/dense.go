package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

func fullyConnected(c *call) error {
	o, err := options[schema.FullyConnectedOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	if o.WeightsFormat != schema.FullyConnectedOptionsWeightsFormatDEFAULT {
		return c.fail("shuffled weights are not supported: convert the model without them")
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	x, w := c.in(0).Shape, c.in(1).Shape
	if len(w) != 2 || w[0] < 1 || w[1] < 1 || len(x) == 0 || numel(x)%w[1] != 0 {
		return c.fail("weights %v do not fit input %v", w, x)
	}
	rows := numel(x) / w[1]
	out := []int{rows, w[0]}
	if o.KeepNumDims {
		if x[len(x)-1] != w[1] {
			return c.fail("weights %v do not fit input %v", w, x)
		}
		out = append(slices.Clone(x[:len(x)-1]), w[0])
	}
	if err := c.bias(2, w[0]); err != nil {
		return err
	}
	if c.in(0).Batched && rows%c.Batch != 0 {
		c.mix("a row of its input has several samples")
	}
	c.n.Attr = FullyConnected{Act: act, KeepDims: o.KeepNumDims, Rows: rows, In: w[1], Out: w[0]}
	c.batchedOnly(0)
	c.give(out)
	return nil
}

// Multiplications are one a weight and row.
func (a FullyConnected) Multiplications(*Graph, *Node) int64 {
	return int64(a.Rows) * int64(a.In) * int64(a.Out)
}

// Multiplications are those of every product of a row and a column.
func (a BatchMatMul) Multiplications(g *Graph, n *Node) int64 {
	return int64(g.Output(n, 0).Numel()) * int64(a.K)
}

func batchMatMul(c *call) error {
	o, err := options[schema.BatchMatMulOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	x, y := c.in(0).Shape, c.in(1).Shape
	if len(x) < 2 || len(y) < 2 {
		return c.fail("shapes %v and %v, want at least two dimensions", x, y)
	}
	leadX, leadY := x[:len(x)-2], y[:len(y)-2]
	m, k := x[len(x)-2], x[len(x)-1]
	if o.AdjX {
		m, k = k, m
	}
	k2, n := y[len(y)-2], y[len(y)-1]
	if o.AdjY {
		k2, n = n, k2
	}
	if k != k2 {
		return c.fail("shapes %v and %v do not fit", x, y)
	}
	lead, err := broadcastShape(c, leadX, leadY)
	if err != nil {
		return err
	}
	c.mixedMatrices(lead, leadX, leadY, o.AdjX)
	c.n.Attr = BatchMatMul{AdjX: o.AdjX, AdjY: o.AdjY, M: m, K: k, N: n, Broadcast: broadcast(lead, leadX, leadY)}
	c.give(append(slices.Clone(lead), m, n))
	return nil
}

// mixedMatrices says where a matrix product would mix samples: x without leading dimensions may be rows of samples; otherwise
// what is batched must be so along the first leading dimension, and what is not must repeat along it.
func (c *call) mixedMatrices(lead, leadX, leadY []int, adjX bool) {
	x, y := c.in(0), c.in(1)
	if x.Batched && !y.Batched && len(lead) == 0 && !adjX {
		return
	}
	for i, l := range [][]int{leadX, leadY} {
		t := c.in(i)
		full := len(l) == len(lead) && len(lead) > 0
		if t.Batched && (!full || l[0] != lead[0]) || !t.Batched && full && l[0] != 1 && (x.Batched || y.Batched) {
			c.mix("%s %v is not one matrix a sample", t, t.Shape)
		}
	}
}

func reduce(c *call) error {
	o, err := options[schema.ReducerOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	list, err := c.constants(1, "axes")
	if err != nil {
		return err
	}
	shape := c.in(0).Shape
	axes, err := c.axes(list, len(shape))
	if err != nil {
		return err
	}
	if slices.Contains(axes, 0) {
		c.mix("it reduces over the samples")
	}
	out := []int{}
	for i, d := range shape {
		switch {
		case !slices.Contains(axes, i):
			out = append(out, d)
		case o.KeepDims:
			out = append(out, 1)
		}
	}
	c.n.Attr = Reduce{Axes: axes, KeepDims: o.KeepDims}
	c.give(out)
	return nil
}

func argReduce(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	shape := c.in(0).Shape
	axis, err := c.axisIn(1, len(shape))
	if err != nil {
		return err
	}
	if shape[axis] < 1 {
		return c.fail("nothing along axis %d of %v", axis, shape)
	}
	if axis == 0 {
		c.mix("it reduces over the samples")
	}
	c.n.Attr = ArgReduce{Axis: axis}
	c.give(slices.Delete(slices.Clone(shape), axis, axis+1))
	return nil
}
