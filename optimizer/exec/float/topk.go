package float

import (
	"sort"

	"espalier.dev/espalier/optimizer/ir"
)

// topK is TOPK_V2: the largest of every row, in order, and where they are; the first of equals comes first. The
// gradient of a value goes to where it was; places have none.
type topK struct {
	node
	ir.TopK
}

func newTopK(n node, _ *ir.Graph, attr ir.TopK) layer {
	n.usesIn, n.adds = true, true
	n.scratchForward, n.scratchBackward = attr.Size, attr.Size
	return &topK{node: n, TopK: attr}
}

func (l *topK) forward(e *Exec) {
	x, values, places := e.value(l.in[0]), e.result(&l.node, 0), e.result(&l.node, 1)
	order := e.forward[l.index][:l.Size]
	for ; len(x) > 0; x = x[l.Size:] {
		rank(order, x)
		for k := range l.K {
			values[k], places[k] = x[int(order[k])], order[k]
		}
		values, places = values[l.K:], places[l.K:]
	}
}

func (l *topK) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	dy := e.gradient(l.out[0])
	if dx == nil || dy == nil {
		return
	}
	order := e.backward[l.index][:l.Size]
	for x := e.value(l.in[0]); len(x) > 0; x = x[l.Size:] {
		rank(order, x)
		for k := range l.K {
			dx[int(order[k])] += dy[k]
		}
		dx, dy = dx[l.Size:], dy[l.K:]
	}
}

// rank fills order with the places of a row's values, the largest first.
func rank(order, row []float32) {
	for i := range order {
		order[i] = float32(i)
	}
	sort.Stable(byValue{order, row})
}

// byValue orders places by the values there, the largest first.
type byValue struct{ places, values []float32 }

func (o byValue) Len() int { return len(o.places) }
func (o byValue) Less(i, j int) bool {
	return o.values[int(o.places[i])] > o.values[int(o.places[j])]
}
func (o byValue) Swap(i, j int) { o.places[i], o.places[j] = o.places[j], o.places[i] }
