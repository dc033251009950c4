package float

import (
	"espalier.dev/espalier/optimizer/kernel"
)

// thinConv is a convolution of images with one channel and horizontal stride 1, as first layers often are. A row of im2col is
// then a handful of floats, so its transpose is made instead: tap by tap, whole rows of the image moved sideways.
type thinConv struct{ conv }

// newThinConv returns the layer for a convolution, nil if it is not of this kind.
func newThinConv(l *conv) layer {
	if l.channels != 1 || l.window.StrideW != 1 {
		return nil
	}
	size := l.window.OutH * l.window.OutW
	l.strip = size
	l.scratchForward = size * l.taps
	l.scratchBackward = l.scratchForward + l.taps*l.filters
	return &thinConv{*l}
}

// columns writes the transpose of im2col of one image, [taps, output pixels].
func (l *thinConv) columns(col, x []float32) {
	w := &l.window
	for ky := range w.KH {
		for kx := range w.KW {
			row := col[(ky*w.KW+kx)*w.OutH*w.OutW:]
			shift := kx*w.DilationW - w.PadLeft // from output to input column
			from, to := min(max(-shift, 0), w.OutW), max(min(w.InW-shift, w.OutW), 0)
			for oy := range w.OutH {
				line := row[oy*w.OutW : (oy+1)*w.OutW]
				iy := oy*w.StrideH - w.PadTop + ky*w.DilationH
				if iy < 0 || iy >= w.InH || from >= to {
					clear(line)
					continue
				}
				clear(line[:from])
				copy(line[from:to], x[iy*w.InW+from+shift:])
				clear(line[to:])
			}
		}
	}
}

func (l *thinConv) forward(e *Exec) {
	x, y, col, bias := e.value(l.in[0]), e.result(&l.node, 0), e.forward[l.index], e.bias(&l.node, 2)
	size := l.window.InH * l.window.InW
	for first := 0; first < l.pixels; first += l.strip {
		l.columns(col, x[first/l.strip*size:])
		kernel.Gemm(&e.scratch, l.strip, l.filters, l.taps, col, 1, l.strip, l.transposed, l.filters, y[first*l.filters:], l.filters, false)
		e.finish(&l.node, bias, l.filters, l.bounds, first*l.filters, (first+l.strip)*l.filters)
	}
}

func (l *thinConv) backward(e *Exec, g *Grads) {
	dy := e.unfinish(g, &l.node, 2, l.filters, l.bounds)
	x, w := e.value(l.in[0]), e.value(l.in[1])
	dw, _ := e.gradientOf(g, &l.node, 1)
	dx, add := e.gradientOf(g, &l.node, 0)
	col, sum := e.backward[l.index][:l.scratchForward], e.backward[l.index][l.scratchForward:]
	size := l.window.InH * l.window.InW
	if dx != nil && !add {
		clear(dx)
	}
	for first := 0; first < l.pixels; first += l.strip {
		image := first / l.strip
		if dw != nil {
			l.columns(col, x[image*size:])
			kernel.Gemm(&e.scratch, l.taps, l.filters, l.strip, col, l.strip, 1, dy[first*l.filters:], l.filters, sum, l.filters, image > 0)
		}
		if dx != nil {
			kernel.Gemm(&e.scratch, l.strip, l.taps, l.filters, dy[first*l.filters:], l.filters, 1, w, l.taps, col, l.taps, false)
			kernel.Col2im(dx[image*size:(image+1)*size], col, l.window, 1, 0, l.strip)
		}
	}
	if dw != nil { // summed up as [taps, filters]
		for k := range l.taps {
			for o := range l.filters {
				dw[o*l.taps+k] += sum[k*l.filters+o]
			}
		}
	}
}
