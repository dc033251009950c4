package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// Op describes an operator.
type Op struct {
	Code schema.BuiltinOperator
	// Inputs says what each input is; the last entry stands for all that follow.
	Inputs []Slot
	// Weights is set for operators whose weights are pruned, clustered and quantized.
	Weights *Weights
	// Matrices are the inputs that hold weights, [outputs, inputs] each, of an operator that is worked on as its steps, but may be in a leaf.
	Matrices []int
	// Trains says that constant float operands other than weights and biases train.
	Trains bool
	// Table says that a constant of floats it reads is a table of learned rows: an embedding.
	Table bool
	// Int8 is the operator's quantization rule.
	Int8 Int8
	// Int16 is what it has for int16 activations; nil: LiteRT has no kernel, or none that is used.
	Int16 *Int16
	// Version is the lowest file version whose kernel takes an operator of this signature; nil: always 1.
	Version func(*Signature) int32
	// Since is the first TensorFlow release with version i+1, "" where unknown (runtime_version.cc).
	Since []string
	// NoGradient says why the operator is not differentiated, NoForward why it cannot be run with floats; "" if it is, and can.
	NoGradient, NoForward string
	// Note is said of the operator in docs/operators.md.
	Note string
}

// Slot says what an input of an operator is.
type Slot uint8

const (
	// Data is an activation, or a constant in its place: quantized with the activations.
	Data Slot = iota
	// Weight is the weight operand: quantized symmetrically, pruned, clustered.
	Weight
	// Bias is quantized to int32 at the scale of input times weight.
	Bias
	// Param holds axes, shapes, sizes: integers that are read when a model is parsed.
	Param
	// State is what an operator keeps: a variable without data.
	State
	// Plain holds values that are never quantized: ids, positions, conditions.
	Plain
)

// Weights describes the weight operand of an operator.
type Weights struct {
	Kind Kind
	Axis int // of the weight tensor, on which output channels lie: one scale each
	// Int4 is the lowest file version whose kernel takes int4 weights under int8 activations; 0: LiteRT has no such kernel.
	Int4 int32
}

// Kind is the layout of weights.
type Kind uint8

const (
	// Kernel is [outputs, height, width, inputs].
	Kernel Kind = iota
	// Depthwise is [1, height, width, outputs].
	Depthwise
	// Dense is [outputs, inputs].
	Dense
)

// Slot returns what input i is.
func (o *Op) Slot(i int) Slot {
	if len(o.Inputs) == 0 {
		return Data
	}
	return o.Inputs[min(i, len(o.Inputs)-1)]
}

// Find returns the first input that is s, −1 if none is.
func (o *Op) Find(s Slot) int {
	for i, slot := range o.Inputs {
		if slot == s {
			return i
		}
	}
	return -1
}

// WeightSlots are the inputs that hold weights, and the dimension of each that is the output channels'.
func (o *Op) WeightSlots() (slots []int, axis int) {
	if o.Weights != nil {
		return []int{o.Find(Weight)}, o.Weights.Axis
	}
	return o.Matrices, 0
}

// Lookup returns the description of an operator, nil if it is not in the table.
func Lookup(code schema.BuiltinOperator) *Op { return byCode[code] }

// All lists every operator of the table in its order. It must not be changed.
func All() []*Op { return all }
