package op

import (
	"testing"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

func TestEveryOperatorIsDescribedWhole(t *testing.T) {
	seen := map[schema.BuiltinOperator]bool{}
	for _, o := range All() {
		if seen[o.Code] {
			t.Errorf("%s is in the table twice", o.Code)
		}
		seen[o.Code] = true
		if len(o.Inputs) == 0 {
			t.Errorf("%s: what its inputs are is not said", o.Code)
		}
		if (o.Int8.Rule == Float) != (o.Int8.Why != "") {
			t.Errorf("%s: an operator that stays float says why, and no other: rule %d, %q", o.Code, o.Int8.Rule, o.Int8.Why)
		}
		if (o.Int8.Rule == Fixed) != (o.Int8.Output.Scale > 0) {
			t.Errorf("%s: rule %d with output %v", o.Code, o.Int8.Rule, o.Int8.Output)
		}
		if (o.Int8.Rule == Weighted) != (o.Weights != nil) || o.Weights != nil && (o.Find(Weight) < 0 || o.Find(Data) < 0 || o.Find(Bias) < 0) {
			t.Errorf("%s: weights, rule and inputs do not agree", o.Code)
		}
		if o.NoForward != "" && o.NoGradient == "" {
			t.Errorf("%s has a gradient but no forward pass", o.Code)
		}
		if len(o.Since) == 0 {
			t.Errorf("%s: since when it exists is not said", o.Code)
		}
	}
}

// The versions are those of tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc.
func TestVersionsAreThoseOfTheForm(t *testing.T) {
	in := func(kinds ...schema.TensorType) *Signature {
		s := &Signature{Outputs: []Tensor{{Type: kinds[0], Shape: []int32{1, 2}}}}
		for _, k := range kinds {
			s.Inputs = append(s.Inputs, Tensor{Type: k, Shape: []int32{1, 2}})
		}
		return s
	}
	with := func(s *Signature, options any) *Signature {
		s.Options = options
		return s
	}
	scaled := func(s *Signature, scales ...float32) *Signature {
		for i, scale := range scales[1:] {
			s.Inputs[i].Scales = []float32{scale}
		}
		s.Outputs[0].Scales = scales[:1]
		return s
	}
	for _, c := range []struct {
		name string
		code schema.BuiltinOperator
		s    *Signature
		want int32
	}{
		{"float convolution", schema.BuiltinOperatorCONV_2D, in(f32, f32), 1},
		{"int8 convolution", schema.BuiltinOperatorCONV_2D, in(i8, i8), 3},
		{"hybrid convolution", schema.BuiltinOperatorCONV_2D, in(f32, i8), 2},
		{"int8 depthwise convolution", schema.BuiltinOperatorDEPTHWISE_CONV_2D, in(i8, i8), 3},
		{"dilated depthwise convolution", schema.BuiltinOperatorDEPTHWISE_CONV_2D, with(in(f32, f32), &schema.DepthwiseConv2DOptionsT{DilationHFactor: 2, DilationWFactor: 1}), 2},
		{"int8 fully connected", schema.BuiltinOperatorFULLY_CONNECTED, in(i8, i8, i32), 4},
		{"fully connected without a bias", schema.BuiltinOperatorFULLY_CONNECTED, in(i8, i8), 6},
		{"fully connected, bias left out", schema.BuiltinOperatorFULLY_CONNECTED, in(i8, i8, -1), 4},
		{"fully connected that keeps dimensions", schema.BuiltinOperatorFULLY_CONNECTED, with(in(i8, i8, i32), &schema.FullyConnectedOptionsT{KeepNumDims: true}), 5},
		{"transposed convolution with bias", schema.BuiltinOperatorTRANSPOSE_CONV, in(i32, i8, i8, i32), 3},
		{"transposed convolution without bias", schema.BuiltinOperatorTRANSPOSE_CONV, in(i32, i8, i8), 2},
		{"int8 product", schema.BuiltinOperatorMUL, scaled(in(i8, i8), 1, 0.5, 0.5), 2},
		{"int8 product that grows", schema.BuiltinOperatorMUL, scaled(in(i8, i8), 0.25, 0.5, 0.5), 3},
		{"int8 split", schema.BuiltinOperatorSPLIT, in(i32, i8), 2},
		{"int8 maximum", schema.BuiltinOperatorREDUCE_MAX, in(i8, i32), 2},
		{"int8 reverse", schema.BuiltinOperatorREVERSE_V2, in(i8, i32), 3},
		{"int8 absolute value", schema.BuiltinOperatorABS, in(i8), 2},
		{"int8 resize", schema.BuiltinOperatorRESIZE_BILINEAR, in(i8, i32), 2},
		{"int8 resize from centres", schema.BuiltinOperatorRESIZE_BILINEAR, with(in(i8, i32), &schema.ResizeBilinearOptionsT{HalfPixelCenters: true}), 3},
		{"int8 GELU", schema.BuiltinOperatorGELU, in(i8), 2},
		{"int8 squeeze", schema.BuiltinOperatorSQUEEZE, in(i8), 1},
		{"int8 pack", schema.BuiltinOperatorPACK, in(i8, i8), 2},
		{"float pack", schema.BuiltinOperatorPACK, in(f32, f32), 1},
		{"requantization", schema.BuiltinOperatorQUANTIZE, in(i8), 1},
		{"int8 dequantization", schema.BuiltinOperatorDEQUANTIZE, in(i8), 2},
		{"slice with a new axis", schema.BuiltinOperatorSTRIDED_SLICE, with(in(i8, i32, i32, i32), &schema.StridedSliceOptionsT{NewAxisMask: 1}), 6},
	} {
		o, got := Lookup(c.code), int32(1)
		if o.Version != nil {
			got = o.Version(c.s)
		}
		if got != c.want {
			t.Errorf("%s: version %d, want %d", c.name, got, c.want)
		}
	}
}

// No signature, however broken, makes a version rule fail.
func TestVersionsOfNothing(t *testing.T) {
	for _, o := range All() {
		if o.Version != nil {
			o.Version(&Signature{})
		}
	}
}
