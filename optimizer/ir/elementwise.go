package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// rule infers one node: it sets Attr, gives the output shapes and says whether samples mix.
type rule = func(*call) error

// unary infers operators that treat every element alike.
func unary(c *call) error {
	if err := c.want(1); err != nil {
		return err
	}
	c.n.Attr = Unary{}
	c.give(slices.Clone(c.in(0).Shape))
	return nil
}

func cast(c *call) error {
	if err := c.want(1); err != nil {
		return err
	}
	if len(c.n.Outputs) != 1 || c.n.Outputs[0] < 0 {
		return c.fail("has %d outputs, want 1", len(c.n.Outputs))
	}
	c.n.Attr = Cast{From: c.in(0).Type, To: c.Output(c.n, 0).Type} // what the kernels go by; the options may be absent
	c.give(slices.Clone(c.in(0).Shape))
	return nil
}

func leakyRelu(c *call) error {
	o, err := options[schema.LeakyReluOptionsT](c)
	if err != nil {
		return err
	}
	if err := unary(c); err != nil {
		return err
	}
	c.n.Attr = LeakyRelu{Alpha: o.Alpha}
	return nil
}

func gelu(c *call) error {
	o, err := options[schema.GeluOptionsT](c)
	if err != nil {
		return err
	}
	if err := unary(c); err != nil {
		return err
	}
	c.n.Attr = Gelu{Approximate: o.Approximate}
	return nil
}

// overLast infers operators whose every output depends on all elements along the last dimension.
func overLast(c *call, attr any) error {
	if err := c.want(1); err != nil {
		return err
	}
	shape := c.in(0).Shape
	if len(shape) == 0 {
		return c.fail("%s has no dimension to work along", c.in(0))
	}
	if len(shape) == 1 {
		c.mix("it works along the only dimension, the samples")
	}
	c.n.Attr = attr
	c.give(slices.Clone(shape))
	return nil
}

func softmax(c *call) error {
	o, err := options[schema.SoftmaxOptionsT](c)
	if err != nil {
		return err
	}
	return overLast(c, Softmax{Beta: o.Beta})
}

func logSoftmax(c *call) error { return overLast(c, Softmax{Beta: 1}) }

func l2Norm(c *call) error {
	o, err := options[schema.L2NormOptionsT](c)
	if err != nil {
		return err
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	return overLast(c, L2Norm{Act: act})
}

// combine infers operators that combine two operands element by element.
func combine(act schema.ActivationFunctionType, c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	activation, err := c.activation(act)
	if err != nil {
		return err
	}
	a, b := c.in(0), c.in(1)
	out, err := broadcastShape(c, a.Shape, b.Shape)
	if err != nil {
		return err
	}
	c.keepApart(out, a, b)
	c.n.Attr = Binary{Broadcast: broadcast(out, a.Shape, b.Shape), Act: activation}
	c.give(out)
	return nil
}

// keepApart says where operands that broadcast to a shape would mix samples.
func (c *call) keepApart(out []int, operands ...*Tensor) {
	any := slices.ContainsFunc(operands, func(t *Tensor) bool { return t.Batched })
	for _, t := range operands {
		switch lead := len(t.Shape) == len(out) && len(out) > 0; {
		case t.Batched && (!lead || t.Shape[0] != out[0]):
			c.mix("%s %v is repeated over samples of %v", t, t.Shape, out)
		case !t.Batched && lead && t.Shape[0] != 1 && any:
			c.mix("%s %v is not the same for every sample", t, t.Shape)
		}
	}
}

func add(c *call) error {
	o, err := options[schema.AddOptionsT](c)
	if err != nil {
		return err
	}
	return sum(o.FusedActivationFunction, o.PotScaleInt16, c)
}

func sub(c *call) error {
	o, err := options[schema.SubOptionsT](c)
	if err != nil {
		return err
	}
	return sum(o.FusedActivationFunction, o.PotScaleInt16, c)
}

// sum infers ADD and SUB.
func sum(act schema.ActivationFunctionType, powersOfTwo bool, c *call) error {
	if err := combine(act, c); err != nil {
		return err
	}
	attr := c.n.Attr.(Binary)
	attr.PowersOfTwo = powersOfTwo
	c.n.Attr = attr
	return nil
}

func mul(c *call) error {
	o, err := options[schema.MulOptionsT](c)
	if err != nil {
		return err
	}
	return combine(o.FusedActivationFunction, c)
}

func div(c *call) error {
	o, err := options[schema.DivOptionsT](c)
	if err != nil {
		return err
	}
	return combine(o.FusedActivationFunction, c)
}

// addN is ADD_N, the sum of operands of one shape.
func addN(c *call) error {
	if err := c.want(max(len(c.n.Inputs), 1)); err != nil {
		return err
	}
	var operands []*Tensor
	for i := range c.n.Inputs {
		if !slices.Equal(c.in(i).Shape, c.in(0).Shape) {
			return c.fail("inputs of shapes %v and %v", c.in(0).Shape, c.in(i).Shape)
		}
		operands = append(operands, c.in(i))
	}
	out := slices.Clone(c.in(0).Shape)
	c.keepApart(out, operands...)
	c.n.Attr = AddN{}
	c.give(out)
	return nil
}

func binaryPlain(c *call) error { return combine(schema.ActivationFunctionTypeNONE, c) }

// prelu is binary, but alpha may not widen x.
func prelu(c *call) error {
	if err := binaryPlain(c); err != nil {
		return err
	}
	if !slices.Equal(c.outs[0], c.in(0).Shape) {
		return c.fail("alpha %v is wider than the input %v", c.in(1).Shape, c.in(0).Shape)
	}
	return nil
}

// broadcastShape is numpy's rule: shapes aligned at the end, a dimension of 1 repeats.
func broadcastShape(c *call, a, b []int) ([]int, error) {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		da, db := dim(a, i, len(out)), dim(b, i, len(out))
		switch {
		case da == db || db == 1:
			out[i] = da
		case da == 1:
			out[i] = db
		default:
			return nil, c.fail("shapes %v and %v do not combine", a, b)
		}
	}
	return out, nil
}

// dim returns dimension i of a shape aligned at the end of rank dimensions.
func dim(shape []int, i, rank int) int {
	if i -= rank - len(shape); i < 0 {
		return 1
	}
	return shape[i]
}

// broadcast finds the operands' strides and merges neighbouring dimensions along which both advance, or repeat, alike.
func broadcast(out, a, b []int) Broadcast {
	sa, sb := repeatStrides(a, out), repeatStrides(b, out)
	r := Broadcast{Shape: []int{}, A: []int{}, B: []int{}}
	for i, d := range out {
		if d == 1 {
			continue
		}
		k := len(r.Shape) - 1
		if k >= 0 && r.A[k] == sa[i]*d && r.B[k] == sb[i]*d {
			r.Shape[k] *= d
			r.A[k], r.B[k] = sa[i], sb[i]
			continue
		}
		r.Shape, r.A, r.B = append(r.Shape, d), append(r.A, sa[i]), append(r.B, sb[i])
	}
	return r
}
