package kernel

import "espalier.dev/espalier/optimizer/kernel/internal/simd"

// Int16 inputs are two of int8 each, x = 256·high + low with low from 0 to 255, and so are sums of their products with int8 weights:
// Σx·w = 256·Σhigh·w + Σlow·w. Both halves are products of int8, low with a zero point of −128, which the kernels of int8 compute as they
// are; what remains is to add them in 64 bits and to rescale them. A half is exact up to 65,536 products a sum.

// MaxInt16Depth is the number of products that a sum may have.
const MaxInt16Depth = 1 << 16

// lowZero is the zero point of the lower halves.
const lowZero = -128

// Int16Sums are the sums of a layer: that of output c of a pixel is 256·High + Low + Offset[c].
type Int16Sums struct{ High, Low []int32 }

// int16Offset is what has to be added to 256·high + low of an output: what flipped bits and the zero point of the lower halves add to sums.
func int16Offset(w outputSums) []int64 {
	out := make([]int64, len(w.sums))
	for j, sum := range w.sums {
		out[j] = -int64(sum) * (257*int64(simd.IntXor) + lowZero)
	}
	return out
}

// split writes the halves of x to s.
func (s *Int8Scratch) split(x []int16) (high, low []int8) {
	s.halves = grow(s.halves, 2*len(x)+128)
	halves := int8s(s.halves)
	high, low = halves[:len(x)], halves[len(x):2*len(x)]
	for i, v := range x {
		high[i], low[i] = int8(v>>8), int8(uint8(v)^0x80)
	}
	return high, low
}

// results makes room for n sums of either half.
func (s *Int8Scratch) results(n int) Int16Sums {
	for k := range s.wide {
		s.wide[k] = grow(s.wide[k], n)
	}
	return Int16Sums{s.wide[0][:n], s.wide[1][:n]}
}

// Int16Dense is a matrix product of int16 inputs and int8 weights. It is immutable.
type Int16Dense struct {
	dense *Int8Dense
	// Offset is what is added to the sums of each output.
	Offset []int64
}

// NewInt16Dense packs weights [n, k]; nil where there are no kernels of int8 to compute it with, or sums are too deep.
func NewInt16Dense(weights []int8, n, k int) *Int16Dense {
	if k > MaxInt16Depth {
		return nil
	}
	d := newDense(weights, n, k, 0)
	if d.packed == nil {
		return nil
	}
	return &Int16Dense{dense: d, Offset: int16Offset(d.outputSums())}
}

// Run computes the sums [rows, n] of x [rows, k]; they are the scratch's, until it is used again.
func (d *Int16Dense) Run(s *Int8Scratch, x []int16, rows int) Int16Sums {
	sums := s.results(rows * d.dense.n)
	if rows == 0 {
		return sums
	}
	high, low := s.split(x[:rows*d.dense.k])
	d.dense.runPacked(s, results{sums: sums.High}, high, rows, d.dense.k)
	d.dense.runPacked(s, results{sums: sums.Low}, low, rows, d.dense.k)
	return sums
}

// Int16Window is CONV_2D or DEPTHWISE_CONV_2D of int16 over images of a fixed size. It is immutable.
type Int16Window struct {
	high, low window8
	in, out   int     // elements of an image, before and after
	Offset    []int64 // as in Int16Dense
}

// window8 is a half of the products.
type window8 interface {
	runPacked(s *Int8Scratch, y results, x []int8, from, to int)
}

// NewInt16Conv packs weights [n, KH, KW, c] of a convolution; nil where NewInt16Dense is.
func NewInt16Conv(weights []int8, w Window, n, c int) *Int16Window {
	d := NewInt16Dense(weights, n, w.KH*w.KW*c)
	if d == nil || w.OutH == 0 || w.OutW == 0 {
		return nil
	}
	return &Int16Window{high: newConv(d.dense, w, c, 0), low: newConv(d.dense, w, c, lowZero), in: w.InH * w.InW * c, out: w.OutH * w.OutW * n, Offset: d.Offset}
}

// NewInt16Depthwise packs weights [KH, KW, c·mult] of a depthwise convolution; nil where NewInt16Dense is.
func NewInt16Depthwise(weights []int8, w Window, c, mult int) *Int16Window {
	high := newDepthwise(weights, w, c, mult, 0, 0)
	if high.packed == nil || w.KH*w.KW > MaxInt16Depth {
		return nil
	}
	low := *high
	low.zero, low.image.zero = lowZero, lowZero
	return &Int16Window{high: high, low: &low, in: w.InH * w.InW * c, out: w.OutH * w.OutW * high.outs, Offset: int16Offset(high.outputSums())}
}

// RunRows computes the sums of rows from to to−1 of an image [OutH, OutW, outputs] from x [InH, InW, c], in their places among those of the whole
// image, of which the others are undefined.
func (l *Int16Window) RunRows(s *Int8Scratch, x []int16, from, to int) Int16Sums {
	sums := s.results(l.out)
	if from >= to {
		return sums
	}
	high, low := s.split(x[:l.in])
	l.high.runPacked(s, results{sums: sums.High}, high, from, to)
	l.low.runPacked(s, results{sums: sums.Low}, low, from, to)
	return sums
}
