package float

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// position is ARG_MAX and ARG_MIN: where along a dimension the first extreme lies. No gradient passes.
type position struct {
	node
	outer, size, inner int
	least              bool
}

func buildPosition(s *site) (layer, error) {
	s.opaque = true
	x, axis := s.g.Tensors[s.in[0]].Shape, s.o.Attr.(ir.ArgReduce).Axis
	return &position{
		node: s.node, outer: product(x[:axis]), size: x[axis], inner: product(x[axis+1:]),
		least: s.o.Op == schema.BuiltinOperatorARG_MIN,
	}, nil
}

func (l *position) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for o := range l.outer {
		for i := range l.inner {
			best, at := x[o*l.size*l.inner+i], 0
			for s := 1; s < l.size; s++ {
				if v := x[(o*l.size+s)*l.inner+i]; l.least && v < best || !l.least && v > best {
					best, at = v, s
				}
			}
			y[o*l.inner+i] = float32(at)
		}
	}
}

func (l *position) backward(*Exec, *Grads) {}

// oneHot is ONE_HOT: the value for on at each id, that for off elsewhere. No gradient passes.
type oneHot struct {
	node
	outer, depth, inner int
}

func newOneHot(n node, g *ir.Graph, attr ir.OneHot) layer {
	n.opaque = true
	x := g.Tensors[n.in[0]].Shape
	return &oneHot{node: n, outer: product(x[:attr.Axis]), depth: attr.Depth, inner: product(x[attr.Axis:])}
}

func (l *oneHot) forward(e *Exec) {
	ids, y := e.value(l.in[0]), e.result(&l.node, 0)
	on, off := e.value(l.in[2])[0], e.value(l.in[3])[0]
	for i := range y {
		y[i] = off
	}
	for o := range l.outer {
		for i := range l.inner {
			if id := int(ids[o*l.inner+i]); id >= 0 && id < l.depth {
				y[(o*l.depth+id)*l.inner+i] = on
			}
		}
	}
}

func (l *oneHot) backward(*Exec, *Grads) {}
