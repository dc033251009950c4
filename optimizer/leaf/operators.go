package leaf

import (
	"encoding/binary"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// operators rewrites the operator list.
func (e *emitter) operators() {
	for t := range e.plan.Graph.Tensors {
		if !e.plan.IsActivation(t) {
			continue
		}
		if e.plan.IsInt8(t) {
			e.forms[form{t, e.plan.Tensor[t]}] = t
			e.setInt8(t, e.plan.Tensor[t])
		} else {
			e.forms[form{t, quantize.None}] = t
		}
	}
	e.file = e.sub.Operators
	for i, o := range e.file {
		n, np := &e.plan.Graph.Nodes[i], &e.plan.Nodes[i]
		switch {
		case np.LSTM == nil:
			for slot, t := range n.Inputs {
				if t >= 0 {
					o.Inputs[slot] = int32(e.operand(i, slot))
				}
			}
		case i != np.LSTM.Nodes[len(np.LSTM.Nodes)-1]:
			continue
		default:
			o = e.lstm(np.LSTM)
		}
		if np.Wide {
			sumOfAnyScales(o)
		}
		var after []*schema.OperatorT
		for slot, t := range n.Outputs {
			if !e.plan.IsActivation(t) {
				continue
			}
			made := form{t, quantize.None}
			if np.Int8 {
				made.group = e.plan.Tensor[t]
			}
			if _, ok := e.forms[made]; ok {
				continue
			}
			// A model output of the other type: the node writes a tensor of its own, converted right after.
			from, to := e.newTensor(made), t
			o.Outputs[slot] = int32(from)
			after = append(after, e.conversion(from, to))
		}
		e.ops = append(append(e.ops, o), after...)
	}
	e.sub.Operators = e.ops
	e.dropFolded()
}

// dropFolded removes operators that only computed a constant (such as float32 weights from float16) which nothing reads any more.
func (e *emitter) dropFolded() {
	folded := map[*schema.OperatorT]bool{}
	for i := range e.plan.Graph.Nodes {
		folded[e.file[i]] = e.plan.Graph.Nodes[i].Folded
	}
	for again := true; again; {
		read := map[int32]bool{}
		for _, list := range append([][]int32{e.sub.Outputs}, inputsOf(e.sub.Operators)...) {
			for _, t := range list {
				read[t] = true
			}
		}
		before := len(e.sub.Operators)
		e.sub.Operators = slices.DeleteFunc(e.sub.Operators, func(o *schema.OperatorT) bool {
			return folded[o] && !slices.ContainsFunc(o.Outputs, func(t int32) bool { return read[t] })
		})
		again = len(e.sub.Operators) < before
	}
}

func inputsOf(operators []*schema.OperatorT) [][]int32 {
	var lists [][]int32
	for _, o := range operators {
		lists = append(lists, o.Inputs)
	}
	return lists
}

// operand returns the tensor a node is to read in an input slot, after making it.
func (e *emitter) operand(node, slot int) int {
	t := e.plan.Graph.Nodes[node].Inputs[slot]
	if index, ok := e.inputs[[2]int{node, slot}]; ok {
		return index
	}
	np := &e.plan.Nodes[node]
	group := np.Operands[slot]
	switch {
	case e.plan.Graph.Tensors[t].Const != nil && group != quantize.None:
		p := e.params[group]
		return e.constant(t, fmt.Sprint("operand ", p), typeOf(p), codesOf(e.values(t), p), written(p))
	case !e.plan.IsActivation(t):
		return t
	case e.plan.Idle(&e.plan.Graph.Nodes[node]):
		return t
	default:
		return e.activation(form{t, group})
	}
}

// activation returns the index of a form of an activation, converting one that exists if need be.
func (e *emitter) activation(want form) int {
	if index, ok := e.forms[want]; ok {
		return index
	}
	// The source is what the producer wrote: converting that loses least.
	home := form{want.tensor, e.plan.Tensor[want.tensor]}
	source, ok := e.forms[home]
	if float, has := e.forms[form{want.tensor, quantize.None}]; has && (!ok || !e.madeInt8(want.tensor)) {
		source = float
	}
	if want.group != quantize.None && e.params[want.group].Wide && e.sub.Tensors[source].Type == schema.TensorTypeINT8 {
		source = e.activation(form{want.tensor, quantize.None}) // LiteRT's QUANTIZE does not go from int8 to int16
	}
	index := e.newTensor(want)
	e.ops = append(e.ops, e.conversion(source, index))
	return index
}

// madeInt8 reports whether the producer of a tensor writes int8.
func (e *emitter) madeInt8(t int) bool {
	if producer := e.plan.Graph.Tensors[t].Producer; producer >= 0 {
		return e.plan.Nodes[producer].Int8
	}
	return e.plan.IsInt8(t)
}

// newTensor appends a tensor for a form.
func (e *emitter) newTensor(f form) int {
	of := e.sub.Tensors[f.tensor]
	t := &schema.TensorT{Shape: of.Shape, ShapeSignature: of.ShapeSignature, HasRank: of.HasRank, Name: of.Name + "_float"}
	index := len(e.sub.Tensors)
	e.sub.Tensors = append(e.sub.Tensors, t)
	if f.group != quantize.None {
		t.Name = of.Name + suffix(typeOf(e.params[f.group]))
		e.setInt8(index, f.group)
	}
	e.forms[f] = index
	return index
}

func (e *emitter) setInt8(index, group int) {
	t := e.sub.Tensors[index]
	t.Type = typeOf(e.params[group])
	t.Quantization = written(e.params[group])
}

// typeOf is the type of a tensor with a quantization.
func typeOf(p quantize.Params) schema.TensorType {
	if p.Wide {
		return schema.TensorTypeINT16
	}
	return schema.TensorTypeINT8
}

// codesOf are the codes of values as a tensor has them.
func codesOf(values []float32, p quantize.Params) []byte {
	var data []byte
	for _, v := range values {
		if q := p.Quantize(v); p.Wide {
			data = binary.LittleEndian.AppendUint16(data, uint16(q))
		} else {
			data = append(data, byte(q))
		}
	}
	return data
}

// sumOfAnyScales has an ADD or SUB of int16 take scales that are no powers of two, which it otherwise would only by chance.
func sumOfAnyScales(o *schema.OperatorT) {
	switch options := o.BuiltinOptions; {
	case options == nil:
	case options.Type == schema.BuiltinOptionsAddOptions:
		value := *options.Value.(*schema.AddOptionsT)
		value.PotScaleInt16 = false
		o.BuiltinOptions = &schema.BuiltinOptionsT{Type: options.Type, Value: &value}
	case options.Type == schema.BuiltinOptionsSubOptions:
		value := *options.Value.(*schema.SubOptionsT)
		value.PotScaleInt16 = false
		o.BuiltinOptions = &schema.BuiltinOptionsT{Type: options.Type, Value: &value}
	}
}

// written is a quantization as the file has it.
func written(p quantize.Params) *schema.QuantizationParametersT {
	return &schema.QuantizationParametersT{Scale: []float32{p.Scale}, ZeroPoint: []int64{int64(p.ZeroPoint)}}
}

// conversion makes a QUANTIZE or DEQUANTIZE operator.
func (e *emitter) conversion(from, to int) *schema.OperatorT {
	code := schema.BuiltinOperatorQUANTIZE
	options := &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsQuantizeOptions, Value: &schema.QuantizeOptionsT{}}
	if e.sub.Tensors[to].Type == schema.TensorTypeFLOAT32 {
		code = schema.BuiltinOperatorDEQUANTIZE
		options = &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsDequantizeOptions, Value: &schema.DequantizeOptionsT{}}
	}
	return &schema.OperatorT{OpcodeIndex: e.opcode(code), Inputs: []int32{int32(from)}, Outputs: []int32{int32(to)}, BuiltinOptions: options}
}

// opcode returns the index of an operator code, adding it if the model has none.
func (e *emitter) opcode(code schema.BuiltinOperator) uint32 {
	codes := e.leaf.Model.OperatorCodes
	for i, c := range codes {
		if c.BuiltinCode == code {
			return uint32(i)
		}
	}
	e.leaf.Model.OperatorCodes = append(codes, &schema.OperatorCodeT{BuiltinCode: code, DeprecatedBuiltinCode: int8(code), Version: 1})
	return uint32(len(codes))
}
