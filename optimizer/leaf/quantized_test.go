package leaf

import (
	"context"
	"math/rand/v2"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
)

// ptqOptions configure quantized. The zero value is min-max calibration, int8 inputs and outputs, per-channel weights.
type ptqOptions struct {
	quantize.Options
	Calibration quantize.Calibration
}

// ptqResult is a leaf and how it came about.
type ptqResult struct {
	*Emitted
	Plan       *quantize.Plan
	Params     []quantize.Params // by group
	Statistics *quantize.Statistics
}

// quantized quantizes a float model after training: plan, calibration on samples 0 … n−1, emission. A model whose weights an earlier
// stage clustered keeps exactly its codes; zeros stay zeros in any case.
func quantized(ctx context.Context, m *tflite.Model, options ptqOptions, feed quantize.Feed, n int) (*ptqResult, error) {
	if err := tflite.CheckFinite(m); err != nil {
		return nil, err
	}
	net, err := float.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	plan, err := quantize.PlanOf(m, options.Options)
	if err != nil {
		return nil, err
	}
	statistics, err := quantize.Calibrate(ctx, net, plan, options.Calibration, feed, n)
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
	return &ptqResult{Emitted: leaf, Plan: plan, Params: params, Statistics: statistics}, nil
}

// noise feeds normal values, different by sample.
func noise(i int, inputs [][]float32) error {
	for k, x := range inputs {
		rng := rand.New(rand.NewPCG(uint64(1000*k+i), 1))
		for j := range x {
			x[j] = float32(rng.NormFloat64())
		}
	}
	return nil
}
