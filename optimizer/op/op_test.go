package op

import (
	"math"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
		if o.Int8.Instead != "" && o.Int8.Rule != Float {
			t.Errorf("%s: %q is said of an operator that is quantized", o.Code, o.Int8.Instead)
		}
		for _, word := range regexp.MustCompile(`[A-Z][A-Z0-9_]{2,}`).FindAllString(o.Int8.Instead, -1) {
			if code, ok := schema.EnumValuesBuiltinOperator[word]; !ok || Lookup(code) == nil || Lookup(code).Int8.Rule == Float {
				t.Errorf("%s: %s, which stays float, is no remedy: %q", o.Code, word, o.Int8.Instead)
			}
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

// Operators that compute floats and stay float say what to do; the others hold no floats, keep state, or are the emitter's own.
func TestOperatorsThatStayFloatHaveARemedy(t *testing.T) {
	without := map[schema.BuiltinOperator]bool{}
	for _, code := range []schema.BuiltinOperator{
		schema.BuiltinOperatorLOGICAL_AND, schema.BuiltinOperatorLOGICAL_OR, schema.BuiltinOperatorLOGICAL_NOT, schema.BuiltinOperatorREDUCE_ANY,
		schema.BuiltinOperatorREDUCE_ALL, schema.BuiltinOperatorWHERE, schema.BuiltinOperatorQUANTIZE, schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOperatorCAST,
		schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN, schema.BuiltinOperatorWHILE, schema.BuiltinOperatorIF,
		schema.BuiltinOperatorCALL_ONCE, schema.BuiltinOperatorSVDF, schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOperatorASSIGN_VARIABLE,
		schema.BuiltinOperatorZEROS_LIKE, // constant in leaves
	} {
		without[code] = true
	}
	for _, o := range All() {
		if want := o.Int8.Rule == Float && !without[o.Code]; (o.Int8.Instead != "") != want {
			t.Errorf("%s: %q", o.Code, o.Int8.Instead)
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
	shaped := func(s *Signature, shapes ...[]int32) *Signature {
		for i, shape := range shapes {
			s.Inputs[i].Shape = shape
		}
		return s
	}
	scales := func(s *Signature, input int, scales ...float32) *Signature {
		s.Inputs[input].Scales = scales
		return s
	}
	giving := func(s *Signature, kind schema.TensorType, scales ...float32) *Signature {
		s.Outputs[0] = Tensor{Type: kind, Scales: scales}
		return s
	}
	const i4, i16, f16 = schema.TensorTypeINT4, schema.TensorTypeINT16, schema.TensorTypeFLOAT16
	four, five, six, seven := []int32{1, 2, 2, 2}, []int32{1, 2, 2, 2, 2}, []int32{1, 2, 2, 2, 2, 2}, []int32{1, 2, 2, 2, 2, 2, 2}
	for _, c := range []struct {
		name string
		code schema.BuiltinOperator
		s    *Signature
		want int32
	}{
		{"hybrid convolution, a scale by channel", schema.BuiltinOperatorCONV_2D, scales(in(f32, i8), 1, 1, 2), 5},
		{"hybrid convolution, one scale", schema.BuiltinOperatorCONV_2D, scales(in(f32, i8), 1, 1), 2},
		{"grouped convolution", schema.BuiltinOperatorCONV_2D, shaped(in(i8, i8), []int32{1, 4, 4, 8}, []int32{8, 1, 1, 4}), 6},
		{"convolution of one group", schema.BuiltinOperatorCONV_2D, shaped(in(i8, i8), []int32{1, 4, 4, 8}, []int32{8, 1, 1, 8}), 3},
		{"hybrid depthwise convolution", schema.BuiltinOperatorDEPTHWISE_CONV_2D, in(f32, i8), 4},
		{"hybrid depthwise convolution, one scale", schema.BuiltinOperatorDEPTHWISE_CONV_2D, scales(in(f32, i8), 1, 1), 4},
		{"hybrid depthwise convolution, a scale by channel", schema.BuiltinOperatorDEPTHWISE_CONV_2D, scales(in(f32, i8), 1, 1, 2), 6},
		{"depthwise convolution dilated across", schema.BuiltinOperatorDEPTHWISE_CONV_2D, with(in(f32, f32), &schema.DepthwiseConv2DOptionsT{DilationHFactor: 1, DilationWFactor: 2}), 2},
		{"depthwise convolution that is not dilated", schema.BuiltinOperatorDEPTHWISE_CONV_2D, with(in(f32, f32), &schema.DepthwiseConv2DOptionsT{DilationHFactor: 1, DilationWFactor: 1}), 1},
		{"float fully connected", schema.BuiltinOperatorFULLY_CONNECTED, in(f32, f32, f32), 1},
		{"int16 fully connected with int4 weights", schema.BuiltinOperatorFULLY_CONNECTED, in(i16, i4, i32), 13},
		{"int8 fully connected with int4 weights", schema.BuiltinOperatorFULLY_CONNECTED, in(i8, i4, i32), 1},
		{"hybrid fully connected", schema.BuiltinOperatorFULLY_CONNECTED, in(f32, i8, f32), 3},
		{"hybrid fully connected, asymmetric", schema.BuiltinOperatorFULLY_CONNECTED, with(in(f32, i8, f32), &schema.FullyConnectedOptionsT{AsymmetricQuantizeInputs: true}), 9},
		{"hybrid fully connected, a scale by channel", schema.BuiltinOperatorFULLY_CONNECTED, scales(in(f32, i8, f32), 1, 1, 2), 12},
		{"hybrid fully connected, one scale", schema.BuiltinOperatorFULLY_CONNECTED, scales(in(f32, i8, f32), 1, 1), 3},
		{"transposed convolution with an activation", schema.BuiltinOperatorTRANSPOSE_CONV, with(in(i32, i8, i8), &schema.TransposeConvOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeRELU}), 4},
		{"float transposed convolution", schema.BuiltinOperatorTRANSPOSE_CONV, in(i32, f32, f32), 1},
		{"int64 sum", schema.BuiltinOperatorADD, in(i64, i64), 4},
		{"int8 sum", schema.BuiltinOperatorADD, in(i8, i8), 2},
		{"float sum", schema.BuiltinOperatorADD, in(f32, f32), 1},
		{"float difference of five dimensions and one", schema.BuiltinOperatorSUB, shaped(in(f32, f32), five, []int32{2}), 3},
		{"float difference of one dimension and five", schema.BuiltinOperatorSUB, shaped(in(f32, f32), []int32{2}, five), 3},
		{"float difference of five dimensions, one of them repeated", schema.BuiltinOperatorSUB, shaped(in(f32, f32), five, []int32{1, 2, 1, 2, 2}), 3},
		{"float difference of five dimensions alike", schema.BuiltinOperatorSUB, shaped(in(f32, f32), five, five), 1},
		{"float difference of four dimensions and one", schema.BuiltinOperatorSUB, shaped(in(f32, f32), four, []int32{2}), 1},
		{"int8 difference", schema.BuiltinOperatorSUB, in(i8, i8), 2},
		{"quotient of one operand", schema.BuiltinOperatorDIV, shaped(in(f32), five), 1},
		{"product without scales", schema.BuiltinOperatorMUL, in(i8, i8), 2},
		{"product of one operand", schema.BuiltinOperatorMUL, in(i8), 2},
		{"product without a second scale", schema.BuiltinOperatorMUL, scaled(in(i8, i8), 0.25, 1), 2},
		{"int64 product", schema.BuiltinOperatorMUL, in(i64, i64), 5},
		{"int8 floor of a quotient", schema.BuiltinOperatorFLOOR_DIV, in(i8, i8), 3},
		{"float floor of a quotient", schema.BuiltinOperatorFLOOR_DIV, in(f32, f32), 2},
		{"int32 floor of a quotient", schema.BuiltinOperatorFLOOR_DIV, in(i32, i32), 1},
		{"stateful filter", schema.BuiltinOperatorSVDF, in(f32, f32), 1},
		{"hybrid stateful filter", schema.BuiltinOperatorSVDF, in(f32, i8), 2},
		{"int8 stateful filter", schema.BuiltinOperatorSVDF, in(i8, i8), 3},
		{"slice by offsets", schema.BuiltinOperatorSTRIDED_SLICE, with(in(i8, i32, i32, i32), &schema.StridedSliceOptionsT{Offset: true}), 8},
		{"slice with an ellipsis", schema.BuiltinOperatorSTRIDED_SLICE, with(in(i8, i32, i32, i32), &schema.StridedSliceOptionsT{EllipsisMask: 2}), 6},
		{"slice of five dimensions", schema.BuiltinOperatorSTRIDED_SLICE, shaped(in(f32, i32, i32, i32), five), 4},
		{"slice of four dimensions", schema.BuiltinOperatorSTRIDED_SLICE, shaped(in(f32, i32, i32, i32), four), 1},
		{"slice of truths", schema.BuiltinOperatorSTRIDED_SLICE, in(flag, i32, i32, i32), 3},
		{"int8 slice", schema.BuiltinOperatorSTRIDED_SLICE, with(in(i8, i32, i32, i32), &schema.StridedSliceOptionsT{BeginMask: 1}), 2},
		{"int8 padding of five dimensions", schema.BuiltinOperatorPAD, shaped(in(i8, i32), five), 4},
		{"int8 padding of four", schema.BuiltinOperatorPAD, shaped(in(i8, i32), four), 2},
		{"transposition of seven dimensions", schema.BuiltinOperatorTRANSPOSE, shaped(in(i8, i32), seven), 8},
		{"transposition of six", schema.BuiltinOperatorTRANSPOSE, shaped(in(i8, i32), six), 6},
		{"transposition of five", schema.BuiltinOperatorTRANSPOSE, shaped(in(i8, i32), five), 4},
		{"transposition of four", schema.BuiltinOperatorTRANSPOSE, shaped(in(i8, i32), four), 2},
		{"gathering by batches", schema.BuiltinOperatorGATHER, with(in(i8, i32), &schema.GatherOptionsT{BatchDims: 1}), 5},
		{"gathering", schema.BuiltinOperatorGATHER, with(in(i8, i32), &schema.GatherOptionsT{}), 2},
		{"choice of five dimensions", schema.BuiltinOperatorSELECT, shaped(in(flag, f32, f32), five, five, five), 3},
		{"choice of four", schema.BuiltinOperatorSELECT, shaped(in(flag, f32, f32), four, four, four), 1},
		{"places of what is true", schema.BuiltinOperatorWHERE, in(flag), 1},
		{"places of what is not zero", schema.BuiltinOperatorWHERE, in(f32), 2},
		{"quantization by channel", schema.BuiltinOperatorQUANTIZE, giving(in(f32), i8, 1, 2), 3},
		{"quantization", schema.BuiltinOperatorQUANTIZE, giving(in(f32), i8, 1), 1},
		{"quantization to int16", schema.BuiltinOperatorQUANTIZE, giving(in(f32), i16, 1), 2},
		{"dequantization by channel", schema.BuiltinOperatorDEQUANTIZE, scales(in(i8), 0, 1, 2), 5},
		{"dequantization by one scale", schema.BuiltinOperatorDEQUANTIZE, scales(in(i8), 0, 1), 2},
		{"float16 made float", schema.BuiltinOperatorDEQUANTIZE, in(f16), 3},
		{"float64 made float", schema.BuiltinOperatorCAST, giving(in(schema.TensorTypeFLOAT64), f32), 5},
		{"float made int8", schema.BuiltinOperatorCAST, giving(in(f32), i8), 3},
		{"int8 made float", schema.BuiltinOperatorCAST, giving(in(i8), f32), 3},
		{"int32 made float", schema.BuiltinOperatorCAST, giving(in(i32), f32), 1},
		{"int8 repetition", schema.BuiltinOperatorBROADCAST_TO, in(i8, i32), 3},
		{"float repetition", schema.BuiltinOperatorBROADCAST_TO, in(f32, i32), 2},
		{"nearest neighbours, corners aligned", schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR, with(in(f32, i32), &schema.ResizeNearestNeighborOptionsT{AlignCorners: true}), 3},
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

func TestInputsAreWhatTheirSlotSays(t *testing.T) {
	for _, c := range []struct {
		code  schema.BuiltinOperator
		input int
		want  Slot
	}{
		{schema.BuiltinOperatorCONV_2D, 0, Data}, {schema.BuiltinOperatorCONV_2D, 1, Weight}, {schema.BuiltinOperatorCONV_2D, 2, Bias},
		{schema.BuiltinOperatorADD, 1, Data}, {schema.BuiltinOperatorADD_N, 7, Data}, {schema.BuiltinOperatorSPLIT, 0, Param},
		{schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, 0, Data}, {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, 1, Plain},
		{schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, 17, Plain}, {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, 18, State},
		{schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, 19, State}, {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, 23, Plain},
	} {
		if got := Lookup(c.code).Slot(c.input); got != c.want {
			t.Errorf("%s: input %d is %d, want %d", c.code, c.input, got, c.want)
		}
	}
	if got := (&Op{}).Slot(3); got != Data {
		t.Errorf("an operator that says nothing of its inputs: %d, want Data", got)
	}
	o := &Op{Inputs: []Slot{Param, Data, Weight, Data}}
	for slot, want := range map[Slot]int{Param: 0, Data: 1, Weight: 2, Bias: -1} {
		if got := o.Find(slot); got != want {
			t.Errorf("the first input that is %d: %d, want %d", slot, got, want)
		}
	}
}

// The outputs are those of the quantization specification.
func TestPrescribedOutputs(t *testing.T) {
	for code, want := range map[schema.BuiltinOperator]Quant{
		schema.BuiltinOperatorSOFTMAX: {0.00390625, -128}, schema.BuiltinOperatorLOGISTIC: {0.00390625, -128}, schema.BuiltinOperatorTANH: {0.0078125, 0},
		schema.BuiltinOperatorL2_NORMALIZATION: {0.0078125, 0}, schema.BuiltinOperatorLOG_SOFTMAX: {0.0625, 127},
	} {
		if got := Lookup(code).Int8.Output; got != want {
			t.Errorf("%s: %v, want %v", code, got, want)
		}
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorSOFTMAX, schema.BuiltinOperatorLOGISTIC, schema.BuiltinOperatorTANH} {
		if got := Lookup(code).Int16.Output; got != (Quant{Scale: 0.000030517578125}) {
			t.Errorf("%s: int16 %v, want 2⁻¹⁵", code, got)
		}
	}
}

// A kernel's fixed-point multiplier must be less than 1, and a softmax's more: the floors keep a factor of 2 or more from that, and no more
// than what nothing but noise comes near.
func TestFloorsKeepMultipliersInTheirRange(t *testing.T) {
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorADD, schema.BuiltinOperatorSUB} {
		if m := 2 / (math.Ldexp(1, 20) * float64(Lookup(code).Int8.OutputFloor)); m > 0.5 || m < 0.1 {
			t.Errorf("%s at its floor is scaled by %v", code, m)
		}
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorSOFTMAX, schema.BuiltinOperatorLOG_SOFTMAX} {
		if m := math.Ldexp(float64(Lookup(code).Int8.InputFloor), 26); m < 2 || m > 10 {
			t.Errorf("%s at its floor is scaled by %v", code, m)
		}
	}
}

func TestFactorsAreTheProductsOfScales(t *testing.T) {
	one := func(m float64) []Factor { return []Factor{{M: m}} }
	for name, c := range map[string]struct {
		code schema.BuiltinOperator
		s    Scales
		want []Factor
	}{
		"values only moved":            {schema.BuiltinOperatorRESHAPE, Scales{Inputs: []float64{2}, Output: 2}, nil},
		"rounded as the kernel does":   {schema.BuiltinOperatorHARD_SWISH, Scales{Inputs: []float64{2}, Output: 3}, nil},
		"one input":                    {schema.BuiltinOperatorRELU, Scales{Inputs: []float64{3}, Output: 12}, one(0.25)},
		"weights by channel":           {schema.BuiltinOperatorCONV_2D, Scales{Inputs: []float64{3, 0, 0}, Weights: []float64{2, 5}, Output: 12}, []Factor{{M: 0.5}, {M: 1.25}}},
		"weights of the second input":  {schema.BuiltinOperatorTRANSPOSE_CONV, Scales{Inputs: []float64{0, 0, 3}, Weights: []float64{2}, Data: 2, Output: 12}, one(0.5)},
		"a product":                    {schema.BuiltinOperatorMUL, Scales{Inputs: []float64{3, 5}, Output: 12}, one(1.25)},
		"a product of matrices":        {schema.BuiltinOperatorBATCH_MATMUL, Scales{Inputs: []float64{3, 5}, Output: 12}, one(1.25)},
		"a mean of 49":                 {schema.BuiltinOperatorMEAN, Scales{Inputs: []float64{3}, Output: 12, Count: 49}, []Factor{{M: 0.25, Extra: 5}}},
		"a mean of 64":                 {schema.BuiltinOperatorMEAN, Scales{Inputs: []float64{3}, Output: 12, Count: 64}, []Factor{{M: 0.25, Extra: 6}}},
		"a mean of nothing":            {schema.BuiltinOperatorMEAN, Scales{Inputs: []float64{3}, Output: 12}, one(0.25)},
		"a leak that rounds less":      {schema.BuiltinOperatorLEAKY_RELU, Scales{Inputs: []float64{1}, Output: 4, Alpha: 0.1}, one(0.25)},
		"a leak that rounds more":      {schema.BuiltinOperatorLEAKY_RELU, Scales{Inputs: []float64{2}, Output: 1, Alpha: 0.1}, one(0.2)},
		"a negative leak":              {schema.BuiltinOperatorLEAKY_RELU, Scales{Inputs: []float64{2}, Output: 1, Alpha: -0.1}, one(0.2)},
		"learned leaks that round":     {schema.BuiltinOperatorPRELU, Scales{Inputs: []float64{2, 0.1}, Output: 1}, one(0.2)},
		"learned leaks that round not": {schema.BuiltinOperatorPRELU, Scales{Inputs: []float64{1, 8}, Output: 4}, one(0.25)},
		// operands at 1/64 of the larger scale; the root of 255 codes of the output, twice
		"a squared difference": {schema.BuiltinOperatorSQUARED_DIFFERENCE, Scales{Inputs: []float64{0.64, 6.4}, Output: 0.04}, []Factor{{M: 0.25, Loss: 2 * math.Sqrt(10.2) * 2.5}}},
	} {
		if diff := cmp.Diff(c.want, Lookup(c.code).Int8.FactorsOf(&c.s), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Half of what the first of two roundings leaves, 2^−(s+1), where M = q·2^−s.
func TestSlackIsWhatTheFirstRoundingMoves(t *testing.T) {
	for _, c := range []struct {
		f    Factor
		want float64
	}{
		{Factor{M: 1}, 0}, {Factor{M: 0.5}, 0}, {Factor{M: 0.49}, 0.25}, {Factor{M: 0.25}, 0.25}, {Factor{M: 0.24}, 0.125}, {Factor{M: 0.001}, 1. / 1024},
		{Factor{M: 0.5, Extra: 3}, 1. / 16}, {Factor{M: 2, Extra: 2}, 0}, {Factor{M: 2, Extra: 3}, 0.25}, {Factor{M: 1, Loss: 3}, 3}, {Factor{M: 0.25, Loss: 3}, 3.25},
	} {
		if got := c.f.Slack(); math.Abs(got-c.want-0.002) > 1e-12 {
			t.Errorf("%+v: %v, want %v and 0.002 of float sums", c.f, got, c.want)
		}
	}
}

func TestSlackOfSixteenBits(t *testing.T) {
	plain, softmax, table := wide(1), wideSoftmax(1), wideTable(1, 0.8)
	const bend = 0.8 * 1.28 * 1.28 / 8 / 0.001 // of a piece of 128 codes of 0.01, in codes of 0.001
	const end = 1.13 * 1.28 / 0.001
	for _, c := range []struct {
		name  string
		o     *Int16
		value float64
		depth int
		want  float64
	}{
		{"around zero", plain, 0, 9, 8}, {"far from it", plain, 16384, 9, 10}, {"below", plain, -16384, 9, 10}, {"a softmax over 5", softmax, 0, 5, 18},
		{"a table", table, 8192, 9, 9 + bend}, {"where its last piece ends", table, 32768 - 512, 9, 8 + 32256./8192 + bend + end},
		{"where it ends below", table, -32768 + 512, 9, 8 + 32256./8192 + bend + end},
	} {
		if got := c.o.Slack(0.01, 0.001, c.value, c.depth); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := table.Margin(0.01); math.Abs(got-1.13*1.28) > 1e-12 || plain.Margin(0.01) != 0 {
		t.Errorf("margins %v and %v", got, plain.Margin(0.01))
	}
}
