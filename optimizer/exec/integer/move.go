package integer

import (
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, REVERSE_V2, SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, PACK, UNPACK, DEPTH_TO_SPACE and
// SPACE_TO_DEPTH are strided copies of elements of any type.

// move copies elements from one tensor to another: along every dimension of shape, source and target advance by a stride of their
// own. Numbers are in bytes; the innermost dimension is a run of bytes that both have in one piece.
type move struct {
	from, to        int // tensors
	shape           []int
	source, target  []int // strides, negative ones go backwards
	sourceAt, start int   // first byte read, first byte written
}

// moves is an operator that only moves data.
type moves []move

func (k moves) run(m *memory) error {
	for i := range k {
		k[i].run(m)
	}
	return nil
}

// newMove builds a move from dimensions and strides in elements.
func newMove(c *compiler, from, to int, shape, source, target []int, sourceAt, start int) move {
	size := elementSize(c.g.Tensors[from].Type)
	mv := move{from: from, to: to, sourceAt: sourceAt * size, start: start * size}
	// Innermost first: merge dimensions that are one piece in both, starting from the bytes of an element.
	mv.shape, mv.source, mv.target = []int{size}, []int{1}, []int{1}
	for d := len(shape) - 1; d >= 0; d-- {
		last := len(mv.shape) - 1
		switch n, s, t := shape[d], source[d]*size, target[d]*size; {
		case n == 1:
		case s == mv.source[last]*mv.shape[last] && t == mv.target[last]*mv.shape[last]:
			mv.shape[last] *= n
		default:
			mv.shape, mv.source, mv.target = append(mv.shape, n), append(mv.source, s), append(mv.target, t)
		}
	}
	slices.Reverse(mv.shape)
	slices.Reverse(mv.source)
	slices.Reverse(mv.target)
	return mv
}

func (k *move) run(m *memory) { k.copy(m.bytes[k.to], m.bytes[k.from]) }

// copy moves from x to y.
func (k *move) copy(y, x []byte) {
	last := len(k.shape) - 1
	n := k.shape[last]
	for _, d := range k.shape {
		if d == 0 {
			return
		}
	}
	var index [10]int
	s, t := k.sourceAt, k.start
	for {
		if n == 1 {
			y[t] = x[s]
		} else {
			copy(y[t:t+n], x[s:s+n])
		}
		d := last - 1
		for ; d >= 0; d-- {
			index[d]++
			s += k.source[d]
			t += k.target[d]
			if index[d] < k.shape[d] {
				break
			}
			s -= k.source[d] * k.shape[d]
			t -= k.target[d] * k.shape[d]
			index[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// strides of a dense tensor, in elements.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	step := 1
	for d := len(shape) - 1; d >= 0; d-- {
		s[d] = step
		step *= shape[d]
	}
	return s
}

// sameType checks that a tensor has the type of another.
func (c *compiler) sameType(a, b *ir.Tensor) error {
	if a == nil || b == nil {
		return c.unsupported("an input is missing")
	}
	if a.Type != b.Type {
		return c.unsupported("%s is %s and %s is %s, want one type", a, a.Type, b, b.Type)
	}
	if !movable(a.Type) {
		return c.unsupported("%s is %s, which is not supported", a, a.Type)
	}
	return nil
}

// unary returns input and output of a node that moves data from its first input.
func (c *compiler) moved(input int) (in, out *ir.Tensor, err error) {
	in, out = c.in(input), c.out(0)
	return in, out, c.sameType(in, out)
}

func buildReshape(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	shape := []int{in.Numel()}
	return moves{newMove(c, in.Index, out.Index, shape, []int{1}, []int{1}, 0, 0)}, nil
}

func buildTranspose(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	from := strides(in.Shape)
	source := make([]int, len(from))
	for i, p := range c.n.Attr.(ir.Transpose).Perm {
		source[i] = from[p]
	}
	return moves{newMove(c, in.Index, out.Index, out.Shape, source, strides(out.Shape), 0, 0)}, nil
}

func buildReverse(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	source, at := strides(in.Shape), 0
	for _, a := range c.n.Attr.(ir.Reverse).Axes {
		at += source[a] * (in.Shape[a] - 1)
		source[a] = -source[a]
	}
	return moves{newMove(c, in.Index, out.Index, in.Shape, source, strides(in.Shape), at, 0)}, nil
}

func buildSlice(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	attr := c.n.Attr.(ir.StridedSlice)
	source, at := strides(in.Shape), 0
	for d := range source {
		at += source[d] * attr.Begin[d]
		source[d] *= attr.Stride[d]
	}
	return moves{newMove(c, in.Index, out.Index, attr.Count, source, strides(attr.Count), at, 0)}, nil
}

func buildSplit(c *compiler) (runner, error) {
	attr := c.n.Attr.(ir.Split)
	in, _, err := c.moved(attr.Data)
	if err != nil {
		return nil, err
	}
	source, at := strides(in.Shape), 0
	var k moves
	for i, size := range attr.Sizes {
		out := c.out(i)
		k = append(k, newMove(c, in.Index, out.Index, out.Shape, source, strides(out.Shape), at, 0))
		at += source[attr.Axis] * size
	}
	return k, nil
}

func buildUnpack(c *compiler) (runner, error) {
	in, _, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	axis := c.n.Attr.(ir.Unpack).Axis
	source := strides(in.Shape)
	step := source[axis]
	source = slices.Delete(source, axis, axis+1)
	var k moves
	for i := range c.n.Outputs {
		out := c.out(i)
		k = append(k, newMove(c, in.Index, out.Index, out.Shape, source, strides(out.Shape), i*step, 0))
	}
	return k, nil
}

func buildPack(c *compiler) (runner, error) {
	out, axis := c.out(0), c.n.Attr.(ir.Pack).Axis
	target := strides(out.Shape)
	step := target[axis]
	target = slices.Delete(target, axis, axis+1)
	var k moves
	for i := range c.n.Inputs {
		in, _, err := c.moved(i)
		if err != nil {
			return nil, err
		}
		k = append(k, newMove(c, in.Index, out.Index, in.Shape, strides(in.Shape), target, 0, i*step))
	}
	return k, nil
}

func buildDepthToSpace(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	b := int(c.n.Attr.(ir.BlockSize))
	return moves{spaceMove(c, in, out, out, b, false)}, nil
}

func buildSpaceToDepth(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	b := int(c.n.Attr.(ir.BlockSize))
	return moves{spaceMove(c, in, out, in, b, true)}, nil
}

// spaceMove copies between an image of b times the height and width (space) and one of b² times the channels.
func spaceMove(c *compiler, in, out, space *ir.Tensor, b int, toDepth bool) move {
	n, h, w, d := space.Shape[0], space.Shape[1]/b, space.Shape[2]/b, space.Shape[3]
	shape := []int{n, h, b, w, b, d}
	wide := strides(shape) // as the large image lies
	deep := []int{h * w * b * b * d, w * b * b * d, b * d, b * b * d, d, 1}
	if toDepth {
		return newMove(c, in.Index, out.Index, shape, wide, deep, 0, 0)
	}
	return newMove(c, in.Index, out.Index, shape, deep, wide, 0, 0)
}

// movable reports whether elements of a type are whole bytes of a size elementSize knows.
func movable(t schema.TensorType) bool {
	switch t {
	case schema.TensorTypeINT8, schema.TensorTypeUINT8, schema.TensorTypeBOOL, schema.TensorTypeINT16, schema.TensorTypeUINT16,
		schema.TensorTypeFLOAT16, schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeUINT32, schema.TensorTypeINT64,
		schema.TensorTypeUINT64, schema.TensorTypeFLOAT64, schema.TensorTypeCOMPLEX64:
		return true
	default:
		return false
	}
}
