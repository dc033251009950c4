package stage

import (
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Only a network with state has chunks; it remembers how long they are.
func TestOnlyNetworksWithStateAreTrainedInChunks(t *testing.T) {
	b := tflitetest.New()
	x, state := b.Input("x", 1, 2), b.Input("state", 1, 2)
	b.Output(b.Unary("answer", schema.BuiltinOperatorRELU, x))
	b.Output(b.Add("next", x, state, tflitetest.None))
	content, chunk := b.File(), int32(64)
	_, err := WithStates(content, v1alpha1.NetworkSource{Chunk: &chunk})
	if err == nil || !strings.Contains(err.Error(), "model.chunk: the network keeps no state") {
		t.Errorf("without state: %v", err)
	}
	written, err := WithStates(content, v1alpha1.NetworkSource{Chunk: &chunk, States: []v1alpha1.StatePair{{Input: "state", Output: "next"}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := tflite.Read(written)
	if err != nil {
		t.Fatal(err)
	}
	if pairs, err := m.States(); err != nil || len(pairs) != 1 || m.Chunk() != 64 {
		t.Errorf("%d pairs of state, chunks of %d, %v", len(pairs), m.Chunk(), err)
	}
}
