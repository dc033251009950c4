package quantize

import (
	"context"
	"fmt"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// PTQOptions configure PTQ. The zero value is min-max calibration, int8 inputs and outputs, per-channel weights.
type PTQOptions struct {
	Options
	Calibration Calibration
	// BiasCorrection subtracts from each bias what the quantization of the weights adds to the layer's output on average over
	// the calibration samples. Integers of weights are not affected.
	BiasCorrection bool
}

// PTQResult is a leaf and how it came about.
type PTQResult struct {
	*Leaf
	Plan       *Plan
	Params     []Params // by group
	Statistics *Statistics
}

// PTQ quantizes a float model after training: plan, calibration on samples 0 … n−1, emission. A model whose weights an earlier
// stage clustered keeps exactly its codes; zeros stay zeros in any case.
func PTQ(ctx context.Context, m *tflite.Model, options PTQOptions, feed Feed, n int) (*PTQResult, error) {
	if err := tflite.CheckFinite(m); err != nil {
		return nil, err
	}
	net, err := float.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(m, options.Options)
	if err != nil {
		return nil, err
	}
	calibration := options.Calibration
	calibration.Means = calibration.Means || options.BiasCorrection
	statistics, err := Calibrate(ctx, net, plan, calibration, feed, n)
	if err != nil {
		return nil, err
	}
	params := plan.Params(statistics.Ranges)
	weights, err := plan.Stored(m)
	if err != nil {
		return nil, err
	}
	if options.BiasCorrection {
		if m, err = plan.correct(m, params, weights, statistics.Means); err != nil {
			return nil, err
		}
	}
	leaf, err := Emit(m, plan, params, weights)
	if err != nil {
		return nil, err
	}
	return &PTQResult{Leaf: leaf, Plan: plan, Params: params, Statistics: statistics}, nil
}

// planOf plans a model at the file's own shapes.
func planOf(m *tflite.Model, options Options) (*Plan, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, err
	}
	return NewPlan(g, options)
}

// Stored returns the integers that an earlier stage chose for the weights of m, by tensor index: those of the layers whose
// state (weight.ReadState) is clustered.
func (p *Plan) Stored(m *tflite.Model) (map[int]Weights, error) {
	states, err := weight.ReadState(m)
	if err != nil {
		return nil, err
	}
	weights := map[int]Weights{}
	for _, l := range p.Layers {
		s, ok := states[l.Weight]
		if !ok || !s.Clustered() {
			continue
		}
		codes, err := s.Codes(p.constant(m, l.Weight))
		if err != nil {
			return nil, fmt.Errorf("clustered weights %q: %w", l.Name, err)
		}
		weights[l.Weight] = Weights{Codes: codes, Scale: s.Scale}
	}
	return weights, nil
}

// correct returns m with corrected biases.
func (p *Plan) correct(m *tflite.Model, params []Params, weights map[int]Weights, means [][]float32) (*tflite.Model, error) {
	m = m.Clone()
	for i, l := range p.Layers {
		if l.Bias == None || p.Graph.Nodes[l.Node].Op == schema.BuiltinOperatorTRANSPOSE_CONV {
			continue
		}
		w, bias := &p.Graph.Tensors[l.Weight], p.constant(m, l.Bias)
		values := p.constant(m, l.Weight)
		input := params[p.inputGroup(l)]
		q, ok := weights[l.Weight]
		if !ok {
			var err error
			if q, err = Symmetric(l.Name, values, w.Shape, l.Axis, l.PerChannel, scaleFloor(bias, input.Scale)); err != nil {
				return nil, err
			}
		}
		corrected := correctBias(w.Shape, bias, values, q, l.Axis, means[i])
		m.SetData(m.Subgraph().Tensors[l.Bias], tflite.Float32Bytes(corrected))
	}
	return m, nil
}
