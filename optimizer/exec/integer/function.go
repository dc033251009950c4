package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// LOGISTIC, TANH, ELU, GELU, EXP and LOG: the real function of each code, in float32. Every product is rounded on its own.
func buildFunction(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	f := c.function(out)
	inverse := 1 / out.scale
	return newTable(c, func(code int8) int8 {
		x := float32(in.scale * float32(int32(code)-in.zero))
		y := math.Round(float64(float32(f(x) * inverse)))
		return clamp(int32(min(max(y, -1<<24), 1<<24))+out.zero, -128, 127)
	}), nil
}

// function returns the real function of the compiler's node.
func (c *compiler) function(out quant) func(float32) float32 {
	switch c.n.Op {
	case schema.BuiltinOperatorLOGISTIC:
		return logistic
	case schema.BuiltinOperatorTANH:
		return tanh
	case schema.BuiltinOperatorELU:
		return elu
	case schema.BuiltinOperatorEXP:
		return exp
	case schema.BuiltinOperatorLOG:
		least := float32(float32(-128-out.zero) * out.scale)
		return func(x float32) float32 {
			if x <= 0 {
				return least
			}
			return float32(math.Log(float64(x)))
		}
	default: // GELU
		if c.n.Attr.(ir.Gelu).Approximate {
			return geluTanh
		}
		return gelu
	}
}

func exp(x float32) float32      { return float32(math.Exp(float64(x))) }
func tanh(x float32) float32     { return float32(math.Tanh(float64(x))) }
func logistic(x float32) float32 { return 1 / (1 + exp(-x)) }

func elu(x float32) float32 {
	if x < 0 {
		return float32(math.Expm1(float64(x)))
	}
	return x
}

func gelu(x float32) float32 {
	const minusSqrtHalf = -math.Sqrt2 / 2
	erfc := float32(math.Erfc(float64(float32(x * float32(minusSqrtHalf)))))
	return float32(float32(0.5*x) * erfc)
}

func geluTanh(x float32) float32 {
	const sqrt2OverPi = math.Sqrt2 / math.SqrtPi // √(2/π)
	cube := float32(float32(float32(0.044715*x)*x) * x)
	return float32(float32(0.5*x) * (1 + tanh(float32(float32(sqrt2OverPi)*(x+cube)))))
}
