package ir_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestPaddingIsLiteRTs(t *testing.T) {
	same, valid := schema.PaddingSAME, schema.PaddingVALID
	for name, test := range map[string]struct {
		in, kernel, stride, dilation int32
		padding                      schema.Padding
		out, before, after           int
	}{
		"same keeps the size":                            {10, 3, 1, 1, same, 10, 1, 1},
		"an odd pixel of padding goes after":             {10, 3, 2, 1, same, 5, 0, 1},
		"an even kernel pads after":                      {10, 2, 1, 1, same, 10, 0, 1},
		"a stride over the kernel leaves nothing to pad": {10, 2, 3, 1, same, 4, 0, 1},
		"same with dilation":                             {10, 3, 1, 4, same, 10, 4, 4},
		"valid drops the border":                         {10, 3, 1, 1, valid, 8, 0, 0},
		"valid with stride drops what does not fit":      {11, 3, 4, 1, valid, 3, 0, 0},
		"valid with dilation":                            {10, 3, 1, 2, valid, 6, 0, 0},
		"a kernel as large as the image":                 {5, 5, 1, 1, valid, 1, 0, 0},
		"a kernel larger than the image":                 {3, 9, 1, 1, same, 3, 4, 4},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, test.in, test.in, 1)
			w := b.Const("w", make([]float32, test.kernel*test.kernel), 1, test.kernel, test.kernel, 1)
			options := &schema.Conv2DOptionsT{
				Padding: test.padding, StrideH: test.stride, StrideW: test.stride, DilationHFactor: test.dilation, DilationWFactor: test.dilation,
			}
			b.Output(b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, options, []int32{1, 1, 1, 1}, x, w))
			g, err := ir.Parse(b.Model(), 0)
			if err != nil {
				t.Fatal(err)
			}
			got := g.Nodes[0].Attr.(ir.Conv).Window
			k, s, d, in := int(test.kernel), int(test.stride), int(test.dilation), int(test.in)
			want := ir.Window{
				KH: k, KW: k, StrideH: s, StrideW: s, DilationH: d, DilationW: d, InH: in, InW: in, OutH: test.out, OutW: test.out,
				PadTop: test.before, PadLeft: test.before, PadBottom: test.after, PadRight: test.after,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTransposedConvolutionHasTheGeometryOfTheConvolutionBack(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 5, 5, 2)
	w := b.Const("w", make([]float32, 3*3*3*2), 3, 3, 3, 2)
	size := b.Ints("size", 1, 10, 10, 3)
	options := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideH: 2, StrideW: 2}
	b.Output(b.Op("y", schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, options, []int32{1, 10, 10, 3}, size, w, x))
	m := b.Model()
	for _, batch := range []int{0, 4} {
		g, err := ir.Parse(m, batch)
		if err != nil {
			t.Fatal(err)
		}
		want := ir.Window{
			KH: 3, KW: 3, StrideH: 2, StrideW: 2, DilationH: 1, DilationW: 1, InH: 5, InW: 5, OutH: 10, OutW: 10, PadBottom: 1, PadRight: 1,
		}
		if diff := cmp.Diff(want, g.Nodes[0].Attr.(ir.TransposeConv).Window); diff != "" {
			t.Error(diff)
		}
		if got := g.Tensors[g.Outputs[0]].Shape[0]; got != max(batch, 1) {
			t.Errorf("batch %d gives an output of %d", batch, got)
		}
	}
}
