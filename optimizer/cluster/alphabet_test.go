package cluster

import (
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/weight"
)

func TestTheStepIsAPowerOfTwoOfWhichAllCodesAreWithinTheLargest(t *testing.T) {
	for _, test := range []struct{ codes, most, want int }{
		{1, 127, 64}, {2, 127, 64}, {4, 127, 32}, {16, 127, 8}, {17, 127, 4}, {32, 127, 4}, {64, 127, 2}, {65, 127, 1}, {255, 127, 1}, {15, 7, 1},
	} {
		if got := alphabetStep(test.codes, test.most); got != test.want {
			t.Errorf("%d codes within ±%d: step %d, want %d", test.codes, test.most, got, test.want)
		}
	}
}

func TestPricedLayersHaveCodesInCommon(t *testing.T) {
	for _, entropy := range []float64{1, 10} {
		for seed := range uint64(3) {
			w := tensor(t, layer(seed, 32, 288), 32, nil)
			r := apply(t, w, Options{Clusters: 16, Entropy: entropy})
			if r.SNR < 10 {
				t.Errorf("entropy %v, seed %d: %.1f dB", entropy, seed, r.SNR)
			}
			if codes := w.Codebooks[0].Codes(); slices.ContainsFunc(codes, func(q int8) bool { return q%8 != 0 }) {
				t.Errorf("entropy %v, seed %d: codes %v are no multiples of 8", entropy, seed, codes)
			}
		}
	}
	large := tensor(t, layer(1, 64, 288), 64, nil)
	apply(t, large, Options{Clusters: 16, Entropy: 1})
	if codes := large.Codebooks[0].Codes(); slices.Max(codes) != weight.MaxCode && slices.Min(codes) != -weight.MaxCode {
		t.Errorf("a layer of %d weights has codes %v", large.Len(), codes)
	}
}

func TestCodesInCommonCostNoMoreThanIsAllowed(t *testing.T) {
	values := layer(1, 32, 288)
	for i := range values { // three heaps that no multiples of a few codes meet
		values[i] = 0.01*values[i] + []float32{1, 1.37, -7.1}[i%3]
	}
	p, err := newProblem(tensor(t, values, 32, nil), Options{Clusters: 4, Entropy: 1, Scope: weight.Shared})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.solve(); err != nil {
		t.Fatal(err)
	}
	s := p.sets[0]
	before, center := p.cost(s), slices.Clone(s.center)
	if _, ok := p.alphabet(s); ok {
		t.Errorf("heaps at 1, 1.37 and -7.1 have codes %v", s.center)
	}
	if p.cost(s) != before || !slices.Equal(center, s.center) {
		t.Errorf("a set that keeps its codes was changed: %v costs %v, was %v at %v", s.center, p.cost(s), center, before)
	}
}
