package target

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// What Source/*/…_get_buffer_sizes_s8.c of ARM-software/CMSIS-NN at 99f736a gives, by hand.
func TestScratchOfCMSISNN(t *testing.T) {
	conv := func(stride int32, padding schema.Padding) *schema.BuiltinOptionsT {
		return &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsConv2DOptions, Value: &schema.Conv2DOptionsT{
			StrideH: stride, StrideW: stride, DilationHFactor: 1, DilationWFactor: 1, Padding: padding}}
	}
	depthwise := &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsDepthwiseConv2DOptions, Value: &schema.DepthwiseConv2DOptionsT{
		StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1, DepthMultiplier: 1}}
	pool := &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsPool2DOptions, Value: &schema.Pool2DOptionsT{StrideH: 2, StrideW: 2, FilterHeight: 2, FilterWidth: 2}}
	tests := map[string]struct {
		code           schema.BuiltinOperator
		options        *schema.BuiltinOptionsT
		input, weights []int32
		plain, dsp     []int
		helium         []int
	}{
		"a convolution": {schema.BuiltinOperatorCONV_2D, conv(1, schema.PaddingSAME), []int32{1, 8, 8, 5}, []int32{16, 3, 3, 5}, []int{4 * 48}, []int{4 * 48}, []int{4 * 48}},
		"one of 1x1":    {schema.BuiltinOperatorCONV_2D, conv(1, schema.PaddingSAME), []int32{1, 8, 8, 5}, []int32{16, 1, 1, 5}, nil, nil, nil},
		"a depthwise":   {schema.BuiltinOperatorDEPTHWISE_CONV_2D, depthwise, []int32{1, 8, 8, 16}, []int32{1, 5, 5, 16}, nil, []int{2 * 25 * 16}, []int{4 * 124 * 25}},
		"one channel":   {schema.BuiltinOperatorDEPTHWISE_CONV_2D, depthwise, []int32{1, 8, 8, 1}, []int32{1, 5, 5, 16}, nil, []int{2 * 25 * 16}, []int{4*32 + 25*16}},
		"an average":    {schema.BuiltinOperatorAVERAGE_POOL_2D, pool, []int32{1, 8, 8, 16}, nil, nil, []int{4 * 16}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tensors := []*schema.TensorT{{Shape: tt.input, Type: schema.TensorTypeINT8}, {Shape: tt.weights, Type: schema.TensorTypeINT8}, {Shape: tt.input, Type: schema.TensorTypeINT8}}
			n := &node{subgraph: &schema.SubGraphT{Tensors: tensors}, op: &schema.OperatorT{Inputs: []int32{0, 1}, Outputs: []int32{2}, BuiltinOptions: tt.options}, code: tt.code}
			for library, want := range map[string][]int{"cmsis-nn": tt.plain, "cmsis-nn-dsp": tt.dsp, "cmsis-nn-mve": tt.helium} {
				var k kernelMemory
				cmsis(n, library, &k)
				if diff := cmp.Diff(want, k.scratch); diff != "" {
					t.Errorf("%s: %s", library, diff)
				}
			}
		})
	}
}
