package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var batchMatMul = &Op{
	Code: schema.BuiltinOperatorBATCH_MATMUL, Int16: wide(3), Inputs: []Slot{Data}, Trains: true,
	Int8: Int8{Rule: Free, Factors: func(s *Scales) []Factor {
		return []Factor{{M: s.Inputs[0] * s.Inputs[1] / s.Output}}
	}},
	Version: int8In(0, 2),
	Since:   []string{"2.3.0", "2.3.0", "2.4.0", "2.5.0"},
	Note:    "of two activations, or of one and a constant with one scale",
}
