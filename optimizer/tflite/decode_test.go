package tflite_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// decoded adds weights that a DECODE operator makes of two constants, with the scales of its rows or of its columns.
func decoded(b *tflitetest.Builder, name string, stored, ancillary int32, axis int32, shape ...int32) int32 {
	w := b.Custom(name, encode.Operator, shape, stored, ancillary)
	b.SetType(w, schema.TensorTypeINT8)
	scales := make([]float32, shape[axis])
	for i := range scales {
		scales[i] = 0.5
	}
	b.Quantize(w, axis, 0, scales...)
	return w
}

func TestReadDecodesConstants(t *testing.T) {
	values := make([]byte, 64)
	for i := range values {
		values[i] = byte(i % 5 * 30)
	}
	for _, kind := range encode.Kinds {
		for _, axis := range []int32{0, 1} {
			b := tflitetest.New()
			x := b.Input("x", 1, 8)
			b.SetType(x, schema.TensorTypeINT8)
			layout := encode.Layout{Width: 1, Count: 64, Channels: 8, Last: axis == 1, Rank: 2}
			e, ok := encode.Of(kind, values, layout)
			if !ok {
				t.Fatalf("%s cannot hold the weights", kind)
			}
			stored := b.Raw("stored", schema.TensorTypeUINT8, e.Data, int32(len(e.Data)))
			ancillary := b.Raw("ancillary", schema.TensorTypeUINT8, e.Ancillary, int32(len(e.Ancillary)))
			// Decoded anew before each operator, as TFLM's own tool does.
			y := x
			for range 2 {
				w := decoded(b, "w", stored, ancillary, axis, 8, 8)
				y = b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 8}, y, w)
				b.SetType(y, schema.TensorTypeINT8)
			}
			b.Output(y)
			file := b.File()
			m, err := tflite.Read(file)
			if err != nil {
				t.Fatalf("%s, scales along %d: %v", kind, axis, err)
			}
			g := m.Subgraph()
			if len(g.Operators) != 2 || len(g.Tensors) != 4 || len(m.OperatorCodes) != 1 || g.Operators[0].Inputs[1] != g.Operators[1].Inputs[1] {
				t.Fatalf("%d operators on %d tensors, want two on four: %v %v", len(g.Operators), len(g.Tensors), g.Operators[0].Inputs, g.Operators[1].Inputs)
			}
			w := int(g.Operators[0].Inputs[1])
			if !bytes.Equal(m.Data(g.Tensors[w]), values) {
				t.Errorf("%s, scales along %d: %v", kind, axis, m.Data(g.Tensors[w]))
			}
			if diff := cmp.Diff([]tflite.Encoding{{Tensor: w, Kind: kind, Bytes: e.Bytes()}}, m.Encoded); diff != "" {
				t.Error(diff)
			}
			raw, err := tflite.ReadStored(file)
			if err != nil || len(raw.Subgraph().Operators) != 4 || raw.Encoded != nil {
				t.Errorf("as it is stored: %d operators, %v", len(raw.Subgraph().Operators), err)
			}
		}
	}
}

func TestReadRefusesWhatDecodeCannotRead(t *testing.T) {
	lut := []byte{0, 1, 0, 0, 1, 1, 0, 16: 3, 4}
	for name, c := range map[string]struct {
		stored, ancillary []byte
		axis              int32
		change            func(*tflitetest.Builder, int32)
		want              string
	}{
		"it is whole":          {make([]byte, 8), lut, 0, nil, ""},
		"short metadata":       {make([]byte, 8), lut[:9], 0, nil, `operator 0 "TFLM_DECODE": pair 0: 9 bytes of metadata, want 16`},
		"few indices":          {make([]byte, 9), append([]byte{0, 1, 0, 0, 1, 2, 0, 16: 3}, 4, 5, 6), 0, nil, `tensor 3 "w": the indices end at value 36 of 64`},
		"scales in the middle": {make([]byte, 8), lut, 1, func(b *tflitetest.Builder, w int32) { b.Tensor(w).Shape = []int32{1, 8, 8} }, "not on 1 of [1 8 8]"},
		"values of four bits":  {make([]byte, 8), lut, 0, func(b *tflitetest.Builder, w int32) { b.SetType(w, schema.TensorTypeINT4) }, "DECODE makes no INT4[8 8]"},
		"two outputs":          {make([]byte, 8), lut, 0, func(b *tflitetest.Builder, w int32) { b.AddOutput(w, 8, 8) }, "2 inputs and 2 outputs"},
	} {
		b := tflitetest.New()
		x := b.Input("x", 1, 8)
		stored, ancillary := b.Raw("stored", schema.TensorTypeUINT8, c.stored, int32(len(c.stored))), b.Raw("ancillary", schema.TensorTypeUINT8, c.ancillary, int32(len(c.ancillary)))
		w := decoded(b, "w", stored, ancillary, c.axis, 8, 8)
		if c.change != nil {
			c.change(b, w)
		}
		b.Output(b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 8}, x, w))
		_, err := tflite.Read(b.File())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	b := tflitetest.New()
	x := b.Input("x", 1, 8)
	decoded(b, "unused", b.Raw("stored", schema.TensorTypeUINT8, make([]byte, 8), 8), b.Raw("ancillary", schema.TensorTypeUINT8, lut, int32(len(lut))), 0, 8, 8)
	b.Output(x)
	if m, err := tflite.Read(b.File()); err != nil || len(m.Subgraph().Tensors) != 1 || len(m.Encoded) != 0 {
		t.Errorf("what nothing reads is not dropped: %v, %v", m.Encoded, err)
	}
	b = tflitetest.New()
	b.Input("x", 1, 8)
	w := decoded(b, "w", b.Raw("stored", schema.TensorTypeUINT8, []byte{1}, 1), b.Raw("ancillary", schema.TensorTypeUINT8, []byte{200, 1, 15: 0}, 16), 0, 8, 8)
	b.Output(w)
	if m, err := tflite.Read(b.File()); err != nil || len(m.Subgraph().Operators) != 1 {
		t.Errorf("an application's own kind does not stay as it is: %v", err)
	}
}

// encodedFile is a network of one layer whose weights a DECODE operator makes.
func encodedFile() []byte {
	b := tflitetest.New()
	x := b.Input("x", 1, 8)
	b.SetType(x, schema.TensorTypeINT8)
	e, _ := encode.Of(encode.Huffman, make([]byte, 64), encode.Layout{Width: 1, Count: 64, Channels: 8, Rank: 2})
	w := decoded(b, "w", b.Raw("", schema.TensorTypeUINT8, e.Data, int32(len(e.Data))), b.Raw("", schema.TensorTypeUINT8, e.Ancillary, int32(len(e.Ancillary))), 0, 8, 8)
	y := b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 8}, x, w)
	b.SetType(y, schema.TensorTypeINT8)
	b.Output(y)
	return b.File()
}
