package channel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Cut is what is left of an axis of a tensor.
type Cut struct {
	Axis int
	Of   int   // indices that there were
	Kept []int // of these, in order
}

// Cuts are the cuts of a network, by tensor.
type Cuts map[int][]Cut

// Of returns what is left of a network without some units.
func (s *Structure) Of(removed map[int]bool) Cuts {
	cuts := Cuts{}
	for _, at := range slices.SortedFunc(maps.Keys(s.along), comparePlaces) {
		list := s.along[at]
		c := Cut{Axis: at.axis, Of: len(list)}
		for i, unit := range list {
			if !removed[s.units.Root(unit)] {
				c.Kept = append(c.Kept, i)
			}
		}
		if len(c.Kept) < c.Of {
			cuts[at.tensor] = append(cuts[at.tensor], c)
		}
	}
	return cuts
}

// After returns the cuts that first and then these make of a network, by tensor of the uncut one.
func (c Cuts) After(first Cuts) Cuts {
	all := Cuts{}
	for t, list := range first {
		all[t] = slices.Clone(list)
	}
	for t, list := range c {
		for _, cut := range list {
			i := slices.IndexFunc(all[t], func(had Cut) bool { return had.Axis == cut.Axis })
			if i < 0 {
				all[t] = append(all[t], cut)
				continue
			}
			had, kept := all[t][i], make([]int, len(cut.Kept))
			for k, at := range cut.Kept {
				kept[k] = had.Kept[at]
			}
			all[t][i] = Cut{cut.Axis, had.Of, kept}
		}
		slices.SortFunc(all[t], func(a, b Cut) int { return cmp.Compare(a.Axis, b.Axis) })
	}
	return all
}

// Shape is a shape after cuts.
func Shape(shape []int, cuts []Cut) []int {
	out := slices.Clone(shape)
	for _, c := range cuts {
		out[c.Axis] = len(c.Kept)
	}
	return out
}

// Values are row-major values of a tensor of a shape after cuts.
func Values[T any](values []T, shape []int, cuts []Cut) []T {
	shape = slices.Clone(shape)
	for _, c := range cuts {
		inner := 1
		for _, d := range shape[c.Axis+1:] {
			inner *= d
		}
		left := make([]T, 0, len(values))
		for row := range slices.Chunk(values, max(shape[c.Axis]*inner, 1)) {
			for _, k := range c.Kept {
				left = append(left, row[k*inner:(k+1)*inner]...)
			}
		}
		values, shape[c.Axis] = left, len(c.Kept)
	}
	return values
}

// Apply returns a model, the structure's or one with other constants, without what the cuts leave out. Tensors keep their places; parameters
// that several operators read, and that differ now, are appended.
func (s *Structure) Apply(m *tflite.Model, cuts Cuts) (*tflite.Model, error) {
	c := &cutter{Structure: s, model: m.Clone(), cuts: cuts}
	g := c.model.Subgraph()
	for _, t := range slices.Sorted(maps.Keys(cuts)) {
		list := cuts[t]
		if err := c.tensor(g.Tensors[t], s.graph.Tensors[t].Shape, list); err != nil {
			return nil, err
		}
	}
	for i := range s.graph.Nodes {
		if n := &s.graph.Nodes[i]; !n.Folded {
			c.parameters(n)
		}
	}
	made, err := ir.Parse(c.model, 0)
	if err != nil {
		return nil, fmt.Errorf("the network without the channels: %w", err)
	}
	for t := range s.graph.Tensors {
		if want := Shape(s.graph.Tensors[t].Shape, cuts[t]); !slices.Equal(made.Tensors[t].Shape, want) {
			return nil, fmt.Errorf("%s would be %v without the channels, not %v", &s.graph.Tensors[t], made.Tensors[t].Shape, want)
		}
	}
	return c.model, nil
}

// cutter writes a network anew.
type cutter struct {
	*Structure
	model *tflite.Model
	cuts  Cuts
}

func (c *cutter) tensor(t *schema.TensorT, shape []int, cuts []Cut) error {
	if data := c.model.Data(t); len(data) > 0 {
		bits, ok := tflite.TypeSize(t.Type)
		if !ok || bits%8 != 0 {
			return fmt.Errorf("tensor %q: values of %s cannot be cut", t.Name, t.Type)
		}
		bytes := append(slices.Clone(shape), bits/8)
		c.model.SetData(t, Values(data, bytes, cuts))
	}
	t.Shape = slices.Clone(t.Shape)
	for _, cut := range cuts {
		t.Shape[cut.Axis] = int32(len(cut.Kept))
		if cut.Axis < len(t.ShapeSignature) && t.ShapeSignature[cut.Axis] != open {
			t.ShapeSignature = slices.Clone(t.ShapeSignature)
			t.ShapeSignature[cut.Axis] = int32(len(cut.Kept))
		}
	}
	return nil
}

// open is a size that a shape leaves open.
const open = -1

// left is how many of the indices [from, to) are left.
func (c Cut) left(from, to int) int32 {
	lo, _ := slices.BinarySearch(c.Kept, from)
	hi, _ := slices.BinarySearch(c.Kept, to)
	return int32(hi - lo)
}

// size is that of an axis of a tensor after its cuts.
func (c *cutter) size(t, axis int) int32 {
	return int32(Shape(c.graph.Tensors[t].Shape, c.cuts[t])[axis])
}

// parameters writes an operator's parameters anew where its tensors are cut.
func (c *cutter) parameters(n *ir.Node) {
	x, out := n.Inputs[0], n.Outputs[0]
	operator := c.model.Subgraph().Operators[n.Index]
	switch a := n.Attr.(type) {
	case ir.Conv: // the multiplier of one channel
		if o, ok := operator.BuiltinOptions.Value.(*schema.DepthwiseConv2DOptionsT); ok {
			o.DepthMultiplier = c.size(out, 3) / c.size(x, 3)
		}
	case ir.TransposeConv:
		c.shape(n, 0, out)
	case ir.Reshape:
		if n.Op != schema.BuiltinOperatorRESHAPE || len(c.cuts[out]) == 0 {
			return
		}
		if operator.BuiltinOptions != nil {
			if o, ok := operator.BuiltinOptions.Value.(*schema.ReshapeOptionsT); ok && o != nil {
				o.NewShape = c.resized(o.NewShape, out)
			}
		}
		if c.graph.Input(n, 1) != nil {
			c.shape(n, 1, out)
		}
	case ir.Repeat:
		if n.Op == schema.BuiltinOperatorBROADCAST_TO {
			c.shape(n, 1, out)
		}
	case ir.Pad:
		for _, cut := range c.cuts[out] {
			before, rest := a.Before[cut.Axis], cut.Of-a.After[cut.Axis]
			c.change(n, 1, func(v []int32) {
				v[2*cut.Axis], v[2*cut.Axis+1] = cut.left(0, before), cut.left(rest, cut.Of)
			})
		}
	case ir.Split:
		if n.Op == schema.BuiltinOperatorSPLIT_V {
			c.change(n, 1, func(v []int32) {
				for i, t := range n.Outputs {
					v[i] = c.size(t, a.Axis)
				}
			})
		}
	case ir.StridedSlice:
		c.slice(n, a)
	}
}

// shape has a shape that an operator reads be that of a tensor after its cuts.
func (c *cutter) shape(n *ir.Node, input, t int) {
	c.change(n, input, func(v []int32) { copy(v, c.resized(v, t)) })
}

// resized is a shape, such as a target with sizes left open, with the sizes of a tensor after its cuts.
func (c *cutter) resized(shape []int32, t int) []int32 {
	out := slices.Clone(shape)
	for _, cut := range c.cuts[t] {
		if cut.Axis < len(out) && out[cut.Axis] != open {
			out[cut.Axis] = int32(len(cut.Kept))
		}
	}
	return out
}

// change changes integers that an operator reads. Those that others read too are left to them.
func (c *cutter) change(n *ir.Node, input int, change func(v []int32)) {
	g := c.model.Subgraph()
	o := g.Operators[n.Index]
	t := g.Tensors[o.Inputs[input]]
	had, err := c.model.Int32s(t)
	if err != nil {
		return // no constant of integers: Parse says what does not fit
	}
	values := slices.Clone(had)
	if change(values); slices.Equal(values, had) {
		return
	}
	if len(c.graph.Tensors[n.Inputs[input]].Consumers) > 1 {
		copied := *t
		t = &copied
		g.Tensors = append(g.Tensors, t)
		o.Inputs[input] = int32(len(g.Tensors) - 1)
	}
	if t.Type == schema.TensorTypeINT64 {
		wide := make([]int64, len(values))
		for i, v := range values {
			wide[i] = int64(v)
		}
		c.model.SetData(t, tflite.Int64Bytes(wide))
		return
	}
	c.model.SetData(t, tflite.Int32Bytes(values))
}

// slice writes the bounds of a slice anew.
func (c *cutter) slice(n *ir.Node, a ir.StridedSlice) {
	x := n.Inputs[0]
	for _, cut := range c.cuts[x] {
		from, to := a.Begin[cut.Axis], a.Begin[cut.Axis]+a.Count[cut.Axis]
		begin, count := cut.left(0, from), cut.left(from, to)
		c.change(n, 1, func(v []int32) { put(v, cut.Axis, begin) })
		c.change(n, 2, func(v []int32) {
			switch {
			case n.Op == schema.BuiltinOperatorSTRIDED_SLICE:
				put(v, cut.Axis, begin+count)
			case v[cut.Axis] != open:
				v[cut.Axis] = count
			}
		})
	}
}

// put sets a bound where there is one for the axis.
func put(v []int32, axis int, value int32) {
	if axis < len(v) {
		v[axis] = value
	}
}
