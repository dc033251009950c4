package tflite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// small is a model with every kind of thing a file holds: constants, options, a signature, metadata, a custom operator.
func small() *tflite.Model {
	b := tflitetest.New()
	x := b.Input("x", 1, 6, 6, 2)
	y := b.Conv("conv", x, ramp(4*3*3*2), ramp(4), 4, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, y, 2, 2, schema.PaddingVALID)
	y = b.Flatten("flat", y)
	y = b.Dense("dense", y, ramp(3*36), ramp(3), 3, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	m := b.Model()
	m.SignatureDefs = []*schema.SignatureDefT{{
		SignatureKey: "serving_default",
		Inputs:       []*schema.TensorMapT{{Name: "x", TensorIndex: uint32(x)}},
		Outputs:      []*schema.TensorMapT{{Name: "y", TensorIndex: uint32(m.Subgraph().Outputs[0])}},
	}}
	m.SetMetadata("min_runtime_version", append([]byte("1.5.0"), make([]byte, 11)...))
	return m
}

func ramp(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i%7-3) / 4
	}
	return out
}

func marshal(t *testing.T, m *tflite.Model) []byte {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadWriteReadIsDeepEqual(t *testing.T) {
	m, err := tflite.Read(marshal(t, small()))
	if err != nil {
		t.Fatal(err)
	}
	again, err := tflite.Read(marshal(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.ModelT, again.ModelT); diff != "" {
		t.Errorf("a second round trip changed the model:\n%s", diff)
	}
}

// TestMaterialRoundTrip reads and writes every model of the material. Operator versions may only rise (some files understate
// them) unless a hybrid kernel's is lowered, and everything else is equal.
func TestMaterialRoundTrip(t *testing.T) {
	for _, file := range testmaterial.Glob(t, "models/*.tflite", "models/ops/*.tflite", "peers/*/*.tflite") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := tflite.Read(data)
			if err != nil {
				t.Fatal(err)
			}
			written := marshal(t, m)
			again, err := tflite.Read(written)
			if err != nil {
				t.Fatal(err)
			}
			if limit := len(data)*105/100 + 64; len(written) > limit {
				t.Errorf("%d bytes became %d, more than %d", len(data), len(written), limit)
			}
			runtime := func(m *tflite.Model) *tflite.Model {
				m = m.Clone()
				m.DeleteMetadata("min_runtime_version")
				return m
			}
			if diff := cmp.Diff(runtime(m).ModelT, runtime(again).ModelT, cmpopts.IgnoreFields(schema.OperatorCodeT{}, "Version"), cmp.Comparer(bytes.Equal)); diff != "" {
				t.Errorf("the model changed:\n%.2000s", diff)
			}
			for i, c := range m.OperatorCodes {
				if v := again.OperatorCodes[i].Version; v < c.Version && !strings.Contains(file, "float32") {
					t.Errorf("%s version %d became %d", c.BuiltinCode, c.Version, v)
				}
			}
		})
	}
}

func TestBuffersAreAligned(t *testing.T) {
	data := marshal(t, small())
	root := schema.GetRootAsModel(data, 0)
	for i := range root.BuffersLength() {
		var b schema.Buffer
		root.Buffers(&b, i)
		if b.DataLength() == 0 {
			continue
		}
		want := b.DataBytes()
		at := strings.Index(string(data), string(want))
		if len(want) >= 16 && at%16 != 0 {
			t.Errorf("buffer %d starts at byte %d", i, at)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := marshal(t, small())
	change := func(f func(m *tflite.Model)) []byte {
		m := small()
		f(m)
		// the tree is broken on purpose: write it without the check
		return tflite.PackUnchecked(m)
	}
	tests := map[string]struct {
		data []byte
		want string
	}{
		"an empty file":                   {nil, "empty or truncated"},
		"something else":                  {[]byte("PK\x03\x04 a zip file"), `want "TFL3"`},
		"half a file":                     {good[:len(good)/2], "outside the file"},
		"another schema version":          {change(func(m *tflite.Model) { m.Version = 4 }), "schema version is 4"},
		"no subgraph":                     {change(func(m *tflite.Model) { m.Subgraphs = nil }), "no subgraph"},
		"a tensor that is not there":      {change(func(m *tflite.Model) { m.Subgraph().Operators[0].Inputs[0] = 99 }), "input is tensor 99"},
		"a buffer that is not there":      {change(func(m *tflite.Model) { m.Subgraph().Tensors[0].Buffer = 99 }), "buffer 99"},
		"a negative dimension":            {change(func(m *tflite.Model) { m.Subgraph().Tensors[0].Shape[1] = -6 }), "negative"},
		"a shape that overflows":          {change(func(m *tflite.Model) { m.Subgraph().Tensors[0].Shape = []int32{1 << 30, 1 << 30} }), "elements"},
		"data shorter than its shape":     {change(func(m *tflite.Model) { m.Buffers[1].Data = m.Buffers[1].Data[:8] }), "its buffer has 8"},
		"an operator that reads the next": {change(func(m *tflite.Model) { o := m.Subgraph().Operators; o[0], o[1] = o[1], o[0] }), "out of order"},
		"two producers of a tensor": {change(func(m *tflite.Model) {
			o := m.Subgraph().Operators
			o[1].Outputs = o[0].Outputs
		}), "another producer"},
		"an output nothing makes": {change(func(m *tflite.Model) {
			m.Subgraph().Tensors = append(m.Subgraph().Tensors, &schema.TensorT{Name: "ghost", Shape: []int32{1}})
			m.Subgraph().Outputs[0] = int32(len(m.Subgraph().Tensors) - 1)
		}), "nothing makes"},
		"a negative scale": {change(func(m *tflite.Model) {
			m.Subgraph().Tensors[0].Quantization = &schema.QuantizationParametersT{Scale: []float32{-1}}
		}), "scale 0 is -1"},
		"scales that match no dimension": {change(func(m *tflite.Model) {
			m.Subgraph().Tensors[0].Quantization = &schema.QuantizationParametersT{Scale: []float32{1, 2, 3}, QuantizedDimension: 3}
		}), "3 scales for 2 channels"},
		"data outside the file":  {change(func(m *tflite.Model) { m.Buffers[1] = &schema.BufferT{Offset: 1 << 40, Size: 4} }), "outside the file"},
		"a signature of nothing": {change(func(m *tflite.Model) { m.SignatureDefs[0].Outputs[0].TensorIndex = 77 }), "tensor 77"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tflite.Read(tt.data)
			var format *tflite.FormatError
			if !errors.As(err, &format) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a FormatError saying %q", err, tt.want)
			}
		})
	}
}

func TestCheckFiniteNamesTensorAndElement(t *testing.T) {
	m := small()
	weights, _ := m.Float32s(m.Subgraph().Tensors[1])
	weights[5] /= 0
	weights[5] -= weights[5]
	m.SetData(m.Subgraph().Tensors[1], tflite.Float32Bytes(weights))
	err := tflite.CheckFinite(m)
	if err == nil || !strings.Contains(err.Error(), `tensor 1 "conv/kernel": element 5 is NaN`) {
		t.Errorf("got %v", err)
	}
}

func TestNormaliseConvertsWhatRuntimesHalfAccept(t *testing.T) {
	tests := map[string]struct {
		file string
		want string
	}{
		"biases with the weights' dimension": {"person_detect.tflite", "biases"},
		"hybrid weights":                     {"kws_ref_model_float32.tflite", "dequantized"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile(testmaterial.Path(t, "models/"+tt.file))
			if err != nil {
				t.Fatal(err)
			}
			notes, err := tflite.Normalise(m)
			if err != nil || !strings.Contains(strings.Join(notes, "; "), tt.want) {
				t.Errorf("notes %q, error %v, want a note on %q", notes, err, tt.want)
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNormaliseMovesUint8(t *testing.T) {
	m := small()
	w := m.Subgraph().Tensors[1]
	w.Type, w.Quantization = schema.TensorTypeUINT8, &schema.QuantizationParametersT{Scale: []float32{0.5}, ZeroPoint: []int64{128}}
	data := make([]byte, 72)
	data[3] = 200
	m.SetData(w, data)
	if _, err := tflite.Normalise(m); err != nil {
		t.Fatal(err)
	}
	values, err := m.Float32s(w) // the activations are float: the int8 weights are hybrid and become float
	if err != nil || values[3] != 36 || values[0] != -64 {
		t.Errorf("values %v, %v, error %v; want −64 and 36", values[0], values[3], err)
	}
}

func TestNormaliseStoresHalfWeightsAsFloat32(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	half := b.Raw("half", schema.TensorTypeFLOAT16, []byte{0x00, 0x3c, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x3c}, 2, 2) // 1, −2.5, 0, 1
	w := b.Op("w", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsDequantizeOptions, &schema.DequantizeOptionsT{}, []int32{2, 2}, half)
	y := b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 2}, x, w)
	b.Output(y)
	m := b.Model()
	notes, err := tflite.Normalise(m)
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "float16") {
		t.Fatalf("notes %q, %v", notes, err)
	}
	g := m.Subgraph()
	if len(g.Operators) != 1 || len(g.Tensors) != 3 {
		t.Errorf("%d operators and %d tensors are left, want 1 and 3", len(g.Operators), len(g.Tensors))
	}
	values, err := m.Float32s(g.Tensors[g.Operators[0].Inputs[1]])
	if diff := cmp.Diff([]float32{1, -2.5, 0, 1}, values); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestSharedBuffersAreCopiedOnWrite(t *testing.T) {
	m := small()
	a, b := m.Subgraph().Tensors[1], m.Subgraph().Tensors[2]
	b.Buffer, b.Shape = a.Buffer, a.Shape
	before, _ := m.Float32s(b)
	m.SetData(a, tflite.Float32Bytes(make([]float32, 72)))
	after, _ := m.Float32s(b)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("writing one user changed the other:\n%s", diff)
	}
}

func TestTheRuntimeVersionIsNotWrittenIntoAnothersBuffer(t *testing.T) {
	tests := map[string]func(m *tflite.Model) uint32{
		"buffer 0, which has to stay empty": func(*tflite.Model) uint32 { return 0 },
		"a tensor's data":                   func(m *tflite.Model) uint32 { return m.Subgraph().Tensors[1].Buffer },
	}
	for name, buffer := range tests {
		t.Run(name, func(t *testing.T) {
			m := small()
			m.SetMetadata("min_runtime_version", []byte("9.9.9"))
			m.ModelT.Metadata[len(m.ModelT.Metadata)-1].Buffer = buffer(m)
			weights, err := m.Float32s(m.Subgraph().Tensors[1])
			if err != nil {
				t.Fatal(err)
			}
			again, err := tflite.Read(marshal(t, m))
			if err != nil {
				t.Fatal(err)
			}
			after, err := again.Float32s(again.Subgraph().Tensors[1])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(weights, after); diff != "" {
				t.Errorf("weights changed:\n%s", diff)
			}
			if version, _ := again.Metadata("min_runtime_version"); len(version) != 16 {
				t.Errorf("version is %q", version)
			}
		})
	}
}

func TestCompactDropsWhatNothingUses(t *testing.T) {
	m := small()
	m.Subgraph().Tensors = append(m.Subgraph().Tensors, &schema.TensorT{Name: "left over", Shape: []int32{4}, Buffer: m.AddBuffer(make([]byte, 16))})
	before := len(marshal(t, m))
	tensors := len(m.Subgraph().Tensors)
	tflite.Compact(m)
	if got := len(m.Subgraph().Tensors); got != tensors-1 {
		t.Errorf("%d tensors, want %d", got, tensors-1)
	}
	if after := len(marshal(t, m)); after >= before {
		t.Errorf("%d bytes before, %d after", before, after)
	}
}

func FuzzRead(f *testing.F) {
	good, err := small().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(encodedFile())
	for _, n := range []int{0, 4, 8, 40, len(good) / 2, len(good) - 1} {
		f.Add(good[:n])
	}
	for i := 8; i < len(good); i += 37 {
		flipped := append([]byte{}, good...)
		flipped[i] ^= 0x81
		f.Add(flipped)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := tflite.Read(data)
		if err != nil {
			return
		}
		written, err := m.Marshal()
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		again, err := tflite.Read(written)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		third, err := again.Marshal()
		if err != nil || string(third) != string(written) {
			t.Fatalf("a second write differs (error %v)", err)
		}
	})
}

func BenchmarkReadWrite(b *testing.B) {
	builder := tflitetest.New()
	x := builder.Input("x", 1, 1024)
	for i := range 4 {
		x = builder.Dense(fmt.Sprintf("dense%d", i), x, make([]float32, 1024*256), make([]float32, 256), 256, tflitetest.ReLU)
		x = builder.Dense(fmt.Sprintf("back%d", i), x, make([]float32, 256*1024), nil, 1024, tflitetest.ReLU)
	}
	builder.Output(x)
	data, err := builder.Model().Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		m, err := tflite.Read(data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}
