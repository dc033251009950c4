package float

import "espalier.dev/espalier/optimizer/ir"

// gatherND is GATHER_ND: pieces of the first input at the places in the second. A place that is out of range gives zeros.
type gatherND struct {
	node
	ir.GatherND
}

func newGatherND(n node, _ *ir.Graph, attr ir.GatherND) layer {
	n.role, n.adds, n.usesIn = moves, true, true
	return &gatherND{n, attr}
}

// each calls f for every piece with where it lies in the output and in the input, −1 if its place is out of range.
func (l *gatherND) each(e *Exec, f func(to, from int)) {
	places, depth := e.value(l.in[1]), len(l.Dims)
	for to := 0; len(places) >= depth; to += l.Piece {
		from, inside := 0, true
		for d, size := range l.Dims {
			p := int(places[d])
			inside = inside && p >= 0 && p < size
			from = from*size + p
		}
		if !inside {
			from = -1
		}
		f(to, from*l.Piece)
		places = places[depth:]
	}
}

func (l *gatherND) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	l.each(e, func(to, from int) {
		if from < 0 {
			clear(y[to : to+l.Piece])
			return
		}
		copy(y[to:to+l.Piece], x[from:])
	})
}

func (l *gatherND) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	dy := e.gradient(l.out[0])
	l.each(e, func(to, from int) {
		if from < 0 {
			return
		}
		for i, d := range dy[to : to+l.Piece] {
			dx[from+i] += d
		}
	})
}
