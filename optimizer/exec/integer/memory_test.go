package integer

import (
	"math/rand/v2"
	"testing"
)

func TestBlocksAliveTogetherDoNotOverlap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		const steps = 20
		var blocks []*block
		for i := range 1 + rng.IntN(30) {
			first := rng.IntN(steps)
			blocks = append(blocks, &block{tensor: i, size: rng.IntN(1000), first: first, last: first + rng.IntN(steps-first+1)})
		}
		size := place(blocks, steps)
		for i, a := range blocks {
			if a.offset%alignment != 0 || a.offset+a.size > size {
				t.Fatalf("block of %d bytes at %d in an arena of %d", a.size, a.offset, size)
			}
			for _, b := range blocks[:i] {
				together := a.first <= b.last && b.first <= a.last
				if together && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					t.Fatalf("%+v and %+v overlap", *a, *b)
				}
			}
		}
	}
}
