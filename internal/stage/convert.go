package stage

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// The conversions from the manifest's sections to the optimizer's options. Defaults that are not the optimizer's own are here.

// DatasetSpec converts the dataset's section: the fields have the same names.
func DatasetSpec(d v1alpha1.DatasetSource) (dataset.Spec, error) {
	d.ModelSource = v1alpha1.ModelSource{}
	var spec dataset.Spec
	data, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(data, &spec)
	}
	return spec, fault.As(fault.Spec, err)
}

// numbers collects the first error of several conversions.
type numbers struct{ err error }

func (n *numbers) float(d *v1alpha1.Decimal, otherwise float64) float64 {
	v, err := d.Float(otherwise)
	if err != nil && n.err == nil {
		n.err = fault.As(fault.Spec, err)
	}
	return v
}

// agree reports a sparsity that the pattern it comes with contradicts: zeros of every so many weights are a sparsity themselves.
func (n *numbers) agree(layers string, sparsity float64, p prune.Pattern) {
	if p.Of == 0 || math.Abs(p.Share()-sparsity) < 1e-6 || n.err != nil {
		return
	}
	of := "prune"
	if layers != "" {
		of = fmt.Sprintf("rule %q", layers)
	}
	n.err = fault.As(fault.Spec, fmt.Errorf("%s: pattern %s is a sparsity of %.4g, sparsity says %v: write %.4g, or choose another pattern", of, p, p.Share(), sparsity, p.Share()))
}

// training converts the effective training section.
func training(t v1alpha1.Training) (train.Config, error) {
	c, n := train.DefaultConfig(), &numbers{}
	c.Epochs = int(v1alpha1.Or(t.Epochs, v1alpha1.DefaultEpochs))
	if c.Seek = t.Seeks(); c.Seek {
		c.Epochs = int(v1alpha1.Or(t.MaxEpochs, v1alpha1.MostEpochs))
		c.MaxTime = time.Duration(n.float(t.MaxMinutes, 0) * float64(time.Minute))
	}
	c.BatchSize = int(v1alpha1.Or(t.BatchSize, v1alpha1.DefaultBatchSize))
	c.FindRate, c.LearningRate = t.LearningRate == nil, n.float(t.LearningRate, 0)
	c.Momentum = n.float(t.Momentum, c.Momentum)
	c.WeightDecay = n.float(t.WeightDecay, 0)
	c.StepEpochs = int(v1alpha1.Or(t.StepEpochs, int32(c.StepEpochs)))
	c.StepFactor = n.float(t.StepFactor, c.StepFactor)
	c.WarmupEpochs = n.float(t.WarmupEpochs, 0)
	c.ClipNorm = n.float(t.ClipNorm, 0)
	c.LabelSmoothing = n.float(t.LabelSmoothing, 0)
	c.EarlyStop.Patience = int(v1alpha1.Or(t.EarlyStopEpochs, 0))
	c.Seed = v1alpha1.Or(t.Seed, v1alpha1.DefaultSeed)
	if t.Optimizer != "" {
		c.Optimizer = train.Optimizer(t.Optimizer)
	}
	if t.Schedule != "" {
		c.Schedule = train.Schedule(t.Schedule)
	}
	for i := range t.ClassWeights {
		c.ClassWeights = append(c.ClassWeights, n.float(&t.ClassWeights[i], 1))
	}
	c.Distillation.Weight = 0
	if d := t.Distillation; d != nil {
		c.Distillation = train.Distillation{Weight: n.float(d.Weight, 0.5), Temperature: n.float(d.Temperature, 2)}
	}
	if n.err != nil {
		return c, n.err
	}
	return c, fault.As(fault.Spec, c.Check())
}

// reconstruction is whether a stage starts from reconstructed weights: where nothing is said, if it is short and they are quickly made.
func reconstruction(given *bool) lineage.Reconstruction {
	switch {
	case given == nil:
		return lineage.Auto
	case *given:
		return lineage.On
	}
	return lineage.Off
}

func pruneTechnique(p v1alpha1.Prune) (lineage.Technique, error) {
	n := &numbers{}
	if p.Structure == v1alpha1.PruneChannels {
		c := lineage.Channels{
			Options:  channel.Options{Share: n.float(p.Channels, 0), Multiplications: n.float(p.Multiplications, 0)},
			Branches: p.Branches, Reconstruct: reconstruction(p.Reconstruct),
		}
		for _, r := range p.Rules {
			rule := channel.Rule{Layers: r.Layers, Skip: r.Skip}
			if r.Channels != nil {
				share := n.float(r.Channels, 0)
				rule.Share = &share
			}
			c.Rules = append(c.Rules, rule)
		}
		return c, n.err
	}
	o := prune.Options{Sparsity: n.float(&p.Sparsity, 0), Scope: prune.Scope(p.Scope), Schedule: prune.Schedule{Kind: prune.Kind(p.Schedule)}}
	if v1alpha1.Or(p.Reconstruct, false) {
		o.Schedule.Kind = prune.Constant
	}
	pattern, err := prune.ParsePattern(p.Pattern)
	if err != nil {
		return nil, fault.As(fault.Spec, err)
	}
	o.Pattern = pattern
	n.agree("", o.Sparsity, pattern)
	for _, r := range p.Rules {
		rule := prune.Rule{Layers: r.Layers, Skip: r.Skip}
		if r.Sparsity != nil {
			s := n.float(r.Sparsity, 0)
			rule.Sparsity = &s
			if r.Pattern == "" {
				n.agree(r.Layers, s, o.Pattern)
			}
		}
		if r.Pattern != "" {
			pattern, err := prune.ParsePattern(r.Pattern)
			if err != nil {
				return nil, fault.As(fault.Spec, err)
			}
			rule.Pattern = &pattern
			if rule.Sparsity != nil {
				n.agree(r.Layers, *rule.Sparsity, pattern)
			}
		}
		o.Rules = append(o.Rules, rule)
	}
	return lineage.Prune{Options: o, Reconstruct: reconstruction(p.Reconstruct)}, n.err
}

func clusterTechnique(c v1alpha1.Cluster) (lineage.Technique, error) {
	n := &numbers{}
	t := lineage.Cluster{
		Options: cluster.Options{Clusters: int(c.Clusters), Scope: weight.Scope(c.Scope), Entropy: n.float(c.Entropy, cluster.DefaultEntropy)},
		Measure: c.Sensitivity, Reconstruct: reconstruction(c.Reconstruct),
	}
	for _, r := range c.Rules {
		rule := cluster.Rule{Layers: r.Layers, Skip: r.Skip, Clusters: int(v1alpha1.Or(r.Clusters, 0))}
		if r.Entropy != nil {
			e := n.float(r.Entropy, 0)
			rule.Entropy = &e
		}
		t.Rules = append(t.Rules, rule)
	}
	return t, n.err
}

func quantizeTechnique(q v1alpha1.Quantize) (lineage.Technique, error) {
	return lineage.Quantize{Ranges: train.RangeMode(q.Ranges), Free: q.Preserve == "None"}, nil
}

// leafOptions converts the options that hold for a stage's leaf.
func leafOptions(o v1alpha1.LeafOptions) (lineage.LeafOptions, error) {
	n := &numbers{}
	methods := map[string]quantize.Method{"": quantize.MinMax}
	for _, m := range quantize.Methods {
		methods[m.String()] = m
	}
	method, ok := methods[o.Calibration.Method]
	if !ok {
		return lineage.LeafOptions{}, fault.As(fault.Spec, fmt.Errorf("calibration method %q is not known", o.Calibration.Method))
	}
	var rules []lineage.LeafRule
	for _, r := range o.Rules {
		rules = append(rules, lineage.LeafRule{Layers: r.Layers, Activations: lineage.Activations(r.Activations), Weights: lineage.Weights(r.Weights)})
	}
	return lineage.LeafOptions{
		Activations: lineage.Activations(o.Activations), Weights: lineage.Weights(o.Weights), Rules: rules,
		IO: lineage.IO(o.InputOutput), KeepFloat: o.KeepFloat, PerTensorDense: v1alpha1.Or(o.PerTensorDense, false),
		Calibration: quantize.Calibration{Method: method, Percentile: n.float(o.Calibration.Percentile, 0)},
		Samples:     int(v1alpha1.Or(o.Calibration.Samples, v1alpha1.DefaultCalibrationSample)),
		Reconstruct: v1alpha1.Or(o.Reconstruct, false), Equalize: o.Equalize, Encode: lineage.Encoding(o.Encode),
		Bare: o.Names == v1alpha1.DropNames,
	}, n.err
}
