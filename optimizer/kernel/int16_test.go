package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// int16s are random inputs, some of them extremes.
func int16s(rng *rand.Rand, n int) []int16 {
	x := make([]int16, n)
	for i := range x {
		x[i] = []int16{math.MinInt16, math.MaxInt16, 0, -1, int16(rng.Uint32())}[min(rng.IntN(12), 4)]
	}
	return x
}

// checkInt16 holds the sums of rows from to to−1 against plain ones.
func checkInt16(t *testing.T, what string, sums Int16Sums, offset []int64, from, to int, want func(i int) int64) {
	t.Helper()
	for i := from; i < to; i++ {
		if got, want := int64(sums.High[i])<<8+int64(sums.Low[i])+offset[i%len(offset)], want(i); got != want {
			t.Fatalf("%s: sum %d is %d, want %d", what, i, got, want)
		}
	}
}

func TestInt16LayersAreExact(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		mem := newMemory(t, 16)
		var s Int8Scratch
		n := mem.rng.IntN
		for range 100 {
			rows, outs, k := 1+n(40), 1+n(80), 1+n(300)
			x, weights := int16s(mem.rng, rows*k), mem.int8s(outs*k)
			d := NewInt16Dense(weights, outs, k)
			if d == nil {
				return // no kernels of int8 here
			}
			checkInt16(t, "dense", d.Run(&s, x, rows), d.Offset, 0, rows*outs, func(i int) (sum int64) {
				for p := range k {
					sum += int64(x[i/outs*k+p]) * int64(weights[i%outs*k+p])
				}
				return sum
			})

			w, c, outs, mult := mem.window(), 1+n(40), 1+n(40), 1+n(4)/3*2
			x = int16s(mem.rng, w.InH*w.InW*c)
			if w.OutH*w.OutW == 0 {
				continue
			}
			from := n(w.OutH)
			to := from + 1 + n(w.OutH-from)
			taps := func(pixel int, add func(tap, at int)) {
				for tap := range w.KH * w.KW {
					if at := w.pixel(pixel/w.OutW*w.StrideH-w.PadTop+tap/w.KW*w.DilationH, pixel%w.OutW*w.StrideW-w.PadLeft+tap%w.KW*w.DilationW); at >= 0 {
						add(tap, at)
					}
				}
			}
			weights = mem.int8s(outs * w.KH * w.KW * c)
			conv := NewInt16Conv(weights, w, outs, c)
			checkInt16(t, "convolution", conv.RunRows(&s, x, from, to), conv.Offset, from*w.OutW*outs, to*w.OutW*outs, func(i int) (sum int64) {
				taps(i/outs, func(tap, at int) {
					for p := range c {
						sum += int64(x[at*c+p]) * int64(weights[(i%outs*w.KH*w.KW+tap)*c+p])
					}
				})
				return sum
			})
			outs = c * mult
			weights = mem.int8s(w.KH * w.KW * outs)
			depthwise := NewInt16Depthwise(weights, w, c, mult)
			checkInt16(t, "depthwise", depthwise.RunRows(&s, x, from, to), depthwise.Offset, from*w.OutW*outs, to*w.OutW*outs, func(i int) (sum int64) {
				taps(i/outs, func(tap, at int) { sum += int64(x[at*c+i%outs/mult]) * int64(weights[tap*outs+i%outs]) })
				return sum
			})
		}
	})
}

// The deepest sums there may be, of the greatest numbers.
func TestInt16SumsOfExtremes(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		weights, x := make([]int8, MaxInt16Depth), make([]int16, MaxInt16Depth)
		for _, v := range []int16{math.MinInt16, math.MaxInt16, 255, -1} {
			for _, w := range []int8{-128, 127} {
				for i := range weights {
					weights[i], x[i] = w, v
				}
				d := NewInt16Dense(weights, 1, MaxInt16Depth)
				if d == nil {
					return
				}
				var s Int8Scratch
				checkInt16(t, "extremes", d.Run(&s, x, 1), d.Offset, 0, 1, func(int) int64 { return MaxInt16Depth * int64(v) * int64(w) })
			}
		}
		if NewInt16Dense(make([]int8, MaxInt16Depth+1), 1, MaxInt16Depth+1) != nil {
			t.Error("sums beyond 32 bits")
		}
	})
}
