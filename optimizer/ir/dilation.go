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

// unfoldDilations replaces SPACE_TO_BATCH_ND → convolutions → BATCH_TO_SPACE_ND, as TensorFlow writes dilated convolutions, by the
// convolutions with their dilation. What one SPACE_TO_BATCH_ND makes may feed several convolutions, each with a BATCH_TO_SPACE_ND of its
// own or, after element-wise operators that join them, with one in common. Operators between that only add or drop dimensions of 1, and
// element-wise ones, stay. It returns how many convolutions it dilated. g is the model's graph, all of whose shapes are known.
func unfoldDilations(m *tflite.Model, g *Graph) (count int) {
	operators := slices.Clone(m.Subgraph().Operators)
	for i := range g.Nodes {
		if g.Nodes[i].Op != schema.BuiltinOperatorSPACE_TO_BATCH_ND {
			continue
		}
		if d := findDilation(g, i); d != nil {
			d.rewrite(m, operators)
			count += len(d.convs)
		}
	}
	return count
}

// dilation is what lies between a SPACE_TO_BATCH_ND and the BATCH_TO_SPACE_ND that undo it.
type dilation struct {
	g           *Graph
	first       *Node
	block, pads []int
	between     []*Node // in execution order
	last        []*Node
	convolved   map[int]bool // by tensor between: whether it comes after a convolution
	convs       map[*Node]dilatedConv
	shapes      map[int][]int // by tensor between: its shape when whole samples flow there
}

// dilatedConv is what becomes of a convolution.
type dilatedConv struct {
	space []int // block size by dimension of the convolution's input, of which 1 is height and 2 width
	pad   [4]int
}

// findDilation follows what starts at a node; nil if not all of it can be written without batches of parts of samples.
func findDilation(g *Graph, first int) *dilation {
	d := &dilation{g: g, first: &g.Nodes[first]}
	if len(d.first.Outputs) != 1 || slices.Contains(g.Outputs, d.first.Outputs[0]) {
		return nil
	}
	var ok bool
	if d.block, d.pads, ok = d.amounts(d.first); !ok || !d.collect() || !d.measure() {
		return nil
	}
	return d
}

// collect finds the operators between and the last ones, and reports whether each of them can stay.
func (d *dilation) collect() bool {
	g := d.g
	inside := map[int]bool{d.first.Outputs[0]: true}
	d.convolved = map[int]bool{}
	for i := d.first.Index + 1; i < len(g.Nodes); i++ {
		n := &g.Nodes[i]
		if !slices.ContainsFunc(n.Inputs, func(t int) bool { return inside[t] }) {
			continue
		}
		if n.Op == schema.BuiltinOperatorBATCH_TO_SPACE_ND {
			t := n.Inputs[0]
			if !inside[t] || slices.ContainsFunc(d.last, func(o *Node) bool { return o.Inputs[0] == t }) {
				return false
			}
			d.last = append(d.last, n)
			continue
		}
		if len(n.Outputs) != 1 || slices.Contains(g.Outputs, n.Outputs[0]) || len(g.Output(n, 0).Consumers) == 0 {
			return false
		}
		switch n.Op {
		case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D:
			if !inside[n.Inputs[0]] || inside[n.Inputs[1]] || len(n.Inputs) > 2 && inside[n.Inputs[2]] {
				return false
			}
		case schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSQUEEZE:
			if !inside[n.Inputs[0]] || !slices.Equal(without1(g.Input(n, 0).Shape), without1(g.Output(n, 0).Shape)) {
				return false
			}
		default:
			if !elementwise(g, n, inside) {
				return false
			}
		}
		inside[n.Outputs[0]] = true
		_, isConv := n.Attr.(Conv)
		d.convolved[n.Outputs[0]] = isConv || slices.ContainsFunc(n.Inputs, func(t int) bool { return d.convolved[t] })
		d.between = append(d.between, n)
	}
	return len(d.last) > 0
}

// elementwise reports whether a node does the same to every pixel: a unary operator, or one on pixels inside and constants per channel.
func elementwise(g *Graph, n *Node, inside map[int]bool) bool {
	switch n.Attr.(type) {
	case Unary, LeakyRelu, Gelu:
		return true
	case Binary:
		for _, i := range n.Inputs {
			x := &g.Tensors[i]
			if !inside[i] && (x.Const == nil || numel(x.Shape) != lastOf(x.Shape)) || inside[i] && !slices.Equal(x.Shape, g.Output(n, 0).Shape) {
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

// measure finds each convolution's dilation and padding and the shapes between, and reports whether they come to what the last
// operators give.
func (d *dilation) measure() bool {
	crops, ok := d.crops()
	if !ok {
		return false
	}
	d.convs = map[*Node]dilatedConv{}
	d.shapes = map[int][]int{d.first.Outputs[0]: d.g.Input(d.first, 0).Shape}
	changed, padded := false, false
	for _, n := range d.between {
		y := n.Outputs[0]
		inputs := slices.DeleteFunc(slices.Clone(n.Inputs), func(t int) bool { return d.shapes[t] == nil })
		x := d.shapes[inputs[0]]
		switch n.Op {
		case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D:
			c, outer, ok := d.dilated(n, crops[y])
			if !ok {
				return false
			}
			padded = padded || outer
			d.convs[n] = c
			d.shapes[y] = c.convolved(n.Attr.(Conv), x, lastOf(d.g.Output(n, 0).Shape))
		case schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSQUEEZE:
			d.shapes[y] = regrouped(x, d.g.Output(n, 0).Shape)
		default:
			for _, t := range inputs {
				if d.convolved[t] != d.convolved[y] || !slices.Equal(d.shapes[t], x) {
					return false
				}
			}
			changed = changed || !d.convolved[y]
			d.shapes[y] = x
		}
	}
	// What an operator before the convolution makes of SPACE_TO_BATCH_ND's zeros need not be the zeros that the convolution pads with.
	if changed && padded {
		return false
	}
	return !slices.ContainsFunc(d.last, func(n *Node) bool {
		return !d.convolved[n.Inputs[0]] || !slices.Equal(d.shapes[n.Inputs[0]], d.g.Output(n, 0).Shape)
	})
}

// crops returns by tensor after a convolution what the last operators cut off; false if they differ in that or in their block.
func (d *dilation) crops() (map[int][]int, bool) {
	crops := map[int][]int{}
	for _, n := range d.last {
		block, cut, ok := d.amounts(n)
		if !ok || !slices.Equal(block, d.block) {
			return nil, false
		}
		crops[n.Inputs[0]] = cut
	}
	for _, n := range slices.Backward(d.between) {
		cut := crops[n.Outputs[0]]
		for _, t := range n.Inputs {
			if !d.convolved[t] {
				continue
			}
			if crops[t] != nil && !slices.Equal(crops[t], cut) {
				return nil, false
			}
			crops[t] = cut
		}
	}
	return crops, true
}

// dilated finds a convolution's dilation and padding, and whether SPACE_TO_BATCH_ND's zeros are part of it. Of several convolutions on
// one way, those after the first must be of single pixels.
func (d *dilation) dilated(n *Node, crops []int) (c dilatedConv, outer, ok bool) {
	conv, isConv := n.Attr.(Conv)
	if !isConv || conv.StrideH != 1 || conv.StrideW != 1 || conv.DilationH != 1 || conv.DilationW != 1 {
		return c, false, false
	}
	c.space = []int{1, 1, 1, 1}
	if d.convolved[n.Inputs[0]] {
		return c, false, conv.KH == 1 && conv.KW == 1
	}
	x := d.g.Input(n, 0).Shape
	from := d.g.Output(d.first, 0).Shape
	low, high := []int{0, 0, 0, 0}, []int{0, 0, 0, 0}
	at := 1 // dimension of the convolution's input that the next spatial one became
	for i, b := range d.block {
		kernel := []int{1, conv.KH, conv.KW, 1}
		for at < 3 && (x[at] != from[i+1] || at == 1 && i == len(d.block)-1 && x[1] == 1 && x[2] == 1 && kernel[1] == 1) {
			if x[at] != 1 {
				return c, false, false
			}
			at++
		}
		if at > 2 {
			return c, false, false
		}
		c.space[at] = b
		low[at], high[at] = d.pads[2*i]-crops[2*i], d.pads[2*i+1]-crops[2*i+1]
		outer = outer || low[at] != 0 || high[at] != 0
		at++
	}
	inner := [4]int{conv.PadTop, conv.PadBottom, conv.PadLeft, conv.PadRight}
	for k, s := range []int{1, 2} {
		c.pad[2*k] = low[s] + inner[2*k]*c.space[s]
		c.pad[2*k+1] = high[s] + inner[2*k+1]*c.space[s]
	}
	return c, outer, slices.Min(c.pad[:]) >= 0
}

func (d *dilation) amounts(n *Node) (block, pairs []int, ok bool) {
	block, pairs = d.g.Input(n, 1).Ints(), d.g.Input(n, 2).Ints()
	return block, pairs, block != nil && len(pairs) == 2*len(block)
}

// rewrite takes the first and the last operators out of the model and dilates the convolutions. operators are the model's by node.
func (d *dilation) rewrite(m *tflite.Model, operators []*schema.OperatorT) {
	sub := m.Subgraph()
	gone := []*schema.OperatorT{operators[d.first.Index]}
	becomes := map[int]int{d.first.Outputs[0]: d.first.Inputs[0]}
	for _, n := range d.last {
		gone = append(gone, operators[n.Index])
		becomes[n.Inputs[0]] = n.Outputs[0]
	}
	sub.Operators = slices.DeleteFunc(sub.Operators, func(o *schema.OperatorT) bool { return slices.Contains(gone, o) })
	rename := func(tensors []int32) {
		for i, t := range tensors {
			if y, ok := becomes[int(t)]; ok {
				tensors[i] = int32(y)
			}
		}
	}
	padded := map[padding]int32{}
	// Between, shapes are now those of whole samples; the targets of reshapes say so.
	for _, n := range d.between {
		o := operators[n.Index]
		rename(o.Inputs)
		rename(o.Outputs)
		shape := d.shapes[n.Outputs[0]]
		switch n.Op {
		case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D:
			d.convs[n].dilate(m, o, n.Attr.(Conv), d.shapes[n.Inputs[0]], padded)
		case schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSQUEEZE:
			setReshape(m, o, shape)
		}
		sub.Tensors[o.Outputs[0]].Shape = int32s(shape)
	}
}

// convolved is the shape after the dilated convolution.
func (c dilatedConv) convolved(conv Conv, x []int, channels int) []int {
	out := slices.Clone(x)
	out[1] = x[1] + c.pad[0] + c.pad[1] - (conv.KH-1)*c.space[1]
	out[2] = x[2] + c.pad[2] + c.pad[3] - (conv.KW-1)*c.space[2]
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

// padding is a tensor that is padded and by how much.
type padding struct {
	tensor int32
	amount [4]int
}

// dilate sets the convolution's options; padding that neither VALID nor SAME is becomes a PAD before it, one for
// all convolutions that pad the same so.
func (c dilatedConv) dilate(m *tflite.Model, o *schema.OperatorT, conv Conv, x []int, padded map[padding]int32) {
	mode := schema.PaddingVALID
	_, top, bottom := pad(x[1], conv.KH, 1, c.space[1], true)
	_, left, right := pad(x[2], conv.KW, 1, c.space[2], true)
	switch c.pad {
	case [4]int{}:
	case [4]int{top, bottom, left, right}:
		mode = schema.PaddingSAME
	default:
		key := padding{o.Inputs[0], c.pad}
		if _, ok := padded[key]; !ok {
			padded[key] = insertPad(m, o, x, c.pad)
		}
		o.Inputs[0] = padded[key]
	}
	switch options := o.BuiltinOptions.Value.(type) {
	case *schema.Conv2DOptionsT:
		options.Padding, options.DilationHFactor, options.DilationWFactor = mode, int32(c.space[1]), int32(c.space[2])
	case *schema.DepthwiseConv2DOptionsT:
		options.Padding, options.DilationHFactor, options.DilationWFactor = mode, int32(c.space[1]), int32(c.space[2])
	}
}
