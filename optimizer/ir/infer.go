package ir

import (
	"errors"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// parser infers a graph's shapes and attributes.
type parser struct {
	*Graph
	file *Graph // the same graph at the file's batch; nil while that is the one being inferred
	deep bool   // fold all that is constant, see Specialize
}

// call is one node being inferred. An operator's rule fills it in.
type call struct {
	*parser
	n     *Node
	outs  [][]int
	mixes string // why the outputs are not batched although an input is; empty if they are
	still bool   // the outputs say nothing of the samples, only of their number: not batched, and no mixing
}

// infer goes through the nodes in order.
func (p *parser) infer() error {
	at := 0
	defer panics.Name(func() string { return p.Nodes[at].String() })
	for i := range p.Nodes {
		at = i
		c := &call{parser: p, n: &p.Nodes[i]}
		if err := c.readable(); err != nil {
			return err
		}
		rule, known := rules[c.n.Op]
		if !known && p.deep {
			rule, known = shapeRules[c.n.Op]
		}
		if !known {
			rule = (*call).unknown
		}
		if err := rule(c); err != nil {
			return c.wrap(err)
		}
		if err := c.finish(); err != nil {
			return c.wrap(err)
		}
		if known {
			c.fold()
		}
		if known && p.deep && !c.n.Folded {
			c.evaluate()
		}
	}
	return nil
}

// readable checks that every input has been made; variables and tensors without data of unknown operators are let through.
func (c *call) readable() error {
	for _, t := range c.n.Inputs {
		if t < 0 {
			continue
		}
		if in := &c.Tensors[t]; in.Producer >= c.n.Index {
			return c.fail("reads %s before operator %d has made it", in, in.Producer)
		}
	}
	return nil
}

// wrap turns errors into those of the package. At a batch other than the file's, where inference at the file's batch went well,
// every failure is the batch's.
func (c *call) wrap(err error) error {
	reason := err.Error()
	if e := (*Error)(nil); errors.As(err, &e) {
		reason = e.Reason
	}
	if c.file != nil {
		return &BatchError{c.n.Index, c.n.String(), c.Batch, c.FileBatch, reason}
	}
	return &Error{c.n.Index, c.n.String(), reason}
}

func (c *call) fail(format string, args ...any) error {
	return &Error{c.n.Index, c.n.String(), fmt.Sprintf(format, args...)}
}

// finish stores the output shapes a rule found and decides whether the outputs are batched.
func (c *call) finish() error {
	if len(c.outs) != len(c.n.Outputs) {
		return c.fail("has %d outputs, want %d", len(c.n.Outputs), len(c.outs))
	}
	batched := c.anyBatched() && !c.still
	for j, t := range c.n.Outputs {
		shape := c.outs[j]
		if err := checkShape(shape); err != nil {
			return c.fail("output %d: %v", j, err)
		}
		if batched && c.mixes == "" && (len(shape) == 0 || shape[0]%c.Batch != 0) {
			c.mix("its output %v does not begin with the batch", shape)
		}
		if t >= 0 {
			c.Tensors[t].Shape = shape
		}
	}
	if batched && c.mixes != "" && c.file != nil {
		return c.fail("%s", c.mixes)
	}
	for j, t := range c.n.Outputs {
		if t < 0 {
			continue
		}
		c.Tensors[t].Batched = batched && c.mixes == ""
		if c.file != nil && !slices.Equal(c.outs[j], c.scaled(j)) {
			return c.fail("output %d would be %v, not %v", j, c.outs[j], c.scaled(j))
		}
	}
	return nil
}

func (c *call) anyBatched() bool {
	for _, t := range c.n.Inputs {
		if t >= 0 && c.Tensors[t].Batched {
			return true
		}
	}
	return false
}

// scaled returns the shape output j must have: the one at the file's batch, its leading dimension scaled if it is batched.
func (c *call) scaled(j int) []int {
	t := c.n.Outputs[j]
	shape := slices.Clone(c.Tensors[t].Shape)
	if c.file == nil {
		return shape
	}
	shape = slices.Clone(c.file.Tensors[t].Shape)
	if c.file.Tensors[t].Batched {
		shape[0] = shape[0] / c.FileBatch * c.Batch
	}
	return shape
}

// unknown keeps the file's shapes. Only an operator whose input and output the converter declared to have a free leading
// dimension is taken for batched.
func (c *call) unknown() error {
	free := true
	signature := func(t int) bool {
		s := c.Model.Subgraph().Tensors[t].ShapeSignature
		return len(s) > 0 && s[0] == -1
	}
	for _, t := range c.n.Inputs {
		free = free && (t < 0 || !c.Tensors[t].Batched || signature(t))
	}
	for j, t := range c.n.Outputs {
		if t < 0 {
			c.outs = append(c.outs, nil)
			continue
		}
		free = free && signature(t)
		c.outs = append(c.outs, c.scaled(j))
	}
	if !free {
		c.mix("how it treats the samples of a batch is not known")
	}
	return nil
}

// want checks the number of inputs; the first atLeast of them must be there.
func (c *call) want(atLeast int) error {
	for i := range atLeast {
		if c.in(i) == nil {
			return c.fail("input %d is missing", i)
		}
	}
	return nil
}

// in returns input i, nil if it is absent.
func (c *call) in(i int) *Tensor { return c.Input(c.n, i) }

// constants returns the integers of input i, which must be a constant.
func (c *call) constants(i int, what string) ([]int, error) {
	t := c.in(i)
	if t == nil {
		return nil, c.fail("%s (input %d) is missing", what, i)
	}
	values := t.Ints()
	if values == nil {
		return nil, c.fail("%s (%s, %s) is not an integer constant", what, t, t.Type)
	}
	return values, nil
}

func (c *call) give(shapes ...[]int) { c.outs = append(c.outs, shapes...) }

// mix records that the outputs of batched inputs are not batched; the first reason counts.
func (c *call) mix(format string, args ...any) {
	if c.mixes == "" {
		c.mixes = fmt.Sprintf(format, args...)
	}
}

// batchedOnly records that samples mix if any input other than those listed is batched.
func (c *call) batchedOnly(inputs ...int) {
	for i := range c.n.Inputs {
		if t := c.in(i); t != nil && t.Batched && !slices.Contains(inputs, i) {
			c.mix("input %d differs from sample to sample", i)
		}
	}
}

// axis counts a possibly negative axis from the front.
func (c *call) axis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, c.fail("axis %d of %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// axisIn normalises the one axis that the constant input i holds.
func (c *call) axisIn(i, rank int) (int, error) {
	list, err := c.constants(i, "axis")
	if err != nil {
		return 0, err
	}
	if len(list) != 1 {
		return 0, c.fail("%d axes, want 1", len(list))
	}
	return c.axis(list[0], rank)
}

// axes normalises a list of axes: from the front, sorted, distinct.
func (c *call) axes(list []int, rank int) ([]int, error) {
	if len(list) > maxRank {
		return nil, c.fail("%d axes of %d dimensions", len(list), rank)
	}
	out := []int{}
	for _, a := range list {
		a, err := c.axis(a, rank)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out, nil
}

// activation translates a fused activation.
func (c *call) activation(a schema.ActivationFunctionType) (Activation, error) {
	switch a {
	case schema.ActivationFunctionTypeNONE:
		return None, nil
	case schema.ActivationFunctionTypeRELU:
		return Relu, nil
	case schema.ActivationFunctionTypeRELU_N1_TO_1:
		return ReluN1To1, nil
	case schema.ActivationFunctionTypeRELU6:
		return Relu6, nil
	default:
		return None, c.fail("fused activation %s is not supported: export it as an operator of its own", a)
	}
}

// options returns a node's options. An operator without any gets their zero value, as LiteRT gives it.
func options[T any](c *call) (*T, error) {
	o := c.Model.Subgraph().Operators[c.n.Index]
	if o.BuiltinOptions == nil || o.BuiltinOptions.Value == nil {
		return new(T), nil
	}
	value, ok := o.BuiltinOptions.Value.(*T)
	if !ok {
		return nil, c.fail("has the options of another operator, %s", o.BuiltinOptions.Type)
	}
	if value == nil {
		return new(T), nil
	}
	return value, nil
}
