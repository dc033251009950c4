package quantize

import (
	"math"
	"testing"
)

// Both ends of a range are those of all values, in whatever order they come.
func TestARangeReachesItsValues(t *testing.T) {
	want := Range{Min: -3, Max: 5}
	for _, values := range [][]float32{{-3, 5, 0}, {5, -3}, {0, 1, 5, -1, -3, 2}} {
		r, err := rangeOf(values)
		if err != nil || r != want {
			t.Errorf("%v: %v, %v", values, r, err)
		}
		h := NewHistogram()
		included := Empty()
		for i, v := range values {
			h.Add(values[i : i+1])
			included = included.Include(v)
		}
		if got := h.MinMax(); got != want || included != want {
			t.Errorf("%v one by one: %v, %v", values, got, included)
		}
		h = NewHistogram()
		h.Add(values)
		if got := h.MinMax(); got != want {
			t.Errorf("%v at once: %v", values, got)
		}
	}
	if got := (Range{Min: -3, Max: 1}).Union(Range{Min: 0, Max: 5}); got != want {
		t.Errorf("a union of %v", got)
	}
	if got := (Range{Min: 0, Max: 5}).Union(Range{Min: -3, Max: 1}); got != want {
		t.Errorf("a union the other way of %v", got)
	}
	if _, err := rangeOf([]float32{1, float32(math.Inf(1))}); err == nil {
		t.Error("an endless value has a range")
	}
}
