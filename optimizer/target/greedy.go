package target

import "slices"

// buffer is what the planner places: alive from step first to step last, both included.
type buffer struct {
	size        int
	first, last int
	offline     int // offset that the file fixes, −1 for none
	offset      int // chosen by greedy
}

// greedy places buffers as TFLM's GreedyMemoryPlanner does and returns the size of the whole: first those whose offset the file
// fixes, then the largest first, alike ones last to first as it fills its list from the tail, each into the first gap, by offset,
// among the buffers alive at the same time.
func greedy(buffers []*buffer) (size int) {
	var order []*buffer
	for i := len(buffers) - 1; i >= 0; i-- {
		if buffers[i].offline < 0 {
			order = append(order, buffers[i])
		}
	}
	slices.SortStableFunc(order, func(a, b *buffer) int { return b.size - a.size })
	var fixed []*buffer
	for _, b := range buffers {
		if b.offline >= 0 {
			fixed = append(fixed, b)
		}
	}
	var placed []*buffer // by offset, those placed earlier first among equals
	for _, b := range append(fixed, order...) {
		b.offset = max(b.offline, 0)
		if b.offline < 0 {
			for _, p := range placed {
				if p.last < b.first || b.last < p.first {
					continue
				}
				if p.offset-b.offset >= b.size {
					break
				}
				b.offset = max(b.offset, p.offset+p.size)
			}
		}
		at, _ := slices.BinarySearchFunc(placed, b.offset, func(p *buffer, offset int) int {
			if p.offset <= offset {
				return -1
			}
			return 1
		})
		placed = slices.Insert(placed, at, b)
		size = max(size, b.offset+b.size)
	}
	return size
}
