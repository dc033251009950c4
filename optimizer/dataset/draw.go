package dataset

import "math/rand/v2"

// Draw returns the indices of up to n samples of a source, drawn by a seed: as many of every class as the classes have, in turn, or
// without class labels any. Where n is no fewer than there are, all are returned in their order.
func Draw(s Source, n int, seed uint64) []int {
	if n >= s.Len() {
		return ascending(s.Len())
	}
	order := rand.New(rand.NewPCG(seed, 0)).Perm(s.Len())
	labels := Labels(s)
	if labels == nil {
		return order[:n]
	}
	var classes []int // in the order of their first sample
	members := map[int][]int{}
	for _, i := range order {
		if members[labels[i]] == nil {
			classes = append(classes, labels[i])
		}
		members[labels[i]] = append(members[labels[i]], i)
	}
	drawn := make([]int, 0, n)
	for turn := 0; len(drawn) < n; turn++ {
		for _, c := range classes {
			if turn < len(members[c]) && len(drawn) < n {
				drawn = append(drawn, members[c][turn])
			}
		}
	}
	return drawn
}

func ascending(n int) []int {
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	return index
}
