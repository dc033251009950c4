package integer

import "espalier.dev/espalier/optimizer/ir"

// transposeConvKernel is TRANSPOSE_CONV: every input pixel adds its weighted taps to the outputs it reaches, then all are rescaled.
type transposeConvKernel struct {
	ir.Window
	*weights                   // w is [outputs, KH, KW, inputs]
	x, y                   int // tensors
	batch, inputs, outputs int
}

func buildTransposeConv(c *compiler) (runner, error) { return c.newTransposeConv() }

func (c *compiler) newTransposeConv() (*transposeConvKernel, error) {
	attr := c.n.Attr.(ir.TransposeConv)
	w, err := c.newWeights(c.in(2), 1, 3, 0, attr.Act)
	if err != nil {
		return nil, err
	}
	x := c.in(2).Shape
	k := &transposeConvKernel{
		Window: attr.Window, weights: w, x: c.n.Inputs[2], y: c.n.Outputs[0],
		batch: x[0], inputs: x[3], outputs: len(w.bias),
	}
	if c.wide {
		c.work.needWide(k.OutH * k.OutW * k.outputs)
	} else {
		c.work.need(0, k.OutH*k.OutW*k.outputs)
	}
	return k, nil
}

// transposeConv16 is TRANSPOSE_CONV of int16: no zero point, sums of 64 bits.
type transposeConv16 struct{ *transposeConvKernel }

func buildTransposeConv16(c *compiler) (runner, error) {
	k, err := c.newTransposeConv()
	return transposeConv16{k}, err
}

func (k transposeConv16) run(m *memory) error {
	x, y := m.int16s(k.x), m.int16s(k.y)
	acc := m.work64[:k.OutH*k.OutW*k.outputs]
	for range k.batch {
		for i := range acc {
			acc[i] = k.wide[i%k.outputs]
		}
		for iy := range k.InH {
			for ix := range k.InW {
				pixel := x[(iy*k.InW+ix)*k.inputs:][:k.inputs]
				k.reach(iy, ix, func(oy, ox, tap int) {
					for o := range k.outputs {
						acc[(oy*k.OutW+ox)*k.outputs+o] += dot16(pixel, k.w[(o*k.KH*k.KW+tap)*k.inputs:])
					}
				})
			}
		}
		for i, s := range acc {
			y[i] = k.code16(s, i%k.outputs)
		}
		x, y = x[k.InH*k.InW*k.inputs:], y[len(acc):]
	}
	return nil
}

// reach calls f for every output pixel that one input pixel reaches, and by which tap.
func (k *transposeConvKernel) reach(iy, ix int, f func(oy, ox, tap int)) {
	for i := range k.KH {
		oy := iy*k.StrideH - k.PadTop + i
		if oy < 0 || oy >= k.OutH {
			continue
		}
		for j := range k.KW {
			if ox := ix*k.StrideW - k.PadLeft + j; ox >= 0 && ox < k.OutW {
				f(oy, ox, i*k.KW+j)
			}
		}
	}
}

func (k *transposeConvKernel) run(m *memory) error {
	x, y := m.int8s(k.x), m.int8s(k.y)
	acc := m.work32[:k.OutH*k.OutW*k.outputs]
	for range k.batch {
		for i := range acc {
			acc[i] = k.bias[i%k.outputs]
		}
		for iy := range k.InH {
			for ix := range k.InW {
				k.scatter(acc, x[(iy*k.InW+ix)*k.inputs:][:k.inputs], iy, ix)
			}
		}
		for i, s := range acc {
			y[i] = k.code(s, i%k.outputs)
		}
		x, y = x[k.InH*k.InW*k.inputs:], y[len(acc):]
	}
	return nil
}

// scatter adds what one input pixel gives.
func (k *transposeConvKernel) scatter(acc []int32, pixel []int8, iy, ix int) {
	k.reach(iy, ix, func(oy, ox, tap int) {
		for o := range k.outputs {
			sum := int32(0)
			for c, w := range k.w[(o*k.KH*k.KW+tap)*k.inputs:][:len(pixel)] {
				sum += (int32(pixel[c]) - k.xZero) * (int32(w) - k.wZero)
			}
			acc[(oy*k.OutW+ox)*k.outputs+o] += sum
		}
	})
}
