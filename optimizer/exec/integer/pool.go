package integer

import (
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// poolKernel is AVERAGE_POOL_2D or MAX_POOL_2D over NHWC: pixels outside the image take no part.
type poolKernel struct {
	ir.Window
	in, out         int
	batch, channels int
	lo, hi          int32
	average         bool
	offset          int32 // of codes, whose average is rounded: 128 where the file has them as uint8, whose halves are all rounded up
}

func (c *compiler) newPool(average bool) (*poolKernel, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.sameQuant(in, out); err != nil {
		return nil, err
	}
	attr, shape := c.n.Attr.(ir.Pool), c.in(0).Shape
	k := &poolKernel{Window: attr.Window, in: c.n.Inputs[0], out: c.n.Outputs[0], batch: shape[0], channels: shape[3], average: average}
	k.lo, k.hi = out.bounds(attr.Act)
	if c.g.Model.Unsigned {
		k.offset = 128
	}
	c.work.need(0, k.channels)
	return k, nil
}

func buildPool(average bool) builder {
	return func(c *compiler) (runner, error) {
		k, err := c.newPool(average)
		if err != nil {
			return nil, err
		}
		if mean := k.asProduct(c); mean != nil {
			return mean, nil
		}
		return k, nil
	}
}

// pool16 is a poolKernel on int16.
type pool16 struct{ *poolKernel }

func buildPool16(average bool) builder {
	return func(c *compiler) (runner, error) {
		k, err := c.newPool(average)
		return pool16{k}, err
	}
}

func (k pool16) run(m *memory) error {
	pool(k.poolKernel, m.int16s(k.out), m.int16s(k.in), m.work32[:k.channels])
	return nil
}

// averageProduct is an AVERAGE_POOL_2D as package kernel computes it: a depthwise convolution whose weights are 1.
type averageProduct struct {
	*poolKernel
	packed *kernel.Int8Depthwise
}

// asProduct returns an average over windows that lie inside the image as an averageProduct; nil for anything else.
func (k *poolKernel) asProduct(c *compiler) runner {
	w, count := k.Window, k.KH*k.KW
	inside := w.PadTop == 0 && w.PadLeft == 0 && (w.OutH-1)*w.StrideH+w.KH <= w.InH && (w.OutW-1)*w.StrideW+w.KW <= w.InW
	if c.reference || !k.average || !inside || count > 1<<12 || !paddable(w, k.channels) {
		return nil
	}
	w.DilationH, w.DilationW = 1, 1
	share := 1 / float64(count)
	for sum := int32(0); sum <= (128+k.offset)*int32(count); sum++ { // for negative sums it is the same
		if int32(math.Round(float64(sum)*share)) != mean(sum, int32(count)) {
			return nil
		}
	}
	q := kernel.Requant{Bias: make([]int32, k.channels), Real: slices.Repeat([]float64{share}, k.channels), InputZero: -k.offset, Zero: -k.offset, Min: k.lo, Max: k.hi}
	ones := slices.Repeat([]int8{1}, count*k.channels)
	return &averageProduct{k, kernel.NewInt8Depthwise(ones, kernel.Window(w), k.channels, 1, q)}
}

func (k *averageProduct) run(m *memory) error {
	x, y := m.int8s(k.in), m.int8s(k.out)
	in, out := k.InH*k.InW*k.channels, k.OutH*k.OutW*k.channels
	for b := range k.batch {
		k.packed.Run(&m.scratch, y[b*out:(b+1)*out], x[b*in:(b+1)*in])
	}
	return nil
}

// mean is a sum divided by a count, rounded to nearest, halves away from zero.
func mean(sum, count int32) int32 {
	if sum > 0 {
		return (sum + count/2) / count
	}
	return (sum - count/2) / count
}

func (k *poolKernel) run(m *memory) error {
	pool(k, m.int8s(k.out), m.int8s(k.in), m.work32[:k.channels])
	return nil
}

// pool computes all of y.
func pool[T int8 | int16](k *poolKernel, y, x []T, total []int32) {
	for b := range k.batch {
		image := x[b*k.InH*k.InW*k.channels:][:k.InH*k.InW*k.channels]
		for oy := range k.OutH {
			for ox := range k.OutW {
				poolPixel(k, y[:k.channels], total, image, oy, ox)
				y = y[k.channels:]
			}
		}
	}
}

// poolPixel computes one output pixel.
func poolPixel[T int8 | int16](k *poolKernel, y []T, total []int32, image []T, oy, ox int) {
	for c := range total {
		total[c] = math.MinInt16
		if k.average {
			total[c] = 0
		}
	}
	count := int32(0)
	top, left := oy*k.StrideH-k.PadTop, ox*k.StrideW-k.PadLeft
	for iy := max(top, 0); iy < min(top+k.KH, k.InH); iy++ {
		for ix := max(left, 0); ix < min(left+k.KW, k.InW); ix++ {
			count++
			row := image[(iy*k.InW+ix)*k.channels:][:len(total)]
			if k.average {
				for c, v := range row {
					total[c] += int32(v)
				}
			} else {
				for c, v := range row {
					total[c] = max(total[c], int32(v))
				}
			}
		}
	}
	for c, v := range total {
		if k.average && count > 0 {
			v = mean(v+k.offset*count, count) - k.offset
		}
		y[c] = T(min(max(v, k.lo), k.hi))
	}
}
