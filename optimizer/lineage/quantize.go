package lineage

import (
	"context"
	"errors"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/train"
)

var quantizeKind = Kind{Name: "quantize", Final: true, Typical: func() Technique { return Quantize{} }}

// Quantize trains with int8 arithmetic in the loop. Zeros and clusters of its input are kept: of a sparse input that is PQAT, of a
// clustered one CQAT, of one that is both PCQAT, else QAT.
type Quantize struct {
	Ranges train.RangeMode // default Tracked
	// Free trains weights without regard to the zeros and clusters of the input.
	Free bool
}

// Kind is what it is registered as.
func (Quantize) Kind() Kind { return quantizeKind }

// String sums the settings up.
func (Quantize) String() string { return "int8 training" }

// Check resolves the settings for the network's weights.
func (Quantize) Check(*Network) error { return nil }

// Apply makes the network.
func (q Quantize) Apply(ctx context.Context, n *Network, w *Work) (*Network, error) {
	if w.run.Leaf.equalizes() {
		if err := w.equalize(ctx); err != nil {
			return nil, err
		}
	}
	if q.Free {
		if err := w.forget(); err != nil {
			return nil, err
		}
	}
	plan, ranges, err := w.quantize(ctx, q.Ranges)
	if err != nil {
		return nil, err
	}
	if err := w.train(ctx, ranges, nil); err != nil {
		return nil, err
	}
	return w.quantized(plan, ranges)
}

// equalize goes on with the network that has its channels equalized.
func (w *Work) equalize(ctx context.Context) error {
	n, note, err := w.run.equalize(ctx, w.network)
	if err != nil {
		return err
	}
	if note != "" {
		w.Note("%s", note)
	}
	return w.reopen(n)
}

// quantize gives weights their integers and activations their ranges, and has the network compute with them.
func (w *Work) quantize(ctx context.Context, mode train.RangeMode) (*quantize.Plan, *train.Ranges, error) {
	n := w.network
	plan, err := w.run.plan(n)
	if err != nil {
		return nil, nil, err
	}
	fewer, err := w.run.Leaf.fewerScales(n)
	if err != nil {
		return nil, nil, err
	}
	integers := n.integers()
	for _, layer := range plan.Layers {
		t := w.Tensors[layer.Weight]
		if t.Scale != nil {
			if fewer.lacks(layer.Weight, len(t.Scale)) {
				return nil, nil, errScales(layer.Name)
			}
			continue
		}
		given, ok := integers[layer.Weight]
		if ok && !fewer.lacks(layer.Weight, len(given.Scale)) && given.Int4 == layer.Int4 && given.Holds(t.Values(), t.Shape, t.Axis) {
			err = t.QuantizeWith(given.Scale)
		} else {
			err = t.Quantize(layer.Scales)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	ranges, err := w.seed(ctx, plan, mode)
	if err == nil && w.run.Leaf.Reconstruct {
		err = w.reconstruct(ctx, nil, (*reconstruction).quantize)
	}
	return plan, ranges, err
}

// quantized returns the network that the weights make now, there for its leaf.
func (w *Work) quantized(plan *quantize.Plan, ranges *train.Ranges) (*Network, error) {
	made, err := w.Done()
	if err != nil {
		return nil, err
	}
	final := &quantized{plan: plan, params: quantize.ParamsOf(ranges.Quants), weights: map[int]quantize.Weights{}}
	for _, layer := range plan.Layers {
		if final.weights[layer.Weight], err = quantize.WeightsOf(w.Tensors[layer.Weight]); err != nil {
			return nil, err
		}
	}
	made.final = final
	return made, nil
}

// forget drops what the input's weights are held to.
func (w *Work) forget() error {
	for _, k := range w.Kernels {
		t, err := w.Tensors[k.Tensor].With(w.Tensors[k.Tensor].Values(), nil)
		if err != nil {
			return err
		}
		w.Tensors[k.Tensor] = t
	}
	w.Note("zeros and clusters of the input are not kept: preserve is None")
	return nil
}

// seed finds the activation ranges with the weights' integers in place and attaches the fake quantization.
func (w *Work) seed(ctx context.Context, plan *quantize.Plan, mode train.RangeMode) (*train.Ranges, error) {
	if mode == "" {
		mode = train.Tracked
	}
	for _, p := range w.net.Params {
		if t, ok := w.Tensors[p.Tensor]; ok {
			t.Materialize(p.Value)
		}
	}
	w.net.Refresh()
	statistics, err := w.run.calibrate(ctx, w.network, w.net, plan)
	if err != nil {
		return nil, err
	}
	if statistics.Note != "" {
		w.Note("%s", statistics.Note)
	}
	quants, err := plan.Attach(w.net, plan.Params(statistics.Ranges))
	if err != nil {
		return nil, err
	}
	if len(quants) == 0 {
		return nil, errors.New("nothing is quantized")
	}
	return &train.Ranges{Plan: plan, Quants: quants, Range: statistics.Ranges, Mode: mode}, nil
}
