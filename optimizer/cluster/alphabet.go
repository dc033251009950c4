package cluster

import (
	"cmp"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/weight"
)

// DEFLATE counts symbols, and gives each its bits, over blocks of 16,384. Sets that are smaller share a block with others, and if these have
// other codes each costs more. Where bits are priced such sets therefore have codes in common, the multiples of one step, if that costs hardly
// more: at a price of bits evenly spaced codes lose nearly nothing to codes of a set's own (Sullivan, "Efficient scalar quantization of exponential
// and Laplacian random variables", 1996). Larger sets have blocks of their own.
const (
	alphabetBlock  = 1 << 14 // symbols
	alphabetLoss   = 0.05    // of the cost that codes of a set's own have
	alphabetRounds = 4
)

// alphabetStep is the largest power of two of which codes clusters in a row are all within ±most, wherever zero lies among them.
func alphabetStep(codes, most int) int {
	step := 1
	for 2*step*max(codes-1, 1) <= most {
		step *= 2
	}
	return step
}

// alphabet moves the centers of a set to multiples of a spacing, which it chooses, and returns what a code is worth then, in centers; false
// if codes of the set's own are better.
func (p *problem) alphabet(s *set) (unit float64, ok bool) {
	step := alphabetStep(p.codes, p.tensor.Most)
	if step == 1 || len(s.center) < 2 || len(s.x) >= alphabetBlock {
		return 0, false
	}
	center, share, gain := s.center, s.share, slices.Clone(p.gain)
	own := p.cost(s)
	trial := &set{channels: s.channels, x: s.x, weight: s.weight, channel: s.channel, lambda: s.lambda}
	var best []int
	least := math.Inf(1)
	reach := s.largest()
	for levels := max(2, len(center)/2); levels < 2*len(center); levels++ { // on both sides of zero
		index := p.populated(trial, 2*reach/float64(levels), p.tensor.Most/step)
		for range alphabetRounds {
			index = p.space(trial, index)
		}
		if len(index) < 2 {
			continue
		}
		if cost := p.cost(trial); cost < least {
			least, best = cost, index
			s.center, s.share = slices.Clone(trial.center), slices.Clone(trial.share)
		}
	}
	for range alphabetRounds {
		if p.Scope == weight.Shared && len(best) > 0 {
			p.fitGains(s)
		}
		best = p.space(s, best)
	}
	if len(best) < 2 || p.cost(s) > own*(1+alphabetLoss) {
		s.center, s.share, p.gain = center, share, gain
		return 0, false
	}
	k := len(best) - 1
	if best[k] == 0 {
		k = 0
	}
	return s.center[k] / float64(best[k]*step), true
}

// populated gives a set the multiples of a spacing that most of its weights are next to, and returns these.
func (p *problem) populated(s *set, spacing float64, most int) []int {
	count := make([]int, 2*most+1)
	for i, x := range s.x {
		k := math.Round(float64(x) / p.gain[s.channel[i]] / spacing)
		count[int(min(max(k, -float64(most)), float64(most)))+most]++
	}
	var index []int
	for k, n := range count {
		if n > 0 && !(p.masked && k == most) {
			index = append(index, k-most)
		}
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(count[b+most], count[a+most]) })
	index = slices.Sorted(slices.Values(index[:min(len(index), p.codes)]))
	s.center, s.share = make([]float64, len(index)), make([]float64, len(index))
	for k, i := range index {
		s.center[k], s.share[k] = spacing*float64(i), float64(count[i+most])/float64(len(s.x))
	}
	return index
}

// space is one round: members by the priced boundaries, then the spacing of the centers, multiples of it, by least squares, and shares.
// Multiples that no weight belongs to go.
func (p *problem) space(s *set, index []int) []int {
	if len(index) == 0 {
		return nil
	}
	member := s.assign(p.gain)
	count := make([]int, len(index))
	var above, below float64
	for i, k := range member {
		v := p.gain[s.channel[i]] * float64(index[k])
		above += s.weightOf(i) * v * float64(s.x[i])
		below += s.weightOf(i) * v * v
		count[k]++
	}
	var kept []int
	s.center, s.share = s.center[:0], s.share[:0]
	for k, n := range count {
		if n > 0 {
			kept = append(kept, index[k])
			s.share = append(s.share, float64(n)/float64(len(s.x)))
		}
	}
	for _, i := range kept {
		s.center = append(s.center, above/below*float64(i))
	}
	return kept
}
