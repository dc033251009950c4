package kernel

import (
	"encoding/binary"
	"unsafe"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Int8Scratch holds the working memory of one goroutine for layers of int8. The zero value is ready; it grows to the largest layer
// and stays.
type Int8Scratch struct {
	rows   []byte // inputs as assembly wants them
	image  []byte // of a convolution, with its padding
	groups []byte // of neighbouring pixels, of a depthwise convolution
	sums   []int32
	doubts []simd.Doubt
	owner  any        // layer whose padding image holds
	halves []byte     // of int16 inputs: see Int16Dense
	wide   [2][]int32 // their sums
}

// results is where a layer's results go: codes, or the sums themselves as they come.
type results struct {
	codes []int8
	sums  []int32
}

// from is what begins at result i.
func (y results) from(i int) results {
	if y.sums != nil {
		return results{sums: y.sums[i:]}
	}
	return results{codes: y.codes[i:]}
}

// grow returns a buffer of n elements at the start of a cache line, b itself if it is long enough.
func grow[T byte | int32](b []T, n int) []T {
	if len(b) >= n {
		return b
	}
	size := int(unsafe.Sizeof(b[0]))
	block := make([]T, n+63/size)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(block)))%64) / size
	return block[skip : skip+n : skip+n]
}

// Int8Dense is a matrix product of int8 inputs and weights, requantized: FULLY_CONNECTED, and CONV_2D of 1×1. It is immutable.
type Int8Dense struct {
	n, k    int
	weights []int8 // [n, k], as given
	zero    int32  // of the weights
	packed  []byte // panels of outputs: [steps][outputs][taps]
	steps   int
	requant requantizer
}

// NewInt8Dense packs weights [n, k], n being len(q.Bias); it keeps a reference to them.
func NewInt8Dense(weights []int8, k int, q Requant) *Int8Dense {
	d := newDense(weights, len(q.Bias), k, q.WeightZero)
	d.requant = newLayerRequantizer(q, d.outputSums(), q.InputZero+int32(simd.IntXor))
	return d
}

// newDense packs weights [n, k] with a zero point.
func newDense(weights []int8, n, k int, zero int32) *Int8Dense {
	d := &Int8Dense{n: n, k: k, weights: weights[:n*k], zero: zero}
	d.pack()
	return d
}

func (d *Int8Dense) outputSums() outputSums {
	sums := newOutputSums(d.n)
	for j := range d.n {
		for _, v := range d.weights[j*d.k : (j+1)*d.k] {
			sums.add(j, int32(v)-d.zero)
		}
	}
	return sums
}

// outputs is the number of outputs with those that fill the last register. Where weights have a zero point, output n is the sum of the
// inputs, which finish takes from the others.
func (d *Int8Dense) outputs() int {
	n := d.n
	if d.zero != 0 {
		n++
	}
	return (n + simd.IntLanes - 1) / simd.IntLanes * simd.IntLanes
}

// panel is the number of outputs of the panel at output j.
func (d *Int8Dense) panel(j int) int { return min(2*simd.IntLanes, d.outputs()-j) }

func (d *Int8Dense) pack() {
	if simd.IntLanes == 0 || d.n == 0 || d.k == 0 {
		return
	}
	round := simd.DenseTaps * simd.IntSteps
	d.steps = (d.k + round - 1) / round * simd.IntSteps
	d.packed = grow(d.packed, d.outputs()*d.steps*simd.DenseTaps*simd.IntSize)
	for j := range d.n {
		d.packOutput(j, d.weights[j*d.k:(j+1)*d.k])
	}
	if d.zero != 0 {
		ones := make([]int8, d.k)
		for p := range ones {
			ones[p] = 1
		}
		d.packOutput(d.n, ones)
	}
}

// packOutput packs the weights of an output.
func (d *Int8Dense) packOutput(j int, weights []int8) {
	first := j / (2 * simd.IntLanes) * 2 * simd.IntLanes
	panel := d.panel(first)
	for p, v := range weights {
		step, tap := p/simd.DenseTaps, p%simd.DenseTaps
		putInt(d.packed, (first*d.steps+step*panel+j-first)*simd.DenseTaps+tap, v)
	}
}

// putInt writes v as element i of a buffer of simd.IntSize bytes an element.
func putInt(b []byte, i int, v int8) {
	if simd.IntSize == 1 {
		b[i] = byte(v)
		return
	}
	binary.LittleEndian.PutUint16(b[2*i:], uint16(int16(v)))
}

// rowBytes is the size of a row of inputs as assembly wants them. Widening writes up to 15 elements too many.
func (d *Int8Dense) rowBytes() int {
	if simd.IntSize == 1 {
		return d.steps * simd.DenseTaps
	}
	return 2 * (d.steps*simd.DenseTaps + 16)
}

// chunk is how many rows are multiplied at a time, so that inputs and sums stay in the L1 cache.
func (d *Int8Dense) chunk() int {
	tile := simd.MaxIntRows(d.panel(0) / simd.IntLanes)
	return max(min(4<<10/d.outputs(), 16<<10/d.rowBytes())/tile, 1) * tile
}

// Run computes rows of y [rows, n] from rows of x, which start ldx apart.
func (d *Int8Dense) Run(s *Int8Scratch, y, x []int8, rows, ldx int) {
	if rows <= 0 || d.n == 0 {
		return
	}
	_ = y[rows*d.n-1]
	if d.k > 0 {
		_ = x[(rows-1)*ldx+d.k-1]
	}
	if d.packed == nil {
		d.runPortable(y, x, rows, ldx)
		return
	}
	d.runPacked(s, results{codes: y}, x, rows, ldx)
}

// runPacked is Run by assembly.
func (d *Int8Dense) runPacked(s *Int8Scratch, y results, x []int8, rows, ldx int) {
	chunk := d.chunk()
	for at := 0; at < rows; at += chunk {
		n := min(chunk, rows-at)
		s.rows = grow(s.rows, n*d.rowBytes()+64)
		loadRuns(s.rows, x[at*ldx:], d.k, n, d.rowBytes(), ldx, simd.IntXor)
		d.multiply(s, y.from(at*d.n), n)
	}
}

// loadRuns copies runs of n inputs as assembly wants them. Without 16-bit elements it may be told to flip bits.
func loadRuns(dst []byte, src []int8, n, count, dstStep, srcStep, xor int) {
	if simd.IntSize == 1 {
		simd.CopyRuns(&simd.RunsArgs{
			Dst: unsafe.Pointer(&dst[0]), Src: unsafe.Pointer(&src[0]), N: n, Count: count, Rows: 1, DstStep: dstStep, SrcStep: srcStep, Xor: repeatByte(int32(xor)),
		})
		return
	}
	whole := count
	for whole > 0 && (whole-1)*srcStep+(n+15)&^15 > len(src) { // widening reads whole registers
		whole--
	}
	if whole > 0 {
		simd.Widen((*int16)(unsafe.Pointer(&dst[0])), &src[0], n, whole, dstStep, srcStep)
	}
	for i := whole; i < count; i++ {
		for p, v := range src[i*srcStep : i*srcStep+n] {
			putInt(dst[i*dstStep:], p, v)
		}
	}
}

// multiply computes n rows of y from s.rows.
func (d *Int8Dense) multiply(s *Int8Scratch, y results, n int) {
	outputs, size := d.outputs(), d.rowBytes()
	s.sums = grow(s.sums, n*outputs)
	p := simd.Int8Args{LDA: size, LDC: 4 * outputs, Steps: d.steps, Segments: 1}
	var groups [2]tiling
	for j := 0; j < outputs; j += 2 * simd.IntLanes {
		if registers := min(outputs-j, 2*simd.IntLanes) / simd.IntLanes; registers != p.Registers {
			p.Registers = registers
			groups = tilings(n, simd.MaxIntRows(registers))
		}
		p.B = unsafe.Pointer(&d.packed[j*d.steps*simd.DenseTaps*simd.IntSize])
		for i := range groups {
			if g := &groups[i]; g.tiles > 0 {
				p.Rows, p.Tiles = g.rows, g.tiles
				p.A, p.C = unsafe.Pointer(&s.rows[g.first*size]), &s.sums[g.first*outputs+j]
				simd.GemmInt8(&p)
			}
		}
	}
	d.finish(s, y, n)
}

// finish turns the sums of n rows into results.
func (d *Int8Dense) finish(s *Int8Scratch, y results, n int) {
	outputs := d.outputs()
	if d.zero != 0 {
		for i := range n {
			row := s.sums[i*outputs:][:d.n+1]
			subtract(row[:d.n], d.zero*row[d.n])
		}
	}
	d.requant.run(s, y, d.n, s.sums, outputs, n, 0, d.n)
}

// subtract subtracts v from every sum.
func subtract(sums []int32, v int32) {
	for ; len(sums) >= 8; sums = sums[8:] {
		sums[0] -= v
		sums[1] -= v
		sums[2] -= v
		sums[3] -= v
		sums[4] -= v
		sums[5] -= v
		sums[6] -= v
		sums[7] -= v
	}
	for i := range sums {
		sums[i] -= v
	}
}

// tiling is a number of tiles of as many rows, from a row on.
type tiling struct{ first, rows, tiles int }

// tilings divides n rows among as few tiles of at most so many rows as evenly as can be: some of one row more than the others.
func tilings(n, most int) [2]tiling {
	tiles := (n + most - 1) / most
	rows := (n + tiles - 1) / tiles
	more := n - (rows-1)*tiles
	return [2]tiling{{0, rows, more}, {rows * more, rows - 1, tiles - more}}
}

func (d *Int8Dense) runPortable(y, x []int8, rows, ldx int) {
	for i := range rows {
		in := x[i*ldx : i*ldx+d.k]
		for j := range d.n {
			w := d.weights[j*d.k : (j+1)*d.k]
			sum := int32(0)
			for p, v := range in {
				sum += int32(v) * (int32(w[p]) - d.zero)
			}
			y[i*d.n+j] = d.requant.code(sum, j)
		}
	}
}
