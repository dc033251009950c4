package lineage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/reconstruct"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// Channels cuts whole channels out of the network, those that matter least, and trains what is left: tensors get smaller. Zeros, clusters
// and the integers of an int8 network stay with the channels that have them.
type Channels struct {
	channel.Options
	// Branches has Multiplications take out whole branches of residual additions first, as long as not too few multiplications are left.
	Branches bool
	// Reconstruct chooses the channels by what they cost the outputs of the layers that read them, and refits these layers, before
	// training. Otherwise they are chosen by the Fisher information of a factor on each.
	Reconstruct Reconstruction
}

// Kind is what it is registered as.
func (Channels) Kind() Kind { return pruneKind }

// String sums the settings up.
func (c Channels) String() string {
	if c.Branches {
		return fmt.Sprintf("branches and channels for %v of the multiplications", c.Multiplications)
	}
	if c.Multiplications > 0 {
		return fmt.Sprintf("channels for %v of the multiplications", c.Multiplications)
	}
	return fmt.Sprintf("channels %v", c.Share)
}

// Check resolves the settings for the network's weights.
func (c Channels) Check(n *Network) error {
	if n.from.stream != nil {
		return errors.New("the network keeps state, whose channels stay as they are: leave structure Channels out, so that single weights become zeros")
	}
	s, err := channel.Couple(n.model)
	if err != nil {
		return err
	}
	targets, _, err := s.NewPlan(c.Options)
	if err != nil {
		return err
	}
	if c.Branches {
		return c.checkBranches(n.model)
	}
	_, err = c.choose(s, targets, nil)
	return err
}

// LeastMultiplications is the share of a network's multiplications that is left with every channel out that can go; 1 where none can.
func LeastMultiplications(n *Network) (float64, error) {
	if n.from.stream != nil {
		return 1, nil
	}
	s, err := channel.Couple(n.model)
	if err != nil {
		return 0, err
	}
	return s.Least(), nil
}

// cutRounds is in how many steps channels are chosen for a share of the multiplications: what is left is refitted after each, and judged anew.
const cutRounds = 4

// decide returns the units to take out.
func (c Channels) decide(ctx context.Context, w *Work, s *channel.Structure, targets []channel.Target, reconstructs bool) (map[int]bool, error) {
	if c.Multiplications == 0 || !reconstructs {
		judge := w.gates
		if reconstructs {
			judge = w.costs
		}
		importance, err := judge(ctx, s)
		if err != nil {
			return nil, err
		}
		return c.choose(s, targets, importance)
	}
	slopes, err := w.sensitivity(ctx)
	if err != nil {
		return nil, err
	}
	var removed map[int]bool
	for round := range cutRounds {
		importance, err := w.losses(ctx, s, s.Of(removed), slopes)
		if err != nil {
			return nil, err
		}
		share := 1 - (1-c.Multiplications)*float64(round+1)/cutRounds
		if removed, err = s.ChooseWithin(targets, share, importance); err != nil {
			return nil, err
		}
	}
	return removed, nil
}

// choose returns the units to take out, those that matter least.
func (c Channels) choose(s *channel.Structure, targets []channel.Target, importance map[int]float64) (map[int]bool, error) {
	if c.Multiplications > 0 {
		return s.ChooseWithin(targets, c.Multiplications, importance)
	}
	return s.Choose(targets, importance), nil
}

// Apply makes the network.
func (c Channels) Apply(ctx context.Context, n *Network, w *Work) (*Network, error) {
	deciding := cutting
	if c.Multiplications > 0 {
		deciding = func(l *reconstruct.Layer) float64 { return cutRounds * cutting(l) }
	}
	reconstructs := w.reconstructs(c.Reconstruct, deciding)
	if c.Branches {
		share, err := c.takeBranches(ctx, w, reconstructs)
		if err != nil {
			return nil, err
		}
		c.Multiplications = share
	}
	if c.Multiplications < 1 {
		if err := c.narrow(ctx, w, reconstructs); err != nil {
			return nil, err
		}
	}
	if err := w.Train(ctx, nil); err != nil {
		return nil, err
	}
	return w.Done()
}

// narrow takes channels out of the network.
func (c Channels) narrow(ctx context.Context, w *Work, reconstructs bool) error {
	s, err := channel.Couple(w.network.model)
	if err != nil {
		return err
	}
	if c.Branches {
		c.Rules = s.Known(c.Rules)
	}
	targets, notes, err := s.NewPlan(c.Options)
	if err != nil {
		return err
	}
	w.notes = append(w.notes, notes...)
	removed, err := c.decide(ctx, w, s, targets, reconstructs)
	if err != nil {
		return err
	}
	cuts := s.Of(removed)
	if reconstructs {
		if err := w.makeUp(ctx, cuts); err != nil {
			return err
		}
	}
	return w.cut(s, cuts)
}

// gates are by unit the mean squared gradients of a factor of 1 on its channels: the Fisher information of taking it out (Theis et al.,
// arXiv 1801.05787), with labels drawn from the network's own answers, so that it needs none.
func (w *Work) gates(ctx context.Context, s *channel.Structure) (map[int]float64, error) {
	of, importance := w.makers(s), map[int]float64{}
	samples, err := w.gradients(ctx, likelihoodGradient, func(grads *float.Grads) { w.addGates(importance, of, grads) })
	for unit := range importance {
		importance[unit] /= float64(samples)
	}
	return importance, err
}

// makers are by tensor the units of the channels that weights and biases make.
func (w *Work) makers(s *channel.Structure) map[int][]int {
	of := map[int][]int{}
	for _, g := range s.Groups {
		for _, t := range g.Weights {
			of[t] = s.Units(t)[axisOf(w.network, t)]
			if b := biasOf(w.net.Graph, t); b >= 0 {
				of[b] = of[t]
			}
		}
	}
	return of
}

// addGates adds by unit the square of a sample's gradient of a factor of 1 on its channels.
func (w *Work) addGates(importance map[int]float64, of map[int][]int, grads *float.Grads) {
	gate := map[int]float64{}
	for i, p := range w.net.Params {
		units := of[p.Tensor]
		if units == nil || grads.Param[i] == nil {
			continue
		}
		inner := 1
		if p.Kind != float.Bias {
			inner = numelOf(p.Shape[axisOf(w.network, p.Tensor)+1:])
		}
		for k, g := range grads.Param[i] {
			gate[units[k/inner%len(units)]] += float64(g) * float64(p.Value[k])
		}
	}
	for unit, g := range gate {
		importance[unit] += g * g
	}
}

// channelLevels are what shares of the channels cost, by the first weights of those whose channels hang together, and the multiplications of
// all of these. importance is by unit what the outputs lose without it.
func (w *Work) channelLevels(s *channel.Structure, importance map[int]float64) (levels map[int][]sensitivity.Level, multiplications map[int]int64, err error) {
	levels, multiplications = map[int][]sensitivity.Level{}, map[int]int64{}
	for _, g := range s.Groups {
		for _, t := range g.Weights {
			for _, n := range w.net.Graph.Tensors[t].Consumers {
				multiplications[g.Weights[0]] += w.net.Graph.MultiplicationsOf(&w.net.Graph.Nodes[n])
			}
		}
	}
	for _, share := range sensitivity.Channels {
		targets, _, err := s.NewPlan(channel.Options{Share: share})
		if err != nil {
			return nil, nil, err
		}
		removed := s.Choose(targets, importance)
		for _, g := range s.Groups {
			level, left := sensitivity.Level{Level: share}, len(g.Units)
			for _, unit := range g.Units {
				if removed[unit] {
					level.Error, left = level.Error+importance[unit], left-1
				}
			}
			level.Bits = float64(left) / float64(len(g.Units))
			levels[g.Weights[0]] = append(levels[g.Weights[0]], level)
		}
	}
	return levels, multiplications, nil
}

// biasOf is the bias beside weights, −1: none.
func biasOf(g *ir.Graph, kernel int) int {
	for _, i := range g.Tensors[kernel].Consumers {
		n := &g.Nodes[i]
		known := op.Lookup(n.Op)
		if known == nil || known.Weights == nil {
			continue
		}
		if b := g.Input(n, known.Find(op.Bias)); b != nil && b.Const != nil {
			return b.Index
		}
	}
	return -1
}

func numelOf(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// costs are by unit what the layers that read its channels lose by each of its weights, once the others are refitted, as a share of what
// the layer's outputs are.
func (w *Work) costs(ctx context.Context, s *channel.Structure) (map[int]float64, error) {
	importance, notes, warnings := map[int]float64{}, w.notes, w.warnings
	all := func(int) bool { return true }
	err := w.reconstruct(ctx, all, func(r *reconstruction, t *weight.Tensor) error {
		units := inputsOf(s, t, r.layer.Weight)
		if units == nil {
			return nil
		}
		costs := make([]float32, t.Len())
		var energy float64
		for k, p := range r.problems {
			for o := range p.Outputs() {
				_, all := p.Left(o, r.now(k, o))
				energy += all
				_, lost, err := p.Refit(o, r.mask(t.Mask, k, o), true)
				if err != nil {
					return err
				}
				for tap, cost := range lost {
					costs[r.layer.At(k, o, tap)] = float32(cost)
				}
			}
		}
		for i, cost := range costs {
			importance[units[i%len(units)]] += float64(cost) / max(energy, 1e-30)
		}
		return nil
	})
	w.notes, w.warnings = notes, warnings
	return importance, err
}

// losses are by unit about what the outputs lose without its channels, with those of cuts gone too and what is left refitted: the error of
// each layer that reads them by the mean squared gradient there, which is that of its weights over the mean square of their inputs. slopes are
// the former, by tensor; those that no gradient reaches have none. The weights stay as they are.
func (w *Work) losses(ctx context.Context, s *channel.Structure, cuts channel.Cuts, slopes map[int][]float32) (map[int]float64, error) {
	importance, notes, warnings, given := map[int]float64{}, w.notes, w.warnings, maps.Clone(w.Tensors)
	values := make([][]float32, len(w.net.Params))
	for i, p := range w.net.Params {
		values[i] = slices.Clone(p.Value)
	}
	if len(cuts) > 0 {
		if err := w.mask(cuts); err != nil {
			return nil, err
		}
	}
	all := func(int) bool { return true }
	err := w.reconstruct(ctx, all, func(r *reconstruction, t *weight.Tensor) error {
		units := inputsOf(s, t, r.layer.Weight)
		costs, values, slope := make([]float32, t.Len()), t.Values(), slopes[r.layer.Weight] // nil: no gradient reaches them
		for k, p := range r.problems {
			moments := p.Moment()
			if err := panics.Each(p.Outputs(), r.interrupted, func(o int) error {
				weights, lost, err := p.Refit(o, r.mask(t.Mask, k, o), true)
				if err != nil {
					return err
				}
				var gradient, input float64
				for tap, m := range moments {
					if slope != nil {
						gradient += float64(slope[r.layer.At(k, o, tap)])
					}
					input += m
				}
				for tap, cost := range lost {
					costs[r.layer.At(k, o, tap)] = float32(cost * gradient / max(input, 1e-30))
				}
				r.set(values, k, o, weights)
				return nil
			}); err != nil {
				return err
			}
		}
		for i, cost := range costs {
			if units != nil {
				importance[units[i%len(units)]] += float64(cost)
			}
		}
		if given[r.layer.Weight].Codebooks != nil || t.Scale != nil {
			return r.refitBias(t)
		}
		return r.replace(t, values, t.Mask)
	})
	w.notes, w.warnings, w.Tensors = notes, warnings, given
	for i, p := range w.net.Params {
		copy(p.Value, values[i])
	}
	w.net.Refresh()
	return importance, err
}

// mask has the channels that cuts leave out count nothing, in the weights.
func (w *Work) mask(cuts channel.Cuts) error {
	for at, t := range w.Tensors {
		mask := kept(t, cuts[at])
		values := t.Values()
		for i, keep := range mask {
			values[i] *= float32(keep)
		}
		made, err := t.With(values, mask)
		if err != nil {
			return err
		}
		w.Tensors[at] = made
	}
	return nil
}

// inputsOf are the units along the inputs of weights, their last axis; nil: they are none of their own.
func inputsOf(s *channel.Structure, t *weight.Tensor, tensor int) []int {
	for axis, list := range s.Units(tensor) {
		if axis != t.Axis {
			return list
		}
	}
	return nil
}

// makeUp has the channels that cuts leave out count nothing, and fits what is left of every layer to what the layer gave before. Weights
// that are clustered keep their codes.
func (w *Work) makeUp(ctx context.Context, cuts channel.Cuts) error {
	given := maps.Clone(w.Tensors)
	if err := w.mask(cuts); err != nil {
		return err
	}
	err := w.reconstruct(ctx, nil, func(r *reconstruction, t *weight.Tensor) error {
		if given[r.layer.Weight].Codebooks != nil {
			return r.refitBias(t)
		}
		return r.refit(t)
	})
	if err != nil {
		return err
	}
	for at, t := range given {
		if t.Codebooks == nil {
			if t, err = w.Tensors[at].With(w.Tensors[at].Values(), t.Mask); err != nil {
				return err
			}
		}
		w.Tensors[at] = t
	}
	return nil
}

// kept is a tensor's mask without what cuts leave out.
func kept(t *weight.Tensor, cuts []channel.Cut) []uint8 {
	mask := slices.Repeat([]uint8{1}, t.Len())
	if t.Mask != nil {
		copy(mask, t.Mask)
	}
	for _, c := range cuts {
		inner := numelOf(t.Shape[c.Axis+1:])
		for i := range mask {
			if _, ok := slices.BinarySearch(c.Kept, i/inner%c.Of); !ok {
				mask[i] = 0
			}
		}
	}
	return mask
}

// cut takes channels out of the network, and goes on with what is left.
func (w *Work) cut(s *channel.Structure, cuts channel.Cuts) error {
	whole, err := w.Done()
	if err != nil {
		return err
	}
	n, err := whole.without(s, cuts)
	if err != nil {
		return err
	}
	for _, k := range w.Kernels {
		if c := cuts[k.Tensor]; len(c) > 0 {
			w.Note("weights %q: %v, now %v", k.Name, k.Shape, channel.Shape(k.Shape, c))
		}
	}
	before, err := multiplications(whole.model)
	if err != nil {
		return err
	}
	after, err := multiplications(n.model)
	if err != nil {
		return err
	}
	w.Note("multiplications: %d, now %d (%.1f %%)", before, after, 100*float64(after)/float64(max(1, before)))
	return w.reopen(n)
}

func multiplications(m *tflite.Model) (int64, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return 0, err
	}
	return g.Multiplications(), nil
}

// without is the network without what cuts leave out.
func (n *Network) without(s *channel.Structure, cuts channel.Cuts) (*Network, error) {
	m, err := s.Apply(n.model, cuts)
	if err != nil {
		return nil, err
	}
	states := n.States()
	for t, state := range states {
		c := cuts[t]
		if len(c) == 0 {
			continue
		}
		if state.Mask != nil {
			state.Mask = channel.Values(state.Mask, state.Shape, c)
		}
		if len(state.Scale) > 1 {
			state.Scale = scales(state.Scale, state.Axis, c)
		}
		if len(state.CodeSets) > 1 {
			state.CodeSets = scales(state.CodeSets, state.Axis, c)
		}
		state.Shape = channel.Shape(state.Shape, c)
		states[t] = state
	}
	if err := weight.WriteState(m, states); err != nil {
		return nil, err
	}
	made := n.next(m, identityIDs(len(m.Subgraph().Tensors)), states)
	made.cuts = cuts.After(n.cuts)
	return made, channel.Write(m, made.cuts, made.gone)
}
