package ir

import (
	"math"
	"testing"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// What LiteRT 2.3 answers, whichever of its kernels runs.
func TestCastsGiveWhatLiteRTGives(t *testing.T) {
	const (
		f32, boolean  = schema.TensorTypeFLOAT32, schema.TensorTypeBOOL
		i8, i16       = schema.TensorTypeINT8, schema.TensorTypeINT16
		i32, i64      = schema.TensorTypeINT32, schema.TensorTypeINT64
		u8, u16, u32  = schema.TensorTypeUINT8, schema.TensorTypeUINT16, schema.TensorTypeUINT32
		half, complex = schema.TensorTypeFLOAT16, schema.TensorTypeCOMPLEX64
	)
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		from, to schema.TensorType
		x, want  float64
	}{
		{f32, i8, -0.9, 0}, {f32, i8, 1.5, 1}, {f32, i8, -1.5, -1}, {f32, i8, 127, 127}, {f32, i8, 128, 127}, {f32, i8, -128, -128}, {f32, i8, -129, -128},
		{f32, i8, 300, 127}, {f32, i8, 3e9, 127}, {f32, i8, -inf, -128}, {f32, i8, nan, 127},
		{f32, u8, -1.5, 0}, {f32, u8, 255, 255}, {f32, u8, 256, 255}, {f32, u8, nan, 255},
		{f32, i16, 32768, 32767}, {f32, i16, -32769, -32768}, {f32, i16, nan, 32767},
		{f32, u16, 70000, 65535}, {f32, u16, -2, 0}, {f32, u32, 5e9, 4294967295}, {f32, u32, -2, 0},
		{f32, i32, 2147483520, 2147483520}, {f32, i32, 3e9, 2147483647}, {f32, i32, -3e9, -2147483648}, {f32, i32, inf, 2147483647}, {f32, i32, nan, 2147483647},
		{half, i32, 2.75, 2},
		{f32, i64, 3e9, 3e9}, {f32, i64, 1e30, math.MaxInt64}, {f32, i64, -1e30, math.MinInt64},
		{f32, boolean, 0, 0}, {f32, boolean, 0.25, 1}, {f32, boolean, -3, 1}, {f32, boolean, nan, 1}, {i32, boolean, 7, 1},
		{i32, i8, 300, 44}, {i32, i8, -129, 127}, {i32, u8, -1, 255}, {i32, i16, 70000, 4464}, {i64, i32, 1 << 32, 0}, {i32, i64, -5, -5}, {u8, i8, 200, -56},
		{i32, f32, 3, 3}, {f32, half, 1.5, 1.5}, {f32, complex, 1.5, 1},
	} {
		if got := (Cast{c.from, c.to}).Of(c.x); got != c.want {
			t.Errorf("%v from %s to %s is %v, want %v", c.x, c.from, c.to, got, c.want)
		}
	}
}
