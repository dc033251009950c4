package integer_test

import (
	"bytes"
	"errors"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
)

// The networks and answers are those of hack/peers/streaming.py: 1,000 steps, one after the other.
func TestStreamingNetworksGiveTheReferenceKernelsAnswersStepByStep(t *testing.T) {
	for _, name := range []string{"ring_f32", "ring_int8", "mixed_int8", "delay_f32"} {
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile("testdata/streaming/" + name + ".tflite")
			if err != nil {
				t.Fatal(err)
			}
			g := openGolden(t, "testdata/streaming/"+name+".npz", "")
			g.outputs = "output_"
			e, err := integer.Compile(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !e.Stateful() {
				t.Error("it is said to keep no state")
			}
			checkOutputs(t, e, g)
			first := bytes.Clone(e.OutputBytes(0))
			if err := e.Run(); err != nil || bytes.Equal(first, e.OutputBytes(0)) {
				t.Fatalf("one more step with the same input gives the same: %v", err)
			}
			e.Reset()
			checkOutputs(t, e, g)
			checkOutputs(t, e.Clone(), g)
			if g.outputs = "tflm_"; g.Header(g.outputs+"0.npy") != nil {
				e, err := integer.Compile(m, 0, integer.TFLM())
				if err != nil {
					t.Fatal(err)
				}
				checkOutputs(t, e, g)
			}
			if _, err := integer.Compile(m, 2); !errors.As(err, new(*ir.BatchError)) {
				t.Errorf("two sequences at once: %v", err)
			}
		})
	}
}
