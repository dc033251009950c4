package quantize

import (
	"context"
	"fmt"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// PTQOptions configure PTQ. The zero value is min-max calibration, int8 inputs and outputs, per-channel weights.
type PTQOptions struct {
	Options
	Calibration Calibration
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
	statistics, err := Calibrate(ctx, net, plan, options.Calibration, feed, n)
	if err != nil {
		return nil, err
	}
	params := plan.Params(statistics.Ranges)
	weights, err := plan.Stored(m)
	if err != nil {
		return nil, err
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
