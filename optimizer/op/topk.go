package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var topK = &Op{
	Code: schema.BuiltinOperatorTOPK_V2, Inputs: []Slot{Data, Param}, Note: "no gradient passes by the places",
	Int8:    Int8{Why: "its second output holds places, which are not quantized", Instead: "choose the largest behind the network"},
	Version: int8In(0, 2), Since: []string{"1.7.0", "1.14.0", "2.13.0"},
}
