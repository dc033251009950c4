package float

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// batchMatMul is BATCH_MATMUL: a product [M, K]·[K, N] for every leading index; an adjoint operand lies transposed.
type batchMatMul struct {
	node
	ir.BatchMatMul
}

func newBatchMatMul(n node, _ *ir.Graph, attr ir.BatchMatMul) layer {
	n.usesIn, n.adds = true, true
	n.scratchForward = attr.K * attr.N
	n.scratchBackward = max(attr.K*attr.N, attr.M*attr.N, attr.M*attr.K)
	return &batchMatMul{n, attr}
}

// each calls f for every product with the first elements of its operands and of its result.
func (l *batchMatMul) each(f func(x, y, out int)) {
	var index [maxRank]int
	atX, atY, out := 0, 0, 0
	for {
		f(atX*l.M*l.K, atY*l.K*l.N, out*l.M*l.N)
		out++
		d := len(l.Shape) - 1
		for ; d >= 0; d-- {
			index[d]++
			atX += l.A[d]
			atY += l.B[d]
			if index[d] < l.Shape[d] {
				break
			}
			atX -= l.A[d] * l.Shape[d]
			atY -= l.B[d] * l.Shape[d]
			index[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

func (l *batchMatMul) forward(e *Exec) {
	x, y, out := e.value(l.in[0]), e.value(l.in[1]), e.result(&l.node, 0)
	row, column := l.K, 1 // strides of x
	if l.AdjX {
		row, column = 1, l.M
	}
	l.each(func(atX, atY, at int) {
		b := y[atY : atY+l.K*l.N]
		if l.AdjY {
			kernel.Transpose(e.forward[l.index], b, l.N, l.K)
			b = e.forward[l.index]
		}
		kernel.Gemm(&e.scratch, l.M, l.N, l.K, x[atX:], row, column, b, l.N, out[at:], l.N, false)
	})
}

func (l *batchMatMul) backward(e *Exec, g *Grads) {
	x, y, dout, turned := e.value(l.in[0]), e.value(l.in[1]), e.gradient(l.out[0]), e.backward[l.index]
	dx, _ := e.gradientOf(g, &l.node, 0)
	dy, _ := e.gradientOf(g, &l.node, 1)
	m, k, n := l.M, l.K, l.N
	l.each(func(atX, atY, at int) {
		d := dout[at : at+m*n]
		switch b := y[atY : atY+k*n]; {
		case dx == nil:
		case l.AdjX: // dXᵀ = B·dᵀ
			kernel.Transpose(turned, d, m, n)
			row, column := n, 1
			if l.AdjY {
				row, column = 1, k
			}
			kernel.Gemm(&e.scratch, k, m, n, b, row, column, turned, m, dx[atX:], m, true)
		default: // dX = d·Bᵀ
			if !l.AdjY {
				kernel.Transpose(turned, b, k, n)
				b = turned
			}
			kernel.Gemm(&e.scratch, m, k, n, d, n, 1, b, k, dx[atX:], k, true)
		}
		switch a := x[atX : atX+m*k]; {
		case dy == nil:
		case l.AdjY: // dYᵀ = dᵀ·A
			if l.AdjX {
				kernel.Transpose(turned, a, k, m)
				a = turned
			}
			kernel.Gemm(&e.scratch, n, k, m, d, 1, n, a, k, dy[atY:], k, true)
		default: // dY = Aᵀ·d
			row, column := 1, k
			if l.AdjX {
				row, column = m, 1
			}
			kernel.Gemm(&e.scratch, k, n, m, a, row, column, d, n, dy[atY:], n, true)
		}
	})
}
