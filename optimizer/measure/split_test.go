package measure

import (
	"context"
	"testing"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// bare are two samples without targets.
type bare struct{}

func (bare) Len() int                        { return 2 }
func (bare) Inputs() []dataset.Array         { return []dataset.Array{{Name: "x", Shape: []int{2}}} }
func (bare) Targets() []dataset.Target       { return nil }
func (bare) Truth(int, [][]float32) error    { return nil }
func (bare) Read(i int, x [][]float32) error { x[0][0], x[0][1] = float32(i), 1; return nil }

func TestASplitWithoutTargetsHasTheSameMainOutput(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	b.Output(b.Unary("first", schema.BuiltinOperatorRELU, x))
	b.Output(b.Unary("second", schema.BuiltinOperatorTANH, x))
	model, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	outputs := []answer.Output{
		{Name: "first", Kind: answer.Values, Size: 2, Width: 2, Target: -1},
		{Index: 1, Name: "second", Kind: answer.Values, Size: 2, Width: 2, Target: 0},
	}
	a, err := Run(context.Background(), model, bare{}, Options{Outputs: outputs})
	if err != nil {
		t.Fatal(err)
	}
	m := a.Metrics(a)
	if _, main := m[RelativeError]; !main || len(m) != 2 {
		t.Errorf("metrics %v", m)
	}
	if _, other := m[RelativeError.Of("first")]; !other {
		t.Errorf("the metrics of first are without its name: %v", m)
	}
}
