package integer

import "espalier.dev/espalier/optimizer/ir"

// transposeConvKernel is TRANSPOSE_CONV: every input pixel adds its weighted taps to the outputs it reaches, then all are rescaled.
type transposeConvKernel struct {
	ir.Window
	*weights                   // w is [outputs, KH, KW, inputs]
	x, y                   int // tensors
	batch, inputs, outputs int
}

func buildTransposeConv(c *compiler) (runner, error) {
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
	c.work.need(0, k.OutH*k.OutW*k.outputs)
	return k, nil
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
	for i := range k.KH {
		oy := iy*k.StrideH - k.PadTop + i
		if oy < 0 || oy >= k.OutH {
			continue
		}
		for j := range k.KW {
			ox := ix*k.StrideW - k.PadLeft + j
			if ox < 0 || ox >= k.OutW {
				continue
			}
			for o := range k.outputs {
				sum := int32(0)
				for c, w := range k.w[((o*k.KH+i)*k.KW+j)*k.inputs:][:len(pixel)] {
					sum += (int32(pixel[c]) - k.xZero) * (int32(w) - k.wZero)
				}
				acc[(oy*k.OutW+ox)*k.outputs+o] += sum
			}
		}
	}
}
