package kernel

import (
	"math"
	"math/bits"
	"unsafe"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Both roundings of MultiplyByQuantized can be one: with a = sum·Multiplier/2³¹ and s = −Shift ≥ 1, the division by 2ˢ, halves away
// from zero, of a, halves up, is ⌊a/2ˢ + ½ ± 2⁻ˢ⁻¹⌋, plus for sums from 0 on and minus for those below. So one multiply-add in
// float32 gives the code, unless it lands closer to a border between codes than its own rounding errors reach. That is noticed, and
// such codes, one of some thousands, are computed again by the definition. In units of 2⁻¹⁶ of a code, errors add up to
// less than doubt for all codes that do not saturate: of the multiplier and of sums beyond 2²⁴ 1½ each, of what is added ½, of the
// multiply-add 1, of its conversion ½.
const (
	unit  = 1 << 16
	doubt = 8
	// fastReach bounds products, so that they stay in 16 bits.
	fastReach = 32000
)

// fastTable is the table of simd.RequantFastArgs; nil if the sums of products of weights of such sizes with inputs may be too large.
func fastTable(q Requant, bias, sizes []int32) []int32 {
	lanes := simd.IntLanes
	table := make([]int32, (len(bias)+lanes-1)/lanes*lanes*4)
	put := func(j, row int, v float64) {
		table[(j/lanes*4+row)*lanes+j%lanes] = int32(math.Float32bits(float32(v)))
	}
	for j := range len(table) / 4 {
		multiplier, sign, zero := 0.0, 0.0, 0.0
		if j < len(bias) {
			table[j/lanes*4*lanes+j%lanes] = bias[j]
			zero = float64(q.Zero)
			switch {
			case q.Real != nil:
				multiplier = q.Real[j]
			case q.Shift[j] > -1 && q.Multiplier[j] != 0:
				return nil
			default:
				multiplier = math.Ldexp(float64(q.Multiplier[j]), int(q.Shift[j])-31)
				sign = math.Ldexp(1, int(q.Shift[j])-1)
			}
			if reach := 255*float64(sizes[j]) + math.Abs(float64(q.Bias[j])); !(reach*multiplier < fastReach) || multiplier < 0 {
				return nil
			}
		}
		put(j, 1, multiplier*unit)
		put(j, 2, (zero+0.5+sign)*unit+doubt)
		put(j, 3, (zero+0.5-sign)*unit+doubt)
	}
	return table
}

// fastPack are the permutations by which assembly packs four registers of sums into one of codes: of 16-bit words, and of 64-bit
// words; with AVX2 of 32-bit words.
var fastPack16, fastPack8 = func() (wide struct {
	words [32]uint16
	quads [8]uint64
}, narrow [8]uint32) {
	for i := range wide.words {
		wide.words[i] = uint16(2*i + 1)
	}
	wide.quads = [8]uint64{0, 2, 4, 6, 1, 3, 5, 7}
	return wide, [8]uint32{0, 4, 1, 5, 2, 6, 3, 7}
}()

// runFast is runExact by the multiply-add, where shapes allow it.
func (r *requantizer) runFast(s *Int8Scratch, dst []int8, dstStep int, acc []int32, accStep, rows, at, n int) {
	lanes := simd.IntLanes
	wide, tall := n/(4*lanes)*4*lanes, 0
	if rows >= 4 {
		tall = n - wide
		if lanes == 8 { // without masks
			tall = tall / lanes * lanes
		}
	}
	if most := rows * (n/lanes + 1); len(s.doubts) < most {
		s.doubts = make([]simd.Doubt, most)
	}
	p := simd.RequantFastArgs{Rows: rows, AccStep: 4 * accStep, DstStep: dstStep, Min: r.min, Max: r.max, Pack: unsafe.Pointer(&fastPack16)}
	if lanes == 8 {
		p.Pack = unsafe.Pointer(&fastPack8)
	}
	if wide > 0 {
		p.Dst, p.Acc, p.Table, p.Cols, p.Doubts = &dst[0], &acc[0], &r.fast[at*4], wide, &s.doubts[0]
		simd.RequantizeWide(&p)
		for _, d := range s.doubtsUpTo(p.Doubts) {
			row, col := rows-int(d.Rows), wide-int(d.Cols)
			for i, mask := range d.Masks {
				r.settle(mask, dst[row*dstStep:], acc[row*accStep:], col+i*lanes, at)
			}
		}
	}
	if tall > 0 {
		p.Dst, p.Acc, p.Table, p.Cols, p.Doubts = &dst[wide], &acc[wide], &r.fast[(at+wide)*4], tall, &s.doubts[0]
		simd.RequantizeTall(&p)
		for _, d := range s.doubtsUpTo(p.Doubts) {
			row, col := rows-max(int(d.Rows), 4), wide+tall-int(d.Cols)
			for i, mask := range d.Masks {
				r.settle(mask, dst[(row+i)*dstStep:], acc[(row+i)*accStep:], col, at)
			}
		}
	}
	if rest := wide + tall; rest < n {
		r.runExact(dst[rest:], dstStep, acc[rest:], accStep, rows, at+rest, n-rest)
	}
}

// doubtsUpTo are the doubts before one.
func (s *Int8Scratch) doubtsUpTo(end *simd.Doubt) []simd.Doubt {
	return s.doubts[:(uintptr(unsafe.Pointer(end))-uintptr(unsafe.Pointer(&s.doubts[0])))/unsafe.Sizeof(*end)]
}

// settle computes the codes of a row that a mask selects from column col on; output at belongs to column 0.
func (r *requantizer) settle(mask uint16, dst []int8, acc []int32, col, at int) {
	for ; mask != 0; mask &= mask - 1 {
		j := col + bits.TrailingZeros16(mask)
		dst[j] = r.code(acc[j], at+j)
	}
}
