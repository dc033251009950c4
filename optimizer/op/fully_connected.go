package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var fullyConnected = &Op{
	Code:    schema.BuiltinOperatorFULLY_CONNECTED,
	Int16:   wide(7),
	Inputs:  []Slot{Data, Weight, Bias},
	Weights: &Weights{Kind: Dense, Axis: 0, Int4: 10},
	Int8:    Int8{Rule: Weighted},
	Version: func(s *Signature) int32 {
		weights, o := s.input(1), optionsOf[schema.FullyConnectedOptionsT](s)
		hybrid := s.in(0) == f32 && weights.Type == i8
		switch {
		case s.in(0) == schema.TensorTypeINT16 && weights.Type == schema.TensorTypeINT4:
			return 13
		case hybrid && len(weights.Scales) > 1:
			return 12
		case len(s.Inputs) == 2:
			return 6 // no bias
		case o.KeepNumDims:
			return 5
		case s.in(0) == i8 && weights.Type == i8:
			return 4
		case hybrid && o.AsymmetricQuantizeInputs:
			return 9
		case hybrid:
			return 3
		}
		return 1
	},
	Since: []string{"1.5.0", "1.10.0", "1.14.0", "1.14.0", "2.0.0", "2.1.0", "2.3.0", "2.3.0", "2.3.0", "2.11.0", "2.15.0", "2.17.0", "2.18.0"},
	Note:  "weights that are no constant stay float",
}
