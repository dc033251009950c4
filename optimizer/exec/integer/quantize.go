package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// quantize rounds real values to codes, halves away from zero, and clamps them. Not-a-number becomes the zero point.
func quantize(dst []int8, x []float32, scale float32, zero int32) {
	for i, v := range x {
		code := math.Round(float64(v / scale))
		if code != code {
			code = 0
		}
		dst[i] = clamp(int32(min(max(code, -1<<24), 1<<24))+zero, -128, 127)
	}
}

// quantize16 is quantize to int16.
func quantize16(dst []int16, x []float32, scale float32) {
	for i, v := range x {
		code := math.Round(float64(v / scale))
		if code != code {
			code = 0
		}
		dst[i] = int16(min(max(code, math.MinInt16), math.MaxInt16))
	}
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
		return newElementwise(c, func(code int16) int16 { return clamp16(m.of(int32(code)), math.MinInt16, math.MaxInt16) }), nil
	case from.wide:
		return &narrowKernel{in.Index, c.n.Outputs[0], m, out.zero}, nil
	case out.wide:
		return nil, c.unsupported("no runtime but TFLM goes from int8 to int16 at once: put a DEQUANTIZE between")
	default:
		return newTable(c, func(code int8) int8 {
			return clamp(m.of(int32(code)-from.zero)+out.zero, -128, 127)
		}), nil
	}
}

// narrowKernel is QUANTIZE from int16 to int8.
type narrowKernel struct {
	in, out int
	multiplier
	zero int32
}

func (k *narrowKernel) run(m *memory) error {
	y := m.int8s(k.out)
	for i, v := range m.int16s(k.in) {
		y[i] = clamp(k.of(int32(v))+k.zero, -128, 127)
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
