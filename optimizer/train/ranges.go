package train

import (
	"fmt"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/quantize"
)

// RangeMode says what becomes of activation ranges during training.
type RangeMode string

// The modes.
const (
	Frozen  RangeMode = "Frozen"  // they stay as calibrated
	Tracked RangeMode = "Tracked" // they follow a moving average of each batch's range
	Learned RangeMode = "Learned" // their ends are trained (LSQ+, arXiv 2004.09576)
)

// Ranges are the ranges of a quantization plan's groups, moved by training.
type Ranges struct {
	Plan   *quantize.Plan
	Quants []*float.ActQuant // by group, from Plan.Attach
	Range  []quantize.Range  // by group
	Mode   RangeMode

	group  []int            // by index in Network.ActQuants
	start  []quantize.Range // at the beginning of training
	floor  []quantize.Range // of the constants in a group, which its range always holds
	value  []float32        // Learned: ends as multiples of the width at the start: minimum, maximum, minimum, …
	grad   []float32
	first  []float32
	second []float32
	mask   []uint8
	params []quantize.Params // by group, as the file will hold them
}

const rangeDecay = 0.99

// prepare checks the ranges against a network and marks what is learned. It must come before any Exec is made.
func (r *Ranges) prepare(n *float.Network) error {
	groups := len(r.Plan.Groups)
	if len(r.Quants) != groups || len(r.Range) != groups {
		return fmt.Errorf("%d quantizations and %d ranges for %d groups of tensors", len(r.Quants), len(r.Range), groups)
	}
	switch r.Mode {
	case Frozen, Tracked, Learned:
	default:
		return fmt.Errorf("mode of ranges is %q: want %s, %s or %s", r.Mode, Frozen, Tracked, Learned)
	}
	index := map[*float.ActQuant]int{}
	for g, q := range r.Quants {
		index[q] = g
		q.Learn = r.Mode == Learned && r.Plan.Groups[g].Fixed == nil
	}
	for _, q := range n.ActQuants() {
		g, ok := index[q]
		if !ok {
			g = -1
		}
		r.group = append(r.group, g)
	}
	r.params = make([]quantize.Params, groups)
	r.start = append([]quantize.Range(nil), r.Range...)
	r.findFloors()
	r.value, r.grad = make([]float32, 2*groups), make([]float32, 2*groups)
	r.first, r.second, r.mask = make([]float32, 2*groups), make([]float32, 2*groups), make([]uint8, 2*groups)
	for g := range r.Range {
		r.normalize(g)
	}
	return nil
}

// findFloors collects the ranges of the constants that share a quantization with activations.
func (r *Ranges) findFloors() {
	r.floor = make([]quantize.Range, len(r.Plan.Groups))
	for g, group := range r.Plan.Groups {
		r.floor[g] = quantize.Empty()
		for _, t := range group.Sources {
			for _, v := range r.Plan.Graph.Tensors[t].Float32s() {
				r.floor[g] = r.floor[g].Include(v)
			}
		}
	}
}

// normalize sets the trained ends of a group from its range. An end at 0, such as the lower one after ReLU, stays there.
func (r *Ranges) normalize(g int) {
	width := r.width(g)
	r.value[2*g], r.value[2*g+1] = r.Range[g].Min/width, r.Range[g].Max/width
	r.mask[2*g], r.mask[2*g+1] = 0, 0
	if r.Range[g].Min < 0 {
		r.mask[2*g] = 1
	}
	if r.Range[g].Max > 0 {
		r.mask[2*g+1] = 1
	}
}

// width is that of a group's range at the start, never 0.
func (r *Ranges) width(g int) float32 {
	return max(r.start[g].Max-r.start[g].Min, 1e-20)
}

// update moves the ranges after a step and sets the quantizations from them.
func (r *Ranges) update(c *Config, step int, rate float64, acts []float.ActGrad) {
	switch r.Mode {
	case Frozen:
		return
	case Tracked:
		r.track(acts)
	case Learned:
		r.learn(c, step, rate, acts)
	}
	r.apply()
}

func (r *Ranges) track(acts []float.ActGrad) {
	for i, a := range acts {
		g := r.group[i]
		if g < 0 || r.Plan.Groups[g].Fixed != nil || !(a.Min <= a.Max) {
			continue
		}
		average := quantize.MovingAverage{Decay: rangeDecay, Range: r.Range[g]}
		average.Update(quantize.Range{Min: min(a.Min, 0), Max: max(a.Max, 0)}.Union(r.floor[g]))
		r.Range[g] = average.Range
	}
}

func (r *Ranges) learn(c *Config, step int, rate float64, acts []float.ActGrad) {
	for i, a := range acts {
		g := r.group[i]
		if g < 0 || !r.Quants[g].Learn {
			continue
		}
		lo, hi := r.Range[g].Gradient(a.Scale, a.ZeroPoint)
		if r.Quants[g].Wide {
			lo, hi = r.Range[g].WideGradient(a.Scale)
		}
		r.grad[2*g], r.grad[2*g+1] = lo*r.width(g), hi*r.width(g)
	}
	kernel.AdamStep(r.value, r.grad, r.first, r.second, r.mask, adamConstants(c, step, rate))
	for g := range r.Range {
		if !r.Quants[g].Learn {
			continue
		}
		width := r.width(g)
		// A range keeps at least a hundredth of its width: nothing could bring it back from zero.
		r.value[2*g] = min(r.value[2*g], 0)
		r.value[2*g+1] = max(r.value[2*g+1], r.value[2*g]+0.01, 0)
		r.Range[g] = quantize.Range{Min: r.value[2*g] * width, Max: r.value[2*g+1] * width}.Union(r.floor[g])
	}
}

// apply sets the quantizations to what the emitted file will hold.
func (r *Ranges) apply() {
	r.Plan.SetParams(r.params, r.Range)
	for g, p := range r.params {
		r.Quants[g].Scale, r.Quants[g].ZeroPoint = p.Scale, p.ZeroPoint
	}
}
