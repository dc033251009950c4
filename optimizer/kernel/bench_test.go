package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// bench runs a benchmark in every class and reports its speed in billions of operations a second, and as a share of what the
// registers can do (of memory-bound passes, which say operations = 0: in billions of values).
func bench(b *testing.B, name string, operations, values int, prepare func() func()) {
	defer simd.Use(simd.Class)
	for _, class := range simd.Classes() {
		simd.Use(class)
		run := prepare()
		peak := peakOf(b, operations < 0)
		b.Run(name+"/"+class, func(b *testing.B) {
			for b.Loop() {
				run()
			}
			seconds := b.Elapsed().Seconds() / float64(b.N)
			if operations == 0 {
				b.ReportMetric(float64(values)/seconds/1e9, "Gvalues/s")
				return
			}
			speed := float64(max(operations, -operations)) / seconds / 1e9
			b.ReportMetric(speed, "Gop/s")
			if peak > 0 {
				b.ReportMetric(100*speed/peak, "%peak")
			}
		})
	}
}

// peaks are the measured limits, by class and kind.
var peaks = map[string]float64{}

// peakOf measures how many billions of operations a second the multiply-adds of a class can do; 0 for portable Go.
func peakOf(b *testing.B, integers bool) float64 {
	b.Helper()
	if simd.Width == 0 {
		return 0
	}
	key := fmt.Sprint(simd.Class, integers)
	if peaks[key] == 0 {
		const rounds = 20000
		for range 50 {
			start := time.Now()
			operations := 16 * rounds * simd.Width
			if integers {
				simd.PeakInt8(rounds)
				operations = 16 * rounds * simd.IntLanes * simd.DenseTaps
			} else {
				simd.Peak(rounds)
			}
			peaks[key] = max(peaks[key], float64(operations)/time.Since(start).Seconds()/1e9)
		}
	}
	return peaks[key]
}

// heap hands out memory as callers have it: at the start of a cache line, with more behind.
type heap struct{ rng *rand.Rand }

func newHeap() heap { return heap{rand.New(rand.NewPCG(1, 1))} }

func (h heap) floats(n int) []float32 {
	x := aligned(n + 64)
	for i := range x {
		x[i] = float32(h.rng.NormFloat64())
	}
	return x[:n]
}

func (h heap) int8s(n int) []int8 {
	x := int8s(grow([]byte(nil), n+64))
	for i := range x {
		x[i] = int8(h.rng.IntN(256) - 128)
	}
	return x[:n]
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct {
		name              string
		m, n, k, rsa, csa int
	}{
		{"DS-CNN-L pointwise forward 500x276x276", 500, 276, 276, 276, 1},
		{"DS-CNN-L pointwise weights 276x276x500", 276, 276, 500, 1, 276},
		{"MobileNet pointwise 1024x128x64", 1024, 128, 64, 64, 1},
		{"MNIST dense forward 16x10x2028", 16, 10, 2028, 2028, 1},
		{"MNIST dense weights 10x2028x16", 10, 2028, 16, 1, 10},
		{"MNIST dense input 16x2028x10", 16, 2028, 10, 10, 1},
		{"MNIST stem forward 2704x12x9", 2704, 12, 9, 9, 1},
		{"MNIST stem weights 12x9x2704", 12, 9, 2704, 1, 12},
		{"autoencoder forward 16x128x640", 16, 128, 640, 640, 1},
		{"ResNet 1024x16x144", 1024, 16, 144, 144, 1},
		{"256x256x256", 256, 256, 256, 256, 1},
	} {
		mem := newHeap()
		x, y, z := mem.floats(s.m*s.k), mem.floats(s.k*s.n), mem.floats(s.m*s.n)
		bench(b, s.name, 2*s.m*s.n*s.k, 0, func() func() {
			var scratch Scratch
			return func() { Gemm(&scratch, s.m, s.n, s.k, x, s.rsa, s.csa, y, s.n, z, s.n, false) }
		})
	}
}

func BenchmarkDepthwise(b *testing.B) {
	for _, s := range []struct{ h, w, c, stride, kernel int }{{25, 5, 276, 1, 3}, {25, 5, 64, 1, 3}, {32, 32, 32, 1, 3}, {32, 32, 32, 2, 3}, {8, 8, 128, 1, 3}, {16, 16, 64, 1, 5}} {
		pad := s.kernel / 2
		w := Window{s.kernel, s.kernel, s.stride, s.stride, 1, 1, pad, pad, pad, pad, s.h, s.w, (s.h-1)/s.stride + 1, (s.w-1)/s.stride + 1}
		mem := newHeap()
		x, weights, y := mem.floats(s.h*s.w*s.c), mem.floats(s.kernel*s.kernel*s.c), mem.floats(w.OutH*w.OutW*s.c)
		name := fmt.Sprintf("%dx%dx%d by %dx%d stride %d", s.h, s.w, s.c, s.kernel, s.kernel, s.stride)
		operations := 2 * s.kernel * s.kernel * len(y)
		bench(b, name+"/forward", operations, 0, func() func() {
			var scratch Scratch
			return func() { DepthwiseForward(&scratch, y, x, weights, nil, w, 1, s.c, 1) }
		})
		bench(b, name+"/input", operations, 0, func() func() {
			var scratch Scratch
			return func() { DepthwiseBackwardInput(&scratch, x, y, weights, w, 1, s.c, 1, false) }
		})
		dw := mem.floats(len(weights))
		bench(b, name+"/weights", operations, 0, func() func() {
			var scratch Scratch
			return func() { DepthwiseBackwardWeights(&scratch, dw, x, y, w, 1, s.c, 1) }
		})
	}
}

func BenchmarkPasses(b *testing.B) {
	const c, rows = 276, 125
	const n = c * rows
	mem := newHeap()
	x, y, m, v, bias, codes := mem.floats(n), mem.floats(n), mem.floats(n), aligned(n), mem.floats(c), make([]uint8, n)
	boundaries := make([]float32, 15)
	for i := range boundaries {
		boundaries[i] = float32(i-7) / 4
	}
	mask := slices.Repeat([]uint8{1, 0}, n/2)
	q := Quant{Scale: 0.02, Zero: -128}
	adam := Adam{Rate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7, Correction: 1}
	for _, pass := range []struct {
		name string
		run  func()
	}{
		{"bias and activation", func() { BiasAct(y, bias, rows, c, 0, 6) }},
		{"bias, activation, quantization and range", func() { BiasActQuant(y, m, bias, rows, c, 0, 6, q, EmptyRange()) }},
		{"gradient of bias and activation", func() { BiasActBackward(y, x, bias, rows, c, 0, 6) }},
		{"gradient of bias, activation and quantization", func() { BiasActQuantBackward(y, x, bias, rows, c, 0, 6, q) }},
		{"fake quantization", func() { FakeQuant(y, x, q) }},
		{"range", func() { MinMax(EmptyRange(), x) }},
		{"sum of squares", func() { SumSquares(x) }},
		{"transpose", func() { Transpose(y, x, rows, c) }},
		{"Adam", func() { AdamStep(y, x, m, v, nil, adam) }},
		{"Adam with a mask", func() { AdamStep(y, x, m, v, mask, adam) }},
		{"SGD", func() { SGDStep(y, x, m, nil, SGD{Rate: 1e-3, Momentum: 0.9}) }},
		{"codes of 16 clusters", func() { AssignCodes(codes, x, boundaries) }},
		{"im2col 3x3", func() {
			Im2col(y, x, Window{3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 28, 28, 26, 26}, 1, 0, 26*26)
		}},
		{"max pool 2x2", func() {
			MaxPool(y, x, Window{2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 26, 26, 13, 13}, 12)
		}},
	} {
		values := n
		switch pass.name {
		case "im2col 3x3":
			values = 26 * 26 * 9
		case "max pool 2x2":
			values = 26 * 26 * 12
		}
		bench(b, pass.name, 0, values, func() func() { return pass.run })
	}
}

// typicalRequant is what layers of trained networks have: multipliers around 2⁻¹⁰.
func typicalRequant(rng *rand.Rand, n int) Requant {
	q := Requant{Bias: make([]int32, n), InputZero: -128, Zero: -128, Min: -128, Max: 127}
	for range n {
		q.Multiplier, q.Shift = append(q.Multiplier, int32(1<<30+rng.IntN(1<<30))), append(q.Shift, -10)
	}
	return q
}

func BenchmarkInt8Dense(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{125, 276, 276}, {125, 64, 64}, {1, 128, 640}, {1, 10, 64}, {2304, 16, 8}, {576, 64, 64}, {9, 256, 256}} {
		mem := newHeap()
		x, weights, y, q := mem.int8s(s.m*s.k), mem.int8s(s.n*s.k), mem.int8s(s.m*s.n), typicalRequant(mem.rng, s.n)
		bench(b, fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k), -2*s.m*s.n*s.k, 0, func() func() {
			var scratch Int8Scratch
			l := NewInt8Dense(weights, s.k, q)
			return func() { l.Run(&scratch, y, x, s.m, s.k) }
		})
	}
}

func BenchmarkInt8Conv(b *testing.B) {
	for _, s := range []struct {
		name string
		w    Window
		c, n int
	}{
		{"DS-CNN-L stem 49x10x1 to 276", Window{10, 4, 2, 2, 1, 1, 4, 1, 5, 1, 49, 10, 25, 5}, 1, 276},
		{"ResNet 32x32x16 to 16", Window{3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 32, 32, 32, 32}, 16, 16},
		{"ResNet 16x16x32 to 32", Window{3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 16}, 32, 32},
		{"ResNet 8x8x64 to 64", Window{3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8, 8, 8, 8}, 64, 64},
		{"MobileNet stem 96x96x3 to 8", Window{3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 96, 96, 48, 48}, 3, 8},
	} {
		mem := newHeap()
		depth := s.w.KH * s.w.KW * s.c
		x, weights, y, q := mem.int8s(s.w.InH*s.w.InW*s.c), mem.int8s(s.n*depth), mem.int8s(s.w.OutH*s.w.OutW*s.n), typicalRequant(mem.rng, s.n)
		bench(b, s.name, -2*len(y)*depth, 0, func() func() {
			var scratch Int8Scratch
			l := NewInt8Conv(weights, s.w, s.c, q)
			return func() { l.Run(&scratch, y, x) }
		})
	}
}

func BenchmarkInt8Depthwise(b *testing.B) {
	for _, s := range []struct{ h, w, c, stride int }{{25, 5, 276, 1}, {25, 5, 64, 1}, {48, 48, 8, 1}, {48, 48, 16, 2}, {6, 6, 128, 1}} {
		w := Window{3, 3, s.stride, s.stride, 1, 1, 1, 1, 1, 1, s.h, s.w, (s.h-1)/s.stride + 1, (s.w-1)/s.stride + 1}
		mem := newHeap()
		x, weights, y, q := mem.int8s(s.h*s.w*s.c), mem.int8s(9*s.c), mem.int8s(w.OutH*w.OutW*s.c), typicalRequant(mem.rng, s.c)
		bench(b, fmt.Sprintf("%dx%dx%d stride %d", s.h, s.w, s.c, s.stride), -18*len(y), 0, func() func() {
			var scratch Int8Scratch
			l := NewInt8Depthwise(weights, w, s.c, 1, q)
			return func() { l.Run(&scratch, y, x) }
		})
	}
}
