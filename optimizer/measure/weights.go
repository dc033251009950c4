package measure

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// NoClusters is the value of Clusters for a leaf without clustered tensors: all int8 codes are allowed.
const NoClusters = 255

// Clustered is a weight tensor that the lineage of a leaf has clustered.
type Clustered struct {
	Tensor     int  // in the leaf
	PerChannel bool // codes were chosen for each output channel: count within a channel
}

// clusteredIn recognises the clustered tensors of a file, if most of its weights are.
func clusteredIn(m *tflite.Model) ([]Clustered, error) {
	findings, err := weight.Load(m, weight.DefaultThresholds)
	if err != nil {
		return nil, err
	}
	var list []Clustered
	tensors := map[int]bool{}
	for _, f := range findings {
		if f.State.Clustered() {
			float := m.Subgraph().Tensors[f.Tensor].Type == schema.TensorTypeFLOAT32 // its values are codes times the channel's scale
			list = append(list, Clustered{Tensor: f.Tensor, PerChannel: f.State.Scope == weight.PerChannel || float})
			tensors[f.Tensor] = true
		}
	}
	if !weight.MostlyClustered(weight.Kernels(m), tensors) {
		return nil, nil
	}
	return list, nil
}

// sparsity returns the share of zeros among the weights of convolutions and fully connected layers. Depthwise kernels and biases
// do not count, whether they hold zeros or not, so that all leaves of a model have the same denominator. 0 without such weights.
func sparsity(m *tflite.Model) (float64, error) {
	zeros, total := 0, 0
	for _, k := range weight.Kernels(m) {
		if k.Depthwise() {
			continue
		}
		codes, err := codesOf(m, k.Tensor)
		if err != nil {
			return 0, err
		}
		total += len(codes.values)
		for i := range codes.values {
			if codes.zero(i) {
				zeros++
			}
		}
	}
	if total == 0 {
		return 0, nil
	}
	return float64(zeros) / float64(total), nil
}

// clusters returns the largest number of distinct codes in a clustered tensor, or in an output channel of one.
func clusters(m *tflite.Model, list []Clustered) (int, error) {
	if len(list) == 0 {
		return NoClusters, nil
	}
	kernels := map[int]weight.Kernel{}
	for _, k := range weight.Kernels(m) {
		kernels[k.Tensor] = k
	}
	most := 0
	for _, c := range list {
		k, ok := kernels[c.Tensor]
		if !ok {
			return 0, fmt.Errorf("clustered tensor %d is no weight of the leaf", c.Tensor)
		}
		codes, err := codesOf(m, k.Tensor)
		if err != nil {
			return 0, err
		}
		if c.PerChannel {
			most = max(most, codes.perChannel(k.Shape, k.Axis))
		} else {
			most = max(most, codes.distinct())
		}
	}
	return most, nil
}

// codes are the stored values of a constant: integers, or the bits of floats.
type codes struct {
	values []int64
	zeros  []int64 // zero points, by channel; nil for floats
	inner  int     // elements from one channel to the next
}

// codesOf reads a constant tensor of a kernel.
func codesOf(m *tflite.Model, index int) (*codes, error) {
	t := m.Subgraph().Tensors[index]
	c := &codes{inner: 1}
	switch t.Type {
	case schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT16:
		floats, err := m.Float32s(t)
		if err != nil {
			return nil, err
		}
		for _, v := range floats {
			if v == 0 {
				v = 0 // negative zero is zero
			}
			c.values = append(c.values, int64(math.Float32bits(v)))
		}
		return c, nil
	case schema.TensorTypeINT8, schema.TensorTypeINT4:
		values, err := m.Int8s(t)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			c.values = append(c.values, int64(v))
		}
	case schema.TensorTypeUINT8:
		for _, b := range m.Data(t) {
			c.values = append(c.values, int64(b))
		}
	default:
		return nil, fmt.Errorf("weights %q are %s: zeros of that type are not known", t.Name, t.Type)
	}
	c.zeros = []int64{0}
	if q := t.Quantization; q != nil {
		if len(q.ZeroPoint) > 0 {
			c.zeros = q.ZeroPoint
		}
		for _, d := range t.Shape[min(int(q.QuantizedDimension)+1, len(t.Shape)):] {
			c.inner *= int(d)
		}
	}
	return c, nil
}

// zero reports whether element i stands for 0.
func (c *codes) zero(i int) bool {
	if c.zeros == nil {
		return c.values[i] == 0
	}
	return c.values[i] == c.zeros[i/c.inner%len(c.zeros)]
}

func (c *codes) distinct() int { return distinct(c.values) }

func distinct(values []int64) int {
	seen := map[int64]struct{}{}
	for _, v := range values {
		seen[v] = struct{}{}
	}
	return len(seen)
}

// perChannel is the largest number of distinct values of an output channel.
func (c *codes) perChannel(shape []int, axis int) int {
	inner := numel(shape[axis+1:])
	byChannel := make([][]int64, shape[axis])
	for i, v := range c.values {
		ch := i / inner % shape[axis]
		byChannel[ch] = append(byChannel[ch], v)
	}
	most := 0
	for _, values := range byChannel {
		most = max(most, distinct(values))
	}
	return most
}
