package float

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// dense is a layer that is a matrix product of rows [rows, taps] and weights [outputs, taps]: FULLY_CONNECTED and 1×1
// convolutions of stride 1.
type dense struct {
	node
	bounds
	rows, taps, outputs int
	slot                int       // of the weights
	transposed          []float32 // weights as [taps, outputs]; nil: they are no constant
}

func buildFullyConnected(s *site) (layer, error) {
	attr := s.o.Attr.(ir.FullyConnected)
	return newDense(s.node, s.net, attr.Rows, attr.In, attr.Out, boundsOf(attr.Act)), nil
}

func buildConv(s *site) (layer, error) { return newConv(s.node, s.net, s.g, s.o.Attr.(ir.Conv)), nil }

func newDense(n node, net *Network, rows, taps, outputs int, b bounds) layer {
	n.fused, n.usesIn, n.usesOut = true, true, true
	l := &dense{node: n, bounds: b, rows: rows, taps: taps, outputs: outputs, slot: 1}
	if c := net.constants[n.in[1]]; c != nil {
		l.transposed = c.transposed(1, outputs, taps)
	} else {
		l.scratchForward = taps * outputs
	}
	return l
}

func (l *dense) forward(e *Exec) {
	w := l.transposed
	if w == nil {
		w = e.forward[l.index]
		kernel.Transpose(w, e.value(l.in[1]), l.outputs, l.taps)
	}
	kernel.Gemm(&e.scratch, l.rows, l.outputs, l.taps, e.value(l.in[0]), l.taps, 1, w, l.outputs, e.result(&l.node, 0), l.outputs, false)
	e.finish(&l.node, e.bias(&l.node, 2), l.outputs, l.bounds, 0, l.rows*l.outputs)
}

func (l *dense) backward(e *Exec, g *Grads) {
	dy := e.unfinish(g, &l.node, 2, l.outputs, l.bounds)
	if dw, add := e.gradientOf(g, &l.node, 1); dw != nil {
		kernel.Gemm(&e.scratch, l.outputs, l.taps, l.rows, dy, 1, l.outputs, e.value(l.in[0]), l.taps, dw, l.taps, add)
	}
	if dx, add := e.gradientOf(g, &l.node, 0); dx != nil {
		kernel.Gemm(&e.scratch, l.rows, l.taps, l.outputs, dy, l.outputs, 1, e.value(l.in[1]), l.taps, dx, l.taps, add)
	}
}

// bias returns the values of a bias, nil if there is none.
func (e *Exec) bias(n *node, slot int) []float32 {
	if t := n.input(slot); t >= 0 {
		return e.values[t]
	}
	return nil
}

// conv is CONV_2D by im2col, in strips of output pixels that fit the cache.
type conv struct {
	node
	bounds
	window        kernel.Window
	channels      int // of the input
	filters       int // channels of the output
	groups        int
	taps          int // of one group: height·width·inputs of the group
	parts         []part
	pixels, strip int       // output pixels of the batch, and at a time
	transposed    []float32 // by group: [taps, outputs]
}

// part is one of the matrix products a convolution consists of: the only one, or where there are groups, one for each group and
// kernel position.
type part struct {
	filters, first int // number of the group's outputs, and the first of them
	width, tap     int // number of taps, and the first of them among the group's
	column         int // where they lie in a row of im2col
	weights        int // where they lie in transposed
}

// partsOf lists the products of a convolution.
func partsOf(groups, positions, taps, filters int) []part {
	if groups == 1 {
		positions = 1
	}
	width, filters := taps/positions, filters/groups
	var list []part
	for k := range groups {
		for p := range positions {
			list = append(list, part{
				filters: filters, first: k * filters, width: width, tap: p * width, column: (p*groups + k) * width,
				weights: (k*taps + p*width) * filters,
			})
		}
	}
	return list
}

// columns is the size of a strip of im2col in floats: a quarter of a 512 KB L2 cache.
const columns = 32 << 10

func newConv(n node, net *Network, g *ir.Graph, attr ir.Conv) layer {
	x, w := g.Tensors[n.in[0]].Shape, g.Tensors[n.in[1]].Shape
	b := boundsOf(attr.Act)
	if attr.Groups == 1 && w[1] == 1 && w[2] == 1 && attr.StrideH == 1 && attr.StrideW == 1 {
		return newDense(n, net, x[0]*x[1]*x[2], w[3], w[0], b)
	}
	n.fused, n.usesIn, n.usesOut = true, true, true
	l := &conv{
		node: n, bounds: b, window: kernel.Window(attr.Window), channels: x[3], filters: w[0], groups: attr.Groups,
		taps: w[1] * w[2] * w[3], pixels: x[0] * attr.OutH * attr.OutW,
	}
	l.parts = partsOf(l.groups, w[1]*w[2], l.taps, l.filters)
	l.strip = min(max(columns/l.row()/12*12, 12), l.pixels)
	l.transposed = net.constants[n.in[1]].transposed(l.groups, l.filters/l.groups, l.taps)
	l.scratchForward = l.strip * l.row()
	l.scratchBackward = 2 * l.scratchForward
	if thin := newThinConv(l); thin != nil {
		return thin
	}
	return l
}

// row is the length of a row of im2col: the inputs of one output pixel.
func (l *conv) row() int { return l.taps * l.groups }

// images calls f for the part of every image that a strip covers: image, first pixel in the image, number of pixels, offset of
// the part's rows in the strip.
func (l *conv) images(first, count int, f func(image, pixel, count, row int)) {
	size := l.window.OutH * l.window.OutW
	for row := 0; row < count; {
		image, pixel := (first+row)/size, (first+row)%size
		part := min(count-row, size-pixel)
		f(image, pixel, part, row)
		row += part
	}
}

// im2col writes the inputs of count output pixels to col.
func (l *conv) im2col(col, x []float32, first, count int) {
	size := l.window.InH * l.window.InW * l.channels
	l.images(first, count, func(image, pixel, part, row int) {
		kernel.Im2col(col[row*l.row():], x[image*size:(image+1)*size], l.window, l.channels, pixel, part)
	})
}

func (l *conv) forward(e *Exec) {
	x, y, col, bias := e.value(l.in[0]), e.result(&l.node, 0), e.forward[l.index], e.bias(&l.node, 2)
	for first := 0; first < l.pixels; first += l.strip {
		count := min(l.strip, l.pixels-first)
		l.im2col(col, x, first, count)
		for _, p := range l.parts {
			kernel.Gemm(&e.scratch, count, p.filters, p.width, col[p.column:], l.row(), 1, l.transposed[p.weights:], p.filters,
				y[first*l.filters+p.first:], l.filters, p.tap > 0)
		}
		e.finish(&l.node, bias, l.filters, l.bounds, first*l.filters, (first+count)*l.filters)
	}
}

func (l *conv) backward(e *Exec, g *Grads) {
	dy := e.unfinish(g, &l.node, 2, l.filters, l.bounds)
	x, w := e.value(l.in[0]), e.value(l.in[1])
	dw, _ := e.gradientOf(g, &l.node, 1)
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx != nil && !add {
		clear(dx)
	}
	col, dcol := e.backward[l.index][:l.scratchForward], e.backward[l.index][l.scratchForward:]
	size := l.window.InH * l.window.InW * l.channels
	for first := 0; first < l.pixels; first += l.strip {
		count := min(l.strip, l.pixels-first)
		d := dy[first*l.filters:]
		if dw != nil {
			l.im2col(col, x, first, count)
			for _, p := range l.parts {
				kernel.Gemm(&e.scratch, p.filters, p.width, count, d[p.first:], 1, l.filters, col[p.column:], l.row(),
					dw[p.first*l.taps+p.tap:], l.taps, true)
			}
		}
		if dx != nil {
			for _, p := range l.parts {
				kernel.Gemm(&e.scratch, count, p.width, p.filters, d[p.first:], l.filters, 1, w[p.first*l.taps+p.tap:], l.taps,
					dcol[p.column:], l.row(), false)
			}
			l.images(first, count, func(image, pixel, part, row int) {
				kernel.Col2im(dx[image*size:(image+1)*size], dcol[row*l.row():], l.window, l.channels, pixel, part)
			})
		}
	}
}

// depthwise is DEPTHWISE_CONV_2D, a few images at a time.
type depthwise struct {
	node
	bounds
	window               kernel.Window
	batch                int
	channels, multiplier int
}

func newDepthwise(n node, g *ir.Graph, attr ir.Conv) layer {
	x := g.Tensors[n.in[0]].Shape
	n.fused, n.usesIn, n.usesOut = true, true, true
	return &depthwise{
		node: n, bounds: boundsOf(attr.Act), window: kernel.Window(attr.Window), batch: x[0], channels: x[3], multiplier: attr.DepthMultiplier,
	}
}

// sizes are the floats of one image of the input and the output.
func (l *depthwise) sizes() (in, out int) {
	w := &l.window
	return w.InH * w.InW * l.channels, w.OutH * w.OutW * l.channels * l.multiplier
}

// few is how many images to convolve before their results are passed over again, while they are in the cache.
func (l *depthwise) few() int {
	in, out := l.sizes()
	return max(columns/max(in, out), 1)
}

func (l *depthwise) forward(e *Exec) {
	in, out := l.sizes()
	x, w, bias, y := e.value(l.in[0]), e.value(l.in[1]), e.bias(&l.node, 2), e.result(&l.node, 0)
	for from, few := 0, l.few(); from < l.batch; from += few {
		to := min(from+few, l.batch)
		kernel.DepthwiseForward(&e.scratch, y[from*out:to*out], x[from*in:to*in], w, bias, l.window, to-from, l.channels, l.multiplier)
		e.finish(&l.node, nil, l.channels*l.multiplier, l.bounds, from*out, to*out)
	}
}

func (l *depthwise) backward(e *Exec, g *Grads) {
	in, out := l.sizes()
	dy := e.unfinish(g, &l.node, 2, l.channels*l.multiplier, l.bounds)
	x, w := e.value(l.in[0]), e.value(l.in[1])
	dw, _ := e.gradientOf(g, &l.node, 1)
	dx, add := e.gradientOf(g, &l.node, 0)
	for from, few := 0, l.few(); from < l.batch; from += few {
		to := min(from+few, l.batch)
		d := dy[from*out : to*out]
		if dw != nil {
			kernel.DepthwiseBackwardWeights(&e.scratch, dw, x[from*in:to*in], d, l.window, to-from, l.channels, l.multiplier)
		}
		if dx != nil {
			kernel.DepthwiseBackwardInput(&e.scratch, dx[from*in:to*in], d, w, l.window, to-from, l.channels, l.multiplier, add)
		}
	}
}
