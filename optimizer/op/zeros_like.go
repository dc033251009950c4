package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var zerosLike = &Op{
	Code: schema.BuiltinOperatorZEROS_LIKE, Inputs: []Slot{Data}, NoGradient: flat, Int8: Int8{Why: noKernel}, Since: []string{"1.12.0"},
	Note: "such as the first state of an unrolled recurrent layer",
}
