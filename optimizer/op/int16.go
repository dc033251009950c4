package op

// Int16 is how an operator is quantized with int16 activations and int8 weights (16×8). Its rule is that of Int8, except that activations
// are symmetric and biases int64.
type Int16 struct {
	// Version is the lowest file version whose kernel takes int16.
	Version int32
	// Output is the prescribed output quantization of rule Fixed.
	Output Quant
}

func wide(version int32) *Int16 { return &Int16{Version: version} }

// wideUnit is of operators whose output is within [−1, 1].
func wideUnit(version int32) *Int16 { return &Int16{Version: version, Output: Quant{Scale: 1.0 / (1 << 15)}} }

// WideSlack is how far beyond half a code a kernel may be from the exact result, in codes, where that is value codes from zero. Factors
// have 15 bits, functions are tables of 512 straight pieces; what the float simulation itself rounds is less.
func WideSlack(value float64) float64 { return 8 + max(value, -value)/(1<<13) }
