package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var conv3d = &Op{
	Code:   schema.BuiltinOperatorCONV_3D,
	Inputs: []Slot{Data, Weight, Bias},
	Int8:   Int8{Why: noKernel, Instead: "build it of CONV_2D, one for each slice, and ADD"},
	Since:  []string{"2.5.0"},
	Note:   "its weights train, but are not pruned or clustered",
}
