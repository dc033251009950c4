package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// naive visits every tap of every output of a depthwise convolution; f gets the indices of output, input and weight.
func naive(w Window, c, mult int, f func(y, x, tap int)) {
	for oy := range w.OutH {
		for ox := range w.OutW {
			for tap := range w.KH * w.KW {
				iy, ix := oy*w.StrideH-w.PadTop+tap/w.KW*w.DilationH, ox*w.StrideW-w.PadLeft+tap%w.KW*w.DilationW
				if iy < 0 || ix < 0 || iy >= w.InH || ix >= w.InW {
					continue
				}
				for o := range c * mult {
					f((oy*w.OutW+ox)*c*mult+o, (iy*w.InW+ix)*c+o/mult, tap*c*mult+o)
				}
			}
		}
	}
}

// compareDepthwise compares all three passes with the definition.
func compareDepthwise(t *testing.T, s *Scratch, mem memory, w Window, c, mult int, accumulate bool) {
	out, images := c*mult, 1+mem.rng.IntN(3)
	if w.InH*w.InW <= 64 {
		images = 1 + mem.rng.IntN(20)
	}
	in, size := w.InH*w.InW*c, w.OutH*w.OutW*out
	x, weights, bias, dy := mem.floats(images*in), mem.floats(w.KH*w.KW*out), mem.floats(out), mem.floats(images*size)
	if mem.rng.IntN(4) == 0 {
		bias = nil
	}
	want := make([]float32, len(dy))
	for i := range want {
		if bias != nil {
			want[i] = bias[i%out]
		}
	}
	dx, dw := mem.floats(len(x)), mem.floats(len(weights))
	wantX, wantW := mem.copied(dx), mem.copied(dw)
	if !accumulate {
		clear(wantX)
	}
	for k := range images {
		naive(w, c, mult, func(y, i, tap int) {
			y, i = y+k*size, i+k*in
			want[y] += x[i] * weights[tap]
			wantX[i] += dy[y] * weights[tap]
			wantW[tap] += dy[y] * x[i]
		})
	}
	what := fmt.Sprintf("%v, %d images of %d channels × %d", w, images, c, mult)
	y := mem.floats(len(dy))
	DepthwiseForward(s, y, x, weights, bias, w, images, c, mult)
	near(t, what, y, want, w.KH*w.KW)
	DepthwiseBackwardInput(s, dx, dy, weights, w, images, c, mult, accumulate)
	near(t, what+", gradient of the input", dx, wantX, w.KH*w.KW*mult)
	DepthwiseBackwardWeights(s, dw, x, dy, w, images, c, mult)
	near(t, what+", gradient of the weights", dw, wantW, images*w.OutH*w.OutW)
}

func TestDepthwiseIsItsDefinition(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 3)
		var s Scratch
		for range 200 {
			mult := 1
			if mem.rng.IntN(4) == 0 {
				mult = 1 + mem.rng.IntN(3)
			}
			compareDepthwise(t, &s, mem, mem.window(), 1+mem.rng.IntN(40), mult, mem.rng.IntN(2) == 0)
		}
	})
}

func TestDepthwiseOfImagesThatNeedManyStrips(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 4)
		var s Scratch
		for _, stride := range []int{1, 2, 3} {
			w := Window{3, 3, stride, stride, 1, 1, 1, 1, 1, 1, 70, 50, 69/stride + 1, 49/stride + 1}
			compareDepthwise(t, &s, mem, w, 20, 1, stride == 2)
		}
	})
}

// Small images go through assembly several at a time, large ones by strips; every pass has a plan where the class has assembly.
func TestDepthwisePlansFillTheCache(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		if simd.Width == 0 {
			return
		}
		var s Scratch
		for _, c := range []struct {
			size           int
			images, strips bool
		}{{4, true, false}, {100, false, true}} {
			w := Window{3, 3, 1, 1, 1, 1, 1, 1, 1, 1, c.size, c.size, c.size, c.size}
			x, y, weights := make([]float32, c.size*c.size), make([]float32, c.size*c.size), make([]float32, 9)
			DepthwiseForward(&s, y, x, weights, nil, w, 1, 1, 1)
			DepthwiseBackwardInput(&s, x, y, weights, w, 1, 1, 1, false)
			for _, backward := range []bool{false, true} {
				p := s.depthwise.plans[planKey{w, 1, backward}]
				if p == nil {
					t.Errorf("images of %d, backward %t: not by assembly", c.size, backward)
					continue
				}
				if p.width != c.size+2 || p.height(p.steps) != c.size+2 { // with its padding
					t.Errorf("images of %d, backward %t: laid out as %d×%d", c.size, backward, p.height(p.steps), p.width)
				}
				floats := p.images * p.height(p.strip) * p.width * simd.Width
				if p.images > 1 != c.images || p.strip < p.steps != c.strips || floats > stripFloats || floats < stripFloats/2 {
					t.Errorf("images of %d, backward %t: %d at once, %d of %d rows, %d floats", c.size, backward, p.images, p.strip, p.steps, floats)
				}
			}
		}
	})
}

func TestDepthwiseAllocatesNothingOnceItHasRun(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		var s Scratch
		w := Window{3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 20, 20, 10, 10}
		x, y, weights := make([]float32, 2*400*20), make([]float32, 2*100*20), make([]float32, 9*20)
		run := func() {
			DepthwiseForward(&s, y, x, weights, nil, w, 2, 20, 1)
			DepthwiseBackwardInput(&s, x, y, weights, w, 2, 20, 1, true)
			DepthwiseBackwardWeights(&s, weights, x, y, w, 2, 20, 1)
		}
		run()
		if n := testing.AllocsPerRun(5, run); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// Assembly gets whole registers, portable Go the rest; without assembly that is all.
func TestWholeRegisters(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		for n := range 100 {
			want := 0
			if simd.Width > 0 {
				want = n / simd.Width * simd.Width
			}
			if got := whole(n); got != want {
				t.Errorf("of %d values %d fill registers, want %d", n, got, want)
			}
		}
	})
}

func FuzzDepthwise(f *testing.F) {
	f.Add(uint64(1), uint8(20), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, c, mult uint8) {
		inEveryClass(t, func(t *testing.T) {
			mem := newMemory(t, seed)
			var s Scratch
			compareDepthwise(t, &s, mem, mem.window(), int(c)%70+1, int(mult)%3+1, mem.rng.IntN(2) == 0)
		})
	})
}

// wide are windows of whole rows inside the image: more of them than one call of assembly copies, some reaching beyond the last rows, and
// with rows of taps apart.
var wide = []Window{
	{3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 60, 62, 58, 60},
	{3, 3, 2, 2, 1, 1, 0, 0, 3, 0, 60, 61, 31, 30},
	{3, 3, 1, 1, 2, 1, 0, 0, 3, 0, 9, 10, 8, 8},
	{3, 3, 1, 1, 2, 1, 2, 0, 2, 0, 9, 10, 9, 8},
}

func TestIm2colGathersTheTaps(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 5)
		for i := range 200 {
			w, c := mem.window(), 1+mem.rng.IntN(20)
			if i < len(wide) {
				w = wide[i]
			}
			x, columns := mem.floats(w.InH*w.InW*c), w.OutH*w.OutW
			first := mem.rng.IntN(columns)
			count := 1 + mem.rng.IntN(columns-first)
			if i < len(wide) {
				first, count = 0, columns
			}
			row := w.KH * w.KW * c
			want := make([]float32, columns*row)
			naive(w, c, 1, func(y, i, tap int) { want[y/c*row+tap] = x[i] })
			dst := mem.floats(count * row)
			Im2col(dst, x, w, c, first, count)
			equal(t, fmt.Sprintf("%v, %d channels, %d pixels from %d", w, c, count, first), dst, want[first*row:(first+count)*row])
		}
	})
}

func TestCol2imIsTheTransposeOfIm2col(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 6)
		for i := range 200 {
			w, c := mem.window(), 1+mem.rng.IntN(20)
			if i == 0 { // longer rows than one call of assembly adds
				w, c = Window{2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 3, 300, 2, 300}, 64
			}
			columns, row := w.OutH*w.OutW, w.KH*w.KW*c
			first := mem.rng.IntN(columns)
			count := 1 + mem.rng.IntN(columns-first)
			if i == 0 {
				first, count = 0, columns
			}
			g, dx := mem.floats(count*row), mem.floats(w.InH*w.InW*c)
			want := mem.copied(dx)
			naive(w, c, 1, func(y, i, tap int) {
				if pixel := y/c - first; pixel >= 0 && pixel < count {
					want[i] += g[pixel*row+tap]
				}
			})
			Col2im(dx, g, w, c, first, count)
			near(t, fmt.Sprintf("%v, %d channels, %d pixels from %d", w, c, count, first), dx, want, row)
		}
	})
}

func TestMaxPoolOfNaNIsNaN(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		const c = 20
		for at := range 4 {
			x, y := make([]float32, 4*c), make([]float32, c)
			for i := range c {
				x[at*c+i] = float32(math.NaN())
			}
			MaxPool(y, x, Window{2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 2, 2, 1, 1}, c)
			for i, v := range y {
				if v == v {
					t.Fatalf("NaN at pixel %d: channel %d is %v", at, i, v)
				}
			}
		}
	})
}

func TestMaxPoolTakesTheMaximumAndGivesTheGradientToTheFirst(t *testing.T) {
	inEveryClass(t, func(t *testing.T) {
		mem := newMemory(t, 7)
		for range 200 {
			w, c := mem.window(), 1+mem.rng.IntN(40)
			w.PadTop, w.PadLeft, w.PadBottom, w.PadRight = min(w.PadTop, w.KH-1), min(w.PadLeft, w.KW-1), 0, 0
			w.OutH, w.OutW = (w.InH+w.PadTop-(w.KH-1)*w.DilationH-1)/w.StrideH+1, (w.InW+w.PadLeft-(w.KW-1)*w.DilationW-1)/w.StrideW+1
			if w.OutH < 1 || w.OutW < 1 {
				continue
			}
			x := mem.floats(w.InH * w.InW * c)
			for i := range x {
				x[i] = float32(math.Round(float64(x[i] * 2))) // equal ones
			}
			n := w.OutH * w.OutW * c
			want, from := make([]float32, n), make([]int, n)
			for i := range from {
				from[i] = -1
			}
			naive(w, c, 1, func(y, i, _ int) {
				if from[y] < 0 || x[i] > want[y] {
					want[y], from[y] = x[i], i
				}
			})
			if slices.Contains(from, -1) {
				continue // a window that meets only padding
			}
			what := fmt.Sprintf("%v, %d channels", w, c)
			y := mem.floats(n)
			MaxPool(y, x, w, c)
			equal(t, what, y, want)
			dy, dx := mem.floats(n), mem.floats(len(x))
			wantX := mem.copied(dx)
			for i, d := range dy {
				wantX[from[i]] += d
			}
			MaxPoolBackward(dx, dy, x, y, w, c)
			near(t, what+", gradient", dx, wantX, w.KH*w.KW)
		}
	})
}
