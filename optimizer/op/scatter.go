package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var scatterND = &Op{
	Code: schema.BuiltinOperatorSCATTER_ND, Inputs: []Slot{Plain, Data, Param}, Since: []string{"2.1.0"},
	Int8: Int8{Why: "its int8 kernel fills with code 0 and adds codes, whatever the zero point", Instead: "place values by PAD and CONCATENATION"},
}

var segmentSum = &Op{
	Code: schema.BuiltinOperatorSEGMENT_SUM, Inputs: []Slot{Data, Param}, Since: []string{"2.2.0"}, Int8: Int8{Why: noKernel, Instead: "multiply by a constant matrix of zeros and ones (FULLY_CONNECTED)"},
	Note: "segments must be constant",
}
