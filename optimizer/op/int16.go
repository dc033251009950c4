package op

import "math"

// Int16 is how an operator is quantized with int16 activations and int8 weights (16×8). Its rule is that of Int8, except that activations
// are symmetric and biases int64.
type Int16 struct {
	// Version is the lowest file version whose kernel takes int16.
	Version int32
	// Output is the prescribed output quantization of rule Fixed.
	Output Quant
	// Bend is the largest second derivative of a function that the kernel takes from a table, 0 of any other.
	Bend float64
	// Tail is how many codes each element along the last dimension may add to the others' error: of SOFTMAX, whose table ends at e⁻¹⁰.
	Tail float64
}

func wide(version int32) *Int16 { return &Int16{Version: version} }

// wideUnit is of operators whose output is within [−1, 1].
func wideUnit(version int32) *Int16 {
	return &Int16{Version: version, Output: Quant{Scale: 1.0 / (1 << 15)}}
}

func wideSoftmax(version int32) *Int16 {
	o := wideUnit(version)
	o.Tail = 2
	return o
}

// wideTable is of a function whose second derivative is bend at most.
func wideTable(version int32, bend float64) *Int16 { return &Int16{Version: version, Bend: bend} }

// Slack is how far beyond half a code a kernel may be from the exact result, in codes, by the scales of its input and output, where that
// result is value codes from zero; depth elements lie along the last dimension. Factors have 15 bits; tables have 512 straight pieces, 128 codes wide; what the float simulation itself
// rounds is less.
func (o *Int16) Slack(input, output, value float64, depth int) float64 {
	value = max(value, -value)
	slack := 8 + value/(1<<13) + o.Tail*float64(depth)
	if o.Bend == 0 {
		return slack
	}
	slack += o.Bend * (piece * input) * (piece * input) / 8 / output
	if end := o.Margin(input) / output; value+end > math.MaxInt16 { // the piece ends in the largest code, not where the function does
		slack += end
	}
	return slack
}

// piece is how many codes a piece of a table is wide.
const piece = 128

// Margin is how far a table's output should reach beyond its values, lest the last piece end in the largest code: as far as the steepest
// of the functions gets in a piece of an input of that scale. 0 of other operators.
func (o *Int16) Margin(input float64) float64 {
	if o.Bend == 0 {
		return 0
	}
	const steepest = 1.13
	return steepest * piece * input
}
