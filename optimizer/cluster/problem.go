package cluster

import (
	"cmp"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/weight"
)

// problem is the clustering of one tensor. Weights are taken relative to the root mean square of those that share their scale, an output
// channel's mostly, x = w/rms, so that every channel's error counts alike: channels folded with batch-norm differ in size by
// orders of magnitude, and the layers behind make up for it. A channel's weights are approximated by gain·center. What is said of
// channels here is of the parts that have a scale each.
type problem struct {
	Options
	tensor *weight.Tensor
	masked bool
	codes  int // a set may have, zero of the mask not counted
	sets   []*set
	rms    []float64 // by channel
	gain   []float64 // by channel: its scale in units of rms, for centers in units of x
	dead   []bool    // by channel: it has weights, all zero
}

// set is the weights that share a codebook.
type set struct {
	channels []int // their output channels
	x        []float32
	weight   []float32 // nil: all 1
	channel  []int32   // by weight
	lambda   float64   // price of a bit, in squares of x

	center []float64
	share  []float64 // of the weights, by center
}

func newProblem(t *weight.Tensor, o Options) (*problem, error) {
	if err := o.check(t); err != nil {
		return nil, err
	}
	channels := t.Shape[t.Axis]
	switch {
	case o.Scope == weight.PerTensor:
		channels = 1
	case o.Scope == weight.Shared && o.Scales > 0:
		channels = o.Scales
	}
	p := &problem{
		Options: o, tensor: t, masked: t.Mask != nil, codes: o.Clusters,
		rms: make([]float64, channels), dead: make([]bool, channels), gain: slices.Repeat([]float64{1}, channels),
	}
	if p.masked {
		p.codes--
	}
	p.codes = min(p.codes, weight.Room(t.Most, p.masked))
	p.measure()
	p.divide()
	return p, nil
}

// each calls f with every surviving weight and its channel.
func (p *problem) each(f func(i, c int)) {
	t, inner := p.tensor, 1
	for _, d := range t.Shape[t.Axis+1:] {
		inner *= d
	}
	for i := range t.Latent {
		if t.Mask == nil || t.Mask[i] != 0 {
			f(i, weight.ScaleIndex(i/inner%t.Shape[t.Axis], len(p.rms), t.Shape[t.Axis]))
		}
	}
}

// measure sets the root mean square of every channel; 0 where no weight survives or all are zero.
func (p *problem) measure() {
	count := make([]float64, len(p.rms))
	p.each(func(i, c int) {
		v := float64(p.tensor.Latent[i])
		p.rms[c] += v * v
		count[c]++
	})
	for c := range p.rms {
		p.rms[c] = math.Sqrt(p.rms[c] / max(count[c], 1))
		p.dead[c] = p.rms[c] == 0 && count[c] > 0
	}
}

// divide collects the weights of every set.
func (p *problem) divide() {
	n := 1
	if p.Scope == weight.PerChannel {
		n = len(p.rms)
	}
	for range n {
		p.sets = append(p.sets, &set{})
	}
	for c := range p.rms {
		s := p.sets[min(c, n-1)]
		s.channels = append(s.channels, c)
	}
	sensitivity := make([][]float64, n) // by set and weight, in squares of x
	p.each(func(i, c int) {
		b, rms := min(c, n-1), p.rms[c]
		s := p.sets[b]
		if rms == 0 {
			rms = 1
		}
		s.x = append(s.x, float32(float64(p.tensor.Latent[i])/rms))
		s.channel = append(s.channel, int32(c))
		if p.Sensitivity != nil {
			sensitivity[b] = append(sensitivity[b], float64(p.Sensitivity[i])*rms*rms)
		}
	})
	for b, s := range p.sets {
		s.weigh(sensitivity[b])
	}
}

// weigh has weights count by their sensitivities, the mean being 1, so that λ means the same with and without; not if they are all zero.
func (s *set) weigh(sensitivity []float64) {
	top := slices.Max(append(sensitivity, 0))
	if top == 0 {
		return
	}
	_, exponent := math.Frexp(top) // squares of small and of large weights are none of float32
	var sum float64
	for _, v := range sensitivity {
		w := float32(math.Ldexp(v, -exponent))
		s.weight, sum = append(s.weight, w), sum+float64(w)
	}
	by := float32(float64(len(s.weight)) / sum)
	for i := range s.weight {
		s.weight[i] *= by
	}
}

// rounds of alternation between codes and scales. The cost falls in every one; after these it hardly does.
const rounds = 12

// solve chooses centers and gains.
func (p *problem) solve() error {
	parts := make([]Partition, len(p.sets))
	var squares, n float64
	for b, s := range p.sets {
		parts[b] = Solve(s.x, s.weight, p.codes, 0)
		squares, n = squares+parts[b].Cost, n+float64(len(s.x))
	}
	lambda := Lambda(p.Entropy, squares/max(n, 1))
	for b, s := range p.sets {
		if s.lambda = lambda; lambda > 0 {
			parts[b] = Solve(s.x, s.weight, p.codes, lambda)
		}
		s.center, s.share = parts[b].Center, make([]float64, len(parts[b].Count))
		for k, n := range parts[b].Count {
			s.share[k] = float64(n) / float64(len(s.x))
		}
		for range rounds {
			if p.Scope == weight.Shared && len(s.x) > 0 {
				p.fit(s)
			}
		}
	}
	return nil
}

// fitGains gives weights their centers by the priced boundaries, and channels their gains by least squares.
func (p *problem) fitGains(s *set) (member []uint8) {
	member = s.assign(p.gain)
	top, bottom := make([]float64, len(p.gain)), make([]float64, len(p.gain))
	for i, k := range member {
		c, w, v := s.channel[i], s.weightOf(i), s.center[k]
		top[c] += w * float64(s.x[i]) * v
		bottom[c] += w * v * v
	}
	for c := range p.gain {
		if bottom[c] > 0 && top[c] > 0 {
			p.gain[c] = top[c] / bottom[c]
		}
	}
	return member
}

// fit is one round: members and gains, then centers by least squares, and shares.
func (p *problem) fit(s *set) {
	n := len(s.center)
	member := p.fitGains(s)
	above, below, count := make([]float64, n), make([]float64, n), make([]float64, n)
	for i, k := range member {
		g, w := p.gain[s.channel[i]], s.weightOf(i)
		above[k] += w * g * float64(s.x[i])
		below[k] += w * g * g
		count[k]++
	}
	for k := range s.center {
		if below[k] > 0 {
			s.center[k] = above[k] / below[k]
		}
		s.share[k] = count[k] / float64(len(s.x))
	}
	s.order()
}

func (s *set) weightOf(i int) float64 { return weightOf(s.weight, i) }

// order sorts the centers and drops those without members.
func (s *set) order() {
	type center struct{ at, share float64 }
	var kept []center
	for k := range s.center {
		if s.share[k] > 0 {
			kept = append(kept, center{s.center[k], s.share[k]})
		}
	}
	slices.SortFunc(kept, func(a, b center) int { return cmp.Compare(a.at, b.at) })
	s.center, s.share = s.center[:0], s.share[:0]
	for _, c := range kept {
		s.center, s.share = append(s.center, c.at), append(s.share, c.share)
	}
}

// assign returns the center every weight belongs to: the one of least squared error and price.
func (s *set) assign(gain []float64) []uint8 {
	member := make([]uint8, len(s.x))
	price := make([]float64, len(s.center))
	unit := s.unit(gain)
	for k, share := range s.share {
		price[k] = s.lambda / unit * -math.Log2(share)
	}
	for i, x := range s.x {
		y := float64(x) / gain[s.channel[i]]
		least := math.Inf(1)
		for k, c := range s.center {
			if d := (y-c)*(y-c) + price[k]; d < least {
				least, member[i] = d, uint8(k)
			}
		}
	}
	return member
}

// unit is the mean squared gain of the set's weights: what an error of 1 among centers costs.
func (s *set) unit(gain []float64) float64 {
	var sum float64
	for _, c := range s.channel {
		sum += gain[c] * gain[c]
	}
	return sum / float64(len(s.channel))
}

// codebooks turns centers and gains into integers and scales: the gauge is fixed by making the largest code of a set 127, or, where bits have
// a price, the distance of codes a power of two. Where codes are fewer it is the one of least cost.
func (p *problem) codebooks() ([]float32, []*weight.Codebook, error) {
	scale := make([]float32, len(p.rms))
	books := make([]*weight.Codebook, len(p.sets))
	for b, s := range p.sets {
		unit, err := p.unit(s)
		if err != nil {
			return nil, nil, err
		}
		centers, share := make([]float32, len(s.center)), make([]float32, len(s.center))
		for k, c := range s.center {
			centers[k], share[k] = float32(c/unit), float32(s.share[k])
		}
		book, err := weight.NewCodebook(centers, p.tensor.Most, p.masked)
		if err != nil {
			return nil, nil, err
		}
		if len(s.x) > 0 {
			if err := book.Price(float32(s.lambda/s.unit(p.gain)/(unit*unit)), share); err != nil {
				return nil, nil, err
			}
		}
		books[b] = book
		for _, c := range s.channels {
			scale[c] = float32(p.rms[c] * p.gain[c] * unit)
		}
	}
	p.finish(scale)
	return scale, books, nil
}

// unit is what a code of a set is worth, in centers, which are moved to where codes may be.
func (p *problem) unit(s *set) (float64, error) {
	whole := s.largest() / float64(p.tensor.Most)
	switch {
	case len(s.center) == 0:
		return whole, nil
	case p.tensor.Most < weight.MaxCode:
		return p.snap(s, whole)
	case s.lambda > 0:
		if unit, ok := p.alphabet(s); ok {
			return unit, nil
		}
	}
	return whole, nil
}

// largest is that of the centers from zero; 127 where all are zero.
func (s *set) largest() float64 {
	var top float64
	for _, c := range s.center {
		top = max(top, math.Abs(c))
	}
	if top == 0 {
		return weight.MaxCode
	}
	return top
}

// Units are tried from the whole one down to a quarter of it; gains are fitted anew to the codes of the best.
const (
	unitSteps  = 16
	unitRounds = 3
)

// snap moves the centers of a set to multiples of a unit, which it chooses: whole, with which the largest center is the largest code, or
// less, which clips.
func (p *problem) snap(s *set, whole float64) (unit float64, err error) {
	center, share := s.center, s.share
	least := math.Inf(1)
	var best []float64
	for k := unitSteps; k > unitSteps/4; k-- {
		now := whole * float64(k) / unitSteps
		s.center, s.share = slices.Clone(center), share
		if err := p.round(s, now); err != nil {
			return 0, err
		}
		if cost := p.cost(s); cost < least {
			least, unit, best = cost, now, s.center
		}
	}
	s.center, s.share = best, slices.Clone(share)
	for range unitRounds {
		if p.Scope == weight.Shared && len(s.x) > 0 {
			p.fitGains(s)
		}
	}
	return unit, nil
}

// round moves centers to distinct multiples of a unit.
func (p *problem) round(s *set, unit float64) error {
	centers := make([]float32, len(s.center))
	for k, c := range s.center {
		centers[k] = float32(c / unit)
	}
	book, err := weight.NewCodebook(centers, p.tensor.Most, p.masked)
	if err != nil {
		return err
	}
	for k, code := range book.Codes() {
		s.center[k] = unit * float64(code)
	}
	return nil
}

// cost is the squared error of a set and the price of its bits.
func (p *problem) cost(s *set) float64 {
	var sum float64
	for i, k := range s.assign(p.gain) {
		gain := p.gain[s.channel[i]]
		d := float64(s.x[i]) - gain*s.center[k]
		sum += s.weightOf(i)*d*d + s.lambda*-math.Log2(s.share[k])
	}
	return sum
}

// finish shortens the scales' mantissas. Channels without weights get the smallest scale of the others; channels of nothing but
// zeros that are not pruned a far smaller one, since zero may not be among the codes.
func (p *problem) finish(scale []float32) {
	idle := float32(math.Inf(1))
	for _, s := range scale {
		if s > 0 {
			idle = min(idle, s)
		}
	}
	if math.IsInf(float64(idle), 1) {
		idle = 1
	}
	for c, s := range scale {
		switch {
		case s > 0:
		case p.dead[c]:
			s = idle / 256
		default:
			s = idle
		}
		scale[c] = weight.CompactScale(s)
	}
}
