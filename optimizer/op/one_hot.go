package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var oneHot = &Op{
	Code: schema.BuiltinOperatorONE_HOT, Inputs: []Slot{Plain, Param, Plain, Plain}, Since: []string{"1.11.0"},
	NoGradient: flat, Int8: Int8{Why: "what it gives are two numbers, exact in float", Instead: "compute it before the network"},
}
