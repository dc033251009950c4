package integer_test

import (
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
)

// The networks are those of hack/peers/fourbit.py: int4 weights, with every code from −8 to 7, and what ai-edge-quantizer makes. LiteRT's
// reference kernels answered all, TensorFlow Lite Micro those with int8 activations but fully connected layers with a scale a channel.
func TestInt4WeightsGiveTheAnswersOfBothRuntimes(t *testing.T) {
	files, err := filepath.Glob("testdata/int4/*.tflite")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d networks: %v", len(files), err)
	}
	micro := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tflite"), func(t *testing.T) {
			m, err := tflite.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			g := openGolden(t, strings.TrimSuffix(file, ".tflite")+".npz", "")
			for runtime, outputs := range map[string]string{"LiteRT": "output_", "TFLM": "tflm_"} {
				if g.Header(outputs+"0.npy") == nil {
					continue
				}
				var options []integer.Option
				if runtime == "TFLM" {
					options = append(options, integer.TFLM())
					micro++
				}
				g.outputs = outputs
				for _, variant := range []struct {
					batch   int
					options []integer.Option
				}{{0, options}, {0, append(options, integer.Reference())}, {3, options}} {
					e, err := integer.Compile(m, variant.batch, variant.options...)
					if err != nil {
						t.Fatal(err)
					}
					checkOutputs(t, e, g)
				}
			}
		})
	}
	if micro < 7 {
		t.Errorf("TFLM answers %d networks", micro)
	}
}
