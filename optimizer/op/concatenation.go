package op

import "espalier.dev/espalier/optimizer/tflite/schema"

var concatenation = &Op{
	Code: schema.BuiltinOperatorCONCATENATION, Int16: wide(3), Inputs: []Slot{Data}, Trains: true, Int8: Int8{Rule: Same},
	Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0", "2.3.0", "2.14.0", "2.21.0"},
}
