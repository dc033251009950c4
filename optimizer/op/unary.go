package op

import "espalier.dev/espalier/optimizer/tflite/schema"

const (
	flat        = "its gradient is zero"
	noKernel    = "LiteRT has no int8 kernel"
	someRuntime = "its int8 kernel exists in some runtimes only"

	normalizeByBatch = "normalize by batch normalization, which is folded into weights"
	roundOutside     = "round before or behind the network"
	computeOutside   = "compute it before or behind the network"
	computeBefore    = "compute it before the network, or as a constant"
)

// unaries treat every element alike.
var unaries = []*Op{
	{
		Code: schema.BuiltinOperatorRELU, Int16: wide(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Free},
		Version: int8In(0, 2), Since: []string{"1.5.0", "2.1.0", "2.5.0"},
	},
	{
		Code: schema.BuiltinOperatorRELU6, Int16: wide(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Free},
		Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0", "2.5.0"},
	},
	{Code: schema.BuiltinOperatorRELU_N1_TO_1, Inputs: []Slot{Data}, Int8: Int8{Rule: Free}, Since: []string{"1.5.0"}},
	{Code: schema.BuiltinOperatorRELU_0_TO_1, Inputs: []Slot{Data}, Int8: Int8{Why: someRuntime, Instead: "build the network with MAXIMUM and MINIMUM in its place"}, Since: []string{"2.10.0"}},
	{
		Code: schema.BuiltinOperatorLEAKY_RELU, Int16: wide(2), Inputs: []Slot{Data},
		Int8: Int8{Rule: Free, Factors: func(s *Scales) []Factor {
			in := s.Inputs[0] / s.Output
			return larger(Factor{M: in}, Factor{M: in * max(s.Alpha, -s.Alpha)})
		}},
		Since: []string{"1.13.1", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorLOGISTIC, Int16: wideUnit(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Fixed, Output: probability},
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorTANH, Int16: wideUnit(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Fixed, Output: unitInterval},
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0", "2.3.0"},
	},
	{Code: schema.BuiltinOperatorHARD_SWISH, Inputs: []Slot{Data}, Int8: Int8{Rule: Free, Exact: true}, Since: []string{"1.15.0"}},
	{
		Code: schema.BuiltinOperatorGELU, Int16: wideTable(2, 0.8), Inputs: []Slot{Data}, Int8: Int8{Rule: Free},
		Version: int8In(0, 2), Since: []string{"2.9.0", "2.9.0"},
	},
	{Code: schema.BuiltinOperatorELU, Inputs: []Slot{Data}, Int8: Int8{Why: someRuntime, Instead: "build the network with RELU in its place"}, Since: []string{"1.14.0"}},
	{
		Code: schema.BuiltinOperatorABS, Int16: wide(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Free},
		Version: firstOf(form{5, typed(0, i32)}, form{2, typed(0, i8)}), Since: []string{"1.13.0", "2.4.0", "2.5.0", "2.6.0", "2.12.0"},
	},
	{Code: schema.BuiltinOperatorNEG, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: "multiply by -1 (MUL)"}, Since: []string{"1.9.0"}},
	{
		Code: schema.BuiltinOperatorSQRT, Inputs: []Slot{Data}, Int8: Int8{Why: someRuntime, Instead: normalizeByBatch + ", or compute the root behind the network"},
		Version: int8In(0, 2), Since: []string{"1.10.0", "2.21.0"},
	},
	{
		Code: schema.BuiltinOperatorRSQRT, Inputs: []Slot{Data}, Int8: Int8{Why: "its int8 kernel stops at inputs that rounding to a code can produce", Instead: normalizeByBatch},
		Version: int8In(0, 2), Since: []string{"1.10.0", "2.5.0", "2.15.0"},
	},
	{
		Code: schema.BuiltinOperatorEXP, Inputs: []Slot{Data}, Int8: Int8{Why: someRuntime, Instead: "build the network with LOGISTIC in its place, with RELU in place of a softplus"},
		Version: int8In(0, 2), Since: []string{"1.7.0", "2.12.0"},
	},
	{
		Code: schema.BuiltinOperatorLOG, Inputs: []Slot{Data}, Int8: Int8{Why: someRuntime, Instead: "take logarithms before or behind the network, and RELU in place of a softplus"},
		Version: int8In(0, 2), Since: []string{"1.14.0", "2.15.0"},
	},
	{Code: schema.BuiltinOperatorSQUARE, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: "multiply the value with itself (MUL)"}, Since: []string{"1.12.0"}},
	{Code: schema.BuiltinOperatorSIN, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: computeBefore}, Since: []string{"1.9.0"}},
	{Code: schema.BuiltinOperatorCOS, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: computeBefore}, Since: []string{"1.14.0"}},
	{Code: schema.BuiltinOperatorFLOOR, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: roundOutside}, NoGradient: flat, Since: []string{"1.9.0"}},
	{Code: schema.BuiltinOperatorCEIL, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: roundOutside}, NoGradient: flat, Since: []string{"1.14.0"}},
	{Code: schema.BuiltinOperatorROUND, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: roundOutside}, NoGradient: flat, Since: []string{"1.14.0"}},
	{
		Code: schema.BuiltinOperatorSIGN, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: "build the network with TANH of a multiple in its place"}, NoGradient: flat,
		Version: firstOf(form{2, typed(0, i32)}), Since: []string{"2.11.0", "2.12.0"},
	},
}
