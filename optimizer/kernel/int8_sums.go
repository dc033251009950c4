package kernel

import "espalier.dev/espalier/optimizer/kernel/internal/simd"

// Int8Sums is a matrix product of int8 inputs and weights whose sums are wanted as they are. It is immutable.
type Int8Sums struct {
	dense  *Int8Dense
	offset []int32 // of each output, what flipped bits add taken off
}

// NewInt8Sums packs weights [n, k], n being len(bias); nil where there are no kernels of int8 to compute it with.
func NewInt8Sums(weights []int8, k int, bias []int32) *Int8Sums {
	d := newDense(weights, len(bias), k, 0)
	if d.packed == nil {
		return nil
	}
	out := &Int8Sums{dense: d, offset: make([]int32, len(bias))}
	for j, sum := range d.outputSums().sums {
		out.offset[j] = bias[j] - sum*int32(simd.IntXor)
	}
	return out
}

// Run computes sums [rows, n], that of output j of a row being bias[j] + Σ x·w, from rows of x, which start ldx apart.
func (d *Int8Sums) Run(s *Int8Scratch, sums []int32, x []int8, rows, ldx int) {
	n := d.dense.n
	if rows <= 0 || n == 0 {
		return
	}
	d.dense.runPacked(s, results{sums: sums[:rows*n]}, x, rows, ldx)
	for i := range rows {
		for j, offset := range d.offset {
			sums[i*n+j] += offset
		}
	}
}
