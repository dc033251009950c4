package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var slices = []*Op{
	{
		Code: schema.BuiltinOperatorSTRIDED_SLICE, Int16: wide(1), Inputs: []Slot{Data, Param, Param, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(
			form{8, func(s *Signature) bool { return optionsOf[schema.StridedSliceOptionsT](s).Offset }},
			form{6, func(s *Signature) bool {
				o := optionsOf[schema.StridedSliceOptionsT](s)
				return o.EllipsisMask != 0 || o.NewAxisMask != 0
			}},
			form{4, deeper(4)}, form{3, typed(0, flag)}, form{2, typed(0, i8)},
		),
		Since: []string{"1.6.0", "1.14.0", "2.1.0", "2.2.0", "2.5.0", "2.6.0", "2.14.0", "2.14.0"},
	},
	{
		Code: schema.BuiltinOperatorSLICE, Int16: wide(4), Inputs: []Slot{Data, Param, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(form{5, deeper(4)}, form{2, typed(0, i8)}),
		Since:   []string{"1.14.0", "1.14.0", "1.14.0", "2.4.0", "2.5.0", "2.14.0", "2.21.0"},
	},
}
