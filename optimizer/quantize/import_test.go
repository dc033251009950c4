package quantize

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// int8Builder draws int8 networks, as a converter writes them.
type int8Builder struct{ *tflitetest.Builder }

// as makes a tensor int8, or int16, of one scale.
func (b int8Builder) as(t int32, kind schema.TensorType, scale float32, zero int64) int32 {
	b.SetType(t, kind)
	b.Quantize(t, 0, zero, scale)
	return t
}

func (b int8Builder) quantize(name string, x int32, scale float32, zero int64) int32 {
	return b.as(b.Op(name, schema.BuiltinOperatorQUANTIZE, schema.BuiltinOptionsQuantizeOptions, &schema.QuantizeOptionsT{}, b.Shape(x), x), schema.TensorTypeINT8, scale, zero)
}

func (b int8Builder) dequantize(name string, x int32) int32 {
	return b.Op(name, schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsDequantizeOptions, &schema.DequantizeOptionsT{}, b.Shape(x), x)
}

// dense is a FULLY_CONNECTED of given weights and bias, whose output has no quantization yet.
func (b int8Builder) dense(name string, out int32, x, w, bias int32) int32 {
	return b.Op(name, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, out}, x, w, bias)
}

// raw is a quantized constant.
func (b int8Builder) raw(name string, kind schema.TensorType, data []byte, shape []int32, scales ...float32) int32 {
	t := b.Raw(name, kind, data, shape...)
	b.Quantize(t, 0, 0, scales...)
	return t
}

// values are those of a float32 constant of m, by its name.
func values(t *testing.T, m *tflite.Model, name string) []float32 {
	t.Helper()
	v, err := m.Float32s(m.Subgraph().Tensors[tensorOf(t, m, name)])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// tensorOf is the index of the tensor of a name.
func tensorOf(t *testing.T, m *tflite.Model, name string) int {
	t.Helper()
	i := slices.IndexFunc(m.Subgraph().Tensors, func(x *schema.TensorT) bool { return x.Name == name })
	if i < 0 {
		t.Fatalf("no tensor %q", name)
	}
	return i
}

// operators lists those of m by name, with the names of what they read and write.
func operators(m *tflite.Model) (lines []string) {
	names := func(list []int32) string {
		var out []string
		for _, t := range list {
			if t < 0 {
				out = append(out, "-")
			} else {
				out = append(out, m.Subgraph().Tensors[t].Name)
			}
		}
		return strings.Join(out, " ")
	}
	for _, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		lines = append(lines, fmt.Sprintf("%s → %s → %s", names(o.Inputs), code, names(o.Outputs)))
	}
	return lines
}

// float → QUANTIZE → dense → ADD of a constant → DEQUANTIZE → float operator → float: what is int8 becomes float at the values that it
// stands for, conversions go, and what is known of quantizations goes with the tensor that is left.
func TestImportedModelsHoldWhatTheirIntegersStandFor(t *testing.T) {
	b := int8Builder{tflitetest.New()}
	x := b.Input("x", 1, 3)
	w := b.raw("w", schema.TensorTypeINT8, tflite.Int8Bytes([]int8{1, -127, 127, 4, 0, -6}), []int32{2, 3}, 0.5, 0.25)
	bias := b.Ints("bias", 10, -4)
	y := b.as(b.dense("y", 2, b.quantize("q", x, 0.125, 3), w, bias), schema.TensorTypeINT8, 0.75, -7)
	c := b.raw("c", schema.TensorTypeINT8, tflite.Int8Bytes([]int8{4, -128}), []int32{1, 2}, 0.5)
	sum := b.as(b.Add("sum", y, c, tflitetest.None), schema.TensorTypeINT8, 1.5, 9)
	b.Output(b.Unary("log", schema.BuiltinOperatorLOG, b.dequantize("d", sum)))
	m := b.Model()
	before := operators(m)
	im, err := ImportInt8(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, operators(m)); diff != "" {
		t.Errorf("the given model changed: %s", diff)
	}
	want := []string{"x w bias → FULLY_CONNECTED → y", "y c → ADD → sum", "sum → LOG → log"}
	if diff := cmp.Diff(want, operators(im.Model)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string][]float32{
		"w": {0.5, -63.5, 63.5, 1, 0, -1.5}, "bias": {10 * 0.125 * 0.5, -4 * 0.125 * 0.25}, "c": {2, -64},
	} {
		if diff := cmp.Diff(want, values(t, im.Model, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	at := func(name string) int { return tensorOf(t, im.Model, name) }
	known := map[int]Params{at("x"): {0.125, 3, false}, at("y"): {0.75, -7, false}, at("sum"): {1.5, 9, false}}
	if diff := cmp.Diff(known, im.Known); diff != "" {
		t.Errorf("known: %s", diff)
	}
	integers := map[int]Weights{at("w"): {Codes: []int8{1, -127, 127, 4, 0, -6}, Scale: []float32{0.5, 0.25}}}
	if diff := cmp.Diff(integers, im.Weights); diff != "" {
		t.Errorf("integers: %s", diff)
	}
	if diff := cmp.Diff(map[int]bool{2: true}, im.Float); diff != "" {
		t.Errorf("float operators: %s", diff)
	}
	if diff := cmp.Diff([]int{None, 0, 1, None, 2}, im.Operator); diff != "" {
		t.Errorf("operators: %s", diff)
	}
	for old, tensor := range m.Subgraph().Tensors {
		moved := im.Tensor[old]
		if gone := tensor.Name == "q" || tensor.Name == "d"; gone != (moved == None) || !gone && im.Model.Subgraph().Tensors[moved].Name != tensor.Name {
			t.Errorf("tensor %d %q became %d", old, tensor.Name, moved)
		}
	}
	for _, tensor := range im.Model.Subgraph().Tensors {
		if tensor.Type != schema.TensorTypeFLOAT32 || tensor.Quantization != nil {
			t.Errorf("%q is %s, quantized %v", tensor.Name, tensor.Type, tensor.Quantization)
		}
	}
	net, err := im.Simulation(1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]*Params{"x": {0.125, 3, false}, "y": {0.75, -7, false}, "sum": {1.5, 9, false}, "c": nil, "log": nil} {
		act := net.Act[at(name)]
		if (act == nil) != (want == nil) || act != nil && (Params{act.Scale, act.ZeroPoint, act.Wide}) != *want {
			t.Errorf("the simulation has %+v on %s, want %+v", act, name, want)
		}
	}
}

// Names of a model's outputs stay: there the conversion's output is what is left, with the quantization of its input.
func TestImportKeepsTheModelsOutputs(t *testing.T) {
	b := int8Builder{tflitetest.New()}
	x := b.as(b.Input("x", 1, 2), schema.TensorTypeINT8, 0.5, 1)
	y := b.as(b.Unary("y", schema.BuiltinOperatorABS, x), schema.TensorTypeINT8, 0.25, -2)
	b.Output(b.dequantize("answer", y))
	im, err := ImportInt8(b.Model())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x → ABS → answer"}, operators(im.Model)); diff != "" {
		t.Error(diff)
	}
	want := map[int]Params{tensorOf(t, im.Model, "x"): {0.5, 1, false}, tensorOf(t, im.Model, "answer"): {0.25, -2, false}}
	if diff := cmp.Diff(want, im.Known); diff != "" {
		t.Error(diff)
	}
}

// 16×8: int16 activations, biases of 64 bits, one scale for all weights.
func TestInt16ModelsAreImported(t *testing.T) {
	b := int8Builder{tflitetest.New()}
	x := b.as(b.Input("x", 1, 2), schema.TensorTypeINT16, 0.001, 0)
	w := b.raw("w", schema.TensorTypeINT8, tflite.Int8Bytes([]int8{2, -2, 3, 5}), []int32{2, 2}, 0.5)
	bias := b.Raw("bias", schema.TensorTypeINT64, slices.Concat([]byte{1, 0, 0, 0, 1, 0, 0, 0}, slices.Repeat([]byte{0xff}, 8)), 2)
	y := b.as(b.dense("y", 2, x, w, bias), schema.TensorTypeINT16, 0.002, 0)
	c := b.raw("c", schema.TensorTypeINT16, []byte{0x10, 0x27, 0xff, 0xff}, []int32{1, 2}, 0.25) // 10,000 and −1
	b.Output(b.as(b.Add("sum", y, c, tflitetest.None), schema.TensorTypeINT16, 0.003, 0))
	im, err := ImportInt8(b.Model())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]float32{
		"w": {1, -1, 1.5, 2.5}, "c": {2500, -0.25}, "bias": {float32((1<<32 + 1) * (float64(float32(0.001)) * 0.5)), float32(-1 * (float64(float32(0.001)) * 0.5))},
	} {
		if diff := cmp.Diff(want, values(t, im.Model, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, scale := range map[string]float32{"x": 0.001, "y": 0.002, "sum": 0.003} {
		if got := im.Known[tensorOf(t, im.Model, name)]; got != (Params{Scale: scale, Wide: true}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A layer's zero points, one or one a channel, are taken off its codes; what then is no code within ±127 is a value only.
func TestZeroPointsOfImportedWeightsAreTakenOff(t *testing.T) {
	for name, tc := range map[string]struct {
		zeros []int64
		codes []int8
		want  []float32
		exact bool
	}{
		"of each channel":          {[]int64{1, -2}, []int8{1, 2, 3, 125}, []float32{0, 1, 2.5, 63.5}, true},
		"the largest code":         {[]int64{-1, 0}, []int8{126, 0, 0, -127}, []float32{127, 1, 0, -63.5}, true},
		"beyond the largest code":  {[]int64{-1, 0}, []int8{127, 0, 0, 0}, []float32{128, 1, 0, 0}, false},
		"the least code":           {[]int64{1, 0}, []int8{-126, 1, 0, 0}, []float32{-127, 0, 0, 0}, true},
		"beyond the least code":    {[]int64{1, 0}, []int8{-127, 1, 0, 0}, []float32{-128, 0, 0, 0}, false},
		"one that leaves all else": {[]int64{0, 0}, []int8{5, -5, -128, 5}, []float32{5, -5, -64, 2.5}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := int8Builder{tflitetest.New()}
			x := b.as(b.Input("x", 1, 2), schema.TensorTypeINT8, 0.5, 0)
			w := b.raw("w", schema.TensorTypeINT8, tflite.Int8Bytes(tc.codes), []int32{2, 2}, 1, 0.5)
			b.Tensor(w).Quantization.ZeroPoint = tc.zeros
			b.Output(b.as(b.dense("y", 2, x, w, -1), schema.TensorTypeINT8, 1, 0))
			im, err := ImportInt8(b.Model())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, values(t, im.Model, "w")); diff != "" {
				t.Error(diff)
			}
			if _, exact := im.Weights[tensorOf(t, im.Model, "w")]; exact != tc.exact {
				t.Errorf("the integers are kept: %v", exact)
			}
		})
	}
}

func TestModelsThatCannotBeImportedSayWhy(t *testing.T) {
	const narrow, wide = schema.TensorTypeINT8, schema.TensorTypeINT16
	four := make([]byte, 4)
	for name, tc := range map[string]struct {
		build func(b int8Builder, x int32) int32
		want  string
	}{
		"nothing is quantized": {func(b int8Builder, x int32) int32 {
			return b.Unary("y", schema.BuiltinOperatorABS, x)
		}, "the model holds no int8 or int16 tensors: it needs no import"},
		"weights without a scale": {func(b int8Builder, x int32) int32 {
			return b.as(b.dense("y", 2, b.quantize("q", x, 1, 0), b.Raw("w", narrow, four, 2, 2), -1), narrow, 1, 0)
		}, `integer weights "w" without a scale`},
		"a scale of zero": {func(b int8Builder, x int32) int32 {
			return b.as(b.dense("y", 2, b.quantize("q", x, 1, 0), b.raw("w", narrow, four, []int32{2, 2}, 1, 0), -1), narrow, 1, 0)
		}, `weights "w": scale 1 is 0, not a positive finite number`},
		"a bias at the scale of a float input": {func(b int8Builder, x int32) int32 {
			return b.dense("y", 2, x, b.raw("w", narrow, four, []int32{2, 2}, 1), b.Ints("bias", 1, 2))
		}, `integer bias "bias" that is no constant, or without a quantized input`},
		"an activation with several scales": {func(b int8Builder, x int32) int32 {
			y := b.as(b.Unary("y", schema.BuiltinOperatorABS, b.quantize("q", x, 1, 0)), narrow, 1, 0)
			b.Quantize(y, 1, 0, 1, 2)
			return y
		}, `"y" is no weight but has 2 scales`},
		"a zero point of int16": {func(b int8Builder, x int32) int32 {
			return b.as(b.Unary("y", schema.BuiltinOperatorABS, b.quantize("q", x, 1, 0)), wide, 1, 5)
		}, `"y": zero point 5 of int16, which is symmetric`},
		"a conversion from input to output": {func(b int8Builder, x int32) int32 {
			return b.quantize("q", x, 1, 0)
		}, "connects two inputs or outputs of the model; they cannot become one tensor"},
		"a conversion from output to output": {func(b int8Builder, x int32) int32 {
			q := b.as(b.Unary("y", schema.BuiltinOperatorABS, b.quantize("q", x, 1, 0)), narrow, 1, 0)
			b.Output(q)
			return b.dequantize("d", q)
		}, "connects two inputs or outputs of the model; they cannot become one tensor"},
	} {
		t.Run(name, func(t *testing.T) {
			b := int8Builder{tflitetest.New()}
			b.Output(tc.build(b, b.Input("x", 1, 2)))
			if _, err := ImportInt8(b.Model()); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// svdf is x → SVDF of 2 units of rank 1 → y, quantized as TFLM's converter does it.
func svdf() (b int8Builder) {
	b = int8Builder{tflitetest.New()}
	x := b.as(b.Input("x", 1, 3), schema.TensorTypeINT8, 0.5, 4)
	features := b.raw("features", schema.TensorTypeINT8, tflite.Int8Bytes([]int8{1, 2, 3, -4, -5, -128}), []int32{2, 3}, 0.25)
	time := b.raw("time", schema.TensorTypeINT16, []byte{0x00, 0x01, 0xff, 0xff, 0x02, 0x00, 0x00, 0x80}, []int32{2, 2}, 0.125) // 256 −1 2 −32768
	bias := b.Ints("bias", 6, -8)
	state := b.as(b.Const("state", nil, 1, 4), schema.TensorTypeINT16, 0.0625, 0)
	b.Tensor(state).IsVariable, b.Tensor(state).Buffer = true, 0
	y := b.Op("y", schema.BuiltinOperatorSVDF, schema.BuiltinOptionsSVDFOptions, &schema.SVDFOptionsT{Rank: 1}, []int32{1, 2}, x, features, time, bias, state)
	b.Output(b.as(y, schema.TensorTypeINT8, 2, -3))
	return b
}

func TestAQuantizedSVDFIsReadAsTheFloatOneItStandsFor(t *testing.T) {
	m := svdf().Model()
	notes, err := FloatRecurrent(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "operator 0 SVDF is quantized") {
		t.Errorf("notes %q", notes)
	}
	want := []string{
		"x → DEQUANTIZE → x_float",
		"x_float features_float time_float bias_float state_float → SVDF → y_float",
		"y_float → QUANTIZE → y",
	}
	if diff := cmp.Diff(want, operators(m)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string][]float32{
		"features_float": {0.25, 0.5, 0.75, -1, -1.25, -32}, "time_float": {32, -0.125, 0.25, -4096}, "bias_float": {6 * 0.125 * 0.0625, -8 * 0.125 * 0.0625},
	} {
		if diff := cmp.Diff(want, values(t, m, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if state := m.Subgraph().Tensors[tensorOf(t, m, "state_float")]; !state.IsVariable || m.IsConst(state) {
		t.Error("the state is none")
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	if again, err := FloatRecurrent(m); err != nil || again != nil {
		t.Errorf("a float one is changed: %q, %v", again, err)
	}
}

func TestAQuantizedSVDFWithoutOneScaleIsRefused(t *testing.T) {
	for name, change := range map[string]func(b int8Builder){
		"several scales": func(b int8Builder) { b.Quantize(1, 0, 0, 1, 2) },
		"no scale":       func(b int8Builder) { b.Tensor(2).Quantization = nil },
		"a bias whose scale is not known": func(b int8Builder) {
			b.Tensor(4).Quantization = nil
		},
	} {
		b := svdf()
		change(b)
		if _, err := FloatRecurrent(b.Model()); err == nil || !strings.Contains(err.Error(), "is no constant of one scale: give the float model") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An LSTM's biases are added to what the input gives: their scale is that of the input times that of the gate's weights.
func TestAQuantizedLSTMIsReadAsTheFloatOneItStandsFor(t *testing.T) {
	b := int8Builder{tflitetest.New()}
	inputs := slices.Repeat([]int32{-1}, 24)
	inputs[0] = b.as(b.Input("x", 1, 2, 1), schema.TensorTypeINT8, 0.5, 0)
	for gate := range 4 {
		scale := float32(math.Ldexp(1, -gate))
		inputs[1+gate] = b.raw(fmt.Sprintf("w%d", gate), schema.TensorTypeINT8, tflite.Int8Bytes([]int8{3}), []int32{1, 1}, scale)
		inputs[5+gate] = b.raw(fmt.Sprintf("r%d", gate), schema.TensorTypeINT8, tflite.Int8Bytes([]int8{-3}), []int32{1, 1}, 0.25)
		inputs[12+gate] = b.Ints(fmt.Sprintf("b%d", gate), 40)
	}
	for i, name := range []string{"h", "c"} {
		state := b.as(b.Const(name, nil, 1, 1), []schema.TensorType{schema.TensorTypeINT8, schema.TensorTypeINT16}[i], 0.0625, 0)
		b.Tensor(state).IsVariable, b.Tensor(state).Buffer = true, 0
		inputs[18+i] = state
	}
	o := &schema.UnidirectionalSequenceLSTMOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeTANH}
	y := b.Op("y", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions, o, []int32{1, 2, 1}, inputs...)
	b.Output(b.as(y, schema.TensorTypeINT8, 1, 0))
	m := b.Model()
	m.Subgraph().Operators[0].Intermediates = []int32{0}
	if _, err := FloatRecurrent(m); err != nil {
		t.Fatal(err)
	}
	for gate := range 4 {
		scale := float32(math.Ldexp(1, -gate))
		for name, want := range map[string]float32{"w%d_float": 3 * scale, "r%d_float": -0.75, "b%d_float": 40 * 0.5 * scale} {
			if got := values(t, m, fmt.Sprintf(name, gate)); got[0] != want {
				t.Errorf("gate %d: %s is %v, want %v", gate, name, got, want)
			}
		}
	}
	if layer := m.Subgraph().Operators[1]; len(layer.Intermediates) > 0 {
		t.Errorf("scales of the int8 form are left: %v", layer.Intermediates)
	}
}
