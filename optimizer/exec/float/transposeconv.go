package float

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// transposeConv is TRANSPOSE_CONV: every input pixel adds its row times the weights to the output pixels under the kernel. It is
// the input gradient of the convolution whose window is given, so forward and backward change places with conv's.
type transposeConv struct {
	node
	bounds
	window        kernel.Window // of the convolution from output to input
	inputs        int           // channels of x
	filters       int           // channels of y
	taps          int           // height·width·outputs
	batch, pixels int           // input pixels of one image
	spread        []float32     // weights as [in, height·width·outputs]
	gathered      []float32     // weights as [height·width·outputs, in]
}

func buildTransposeConv(s *site) (layer, error) {
	return newTransposeConv(s.node, s.net, s.g, s.o.Attr.(ir.TransposeConv)), nil
}

func newTransposeConv(n node, net *Network, g *ir.Graph, attr ir.TransposeConv) layer {
	x, w := g.Tensors[n.in[2]].Shape, g.Tensors[n.in[1]].Shape
	n.fused, n.usesIn, n.usesOut = true, true, true
	back := kernel.Window(attr.Window)
	back.InH, back.InW, back.OutH, back.OutW = back.OutH, back.OutW, back.InH, back.InW
	out, kernelSize, in := w[0], w[1]*w[2], w[3]
	l := &transposeConv{
		node: n, bounds: boundsOf(attr.Act), window: back, inputs: in, filters: out, taps: kernelSize * out, batch: x[0], pixels: x[1] * x[2],
	}
	c := net.constants[n.in[1]]
	l.gathered = c.form("gathered", func(dst, src []float32) {
		for o := range out {
			for k := range kernelSize {
				copy(dst[(k*out+o)*in:(k*out+o+1)*in], src[(o*kernelSize+k)*in:])
			}
		}
	})
	l.spread = c.form("spread", func(dst, _ []float32) { kernel.Transpose(dst, l.gathered, l.taps, in) })
	l.scratchForward = l.pixels * l.taps
	l.scratchBackward = l.scratchForward + l.taps*in
	return l
}

// image returns the part of one image of x, and of y, which has the shape of the convolution's input.
func (l *transposeConv) image(x, y []float32, k int) (in, out []float32) {
	size := l.window.InH * l.window.InW * l.filters
	return x[k*l.pixels*l.inputs : (k+1)*l.pixels*l.inputs], y[k*size : (k+1)*size]
}

func (l *transposeConv) forward(e *Exec) {
	x, y, cols := e.value(l.in[2]), e.result(&l.node, 0), e.forward[l.index]
	clear(y)
	for k := range l.batch {
		in, out := l.image(x, y, k)
		kernel.Gemm(&e.scratch, l.pixels, l.taps, l.inputs, in, l.inputs, 1, l.spread, l.taps, cols, l.taps, false)
		kernel.Col2im(out, cols, l.window, l.filters, 0, l.pixels)
	}
	e.finish(&l.node, e.bias(&l.node, 3), l.filters, l.bounds, 0, len(y))
}

func (l *transposeConv) backward(e *Exec, g *Grads) {
	dy, x := e.unfinish(g, &l.node, 3, l.filters, l.bounds), e.value(l.in[2])
	dw, _ := e.gradientOf(g, &l.node, 1)
	dx, add := e.gradientOf(g, &l.node, 2)
	cols, sum := e.backward[l.index][:l.pixels*l.taps], e.backward[l.index][l.pixels*l.taps:]
	clear(sum)
	for k := range l.batch {
		in, d := l.image(x, dy, k)
		kernel.Im2col(cols, d, l.window, l.filters, 0, l.pixels)
		if dx != nil {
			kernel.Gemm(&e.scratch, l.pixels, l.inputs, l.taps, cols, l.taps, 1, l.gathered, l.inputs, dx[k*l.pixels*l.inputs:], l.inputs, add)
		}
		if dw != nil {
			kernel.Gemm(&e.scratch, l.taps, l.inputs, l.pixels, cols, 1, l.taps, in, l.inputs, sum, l.inputs, true)
		}
	}
	if dw != nil {
		kernelSize := l.taps / l.filters
		for at := range l.taps { // back from [height·width, outputs, in] to the file's [outputs, height·width, in]
			k, o := at/l.filters, at%l.filters
			kernel.Axpy(dw[(o*kernelSize+k)*l.inputs:(o*kernelSize+k+1)*l.inputs], 1, sum[at*l.inputs:(at+1)*l.inputs])
		}
	}
}
