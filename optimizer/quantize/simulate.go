package quantize

import (
	"fmt"

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

// Simulation compiles the imported model with the fake quantization of its int8 form attached.
func (im *Imported) Simulation(microBatch int) (*float.Network, error) {
	net, err := float.Compile(im.Model, microBatch)
	if err != nil {
		return nil, err
	}
	plan, err := PlanOf(im.Model, Options{Known: im.Known, Float: im.Float})
	if err != nil {
		return nil, err
	}
	acts, err := plan.Attach(net, plan.Params(make([]Range, len(plan.Groups))))
	if err != nil {
		return nil, err
	}
	for t, act := range net.Act {
		for g, group := range plan.Groups {
			if act == acts[g] && group.Fixed == nil {
				net.Act[t] = nil // was float, or a constant whose values are on their grid already
			}
		}
	}
	net.Refresh()
	return net, nil
}
