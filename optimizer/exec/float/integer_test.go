package float_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// quantized returns m with its float activations int8, by tensor index.
func quantized(m *tflite.Model, quants map[int]float.ActQuant) *tflite.Model {
	m = m.Clone()
	for t, q := range quants {
		tensor := m.Subgraph().Tensors[t]
		tensor.Type = schema.TensorTypeINT8
		tensor.Quantization = &schema.QuantizationParametersT{Scale: []float32{q.Scale}, ZeroPoint: []int64{int64(q.ZeroPoint)}}
	}
	return m
}

// TestFakeQuantizationGivesTheIntegerKernelsCodes runs operators whose integer kernel rounds in its own way on every code: the
// simulation must agree in all of them. (Operators with weights are compared by package quantize's Verify.)
func TestFakeQuantizationGivesTheIntegerKernelsCodes(t *testing.T) {
	for _, c := range []struct {
		name   string
		shared bool // input and output have one quantization
		shape  []int32
		build  func(b *tflitetest.Builder, x int32) int32
	}{
		{"HARD_SWISH", false, []int32{1, 16, 16, 1}, func(b *tflitetest.Builder, x int32) int32 {
			return b.Unary("y", schema.BuiltinOperatorHARD_SWISH, x)
		}},
		{"AVERAGE_POOL_2D of two by two", true, []int32{1, 16, 16, 1}, func(b *tflitetest.Builder, x int32) int32 {
			return b.Pool("y", schema.BuiltinOperatorAVERAGE_POOL_2D, x, 2, 2, schema.PaddingVALID)
		}},
		{"AVERAGE_POOL_2D of three by three", true, []int32{1, 8, 8, 4}, func(b *tflitetest.Builder, x int32) int32 {
			return b.Pool("y", schema.BuiltinOperatorAVERAGE_POOL_2D, x, 3, 1, schema.PaddingSAME)
		}},
		{"RESIZE_BILINEAR", true, []int32{1, 8, 8, 4}, func(b *tflitetest.Builder, x int32) int32 {
			o := &schema.ResizeBilinearOptionsT{HalfPixelCenters: true}
			return b.Op("y", schema.BuiltinOperatorRESIZE_BILINEAR, schema.BuiltinOptionsResizeBilinearOptions, o, []int32{1, 16, 20, 4}, x, b.Ints("size", 16, 20))
		}},
		{"RESIZE_BILINEAR with aligned corners", true, []int32{1, 8, 8, 4}, func(b *tflitetest.Builder, x int32) int32 {
			o := &schema.ResizeBilinearOptionsT{AlignCorners: true}
			return b.Op("y", schema.BuiltinOperatorRESIZE_BILINEAR, schema.BuiltinOptionsResizeBilinearOptions, o, []int32{1, 11, 5, 4}, x, b.Ints("size", 11, 5))
		}},
	} {
		for _, in := range []float.ActQuant{{Scale: 0.0101}, {Scale: 0.0502, ZeroPoint: -20}, {Scale: 0.0903, ZeroPoint: 100}, {Scale: 0.0304, ZeroPoint: -128}, {Scale: 0.0235, ZeroPoint: 127}} {
			for _, out := range []float.ActQuant{{Scale: 0.011, ZeroPoint: -100}, {Scale: 0.0314, ZeroPoint: -110}, {Scale: 0.0502, ZeroPoint: -120}} {
				if c.shared {
					out = in
				}
				t.Run(fmt.Sprintf("%s from %v to %v", c.name, in, out), func(t *testing.T) {
					b := tflitetest.New()
					x := b.Input("x", c.shape...)
					y := c.build(b, x)
					b.Output(y)
					compareCodes(t, b.Model(), int(x), int(y), in, out)
				})
			}
		}
	}
}

func compareCodes(t *testing.T, m *tflite.Model, x, y int, in, out float.ActQuant) {
	t.Helper()
	integers, err := integer.Compile(quantized(m, map[int]float.ActQuant{x: in, y: out}), 1)
	if err != nil {
		t.Fatal(err)
	}
	n, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	n.Act[x], n.Act[y] = &in, &out
	if in == out {
		n.Act[y] = n.Act[x]
	}
	e := n.NewExec(false)
	codes, values := make([]byte, len(e.Input(0))), make([]float32, len(e.Input(0)))
	for i, code := range rand.New(rand.NewPCG(1, 1)).Perm(len(codes)) {
		codes[i] = byte(code)
		values[i] = in.Scale * float32(int32(int8(code))-in.ZeroPoint)
	}
	if err := integers.SetInputBytes(0, codes); err != nil {
		t.Fatal(err)
	}
	if err := integers.Run(); err != nil {
		t.Fatal(err)
	}
	e.SetInput(0, values)
	e.Forward()
	for i, want := range integers.OutputBytes(0) {
		if got := int32(math.Round(float64(e.Output(0)[i]/out.Scale))) + out.ZeroPoint; got != int32(int8(want)) {
			t.Errorf("value %d: code %d, the integer kernel gives %d", i, got, int8(want))
		}
	}
}
