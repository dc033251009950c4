package quantize

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func normal(n int, seed uint64, sd float64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * sd)
	}
	return x
}

func histogramOf(parts ...[]float32) *Histogram {
	h := NewHistogram()
	for _, p := range parts {
		h.Add(p)
	}
	return h
}

func TestHistogramDoesNotDependOnOrderOrPartition(t *testing.T) {
	small, large, zeros := normal(1000, 1, 1e-3), normal(1000, 2, 50), make([]float32, 10)
	all := cmp.AllowUnexported(Histogram{})
	want := histogramOf(small, large, zeros)
	if diff := cmp.Diff(want, histogramOf(large, zeros, small), all); diff != "" {
		t.Errorf("order matters: %s", diff)
	}
	merged := histogramOf(small)
	merged.Merge(histogramOf(zeros))
	merged.Merge(histogramOf(large))
	if diff := cmp.Diff(want, merged, all); diff != "" {
		t.Errorf("partition matters: %s", diff)
	}
	other := histogramOf(large)
	other.Merge(histogramOf(small, zeros))
	if diff := cmp.Diff(want, other, all); diff != "" {
		t.Errorf("direction of merging matters: %s", diff)
	}
}

func TestHistogramCountsEveryValue(t *testing.T) {
	x := []float32{0, 1, -1, 0.5, 1, 2, math.SmallestNonzeroFloat32, math.MaxFloat32, -math.MaxFloat32, float32(math.NaN()), float32(math.Inf(-1))}
	h := histogramOf(x)
	n := int64(3) // zero, NaN and infinity have no bin
	for _, c := range h.counts {
		n += c
	}
	if n != int64(len(x)) || h.total != n {
		t.Errorf("counted %d and %d of %d", n, h.total, len(x))
	}
	if got := h.MinMax(); got != (Range{-math.MaxFloat32, math.MaxFloat32}) {
		t.Errorf("range %v", got)
	}
}

func TestPercentileLeavesOutliersOut(t *testing.T) {
	x := normal(100000, 3, 1)
	for i := range 20 {
		x[i*10] = 1000
		x[i*10+1] = -500
	}
	got := histogramOf(x).Percentile(99.9)
	if got.Max < 2.9 || got.Max > 4 || got.Min > -2.9 || got.Min < -4 {
		t.Errorf("99.9 %% of a unit normal with outliers: %v", got)
	}
	if all := histogramOf(x).Percentile(100); all != (Range{-500, 1000}) {
		t.Errorf("all of it: %v", all)
	}
}

func TestPercentileOfAOneSidedTensorStaysOneSided(t *testing.T) {
	x := normal(10000, 4, 1)
	for i := range x {
		x[i] = max(x[i], 0)
	}
	if got := histogramOf(x).Percentile(99); got.Min != 0 || got.Max < 2 || got.Max > 3 {
		t.Errorf("got %v", got)
	}
}

func TestMSERangeClipsARareOutlier(t *testing.T) {
	x := normal(500000, 5, 1)
	x[17] = 14
	h := histogramOf(x)
	if mse, full := squaredError(x, h.MSE()), squaredError(x, h.MinMax()); mse > 0.8*full {
		t.Errorf("MSE range %v has error %v, min-max %v has %v", h.MSE(), mse, h.MinMax(), full)
	}
}

func TestMSERangeOfAUniformTensorIsNearlyAllOfIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	x := make([]float32, 20000)
	for i := range x {
		x[i] = rng.Float32()*3 - 1
	}
	if got := histogramOf(x).MSE(); got.Min > -0.97 || got.Max < 1.95 {
		t.Errorf("got %v", got)
	}
}

func TestRangesOfAConstantTensor(t *testing.T) {
	for name, v := range map[string]float32{"zero": 0, "positive": 3, "negative": -3} {
		t.Run(name, func(t *testing.T) {
			h := histogramOf([]float32{v, v, v})
			for _, r := range []Range{h.MinMax(), h.Percentile(99.9), h.MSE()} {
				p := r.Params()
				if err := p.Check(); err != nil {
					t.Fatal(err)
				}
				if got := p.Dequantize(p.Quantize(v)); math.Abs(float64(got-v)) > 0.01 {
					t.Errorf("range %v represents %v as %v", r, v, got)
				}
			}
		})
	}
}

func squaredError(x []float32, r Range) float64 {
	p, sum := r.Params(), 0.0
	for _, v := range x {
		d := float64(p.Dequantize(p.Quantize(v)) - v)
		sum += d * d
	}
	return sum
}

func BenchmarkHistogramAdd(b *testing.B) {
	x := normal(1<<16, 7, 1)
	h := histogramOf(x)
	b.SetBytes(int64(len(x) * 4))
	for b.Loop() {
		h.Add(x)
	}
}

func BenchmarkMSE(b *testing.B) {
	h := histogramOf(normal(1<<16, 8, 1))
	for b.Loop() {
		h.MSE()
	}
}

// The range of least error is searched end by end: no range on a grid of both ends does noticeably better.
func TestNoRangeOfAGridIsMuchBetterThanTheMSERange(t *testing.T) {
	positive := normal(4000, 11, 1)
	for i := range positive {
		positive[i] = max(positive[i], 0)
	}
	spiked := func(at ...float32) []float32 { return append(normal(4000, 12, 1), at...) }
	for name, x := range map[string][]float32{
		"normal":                        normal(4000, 10, 1),
		"one side":                      positive,
		"an outlier above":              spiked(12),
		"an outlier below":              spiked(-12),
		"outliers on both sides":        spiked(-30, 30),
		"outliers of different size":    spiked(-9, -9, 30),
		"a cluster far off that counts": append(normal(4000, 13, 1), normal(4000, 14, 40)...),
		"moved":                         append(spiked(), 5, 5, 5, 5, 6, -3),
	} {
		t.Run(name, func(t *testing.T) {
			h := histogramOf(x)
			got, full := squaredError(x, h.MSE()), h.MinMax()
			const steps = 16
			best, at := math.Inf(1), Range{}
			for k := 1; k <= steps; k++ {
				for l := 1; l <= steps; l++ {
					r := Range{full.Min * float32(k) / steps, full.Max * float32(l) / steps}
					if e := squaredError(x, r); e < best {
						best, at = e, r
					}
				}
			}
			if got > 1.03*best {
				t.Errorf("%v has error %v, %v has %v", h.MSE(), got, at, best)
			}
		})
	}
}

// Percentiles count from the outside in; a side of which nothing is left ends at 0, and no side reaches beyond the values there are.
func TestPercentileEnds(t *testing.T) {
	wave := make([]float32, 1000) // −500 … 499, each once
	for i := range wave {
		wave[i] = float32(i - 500)
	}
	few := append(normal(0, 1, 1), make([]float32, 990)...)
	for i := range few {
		few[i] = 1
	}
	few = append(few, -4, -3, -2, -1)
	mirrored := make([]float32, len(few))
	for i, v := range few {
		mirrored[i] = -v
	}
	for name, tc := range map[string]struct {
		x     []float32
		p     float64
		want  Range
		close float32
	}{
		"a tenth of either side":             {wave, 80, Range{-400, 399}, 1.1},
		"half a percent of either side":      {wave, 99, Range{-495, 494}, 1.1},
		"a side of which nothing is left":    {few, 98, Range{0, 1}, 0},
		"the other side":                     {mirrored, 98, Range{-1, 0}, 0},
		"a side of which a part is left out": {few, 99.7, Range{-3, 1}, 0.01},
		"mirrored":                           {mirrored, 99.7, Range{-1, 3}, 0.01},
		"as much as is left out, to a value": {few, 100 * (1 - 8.0/994), Range{0, 1}, 0.01},
		"all":                                {few, 100, Range{-4, 1}, 0},
		"zeros count":                        {append(make([]float32, 1000), 1, 1, -1, -1), 99, Range{0, 0}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := histogramOf(tc.x).Percentile(tc.p)
			if d := max(math.Abs(float64(got.Min-tc.want.Min)), math.Abs(float64(got.Max-tc.want.Max))); d > float64(tc.close) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
