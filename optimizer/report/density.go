package report

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// codeSpan is the largest absolute code.
const codeSpan = 127

// Density is the distribution of a layer's weights in code units: −127 … 127, the weights divided by the scale of their output
// channel, codes of int4 spread over as many. Float weights without codes have no scale of their own; they are divided by what int8 would give them, the largest
// absolute weight of their channel / 127.
type Density struct {
	// Counts of weights by code, from −127 on; float weights are rounded.
	Counts []int `json:"counts,omitempty"`
	// Zeros are exact zeros; they are in Counts too.
	Zeros int `json:"zeros,omitempty"`
	// Discrete says that the weights are exactly codes, not just near them.
	Discrete bool `json:"discrete,omitempty"`
}

// int4Span is the largest absolute code of int4.
const int4Span = 8

// CodeDensity is the density of integer weights whose largest absolute code is span: fewer codes lie further apart.
func CodeDensity(codes []int64, span int64) Density {
	d := Density{Counts: make([]int, 2*codeSpan+1), Discrete: true}
	for _, c := range codes {
		d.Counts[max(-span, min(span, c))*codeSpan/span+codeSpan]++
	}
	d.Zeros = d.Counts[codeSpan]
	return d
}

// LayerDensity is the density of float weights of a shape whose output channels lie along axis.
func LayerDensity(values []float32, shape []int, axis int) Density {
	d := Density{Counts: make([]int, 2*codeSpan+1)}
	inner, channels := 1, 1
	if axis >= 0 && axis < len(shape) {
		channels = shape[axis]
		for _, n := range shape[axis+1:] {
			inner *= n
		}
	}
	largest := make([]float64, channels)
	for i, v := range values {
		c := i / inner % channels
		largest[c] = max(largest[c], math.Abs(float64(v)))
	}
	for i, v := range values {
		if v == 0 {
			d.Zeros++
		}
		code := 0.0
		if most := largest[i/inner%channels]; most > 0 {
			code = math.Round(float64(v) / most * codeSpan)
		}
		d.Counts[int(code)+codeSpan]++
	}
	return d
}

// add counts another layer's codes too.
func (d *Density) add(other Density) {
	for i, n := range other.Counts {
		d.Counts[i] += n
	}
	d.Zeros, d.Discrete = d.Zeros+other.Zeros, d.Discrete && other.Discrete
}

// total is the number of weights.
func (d Density) total() int {
	n := 0
	for _, c := range d.Counts {
		n += c
	}
	return n
}

// codes is the number of distinct codes.
func (d Density) codes() int {
	n := 0
	for _, c := range d.Counts {
		if c > 0 {
			n++
		}
	}
	return n
}

// nonzero are the counts without exact zeros.
func (d Density) nonzero() []float64 {
	out := make([]float64, len(d.Counts))
	for i, c := range d.Counts {
		out[i] = float64(c)
	}
	if len(out) == 2*codeSpan+1 {
		out[codeSpan] -= float64(d.Zeros)
	}
	return out
}

// smooth is a Gaussian kernel density estimate over the codes, scaled as counts a code. The bandwidth is Silverman's rule of
// thumb (0.9 · min(σ, IQR/1.34) · n^(−1/5)), at least one code and a half.
func smooth(counts []float64) []float64 {
	out, codes := make([]float64, len(counts)), make([]float64, len(counts))
	for i := range codes {
		codes[i] = float64(i)
	}
	n := floats.Sum(counts)
	if n == 0 {
		return out
	}
	_, spread := stat.PopMeanStdDev(codes, counts)
	if iqr := (stat.Quantile(0.75, stat.Empirical, codes, counts) - stat.Quantile(0.25, stat.Empirical, codes, counts)) / 1.34; iqr > 0 {
		spread = min(spread, iqr)
	}
	width := max(1.5, 0.9*spread*math.Pow(n, -0.2))
	reach := int(4 * width)
	kernel := make([]float64, reach+1)
	sum := 0.0
	for k := range kernel {
		kernel[k] = math.Exp(-0.5 * float64(k*k) / (width * width))
		if sum += kernel[k]; k > 0 {
			sum += kernel[k]
		}
	}
	for i, c := range counts {
		if c == 0 {
			continue
		}
		for j := max(0, i-reach); j <= min(len(out)-1, i+reach); j++ {
			out[j] += c * kernel[max(i-j, j-i)] / sum
		}
	}
	return out
}
