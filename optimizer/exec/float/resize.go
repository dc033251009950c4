package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// resize is RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR: every output pixel mixes up to four input pixels.
type resize struct {
	node
	batch, channels      int
	inH, inW, outH, outW int
	rows, cols           []mix // by output row, column
	codes                bool  // bilinear: quantized, it rounds like the integer kernel
}

// mix is where an output row or column lies in the input: between low and high, share of the way to high.
type mix struct {
	low, high int
	share     float32
	fixed     fixedMix
}

// fixedMix is the mix of the integer kernel, which rounds positions to 1/1024 pixel: its neighbours are others where that moves a
// position over a pixel's edge.
type fixedMix struct{ low, high, toLow, toHigh int } // weights in 1/1024

func buildResize(s *site) (layer, error) {
	return newResize(s.node, s.g, s.o.Attr.(ir.Resize), s.o.Op == schema.BuiltinOperatorRESIZE_BILINEAR), nil
}

func newResize(n node, g *ir.Graph, attr ir.Resize, bilinear bool) layer {
	x, y := g.Tensors[n.in[0]].Shape, g.Tensors[n.out[0]].Shape
	n.adds = true
	l := &resize{node: n, batch: x[0], channels: x[3], inH: x[1], inW: x[2], outH: y[1], outW: y[2], codes: bilinear}
	if bilinear {
		l.fused, l.usesOut = true, true
		l.rows, l.cols = bilinearMix(l.inH, l.outH, attr), bilinearMix(l.inW, l.outW, attr)
	} else {
		l.role = moves
		l.rows, l.cols = nearestMix(l.inH, l.outH, attr), nearestMix(l.inW, l.outW, attr)
	}
	return l
}

// nearestMix follows GetNearestNeighbor of LiteRT's reference/resize_nearest_neighbor.h.
func nearestMix(in, out int, attr ir.Resize) []mix {
	scale := resizeScale(in, out, attr)
	list := make([]mix, out)
	for i := range list {
		offset := float32(0)
		if attr.HalfPixel {
			offset = 0.5
		}
		at := (float32(i) + offset) * scale
		k := int(math.Floor(float64(at)))
		if attr.AlignCorners {
			k = int(math.Round(float64(at)))
		}
		k = max(min(k, in-1), 0)
		list[i] = mix{low: k, high: k}
	}
	return list
}

// resizeScale is input pixels per output pixel.
func resizeScale(in, out int, attr ir.Resize) float32 {
	if attr.AlignCorners && out > 1 {
		return float32(in-1) / float32(out-1)
	}
	return float32(in) / float32(out)
}

// bilinearMix follows ComputeInterpolationValues of LiteRT's reference/resize_bilinear.h, in its float and integer forms.
func bilinearMix(in, out int, attr ir.Resize) []mix {
	scale := resizeScale(in, out, attr)
	fixed := ((1<<10)*in + out/2) / out
	if attr.AlignCorners && out > 1 {
		fixed = ((1<<10)*(in-1) + (out-1)/2) / (out - 1)
	}
	list := make([]mix, out)
	for i := range list {
		at, atFixed := float32(i)*scale, i*fixed
		if attr.HalfPixel {
			at, atFixed = (float32(i)+0.5)*scale-0.5, i*fixed+fixed/2-(1<<9)
		}
		floor := int(math.Floor(float64(at)))
		m := mix{low: max(floor, 0), high: min(floor+1, in-1)}
		m.share = at - float32(m.low)
		low := max(atFixed/(1<<10), 0)
		weight := atFixed - (1<<10)*low
		m.fixed = fixedMix{min(low, in-1), min(max((atFixed+(1<<10)-1)/(1<<10), 0), in-1), (1 << 10) - weight, weight}
		list[i] = m
	}
	return list
}

// pixels calls f for every output pixel: its offset, those of the four input pixels it mixes, and its row's and column's mix.
func (l *resize) pixels(f func(out int, in [4]int, row, col *mix)) {
	for image := range l.batch {
		for oy := range l.rows {
			for ox := range l.cols {
				row, col := &l.rows[oy], &l.cols[ox]
				f(((image*l.outH+oy)*l.outW+ox)*l.channels, l.square(image, row.low, row.high, col.low, col.high), row, col)
			}
		}
	}
}

// square returns the offsets of four input pixels.
func (l *resize) square(image, top, bottom, left, right int) [4]int {
	top, bottom = (image*l.inH+top)*l.inW, (image*l.inH+bottom)*l.inW
	return [4]int{(top + left) * l.channels, (top + right) * l.channels, (bottom + left) * l.channels, (bottom + right) * l.channels}
}

// weights are the shares of the four input pixels.
func weights(row, col *mix) [4]float32 {
	return [4]float32{(1 - row.share) * (1 - col.share), (1 - row.share) * col.share, row.share * (1 - col.share), row.share * col.share}
}

func (l *resize) forward(e *Exec) {
	x, raw, t := e.value(l.in[0]), e.result(&l.node, 0), l.out[0]
	c, act := l.channels, e.act[t]
	l.pixels(func(out int, in [4]int, row, col *mix) {
		w, to := weights(row, col), raw[out:out+c]
		if row.share == 0 && col.share == 0 { // a weight of 1 is not enough: beyond an edge another is above 1
			copy(to, x[in[0]:in[0]+c])
			return
		}
		for j := range to {
			to[j] = w[0]*x[in[0]+j] + w[1]*x[in[1]+j] + w[2]*x[in[2]+j] + w[3]*x[in[3]+j]
		}
	})
	if !l.codes || act < 0 {
		return
	}
	if e.act[l.in[0]] != act {
		e.quantize(t, raw)
		return
	}
	e.observe(act, raw)
	l.mixCodes(e.values[t], x, e.acts[act])
}

// mixCodes writes what the integer kernel gives: codes mixed in 20-bit fixed point, rounded half away from zero.
func (l *resize) mixCodes(y, x []float32, q *ActQuant) {
	c := l.channels
	size := l.outH * l.outW * c
	l.pixels(func(out int, _ [4]int, row, col *mix) {
		r, s := &row.fixed, &col.fixed
		in := l.square(out/size, r.low, r.high, s.low, s.high)
		w := [4]int{r.toLow * s.toLow, r.toLow * s.toHigh, r.toHigh * s.toLow, r.toHigh * s.toHigh}
		for j := range c {
			acc := 0
			for k, at := range in {
				acc += w[k] * (int(roundHalfAway(x[at+j]/q.Scale)) + int(q.ZeroPoint))
			}
			if acc > 0 {
				acc += 1 << 19
			} else {
				acc -= 1 << 19
			}
			y[out+j] = q.Scale * float32(acc/(1<<20)-int(q.ZeroPoint))
		}
	})
}

func (l *resize) backward(e *Exec, g *Grads) {
	t := l.out[0]
	dy := e.gradient(t)
	if l.codes {
		e.gate(g, t, dy, e.result(&l.node, 0), unbounded)
	}
	dx, _ := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	l.pixels(func(out int, in [4]int, row, col *mix) {
		w := weights(row, col)
		for j, d := range dy[out : out+l.channels] {
			for k, at := range in {
				dx[at+j] += w[k] * d
			}
		}
	})
}
