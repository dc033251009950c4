package quantize

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// FloatRecurrent has the quantized UNIDIRECTIONAL_SEQUENCE_LSTM and SVDF of a model, whose int16 arithmetic no other operator has, compute with
// the floats that their weights and biases stand for, between a DEQUANTIZE and a QUANTIZE, in place. It returns a note for each.
func FloatRecurrent(m *tflite.Model) (notes []string, err error) {
	if !slices.ContainsFunc(m.Subgraph().Operators, func(o *schema.OperatorT) bool { return recurrent(m, o) }) {
		return nil, nil
	}
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, err
	}
	sub := m.Subgraph()
	r := &recurrents{m: m, g: g, made: map[int32]int32{}, read: map[int32]int32{}}
	for i, o := range slices.Clone(sub.Operators) {
		if !recurrent(m, o) {
			continue
		}
		n := &g.Nodes[i]
		if err := r.float(n, o); err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		notes = append(notes, fmt.Sprintf("%s is quantized: read as the float one that it stands for, whose parts stages and leaves quantize anew", n))
	}
	return notes, nil
}

// recurrent reports whether an operator is a quantized recurrent layer.
func recurrent(m *tflite.Model, o *schema.OperatorT) bool {
	code, _ := m.Op(o)
	return (code == schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM || code == schema.BuiltinOperatorSVDF) && len(o.Inputs) > 0 && o.Inputs[0] >= 0 &&
		m.Subgraph().Tensors[o.Inputs[0]].Type == schema.TensorTypeINT8
}

// recurrents writes recurrent layers as float ones.
type recurrents struct {
	m    *tflite.Model
	g    *ir.Graph
	made map[int32]int32 // the float tensor for one of the file's
	read map[int32]int32 // the float tensor that layers read one in, which the output of a layer before is not
}

// float has one layer compute with floats.
func (r *recurrents) float(n *ir.Node, o *schema.OperatorT) error {
	sub := r.m.Subgraph()
	biases := biasScales(n, r.g)
	for slot, t := range o.Inputs {
		if slot == 0 || t < 0 {
			continue
		}
		to, err := r.tensor(t, biases[slot])
		if err != nil {
			return err
		}
		o.Inputs[slot] = to
	}
	o.Intermediates = nil
	o.Inputs[0] = r.dequantized(o)
	y := o.Outputs[0]
	to, err := r.tensor(y, 0)
	if err != nil {
		return err
	}
	o.Outputs = []int32{to}
	at := slices.Index(sub.Operators, o)
	sub.Operators = slices.Insert(sub.Operators, at+1, r.m.NewOp(schema.BuiltinOperatorQUANTIZE, schema.BuiltinOptionsQuantizeOptions, &schema.QuantizeOptionsT{}, []int32{to}, []int32{y}))
	return nil
}

// dequantized is what a layer reads, as floats: one tensor for all layers that read the same.
func (r *recurrents) dequantized(o *schema.OperatorT) int32 {
	sub, given := r.m.Subgraph(), o.Inputs[0]
	x, ok := r.read[given]
	if ok {
		return x
	}
	x = r.floating(given)
	if _, ok := r.made[given]; ok { // by a layer, under the same name
		sub.Tensors[x].Name += "_read"
	}
	dequantize := r.m.NewOp(schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsDequantizeOptions, &schema.DequantizeOptionsT{}, []int32{given}, []int32{x})
	sub.Operators = slices.Insert(sub.Operators, slices.Index(sub.Operators, o), dequantize)
	r.read[given] = x
	return x
}

// floating appends a float tensor in the place of one of the file's.
func (r *recurrents) floating(t int32) int32 {
	sub := r.m.Subgraph()
	from := sub.Tensors[t]
	sub.Tensors = append(sub.Tensors, &schema.TensorT{Name: from.Name + "_float", Type: schema.TensorTypeFLOAT32, Shape: slices.Clone(from.Shape), HasRank: true, IsVariable: from.IsVariable})
	return int32(len(sub.Tensors) - 1)
}

// biasScales are what a code of a bias stands for, by slot: the scale of what it is added to.
func biasScales(n *ir.Node, g *ir.Graph) map[int]float64 {
	scale := func(slot int) float64 {
		if t := g.Input(n, slot); t != nil && t.Quant != nil && len(t.Quant.Scale) > 0 {
			return float64(t.Quant.Scale[0])
		}
		return 0
	}
	out := map[int]float64{}
	if n.Op == schema.BuiltinOperatorSVDF {
		out[3] = scale(4) * scale(2) // of the state and the weights of time
		return out
	}
	for gate := range 4 {
		out[ir.LSTMBiases+gate] = scale(0) * scale(ir.LSTMWeights+gate)
	}
	return out
}

// tensor is the float tensor for one of a layer's: of a constant its values, a bias with the scale that is not in the file.
func (r *recurrents) tensor(t int32, bias float64) (int32, error) {
	if to, ok := r.made[t]; ok {
		return to, nil
	}
	of, buffer := &r.g.Tensors[t], uint32(0)
	if of.Const != nil {
		var values []float32
		switch {
		case of.Type == schema.TensorTypeINT32 && bias > 0:
			for _, code := range of.Ints() {
				values = append(values, float32(float64(code)*bias))
			}
		case of.Quant != nil && len(of.Quant.Scale) == 1 && (of.Type == schema.TensorTypeINT8 || of.Type == schema.TensorTypeINT16):
			p := Params{Scale: of.Quant.Scale[0], ZeroPoint: of.Quant.ZeroPoint[0], Wide: of.Type == schema.TensorTypeINT16}
			values = make([]float32, p.Codes(of.Const))
			for k := range values {
				values[k] = p.Dequantize(p.Code(of.Const, k))
			}
		default:
			return 0, fmt.Errorf("%s is no constant of one scale: give the float model", of)
		}
		buffer = r.m.AddBuffer(tflite.Float32Bytes(values))
	}
	r.made[t] = r.floating(t)
	r.m.Subgraph().Tensors[r.made[t]].Buffer = buffer
	return r.made[t], nil
}
