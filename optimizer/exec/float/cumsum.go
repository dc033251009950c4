package float

import "espalier.dev/espalier/optimizer/ir"

// cumsum is CUMSUM along one dimension.
type cumsum struct {
	node
	outer, size, inner int
	exclusive, reverse bool
}

func newCumsum(n node, g *ir.Graph, attr ir.Cumsum) layer {
	n.adds = true
	x := g.Tensors[n.in[0]].Shape
	return &cumsum{
		node: n, outer: product(x[:attr.Axis]), size: x[attr.Axis], inner: product(x[attr.Axis+1:]),
		exclusive: attr.Exclusive, reverse: attr.Reverse,
	}
}

// run adds the sums of x to y, from the end if reverse is set.
func (l *cumsum) run(y, x []float32, reverse bool) {
	for o := range l.outer {
		for i := range l.inner {
			sum := float32(0)
			for s := range l.size {
				if reverse {
					s = l.size - 1 - s
				}
				at := (o*l.size+s)*l.inner + i
				if l.exclusive {
					y[at] += sum
					sum += x[at]
					continue
				}
				sum += x[at]
				y[at] += sum
			}
		}
	}
}

func (l *cumsum) forward(e *Exec) {
	y := e.result(&l.node, 0)
	clear(y)
	l.run(y, e.value(l.in[0]), l.reverse)
}

// An element reaches the sums from it on: its gradient is their sum, taken the other way.
func (l *cumsum) backward(e *Exec, g *Grads) {
	if dx, _ := e.gradientOf(g, &l.node, 0); dx != nil {
		l.run(dx, e.gradient(l.out[0]), !l.reverse)
	}
}
