package integer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// affine is a quantization for tests.
type affine struct {
	scale float32
	zero  int64
}

func (q affine) real(code int8) float64 { return float64(q.scale) * float64(int64(code)-q.zero) }

// builder builds int8 models.
type builder struct {
	*tflitetest.Builder
	rng *rand.Rand
}

func newBuilder() *builder {
	return &builder{tflitetest.New(), rand.New(rand.NewPCG(1, 2))}
}

// int8s makes a float tensor int8.
func (b *builder) int8s(t int32, q affine) int32 {
	b.Tensor(t).Type = schema.TensorTypeINT8
	b.Quantize(t, 0, q.zero, q.scale)
	return t
}

func (b *builder) input(q affine, shape ...int32) int32 { return b.int8s(b.Input("x", shape...), q) }

// codes adds a random int8 constant between lo and hi.
func (b *builder) codes(q affine, lo, hi int, shape ...int32) int32 {
	data := make([]byte, elements(shape))
	for i := range data {
		data[i] = byte(lo + b.rng.IntN(hi-lo+1))
	}
	t := b.Raw("constant", schema.TensorTypeINT8, data, shape...)
	b.Quantize(t, 0, q.zero, q.scale)
	return t
}

// weights adds random int8 weights with a scale for every channel along axis.
func (b *builder) weights(axis int32, shape ...int32) int32 {
	t := b.codes(affine{1, 0}, -127, 127, shape...)
	scales := make([]float32, shape[axis])
	for i := range scales {
		scales[i] = 0.002 + 0.01*b.rng.Float32()
	}
	b.Quantize(t, axis, 0, scales...)
	return t
}

// bias adds a random int32 constant.
func (b *builder) bias(n int32) int32 {
	values := make([]int32, n)
	for i := range values {
		values[i] = int32(b.rng.IntN(20001) - 10000)
	}
	return b.Ints("bias", values...)
}

// op adds an operator with an int8 output.
func (b *builder) op(op schema.BuiltinOperator, kind schema.BuiltinOptions, options any, q affine, shape []int32, inputs ...int32) int32 {
	return b.int8s(b.Op("y", op, kind, options, shape, inputs...), q)
}

func (b *builder) plain(op schema.BuiltinOperator, q affine, shape []int32, inputs ...int32) int32 {
	return b.op(op, schema.BuiltinOptionsNONE, nil, q, shape, inputs...)
}

func (b *builder) model(out int32) *tflite.Model {
	b.Output(out)
	return b.Model()
}

func elements(shape []int32) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}

func compile(t testing.TB, m *tflite.Model, batch int, options ...integer.Option) *integer.Executor {
	t.Helper()
	e, err := integer.Compile(m, batch, options...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// run sets every input to raw data, runs and returns the first output.
func run(t testing.TB, e *integer.Executor, inputs ...[]byte) []byte {
	t.Helper()
	for i, x := range inputs {
		if err := e.SetInputBytes(i, x); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	return e.OutputBytes(0)
}

// allCodes returns n codes, every one of them from −128 up in turn.
func allCodes(n int) []byte {
	x := make([]byte, n)
	for i := range x {
		x[i] = byte(int8(i%256 - 128))
	}
	return x
}

func randomCodes(rng *rand.Rand, n int) []byte {
	x := make([]byte, n)
	for i := range x {
		x[i] = byte(rng.IntN(256))
	}
	return x
}

// near checks codes against real values: off by at most tolerance codes, after clamping.
func near(t *testing.T, got []byte, q affine, want []float64, tolerance float64) {
	t.Helper()
	for i, w := range want {
		code := min(max(w/float64(q.scale)+float64(q.zero), -128), 127)
		if d := math.Abs(float64(int8(got[i])) - code); !(d <= tolerance) {
			t.Fatalf("element %d is %d, want %.3f (real %v)", i, int8(got[i]), code, w)
		}
	}
}
