package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var transposeConv = &Op{
	Code:    schema.BuiltinOperatorTRANSPOSE_CONV,
	Int16:   wide(3),
	Inputs:  []Slot{Param, Weight, Data, Bias},
	Weights: &Weights{Kind: Kernel, Axis: 0},
	Int8:    Int8{Rule: Weighted},
	Version: firstOf(
		form{4, func(s *Signature) bool {
			return optionsOf[schema.TransposeConvOptionsT](s).FusedActivationFunction != schema.ActivationFunctionTypeNONE
		}},
		form{3, func(s *Signature) bool { return s.in(3) >= 0 }},
		form{2, typed(1, i8)},
	),
	Since: []string{"1.9.0", "2.2.0", "2.3.0", "2.13.0"},
	Note:  "weights must be constant",
}
