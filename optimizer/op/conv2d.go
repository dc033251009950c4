package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var conv2d = &Op{
	Code:    schema.BuiltinOperatorCONV_2D,
	Int16:   wide(4),
	Inputs:  []Slot{Data, Weight, Bias},
	Weights: &Weights{Kind: Kernel, Axis: 0, Int4: 7},
	Int8:    Int8{Rule: Weighted},
	Version: func(s *Signature) int32 {
		weights := s.input(1)
		switch grouped := s.rank(0) == 4 && len(weights.Shape) == 4 && s.Inputs[0].Shape[3] != weights.Shape[3]; {
		case grouped:
			return 6
		case s.in(0) == i8 && weights.Type == i8:
			return 3
		case weights.Type == i8 && len(weights.Scales) > 1:
			return 5
		case weights.Type == i8:
			return 2
		}
		return 1
	},
	Since: []string{"1.5.0", "1.14.0", "1.14.0", "2.3.0", "2.4.0", "2.9.0", "2.11.0"},
	Note:  "grouped too; weights must be constant",
}
