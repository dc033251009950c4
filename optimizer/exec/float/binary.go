package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// combine is an element-wise operator of two operands broadcast against each other, with a fused activation.
type combine struct {
	node
	bounds
	operation
	attr ir.Binary
	same bool // both operands have the output's shape
}

// operation is what distinguishes binary operators: y = f(a, b) and its two slopes.
type operation struct {
	f              func(a, b float32) float32
	slopeA, slopeB func(a, b float32) float32
	linear         bool    // y = a + sign·b, computed without calls
	sign           float32 // of b
	poles          bool    // f is infinite or not defined for some a and b
}

func constantly(c float32) func(a, b float32) float32 { return func(_, _ float32) float32 { return c } }

func second(_, b float32) float32 { return b }
func first(a, _ float32) float32  { return a }

func chosen(when func(a, b float32) bool) func(a, b float32) float32 {
	return func(a, b float32) float32 {
		if when(a, b) {
			return 1
		}
		return 0
	}
}

// operations are the binary operators. Ties of MINIMUM and MAXIMUM go to the first operand.
var operations = map[schema.BuiltinOperator]operation{
	schema.BuiltinOperatorADD: {f: func(a, b float32) float32 { return a + b }, slopeA: constantly(1), slopeB: constantly(1), linear: true, sign: 1},
	schema.BuiltinOperatorSUB: {f: func(a, b float32) float32 { return a - b }, slopeA: constantly(1), slopeB: constantly(-1), linear: true, sign: -1},
	schema.BuiltinOperatorMUL: {f: func(a, b float32) float32 { return a * b }, slopeA: second, slopeB: first},
	schema.BuiltinOperatorDIV: {
		f:      func(a, b float32) float32 { return a / b },
		slopeA: func(_, b float32) float32 { return steep(1 / b) }, slopeB: func(a, b float32) float32 { return steep(-a / (b * b)) }, poles: true,
	},
	schema.BuiltinOperatorMINIMUM: {
		f:      func(a, b float32) float32 { return min(a, b) },
		slopeA: chosen(func(a, b float32) bool { return a <= b }), slopeB: chosen(func(a, b float32) bool { return a > b }),
	},
	schema.BuiltinOperatorMAXIMUM: {
		f:      func(a, b float32) float32 { return max(a, b) },
		slopeA: chosen(func(a, b float32) bool { return a >= b }), slopeB: chosen(func(a, b float32) bool { return a < b }),
	},
	schema.BuiltinOperatorSQUARED_DIFFERENCE: {
		f:      func(a, b float32) float32 { return (a - b) * (a - b) },
		slopeA: func(a, b float32) float32 { return 2 * (a - b) }, slopeB: func(a, b float32) float32 { return 2 * (b - a) },
	},
	schema.BuiltinOperatorPOW:       {f: power, slopeA: func(a, b float32) float32 { return steep(b * power(a, b-1)) }, slopeB: powerSlopeB, poles: true},
	schema.BuiltinOperatorFLOOR_DIV: {f: func(a, b float32) float32 { return float32(math.Floor(float64(a / b))) }},
	schema.BuiltinOperatorFLOOR_MOD: {
		f: floorMod, slopeA: constantly(1), slopeB: func(a, b float32) float32 { return -float32(math.Floor(float64(a / b))) },
	},

	// The values of comparisons and logic are 1 for true and 0 for false.
	schema.BuiltinOperatorEQUAL:         {f: chosen(func(a, b float32) bool { return a == b })},
	schema.BuiltinOperatorNOT_EQUAL:     {f: chosen(func(a, b float32) bool { return a != b })},
	schema.BuiltinOperatorLESS:          {f: chosen(func(a, b float32) bool { return a < b })},
	schema.BuiltinOperatorLESS_EQUAL:    {f: chosen(func(a, b float32) bool { return a <= b })},
	schema.BuiltinOperatorGREATER:       {f: chosen(func(a, b float32) bool { return a > b })},
	schema.BuiltinOperatorGREATER_EQUAL: {f: chosen(func(a, b float32) bool { return a >= b })},
	schema.BuiltinOperatorLOGICAL_AND:   {f: chosen(func(a, b float32) bool { return a != 0 && b != 0 })},
	schema.BuiltinOperatorLOGICAL_OR:    {f: chosen(func(a, b float32) bool { return a != 0 || b != 0 })},

	schema.BuiltinOperatorPRELU: {
		f: func(a, b float32) float32 {
			if a < 0 {
				return a * b
			}
			return a
		},
		slopeA: func(a, b float32) float32 {
			if a < 0 {
				return b
			}
			return 1
		},
		slopeB: func(a, _ float32) float32 { return min(a, 0) },
	},
}

func power(a, b float32) float32 { return float32(math.Pow(float64(a), float64(b))) }

// powerSlopeB is aᵇ·ln a, 0 where a is not positive.
func powerSlopeB(a, b float32) float32 {
	if a <= 0 {
		return 0
	}
	return steep(power(a, b) * float32(math.Log(float64(a))))
}

// floorMod is the remainder with the divisor's sign.
func floorMod(a, b float32) float32 {
	r := float32(math.Mod(float64(a), float64(b)))
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

func buildBinary(s *site) (layer, error) {
	return newBinary(s.node, s.o.Attr.(ir.Binary), operations[s.o.Op]), nil
}

func newBinary(n node, attr ir.Binary, op operation) layer {
	l := &combine{node: n, bounds: boundsOf(attr.Act), operation: op, attr: attr, same: attr.Same()}
	l.usesIn = !op.linear
	l.opaque = op.slopeA == nil
	l.node.poles = op.poles
	l.usesOut = l.active()
	l.adds = !l.same
	if len(l.attr.Shape) == 0 {
		l.attr.Broadcast = ir.Broadcast{Shape: []int{1}, A: []int{1}, B: []int{1}}
	}
	return l
}

func (l *combine) forward(e *Exec) {
	a, b, y := e.value(l.in[0]), e.value(l.in[1]), e.result(&l.node, 0)
	if l.same && l.linear {
		for from := 0; from < len(y); from += cacheStrip {
			to := min(from+cacheStrip, len(y))
			copy(y[from:to], a[from:to])
			kernel.Axpy(y[from:to], l.sign, b[from:to])
			l.clamp(y[from:to])
		}
		return
	}
	l.rows(func(at, ia, ib, n, sa, sb int) {
		for i := at; i < at+n; i++ {
			y[i] = l.f(a[ia], b[ib])
			ia += sa
			ib += sb
		}
	})
	l.clamp(y)
}

// cacheStrip is so many floats that three passes over them and what they are made of find them in the L1 cache.
const cacheStrip = 2 << 10

func (l *combine) backward(e *Exec, g *Grads) {
	dy := e.gradient(l.out[0])
	if l.active() {
		l.stop(dy, e.result(&l.node, 0))
	}
	if l.same && l.linear {
		if dx, add := e.gradientOf(g, &l.node, 0); dx != nil {
			assign(dx, dy, add)
		}
		if dx, add := e.gradientOf(g, &l.node, 1); dx != nil {
			assignScaled(dx, dy, l.sign, add)
		}
		return
	}
	a, b := e.value(l.in[0]), e.value(l.in[1])
	l.operand(e, g, 0, a, b, dy, l.slopeA)
	l.operand(e, g, 1, a, b, dy, l.slopeB)
}

// operand adds to the gradient of one operand; where it is broadcast, contributions add up.
func (l *combine) operand(e *Exec, g *Grads, slot int, a, b, dy []float32, slope func(a, b float32) float32) {
	dx, add := e.gradientOf(g, &l.node, slot)
	if dx == nil {
		return
	}
	if !add && !l.adds {
		clear(dx)
	}
	l.rows(func(at, ia, ib, n, sa, sb int) {
		for _, d := range dy[at : at+n] {
			k := ia
			if slot == 1 {
				k = ib
			}
			dx[k] += d * slope(a[ia], b[ib])
			ia += sa
			ib += sb
		}
	})
}

// rows calls f for every run of the innermost dimension: offset in the output, offsets in the operands, length, strides.
func (l *combine) rows(f func(at, ia, ib, n, sa, sb int)) {
	k := len(l.attr.Shape) - 1
	n, at := l.attr.Shape[k], 0
	t := transfer{dims: l.attr.Shape, src: l.attr.A, dst: l.attr.B}
	t.rows(func(ia, ib int) {
		f(at, ia, ib, n, l.attr.A[k], l.attr.B[k])
		at += n
	})
}

// assignScaled sets dst to s·src, or adds it.
func assignScaled(dst, src []float32, s float32, add bool) {
	if !add {
		clear(dst)
	}
	kernel.Axpy(dst, s, src)
}

// bounds is the interval a fused activation clamps to.
type bounds struct{ lo, hi float32 }

var unbounded = boundsOf(ir.None)

func boundsOf(a ir.Activation) bounds {
	lo, hi := a.Bounds()
	return bounds{lo, hi}
}

func (b bounds) active() bool {
	return !math.IsInf(float64(b.lo), -1) || !math.IsInf(float64(b.hi), 1)
}

// clamp applies the activation.
func (b bounds) clamp(y []float32) {
	if !b.active() {
		return
	}
	kernel.Clamp(y, y, b.lo, b.hi)
}

// stop clears the gradient where the activation clamped.
func (b bounds) stop(dy, y []float32) {
	kernel.ClampBackward(dy, y, b.lo, b.hi)
}

// addN is ADD_N.
type addN struct{ node }

func buildAddN(s *site) (layer, error) {
	s.adds = true
	return &addN{s.node}, nil
}

func (l *addN) forward(e *Exec) {
	y := e.result(&l.node, 0)
	copy(y, e.value(l.in[0]))
	for _, t := range l.in[1:] {
		kernel.Axpy(y, 1, e.value(t))
	}
}

func (l *addN) backward(e *Exec, g *Grads) {
	dy := e.gradient(l.out[0])
	for slot := range l.in {
		if dx, _ := e.gradientOf(g, &l.node, slot); dx != nil {
			kernel.Axpy(dx, 1, dy)
		}
	}
}
