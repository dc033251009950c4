package equalize

import (
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/union"
)

// fixed is the unit of channels that stay as they are.
const fixed = 0

// Structure says which channels of a network can be scaled.
type Structure struct {
	graph       *ir.Graph
	units       union.Sets    // scaled alike
	activations map[int][]int // by tensor the unit of every index of its last axis; others are fixed
	constants   map[int]*constant
	clipped     []int       // tensors that a RELU6 gives
	index       map[int]int // of roots that are free
	roots       []int
	class       []int // by free unit
	classes     int
}

// constant is a tensor that is scaled with the channels: element e times the factor of up and divided by that of down.
type constant struct {
	up, down []int // units, those of down along the last axis; nil: none
	inner    int   // elements to an index of up
	groups   int   // of a grouped convolution: each reads a part of down
	readers  int   // operators that read it so
}

// units are those that element e is multiplied and divided by.
func (c *constant) units(e int) (up, down int) {
	up, down = fixed, fixed
	o := 0
	if c.up != nil {
		o = e / c.inner % len(c.up)
		up = c.up[o]
	}
	if c.down != nil {
		each := len(c.down) / c.groups
		down = c.down[e%each+o/(len(c.up)/c.groups)*each]
	}
	return up, down
}

// Find finds the channels of a graph that can be scaled. Constants that keep names, by tensor, stay as they are.
func Find(g *ir.Graph, keep map[int]bool) *Structure {
	s := &Structure{graph: g, units: union.New(1), activations: map[int][]int{}, constants: map[int]*constant{}, index: map[int]int{}}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; !n.Folded {
			s.node(n)
		}
	}
	for _, t := range g.Outputs {
		s.fix(s.of(t))
	}
	for t, c := range s.constants {
		if tensor := &g.Tensors[t]; keep[t] || c.readers < len(tensor.Consumers) || tensor.Producer >= 0 || tensor.Type != schema.TensorTypeFLOAT32 {
			s.fix(c.up)
			s.fix(c.down)
		}
	}
	for u := range s.units {
		if s.units.Root(u) == u && u != fixed {
			s.index[u] = len(s.roots)
			s.roots = append(s.roots, u)
		}
	}
	s.classify()
	return s
}

// classify puts units that lie side by side in an activation in one class.
func (s *Structure) classify() {
	of := union.New(len(s.roots))
	for _, list := range s.activations {
		first := -1
		for _, u := range list {
			if u := s.unit(u); u >= 0 && first < 0 {
				first = u
			} else if u >= 0 {
				of.Join(first, u)
			}
		}
	}
	number := map[int]int{}
	for u := range s.roots {
		root := of.Root(u)
		if _, ok := number[root]; !ok {
			number[root] = len(number)
		}
		s.class = append(s.class, number[root])
	}
	s.classes = len(number)
}

// Units is how many channels, or classes of them that have to be scaled alike, are free.
func (s *Structure) Units() int { return len(s.roots) }

// unit is the number of a unit among the free ones, −1: it is fixed.
func (s *Structure) unit(u int) int {
	if i, ok := s.index[s.units.Root(u)]; ok {
		return i
	}
	return -1
}

func (s *Structure) joinAll(a, b []int) {
	if len(a) != len(b) {
		s.fix(a)
		s.fix(b)
		return
	}
	for i := range a {
		s.units.Join(a[i], b[i])
	}
}

func (s *Structure) fix(list []int) {
	for _, u := range list {
		s.units.Join(u, fixed)
	}
}

// of are an activation's units, by index of its last axis.
func (s *Structure) of(t int) []int {
	if list, ok := s.activations[t]; ok {
		return list
	}
	return make([]int, last(s.graph.Tensors[t].Shape)) // all fixed
}

func last(shape []int) int {
	if len(shape) == 0 {
		return 1
	}
	return shape[len(shape)-1]
}

// node has units go through an operator.
func (s *Structure) node(n *ir.Node) {
	switch a := n.Attr.(type) {
	case ir.Conv:
		s.convolution(n, a)
	case ir.TransposeConv:
		s.layer(n, 2, 1, 3, 1, a.Act)
	case ir.FullyConnected:
		s.layer(n, 0, 1, 2, 1, a.Act)
	case ir.Binary:
		s.binary(n, a)
	case ir.AddN:
		s.alike(n, ir.None)
	case ir.Pool:
		s.pass(n, 0, a.Act, s.of(n.Inputs[0]))
	case ir.Resize, ir.LeakyRelu:
		s.pass(n, 0, ir.None, s.of(n.Inputs[0]))
	case ir.Unary:
		s.unary(n)
	case ir.Reduce:
		if rank := len(s.graph.Input(n, 0).Shape); n.Op == schema.BuiltinOperatorREDUCE_PROD || slices.Contains(a.Axes, rank-1) {
			s.stop(n)
		} else {
			s.pass(n, 0, ir.None, s.of(n.Inputs[0]))
		}
	case ir.Concat:
		s.concatenate(n, a)
	case ir.Pad:
		s.pad(n, a)
	case ir.MirrorPad:
		s.whole(n, a.Before[len(a.Before)-1]+a.After[len(a.After)-1] == 0)
	case ir.Transpose:
		s.whole(n, a.Perm[len(a.Perm)-1] == len(a.Perm)-1)
	case ir.StridedSlice:
		s.slice(n, a)
	case ir.Split:
		s.split(n, a)
	case ir.Reshape:
		s.pass(n, 0, ir.None, s.reshaped(s.of(n.Inputs[0]), last(s.graph.Output(n, 0).Shape)))
	default:
		s.stop(n)
	}
}

// stop fixes what an operator reads; what it gives has no units.
func (s *Structure) stop(n *ir.Node) {
	for _, t := range n.Inputs {
		if t >= 0 {
			s.fix(s.activations[t])
		}
	}
}

// pass gives the outputs of an operator units, and has its activation function say what may become of them.
func (s *Structure) pass(n *ir.Node, output int, act ir.Activation, list []int) {
	t := n.Outputs[output]
	if len(list) != last(s.graph.Tensors[t].Shape) {
		s.fix(list)
		return
	}
	s.activations[t] = list
	switch act {
	case ir.None, ir.Relu:
	case ir.Relu6:
		s.clipped = append(s.clipped, t)
	default:
		s.fix(list)
	}
}

// whole passes the units on if the last axis stays what it is.
func (s *Structure) whole(n *ir.Node, stays bool) {
	if !stays {
		s.stop(n)
		return
	}
	s.pass(n, 0, ir.None, s.of(n.Inputs[0]))
}

func (s *Structure) unary(n *ir.Node) {
	switch n.Op {
	case schema.BuiltinOperatorRELU, schema.BuiltinOperatorABS, schema.BuiltinOperatorNEG:
		s.pass(n, 0, ir.None, s.of(n.Inputs[0]))
	case schema.BuiltinOperatorRELU6:
		s.pass(n, 0, ir.Relu6, s.of(n.Inputs[0]))
	default:
		s.stop(n)
	}
}

// layer scales the weights and the bias of an operator: outputs along the first axis, inputs along the last.
func (s *Structure) layer(n *ir.Node, x, w, bias, groups int, act ir.Activation) {
	kernel := s.graph.Input(n, w)
	if kernel == nil || kernel.Const == nil || s.graph.Tensors[n.Inputs[x]].Const != nil {
		s.stop(n)
		return
	}
	inner := 1
	for _, d := range kernel.Shape[1:] {
		inner *= d
	}
	c := constant{up: s.units.Grow(kernel.Shape[0]), inner: inner, down: s.reshaped(s.of(n.Inputs[x]), last(kernel.Shape)*groups), groups: groups}
	s.makes(n, kernel, bias, c, act)
}

// makes gives the weights, the bias and the output of a layer its units.
func (s *Structure) makes(n *ir.Node, kernel *ir.Tensor, bias int, c constant, act ir.Activation) {
	out := c.up
	s.scale(kernel.Index, c)
	if b := s.graph.Input(n, bias); b != nil && b.Const != nil {
		s.scale(b.Index, constant{up: out, inner: 1, groups: 1})
	} else if b != nil {
		s.fix(out)
		s.fix(s.activations[b.Index])
	}
	s.pass(n, 0, act, out)
}

// scale has a constant be scaled. One that several operators read has to suit them all.
func (s *Structure) scale(t int, c constant) {
	c.readers = 1
	had := s.constants[t]
	if had == nil {
		s.constants[t] = &c
		return
	}
	had.readers++
	if had.inner != c.inner || had.groups != c.groups || len(had.down) != len(c.down) || len(had.up) != len(c.up) {
		for _, list := range [][]int{had.up, had.down, c.up, c.down} {
			s.fix(list)
		}
		return
	}
	s.joinAll(had.up, c.up)
	s.joinAll(had.down, c.down)
}

func (s *Structure) convolution(n *ir.Node, a ir.Conv) {
	if !a.Depthwise {
		s.layer(n, 0, 1, 2, a.Groups, a.Act)
		return
	}
	kernel := s.graph.Input(n, 1)
	if kernel == nil || kernel.Const == nil {
		s.stop(n)
		return
	}
	var in []int
	for _, u := range s.of(n.Inputs[0]) {
		in = append(in, slices.Repeat([]int{u}, a.DepthMultiplier)...)
	}
	s.makes(n, kernel, 2, constant{up: s.units.Grow(kernel.Shape[3]), inner: 1, down: in, groups: 1}, a.Act)
}

func (s *Structure) binary(n *ir.Node, a ir.Binary) {
	switch n.Op {
	case schema.BuiltinOperatorADD, schema.BuiltinOperatorSUB, schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorMINIMUM:
		s.alike(n, a.Act)
	case schema.BuiltinOperatorMUL, schema.BuiltinOperatorDIV:
		s.product(n, a.Act)
	case schema.BuiltinOperatorPRELU:
		s.whole(n, s.graph.Tensors[n.Inputs[1]].Const != nil)
	default:
		s.stop(n)
	}
}

// alike unites the units of operands that are added or compared element by element. Constants are scaled with them.
func (s *Structure) alike(n *ir.Node, act ir.Activation) {
	width := last(s.graph.Output(n, 0).Shape)
	var list []int
	for _, t := range n.Inputs {
		if s.graph.Tensors[t].Const != nil {
			continue
		}
		operand := s.of(t)
		if len(operand) != width {
			s.stop(n)
			return
		}
		if list == nil {
			list = operand
		}
		s.joinAll(list, operand)
	}
	if list == nil {
		return
	}
	for _, t := range n.Inputs {
		if c := &s.graph.Tensors[t]; c.Const != nil && last(c.Shape) == width {
			s.scale(t, constant{up: list, inner: 1, groups: 1})
		} else if c.Const != nil {
			s.fix(list)
		}
	}
	s.pass(n, 0, act, list)
}

// product passes on the units of one factor; the other, a constant or a gate, stays. A divisor stays.
func (s *Structure) product(n *ir.Node, act ir.Activation) {
	width := last(s.graph.Output(n, 0).Shape)
	through := -1
	for slot, t := range n.Inputs {
		if through < 0 && s.activations[t] != nil && len(s.activations[t]) == width && (slot == 0 || n.Op == schema.BuiltinOperatorMUL) && s.free(t) {
			through = slot
			continue
		}
		s.fix(s.activations[t])
	}
	if through < 0 {
		s.stop(n)
		return
	}
	s.pass(n, 0, act, s.of(n.Inputs[through]))
}

// free reports whether a unit of an activation is not fixed so far.
func (s *Structure) free(t int) bool {
	return slices.ContainsFunc(s.activations[t], func(u int) bool { return s.units.Root(u) != fixed })
}

func (s *Structure) concatenate(n *ir.Node, a ir.Concat) {
	rank := len(s.graph.Output(n, 0).Shape)
	var list []int
	for i, t := range n.Inputs {
		switch operand := s.of(t); {
		case a.Axis == rank-1:
			list = append(list, operand...)
		case i == 0:
			list = operand
		default:
			s.joinAll(list, operand)
		}
	}
	s.pass(n, 0, a.Act, list)
}

// pad adds channels of nothing, if any.
func (s *Structure) pad(n *ir.Node, a ir.Pad) {
	axis := len(a.Before) - 1
	if a.Value >= 0 {
		s.stop(n)
		return
	}
	s.pass(n, 0, ir.None, slices.Concat(make([]int, a.Before[axis]), s.of(n.Inputs[0]), make([]int, a.After[axis])))
}

func (s *Structure) slice(n *ir.Node, a ir.StridedSlice) {
	axis := len(a.Begin) - 1
	in := s.of(n.Inputs[0])
	if axis < 0 || a.Shrink[axis] || len(in) != last(s.graph.Input(n, 0).Shape) || len(a.Begin) != len(s.graph.Input(n, 0).Shape) {
		s.stop(n)
		return
	}
	list := make([]int, 0, a.Count[axis])
	for i := range a.Count[axis] {
		list = append(list, in[a.Begin[axis]+i*a.Stride[axis]])
	}
	s.pass(n, 0, ir.None, list)
}

func (s *Structure) split(n *ir.Node, a ir.Split) {
	list := s.of(n.Inputs[a.Data])
	along := a.Axis == len(s.graph.Tensors[n.Inputs[a.Data]].Shape)-1
	for i := range n.Outputs {
		part := list
		if along {
			part, list = list[:a.Sizes[i]], list[a.Sizes[i]:]
		}
		s.pass(n, i, ir.None, part)
	}
}

// reshaped are the units along a last axis of another length, of elements that lie in memory as they did: element e has the unit e modulo
// the old length, so that those become one which meet at one index of the new axis.
func (s *Structure) reshaped(list []int, width int) []int {
	if len(list) == width || width == 0 || len(list) == 0 {
		return list
	}
	common := gcd(len(list), width)
	for i, u := range list {
		s.units.Join(list[i%common], u)
	}
	out := make([]int, width)
	for i := range out {
		out[i] = list[i%common]
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
