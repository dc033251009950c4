package quantize

import (
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// A spectrum's power, mixed by a dense layer, becomes a logarithm, or does not.
func TestWhatLiesBetweenASpectrumAndItsLogarithmStaysFloat(t *testing.T) {
	for _, logarithm := range []bool{true, false} {
		b := tflitetest.New()
		x := b.Input("x", 1, 2, 1, 8)
		spectrum := b.Op("spectrum", schema.BuiltinOperatorRFFT2D, schema.BuiltinOptionsRfft2dOptions, &schema.Rfft2dOptionsT{}, []int32{1, 2, 1, 5}, x, b.Ints("lengths", 1, 8))
		b.SetType(spectrum, schema.TensorTypeCOMPLEX64)
		part := b.Unary("real", schema.BuiltinOperatorREAL, spectrum)
		power := b.Op("power", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, []int32{1, 2, 1, 5}, part, part)
		y := b.Dense("mel", b.Flatten("flat", power), make([]float32, 30), nil, 3, tflitetest.ReLU)
		if logarithm {
			y = b.Unary("log", schema.BuiltinOperatorLOG, y)
		}
		b.Output(b.Dense("y", y, make([]float32, 6), nil, 2, tflitetest.None))
		g, err := ir.Parse(b.Model(), 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(g, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range g.Nodes {
			n := &g.Nodes[i]
			switch name := g.Output(n, 0).Name; name {
			case "power", "flat", "mel":
				if p.Nodes[i].Int8 == logarithm {
					t.Errorf("%s is int8: %v, with a logarithm after it: %v", name, p.Nodes[i].Int8, logarithm)
				}
			case "y":
				if !p.Nodes[i].Int8 {
					t.Errorf("the last layer is not int8: %s", p.Nodes[i].Why)
				}
			}
		}
	}
}
