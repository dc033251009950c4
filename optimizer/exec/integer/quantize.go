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

// dequantize returns the real values of codes.
func dequantize(dst []float32, q []int8, scale float32, zero int32) {
	for i, code := range q {
		dst[i] = float32(scale * float32(int32(code)-zero))
	}
}

// QUANTIZE: from float32, or from one int8 quantization to another.
func buildQuantize(c *compiler) (runner, error) {
	out, err := c.quant(c.out(0))
	if err != nil {
		return nil, err
	}
	switch in := c.in(0); in.Type {
	case schema.TensorTypeFLOAT32:
		return &quantizeKernel{in.Index, c.n.Outputs[0], out}, nil
	case schema.TensorTypeINT8:
		from, err := c.quant(in)
		if err != nil {
			return nil, err
		}
		m := newMultiplier(float64(from.scale) / float64(out.scale))
		return newTable(c, func(code int8) int8 {
			return clamp(m.of(int32(code)-from.zero)+out.zero, -128, 127)
		}), nil
	default:
		return nil, c.unsupported("%s is %s: only float32 and int8 can be quantized to int8", in, in.Type)
	}
}

type quantizeKernel struct {
	in, out int
	quant
}

func (k *quantizeKernel) run(m *memory) error {
	quantize(m.int8s(k.out), m.float32s(k.in), k.scale, k.zero)
	return nil
}

// DEQUANTIZE: int8 to float32.
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
	dequantize(m.float32s(k.out), m.int8s(k.in), k.scale, k.zero)
	return nil
}
