package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// turns move dimensions, or along them.
var turns = []*Op{
	{
		Code: schema.BuiltinOperatorTRANSPOSE, Int16: wide(5), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(form{8, deeper(6)}, form{6, deeper(5)}, form{4, deeper(4)}, form{3, typed(0, flag)}, form{2, typed(0, i8)}),
		Since:   []string{"1.6.0", "1.14.0", "1.15.0", "2.3.0", "2.4.0", "2.12.0", "2.14.4", "2.22.0"},
	},
	{
		Code: schema.BuiltinOperatorREVERSE_V2, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(form{3, typed(0, i8)}, form{2, typed(0, flag)}), Since: []string{"1.14.0", "2.2.0", "2.5.0"},
	},
}
