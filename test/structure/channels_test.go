package structure

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// Networks of mostly layers lose channels, through whatever lies between the layers.
func TestRandomChannels(t *testing.T) {
	n := *graphs
	if testing.Short() {
		n = min(n, 20)
	}
	codes := drawn()
	for range 12 {
		codes = append(codes, schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOperatorFULLY_CONNECTED)
	}
	for range 4 {
		codes = append(codes, schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOperatorCONV_3D, schema.BuiltinOperatorADD, schema.BuiltinOperatorCONCATENATION,
			schema.BuiltinOperatorMUL, schema.BuiltinOperatorPAD, schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorSPLIT_V, schema.BuiltinOperatorSLICE)
	}
	cut := 0
	for seed := *from; seed < *from+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := &check{T: t, seed: seed, made: generateOf(uint64(seed), codes, 4, 12)}
			defer func() {
				if value := recover(); value != nil {
					t.Log(describe(c.made.model))
					panic(value)
				}
			}()
			err := c.read(c.channels)
			if err != nil && !refused(err) {
				t.Error(err)
			}
			if t.Failed() {
				t.Log(describe(c.made.model))
			}
			cut += int(truth(c.cut))
		})
	}
	t.Logf("channels taken out of %d of %d networks", cut, n)
	if cut < n/4 {
		t.Errorf("channels are taken out of %d of %d networks only", cut, n)
	}
}

// channels takes random channels out, and compares what is left with the network whose layers multiply these channels by zero. Then the
// technique takes some out: the leaf agrees with its simulation, and what is stored is read again.
func (c *check) channels(n *lineage.Network) error {
	s, err := channel.Couple(n.Model())
	if err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	if len(s.Groups) == 0 {
		return nil
	}
	c.cut = true
	random := rand.New(rand.NewPCG(uint64(c.seed), 8))
	targets, _, err := s.NewPlan(channel.Options{Share: 0.2 + 0.7*random.Float64()})
	if err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	importance := map[int]float64{}
	for _, g := range s.Groups {
		for _, unit := range g.Units {
			importance[unit] = random.Float64()
		}
	}
	cuts := s.Of(s.Choose(targets, importance))
	left, err := s.Apply(n.Model(), cuts)
	if err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	zeros := map[int32]array{}
	kernels := n.Kernels()
	for _, o := range n.Model().Subgraph().Operators {
		if code, _ := n.Model().Op(o); code == schema.BuiltinOperatorCONV_3D {
			kernels = append(kernels, weight.Kernel{Tensor: int(o.Inputs[1]), Axis: 4, Shape: kernelShape(n.Model(), o.Inputs[1])})
		}
	}
	for _, k := range kernels {
		if err := unread(n.Model(), k, cuts[k.Tensor], zeros); err != nil {
			return err
		}
	}
	for sample := range probes {
		want, err := evaluate(n.Model(), c.made.samples[sample], zeros)
		if err != nil {
			return err
		}
		got, err := evaluate(left, c.made.samples[sample], nil)
		if err != nil {
			return fmt.Errorf("without channels: %w", err)
		}
		for k, t := range n.Model().Subgraph().Outputs {
			c.equal(fmt.Sprintf("output %d of sample %d, without channels", k, sample), got.values[left.Subgraph().Outputs[k]].v, want.values[t].v, 1e-9)
		}
	}
	if twoWays(n.Model()) {
		return nil
	}
	technique := lineage.Channels{Options: channel.Options{Share: 0.5}, Reconstruct: lineage.Reconstruction((c.seed + 1) % 2)}
	if most := (lineage.Channels{Options: channel.Options{Multiplications: 0.7}, Reconstruct: technique.Reconstruct}); c.seed%3 == 0 && most.Check(n) == nil {
		technique = most
	}
	out, err := c.lineage().Apply(context.Background(), n, technique)
	if err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	data, err := out.Network.Model().Marshal()
	if err != nil {
		return err
	}
	stored, err := tflite.Read(data)
	if err != nil {
		return err
	}
	if _, err := n.Next(stored); err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	return c.leaf("channels", out.Leaf)
}

func kernelShape(m *tflite.Model, t int32) []int {
	var shape []int
	for _, d := range m.Subgraph().Tensors[t].Shape {
		shape = append(shape, int(d))
	}
	return shape
}

// twoWays reports whether a convolution and a depthwise one read the same weights: scales lie along one axis, so that there is no leaf.
func twoWays(m *tflite.Model) bool {
	axes := map[int32]int{}
	for _, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		known := op.Lookup(code)
		if known == nil || known.Weights == nil {
			continue
		}
		t := o.Inputs[known.Find(op.Weight)]
		if axis, ok := axes[t]; ok && axis != known.Weights.Axis {
			return true
		}
		axes[t] = known.Weights.Axis
	}
	return false
}

// unread sets the weights of a kernel that multiply channels which are cut to zero.
func unread(m *tflite.Model, k weight.Kernel, cuts []channel.Cut, set map[int32]array) error {
	a, err := constantOf(m, int32(k.Tensor))
	if err != nil {
		return err
	}
	for _, cut := range cuts {
		if cut.Axis == k.Axis {
			continue
		}
		inner := 1
		for _, d := range k.Shape[cut.Axis+1:] {
			inner *= d
		}
		for i := range a.v {
			if !slices.Contains(cut.Kept, i/inner%cut.Of) {
				a.v[i] = 0
			}
		}
	}
	set[int32(k.Tensor)] = a
	return nil
}
