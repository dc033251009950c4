package ir_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
)

// TestEveryModelParses parses every model of the material at its own batch and at 8: shapes at the file's batch are the file's,
// and those at 8 have eight times the elements.
func TestEveryModelParses(t *testing.T) {
	mixing := map[string]bool{}
	for _, path := range testmaterial.Glob(t, "models/*.tflite", "models/ops/*.tflite", "peers/*/*.tflite") {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tflite.Normalise(m); err != nil {
				t.Fatal(err)
			}
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			for i, tensor := range m.Subgraph().Tensors {
				want := make([]int, len(tensor.Shape))
				for k, d := range tensor.Shape {
					want[k] = int(d)
				}
				if !slices.Equal(want, g.Tensors[i].Shape) {
					t.Errorf("%s: inferred %v, the file says %v", &g.Tensors[i], g.Tensors[i].Shape, want)
				}
			}
			for i := range g.Nodes {
				if g.Nodes[i].Attr == nil {
					t.Errorf("%s is not known", &g.Nodes[i])
				}
			}
			eight, err := ir.Parse(m, 8)
			var batch *ir.BatchError
			if errors.As(err, &batch) && mixing[name] {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range eight.Tensors {
				want := g.Numel(i)
				if eight.Tensors[i].Batched {
					want *= 8
				}
				if eight.Numel(i) != want {
					t.Errorf("%s: %v at batch 8, %v in the file", &g.Tensors[i], eight.Tensors[i].Shape, g.Tensors[i].Shape)
				}
			}
		})
	}
}
