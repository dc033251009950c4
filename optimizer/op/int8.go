package op

import "math"

// Rule says how the quantization specification constrains the tensors of an int8 operator.
type Rule uint8

const (
	// Float: a leaf has the operator in float, between DEQUANTIZE and QUANTIZE.
	Float Rule = iota
	// Free: inputs and outputs have quantizations of their own.
	Free
	// Same: every input and output of values shares one.
	Same
	// Fixed: the output's is prescribed, the input's is free.
	Fixed
	// Weighted: input and output are free; int8 weights and an int32 bias.
	Weighted
	// Reads: inputs are free, the output is no quantized number.
	Reads
	// Opaque: reads a shape, not values; takes whatever type its input has.
	Opaque
)

// Int8 is the quantization rule of an operator.
type Int8 struct {
	Rule   Rule
	Output Quant // Fixed: the prescribed output quantization
	// Why says, for rule Float, why.
	Why string
	// Instead says what to do where an operator that stays float should not: how a network is built, or what is computed around it, of operators
	// that have a quantized form on every device of the catalogue. "" of those that hold no numbers to be quantized, or are not run as they are.
	Instead string
	// Exact says that the float simulation rounds exactly as the kernel does. Operators of rule Same only move values: they
	// always do.
	Exact bool
	// Factors are the products by which the kernel rescales with two roundings; nil: input scale · weight scale / output scale
	// by channel for rule Weighted, input scale / output scale for any other.
	Factors func(*Scales) []Factor
	// InputFloor is the least scale of the input, OutputFloor the least of the output as a share of the largest input scale,
	// that the kernel's fixed-point arithmetic takes. 0: any.
	InputFloor, OutputFloor float32
}

// Quant is a per-tensor quantization.
type Quant struct {
	Scale     float32
	ZeroPoint int32
}

// The prescribed outputs. (1/256, −128) holds [0, 1), (1/128, 0) holds [−1, 1), (16/256, 127) holds [−15.9, 0].
var (
	probability    = Quant{1.0 / 256, -128}
	unitInterval   = Quant{1.0 / 128, 0}
	logProbability = Quant{16.0 / 256, 127}
)

// Scales are those of an int8 node's tensors, and what else its factors depend on.
type Scales struct {
	Inputs  []float64 // by slot, the first of each tensor; 0 where there is none
	Weights []float64 // rule Weighted: by output channel
	Data    int       // slot of the input that Weights multiply
	Output  float64
	Count   int     // elements reduced into one
	Alpha   float64 // of a LEAKY_RELU
}

// Factor is M, whose shift to the right is larger by Extra than that of M alone.
type Factor struct {
	M     float64
	Extra int
	Loss  float64 // in codes, from other roundings before
}

// FactorsOf returns what a node rescales by, one for all output channels or one for each; where a channel has several, Apart
// of them follow each other. It is nil for an operator that is exact.
func (r *Int8) FactorsOf(s *Scales) []Factor {
	switch {
	case r.Rule == Same || r.Exact:
		return nil
	case r.Factors != nil:
		return r.Factors(s)
	case r.Rule == Weighted:
		list := make([]Factor, len(s.Weights))
		for c, w := range s.Weights {
			list[c].M = s.Inputs[s.Data] * w / s.Output
		}
		return list
	default:
		return []Factor{{M: s.Inputs[0] / s.Output}}
	}
}

// floatSlack is how far, in codes, float32 sums may be from exact ones.
const floatSlack = 2e-3

// Slack is how much further than half a code a kernel that rescales by f may be from the exact result. It multiplies its
// accumulator by M = q·2^−s, q in [½, 1): first by q, rounded to a fraction 2^−s of a code, then by 2^−s, rounded to a code. The
// first rounding moves a value by at most 2^−(s+1), which counts where it carries it over a rounding boundary.
func (f Factor) Slack() float64 {
	_, exponent := math.Frexp(f.M)
	if shift := f.Extra - exponent; shift > 0 {
		return floatSlack + f.Loss + math.Ldexp(1, -shift-1)
	}
	return floatSlack + f.Loss
}
