package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// softmaxFloor is why: the softmaxes scale their input by 2²⁶·scale, which must be more than 1.
const softmaxFloor = 1.0 / (1 << 24)

// normalisations work along the last dimension.
var normalisations = []*Op{
	{
		Code: schema.BuiltinOperatorSOFTMAX, Int16: wideSoftmax(3), Inputs: []Slot{Data},
		Int8:    Int8{Rule: Fixed, Output: probability, InputFloor: softmaxFloor},
		Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0", "2.3.0"},
	},
	{
		Code: schema.BuiltinOperatorLOG_SOFTMAX, Inputs: []Slot{Data},
		Int8:    Int8{Rule: Fixed, Output: logProbability, InputFloor: softmaxFloor},
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0"},
	},
	{
		Code: schema.BuiltinOperatorL2_NORMALIZATION, Inputs: []Slot{Data}, Int8: Int8{Rule: Fixed, Output: unitInterval},
		Version: int8In(0, 2), Since: []string{"1.5.0", "1.14.0"},
	},
	{
		Code: schema.BuiltinOperatorLOCAL_RESPONSE_NORMALIZATION, Inputs: []Slot{Data}, Int8: Int8{Why: noKernel, Instead: normalizeByBatch}, Since: []string{"1.5.0"},
		Note: "over neighbouring channels, as AlexNet and GoogLeNet have it; LiteRT's reference kernel leaves out the last of them, which TensorFlow and LiteRT's usual kernel do not",
	},
}
