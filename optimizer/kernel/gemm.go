package kernel

import (
	"unsafe"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Scratch holds the working memory of one goroutine. The zero value is ready; it grows to the largest call and stays.
type Scratch struct {
	panel     []float32 // of B, packed
	depthwise depthwiseScratch
}

// Gemm computes C = A·B, or C += A·B if accumulate is set, for an m×k matrix A and a k×n matrix B:
// A(i, p) = a[i·rsa + p·csa], B(p, j) = b[p·ldb + j], C(i, j) = c[i·ldc + j]. Either stride of A may be the small one, so that
// A transposed needs no copy; rows of B and C are contiguous.
func Gemm(s *Scratch, m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	if m <= 0 || n <= 0 {
		return
	}
	_ = c[(m-1)*ldc+n-1] // the assembly trusts these bounds
	if k <= 0 {
		if !accumulate {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	_ = a[(m-1)*rsa+(k-1)*csa]
	_ = b[(k-1)*ldb+n-1]
	if simd.Width == 0 {
		gemmPortable(m, n, k, a, rsa, csa, b, ldb, c, ldc, accumulate)
		return
	}
	g := gemm{s, m, n, k, a, rsa, csa, b, ldb, c, ldc, accumulate}
	g.run()
}

func gemmPortable(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if !accumulate {
			clear(row)
		}
		for p := range k {
			v := a[i*rsa+p*csa]
			for j, w := range b[p*ldb : p*ldb+n] {
				row[j] += v * w
			}
		}
	}
}

// gemm is a product cut into panels of columns and blocks of depth.
type gemm struct {
	s          *Scratch
	m, n, k    int
	a          []float32
	rsa, csa   int
	b          []float32
	ldb        int
	c          []float32
	ldc        int
	accumulate bool
}

// depth is about how many rows of B a tile runs over: a panel of 32 columns then takes 32 KB, which stays in the L1 cache while it
// is multiplied with every tile of rows of A. A product that is a little deeper is not cut.
const (
	depth    = 256
	maxDepth = 384
)

// callWork is the most multiply-adds one call of assembly does, by floats of a register.
const callWork = 64 << 10

// packs reports whether copying panels of B pays: where many tiles of rows read a panel whose rows lie far apart. Rows of 2 KB fall on
// so few sets of the caches that a panel is lost between tiles.
func (g *gemm) packs() bool {
	switch {
	case g.ldb >= 512:
		return g.m >= 24
	case g.ldb >= 128:
		return g.m >= 96
	}
	return false
}

func (g *gemm) run() {
	blocks := 1
	if g.k > maxDepth {
		blocks = (g.k + depth - 1) / depth
	}
	panel := simd.Panel()
	p := simd.GemmArgs{RSA: 4 * g.rsa, CSA: 4 * g.csa, LDC: 4 * g.ldc, Add: 1}
	pays := g.n > panel && g.packs()
	for block := range blocks {
		from, to := g.k*block/blocks, g.k*(block+1)/blocks
		p.K = to - from
		if p.Add = 1; block == 0 && !g.accumulate {
			p.Add = 0
		}
		for j := 0; j < g.n; j += panel {
			p.Cols = min(panel, g.n-j)
			if p.B, p.RSB = &g.b[from*g.ldb+j], 4*g.ldb; pays || p.Cols%simd.WholeRegisters != 0 {
				p.B, p.RSB = g.s.pack(g.b[from*g.ldb+j:], g.ldb, p.K, p.Cols), 4*panel
			}
			g.tiles(&p, from*g.csa, j)
		}
	}
}

// tiles multiplies all rows of A, from element a of each on, with a panel of B, and puts the product at column j of C.
func (g *gemm) tiles(p *simd.GemmArgs, a, j int) {
	most := simd.MaxRows(p.Cols)
	tiles := (g.m + most - 1) / most
	limit := max(callWork*simd.Width/(most*p.Cols*p.K), 1)
	for i := 0; tiles > 0; {
		p.Rows = (g.m - i + tiles - 1) / tiles // tiles of almost equal height, the higher ones first
		p.Tiles = min((g.m-i)-(p.Rows-1)*tiles, limit)
		p.A, p.C = &g.a[i*g.rsa+a], &g.c[i*g.ldc+j]
		i += p.Rows * p.Tiles
		tiles -= p.Tiles
		simd.Gemm(p)
	}
}

// pack copies cols columns of rows rows of B to rows of a panel.
func (s *Scratch) pack(b []float32, ldb, rows, cols int) *float32 {
	if len(s.panel) == 0 {
		s.panel = aligned(maxDepth * simd.Panel())
	}
	copyRuns(s.panel, b, cols, rows, simd.Panel(), ldb)
	return &s.panel[0]
}

// aligned allocates n floats at the start of a cache line.
func aligned(n int) []float32 {
	block := make([]float32, n+15)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(block))) % 64 / 4)
	return block[skip : skip+n : skip+n]
}

// Transpose writes the transpose of the rows×cols matrix src to dst.
func Transpose(dst, src []float32, rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	_, _ = dst[rows*cols-1], src[rows*cols-1]
	r, c := 0, 0
	if simd.Width > 0 {
		r, c = rows&^7, cols&^7
	}
	if r > 0 && c > 0 {
		step := max(strip/c&^7, 8)
		for i := 0; i < r; i += step {
			simd.Transpose(&dst[i], &src[i*cols], min(step, r-i), c, 4*rows, 4*cols)
		}
		transposePortable(dst, src, rows, cols, 0, r, c, cols)
		transposePortable(dst, src, rows, cols, r, rows, 0, cols)
		return
	}
	transposePortable(dst, src, rows, cols, 0, rows, 0, cols)
}

// transposePortable transposes rows top … bottom−1 and columns left … right−1, in blocks that fit the cache.
func transposePortable(dst, src []float32, rows, cols, top, bottom, left, right int) {
	const block = 16
	for i0 := top; i0 < bottom; i0 += block {
		for j0 := left; j0 < right; j0 += block {
			for i := i0; i < min(i0+block, bottom); i++ {
				for j := j0; j < min(j0+block, right); j++ {
					dst[j*rows+i] = src[i*cols+j]
				}
			}
		}
	}
}
