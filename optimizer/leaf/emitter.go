package leaf

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// form is one representation of a tensor: int8 in a group's quantization, or float with group None.
type form struct{ tensor, group int }

type emitter struct {
	model  *tflite.Model // the float model, whose constants may be newer than the plan's
	plan   *quantize.Plan
	params []quantize.Params
	leaf   *Emitted
	sub    *schema.SubGraphT
	forms  map[form]int        // index in the file of each form made so far
	taken  map[int]string      // constants that were rewritten under their own index, and as what
	file   []*schema.OperatorT // by node
	ops    []*schema.OperatorT // in the leaf
	inputs map[[2]int]int      // (node, slot) → tensor index, of weights and biases
}

// layers writes weights and biases.
func (e *emitter) layers(given map[int]quantize.Weights) (err error) {
	e.inputs = map[[2]int]int{}
	if e.leaf.Weights, e.leaf.Notes, err = e.plan.Integers(e.model, e.params, given); err != nil {
		return err
	}
	for _, l := range e.plan.Layers {
		w := e.leaf.Weights[l.Weight]
		if e.plan.Nodes[l.Node].LSTM != nil {
			if len(w.Scale) > len(ir.LSTMGates) {
				return fmt.Errorf("layer %q: the weights of an LSTM have a scale per gate, not %d", l.Name, len(w.Scale))
			}
			continue
		}
		w = w.Spread(e.plan.Graph.Tensors[l.Weight].Shape[l.Axis])
		r := quantize.RuleOf(&e.plan.Graph.Nodes[l.Node])
		typ, data := schema.TensorTypeINT8, tflite.Int8Bytes(w.Codes)
		if w.Int4 {
			typ, data = schema.TensorTypeINT4, tflite.Int4Bytes(w.Codes)
		}
		at := e.constant(l.Weight, fmt.Sprint("weight ", l.Axis, len(w.Scale)), typ, data, &schema.QuantizationParametersT{
			Scale: w.Scale, ZeroPoint: make([]int64, len(w.Scale)), QuantizedDimension: int32(axisOf(w, l.Axis)),
		})
		e.inputs[[2]int{l.Node, r.Find(op.Weight)}] = at
		e.leaf.forms[l.Weight] = append(e.leaf.forms[l.Weight], Form{Tensor: at, Of: 1})
		input := e.inputOf(l).Scale
		if l.Bias == quantize.None {
			e.noBias(l, input, w.Scale)
			continue
		}
		scale := quantize.BiasScale(input, w.Scale)
		q := &schema.QuantizationParametersT{Scale: scale, ZeroPoint: make([]int64, len(scale))}
		if e.plan.Nodes[l.Node].Wide {
			codes := quantize.WideBiasCodes(e.values(l.Bias), input, w.Scale)
			at = e.constant(l.Bias, fmt.Sprint("wide bias ", codes, scale), schema.TensorTypeINT64, tflite.Int64Bytes(codes), q)
		} else {
			codes := quantize.BiasCodes(e.values(l.Bias), input, w.Scale)
			at = e.constant(l.Bias, fmt.Sprint("bias ", codes, scale), schema.TensorTypeINT32, tflite.Int32Bytes(codes), q)
		}
		e.inputs[[2]int{l.Node, r.Find(op.Bias)}] = at
	}
	return nil
}

// noBias gives a DEPTHWISE_CONV_2D without a bias one of zeros: LiteRT's int8 kernels on its default path crash without.
func (e *emitter) noBias(l quantize.Layer, input float32, weights []float32) {
	n := &e.plan.Graph.Nodes[l.Node]
	if n.Op != schema.BuiltinOperatorDEPTHWISE_CONV_2D || e.plan.Nodes[l.Node].Wide {
		return
	}
	kernel := e.sub.Tensors[l.Weight]
	channels := kernel.Shape[l.Axis]
	scale := quantize.BiasScale(input, weights)
	e.sub.Tensors = append(e.sub.Tensors, &schema.TensorT{
		Name: kernel.Name + "/bias", Shape: []int32{channels}, HasRank: true, Type: schema.TensorTypeINT32,
		Buffer:       e.leaf.Model.AddBuffer(tflite.Int32Bytes(make([]int32, channels))),
		Quantization: &schema.QuantizationParametersT{Scale: scale, ZeroPoint: make([]int64, len(scale))},
	})
	o := e.sub.Operators[l.Node]
	o.Inputs = append(slices.Clone(o.Inputs[:quantize.RuleOf(n).Find(op.Bias)]), int32(len(e.sub.Tensors)-1))
}

// inputOf is the quantization of a layer's input.
func (e *emitter) inputOf(l quantize.Layer) quantize.Params { return e.params[e.plan.InputGroup(l)] }

// axisOf is the quantized dimension to write: 0 where there is one scale.
func axisOf(w quantize.Weights, axis int) int {
	if len(w.Scale) == 1 {
		return 0
	}
	return axis
}

// constant rewrites constant t as the given integers and returns its index: t itself for the first use, unless a float node
// reads it too; for a use that needs other integers, a new tensor. as identifies the integers.
func (e *emitter) constant(t int, as string, typ schema.TensorType, data []byte, q *schema.QuantizationParametersT) int {
	index, ok := t, true
	if e.readAsFloat(t) || !e.model.IsConst(e.model.Subgraph().Tensors[t]) {
		ok = false
	} else if now, done := e.taken[t]; done {
		if now == as {
			return t
		}
		ok = false
	}
	if !ok {
		of := e.sub.Tensors[t]
		index = len(e.sub.Tensors)
		e.sub.Tensors = append(e.sub.Tensors, &schema.TensorT{Shape: of.Shape, HasRank: of.HasRank, Name: of.Name + suffix(typ)})
	}
	e.taken[index] = as
	tensor := e.sub.Tensors[index]
	tensor.Type, tensor.Quantization = typ, q
	tensor.Buffer = e.leaf.Model.AddBuffer(data)
	return index
}

// suffix is what the name of a tensor's other form ends in.
func suffix(typ schema.TensorType) string {
	switch typ {
	case schema.TensorTypeINT16:
		return "_int16"
	case schema.TensorTypeINT4:
		return "_int4"
	default:
		return "_int8"
	}
}

// readAsFloat reports whether a node that stays float reads t, or the model gives it as an output.
func (e *emitter) readAsFloat(t int) bool {
	for _, n := range e.plan.Graph.Tensors[t].Consumers {
		if !e.plan.Nodes[n].Int8 {
			return true
		}
	}
	return slices.Contains(e.plan.Graph.Outputs, t)
}

// values returns the values of a float32 constant of the model.
func (e *emitter) values(t int) []float32 { return e.plan.Constant(e.model, t) }
