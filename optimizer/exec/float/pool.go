package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// pool is what pooling layers have in common.
type pool struct {
	node
	bounds
	ir.Window
	batch, channels int
}

func newPool(n node, g *ir.Graph, attr ir.Pool) pool {
	x := g.Tensors[n.in[0]].Shape
	return pool{node: n, bounds: boundsOf(attr.Act), Window: attr.Window, batch: x[0], channels: x[3]}
}

// sizes are the floats of one image of the input and the output.
func (l *pool) sizes() (in, out int) {
	return l.InH * l.InW * l.channels, l.OutH * l.OutW * l.channels
}

// windows calls f for every output pixel: offset of its channels, rows and columns of the input under the window, and the first
// pixel of the image.
func (l *pool) windows(f func(out, y0, y1, x0, x1, image int)) {
	for image := range l.batch {
		for oy := range l.OutH {
			y0 := oy*l.StrideH - l.PadTop
			for ox := range l.OutW {
				x0 := ox*l.StrideW - l.PadLeft
				out := ((image*l.OutH+oy)*l.OutW + ox) * l.channels
				f(out, max(y0, 0), min(y0+l.KH, l.InH), max(x0, 0), min(x0+l.KW, l.InW), image*l.InH*l.InW)
			}
		}
	}
}

// maxPool is MAX_POOL_2D. Equal maxima: the gradient goes to the first.
type maxPool struct{ pool }

func newMaxPool(n node, g *ir.Graph, attr ir.Pool) layer {
	n.role, n.usesIn, n.usesOut, n.adds = moves, true, true, true
	return &maxPool{newPool(n, g, attr)}
}

func (l *maxPool) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	in, out := l.sizes()
	for k := range l.batch {
		kernel.MaxPool(y[k*out:(k+1)*out], x[k*in:(k+1)*in], kernel.Window(l.Window), l.channels)
	}
	l.clamp(y)
}

func (l *maxPool) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	x, y, dy := e.value(l.in[0]), e.result(&l.node, 0), e.gradient(l.out[0])
	if l.active() {
		l.stop(dy, y)
	}
	in, out := l.sizes()
	for k := range l.batch {
		kernel.MaxPoolBackward(dx[k*in:(k+1)*in], dy[k*out:(k+1)*out], x[k*in:(k+1)*in], y[k*out:(k+1)*out], kernel.Window(l.Window), l.channels)
	}
}

// averagePool is AVERAGE_POOL_2D. Quantized, it averages codes as the integer kernel does, rounding halves of the code (not of
// its distance from the zero point) away from zero.
type averagePool struct{ pool }

func newAveragePool(n node, g *ir.Graph, attr ir.Pool) layer {
	n.fused, n.usesOut, n.adds = true, true, true
	return &averagePool{newPool(n, g, attr)}
}

func (l *averagePool) forward(e *Exec) {
	t := l.out[0]
	x, raw, c := e.value(l.in[0]), e.result(&l.node, 0), l.channels
	y, act := e.values[t], e.act[t]
	codes := act >= 0 && e.act[l.in[0]] == act
	l.windows(func(out, y0, y1, x0, x1, image int) {
		to := raw[out : out+c]
		clear(to)
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				at := (image + iy*l.InW + ix) * c
				kernel.Axpy(to, 1, x[at:at+c])
			}
		}
		count := (y1 - y0) * (x1 - x0)
		if codes {
			averageCodes(y[out:out+c], to, count, e.acts[act])
		}
		if !codes || &raw[0] != &y[0] {
			kernel.Scale(to, 1/float32(count))
		}
	})
	switch {
	case codes:
		q := e.acts[act]
		bounds{q.quantize(l.lo), q.quantize(l.hi)}.clamp(y)
		e.observe(act, raw)
	case act >= 0:
		l.clamp(raw)
		e.quantize(t, raw)
	default:
		l.clamp(raw)
	}
}

// averageCodes writes the quantized averages of count values that add up to sum. The average of the codes, zero point
// included, is rounded half away from zero (AveragePool of LiteRT's reference/integer_ops/pooling.h).
func averageCodes(y, sum []float32, count int, q *ActQuant) {
	lo, hi := q.codes()
	for i, v := range sum {
		acc := int(roundHalfAway(v/q.Scale)) + count*int(q.ZeroPoint)
		if acc > 0 {
			acc = (acc + count/2) / count
		} else {
			acc = (acc - count/2) / count
		}
		y[i] = q.Scale * float32(min(max(acc, lo), hi)-int(q.ZeroPoint))
	}
}

func (l *averagePool) backward(e *Exec, g *Grads) {
	t, c := l.out[0], l.channels
	dy := e.gradient(t)
	e.gate(g, t, dy, e.result(&l.node, 0), l.bounds)
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	l.windows(func(out, y0, y1, x0, x1, image int) {
		share := 1 / float32((y1-y0)*(x1-x0))
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				at := (image + iy*l.InW + ix) * c
				kernel.Axpy(dx[at:at+c], share, dy[out:out+c])
			}
		}
	})
}

// l2Pool is L2_POOL_2D: the root of the mean of squares under the window.
type l2Pool struct{ pool }

func newL2Pool(n node, g *ir.Graph, attr ir.Pool) layer {
	n.usesIn, n.usesOut, n.adds = true, true, true
	return &l2Pool{newPool(n, g, attr)}
}

// pixels calls f for every input pixel under every window, with where its channels and those of the output begin.
func (l *l2Pool) pixels(f func(in, out, count int)) {
	l.windows(func(out, y0, y1, x0, x1, image int) {
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				f((image+iy*l.InW+ix)*l.channels, out, (y1-y0)*(x1-x0))
			}
		}
	})
}

func (l *l2Pool) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	clear(y)
	l.pixels(func(in, out, count int) {
		for c := range l.channels {
			y[out+c] += x[in+c] * x[in+c] / float32(count)
		}
	})
	for i, v := range y {
		y[i] = float32(math.Sqrt(float64(v)))
	}
	l.clamp(y)
}

func (l *l2Pool) backward(e *Exec, g *Grads) {
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	x, y, dy := e.value(l.in[0]), e.result(&l.node, 0), e.gradient(l.out[0])
	if l.active() {
		l.stop(dy, y)
	}
	l.pixels(func(in, out, count int) {
		for c := range l.channels {
			if root := y[out+c]; root > 0 {
				dx[in+c] += dy[out+c] * x[in+c] / (root * float32(count))
			}
		}
	})
}
