package lineage

import (
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Fake quantization that a converter left in a float network as pairs of QUANTIZE and DEQUANTIZE keeps nothing of it float; a network whose
// operators read the integers is an int8 one.
func TestPairsThatImitateInt8AreNoInt8Network(t *testing.T) {
	for name, tt := range map[string]struct {
		build func(b *tflitetest.Builder, q int32) int32 // makes the answer of integers [1, 4]
		int8  bool
	}{
		"a pair": {func(b *tflitetest.Builder, q int32) int32 { return b.Unary("f", schema.BuiltinOperatorDEQUANTIZE, q) }, false},
		"integers are moved": {func(b *tflitetest.Builder, q int32) int32 {
			return b.Unary("f", schema.BuiltinOperatorDEQUANTIZE, moved(b, q))
		}, true},
		"integers are stored": {func(b *tflitetest.Builder, q int32) int32 {
			b.Output(q)
			return b.Unary("f", schema.BuiltinOperatorDEQUANTIZE, q)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			h := b.Dense("h", b.Input("x", 1, 3), tflitetest.Weights(1, 12), nil, 4, tflitetest.ReLU)
			q := b.Unary("q", schema.BuiltinOperatorQUANTIZE, h)
			b.SetType(q, schema.TensorTypeINT8)
			b.Quantize(q, 0, -128, 0.02)
			b.Output(b.Dense("y", tt.build(b, q), tflitetest.Weights(2, 8), nil, 2, schema.ActivationFunctionTypeNONE))
			n := read(t, b.Model())
			for first := range b.Model().Subgraph().Tensors {
				m := b.Model()
				tflitetest.Rotate(m, first)
				if n = read(t, m); n.Int8() != tt.int8 {
					t.Fatalf("with tensor %d first: int8 %v, want %v", first, n.Int8(), tt.int8)
				}
			}
			if tt.int8 {
				return
			}
			plan, err := quantize.PlanOf(n.model, LeafOptions{}.quantization(n))
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(n.from.notes, "\n"); !strings.Contains(notes, "imitate int8") || !n.Rewritten() {
				t.Errorf("notes %q", notes)
			}
			if len(plan.Nodes) != 2 || !plan.Nodes[0].Int8 || !plan.Nodes[1].Int8 {
				t.Errorf("%d operators: %+v", len(plan.Nodes), plan.Nodes)
			}
		})
	}
}

func moved(b *tflitetest.Builder, q int32) int32 {
	m := b.Op("m", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 4}}, []int32{1, 4}, q)
	b.SetType(m, schema.TensorTypeINT8)
	b.Quantize(m, 0, -128, 0.02)
	return m
}
