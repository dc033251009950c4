package kernel

import (
	"fmt"
	"math"
	"testing"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// compareGemm multiplies random matrices in the class in use and in portable Go. wild puts NaN, infinities and denormals in.
func compareGemm(t *testing.T, seed uint64, m, n, k, gapA, gapB, gapC int, transposed, accumulate, wild bool) {
	mem := newMemory(t, seed)
	rsa, csa := k+gapA, 1
	if transposed {
		rsa, csa = 1, m+gapA
	}
	ldb, ldc := n+gapB, n+gapC
	a, b, c := mem.floats((m-1)*rsa+(k-1)*csa+1), mem.floats((k-1)*ldb+n), mem.floats((m-1)*ldc+n)
	if wild {
		for _, x := range [][]float32{a, b, c} {
			x[mem.rng.IntN(len(x))] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e-42, 0}[mem.rng.IntN(5)]
		}
	}
	want := mem.copied(c)
	var s Scratch
	Gemm(&s, m, n, k, a, rsa, csa, b, ldb, c, ldc, accumulate)
	gemmPortable(m, n, k, a, rsa, csa, b, ldb, want, ldc, accumulate)
	near(t, fmt.Sprintf("%d×%d×%d, strides %d %d %d %d, accumulate %v", m, n, k, rsa, csa, ldb, ldc, accumulate), c, want, k)
}

func TestGemmAgreesWithPortable(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		rng := newMemory(t, 1).rng
		for i := range 300 {
			m, n, k := 1+rng.IntN(70), 1+rng.IntN(90), 1+rng.IntN(40)
			if i%8 == 0 {
				k, n = 200+rng.IntN(700), 1+rng.IntN(300)
			}
			compareGemm(t, uint64(i), m, n, k, rng.IntN(5), rng.IntN(150), rng.IntN(5), rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0)
		}
	})
}

func TestGemmOfNothingClearsOrKeeps(t *testing.T) {
	c := []float32{1, 2, 3, 4}
	var s Scratch
	Gemm(&s, 2, 1, 0, nil, 0, 0, nil, 0, c, 2, true)
	equal(t, "kept", c, []float32{1, 2, 3, 4})
	Gemm(&s, 2, 1, 0, nil, 0, 0, nil, 0, c, 2, false)
	equal(t, "cleared", c, []float32{0, 2, 0, 4})
	Gemm(&s, 0, 1, 1, nil, 1, 1, []float32{1}, 1, c, 2, false)
	Gemm(&s, 1, 0, 1, []float32{1}, 1, 1, nil, 1, c, 2, false)
	equal(t, "of no rows or columns", c, []float32{0, 2, 0, 4})
}

// Panels of B are copied where enough tiles of rows read one whose rows lie far apart.
func TestGemmPacksWhereItPays(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		if simd.Width == 0 {
			return
		}
		panel := simd.Panel()
		for _, c := range []struct {
			m, n, ldb int
			packs     bool
		}{
			{24, 2 * panel, 512, true}, {23, 2 * panel, 512, false}, {24, panel, 512, false}, {24, 2 * panel, 511, false},
			{96, 2 * panel, 128, true}, {95, 2 * panel, 128, false}, {96, 2 * panel, 127, false},
		} {
			if c.n > c.ldb {
				continue
			}
			var s Scratch
			a, b, y := make([]float32, c.m*4), make([]float32, 4*c.ldb), make([]float32, c.m*c.n)
			Gemm(&s, c.m, c.n, 4, a, 4, 1, b, c.ldb, y, c.n, false)
			if got := len(s.panel) > 0; got != c.packs {
				t.Errorf("%d rows by %d columns that lie %d apart: packed %v", c.m, c.n, c.ldb, got)
			}
		}
	})
}

func TestGemmAllocatesNothingOnceItHasRun(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		var s Scratch
		a, b, c := make([]float32, 100*300), make([]float32, 300*200), make([]float32, 100*200)
		run := func() { Gemm(&s, 100, 200, 300, a, 300, 1, b, 200, c, 200, false) }
		run()
		if n := testing.AllocsPerRun(5, run); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestTransposeOfAnySize(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 2)
		for i := range 100 {
			rows, cols := mem.rng.IntN(50), mem.rng.IntN(50)
			if i == 0 {
				rows, cols = 203, 131 // more than one call of assembly takes
			}
			src, dst := mem.floats(rows*cols), mem.floats(rows*cols)
			Transpose(dst, src, rows, cols)
			for i := range rows {
				for j := range cols {
					if dst[j*rows+i] != src[i*cols+j] {
						t.Fatalf("%d×%d: element (%d, %d) is wrong", rows, cols, i, j)
					}
				}
			}
		}
	})
}

func FuzzGemm(f *testing.F) {
	f.Add(uint64(1), uint8(12), uint8(32), uint16(16), uint8(0), uint8(0))
	f.Add(uint64(2), uint8(13), uint8(33), uint16(500), uint8(7), uint8(0x5A))
	f.Fuzz(func(t *testing.T, seed uint64, m, n uint8, k uint16, flags, gaps uint8) {
		inEveryClass(t, func(t *testing.T) {
			compareGemm(t, seed, int(m)%100+1, int(n)+1, int(k)%800+1, int(gaps&3), int(gaps>>2&15)*16, int(gaps>>6), flags&1 != 0, flags&2 != 0, flags&4 != 0)
		})
	})
}
