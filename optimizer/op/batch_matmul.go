package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var batchMatMul = &Op{
	Code:       schema.BuiltinOperatorBATCH_MATMUL,
	Inputs:     []Slot{Data, Data},
	NoForward:  "not written yet",
	NoGradient: "not written yet",
	Int8:       Int8{Why: "not written yet"},
	Version:    int8In(0, 2),
	Since:      []string{"2.3.0", "2.3.0", "2.4.0", "2.5.0"},
}
