package weight

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Every bound of a state at its edge: the last that is allowed, and the first that is not.
func TestStatesHoldTheirBounds(t *testing.T) {
	sound := func() State {
		return State{Shape: []int{2, 3}, Scope: Shared, Clusters: 3, Scale: []float32{1, 2}, CodeSets: [][]int8{{-127, 0, 127}}}
	}
	for name, c := range map[string]struct {
		change func(s *State)
		want   string
	}{
		"sound":                      {func(*State) {}, ""},
		"a mask":                     {func(s *State) { s.Mask = make([]uint8, 6); s.CodeSets[0] = []int8{-1, 1} }, ""},
		"a mask too short":           {func(s *State) { s.Mask = make([]uint8, 5) }, "mask of 5 for 6 weights"},
		"a mask of another number":   {func(s *State) { s.Mask = []uint8{1, 0, 1, 2, 0, 0} }, "mask 3 is 2, neither 0 nor 1"},
		"a mask that is one of them": {func(s *State) { s.Mask = make([]uint8, 6) }, "code set 0: 4 codes, more than the 3 promised"},
		"0 beside a mask":            {func(s *State) { s.Mask, s.Clusters = make([]uint8, 6), 4 }, "code set 0: 0 is a code of its own although the mask holds the zeros"},
		"fewer clusters than codes":  {func(s *State) { s.Clusters = 2 }, "code set 0: 3 codes, more than the 2 promised"},
		"the code before the least":  {func(s *State) { s.CodeSets[0][0] = -128 }, "code set 0: code -128 is outside ±127"},
		"codes of four bits":         {func(s *State) { s.Most, s.CodeSets[0] = 7, []int8{-7, 7} }, ""},
		"above those of four bits":   {func(s *State) { s.Most, s.CodeSets[0] = 7, []int8{-7, 8} }, "code set 0: code 8 is outside ±7"},
		"below those of four bits":   {func(s *State) { s.Most, s.CodeSets[0] = 7, []int8{-8, 7} }, "code set 0: code -8 is outside ±7"},
		"a code twice":               {func(s *State) { s.CodeSets[0] = []int8{1, 1} }, "code set 0: codes 1 and 1 are not in rising order"},
		"codes that fall":            {func(s *State) { s.CodeSets[0] = []int8{2, 1} }, "code set 0: codes 2 and 1 are not in rising order"},
		"one scale for the tensor":   {func(s *State) { s.Scope, s.Scale = PerTensor, []float32{1} }, ""},
		"two for the tensor":         {func(s *State) { s.Scope = PerTensor }, "scope Tensor with 2 scales and 1 code sets for 2 output channels"},
		"codes for each channel":     {func(s *State) { s.Scope, s.CodeSets = PerChannel, [][]int8{{1}, {2}} }, ""},
		"codes for one of them":      {func(s *State) { s.Scope = PerChannel }, "scope Channel with 2 scales and 1 code sets for 2 output channels"},
		"a second set of codes":      {func(s *State) { s.CodeSets = [][]int8{{1}, {2}} }, "scope Shared with 2 scales and 2 code sets for 2 output channels"},
		"an unknown scope":           {func(s *State) { s.Scope = "Row" }, `scope "Row" is none of Shared, Tensor, Channel`},
		"no price":                   {func(s *State) { s.Lambda = 0 }, ""},
		"a negative price":           {func(s *State) { s.Lambda = -1 }, "price of a bit -1 is negative or not finite"},
		"an endless price":           {func(s *State) { s.Lambda = float32(math.Inf(1)) }, "price of a bit +Inf is negative or not finite"},
		"nothing clustered":          {func(s *State) { *s = State{Shape: s.Shape} }, ""},
		"scales that are left":       {func(s *State) { *s = State{Shape: s.Shape, Scale: []float32{1}} }, "scales or codes without a scope"},
		"codes that are left":        {func(s *State) { *s = State{Shape: s.Shape, CodeSets: [][]int8{{1}}} }, "scales or codes without a scope"},
		"clusters that are left":     {func(s *State) { *s = State{Shape: s.Shape, Clusters: 1} }, "scales or codes without a scope"},
		"a price that is left":       {func(s *State) { *s = State{Shape: s.Shape, Lambda: 1} }, "scales or codes without a scope"},
	} {
		s := sound()
		c.change(&s)
		if got := text(s.check()); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestEmittedCodesHoldTheirPromise(t *testing.T) {
	shape := []int{2, 3}
	for name, c := range map[string]struct {
		codes []int8
		state State
		want  string
	}{
		"plain":                  {[]int8{1, 2, 3, 4, 5, 6}, State{Shape: shape}, ""},
		"a pruned one":           {[]int8{1, 0, 3, 4, 5, 6}, State{Shape: shape, Mask: []uint8{1, 0, 1, 1, 1, 1}}, ""},
		"a pruned one that is 1": {[]int8{1, 1, 3, 4, 5, 6}, State{Shape: shape, Mask: []uint8{1, 0, 1, 1, 1, 1}}, "weight 1 is pruned, but its code is 1"},
		"a short mask":           {[]int8{1, 1, 3, 4, 5, 6}, State{Shape: shape, Mask: []uint8{1}}, "mask of 1 for 6 codes"},
		"as many as promised":    {[]int8{1, 2, 0, 1, 2, 0}, State{Shape: shape, Scope: Shared, Clusters: 3}, ""},
		"one more":               {[]int8{1, 2, 0, 1, 2, -1}, State{Shape: shape, Scope: Shared, Clusters: 3}, "4 distinct codes, more than the 3 promised"},
		"as many in a channel":   {[]int8{1, 2, 0, -1, -2, -3}, State{Shape: shape, Scope: PerChannel, Clusters: 3}, ""},
		"one more in a channel":  {[]int8{1, 1, 1, -1, -2, -3}, State{Shape: shape, Scope: PerChannel, Clusters: 2}, "output channel 1: 3 distinct codes, more than the 2 promised"},
	} {
		if got := text(CheckCodes(c.codes, c.state)); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestPricesFollowTheMembersSlowly(t *testing.T) {
	b := must(NewCodebook([]float32{0, 10}, MaxCode, false))(t)
	if text(b.Price(2, []float32{1})) != "1 shares for 2 codes" || text(b.Price(-1, []float32{1, 1})) != "price of a bit -1 is negative or not finite" {
		t.Error("prices that do not fit are taken")
	}
	ok(t, b.Price(2, []float32{3, 1}))
	near := func(what string, got, want float32) {
		t.Helper()
		if math.Abs(float64(got-want)) > 1e-5 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("share", b.Share[0], 0.75)
	near("price of the rare code", b.Bits[1], 4)
	b.follow([]int{0, 0})
	near("share where nothing is counted", b.Share[0], 0.75)
	b.follow([]int{1, 3}) // of the way of half, a sixty-fourth
	near("share that follows", b.Share[0], 0.75-0.5/64)
	near("its price", b.Bits[0], float32(-2*math.Log2(0.75-0.5/64)))
	ok(t, b.Price(2, []float32{0, 5}))
	near("price of a code without members", b.Bits[0], 24)
	ok(t, b.Price(2, []float32{0, 0}))
	near("share where no code has members", b.Share[0], 0.5)
	ok(t, b.Price(0, []float32{1, 1}))
	if b.Bits != nil {
		t.Errorf("prices %v though a bit costs nothing", b.Bits)
	}
}

// A part of the rows has their zeros, scales and codes.
func TestPartOfAState(t *testing.T) {
	s := State{Shape: []int{4, 2}, Mask: []uint8{1, 1, 0, 1, 1, 0, 0, 0}, Scope: PerChannel, Clusters: 3, Scale: []float32{1, 2, 3, 4}, CodeSets: [][]int8{{1}, {2}, {3}, {4}}}
	want := State{Shape: []int{2, 2}, Mask: []uint8{1, 0, 0, 0}, Scope: PerChannel, Clusters: 3, Scale: []float32{3, 4}, CodeSets: [][]int8{{3}, {4}}}
	if diff := cmp.Diff(want, s.Part(1, 2)); diff != "" {
		t.Error(diff)
	}
	one := State{Shape: []int{4, 2}, Scope: PerTensor, Clusters: 2, Scale: []float32{1}, CodeSets: [][]int8{{1, 2}}}
	want = State{Shape: []int{1, 2}, Scope: PerTensor, Clusters: 2, Scale: []float32{1}, CodeSets: [][]int8{{1, 2}}}
	if diff := cmp.Diff(want, one.Part(3, 4)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(s, s.Part(0, 1)); diff != "" {
		t.Error(diff)
	}
}
