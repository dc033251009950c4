package weight

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// EveryCode lists the codes within ±most, which a weight without a codebook may have, rising.
func EveryCode(most int) []int8 {
	all := make([]int8, 0, 2*most+1)
	for code := -most; code <= most; code++ {
		all = append(all, int8(code))
	}
	return all
}

// Room is how many codes a codebook within ±most can have; under a mask, which holds zero itself, one less than without.
func Room(most int, nonzero bool) int {
	if nonzero {
		return 2 * most
	}
	return 2*most + 1
}

// Codebook is the code set of a tensor or of one output channel. Its centers train; the codes are the centers rounded.
type Codebook struct {
	Center []float32 // in code units, sorted
	Bits   []float32 // price of a member of each code, in squared code units: λ·−log₂ p; nil without entropy

	// Lambda is the price of one bit in squared code units; 0 assigns every weight to the nearest code.
	Lambda float32
	// Share is by code the share of the surviving weights it is expected to hold, which prices follow. See Pricing.
	Share []float32

	code     []int8
	boundary []float32 // len(code)−1, sorted: a latent belongs to the code whose index is the count of boundaries at or below it
	most     int       // largest magnitude of a code
	nonzero  bool      // the mask holds zero, so no code is 0
	fit      []float64 // scratch of project
}

// NewCodebook returns a codebook of the given centers within ±most, in any order. Under a mask, which holds zero itself,
// nonzero keeps every code away from 0. Equal centers are moved apart to distinct codes.
func NewCodebook(centers []float32, most int, nonzero bool) (*Codebook, error) {
	if room := Room(most, nonzero); len(centers) > room {
		return nil, fmt.Errorf("%d codes; within ±%d is room for %d", len(centers), most, room)
	}
	for _, c := range centers {
		if math.IsNaN(float64(c)) || math.IsInf(float64(c), 0) {
			return nil, fmt.Errorf("center %v is not finite", c)
		}
	}
	b := &Codebook{
		Center: slices.Sorted(slices.Values(centers)),
		most:   most, nonzero: nonzero, code: make([]int8, len(centers)), fit: make([]float64, 2*len(centers)),
		boundary: make([]float32, max(0, len(centers)-1)),
	}
	b.project()
	return b, nil
}

// Price sets what a bit costs, λ in squared code units, and the expected share of every code; shares are made to sum to 1.
// Boundaries between codes shift so that the dearer code gets less: the encoder of entropy-constrained quantization (Chou,
// Lookabaugh, Gray 1989). No price for λ = 0.
func (b *Codebook) Price(lambda float32, share []float32) error {
	if len(share) != len(b.Center) {
		return fmt.Errorf("%d shares for %d codes", len(share), len(b.Center))
	}
	if !(lambda >= 0) || math.IsInf(float64(lambda), 0) {
		return fmt.Errorf("price of a bit %v is negative or not finite", lambda)
	}
	b.Lambda, b.Share, b.Bits = lambda, slices.Clone(share), nil
	if lambda > 0 {
		b.Bits = make([]float32, len(share))
		b.normaliseShare()
	}
	b.place()
	return nil
}

// Len is the number of codes.
func (b *Codebook) Len() int { return len(b.code) }

// Codes returns the codes, sorted and distinct.
func (b *Codebook) Codes() []int8 { return slices.Clone(b.code) }

// check reports a codebook that breaks its invariants or does not fit the mask.
func (b *Codebook) check(masked bool, most int) error {
	if masked && !b.nonzero {
		return errors.New("has a code free to be 0, but the tensor has a mask, which holds the zeros")
	}
	for k, c := range b.Center {
		switch {
		case math.IsNaN(float64(c)) || math.IsInf(float64(c), 0):
			return fmt.Errorf("center %d became %v: training diverged; lower the learning rate", k, c)
		case k > 0 && b.code[k] <= b.code[k-1]:
			return fmt.Errorf("codes %d and %d are not distinct: %d, %d", k-1, k, b.code[k-1], b.code[k])
		case int(b.code[k]) < -most || int(b.code[k]) > most:
			return fmt.Errorf("code %d is %d, outside ±%d", k, b.code[k], most)
		case b.nonzero && b.code[k] == 0:
			return fmt.Errorf("code %d is 0, which the mask holds", k)
		}
	}
	return nil
}

// project moves the centers as little as possible (least squares) so that rounding gives sorted, distinct codes within ±most
// and, under a mask, none of them 0; then it places the boundaries. Centers that comply already do not move.
//
// Distinct integers r_k rise by at least 1, so r_k − k does not fall: isotonic regression, which rounding and clamping to
// bounds keep optimal. Leaving out 0 is the same on the line with the gap between −1 and 1 halved.
func (b *Codebook) project() {
	n := len(b.Center)
	if n == 0 {
		return
	}
	low, high := -float64(b.most), float64(b.most)
	if b.nonzero {
		high--
	}
	mean, weight := b.fit[:0:n], b.fit[n:n]
	for k, c := range b.Center {
		mean, weight = append(mean, b.toLine(float64(c))-float64(k)), append(weight, 1)
		for m := len(mean); m > 1 && mean[m-2] > mean[m-1]; m-- { // pool adjacent violators
			w := weight[m-2] + weight[m-1]
			mean[m-2] = (float64(mean[m-2]*weight[m-2]) + float64(mean[m-1]*weight[m-1])) / w
			mean, weight, weight[m-2] = mean[:m-1], weight[:m-1], w
		}
	}
	k := 0
	for block, v := range mean {
		v = min(max(v, low), high-float64(n-1))
		for range int(weight[block]) {
			b.Center[k] = float32(b.fromLine(v + float64(k)))
			b.code[k] = int8(b.fromLine(math.Floor(v+0.5) + float64(k)))
			k++
		}
	}
	b.place()
}

// toLine and fromLine map code units to the line without 0 and back.
func (b *Codebook) toLine(c float64) float64 {
	switch {
	case !b.nonzero || c <= -1:
		return c
	case c >= 1:
		return c - 1
	default:
		return (c - 1) / 2
	}
}

func (b *Codebook) fromLine(u float64) float64 {
	switch {
	case !b.nonzero || u <= -1:
		return u
	case u >= 0:
		return u + 1
	default:
		return 2*u + 1
	}
}

// place computes the boundaries between the codes: where (x − r_j)² + bits_j = (x − r_k)² + bits_k for neighbours j < k. A code
// so dear that its neighbours always win has an empty interval: the lower envelope of parabolas, whose order is the codes'.
func (b *Codebook) place() {
	if len(b.code) == 0 {
		return
	}
	price := func(k int) float64 {
		if b.Bits == nil {
			return 0
		}
		return float64(b.Bits[k])
	}
	meet := func(j, k int) float64 {
		rj, rk := float64(b.code[j]), float64(b.code[k])
		return (rj+rk)/2 + (price(k)-price(j))/(2*(rk-rj))
	}
	var envelope [256]uint8 // codes with an interval, sorted
	var from [256]float64   // where that interval begins
	top := 0
	from[0] = math.Inf(-1)
	for k := 1; k < len(b.code); k++ {
		x := meet(int(envelope[top]), k)
		for top > 0 && x <= from[top] {
			top--
			x = meet(int(envelope[top]), k)
		}
		top++
		envelope[top], from[top] = uint8(k), x
	}
	for i := 1; i <= top; i++ {
		for k := envelope[i-1]; k < envelope[i]; k++ {
			b.boundary[k] = float32(from[i])
		}
	}
}
