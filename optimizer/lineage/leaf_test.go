package lineage

import (
	"context"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// What is asked of leaves holds for the baseline's and for those of every technique, whatever the network came as.
func TestLeafOptionsHoldForEveryLeaf(t *testing.T) {
	m := networks()["convolution and dense"]
	float := read(t, m)
	for name, n := range map[string]*Network{"float": float, "int8": quantized8(t, float, true)} {
		for _, io := range []IO{Int8, Float32} {
			run := fast(n)
			run.Leaf = LeafOptions{IO: io, KeepFloat: []string{"dense*"}, PerTensorDense: true}
			leaves := map[string]*tflite.Model{}
			out, err := run.Baseline(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			leaves["baseline"] = out.Leaf
			for _, technique := range []Technique{half, eight, qat} {
				made, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatalf("%s: %v", technique.Kind().Name, err)
				}
				leaves[technique.Kind().Name] = made.Leaf
			}
			for leaf, m := range leaves {
				want := schema.TensorTypeINT8
				if io == Float32 {
					want = schema.TensorTypeFLOAT32
				}
				g := m.Subgraph()
				for _, at := range append(append([]int32{}, g.Inputs...), g.Outputs...) {
					if got := g.Tensors[at].Type; got != want {
						t.Errorf("%s, leaf of %s: %q is %s, want %s", name, leaf, g.Tensors[at].Name, got, want)
					}
				}
				if got := computes(t, m, schema.BuiltinOperatorFULLY_CONNECTED); got != schema.TensorTypeFLOAT32 {
					t.Errorf("%s, leaf of %s: the layer to keep float gives %s", name, leaf, got)
				}
				if got := computes(t, m, schema.BuiltinOperatorCONV_2D); got != schema.TensorTypeINT8 {
					t.Errorf("%s, leaf of %s: the other layer gives %s", name, leaf, got)
				}
			}
		}
	}
}

// computes is the type of what the one operator of a kind gives.
func computes(t *testing.T, m *tflite.Model, kind schema.BuiltinOperator) schema.TensorType {
	t.Helper()
	g := m.Subgraph()
	for _, op := range g.Operators {
		if m.OperatorCodes[op.OpcodeIndex].BuiltinCode == kind {
			return g.Tensors[op.Outputs[0]].Type
		}
	}
	t.Fatalf("no %s in the leaf", kind)
	return 0
}
