package integer_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
)

// TestOperatorsGiveTheReferenceKernelsAnswers runs the networks of hack/peers/goldens.py and odd_scales.py: int8 and int16 answers are LiteRT's bit for bit,
// float ones to 1e-5 of the largest.
func TestOperatorsGiveTheReferenceKernelsAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/o*/*.tflite")
	if err != nil || len(files) < 200 {
		t.Fatalf("%d networks: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tflite"), func(t *testing.T) {
			m, err := tflite.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ir.Specialize(m, nil); err != nil {
				t.Fatal(err)
			}
			g := openGolden(t, strings.TrimSuffix(file, ".tflite")+".npz", "")
			g.outputs = "output_"
			for _, variant := range []struct {
				batch   int
				options []integer.Option
			}{{0, nil}, {0, []integer.Option{integer.Reference()}}, {3, nil}} {
				e, err := integer.Compile(m, variant.batch, variant.options...)
				if fixed := (*ir.BatchError)(nil); errors.As(err, &fixed) {
					t.Log(err)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				checkOutputs(t, e, g)
			}
		})
	}
}
