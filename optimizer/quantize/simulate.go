package quantize

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
)

// Simulate compiles the float model m, which the plan was made from, with the arithmetic of its int8 form: weights are the values of
// their integers, activations are fake-quantized. Nothing of an emitted file goes into it.
func (p *Plan) Simulate(m *tflite.Model, params []Params, weights map[int]Weights, microBatch int) (*float.Network, error) {
	m = m.Clone()
	for _, l := range p.Layers {
		w, ok := weights[l.Weight]
		if !ok {
			return nil, fmt.Errorf("layer %q has no integers", l.Name)
		}
		if t := m.Subgraph().Tensors[l.Weight]; m.IsConst(t) {
			m.SetData(t, tflite.Float32Bytes(w.Values(p.Graph.Tensors[l.Weight].Shape, l.Axis)))
		}
	}
	net, err := float.Compile(m, microBatch)
	if err != nil {
		return nil, err
	}
	_, err = p.Attach(net, params)
	return net, err
}

// CheckIntegers reports integers that do not stand for the weights of m: those of a layer further than half a step from its values.
// Scales that were raised for the sake of a bias make steps larger, not errors.
func (p *Plan) CheckIntegers(m *tflite.Model, weights map[int]Weights) error {
	for _, l := range p.Layers {
		w, shape := weights[l.Weight], p.Graph.Tensors[l.Weight].Shape
		inner := product(shape[l.Axis+1:])
		values := w.Values(shape, l.Axis)
		for i, v := range p.constant(m, l.Weight) {
			step := float64(w.Scale[i/inner%shape[l.Axis]%len(w.Scale)])
			if d := math.Abs(float64(v) - float64(values[i])); !(d <= 0.5001*step) {
				return fmt.Errorf("layer %q: weight %d is %v, its integer means %v, more than half a step of %v away", l.Name, i, v, values[i], step)
			}
		}
	}
	return nil
}
