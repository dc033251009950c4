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

func (l *gatherND) forward(e *Exec) { e.copyPieces(&l.node, l.Piece, l.each) }

func (l *gatherND) backward(e *Exec, g *Grads) { e.addPieces(g, &l.node, l.Piece, l.each) }
