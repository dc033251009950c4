package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var gatherND = &Op{
	Code: schema.BuiltinOperatorGATHER_ND, Int16: wide(3), Inputs: []Slot{Data, Plain}, Table: true, Int8: Int8{Rule: Same},
	Version: firstOf(form{5, typed(0, flag)}), Since: []string{"1.14.0", "2.3.0", "2.5.0", "2.13.0", "2.16.0"},
}
