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
		lo, _ := out.limits()
		least := float32(float32(lo-out.zero) * out.scale)
		return func(x float32) float32 {
			if x <= 0 {
				return least
			}
			return float32(math.Log(float64(x)))
		}
	case schema.BuiltinOperatorRSQRT: // of int16
		most := float32(math.MaxInt16 * out.scale)
		return func(x float32) float32 {
			if x <= 0 {
				return most
			}
			return 1 / float32(math.Sqrt(float64(x)))
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

// buildFunction16 is GELU, EXP, LOG and RSQRT of int16: straight pieces between codes.
func buildFunction16(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	f := c.function(out)
	inverse := 65536 / (float32(out.scale*math.MaxInt16) - float32(out.scale*math.MinInt16))
	t := newLookup(float64(float32(in.scale*math.MinInt16)), float64(float32(in.scale*math.MaxInt16)), float64(inverse), single, func(x float64) float64 {
		return float64(f(float32(x)))
	})
	return newElementwise(c, t.at), nil
}

// single and double round to the width of a float32, and not.
func single(x float64) float64 { return float64(float32(x)) }
func double(x float64) float64 { return x }

// sigmoids are 1/(1+e^(−i/24)) in Q16, moved by half of what a straight line to the next would be off in its middle.
var sigmoids = func() (t [256]uint32) {
	f := func(x float64) float64 { return 65536 / (1 + math.Exp(-x/24)) }
	for i := range t {
		x := float64(i)
		t[i] = uint32(min(math.Round(f(x)-((f(x)+f(x+1))/2-f(x+0.5))/2), 65535))
	}
	t[255] = 65535
	return t
}()

// buildSigmoid16 is LOGISTIC and TANH of int16: straight pieces of the logistic function; tanh x = 2σ(2x) − 1.
func buildSigmoid16(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.fixedOutput(out, 1.0/(1<<15), 0); err != nil {
		return nil, err
	}
	f, most := logistic16, 0
	if c.n.Op == schema.BuiltinOperatorTANH {
		f, most = tanh16, 1
	}
	// Codes are brought to 3·4096 a unit.
	if power := math.Ilogb(float64(in.scale)) + 12; powerOfTwo(in.scale) && power >= 0 && power <= most {
		return newElementwise(c, func(code int16) int16 { return f(int32(code) * 3 << power) }), nil
	}
	real, shift := float64(in.scale)*4096*3, 0
	for real <= 32767.0/2 && shift <= 30 {
		real *= 2
		shift++
	}
	factor, round := int32(real), int32(0)
	if shift > 0 {
		round = 1 << (shift - 1)
	}
	return newElementwise(c, func(code int16) int16 { return f((int32(code)*factor + round) >> shift) }), nil
}

// logistic16 takes 3·4096 a unit and gives Q15.
func logistic16(x int32) int16 {
	result := uint32(32767 << 10)
	magnitude := uint32(max(x, -x))
	if i := magnitude >> 9; i < 255 {
		result = sigmoids[i]<<9 + magnitude&0x1ff*(sigmoids[i+1]-sigmoids[i])
	}
	if x >= 0 {
		result += 1 << 9
	} else {
		result = 1<<25 - result + 1<<9 - 1
	}
	return int16(result >> 10)
}

// tanh16 takes 3·4096 a unit and gives Q15.
func tanh16(x int32) int16 {
	result := int32(65535 << 8)
	magnitude := uint32(max(x, -x))
	if i := magnitude >> 8; i < 255 {
		result = int32(sigmoids[i]<<8 + magnitude&0xff*(sigmoids[i+1]-sigmoids[i]))
	}
	if x >= 0 {
		result += -1<<23 + 1<<7
	} else {
		result = -result + 1<<23 + 1<<7 - 1
	}
	return int16(result >> 8)
}
