package op

import "espalier.dev/espalier/optimizer/tflite/schema"

const (
	asSteps  = "a quantized one is not supported, give the float model; that is written as its steps when it is read"
	asRun    = "it is written as its steps when the model is read, on which techniques work, also those of the float one that a quantized one stands for"
	fused    = "its steps are quantized, and written as one operator where they can be"
	stepwise = "its steps are quantized one by one"
)

// unrolled are written as the operators that they stand for when a model is read (ir.Specialize), if they can be.
var unrolled = []*Op{
	{
		Code:   schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM,
		Inputs: lstmSlots(), Matrices: []int{1, 2, 3, 4, 5, 6, 7, 8, 16}, NoForward: asRun, NoGradient: asRun, Int8: Int8{Why: fused},
		Since: []string{"1.13.1", "1.14.0", "2.3.0"}, Note: "2 to 512 steps, every sequence beginning with a state of zeros; no layer normalization inside. Of int8: no peephole connections, no projection and, in leaves, an input gate; " +
			"a leaf has the operators of every step of others, of layers in float or with int16 activations or weights of 4 bits, and where clusters have a scale per output channel",
	},
	{
		Code: schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN, Inputs: []Slot{Data}, NoForward: asSteps, NoGradient: asSteps, Int8: Int8{Why: stepwise},
		Since: []string{"1.14.0", "1.14.0", "2.3.0"}, Note: "likewise",
	},
	{
		Code: schema.BuiltinOperatorWHILE, Inputs: []Slot{Plain}, NoForward: "it is written as its repetitions when the model is read", NoGradient: "it is written as its repetitions when the model is read", Int8: Int8{Why: stepwise},
		Since: []string{"1.15.0"}, Note: "at most 512 repetitions, counted by constants, as loops over a sequence are",
	},
	{
		Code: schema.BuiltinOperatorIF, Inputs: []Slot{Plain}, NoForward: "it is written as its branches and a choice when the model is read", NoGradient: "it is written as its branches and a choice when the model is read",
		Int8: Int8{Why: stepwise}, Since: []string{"1.15.0"}, Note: "both branches are computed, if the condition is no constant",
	},
}

// lstmSlots are the inputs of an LSTM: weights, biases and what else there may be, then its two states.
func lstmSlots() []Slot {
	const states = 18
	slots := make([]Slot, states, states+3)
	for i := 1; i < states; i++ {
		slots[i] = Plain
	}
	return append(slots, State, State, Plain)
}
