package optimizer

import (
	"context"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// Prune sets weights to zero by the options' schedule while it trains. The outcome's model holds exactly the planned zeros.
func (t *Task) Prune(ctx context.Context, options prune.Options) (*Outcome, error) {
	s, err := t.open(t.Input)
	if err != nil {
		return nil, err
	}
	targets, notes, err := prune.NewPlan(s.kernels, options)
	if err != nil {
		return nil, err
	}
	s.notes = append(s.notes, notes...)
	tensors := make([]*weight.Tensor, len(targets))
	for i, target := range targets {
		tensors[i] = s.tensors[target.Tensor]
	}
	pruner, err := prune.NewPruner(targets, tensors, options, s.steps())
	if err != nil {
		return nil, err
	}
	before := func(step, _ int) error {
		_, err := pruner.Before(step)
		return err
	}
	out := &Outcome{}
	if out.Training, err = s.train(ctx, nil, before); err != nil {
		return nil, err
	}
	if err := pruner.Finish(); err != nil {
		return nil, err
	}
	for i, target := range targets {
		s.note("weights %q: %.2f %% zeros", target.Name, 100*sparsity(tensors[i].Mask))
	}
	return s.deliver(ctx, out)
}

// ClusterOptions say how weights are clustered.
type ClusterOptions struct {
	cluster.Options
	// Measure asks for errors to count by each weight's mean squared gradient; it fills in Options.Sensitivity.
	Measure bool
	Rules   []cluster.Rule
}

// Cluster makes the weights of a tensor share at most so many codes, keeps the zeros of its input, and trains codes and members.
func (t *Task) Cluster(ctx context.Context, options ClusterOptions) (*Outcome, error) {
	s, err := t.open(t.Input)
	if err != nil {
		return nil, err
	}
	targets, notes, err := cluster.NewPlan(s.kernels, options.Clusters, options.Rules)
	if err != nil {
		return nil, err
	}
	s.notes = append(s.notes, notes...)
	var sensitivity map[int][]float32
	if options.Measure {
		if sensitivity, err = s.sensitivity(ctx); err != nil {
			return nil, err
		}
	}
	for _, target := range targets {
		w := s.tensors[target.Tensor]
		if w.Codebooks != nil {
			s.note("weights %q are clustered already and stay as they are", target.Name)
			continue
		}
		o := options.Options
		o.Clusters, o.Sensitivity = target.Clusters, sensitivity[target.Tensor]
		result, err := cluster.Apply(w, o)
		if err != nil {
			return nil, err
		}
		s.note("weights %q: %d codes at %.1f dB, %.2f bits a weight before training", target.Name, result.Codes, result.SNR, result.Bits)
	}
	out := &Outcome{}
	if out.Training, err = s.train(ctx, nil, nil); err != nil {
		return nil, err
	}
	return s.deliver(ctx, out)
}

// deliver writes the float model and makes its leaf.
func (s *session) deliver(ctx context.Context, out *Outcome) (*Outcome, error) {
	var err error
	if out.Model, out.States, err = s.floatModel(); err != nil {
		return nil, err
	}
	return out, s.ptq(ctx, out)
}

// QuantizeOptions say how quantization-aware training is done. The leaf's own options are the Task's.
type QuantizeOptions struct {
	Ranges train.RangeMode // default Tracked
	// Free trains weights without regard to the zeros and clusters of the input.
	Free bool
}

// Quantize trains with int8 arithmetic in the loop and emits the integers it trained. Zeros and clusters of its input are kept: of a
// sparse input that is PQAT, of a clustered one CQAT, of one that is both PCQAT, else QAT.
func (t *Task) Quantize(ctx context.Context, options QuantizeOptions) (*Outcome, error) {
	s, err := t.open(t.Input)
	if err != nil {
		return nil, err
	}
	if options.Free {
		if err := s.forget(); err != nil {
			return nil, err
		}
	}
	plan, err := s.plan()
	if err != nil {
		return nil, err
	}
	for _, layer := range plan.Layers {
		w := s.tensors[layer.Weight]
		if w.Scale == nil {
			if err := w.Quantize(layer.PerChannel); err != nil {
				return nil, err
			}
		}
	}
	ranges, err := s.calibrate(ctx, plan, options.Ranges)
	if err != nil {
		return nil, err
	}
	out := &Outcome{}
	if out.Training, err = s.train(ctx, ranges, nil); err != nil {
		return nil, err
	}
	leaf, trained, err := s.emit(plan, quantize.ParamsOf(ranges.Quants), out)
	if err != nil {
		return nil, err
	}
	s.model = trained
	return out, s.finish(ctx, out, leaf, plan, nil)
}

// forget drops what the input's weights are held to.
func (s *session) forget() error {
	for _, k := range s.kernels {
		w, err := weight.New(k.Name, k.Shape, k.Axis, s.tensors[k.Tensor].Values())
		if err != nil {
			return err
		}
		s.tensors[k.Tensor] = w
	}
	s.note("zeros and clusters of the input are not kept: preserve is None")
	return nil
}

// calibrate seeds the activation ranges with the weights' integers in place and attaches the fake quantization.
func (s *session) calibrate(ctx context.Context, plan *quantize.Plan, mode train.RangeMode) (*train.Ranges, error) {
	for _, p := range s.net.Params {
		if w, ok := s.tensors[p.Tensor]; ok {
			w.Materialize(p.Value)
		}
	}
	s.net.Refresh()
	statistics, err := quantize.Calibrate(ctx, s.net, plan, s.Leaf.Calibration, quantize.FeedOf(s.Data.Train), s.samples())
	if err != nil {
		return nil, err
	}
	quants, err := plan.Attach(s.net, plan.Params(statistics.Ranges))
	if err != nil {
		return nil, err
	}
	if mode == "" {
		mode = train.Tracked
	}
	return &train.Ranges{Plan: plan, Quants: quants, Range: statistics.Ranges, Mode: mode}, nil
}

// emit copies the trained integers into the leaf, and returns the float model they stand for.
func (s *session) emit(plan *quantize.Plan, params []quantize.Params, out *Outcome) (*quantize.Leaf, *tflite.Model, error) {
	model, states, err := s.floatModel()
	if err != nil {
		return nil, nil, err
	}
	out.States = states
	weights := map[int]quantize.Weights{}
	for _, layer := range plan.Layers {
		if weights[layer.Weight], err = quantize.WeightsOf(s.tensors[layer.Weight]); err != nil {
			return nil, nil, err
		}
	}
	leaf, err := quantize.Emit(model, plan, params, weights)
	return leaf, model, err
}
