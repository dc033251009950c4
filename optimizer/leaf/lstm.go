package leaf

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// lstmInputs are those that UNIDIRECTIONAL_SEQUENCE_LSTM has.
const lstmInputs = 24

// lstm is the operator that the steps of a layer are.
func (e *emitter) lstm(l *quantize.LSTM) *schema.OperatorT {
	x, y := e.params[l.Input], e.params[e.plan.Tensor[l.Output]]
	name := e.sub.Tensors[l.Output].Name
	o := &schema.OperatorT{
		OpcodeIndex: e.opcode(schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM), Inputs: make([]int32, lstmInputs), Outputs: []int32{int32(l.Output)},
		BuiltinOptions: &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions, Value: &schema.UnidirectionalSequenceLSTMOptionsT{
			FusedActivationFunction: schema.ActivationFunctionTypeTANH, CellClip: l.CellClip, TimeMajor: l.TimeMajor,
		}},
	}
	for slot := range o.Inputs {
		o.Inputs[slot] = -1
	}
	o.Inputs[0] = int32(e.activation(form{l.X, l.Input}))
	kernel, recurrent := e.leaf.Weights[l.Kernel], e.leaf.Weights[l.Recurrent]
	bias := make([]float32, len(ir.LSTMGates)*l.Units)
	if l.Bias != quantize.None {
		bias = e.values(l.Bias)
	}
	for gate, of := range ir.LSTMGates {
		_, scale := kernel.Part(gate, len(ir.LSTMGates))
		o.Inputs[ir.LSTMWeights+gate] = e.gate(l.Kernel, kernel, gate)
		o.Inputs[ir.LSTMRecurrent+gate] = e.gate(l.Recurrent, recurrent, gate)
		o.Inputs[ir.LSTMBiases+gate] = e.add(&schema.TensorT{
			Name: fmt.Sprintf("%s/bias_%s", name, of), Shape: []int32{int32(l.Units)}, Type: schema.TensorTypeINT32,
			Buffer:       e.leaf.Model.AddBuffer(tflite.Int32Bytes(quantize.BiasCodes(bias[gate*l.Units:][:l.Units], x.Scale, []float32{scale}))),
			Quantization: &schema.QuantizationParametersT{Scale: quantize.BiasScale(x.Scale, []float32{scale}), ZeroPoint: []int64{0}},
		})
		o.Intermediates = append(o.Intermediates, e.add(&schema.TensorT{Name: fmt.Sprintf("%s/%s_gate", name, of), Shape: []int32{0}, Type: schema.TensorTypeINT16, Quantization: written(e.params[e.plan.Tensor[l.Sums[0]]])}))
	}
	o.Intermediates = append(o.Intermediates, e.add(&schema.TensorT{Name: name + "/hidden", Shape: []int32{0}, Type: schema.TensorTypeINT8, Quantization: written(y)}))
	state := []int32{int32(l.Batch), int32(l.Units)}
	o.Inputs[ir.LSTMStates] = e.add(&schema.TensorT{Name: name + "/output_state", Shape: state, Type: schema.TensorTypeINT8, IsVariable: true, Quantization: written(y)})
	o.Inputs[ir.LSTMStates+1] = e.add(&schema.TensorT{Name: name + "/cell_state", Shape: state, Type: schema.TensorTypeINT16, IsVariable: true, Quantization: written(e.params[l.Cell])})
	return o
}

// gate adds the weights of one gate, once for all layers that have them.
func (e *emitter) gate(t int, w quantize.Weights, gate int) int32 {
	part := Form{Part: gate, Of: len(ir.LSTMGates)}
	for _, f := range e.leaf.forms[t] {
		if part.Tensor = f.Tensor; f == part {
			return int32(f.Tensor)
		}
	}
	of := e.sub.Tensors[t]
	codes, scale := w.Part(gate, len(ir.LSTMGates))
	at := e.add(&schema.TensorT{
		Name: fmt.Sprintf("%s_%s", of.Name, ir.LSTMGates[gate]), Shape: []int32{of.Shape[0] / int32(len(ir.LSTMGates)), of.Shape[1]}, Type: schema.TensorTypeINT8,
		Buffer:       e.leaf.Model.AddBuffer(tflite.Int8Bytes(codes)),
		Quantization: &schema.QuantizationParametersT{Scale: []float32{scale}, ZeroPoint: []int64{0}},
	})
	part.Tensor = int(at)
	e.leaf.forms[t] = append(e.leaf.forms[t], part)
	return at
}

// add appends a tensor.
func (e *emitter) add(t *schema.TensorT) int32 {
	t.HasRank = true
	e.sub.Tensors = append(e.sub.Tensors, t)
	return int32(len(e.sub.Tensors) - 1)
}
