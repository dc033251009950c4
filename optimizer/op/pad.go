package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var pads = []*Op{
	{
		Code: schema.BuiltinOperatorPAD, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(form{5, typed(0, flag)}, form{4, deeper(4)}, form{2, typed(0, i8)}), Since: []string{"1.5.0", "1.14.0", "2.4.0", "2.6.0", "2.20.0"},
	},
	{
		Code: schema.BuiltinOperatorPADV2, Int16: wide(3), Inputs: []Slot{Data, Param, Data}, Int8: Int8{Rule: Same},
		Version: firstOf(form{5, typed(0, flag)}, form{4, deeper(4)}, form{2, typed(0, i8)}), Since: []string{"1.9.0", "1.14.0", "2.4.0", "2.6.0", "2.20.0"},
	},
	{
		Code: schema.BuiltinOperatorMIRROR_PAD, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.13.1", "2.3.0", "2.12.0"},
	},
}
