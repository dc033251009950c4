package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// blocks reads the block sizes and the pairs of amounts of SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND.
func (c *call) blocks() (block, amounts []int, err error) {
	if err := c.want(3); err != nil {
		return nil, nil, err
	}
	if block, err = c.constants(1, "block shape"); err != nil {
		return nil, nil, err
	}
	if amounts, err = c.constants(2, "paddings"); err != nil {
		return nil, nil, err
	}
	if len(block) >= len(c.in(0).Shape) || len(amounts) != 2*len(block) || len(block) > 0 && slices.Min(block) < 1 || len(amounts) > 0 && slices.Min(amounts) < 0 {
		return nil, nil, c.fail("block %v and paddings %v do not fit %v", block, amounts, c.in(0).Shape)
	}
	return block, amounts, nil
}

func spaceToBatch(c *call) error {
	block, pads, err := c.blocks()
	if err != nil {
		return err
	}
	out := slices.Clone(c.in(0).Shape)
	for i, b := range block {
		d := out[i+1] + pads[2*i] + pads[2*i+1]
		if d%b != 0 {
			return c.fail("blocks of %d do not divide the %d elements of dimension %d", b, d, i+1)
		}
		out[i+1] = d / b
		out[0] *= b
	}
	c.mix("it makes samples of parts of samples")
	c.give(out)
	return checkShape(out)
}

func batchToSpace(c *call) error {
	block, crops, err := c.blocks()
	if err != nil {
		return err
	}
	out := slices.Clone(c.in(0).Shape)
	for i, b := range block {
		if out[0]%b != 0 || out[i+1]*b < crops[2*i]+crops[2*i+1] {
			return c.fail("block %v and crops %v do not fit %v", block, crops, c.in(0).Shape)
		}
		out[0] /= b
		out[i+1] = out[i+1]*b - crops[2*i] - crops[2*i+1]
	}
	c.mix("it makes one sample of several")
	c.give(out)
	return checkShape(out)
}

// unfoldDilations replaces SPACE_TO_BATCH_ND → convolution → BATCH_TO_SPACE_ND, as TensorFlow writes a dilated convolution, by the
// convolution with its dilation. Operators between that only add or drop dimensions of 1, and element-wise ones, stay. It returns how
// many it replaced. g is the model's graph, all of whose shapes are known.
func unfoldDilations(m *tflite.Model, g *Graph) (count int) {
	operators := slices.Clone(m.Subgraph().Operators)
	for i := range g.Nodes {
		if g.Nodes[i].Op != schema.BuiltinOperatorSPACE_TO_BATCH_ND {
			continue
		}
		if d := findDilation(g, i); d != nil {
			d.rewrite(m, operators)
			count++
		}
	}
	return count
}

// dilation is a chain from a SPACE_TO_BATCH_ND to a BATCH_TO_SPACE_ND.
type dilation struct {
	g           *Graph
	first, last *Node
	between     []*Node
	conv        *Node
	space       []int // block size by dimension of the convolution's input that is height (1) and width (2)
	pad         [4]int
}

// findDilation follows the chain that starts at a node; nil if it is none.
func findDilation(g *Graph, first int) *dilation {
	d := &dilation{g: g, first: &g.Nodes[first]}
	for n := d.first; ; {
		if len(n.Outputs) != 1 || slices.Contains(g.Outputs, n.Outputs[0]) || len(g.Output(n, 0).Consumers) != 1 {
			return nil
		}
		t := n.Outputs[0]
		n = &g.Nodes[g.Tensors[t].Consumers[0]]
		switch n.Op {
		case schema.BuiltinOperatorBATCH_TO_SPACE_ND:
			d.last = n
			if d.conv == nil || !d.measure() {
				return nil
			}
			return d
		case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D:
			if d.conv != nil || n.Inputs[0] != t {
				return nil
			}
			d.conv = n
		case schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSQUEEZE:
			if n.Inputs[0] != t || !slices.Equal(without1(g.Input(n, 0).Shape), without1(g.Output(n, 0).Shape)) {
				return nil
			}
		default:
			if !elementwise(g, n, t) {
				return nil
			}
		}
		d.between = append(d.between, n)
	}
}

// elementwise reports whether a node does the same to every pixel of t: a unary operator, or one with a constant per channel.
func elementwise(g *Graph, n *Node, t int) bool {
	switch n.Attr.(type) {
	case Unary, LeakyRelu, Gelu:
		return true
	case Binary:
		for _, i := range n.Inputs {
			if i != t && (g.Tensors[i].Const == nil || numel(g.Tensors[i].Shape) != lastOf(g.Tensors[i].Shape)) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func lastOf(shape []int) int {
	if len(shape) == 0 {
		return 1
	}
	return shape[len(shape)-1]
}

func without1(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// measure finds the convolution's dilation and padding, and reports whether the chain is one.
func (d *dilation) measure() bool {
	block, pads, ok := d.amounts(d.first)
	same, crops, ok2 := d.amounts(d.last)
	conv, isConv := d.conv.Attr.(Conv)
	if !ok || !ok2 || !isConv || !slices.Equal(block, same) || conv.StrideH != 1 || conv.StrideW != 1 || conv.DilationH != 1 || conv.DilationW != 1 {
		return false
	}
	x := d.g.Input(d.conv, 0).Shape
	from := d.g.Output(d.first, 0).Shape
	d.space = []int{1, 1, 1, 1}
	low, high := []int{0, 0, 0, 0}, []int{0, 0, 0, 0}
	at := 1 // dimension of the convolution's input that the next spatial one became
	for i, b := range block {
		kernel := []int{1, conv.KH, conv.KW, 1}
		for at < 3 && (x[at] != from[i+1] || at == 1 && i == len(block)-1 && x[1] == 1 && x[2] == 1 && kernel[1] == 1) {
			if x[at] != 1 {
				return false
			}
			at++
		}
		if at > 2 {
			return false
		}
		d.space[at] = b
		low[at], high[at] = pads[2*i]-crops[2*i], pads[2*i+1]-crops[2*i+1]
		at++
	}
	inner := [4]int{conv.PadTop, conv.PadBottom, conv.PadLeft, conv.PadRight}
	for k, s := range []int{1, 2} {
		d.pad[2*k] = low[s] + inner[2*k]*d.space[s]
		d.pad[2*k+1] = high[s] + inner[2*k+1]*d.space[s]
	}
	return slices.Min(d.pad[:]) >= 0
}

func (d *dilation) amounts(n *Node) (block, pairs []int, ok bool) {
	block, pairs = d.g.Input(n, 1).Ints(), d.g.Input(n, 2).Ints()
	return block, pairs, block != nil && len(pairs) == 2*len(block)
}

// rewrite takes the two operators out of the model and dilates the convolution. operators are the model's by node.
func (d *dilation) rewrite(m *tflite.Model, operators []*schema.OperatorT) {
	sub := m.Subgraph()
	for i, t := range operators[d.between[0].Index].Inputs {
		if int(t) == d.first.Outputs[0] {
			operators[d.between[0].Index].Inputs[i] = int32(d.first.Inputs[0])
		}
	}
	operators[d.between[len(d.between)-1].Index].Outputs = []int32{int32(d.last.Outputs[0])}
	sub.Operators = slices.DeleteFunc(sub.Operators, func(o *schema.OperatorT) bool {
		return o == operators[d.first.Index] || o == operators[d.last.Index]
	})
	// Between, shapes are now those of whole samples; the targets of reshapes say so.
	current := d.g.Input(d.first, 0).Shape
	for _, n := range d.between {
		o := operators[n.Index]
		switch n.Op {
		case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D:
			d.dilate(m, o, current)
			current = d.convolved(current, lastOf(d.g.Output(n, 0).Shape))
		case schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSQUEEZE:
			current = regrouped(current, d.g.Output(n, 0).Shape)
			setReshape(m, o, current)
		}
		sub.Tensors[o.Outputs[0]].Shape = int32s(current)
	}
	sub.Tensors[d.last.Outputs[0]].Shape = int32s(d.g.Output(d.last, 0).Shape)
}

// convolved is the shape after the dilated convolution.
func (d *dilation) convolved(x []int, channels int) []int {
	conv := d.conv.Attr.(Conv)
	out := slices.Clone(x)
	out[1] = x[1] + d.pad[0] + d.pad[1] - (conv.KH-1)*d.space[1]
	out[2] = x[2] + d.pad[2] + d.pad[3] - (conv.KW-1)*d.space[2]
	out[3] = channels
	return out
}

// regrouped gives x dimensions of 1 where the pattern has them.
func regrouped(x, pattern []int) []int {
	rest, out := without1(x[1:]), []int{x[0]}
	for _, d := range pattern[1:] {
		if d == 1 && len(pattern)-len(out) > len(rest) {
			out = append(out, 1)
			continue
		}
		if len(rest) == 0 {
			out = append(out, 1)
			continue
		}
		out, rest = append(out, rest[0]), rest[1:]
	}
	return out
}

// dilate sets the convolution's options; padding that neither VALID nor SAME is becomes a PAD before it.
func (d *dilation) dilate(m *tflite.Model, o *schema.OperatorT, x []int) {
	conv := d.conv.Attr.(Conv)
	padding := schema.PaddingVALID
	_, top, bottom := pad(x[1], conv.KH, 1, d.space[1], true)
	_, left, right := pad(x[2], conv.KW, 1, d.space[2], true)
	switch d.pad {
	case [4]int{}:
	case [4]int{top, bottom, left, right}:
		padding = schema.PaddingSAME
	default:
		o.Inputs[0] = insertPad(m, o, x, d.pad)
	}
	switch options := o.BuiltinOptions.Value.(type) {
	case *schema.Conv2DOptionsT:
		options.Padding, options.DilationHFactor, options.DilationWFactor = padding, int32(d.space[1]), int32(d.space[2])
	case *schema.DepthwiseConv2DOptionsT:
		options.Padding, options.DilationHFactor, options.DilationWFactor = padding, int32(d.space[1]), int32(d.space[2])
	}
}
