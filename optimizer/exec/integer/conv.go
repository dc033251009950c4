package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// convKernel is CONV_2D by the plain loop: x NHWC, weights [outputs, KH, KW, inputs of a group].
type convKernel struct {
	ir.Window
	*weights
	x, y                   int // tensors
	batch, inputs, outputs int
	groupInputs, groupOuts int // channels of x and y in a group
}

func (c *compiler) newConv() (*convKernel, error) {
	attr := c.n.Attr.(ir.Conv)
	w, err := c.newWeights(c.in(0), 1, 2, 0, attr.Act)
	if err != nil {
		return nil, err
	}
	x, filter := c.in(0).Shape, c.in(1).Shape
	return &convKernel{
		Window: attr.Window, weights: w, x: c.n.Inputs[0], y: c.n.Outputs[0],
		batch: x[0], inputs: x[3], outputs: filter[0], groupInputs: filter[3], groupOuts: filter[0] / attr.Groups,
	}, nil
}

func buildConv(c *compiler) (runner, error) {
	k, err := c.newConv()
	if err != nil {
		return nil, err
	}
	if !c.reference && k.groupInputs == k.inputs && paddable(k.Window, k.inputs) {
		if q, ok := k.requant(k.KH * k.KW * k.inputs); ok {
			return &convProduct{k, kernel.NewInt8Conv(k.w, kernel.Window(k.Window), k.inputs, q)}, nil
		}
	}
	return k, nil
}

func (k *convKernel) run(m *memory) error {
	x, y := m.int8s(k.x), m.int8s(k.y)
	for b := range k.batch {
		image := x[b*k.InH*k.InW*k.inputs:]
		for oy := range k.OutH {
			for ox := range k.OutW {
				for o := range k.outputs {
					y[0] = k.code(k.sum(image, oy, ox, o), o)
					y = y[1:]
				}
			}
		}
	}
	return nil
}

// sum is the accumulator of output o at pixel (oy, ox). Taps outside the image are zero, whatever the zero point.
func (k *convKernel) sum(image []int8, oy, ox, o int) int32 {
	acc := k.bias[o]
	first := o / k.groupOuts * k.groupInputs
	for i := range k.KH {
		iy := oy*k.StrideH - k.PadTop + i*k.DilationH
		if iy < 0 || iy >= k.InH {
			continue
		}
		for j := range k.KW {
			ix := ox*k.StrideW - k.PadLeft + j*k.DilationW
			if ix < 0 || ix >= k.InW {
				continue
			}
			pixel := image[(iy*k.InW+ix)*k.inputs+first:][:k.groupInputs]
			w := k.w[((o*k.KH+i)*k.KW+j)*k.groupInputs:][:len(pixel)]
			for c, v := range pixel {
				acc += (int32(v) - k.xZero) * (int32(w[c]) - k.wZero)
			}
		}
	}
	return acc
}

// convProduct is CONV_2D by package kernel.
type convProduct struct {
	*convKernel
	packed *kernel.Int8Conv
}

func (k *convProduct) run(m *memory) error {
	k.runRows(m, &m.scratch, 0, k.batch*k.OutH)
	return nil
}

func (k *convProduct) rows() (count, products int) {
	return k.batch * k.OutH, k.OutW * k.outputs * k.KH * k.KW * k.inputs
}

func (k *convProduct) runRows(m *memory, s *kernel.Int8Scratch, from, to int) {
	x, y := m.int8s(k.x), m.int8s(k.y)
	in, out := k.InH*k.InW*k.inputs, k.OutH*k.OutW*k.outputs
	eachImage(k.OutH, from, to, func(b, from, to int) {
		k.packed.RunRows(s, y[b*out:(b+1)*out], x[b*in:(b+1)*in], from, to)
	})
}

// eachImage calls f for every image that rows from to to−1 of a batch are part of, with its own rows.
func eachImage(height, from, to int, f func(image, from, to int)) {
	for from < to {
		b := from / height
		end := min(to, (b+1)*height)
		f(b, from-b*height, end-b*height)
		from = end
	}
}

// conv16 is CONV_2D of int16: no zero point, a sum of 64 bits.
type conv16 struct{ *convKernel }

func buildConv16(c *compiler) (runner, error) {
	k, err := c.newConv()
	if err != nil {
		return nil, err
	}
	if !c.reference && k.groupInputs == k.inputs && paddable(k.Window, k.inputs) {
		if packed := kernel.NewInt16Conv(k.w, kernel.Window(k.Window), k.outputs, k.inputs); packed != nil {
			return &windowProduct16{k.Window, k.x, k.y, k.batch, k.outputs, k.KH * k.KW * k.inputs, packed, k.rescale16(packed.Offset)}, nil
		}
	}
	return conv16{k}, nil
}

func (k conv16) run(m *memory) error {
	x, y := m.int16s(k.x), m.int16s(k.y)
	for b := range k.batch {
		image := x[b*k.InH*k.InW*k.inputs:]
		for oy := range k.OutH {
			for ox := range k.OutW {
				for o := range k.outputs {
					y[0] = k.code16(k.sum(image, oy, ox, o), o)
					y = y[1:]
				}
			}
		}
	}
	return nil
}

func (k conv16) sum(image []int16, oy, ox, o int) int64 {
	acc := k.wide[o]
	first := o / k.groupOuts * k.groupInputs
	for i := range k.KH {
		iy := oy*k.StrideH - k.PadTop + i*k.DilationH
		if iy < 0 || iy >= k.InH {
			continue
		}
		for j := range k.KW {
			ix := ox*k.StrideW - k.PadLeft + j*k.DilationW
			if ix < 0 || ix >= k.InW {
				continue
			}
			acc += dot16(image[(iy*k.InW+ix)*k.inputs+first:][:k.groupInputs], k.w[((o*k.KH+i)*k.KW+j)*k.groupInputs:])
		}
	}
	return acc
}

// dot16 is a sum of products of int16 and int8.
func dot16(x []int16, w []int8) int64 {
	acc := int64(0)
	w = w[:len(x)]
	for len(x) > 128 { // of which 32 bits hold the sum
		acc += dot16(x[:128], w[:128])
		x, w = x[128:], w[128:]
	}
	part := int32(0)
	for i, v := range x {
		part += int32(v) * int32(w[i])
	}
	return acc + int64(part)
}
