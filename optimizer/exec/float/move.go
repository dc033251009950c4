package float

import (
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// piece is one block of values a move copies from an input to an output.
type piece struct {
	slot, output int
	forward      transfer
	backward     transfer
}

// move is an operator that copies values: TRANSPOSE, STRIDED_SLICE, SPLIT, CONCATENATION, PAD and their like.
type move struct {
	node
	pieces []piece
	fill   bool // the pieces do not cover the output: the rest gets the padding value
	value  int  // tensor that holds the padding value, −1: 0
	bounds      // of a fused activation
}

func (l *move) forward(e *Exec) {
	if l.fill {
		y, v := e.result(&l.node, 0), float32(0)
		if l.value >= 0 {
			v = e.value(l.value)[0]
		}
		for i := range y {
			y[i] = v
		}
	}
	for i := range l.pieces {
		p := &l.pieces[i]
		p.forward.copy(e.result(&l.node, p.output), e.value(l.in[p.slot]))
	}
	l.clamp(e.result(&l.node, 0))
}

func (l *move) backward(e *Exec, g *Grads) {
	if l.active() {
		l.stop(e.gradient(l.out[0]), e.result(&l.node, 0))
	}
	for i := range l.pieces {
		p := &l.pieces[i]
		dy := e.gradient(l.out[p.output])
		if dx, _ := e.gradientOf(g, &l.node, p.slot); dx != nil && dy != nil {
			p.backward.add(dx, dy)
		}
	}
}

// newMove starts a move. Gradients are added piece by piece.
func newMove(n node) *move {
	n.role, n.adds = moves, true
	return &move{node: n, value: -1, bounds: unbounded}
}

func (l *move) piece(slot, output int, t transfer) {
	t = t.merged()
	l.pieces = append(l.pieces, piece{slot: slot, output: output, forward: t, backward: t.reversed()})
}

func newTranspose(n node, g *ir.Graph, attr ir.Transpose) layer {
	l := newMove(n)
	in, out := g.Tensors[n.in[0]].Shape, g.Tensors[n.out[0]].Shape
	from := strides(in)
	t := transfer{dims: out, src: make([]int, len(out)), dst: strides(out)}
	for i, p := range attr.Perm {
		t.src[i] = from[p]
	}
	l.piece(0, 0, t)
	return l
}

func newStridedSlice(n node, g *ir.Graph, attr ir.StridedSlice) layer {
	l := newMove(n)
	from := strides(g.Tensors[n.in[0]].Shape)
	t := transfer{dims: attr.Count, src: make([]int, len(from)), dst: strides(attr.Count)}
	for i, s := range from {
		t.srcFrom += attr.Begin[i] * s
		t.src[i] = s * attr.Stride[i]
	}
	l.piece(0, 0, t)
	return l
}

func newSplit(n node, g *ir.Graph, attr ir.Split) layer {
	l, slot := newMove(n), attr.Data
	from, at := strides(g.Tensors[n.in[slot]].Shape), 0
	for k := range n.out {
		shape := slices.Clone(g.Tensors[n.in[slot]].Shape)
		shape[attr.Axis] = attr.Sizes[k]
		l.piece(slot, k, transfer{dims: shape, src: from, srcFrom: at * from[attr.Axis], dst: strides(shape)})
		at += attr.Sizes[k]
	}
	return l
}

func newConcat(n node, g *ir.Graph, attr ir.Concat) layer {
	l := newMove(n)
	l.bounds = boundsOf(attr.Act)
	l.usesOut = l.active()
	to, at := strides(g.Tensors[n.out[0]].Shape), 0
	for slot, t := range n.in {
		shape := g.Tensors[t].Shape
		l.piece(slot, 0, transfer{dims: shape, src: strides(shape), dst: to, dstFrom: at * to[attr.Axis]})
		at += shape[attr.Axis]
	}
	return l
}

func newPad(n node, g *ir.Graph, attr ir.Pad) layer {
	l := newMove(n)
	l.fill, l.value = true, attr.Value
	in, to := g.Tensors[n.in[0]].Shape, strides(g.Tensors[n.out[0]].Shape)
	t := transfer{dims: in, src: strides(in), dst: to}
	for i, before := range attr.Before {
		t.dstFrom += before * to[i]
	}
	l.piece(0, 0, t)
	return l
}

// newMirrorPad makes a piece for each of the 3ʳ blocks of the output: along every dimension the part before, the input, the
// part after.
func newMirrorPad(n node, g *ir.Graph, attr ir.MirrorPad) layer {
	l := newMove(n)
	in, to := g.Tensors[n.in[0]].Shape, strides(g.Tensors[n.out[0]].Shape)
	skip := 1 // reflecting leaves the border out, symmetric padding repeats it
	if attr.Symmetric {
		skip = 0
	}
	pieces := []transfer{{}}
	for i, step := range strides(in) {
		var next []transfer
		for _, t := range pieces {
			extend := func(size, src, dst, step int) {
				if size > 0 {
					next = append(next, transfer{
						dims: append(slices.Clone(t.dims), size), src: append(slices.Clone(t.src), step), dst: append(slices.Clone(t.dst), to[i]),
						srcFrom: t.srcFrom + src, dstFrom: t.dstFrom + dst*to[i],
					})
				}
			}
			extend(attr.Before[i], (attr.Before[i]-1+skip)*step, 0, -step)
			extend(in[i], 0, attr.Before[i], step)
			extend(attr.After[i], (in[i]-1-skip)*step, attr.Before[i]+in[i], -step)
		}
		pieces = next
	}
	for _, t := range pieces {
		l.piece(0, 0, t)
	}
	return l
}

func buildBlocks(s *site) (layer, error) {
	return newBlocks(s.node, s.o, s.g, s.o.Attr.(ir.BlockSize)), nil
}

// newBlocks is DEPTH_TO_SPACE and SPACE_TO_DEPTH: output pixel (y·s + i, x·s + j) channel c is input pixel (y, x) channel
// (i·s + j)·C + c, and the other way round.
func newBlocks(n node, o *ir.Node, g *ir.Graph, attr ir.BlockSize) layer {
	l := newMove(n)
	deep, wide := g.Tensors[n.in[0]].Shape, g.Tensors[n.out[0]].Shape
	if o.Op == schema.BuiltinOperatorSPACE_TO_DEPTH {
		deep, wide = wide, deep
	}
	s, c := int(attr), wide[3]
	d, w := strides(deep), strides(wide)
	t := transfer{
		dims: []int{deep[0], deep[1], deep[2], s, s, c},
		src:  []int{d[0], d[1], d[2], s * c, c, 1},
		dst:  []int{w[0], s * w[1], s * w[2], w[1], w[2], 1},
	}
	if o.Op == schema.BuiltinOperatorSPACE_TO_DEPTH {
		t = t.reversed()
	}
	l.piece(0, 0, t)
	return l
}

// newRepeat is TILE and BROADCAST_TO.
func newRepeat(n node, _ *ir.Graph, attr ir.Repeat) layer {
	l := newMove(n)
	l.piece(0, 0, transfer{dims: attr.Shape, src: attr.Strides, dst: strides(attr.Shape)})
	return l
}

func newPack(n node, g *ir.Graph, attr ir.Pack) layer {
	l := newMove(n)
	for k, t := range n.in {
		l.piece(k, 0, stacked(g.Tensors[t].Shape, attr.Axis, k, len(n.in)))
	}
	return l
}

func newUnpack(n node, g *ir.Graph, attr ir.Unpack) layer {
	l := newMove(n)
	for k, t := range n.out {
		l.piece(0, k, stacked(g.Tensors[t].Shape, attr.Axis, k, len(n.out)).reversed())
	}
	return l
}

// stacked copies a tensor into place k of count along a new axis.
func stacked(shape []int, axis, k, count int) transfer {
	outer, inner := product(shape[:axis]), product(shape[axis:])
	return transfer{dims: []int{outer, inner}, src: []int{inner, 1}, dst: []int{inner * count, 1}, dstFrom: k * inner}
}

// newReverse is REVERSE_V2.
func newReverse(n node, g *ir.Graph, attr ir.Reverse) layer {
	l := newMove(n)
	in := g.Tensors[n.in[0]].Shape
	t := transfer{dims: in, src: strides(in), dst: strides(in)}
	for _, a := range attr.Axes {
		t.srcFrom += (in[a] - 1) * t.src[a]
		t.src[a] = -t.src[a]
	}
	l.piece(0, 0, t)
	return l
}
