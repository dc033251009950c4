package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// softmax is SOFTMAX, exp(β·x) normalised over the last dimension, and its logarithm LOG_SOFTMAX.
type softmax struct {
	node
	width int // of a row
	beta  float32
	log   bool
}

func buildSoftmax(s *site) (layer, error) {
	return newSoftmax(s.node, s.width(), s.o.Attr.(ir.Softmax).Beta, s.o.Op == schema.BuiltinOperatorLOG_SOFTMAX), nil
}

func buildNormalize(s *site) (layer, error) {
	return newNormalize(s.node, s.width(), boundsOf(s.o.Attr.(ir.L2Norm).Act)), nil
}

func newSoftmax(n node, width int, beta float32, log bool) layer {
	n.usesOut = true
	return &softmax{node: n, width: width, beta: beta, log: log}
}

func (l *softmax) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for at := 0; at < len(x); at += l.width {
		in, out := x[at:at+l.width], y[at:at+l.width]
		top := in[0]
		for _, v := range in[1:] {
			top = max(top, v)
		}
		sum := 0.0
		for i, v := range in {
			p := math.Exp(float64(l.beta * (v - top)))
			sum += p
			out[i] = float32(p)
		}
		if l.log {
			shift := float32(math.Log(sum))
			for i, v := range in {
				out[i] = l.beta*(v-top) - shift
			}
			continue
		}
		for i, p := range out {
			out[i] = float32(float64(p) / sum)
		}
	}
}

// backward: dx = β·y·(dy − Σ dy·y), and for the logarithm dx = dy − exp(y)·Σ dy.
func (l *softmax) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	if !add {
		clear(dx)
	}
	y, dy := e.result(&l.node, 0), e.gradient(l.out[0])
	for at := 0; at < len(y); at += l.width {
		out, d, to := y[at:at+l.width], dy[at:at+l.width], dx[at:at+l.width]
		sum := float32(0)
		for i, p := range out {
			if l.log {
				p = 1
			}
			sum += p * d[i]
		}
		for i, p := range out {
			if l.log {
				to[i] += l.beta * (d[i] - float32(math.Exp(float64(p)))*sum)
			} else {
				to[i] += l.beta * p * (d[i] - sum)
			}
		}
	}
}

// normalize is L2_NORMALIZATION: x/‖x‖ over the last dimension.
type normalize struct {
	node
	bounds
	width int
}

// smallestNorm is the least divisor of a row in the reference kernel.
const smallestNorm = 1e-6

func newNormalize(n node, width int, b bounds) layer {
	n.usesIn, n.usesOut = true, true
	return &normalize{node: n, bounds: b, width: width}
}

func (l *normalize) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for at := 0; at < len(x); at += l.width {
		norm := rowNorm(x[at : at+l.width])
		for i, v := range x[at : at+l.width] {
			y[at+i] = v / norm
		}
	}
	l.clamp(y)
}

// rowNorm is ‖x‖, at least smallestNorm.
func rowNorm(x []float32) float32 { return float32(max(math.Sqrt(squares(x)), smallestNorm)) }

// squares is Σ x².
func squares(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

// backward: dx = (dy − y·Σ dy·y)/‖x‖, with y = x/‖x‖ before the activation.
func (l *normalize) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	if !add {
		clear(dx)
	}
	x, dy := e.value(l.in[0]), e.gradient(l.out[0])
	if l.active() {
		l.stop(dy, e.result(&l.node, 0))
	}
	for at := 0; at < len(x); at += l.width {
		in, d, to := x[at:at+l.width], dy[at:at+l.width], dx[at:at+l.width]
		norm := rowNorm(in)
		dot := float32(0)
		for i, v := range in {
			dot += v / norm * d[i]
		}
		for i, v := range in {
			to[i] += (d[i] - v/norm*dot) / norm
		}
	}
}
