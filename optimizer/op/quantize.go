package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// conversions change the type of numbers.
var conversions = []*Op{
	{
		Code: schema.BuiltinOperatorQUANTIZE, Int16: wide(2), Inputs: []Slot{Data},
		Int8:      Int8{Why: "it is what the emitter writes itself"},
		NoForward: "a quantized model is imported as float first", NoGradient: "a quantized model is imported as float first",
		Version: firstOf(
			form{3, func(s *Signature) bool { return len(s.Outputs) > 0 && len(s.Outputs[0].Scales) > 1 }},
			form{2, func(s *Signature) bool { return len(s.Outputs) > 0 && s.Outputs[0].Type == schema.TensorTypeINT16 }},
		),
		Since: []string{"1.14.0", "1.15.0", "2.7.0"},
	},
	{
		Code: schema.BuiltinOperatorDEQUANTIZE, Int16: wide(3), Inputs: []Slot{Data},
		Int8:      Int8{Why: "it is what the emitter writes itself"},
		NoForward: "a quantized model is imported as float first; of a constant it is folded", NoGradient: "a quantized model is imported as float first",
		Version: firstOf(
			form{3, typed(0, schema.TensorTypeFLOAT16)},
			form{5, func(s *Signature) bool { return s.in(0) == i8 && len(s.Inputs[0].Scales) > 1 }},
			form{2, typed(0, i8)},
		),
		Since: []string{"1.13.1", "1.14.0", "1.15.0", "2.2.0", "2.7.0"},
	},
	{
		Code: schema.BuiltinOperatorCAST, Inputs: []Slot{Data},
		Int8:  Int8{Why: "it gives the numbers themselves, not what they stand for"},
		Since: []string{"1.5.0", "2.7.0", "2.8.0", "2.9.0", "2.12.0"},
		Version: firstOf(
			form{5, func(s *Signature) bool { return s.any(schema.TensorTypeFLOAT64) || s.any(schema.TensorTypeFLOAT16) }},
			form{4, func(s *Signature) bool { return s.any(schema.TensorTypeUINT16) }},
			form{3, func(s *Signature) bool { return s.any(i8) }},
			form{2, func(s *Signature) bool { return s.any(schema.TensorTypeUINT32) }},
		),
		Note: "to an integer no gradient passes; a float beyond the integer type gives its nearest bound and NaN its greatest value, as in LiteRT 2.3 on x86 (TFLM: NaN gives 0; LiteRT before 2 leaves both to the processor); an input that is only cast to integers, such as ids, stays float32",
	},
}

// any reports whether the first input or output is of a type.
func (s *Signature) any(t schema.TensorType) bool {
	return s.in(0) == t || len(s.Outputs) > 0 && s.Outputs[0].Type == t
}
