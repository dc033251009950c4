package integer

import (
	"math"
	"testing"
	"unsafe"
)

// Every code of 16 bits, by multipliers of any size, is rescaled as LiteRT's MultiplyByQuantizedMultiplier does it.
func TestInt16CodesAreRescaledAsByTheMultiplier(t *testing.T) {
	codes, narrow, wide := make([]int16, 1<<16), make([]int8, 1<<16), make([]int16, 1<<16)
	for i := range codes {
		codes[i] = int16(i)
	}
	m := &memory{bytes: [][]byte{bytesOf(codes), bytesOf(narrow), bytesOf(wide)}}
	for shift := -34; shift < 4; shift++ {
		for _, value := range []int32{1 << 30, 1<<30 + 12345, 1518500250, 3 << 29, math.MaxInt32} {
			by := multiplier{value, shift}
			for _, k := range []runner{&requantize[int8]{0, 1, by, quant{scale: 1, zero: 3}}, &requantize[int16]{0, 2, by, quant{scale: 1, wide: true}}} {
				if err := k.run(m); err != nil {
					t.Fatal(err)
				}
			}
			for i, code := range codes {
				if want := clamp(by.of(int32(code))+3, -128, 127); narrow[i] != want {
					t.Fatalf("%d times %d·2^%d becomes %d of int8, want %d", code, value, shift-31, narrow[i], want)
				}
				if want := clamp16(by.of(int32(code)), math.MinInt16, math.MaxInt16); wide[i] != want {
					t.Fatalf("%d times %d·2^%d becomes %d of int16, want %d", code, value, shift-31, wide[i], want)
				}
			}
		}
	}
}

func bytesOf[T int8 | int16](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(x[0])))
}

// Numbers are rounded to the nearest code, halves away from zero, and clamped.
func TestNumbersBecomeTheNearestCode(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	below := math.Nextafter32(0.5, 0)
	x := []float32{0, 0.5, -0.5, below, -below, 1.5, -2.5, 126.5, 127.4, 127.6, -128.5, -131, 1e30, -1e30, inf, -inf, nan, 32766.5, -32768.4, 40000}
	for _, zero := range []int32{-128, -3, 0, 127} {
		y := make([]int8, len(x))
		quantize(y, x, 1, zero)
		for i, v := range x {
			want := zero
			if v == v {
				want = int32(min(max(math.Round(float64(v))+float64(zero), -128), 127))
			}
			if int32(y[i]) != want {
				t.Errorf("%v with zero point %d becomes %d, want %d", v, zero, y[i], want)
			}
		}
	}
	y := make([]int16, len(x))
	quantize16(y, x, 1)
	for i, v := range x {
		want := 0.0
		if v == v {
			want = min(max(math.Round(float64(v)), math.MinInt16), math.MaxInt16)
		}
		if float64(y[i]) != want {
			t.Errorf("%v becomes %d, want %v", v, y[i], want)
		}
	}
}
