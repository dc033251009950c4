package float

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// diagonal is the n×n identity.
func diagonal(n int) []float32 {
	w := make([]float32, n*n)
	for i := range n {
		w[i*n+i] = 1
	}
	return w
}

var nearly = cmpopts.EquateApprox(0, 1e-6)

func TestTheGradientPassesRoundingAndStopsWhereValuesWereClipped(t *testing.T) {
	b := tflitetest.New()
	y := b.Dense("y", b.Input("x", 1, 6), diagonal(6), make([]float32, 6), 6, tflitetest.ReLU)
	b.Output(y)
	for _, learn := range []bool{false, true} {
		n, err := Compile(b.Model(), 1)
		if err != nil {
			t.Fatal(err)
		}
		n.inputGradients = true
		q := &ActQuant{Scale: 0.1, ZeroPoint: -100, Learn: learn} // codes for −2.8 … 22.7
		n.Act[y] = q
		e, g := n.NewExec(true), n.NewGrads()
		e.SetInput(0, []float32{-1, 0.04, 0.26, 22.73, 22.76, 30})
		e.Forward()
		if diff := cmp.Diff([]float32{0, 0, 0.3, 22.7, 22.7, 22.7}, e.Output(0), nearly); diff != "" {
			t.Errorf("values: %s", diff)
		}
		copy(e.LossGrad(e.net.LossTensor(0)), []float32{1, 2, 3, 4, 5, 6})
		e.Backward(g)
		if diff := cmp.Diff([]float32{0, 2, 3, 4, 0, 0}, e.gradients[n.Graph.Inputs[0]], nearly); diff != "" {
			t.Errorf("learn %v: gradient of the input: %s", learn, diff)
		}
		want := ActGrad{Range: Range{Min: 0, Max: 30}}
		if learn {
			// Inside: round(x/s) − x/s; clipped: the code's distance from the zero point. The zero point moves clipped values only.
			want.Scale = 2*(0-0.4) + 3*(3-2.6) + 4*(227-227.3) + 5*227 + 6*227
			want.ZeroPoint = (5 + 6) * -0.1
		}
		if diff := cmp.Diff(want, g.Act[0], cmpopts.EquateApprox(1e-4, 1e-3)); diff != "" {
			t.Errorf("learn %v: %s", learn, diff)
		}
	}
}

func TestValuesThatOnlyMoveAreNotQuantizedAgain(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2, 2, 2)
	pool := b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, x, 2, 2, schema.PaddingVALID)
	flat := b.Flatten("flat", pool)
	both := b.Concat("both", 1, flat, flat)
	b.Output(both)
	m := b.Model()
	shared := &ActQuant{Scale: 0.3, ZeroPoint: 0}
	other := &ActQuant{Scale: 1, ZeroPoint: 0}
	for _, c := range []struct {
		name string
		last *ActQuant
		want []float32
	}{
		{"one quantization for all", shared, []float32{2.4, -0.3, 2.4, -0.3}},
		{"another for the last", other, []float32{2, 0, 2, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := Compile(m, 1)
			if err != nil {
				t.Fatal(err)
			}
			n.inputGradients = true
			for _, tensor := range []int32{x, pool, flat} {
				n.Act[tensor] = shared
			}
			n.Act[both] = c.last
			e, g := n.NewExec(true), n.NewGrads()
			e.SetInput(0, []float32{1, -3, 2.3, -3, -4, -0.4, 0, -5})
			e.Forward()
			if diff := cmp.Diff(c.want, e.Output(0), nearly); diff != "" {
				t.Error(diff)
			}
			copy(e.LossGrad(e.net.LossTensor(0)), []float32{1, 1, 1, 1})
			e.Backward(g)
			if diff := cmp.Diff([]float32{0, 0, 2, 0, 0, 2, 0, 0}, e.gradients[x], nearly); diff != "" {
				t.Errorf("gradient: %s", diff)
			}
		})
	}
}

func TestConstantsAndInputsAreQuantizedToo(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 3)
	c := b.Const("c", []float32{0.26, -9, 9}, 3)
	y := b.Add("y", x, c, tflitetest.None)
	b.Output(y)
	n, err := Compile(b.Model(), 2)
	if err != nil {
		t.Fatal(err)
	}
	n.Act[x], n.Act[c] = &ActQuant{Scale: 0.5, ZeroPoint: 0}, &ActQuant{Scale: 0.05, ZeroPoint: 0}
	e := n.NewExec(false)
	n.Refresh()
	if err := e.SetBatch(1); err != nil {
		t.Fatal(err)
	}
	e.SetInput(0, []float32{0.6, -0.75, 100})
	e.Forward()
	if diff := cmp.Diff([]float32{0.5 + 0.25, -1 - 6.4, 63.5 + 6.35}, e.Output(0), nearly); diff != "" {
		t.Error(diff)
	}
}

func TestOneQuantizationOfManyTensorsAddsTheirGradientsUp(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 3)
	left := b.Unary("left", schema.BuiltinOperatorNEG, x)
	right := b.Unary("right", schema.BuiltinOperatorSQUARE, x)
	b.Output(b.Add("sum", left, right, tflitetest.None))
	n, err := Compile(b.Model(), 1)
	if err != nil {
		t.Fatal(err)
	}
	n.inputGradients = true
	q := &ActQuant{Scale: 0.1, ZeroPoint: 0, Learn: true}
	n.Act[left], n.Act[right] = q, q
	e, g := n.NewExec(true), n.NewGrads()
	e.SetInput(0, []float32{0.12, 2, 20})
	e.Forward()
	copy(e.LossGrad(e.net.LossTensor(0)), []float32{1, 1, 1})
	e.Backward(g)
	want := ActGrad{Range: Range{Min: -20, Max: 400}, ZeroPoint: -0.2}
	want.Scale = float32((-1 + 1.2) + (0 - 0.144) + (-128 + 127)) // −20 and 400 are clipped at either end
	if diff := cmp.Diff([]ActGrad{want}, g.Act, cmpopts.EquateApprox(1e-4, 1e-4)); diff != "" {
		t.Error(diff)
	}
	if got := e.gradients[x]; math.Abs(float64(got[2])) > 0 {
		t.Errorf("the gradient of clipped values is %v, want 0", got[2])
	}
}

// The places a TOPK_V2 gives are no numbers to quantize, beside values that are.
func TestOutputsThatAreNotQuantizedAreLeftAlone(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4)
	out := b.Ops("y", schema.BuiltinOperatorTOPK_V2, schema.BuiltinOptionsTopKV2Options, &schema.TopKV2OptionsT{}, [][]int32{{1, 2}, {1, 2}}, x, b.Scalar(b.Ints("k", 2)))
	b.SetType(out[1], schema.TensorTypeINT32)
	b.Output(out[0])
	b.Output(out[1])
	n, err := Compile(b.Model(), 1)
	if err != nil {
		t.Fatal(err)
	}
	n.Act[out[0]] = &ActQuant{Scale: 0.5}
	e := n.NewForwardExec()
	e.SetInput(0, []float32{0.1, 3.2, -1, 2})
	e.Forward()
	if got, want := slices.Concat(e.Output(0), e.Output(1)), []float32{3, 2, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("values and places %v, want %v", got, want)
	}
}
