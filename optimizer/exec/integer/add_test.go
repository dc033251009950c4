package integer_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// TestLargeSumsAreExact: ADD and SUB of tensors large enough for package kernel give the plain loop's bytes, of scales as trained
// networks have them and of those whose sums lie in the middle between codes.
func TestLargeSumsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 1))
	scale := func() float32 {
		if rng.IntN(3) == 0 {
			return float32(math.Exp2(float64(-rng.IntN(6))))
		}
		return float32(math.Exp2(rng.NormFloat64() - 4))
	}
	for range 60 {
		shape := []int32{1, 1 << 16}
		if rng.IntN(3) == 0 {
			shape[1] += int32(rng.IntN(40))
		}
		b := newBuilder()
		affines := [3]affine{}
		for i := range affines {
			affines[i] = affine{scale(), int64(rng.IntN(256) - 128)}
		}
		op, kind := schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions
		var options any = &schema.AddOptionsT{FusedActivationFunction: schema.ActivationFunctionType(rng.IntN(4))}
		if rng.IntN(2) == 0 {
			op, kind, options = schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}
		}
		y := b.op(op, kind, options, affines[2], shape, b.input(affines[0], shape...), b.input(affines[1], shape...))
		m := b.model(y)
		x := [2][]byte{make([]byte, shape[1]), make([]byte, shape[1])}
		for i := range x[0] { // every pair of codes
			x[0][i], x[1][i] = byte(i>>8), byte(i)
		}
		got := run(t, compile(t, m, 1), x[0], x[1])
		want := run(t, compile(t, m, 1, integer.Reference()), x[0], x[1])
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%v of scales %v: codes %d and %d give %d, want %d", op, affines, int8(x[0][i]), int8(x[1][i]), int8(got[i]), int8(want[i]))
			}
		}
	}
}

// LiteRT aborts where a sum's factor is one or more.
func TestSumsOfTinyScaleAreRefused(t *testing.T) {
	for _, o := range []struct {
		code    schema.BuiltinOperator
		kind    schema.BuiltinOptions
		options any
		scale   float32 // the largest that is refused
	}{
		{schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, 0.125 / (1 << 20)},
		{schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}, 0.125 / (1 << 20)},
		{schema.BuiltinOperatorSQUARED_DIFFERENCE, schema.BuiltinOptionsNONE, nil, 0.125 * 0.125 / (1 << 14)},
	} {
		for _, scale := range []float32{o.scale, 1.01 * o.scale} {
			b := newBuilder()
			y := b.op(o.code, o.kind, o.options, affine{scale, 0}, []int32{1, 8}, b.input(affine{0.0625, 3}, 1, 8), b.input(affine{0.02, 0}, 1, 8))
			_, err := integer.Compile(b.model(y), 1)
			if refused := err != nil && strings.Contains(err.Error(), `the scale of tensor 2 "y" is so much smaller`); refused != (scale == o.scale) {
				t.Errorf("%s of scale %v: %v", o.code, scale, err)
			}
		}
	}
}
