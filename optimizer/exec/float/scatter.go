package float

import "espalier.dev/espalier/optimizer/ir"

// scatterND is SCATTER_ND: pieces of the second input added to zeros at the places in the first. Places out of range are left out.
type scatterND struct {
	node
	ir.ScatterND
}

func newScatterND(n node, _ *ir.Graph, attr ir.ScatterND) layer {
	n.usesIn = true
	return &scatterND{n, attr}
}

// each calls f for every piece with where it begins in the updates and in the output.
func (l *scatterND) each(e *Exec, f func(from, to int)) {
	places, depth := e.value(l.in[0]), len(l.Dims)
	for from := 0; len(places) >= depth; from += l.Piece {
		to, inside := 0, true
		for d, size := range l.Dims {
			p := int(places[d])
			inside = inside && p >= 0 && p < size
			to = to*size + p
		}
		if inside {
			f(from, to*l.Piece)
		}
		places = places[depth:]
	}
}

func (l *scatterND) forward(e *Exec) {
	x, y := e.value(l.in[1]), e.result(&l.node, 0)
	clear(y)
	l.each(e, func(from, to int) {
		for i, v := range x[from : from+l.Piece] {
			y[to+i] += v
		}
	})
}

func (l *scatterND) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 1)
	if dx == nil {
		return
	}
	if !add {
		clear(dx)
	}
	dy := e.gradient(l.out[0])
	l.each(e, func(from, to int) {
		for i, d := range dy[to : to+l.Piece] {
			dx[from+i] += d
		}
	})
}

// segmentSum is SEGMENT_SUM.
type segmentSum struct {
	node
	ir.SegmentSum
}

func newSegmentSum(n node, _ *ir.Graph, attr ir.SegmentSum) layer {
	n.adds = true
	return &segmentSum{n, attr}
}

func (l *segmentSum) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	clear(y)
	for i, id := range l.IDs {
		for k, v := range x[i*l.Piece : (i+1)*l.Piece] {
			y[id*l.Piece+k] += v
		}
	}
}

func (l *segmentSum) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	dy := e.gradient(l.out[0])
	for i, id := range l.IDs {
		for k, d := range dy[id*l.Piece : (id+1)*l.Piece] {
			dx[i*l.Piece+k] += d
		}
	}
}
