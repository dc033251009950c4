package integer_test

import (
	"bytes"
	"fmt"
	"testing"
)

func TestThreadsGiveTheSameBytes(t *testing.T) {
	m := dsCNNL()
	for _, batch := range []int{1, 3} {
		alone, together := compile(t, m, batch), compile(t, m, batch)
		for _, threads := range []int{2, 3, 7, 1} {
			together.SetThreads(threads)
			for range 20 {
				x := randomCodes(newBuilder().rng, batch*490)
				want := bytes.Clone(run(t, alone, x))
				if !bytes.Equal(want, run(t, together, x)) {
					t.Fatalf("%d threads, batch %d: other bytes than one thread", threads, batch)
				}
			}
		}
		together.Close()
	}
}

func TestThreadsAllocateNothing(t *testing.T) {
	e := compile(t, dsCNNL(), 1)
	e.SetThreads(2)
	defer e.Close()
	step := func() {
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		step()
	}
	if n := testing.AllocsPerRun(20, step); n > 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// BenchmarkThreads measures one sample of DS-CNN-L in int8 on several threads.
func BenchmarkThreads(b *testing.B) {
	for _, threads := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(threads), func(b *testing.B) {
			e := compile(b, dsCNNL(), 1)
			e.SetThreads(threads)
			defer e.Close()
			for b.Loop() {
				run(b, e)
			}
		})
	}
}
