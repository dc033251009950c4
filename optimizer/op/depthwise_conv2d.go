package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var depthwiseConv2d = &Op{
	Code:    schema.BuiltinOperatorDEPTHWISE_CONV_2D,
	Int16:   wide(5),
	Inputs:  []Slot{Data, Weight, Bias},
	Weights: &Weights{Kind: Depthwise, Axis: 3, Int4: 7},
	Int8:    Int8{Rule: Weighted},
	Version: func(s *Signature) int32 {
		weights, o := s.input(1), optionsOf[schema.DepthwiseConv2DOptionsT](s)
		switch {
		case s.in(0) == i8 && weights.Type == i8:
			return 3
		case weights.Type == i8 && len(weights.Scales) > 1:
			return 6
		case weights.Type == i8:
			return 4
		case o.DilationHFactor != 1 || o.DilationWFactor != 1:
			return 2
		}
		return 1
	},
	Since: []string{"1.5.0", "1.12.0", "1.14.0", "2.2.0", "2.3.0", "2.3.0", "2.11.0"},
	Note:  "pruned and clustered only where a rule names it; weights must be constant",
}
