package op

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// reductions reduce along constant axes.
var reductions = []*Op{
	{
		Code: schema.BuiltinOperatorMEAN, Int16: wide(3), Inputs: []Slot{Data, Param},
		Int8: Int8{Rule: Free, Factors: func(s *Scales) []Factor {
			return []Factor{{M: s.Inputs[0] / s.Output, Extra: int(math.Log2(float64(max(s.Count, 1))))}}
		}},
		Version: int8In(0, 2), Since: []string{"1.6.0", "1.14.0", "2.4.0"},
	},
	{
		Code: schema.BuiltinOperatorSUM, Inputs: []Slot{Data, Param},
		Int8:    Int8{Why: "the int8 reference kernel of LiteRT 2.3 answers every SUM with the same code", Instead: "take MEAN, and multiply by the number of elements (MUL)"},
		Version: int8In(0, 2), Since: []string{"1.10.0", "1.15.0"},
	},
	{
		Code: schema.BuiltinOperatorREDUCE_MAX, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.11.0", "1.14.0", "2.5.0"},
	},
	{
		Code: schema.BuiltinOperatorREDUCE_MIN, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.11.0", "1.14.0", "2.5.0"},
	},
	{
		Code: schema.BuiltinOperatorREDUCE_PROD, Inputs: []Slot{Data, Param}, Int8: Int8{Why: someRuntime, Instead: "multiply one after the other (MUL)"},
		Version: int8In(0, 2), Since: []string{"1.11.0", "2.6.0"},
	},
}

// sums and truths along an axis.
var alongAxis = []*Op{
	{
		Code: schema.BuiltinOperatorREDUCE_ANY, Inputs: []Slot{Plain, Param}, Int8: Int8{Why: truth}, NoGradient: flat,
		Since: []string{"1.11.0"},
	},
	{
		Code: schema.BuiltinOperatorREDUCE_ALL, Inputs: []Slot{Plain, Param}, Int8: Int8{Why: truth}, NoGradient: flat,
		Since: []string{"2.6.0"},
	},
	{
		Code: schema.BuiltinOperatorCUMSUM, Inputs: []Slot{Data, Param}, Int8: Int8{Why: noKernel, Instead: "multiply by a constant triangle of ones (FULLY_CONNECTED)"}, Since: []string{"2.4.0"},
	},
}

// positions give the place of an extreme.
var positions = []*Op{
	{
		Code: schema.BuiltinOperatorARG_MAX, Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Reads}, NoGradient: flat,
		Version: firstOf(form{3, typed(0, flag)}, form{2, typed(0, i8)}), Since: []string{"1.9.0", "1.14.0", "2.9.0"},
	},
	{
		Code: schema.BuiltinOperatorARG_MIN, Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Reads}, NoGradient: flat,
		Version: firstOf(form{3, typed(0, flag)}, form{2, typed(0, i8)}), Since: []string{"1.9.0", "1.14.0", "2.9.0"},
	},
}
