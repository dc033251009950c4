package kernel

import "espalier.dev/espalier/optimizer/kernel/internal/simd"

// A depthwise convolution of images: x [images, InH, InW, c], weights [KH, KW, c·mult], y [images, OutH, OutW, c·mult]; output channel o
// reads input channel o/mult. Small images are best given several at a time.

// DepthwiseForward computes y. bias [c·mult] may be nil.
func DepthwiseForward(s *Scratch, y, x, weights, bias []float32, w Window, images, c, mult int) {
	outs := c * mult
	y, x, weights = y[:images*w.OutH*w.OutW*outs], x[:images*w.InH*w.InW*c], weights[:w.KH*w.KW*outs]
	if bias != nil {
		bias = bias[:outs]
	}
	if simd.Width > 0 && len(y) > 0 {
		depthwiseForward(&s.depthwise, y, x, weights, bias, w, images, c, mult)
		return
	}
	for at := 0; at < len(y); at += outs {
		if bias != nil {
			copy(y[at:at+outs], bias)
		} else {
			clear(y[at : at+outs])
		}
	}
	visitTaps(w, images, c, outs, func(out, in, tap int) {
		for o := range outs {
			y[out+o] += x[in+o/mult] * weights[tap+o]
		}
	})
}

// DepthwiseBackwardInput computes the gradient dx of x, or adds it to dx if accumulate is set.
func DepthwiseBackwardInput(s *Scratch, dx, dy, weights []float32, w Window, images, c, mult int, accumulate bool) {
	outs := c * mult
	dy, dx, weights = dy[:images*w.OutH*w.OutW*outs], dx[:images*w.InH*w.InW*c], weights[:w.KH*w.KW*outs]
	if simd.Width > 0 && len(dx) > 0 && len(dy) > 0 {
		depthwiseBackwardInput(&s.depthwise, dx, dy, weights, w, images, c, mult, accumulate)
		return
	}
	if !accumulate {
		clear(dx)
	}
	visitTaps(w, images, c, outs, func(out, in, tap int) {
		for o := range outs {
			dx[in+o/mult] += dy[out+o] * weights[tap+o]
		}
	})
}

// DepthwiseBackwardWeights adds the gradient of the weights to dw.
func DepthwiseBackwardWeights(s *Scratch, dw, x, dy []float32, w Window, images, c, mult int) {
	outs := c * mult
	dy, x, dw = dy[:images*w.OutH*w.OutW*outs], x[:images*w.InH*w.InW*c], dw[:w.KH*w.KW*outs]
	if simd.Width > 0 && len(dy) > 0 {
		depthwiseBackwardWeights(&s.depthwise, dw, x, dy, w, images, c, mult)
		return
	}
	visitTaps(w, images, c, outs, func(out, in, tap int) {
		for o := range outs {
			dw[tap+o] += dy[out+o] * x[in+o/mult]
		}
	})
}

// visitTaps calls f for every tap inside the image of every output pixel, with the offsets of the output pixel, the input pixel
// and the tap.
func visitTaps(w Window, images, c, outs int, f func(out, in, tap int)) {
	for image := range images {
		for oy := range w.OutH {
			sy, y0, y1 := taps(oy, w.StrideH, w.PadTop, w.DilationH, w.KH, w.InH)
			for ox := range w.OutW {
				sx, x0, x1 := taps(ox, w.StrideW, w.PadLeft, w.DilationW, w.KW, w.InW)
				out := ((image*w.OutH+oy)*w.OutW + ox) * outs
				for ky := y0; ky < y1; ky++ {
					for kx := x0; kx < x1; kx++ {
						f(out, ((image*w.InH+sy+ky*w.DilationH)*w.InW+sx+kx*w.DilationW)*c, (ky*w.KW+kx)*outs)
					}
				}
			}
		}
	}
}
