package float

import "espalier.dev/espalier/optimizer/ir"

// choose is SELECT and SELECT_V2: where the condition is not 0 the first operand, else the second.
type choose struct {
	node
	condition, a, b transfer // from each input to the output
}

func newSelect(n node, _ *ir.Graph, attr ir.Select) layer {
	n.role, n.adds, n.usesIn = moves, true, true
	to := strides(attr.Shape)
	from := func(s []int) transfer {
		if len(attr.Shape) == 0 {
			return transfer{dims: []int{1}, src: []int{1}, dst: []int{1}}
		}
		return transfer{dims: attr.Shape, src: s, dst: to}
	}
	l := &choose{node: n, condition: from(attr.Condition), a: from(attr.A), b: from(attr.B)}
	l.scratchForward = product(attr.Shape)
	l.scratchBackward = l.scratchForward
	return l
}

func (l *choose) forward(e *Exec) {
	y, chosen := e.result(&l.node, 0), e.forward[l.index]
	l.condition.copy(chosen, e.value(l.in[0]))
	a, b := e.value(l.in[1]), e.value(l.in[2])
	l.a.pairs(func(from, to int) {
		if chosen[to] != 0 {
			y[to] = a[from]
		}
	})
	l.b.pairs(func(from, to int) {
		if chosen[to] == 0 {
			y[to] = b[from]
		}
	})
}

func (l *choose) backward(e *Exec, g *Grads) {
	dy, chosen := e.gradient(l.out[0]), e.backward[l.index]
	l.condition.copy(chosen, e.value(l.in[0]))
	if da, _ := e.gradientOf(g, &l.node, 1); da != nil {
		l.a.pairs(func(from, to int) {
			if chosen[to] != 0 {
				da[from] += dy[to]
			}
		})
	}
	if db, _ := e.gradientOf(g, &l.node, 2); db != nil {
		l.b.pairs(func(from, to int) {
			if chosen[to] == 0 {
				db[from] += dy[to]
			}
		})
	}
}
