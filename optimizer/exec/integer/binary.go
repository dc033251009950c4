package integer

import "espalier.dev/espalier/optimizer/ir"

// pairs walks two operands of an element-wise operator together. Along the innermost dimension an operand either advances by one
// element or repeats one.
type pairs struct {
	ir.Broadcast
	a, b, out int // tensors
}

// rowFunc computes a row: y[i] from a[i] or a[0], and b[i] or b[0]. An operand that repeats has length 1.
type rowFunc interface {
	row(y, a, b []int8)
}

func newPairs(c *compiler) pairs {
	return pairs{c.n.Attr.(ir.Binary).Broadcast, c.n.Inputs[0], c.n.Inputs[1], c.n.Outputs[0]}
}

func (p *pairs) each(m *memory, f rowFunc) {
	eachRow(p, m.int8s(p.out), m.int8s(p.a), m.int8s(p.b), f.row)
}

// eachRow calls row for every row of the output y of operands a and b.
func eachRow[Y, X any](p *pairs, y []Y, a, b []X, row func(y []Y, a, b []X)) {
	if len(y) == 0 {
		return
	}
	last := len(p.Shape) - 1
	if last < 0 {
		row(y[:1], a[:1], b[:1])
		return
	}
	n, nA, nB := p.Shape[last], 1, 1
	if p.A[last] != 0 {
		nA = n
	}
	if p.B[last] != 0 {
		nB = n
	}
	var index [8]int
	atA, atB := 0, 0
	for at := 0; at < len(y); at += n {
		row(y[at:at+n], a[atA:atA+nA], b[atB:atB+nB])
		for d := last - 1; d >= 0; d-- {
			index[d]++
			atA += p.A[d]
			atB += p.B[d]
			if index[d] < p.Shape[d] {
				break
			}
			atA -= p.A[d] * p.Shape[d]
			atB -= p.B[d] * p.Shape[d]
			index[d] = 0
		}
	}
}

// binaryKernel is an element-wise int8 operator.
type binaryKernel struct {
	pairs
	rowFunc
}

// leastTable is the number of results from which a table of all pairs of codes pays: it has 65,536 entries.
const leastTable = 4 << 10

// paysForPairs reports whether the node is worth going through all pairs of codes when it is compiled.
func (c *compiler) paysForPairs() bool { return !c.reference && c.out(0).Numel() >= leastTable }

// newBinary makes the kernel of an element-wise operator: f itself, or for tensors of some size a table of its results.
func newBinary(c *compiler, f rowFunc) runner {
	k := &binaryKernel{newPairs(c), f}
	if !c.paysForPairs() {
		return k
	}
	t := new(pairTable)
	var codes [256]int8
	for i := range codes {
		codes[i] = int8(uint8(i))
	}
	for i, code := range codes {
		f.row(t[i<<8:i<<8+256], []int8{code}, codes[:])
	}
	k.rowFunc = t
	return k
}

// pairTable is the result of two codes: that of a is the high byte of the index.
type pairTable [1 << 16]int8

func (t *pairTable) row(y, a, b []int8) {
	switch {
	case len(a) == 1:
		row := (*[256]int8)(t[int(uint8(a[0]))<<8:])
		for i, v := range b[:len(y)] {
			y[i] = row[uint8(v)]
		}
	case len(b) == 1:
		low := uint16(uint8(b[0]))
		for i, v := range a[:len(y)] {
			y[i] = t[uint16(uint8(v))<<8|low]
		}
	default:
		a, b = a[:len(y)], b[:len(y)]
		for i := range y {
			y[i] = t[uint16(uint8(a[i]))<<8|uint16(uint8(b[i]))]
		}
	}
}

func (k *binaryKernel) run(m *memory) error {
	k.each(m, k.rowFunc)
	return nil
}

// at returns element i of an operand, or the one that repeats.
func at[T any](x []T, i int) T {
	if len(x) == 1 {
		return x[0]
	}
	return x[i]
}

// binary16 is an element-wise int16 operator.
type binary16 struct {
	pairs
	f func(a, b int16) int16
}

func newBinary16(c *compiler, f func(a, b int16) int16) runner { return &binary16{newPairs(c), f} }

func (k *binary16) run(m *memory) error {
	eachRow(&k.pairs, m.int16s(k.out), m.int16s(k.a), m.int16s(k.b), func(y, a, b []int16) {
		for i := range y {
			y[i] = k.f(at(a, i), at(b, i))
		}
	})
	return nil
}
