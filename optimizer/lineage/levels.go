package lineage

import (
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/weight"
)

// Sensitivity is what levels of every technique cost each kernel of a network, from one pass over up to SensitivitySamples training samples;
// see package sensitivity. Kernels that no gradient reaches are left out, and noted.
func (r *Run) Sensitivity(ctx context.Context, n *Network) (layers []sensitivity.Layer, notes []string, err error) {
	if err := r.describe(ctx, n); err != nil {
		return nil, nil, err
	}
	w, err := r.open(n)
	if err != nil {
		return nil, nil, err
	}
	spread, err := w.spread(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := &channel.Structure{}
	if n.from.stream == nil { // else channels stay
		if s, err = channel.Couple(n.model); err != nil {
			return nil, nil, err
		}
	}
	slopes, gates, of := map[int][]float32{}, map[int]float64{}, w.makers(s)
	samples, err := w.gradients(ctx, func(o *answer.Output, gradient, z []float32, sample int) {
		outputGradient(o, gradient, spread[o.Index], sample)
	}, func(grads *float.Grads) {
		w.addSquares(slopes, grads)
		w.addGates(gates, of, grads)
	})
	if err != nil {
		return nil, nil, err
	}
	for _, square := range slopes {
		kernel.Scale(square, 1/float32(samples))
	}
	for unit := range gates {
		gates[unit] /= float64(samples)
	}
	channels, multiplications := map[int][]sensitivity.Level{}, map[int]int64{}
	if len(s.Groups) > 0 {
		if channels, multiplications, err = w.channelLevels(s, gates); err != nil {
			return nil, nil, err
		}
	}
	fewer, err := w.run.Leaf.fewerScales(w.network)
	if err != nil {
		return nil, nil, err
	}
	kernels := slices.DeleteFunc(slices.Clone(w.Kernels), func(k weight.Kernel) bool { return slopes[k.Tensor] == nil }) // noted by open
	layers = make([]sensitivity.Layer, len(kernels))
	err = panics.Each(len(kernels), ctx.Err, func(i int) error {
		k := kernels[i]
		scales, ok := fewer[k.Tensor]
		if !ok {
			scales = k.Shape[k.Axis]
		}
		var err error
		layers[i], err = sensitivity.Of(k, w.Tensors[k.Tensor], scales, slopes[k.Tensor])
		layers[i].Channels, layers[i].Multiplications = channels[k.Tensor], multiplications[k.Tensor]
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return layers, w.notes, nil
}

// outputGradient adds to gradient that of an output's values, in units of their spread, weighed by signs drawn by the sample's number: its
// square's mean is that of a single value's (Hutchinson's estimator). What all scores of a choice have in common changes no answer.
func outputGradient(o *answer.Output, gradient []float32, spread float64, sample int) {
	if gradient == nil || spread == 0 {
		return
	}
	by := 1 / (spread * math.Sqrt(float64(len(gradient))))
	u := draws(sample)
	signs := make([]float64, len(gradient))
	for i := range signs {
		signs[i] = by
		if u() < 0.5 {
			signs[i] = -by
		}
	}
	if o.Answers() && len(signs) > o.Positions {
		for scores := range slices.Chunk(signs, len(signs)/o.Positions) { // of a choice
			floats.AddConst(-stat.Mean(scores, nil), scores)
		}
	}
	for i, s := range signs {
		gradient[i] += float32(s)
	}
}

// spread is the standard deviation of each output's loss tensor over the samples that sensitivities are taken from, by output.
func (w *Work) spread(ctx context.Context) (map[int]float64, error) {
	w.net.Refresh()
	exec := w.net.NewExec(false)
	if err := exec.SetBatch(1); err != nil {
		return nil, err
	}
	inputs := make([][]float32, len(w.net.Graph.Inputs))
	for i := range inputs {
		inputs[i] = exec.Input(i)
	}
	values := map[int][]float64{} // a few of every sample's, by output
	drawn, outputs := w.run.draw(SensitivitySamples), w.run.outputs(w.network)
	feed, err := w.run.feedOf(w.network, w.net, drawn, true)
	if err != nil {
		return nil, err
	}
	for sample := range drawn {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := feed(sample, inputs); err != nil {
			return nil, err
		}
		exec.Forward()
		for i := range outputs {
			if o := &outputs[i]; o.Trained() {
				values[o.Index] = append(values[o.Index], centred(o, exec.Tensor(o.LossTensor(w.net.Graph)))...)
			}
		}
	}
	out := map[int]float64{}
	for i, v := range values {
		out[i] = stat.StdDev(v, nil)
	}
	return out, nil
}

// centred are at most 4096 of an output's values, scores of a choice without their mean.
func centred(o *answer.Output, z []float32) []float64 {
	row := 1
	if o.Answers() {
		row = max(len(z)/o.Positions, 1)
	}
	var out []float64
	for scores := range slices.Chunk(z, row) {
		if len(out) >= 4096 {
			break
		}
		from := len(out)
		for _, v := range scores {
			out = append(out, float64(v))
		}
		if row > 1 {
			floats.AddConst(-stat.Mean(out[from:], nil), out[from:])
		}
	}
	return out
}
