package ir_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

type builder = tflitetest.Builder

func reshapeTo(b *builder, x int32, shape []int32, target ...int32) int32 {
	return b.Op("reshape", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsNONE, nil, shape, x, b.Ints("target", target...))
}

func stridedSliceOf(b *builder, x int32, begin, end int32, shrink int32, shape []int32) int32 {
	return b.Op("slice", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions,
		&schema.StridedSliceOptionsT{ShrinkAxisMask: shrink}, shape, x, b.Ints("begin", begin), b.Ints("end", end), b.Ints("strides", 1))
}

// asInts makes tensors int32, as shapes are.
func asInts(b *builder, tensors ...int32) {
	for _, t := range tensors {
		b.Tensor(t).Type = schema.TensorTypeINT32
	}
}

func TestOutputsThatAreOneForAllSamplesKeepTheFilesBatch(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Add("y", b.Input("x", 1, 3), b.Const("c", []float32{1, 2, 3}, 1, 3), tflitetest.None))
	b.Output(b.Const("labels", []float32{1, 2, 3, 4, 5}, 5))
	var fixed *ir.BatchError
	if _, err := ir.Parse(b.Model(), 8); !errors.As(err, &fixed) || !strings.Contains(err.Error(), `"labels": it is one for all samples, so batch 8 is not possible`) {
		t.Errorf("%v", err)
	}
	if _, err := ir.Parse(b.Model(), 1); err != nil {
		t.Error(err)
	}
}

func TestBatchScalesWhateverTheFileSays(t *testing.T) {
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  []int // at batch 8
	}{
		"a flatten with the file's batch": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 1, 3, 4), []int32{1, 12}, 1, 12) }, []int{8, 12},
		},
		"a flatten with the batch open": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 1, 3, 4), []int32{1, 12}, -1, 12) }, []int{8, 12},
		},
		"a flatten with the rest open": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 1, 3, 4), []int32{1, 12}, 1, -1) }, []int{8, 12},
		},
		"time steps merged with the batch": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 1, 3, 4), []int32{3, 4}, 3, 4) }, []int{24, 4},
		},
		"the batch dropped and put back": {
			func(b *builder) int32 {
				return reshapeTo(b, reshapeTo(b, b.Input("x", 1, 12), []int32{12}, 12), []int32{1, 12}, 1, 12)
			}, []int{8, 12},
		},
		"a file whose batch is 2": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 2, 3, 4), []int32{2, 12}, 2, 12) }, []int{8, 12},
		},
		"a shape computed as Keras does": {
			func(b *builder) int32 {
				x := b.Input("x", 1, 3, 4)
				shape := b.Op("shape", schema.BuiltinOperatorSHAPE, schema.BuiltinOptionsNONE, nil, []int32{3}, x)
				batch := stridedSliceOf(b, shape, 0, 1, 1, nil)
				rest := b.Ints("rest", 12)
				b.Tensor(rest).Shape = nil
				target := b.Op("pack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: 2}, []int32{2}, batch, rest)
				asInts(b, shape, batch, target)
				return b.Op("reshape", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsNONE, nil, []int32{1, 12}, x, target)
			}, []int{8, 12},
		},
		"a slice of everything but the batch": {
			func(b *builder) int32 {
				return b.Op("slice", schema.BuiltinOperatorSLICE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, b.Input("x", 1, 5), b.Ints("begin", 0, 1), b.Ints("size", 1, 2))
			}, []int{8, 2},
		},
		"a mean over the image": {
			func(b *builder) int32 { return b.MeanHW("mean", b.Input("x", 1, 3, 4, 5)) }, []int{8, 5},
		},
		"a squeeze of named dimensions": {
			func(b *builder) int32 {
				return b.Op("squeeze", schema.BuiltinOperatorSQUEEZE, schema.BuiltinOptionsSqueezeOptions, &schema.SqueezeOptionsT{SqueezeDims: []int32{1, 2}}, []int32{1, 5}, b.Input("x", 1, 1, 1, 5))
			}, []int{8, 5},
		},
		"a constant that repeats": {
			func(b *builder) int32 {
				return b.Op("add", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, []int32{1, 5}, b.Input("x", 1, 5), b.Const("c", make([]float32, 5), 1, 5))
			}, []int{8, 5},
		},
		"dense layers over every position": {
			func(b *builder) int32 {
				return b.Op("dense", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{},
					[]int32{12, 7}, b.Input("x", 1, 3, 4, 5), b.Const("w", make([]float32, 35), 7, 5))
			}, []int{96, 7},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			b.Output(test.build(b))
			g, err := ir.Parse(b.Model(), 8)
			if err != nil {
				t.Fatal(err)
			}
			out := g.Tensors[g.Outputs[0]]
			if diff := cmp.Diff(test.want, out.Shape); diff != "" {
				t.Error(diff)
			}
			if !out.Batched {
				t.Error("the output is not batched")
			}
		})
	}
}

func TestWhatMixesSamplesKeepsTheFilesBatch(t *testing.T) {
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  string
	}{
		"a softmax over what was the batch": {
			func(b *builder) int32 { return b.Softmax("softmax", reshapeTo(b, b.Input("x", 1, 5), []int32{5}, 5)) },
			"operator 1 SOFTMAX: it works along the only dimension, the samples",
		},
		"a mean over the batch": {
			func(b *builder) int32 {
				return b.Op("mean", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsNONE, nil, []int32{5}, b.Input("x", 1, 5), b.Ints("axes", 0))
			},
			"operator 0 MEAN: it reduces over the samples",
		},
		"a transpose of the batch": {
			func(b *builder) int32 {
				return b.Op("transpose", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsNONE, nil, []int32{5, 1}, b.Input("x", 1, 5), b.Ints("perm", 1, 0))
			},
			"operator 0 TRANSPOSE: it moves the dimension of the samples",
		},
		"a concatenation with a constant": {
			func(b *builder) int32 {
				return b.Concat("concat", 1, b.Input("x", 1, 5), b.Const("c", make([]float32, 2), 1, 2))
			},
			`operator 0 CONCATENATION: tensor 1 "c" is not one a sample`,
		},
		"a constant for every sample": {
			func(b *builder) int32 {
				return b.Op("add", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, []int32{2, 5}, b.Input("x", 2, 5), b.Const("c", make([]float32, 10), 2, 5))
			},
			`operator 0 ADD: shapes [8 5] and [2 5] do not combine`,
		},
		"a custom operator": {
			func(b *builder) int32 { return b.Custom("fancy", "Fancy", []int32{1, 5}, b.Input("x", 1, 5)) },
			`operator 0 custom "Fancy": how it treats the samples of a batch is not known`,
		},
		"the first of the samples": {
			func(b *builder) int32 {
				return b.Op("slice", schema.BuiltinOperatorSLICE, schema.BuiltinOptionsNONE, nil, []int32{1, 5}, b.Input("x", 2, 5), b.Ints("begin", 0, 0), b.Ints("size", 1, 5))
			},
			"operator 0 SLICE: it takes some of the samples",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			b.Output(test.build(b))
			m := b.Model()
			if _, err := ir.Parse(m, 0); err != nil {
				t.Fatalf("at the file's batch: %v", err)
			}
			_, err := ir.Parse(m, 8)
			var batch *ir.BatchError
			if !errors.As(err, &batch) {
				t.Fatalf("got %v, want a BatchError", err)
			}
			if !strings.HasPrefix(err.Error(), test.want+", so batch 8 is not possible") {
				t.Errorf("got %q, want it to begin with %q", err, test.want)
			}
		})
	}
}

func TestConstantsOfFloat16BecomeFloat32(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	half := b.Raw("half", schema.TensorTypeFLOAT16, []byte{0x00, 0x3c, 0x00, 0xc1}, 1, 2) // 1, -2.5
	w := b.Op("w", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2}, half)
	b.Output(b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsNONE, nil, []int32{1, 1}, x, w))
	g, err := ir.Parse(b.Model(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{1, -2.5}, g.Tensors[w].Float32s()); diff != "" {
		t.Error(diff)
	}
	if !g.Nodes[0].Folded {
		t.Error("the DEQUANTIZE is left to run")
	}
}
