package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var packs = []*Op{
	{
		Code: schema.BuiltinOperatorPACK, Int16: wide(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.11.0", "1.14.0", "2.3.0", "2.13.0"},
	},
	{
		Code: schema.BuiltinOperatorUNPACK, Int16: wide(4), Inputs: []Slot{Data}, Int8: Int8{Rule: Same},
		Version: firstOf(form{3, typed(0, flag)}, form{2, typed(0, i8)}), Since: []string{"1.11.0", "1.14.0", "2.2.0", "2.3.0", "2.22.0"},
	},
}
