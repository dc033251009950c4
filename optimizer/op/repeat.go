package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// repeats give the same values several times.
var repeats = []*Op{
	{
		Code: schema.BuiltinOperatorTILE, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: int8In(0, 3), Since: []string{"1.10.1", "2.2.0", "2.8.0"},
	},
	{
		Code: schema.BuiltinOperatorBROADCAST_TO, Int16: wide(3), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: func(s *Signature) int32 {
			if s.in(0) == i8 {
				return 3
			}
			return 2
		},
		Since: []string{"", "2.5.0", "2.5.0"},
	},
}
