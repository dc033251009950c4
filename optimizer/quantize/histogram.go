package quantize

import (
	"math"
)

// histogramBins covers [−Limit, Limit) of a histogram. Limit is less than twice the largest value, so a one-sided tensor has
// at least a quarter of the bins, 16 for each of 255 codes.
const histogramBins = 16384

// Histogram counts a stream of values without knowing their range beforehand: its limit is a power of two that doubles, and
// its bins merge in pairs, when a value exceeds it. Bins of a doubled histogram are unions of the old ones, so the counts do
// not depend on the order values come in, and histograms of parts can be added.
type Histogram struct {
	limit  float64 // power of two; 0 until a value other than 0 was seen
	counts []int64 // histogramBins of width 2·limit/histogramBins; exact zeros are not among them
	total  int64   // values, zeros included
	seen   Range
}

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram { return &Histogram{seen: Empty()} }

// Add counts values; NaN and infinity fall into no bin.
func (h *Histogram) Add(values []float32) {
	before := h.seen
	for _, v := range values {
		if v-v == 0 {
			h.seen.Min, h.seen.Max = min(h.seen.Min, v), max(h.seen.Max, v)
		}
	}
	if h.seen != before {
		h.reach(max(math.Abs(float64(h.seen.Min)), math.Abs(float64(h.seen.Max))))
	}
	perUnit := 0.0
	if h.limit > 0 {
		perUnit = histogramBins / 2 / h.limit
	}
	for _, v := range values {
		if v != 0 && v-v == 0 {
			h.counts[histogramBins/2+int(math.Floor(float64(v)*perUnit))]++
		}
	}
	h.total += int64(len(values))
}

// reach makes the limit exceed a.
func (h *Histogram) reach(a float64) {
	if a == 0 || a < h.limit {
		return
	}
	_, exp := math.Frexp(a) // a < 2^exp ≤ 2a
	limit := math.Ldexp(1, exp)
	if h.limit == 0 {
		h.limit, h.counts = limit, make([]int64, histogramBins)
		return
	}
	for h.limit < limit {
		h.double()
	}
}

// double halves the resolution: bin i of the old histogram, counted from the middle, falls into ⌊i/2⌋ of the new one.
func (h *Histogram) double() {
	merged := make([]int64, histogramBins)
	for i, n := range h.counts {
		merged[histogramBins/4+i/2] += n // (i − bins/2)/2 + bins/2
	}
	h.counts = merged
	h.limit *= 2
}

// Merge adds the counts of g, which is left unchanged.
func (h *Histogram) Merge(g *Histogram) {
	h.total += g.total
	h.seen = h.seen.Union(g.seen)
	if g.limit == 0 {
		return
	}
	if h.limit == 0 {
		h.limit, h.counts = g.limit, append([]int64(nil), g.counts...)
		return
	}
	other := &Histogram{limit: g.limit, counts: g.counts}
	for other.limit < h.limit {
		other.double()
	}
	for h.limit < other.limit {
		h.double()
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
}

// MinMax is the range of all values.
func (h *Histogram) MinMax() Range { return h.seen.widenEmpty() }

// widenEmpty makes an empty range [0, 0].
func (r Range) widenEmpty() Range {
	if r.Min > r.Max {
		return Range{}
	}
	return r
}

// Percentile is the range that leaves out the share 1 − p/100 of the values, half of it on either side, zeros counted; p is in
// (50, 100]. A side all of whose values lie within the share that is left out ends at 0.
func (h *Histogram) Percentile(p float64) Range {
	r := h.MinMax()
	if h.limit == 0 || p >= 100 {
		return r
	}
	skip := float64(h.total) * (1 - p/100) / 2
	width := 2 * h.limit / histogramBins
	var below, above float64
	for i := 0; i < histogramBins/2; i++ {
		if below += float64(h.counts[i]); below > skip {
			r.Min = max(r.Min, float32(float64(i-histogramBins/2)*width))
			break
		}
		if i == histogramBins/2-1 {
			r.Min = max(r.Min, 0)
		}
	}
	for i := histogramBins - 1; i >= histogramBins/2; i-- {
		if above += float64(h.counts[i]); above > skip {
			r.Max = min(r.Max, float32(float64(i+1-histogramBins/2)*width))
			break
		}
		if i == histogramBins/2 {
			r.Max = min(r.Max, 0)
		}
	}
	return r
}

// MSE is the range whose int8 quantization has the smallest mean squared error over the counted values: clipping error of the
// values outside against a twelfth of the squared step for those inside. Exact zeros have no error. The ends are searched in
// turn, each from the full range inwards, until neither moves.
func (h *Histogram) MSE() Range {
	full := h.MinMax().widen()
	if h.limit == 0 {
		return full
	}
	cost := h.errorTable()
	best, bestCost := full, cost.of(full)
	const steps, rounds = 128, 4
	for round := 0; round < rounds; round++ {
		before := best
		for k := 1; k <= steps; k++ {
			share := float32(k) / steps
			for _, candidate := range []Range{{full.Min * share, best.Max}, {best.Min, full.Max * share}, {full.Min * share, full.Max * share}} {
				if candidate.Max-candidate.Min <= 0 {
					continue
				}
				if c := cost.of(candidate); c < bestCost {
					best, bestCost = candidate, c
				}
			}
		}
		if best == before {
			break
		}
	}
	return best
}

// errorTable holds running sums over the bins (count, count·x, count·x²), so that the error of a range costs two look-ups.
type errorTable struct {
	width         float64
	n, first, two []float64 // up to and not including bin i
}

func (h *Histogram) errorTable() *errorTable {
	t := &errorTable{width: 2 * h.limit / histogramBins, n: make([]float64, histogramBins+1), first: make([]float64, histogramBins+1), two: make([]float64, histogramBins+1)}
	for i, c := range h.counts {
		x, n := (float64(i-histogramBins/2)+0.5)*t.width, float64(c)
		t.n[i+1], t.first[i+1], t.two[i+1] = t.n[i]+n, t.first[i]+float64(n*x), t.two[i]+float64(n*x*x)
	}
	return t
}

// of returns the summed squared error of quantizing to r.
func (t *errorTable) of(r Range) float64 {
	lo, hi := float64(r.Min), float64(r.Max)
	i, j := t.bin(lo), t.bin(hi)
	step := (hi - lo) / codes
	inside := (t.n[j] - t.n[i]) * step * step / 12
	return inside + t.squares(0, i, lo) + t.squares(j, histogramBins, hi)
}

// squares sums (x − at)² over the bins [i, j).
func (t *errorTable) squares(i, j int, at float64) float64 {
	n, first, two := t.n[j]-t.n[i], t.first[j]-t.first[i], t.two[j]-t.two[i]
	return max(two-float64(2*at*first)+float64(at*at*n), 0)
}

// bin returns the bin whose lower edge is nearest to x.
func (t *errorTable) bin(x float64) int {
	return min(max(int(math.Round(x/t.width))+histogramBins/2, 0), histogramBins)
}
