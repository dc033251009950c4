package integer_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// small is a convolution, a depthwise convolution, a mean and a dense layer with softmax, all int8.
func small() *tflite.Model {
	b := newBuilder()
	g := geometry{h: 9, w: 7, in: 2, out: 20, kh: 3, kw: 3, stride: 1, dilation: 1, groups: 1}
	conv := &schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}
	x := b.op(schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, conv, wide, []int32{1, 9, 7, 20}, b.input(wide, 1, 9, 7, 2), b.filter(g, 0, 20, 3, 3, 2), b.bias(20))
	depthwise := &schema.DepthwiseConv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1, DepthMultiplier: 1}
	x = b.op(schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, depthwise, wide, []int32{1, 9, 7, 20}, x, b.filter(g, 3, 1, 3, 3, 20), b.bias(20))
	x = b.plain(schema.BuiltinOperatorMEAN, wide, []int32{1, 20}, x, b.Ints("axes", 1, 2))
	x = b.op(schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, wide, []int32{1, 5}, x, b.filter(g, 0, 5, 20), b.bias(5))
	x = b.op(schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 1}, affine{1.0 / 256, -128}, []int32{1, 5}, x)
	return b.model(x)
}

func TestSamplesOfABatchDoNotInfluenceEachOther(t *testing.T) {
	m := small()
	one, four := compile(t, m, 1), compile(t, m, 4)
	x := randomCodes(newBuilder().rng, 4*126)
	together := bytes.Clone(run(t, four, x))
	for i := range 4 {
		if !bytes.Equal(run(t, one, x[i*126:(i+1)*126]), together[i*5:(i+1)*5]) {
			t.Errorf("sample %d differs", i)
		}
	}
	if err := four.SetInputBytes(0, x[126:3*126]); err != nil { // the first two change places with samples 1 and 2
		t.Fatal(err)
	}
	if err := four.Run(); err != nil {
		t.Fatal(err)
	}
	want := append(append(bytes.Clone(together[5:15]), together[10:15]...), together[15:]...)
	if diff := cmp.Diff(want, four.OutputBytes(0)); diff != "" {
		t.Error(diff)
	}
}

func TestClonesHaveTheirOwnActivations(t *testing.T) {
	e := compile(t, small(), 0)
	clone := e.Clone()
	x, y := randomCodes(newBuilder().rng, 126), make([]byte, 126)
	want := bytes.Clone(run(t, e, x))
	run(t, clone, y)
	if !bytes.Equal(e.OutputBytes(0), want) {
		t.Error("running a clone changed the output of the original")
	}
	if !bytes.Equal(run(t, clone, x), want) {
		t.Error("a clone gives another output")
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	e := compile(t, small(), 2)
	x := make([]float32, 2*126)
	once := func() {
		if err := e.SetInput(0, x); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		e.Output(0)
	}
	once()
	if n := testing.AllocsPerRun(10, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestInputsAreQuantizedAndOutputsDequantized(t *testing.T) {
	b := newBuilder()
	e := compile(t, b.model(b.plain(schema.BuiltinOperatorRELU, wide, []int32{1, 5}, b.input(wide, 1, 5))), 0)
	nan := float32(math.NaN())
	if err := e.SetInput(0, []float32{0.026, 0.024, 100, -3, nan}); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{0.05, 0, 6.85, 0, 0}, e.Output(0)); diff != "" {
		t.Error(diff)
	}
}

func TestInputsWithoutAScaleAreTheIntegersThemselves(t *testing.T) {
	for kind, want := range map[schema.TensorType][]float32{
		schema.TensorTypeUINT8: {0, 3, 200, 255}, schema.TensorTypeINT8: {-2, 3, 127, 127}, schema.TensorTypeINT32: {-2, 3, 200, 300},
	} {
		b := tflitetest.New()
		x := b.Input("x", 1, 4)
		b.SetType(x, kind)
		b.Output(b.Op("y", schema.BuiltinOperatorCAST, schema.BuiltinOptionsCastOptions,
			&schema.CastOptionsT{InDataType: kind, OutDataType: schema.TensorTypeFLOAT32}, []int32{1, 4}, x))
		e := compile(t, b.Model(), 0)
		if err := e.SetInput(0, []float32{-2, 3, 200, 300}); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, e.Output(0)); diff != "" {
			t.Error(kind, diff)
		}
	}
}

func TestInputsOfTheWrongSizeAreErrors(t *testing.T) {
	e := compile(t, small(), 2)
	for _, test := range []struct {
		err  error
		want string
	}{
		{e.SetInput(0, make([]float32, 100)), `input tensor 0 "x" has 126 elements a sample (shape [2 9 7 2]), got 100`},
		{e.SetInput(0, make([]float32, 3*126)), `input tensor 0 "x" has 126 elements a sample (shape [2 9 7 2]), got 378`},
		{e.SetInput(0, nil), `input tensor 0 "x" has 126 elements a sample (shape [2 9 7 2]), got 0`},
		{e.SetInputBytes(1, make([]byte, 126)), "input 1 of 1"},
	} {
		if test.err == nil || test.err.Error() != test.want {
			t.Errorf("got %v, want %s", test.err, test.want)
		}
	}
}

func TestArenaIsThatOfOneSample(t *testing.T) {
	// The input, 128 with its padding, lives throughout; beside it the two activations of 1,260 (1,264). What comes after them fits
	// where the first has been.
	for _, batch := range []int{0, 8} {
		if got, want := compile(t, small(), batch).ArenaBytes(), 128+2*1264; got != want {
			t.Errorf("batch %d: arena of %d bytes, want %d", batch, got, want)
		}
	}
}

func TestWhatCannotRunIsRefusedWithAReason(t *testing.T) {
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  string
	}{
		"a custom operator": {
			func(b *builder) int32 { return b.Custom("fancy", "Fancy", []int32{1, 5}, b.input(wide, 1, 5)) },
			`operator 0 custom "Fancy": this operator is not supported: remove it from the model, or run it behind the optimized part`,
		},
		"unsigned 16-bit activations": {
			func(b *builder) int32 {
				x := b.Input("x", 1, 5)
				b.Tensor(x).Type = schema.TensorTypeUINT16
				return b.plain(schema.BuiltinOperatorRELU, wide, []int32{1, 5}, x)
			},
			`operator 0 RELU: tensor 0 "x" is UINT16: only int8, int16 and float32 are supported; convert with activations of 8 or 16 bits`,
		},
		"16-bit activations with a zero point": {
			func(b *builder) int32 {
				x := b.int16s(b.Input("x", 1, 5), 0.1)
				b.Quantize(x, 0, 3, 0.1)
				return b.plain(schema.BuiltinOperatorRELU, wide, []int32{1, 5}, x)
			},
			`operator 0 RELU: tensor 0 "x" has zero point 3: int16 activations are symmetric`,
		},
		"an operator without an int16 form": {
			func(b *builder) int32 {
				return b.plain(schema.BuiltinOperatorPRELU, wide, []int32{1, 5}, b.int16s(b.Input("x", 1, 5), 0.1), b.input(wide, 5))
			},
			"operator 0 PRELU: there is no int16 form of this operator: keep it float, as converters do between DEQUANTIZE and QUANTIZE",
		},
		"an operator without an int8 form": {
			func(b *builder) int32 {
				return b.plain(schema.BuiltinOperatorSIN, wide, []int32{1, 5}, b.input(wide, 1, 5))
			},
			"operator 0 SIN: there is no int8 form of this operator: keep it float, as converters do between DEQUANTIZE and QUANTIZE",
		},
		"activations with a scale for every channel": {
			func(b *builder) int32 {
				x := b.input(wide, 1, 5)
				b.Quantize(x, 1, 0, 1, 2, 3, 4, 5)
				return b.plain(schema.BuiltinOperatorRELU, wide, []int32{1, 5}, x)
			},
			`operator 0 RELU: tensor 0 "x" is INT8 without a single scale: quantize activations per tensor`,
		},
		"weights that are computed": {
			func(b *builder) int32 {
				return b.plain(schema.BuiltinOperatorFULLY_CONNECTED, wide, []int32{1, 3}, b.input(wide, 1, 5), b.int8s(b.Input("w", 3, 5), wide))
			},
			`operator 0 FULLY_CONNECTED: its weights tensor 1 "w" are not constant INT8 or INT4: convert with weights of 8 or 4 bits`,
		},
		"a softmax with another scale": {
			func(b *builder) int32 {
				return b.op(schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 1}, wide, []int32{1, 5}, b.input(wide, 1, 5))
			},
			`operator 0 SOFTMAX: tensor 1 "y" has scale 0.05 and zero point -10; the specification fixes 0.00390625 and -128 for this operator`,
		},
		"a pool that would rescale": {
			func(b *builder) int32 {
				options := &schema.Pool2DOptionsT{StrideH: 1, StrideW: 1, FilterHeight: 1, FilterWidth: 1}
				return b.op(schema.BuiltinOperatorMAX_POOL_2D, schema.BuiltinOptionsPool2DOptions, options, narrow, []int32{1, 2, 2, 1}, b.input(wide, 1, 2, 2, 1))
			},
			`operator 0 MAX_POOL_2D: tensor 0 "x" and tensor 1 "y" are quantized differently (scale 0.05, zero point -10; 0.02, 5), which the specification forbids here`,
		},
		"too much memory": {
			func(b *builder) int32 {
				return b.plain(schema.BuiltinOperatorRELU, wide, []int32{1, 1 << 30}, b.input(wide, 1, 1<<30))
			},
			"activations take 2048 MiB, an executor may have 1024: use a smaller batch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder()
			_, err := integer.Compile(b.model(test.build(b)), 0)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			var unsupported *integer.UnsupportedError
			if strings.HasPrefix(test.want, "operator") && !errors.As(err, &unsupported) {
				t.Errorf("%T is no UnsupportedError", err)
			}
		})
	}
}

func TestValuesAnOperatorIsNotDefinedForAreErrorsOfRun(t *testing.T) {
	b := newBuilder()
	e := compile(t, b.model(b.plain(schema.BuiltinOperatorRSQRT, narrow, []int32{1, 1}, b.input(narrow, 1, 1))), 0)
	if err := e.SetInput(0, []float32{-1}); err != nil {
		t.Fatal(err)
	}
	want := "operator 0 RSQRT: value -45 is below the zero point: not defined for negative numbers"
	if err := e.Run(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}

	b = newBuilder()
	e = compile(t, b.model(b.plain(schema.BuiltinOperatorDIV, wide, []int32{1, 1}, b.input(wide, 1, 1), b.int8s(b.Input("d", 1, 1), narrow))), 0)
	if err := e.SetInput(1, []float32{0}); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err == nil || err.Error() != "operator 0 DIV: division by zero" {
		t.Errorf("got %v", err)
	}

	b = newBuilder()
	indices := b.Input("i", 1)
	b.Tensor(indices).Type = schema.TensorTypeINT32
	e = compile(t, b.model(b.op(schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: 1}, wide, []int32{1, 1}, b.input(wide, 1, 3), indices)), 0)
	if err := e.SetInputBytes(0, []byte{3, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err == nil || err.Error() != "operator 0 GATHER: index 3 of a dimension of 3" {
		t.Errorf("got %v", err)
	}
}

func TestABatchThatIsNotProvenIsABatchError(t *testing.T) {
	b := newBuilder()
	_, err := integer.Compile(b.model(b.plain(schema.BuiltinOperatorREVERSE_V2, wide, []int32{1, 5}, b.input(wide, 1, 5), b.Ints("axes", 0))), 4)
	var batch *ir.BatchError
	if !errors.As(err, &batch) {
		t.Errorf("got %v, want a BatchError", err)
	}
}

func TestFloatModelsRunToo(t *testing.T) {
	b := tflitetest.New()
	x := b.Dense("dense", b.Input("x", 1, 2), []float32{1, 2, 3, 4}, []float32{0.5, -20}, 2, tflitetest.ReLU)
	b.Output(x)
	e := compile(t, b.Model(), 2)
	if err := e.SetInput(0, []float32{1, 1, 2, 0}); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{3.5, 0, 2.5, 0}, e.Output(0)); diff != "" {
		t.Error(diff)
	}
}
