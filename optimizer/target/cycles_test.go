package target

import (
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestCyclesAreOfInt8OperatorsThatWereMeasured(t *testing.T) {
	d := &Target{Cycles: map[string]Span{"FULLY_CONNECTED": {Least: 2, Most: 3}}}
	network := func(kind schema.TensorType) *tflite.Model {
		b := tflitetest.New()
		b.Output(b.Dense("a", b.Input("x", 1, 4), tflitetest.Weights(1, 20), nil, 5, tflitetest.None))
		m := b.Model()
		m.Subgraph().Tensors[0].Type = kind
		return m
	}
	got, err := d.CyclesOf(network(schema.TensorTypeINT8))
	if err != nil || got == nil || got.Least != 40 || got.Most != 60 || got.Covered != 1 {
		t.Errorf("of 20 multiplications of 2 to 3 cycles %+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		target *Target
		model  *tflite.Model
	}{
		"float":        {d, network(schema.TensorTypeFLOAT32)},
		"another kind": {&Target{Cycles: map[string]Span{"CONV_2D": {Least: 1, Most: 1}}}, network(schema.TensorTypeINT8)},
		"none":         {&Target{}, network(schema.TensorTypeINT8)},
	} {
		if got, err := c.target.CyclesOf(c.model); got != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// The README that has the kernels' cycles has a whole network too: 47 ms at 240 MHz where all lies in internal memory.
func TestCyclesOfAPublishedNetwork(t *testing.T) {
	d, err := Lookup("esp32-s3")
	if err != nil {
		t.Fatal(err)
	}
	m, err := tflite.ReadFile(testmaterial.Path(t, "models/person_detect.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.CyclesOf(m)
	if err != nil {
		t.Fatal(err)
	}
	if published := 47e-3 * 240e6; got.Least > published || got.Most < published || got.Covered < 0.99 {
		t.Errorf("%+v, the board took %.0f", got, published)
	}
	t.Logf("%+v", got)
}
