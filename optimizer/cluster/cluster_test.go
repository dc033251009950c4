package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/weight"
)

// layer makes weights whose output channels (axis 0) differ in size as batch-norm folding leaves them.
func layer(seed uint64, channels, inner int) []float32 {
	r := rand.New(rand.NewPCG(seed, 5))
	values := make([]float32, 0, channels*inner)
	for range channels {
		size := math.Exp(r.NormFloat64())
		for range inner {
			values = append(values, float32(size*r.NormFloat64()))
		}
	}
	return values
}

// halfMask prunes the smaller half.
func halfMask(values []float32) []uint8 {
	sizes := make([]float32, len(values))
	for i, v := range values {
		sizes[i] = abs(v)
	}
	slices.Sort(sizes)
	mask := make([]uint8, len(values))
	for i, v := range values {
		if abs(v) >= sizes[len(sizes)/2] {
			mask[i] = 1
		}
	}
	return mask
}

func tensor(t testing.TB, values []float32, channels int, mask []uint8) *weight.Tensor {
	t.Helper()
	w, err := weight.New("layer", []int{channels, len(values) / channels}, 0, values)
	if err == nil {
		err = w.SetMask(mask)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func apply(t testing.TB, w *weight.Tensor, o Options) Result {
	t.Helper()
	r, err := Apply(w, o)
	if err == nil {
		err = w.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func distinct(values []float32) int {
	seen := map[float32]bool{}
	for _, v := range values {
		seen[v] = true
	}
	return len(seen)
}

func TestEveryScopeKeepsWhatItPromises(t *testing.T) {
	const channels = 12
	values := layer(1, channels, 9*16)
	for _, scope := range []weight.Scope{weight.Shared, weight.PerTensor, weight.PerChannel} {
		for _, mask := range [][]uint8{nil, halfMask(values)} {
			for _, n := range []int{2, 4, 8, 16, 64} {
				for _, entropy := range []float64{0, 1, 4} {
					name := fmt.Sprintf("%s, pruned %v, %d clusters, entropy %v", scope, mask != nil, n, entropy)
					w := tensor(t, values, channels, mask)
					r := apply(t, w, Options{Clusters: n, Scope: scope, Entropy: entropy})
					if got := w.State().Scope; got != scope {
						t.Errorf("%s: scope became %s", name, got)
					}
					codes := make([]int8, w.Len())
					if err := w.Codes(codes); err != nil {
						t.Fatal(err)
					}
					sets := [][]int8{codes}
					if scope == weight.PerChannel {
						sets = slices.Collect(slices.Chunk(codes, len(codes)/channels))
					}
					for _, set := range sets {
						set = slices.Compact(slices.Sorted(slices.Values(set)))
						if len(set) > n || len(set) > r.Codes {
							t.Errorf("%s: %d distinct codes, reported %d", name, len(set), r.Codes)
						}
						common := entropy > 0 && !slices.ContainsFunc(set, func(q int8) bool { return int(q)%alphabetStep(n, weight.MaxCode) != 0 })
						if top := max(-set[0], set[len(set)-1]); top != weight.MaxCode && !common {
							t.Errorf("%s: the largest code is %d, not 127", name, top)
						}
					}
					for i, q := range codes {
						if mask != nil && (q == 0) != (mask[i] == 0) {
							t.Fatalf("%s: weight %d: mask %d, code %d", name, i, mask[i], q)
						}
					}
				}
			}
		}
	}
}

func TestPricesTradeErrorForBits(t *testing.T) {
	values := layer(2, 32, 288)
	for _, mask := range [][]uint8{nil, halfMask(values)} {
		before := Result{SNR: math.Inf(1), Bits: math.Inf(1)}
		for _, entropy := range []float64{0, 0.5, 1, 2, 4, 8} {
			r := apply(t, tensor(t, values, 32, mask), Options{Clusters: 16, Entropy: entropy})
			if r.Bits >= before.Bits || r.SNR >= before.SNR {
				t.Errorf("entropy %v: %.3f bits at %.2f dB after %.3f at %.2f", entropy, r.Bits, r.SNR, before.Bits, before.SNR)
			}
			before = r
		}
	}
}

func TestSharedCodesNearlyMatchCodesPerChannel(t *testing.T) {
	values := layer(3, 64, 288)
	snr := map[weight.Scope]float64{}
	for _, scope := range []weight.Scope{weight.Shared, weight.PerTensor, weight.PerChannel} {
		w := tensor(t, values, 64, nil)
		before := w.Values()
		apply(t, w, Options{Clusters: 16, Scope: scope})
		// relative to each channel's energy, as the layers behind see it
		after := w.Values()
		for c := range 64 {
			snr[scope] += weight.SNR(before[c*288:][:288], after[c*288:][:288]) / 64
		}
	}
	if snr[weight.Shared] < snr[weight.PerTensor]+3 || snr[weight.Shared] < snr[weight.PerChannel]-1.5 {
		t.Errorf("SNR by channel: %v", snr)
	}
}

func TestSensitiveWeightsKeepTheirValue(t *testing.T) {
	values := layer(5, 1, 2000)
	sensitivity := make([]float32, len(values))
	for i := range sensitivity {
		sensitivity[i] = 0.01
		if i%10 == 0 {
			sensitivity[i] = 1
		}
	}
	squares := func(o Options) (sum float64) {
		w := tensor(t, values, 1, nil)
		apply(t, w, o)
		for i, v := range w.Values() {
			sum += float64(sensitivity[i]) * float64(v-values[i]) * float64(v-values[i])
		}
		return sum
	}
	if with, without := squares(Options{Clusters: 8, Sensitivity: sensitivity}), squares(Options{Clusters: 8}); with >= without {
		t.Errorf("weighted error %v with sensitivities, %v without", with, without)
	}
}

func TestOddTensorsCluster(t *testing.T) {
	values := layer(6, 4, 30)
	masked := slices.Repeat([]uint8{1}, len(values))
	for i := range 30 {
		masked[i] = 0 // a channel without weights
	}
	dead := slices.Clone(values)
	clear(dead[:30])
	tests := map[string]struct {
		values []float32
		mask   []uint8
		want   int // distinct values; 0: any
	}{
		"all weights equal":                       {slices.Repeat([]float32{0.3}, 120), nil, 1},
		"two values":                              {append(slices.Repeat([]float32{0}, 60), slices.Repeat([]float32{2}, 60)...), nil, 2},
		"nothing but zeros":                       {make([]float32, 120), nil, 0},
		"everything pruned":                       {make([]float32, 120), make([]uint8, 120), 1},
		"a channel without weights":               {values, masked, 0},
		"a dead channel that is not pruned":       {dead, slices.Repeat([]uint8{1}, 120), 0},
		"nothing pruned although there is a mask": {values, slices.Repeat([]uint8{1}, 120), 0},
		"channels that differ by orders of size":  {append(slices.Clone(values[:60]), scaled(values[60:], 1e-9)...), nil, 0},
		"subnormal weights":                       {scaled(values, 1e-39), nil, 0},
		"enormous weights":                        {scaled(values, 1e36), nil, 0},
	}
	for name, test := range tests {
		for _, scope := range []weight.Scope{weight.Shared, weight.PerTensor, weight.PerChannel} {
			t.Run(name+", "+string(scope), func(t *testing.T) {
				w := tensor(t, test.values, 4, test.mask)
				r := apply(t, w, Options{Clusters: 8, Scope: scope, Entropy: 1})
				if got := distinct(w.Values()); test.want != 0 && got != test.want {
					t.Errorf("%d distinct values, want %d", got, test.want)
				}
				if math.IsNaN(r.SNR) && name != "nothing but zeros" {
					t.Error("SNR is not a number")
				}
			})
		}
	}
}

func scaled(values []float32, by float32) []float32 {
	out := slices.Clone(values)
	for i := range out {
		out[i] *= by
	}
	return out
}

// The next tests show that defects read in TFMOT's source (clustering and its collaborative QAT) do not happen here.

func TestOneLayerWithoutZerosLeavesTheOthersTheirs(t *testing.T) {
	// TFMOT: one quantizer object serves all layers, and a layer without zeros flips its flag for all.
	values := layer(7, 8, 100)
	pruned, dense := tensor(t, values, 8, halfMask(values)), tensor(t, values, 8, nil)
	apply(t, dense, Options{Clusters: 8})
	apply(t, pruned, Options{Clusters: 8})
	if got, want := pruned.State().Pruned(), 400; got != want {
		t.Errorf("%d zeros, want %d", got, want)
	}
	if dense.State().Mask != nil {
		t.Error("the dense layer got a mask")
	}
}

func TestAChannelWithoutZerosGetsNone(t *testing.T) {
	// TFMOT: per-channel PCQAT zeroes the smallest centroid even of channels without zeros.
	values := layer(8, 4, 100)
	mask := slices.Repeat([]uint8{1}, len(values))
	for i := range 50 {
		mask[i] = 0
	}
	w := tensor(t, values, 4, mask)
	apply(t, w, Options{Clusters: 4, Scope: weight.PerChannel})
	for i, v := range w.Values() {
		if (v == 0) != (mask[i] == 0) {
			t.Fatalf("weight %d: mask %d, value %v", i, mask[i], v)
		}
	}
}

func TestAnAllZeroChannelClustersPerChannel(t *testing.T) {
	// TFMOT: its centroids have another length than the other channels', and the conversion to a tensor fails.
	values := layer(9, 4, 100)
	mask := halfMask(values)
	clear(mask[:100])
	w := tensor(t, values, 4, mask)
	apply(t, w, Options{Clusters: 4, Scope: weight.PerChannel})
	if n := w.Codebooks[0].Len(); n != 0 {
		t.Errorf("the empty channel has %d codes", n)
	}
}

func TestSharedCodesAreNotPromotedToChannels(t *testing.T) {
	// TFMOT: a per-tensor clustered kernel all of whose channels use all values is taken for per-channel clusters, which diverge.
	values := normal(12*500, 10)
	w := tensor(t, values, 12, nil)
	apply(t, w, Options{Clusters: 4, Scope: weight.PerTensor})
	for c := range 12 {
		if n := distinct(w.Values()[c*500:][:500]); n != 4 {
			t.Fatalf("the test wants all 4 values in channel %d, which has %d", c, n)
		}
	}
	state := w.State()
	again, err := weight.FromState("layer", w.Values(), state)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state, again.State()); diff != "" {
		t.Errorf("the next stage sees another state:\n%s", diff)
	}
	if len(again.Codebooks) != 1 || distinct(again.Values()) != 4 {
		t.Errorf("%d codebooks, %d values", len(again.Codebooks), distinct(again.Values()))
	}
}

func TestBadOptionsAreErrors(t *testing.T) {
	values := layer(11, 2, 10)
	for name, o := range map[string]Options{
		"no clusters":            {},
		"too many clusters":      {Clusters: 256},
		"unknown scope":          {Clusters: 4, Scope: "Row"},
		"negative entropy":       {Clusters: 4, Entropy: -1},
		"entropy not a number":   {Clusters: 4, Entropy: math.NaN()},
		"too few sensitivities":  {Clusters: 4, Sensitivity: make([]float32, 3)},
		"negative sensitivities": {Clusters: 4, Sensitivity: slices.Repeat([]float32{-1}, 20)},
	} {
		if _, err := Apply(tensor(t, values, 2, nil), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Apply(tensor(t, values, 2, halfMask(values)), Options{Clusters: 1}); err == nil {
		t.Error("one cluster, zero included, of a pruned tensor: no error")
	}
	w := tensor(t, values, 2, nil)
	apply(t, w, Options{Clusters: 4})
	if _, err := Apply(w, Options{Clusters: 4}); err == nil {
		t.Error("clustering twice: no error")
	}
}

func TestErrorsNameWhatIsPossible(t *testing.T) {
	values := layer(11, 2, 10)
	for want, mask := range map[string][]uint8{
		`clustering weights "layer": 256 clusters; possible are 1 to 255`: nil,
		`clustering weights "layer": 256 clusters; possible are 2 to 255`: halfMask(values),
	} {
		if _, err := Apply(tensor(t, values, 2, mask), Options{Clusters: 256}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOptionsAtTheirBounds(t *testing.T) {
	values := layer(11, 2, 200)
	some := make([]float32, len(values))
	for i := range some {
		some[i] = float32(i % 2) // every second weight may have any error
	}
	for name, c := range map[string]struct {
		o    Options
		want int // codes at most
	}{
		"as many as there are codes": {Options{Clusters: 255, Scope: weight.PerTensor}, 255},
		"one":                        {Options{Clusters: 1, Scope: weight.PerTensor}, 1},
		"weights of no sensitivity":  {Options{Clusters: 4, Scope: weight.PerTensor, Sensitivity: some}, 4},
		"none of any":                {Options{Clusters: 4, Scope: weight.PerTensor, Sensitivity: make([]float32, len(values))}, 4},
	} {
		w := tensor(t, values, 2, nil)
		if r := apply(t, w, c.o); r.Codes > c.want || distinct(w.Values()) > r.Codes {
			t.Errorf("%s: %d codes, %d values, want at most %d", name, r.Codes, distinct(w.Values()), c.want)
		}
	}
}

// One bit more divides the squared error by 4: the derivative of the error by bits is 2·ln 2 times it.
func TestThePriceOfABit(t *testing.T) {
	if got, want := Lambda(3, 5), 30*math.Ln2; math.Abs(got-want) > 1e-12 {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A channel of one value takes no bits, one of two equally frequent values one bit a weight.
func TestBitsAreThoseOfEachChannelsCodes(t *testing.T) {
	values := make([]float32, 0, 200)
	for i := range 200 {
		values = append(values, []float32{2, 2, -1, 3}[i/100*2+i%2])
	}
	r := apply(t, tensor(t, values, 2, nil), Options{Clusters: 2, Scope: weight.PerChannel})
	if r.Codes != 2 || math.Abs(r.Bits-0.5) > 1e-12 || r.SNR < 40 {
		t.Errorf("%+v, want 2 codes and half a bit a weight", r)
	}
}

func BenchmarkApply(b *testing.B) {
	values := layer(12, 276, 276)
	for _, entropy := range []float64{0, 1} {
		b.Run(fmt.Sprintf("76176 weights, entropy=%v", entropy), func(b *testing.B) {
			for b.Loop() {
				apply(b, tensor(b, values, 276, nil), Options{Clusters: 16, Entropy: entropy})
			}
		})
	}
}

func abs(x float32) float32 {
	if x < 0 {
		return -x
	}
	return x
}
