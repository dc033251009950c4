package cluster

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/weight"
)

var nearly = cmpopts.EquateApprox(0, 1e-9)

func TestPointsAreSortedMergedAndRelativeToTheirMean(t *testing.T) {
	for name, test := range map[string]struct {
		values, weights []float32
		limit           int
		mean            float64
		count, mass     []float64
		centers         []float64
	}{
		"plain":                {[]float32{5, 1, 1, 3}, nil, 9, 2.5, []float64{0, 2, 3, 4}, []float64{0, 2, 3, 4}, []float64{1, 3, 5}},
		"weighted":             {[]float32{5, 1, 1, 3}, []float32{1, 2, 1, 4}, 9, 2.5, []float64{0, 2, 3, 4}, []float64{0, 3, 7, 8}, []float64{1, 3, 5}},
		"as many as may be":    {[]float32{5, 1, 1, 3}, nil, 3, 2.5, []float64{0, 2, 3, 4}, []float64{0, 2, 3, 4}, []float64{1, 3, 5}},
		"in bins":              {[]float32{8, 0, 1, 2, 7}, nil, 2, 3.6, []float64{0, 3, 5}, []float64{0, 3, 5}, []float64{1, 7.5}},
		"in bins, weighted":    {[]float32{8, 0, 2}, []float32{1, 3, 1}, 2, 2, []float64{0, 2, 3}, []float64{0, 4, 5}, []float64{0.5, 8}},
		"a bin without values": {[]float32{9, 0, 1, 8}, nil, 3, 4.5, []float64{0, 2, 4}, []float64{0, 2, 4}, []float64{0.5, 8.5}},
		"weights of nothing":   {[]float32{1, 2}, []float32{0, 0}, 9, 0, []float64{0, 1, 2}, []float64{0, 0, 0}, []float64{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoints(test.values, test.weights, test.limit)
			if math.Abs(p.mean-test.mean) > 1e-12 || !cmp.Equal(p.count, test.count) || !cmp.Equal(p.mass, test.mass, nearly) {
				t.Errorf("mean %v, counts %v, masses %v, want %v, %v, %v", p.mean, p.count, p.mass, test.mean, test.count, test.mass)
			}
			var centers []float64
			for i := range p.len() {
				centers = append(centers, p.center(i, i+1))
			}
			if diff := cmp.Diff(test.centers, centers, nearly); diff != "" {
				t.Errorf("centers (-want +got):\n%s", diff)
			}
		})
	}
	p := newPoints([]float32{1, 1, 3, 5}, nil, 9)
	if got := p.squares(0, 3); math.Abs(got-11) > 1e-12 { // of 1, 1, 3, 5 about 2.5
		t.Errorf("squared error %v, want 11", got)
	}
	if got := p.bits(0, 1); got != 2 { // two of four, a bit each
		t.Errorf("%v bits, want 2", got)
	}
}

func TestBitsOfAResultAreItsEntropy(t *testing.T) {
	// channels lie on the last axis: 4, 4, 4, 4 and 8, -8, -8, -8
	values := []float32{4, 8, 4, -8, 4, -8, 4, -8}
	w, err := weight.New("w", []int{4, 2}, 1, values)
	if err != nil {
		t.Fatal(err)
	}
	got := apply(t, w, Options{Clusters: 2, Scope: weight.PerChannel})
	quarter := (math.Log2(4) + 3*math.Log2(4./3)) / 4
	if want := (Result{Codes: 2, SNR: got.SNR, Bits: quarter / 2}); !cmp.Equal(want, got, nearly) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.SNR < 40 {
		t.Errorf("SNR %.1f dB although there are as many codes as values", got.SNR)
	}
	shared := tensor(t, []float32{1, 1, 2, 4, 1, 1, 2, 4}, 1, nil)
	if got := apply(t, shared, Options{Clusters: 8, Scope: weight.PerTensor}); got.Codes != 3 || math.Abs(got.Bits-1.5) > 1e-12 {
		t.Errorf("%d codes of %v bits, want 3 of 1.5", got.Codes, got.Bits)
	}
}

func TestCostIsTheSquaredErrorAndThePriceOfBits(t *testing.T) {
	p := &problem{gain: []float64{1, 2}}
	s := &set{
		x: []float32{1, 2, 8, 6}, channel: []int32{0, 0, 1, 1}, weight: []float32{1, 1, 1, 3}, lambda: 0.5,
		center: []float64{1, 4}, share: []float64{0.25, 0.75},
	}
	// members 1, 1, 4·2 and 4·2; squares 0, 1, 0 and 3·4; bits 2, 2 and twice log₂(4/3)
	want := 13 + 0.5*(2+2+2*math.Log2(4./3))
	if got := p.cost(s); math.Abs(got-want) > 1e-12 {
		t.Errorf("cost %v, want %v", got, want)
	}
	if got := s.unit(p.gain); got != 2.5 {
		t.Errorf("mean squared gain %v, want 2.5", got)
	}
}

// Members of both centers lie in a channel of gain 1 and in one of gain 2: a center is Σ w·g·x / Σ w·g² of its members.
func TestARoundFitsCentersToTheirMembers(t *testing.T) {
	p := &problem{gain: []float64{1, 2}}
	s := &set{
		x: []float32{1.2, 1.8, 4, 8.4}, channel: []int32{0, 1, 0, 1}, weight: []float32{1, 1, 3, 1},
		center: []float64{1, 4, 99}, share: []float64{0.25, 0.5, 0.25},
	}
	p.fit(s)
	g := []float64{(1.2 + 3*4*4) / (1 + 3*16.), (1.8 + 8.4*4) / (1 + 16.)} // gains first
	want := []float64{(g[0]*1.2 + g[1]*1.8) / (g[0]*g[0] + g[1]*g[1]), (3*g[0]*4 + g[1]*8.4) / (3*g[0]*g[0] + g[1]*g[1])}
	near := cmpopts.EquateApprox(1e-6, 0)
	if !cmp.Equal(p.gain, g, near) || !cmp.Equal(s.center, want, near) || !cmp.Equal(s.share, []float64{0.5, 0.5}) {
		t.Errorf("gains %v, centers %v, shares %v, want %v, %v and halves", p.gain, s.center, s.share, g, want)
	}
}

func TestScalesOfChannelsThatSayNothing(t *testing.T) {
	for name, test := range map[string]struct {
		scale []float32
		dead  []bool
		want  []float32
	}{
		"the smallest of the others": {[]float32{2, 0, 0.5}, make([]bool, 3), []float32{2, 0.5, 0.5}},
		"a dead one far smaller":     {[]float32{2, 0, 0.5}, []bool{false, true, false}, []float32{2, 0.5 / 256, 0.5}},
		"none says anything":         {[]float32{0, 0}, []bool{true, false}, []float32{1. / 256, 1}},
	} {
		p := &problem{dead: test.dead}
		p.finish(test.scale)
		if diff := cmp.Diff(test.want, test.scale); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	values := layer(4, 3, 40)
	mask := slices.Repeat([]uint8{1}, 120)
	clear(values[:40]) // dead, not pruned
	clear(mask[40:80]) // pruned
	w := tensor(t, values, 3, mask)
	apply(t, w, Options{Clusters: 8})
	if w.Scale[0] != w.Scale[2]/256 || w.Scale[1] != w.Scale[2] {
		t.Errorf("scales %v, want those of the dead and the pruned channel 1/256 of and equal to the last", w.Scale)
	}
}

func TestABitCostsTheSameInCodesAsInWeights(t *testing.T) {
	values := normal(400, 3)
	w := tensor(t, values, 4, nil)
	apply(t, w, Options{Clusters: 8, Scope: weight.PerTensor, Entropy: 1})
	var squares float64
	for _, v := range values {
		squares += float64(v) * float64(v)
	}
	rms := math.Sqrt(squares / 400)
	lambda := Lambda(1, Solve(values, nil, 8, 0).Cost/400) // in squares of weights
	want := lambda / (rms * rms) / math.Pow(float64(w.Scale[0])/rms, 2)
	if got := float64(w.State().Lambda); math.Abs(got/want-1) > 0.02 { // scales have 8 bits
		t.Errorf("a bit costs %v squared codes, want %v", got, want)
	}
}

// In 4 bits there are 15 codes, and centers are moved to them with the unit of least cost.
func TestFourBitsClusterInEveryScope(t *testing.T) {
	const channels = 6
	values := layer(9, channels, 200)
	values[3] = 40 // an outlier that is better clipped
	for _, scope := range []weight.Scope{weight.Shared, weight.PerTensor, weight.PerChannel} {
		for _, mask := range [][]uint8{nil, halfMask(values)} {
			w := tensor(t, values, channels, mask)
			w.Most = weight.MaxCode4
			r := apply(t, w, Options{Clusters: 8, Scope: scope, Entropy: 0.5})
			codes := make([]int8, w.Len())
			if err := w.Codes(codes); err != nil {
				t.Fatal(err)
			}
			if low, high := slices.Min(codes), slices.Max(codes); low < -7 || high > 7 || max(-low, high) < 4 {
				t.Errorf("%s: codes from %d to %d", scope, low, high)
			}
			if r.Codes > 8 || r.SNR < 6 {
				t.Errorf("%s, pruned %v: %+v", scope, mask != nil, r)
			}
		}
	}
}

func TestSnappingChoosesTheUnitOfLeastCost(t *testing.T) {
	x := append(normal(500, 7), 12) // 12 clips to 9 or less
	for _, lambda := range []float64{0, 0.05} {
		w := tensor(t, x, 1, nil)
		w.Most = weight.MaxCode4
		p := &problem{tensor: w, Options: Options{Scope: weight.PerTensor}, gain: []float64{1}}
		part := Solve(x, nil, 8, lambda)
		fresh := func() *set {
			s := &set{x: x, channel: make([]int32, len(x)), lambda: lambda, center: slices.Clone(part.Center)}
			for _, n := range part.Count {
				s.share = append(s.share, float64(n)/float64(len(x)))
			}
			return s
		}
		s := fresh()
		whole := s.largest() / 7
		unit, err := p.snap(s, whole)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.center {
			if q := c / unit; math.Abs(q-math.Round(q)) > 1e-9 || math.Abs(q) > 7+1e-9 {
				t.Errorf("center %v is no code times %v", c, unit)
			}
		}
		least := math.Inf(1)
		for k := 5; k <= 16; k++ {
			other := fresh()
			if err := p.round(other, whole*float64(k)/16); err != nil {
				t.Fatal(err)
			}
			least = min(least, p.cost(other))
		}
		if got := p.cost(s); math.Abs(got-least) > 1e-9 || unit > whole || unit <= whole/4 {
			t.Errorf("λ %v: unit %v of %v costs %v, the best %v", lambda, unit, whole, got, least)
		}
	}
}

// Of two centers the dearer one takes what is nearer to it by more than its price, which gains share among them.
func TestAssignmentWeighsThePriceByTheGains(t *testing.T) {
	for name, c := range map[string]struct {
		lambda float64
		gain   float64
		x      []float32
		want   []uint8
	}{
		"free":                    {0, 1, []float32{0.4, 0.6, 1}, []uint8{0, 1, 1}},
		"at a price":              {0.5, 1, []float32{0.4, 0.6, 1}, []uint8{0, 0, 1}},
		"too dear":                {1.5, 1, []float32{0.4, 0.6, 1}, []uint8{0, 0, 0}},
		"cheap among large gains": {1.5, 2, []float32{0.8, 1.2, 2}, []uint8{0, 0, 1}},
		"dear among small gains":  {0.5, 0.5, []float32{0.2, 0.3, 0.5}, []uint8{0, 0, 0}},
	} {
		s := &set{x: c.x, channel: make([]int32, 3), lambda: c.lambda, center: []float64{0, 1}, share: []float64{2. / 3, 1. / 3}}
		if got := s.assign([]float64{c.gain}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestWhatHasNoWeightCostsNothing(t *testing.T) {
	p := newPoints([]float32{1, 2, 3, 5}, []float32{0, 0, 1, 1}, 10)
	for _, c := range []struct {
		i, j int
		want float64
	}{{0, 2, 0}, {0, 0, 0}, {1, 3, 0}, {2, 4, 2}, {0, 4, 2}} {
		if got := p.squares(c.i, c.j); got != c.want {
			t.Errorf("points %d to %d cost %v, want %v", c.i, c.j, got, c.want)
		}
	}
}

// Without a price as many values are told apart as plainPoints.
func TestOnlyPricesMakeTheGridCoarse(t *testing.T) {
	n := pricedPoints + 1
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	values[n-1] = float32(10 * n) // so that an interval of the grid has ten of the others
	if got := Solve(values, nil, n-1, 0).Cost; math.Abs(got-0.5) > 1e-3 {
		t.Errorf("one cluster less than values costs %v, not that of two neighbours in one", got)
	}
}

// An error counts by its sensitivity in weights, squared, whatever the size of its channel; the mean over a set is 1.
func TestSensitivitiesCountInWeights(t *testing.T) {
	values, sensitivity := []float32{1, -1, 4, -4}, []float32{1, 1, 1, 3}
	rms := math.Sqrt(8.5) // of all
	for scope, want := range map[weight.Scope]struct {
		x, weight [][]float32
	}{
		weight.Shared:     {[][]float32{{1, -1, 1, -1}}, [][]float32{{1 / 16.5, 1 / 16.5, 16 / 16.5, 48 / 16.5}}},
		weight.PerChannel: {[][]float32{{1, -1}, {1, -1}}, [][]float32{{1, 1}, {0.5, 1.5}}},
		weight.PerTensor: {
			[][]float32{{float32(1 / rms), float32(-1 / rms), float32(4 / rms), float32(-4 / rms)}}, [][]float32{{2. / 3, 2. / 3, 2. / 3, 2}},
		},
	} {
		p, err := newProblem(tensor(t, values, 2, nil), Options{Clusters: 4, Scope: scope, Sensitivity: sensitivity})
		if err != nil {
			t.Fatal(err)
		}
		var x, weights [][]float32
		for _, s := range p.sets {
			x, weights = append(x, s.x), append(weights, s.weight)
		}
		near := cmpopts.EquateApprox(1e-6, 0)
		if !cmp.Equal(x, want.x, near) || !cmp.Equal(weights, want.weight, near) {
			t.Errorf("scope %v: weights %v that count %v, want %v and %v", scope, x, weights, want.x, want.weight)
		}
	}
}

// Only gains of shared codes are fitted to what snapping leaves; of units of equal cost the largest is taken, and none of a quarter.
func TestSnappingOneCenter(t *testing.T) {
	for name, test := range map[string]struct {
		scope      weight.Scope
		at         float64
		unit, gain float64
	}{
		"3, or 4 of 3/4, or 6 of 1/2": {weight.PerTensor, 3, 1, 1},
		"a quarter is no unit":        {weight.PerTensor, 0.25, 5. / 16, 1},
		"a gain makes up for it":      {weight.Shared, 0.25, 5. / 16, 0.8},
		"a channel has no gain":       {weight.PerChannel, 0.25, 5. / 16, 1},
	} {
		w := tensor(t, []float32{1}, 1, nil)
		w.Most = weight.MaxCode4
		p := &problem{tensor: w, Options: Options{Scope: test.scope}, gain: []float64{1}}
		s := &set{x: []float32{float32(test.at)}, channel: []int32{0}, center: []float64{test.at}, share: []float64{1}}
		unit, err := p.snap(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		if unit != test.unit || math.Abs(p.gain[0]-test.gain) > 1e-9 {
			t.Errorf("%s: unit %v and gain %v, want %v and %v", name, unit, p.gain[0], test.unit, test.gain)
		}
	}
}

// Squares of large weights are none of float32, and so are those of small ones by small sensitivities, but only their ratios count.
func TestSensitivitiesOfSmallAndLargeWeights(t *testing.T) {
	values := layer(1, 4, 30)
	want := map[weight.Scope][]int8{}
	for _, exponent := range []struct{ weight, sensitivity int }{{0, 0}, {70, 0}, {30, 120}, {-20, -120}} {
		sensitivity := make([]float32, len(values))
		for i := range sensitivity {
			sensitivity[i] = float32(math.Ldexp(float64(1+i%7), exponent.sensitivity))
		}
		for _, scope := range []weight.Scope{weight.Shared, weight.PerChannel, weight.PerTensor} {
			w := tensor(t, scaled(values, float32(math.Ldexp(1, exponent.weight))), 4, nil)
			apply(t, w, Options{Clusters: 8, Scope: scope, Entropy: 1, Sensitivity: sensitivity})
			codes := make([]int8, w.Len())
			if err := w.Codes(codes); err != nil {
				t.Fatal(err)
			}
			if want[scope] == nil {
				want[scope] = codes
			}
			if !slices.Equal(want[scope], codes) {
				t.Errorf("scope %s, times 2^%d, with sensitivities times 2^%d: other codes", scope, exponent.weight, exponent.sensitivity)
			}
		}
	}
}
