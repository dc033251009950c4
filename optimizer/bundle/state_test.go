package bundle

import (
	"bytes"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Only the bundle of a network that keeps state asks for a reset before every sequence.
func TestABundleSaysThatStateIsKept(t *testing.T) {
	m, err := tflite.Read(dense(t))
	if err != nil {
		t.Fatal(err)
	}
	m.Subgraph().Tensors = append(m.Subgraph().Tensors, &schema.TensorT{Name: "state", Type: schema.TensorTypeINT8, Shape: []int32{1, 3}, IsVariable: true})
	stateful, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []bool{false, true} {
		leaf := dense(t)
		if kept {
			leaf = stateful
		}
		asked := map[string]int{}
		for _, f := range made(t, leaf, Options{Name: "n"}).Files {
			if f.Path == "src/n.h" && bytes.Contains(f.Content, []byte("//\n//   if (!n::Setup()")) || f.Path == "MODEL_CARD.md" {
				asked[f.Path] = strings.Count(string(f.Content), "before every sequence")
			}
		}
		if want := map[bool][2]int{false: {0, 0}, true: {2, 1}}[kept]; len(asked) != 2 || asked["src/n.h"] != want[0] || asked["MODEL_CARD.md"] != want[1] {
			t.Errorf("state kept: %t, said %v times, want %v", kept, asked, want)
		}
	}
}
