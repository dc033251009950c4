package weight

import (
	"math"
	"slices"
)

// Within returns the state with its codes within ±most: scales grow by as much as codes shrink, and codes that become one are one. Under a
// mask no code becomes 0. A state within already only has Most set.
func (s State) Within(most int) State {
	factors := s.factors(most)
	s.Most = most
	if most == MaxCode {
		s.Most = 0
	}
	if !slices.ContainsFunc(factors, func(f float32) bool { return f != 1 }) {
		return s
	}
	s.Scale = s.grown(factors)
	sets := make([][]int8, len(s.CodeSets))
	largest := factors[0]
	for set, codes := range s.CodeSets {
		for _, code := range codes {
			q := shrunk(code, factors[set], most)
			if q == 0 && s.Mask != nil {
				q = 1
				if code < 0 {
					q = -1
				}
			}
			sets[set] = append(sets[set], q)
		}
		sets[set] = slices.Compact(sets[set])
		largest = max(largest, factors[set])
	}
	s.CodeSets = sets
	s.Lambda /= float32(largest * largest)
	return s
}

// CodesWithin returns the integers within ±most that values are nearest to the multiples of, and the scales that go with them. Weights of
// one code have one code again; those of small codes may become 0.
func (s State) CodesWithin(values []float32, most int) ([]int8, []float32, error) {
	codes, err := s.Codes(values)
	if err != nil {
		return nil, nil, err
	}
	factors := s.factors(most)
	g := geometryOf(s.Shape, s.Axis)
	for i, code := range codes {
		codes[i] = shrunk(code, factors[min(g.channel(i), len(factors)-1)], most)
	}
	return codes, s.grown(factors), nil
}

// factors are, by code set, what scales are multiplied by for the codes to be within ±most.
func (s State) factors(most int) []float32 {
	factors := make([]float32, len(s.CodeSets))
	for set, codes := range s.CodeSets {
		largest := 0
		for _, code := range codes {
			largest = max(largest, int(code), -int(code))
		}
		if factors[set] = 1; largest > most {
			factors[set] = CompactScale(float32(largest) / float32(most))
		}
	}
	return factors
}

// grown are the scales times the factors of their sets.
func (s State) grown(factors []float32) []float32 {
	scale := slices.Clone(s.Scale)
	for c := range scale {
		scale[c] *= factors[min(c, len(factors)-1)]
	}
	return scale
}

// shrunk is a code under a scale that is larger by a factor.
func shrunk(code int8, factor float32, most int) int8 {
	if factor == 1 {
		return code
	}
	return int8(min(max(math.Round(float64(code)/float64(factor)), -float64(most)), float64(most)))
}

// clips are the shares of a channel's largest weight that may become the largest code, tried in turn where codes are few: the error of
// rounding all the others falls with the scale, that of the weights beyond it rises.
const clips = 48

// Scales returns so many scales (ScaleIndex) for a float tensor without codebooks, none below the floor of one of its channels (nil: none): the
// largest surviving weight becomes code ±Most where that is 127, and where it is less the scale is that of the least squared error. Where
// there are no weights the range is the smallest of the others.
func (t *Tensor) Scales(scales int, floor []float32) []float32 {
	scale := t.Range(scales)
	for c, largest := range scale {
		scale[c] = largest / float32(t.Most)
	}
	if t.Most < MaxCode {
		t.clip(scale)
	}
	for c, lowest := range floor {
		k := ScaleIndex(c, scales, t.channels)
		scale[k] = max(scale[k], lowest)
	}
	for k := range scale {
		scale[k] = CompactScale(scale[k])
	}
	return scale
}

// clip lowers scales to those of the least squared error.
func (t *Tensor) clip(scale []float32) {
	by := make([][]float64, len(scale)) // the surviving weights that share a scale
	t.rows(func(c, lo, hi int) {
		c = ScaleIndex(c, len(by), t.channels)
		for i := lo; i < hi; i++ {
			if t.Mask == nil || t.Mask[i] != 0 {
				by[c] = append(by[c], float64(t.Latent[i]))
			}
		}
	})
	most := float64(t.Most)
	for c, values := range by {
		whole, least := float64(scale[c]), math.Inf(1)
		for k := clips; k > clips/4; k-- {
			s := float64(CompactScale(float32(whole * float64(k) / clips)))
			var squares float64
			for _, v := range values {
				d := v - s*min(max(math.Round(v/s), -most), most)
				squares += d * d
			}
			if squares < least {
				least, scale[c] = squares, float32(s)
			}
		}
	}
}
