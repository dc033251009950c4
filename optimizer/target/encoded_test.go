package target

import (
	"os"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite"
)

const encodedNetworks = "../exec/integer/testdata/encoded/"

// Weights are decoded into the arena, each before the operator that reads them. The figures are those of TFLM's wheel (hack/peers/tflm.py).
func TestDecodedWeightsAreInTheArena(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		activations int
		kept        int // by DECODE: a pointer and the state of its kind, each aligned
	}{
		"conv_16_codes_LUT": {1872, 16 + 48}, "conv_sparse_Prune": {1872, 16 + 48}, "depthwise_4_a_channel_LUT": {4704, 16 + 48}, "depthwise_16_codes_Huffman": {3104, 16 + 32},
		"fc_16_codes_Huffman": {1040, 16 + 32}, "fc_one_scale_sparse_Prune": {1632, 16 + 48}, "transpose_conv_16_codes_peer": {8304, 16 + 48},
	} {
		content := stored(t, name)
		got, err := MemoryOf(content, d)
		if err != nil {
			t.Fatal(err)
		}
		if got.Planned != c.activations || len(got.Notes) > 0 {
			t.Errorf("%s: activations %d bytes, TFLM plans %d (%v)", name, got.Planned, c.activations, got.Notes)
		}
		if o := got.Operators[0]; o.Name != "custom TFLM_DECODE" || o.Persistent != c.kept {
			t.Errorf("%s: %s keeps %d bytes, want %d", name, o.Name, o.Persistent, c.kept)
		}
	}
}

func stored(t *testing.T, name string) *tflite.Model {
	t.Helper()
	content, err := os.ReadFile(encodedNetworks + name + ".tflite")
	if err != nil {
		t.Fatal(err)
	}
	m, err := tflite.ReadStored(content)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOnlyTFLMDecodesWeights(t *testing.T) {
	m := stored(t, "conv_16_codes_LUT")
	for _, d := range All() {
		err := Check(m, d).Err()
		decodes := true
		for _, k := range encode.Kinds {
			decodes = decodes && d.Decodes(k)
		}
		if decodes != (len(d.Encodings) > 0) || decodes && d.Runtime != TFLM {
			t.Errorf("%s decodes %v", d.Name, d.Encodings)
		}
		if decodes != (err == nil) || err != nil && !strings.Contains(err.Error(), "weights are encoded, which only TFLM on a processor decodes: make the leaf without encode") {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
}
