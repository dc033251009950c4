package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// RELU, RELU6, RELU_N1_TO_1 and RELU_0_TO_1: rescaled from the input's quantization to the output's, clamped in the output's.
func buildRelu(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if c.tflm && c.n.Op == schema.BuiltinOperatorRELU6 { // TFLM clamps the input's codes and does not rescale
		zero, six := in.zero, in.code(6)
		if c.wide {
			return newElementwise(c, func(code int16) int16 { return clamp16(int32(code), zero, six) }), nil
		}
		return newTable(c, func(code int8) int8 { return clamp(int32(code), zero, six) }), nil
	}
	inf := float32(math.Inf(1))
	limits := map[schema.BuiltinOperator][2]float32{
		schema.BuiltinOperatorRELU:         {0, inf},
		schema.BuiltinOperatorRELU6:        {0, 6},
		schema.BuiltinOperatorRELU_N1_TO_1: {-1, 1},
		schema.BuiltinOperatorRELU_0_TO_1:  {0, 1},
	}[c.n.Op]
	lo, hi := out.limits()
	lo = max(lo, out.code(limits[0]))
	if limits[1] < inf {
		hi = min(hi, out.code(limits[1]))
	}
	ratio := float64(in.scale / out.scale)
	if c.tflm { // computes it of float64
		ratio = float64(in.scale) / float64(out.scale)
	}
	m := newMultiplier(ratio)
	if c.wide {
		return newElementwise(c, func(code int16) int16 { return clamp16(m.of(int32(code)), lo, hi) }), nil
	}
	return newTable(c, func(code int8) int8 {
		return clamp(out.zero+m.of(int32(code)-in.zero), lo, hi)
	}), nil
}
