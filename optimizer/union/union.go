// Package union keeps disjoint sets of numbers: what belongs together is found by uniting two at a time (Galler and Fischer,
// "An improved equivalence algorithm", 1964).
package union

// Sets are disjoint sets of the numbers below its length, each of which has its parent here. The least number of a set is its root.
type Sets []int

// New returns the sets of n numbers, each of which is alone.
func New(n int) Sets {
	var s Sets
	s.Grow(n)
	return s
}

// Grow adds n numbers, each of which is alone, and returns them.
func (s *Sets) Grow(n int) []int {
	added := make([]int, n)
	for i := range added {
		added[i] = len(*s) + i
	}
	*s = append(*s, added...)
	return added
}

// Root returns the least number of x's set.
func (s Sets) Root(x int) int {
	for s[x] != x {
		s[x] = s[s[x]]
		x = s[x]
	}
	return x
}

// Join unites the sets of two numbers, and returns the root and what was one until now; the same twice if they were one set.
func (s Sets) Join(a, b int) (root, joined int) {
	a, b = s.Root(a), s.Root(b)
	root, joined = min(a, b), max(a, b)
	s[joined] = root
	return root, joined
}
