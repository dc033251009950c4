package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// quantize rounds real values to codes, halves away from zero, and clamps them. Not-a-number becomes the zero point.
func quantize(dst []int8, x []float32, scale float32, zero int32) {
	lo, hi := float32(-128-zero), float32(127-zero)
	for i, v := range x {
		dst[i] = int8(round(v/scale, lo, hi) + zero)
	}
}

// quantize16 is quantize to int16.
func quantize16(dst []int16, x []float32, scale float32) {
	for i, v := range x {
		dst[i] = int16(round(v/scale, math.MinInt16, math.MaxInt16))
	}
}

// round rounds to the nearest of the integers from lo to hi, halves away from zero; of not-a-number it is 0. It is
// math.Round without branches on the number: a half more is exact in float64.
func round(x, lo, hi float32) int32 {
	switch {
	case x < lo:
		return int32(lo)
	case x > hi:
		return int32(hi)
	case x != x:
		return 0
	}
	return int32(float64(x) + math.Copysign(0.5, float64(x)))
}

// dequantize returns the real values of codes.
func dequantize[T int8 | int16](dst []float32, q []T, scale float32, zero int32) {
	for i, code := range q {
		dst[i] = float32(scale * float32(int32(code)-zero))
	}
}

// QUANTIZE: from float32, or from one int8 or int16 quantization to another, or to int32.
func buildQuantize(c *compiler) (runner, error) {
	if c.in(0).Type == schema.TensorTypeINT16 && c.out(0).Type == schema.TensorTypeINT32 {
		return c.widen()
	}
	out, err := c.quantOf(c.out(0))
	if err != nil {
		return nil, err
	}
	in := c.in(0)
	if in.Type == schema.TensorTypeFLOAT32 {
		return &quantizeKernel{in.Index, c.n.Outputs[0], out}, nil
	}
	from, err := c.quantOf(in)
	if err != nil {
		return nil, err
	}
	m := newMultiplier(float64(from.scale) / float64(out.scale))
	switch {
	case from.wide && out.wide:
		return &requantize[int16]{in.Index, c.n.Outputs[0], m, out}, nil
	case from.wide:
		return &requantize[int8]{in.Index, c.n.Outputs[0], m, out}, nil
	case out.wide:
		return nil, c.unsupported("no runtime but TFLM goes from int8 to int16 at once: put a DEQUANTIZE between")
	default:
		return newTable(c, func(code int8) int8 {
			return clamp(m.of(int32(code)-from.zero)+out.zero, -128, 127)
		}), nil
	}
}

// requantize is QUANTIZE from int16.
type requantize[T int8 | int16] struct {
	in, out int
	multiplier
	quant
}

func (k *requantize[T]) run(m *memory) error {
	x, y := m.int16s(k.in), view[T](m.bytes[k.out])
	lo, hi := k.limits()
	if k.shift > 0 || k.shift <= -31 {
		for i, v := range x {
			y[i] = T(min(max(k.of(int32(v))+k.zero, lo), hi))
		}
		return nil
	}
	// As of, whose products of 16 bits do not saturate, in one shift: products are in units of 2⁻³¹, and halves below zero go down.
	value, zero, right := int64(k.value), int64(k.zero), uint(-k.shift)&31
	half, below := int64(1)<<right>>1<<31, int64(1)<<31
	if right == 0 { // there are no halves
		below = 0
	}
	for i, v := range x {
		product := int64(v)*value + 1<<30
		y[i] = T(min(max((product+half-product>>63&below)>>(31+right)+zero, int64(lo)), int64(hi)))
	}
	return nil
}

type quantizeKernel struct {
	in, out int
	quant
}

func (k *quantizeKernel) run(m *memory) error {
	if k.wide {
		quantize16(m.int16s(k.out), m.float32s(k.in), k.scale)
	} else {
		quantize(m.int8s(k.out), m.float32s(k.in), k.scale, k.zero)
	}
	return nil
}

// DEQUANTIZE: int8 or int16 to float32.
func buildDequantize(c *compiler) (runner, error) {
	in, err := c.quant(c.in(0))
	if err != nil {
		return nil, err
	}
	if t := c.out(0); t.Type != schema.TensorTypeFLOAT32 {
		return nil, c.unsupported("%s is %s, want FLOAT32", t, t.Type)
	}
	return &dequantizeKernel{c.n.Inputs[0], c.n.Outputs[0], in}, nil
}

type dequantizeKernel struct {
	in, out int
	quant
}

func (k *dequantizeKernel) run(m *memory) error {
	if k.wide {
		dequantize(m.float32s(k.out), m.int16s(k.in), k.scale, 0)
	} else {
		dequantize(m.float32s(k.out), m.int8s(k.in), k.scale, k.zero)
	}
	return nil
}

// widenKernel is QUANTIZE from int16 to int32, as networks end in whose outputs are read as integers.
type widenKernel struct {
	in, out int
	multiplier
	from, to int32 // zero points
}

func (c *compiler) widen() (runner, error) {
	in, out := c.in(0), c.out(0)
	from, zeroIn, okIn := in.PerTensor()
	to, zeroOut, okOut := out.PerTensor()
	if !okIn || !okOut || !(from > 0) || !(to > 0) {
		return nil, c.unsupported("%s or %s has no single scale", in, out)
	}
	return &widenKernel{in.Index, out.Index, newMultiplier(float64(from) / float64(to)), zeroIn, zeroOut}, nil
}

func (k *widenKernel) run(m *memory) error {
	y := m.int32s(k.out)
	for i, v := range m.int16s(k.in) {
		y[i] = saturate(int64(k.of(int32(v)-k.from)) + int64(k.to))
	}
	return nil
}
