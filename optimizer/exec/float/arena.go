package float

import "sort"

// alignment of every buffer in floats: one cache line, so that no two buffers share one.
const alignment = 16

// block is a buffer that must exist from step first to step last, both included.
type block struct {
	size, first, last int // floats, steps
	offset            int // chosen by place
}

// place gives every block an offset such that blocks alive at the same step do not overlap, and returns the total size.
// Largest first, each at the lowest gap that fits: the greedy-by-size rule of Pisarchyk and Lee (arXiv 2001.03288).
func place(blocks []*block) int {
	order := append([]*block(nil), blocks...)
	sort.SliceStable(order, func(i, j int) bool { return order[i].size > order[j].size })
	var placed []*block // by offset
	total := 0
	for _, b := range order {
		if b.size == 0 {
			continue
		}
		size := roundUp(b.size)
		offset := 0
		for _, p := range placed {
			if p.last < b.first || b.last < p.first {
				continue
			}
			if p.offset-offset >= size {
				break
			}
			offset = max(offset, p.offset+roundUp(p.size))
		}
		b.offset = offset
		at := sort.Search(len(placed), func(i int) bool { return placed[i].offset > offset })
		placed = append(placed, nil)
		copy(placed[at+1:], placed[at:])
		placed[at] = b
		total = max(total, offset+size)
	}
	return total
}

func roundUp(n int) int { return (n + alignment - 1) / alignment * alignment }
