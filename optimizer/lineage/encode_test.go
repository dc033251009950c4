package lineage

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// An encoded leaf is read as the plain one, has its promises, and says so; an int8 original is encoded too, and one that came encoded is read
// as any.
func TestEncodedLeavesAreReadAsPlainOnes(t *testing.T) {
	b := tflitetest.New()
	y := b.Dense("hidden", b.Input("x", 1, 72), gauss(1, 32*72, 0.2), gauss(2, 32, 0.1), 32, tflitetest.ReLU)
	b.Output(b.Softmax("softmax", b.Dense("dense", y, gauss(3, 4*32, 0.5), nil, 4, tflitetest.None)))
	float := read(t, b.Model())
	int8 := quantized8(t, float, true)
	for name, c := range map[string]struct {
		from  *Network
		order []Technique
	}{
		"baseline": {float, nil}, "int8 original": {int8, nil}, "clustered": {float, []Technique{eight}}, "trained": {float, []Technique{half, eight, qat}},
	} {
		made := map[Encoding]*Outcome{}
		for _, encoding := range []Encoding{"", EncodeNone, EncodeAuto, "LUT", "Huffman", "Prune"} {
			run, n := fast(c.from), c.from
			run.Leaf.Encode = encoding
			out, err := run.Baseline(context.Background(), n)
			for _, technique := range c.order {
				if err == nil {
					out, err = run.Apply(context.Background(), n, technique)
					n = out.Network
				}
			}
			if err != nil {
				t.Fatalf("%s, encode %q: %v", name, encoding, err)
			}
			made[encoding] = out
		}
		plain := marshal(t, made[""].Leaf)
		for encoding, out := range made {
			file := marshal(t, out.Leaf)
			m, err := tflite.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(encoding.Kinds()) == 0 && (!bytes.Equal(file, plain) || len(m.Encoded) > 0) {
				t.Errorf("%s, encode %q: the leaf is not the plain one", name, encoding)
			}
			if back := marshal(t, m); name != "int8 original" && !bytes.Equal(back, plain) {
				t.Errorf("%s, encode %q: it is not read as the plain leaf", name, encoding)
			}
			if diff := cmp.Diff(made[""].Promises, out.Promises); name != "int8 original" && diff != "" {
				t.Errorf("%s, encode %q: %s", name, encoding, diff)
			}
			if encoding == EncodeAuto && name != "baseline" && name != "int8 original" && (len(file) >= len(plain) || len(m.Encoded) == 0 || !strings.Contains(strings.Join(out.Notes, "\n"), "LiteRT does not run the file")) {
				t.Errorf("%s: %d bytes where the plain leaf has %d, %v", name, len(file), len(plain), out.Notes)
			}
			if len(m.Encoded) > 0 {
				if again, err := Read(file); err != nil || len(again.Kernels()) != len(out.Network.Kernels()) {
					t.Errorf("%s, encode %q: the leaf is not a network to start from: %v", name, encoding, err)
				}
			}
		}
	}
	if got := (LeafOptions{Encode: EncodeAuto}).String(); got != "encoded Auto" {
		t.Errorf("%q", got)
	}
	if diff := cmp.Diff([]encode.Kind{encode.Prune}, Encoding("Prune").Kinds()); diff != "" {
		t.Error(diff)
	}
}

func marshal(t *testing.T, m *tflite.Model) []byte {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
