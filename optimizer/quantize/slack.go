package quantize

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// floatSlack is how far, in codes, float32 sums may be from exact ones.
const floatSlack = 2e-3

// slack returns, by output channel (or one for all), how much further than half a code the int8 kernel of a node may be from the
// exact result. A kernel multiplies its accumulator by m = q·2^−s, q in [½, 1): first by q, rounded to a fraction 2^−s of a code,
// then by 2^−s, rounded to a code. The first rounding moves a value by at most 2^−(s+1), which counts where it carries it over a
// rounding boundary. slack is nil for operators whose simulation rounds as the kernel does, or that only move values.
func slack(g *ir.Graph, n *ir.Node) []float64 {
	scale := func(t *ir.Tensor) float64 { return float64(t.Quant.Scale[0]) }
	out := scale(g.Output(n, 0))
	switch r := ruleOf(n); {
	case r.kind == weighted:
		in, weight := scale(g.Input(n, r.input)), g.Input(n, r.weight).Quant.Scale
		list := make([]float64, len(weight))
		for c, s := range weight {
			list[c] = twice(in*float64(s)/out, 0)
		}
		return list
	case n.Op == schema.BuiltinOperatorMUL:
		return []float64{twice(scale(g.Input(n, 0))*scale(g.Input(n, 1))/out, 0)}
	case n.Op == schema.BuiltinOperatorMEAN:
		count := g.Numel(n.Inputs[0]) / max(g.Numel(n.Outputs[0]), 1)
		return []float64{twice(scale(g.Input(n, 0))/out, int(math.Log2(float64(max(count, 1)))))}
	case n.Op == schema.BuiltinOperatorPRELU:
		in := scale(g.Input(n, 0)) / out
		return []float64{max(twice(in, 0), twice(in*scale(g.Input(n, 1)), 0))}
	case n.Op == schema.BuiltinOperatorLEAKY_RELU:
		in := scale(g.Input(n, 0)) / out
		return []float64{max(twice(in, 0), twice(in*math.Abs(float64(n.Attr.(ir.LeakyRelu).Alpha)), 0))}
	case r.kind == same || n.Op == schema.BuiltinOperatorHARD_SWISH:
		return nil
	default:
		return []float64{twice(scale(g.Input(n, 0))/out, 0)}
	}
}

// twice is the slack of a multiplication by m whose shift to the right is larger by extra.
func twice(m float64, extra int) float64 {
	_, exponent := math.Frexp(m)
	if shift := extra - exponent; shift > 0 {
		return floatSlack + math.Ldexp(1, -shift-1)
	}
	return floatSlack
}
