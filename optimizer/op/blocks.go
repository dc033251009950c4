package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var blocks = []*Op{
	{
		Code: schema.BuiltinOperatorDEPTH_TO_SPACE, Inputs: []Slot{Data}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"2.1.0", "2.5.0"},
	},
	{
		Code: schema.BuiltinOperatorSPACE_TO_DEPTH, Inputs: []Slot{Data}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0"},
	},
}
