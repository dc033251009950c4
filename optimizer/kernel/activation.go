package kernel

import (
	"math"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Quant is a fake quantization of activations: real = Scale·(q − Zero), q in [−128, 127], or in [−32768, 32767] where it is Wide.
type Quant struct {
	Scale float32
	Zero  int32
	Wide  bool
}

var negativeZero = float32(math.Copysign(0, -1))

// steps returns the steps below and above zero that the codes reach.
func (q Quant) steps() (lo, hi float32) {
	if q.Wide {
		return float32(math.MinInt16 - q.Zero), float32(math.MaxInt16 - q.Zero)
	}
	return float32(math.MinInt8 - q.Zero), float32(math.MaxInt8 - q.Zero)
}

// constants are those of simd.BiasActQuant.
func (q Quant) constants(lo, hi float32) [8]float32 {
	first, last := q.steps()
	return [8]float32{lo, hi, q.Scale, first, last, 0.5, 1, negativeZero}
}

// roundHalfAway rounds to the nearest integer, halves away from zero.
func roundHalfAway(x float32) float32 { return float32(math.Round(float64(x))) }

// quantize returns x in steps of the scale, rounded, and those steps held to the codes.
func (q Quant) quantize(x float32) (rounded, held float32) {
	lo, hi := q.steps()
	rounded = roundHalfAway(x / q.Scale)
	return rounded, min(max(rounded, lo), hi)
}

// FakeQuant writes the quantized values of x to y, which may be x: y = Scale·clamp(round(x/Scale), least code − Zero, largest code − Zero).
func FakeQuant(y, x []float32, q Quant) {
	y = y[:len(x)]
	all := q.constants(0, 0)
	constants := [6]float32(all[2:])
	for len(x) > 0 {
		n := min(strip, len(x))
		wholes := whole(n)
		if wholes > 0 {
			simd.FakeQuant(&y[0], &x[0], wholes, &constants)
		}
		fakeQuantPortable(y[wholes:n], x[wholes:n], q)
		y, x = y[n:], x[n:]
	}
}

func fakeQuantPortable(y, x []float32, q Quant) {
	for i, v := range x {
		_, held := q.quantize(v)
		y[i] = q.Scale * held
	}
}

// columns cuts rows of c values into whole registers: a vector that goes with every row is repeated until it fills them.
type columns struct {
	c      int
	n      int  // floats of a repetition, a multiple of simd.Width; 0 without assembly
	copied bool // values holds the repetitions; else the vector itself fills registers
	single bool // repetitions would be too long: every row is cut for itself, and has a rest
	values [1152]float32
}

// cut decides how rows of c values are cut.
func (r *columns) cut(c int) {
	r.c = c
	if simd.Width == 0 || c == 0 {
		return
	}
	for r.n = c; r.n%simd.Width != 0; {
		r.n *= 2
	}
	if r.copied = r.n > c; r.n > len(r.values) && r.copied {
		r.n, r.copied, r.single = whole(c), false, true
	}
}

// of returns the first value of a vector, which is repeated if need be. A nil vector stands for −0, which added changes nothing.
func (r *columns) of(vector []float32) *float32 {
	switch {
	case r.n == 0:
		return nil
	case vector == nil:
		for i := range r.values[:r.n] {
			r.values[i] = negativeZero
		}
	case !r.copied:
		return &vector[0]
	default:
		copy(r.values[:r.n], vector)
		for at := len(vector); at < r.n; at *= 2 {
			copy(r.values[at:r.n], r.values[:at])
		}
	}
	return &r.values[0]
}

// sum returns where assembly adds up columns, for fold to find.
func (r *columns) sum(vector []float32) *float32 {
	if r.n > 0 && !r.copied {
		return &vector[0]
	}
	return &r.values[0]
}

// fold adds what assembly has added up to the vector.
func (r *columns) fold(vector []float32) {
	for at := 0; r.copied && at < r.n; at += len(vector) {
		axpyPortable(vector, 1, r.values[at:at+len(vector)])
	}
}

// each calls wide for runs of n floats, a multiple of simd.Width, that go with the start of the vector, count times over; and rest
// for what is left. Both get the offset of the first value.
func (r *columns) each(total int, wide func(at, n, count int), rest func(from, to int)) {
	switch {
	case r.n == 0:
		rest(0, total)
	case r.single:
		for at := 0; at < total; at += r.c {
			wide(at, r.n, 1)
			rest(at+r.n, at+r.c)
		}
	default:
		at, limit := 0, max(strip/r.n, 1)
		for left := total / r.n; left > 0; {
			count := min(limit, left)
			wide(at, r.n, count)
			at += count * r.n
			left -= count
		}
		if n := whole(total - at); n > 0 {
			wide(at, n, 1)
			at += n
		}
		rest(at, total)
	}
}

// flatRow is the length of the rows of values that need not be told apart by channel.
const flatRow = 64

// BiasAct adds bias [c] (nil: none) to rows×c values and clamps them to [lo, hi]; lo and hi may be infinite.
func BiasAct(y, bias []float32, rows, c int, lo, hi float32) {
	y = y[:rows*c]
	if bias == nil {
		Clamp(y, y, lo, hi)
		return
	}
	bias = bias[:c]
	bounds := [2]float32{lo, hi}
	var r columns
	r.cut(c)
	values := r.of(bias)
	r.each(len(y), func(at, n, count int) { simd.BiasAct(&y[at], values, n, count, &bounds) },
		func(from, to int) { biasActPortable(y[from:to], bias, from%c, lo, hi) })
}

// biasActPortable begins at a column of the bias; nil is none.
func biasActPortable(y, bias []float32, column int, lo, hi float32) {
	for i := range y {
		if bias != nil {
			y[i] += bias[column]
			if column++; column == len(bias) {
				column = 0
			}
		}
		y[i] = min(max(y[i], lo), hi)
	}
}

// BiasActQuant is BiasAct on raw followed by FakeQuant to y and MinMax of raw, in one pass. bias may be nil. y may be raw: then the
// values before quantization are lost.
func BiasActQuant(y, raw, bias []float32, rows, c int, lo, hi float32, q Quant, limits Range) Range {
	raw, y = raw[:rows*c], y[:rows*c]
	if bias != nil {
		bias = bias[:c]
	} else {
		c = flatRow
	}
	constants, lanes := q.constants(lo, hi), limits.lanes()
	var r columns
	r.cut(c)
	values := r.of(bias)
	r.each(len(raw), func(at, n, count int) {
		simd.BiasActQuant(&y[at], &raw[at], values, n, count, &constants, &lanes[0])
	}, func(from, to int) {
		biasActPortable(raw[from:to], bias, from%c, lo, hi)
		limits = minMaxPortable(limits, raw[from:to])
		fakeQuantPortable(y[from:to], raw[from:to], q)
	})
	return limits.union(&lanes)
}

// Clamp writes x clamped to [lo, hi] to y, which may be x.
func Clamp(y, x []float32, lo, hi float32) {
	y = y[:len(x)]
	bounds := [2]float32{lo, hi}
	for len(x) > 0 {
		n := min(strip, len(x))
		wholes := whole(n)
		if wholes > 0 {
			simd.Clamp(&y[0], &x[0], wholes, &bounds)
		}
		clampPortable(y[wholes:n], x[wholes:n], lo, hi)
		y, x = y[n:], x[n:]
	}
}

func clampPortable(y, x []float32, lo, hi float32) {
	for i, v := range x {
		y[i] = min(max(v, lo), hi)
	}
}

// ClampBackward zeroes dy where y, the output of a clamp to [lo, hi], lies on a bound.
func ClampBackward(dy, y []float32, lo, hi float32) {
	y = y[:len(dy)]
	bounds := [2]float32{lo, hi}
	for len(dy) > 0 {
		n := min(strip, len(dy))
		wholes := whole(n)
		if wholes > 0 {
			simd.Gate(&dy[0], &y[0], wholes, &bounds)
		}
		gatePortable(dy[wholes:n], y[wholes:n], lo, hi)
		dy, y = dy[n:], y[n:]
	}
}

func gatePortable(dy, y []float32, lo, hi float32) {
	for i, v := range y {
		if v <= lo || v >= hi {
			dy[i] = 0
		}
	}
}

// BiasActBackward is ClampBackward of rows×c values followed by the sum over rows of dy, added to dbias [c], in one pass.
func BiasActBackward(dy, y, dbias []float32, rows, c int, lo, hi float32) {
	dy, y, dbias = dy[:rows*c], y[:rows*c], dbias[:c]
	bounds := [2]float32{lo, hi}
	var r columns
	r.cut(c)
	sum := r.sum(dbias)
	r.each(len(dy), func(at, n, count int) { simd.GateSum(&dy[at], &y[at], sum, n, count, &bounds) },
		func(from, to int) {
			gatePortable(dy[from:to], y[from:to], lo, hi)
			sumRowsPortable(dbias, dy[from:to], from%c)
		})
	r.fold(dbias)
}

// Bounds returns the bounds between which values are neither clamped to [lo, hi] nor clipped by the quantizer: round(x/s) < first
// exactly when x/s ≤ first − ½, halves going away from zero, and likewise above. With them, ClampBackward and BiasActBackward are
// the backward of BiasActQuant with fixed scale and zero point.
func (q Quant) Bounds(lo, hi float32) (float32, float32) {
	first, last := q.steps()
	return max(lo, q.Scale*(first-0.5)), min(hi, q.Scale*(last+0.5))
}

// BiasActQuantBackward turns dy, the gradient with respect to the y of BiasActQuant, into that with respect to the sums before
// clamping, in place, and adds its rows to dbias [c] (nil: nowhere). raw are the values after clamping. It returns the gradients
// with respect to scale and (continuous) zero point, those of LSQ+ (arXiv 2004.09576): round(x/s) − x/s inside the codes, the last
// code where clipped; −s where clipped.
func BiasActQuantBackward(dy, raw, dbias []float32, rows, c int, lo, hi float32, q Quant) (dScale, dZero float32) {
	dy, raw = dy[:rows*c], raw[:rows*c]
	var flat [flatRow]float32
	if dbias == nil {
		dbias, c = flat[:], flatRow
	}
	dbias = dbias[:c]
	constants := q.constants(lo, hi)
	var r columns
	r.cut(c)
	sum := r.sum(dbias)
	var scale, clipped float64
	r.each(len(dy), func(at, n, count int) {
		var sums [32]float32
		simd.QuantGateSum(&dy[at], &raw[at], sum, n, count, &constants, &sums[0])
		for i := range simd.Width {
			scale += float64(sums[i])
			clipped += float64(sums[simd.Width+i])
		}
	}, func(from, to int) {
		s, k := quantBackwardPortable(dy[from:to], raw[from:to], q)
		scale, clipped = scale+s, clipped+k
		gatePortable(dy[from:to], raw[from:to], lo, hi)
		sumRowsPortable(dbias, dy[from:to], from%c)
	})
	r.fold(dbias)
	return float32(scale), float32(clipped * -float64(q.Scale))
}

// quantBackwardPortable zeroes dy where the quantizer clips and returns the gradient of the scale and the sum of what was zeroed.
func quantBackwardPortable(dy, x []float32, q Quant) (scale, clipped float64) {
	for i, v := range x {
		rounded, held := q.quantize(v)
		if rounded == held {
			scale += float64(dy[i] * (held - v/q.Scale))
		} else {
			scale += float64(dy[i] * held)
			clipped += float64(dy[i])
			dy[i] = 0
		}
	}
	return scale, clipped
}
