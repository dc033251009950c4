package measure

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

func TestActivationsAreComparedAsRealValues(t *testing.T) {
	tests := map[string]struct {
		kind schema.TensorType
		zero int32
		raw  []byte
		want []float64
	}{
		"int8":                     {schema.TensorTypeINT8, -1, []byte{0xff, 3, 0x80}, []float64{0, 2, -63.5}},
		"uint8":                    {schema.TensorTypeUINT8, 128, []byte{128, 0, 255}, []float64{0, -64, 63.5}},
		"int16":                    {schema.TensorTypeINT16, 0, []byte{1, 0, 0xff, 0xff, 0, 0x80}, []float64{0.5, -0.5, -16384}},
		"float32":                  {schema.TensorTypeFLOAT32, 0, []byte{0, 0, 0x80, 0x3f}, []float64{1}},
		"whole numbers of no kind": {schema.TensorTypeINT32, 0, []byte{1, 0, 0, 0}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tensor := &ir.Tensor{Type: tt.kind}
			if tt.kind != schema.TensorTypeFLOAT32 {
				tensor.Quant = &ir.Quant{Scale: []float32{0.5}, ZeroPoint: []int32{tt.zero}}
			}
			if diff := cmp.Diff(tt.want, activation(nil, tensor, tt.raw)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A leaf has the weights of an LSTM in a tensor per gate, which are held against those that its steps have of all gates.
func TestTheGatesOfALeafAreComparedWithTheWeightsOfAllGates(t *testing.T) {
	values := []float32{1, 2, 3, 4, 5, 6, 0, 8}
	whole := tflitetest.New()
	whole.Output(whole.Dense("lstm", whole.Input("x", 1, 2), values, nil, 4, tflitetest.None))
	name := weight.Kernels(whole.Model())[0].Name
	parts := tflitetest.New()
	x := parts.Input("x", 1, 2)
	for gate, of := range []string{"input", "forget", "cell", "output"} {
		part := slices.Clone(values[2*gate:][:2])
		if gate == 1 {
			part[1] = 0
		}
		parts.Output(parts.Op("y"+of, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 1}, x, parts.Const(name+"_"+of, part, 1, 2)))
	}
	files := [2][]byte{}
	for i, m := range []*tflite.Model{whole.Model(), parts.Model()} {
		var err error
		if files[i], err = m.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Compare(context.Background(), files[0], files[1], nil, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Constants) != 1 || c.Constants[0].Name != name || c.Constants[0].Elements != 8 || c.Constants[0].Changed != 1 || c.Constants[0].ZerosA != 1 || c.Constants[0].ZerosB != 2 {
		t.Errorf("%+v", c.Constants)
	}
	for _, only := range slices.Concat(c.OnlyA, c.OnlyB) {
		if strings.HasPrefix(only, name) {
			t.Errorf("%s is said to be in one only", only)
		}
	}
}

// A model without names is held against another by its operators, kind by kind, wherever further ones of another kind stand.
func TestAModelWithoutNamesIsComparedByItsOperators(t *testing.T) {
	of := func(front bool) *tflite.Model {
		b := tflitetest.New()
		x := b.Input("x", 1, 4)
		if front {
			x = b.Unary("front", schema.BuiltinOperatorTANH, x)
		}
		y := b.Dense("first", x, []float32{1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8}, nil, 4, tflitetest.ReLU)
		b.Output(b.Softmax("scores", b.Dense("second", y, []float32{0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 7, 8}, nil, 4, tflitetest.None)))
		return b.Model()
	}
	file := func(front, bare bool) []byte {
		m := of(front)
		m.Bare = bare
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, files := range map[string][2][]byte{
		"the second": {file(true, false), file(false, true)}, "the first": {file(true, true), file(false, false)}, "both": {file(true, true), file(false, true)},
	} {
		c, err := Compare(context.Background(), files[0], files[1], nil, 0, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Constants) != 2 || c.Constants[0].Changed+c.Constants[1].Changed != 0 {
			t.Errorf("without names, %s: %+v", name, c.Constants)
		}
		overlays, err := c.Overlays(files[1])
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]overlayValue{"0": {6.25}, "1": {12.5}}
		if name == "the first" {
			want = map[string]overlayValue{"first": {6.25}, "second": {12.5}}
		}
		if diff := cmp.Diff(want, overlays["zeros.json"].Results); diff != "" {
			t.Errorf("without names, %s: %s", name, diff)
		}
	}
}
