package kernel

import (
	"math"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Range is what values lay between. Start from EmptyRange.
type Range struct{ Min, Max float32 }

// EmptyRange is the range of no values.
func EmptyRange() Range { return Range{float32(math.Inf(1)), float32(math.Inf(-1))} }

// lanes returns a register of minima and one of maxima.
func (r Range) lanes() (l [32]float32) {
	for i := range simd.Width {
		l[i], l[simd.Width+i] = r.Min, r.Max
	}
	return l
}

// union widens the range by lanes.
func (r Range) union(l *[32]float32) Range {
	r.Min = minMaxPortable(r, l[:simd.Width]).Min
	r.Max = minMaxPortable(r, l[simd.Width:2*simd.Width]).Max
	return r
}

// MinMax returns the range of x, widened by what r holds already. NaN is ignored.
func MinMax(r Range, x []float32) Range {
	lanes := r.lanes()
	at := 0
	for n := whole(len(x)); at < n; {
		step := min(strip, n-at)
		simd.MinMax(&lanes[0], &x[at], step)
		at += step
	}
	if at > 0 {
		r = r.union(&lanes)
	}
	return minMaxPortable(r, x[at:])
}

func minMaxPortable(r Range, x []float32) Range {
	for _, v := range x {
		if v < r.Min {
			r.Min = v
		}
		if v > r.Max {
			r.Max = v
		}
	}
	return r
}

// sumRowsPortable adds the sum over rows of len(sum) values each to sum. x begins at a column.
func sumRowsPortable(sum, x []float32, column int) {
	for _, v := range x {
		sum[column] += v
		if column++; column == len(sum) {
			column = 0
		}
	}
}

// SumSquares returns Σx² in float64.
func SumSquares(x []float32) float64 {
	var lanes [16]float64
	at := 0
	for n := whole(len(x)); at < n; {
		step := min(strip, n-at)
		simd.SumSquares(&lanes[0], &x[at], step)
		at += step
	}
	sum := 0.0
	for _, v := range lanes[:] {
		sum += v
	}
	for _, v := range x[at:] {
		sum += float64(float64(v) * float64(v))
	}
	return sum
}

// Axpy adds alpha·x to y.
func Axpy(y []float32, alpha float32, x []float32) {
	y = y[:len(x)]
	for len(x) > 0 {
		n := min(strip, len(x))
		wholes := whole(n)
		if wholes > 0 {
			simd.Axpy(&y[0], &x[0], wholes, &alpha)
		}
		axpyPortable(y[wholes:n], alpha, x[wholes:n])
		y, x = y[n:], x[n:]
	}
}

func axpyPortable(y []float32, alpha float32, x []float32) {
	for i, v := range x {
		y[i] += alpha * v
	}
}

// MulAdd adds a·b, element by element, to y.
func MulAdd(y, a, b []float32) {
	y, b = y[:len(a)], b[:len(a)]
	for len(a) > 0 {
		n := min(strip, len(a))
		wholes := whole(n)
		if wholes > 0 {
			simd.MulAdd(&y[0], &a[0], &b[0], wholes)
		}
		mulAddPortable(y[wholes:n], a[wholes:n], b[wholes:n])
		y, a, b = y[n:], a[n:], b[n:]
	}
}

func mulAddPortable(y, a, b []float32) {
	for i, v := range a {
		y[i] += v * b[i]
	}
}

// Scale multiplies x by alpha.
func Scale(x []float32, alpha float32) {
	for len(x) > 0 {
		n := min(strip, len(x))
		wholes := whole(n)
		if wholes > 0 {
			simd.Scale(&x[0], wholes, &alpha)
		}
		scalePortable(x[wholes:n], alpha)
		x = x[n:]
	}
}

func scalePortable(x []float32, alpha float32) {
	for i := range x {
		x[i] *= alpha
	}
}

// AssignCodes writes to dst the number of boundaries at or below each x: the index of the nearest of len(boundaries)+1 sorted
// centroids when the boundaries are their midpoints. At most 255 boundaries.
func AssignCodes(dst []uint8, x, boundaries []float32) {
	dst = dst[:len(x)]
	at := 0
	if len(boundaries) > 0 {
		limit := max(strip/len(boundaries)&^15, 16)
		for n := whole(len(x)); at < n; {
			step := min(limit, n-at)
			simd.Assign(&dst[at], &x[at], step, &boundaries[0], len(boundaries))
			at += step
		}
	}
	assignCodesPortable(dst[at:], x[at:], boundaries)
}

func assignCodesPortable(dst []uint8, x, boundaries []float32) {
	for i, v := range x {
		n := uint8(0)
		for _, b := range boundaries {
			if b <= v {
				n++
			}
		}
		dst[i] = n
	}
}
