package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// sum is SUM and MEAN over any set of dimensions.
type sum struct {
	node
	spread   transfer // every input element to the output element it adds to
	gather   transfer // and back
	multiply float32
}

// reduction pairs every input element with the output element it is reduced into.
func reduction(g *ir.Graph, n *node, attr ir.Reduce) (t transfer, count int) {
	shape := g.Tensors[n.in[0]].Shape
	t = transfer{dims: shape, src: strides(shape), dst: make([]int, len(shape))}
	reduced := make([]bool, len(shape))
	count = 1
	for _, a := range attr.Axes {
		reduced[a] = true
		count *= shape[a]
	}
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if !reduced[i] {
			t.dst[i] = step
			step *= shape[i]
		}
	}
	return t.merged(), count
}

func buildSum(s *site) (layer, error) {
	return newSum(s.node, s.g, s.o.Attr.(ir.Reduce), s.o.Op == schema.BuiltinOperatorMEAN), nil
}

func buildExtreme(s *site) (layer, error) {
	return newExtreme(s.node, s.g, s.o.Attr.(ir.Reduce), s.o.Op), nil
}

// buildLogic is REDUCE_ANY and REDUCE_ALL: the largest and the smallest of truths, 1 and 0. No gradient passes.
func buildLogic(s *site) (layer, error) {
	l := newExtreme(s.node, s.g, s.o.Attr.(ir.Reduce), map[schema.BuiltinOperator]schema.BuiltinOperator{
		schema.BuiltinOperatorREDUCE_ANY: schema.BuiltinOperatorREDUCE_MAX,
		schema.BuiltinOperatorREDUCE_ALL: schema.BuiltinOperatorREDUCE_MIN,
	}[s.o.Op])
	l.base().opaque = true
	return l, nil
}

func newSum(n node, g *ir.Graph, attr ir.Reduce, mean bool) layer {
	n.adds = true
	l := &sum{node: n, multiply: 1}
	var count int
	l.spread, count = reduction(g, &n, attr)
	l.gather = l.spread.reversed()
	if mean {
		l.multiply = 1 / float32(count)
	}
	return l
}

func (l *sum) forward(e *Exec) {
	y := e.result(&l.node, 0)
	clear(y)
	l.spread.add(y, e.value(l.in[0]))
	if l.multiply != 1 {
		kernel.Scale(y, l.multiply)
	}
}

func (l *sum) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	dy := e.gradient(l.out[0])
	if l.multiply != 1 {
		kernel.Scale(dy, l.multiply)
	}
	l.gather.add(dx, dy)
}

// extreme is REDUCE_MAX and REDUCE_MIN. Elements that tie share the gradient.
type extreme struct {
	node
	spread transfer
	sign   float32 // 1: maximum, −1: minimum
}

func newExtreme(n node, g *ir.Graph, attr ir.Reduce, op schema.BuiltinOperator) layer {
	n.role, n.usesIn, n.usesOut, n.adds = moves, true, true, true
	l := &extreme{node: n, sign: 1}
	if op == schema.BuiltinOperatorREDUCE_MIN {
		l.sign = -1
	}
	l.spread, _ = reduction(g, &n, attr)
	l.scratchBackward = g.Numel(n.out[0])
	return l
}

// pairs calls f for every input element and the output element it is reduced into.
func (t *transfer) pairs(f func(src, dst int)) {
	k := len(t.dims) - 1
	t.rows(func(src, dst int) {
		for range t.dims[k] {
			f(src, dst)
			src += t.src[k]
			dst += t.dst[k]
		}
	})
}

func (l *extreme) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for i := range y {
		y[i] = float32(math.Inf(-1)) * l.sign
	}
	l.spread.pairs(func(i, o int) {
		if l.sign*x[i] > l.sign*y[o] {
			y[o] = x[i]
		}
	})
}

func (l *extreme) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	x, y, dy, ties := e.value(l.in[0]), e.result(&l.node, 0), e.gradient(l.out[0]), e.backward[l.index]
	clear(ties)
	l.spread.pairs(func(i, o int) {
		if x[i] == y[o] {
			ties[o]++
		}
	})
	l.spread.pairs(func(i, o int) {
		if x[i] == y[o] {
			dx[i] += dy[o] / ties[o]
		}
	})
}

// factors is REDUCE_PROD.
type factors struct {
	node
	spread transfer
}

func newFactors(n node, g *ir.Graph, attr ir.Reduce) layer {
	n.usesIn, n.adds = true, true
	l := &factors{node: n}
	l.spread, _ = reduction(g, &n, attr)
	l.scratchBackward = 2 * g.Numel(n.out[0])
	return l
}

func (l *factors) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for i := range y {
		y[i] = 1
	}
	l.spread.pairs(func(i, o int) { y[o] *= x[i] })
}

// The gradient of a factor is the product of the others: where one factor is zero only it has one.
func (l *factors) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	x, dy, scratch := e.value(l.in[0]), e.gradient(l.out[0]), e.backward[l.index]
	others, zeros := scratch[:len(dy)], scratch[len(dy):2*len(dy)]
	for i := range others {
		others[i], zeros[i] = 1, 0
	}
	l.spread.pairs(func(i, o int) {
		if x[i] == 0 {
			zeros[o]++
		} else {
			others[o] *= x[i]
		}
	})
	l.spread.pairs(func(i, o int) {
		switch {
		case zeros[o] == 0:
			dx[i] += dy[o] * others[o] / x[i]
		case zeros[o] == 1 && x[i] == 0:
			dx[i] += dy[o] * others[o]
		}
	})
}
