package quantize_test

import (
	"context"
	"errors"
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

// Where else constants stand for infinity: padding before a pooling, a choice, a mask that is multiplied, of samples x in [−2, 3].
func TestWhereverConstantsStandForInfinityTheyComeWithinReach(t *testing.T) {
	four := []int32{1, 4}
	margin := 10 + math.Log(4)
	pick := func(b *tflitetest.Builder, x int32, then, c float32, swapped bool) int32 {
		condition := b.Op("positive", schema.BuiltinOperatorGREATER, schema.BuiltinOptionsNONE, nil, four, x, b.Const("zero", []float32{then}, 1))
		b.SetType(condition, schema.TensorTypeBOOL)
		a, z := x, b.Const("c", []float32{c}, 1)
		if swapped {
			a, z = z, a
		}
		return b.Op("y", schema.BuiltinOperatorSELECT_V2, schema.BuiltinOptionsNONE, nil, four, condition, a, z)
	}
	reduced := func(b *tflitetest.Builder, op schema.BuiltinOperator, y int32) {
		b.Output(b.Op("z", op, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1}, y, b.Ints("axis", 1)))
	}
	softmax := func(b *tflitetest.Builder, name string, beta float32, y int32) {
		b.Output(b.Op(name, schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: beta}, four, y))
	}
	multiplied := func(op schema.BuiltinOperator, c float32) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) {
			m := b.Op("m", schema.BuiltinOperatorMUL, schema.BuiltinOptionsNONE, nil, four, b.Input("mask", four...), b.Const("c", []float32{c}, 1))
			softmax(b, "z", 1, b.Op("y", op, schema.BuiltinOptionsNONE, nil, four, x, m))
		}
	}
	padded := func(c float32, pool schema.BuiltinOperator) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) {
			image := b.Op("image", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 2, 2, 1}}, []int32{1, 2, 2, 1}, x, b.Ints("shape", 1, 2, 2, 1))
			sides := b.Raw("sides", schema.TensorTypeINT32, tflite.Int32Bytes([]int32{0, 0, 1, 1, 1, 1, 0, 0}), 4, 2)
			padded := b.Op("padded", schema.BuiltinOperatorPADV2, schema.BuiltinOptionsNONE, nil, []int32{1, 4, 4, 1}, image, sides, b.Const("c", []float32{c}, 1))
			b.Output(b.Pool("z", pool, padded, 3, 1, schema.PaddingVALID))
		}
	}
	tests := map[string]struct {
		build func(b *tflitetest.Builder, x int32)
		mask  []float32
		from  float32
		want  float64
	}{
		"padding before a maximum": {padded(-3e38, schema.BuiltinOperatorMAX_POOL_2D), nil, -3e38, -2},
		"padding before a mean":    {padded(-1e6, schema.BuiltinOperatorAVERAGE_POOL_2D), nil, -1e6, -1e6},
		"a choice before a maximum": {func(b *tflitetest.Builder, x int32) {
			reduced(b, schema.BuiltinOperatorREDUCE_MAX, pick(b, x, 0, -1e9, false))
		}, nil, -1e9, -2},
		"a choice the other way": {func(b *tflitetest.Builder, x int32) {
			reduced(b, schema.BuiltinOperatorREDUCE_MAX, pick(b, x, 2, -1e9, true))
		}, nil, -1e9, -2},
		"a choice before a minimum": {func(b *tflitetest.Builder, x int32) {
			reduced(b, schema.BuiltinOperatorREDUCE_MIN, pick(b, x, 0, 1e9, false))
		}, nil, 1e9, 3},
		"a choice before a softmax": {func(b *tflitetest.Builder, x int32) {
			softmax(b, "z", 1, pick(b, x, 0, -1e9, false))
		}, nil, -1e9, -2 - margin},
		"before one that is less sharp": {func(b *tflitetest.Builder, x int32) {
			softmax(b, "z", 0.5, pick(b, x, 0, -1e9, false))
		}, nil, -1e9, -2 - 2*margin},
		"before two, the flatter counts": {func(b *tflitetest.Builder, x int32) {
			y := pick(b, x, 0, -1e9, false)
			softmax(b, "z", 2, y)
			softmax(b, "flat", 0.5, y)
		}, nil, -1e9, -2 - 2*margin},
		"before one that makes all alike": {func(b *tflitetest.Builder, x int32) {
			softmax(b, "z", 0, pick(b, x, 0, -1e9, false))
		}, nil, -1e9, -1e9},
		"before a sum": {func(b *tflitetest.Builder, x int32) {
			reduced(b, schema.BuiltinOperatorSUM, pick(b, x, 0, -1e9, false))
		}, nil, -1e9, -1e9},
		"a mask times it":                  {multiplied(schema.BuiltinOperatorADD, -1e9), []float32{0, 0, 1, 1}, -1e9, -2 - 3 - margin},
		"a mask below 0 times it":          {multiplied(schema.BuiltinOperatorADD, 1e9), []float32{0, -1, -1, 0}, 1e9, 2 + 3 + margin},
		"a mask times it, taken away":      {multiplied(schema.BuiltinOperatorSUB, 1e9), []float32{0, 1, 0, 0}, 1e9, 2 + 3 + margin},
		"what is no mask times it":         {multiplied(schema.BuiltinOperatorADD, -1e9), []float32{0, 0, 2, 1}, -1e9, -1e9},
		"what is less than one times it":   {multiplied(schema.BuiltinOperatorADD, -1e9), []float32{0, 0, 1, 0.5}, -1e9, -1e9},
		"a mask times it, no sum after it": {multiplied(schema.BuiltinOperatorMAXIMUM, -1e9), []float32{0, 0, 1, 1}, -1e9, -1e9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			tt.build(b, b.Input("x", four...))
			m := b.Model()
			out, _, err := quantize.Reach(context.Background(), m, func(_ int, inputs [][]float32) error {
				copy(inputs[0], []float32{-2, 3, 0, 1})
				if tt.mask != nil {
					copy(inputs[1], tt.mask)
				}
				return nil
			}, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, tensor := range out.Subgraph().Tensors {
				if tensor.Name != "c" {
					continue
				}
				if values, err := out.Float32s(tensor); err != nil || math.Abs(float64(values[0])-tt.want) > 1e-5*math.Abs(tt.want) {
					t.Errorf("%v becomes %v, want %v, %v", tt.from, values, tt.want, err)
				}
			}
		})
	}
}

// Forms of a network agree if no answer of a sample is further than half a code of the answers' range away, and errors are told.
func TestFormsOfANetworkAgreeToHalfACode(t *testing.T) {
	scaled := func(factor float32, n int32) *tflite.Model {
		b := tflitetest.New()
		b.Output(b.Op("y", schema.BuiltinOperatorMUL, schema.BuiltinOptionsNONE, nil, []int32{1, n}, b.Input("x", 1, n), b.Const("c", []float32{factor}, 1)))
		return b.Model()
	}
	ctx, half := context.Background(), float32(1.0/510)
	feed := func(i int, inputs [][]float32) error {
		copy(inputs[0], [][]float32{{0, 0.5}, {0, 1}}[i])
		return nil
	}
	for name, tc := range map[string]struct {
		form *tflite.Model
		want bool
	}{
		"itself":                {scaled(1, 2), true},
		"less than half a code": {scaled(1+0.9*half, 2), true},
		"more than half a code": {scaled(1+1.1*half, 2), false},
		"lower by more":         {scaled(1-1.1*half, 2), false},
		"NaN":                   {scaled(float32(math.NaN()), 2), false},
	} {
		if got, err := quantize.Agree(ctx, scaled(1, 2), tc.form, feed, 2); err != nil || got != tc.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	broken := errors.New("no such sample")
	if _, err := quantize.Agree(ctx, scaled(1, 2), scaled(1, 2), func(int, [][]float32) error { return broken }, 1); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := quantize.Agree(cancelled, scaled(1, 2), scaled(1, 2), feed, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
