package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var splits = []*Op{
	{
		Code: schema.BuiltinOperatorSPLIT, Int16: wide(4), Inputs: []Slot{Param, Data}, Int8: Int8{Rule: Same},
		Version: firstOf(form{3, typed(1, i32)}, form{2, typed(1, i8)}), Since: []string{"1.5.0", "1.14.0", "1.14.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorSPLIT_V, Int16: wide(2), Inputs: []Slot{Data, Param, Param}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.13.1", "2.3.0"},
	},
}
