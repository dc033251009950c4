package kernel

import (
	"math"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Requant says how int32 sums of products become int8 codes, as in TensorFlow Lite's reference kernels: code =
// clamp(Zero + (sum + Bias)·Multiplier·2^(Shift−31), Min, Max), rounded twice (MultiplyByQuantized); or as those of FULLY_CONNECTED
// with a real multiplier, rounded once.
type Requant struct {
	Bias       []int32   // by output
	Multiplier []int32   // by output: fixed point in [2³⁰, 2³¹), or 0
	Shift      []int32   // by output: exponent; positive shifts left, at most 30; at least −31
	Real       []float64 // by output, in place of Multiplier and Shift if not nil: code = clamp(Zero + round((sum + Bias)·Real))
	InputZero  int32     // zero point of the inputs
	WeightZero int32     // zero point of the weights, within [−128, 127]: 0 but in files that were uint8
	Zero       int32     // zero point of the codes
	Min, Max   int32     // of the activation, within [−128, 127]
}

// MultiplyByQuantized returns x·multiplier·2^(shift−31) rounded twice, as TensorFlow Lite's MultiplyByQuantizedMultiplier without
// TFLITE_SINGLE_ROUNDING: first the high half of the doubled product (halves up), then the division by a power of two (halves away
// from zero). The shift to the left wraps.
func MultiplyByQuantized(x, multiplier, shift int32) int32 {
	left, right := max(shift, 0), max(-shift, 0)
	x <<= left
	high := int32((int64(x)*int64(multiplier) + 1<<30) >> 31)
	mask := int32(1)<<right - 1
	remainder, threshold := high&mask, mask>>1
	if high < 0 {
		threshold++
	}
	high >>= right
	if remainder > threshold {
		high++
	}
	return high
}

// requantizer is a Requant ready to run, zero point of the inputs folded into the bias.
type requantizer struct {
	Requant
	table    []int32 // see simd.RequantArgs
	fast     []int32 // see simd.RequantFastArgs; nil if sums may be beyond it
	min, max uint64  // repeated in every byte
}

// outputSums are what the weights of each output add up to.
type outputSums struct {
	sums, sizes []int32 // Σw, Σ|w|
}

func newOutputSums(n int) outputSums { return outputSums{make([]int32, n), make([]int32, n)} }

// add adds a weight without its zero point.
func (s *outputSums) add(output int, w int32) {
	s.sums[output] += w
	s.sizes[output] += max(w, -w)
}

// newLayerRequantizer is for sums of products of weights with inputs, offset being what every input has too much: −offset·Σw is
// folded into the bias.
func newLayerRequantizer(q Requant, w outputSums, offset int32) requantizer {
	r := newRequantizer(q, w.sums, offset)
	if simd.FastRequant && simd.IntLanes > 0 {
		r.fast = fastTable(q, r.Bias, w.sizes)
	}
	return r
}

func newRequantizer(q Requant, sums []int32, offset int32) requantizer {
	n := len(q.Bias)
	if q.Real == nil {
		q.Multiplier, q.Shift = q.Multiplier[:n:n], q.Shift[:n:n]
	} else {
		q.Real = q.Real[:n:n]
	}
	bias := make([]int32, n)
	for j, b := range q.Bias {
		bias[j] = b - offset*sums[j]
	}
	r := requantizer{Requant: q, min: repeatByte(q.Min), max: repeatByte(q.Max)}
	r.Bias = bias
	lanes := simd.IntLanes
	for at := 0; lanes > 0 && at < n; at += lanes {
		block := make([]int32, r.tableRows()*lanes)
		for lane := range min(lanes, n-at) {
			r.column(block, lane, at+lane)
		}
		r.table = append(r.table, block...)
	}
	return r
}

// tableRows is the number of rows of the table for a block of columns.
func (r *requantizer) tableRows() int {
	if r.Real != nil {
		return 4
	}
	return simd.RequantRows
}

// column writes what assembly wants to know of an output.
func (r *requantizer) column(block []int32, lane, j int) {
	lanes := simd.IntLanes
	block[lane] = r.Bias[j]
	if r.Real != nil {
		bits := math.Float64bits(r.Real[j])
		block[lanes+lane] = r.Zero
		block[2*lanes+2*lane], block[2*lanes+2*lane+1] = int32(uint32(bits)), int32(uint32(bits>>32))
		return
	}
	shift := int(r.Shift[j])
	right := max(-shift, 0)
	block[lanes+lane] = r.Multiplier[j]
	if simd.NEON {
		block[2*lanes+lane] = int32(max(shift, 0))
		block[3*lanes+lane] = -int32(right)
		block[4*lanes+lane] = r.Zero
		return
	}
	if lane%2 == 1 {
		block[2*lanes+lane-1] = r.Multiplier[j]
	}
	block[3*lanes+lane] = int32(max(shift, 0))
	add, negative := uint64(1<<30+1<<63), int64(0)
	if right > 0 {
		add += 1 << (30 + right)
		negative = -1 << 31
	}
	wide := func(row int, v uint64) { // even columns in one row of 64-bit numbers, odd ones in the next
		at := (row+lane%2)*lanes + lane/2*2
		block[at], block[at+1] = int32(uint32(v)), int32(uint32(v>>32))
	}
	wide(4, add)
	wide(6, uint64(negative))
	wide(8, uint64(31+right))
	block[10*lanes+lane] = r.Zero - int32(uint32(uint64(1)<<(32-right)))
}

func repeatByte(v int32) uint64 { return uint64(uint8(v)) * 0x0101010101010101 }

// run writes the results of rows×n sums to y. Rows of sums start accStep apart, a multiple of simd.IntLanes.
func (r *requantizer) run(s *Int8Scratch, y results, dstStep int, acc []int32, accStep, rows, at, n int) {
	if rows <= 0 || n <= 0 {
		return
	}
	if y.sums != nil {
		for i := range rows {
			copy(y.sums[i*dstStep:][:n], acc[i*accStep:])
		}
		return
	}
	dst := y.codes
	_, _ = dst[(rows-1)*dstStep+n-1], acc[(rows-1)*accStep+n-1]
	if r.fast != nil {
		r.runFast(s, dst, dstStep, acc, accStep, rows, at, n)
		return
	}
	r.runExact(dst, dstStep, acc, accStep, rows, at, n)
}

// runExact computes every code as its definition says.
func (r *requantizer) runExact(dst []int8, dstStep int, acc []int32, accStep, rows, at, n int) {
	if simd.IntLanes > 0 {
		p := simd.RequantArgs{
			Dst: &dst[0], Acc: &acc[0], Table: &r.table[at*r.tableRows()], Rows: rows, Cols: n, AccStep: 4 * accStep, DstStep: dstStep, Min: r.min, Max: r.max,
		}
		if r.Real != nil {
			simd.RequantizeReal(&p)
		} else {
			simd.Requantize(&p)
		}
		return
	}
	for i := range rows {
		for j := range n {
			dst[i*dstStep+j] = r.code(acc[i*accStep+j], at+j)
		}
	}
}

// code is the code of a sum of an output.
func (r *requantizer) code(sum int32, output int) int8 {
	sum += r.Bias[output]
	v := int32(0)
	if r.Real != nil {
		v = int32(min(max(math.Round(float64(sum)*r.Real[output]), -1<<24), 1<<24))
	} else {
		v = MultiplyByQuantized(sum, r.Multiplier[output], r.Shift[output])
	}
	return int8(min(max(v+r.Zero, r.Min), r.Max))
}
