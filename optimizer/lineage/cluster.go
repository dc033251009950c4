package lineage

import (
	"context"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/weight"
)

var clusterKind = Kind{Name: "cluster", Typical: func() Technique {
	return Cluster{Options: cluster.Options{Clusters: 16, Entropy: cluster.DefaultEntropy}}
}}

// Cluster makes the weights of a tensor share at most so many codes, keeps the zeros of its input, and trains codes and members. Kernels
// that have one scale in a leaf, by LeafOptions.PerTensorDense, are clustered with scope Tensor; those of an LSTM have a scale per gate, unless
// scope Channel is asked for, which leaves it its steps.
type Cluster struct {
	cluster.Options
	// Measure asks for errors to count by each weight's mean squared gradient; it fills in Options.Sensitivity.
	Measure bool
	Rules   []cluster.Rule
	// Reconstruct gives codes out by the error of the layer's output, and fits scales and biases to that, before training.
	Reconstruct Reconstruction
}

// Kind is what it is registered as.
func (Cluster) Kind() Kind { return clusterKind }

// String sums the settings up.
func (c Cluster) String() string {
	if c.Entropy == cluster.DefaultEntropy {
		return fmt.Sprintf("%d clusters", c.Clusters)
	}
	return fmt.Sprintf("%d clusters, entropy %v", c.Clusters, c.Entropy)
}

// Check resolves the settings for the network's weights.
func (c Cluster) Check(n *Network) error {
	_, _, err := cluster.NewPlan(n.Kernels(), c.Options, c.Rules)
	return err
}

// Apply makes the network.
func (c Cluster) Apply(ctx context.Context, n *Network, w *Work) (*Network, error) {
	targets, notes, err := cluster.NewPlan(w.Kernels, c.Options, c.Rules)
	if err != nil {
		return nil, err
	}
	w.notes = append(w.notes, notes...)
	var sensitivity map[int][]float32
	if c.Measure {
		if sensitivity, err = w.sensitivity(ctx); err != nil {
			return nil, err
		}
	}
	fewer, err := w.run.Leaf.fewerScales(n)
	if err != nil {
		return nil, err
	}
	options := map[int]cluster.Options{} // of the tensors to cluster
	for _, target := range targets {
		t := w.Tensors[target.Tensor]
		w.chosen[target.Tensor] = true
		fits := !fewer.lacks(target.Tensor, len(t.Scale))
		if t.Codebooks != nil && t.State().Clusters <= target.Clusters && fits {
			w.Note("weights %q are clustered already, %d codes, and stay as they are", target.Name, t.State().Clusters)
			continue
		}
		if t.Codebooks != nil {
			if w.Tensors[target.Tensor], err = t.Float(); err != nil {
				return nil, err
			}
		}
		o := c.Options
		o.Clusters, o.Entropy, o.Sensitivity = target.Clusters, target.Entropy, sensitivity[target.Tensor]
		scales, ok := fewer[target.Tensor]
		switch {
		case !ok:
		case o.Scope != weight.PerChannel && scales == 1:
			o.Scope = weight.PerTensor
		case o.Scope != weight.PerChannel:
			o.Scales = scales
		case w.run.Leaf.perTensorDense():
			return nil, errScales(target.Name)
		}
		options[target.Tensor] = o
	}
	reconstructs, err := w.reconstructsClusters(c.Reconstruct)
	if err != nil {
		return nil, err
	}
	if reconstructs {
		if err := w.reconstructClustered(ctx, options, c.Reconstruct == Auto); err != nil {
			return nil, err
		}
	}
	for _, target := range targets {
		o, ok := options[target.Tensor]
		if !ok || w.Tensors[target.Tensor].Codebooks != nil { // reconstructed
			continue
		}
		result, err := cluster.Apply(w.Tensors[target.Tensor], o)
		if err != nil {
			return nil, err
		}
		w.clustered(target.Name, result)
	}
	if err := w.Train(ctx, nil); err != nil {
		return nil, err
	}
	return w.Done()
}

// clustered notes what was done to weights.
func (w *Work) clustered(name string, r cluster.Result) {
	at := fmt.Sprintf("at %.1f dB", r.SNR)
	if math.IsInf(r.SNR, 1) { // of weights that are all zero, or few values
		at = "exactly"
	}
	w.Note("weights %q: %d codes %s, %.2f bits a weight before training", name, r.Codes, at, r.Bits)
}
