package quantize

import (
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Ids that come as floats: codes of 0…299 would stand for others.
func TestAnInputOfIDsStaysFloat(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("ids", 1, 4)
	ids := b.Op("cast", schema.BuiltinOperatorCAST, schema.BuiltinOptionsCastOptions, &schema.CastOptionsT{OutDataType: schema.TensorTypeINT32}, []int32{1, 4}, x)
	b.SetType(ids, schema.TensorTypeINT32)
	rows := b.Op("rows", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, []int32{1, 4, 2}, b.Const("table", make([]float32, 600), 300, 2), ids)
	b.Output(b.Dense("y", b.Flatten("flat", rows), make([]float32, 24), nil, 3, tflitetest.None))
	g, err := ir.Parse(b.Model(), 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Tensor[x] != None {
		t.Errorf("the input is in group %d", p.Tensor[x])
	}
	if p.Tensor[rows] == None || p.Tensor[g.Outputs[0]] == None {
		t.Error("what is made of it is not quantized")
	}
}
