package integer_test

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// int16s makes a float tensor int16.
func (b *builder) int16s(t int32, scale float32) int32 {
	b.Tensor(t).Type = schema.TensorTypeINT16
	b.Quantize(t, 0, 0, scale)
	return t
}

// Old files keep LSTM cells in scales that are powers of two, for which ADD and SUB shift one operand and saturate.
func TestSumsOfScalesThatArePowersOfTwoShift(t *testing.T) {
	for name, test := range map[string]struct {
		model *tflite.Model
		want  []int16
	}{
		"ADD": {sumOf(schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{PotScaleInt16: true}, 1.0/4096), []int16{100 + 3, -200 - 2, math.MaxInt16}},
		"SUB": {sumOf(schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{PotScaleInt16: true}, 1.0/4096), []int16{100 - 3, -200 + 2, 32767 - 25}},
	} {
		got := run(t, compile(t, test.model, 0), shorts(100, -200, 32767), shorts(10, -7, 100))
		if !slices.Equal(got, shorts(test.want...)) {
			t.Errorf("%s gives %v, want %v", name, got, test.want)
		}
	}
	coarse := sumOf(schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{PotScaleInt16: true}, 1.0/2048)
	if _, err := integer.Compile(coarse, 0); err == nil || !strings.Contains(err.Error(), "powers of two") {
		t.Errorf("an operand coarser than the output: %v", err)
	}
}

// sumOf combines an operand of the given scale and one of 1/16384 to a scale of 1/4096.
func sumOf(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, scale float32) *tflite.Model {
	b := newBuilder()
	x, y := b.int16s(b.Input("x", 1, 3), scale), b.int16s(b.Input("y", 1, 3), 1.0/16384)
	return b.model(b.int16s(b.Op("sum", code, kind, options, []int32{1, 3}, x, y), 1.0/4096))
}

// QUANTIZE goes from int16 to int8 and between scales of int16, but not up.
func TestQuantizeGoesDownFromInt16(t *testing.T) {
	for name, test := range map[string]struct {
		out  func(b *builder, t int32) int32
		want []byte
	}{
		"to int8":  {func(b *builder, t int32) int32 { return b.int8s(t, affine{0.5, 3}) }, []byte{3 + 20, 256 + 3 - 40, 127}},
		"to int16": {func(b *builder, t int32) int32 { return b.int16s(t, 0.005) }, shorts(2000, -4000, 32767)},
	} {
		b := newBuilder()
		x := b.int16s(b.Input("x", 1, 3), 0.01)
		m := b.model(test.out(b, b.Op("y", schema.BuiltinOperatorQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 3}, x)))
		if got := run(t, compile(t, m, 0), shorts(1000, -2000, 32000)); !slices.Equal(got, test.want) {
			t.Errorf("%s gives %v, want %v", name, got, test.want)
		}
	}
	b := newBuilder()
	m := b.model(b.int16s(b.Op("y", schema.BuiltinOperatorQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 3}, b.input(wide, 1, 3)), 0.01))
	if _, err := integer.Compile(m, 0); err == nil || !strings.Contains(err.Error(), "put a DEQUANTIZE between") {
		t.Errorf("from int8 to int16: %v", err)
	}
}

// Real values go in and come out on the input's and output's grids.
func TestInt16InputsAreQuantizedAndOutputsDequantized(t *testing.T) {
	b := newBuilder()
	x := b.int16s(b.Input("x", 1, 4), 0.01)
	e := compile(t, b.model(b.int16s(b.Op("y", schema.BuiltinOperatorRELU, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, x), 0.01)), 0)
	if err := e.SetInput(0, []float32{1.234, -2, float32(math.NaN()), 1e9}); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	want := []float32{1.23, 0, 0, 327.67}
	for i, v := range e.Output(0) {
		if math.Abs(float64(v-want[i])) > 1e-4 {
			t.Errorf("output %d is %v, want %v", i, v, want[i])
		}
	}
}

func shorts(x ...int16) []byte {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}
