// Package sensitivity says what it costs to compress a layer, by technique and level, and which levels cost a network least.
//
// A cost is the expected squared error of the network's outputs, before a softmax, as a share of their variance: Σ S·Δ², where Δ is what a
// level does to the weights without any training and S the mean squared gradient of the outputs by weight, from one pass over some samples.
// It leaves out how weights and layers work together (the off-diagonal of JᵀJ), so that it ranks layers and levels rather than foretelling
// the error of large changes. Unlike the Fisher information, of which it is the part that the network decides, it does not vanish where a
// network is sure of every training sample.
package sensitivity

import (
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/weight"
)

// Sparsities, Clusters and Channels are the levels that are tried.
var (
	Sparsities = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95}
	Clusters   = []int{64, 48, 32, 24, 16, 12, 8, 6, 4}
	Channels   = []float64{0.125, 0.25, 0.375, 0.5, 0.625, 0.75} // share taken out
)

// Layer is a kernel, and what levels cost it.
type Layer struct {
	Name    string `json:"name"`
	Op      string `json:"operator"`
	Shape   []int  `json:"shape"`
	Weights int    `json:"weights"`
	// Kept says that prune and cluster stages leave the layer alone unless a rule names it, as depthwise kernels.
	Kept bool `json:"kept,omitempty"`
	// Prune, Cluster and Int8 are what the techniques cost; layers that are clustered already have no more of the first two.
	// Int8 is of the weights alone: what rounding activations costs is not in it.
	Prune   []Level `json:"prune,omitempty"`
	Cluster []Level `json:"cluster,omitempty"`
	Int8    float64 `json:"int8"`
	// Channels is what taking channels out costs, those that matter least. Of layers whose channels hang together the first has it, for all of
	// them, and Multiplications are what all of them take for one sample.
	Channels        []Level `json:"channels,omitempty"`
	Multiplications int64   `json:"multiplications,omitempty"`
}

// Level is a level of a technique.
type Level struct {
	Level float64 `json:"level"` // share of zeros or of channels that are out, or number of clusters
	Error float64 `json:"error"` // expected increase
	Bits  float64 `json:"bits"`  // of a weight, on average: entropy of the codes of a clustered layer, the share that is not zero of a pruned one; of channels the share that is left
}

// Of tries all levels on a layer's weights, which have so many scales in a leaf (weight.ScaleIndex). slopes are the mean squared gradients of the
// outputs by weight, in units of their spread.
func Of(k weight.Kernel, t *weight.Tensor, scales int, slopes []float32) (Layer, error) {
	l := Layer{Name: k.Name, Op: k.Op.String(), Shape: k.Shape, Weights: t.Len(), Kept: k.Depthwise()}
	values := t.Values()
	fresh := func() (*weight.Tensor, error) {
		copied, err := weight.New(t.Name, t.Shape, t.Axis, values)
		if err == nil {
			err = copied.SetMask(t.Mask)
		}
		return copied, err
	}
	if t.Codebooks != nil { // its codes are what the leaf holds
		return l, nil
	}
	q, err := fresh()
	if err == nil {
		err = q.Quantize(scales)
	}
	if err != nil {
		return l, err
	}
	l.Int8 = cost(slopes, values, q.Values())
	for _, s := range Sparsities {
		mask, err := prune.Mask(prune.Weights{Values: values, Shape: t.Shape, Axis: t.Axis, Mask: t.Mask}, s, prune.Pattern{})
		if err != nil {
			return l, err
		}
		left := make([]float32, len(values))
		for i, m := range mask {
			left[i] = values[i] * float32(m)
		}
		l.Prune = append(l.Prune, Level{Level: s, Error: cost(slopes, values, left), Bits: 1 - s})
	}
	for _, n := range Clusters {
		c, err := fresh()
		if err != nil {
			return l, err
		}
		result, err := cluster.Apply(c, cluster.Options{Clusters: n, Scales: scales, Entropy: cluster.DefaultEntropy})
		if err != nil {
			return l, err
		}
		l.Cluster = append(l.Cluster, Level{Level: float64(n), Error: cost(slopes, values, c.Values()), Bits: result.Bits})
	}
	return l, nil
}

// cost is the expected error when weights change.
func cost(slopes, before, after []float32) float64 {
	sum := 0.0
	for i, f := range slopes {
		d := float64(before[i]) - float64(after[i])
		sum += float64(f) * d * d
	}
	return sum
}
