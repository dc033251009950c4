package float

import (
	"math"
	"math/bits"
	"math/cmplx"
	"unsafe"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Complex numbers are held as real and imaginary part, one after the other.

// readsComplex are the operators that may read them.
var readsComplex = map[schema.BuiltinOperator]bool{
	schema.BuiltinOperatorCOMPLEX_ABS: true, schema.BuiltinOperatorREAL: true, schema.BuiltinOperatorIMAG: true,
	schema.BuiltinOperatorRESHAPE: true, schema.BuiltinOperatorSQUEEZE: true, schema.BuiltinOperatorEXPAND_DIMS: true,
}

// rfft2D is RFFT2D of planes. It computes with float64, as LiteRT does.
type rfft2D struct {
	node
	ir.RFFT2D
	planes int
}

func newRFFT2D(n node, g *ir.Graph, attr ir.RFFT2D) layer {
	n.adds = true
	n.scratchForward = 4 * (attr.H*attr.W + attr.H)
	n.scratchBackward = n.scratchForward
	x := g.Tensors[n.in[0]].Shape
	return &rfft2D{n, attr, product(x[:len(x)-2])}
}

func (l *rfft2D) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	width := l.W/2 + 1
	plane, column := l.scratch(e.forward[l.index])
	for p := range l.planes {
		clear(plane)
		for r := range min(l.H, l.InH) {
			for c, v := range x[(p*l.InH+r)*l.InW:][:min(l.W, l.InW)] {
				plane[r*l.W+c] = complex(float64(v), 0)
			}
		}
		l.transform(plane, column)
		for r := range l.H {
			for c, v := range plane[r*l.W:][:width] {
				at := 2 * ((p*l.H+r)*width + c)
				y[at], y[at+1] = float32(real(v)), float32(imag(v))
			}
		}
	}
}

// An input reaches every number of the spectrum by a factor e^(−iφ): its gradient is the real part of the sum of theirs times e^(−iφ),
// the parts taken as conjugates.
func (l *rfft2D) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	dy := e.gradient(l.out[0])
	width := l.W/2 + 1
	plane, column := l.scratch(e.backward[l.index])
	for p := range l.planes {
		clear(plane)
		for r := range l.H {
			for c := range width {
				at := 2 * ((p*l.H+r)*width + c)
				plane[r*l.W+c] = complex(float64(dy[at]), -float64(dy[at+1]))
			}
		}
		l.transform(plane, column)
		for r := range min(l.H, l.InH) {
			row := dx[(p*l.InH+r)*l.InW:]
			for c := range min(l.W, l.InW) {
				row[c] += float32(real(plane[r*l.W+c]))
			}
		}
	}
}

// scratch is memory for a plane and a column of it.
func (l *rfft2D) scratch(floats []float32) (plane, column []complex128) {
	all := unsafe.Slice((*complex128)(unsafe.Pointer(unsafe.SliceData(floats))), l.H*l.W+l.H)
	return all[:l.H*l.W], all[l.H*l.W:]
}

// transform is the discrete Fourier transform of a plane, rows then columns.
func (l *rfft2D) transform(plane, column []complex128) {
	for r := range l.H {
		fourier(plane[r*l.W:][:l.W])
	}
	if l.H == 1 {
		return
	}
	for c := range l.W {
		for r := range l.H {
			column[r] = plane[r*l.W+c]
		}
		fourier(column)
		for r := range l.H {
			plane[r*l.W+c] = column[r]
		}
	}
}

// fourier replaces 2^k numbers by their transform, x[j] becomes Σ x[n]·e^(−2πi·jn/N) (Cooley and Tukey, 1965).
func fourier(x []complex128) {
	n := len(x)
	shift := 64 - bits.Len(uint(n-1))
	if n == 1 {
		return
	}
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < n; half *= 2 {
		for k := range half {
			turn := cmplx.Rect(1, -math.Pi*float64(k)/float64(half))
			for i := k; i < n; i += 2 * half {
				a, b := x[i], x[i+half]*turn
				x[i], x[i+half] = a+b, a-b
			}
		}
	}
}

// magnitude is COMPLEX_ABS.
type magnitude struct{ node }

func buildMagnitude(s *site) (layer, error) {
	s.usesIn, s.usesOut = true, true
	return &magnitude{s.node}, nil
}

func (l *magnitude) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for i := range y {
		y[i] = float32(math.Hypot(float64(x[2*i]), float64(x[2*i+1])))
	}
}

func (l *magnitude) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	if !add {
		clear(dx)
	}
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for i, d := range e.gradient(l.out[0]) {
		dx[2*i] += d * steep(x[2*i]/y[i])
		dx[2*i+1] += d * steep(x[2*i+1]/y[i])
	}
}

// component is REAL or IMAG.
type component struct {
	node
	at int // 0 or 1
}

func buildComponent(at int) build {
	return func(s *site) (layer, error) { return &component{s.node, at}, nil }
}

func (l *component) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for i := range y {
		y[i] = x[2*i+l.at]
	}
}

func (l *component) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	if !add {
		clear(dx)
	}
	for i, d := range e.gradient(l.out[0]) {
		dx[2*i+l.at] += d
	}
}
