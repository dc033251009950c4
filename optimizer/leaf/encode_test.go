package leaf

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// drawn are int8 weights of so many values, half of them zero.
func drawn(n, distinct int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(distinct)))
	out := make([]byte, n)
	for i := range out {
		if r.IntN(2) > 0 {
			out[i] = byte(r.IntN(distinct) - distinct/2)
		}
	}
	return out
}

// dense adds a layer of int8 weights.
func dense(b *tflitetest.Builder, x, w int32) int32 {
	y := b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, b.Shape(w)[0]}, x, w)
	b.SetType(y, schema.TensorTypeINT8)
	b.Quantize(y, 0, 0, 0.1)
	return y
}

func int8Input(b *tflitetest.Builder, n int32) int32 {
	x := b.Input("x", 1, n)
	b.SetType(x, schema.TensorTypeINT8)
	b.Quantize(x, 0, 0, 0.1)
	return x
}

func int8Weights(b *tflitetest.Builder, name string, data []byte, rows, columns int32) int32 {
	w := b.Raw(name, schema.TensorTypeINT8, data, rows, columns)
	b.Quantize(w, 0, 0, 0.02)
	return w
}

func TestEncodedWeightsAreDecodedBeforeEachOperatorThatReadsThem(t *testing.T) {
	b := tflitetest.New()
	x := int8Input(b, 64)
	w, other := int8Weights(b, "w", drawn(64*64, 16), 64, 64), int8Weights(b, "other", drawn(64*64, 4), 64, 64)
	b.Output(dense(b, dense(b, dense(b, x, w), other), w))
	m := b.Model()
	e, err := Encode(m, encode.Kinds...)
	if err != nil {
		t.Fatal(err)
	}
	g := e.Model.Subgraph()
	var names []string
	for _, o := range g.Operators {
		code, custom := e.Model.Op(o)
		if names = append(names, code.String()); custom != "" {
			names[len(names)-1] = custom
		}
	}
	if got, want := strings.Join(names, " "), strings.Repeat("TFLM_DECODE FULLY_CONNECTED ", 3); got+" " != want {
		t.Errorf("%s, want %s", got, want)
	}
	if first, last := g.Operators[0], g.Operators[4]; first.Inputs[0] != last.Inputs[0] || first.Inputs[1] != last.Inputs[1] || first.Outputs[0] == last.Outputs[0] || first.Outputs[0] != w {
		t.Errorf("w is decoded from %v to %v, and from %v to %v", first.Inputs, first.Outputs, last.Inputs, last.Outputs)
	}
	before, after := size(t, m), size(t, e.Model)
	if after >= before {
		t.Errorf("%d bytes, %d before", after, before)
	}
	if want := "the weights of 2 tensors are encoded"; len(e.Notes) != 1 || !strings.Contains(e.Notes[0], want) {
		t.Errorf("notes %q, want %q", e.Notes, want)
	}
}

func size(t *testing.T, m *tflite.Model) int {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}

// What a constant takes beside its bytes is counted: each that is encoded makes the file smaller, down to the smallest that is.
func TestOnlyWhatGetsSmallerIsEncoded(t *testing.T) {
	smallest := 0
	for n := int32(8); n <= 64; n++ {
		b := tflitetest.New()
		b.Output(dense(b, int8Input(b, n), int8Weights(b, "a name as long as those of networks are, with/slashes/in/it", drawn(int(n*16), 4), 16, n)))
		m := b.Model()
		for _, kind := range encode.Kinds {
			e, err := Encode(m, kind)
			if err != nil {
				t.Fatal(err)
			}
			encoded := len(e.Model.Subgraph().Operators) > 1
			if encoded && size(t, e.Model) >= size(t, m) {
				t.Errorf("%s of %d weights: %d bytes, %d before", kind, 16*n, size(t, e.Model), size(t, m))
			}
			if encoded && smallest == 0 {
				smallest = int(16 * n)
			}
		}
	}
	if smallest == 0 || smallest > 640 {
		t.Errorf("encoded from %d weights on", smallest)
	}
}

func TestWeightsThatStayAsTheyAre(t *testing.T) {
	for name, build := range map[string]func(b *tflitetest.Builder, x int32) int32{
		"all values": func(b *tflitetest.Builder, x int32) int32 {
			return dense(b, x, int8Weights(b, "w", every(64*64), 64, 64))
		},
		"few": func(b *tflitetest.Builder, x int32) int32 {
			return dense(b, x, int8Weights(b, "w", drawn(64, 4), 1, 64))
		},
		"of four bits": func(b *tflitetest.Builder, x int32) int32 { return dense(b, x, int4Weights(b)) },
		"an output too": func(b *tflitetest.Builder, x int32) int32 {
			w := int8Weights(b, "w", drawn(64*64, 4), 64, 64)
			b.Output(w)
			return dense(b, x, w)
		},
		"read otherwise": func(b *tflitetest.Builder, x int32) int32 {
			w := int8Weights(b, "w", drawn(64*64, 4), 64, 64)
			return b.Add("sum", dense(b, x, w), w, tflitetest.None)
		},
	} {
		b := tflitetest.New()
		b.Output(build(b, int8Input(b, 64)))
		m := b.Model()
		e, err := Encode(m, encode.Kinds...)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Model.Subgraph().Operators) != len(m.Subgraph().Operators) || !strings.Contains(e.Notes[0], "no weights are smaller encoded") {
			t.Errorf("%s: %s", name, e.Notes)
		}
	}
}

func every(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

func int4Weights(b *tflitetest.Builder) int32 {
	w := int8Weights(b, "w", make([]byte, 32*64), 64, 64)
	b.SetType(w, schema.TensorTypeINT4)
	return w
}

// A tensor that nothing used is dropped, and the others are where Tensor says.
func TestTensorsOfAnEncodedLeafAreToldByThoseOfTheLeaf(t *testing.T) {
	b := tflitetest.New()
	x := int8Input(b, 64)
	int8Weights(b, "unused", make([]byte, 9), 3, 3)
	w := int8Weights(b, "w", drawn(64*64, 16), 64, 64)
	b.Output(dense(b, x, w))
	m := b.Model()
	e, err := Encode(m, encode.LUT)
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Model.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := tflite.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	if at := e.Tensor[w]; at != int(w)-1 || e.Model.Subgraph().Tensors[at].Name != "w" || !bytes.Equal(read.Data(read.Subgraph().Tensors[at]), drawn(64*64, 16)) {
		t.Errorf("w is tensor %d", at)
	}
}
