package dataset

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// labelled is a source of which only the classes matter.
type labelled struct {
	Source
	of []int
}

func (l labelled) Len() int      { return len(l.of) }
func (l labelled) labels() []int { return l.of }

func TestADrawHasAsManyOfEveryClassAsThereAre(t *testing.T) {
	sorted := slices.Concat(slices.Repeat([]int{0}, 90), slices.Repeat([]int{1}, 6), slices.Repeat([]int{2}, 40))
	for name, tc := range map[string]struct {
		labels []int
		n      int
		want   map[int]int
	}{
		"sorted by class":            {sorted, 12, map[int]int{0: 4, 1: 4, 2: 4}},
		"a class with few samples":   {sorted, 46, map[int]int{0: 20, 1: 6, 2: 20}},
		"fewer samples than asked":   {sorted[:5], 9, map[int]int{0: 5}},
		"exactly as many as asked":   {sorted[88:92], 4, map[int]int{0: 2, 1: 2}},
		"fewer asked than classes":   {sorted, 2, nil},
		"samples that have no label": {slices.Repeat([]int{-1}, 20), 7, map[int]int{-1: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			drawn := Draw(labelled{of: tc.labels}, tc.n, 1)
			got, seen := map[int]int{}, map[int]bool{}
			for _, i := range drawn {
				got[tc.labels[i]]++
				seen[i] = true
			}
			if len(seen) != len(drawn) || len(drawn) != min(tc.n, len(tc.labels)) {
				t.Errorf("drawn: %v", drawn)
			}
			if diff := cmp.Diff(tc.want, got); tc.want != nil && diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(drawn, Draw(labelled{of: tc.labels}, tc.n, 1)) {
				t.Error("drawn again, other samples come")
			}
		})
	}
}
