package equalize

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
)

// Sizes are those of channels, by free unit.
type Sizes struct {
	// Activation is the largest magnitude that an activation has there, as a share of that of all its channels; 0: it is always 0.
	Activation []float64
	// Reader is the largest weight that reads the channel, as a share of the largest of the weights that share its scale; a depthwise
	// convolution has a scale for every channel and counts 1.
	Reader []float64
	// Maker is, where the weights that make the channel share a scale with those of others, the largest of them as a share of all; else 1.
	Maker []float64
	// Most is the factor that takes the channel to the bound of a RELU6, +Inf where there is none; Stays says that it reaches it already.
	Most  []float64
	Stays []bool
}

// lanes are fixed, so that each takes the same samples whatever the number of processors.
const lanes = 4

// Measure returns the sizes of the channels of m, of activations on samples 0 … n−1 of the feed. single names the kernels, by tensor, that
// have one scale for all output channels.
func (s *Structure) Measure(ctx context.Context, m *tflite.Model, single map[int]bool, feed quantize.Feed, n int) (*Sizes, error) {
	if n < 1 {
		return nil, errors.New("equalization needs at least one sample")
	}
	net, err := float.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	sizes := &Sizes{Most: make([]float64, s.Units()), Stays: make([]bool, s.Units())}
	for _, list := range []*[]float64{&sizes.Activation, &sizes.Reader, &sizes.Maker} {
		*list = make([]float64, s.Units())
	}
	for u := range sizes.Most {
		sizes.Most[u] = math.Inf(1)
	}
	largest, err := s.largest(ctx, net, feed, n)
	if err != nil {
		return nil, err
	}
	for t, values := range largest {
		all := slices.Max(values)
		for c, u := range s.activations[t] {
			if u := s.unit(u); u >= 0 && all > 0 {
				sizes.Activation[u] = max(sizes.Activation[u], values[c]/all)
			}
		}
	}
	_, bound := ir.Relu6.Bounds()
	for _, t := range s.clipped {
		for c, u := range s.activations[t] {
			if u := s.unit(u); u >= 0 {
				sizes.Stays[u] = sizes.Stays[u] || largest[t][c] >= float64(bound)
				sizes.Most[u] = min(sizes.Most[u], float64(bound)/largest[t][c])
			}
		}
	}
	return sizes, s.weigh(m, single, sizes)
}

// tensors are the activations with a free unit, in order.
func (s *Structure) tensors() []int {
	var list []int
	for t, units := range s.activations {
		if slices.ContainsFunc(units, func(u int) bool { return s.unit(u) >= 0 }) {
			list = append(list, t)
		}
	}
	slices.Sort(list)
	return list
}

// largest are the largest magnitudes by tensor and channel.
func (s *Structure) largest(ctx context.Context, net *float.Network, feed quantize.Feed, n int) (map[int][]float64, error) {
	tensors := s.tensors()
	each := make([]map[int][]float64, lanes)
	err := panics.Go(lanes, func(l int) error {
		each[l] = map[int][]float64{}
		for _, t := range tensors {
			each[l][t] = make([]float64, len(s.activations[t]))
		}
		exec := net.NewForwardExec(tensors...)
		for from := l * net.MicroBatch; from < n; from += lanes * net.MicroBatch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := feed.Batch(exec, from, min(net.MicroBatch, n-from)); err != nil {
				return err
			}
			exec.Forward()
			for t, values := range each[l] {
				for i, v := range exec.Tensor(t) {
					c := i % len(values)
					values[c] = max(values[c], math.Abs(float64(v)))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, other := range each[1:] {
		for t, values := range each[0] {
			for c := range values {
				values[c] = max(values[c], other[t][c])
			}
		}
	}
	return each[0], nil
}

// weigh finds the sizes of the weights that make and read channels.
func (s *Structure) weigh(m *tflite.Model, single map[int]bool, sizes *Sizes) error {
	for t, c := range s.constants {
		if c.down == nil {
			continue
		}
		values, err := m.Float32s(m.Subgraph().Tensors[t])
		if err != nil {
			return err
		}
		row := func(e int) int { // of the weights that share a scale
			if single[t] {
				return 0
			}
			return e / c.inner % len(c.up)
		}
		all := make([]float64, len(c.up))
		for e, v := range values {
			all[row(e)] = max(all[row(e)], math.Abs(float64(v)))
		}
		for e, v := range values {
			up, down := c.units(e)
			share := math.Abs(float64(v)) / max(all[row(e)], math.SmallestNonzeroFloat64)
			if u := s.unit(down); u >= 0 {
				sizes.Reader[u] = max(sizes.Reader[u], share)
			}
			if u := s.unit(up); u >= 0 && single[t] {
				sizes.Maker[u] = max(sizes.Maker[u], share)
			}
		}
	}
	for u := range sizes.Maker {
		if sizes.Maker[u] == 0 {
			sizes.Maker[u] = 1
		}
		if sizes.Reader[u] == 0 {
			sizes.Reader[u] = 1
		}
	}
	return nil
}

// Mix says how much the sizes of a channel's activation, of the weights that read it and of those that make it count: a factor is
// Activation^−a · Reader^r · Maker^−m. With a = 1 all channels of an activation become one size; r = m = ½ is the equalization of Nagel et
// al., for kernels with one scale; a = r = ½ is its like for kernels with a scale per output channel.
type Mix struct{ Activation, Reader, Maker float64 }

// None leaves channels as they are.
var None Mix

// mostFactor bounds factors, and their inverses: a channel that is a thousand times smaller than others is as good as none.
const mostFactor = 1024

// Factors are by free unit what its channels are to be multiplied by, with the mix of its class; sizes bound them.
func (s *Structure) Factors(sizes *Sizes, mixes []Mix) []float64 {
	factors := make([]float64, s.Units())
	for u := range factors {
		mix := mixes[s.class[u]]
		factors[u] = 1
		if mix == None || sizes.Stays[u] || sizes.Activation[u] == 0 {
			continue
		}
		f := math.Pow(sizes.Reader[u], mix.Reader) / math.Pow(sizes.Activation[u], mix.Activation) / math.Pow(sizes.Maker[u], mix.Maker)
		factors[u] = min(max(f, 1.0/mostFactor), mostFactor, sizes.Most[u])
	}
	return factors
}

// Classes is how many classes the free units fall into: those of one lie side by side in an activation.
func (s *Structure) Classes() int { return s.classes }

// Apply returns a model, the structure's or one with other constants, with channels multiplied by their factors, by free unit.
func (s *Structure) Apply(m *tflite.Model, factors []float64) (*tflite.Model, error) {
	m = m.Clone()
	of := func(u int) float64 {
		if u := s.unit(u); u >= 0 {
			return factors[u]
		}
		return 1
	}
	for _, t := range slices.Sorted(maps.Keys(s.constants)) { // in order, since new buffers are numbered
		c, tensor := s.constants[t], m.Subgraph().Tensors[t]
		values, err := m.Float32s(tensor)
		if err != nil {
			return nil, err
		}
		values = slices.Clone(values)
		for e, v := range values {
			up, down := c.units(e)
			values[e] = float32(float64(v) * (of(up) / of(down)))
		}
		m.SetData(tensor, tflite.Float32Bytes(values))
	}
	return m, nil
}
