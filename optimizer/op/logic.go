package op

import "espalier.dev/espalier/optimizer/tflite/schema"

const (
	truth  = "it is about truths, which are not quantized"
	coarse = "its int8 kernel compares to 1/256 only, whatever the scales"

	maskBefore = "compute the mask before the network"
	gate       = "build the network with LOGISTIC of a multiple of the difference (SUB) in its place, or compute the mask before it"
)

// comparisons give truths.
var comparisons = []*Op{
	{
		Code: schema.BuiltinOperatorEQUAL, Inputs: []Slot{Data}, Int8: Int8{Why: coarse, Instead: maskBefore}, NoGradient: flat,
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0", "2.3.0", "2.13.0", "2.21.0"},
	},
	{
		Code: schema.BuiltinOperatorNOT_EQUAL, Inputs: []Slot{Data}, Int8: Int8{Why: coarse, Instead: maskBefore}, NoGradient: flat,
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0", "2.3.0", "2.21.0"},
	},
	{
		Code: schema.BuiltinOperatorLESS, Inputs: []Slot{Data}, Int8: Int8{Why: coarse, Instead: gate}, NoGradient: flat,
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0", "2.13.0"},
	},
	{
		Code: schema.BuiltinOperatorLESS_EQUAL, Inputs: []Slot{Data}, Int8: Int8{Why: coarse, Instead: gate}, NoGradient: flat,
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0"},
	},
	{
		Code: schema.BuiltinOperatorGREATER, Inputs: []Slot{Data}, Int8: Int8{Why: coarse, Instead: gate}, NoGradient: flat,
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0"},
	},
	{
		Code: schema.BuiltinOperatorGREATER_EQUAL, Inputs: []Slot{Data}, Int8: Int8{Why: coarse, Instead: gate}, NoGradient: flat,
		Version: int8In(0, 2), Since: []string{"1.14.0", "1.14.0", "2.13.0"},
	},
}

// logic combines truths.
var logic = []*Op{
	{Code: schema.BuiltinOperatorLOGICAL_AND, Inputs: []Slot{Plain}, Int8: Int8{Why: truth}, NoGradient: flat, Since: []string{"1.11.0"}},
	{Code: schema.BuiltinOperatorLOGICAL_OR, Inputs: []Slot{Plain}, Int8: Int8{Why: truth}, NoGradient: flat, Since: []string{"1.11.0"}},
	{Code: schema.BuiltinOperatorLOGICAL_NOT, Inputs: []Slot{Plain}, Int8: Int8{Why: truth}, NoGradient: flat, Since: []string{"1.11.0"}},
}

// selections choose element by element.
var selections = []*Op{
	{
		Code: schema.BuiltinOperatorSELECT, Int16: wide(1), Inputs: []Slot{Plain, Data}, Trains: true, Int8: Int8{Rule: Same},
		Version: firstOf(form{3, func(s *Signature) bool { return s.mostDims() == 5 }}), Since: []string{"1.14.0", "1.14.0", "2.12.0", "2.12.0"},
		Note: "no gradient passes to the condition",
	},
	{
		Code: schema.BuiltinOperatorSELECT_V2, Int16: wide(1), Inputs: []Slot{Plain, Data}, Trains: true, Int8: Int8{Rule: Same},
		Since: []string{"2.2.0", "2.12.0"}, Note: "no gradient passes to the condition",
	},
	{
		Code: schema.BuiltinOperatorWHERE, Inputs: []Slot{Plain},
		NoForward:  "how many elements it gives depends on their values; a choice between two tensors is a SELECT_V2 (tf.where with three arguments)",
		NoGradient: flat, Int8: Int8{Why: "it is not run"},
		Version: func(s *Signature) int32 {
			if s.in(0) == flag {
				return 1
			}
			return 2
		},
		Since: []string{"1.14.0", "2.8.0"},
	},
}
