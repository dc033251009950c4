package union

import (
	"slices"
	"testing"
)

func TestSets(t *testing.T) {
	s := New(3)
	if added := s.Grow(2); !slices.Equal(added, []int{3, 4}) {
		t.Fatalf("added %v", added)
	}
	for _, step := range []struct{ a, b, root, joined int }{
		{4, 2, 2, 4},
		{3, 1, 1, 3},
		{1, 3, 1, 1}, // one already
		{4, 3, 1, 2}, // by their roots
		{2, 4, 1, 1},
	} {
		if root, joined := s.Join(step.a, step.b); root != step.root || joined != step.joined {
			t.Errorf("%d and %d: root %d, joined %d; want %d, %d", step.a, step.b, root, joined, step.root, step.joined)
		}
	}
	for x, want := range []int{0, 1, 1, 1, 1} {
		if root := s.Root(x); root != want {
			t.Errorf("the root of %d is %d, want %d", x, root, want)
		}
	}
}
