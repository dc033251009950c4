package ir_test

import (
	"errors"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestErrorsNameTheOperatorAndWhatIsWrong(t *testing.T) {
	floats := func(n int) []float32 { return make([]float32, n) }
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  string
	}{
		"a window larger than the image": {
			func(b *builder) int32 {
				options := &schema.Pool2DOptionsT{Padding: schema.PaddingVALID, StrideH: 1, StrideW: 1, FilterHeight: 4, FilterWidth: 4}
				return b.Op("pool", schema.BuiltinOperatorMAX_POOL_2D, schema.BuiltinOptionsPool2DOptions, options, []int32{1, 1, 1, 1}, b.Input("x", 1, 3, 3, 1))
			},
			"operator 0 MAX_POOL_2D: a window of 4×4 (dilation 1×1) does not fit 3×3 pixels",
		},
		"spectra of single numbers": {
			func(b *builder) int32 {
				return b.Op("spectrum", schema.BuiltinOperatorRFFT2D, schema.BuiltinOptionsNONE, nil, []int32{1, 4, 1}, b.Input("x", 1, 4, 1), b.Ints("lengths", 4, 1))
			},
			"operator 0 RFFT2D: its rows have length 1: LiteRT's kernel reads beyond such rows; transform along the last dimension, swapped with the one before if need be",
		},
		"no stride": {
			func(b *builder) int32 {
				return b.Op("pool", schema.BuiltinOperatorMAX_POOL_2D, schema.BuiltinOptionsNONE, nil, []int32{1, 1, 1, 1}, b.Input("x", 1, 3, 3, 1))
			},
			"operator 0 MAX_POOL_2D: kernel 0×0, stride 0×0, dilation 1×1: all must be at least 1",
		},
		"options of another operator": {
			func(b *builder) int32 {
				return b.Op("add", schema.BuiltinOperatorADD, schema.BuiltinOptionsPool2DOptions, &schema.Pool2DOptionsT{}, []int32{1}, b.Input("x", 1), b.Input("y", 1))
			},
			"operator 0 ADD: has the options of another operator, Pool2DOptions",
		},
		"an activation that is no clamp": {
			func(b *builder) int32 {
				return b.Add("add", b.Input("x", 1), b.Input("y", 1), schema.ActivationFunctionTypeTANH)
			},
			"operator 0 ADD: fused activation TANH is not supported: export it as an operator of its own",
		},
		"weights of another depth": {
			func(b *builder) int32 {
				return b.Op("dense", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsNONE, nil, []int32{1, 3}, b.Input("x", 1, 5), b.Const("w", floats(12), 3, 4))
			},
			"operator 0 FULLY_CONNECTED: weights [3 4] do not fit input [1 5]",
		},
		"a bias of another length": {
			func(b *builder) int32 {
				return b.Op("dense", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsNONE, nil, []int32{1, 3},
					b.Input("x", 1, 4), b.Const("w", floats(12), 3, 4), b.Const("b", floats(2), 2))
			},
			`operator 0 FULLY_CONNECTED: bias tensor 2 "b" has 2 elements for 3 channels`,
		},
		"an axis out of range": {
			func(b *builder) int32 {
				return b.Op("mean", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsNONE, nil, []int32{1}, b.Input("x", 1, 12), b.Ints("axes", 2))
			},
			"operator 0 MEAN: axis 2 of 2 dimensions",
		},
		"a reshape to another size": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 1, 12), []int32{1, 10}, 1, 10) },
			"operator 0 RESHAPE: [1 10] does not have the 12 elements of [1 12]",
		},
		"two open dimensions": {
			func(b *builder) int32 { return reshapeTo(b, b.Input("x", 1, 12), []int32{1, 12}, -1, -1) },
			"operator 0 RESHAPE: [-1 -1] does not have the 12 elements of [1 12]",
		},
		"axes known only when running": {
			func(b *builder) int32 {
				axes := b.Input("axes", 1)
				b.Tensor(axes).Type = schema.TensorTypeINT32
				return b.Op("mean", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsNONE, nil, []int32{1}, b.Input("x", 1, 12), axes)
			},
			`operator 0 MEAN: axes (tensor 0 "axes", INT32) is not an integer constant`,
		},
		"a shape that overflows": {
			func(b *builder) int32 {
				return b.Op("pad", schema.BuiltinOperatorPAD, schema.BuiltinOptionsNONE, nil, []int32{1}, b.Input("x", 1, 1), b.Ints("pads", 0, 1<<30, 1<<30, 0))
			},
			"operator 0 PAD: output 0: shape [1073741825 1073741825] has more than 2147483647 elements",
		},
		"a missing input": {
			func(b *builder) int32 {
				return b.Op("relu", schema.BuiltinOperatorRELU, schema.BuiltinOptionsNONE, nil, []int32{1}, -1)
			},
			"operator 0 RELU: input 0 is missing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			b.Output(test.build(b))
			_, err := ir.Parse(b.Model(), 0)
			var typed *ir.Error
			if !errors.As(err, &typed) || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}
