package op

import "espalier.dev/espalier/optimizer/tflite/schema"

const (
	state    = "its network keeps state from call to call: give a float model of whole sequences, or one whose state is an input and an output"
	anyState = "it moves whatever type its variable has"
)

// variables are about resource variables: the state of streaming networks. The integer executor runs them.
var variables = []*Op{
	{
		Code: schema.BuiltinOperatorCALL_ONCE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.5.0"},
		Note: "must set variables to constants; such networks are inspected, evaluated and compared, every sample from the first state, not optimized",
	},
	{Code: schema.BuiltinOperatorVAR_HANDLE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.6.0"}},
	{Code: schema.BuiltinOperatorREAD_VARIABLE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.6.0"}},
	{Code: schema.BuiltinOperatorASSIGN_VARIABLE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.6.0"}},
}
