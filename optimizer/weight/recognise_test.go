package weight

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clustered draws weights scale[channel]·codes.
func clustered(seed uint64, scale []float32, codes []float32, inner int) []float32 {
	r := rand.New(rand.NewPCG(seed, 2))
	var values []float32
	for _, s := range scale {
		for range inner {
			values = append(values, float32(s*codes[r.IntN(len(codes))]))
		}
	}
	return values
}

func logNormal(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 4))
	scale := make([]float32, n)
	for c := range scale {
		scale[c] = float32(0.01 * math.Exp(r.NormFloat64()))
	}
	return scale
}

func TestRecognise(t *testing.T) {
	integers := []float32{-127, -80, -33, -12, 9, 24, 60, 101}
	reals := []float32{-0.81, -0.44, -0.2031, -0.07, 0.055, 0.1733, 0.39, 0.9}
	one := func(s float32) []float32 { return slices.Repeat([]float32{s}, 20) }
	pruned := func(values []float32) []float32 {
		values = slices.Clone(values)
		for i := range values {
			if i%2 == 0 {
				values[i] = 0
			}
		}
		return values
	}
	// folded is what batch-norm folding makes of clusters: every channel times a factor, in float32
	folded := func(values []float32, inner int) []float32 {
		values = slices.Clone(values)
		for c, s := range logNormal(len(values)/inner, 9) {
			for i := range inner {
				values[c*inner+i] *= s * 100
			}
		}
		return values
	}
	perChannel := make([]float32, 0, 20*64)
	for c, s := range logNormal(20, 1) {
		own := []float32{-127, float32(-90 + 3*c), float32(-40 + 2*c), float32(10 + c), float32(50 + 2*c), 120}
		perChannel = append(perChannel, clustered(uint64(c), []float32{s}, own, 64)...)
	}
	tests := map[string]struct {
		values       []float32
		inner        int
		wantScope    Scope
		wantClusters int
		wantMask     bool
		leastSNR     float64
	}{
		"weights as trained":                       {gaussian(1, []int{20, 64}, 0, 1), 64, "", 0, false, 0},
		"pruned":                                   {pruned(gaussian(1, []int{20, 64}, 0, 1)), 64, "", 0, true, 0},
		"a few zeros are not pruning":              {append(make([]float32, 20), gaussian(1, []int{19, 64}, 0, 1)...), 44, "", 0, false, 0},
		"integers under one scale":                 {clustered(1, one(0.003), integers, 64), 64, PerTensor, 8, false, math.Inf(1)},
		"real clusters (TFMOT)":                    {clustered(1, one(1), reals, 64), 64, PerTensor, 8, false, 35},
		"pruned integers under one scale":          {pruned(clustered(1, one(0.003), integers, 64)), 64, PerTensor, 9, true, math.Inf(1)},
		"integers under scales per channel":        {clustered(1, logNormal(20, 3), integers, 64), 64, Shared, 8, false, math.Inf(1)},
		"pruned integers under scales per channel": {pruned(clustered(1, logNormal(20, 3), integers, 64)), 64, Shared, 9, true, math.Inf(1)},
		"real clusters with batch-norm folded":     {folded(clustered(1, one(1), reals, 64), 64), 64, Shared, 8, false, 35},
		"channels too small to show all codes":     {clustered(1, logNormal(200, 3), integers, 6), 6, Shared, 8, false, 150},
		"codes of its own in every channel":        {perChannel, 64, PerChannel, 6, false, math.Inf(1)},
		"few weights, all different":               {gaussian(1, []int{4, 10}, 0, 1), 10, "", 0, false, 0},
		"two values":                               {clustered(1, one(1), []float32{-0.2, 0.4}, 64), 64, PerTensor, 2, false, 35},
		"nothing but zeros":                        {make([]float32, 64), 64, "", 0, true, 0},
		"not a number":                             {[]float32{float32(math.NaN()), 1}, 2, "", 0, false, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			shape := []int{len(test.values) / test.inner, test.inner}
			s, found := Recognise(test.values, shape, 0, DefaultThresholds)
			if found != (test.wantScope != "" || test.wantMask) {
				t.Fatalf("found %v: %+v", found, s)
			}
			if s.Scope != test.wantScope || s.Clusters != test.wantClusters || (s.Mask != nil) != test.wantMask {
				t.Fatalf("scope %q, %d clusters, mask %v; want %q, %d, %v", s.Scope, s.Clusters, s.Mask != nil, test.wantScope, test.wantClusters, test.wantMask)
			}
			if !found {
				return
			}
			w := must(FromState("w", test.values, s))(t)
			ok(t, w.Check())
			if snr := SNR(test.values, w.Values()); snr < test.leastSNR {
				t.Errorf("as integers at %.1f dB, want %v", snr, test.leastSNR)
			}
		})
	}
}

func TestRecogniseCodes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	natural, narrow := make([]int8, 2000), make([]int8, 2000)
	for i := range natural {
		natural[i], narrow[i] = int8(clamp(float32(r.NormFloat64()*30), 127)), int8(r.NormFloat64()*2)
	}
	few := make([]int8, 2000)
	for i := range few {
		few[i] = []int8{-127, -60, -20, 0, 20, 55, 90}[r.IntN(7)]
	}
	pruned, both := slices.Clone(natural), slices.Clone(few)
	for i := range pruned {
		if i%2 == 0 {
			pruned[i], both[i] = 0, 0
		}
	}
	scale := slices.Repeat([]float32{0.1}, 20)
	tests := map[string]struct {
		codes    []int8
		scale    []float32
		want     Scope
		clusters int
		mask     bool
	}{
		"int8 as quantized":                     {natural, scale, "", 0, false},
		"a small range has few codes by nature": {narrow, scale, "", 0, false},
		"pruned":                                {pruned, scale, "", 0, true},
		"clustered under scales per channel":    {few, scale, Shared, 7, true}, // a seventh zeros, none at ±1
		"clustered under one scale":             {few, scale[:1], PerTensor, 7, true},
		"both":                                  {both, scale, Shared, 7, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := RecogniseCodes(test.codes, test.scale, []int{20, 100}, 0, DefaultThresholds)
			if s.Scope != test.want || s.Clusters != test.clusters || (s.Mask != nil) != test.mask {
				t.Fatalf("scope %q, %d clusters, mask %v; want %q, %d, %v", s.Scope, s.Clusters, s.Mask != nil, test.want, test.clusters, test.mask)
			}
			if test.want == "" {
				return
			}
			ok(t, CheckCodes(test.codes, s))
			values := make([]float32, len(test.codes))
			for i, q := range test.codes {
				values[i] = test.scale[0] * float32(q)
			}
			if diff := cmp.Diff(test.codes, must(s.Codes(values))(t)); diff != "" {
				t.Errorf("integers:\n%s", diff)
			}
		})
	}
}

func TestCheckCodes(t *testing.T) {
	tests := map[string]struct {
		codes []int8
		state State
		want  bool
	}{
		"masked codes are zero":             {[]int8{0, 1, 0, 2}, State{Shape: []int{2, 2}, Mask: []uint8{0, 1, 0, 1}}, true},
		"zeros beyond the mask are allowed": {[]int8{0, 0, 0, 2}, State{Shape: []int{2, 2}, Mask: []uint8{0, 1, 0, 1}}, true},
		"a masked code is not zero":         {[]int8{0, 1, 3, 2}, State{Shape: []int{2, 2}, Mask: []uint8{0, 1, 0, 1}}, false},
		"as many codes as promised":         {[]int8{5, 1, 5, 1}, State{Shape: []int{2, 2}, Scope: Shared, Clusters: 2}, true},
		"zero counts":                       {[]int8{5, 1, 5, 0}, State{Shape: []int{2, 2}, Scope: Shared, Clusters: 2}, false},
		"per channel, each has its own":     {[]int8{5, 1, 3, 0}, State{Shape: []int{2, 2}, Scope: PerChannel, Clusters: 2}, true},
		"per channel on the last axis":      {[]int8{5, 1, 5, 1}, State{Shape: []int{2, 2}, Axis: 1, Scope: PerChannel, Clusters: 1}, true},
		"a channel with one too many":       {[]int8{5, 1, 5, 1}, State{Shape: []int{2, 2}, Scope: PerChannel, Clusters: 1}, false},
		"other shape":                       {[]int8{5, 1, 5}, State{Shape: []int{2, 2}}, false},
	}
	for name, test := range tests {
		if err := CheckCodes(test.codes, test.state); (err == nil) != test.want {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Trap 8 of TFMOT: a small weight that rounds to code 0 raises the sparsity; under a codebook it does not.
func TestSmallSurvivorsDoNotBecomeZeros(t *testing.T) {
	values := []float32{100, -100, 0.001, -0.001, 0, 0}
	w := must(New("w", []int{1, 6}, 0, values))(t)
	ok(t, w.SetMask([]uint8{1, 1, 1, 1, 0, 0}))
	book := must(NewCodebook([]float32{-127, -0.001, 0.001, 127}, MaxCode, true))(t)
	ok(t, w.SetCodebooks([]float32{100. / 127}, []*Codebook{book}))
	got := make([]int8, 6)
	ok(t, w.Codes(got))
	if diff := cmp.Diff([]int8{127, -127, 1, -1, 0, 0}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Rows of a per-tensor int8 file hold few codes each where another row has the largest weight: that is no clustering.
func TestFewCodesUnderOneScaleAreNoClusters(t *testing.T) {
	shape := []int{64, 128}
	codes := make([]int8, 64*128)
	for i := range codes {
		codes[i] = int8(i*7%16) - 8
		if i%128 < 2 {
			codes[i] = int8(i/128 - 100)
		}
	}
	if s, ok := RecogniseCodes(codes, []float32{0.1}, shape, 0, DefaultThresholds); ok {
		t.Errorf("recognised %d clusters, scope %s", s.Clusters, s.Scope)
	}
	if s, ok := RecogniseCodes(codes, slices.Repeat([]float32{0.1}, 64), shape, 0, DefaultThresholds); !ok || s.Scope != PerChannel {
		t.Errorf("with a scale per channel: %v, scope %q", ok, s.Scope)
	}
}

// A scale per channel makes one weight of each a certain code, so that members must be as many more; one scale is no choice.
func TestClustersHaveAsManyMembersAsMustBe(t *testing.T) {
	by := Thresholds{Zeros: math.Inf(1), Peak: 4, Spread: 1, Clusters: 2, Members: 4}
	for name, c := range map[string]struct {
		inner, scales int
		want          Scope
	}{
		"one scale, just enough":        {4, 1, PerTensor},
		"one scale, too few":            {3, 1, ""},
		"a scale of each, just enough":  {8, 2, Shared},
		"a scale of each, for a row":    {7, 2, ""},
		"a scale of each, many of them": {16, 2, Shared},
	} {
		codes := make([]int8, 2*c.inner)
		for i := range codes {
			codes[i] = int8(50 + i%2)
		}
		s, _ := RecogniseCodes(codes, slices.Repeat([]float32{0.5}, c.scales), []int{2, c.inner}, 0, by)
		if s.Scope != c.want {
			t.Errorf("%s: scope %q, want %q", name, s.Scope, c.want)
		}
	}
}

func TestZerosOfIntegersCountFromThresholds(t *testing.T) {
	by := Thresholds{Zeros: 0.25, Peak: 2}
	for name, test := range map[string]struct {
		codes []int8
		want  bool
	}{
		"as many as need be":          {[]int8{0, 9, 9, 9}, true},
		"too few":                     {[]int8{0, 9, 9, 9, 9}, false},
		"none":                        {[]int8{9, 9}, false},
		"none where none need be":     {nil, false},
		"as many as of neighbours":    {[]int8{0, 0, 1, 1}, false},
		"twice as many as ones":       {[]int8{0, 0, 1, 9}, true},
		"twice as many as minus ones": {[]int8{0, 0, -1, 9}, true},
		"twos are no neighbours":      {[]int8{0, 2, 2, -2}, true},
	} {
		if got := by.pruned(test.codes); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Zero of the mask is one of the values that may be.
func TestAsManyClustersAsMayBeAreRecognised(t *testing.T) {
	by := Thresholds{Zeros: 0.05, Peak: 4, Spread: 0.3, Clusters: 8, Members: 4}
	for name, test := range map[string]struct {
		distinct int
		pruned   bool
		want     int
	}{
		"eight":                 {8, false, 8},
		"nine":                  {9, false, 0},
		"seven and pruned ones": {7, true, 8},
		"eight and pruned ones": {8, true, 0},
	} {
		values, codes := make([]float32, 360), make([]int8, 360)
		for i := range values {
			if codes[i] = int8(i%test.distinct*13 - 50); test.pruned && i%5 == 0 {
				codes[i] = 0
			}
			values[i] = float32(codes[i]) / 4
		}
		if s, _ := Recognise(values, []int{4, 90}, 0, by); s.Clusters != test.want || (s.Mask != nil) != test.pruned {
			t.Errorf("%s: %d clusters among values, mask %v", name, s.Clusters, s.Mask != nil)
		}
		if s, _ := RecogniseCodes(codes, []float32{0.25}, []int{4, 90}, 0, by); s.Clusters != test.want || (s.Mask != nil) != test.pruned {
			t.Errorf("%s: %d clusters among codes, mask %v", name, s.Clusters, s.Mask != nil)
		}
	}
}

// One row needs half of the values beside those of the other, under a scale of its own.
func TestRowsShareAsManyValuesAsMayBe(t *testing.T) {
	rows := [][]float64{{-4, 1, 8}, {-2, 0.75, 1.5, 4}} // halves of −4 and 8, and of 1.5 and 3
	for limit, want := range map[int][]float64{6: {-4, 1, 1.5, 3, 8}, 5: {-4, 1, 1.5, 3, 8}, 4: nil} {
		got := sharedSet(rows, limit)
		for i := range got {
			got[i] *= 8 / got[len(got)-1] // the longer row begins the set
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at most %d (-want +got):\n%s", limit, diff)
		}
	}
	if got := sharedSet([][]float64{{1, 2, 4}, {1, 3.3, 5.1}}, 9); got != nil {
		t.Errorf("rows of which less than half coincides share %v", got)
	}
	if got := sharedSet([][]float64{{}, {}}, 9); got != nil {
		t.Errorf("rows without values share %v", got)
	}
}

func TestValuesAreContainedWithinRounding(t *testing.T) {
	set := []float64{-2, 1, 3}
	for v, want := range map[float64]bool{-3: false, -2: true, -2 - 1e-6: true, -2 + 1e-6: true, 0: false, 1: true, 1.00001: false, 1 + 3e-6: true, 3 + 1e-6: true, 4: false} {
		if got := contains(set, v); got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
	if contains(nil, 0) {
		t.Error("nothing contains 0")
	}
}

func TestARowIsLaidOverASet(t *testing.T) {
	for name, test := range map[string]struct {
		set, row []float64
		scale    float64
		hits     int
	}{
		"all of it":                  {[]float64{-4, 1, 8}, []float64{-2, 0.5, 4}, 0.5, 3},
		"most of it":                 {[]float64{-4, 1, 8}, []float64{-2, 0.7, 4}, 0.5, 2},
		"the largest of the set":     {[]float64{1, 2, 4}, []float64{1, 2}, 0.5, 2},
		"scales are positive":        {[]float64{-4, -1}, []float64{1, 4}, 1, 0},
		"a zero is no scale":         {[]float64{0, 2}, []float64{0, 1}, 0.5, 2},
		"nothing but zeros":          {[]float64{0, 2}, []float64{0}, 1, 1},
		"zeros where the set has no": {[]float64{1, 2}, []float64{0}, 1, 0},
	} {
		if scale, hits := layOver(test.set, test.row); scale != test.scale || hits != test.hits {
			t.Errorf("%s: scale %v, %d hits, want %v, %d", name, scale, hits, test.scale, test.hits)
		}
	}
}

func TestValuesBecomeIntegers(t *testing.T) {
	for name, test := range map[string]struct {
		values  []float64
		nonzero bool
		want    []int8
	}{
		"none":                              {nil, false, nil},
		"zero":                              {[]float64{0}, false, []int8{0}},
		"exact multiples":                   {[]float64{-127, -3, 0, 2}, false, []int8{-127, -3, 0, 2}},
		"exact multiples of a largest of 5": {[]float64{-0.5, 0.1, 0.2}, false, []int8{-125, 25, 50}},
		"no multiples":                      {[]float64{-1, 0, math.Pi / 4}, false, []int8{-127, 0, 100}},
		"two that round to one":             {[]float64{0.3001, 0.3002, 100}, false, []int8{0, 1, 127}},
		"zero left to the mask":             {[]float64{-0.0001, 0.0001, 100}, true, []int8{-1, 1, 127}},
	} {
		if diff := cmp.Diff(test.want, integers(test.values, test.nonzero)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, test := range map[string]struct {
		values []float64
		want   bool
	}{
		"multiples, zero one of them": {[]float64{-1, 0, 0.5}, true},
		"no multiple":                 {[]float64{0.25}, false},
		"as good as a multiple":       {[]float64{0.5 + 4e-4}, true},
		"one multiple twice":          {[]float64{0.5, 0.5 + 1e-4}, false},
		"a zero that is none":         {[]float64{1e-4}, false},
	} {
		if got := whole(test.values, 0.5); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRoundingToBits(t *testing.T) {
	for _, c := range []struct {
		x, want float64
		n       int
	}{{1, 1, 8}, {257, 258, 8}, {259, 260, 8}, {0.3, 0.3125, 3}, {7, 8, 2}, {0, 0, 8}} {
		if got := roundBits(c.x, c.n); got != c.want {
			t.Errorf("%v to %d bits is %v, want %v", c.x, c.n, got, c.want)
		}
	}
}
