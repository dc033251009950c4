package op

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// addFloor is why: ADD and SUB scale the sum by 2·max(input scales)/(2²⁰·output scale), which must be less than 1. Only tensors
// that hold nothing but noise come near.
const addFloor = 1.0 / (1 << 18)

// binaries combine two operands element by element.
var binaries = []*Op{
	{
		Code: schema.BuiltinOperatorADD, Int16: wide(3), Inputs: []Slot{Data}, Trains: true,
		Int8:    Int8{Rule: Free, OutputFloor: addFloor},
		Version: firstOf(form{4, typed(0, i64)}, form{2, typed(0, i8)}),
		Since:   []string{"1.5.0", "1.14.0", "2.4.0", "2.6.0", "2.13.0", "2.23.0"},
	},
	{
		Code: schema.BuiltinOperatorSUB, Int16: wide(5), Inputs: []Slot{Data}, Trains: true,
		Int8:    Int8{Rule: Free, OutputFloor: addFloor},
		Version: firstOf(form{4, typed(0, i64)}, form{3, deepBroadcast}, form{2, typed(0, i8)}),
		Since:   []string{"1.6.0", "1.14.0", "2.3.0", "2.4.0", "2.4.0"},
	},
	{
		Code: schema.BuiltinOperatorMUL, Int16: wide(4), Inputs: []Slot{Data}, Trains: true,
		Int8: Int8{Rule: Free, Factors: func(s *Scales) []Factor {
			return []Factor{{M: s.Inputs[0] * s.Inputs[1] / s.Output}}
		}},
		Version: firstOf(form{5, typed(0, i64)}, form{3, mulGrows}, form{2, typed(0, i8)}),
		Since:   []string{"1.5.0", "1.14.0", "1.15.0", "2.3.0", "2.6.0", "2.11.0", "2.13.0", "2.23.0"},
	},
	{
		Code: schema.BuiltinOperatorDIV, Inputs: []Slot{Data}, Trains: true,
		Int8:    Int8{Why: "its int8 kernel exists in some runtimes only, and stops at a divisor that rounding made zero", Instead: "multiply by the reciprocal (MUL) where the divisor is constant, else " + normalizeByBatch},
		Version: firstOf(form{2, deepBroadcast}),
		Since:   []string{"1.6.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorMINIMUM, Int16: wide(4), Inputs: []Slot{Data}, Trains: true, Int8: Int8{Rule: Same},
		Version: firstOf(form{3, deepBroadcast}, form{2, typed(0, i8)}),
		Since:   []string{"1.14.0", "1.14.0", "2.3.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorMAXIMUM, Int16: wide(4), Inputs: []Slot{Data}, Trains: true, Int8: Int8{Rule: Same},
		Version: firstOf(form{3, deepBroadcast}, form{2, typed(0, i8)}),
		Since:   []string{"1.14.0", "1.14.0", "2.3.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorSQUARED_DIFFERENCE, Inputs: []Slot{Data}, Trains: true,
		Int8: Int8{Rule: Free, Factors: func(s *Scales) []Factor {
			// The operands are rescaled to 1/128 of twice the larger scale first: a unit of that in the difference, which is at
			// most the root of what the output holds.
			unit := max(s.Inputs[0], s.Inputs[1]) / 64
			return []Factor{{M: unit * unit / s.Output, Loss: 2 * math.Sqrt(255*s.Output) * unit / s.Output}}
		}},
		Version: int8In(0, 2),
		Since:   []string{"1.13.1", "2.5.0"},
	},
	{Code: schema.BuiltinOperatorPOW, Inputs: []Slot{Data}, Trains: true, Int8: Int8{Why: noKernel, Instead: "multiply the value with itself (MUL) where the exponent is whole"}, Since: []string{"1.10.0"}},
	{
		Code: schema.BuiltinOperatorFLOOR_DIV, Inputs: []Slot{Data}, NoGradient: flat, Int8: Int8{Why: noQuantized, Instead: computeOutside},
		Version: firstOf(form{3, typed(0, i8)}, form{2, typed(0, f32)}), Since: []string{"1.14.0", "1.14.0", "2.13.0"},
	},
	{
		Code: schema.BuiltinOperatorFLOOR_MOD, Inputs: []Slot{Data}, Int8: Int8{Why: noQuantized, Instead: computeOutside},
		Version: int8In(0, 2), Since: []string{"1.13.0", "2.13.0"},
	},
	{Code: schema.BuiltinOperatorADD_N, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: "add one after the other (ADD)"}, Since: []string{"1.14.0"}},
	{
		Code: schema.BuiltinOperatorPRELU, Inputs: []Slot{Data}, Trains: true,
		Int8: Int8{Rule: Free, Factors: func(s *Scales) []Factor {
			in := s.Inputs[0] / s.Output
			return larger(Factor{M: in}, Factor{M: in * s.Inputs[1]})
		}},
		Since: []string{"1.8.0"},
	},
}

// noQuantized is why an operator whose int8 kernel takes codes for numbers stays float.
const noQuantized = "its int8 kernel takes integers, not quantized numbers"

// mulGrows is true of a MUL that rescales by 1 or more.
func mulGrows(s *Signature) bool {
	scale := func(t Tensor) float32 {
		if len(t.Scales) == 0 {
			return 0
		}
		return t.Scales[0]
	}
	if len(s.Inputs) < 2 || len(s.Outputs) < 1 {
		return false
	}
	a, b, out := scale(s.Inputs[0]), scale(s.Inputs[1]), scale(s.Outputs[0])
	return a != 0 && b != 0 && out != 0 && a*b/out >= 1
}

// larger is the one of two factors that allows for more.
func larger(a, b Factor) []Factor {
	if b.Slack() > a.Slack() {
		return []Factor{b}
	}
	return []Factor{a}
}
