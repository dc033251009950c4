package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// Signature is what an operator's version depends on.
type Signature struct {
	Inputs, Outputs []Tensor
	Options         any // a *schema.…OptionsT; nil if absent
}

// Tensor is an operand in a Signature.
type Tensor struct {
	Type   schema.TensorType // −1: absent
	Shape  []int32
	Scales []float32 // none if not quantized
}

// input returns an input, one of type −1 if absent.
func (s *Signature) input(i int) Tensor {
	if i >= len(s.Inputs) {
		return Tensor{Type: -1}
	}
	return s.Inputs[i]
}

// in returns the type of an input, −1 if absent.
func (s *Signature) in(i int) schema.TensorType {
	return s.input(i).Type
}

// rank returns the dimensions of an input.
func (s *Signature) rank(i int) int { return len(s.input(i).Shape) }

// mostDims returns the dimensions of the input that has most.
func (s *Signature) mostDims() int {
	most := 0
	for i := range s.Inputs {
		most = max(most, s.rank(i))
	}
	return most
}

// broadcasts reports whether the first two inputs differ in shape.
func (s *Signature) broadcasts() bool {
	if len(s.Inputs) < 2 {
		return false
	}
	a, b := s.Inputs[0].Shape, s.Inputs[1].Shape
	if len(a) != len(b) {
		return true
	}
	for i := range a {
		if a[i] != b[i] {
			return true
		}
	}
	return false
}

// optionsOf returns the options as their type, their zero value where they are absent.
func optionsOf[T any](s *Signature) *T {
	if o, ok := s.Options.(*T); ok && o != nil {
		return o
	}
	return new(T)
}

// int8In is version v where input slot is int8, else 1.
func int8In(slot int, v int32) func(*Signature) int32 {
	return func(s *Signature) int32 {
		if s.in(slot) == schema.TensorTypeINT8 {
			return v
		}
		return 1
	}
}

// firstOf is the version of the first form that applies, else 1.
func firstOf(forms ...form) func(*Signature) int32 {
	return func(s *Signature) int32 {
		for _, f := range forms {
			if f.when(s) {
				return f.version
			}
		}
		return 1
	}
}

// form is a version and what it is for.
type form struct {
	version int32
	when    func(*Signature) bool
}

func typed(slot int, t schema.TensorType) func(*Signature) bool {
	return func(s *Signature) bool { return s.in(slot) == t }
}

// deeper is true of an input of more than n dimensions.
func deeper(n int) func(*Signature) bool {
	return func(s *Signature) bool { return s.rank(0) > n }
}

// deepBroadcast is true of operands of different shapes, one of them of more than four dimensions.
func deepBroadcast(s *Signature) bool { return s.broadcasts() && s.mostDims() > 4 }

const (
	i8   = schema.TensorTypeINT8
	i32  = schema.TensorTypeINT32
	i64  = schema.TensorTypeINT64
	f32  = schema.TensorTypeFLOAT32
	flag = schema.TensorTypeBOOL
)
