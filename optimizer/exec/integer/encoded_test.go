package integer_test

import (
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
)

// The networks are those of hack/peers/encode_goldens.py: weights that TFLM's DECODE operator decodes, encoded by this project and by TFLM's
// own tool. TensorFlow Lite Micro answered all.
func TestEncodedWeightsGiveTFLMsAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/encoded/*.tflite")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d networks: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".tflite")
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := strings.LastIndex(name, "_")
			if kind := name[at+1:]; len(m.Encoded) != 1 || kind != m.Encoded[0].Kind.String() && kind != "peer" {
				t.Fatalf("encoded: %v", m.Encoded)
			}
			g := openGolden(t, filepath.Join("testdata/encoded", name[:at]+".npz"), "")
			g.outputs = "tflm_"
			e, err := integer.Compile(m, 0, integer.TFLM())
			if err != nil {
				t.Fatal(err)
			}
			checkOutputs(t, e, g)
		})
	}
}
