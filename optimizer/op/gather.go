package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var gather = &Op{
	Code: schema.BuiltinOperatorGATHER, Int16: wide(4), Inputs: []Slot{Data, Plain}, Table: true, Int8: Int8{Rule: Same},
	Version: firstOf(
		form{5, func(s *Signature) bool { return optionsOf[schema.GatherOptionsT](s).BatchDims != 0 }},
		form{3, typed(0, flag)}, form{2, typed(0, i8)},
	),
	Note:  "ids may be computed or an input; a table of floats trains with the group's scale",
	Since: []string{"1.6.0", "1.14.0", "1.15.0", "2.4.0", "2.5.0", "2.13.0", "2.15.0"},
}
