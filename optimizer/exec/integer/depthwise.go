package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// depthwiseKernel is DEPTHWISE_CONV_2D: x NHWC, weights [1, KH, KW, channels·mult], output channel c of x's channel c/mult.
type depthwiseKernel struct {
	ir.Window
	*weights
	x, y                  int // tensors
	batch, channels, mult int // channels of x
}

func (c *compiler) newDepthwise() (*depthwiseKernel, error) {
	attr := c.n.Attr.(ir.Conv)
	w, err := c.newWeights(c.in(0), 1, 2, 3, attr.Act)
	if err != nil {
		return nil, err
	}
	x := c.in(0).Shape
	return &depthwiseKernel{
		Window: attr.Window, weights: w, x: c.n.Inputs[0], y: c.n.Outputs[0],
		batch: x[0], channels: x[3], mult: attr.DepthMultiplier,
	}, nil
}

func buildDepthwise(c *compiler) (runner, error) {
	k, err := c.newDepthwise()
	if err != nil {
		return nil, err
	}
	if !c.reference && paddable(k.Window, k.channels) {
		if q, ok := k.requant(k.KH * k.KW); ok {
			return &depthwiseProduct{k, kernel.NewInt8Depthwise(k.w, kernel.Window(k.Window), k.channels, k.mult, q)}, nil
		}
	}
	c.work.need(0, k.channels*k.mult)
	return k, nil
}

func (k *depthwiseKernel) run(m *memory) error {
	x, y := m.int8s(k.x), m.int8s(k.y)
	acc := m.work32[:k.channels*k.mult]
	for b := range k.batch {
		image := x[b*k.InH*k.InW*k.channels:][:k.InH*k.InW*k.channels]
		for oy := range k.OutH {
			for ox := range k.OutW {
				k.pixel(acc, image, oy, ox)
				for c, s := range acc {
					y[c] = k.code(s, c)
				}
				y = y[len(acc):]
			}
		}
	}
	return nil
}

// pixel accumulates all channels of one output pixel. Taps outside the image are zero, whatever the zero point.
func (k *depthwiseKernel) pixel(acc []int32, image []int8, oy, ox int) {
	copy(acc, k.bias)
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
			x := image[(iy*k.InW+ix)*k.channels:][:k.channels]
			w := k.w[(i*k.KW+j)*len(acc):][:len(acc)]
			if k.mult == 1 {
				for c, v := range x {
					acc[c] += (int32(v) - k.xZero) * (int32(w[c]) - k.wZero)
				}
				continue
			}
			for c := range acc {
				acc[c] += (int32(x[c/k.mult]) - k.xZero) * (int32(w[c]) - k.wZero)
			}
		}
	}
}

// depthwiseProduct is DEPTHWISE_CONV_2D by package kernel.
type depthwiseProduct struct {
	*depthwiseKernel
	packed *kernel.Int8Depthwise
}

func (k *depthwiseProduct) run(m *memory) error {
	k.runRows(m, &m.scratch, 0, k.batch*k.OutH)
	return nil
}

func (k *depthwiseProduct) rows() (count, products int) {
	return k.batch * k.OutH, k.OutW * k.channels * k.mult * k.KH * k.KW
}

func (k *depthwiseProduct) runRows(m *memory, s *kernel.Int8Scratch, from, to int) {
	x, y := m.int8s(k.x), m.int8s(k.y)
	in, out := k.InH*k.InW*k.channels, k.OutH*k.OutW*k.channels*k.mult
	eachImage(k.OutH, from, to, func(b, from, to int) {
		k.packed.RunRows(s, y[b*out:(b+1)*out], x[b*in:(b+1)*in], from, to)
	})
}

// depthwise16 is DEPTHWISE_CONV_2D of int16: no zero point, sums of 64 bits.
type depthwise16 struct{ *depthwiseKernel }

func buildDepthwise16(c *compiler) (runner, error) {
	k, err := c.newDepthwise()
	if err != nil {
		return nil, err
	}
	if !c.reference && paddable(k.Window, k.channels) {
		if packed := kernel.NewInt16Depthwise(k.w, kernel.Window(k.Window), k.channels, k.mult); packed != nil {
			return &windowProduct16{k.Window, k.x, k.y, k.batch, k.channels * k.mult, k.KH * k.KW, packed, k.rescale16(packed.Offset)}, nil
		}
	}
	c.work.needWide(k.channels * k.mult)
	return depthwise16{k}, nil
}

func (k depthwise16) run(m *memory) error {
	x, y := m.int16s(k.x), m.int16s(k.y)
	acc := m.work64[:k.channels*k.mult]
	for b := range k.batch {
		image := x[b*k.InH*k.InW*k.channels:][:k.InH*k.InW*k.channels]
		for oy := range k.OutH {
			for ox := range k.OutW {
				k.pixel(acc, image, oy, ox)
				for c, s := range acc {
					y[c] = k.code16(s, c)
				}
				y = y[len(acc):]
			}
		}
	}
	return nil
}

func (k depthwise16) pixel(acc []int64, image []int16, oy, ox int) {
	copy(acc, k.wide)
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
			x := image[(iy*k.InW+ix)*k.channels:][:k.channels]
			w := k.w[(i*k.KW+j)*len(acc):][:len(acc)]
			for c := range acc {
				acc[c] += int64(int32(x[c/k.mult]) * int32(w[c]))
			}
		}
	}
}
