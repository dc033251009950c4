package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// reshapes give the same values another shape.
var reshapes = []*Op{
	{Code: schema.BuiltinOperatorRESHAPE, Int16: wide(1), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same}, Since: []string{"1.5.0"}},
	{Code: schema.BuiltinOperatorSQUEEZE, Int16: wide(1), Inputs: []Slot{Data}, Int8: Int8{Rule: Same}, Since: []string{"1.6.0", "2.5.0"}},
	{Code: schema.BuiltinOperatorEXPAND_DIMS, Int16: wide(1), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same}, Since: []string{"1.10.0"}},
}

// shapes tell a shape.
var shapes = []*Op{
	{
		Code: schema.BuiltinOperatorSHAPE, Inputs: []Slot{Data}, Int8: Int8{Rule: Opaque}, Since: []string{"1.10.0"},
		NoForward: folded, NoGradient: folded,
	},
	{
		Code: schema.BuiltinOperatorRANK, Inputs: []Slot{Data}, Int8: Int8{Rule: Opaque}, Since: []string{"1.14.0"},
		NoForward: folded, NoGradient: folded,
	},
}

const folded = "it is a constant once the model is parsed"
