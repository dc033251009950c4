package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestInt8SumsAreTheProductsSums(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	codes := func(n int) []int8 {
		out := make([]int8, n)
		for i := range out {
			out[i] = int8(random.IntN(256) - 128)
		}
		return out
	}
	var s Int8Scratch
	for _, c := range []struct{ rows, n, k, ldx int }{{1, 1, 1, 1}, {1, 28, 7, 7}, {5, 40, 33, 33}, {12, 64, 96, 192}, {3, 17, 300, 301}} {
		w, x, bias := codes(c.n*c.k), codes(c.rows*c.ldx), make([]int32, c.n)
		for j := range bias {
			bias[j] = int32(random.IntN(1<<20) - 1<<19)
		}
		d := NewInt8Sums(w, c.k, bias)
		if d == nil {
			t.Skip("no kernels of int8 on this machine")
		}
		got, want := make([]int32, c.rows*c.n), make([]int32, c.rows*c.n)
		d.Run(&s, got, x, c.rows, c.ldx)
		for i := range c.rows {
			for j := range c.n {
				want[i*c.n+j] = bias[j]
				for p := range c.k {
					want[i*c.n+j] += int32(x[i*c.ldx+p]) * int32(w[j*c.k+p])
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", c, got[:min(5, len(got))], want[:min(5, len(want))])
		}
	}
}
