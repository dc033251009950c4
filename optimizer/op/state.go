package op

import "espalier.dev/espalier/optimizer/tflite/schema"

const (
	state    = "it is written as a state that a step hands on to the next when samples are sequences of steps"
	memory   = "it is written as a state and a convolution when samples are sequences of steps"
	anyState = "it moves whatever type its variable has"
)

// variables are about resource variables: the state of streaming networks. The integer executor runs them.
var variables = []*Op{
	{
		Code: schema.BuiltinOperatorCALL_ONCE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.5.0"},
		Note: "must set variables to constants, those that steps change to zeros: every sample begins with them",
	},
	{
		Code: schema.BuiltinOperatorSVDF, Inputs: []Slot{Data, Plain, Plain, Plain, State}, NoForward: memory, NoGradient: memory, Int8: Int8{Why: "it keeps state"},
		Version: func(s *Signature) int32 {
			switch {
			case s.in(0) == i8:
				return 3
			case s.in(1) == i8:
				return 2
			}
			return 1
		},
		Since: []string{"1.5.0", "1.14.0", "2.2.0", "2.3.0"},
		Note:  "with a state of int8 or int16 where it is int8; techniques work on the float one that this stands for",
	},
	{Code: schema.BuiltinOperatorVAR_HANDLE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.6.0"}},
	{Code: schema.BuiltinOperatorREAD_VARIABLE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.6.0"}},
	{Code: schema.BuiltinOperatorASSIGN_VARIABLE, Inputs: []Slot{Plain}, NoForward: state, NoGradient: state, Int8: Int8{Why: anyState}, Since: []string{"2.6.0"}},
}
