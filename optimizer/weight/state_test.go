package weight

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatesThatContradictThemselvesAreRefused(t *testing.T) {
	shared := func(change func(*State)) State {
		s := State{Shape: []int{2, 3}, Scope: Shared, Clusters: 3, Scale: []float32{1, 2}, CodeSets: [][]int8{{-5, 0, 127}}, Lambda: 1}
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		state State
		want  string // "": accepted
	}{
		"float":                    {State{Shape: []int{2, 3}}, ""},
		"pruned":                   {State{Shape: []int{2, 3}, Mask: []uint8{0, 1, 1, 1, 1, 0}}, ""},
		"shared":                   {shared(func(*State) {}), ""},
		"one scale":                {shared(func(s *State) { s.Scope, s.Scale = PerTensor, s.Scale[:1] }), ""},
		"per channel":              {shared(func(s *State) { s.Scope, s.CodeSets = PerChannel, [][]int8{{1}, {-2, 2}} }), ""},
		"the smallest code":        {shared(func(s *State) { s.CodeSets[0][0] = -127 }), ""},
		"four bits":                {shared(func(s *State) { s.Most, s.CodeSets = MaxCode4, [][]int8{{-7, 7}} }), ""},
		"zero with the mask":       {shared(func(s *State) { s.Mask, s.CodeSets = []uint8{0, 1, 1, 1, 1, 1}, [][]int8{{-5, 127}} }), ""},
		"no shape":                 {State{}, "axis"},
		"an axis outside":          {State{Shape: []int{2, 3}, Axis: 2}, "axis 2"},
		"a short mask":             {State{Shape: []int{2, 3}, Mask: []uint8{0, 1}}, "mask of 2 for 6"},
		"a mask of 2":              {State{Shape: []int{2, 3}, Mask: []uint8{0, 1, 2, 1, 1, 0}}, "mask 2 is 2"},
		"scales without a scope":   {State{Shape: []int{2, 3}, Scale: []float32{1}}, "without a scope"},
		"codes without a scope":    {State{Shape: []int{2, 3}, CodeSets: [][]int8{{1}}}, "without a scope"},
		"clusters without a scope": {State{Shape: []int{2, 3}, Clusters: 2}, "without a scope"},
		"a price without a scope":  {State{Shape: []int{2, 3}, Lambda: 2}, "without a scope"},
		"a scale for two of four":  {State{Shape: []int{4, 1}, Scope: Shared, Clusters: 1, Scale: []float32{1, 2}, CodeSets: [][]int8{{1}}}, ""},
		"a set for two of four":    {State{Shape: []int{4, 1}, Scope: PerChannel, Clusters: 1, Scale: []float32{1, 2}, CodeSets: [][]int8{{1}, {1}, {1}, {1}}}, "with 2 scales"},
		"another scope":            {shared(func(s *State) { s.Scope = "Row" }), `scope "Row"`},
		"three scales":             {shared(func(s *State) { s.Scale = []float32{1, 2, 3} }), "3 scales for 2"},
		"one scale of a channel's": {shared(func(s *State) { s.Scale = s.Scale[:1] }), "with 1 scales"},
		"two sets where one is":    {shared(func(s *State) { s.CodeSets = append(s.CodeSets, s.CodeSets[0]) }), "2 code sets"},
		"a scale of zero":          {shared(func(s *State) { s.Scale[1] = 0 }), "scale 1 is 0"},
		"a negative price":         {shared(func(s *State) { s.Lambda = -1 }), "price of a bit -1"},
		"an infinite price":        {shared(func(s *State) { s.Lambda = float32(math.Inf(1)) }), "price of a bit +Inf"},
		"a price that is none":     {shared(func(s *State) { s.Lambda = float32(math.NaN()) }), "price of a bit NaN"},
		"codes that fall":          {shared(func(s *State) { s.CodeSets[0][1] = -6 }), "not in rising order"},
		"a code twice":             {shared(func(s *State) { s.CodeSets[0][1] = -5 }), "not in rising order"},
		"a code below all":         {shared(func(s *State) { s.CodeSets[0][0] = -128 }), "outside ±127"},
		"a code beyond four bits":  {shared(func(s *State) { s.Most = MaxCode4 }), "outside ±7"},
		"more codes than promised": {shared(func(s *State) { s.Clusters = 2 }), "3 codes, more than the 2"},
		"zero counts as one":       {shared(func(s *State) { s.Mask, s.CodeSets = []uint8{0, 1, 1, 1, 1, 1}, [][]int8{{-5, 2, 127}} }), "4 codes, more than the 3"},
		"zero beside the mask":     {shared(func(s *State) { s.Mask, s.CodeSets = []uint8{0, 1, 1, 1, 1, 1}, [][]int8{{0, 127}} }), "0 is a code of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 1
			for _, d := range test.state.Shape {
				n *= d
			}
			_, err := FromState("w", make([]float32, n), test.state)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestEveryCodeIsWithinItsBounds(t *testing.T) {
	if diff := cmp.Diff([]int8{-3, -2, -1, 0, 1, 2, 3}, EveryCode(3)); diff != "" {
		t.Error(diff)
	}
	if all := EveryCode(MaxCode); len(all) != Room(MaxCode, false) || all[0] != -127 || all[254] != 127 {
		t.Errorf("%d codes: %v", len(all), all)
	}
	if got := EveryCode(0); len(got) != 1 || got[0] != 0 {
		t.Errorf("within ±0: %v", got)
	}
	if got := Room(3, true); got != 6 {
		t.Errorf("room for %d codes beside zero, want 6", got)
	}
}

func TestPricesOfABookAreRefusedByWhatIsWrong(t *testing.T) {
	book := must(NewCodebook([]float32{-3, 4}, MaxCode, false))(t)
	for name, err := range map[string]error{
		"a share too few": book.Price(1, []float32{1}), "a negative price": book.Price(-1, []float32{1, 1}),
		"an infinite one": book.Price(float32(math.Inf(1)), []float32{1, 1}), "none": book.Price(float32(math.NaN()), []float32{1, 1}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ok(t, book.Price(2, []float32{3, 1}))
	if diff := cmp.Diff([]float32{0.75, 0.25}, book.Share); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if want := []float32{float32(2 * math.Log2(4./3)), 4}; cmp.Diff(want, book.Bits, approx(1e-6)) != "" {
		t.Errorf("prices %v, want %v", book.Bits, want)
	}
	ok(t, book.Price(2, []float32{0, 0})) // nothing is known of them: alike
	if diff := cmp.Diff([]float32{2, 2}, book.Bits); diff != "" {
		t.Errorf("prices (-want +got):\n%s", diff)
	}
	ok(t, book.Price(1, []float32{1, 0}))
	if want := []float32{0, 12}; cmp.Diff(want, book.Bits) != "" {
		t.Errorf("prices %v, want %v: a code without members costs 12 bits", book.Bits, want)
	}
	ok(t, book.Price(0, []float32{1, 1}))
	if book.Bits != nil {
		t.Errorf("prices %v for nothing", book.Bits)
	}
}
