package float

import "espalier.dev/espalier/optimizer/ir"

// conv3D is CONV_3D by its definition: a loop over output values and taps.
type conv3D struct {
	node
	bounds
	ir.Conv3D
	batch int
}

func newConv3D(n node, g *ir.Graph, attr ir.Conv3D) layer {
	n.usesIn, n.usesOut, n.adds = true, true, true
	return &conv3D{node: n, bounds: boundsOf(attr.Act), Conv3D: attr, batch: g.Tensors[n.in[0]].Shape[0]}
}

// taps calls f for every output pixel and tap inside the input, with where input pixel, tap and output pixel begin.
func (l *conv3D) taps(f func(x, w, y int)) {
	for b := range l.batch {
		for o := range l.Out[0] * l.Out[1] * l.Out[2] {
			out := [3]int{o / (l.Out[1] * l.Out[2]), o / l.Out[2] % l.Out[1], o % l.Out[2]}
			for t := range l.Kernel[0] * l.Kernel[1] * l.Kernel[2] {
				tap := [3]int{t / (l.Kernel[1] * l.Kernel[2]), t / l.Kernel[2] % l.Kernel[1], t % l.Kernel[2]}
				at, inside := b, true
				for d := range 3 {
					p := out[d]*l.Stride[d] - l.Pad[d] + l.Dilation[d]*tap[d]
					inside = inside && p >= 0 && p < l.In[d]
					at = at*l.In[d] + p
				}
				if inside {
					f(at*l.Channels, t*l.Channels*l.Outputs, (b*l.Out[0]*l.Out[1]*l.Out[2]+o)*l.Outputs)
				}
			}
		}
	}
}

func (l *conv3D) forward(e *Exec) {
	x, w, y := e.value(l.in[0]), e.value(l.in[1]), e.result(&l.node, 0)
	clear(y)
	if bias := e.bias(&l.node, 2); bias != nil {
		for at := 0; at < len(y); at += l.Outputs {
			copy(y[at:], bias)
		}
	}
	l.taps(func(at, tap, to int) {
		pixel := y[to : to+l.Outputs]
		for c := range l.Channels {
			v := x[at+c]
			for o, weight := range w[tap+c*l.Outputs:][:l.Outputs] {
				pixel[o] += v * weight
			}
		}
	})
	l.clamp(y)
}

func (l *conv3D) backward(e *Exec, g *Grads) {
	dy := e.gradient(l.out[0])
	if l.active() {
		l.stop(dy, e.result(&l.node, 0))
	}
	x, w := e.value(l.in[0]), e.value(l.in[1])
	dx, _ := e.gradientOf(g, &l.node, 0)
	dw, _ := e.gradientOf(g, &l.node, 1)
	if db, _ := e.gradientOf(g, &l.node, 2); db != nil {
		for i, d := range dy {
			db[i%l.Outputs] += d
		}
	}
	l.taps(func(at, tap, to int) {
		d := dy[to : to+l.Outputs]
		for c := range l.Channels {
			row := w[tap+c*l.Outputs:][:l.Outputs]
			sum := float32(0)
			for o, weight := range row {
				sum += d[o] * weight
			}
			if dx != nil {
				dx[at+c] += sum
			}
			if dw != nil {
				v := x[at+c]
				for o := range row {
					dw[tap+c*l.Outputs+o] += v * d[o]
				}
			}
		}
	})
}
