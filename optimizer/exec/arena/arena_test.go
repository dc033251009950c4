package arena

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestBlocksLieWhereLiteRTPutsThem(t *testing.T) {
	type b = Block
	for name, test := range map[string]struct {
		blocks []Block // by ID
		want   []int   // offsets
		size   int
	}{
		"none":                            {nil, nil, 0},
		"one, rounded up":                 {[]b{{Size: 5, First: 1, Last: 2}}, []int{0}, 8},
		"one that fits":                   {[]b{{Size: 8, First: 1, Last: 2}}, []int{0}, 8},
		"nothing takes no room":           {[]b{{Size: 0, First: 1, Last: 2}, {Size: 3, First: 1, Last: 2}}, []int{0, 0}, 4},
		"largest first":                   {[]b{{Size: 4, First: 1, Last: 2}, {Size: 12, First: 1, Last: 2}}, []int{12, 0}, 16},
		"what lives throughout is first":  {[]b{{Size: 12, First: 1, Last: 2}, {Size: 4, First: 0, Last: 9}}, []int{4, 0}, 16},
		"throughout, in order":            {[]b{{Size: 4, First: 0, Last: 9}, {Size: 12, First: 0, Last: 9}}, []int{0, 4}, 16},
		"from the first step alone":       {[]b{{Size: 4, First: 0, Last: 8}, {Size: 12, First: 1, Last: 9}}, []int{12, 0}, 16},
		"equal ones, the earlier first":   {[]b{{Size: 4, First: 3, Last: 4}, {Size: 4, First: 2, Last: 3}}, []int{4, 0}, 8},
		"alike, in order":                 {[]b{{Size: 4, First: 2, Last: 3}, {Size: 4, First: 2, Last: 3}}, []int{0, 4}, 8},
		"one after the other":             {[]b{{Size: 8, First: 1, Last: 2}, {Size: 8, First: 3, Last: 4}}, []int{0, 0}, 8},
		"both at one step":                {[]b{{Size: 8, First: 1, Last: 2}, {Size: 8, First: 2, Last: 4}}, []int{0, 8}, 16},
		"into the gap between":            {[]b{{Size: 40, First: 1, Last: 4}, {Size: 20, First: 1, Last: 2}, {Size: 16, First: 1, Last: 6}, {Size: 8, First: 4, Last: 6}}, []int{0, 40, 60, 40}, 76},
		"not into one too small":          {[]b{{Size: 40, First: 1, Last: 4}, {Size: 20, First: 1, Last: 2}, {Size: 16, First: 1, Last: 6}, {Size: 12, First: 4, Last: 6}, {Size: 12, First: 4, Last: 6}}, []int{0, 40, 60, 40, 76}, 88},
		"into one just large enough":      {[]b{{Size: 40, First: 1, Last: 4}, {Size: 20, First: 1, Last: 2}, {Size: 16, First: 1, Last: 6}, {Size: 12, First: 4, Last: 6}, {Size: 8, First: 4, Last: 6}}, []int{0, 40, 60, 40, 52}, 76},
		"into the tightest, the second":   {[]b{{Size: 40, First: 1, Last: 9}, {Size: 24, First: 1, Last: 1}, {Size: 20, First: 1, Last: 9}, {Size: 16, First: 1, Last: 1}, {Size: 12, First: 1, Last: 9}, {Size: 8, First: 5, Last: 5}}, []int{0, 40, 64, 84, 100, 84}, 112},
		"into the tightest, the first":    {[]b{{Size: 40, First: 1, Last: 9}, {Size: 24, First: 1, Last: 1}, {Size: 20, First: 1, Last: 9}, {Size: 16, First: 1, Last: 1}, {Size: 16, First: 1, Last: 1}, {Size: 12, First: 1, Last: 9}, {Size: 8, First: 5, Last: 5}}, []int{0, 40, 64, 84, 100, 116, 40}, 128},
		"into the tightest, at the start": {[]b{{Size: 20, First: 1, Last: 1}, {Size: 16, First: 1, Last: 9}, {Size: 12, First: 1, Last: 1}, {Size: 12, First: 1, Last: 1}, {Size: 8, First: 1, Last: 9}, {Size: 4, First: 5, Last: 5}}, []int{0, 20, 36, 48, 60, 0}, 68},
		"into the first of equal ones":    {[]b{{Size: 40, First: 1, Last: 9}, {Size: 24, First: 1, Last: 1}, {Size: 20, First: 1, Last: 9}, {Size: 12, First: 1, Last: 1}, {Size: 12, First: 1, Last: 1}, {Size: 8, First: 1, Last: 9}, {Size: 4, First: 5, Last: 5}}, []int{0, 40, 64, 84, 96, 108, 40}, 116},
	} {
		t.Run(name, func(t *testing.T) {
			blocks := make([]*Block, len(test.blocks))
			for i := range blocks {
				blocks[i] = &test.blocks[i]
				blocks[i].ID = i
			}
			size := Place(slices.Clone(blocks), 9, 4)
			var offsets []int
			for _, b := range blocks {
				offsets = append(offsets, b.Offset)
			}
			if diff := cmp.Diff(test.want, offsets); diff != "" || size != test.size {
				t.Errorf("in %d, want %d (-want +got):\n%s", size, test.size, diff)
			}
		})
	}
}

func TestSlicesAreTheBlocksMemory(t *testing.T) {
	memory := []float32{0, 1, 2, 3, 4, 5, 6, 7}
	b := &Block{Size: 3, Offset: 4}
	for n, want := range map[int][]float32{0: {}, 2: {4, 5}, 3: {4, 5, 6}, 9: {4, 5, 6}} {
		got := b.Slice(memory, n)
		if diff := cmp.Diff(want, got); diff != "" || cap(got) != 3 {
			t.Errorf("the first %d, room for %d (-want +got):\n%s", n, cap(got), diff)
		}
	}
	if (*Block)(nil).Slice(memory, 1) != nil || (&Block{Offset: 99}).Slice(memory, 1) != nil {
		t.Error("no block and an empty one have memory")
	}
}
