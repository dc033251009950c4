package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// randomRequant is of n outputs; of three in four all multipliers are so small that simd.FastRequant may be used.
func randomRequant(rng *rand.Rand, n int) Requant {
	small, kinds := rng.IntN(4) > 0, 5
	if small {
		kinds = 4
	}
	q := Requant{InputZero: int32(rng.IntN(256) - 128), WeightZero: []int32{0, 0, 0, -128, 127, int32(rng.IntN(256) - 128)}[rng.IntN(6)], Zero: int32(rng.IntN(256) - 128), Min: -128, Max: 127}
	if rng.IntN(3) == 0 {
		q.Min, q.Max = q.Zero, min(q.Zero+int32(rng.IntN(200)), 127)
	}
	real := rng.IntN(3) == 0
	for range n {
		q.Bias = append(q.Bias, int32(rng.Uint32())>>14)
		if real {
			q.Real = append(q.Real, []float64{0.0009765625, 0.0078125, 0, math.Exp2(rng.NormFloat64() - 10), 3.5}[rng.IntN(kinds)])
		}
		q.Multiplier = append(q.Multiplier, int32(1<<30+rng.IntN(1<<30)))
		q.Shift = append(q.Shift, int32(rng.IntN(14)-13))
		if small {
			q.Shift[len(q.Shift)-1] = int32(rng.IntN(6) - 13)
		}
		if rng.IntN(20) == 0 {
			q.Multiplier[len(q.Multiplier)-1], q.Shift[len(q.Shift)-1] = 0, 0
		}
	}
	return q
}

// compareDense runs a layer in the class in use and in portable Go.
func compareDense(t *testing.T, s *Int8Scratch, mem memory, rows, n, k, gap int) {
	ldx := k + gap
	x, w, q := mem.int8s((rows-1)*ldx+k), mem.int8s(n*k), randomRequant(mem.rng, n)
	got, want := mem.int8s(rows*n), make([]int8, rows*n)
	NewInt8Dense(w, k, q).Run(s, got, x, rows, ldx)
	inPortable(func() { NewInt8Dense(w, k, q).Run(s, want, x, rows, ldx) })
	if !slices.Equal(got, want) {
		t.Fatalf("%d×%d×%d with %d between rows differs", rows, n, k, ldx)
	}
}

// compareConv runs a convolution and a depthwise one in the class in use and in portable Go.
func compareConv(t *testing.T, s *Int8Scratch, mem memory, w Window, c, n, mult int) {
	x := mem.int8s(w.InH * w.InW * c)
	weights, q := mem.int8s(n*w.KH*w.KW*c), randomRequant(mem.rng, n)
	got, want := mem.int8s(w.OutH*w.OutW*n), make([]int8, w.OutH*w.OutW*n)
	NewInt8Conv(weights, w, c, q).Run(s, got, x)
	inPortable(func() { NewInt8Conv(weights, w, c, q).Run(s, want, x) })
	if !slices.Equal(got, want) {
		t.Fatalf("%v, %d channels to %d differs", w, c, n)
	}
	weights, q = mem.int8s(w.KH*w.KW*c*mult), randomRequant(mem.rng, c*mult)
	got, want = mem.int8s(w.OutH*w.OutW*c*mult), make([]int8, w.OutH*w.OutW*c*mult)
	NewInt8Depthwise(weights, w, c, mult, q).Run(s, got, x)
	inPortable(func() { NewInt8Depthwise(weights, w, c, mult, q).Run(s, want, x) })
	if !slices.Equal(got, want) {
		t.Fatalf("depthwise %v, %d channels × %d differs", w, c, mult)
	}
}

func TestInt8LayersAreExact(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		mem := newMemory(t, 14)
		var s Int8Scratch
		n := mem.rng.IntN
		for range 200 {
			compareDense(t, &s, mem, 1+n(80), 1+n(80), 1+n(90), n(7))
			compareConv(t, &s, mem, mem.window(), 1+n(40), 1+n(40), 1+n(4)/3*2)
		}
		compareDense(t, &s, mem, 125, 276, 276, 0)
		compareConv(t, &s, mem, Window{3, 3, 2, 2, 1, 1, 1, 0, 1, 1, 70, 90, 35, 45}, 11, 9, 1)
		compareConv(t, &s, mem, Window{3, 3, 1, 1, 1, 1, -1, -2, 0, 0, 8, 9, 5, 5}, 5, 9, 1) // begins within the image
	})
}

// Workers share an image by its rows: each writes its own, and no other.
func TestRowsOfAnImageAreThoseOfTheWhole(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		mem := newMemory(t, 19)
		var s Int8Scratch
		n := mem.rng.IntN
		for i := range 60 {
			w, c, outs, mult := mem.window(), 1+n(40), 1+n(40), 1+n(4)/3*2
			if i%4 == 0 {
				w = Window{1, 1, 1, 1, 1, 1, 0, 0, 0, 0, w.InH, w.InW, w.InH, w.InW}
			}
			x := mem.int8s(w.InH * w.InW * c)
			conv := NewInt8Conv(mem.int8s(outs*w.KH*w.KW*c), w, c, randomRequant(mem.rng, outs))
			depthwise := NewInt8Depthwise(mem.int8s(w.KH*w.KW*c*mult), w, c, mult, randomRequant(mem.rng, c*mult))
			from := n(w.OutH)
			to := from + n(w.OutH-from+1)
			for name, l := range map[string]struct {
				outs int
				run  func(y []int8, from, to int)
			}{
				"convolution": {outs, func(y []int8, from, to int) { conv.RunRows(&s, y, x, from, to) }},
				"depthwise":   {c * mult, func(y []int8, from, to int) { depthwise.RunRows(&s, y, x, from, to) }},
			} {
				row := w.OutW * l.outs
				whole, got := mem.int8s(w.OutH*row), mem.int8s(w.OutH*row)
				want := slices.Clone(got)
				l.run(whole, 0, w.OutH)
				copy(want[from*row:to*row], whole[from*row:])
				if l.run(got, from, to); !slices.Equal(got, want) {
					t.Fatalf("%s, %v, %d channels to %d: rows %d to %d differ, or others were written", name, w, c, l.outs, from, to)
				}
			}
		}
	})
}

// What layers prepare depends on their geometry: which convolutions are products of pixels, how far padding reaches, how many groups of taps a
// row makes.
func TestLayersArePreparedByTheirGeometry(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			w          Window
			pointwise  bool
			rows, cols int // of the image with its padding
		}{
			"of one pixel":             {Window{1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 6, 8, 6, 8}, true, 6, 8},
			"of one column":            {Window{2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 6, 8, 5, 8}, false, 6, 8},
			"of one row":               {Window{1, 2, 1, 1, 1, 1, 0, 0, 0, 0, 6, 8, 6, 7}, false, 6, 8},
			"of every second row":      {Window{1, 1, 2, 1, 1, 1, 0, 0, 0, 0, 6, 8, 3, 8}, false, 5, 8},
			"of every second column":   {Window{1, 1, 1, 2, 1, 1, 0, 0, 0, 0, 6, 8, 6, 4}, false, 6, 7},
			"beside the image":         {Window{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 6, 8, 7, 9}, false, 7, 9},
			"padded":                   {Window{3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6, 8, 6, 8}, false, 8, 10},
			"padded, with taps apart":  {Window{3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 6, 8, 6, 8}, false, 10, 12},
			"of rows beyond the image": {Window{1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 6, 8, 7, 8}, false, 7, 8},
		} {
			mem := newMemory(t, 22)
			conv := NewInt8Conv(mem.int8s(c.w.KH*c.w.KW*2), c.w, 2, randomRequant(mem.rng, 1))
			if got := conv.pointwise(); got != c.pointwise {
				t.Errorf("%s: a product of pixels: %t", name, got)
			}
			if got := conv.image; got.rows != c.rows || got.cols != c.cols {
				t.Errorf("%s: an image of %d×%d, want %d×%d", name, got.rows, got.cols, c.rows, c.cols)
			}
		}
		if simd.IntLanes == 0 {
			return
		}
		for _, c := range []struct{ kernel, dilation, groups, step, neighbours int }{
			{1, 1, 1, simd.IntTaps, simd.IntTaps}, {simd.IntTaps, 1, 1, simd.IntTaps, simd.IntTaps}, {simd.IntTaps + 1, 1, 2, simd.IntTaps, simd.IntTaps}, {5, 3, 5, 3, 1},
		} {
			l := &Int8Depthwise{w: Window{KW: c.kernel, DilationW: c.dilation}}
			if groups, step, neighbours := l.groupsOfRow(); groups != c.groups || step != c.step || neighbours != c.neighbours {
				t.Errorf("%+v: %d groups, %d apart, of %d neighbours", c, groups, step, neighbours)
			}
		}
	})
}

// The multiply-add is taken where no sum can come to 16 bits, which the sizes of an output's weights bound.
func TestTheMultiplyAddIsForSumsWithinReach(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		if simd.IntLanes == 0 {
			return
		}
		w := newOutputSums(2)
		for _, v := range []int32{-3, 5, -1} {
			w.add(1, v)
		}
		if w.sums[1] != 1 || w.sizes[1] != 9 || w.sums[0] != 0 || w.sizes[0] != 0 {
			t.Errorf("weights −3, 5 and −1 add up to %+v", w)
		}
		for name, c := range map[string]struct {
			size, bias, shift int32
			taken             bool
		}{
			"below":                   {0, 127_999, -1, true}, // times ¼
			"at it":                   {0, 128_000, -1, false},
			"of negative bias":        {0, -128_000, -1, false},
			"by weights and the bias": {400, 127_999 - 255*400, -1, true},
			"more by them":            {400, 128_000 - 255*400, -1, false},
			"of a larger multiplier":  {0, 1, 0, false},
		} {
			q := Requant{Bias: []int32{c.bias}, Multiplier: []int32{1 << 30}, Shift: []int32{c.shift}}
			if got := fastTable(q, q.Bias, []int32{c.size}) != nil; got != c.taken {
				t.Errorf("%s: taken %t", name, got)
			}
		}
	})
}

// The sum of two codes in float32 is taken where it gives for all pairs what fixed-point arithmetic gives, and not where it does not.
func TestSumsOfCodesAreExactForAllPairs(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		for _, c := range []struct {
			scaleA, scaleB     float64
			zeroA, zeroB, zero int32
			lo, hi             int32
		}{
			{1, 1, 0, 0, 0, -128, 127},
			{0.7123, 0.3317, -128, 3, -20, -20, 127},
			{1.3291, -0.4191, 12, -77, 5, -100, 90},
		} {
			sum := func(a, b int8) int8 {
				v := math.Round(float64(int32(a)-c.zeroA)*c.scaleA + float64(int32(b)-c.zeroB)*c.scaleB)
				return int8(min(max(int32(v)+c.zero, c.lo), c.hi))
			}
			exact := func(y []int8, a int8, b []int8) {
				for i, v := range b {
					y[i] = sum(a, v)
				}
			}
			s := NewInt8Sum(c.scaleA, c.scaleB, c.zeroA, c.zeroB, c.zero, c.lo, c.hi, exact)
			if fast := simd.FastRequant && simd.IntLanes > 0; (s != nil) != fast {
				t.Fatalf("%+v: found %t, with assembly %t", c, s != nil, fast)
			} else if !fast {
				continue
			}
			mem := newMemory(t, 20)
			for range 40 {
				n := mem.rng.IntN(100)
				a, b, y := mem.int8s(n), mem.int8s(n), mem.int8s(n)
				s.Run(y, a, b)
				for i := range y {
					if want := sum(a[i], b[i]); y[i] != want {
						t.Fatalf("%+v, code %d of %d: %d and %d give %d, want %d", c, i, n, a[i], b[i], y[i], want)
					}
				}
			}
			odd := NewInt8Sum(c.scaleA, c.scaleB, c.zeroA, c.zeroB, c.zero, c.lo, c.hi, func(y []int8, a int8, b []int8) {
				exact(y, a, b)
				if a == 127 {
					y[255] ^= 1
				}
			})
			if odd != nil {
				t.Errorf("%+v: taken for a sum that is another for the last pair", c)
			}
		}
	})
}

// A sum of more codes than one call of assembly takes is cut without a seam.
func TestLongSumsOfCodes(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		s := NewInt8Sum(1, 1, 0, 0, 0, -128, 127, func(y []int8, a int8, b []int8) {
			for i, v := range b {
				y[i] = int8(min(max(int(a)+int(v), -128), 127))
			}
		})
		if s == nil {
			return
		}
		mem := newMemory(t, 21)
		n := 2*strip + 37
		a, b, y := mem.int8s(n), mem.int8s(n), mem.int8s(n)
		s.Run(y, a, b)
		for i := range y {
			if want := int8(min(max(int(a[i])+int(b[i]), -128), 127)); y[i] != want {
				t.Fatalf("code %d: %d and %d give %d, want %d", i, a[i], b[i], y[i], want)
			}
		}
	})
}

// TestCodesOnBordersAreExact: sums on the border between two codes and next to it, which the multiply-add of fastTable cannot tell
// apart.
func TestCodesOnBordersAreExact(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		mem := newMemory(t, 18)
		var s Int8Scratch
		for round := range 300 {
			rows, n := 1+mem.rng.IntN(70), 1+mem.rng.IntN(140)
			q, sizes := randomRequant(mem.rng, n), make([]int32, n)
			for j := range n { // Multiplier · 2^(Shift−31) is a power of two, or next to one
				q.Multiplier[j], q.Shift[j], q.Bias[j] = int32(1<<30+mem.rng.IntN(3)*round), int32(-1-mem.rng.IntN(12)), int32(mem.rng.IntN(200)-100)
				if q.Real != nil {
					q.Real[j] = math.Exp2(float64(q.Shift[j] - 1))
				}
			}
			r := newLayerRequantizer(q, outputSums{make([]int32, n), sizes}, 0)
			if simd.FastRequant && simd.IntLanes > 0 && r.fast == nil {
				t.Fatal("not the multiply-add")
			}
			step := (n + 15) / 16 * 16
			acc := make([]int32, rows*step)
			for i := range acc {
				if j := i % step; j < n {
					half := int32(1) << max(-q.Shift[j], 0)
					acc[i] = half*int32(mem.rng.IntN(600)-300) + int32(mem.rng.IntN(5)-2) - q.Bias[j]
				}
			}
			got := mem.int8s(rows * n)
			r.run(&s, results{codes: got}, n, acc, step, rows, 0, n)
			for i, code := range got {
				if want := r.code(acc[i/n*step+i%n], i%n); code != want {
					t.Fatalf("row %d of %d, output %d of %d, sum %d, multiplier %d, shift %d: %d, want %d", i/n, rows, i%n, n, acc[i/n*step+i%n], q.Multiplier[i%n], q.Shift[i%n], code, want)
				}
			}
		}
	})
}

// TestInt8OfExtremes: the largest sums, and pairs of products that would saturate 16 bits.
func TestInt8OfExtremes(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		for _, v := range []int8{-128, 127} {
			k, n, rows := 2048, 5, 13
			x, w := slices.Repeat([]int8{v}, rows*k), slices.Repeat([]int8{-128}, n*k)
			q := Requant{Bias: make([]int32, n), Multiplier: slices.Repeat([]int32{1<<30 + 12345}, n), Shift: slices.Repeat([]int32{-18}, n), InputZero: 7, Min: -128, Max: 127}
			got, want := make([]int8, rows*n), make([]int8, rows*n)
			var s Int8Scratch
			NewInt8Dense(w, k, q).Run(&s, got, x, rows, k)
			inPortable(func() { NewInt8Dense(w, k, q).Run(&s, want, x, rows, k) })
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
	})
}

func TestInt8LayersAllocateNothingOnceTheyHaveRun(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		mem := newMemory(t, 15)
		w := Window{3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 20, 20, 10, 10}
		conv, depthwise := NewInt8Conv(mem.int8s(24*9*20), w, 20, randomRequant(mem.rng, 24)), NewInt8Depthwise(mem.int8s(9*20), w, 20, 1, randomRequant(mem.rng, 20))
		x, y := mem.int8s(400*20), mem.int8s(100*24)
		var s Int8Scratch
		run := func() {
			conv.Run(&s, y, x)
			depthwise.Run(&s, y, x)
		}
		run()
		if n := testing.AllocsPerRun(5, run); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func FuzzInt8(f *testing.F) {
	f.Add(uint64(1), uint8(12), uint8(32), uint16(64), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, rows, n uint8, k uint16, c uint8) {
		withAllIntegers(t, func(t *testing.T) {
			mem := newMemory(t, seed)
			var s Int8Scratch
			compareDense(t, &s, mem, int(rows)%90+1, int(n)%100+1, int(k)%600+1, int(seed%5))
			compareConv(t, &s, mem, mem.window(), int(c)%50+1, int(n)%50+1, int(rows)%2+1)
		})
	})
}

// reference is the definition in TensorFlow Lite's kernels/internal/common.cc: gemmlowp's two roundings in their own words.
func reference(x, multiplier, shift int32) int32 {
	left, right := max(shift, 0), max(-shift, 0)
	product := int64(x<<left) * int64(multiplier)
	nudge := int64(1 << 30)
	if product < 0 {
		nudge = 1 - 1<<30
	}
	v := int32((product + nudge) / (1 << 31))
	mask := int32(1)<<right - 1
	threshold := mask >> 1
	if v < 0 {
		threshold++
	}
	out := v >> right
	if v&mask > threshold {
		out++
	}
	return out
}

func TestMultiplyByQuantizedIsTFLites(t *testing.T) {
	rng := newMemory(t, 17).rng
	for range 200000 {
		x, multiplier, shift := int32(rng.Uint32())>>rng.IntN(31), int32(1<<30+rng.IntN(1<<30)), int32(rng.IntN(62)-31)
		if got, want := MultiplyByQuantized(x, multiplier, shift), reference(x, multiplier, shift); got != want {
			t.Fatalf("%d · %d · 2^%d: %d, want %d", x, multiplier, shift, got, want)
		}
	}
}

func TestRequantizeIsTFLites(t *testing.T) {
	withAllIntegers(t, func(t *testing.T) {
		rng := newMemory(t, 16).rng
		for range 2000 {
			rows, n := 1+rng.IntN(9), 1+rng.IntN(70)
			q := Requant{Zero: int32(rng.IntN(256) - 128), Min: -128, Max: 127}
			acc := make([]int32, rows*n)
			for i := range acc {
				acc[i] = int32(rng.Uint32()) >> rng.IntN(32)
			}
			for j := range n {
				q.Bias = append(q.Bias, int32(rng.Uint32())>>rng.IntN(32))
				q.Multiplier = append(q.Multiplier, int32(1<<30+rng.IntN(1<<30)))
				q.Shift = append(q.Shift, int32(rng.IntN(62)-31))
				if rng.IntN(2) == 0 { // a product in the middle between two codes, or next to it
					q.Bias[j], q.Multiplier[j], q.Shift[j] = 0, 1<<30, int32(-rng.IntN(8))
					for i := range rows {
						acc[i*n+j] = int32(rng.IntN(1<<10)-1<<9) << rng.IntN(4)
					}
				}
			}
			got := make([]int8, rows*n)
			requantize(got, acc, rows, q)
			for i, code := range got {
				j := i % n
				want := int8(min(max(reference(acc[i]+q.Bias[j], q.Multiplier[j], q.Shift[j])+q.Zero, q.Min), q.Max))
				if code != want {
					t.Fatalf("sum %d + %d, multiplier %d, shift %d, zero %d: %d, want %d", acc[i], q.Bias[j], q.Multiplier[j], q.Shift[j], q.Zero, code, want)
				}
			}
		}
	})
}

// requantize writes the codes of rows×n sums to dst, n being len(q.Bias). It prepares q anew on every call: layers keep theirs.
func requantize(dst []int8, acc []int32, rows int, q Requant) {
	n := len(q.Bias)
	q.InputZero = 0
	r := newRequantizer(q, make([]int32, n), 0)
	if simd.IntLanes == 0 || n%simd.IntLanes == 0 {
		for at, step := 0, max(strip/max(n, 1), 1); at < rows && n > 0; at += step {
			r.runExact(dst[at*n:], n, acc[at*n:], n, min(step, rows-at), 0, n)
		}
		return
	}
	row := make([]int32, (n+simd.IntLanes-1)/simd.IntLanes*simd.IntLanes)
	for i := range rows {
		copy(row, acc[i*n:(i+1)*n])
		r.runExact(dst[i*n:], n, row, len(row), 1, 0, n)
	}
}
