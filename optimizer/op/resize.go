package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var resizes = []*Op{
	{
		Code: schema.BuiltinOperatorRESIZE_BILINEAR, Int16: wide(4), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(
			form{3, func(s *Signature) bool { return optionsOf[schema.ResizeBilinearOptionsT](s).HalfPixelCenters }},
			form{2, typed(0, i8)},
		),
		Since: []string{"1.7.0", "1.14.0", "2.2.0"},
	},
	{
		Code: schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR, Int16: wide(4), Inputs: []Slot{Data, Param}, Int8: Int8{Rule: Same},
		Version: firstOf(
			form{3, func(s *Signature) bool {
				o := optionsOf[schema.ResizeNearestNeighborOptionsT](s)
				return o.HalfPixelCenters || o.AlignCorners
			}},
			form{2, typed(0, i8)},
		),
		Since: []string{"1.13.1", "1.14.0", "2.3.0"},
	},
}
