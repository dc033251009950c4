// Package arena places buffers that live at different times in one piece of memory.
package arena

import "sort"

// Block is a buffer that must exist from step First to step Last, both included.
type Block struct {
	ID          int // orders blocks that are otherwise alike
	Size        int // in units
	First, Last int // steps
	Offset      int // in units, chosen by Place
}

// Slice returns the block's memory, or its first n elements; nil for a nil or empty block.
func (b *Block) Slice(memory []float32, n int) []float32 {
	if b == nil || b.Size == 0 {
		return nil
	}
	return memory[b.Offset : b.Offset+min(n, b.Size) : b.Offset+b.Size]
}

// Place gives every block an offset, a multiple of align, such that blocks alive at the same step do not overlap, and returns
// the total size. It does as LiteRT's planner (arena_planner.cc, simple_memory_arena.cc): first what lives throughout, from step
// 0 to step last, in the order of ID; then largest first, each into the tightest gap among the blocks alive at the same time, else
// behind them. Blocks are reordered.
func Place(blocks []*Block, last, align int) (size int) {
	roundUp := func(n int) int { return (n + align - 1) / align * align }
	throughout := func(b *Block) bool { return b.First == 0 && b.Last == last }
	sort.SliceStable(blocks, func(i, j int) bool {
		a, b := blocks[i], blocks[j]
		switch {
		case throughout(a) != throughout(b):
			return throughout(a)
		case throughout(a):
			return a.ID < b.ID
		case a.Size != b.Size:
			return a.Size > b.Size
		case a.First != b.First:
			return a.First < b.First
		default:
			return a.ID < b.ID
		}
	})
	var placed []*Block // by offset
	for _, b := range blocks {
		if b.Size == 0 {
			continue
		}
		best, gap, end := -1, 0, 0
		for _, p := range placed {
			if p.Last < b.First || b.Last < p.First {
				continue
			}
			if room := p.Offset - end; room >= b.Size && (best < 0 || room < gap) {
				best, gap = end, room
			}
			end = max(end, roundUp(p.Offset+p.Size))
		}
		if best < 0 {
			best = end
		}
		b.Offset = best
		at := sort.Search(len(placed), func(i int) bool { return placed[i].Offset > best })
		placed = append(placed, nil)
		copy(placed[at+1:], placed[at:])
		placed[at] = b
		size = max(size, roundUp(best+b.Size))
	}
	return size
}
