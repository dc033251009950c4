package rewrite

import (
	"slices"
	"strconv"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// writer writes the operators that stand for one. Their tensors come behind the model's own, which keep their places.
type writer struct {
	m        *tflite.Model
	g        *ir.Graph
	n        *ir.Node
	operator *schema.OperatorT
	written  []*schema.OperatorT
}

// in is an input's tensor.
func (w *writer) in(slot int) int32 { return w.operator.Inputs[slot] }

// shape is a tensor's, at the file's batch.
func (w *writer) shape(t int32) []int32 { return w.m.Subgraph().Tensors[t].Shape }

// typ is a tensor's type.
func (w *writer) typ(t int32) schema.TensorType { return w.m.Subgraph().Tensors[t].Type }

// out is the operator's output.
func (w *writer) out() int32 { return w.operator.Outputs[0] }

// floats are the values of a constant input, nil if it is computed or absent.
func (w *writer) floats(slot int) []float32 {
	t := w.g.Input(w.n, slot)
	if t == nil {
		return nil
	}
	return t.Float32s()
}

// tensor adds a tensor that is named after the operator's output.
func (w *writer) tensor(name string, t *schema.TensorT) int32 {
	sub := w.m.Subgraph()
	t.Name, t.HasRank = sub.Tensors[w.out()].Name+"/"+name, true
	sub.Tensors = append(sub.Tensors, t)
	return int32(len(sub.Tensors) - 1)
}

// constant adds float values.
func (w *writer) constant(name string, values []float32, shape ...int32) int32 {
	return w.tensor(name, &schema.TensorT{Shape: slices.Clone(shape), Buffer: w.m.AddBuffer(tflite.Float32Bytes(values))})
}

// number adds one float.
func (w *writer) number(name string, value float64) int32 {
	return w.constant(name, []float32{float32(value)}, 1)
}

// ints adds a list of integers.
func (w *writer) ints(name string, values ...int32) int32 {
	return w.tensor(name, &schema.TensorT{
		Shape: []int32{int32(len(values))}, Type: schema.TensorTypeINT32, Buffer: w.m.AddBuffer(tflite.Int32Bytes(values)),
	})
}

// add writes an operator and returns its output, a float of a shape.
func (w *writer) add(code schema.BuiltinOperator, options *schema.BuiltinOptionsT, shape []int32, inputs ...int32) int32 {
	return w.typed(schema.TensorTypeFLOAT32, code, options, shape, inputs...)
}

// typed is add for an output of any type.
func (w *writer) typed(t schema.TensorType, code schema.BuiltinOperator, options *schema.BuiltinOptionsT, shape []int32, inputs ...int32) int32 {
	out := w.tensor(strconv.Itoa(len(w.written)), &schema.TensorT{Shape: slices.Clone(shape), Type: t})
	o := w.m.NewOp(code, schema.BuiltinOptionsNONE, nil, inputs, []int32{out})
	o.BuiltinOptions = options
	w.written = append(w.written, o)
	return out
}

// reshape writes a RESHAPE.
func (w *writer) reshape(x int32, shape []int32) int32 {
	return w.typed(w.typ(x), schema.BuiltinOperatorRESHAPE, &schema.BuiltinOptionsT{
		Type: schema.BuiltinOptionsReshapeOptions, Value: &schema.ReshapeOptionsT{NewShape: slices.Clone(shape)},
	}, shape, x, w.ints("shape", shape...))
}

func (w *writer) mul(shape []int32, a, b int32, act schema.ActivationFunctionType) int32 {
	return w.add(schema.BuiltinOperatorMUL, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsMulOptions, Value: &schema.MulOptionsT{FusedActivationFunction: act}}, shape, a, b)
}

func (w *writer) plus(shape []int32, a, b int32, act schema.ActivationFunctionType) int32 {
	return w.add(schema.BuiltinOperatorADD, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsAddOptions, Value: &schema.AddOptionsT{FusedActivationFunction: act}}, shape, a, b)
}

func (w *writer) minus(shape []int32, a, b int32) int32 {
	return w.add(schema.BuiltinOperatorSUB, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsSubOptions, Value: &schema.SubOptionsT{}}, shape, a, b)
}

func (w *writer) extreme(code schema.BuiltinOperator, shape []int32, a, b int32) int32 {
	return w.add(code, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsMaximumMinimumOptions, Value: &schema.MaximumMinimumOptionsT{}}, shape, a, b)
}

// replace has the last operator written give what the operator gave, and all of them stand in its place.
func (w *writer) replace() {
	sub := w.m.Subgraph()
	sub.Tensors = sub.Tensors[:len(sub.Tensors)-1] // the output of the last operator was added last
	w.written[len(w.written)-1].Outputs = w.operator.Outputs
	at := slices.Index(sub.Operators, w.operator)
	sub.Operators = slices.Replace(sub.Operators, at, at+1, w.written...)
}
