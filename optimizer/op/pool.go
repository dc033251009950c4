package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var pools = []*Op{
	{
		Code: schema.BuiltinOperatorAVERAGE_POOL_2D, Int16: wide(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorMAX_POOL_2D, Int16: wide(3), Inputs: []Slot{Data}, Int8: Int8{Rule: Same},
		Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorL2_POOL_2D, Inputs: []Slot{Data}, Since: []string{"1.5.0"},
		Int8: Int8{Why: noKernel, Instead: "build the network with AVERAGE_POOL_2D or MAX_POOL_2D in its place"},
	},
}
