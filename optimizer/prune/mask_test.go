package prune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func upTo(n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i + 1)
	}
	return values
}

func kept(mask []uint8) int {
	n := 0
	for _, m := range mask {
		n += int(m)
	}
	return n
}

func normal(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 3))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return values
}

func TestMask(t *testing.T) {
	zeros := func(n int, rest ...uint8) []uint8 { return append(make([]uint8, n), rest...) }
	tests := map[string]struct {
		values   []float32
		shape    []int
		axis     int
		given    []uint8
		sparsity float64
		pattern  Pattern
		want     []uint8
	}{
		// TFMOT's published values (pruning_impl_test.py)
		"1 to 10 at 0.2 loses 1 and 2":  {upTo(10), []int{1, 10}, 0, nil, 0.2, Pattern{}, zeros(2, 1, 1, 1, 1, 1, 1, 1, 1)},
		"a sparsity that is nearly 0.2": {upTo(10), []int{1, 10}, 0, nil, 0.200000018, Pattern{}, zeros(2, 1, 1, 1, 1, 1, 1, 1, 1)},
		"2×2 blocks by average": {
			[]float32{0.1, 0.1, 0.2, 0.2, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.3, 0.3, 0.4, 0.4}, []int{4, 4}, 0, nil,
			0.5, Pattern{Rows: 2, Columns: 2}, zeros(8, 1, 1, 1, 1, 1, 1, 1, 1),
		},
		"2 of 4 along the input channels": {
			[]float32{1, 4, 3, 2, -5, -6, 8, 7}, []int{1, 1, 1, 8}, 0, nil, 0, Pattern{Zeros: 2, Of: 4}, []uint8{0, 1, 1, 0, 0, 0, 1, 1},
		},
		"1 of 2, the end counts as filled up with zeros": {
			[]float32{1, 2, 9, 4, 3, 0.1}, []int{2, 3}, 0, nil, 0, Pattern{Zeros: 1, Of: 2}, []uint8{0, 1, 1, 1, 0, 1},
		},
		"2 of 4, three left over lose one": {
			[]float32{3, 1, 2}, []int{1, 3}, 0, nil, 0, Pattern{Zeros: 2, Of: 4}, []uint8{1, 0, 1},
		},
		// what TFMOT gets wrong, and what it has not
		"of equal weights the last go": {[]float32{1, -1, 1, 1}, []int{1, 4}, 0, nil, 0.5, Pattern{}, []uint8{1, 1, 0, 0}},
		"zeros of the input are among the pruned": {
			[]float32{5, 0, 3, 4}, []int{1, 4}, 0, []uint8{1, 0, 1, 1}, 0.5, Pattern{}, []uint8{1, 0, 0, 1},
		},
		"more zeros in the input than asked stay": {
			[]float32{5, 0, 0, 0}, []int{1, 4}, 0, []uint8{1, 0, 0, 0}, 0.25, Pattern{}, []uint8{1, 0, 0, 0},
		},
		"what the input pruned goes before smaller weights": {
			[]float32{5, 4, 1, 2}, []int{1, 4}, 0, []uint8{1, 0, 1, 1}, 0.5, Pattern{}, []uint8{1, 0, 0, 1},
		},
		"no sparsity": {[]float32{0, 1}, []int{1, 2}, 0, nil, 0, Pattern{}, []uint8{1, 1}},
		"blocks have tails": {
			[]float32{1, 1, 9, 1, 1, 9}, []int{2, 3}, 0, nil, 0.6, Pattern{Columns: 2}, []uint8{0, 0, 1, 0, 0, 1},
		},
		"blocks of a depthwise kernel run along its taps": {
			[]float32{1, 9, 1, 9, 9, 1, 9, 1}, []int{1, 2, 2, 2}, 3, nil, 0.5, Pattern{Columns: 2}, []uint8{0, 1, 0, 1, 1, 0, 1, 0},
		},
		"of equal blocks the last go":          {[]float32{1, 1, 1, 1}, []int{1, 4}, 0, nil, 0.5, Pattern{Columns: 2}, []uint8{1, 1, 0, 0}},
		"of equal weights of a group the last": {[]float32{1, 1, 1, 1}, []int{1, 4}, 0, nil, 0, Pattern{Zeros: 2, Of: 4}, []uint8{1, 1, 0, 0}},
		"a block half of which is one too many goes": {
			[]float32{1, 1, 9, 9}, []int{1, 4}, 0, nil, 0.25, Pattern{Columns: 2}, []uint8{0, 0, 1, 1},
		},
		"one block stays":                    {[]float32{1, 1, 9, 9}, []int{2, 2}, 0, nil, 0.9, Pattern{Columns: 2}, []uint8{0, 0, 1, 1}},
		"all of a block counts":              {[]float32{9, 1, 4, 4}, []int{1, 4}, 0, nil, 0.5, Pattern{Columns: 2}, []uint8{1, 1, 0, 0}},
		"blocks go by average, not by sum":   {[]float32{5, 5, 6}, []int{1, 3}, 0, nil, 0.5, Pattern{Columns: 2}, []uint8{0, 0, 1}},
		"no smaller block goes in its place": {[]float32{1, 1, 10, 10, 9}, []int{1, 5}, 0, nil, 0.15, Pattern{Columns: 2}, []uint8{1, 1, 1, 1, 1}},
		"blocks that the input pruned go first": {
			[]float32{9, 9, 1, 1, 5, 5}, []int{1, 6}, 0, []uint8{0, 0, 1, 1, 1, 1}, 1. / 3, Pattern{Columns: 2}, []uint8{0, 0, 1, 1, 1, 1},
		},
		"more zeros in a group than the pattern's stay": {
			[]float32{1, 4, 3, 2}, []int{1, 4}, 0, []uint8{1, 0, 0, 0}, 0, Pattern{Zeros: 2, Of: 4}, []uint8{1, 0, 0, 0},
		},
		"a block of one weight is no block": {[]float32{1, 2}, []int{1, 2}, 0, nil, 0, Pattern{Rows: 1, Columns: 1, Zeros: 1, Of: 2}, []uint8{0, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Mask(Weights{test.values, test.shape, test.axis, test.given}, test.sparsity, test.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPatternsAreNamed(t *testing.T) {
	for want, p := range map[string]Pattern{"2:4": {Zeros: 2, Of: 4}, "1×16": {Columns: 16}, "4×1": {Rows: 4}, "single weights": {}} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
	if got := (Pattern{Rows: 1, Columns: 1}).String(); got != "single weights" {
		t.Errorf("blocks of one weight are %q", got)
	}
}

func TestPatternsAreRead(t *testing.T) {
	for text, want := range map[string]Pattern{
		"": {}, "1x16": {Rows: 1, Columns: 16}, "4x1": {Rows: 4, Columns: 1}, "2:4": {Zeros: 2, Of: 4},
	} {
		if got, err := ParsePattern(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"16", "1x", "x4", "0x4", "1x4x2", "2:", ":4", "4:2", "0:4", "2:4:8", "-1x4", "2:0", "a"} {
		if p, err := ParsePattern(text); err == nil {
			t.Errorf("%q is %+v, no error", text, p)
		}
	}
}

func TestMasksAreExact(t *testing.T) {
	for _, test := range []struct {
		n        int
		sparsity float64
		want     int
	}{{100, 0.5, 50}, {100, 0.9999, 1}, {7, 0.5, 3}, {20280, 0.5, 10140}, {108, 0.5, 54}, {3, 0.999, 1}, {1, 0.9, 1}} {
		for _, values := range [][]float32{upTo(test.n), make([]float32, test.n), slices.Repeat([]float32{-2}, test.n)} {
			mask, err := Mask(Weights{Values: values, Shape: []int{test.n, 1}}, test.sparsity, Pattern{})
			if err != nil {
				t.Fatal(err)
			}
			if got := kept(mask); got != test.want {
				t.Errorf("%d weights at %v: %d kept, want %d", test.n, test.sparsity, got, test.want)
			}
		}
	}
}

func TestASurvivorIsNeverSmallerThanAPrunedWeight(t *testing.T) {
	for seed := range uint64(50) {
		values := normal(1000, seed)
		mask, err := Mask(Weights{Values: values, Shape: []int{10, 100}}, float64(seed)/50, Pattern{})
		if err != nil {
			t.Fatal(err)
		}
		largest, smallest := 0.0, math.Inf(1)
		for i, m := range mask {
			v := math.Abs(float64(values[i]))
			if m == 0 {
				largest = max(largest, v)
			} else {
				smallest = min(smallest, v)
			}
		}
		if largest > smallest {
			t.Fatalf("pruned %v, kept %v", largest, smallest)
		}
	}
}

func TestPatternsHoldForEveryShape(t *testing.T) {
	for _, shape := range [][]int{{10, 2028}, {12, 3, 3, 1}, {276, 1, 1, 276}, {5, 3, 3, 7}, {1, 1}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		values := normal(n, 1)
		for _, p := range []Pattern{{Columns: 4}, {Columns: 16}, {Rows: 4}, {Rows: 3, Columns: 5}} {
			t.Run(fmt.Sprintf("%v %v", shape, p), func(t *testing.T) {
				mask, err := Mask(Weights{Values: values, Shape: shape}, 0.5, p)
				if err != nil {
					t.Fatal(err)
				}
				rows, columns := max(1, p.Rows), max(1, p.Columns)
				if off := math.Abs(float64(n-kept(mask)) - float64(n)/2); off > float64(rows*columns)/2 {
					t.Errorf("%d zeros of %d", n-kept(mask), n)
				}
				width := n / shape[0]
				for i, m := range mask {
					r, c := i/width, i%width
					if first := mask[r/rows*rows*width+c/columns*columns]; m != first {
						t.Fatalf("a block is torn at row %d, column %d", r, c)
					}
				}
			})
		}
		for _, p := range []Pattern{{Zeros: 2, Of: 4}, {Zeros: 1, Of: 2}, {Zeros: 7, Of: 8}} {
			t.Run(fmt.Sprintf("%v %v", shape, p), func(t *testing.T) {
				mask, err := Mask(Weights{Values: values, Shape: shape}, 0, p)
				if err != nil {
					t.Fatal(err)
				}
				row := shape[len(shape)-1]
				for lo := 0; lo < n; lo += row {
					for c := 0; c < row; c += p.Of {
						if got := kept(mask[lo+c : lo+min(c+p.Of, row)]); got > p.Of-p.Zeros {
							t.Fatalf("%d kept of a group", got)
						}
					}
				}
			})
		}
	}
}

func TestBadMaskInputIsAnError(t *testing.T) {
	w := Weights{Values: upTo(6), Shape: []int{2, 3}}
	tests := map[string]struct {
		w        Weights
		sparsity float64
		pattern  Pattern
	}{
		"sparsity 1":            {w, 1, Pattern{}},
		"sparsity negative":     {w, -0.1, Pattern{}},
		"sparsity not a number": {w, math.NaN(), Pattern{}},
		"all of every":          {w, 0, Pattern{Zeros: 4, Of: 4}},
		"blocks and groups":     {w, 0, Pattern{Columns: 4, Zeros: 2, Of: 4}},
		"negative block":        {w, 0.5, Pattern{Rows: -1}},
		"shape of other size":   {Weights{Values: upTo(6), Shape: []int{2, 2}}, 0.5, Pattern{}},
		"axis outside":          {Weights{Values: upTo(6), Shape: []int{2, 3}, Axis: 2}, 0.5, Pattern{}},
		"mask of other size":    {Weights{Values: upTo(6), Shape: []int{2, 3}, Mask: make([]uint8, 3)}, 0.5, Pattern{}},
		"groups over depthwise": {Weights{Values: upTo(6), Shape: []int{1, 2, 1, 3}, Axis: 3}, 0, Pattern{Zeros: 2, Of: 4}},
	}
	for name, test := range tests {
		if _, err := Mask(test.w, test.sparsity, test.pattern); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAllocate(t *testing.T) {
	layers := []Weights{
		{Values: normal(1000, 1), Shape: []int{10, 100}},
		{Values: scaled(normal(100, 2), 0.01), Shape: []int{10, 10}},
		{Values: slices.Repeat([]float32{1}, 50), Shape: []int{5, 10}},
	}
	for _, sparsity := range []float64{0, 0.1, 0.5, 0.9, 0.999} {
		counts := Allocate(layers, sparsity)
		sum, want := 0, min(int(math.Round(1150*sparsity)), 1147)
		for l, n := range counts {
			sum += n
			if n >= len(layers[l].Values) {
				t.Errorf("sparsity %v: layer %d loses all its weights", sparsity, l)
			}
		}
		if sum != want {
			t.Errorf("sparsity %v: %d pruned, want %d", sparsity, sum, want)
		}
	}
	// scale does not matter: LAMP is relative to the layer
	a, b := Allocate(layers[:2], 0.5), Allocate([]Weights{layers[0], {Values: scaled(layers[1].Values, 1000), Shape: []int{10, 10}}}, 0.5)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("a layer's scale changes its share:\n%s", diff)
	}
	given := layers[1]
	given.Mask = make([]uint8, 100)
	given.Mask[7] = 1
	if got := Allocate([]Weights{layers[0], given}, 0.2); got[1] != 99 || got[0] != 121 {
		t.Errorf("99 zeros of the input count: got %v", got)
	}
}

func TestABudgetTakesTheLeastScoresFirst(t *testing.T) {
	ones := Weights{Values: []float32{1, 1}, Shape: []int{1, 2}}
	a := Weights{Values: []float32{1, 2, 3}, Shape: []int{1, 3}}     // scores 1/14, 4/13 and 1
	b := Weights{Values: []float32{1, 1, 1, 10}, Shape: []int{1, 4}} // scores 1/103, 1/102, 1/101 and 1
	for name, tc := range map[string]struct {
		layers   []Weights
		sparsity float64
		want     []int
	}{
		"two of seven":                  {[]Weights{a, b}, 2. / 7, []int{0, 2}},
		"four of seven":                 {[]Weights{a, b}, 4. / 7, []int{1, 3}},
		"all but one of each":           {[]Weights{a, b}, 0.999, []int{2, 3}},
		"of equal scores the first":     {[]Weights{ones, ones}, 0.25, []int{1, 0}},
		"a layer of zeros keeps one":    {[]Weights{{Values: []float32{0, 0}, Shape: []int{1, 2}}, a}, 0.4, []int{1, 1}},
		"what the input pruned is gone": {[]Weights{{Values: []float32{1, 2, 3}, Shape: []int{1, 3}, Mask: []uint8{0, 0, 1}}, b}, 2. / 7, []int{2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Allocate(tc.layers, tc.sparsity)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The scores by hand: squares 1, 4, 9 of sums 14, 13, 9.
func TestLAMPScores(t *testing.T) {
	got := scores(Weights{Values: []float32{-3, 1, 2}, Shape: []int{1, 3}})
	if diff := cmp.Diff([]float64{1. / 14, 4. / 13, 1}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func scaled(values []float32, by float32) []float32 {
	out := slices.Clone(values)
	for i := range out {
		out[i] *= by
	}
	return out
}

func BenchmarkMask(b *testing.B) {
	w := Weights{Values: normal(276*276, 1), Shape: []int{276, 1, 1, 276}}
	for _, p := range []Pattern{{}, {Columns: 16}, {Zeros: 2, Of: 4}} {
		b.Run(p.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := Mask(w, 0.5, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
