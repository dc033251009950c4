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
	inf, ln4 := float32(math.Inf(1)), float32(math.Log(4)) // of rows of four
	tests := map[string]struct {
		op       schema.BuiltinOperator
		then     schema.BuiltinOperator
		constant float32
		want     float32
	}{
		"a clip that does not clip": {schema.BuiltinOperatorMINIMUM, schema.BuiltinOperatorRELU, inf, 3},
		"a bound that never wins":   {schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorRELU, -3.4e38, -2},
		"a bound that wins":         {schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorRELU, -0.5, -0.5},
		"a mask":                    {schema.BuiltinOperatorADD, schema.BuiltinOperatorSOFTMAX, -1e9, -2 - 3 - 10 - ln4},
		"a sum that is no mask":     {schema.BuiltinOperatorADD, schema.BuiltinOperatorRELU, -1e9, -1e9},
		"a mask taken away":         {schema.BuiltinOperatorSUB, schema.BuiltinOperatorSOFTMAX, 1e9, 2 + 3 + 10 + ln4},
		"a mask before a maximum":   {schema.BuiltinOperatorADD, schema.BuiltinOperatorREDUCE_MAX, -1e4, -2 - 3},
		"taken away before it":      {schema.BuiltinOperatorSUB, schema.BuiltinOperatorREDUCE_MAX, 1e4, 2 + 3},
		"a mask before a minimum":   {schema.BuiltinOperatorADD, schema.BuiltinOperatorREDUCE_MIN, 1e9, 3 + 2},
		"of a choice":               {schema.BuiltinOperatorADD, schema.BuiltinOperatorARG_MAX, -1e9, -2 - 3},
		"no mask of a minimum":      {schema.BuiltinOperatorADD, schema.BuiltinOperatorREDUCE_MIN, -1e9, -1e9},
		"a score that is far off":   {schema.BuiltinOperatorADD, schema.BuiltinOperatorSOFTMAX, -5, -5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 4)
			c := b.Const("c", []float32{tt.constant, tt.constant, 0, 0}, 4)
			y := b.Op("y", tt.op, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, x, c)
			switch tt.then {
			case schema.BuiltinOperatorSOFTMAX:
				b.Output(b.Softmax("z", y))
			case schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOperatorREDUCE_MIN:
				b.Output(b.Op("z", tt.then, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1}, y, b.Ints("axis", 1)))
			case schema.BuiltinOperatorARG_MAX:
				z := b.Op("z", tt.then, schema.BuiltinOptionsArgMaxOptions, &schema.ArgMaxOptionsT{OutputType: schema.TensorTypeINT32}, []int32{1}, y, b.Ints("axis", 1))
				b.SetType(z, schema.TensorTypeINT32)
				b.Output(z)
			default:
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
			if math.Abs(float64(values[0]-tt.want)) > 1e-5 && values[0] != tt.want || values[2] != 0 {
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

// Constants that look like it, but of which an answer hangs, stay.
func TestConstantsThatAnAnswerHangsOnStay(t *testing.T) {
	none, four := schema.BuiltinOptionsNONE, []int32{1, 4}
	positive := func(b *tflitetest.Builder, x int32) int32 {
		c := b.Op("positive", schema.BuiltinOperatorGREATER, none, nil, four, x, b.Const("half", []float32{0.5}, 1))
		b.SetType(c, schema.TensorTypeBOOL)
		return c
	}
	masking := func(b *tflitetest.Builder, x int32) int32 {
		return b.Op("y", schema.BuiltinOperatorSELECT_V2, none, nil, four, positive(b, x), x, b.Const("c", []float32{-1e9}, 1))
	}
	tests := map[string]struct {
		x     []float32
		n     int
		build func(b *tflitetest.Builder, x int32)
	}{
		"a maximum that always wins": {[]float32{-2, 3, 0, 1}, 1, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Op("y", schema.BuiltinOperatorMAXIMUM, none, nil, four, x, b.Const("c", []float32{500, 500, 0, 0}, 4)))
		}},
		"a minimum that always wins": {[]float32{-2, 3, 0, 1}, 1, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Op("y", schema.BuiltinOperatorMINIMUM, none, nil, four, x, b.Const("c", []float32{-500, -500, 0, 0}, 4)))
		}},
		"a bias that is low everywhere": {[]float32{-2, 3, 0, 1}, 1, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("z", b.Op("y", schema.BuiltinOperatorADD, none, nil, four, x, b.Const("c", []float32{-200, -203, -201, -206}, 4))))
		}},
		"a factor of what is no mask": {[]float32{0.01, 0.03, 0.02, 0.05}, 1, func(b *tflitetest.Builder, x int32) {
			product := b.Op("m", schema.BuiltinOperatorMUL, none, nil, four, x, b.Const("c", []float32{-128}, 1))
			b.Output(b.Softmax("z", b.Op("y", schema.BuiltinOperatorADD, none, nil, four, b.Unary("n", schema.BuiltinOperatorNEG, x), product)))
		}},
		"a product that is an answer": {[]float32{0, 1, 0, 1}, 1, func(b *tflitetest.Builder, x int32) {
			product := b.Op("m", schema.BuiltinOperatorMUL, none, nil, four, x, b.Const("c", []float32{-1e9}, 1))
			b.Output(b.Softmax("z", b.Op("y", schema.BuiltinOperatorADD, none, nil, four, x, product)))
			b.Output(product)
		}},
		"a sum with an activation": {[]float32{20, 30, 25, 22}, 1, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("z", b.Add("y", x, b.Const("c", []float32{0, -1e9, 0, 0}, 4), tflitetest.ReLU)))
		}},
		"logarithms of shares": {[]float32{-2, 3, 0, 1}, 1, func(b *tflitetest.Builder, x int32) {
			y := b.Op("y", schema.BuiltinOperatorADD, none, nil, four, x, b.Const("c", []float32{-1e9, 0, 0, 0}, 4))
			b.Output(b.Op("z", schema.BuiltinOperatorLOG_SOFTMAX, schema.BuiltinOptionsLogSoftmaxOptions, &schema.LogSoftmaxOptionsT{}, four, y))
		}},
		"a maximum with another competitor": {[]float32{5, 6, 0, 7}, 1, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Op("z", schema.BuiltinOperatorMAXIMUM, none, nil, four, masking(b, x), b.Unary("n", schema.BuiltinOperatorNEG, x)))
		}},
		"a maximum of nothing else": {[]float32{-2, -3, 0, -1}, 1, func(b *tflitetest.Builder, x int32) {
			y := b.Op("m", schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1}, masking(b, x), b.Ints("axis", 1))
			b.Output(b.Unary("e", schema.BuiltinOperatorEXP, y))
		}},
		"no samples": {[]float32{-2, 3, 0, 1}, 0, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("z", b.Op("y", schema.BuiltinOperatorADD, none, nil, four, x, b.Const("c", []float32{-1e9, 0, 0, 0}, 4))))
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			tt.build(b, b.Input("x", four...))
			m := b.Model()
			feed := func(_ int, inputs [][]float32) error {
				copy(inputs[0], tt.x)
				return nil
			}
			out, notes, err := quantize.Reach(context.Background(), m, feed, tt.n)
			if err != nil {
				t.Fatal(err)
			}
			if out != m || len(notes) > 0 {
				t.Errorf("notes %q", notes)
			}
		})
	}
}
