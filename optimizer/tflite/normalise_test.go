package tflite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// embedding is a float network whose table dynamic range quantization made int8: GATHER takes rows of it and DEQUANTIZE makes them float.
// In an int8 one something reads the rows as they are.
func embedding(int8 bool) *tflite.Model {
	b := tflitetest.New()
	ids := b.Input("ids", 1, 2)
	b.SetType(ids, schema.TensorTypeINT32)
	table := b.Raw("table", schema.TensorTypeINT8, []byte{1, 2, 0xff, 127}, 2, 2)
	b.Quantize(table, 0, 0, 0.5)
	rows := b.Op("rows", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, []int32{1, 2, 2}, table, ids)
	b.SetType(rows, schema.TensorTypeINT8)
	b.Quantize(rows, 0, 0, 0.5)
	b.Output(b.Unary("y", schema.BuiltinOperatorTANH, b.Op("real", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 2, 2}, rows)))
	if int8 {
		b.Output(rows)
	}
	return b.Model()
}

func TestNormaliseMakesTablesOfFloatNetworksFloat(t *testing.T) {
	m := embedding(false)
	notes, err := tflite.Normalise(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1 int8 tables of a float network dequantized (hybrid quantization)"}, notes); diff != "" {
		t.Error(diff)
	}
	ops := m.Subgraph().Operators
	if len(ops) != 2 || ops[1].Inputs[0] != ops[0].Outputs[0] {
		t.Fatalf("%d operators, TANH reads %d", len(ops), ops[len(ops)-1].Inputs[0])
	}
	values, err := m.Float32s(m.Subgraph().Tensors[ops[0].Inputs[0]])
	if diff := cmp.Diff([]float32{0.5, 1, -0.5, 63.5}, values); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if rows := m.Subgraph().Tensors[ops[0].Outputs[0]]; rows.Type != schema.TensorTypeFLOAT32 || rows.Quantization != nil {
		t.Errorf("the rows are %s, %+v", rows.Type, rows.Quantization)
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}

func TestNormaliseLeavesTablesOfInt8Networks(t *testing.T) {
	m := embedding(true)
	if notes, err := tflite.Normalise(m); err != nil || notes != nil {
		t.Errorf("notes %q, error %v", notes, err)
	}
}

func TestNormaliseGivesConvolutionsABias(t *testing.T) {
	for name, test := range map[string]struct {
		kind, want schema.TensorType
		inputs     []int32 // of the operator, besides the first two
	}{
		"float, left out": {schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT32, nil},
		"float, none":     {schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT32, []int32{-1}},
		"int8":            {schema.TensorTypeINT8, schema.TensorTypeINT32, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 4, 4, 1)
			w := b.Const("w", []float32{1, 2}, 2, 1, 1, 1)
			if test.kind == schema.TensorTypeINT8 {
				w = b.Raw("w", test.kind, []byte{1, 2}, 2, 1, 1, 1)
				b.Quantize(w, 0, 0, 0.5, 0.25)
				b.SetType(x, test.kind)
				b.Quantize(x, 0, 3, 0.125)
			}
			y := b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions,
				&schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}, []int32{1, 4, 4, 2}, append([]int32{x, w}, test.inputs...)...)
			b.SetType(y, test.kind)
			b.Output(y)
			m := b.Model()
			notes, err := tflite.Normalise(m)
			if err != nil || len(notes) != 1 {
				t.Fatal(notes, err)
			}
			bias := m.Subgraph().Tensors[m.Subgraph().Operators[0].Inputs[2]]
			if diff := cmp.Diff(make([]byte, 8), m.Data(bias)); diff != "" || bias.Type != test.want {
				t.Error(bias.Type, diff)
			}
			if test.kind == schema.TensorTypeINT8 {
				if diff := cmp.Diff([]float32{0.0625, 0.03125}, bias.Quantization.Scale); diff != "" {
					t.Error(diff)
				}
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}
