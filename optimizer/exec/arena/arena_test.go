package arena

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBlocksAliveTogetherDoNotOverlap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		const steps, alignment = 20, 16
		var blocks []*Block
		for i := range 1 + rng.IntN(30) {
			first := rng.IntN(steps)
			blocks = append(blocks, &Block{ID: i, Size: rng.IntN(1000), First: first, Last: first + rng.IntN(steps-first+1)})
		}
		live := make([]int, steps+1)
		for _, b := range blocks {
			for s := b.First; s <= b.Last; s++ {
				live[s] += (b.Size + alignment - 1) / alignment * alignment
			}
		}
		peak := slices.Max(live)
		size := Place(blocks, steps, alignment)
		if size < peak || size > 2*peak {
			t.Fatalf("placed in %d, the peak of live blocks is %d", size, peak)
		}
		for i, a := range blocks {
			if a.Offset%alignment != 0 || a.Offset+a.Size > size {
				t.Fatalf("block of %d at %d in an arena of %d", a.Size, a.Offset, size)
			}
			for _, b := range blocks[:i] {
				together := a.First <= b.Last && b.First <= a.Last
				if a.Size > 0 && b.Size > 0 && together && a.Offset < b.Offset+b.Size && b.Offset < a.Offset+a.Size {
					t.Fatalf("%+v and %+v overlap", *a, *b)
				}
			}
		}
	}
}
