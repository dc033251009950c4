package float

import "espalier.dev/espalier/optimizer/ir"

// gather is GATHER: pieces of the first input by the ids in the second. An id that is out of range gives zeros.
type gather struct {
	node
	batches, outer, size, inner int
	ids                         int // of one batch
}

func newGather(n node, g *ir.Graph, attr ir.Gather) layer {
	n.role, n.adds, n.usesIn = moves, true, true
	x, ids := g.Tensors[n.in[0]].Shape, g.Tensors[n.in[1]].Shape
	return &gather{
		node: n, batches: product(x[:attr.BatchDims]), outer: product(x[attr.BatchDims:attr.Axis]), size: x[attr.Axis],
		inner: product(x[attr.Axis+1:]), ids: product(ids[attr.BatchDims:]),
	}
}

// each calls f for every piece with where it lies in the output and in the input, −1 if the id is out of range.
func (l *gather) each(e *Exec, f func(to, from int)) {
	ids, to := e.value(l.in[1]), 0
	for b := range l.batches {
		for o := range l.outer {
			for _, id := range ids[b*l.ids : (b+1)*l.ids] {
				from := -1
				if i := int(id); i >= 0 && i < l.size {
					from = ((b*l.outer+o)*l.size + i) * l.inner
				}
				f(to, from)
				to += l.inner
			}
		}
	}
}

func (l *gather) forward(e *Exec) { e.copyPieces(&l.node, l.inner, l.each) }

func (l *gather) backward(e *Exec, g *Grads) { e.addPieces(g, &l.node, l.inner, l.each) }

// pieces calls f for every piece of an output with where it begins there and in the first input, below 0 if that has no such piece.
type pieces func(e *Exec, f func(to, from int))

// copyPieces makes a node's output of pieces of size elements; those that its first input does not have are zeros.
func (e *Exec) copyPieces(n *node, size int, each pieces) {
	x, y := e.value(n.in[0]), e.result(n, 0)
	each(e, func(to, from int) {
		if from < 0 {
			clear(y[to : to+size])
			return
		}
		copy(y[to:to+size], x[from:])
	})
}

// addPieces adds the gradient of every piece where it came from.
func (e *Exec) addPieces(g *Grads, n *node, size int, each pieces) {
	dx, _ := e.gradientOf(g, n, 0)
	if dx == nil {
		return
	}
	dy := e.gradient(n.out[0])
	each(e, func(to, from int) {
		if from < 0 {
			return
		}
		row := dx[from : from+size]
		for i, d := range dy[to : to+size] {
			row[i] += d
		}
	})
}
