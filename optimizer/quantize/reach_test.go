package quantize_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// What an input x in [−2, 3] meets: constants that stand for infinity come within reach of it, others stay.
func TestConstantsThatStandForInfinityComeWithinReach(t *testing.T) {
	inf := float32(math.Inf(1))
	tests := map[string]struct {
		op       schema.BuiltinOperator
		then     schema.BuiltinOperator
		constant float32
		want     float32
	}{
		"a clip that does not clip": {schema.BuiltinOperatorMINIMUM, schema.BuiltinOperatorRELU, inf, 3},
		"a bound that never wins":   {schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorRELU, -3.4e38, -2},
		"a bound that wins":         {schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorRELU, -0.5, -0.5},
		"a mask":                    {schema.BuiltinOperatorADD, schema.BuiltinOperatorSOFTMAX, -1e9, -2 - 3 - 10},
		"a sum that is no mask":     {schema.BuiltinOperatorADD, schema.BuiltinOperatorRELU, -1e9, -1e9},
		"a mask taken away":         {schema.BuiltinOperatorSUB, schema.BuiltinOperatorSOFTMAX, 1e9, 15},
		"a score that is far off":   {schema.BuiltinOperatorADD, schema.BuiltinOperatorSOFTMAX, -5, -5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 4)
			c := b.Const("c", []float32{tt.constant, tt.constant, 0, 0}, 4)
			y := b.Op("y", tt.op, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, x, c)
			if tt.then == schema.BuiltinOperatorSOFTMAX {
				b.Output(b.Softmax("z", y))
			} else {
				b.Output(b.Unary("z", tt.then, y))
			}
			m := b.Model()
			feed := func(i int, inputs [][]float32) error {
				copy(inputs[0], []float32{-2, 3, 0, 1})
				return nil
			}
			out, notes, err := quantize.Reach(context.Background(), m, feed, 1)
			if err != nil {
				t.Fatal(err)
			}
			values, err := out.Float32s(out.Subgraph().Tensors[c])
			if err != nil {
				t.Fatal(err)
			}
			if values[0] != tt.want || values[2] != 0 {
				t.Errorf("%v becomes %v, want %v", tt.constant, values, tt.want)
			}
			if changed := tt.want != tt.constant; changed != (len(notes) == 1 && strings.Contains(notes[0], `"c"`)) || changed == (out == m) {
				t.Errorf("notes %q", notes)
			}
			if err := tflite.CheckFinite(out); err != nil {
				t.Error(err)
			}
		})
	}
}
