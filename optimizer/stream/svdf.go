package stream

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// remembers reports whether a network has an SVDF, whose memory is state. That of a quantized one stays inside, since its int16 arithmetic is
// no other operator's: a sequence is as many of it that share one memory.
func remembers(m *tflite.Model) bool {
	return slices.ContainsFunc(m.Subgraph().Operators, func(o *schema.OperatorT) bool { return isMemory(m, o) })
}

func isMemory(m *tflite.Model, o *schema.OperatorT) bool {
	code, _ := m.Op(o)
	return code == schema.BuiltinOperatorSVDF
}

// openMemories writes every float SVDF (Nakkiran et al., Interspeech 2015) as a product by the weights of features, a depthwise convolution
// of what the last calls gave by those of time, and the mean of a unit's filters, whose weights are as many times larger as there are.
// What the earlier calls gave is a state.
func (s *Step) openMemories() error {
	g, err := ir.Parse(s.Model, 0)
	if err != nil {
		return err
	}
	sub := s.Model.Subgraph()
	operators := sub.Operators
	sub.Operators = nil
	for i, o := range operators {
		n := &g.Nodes[i]
		attr, ok := n.Attr.(ir.SVDF)
		if !ok || g.Input(n, 0).Type != schema.TensorTypeFLOAT32 {
			sub.Operators = append(sub.Operators, o)
			continue
		}
		if g.Input(n, 1).Const == nil || g.Input(n, 2).Const == nil || g.Input(n, 0).Shape[0] != 1 {
			return fmt.Errorf("%s: its weights are no constants, or it takes more than one sample a call", n)
		}
		if err := s.openMemory(o, attr, g.Input(n, 3)); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	moved := tflite.Compact(s.Model)
	for i := range s.States {
		s.States[i].Input, s.States[i].Output = moved[s.States[i].Input], moved[s.States[i].Output]
	}
	return nil
}

// activations are the operators that fused ones stand for.
var activations = map[ir.Activation]struct {
	alone schema.BuiltinOperator
	fused schema.ActivationFunctionType
}{
	ir.Relu:      {schema.BuiltinOperatorRELU, schema.ActivationFunctionTypeRELU},
	ir.ReluN1To1: {schema.BuiltinOperatorRELU_N1_TO_1, schema.ActivationFunctionTypeRELU_N1_TO_1},
	ir.Relu6:     {schema.BuiltinOperatorRELU6, schema.ActivationFunctionTypeRELU6},
}

// openMemory writes one SVDF. bias may be nil.
func (s *Step) openMemory(o *schema.OperatorT, attr ir.SVDF, bias *ir.Tensor) error {
	m, sub := s.Model, s.Model.Subgraph()
	y, features, time := o.Outputs[0], sub.Tensors[o.Inputs[1]], sub.Tensors[o.Inputs[2]]
	filters, memory, rank := time.Shape[0], time.Shape[1], int32(attr.Rank)
	name := sub.Tensors[y].Name
	tensor := func(what string, data []byte, kind schema.TensorType, shape ...int32) int32 {
		t := &schema.TensorT{Name: name + "/" + what, Type: kind, Shape: shape, HasRank: true}
		if data != nil {
			t.Buffer = m.AddBuffer(data)
		}
		sub.Tensors = append(sub.Tensors, t)
		return int32(len(sub.Tensors) - 1)
	}
	float := func(what string, shape ...int32) int32 { return tensor(what, nil, schema.TensorTypeFLOAT32, shape...) }
	ints := func(what string, values ...int32) int32 {
		return tensor(what, tflite.Int32Bytes(values), schema.TensorTypeINT32, int32(len(values)))
	}
	reshaped := func(x int32, what string, shape ...int32) int32 {
		out := float(what, shape...)
		m.AddOp(sub, schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: shape}, []int32{x, ints(what+"_shape", shape...)}, []int32{out})
		return out
	}
	weights, err := m.Float32s(time)
	if err != nil {
		return err
	}
	kernel := make([]float32, len(weights))
	for f := range filters {
		for k := range memory {
			kernel[k*filters+f] = weights[f*memory+k] * float32(rank)
		}
	}
	biases := make([]float32, filters)
	if bias != nil {
		of, err := m.Float32s(sub.Tensors[bias.Index])
		if err != nil {
			return err
		}
		for f := range biases {
			biases[f] = of[f/int(rank)]
		}
	}
	now := float("features", 1, features.Shape[0])
	m.AddOp(sub, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, o.Inputs[:2], []int32{now})
	row := reshaped(now, "row", 1, 1, 1, filters)
	if memory > 1 {
		held, all, next := float("memory", 1, memory-1, 1, filters), float("history", 1, memory, 1, filters), float("memory_next", 1, memory-1, 1, filters)
		m.AddOp(sub, schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: 1}, []int32{held, row}, []int32{all})
		m.AddOp(sub, schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{BeginMask: 0b1101, EndMask: 0b1111},
			[]int32{all, ints("begin", 0, 1, 0, 0), ints("end", 0, 0, 0, 0), ints("strides", 1, 1, 1, 1)}, []int32{next})
		s.States = append(s.States, State{Name: fmt.Sprintf("/%s_%d", sub.Tensors[held].Name, len(s.States)), Input: int(held), Output: int(next), variable: true})
		sub.Inputs, sub.Outputs = append(sub.Inputs, held), append(sub.Outputs, next)
		row = all
	}
	filtered := float("filtered", 1, 1, 1, filters)
	act, activated := activations[attr.Act]
	options := &schema.DepthwiseConv2DOptionsT{Padding: schema.PaddingVALID, StrideW: 1, StrideH: 1, DepthMultiplier: 1, DilationWFactor: 1, DilationHFactor: 1}
	if rank == 1 {
		options.FusedActivationFunction, activated = act.fused, false
	}
	m.AddOp(sub, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, options,
		[]int32{row, tensor("time", tflite.Float32Bytes(kernel), schema.TensorTypeFLOAT32, 1, memory, 1, filters), tensor("bias", tflite.Float32Bytes(biases), schema.TensorTypeFLOAT32, filters)}, []int32{filtered})
	units := filters / rank
	last := y
	if activated {
		last = float("units", 1, units)
	}
	if rank > 1 {
		m.AddOp(sub, schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{reshaped(filtered, "ranks", 1, units, rank), ints("axis", 2)}, []int32{last})
	} else {
		m.AddOp(sub, schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, units}}, []int32{filtered, ints("units_shape", 1, units)}, []int32{last})
	}
	if activated {
		m.AddOp(sub, act.alone, schema.BuiltinOptionsNONE, nil, []int32{last}, []int32{y})
	}
	return nil
}
