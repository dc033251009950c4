package lineage

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/reconstruct"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// reconstructSamples is how many training samples reconstruction looks at. It uses no labels.
const reconstructSamples = 512

// Reconstruction says whether a stage's weights are reconstructed before training.
type Reconstruction int

// The choices.
const (
	Off  Reconstruction = iota
	On                  // whatever it takes, in time and memory
	Auto                // where training has few steps and the network is small
)

// autoWork bounds what Auto may take, in multiplications of a solver: about half a minute on two processors.
const autoWork = 2e11

// observed is how many multiplications of a forward pass take as long as one of a solver.
const observed = 8

// reconstructs decides whether to reconstruct, if the choice is Auto by the number of steps and by what it takes; neither the clock nor the
// number of processors has a say. deciding is about how many multiplications the weights of a layer take, once it is observed.
func (w *Work) reconstructs(choice Reconstruction, deciding func(*reconstruct.Layer) float64) bool {
	if choice != Auto {
		return choice == On
	}
	if w.Steps() >= prune.ShortRun {
		return false
	}
	layers, _ := reconstruct.Layers(w.net.Graph)
	if len(layers) == 0 {
		w.Note("weights are not reconstructed before training: no layer can be")
		return false
	}
	samples := min(reconstruct.Samples(w.net.Graph, layers, reconstructSamples), w.run.Data.Train.Len())
	work := reconstruct.Observing(w.net.Graph, layers, samples) / observed
	for _, l := range layers {
		work += deciding(l)
	}
	if work > autoWork {
		w.Note("weights are not reconstructed before training, which would take about %.0e multiplications: reconstruct: true has it done all the same", work)
		return false
	}
	w.Note("weights are reconstructed before training, as it has fewer than %d steps: reconstruct: false leaves that out", prune.ShortRun)
	return true
}

// reconstructsClusters decides so for clusters. A reconstructed start of theirs is one that training has to be held back from where it does harm,
// which validation samples cannot do that the network knows by heart.
func (w *Work) reconstructsClusters(choice Reconstruction) (bool, error) {
	notes := w.notes
	if !w.reconstructs(choice, w.clustering) {
		return false, nil
	}
	if choice != Auto || w.run.Training.Epochs == 0 {
		return true, nil
	}
	known, err := w.knowsByHeart()
	if err != nil || !known {
		return err == nil, err
	}
	w.notes = notes
	w.Once("weights are not reconstructed before training: the network knows the validation samples by heart, which could not tell that training makes them worse; reconstruct: true has it done all the same")
	return false, nil
}

// pruning, clustering and cutting are about how many multiplications it takes to decide a layer's weights. Inputs are left out round by round, or
// once; codes are assigned in rounds, for which what every output keeps is factored, if it has a mask.
func pruning(l *reconstruct.Layer) float64 { return solving(l) / 4 }
func cutting(l *reconstruct.Layer) float64 { return solving(l) / 24 }

func (w *Work) clustering(l *reconstruct.Layer) float64 {
	if t := w.Tensors[l.Weight]; t != nil && t.Mask != nil {
		return solving(l) * (clusterRounds + 1) / 6
	}
	return power(l, 3) + 10*clusterRounds*power(l, 2)*float64(l.Outputs)
}

// solving is n³ for every output of n inputs.
func solving(l *reconstruct.Layer) float64 { return power(l, 3) * float64(l.Outputs) }

// power sums up, over the parts of a layer, powers of how many inputs they have.
func power(l *reconstruct.Layer, by float64) (sum float64) {
	for _, p := range l.Parts {
		sum += math.Pow(float64(p.Taps), by)
	}
	return sum
}

// reconstruction goes through the layers in order of execution and has each meet the outputs that it had, with the layers before it
// already changed.
type reconstruction struct {
	w      *Work
	target *float.Network
	layer  *reconstruct.Layer
	// problems are those of the layer's parts; bias is by part and output its share of the bias, the layer's being their sum.
	problems []*reconstruct.Problem
	bias     [][]float64

	interrupted func() error // of the context
}

// reconstruct calls change with every layer that can be reconstructed; it sets the layer's weights by one of the methods below. Each output of
// those that refits names has inputs of its own, besides those of tensors with a mask: nil, there are none.
func (w *Work) reconstruct(ctx context.Context, refits func(tensor int) bool, change func(r *reconstruction, t *weight.Tensor) error) error {
	meets := w.network.model
	if w.meets != nil {
		meets = w.meets
	}
	target, err := float.Compile(meets, w.net.MicroBatch)
	if err != nil {
		return err
	}
	for _, p := range w.net.Params {
		if t, ok := w.Tensors[p.Tensor]; ok {
			t.Materialize(p.Value)
		}
	}
	w.net.Refresh()
	w.fitted = true
	layers, notes := reconstruct.Layers(w.net.Graph)
	w.notes = append(w.notes, append(notes, unreconstructed(w.network.Kernels(), layers, notes)...)...)
	if len(layers) == 0 {
		w.Warn("reconstruct does nothing here: none of the weights can be reconstructed (the notes of the report say why)")
	}
	if w.layers != nil {
		layers = w.layers.of(layers)
	}
	samples := reconstruct.Samples(w.net.Graph, layers, reconstructSamples)
	if samples < min(reconstructSamples, w.run.Data.Train.Len()) {
		w.Warn("reconstruction looks at %d samples instead of %d: the network is large", samples, reconstructSamples)
	}
	drawn := w.run.draw(samples)
	for i, l := range layers {
		if l.Bias != reconstruct.None && (w.net.Param(l.Bias) == nil || !w.net.Param(l.Bias).Trainable) {
			l.Bias = reconstruct.None
		}
		if w.Tensors[l.Weight].Mask == nil && (refits == nil || !refits(l.Weight)) {
			l.Split(reconstruct.MaxShared)
		}
		if count := len(l.Parts) / l.Groups; count > 1 {
			w.Note("weights %q: an output's %d inputs are reconstructed in %d parts", l.Name, l.Taps, count)
		}
		r := &reconstruction{w: w, target: target, layer: l, interrupted: ctx.Err}
		if err := r.observe(ctx, drawn); err != nil {
			return wrap(fmt.Sprintf("reconstruct weights %q", l.Name), err)
		}
		if err := change(r, w.Tensors[l.Weight]); err != nil {
			return wrap(fmt.Sprintf("reconstruct weights %q", l.Name), err)
		}
		w.Note("weights %q: outputs of the layer at %.1f dB", l.Name, r.snr())
		w.run.reconstructed(i+1, len(layers))
	}
	return nil
}

// unreconstructed names the kernels of operators that are not reconstructed and that no note speaks of.
func unreconstructed(kernels []weight.Kernel, layers []*reconstruct.Layer, notes []string) (out []string) {
	for _, k := range kernels {
		told := func(note string) bool { return strings.Contains(note, strconv.Quote(k.Name)) }
		done := func(l *reconstruct.Layer) bool { return l.Weight == k.Tensor }
		if !slices.ContainsFunc(layers, done) && !slices.ContainsFunc(notes, told) {
			out = append(out, fmt.Sprintf("weights %q are not of a convolution, transposed convolution or fully connected layer with samples of its own, and are not reconstructed", k.Name))
		}
	}
	return out
}

// observe makes the problems of the layer.
func (r *reconstruction) observe(ctx context.Context, drawn []int) error {
	l, w := r.layer, r.w
	feed, err := w.run.feed(w.network, drawn)
	if err != nil {
		return err
	}
	moments, err := reconstruct.Observe(ctx, r.target, w.net, l, feed, len(drawn))
	if err != nil {
		return err
	}
	for k := range moments {
		weights := make([][]float64, l.Outputs)
		r.bias = append(r.bias, make([]float64, l.Outputs))
		for o := range weights {
			if l.Bias != reconstruct.None && l.Parts[k].From == 0 {
				r.bias[k][o] = float64(w.net.Param(l.Bias).Value[l.Channel(k, o)])
			}
			weights[o] = r.now(k, o)
		}
		p, err := reconstruct.NewProblem(&moments[k], weights, l.Bias != reconstruct.None)
		if err != nil {
			return err
		}
		r.problems = append(r.problems, p)
	}
	return nil
}

// mask returns what a mask over the tensor says of an output's taps; nil keeps all.
func (r *reconstruction) mask(whole []uint8, part, o int) []uint8 {
	if whole == nil {
		return nil
	}
	return taps(r, whole, part, o)
}

// set puts weights of an output in place, the bias first; values are the tensor's.
func (r *reconstruction) set(values []float32, part, o int, weights []float64) {
	for tap := range r.layer.Parts[part].Taps {
		values[r.layer.At(part, o, tap)] = float32(weights[tap+1])
	}
	r.setBias(part, o, weights[0])
}

// setBias sets a part's share of the bias.
func (r *reconstruction) setBias(part, o int, bias float64) {
	if r.layer.Bias == reconstruct.None {
		return
	}
	r.bias[part][o] = bias
	count := len(r.layer.Parts) / r.layer.Groups
	first := part / count * count
	var sum float64
	for _, share := range r.bias[first : first+count] {
		sum += share[o]
	}
	r.w.net.Param(r.layer.Bias).Value[r.layer.Channel(part, o)] = float32(sum)
}

// put makes a tensor the layer's, and has the network compute with it.
func (r *reconstruction) put(t *weight.Tensor) {
	r.w.Tensors[r.layer.Weight] = t
	t.Materialize(r.w.net.Param(r.layer.Weight).Value)
	r.w.net.Refresh()
}

// now are the weights of an output, the bias first.
func (r *reconstruction) now(part, o int) []float64 {
	l := r.layer
	weights := make([]float64, l.Parts[part].Taps+1)
	weights[0] = r.bias[part][o]
	values := r.w.net.Param(l.Weight).Value
	for tap := range l.Parts[part].Taps {
		weights[tap+1] = float64(values[l.At(part, o, tap)])
	}
	return weights
}

// snr is the signal-to-noise ratio of the layer's outputs, in dB, against those that it is to meet.
func (r *reconstruction) snr() float64 {
	var squares, energy float64
	for k, p := range r.problems {
		for o := range p.Outputs() {
			left, all := p.Left(o, r.now(k, o))
			squares, energy = squares+left, energy+all
		}
	}
	return decibel(energy, squares)
}

// refit gives a float tensor the best weights that its mask leaves, and a clustered one the best bias.
func (r *reconstruction) refit(t *weight.Tensor) error {
	if t.Scale != nil {
		return r.refitBias(t)
	}
	values := t.Values()
	if err := r.refitted(values, t.Mask, nil); err != nil {
		return err
	}
	return r.replace(t, values, t.Mask)
}

// replace puts a float tensor of other values and mask in the place of t.
func (r *reconstruction) replace(t *weight.Tensor, values []float32, mask []uint8) error {
	made, err := t.With(values, mask)
	if err != nil {
		return err
	}
	r.put(made)
	return nil
}

// refitted writes the best weights under a mask to values, and to costs, if it is not nil, by weight the square root of what pruning it
// too would cost.
func (r *reconstruction) refitted(values []float32, mask []uint8, costs []float32) error {
	for k, p := range r.problems {
		if err := panics.Each(p.Outputs(), r.interrupted, func(o int) error {
			weights, lost, err := p.Refit(o, r.mask(mask, k, o), costs != nil)
			if err != nil {
				return err
			}
			r.set(values, k, o, weights)
			for tap, cost := range lost {
				costs[r.layer.At(k, o, tap)] = float32(math.Sqrt(cost))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *reconstruction) refitBias(t *weight.Tensor) error {
	values := t.Values()
	for k, p := range r.problems {
		for o := range p.Outputs() {
			r.setBias(k, o, p.BiasFor(o, taps(r, values, k, o)))
		}
	}
	r.put(t)
	return nil
}

// quantize rounds a tensor that has scales to the codes of least error, has a clustered one keep its codes and refits the bias, and a
// float one as a whole.
func (r *reconstruction) quantize(t *weight.Tensor) error {
	if t.Scale == nil || t.Codebooks != nil {
		return r.refit(t)
	}
	codes := make([]int8, t.Len())
	if err := t.Codes(codes); err != nil {
		return err
	}
	every := weight.State{Shape: t.Shape, Axis: t.Axis, Mask: t.Mask, Scale: t.Scale, CodeSets: [][]int8{weight.EveryCode(t.Most)}}
	if err := r.assign(&every, codes); err != nil {
		return err
	}
	made, err := t.With(quantize.Weights{Codes: codes, Scale: t.Scale}.Values(t.Shape, t.Axis), t.Mask)
	if err != nil {
		return err
	}
	if err := made.QuantizeWith(t.Scale); err != nil {
		return err
	}
	r.put(made)
	return nil
}

// pruneRounds is in how many steps a layer's zeros are chosen: what is left is refitted after each, and judged anew.
const pruneRounds = 8

// pruneWork bounds the rounds of a layer, each counted as n³ for an output with n inputs.
const pruneWork = 4e12

// rounds are those that a layer's zeros are chosen in.
func rounds(l *reconstruct.Layer) int {
	return int(min(max(pruneWork/solving(l), 1), pruneRounds))
}

// prune chooses the zeros of a float tensor by what they cost, a share of it or those of a pattern, and refits the rest.
func (r *reconstruction) prune(t *weight.Tensor, share float64, pattern prune.Pattern) error {
	values, mask := t.Values(), slices.Clone(t.Mask)
	costs := make([]float32, len(values))
	has := sparsity(mask)
	most := rounds(r.layer)
	if pattern != (prune.Pattern{}) {
		most = 1
	} else if most < pruneRounds {
		r.w.Note("weights %q: zeros chosen in %d rounds instead of %d, since each output has %d inputs", r.layer.Name, most, pruneRounds, r.layer.Taps)
	}
	for round := range most {
		clear(costs)
		if err := r.refitted(values, mask, costs); err != nil {
			return err
		}
		now := has + (share-has)*float64(round+1)/float64(most)
		var err error
		if mask, err = prune.Mask(prune.Weights{Values: costs, Shape: t.Shape, Axis: t.Axis, Mask: mask}, min(max(now, has), math.Nextafter(1, 0)), pattern); err != nil {
			return err
		}
	}
	if err := r.refitted(values, mask, nil); err != nil {
		return err
	}
	return r.replace(t, values, mask)
}

// reconstructPruned prunes the targets that are not clustered, and has all layers make up for it. Layers that share one budget share it
// by the weights as they are.
func (w *Work) reconstructPruned(ctx context.Context, targets []prune.Target) error {
	var single []prune.Target
	var tensors []*weight.Tensor
	of := map[int]prune.Target{}
	for _, target := range targets {
		of[target.Tensor] = target
		if t := w.Tensors[target.Tensor]; t.Codebooks == nil {
			single, tensors = append(single, target), append(tensors, t)
		}
	}
	share := map[int]float64{}
	for i, s := range prune.Shares(single, tensors) {
		share[single[i].Tensor] = s
	}
	pruned := func(tensor int) bool {
		_, ok := of[tensor]
		return ok
	}
	return w.reconstruct(ctx, pruned, func(r *reconstruction, t *weight.Tensor) error {
		target, ok := of[r.layer.Weight]
		switch {
		case !ok:
			return r.refit(t)
		case t.Codebooks == nil:
			return r.prune(t, share[target.Tensor], target.Pattern)
		}
		clustered, err := prune.Clustered(t, target)
		if err != nil {
			return err
		}
		return r.refitBias(clustered)
	})
}

// clusterRounds is how often codes are assigned and scales fitted to them in turn.
const clusterRounds = 3

// cluster clusters a float tensor: codes are chosen for the best weights its mask leaves, errors counted by the second moment of what
// they are multiplied with, then given out by the error of the output, and scales and biases fitted to that.
func (r *reconstruction) cluster(t *weight.Tensor, o cluster.Options) (cluster.Result, error) {
	values, before := t.Values(), t.Values()
	if err := r.refitted(values, t.Mask, nil); err != nil {
		return cluster.Result{}, err
	}
	made, err := t.With(values, t.Mask)
	if err != nil {
		return cluster.Result{}, err
	}
	if o.Sensitivity == nil {
		o.Sensitivity = r.moments(len(values))
	}
	if _, err := cluster.Apply(made, o); err != nil {
		return cluster.Result{}, err
	}
	state, codes := made.State(), make([]int8, len(values))
	if err := made.Codes(codes); err != nil {
		return cluster.Result{}, err
	}
	for round := range clusterRounds {
		if round > 0 {
			r.fitScales(&state, codes)
		}
		if err := r.assign(&state, codes); err != nil {
			return cluster.Result{}, err
		}
	}
	if made, err = weight.FromState(t.Name, quantize.Weights{Codes: codes, Scale: state.Scale}.Values(t.Shape, t.Axis), state); err != nil {
		return cluster.Result{}, err
	}
	made.Lean(values) // or training would wait long for the first weight to change its code, and then see many do
	r.put(made)
	return cluster.ResultOf(made, before), nil
}

// moments are by weight the second moments of the inputs.
func (r *reconstruction) moments(n int) []float32 {
	all := make([]float32, n)
	for k, p := range r.problems {
		for tap, m := range p.Moment() {
			for o := range p.Outputs() {
				all[r.layer.At(k, o, tap)] = float32(m)
			}
		}
	}
	return all
}

// taps are what the whole tensor's values are of an output.
func taps[T any](r *reconstruction, all []T, part, o int) []T {
	some := make([]T, r.layer.Parts[part].Taps)
	for tap := range some {
		some[tap] = all[r.layer.At(part, o, tap)]
	}
	return some
}

// assign gives every weight a code of its set and sets the biases that fit.
func (r *reconstruction) assign(s *weight.State, codes []int8) error {
	bits := r.bits(s, codes)
	for k, p := range r.problems {
		shared := p.Share()
		if err := panics.Each(p.Outputs(), r.interrupted, func(o int) error {
			c := r.layer.Channel(k, o)
			set := min(c, len(s.CodeSets)-1)
			v := &reconstruct.Values{Scale: float64(s.Scale[weight.ScaleIndex(c, len(s.Scale), s.Shape[s.Axis])]), Codes: s.CodeSets[set], Bits: bits[set], Lambda: float64(s.Lambda)}
			got, bias, err := p.Assign(o, r.mask(s.Mask, k, o), v, shared, taps(r, codes, k, o))
			if err != nil {
				return err
			}
			for tap, code := range got {
				codes[r.layer.At(k, o, tap)] = code
			}
			r.setBias(k, o, bias)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// bits are what codes cost by how often they occur, by set and code.
func (r *reconstruction) bits(s *weight.State, codes []int8) [][]float64 {
	counts, totals := make([][256]float64, len(s.CodeSets)), make([]float64, len(s.CodeSets))
	for k, p := range r.problems {
		for o := range p.Outputs() {
			set := min(r.layer.Channel(k, o), len(counts)-1)
			for tap := range r.layer.Parts[k].Taps {
				if at := r.layer.At(k, o, tap); s.Mask == nil || s.Mask[at] != 0 {
					counts[set][uint8(codes[at])]++
					totals[set]++
				}
			}
		}
	}
	bits := make([][]float64, len(s.CodeSets))
	for set, list := range s.CodeSets {
		for _, code := range list {
			bits[set] = append(bits[set], math.Log2((totals[set]+1)/(counts[set][uint8(code)]+1)))
		}
	}
	return bits
}

// fitScales sets the scales that fit the codes best.
func (r *reconstruction) fitScales(s *weight.State, codes []int8) {
	above, below := make([]float64, len(s.Scale)), make([]float64, len(s.Scale))
	for k, p := range r.problems {
		for o := range p.Outputs() {
			c := weight.ScaleIndex(r.layer.Channel(k, o), len(s.Scale), s.Shape[s.Axis])
			a, b := p.ScaleTerms(o, taps(r, codes, k, o))
			above[c], below[c] = above[c]+a, below[c]+b
		}
	}
	for c := range s.Scale {
		if above[c] > 0 && below[c] > 0 {
			s.Scale[c] = weight.CompactScale(float32(above[c] / below[c]))
		}
	}
}

// reconstructClustered clusters the tensors that there are options for, and has all layers make up for it; in parts, those of more than
// reconstruct.MaxTaps inputs too, which take less memory so.
func (w *Work) reconstructClustered(ctx context.Context, options map[int]cluster.Options, parts bool) error {
	return w.reconstruct(ctx, func(int) bool { return parts }, func(r *reconstruction, t *weight.Tensor) error {
		o, ok := options[r.layer.Weight]
		if !ok {
			return r.refit(t)
		}
		result, err := r.cluster(t, o)
		if err == nil {
			w.clustered(t.Name, result)
		}
		return err
	})
}

// reconstructed tells how many layers are done.
func (r *Run) reconstructed(done, of int) {
	if r.Progress != nil {
		r.Progress(train.Progress{Layer: done, Layers: of, Accuracy: -1})
	}
}
