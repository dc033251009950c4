package target

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

func TestCatalogueIsComplete(t *testing.T) {
	names := map[string]bool{}
	for _, d := range All() {
		if names[d.Name] || d.Title == "" || d.Kernels == "" || d.Rounding == "" || len(d.Sources) == 0 || len(d.Weights) == 0 {
			t.Errorf("%s: named twice, or something is missing: %+v", d.Name, d)
		}
		names[d.Name] = true
		if d.Runtime != LiteRT && d.Runtime != TFLM {
			t.Errorf("%s: runtime %q", d.Name, d.Runtime)
		}
		if d.table() == nil || len(d.table().Sources) == 0 {
			t.Errorf("%s: no operator table %q with sources", d.Name, d.Operators)
		}
		if a := d.Accelerator; a != nil && (a.table() == nil || len(a.table().Sources) == 0 || a.Title == "" || a.Compiler == "") {
			t.Errorf("%s: accelerator %+v", d.Name, a)
		}
		for name, c := range d.Cycles {
			if _, ok := schema.EnumValuesBuiltinOperator[name]; !ok || c.Least <= 0 || c.Most < c.Least {
				t.Errorf("%s: cycles of %s: %+v", d.Name, name, c)
			}
		}
		if found, err := Lookup(strings.ToUpper(d.Name)); err != nil || found != d {
			t.Errorf("%s is not found by its name: %v", d.Name, err)
		}
	}
	if _, err := Lookup("cortex-m5"); err == nil || !strings.Contains(err.Error(), "cortex-m55") {
		t.Errorf("an unknown target: %v", err)
	}
}

// TFLM's Python wheel (0.dev20261023182759) loads every model of the material but these (hack/peers/tflm.py).
func TestCheckAgreesWithWhatTFLMLoads(t *testing.T) {
	refused := map[string]string{
		"gelu_f32.tflite": "GELU", "gelu_int8.tflite": "GELU", "kws_ref_model_float32.tflite": "CONV_2D",
	}
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range testmaterial.Glob(t, "models/*.tflite", "models/ops/*.tflite") {
		m, err := tflite.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := Check(m, d)
		want := refused[filepath.Base(file)]
		if r.Runs != (want == "") {
			t.Errorf("%s: runs %v: %v", filepath.Base(file), r.Runs, r.Err())
		}
		for _, p := range r.Refused() {
			if p.Name != want || p.Reason == "" || p.Remedy == "" {
				t.Errorf("%s: %s", filepath.Base(file), p)
			}
		}
	}
}

// oneOperator is a model of one operator with tensors of the given types: inputs, then the output.
func oneOperator(code schema.BuiltinOperator, options *schema.BuiltinOptionsT, tensors ...*schema.TensorT) *tflite.Model {
	m := &schema.ModelT{
		Buffers:       []*schema.BufferT{{}, {Data: make([]byte, 4096)}},
		OperatorCodes: []*schema.OperatorCodeT{{BuiltinCode: code, Version: 1}},
	}
	o := &schema.OperatorT{BuiltinOptions: options}
	for i := range tensors[1:] {
		o.Inputs = append(o.Inputs, int32(i))
	}
	o.Outputs = []int32{int32(len(tensors) - 1)}
	m.Subgraphs = []*schema.SubGraphT{{Tensors: tensors, Operators: []*schema.OperatorT{o}, Inputs: []int32{0}, Outputs: o.Outputs}}
	return &tflite.Model{ModelT: m}
}

func tensor(t schema.TensorType, buffer uint32, shape ...int32) *schema.TensorT {
	return &schema.TensorT{Name: "layer", Type: t, Buffer: buffer, Shape: shape}
}

// scaled gives weights scales, more than one along their first dimension.
func scaled(t *schema.TensorT, scales int) *schema.TensorT {
	t.Quantization = &schema.QuantizationParametersT{Scale: slices.Repeat([]float32{1}, scales), ZeroPoint: make([]int64, scales)}
	return t
}

func scaledBy(t *schema.TensorT, scale float32) *schema.TensorT {
	t.Quantization = &schema.QuantizationParametersT{Scale: []float32{scale}, ZeroPoint: []int64{0}}
	return t
}

func TestRefusalsSayWhyAndWhatToChange(t *testing.T) {
	softmax := &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsSoftmaxOptions, Value: &schema.SoftmaxOptionsT{Beta: 1}}
	i4, f32, i8, i16, u8, i32 := schema.TensorTypeINT4, schema.TensorTypeFLOAT32, schema.TensorTypeINT8, schema.TensorTypeINT16, schema.TensorTypeUINT8, schema.TensorTypeINT32
	for _, c := range []struct {
		name   string
		model  *tflite.Model
		want   []string // parts of the line; nil: it runs
		target string
	}{
		{"int8 weights beside float", oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, tensor(f32, 0, 1, 8), tensor(i8, 1, 4, 8), tensor(f32, 0, 1, 4)),
			[]string{"FLOAT32 with INT8 weights", "quantize both"}, "tflm"},
		{"16-bit activations", oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, tensor(i16, 0, 1, 8), tensor(i8, 1, 4, 8), tensor(i16, 0, 1, 4)), nil, "tflm"},
		{"uint8", oneOperator(schema.BuiltinOperatorRELU, nil, tensor(u8, 0, 1, 8), tensor(u8, 0, 1, 8)), []string{"UINT8", "only on FLOAT32, INT8, INT16", "float"}, "tflm"},
		{"int8 where float runs only", oneOperator(schema.BuiltinOperatorEXP, nil, tensor(i8, 0, 1, 8), tensor(i8, 0, 1, 8)), []string{"EXP", "keep this layer in float"}, "tflm"},
		{"arithmetic on sizes", oneOperator(schema.BuiltinOperatorFLOOR_MOD, nil, tensor(i32, 0, 1), tensor(i32, 1, 1), tensor(i32, 0, 1)), []string{"INT32, only on FLOAT32", "fixed shapes"}, "tflm"},
		{"an absent operator", oneOperator(schema.BuiltinOperatorTILE, nil, tensor(f32, 0, 1, 8), tensor(i32, 1, 2), tensor(f32, 0, 1, 16)), []string{"TILE (layer)", "no kernel", "BROADCAST_TO"}, "tflm"},
		{"an absent operator nobody thought of", oneOperator(schema.BuiltinOperatorHASHTABLE, nil, tensor(f32, 0, 1, 8), tensor(f32, 0, 1, 8)), []string{"HASHTABLE", "without it"}, "tflm"},
		{"a slice of five dimensions", oneOperator(schema.BuiltinOperatorSTRIDED_SLICE, nil, tensor(f32, 0, 1, 2, 2, 2, 2), tensor(i32, 1, 5), tensor(i32, 1, 5), tensor(i32, 1, 5), tensor(f32, 0, 1, 2, 2, 2, 1)),
			[]string{"rank is 5, must be at most 4"}, "tflm"},
		{"paddings that are computed", oneOperator(schema.BuiltinOperatorPAD, nil, tensor(f32, 0, 1, 2), tensor(i32, 0, 2, 2), tensor(f32, 0, 1, 4)), []string{"input 1 is computed, and must be a constant"}, "tflm"},
		{"4-bit weights", oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, tensor(i8, 0, 1, 8), scaled(tensor(i4, 1, 4, 8), 1), tensor(i8, 0, 1, 4)), nil, "tflm"},
		{"4-bit weights with a scale a channel", oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, tensor(i8, 0, 1, 8), scaled(tensor(i4, 1, 4, 8), 4), tensor(i8, 0, 1, 4)),
			[]string{"its weights have a scale for each of 4 channels, and must have one for the whole tensor", "perTensorDense: true"}, "tflm"},
		{"the same in LiteRT", oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, tensor(i8, 0, 1, 8), scaled(tensor(i4, 1, 4, 8), 4), tensor(i8, 0, 1, 4)), nil, "litert"},
		{"8-bit weights with a scale a channel", oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, tensor(i8, 0, 1, 8), scaled(tensor(i8, 1, 4, 8), 4), tensor(i8, 0, 1, 4)), nil, "tflm"},
		{"4-bit weights where there is no kernel", oneOperator(schema.BuiltinOperatorTRANSPOSE_CONV, nil, tensor(i32, 1, 4), tensor(i4, 1, 1, 1, 1, 1), tensor(i8, 0, 1, 1, 1, 1), tensor(i8, 0, 1, 1, 1, 1)),
			[]string{"INT8 with INT4 weights", "weights: Int8"}, "tflm"},
		{"scores that hardly differ", oneOperator(schema.BuiltinOperatorSOFTMAX, softmax, scaledBy(tensor(i8, 0, 1, 8), 1e-8), tensor(i8, 0, 1, 8)), []string{"SOFTMAX", "times beta is 1e-08", "train"}, "tflm"},
		{"scores of the least scale", oneOperator(schema.BuiltinOperatorSOFTMAX, softmax, scaledBy(tensor(i8, 0, 1, 8), 1.0/(1<<26)), tensor(i8, 0, 1, 8)), []string{"SOFTMAX", "above"}, "tflm"},
		{"scores above it", oneOperator(schema.BuiltinOperatorSOFTMAX, softmax, scaledBy(tensor(i8, 0, 1, 8), 1.001/(1<<26)), tensor(i8, 0, 1, 8)), nil, "tflm"},
		{"logarithms of shares that hardly differ", oneOperator(schema.BuiltinOperatorLOG_SOFTMAX, nil, scaledBy(tensor(i8, 0, 1, 8), 1e-8), tensor(i8, 0, 1, 8)), []string{"LOG_SOFTMAX", "times beta"}, "tflm"},
		{"LiteRT runs the rest", oneOperator(schema.BuiltinOperatorTILE, nil, tensor(f32, 0, 1, 8), tensor(i32, 1, 2), tensor(f32, 0, 1, 16)), nil, "litert"},
		{"what LiteRT never registered", oneOperator(schema.BuiltinOperatorCALL, nil, tensor(f32, 0, 1, 8), tensor(f32, 0, 1, 8)), []string{"CALL", "inline"}, "litert"},
	} {
		d, err := Lookup(c.target)
		if err != nil {
			t.Fatal(err)
		}
		r := Check(c.model, d)
		err = r.Err()
		if (err == nil) != (c.want == nil) || r.Runs != (c.want == nil) {
			t.Errorf("%s: runs %v, %v", c.name, r.Runs, err)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", c.name, err, part)
			}
		}
	}
	custom := oneOperator(schema.BuiltinOperatorCUSTOM, nil, tensor(f32, 0, 1, 8), tensor(f32, 0, 1, 8))
	custom.OperatorCodes[0].CustomCode = "Mine"
	for _, d := range All() {
		if refused := Check(custom, d).Refused(); len(refused) != 1 || !slices.ContainsFunc(refused, func(p Placement) bool { return strings.Contains(p.Reason, `"Mine"`) }) {
			t.Errorf("%s takes a custom operator: %v", d.Name, refused)
		}
	}
}

// Vela 5.2 placed these operators on the processor, by model, and every other one on the accelerator (vela MODEL --show-cpu-operations).
func TestPlacementAgreesWithVela(t *testing.T) {
	content, err := os.ReadFile("testdata/vela.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]map[string][]string
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	for name, models := range want {
		d, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		for file, cpu := range models {
			t.Run(name+" "+file, func(t *testing.T) {
				m, err := tflite.ReadFile(testmaterial.Path(t, file))
				if err != nil {
					t.Fatal(err)
				}
				got := []string{}
				for _, p := range Check(m, d).Operators {
					if p.Place != OnAccelerator {
						got = append(got, p.Name+" "+p.Layer)
						if p.Reason == "" {
							t.Errorf("%s is not on the accelerator, and nothing says why", p.Name)
						}
					}
				}
				slices.Sort(got)
				if diff := cmp.Diff(cpu, got); diff != "" {
					t.Errorf("(-vela +check)\n%s", diff)
				}
			})
		}
	}
}

func TestLimitsOfAcceleratorsAreNamed(t *testing.T) {
	i8 := schema.TensorTypeINT8
	quantized := func(shape ...int32) *schema.TensorT {
		out := tensor(i8, 0, shape...)
		out.Quantization = &schema.QuantizationParametersT{Scale: []float32{0.1}, ZeroPoint: []int64{0}}
		return out
	}
	kernel := quantized(4, 3, 3, 2)
	kernel.Buffer = 1
	of := func(side, stride, dilation int32, padding schema.Padding) *tflite.Model {
		m := oneOperator(schema.BuiltinOperatorCONV_2D, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsConv2DOptions, Value: &schema.Conv2DOptionsT{
			StrideH: stride, StrideW: stride, DilationHFactor: dilation, DilationWFactor: dilation, Padding: padding,
		}}, quantized(1, side, side, 2), kernel, quantized(1, 5, 5, 4))
		m.Buffers[1].Data = make([]byte, 72)
		return m
	}
	conv := func(stride, dilation int32, padding schema.Padding) *tflite.Model {
		return of(17, stride, dilation, padding)
	}
	heavy := oneOperator(schema.BuiltinOperatorFULLY_CONNECTED, nil, quantized(1, 70000), quantized(1, 70000), quantized(1, 1))
	heavy.Subgraphs[0].Tensors[1].Buffer = 1
	heavy.Buffers[1].Data = bytes.Repeat([]byte{0x81}, 70000) // −127 each
	resized := func(h, w int32, centres bool) *tflite.Model {
		return oneOperator(schema.BuiltinOperatorRESIZE_BILINEAR, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsResizeBilinearOptions, Value: &schema.ResizeBilinearOptionsT{HalfPixelCenters: centres}},
			quantized(1, 4, 4, 2), tensor(schema.TensorTypeINT32, 1, 2), quantized(1, h, w, 2))
	}
	scaled := func(h, w int32) *tflite.Model { return resized(h, w, false) }
	for name, c := range map[string]struct {
		model *tflite.Model
		want  string
	}{
		"a stride of 4 that pads":      {conv(4, 1, schema.PaddingSAME), "stride where it pads or dilates is 4, must be at most 3"},
		"a stride of 4 without":        {conv(4, 1, schema.PaddingVALID), ""},
		"a stride of 4 that fits":      {of(20, 4, 1, schema.PaddingSAME), ""},
		"a stride of 2 with dilation":  {conv(2, 2, schema.PaddingVALID), ""},
		"weights that add up too high": {heavy, "sum of absolute weights is 8890000"},
		"doubling":                     {scaled(8, 8), ""},
		"doubling between centres":     {resized(8, 8, true), ""},
		"fourfold between centres":     {resized(16, 16, true), "scale factor between centres of pixels is 4, must be 1 or 2"},
		"fourfold":                     {scaled(16, 16), ""},
		"tripling":                     {scaled(12, 12), "scale factor is 3, must be 1 or 2 or 4 or 8"},
		"different factors":            {scaled(8, 16), "different factors"},
	} {
		d, err := Lookup("ethos-u55")
		if err != nil {
			t.Fatal(err)
		}
		p := Check(c.model, d).Operators[0]
		if (p.Place == OnAccelerator) != (c.want == "") || !strings.Contains(p.Reason, c.want) {
			t.Errorf("%s: %s, %q", name, p.Place, p.Reason)
		}
	}
}

func TestLimitsOfTheEdgeTPUAreNamed(t *testing.T) {
	quantized := func(shape ...int32) *schema.TensorT {
		out := tensor(schema.TensorTypeINT8, 0, shape...)
		out.Quantization = &schema.QuantizationParametersT{Scale: []float32{0.1}, ZeroPoint: []int64{0}}
		return out
	}
	pool := func(activation schema.ActivationFunctionType) *tflite.Model {
		return oneOperator(schema.BuiltinOperatorMAX_POOL_2D, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsPool2DOptions, Value: &schema.Pool2DOptionsT{
			StrideH: 2, StrideW: 2, FilterHeight: 2, FilterWidth: 2, FusedActivationFunction: activation}}, quantized(1, 4, 4, 8), quantized(1, 2, 2, 8))
	}
	reduced := func(channels int32, axis ...int32) *tflite.Model {
		axes := tensor(schema.TensorTypeINT32, 1, int32(len(axis)))
		m := oneOperator(schema.BuiltinOperatorMEAN, nil, quantized(1, 4, 4, channels), axes, quantized(1, 4))
		m.Buffers[1].Data = tflite.Int32Bytes(axis)
		return m
	}
	for name, c := range map[string]struct {
		model *tflite.Model
		want  string
	}{
		"a pool":                        {pool(schema.ActivationFunctionTypeNONE), ""},
		"a pool with its activation":    {pool(schema.ActivationFunctionTypeRELU), "fused activation is 1, must be at most 0"},
		"a mean over pixels":            {reduced(7, 1, 2), ""},
		"over eight channels":           {reduced(8, 3), ""},
		"over seven":                    {reduced(7, -1), "channels reduced that are no multiple of 4 is 7"},
		"over the batch":                {reduced(8, 0), "batch reduced is 1"},
		"slopes shared by all pixels":   {oneOperator(schema.BuiltinOperatorPRELU, nil, quantized(1, 4, 4, 8), quantized(1, 1, 8), quantized(1, 4, 4, 8)), ""},
		"slopes of its own for a pixel": {oneOperator(schema.BuiltinOperatorPRELU, nil, quantized(1, 4, 4, 8), quantized(4, 4, 8), quantized(1, 4, 4, 8)), "slopes of one channel is 16"},
	} {
		d, err := Lookup("edgetpu")
		if err != nil {
			t.Fatal(err)
		}
		p := Check(c.model, d).Operators[0]
		if (p.Place == OnAccelerator) != (c.want == "") || !strings.Contains(p.Reason, c.want) {
			t.Errorf("%s: %s, %q", name, p.Place, p.Reason)
		}
	}
}

// The Edge TPU's compiler cuts a network once: what stands behind an operator that it does not take runs on the processor.
func TestNothingBehindTheCutIsOnTheEdgeTPU(t *testing.T) {
	i8 := schema.TensorTypeINT8
	quantized := func() *schema.TensorT {
		out := tensor(i8, 0, 1, 8)
		out.Quantization = &schema.QuantizationParametersT{Scale: []float32{0.1}, ZeroPoint: []int64{0}}
		return out
	}
	m := oneOperator(schema.BuiltinOperatorRELU, nil, quantized(), quantized())
	g := m.Subgraphs[0]
	m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: schema.BuiltinOperatorELU})
	g.Tensors = append(g.Tensors, quantized(), quantized())
	g.Operators = append(g.Operators, &schema.OperatorT{OpcodeIndex: 1, Inputs: []int32{1}, Outputs: []int32{2}}, &schema.OperatorT{Inputs: []int32{2}, Outputs: []int32{3}})
	d, err := Lookup("edgetpu")
	if err != nil {
		t.Fatal(err)
	}
	r := Check(m, d)
	if !r.Runs || r.Operators[0].Place != OnAccelerator || r.Operators[1].Place != OnProcessor || r.Operators[2].Place != OnProcessor ||
		!strings.Contains(r.Operators[2].Reason, "behind ELU (") {
		t.Errorf("%+v", r.Operators)
	}
}

func TestLimitsOfOtherAcceleratorsAreNamed(t *testing.T) {
	i8, f32 := schema.TensorTypeINT8, schema.TensorTypeFLOAT32
	quantized := func(shape ...int32) *schema.TensorT { return scaled(tensor(i8, 0, shape...), 1) }
	conv := func(scales int, stride int32) *tflite.Model {
		kernel := scaled(tensor(i8, 1, 4, 3, 3, 2), scales)
		return oneOperator(schema.BuiltinOperatorCONV_2D, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsConv2DOptions, Value: &schema.Conv2DOptionsT{
			StrideH: stride, StrideW: stride, DilationHFactor: 1, DilationWFactor: 1,
		}}, quantized(1, 20, 20, 2), kernel, quantized(1, 5, 5, 4))
	}
	depthwise := func(width, multiplier, stride, dilation int32) *tflite.Model {
		kernel := scaled(tensor(i8, 1, 1, 3, width, 2*multiplier), 1)
		return oneOperator(schema.BuiltinOperatorDEPTHWISE_CONV_2D, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsDepthwiseConv2DOptions, Value: &schema.DepthwiseConv2DOptionsT{
			StrideH: stride, StrideW: stride, DilationHFactor: dilation, DilationWFactor: dilation, DepthMultiplier: multiplier,
		}}, quantized(1, 20, 20, 2), kernel, quantized(1, 5, 5, 2*multiplier))
	}
	mean := func(axis ...int32) *tflite.Model {
		m := oneOperator(schema.BuiltinOperatorMEAN, nil, quantized(1, 4, 4, 8), tensor(schema.TensorTypeINT32, 1, int32(len(axis))), quantized(1, 8))
		m.Buffers[1].Data = tflite.Int32Bytes(axis)
		return m
	}
	norm := func(activation schema.ActivationFunctionType) *tflite.Model {
		return oneOperator(schema.BuiltinOperatorL2_NORMALIZATION, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsL2NormOptions, Value: &schema.L2NormOptionsT{FusedActivationFunction: activation}}, quantized(1, 8), quantized(1, 8))
	}
	enlarged := func(side int32) *tflite.Model {
		return oneOperator(schema.BuiltinOperatorRESIZE_BILINEAR, nil, quantized(1, 4, 4, 2), tensor(schema.TensorTypeINT32, 1, 2), quantized(1, side, 4, 2))
	}
	for _, c := range []struct {
		device, name string
		model        *tflite.Model
		want         string
	}{
		{"stm32mp2", "one scale", conv(1, 1), ""},
		{"stm32mp2", "a scale per channel", conv(4, 1), "its weights have a scale for each of 4 channels, and must have one for the whole tensor"},
		{"stm32mp2", "floats", oneOperator(schema.BuiltinOperatorTANH, nil, tensor(f32, 0, 1, 8), tensor(f32, 0, 1, 8)), "its values have 32 bits, must have at most 8"},
		{"stm32mp2", "bytes", oneOperator(schema.BuiltinOperatorTANH, nil, quantized(1, 8), quantized(1, 8)), ""},
		{"stm32n6", "a scale per channel", conv(4, 1), ""},
		{"stm32n6", "a mean over pixels", mean(1, 2), ""},
		{"stm32n6", "a mean over channels", mean(-1), "it reduces others than height and width"},
		{"stm32n6", "a mean over rows", mean(1), "or one of them"},
		{"stm32n6", "a softmax", oneOperator(schema.BuiltinOperatorSOFTMAX, nil, quantized(1, 8), quantized(1, 8)), "no kernel"},
		{"hexagon", "a convolution", conv(4, 3), ""},
		{"hexagon", "a stride of 4", conv(4, 4), "stride height is 4, must be at most 3"},
		{"hexagon", "depthwise", depthwise(3, 1, 2, 1), ""},
		{"hexagon", "depthwise of width 5", depthwise(5, 1, 1, 1), "kernel width is 5, must be 3"},
		{"hexagon", "depthwise with more channels", depthwise(3, 2, 1, 1), "depth multiplier is 2"},
		{"hexagon", "depthwise with stride and dilation", depthwise(3, 1, 2, 2), "stride where it dilates is 2"},
		{"hexagon", "a norm", norm(schema.ActivationFunctionTypeNONE), ""},
		{"hexagon", "a norm with its activation", norm(schema.ActivationFunctionTypeRELU), "fused activation is 1"},
		{"hexagon", "a small image", enlarged(65), ""},
		{"hexagon", "a large image", enlarged(66), "largest side of the output is 66, must be at most 65"},
		{"hexagon", "five dimensions", oneOperator(schema.BuiltinOperatorRELU, nil, quantized(1, 1, 1, 1, 8), quantized(1, 1, 1, 1, 8)), "dimensions of inputs and outputs is 5"},
	} {
		d, err := Lookup(c.device)
		if err != nil {
			t.Fatal(err)
		}
		r := Check(c.model, d)
		p := r.Operators[0]
		if !r.Runs || (p.Place == OnAccelerator) != (c.want == "") || !strings.Contains(p.Reason, c.want) {
			t.Errorf("%s: %s: %s, %q", c.device, c.name, p.Place, p.Reason)
		}
	}
}

// Networks of real width, without their weights, and where Vela 5.2 leaves their operators on the processor (hack/peers/placement).
func TestPlacementAgreesWithVelaOnWholeNetworks(t *testing.T) {
	content, err := os.ReadFile("testdata/placement.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]map[string][]string
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	hollow := map[string]*tflite.Model{}
	for name, models := range want {
		d, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(models) < 35 {
			t.Errorf("%s: %d networks", name, len(models))
		}
		for file, left := range models {
			m := hollow[file]
			if m == nil {
				m = unzipped(t, filepath.Join("testdata/placement", file+".gz"))
				hollow[file] = m
			}
			got := []string{}
			for _, p := range Check(m, d).Operators {
				if p.Place != OnAccelerator {
					got = append(got, p.Name+" "+p.Layer)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(left, got); diff != "" {
				t.Errorf("%s %s: (-vela +check)\n%s", name, file, diff)
			}
		}
	}
}

// unzipped reads a compressed model.
func unzipped(t *testing.T, path string) *tflite.Model {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	m, err := tflite.ReadStored(content)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// What the processor computes is no fault of a network, but where all behind it goes there too.
func TestWhatTheProcessorComputesMayStay(t *testing.T) {
	tensor := func() *schema.TensorT {
		return &schema.TensorT{Name: "t", Shape: []int32{1, 4}, Type: schema.TensorTypeINT8, Quantization: &schema.QuantizationParametersT{Scale: []float32{1}, ZeroPoint: []int64{0}}}
	}
	for _, test := range []struct {
		device string
		code   schema.BuiltinOperator
		want   string
	}{
		{"ethos-u55", schema.BuiltinOperatorGATHER_ND, "none is needed: the processor computes it"},
		{"hexagon", schema.BuiltinOperatorGATHER_ND, "none is needed: the processor computes it"},
		{"edgetpu", schema.BuiltinOperatorGATHER_ND, "build the network without it, or with it behind all that Edge TPU is to compute"},
		{"ethos-u85", schema.BuiltinOperatorVAR_HANDLE, "hand the state on as an input and an output of the network (model.states)"},
	} {
		d, err := Lookup(test.device)
		if err != nil {
			t.Fatal(err)
		}
		if r := Check(oneOperator(test.code, nil, tensor(), tensor()), d); r.Operators[0].Place != OnProcessor || r.Operators[0].Remedy != test.want {
			t.Errorf("%s on %s: %+v", test.code, test.device, r.Operators[0])
		}
	}
}

func TestRemediesFitTheType(t *testing.T) {
	tensor := func(of schema.TensorType, scales ...float32) *schema.TensorT {
		out := &schema.TensorT{Name: "t", Shape: []int32{1, 4}, Type: of}
		if scales != nil {
			out.Quantization = &schema.QuantizationParametersT{Scale: scales, ZeroPoint: []int64{0}}
		}
		return out
	}
	const uint8Type, int16Type, int8Type, float, boolean = schema.TensorTypeUINT8, schema.TensorTypeINT16, schema.TensorTypeINT8, schema.TensorTypeFLOAT32, schema.TensorTypeBOOL
	for name, test := range map[string]struct {
		device  string
		code    schema.BuiltinOperator
		in, out *schema.TensorT
		want    string
	}{
		"a cast of an image's bytes":      {"cortex-m4", schema.BuiltinOperatorCAST, tensor(uint8Type), tensor(float), "build the network with values of one of these types before it, such as an input of floats"},
		"quantized to uint8":              {"cortex-m4", schema.BuiltinOperatorLOGISTIC, tensor(uint8Type, 1), tensor(uint8Type, 1), "quantize it to int8 (quantize: {})"},
		"sixteen bits where eight run":    {"cortex-m4", schema.BuiltinOperatorDEPTH_TO_SPACE, tensor(int16Type, 1), tensor(int16Type, 1), "give it activations of 8 bits (activations: Int8)"},
		"integers that are no quantities": {"cortex-m4", schema.BuiltinOperatorCOS, tensor(boolean), tensor(boolean), "build the network with fixed shapes, so that sizes are constants, or with float values here"},
		"a kernel for floats alone":       {"cortex-m4", schema.BuiltinOperatorCOS, tensor(int8Type, 1), tensor(int8Type, 1), "keep this layer in float (keepFloat)"},
	} {
		d, err := Lookup(test.device)
		if err != nil {
			t.Fatal(err)
		}
		r := Check(oneOperator(test.code, nil, test.in, test.out), d)
		if r.Runs || r.Operators[0].Remedy != test.want {
			t.Errorf("%s: %+v", name, r.Operators[0])
		}
	}
}

// What a device's accelerator runs counts where it has one: what it lacks would run beside it.
func TestTakesAsksTheAccelerator(t *testing.T) {
	for _, c := range []struct {
		device string
		code   schema.BuiltinOperator
		kind   schema.TensorType
		want   bool
	}{
		{"cortex-m4", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.TensorTypeINT8, true},
		{"cortex-m4", schema.BuiltinOperatorLSTM, schema.TensorTypeINT8, false},
		{"cortex-m4", schema.BuiltinOperatorADD_N, schema.TensorTypeINT16, false},
		{"ethos-u85", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.TensorTypeINT8, true},
		{"hexagon", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.TensorTypeINT8, false},
		{"litert", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.TensorTypeINT8, true},
	} {
		d, err := Lookup(c.device)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Takes(c.code, c.kind); got != c.want {
			t.Errorf("%s: %s of %s: %t", c.device, c.code, c.kind, got)
		}
	}
}
