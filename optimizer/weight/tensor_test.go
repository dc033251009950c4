package weight

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// must returns v and fails the test on err.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gaussian weights, channel c on axis larger by powers of spread.
func gaussian(seed uint64, shape []int, axis int, spread float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	n := 1
	for _, d := range shape {
		n *= d
	}
	g := geometryOf(shape, axis)
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64() * math.Pow(spread, float64(g.channel(i))/float64(g.channels)))
	}
	return values
}

func half(values []float32) []uint8 {
	sorted := slices.Clone(values)
	for i := range sorted {
		sorted[i] = abs(sorted[i])
	}
	slices.Sort(sorted)
	mask := make([]uint8, len(values))
	for i, v := range values {
		if abs(v) >= sorted[len(sorted)/2] {
			mask[i] = 1
		}
	}
	return mask
}

func TestQuantizedWeightsAreScaleTimesRoundedLatent(t *testing.T) {
	tests := map[string]struct {
		shape     []int
		axis      int
		values    []float32
		scales    int
		mask      []uint8
		wantCodes []int8
		wantScale []float32
	}{
		"per tensor, the largest weight is code 127": {
			shape: []int{2, 2}, values: []float32{127, -63.4, 1, 0.4}, wantCodes: []int8{127, -63, 1, 0}, wantScale: []float32{1},
		},
		"per channel, each row has its own scale": {
			shape: []int{2, 2}, values: []float32{127, -63.4, 254, 0.8}, scales: 2,
			wantCodes: []int8{127, -63, 127, 0}, wantScale: []float32{1, 2},
		},
		"depthwise, channels run along the last axis": {
			shape: []int{1, 2, 1, 2}, axis: 3, values: []float32{127, 254, -10, 20}, scales: 2,
			wantCodes: []int8{127, 127, -10, 10}, wantScale: []float32{1, 2},
		},
		"pruned weights are zero and do not set the range": {
			shape: []int{1, 3}, values: []float32{900, -127, 3}, mask: []uint8{0, 1, 1}, scales: 1,
			wantCodes: []int8{0, -127, 3}, wantScale: []float32{1},
		},
		"two halves of the channels, each has its own scale": {
			shape: []int{4, 1}, values: []float32{127, -10, 254, 0}, scales: 2, wantCodes: []int8{127, -10, 127, 0}, wantScale: []float32{1, 2},
		},
		"a channel of zeros borrows the smallest scale": {
			shape: []int{3, 1}, values: []float32{0, 254, -127}, scales: 3,
			wantCodes: []int8{0, 127, -127}, wantScale: []float32{1, 2, 1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := must(New("w", test.shape, test.axis, test.values))(t)
			ok(t, w.SetMask(test.mask))
			ok(t, w.Quantize(max(test.scales, 1)))
			got := make([]int8, w.Len())
			ok(t, w.Codes(got))
			if diff := cmp.Diff(test.wantCodes, got); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantScale, w.Scale); diff != "" {
				t.Errorf("scales (-want +got):\n%s", diff)
			}
			for i, v := range w.Values() {
				if want := w.scaleOf(w.channel(i)) * float32(got[i]); v != want {
					t.Errorf("value %d is %v, want scale·code %v", i, v, want)
				}
			}
			ok(t, w.Check())
		})
	}
}

func TestClusteredWeightsTakeTheNearestRoundedCode(t *testing.T) {
	w := must(New("w", []int{2, 3}, 0, []float32{-2, 0.6, 2, 10, -3, -10}))(t)
	book := must(NewCodebook([]float32{100.4, -100.4, 5.2}, MaxCode, false))(t)
	ok(t, w.SetCodebooks([]float32{0.02, 0.1}, []*Codebook{book}))
	got := make([]int8, 6)
	ok(t, w.Codes(got))
	if diff := cmp.Diff([]int8{-100, 5, 100, 100, 5, -100}, got); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float32{-2, 0.1, 2, 10, 0.5, -10}, w.Values(), approx(1e-6)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if got, want := w.State().Scope, Shared; got != want {
		t.Errorf("scope %s, want %s", got, want)
	}
}

func TestBadInputIsAnErrorThatNamesTheTensor(t *testing.T) {
	values := make([]float32, 6)
	w := must(New("w", []int{2, 3}, 0, values))(t)
	book := must(NewCodebook([]float32{1}, MaxCode, false))(t)
	empty := must(NewCodebook(nil, MaxCode, false))(t)
	_, errShape := New("w", []int{2, 2}, 0, values)
	_, errAxis := New("w", []int{2, 3}, 2, values)
	_, errNaN := New("w", []int{1}, 0, []float32{float32(math.NaN())})
	_, errRoom := NewCodebook(make([]float32, 255), MaxCode, true)
	for name, err := range map[string]error{
		"wrong shape": errShape, "axis outside": errAxis, "NaN": errNaN, "too many codes": errRoom,
		"short mask":       w.SetMask(make([]uint8, 5)),
		"mask of 2":        w.SetMask([]uint8{2, 0, 0, 0, 0, 0}),
		"wrong scales":     w.SetCodebooks([]float32{1, 1, 1}, []*Codebook{book}),
		"scale of zero":    w.SetCodebooks([]float32{0}, []*Codebook{book}),
		"wrong codebooks":  w.SetCodebooks([]float32{1}, []*Codebook{book, book, book}),
		"no code at all":   w.SetCodebooks([]float32{1}, []*Codebook{empty}),
		"codes of a float": w.Codes(make([]int8, 6)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func approx(tolerance float64) cmp.Option {
	return cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) <= tolerance })
}
