package channel

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/union"
)

// couple has units go through an operator.
func (s *Structure) couple(n *ir.Node) {
	s.known = map[place]bool{}
	switch a := n.Attr.(type) {
	case ir.Conv:
		s.convolution(n, a)
	case ir.TransposeConv:
		s.weighted(n, 2, 1, 3, s.channels(n, 2, 3), 0, 3)
	case ir.Conv3D:
		s.weighted(n, 0, 1, 2, s.channels(n, 0, 4), 4, 3)
	case ir.FullyConnected:
		s.weighted(n, 0, 1, 2, s.rows(n, a), 0, 1)
	case ir.Unary, ir.LeakyRelu, ir.Gelu, ir.Cast:
		s.pass(n, 0, func(axis int, list []int) (int, []int) { return axis, list })
	case ir.Pool, ir.Resize:
		s.pass(n, 0, func(axis int, list []int) (int, []int) { return stay(axis == 3, axis, list) })
	case ir.Binary, ir.AddN, ir.Select:
		s.elementwise(n)
	case ir.Softmax, ir.L2Norm, ir.LocalNorm:
		last := len(s.graph.Output(n, 0).Shape) - 1
		s.pass(n, 0, func(axis int, list []int) (int, []int) { return stay(axis != last, axis, list) })
	case ir.Cumsum:
		s.pass(n, 0, func(axis int, list []int) (int, []int) { return stay(axis != a.Axis, axis, list) })
	case ir.Reduce:
		s.reduce(n, a.Axes, a.KeepDims)
	case ir.ArgReduce:
		s.reduce(n, []int{a.Axis}, false)
	case ir.Concat:
		s.concatenate(n, a.Axis)
	case ir.Pack:
		s.pack(n, a.Axis)
	case ir.Split:
		s.split(n, a)
	case ir.Unpack:
		s.unpack(n, a.Axis)
	case ir.StridedSlice:
		s.slice(n, a)
	case ir.Pad:
		s.pad(n, a)
	case ir.MirrorPad:
		s.pass(n, 0, func(axis int, list []int) (int, []int) { return stay(a.Before[axis]+a.After[axis] == 0, axis, list) })
	case ir.Transpose:
		s.pass(n, 0, func(axis int, list []int) (int, []int) { return slices.Index(a.Perm, axis), list })
	case ir.Reverse:
		s.pass(n, 0, func(axis int, list []int) (int, []int) {
			if list = slices.Clone(list); slices.Contains(a.Axes, axis) {
				slices.Reverse(list)
			}
			return axis, list
		})
	case ir.Repeat:
		in, out := s.graph.Input(n, 0).Shape, s.graph.Output(n, 0).Shape
		s.pass(n, 0, func(axis int, list []int) (int, []int) {
			axis += len(out) - len(in)
			return stay(out[axis] == len(list), axis, list)
		})
	case ir.Reshape:
		s.reshape(n)
	case ir.BlockSize:
		s.blocks(n, int(a))
	default:
		s.stop(n)
	}
	for i, t := range n.Inputs {
		if t < 0 || s.graph.Tensors[t].Const == nil {
			continue
		}
		for axis := range s.graph.Tensors[t].Shape {
			if at := (place{t, axis}); !s.known[at] {
				s.pinned[at] = s.reads(n, "all", i)
			}
		}
	}
}

// stay is an axis with the units along it, without them if it is not ok.
func stay(ok bool, axis int, list []int) (int, []int) {
	if ok {
		return axis, list
	}
	return 0, nil
}

// reads says that an operator reads an input in a way that has its channels stay.
func (s *Structure) reads(n *ir.Node, how string, input int) string {
	for _, t := range n.Outputs {
		if slices.Contains(s.graph.Outputs, t) {
			return s.output(t)
		}
	}
	return fmt.Sprintf("%s %q reads %s of %q", n.Op, s.name(n), how, s.graph.Tensors[n.Inputs[input]].Name)
}

// output says that channels are an output's.
func (s *Structure) output(t int) string {
	return fmt.Sprintf("they are the network's output %q", s.graph.Tensors[t].Name)
}

func (s *Structure) name(n *ir.Node) string {
	for _, t := range n.Outputs {
		if t >= 0 {
			return s.graph.Tensors[t].Name
		}
	}
	return ""
}

// of are an activation's units and their axis; nil: it has none.
func (s *Structure) of(t int) (axis int, list []int) {
	axis, ok := s.axis[t]
	if !ok {
		return 0, nil
	}
	return axis, s.along[place{t, axis}]
}

func (s *Structure) give(t, axis int, list []int) {
	if t >= 0 && list != nil {
		s.axis[t], s.along[place{t, axis}] = axis, list
	}
}

// stop has the channels of all inputs stay.
func (s *Structure) stop(n *ir.Node) {
	for i, t := range n.Inputs {
		if _, list := s.of(t); list != nil {
			s.units.fix(list, s.reads(n, "the channels", i))
		}
	}
}

// pass gives every output the units of an input, those and along the axis that move says; nil has them stay.
func (s *Structure) pass(n *ir.Node, input int, move func(axis int, list []int) (int, []int)) {
	axis, list := s.of(n.Inputs[input])
	if list == nil {
		return
	}
	to, moved := move(axis, list)
	if moved == nil {
		s.units.fix(list, s.reads(n, "the channels together", input))
		return
	}
	for _, t := range n.Outputs {
		s.give(t, to, moved)
	}
}

// constant has units lie along an axis of a constant, which is cut with them.
func (s *Structure) constant(n *ir.Node, t, axis int, list []int) {
	s.known[place{t, axis}] = true
	if had, ok := s.along[place{t, axis}]; ok {
		s.units.joinAll(had, list)
	} else {
		s.along[place{t, axis}] = list
	}
	if s.graph.Tensors[t].Producer >= 0 {
		s.units.fix(list, fmt.Sprintf("%s %q reads %q, which is computed", n.Op, s.name(n), s.graph.Tensors[t].Name))
	}
}

// channels are the units of an image's channels, nil if they stay.
func (s *Structure) channels(n *ir.Node, input, last int) []int {
	axis, list := s.of(n.Inputs[input])
	if axis != last {
		s.units.fix(list, s.reads(n, "the channels together", input))
		return nil
	}
	return list
}

// rows are the units along the rows that a dense layer reads, nil if they stay.
func (s *Structure) rows(n *ir.Node, a ir.FullyConnected) []int {
	axis, list := s.of(n.Inputs[0])
	if list == nil {
		return nil
	}
	axis, list = s.reshaped(s.graph.Input(n, 0).Shape, axis, list, []int{a.Rows, a.In})
	if axis != 1 {
		s.units.fix(list, s.reads(n, "the channels together", 0))
		return nil
	}
	return list
}

// weighted couples a layer: inputs along one axis of its weights, channels of its own along another.
func (s *Structure) weighted(n *ir.Node, x, w, bias int, inputs []int, outAxis, inAxis int) {
	kernel := s.kernel(n, x, w)
	if kernel == nil {
		return
	}
	if inputs == nil {
		inputs = s.fixed(kernel.Shape[inAxis], s.reads(n, "all channels", x))
	}
	s.constant(n, kernel.Index, inAxis, inputs)
	s.makes(n, bias, kernel, outAxis, s.own(n, kernel, outAxis))
}

// kernel is a layer's weights; nil if they are none that can be cut, and then its input stays.
func (s *Structure) kernel(n *ir.Node, x, w int) *ir.Tensor {
	kernel := s.graph.Input(n, w)
	if kernel != nil && kernel.Const != nil && kernel.Producer < 0 && kernel.Type == schema.TensorTypeFLOAT32 {
		return kernel
	}
	s.stop(n)
	return nil
}

func (s *Structure) fixed(count int, why string) []int {
	list := s.units.Grow(count)
	s.units.fix(list, why)
	return list
}

// own are the units of the channels that a layer makes, the same wherever its weights are used.
func (s *Structure) own(n *ir.Node, kernel *ir.Tensor, axis int) []int {
	if list, ok := s.along[place{kernel.Index, axis}]; ok {
		return list
	}
	return s.units.Grow(kernel.Shape[axis])
}

// makes gives weights, bias and output of a layer its channels.
func (s *Structure) makes(n *ir.Node, bias int, kernel *ir.Tensor, axis int, list []int) {
	s.constant(n, kernel.Index, axis, list)
	if b := s.graph.Input(n, bias); b != nil {
		if b.Const == nil {
			s.units.fix(list, s.reads(n, "the computed bias", bias))
		} else {
			s.constant(n, b.Index, len(b.Shape)-1, list)
		}
	}
	s.give(n.Outputs[0], len(s.graph.Output(n, 0).Shape)-1, list)
}

// convolution couples a convolution of any kind.
func (s *Structure) convolution(n *ir.Node, a ir.Conv) {
	x := s.graph.Input(n, 0).Shape[3]
	switch {
	case a.Depthwise && x > 1:
		s.apart(n, 3)
	case a.Depthwise:
		if kernel := s.kernel(n, 0, 1); kernel != nil {
			if list := s.channels(n, 0, 3); list != nil {
				s.units.fix(list, s.reads(n, "the only channel", 0))
			}
			s.makes(n, 2, kernel, 3, s.own(n, kernel, 3))
		}
	case a.Groups == 1:
		s.weighted(n, 0, 1, 2, s.channels(n, 0, 3), 0, 3)
	case a.Groups == x:
		s.apart(n, 0)
	default:
		s.grouped(n, a.Groups)
	}
}

// apart couples a convolution that makes channels of each input channel by itself.
func (s *Structure) apart(n *ir.Node, outAxis int) {
	kernel := s.kernel(n, 0, 1)
	if kernel == nil {
		return
	}
	var list []int
	inputs, x := s.channels(n, 0, 3), s.graph.Input(n, 0).Shape[3]
	if inputs == nil {
		inputs = s.fixed(x, s.reads(n, "each channel, which stay,", 0))
	}
	multiplier := kernel.Shape[outAxis] / x
	for _, unit := range inputs {
		list = append(list, slices.Repeat([]int{unit}, multiplier)...)
	}
	s.makes(n, 2, kernel, outAxis, list)
}

// grouped couples a grouped convolution: every group keeps the same places among its inputs, and among its outputs.
func (s *Structure) grouped(n *ir.Node, groups int) {
	kernel := s.kernel(n, 0, 1)
	if kernel == nil {
		return
	}
	each := kernel.Shape[3]
	inputs := s.channels(n, 0, 3)
	if inputs == nil {
		inputs = s.fixed(each*groups, s.reads(n, "all channels", 0))
	}
	s.fold(inputs, each)
	s.constant(n, kernel.Index, 3, inputs[:each])
	list := s.own(n, kernel, 0)
	s.fold(list, len(list)/groups)
	s.makes(n, 2, kernel, 0, list)
}

// fold unites the units at the same places of every run of so many.
func (s *Structure) fold(list []int, run int) {
	for i, unit := range list {
		s.units.join(list[i%run], unit)
	}
}

// elementwise couples operands that are combined element by element, those that repeat included.
func (s *Structure) elementwise(n *ir.Node) {
	out := s.graph.Output(n, 0).Shape
	var to int
	var list []int
	for i, t := range n.Inputs {
		axis, units := s.of(t)
		if units == nil {
			continue
		}
		if axis += len(out) - len(s.graph.Tensors[t].Shape); len(units) == 1 && out[axis] != 1 {
			s.units.fix(units, s.reads(n, "the only channel", i))
			continue
		}
		switch {
		case list == nil:
			to, list = axis, units
		case to == axis:
			s.units.joinAll(list, units)
		default:
			s.stop(n)
			return
		}
	}
	if list == nil {
		return
	}
	for i, t := range n.Inputs {
		if t < 0 {
			continue
		}
		operand := &s.graph.Tensors[t]
		axis := to - len(out) + len(operand.Shape)
		if axis < 0 || operand.Shape[axis] != out[to] {
			continue
		}
		if operand.Const != nil {
			s.constant(n, t, axis, list)
		} else if _, has := s.axis[t]; !has {
			s.units.fix(list, s.reads(n, "the channels, which stay,", i))
		}
	}
	s.give(n.Outputs[0], to, list)
}

// reduce couples an operator that leaves out or shrinks axes.
func (s *Structure) reduce(n *ir.Node, axes []int, keep bool) {
	s.pass(n, 0, func(axis int, list []int) (int, []int) {
		to := axis
		for before := range axis {
			if slices.Contains(axes, before) && !keep {
				to--
			}
		}
		return stay(!slices.Contains(axes, axis), to, list)
	})
}

// concatenate couples inputs that lie one after the other along an axis.
func (s *Structure) concatenate(n *ir.Node, axis int) {
	var axes []int
	for _, t := range n.Inputs {
		if a, units := s.of(t); units != nil && !slices.Contains(axes, a) {
			axes = append(axes, a)
		}
	}
	if len(axes) != 1 {
		s.stop(n)
		return
	}
	to := axes[0]
	var list []int
	for i, t := range n.Inputs {
		_, units := s.of(t)
		if units == nil {
			units = s.fixed(s.graph.Tensors[t].Shape[to], s.reads(n, "the channels, which stay,", i))
		}
		if axis == to {
			list = append(list, units...)
		} else if list == nil {
			list = units
		} else {
			s.units.joinAll(list, units)
		}
	}
	s.give(n.Outputs[0], to, list)
}

// pack couples inputs that are stacked along a new axis.
func (s *Structure) pack(n *ir.Node, axis int) {
	to, list := s.of(n.Inputs[0])
	for _, t := range n.Inputs {
		a, units := s.of(t)
		if units == nil || a != to {
			s.stop(n)
			return
		}
		s.units.joinAll(list, units)
	}
	if to >= axis {
		to++
	}
	s.give(n.Outputs[0], to, list)
}

// unpack couples the outputs along an axis.
func (s *Structure) unpack(n *ir.Node, along int) {
	s.pass(n, 0, func(axis int, list []int) (int, []int) {
		if axis > along {
			return axis - 1, list
		}
		return stay(axis != along, axis, list)
	})
}

// split couples parts of an axis. Those of SPLIT are of one size, so that they keep the same places.
func (s *Structure) split(n *ir.Node, a ir.Split) {
	axis, list := s.of(n.Inputs[a.Data])
	if list == nil {
		return
	}
	if axis == a.Axis && n.Op == schema.BuiltinOperatorSPLIT {
		s.fold(list, a.Sizes[0])
	}
	for i, t := range n.Outputs {
		if part := list; axis == a.Axis {
			part, list = list[:a.Sizes[i]], list[a.Sizes[i]:]
			s.give(t, axis, part)
		} else {
			s.give(t, axis, part)
		}
	}
}

// slice couples part of an axis.
func (s *Structure) slice(n *ir.Node, a ir.StridedSlice) {
	shifted := false // entries of begin and end stand for other axes than their own
	if o := s.graph.Model.Subgraph().Operators[n.Index].BuiltinOptions; o != nil {
		if o, ok := o.Value.(*schema.StridedSliceOptionsT); ok && o != nil {
			shifted = o.EllipsisMask != 0 || o.NewAxisMask != 0 || o.Offset
		}
	}
	s.pass(n, 0, func(axis int, list []int) (int, []int) {
		if shifted || a.Shrink[axis] || a.Stride[axis] != 1 {
			return 0, nil
		}
		to := axis
		for _, shrink := range a.Shrink[:axis] {
			if shrink {
				to--
			}
		}
		return to, list[a.Begin[axis]:][:a.Count[axis]]
	})
}

// pad couples an axis that constants are added to: they are channels of their own.
func (s *Structure) pad(n *ir.Node, a ir.Pad) {
	s.pass(n, 0, func(axis int, list []int) (int, []int) {
		return axis, slices.Concat(s.units.Grow(a.Before[axis]), list, s.units.Grow(a.After[axis]))
	})
}

// reshape couples what lies in memory as it did.
func (s *Structure) reshape(n *ir.Node) {
	axis, list := s.of(n.Inputs[0])
	if list == nil {
		return
	}
	if target := s.graph.Input(n, 1); target != nil && (target.Const == nil || target.Producer >= 0) {
		s.units.fix(list, s.reads(n, "a shape that is computed for", 0))
		return
	}
	axis, list = s.reshaped(s.graph.Input(n, 0).Shape, axis, list, s.graph.Output(n, 0).Shape)
	s.give(n.Outputs[0], axis, list)
}

// reshaped says along which axis of another shape units lie. Where they would lie along several, those at one index of the axis that leaves
// most apart, the last of such, become one. A scalar has none: nil.
func (s *Structure) reshaped(shape []int, axis int, list, to []int) (along int, units []int) {
	inner, size := 1, 1
	for i, d := range shape {
		if size *= d; i > axis {
			inner *= d
		}
	}
	var best [][]int
	most := 0
	for b, d := range to {
		if d == 0 {
			continue
		}
		// what would be left apart
		var left union.Sets
		of := map[int]int{}
		for _, unit := range list {
			if root := s.units.Root(unit); of[root] == 0 {
				of[root] = left.Grow(1)[0] + 1
			}
		}
		at := s.indices(inner, size, list, to, b)
		apart := len(of)
		for _, units := range at {
			for _, unit := range units {
				if root, joined := left.Join(of[units[0]]-1, of[unit]-1); root != joined {
					apart--
				}
			}
		}
		if apart >= most {
			along, best, most = b, at, apart
		}
	}
	for _, at := range best {
		for _, unit := range at {
			s.units.join(at[0], unit)
		}
		units = append(units, at[0])
	}
	return along, units
}

// indices are the units at each index of axis b of a shape, in memory's order, of elements that had units along an axis with inner elements to
// an index.
func (s *Structure) indices(inner, size int, list, shape []int, b int) [][]int {
	inside := 1
	for _, d := range shape[b+1:] {
		inside *= d
	}
	at := make([][]int, shape[b])
	for e := 0; e < size; e += gcd(inner, inside) { // in between neither changes
		if i, unit := e/inside%shape[b], s.units.Root(list[e/inner%len(list)]); !slices.Contains(at[i], unit) {
			at[i] = append(at[i], unit)
		}
	}
	return at
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// blocks couples DEPTH_TO_SPACE and SPACE_TO_DEPTH.
func (s *Structure) blocks(n *ir.Node, size int) {
	list := s.channels(n, 0, 3)
	if list == nil {
		return
	}
	if n.Op == schema.BuiltinOperatorSPACE_TO_DEPTH {
		s.give(n.Outputs[0], 3, slices.Repeat(list, size*size))
		return
	}
	run := len(list) / (size * size)
	s.fold(list, run)
	s.give(n.Outputs[0], 3, list[:run])
}
