package quantize

import (
	"math"
	"testing"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Kernels multiply by ratios of scales: where a range would make one too large for them, a scale is raised, and never another one.
func TestScalesAreRaisedToWhatKernelsNeed(t *testing.T) {
	const narrow = 1e-7 // a range far below every floor
	share := float32(1.0 / (1 << 18))
	for name, tc := range map[string]struct {
		op    schema.BuiltinOperator
		width Width
		known map[string]Params
		x, y  Range
		want  func(x Params) float32 // the least scale of y; 0: that of its range
	}{
		"int8 sums":                   {schema.BuiltinOperatorADD, Narrow, nil, Range{-1000, 1000}, Range{0, narrow}, func(x Params) float32 { return x.Scale * share }},
		"int16 sums have fewer bits":  {schema.BuiltinOperatorADD, Wide, nil, Range{-1000, 1000}, Range{0, narrow}, func(x Params) float32 { return x.Scale * share * 32 }},
		"sums that fit":               {schema.BuiltinOperatorADD, Narrow, nil, Range{-1000, 1000}, Range{0, 10}, nil},
		"a known scale is kept":       {schema.BuiltinOperatorADD, Narrow, map[string]Params{"y": {Scale: 1e-9}}, Range{-1000, 1000}, Range{}, nil},
		"activations have no floor":   {schema.BuiltinOperatorRELU, Narrow, nil, Range{-1000, 1000}, Range{0, 1e-5}, nil},
		"int16 activations have none": {schema.BuiltinOperatorRELU, Wide, nil, Range{-1000, 1000}, Range{0, 1e-5}, nil},
		"an int16 table has room beyond its last piece": {schema.BuiltinOperatorGELU, Wide, nil, Range{-8, 8}, Range{0, 4}, func(x Params) float32 {
			return Range{0, 4}.WideParams(false).Scale + x.Scale*128/math.MaxInt16
		}},
		"an int8 table has all codes": {schema.BuiltinOperatorGELU, Narrow, nil, Range{-8, 8}, Range{0, 4}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 2)
			var y int32
			if tc.op == schema.BuiltinOperatorADD {
				y = b.Add("y", x, x, tflitetest.None)
			} else {
				y = b.Unary("y", tc.op, x)
			}
			b.Output(b.Unary("z", schema.BuiltinOperatorRELU, y))
			m := b.Model()
			options := Options{Width: tc.width, Known: map[int]Params{}}
			for name, p := range tc.known {
				options.Known[tensorOf(t, m, name)] = p
			}
			p, err := PlanOf(m, options)
			if err != nil {
				t.Fatal(err)
			}
			ranges := make([]Range, len(p.Groups))
			ranges[p.Tensor[x]], ranges[p.Tensor[y]] = tc.x, tc.y
			params := p.Params(ranges)
			gotX, gotY := params[p.Tensor[x]], params[p.Tensor[y]]
			wantX, wantY := p.groupParams(p.Tensor[x], tc.x), p.groupParams(p.Tensor[y], tc.y)
			if gotX != wantX {
				t.Errorf("x has %+v, its range gives %+v", gotX, wantX)
			}
			if tc.want == nil {
				if gotY != wantY {
					t.Errorf("y has %+v, its range gives %+v", gotY, wantY)
				}
				return
			}
			if least := tc.want(gotX); gotY.Scale < least || gotY.Scale > 1.03*least || gotY.Wide != (tc.width == Wide) || gotY.Check() != nil {
				t.Errorf("y has %+v, needs a scale of %v", gotY, least)
			}
		})
	}
}

// SOFTMAX scales its input by 2²⁶ of it, which has to be more than 1; what int16 does takes any.
func TestTheInputOfASoftmaxHasALeastScale(t *testing.T) {
	for name, tc := range map[string]struct {
		width Width
		least float32
	}{"int8": {Narrow, 1.0 / (1 << 24)}, "int16": {Wide, 0}} {
		b := tflitetest.New()
		x := b.Unary("y", schema.BuiltinOperatorRELU, b.Input("x", 1, 2))
		b.Output(b.Softmax("p", x))
		p, err := PlanOf(b.Model(), Options{Width: tc.width})
		if err != nil {
			t.Fatal(err)
		}
		ranges := make([]Range, len(p.Groups))
		ranges[p.Tensor[x]] = Range{0, 2e-6}
		if got := p.Params(ranges)[p.Tensor[x]]; got.Scale < tc.least || tc.least == 0 && got.Scale > 1e-9 || tc.least > 0 && got.Scale > 1.01*tc.least {
			t.Errorf("%s: scale %v, least %v", name, got.Scale, tc.least)
		}
	}
}

// Quantizations that no file may hold are refused under the name of a tensor that has them.
func TestQuantizationsThatNoFileHoldsAreNamed(t *testing.T) {
	s := newSketch()
	p := s.plan(t, Options{}, s.op(schema.BuiltinOperatorADD, "sum", s.conv("conv", s.input("x")), s.constant("c")))
	good := unit(p)
	if err := p.CheckParams(good); err != nil {
		t.Fatal(err)
	}
	constant := len(p.Groups) - 1 // of the constant alone
	if len(p.Groups[constant].Tensors) > 0 {
		t.Fatal("the constant shares a group")
	}
	for name, tc := range map[string]struct {
		group  int
		params Params
		want   string
	}{
		"a scale of zero":     {p.Tensor[s.Inputs[0]], Params{}, `quantization of tensor 0 "x": scale 0 is not a positive finite number`},
		"an endless scale":    {0, Params{Scale: float32(math.Inf(1))}, `quantization of tensor 0 "x": scale +Inf is not a positive finite number`},
		"a low zero point":    {constant, Params{Scale: 1, ZeroPoint: -129}, `quantization of tensor 4 "c": zero point -129 is outside [-128, 127]`},
		"a high zero point":   {constant, Params{Scale: 1, ZeroPoint: 128}, `quantization of tensor 4 "c": zero point 128 is outside [-128, 127]`},
		"the last zero point": {constant, Params{Scale: 1, ZeroPoint: 127}, ""},
		"the first":           {constant, Params{Scale: 1, ZeroPoint: -128}, ""},
	} {
		params := append([]Params(nil), good...)
		params[tc.group] = tc.params
		if err := p.CheckParams(params); err == nil && tc.want != "" || err != nil && err.Error() != tc.want {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	if err := p.CheckParams(good[1:]); err == nil || err.Error() != "3 quantizations for a plan of 4 groups" {
		t.Errorf("too few: %v", err)
	}
	p.Groups[constant].Sources = nil
	if got := p.groupName(constant); got != "group 3" {
		t.Errorf("a group of nothing is called %q", got)
	}
}

// What training simulates on a constant operand is what the file holds, and weights are left to the caller.
func TestConstantOperandsAreFakeQuantized(t *testing.T) {
	b := tflitetest.New()
	c := b.Const("c", []float32{1, 2}, 1, 2)
	y := b.Dense("dense", b.Input("x", 1, 2), []float32{1, 0, 0, 1}, []float32{1, 1}, 2, tflitetest.None)
	b.Output(b.Add("sum", y, c, tflitetest.None))
	m := b.Model()
	net, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := PlanOf(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	acts, err := p.Attach(net, unit(p))
	if err != nil {
		t.Fatal(err)
	}
	if sum := p.Nodes[1]; net.Act[c] == nil || net.Act[c] != acts[sum.Operands[1]] {
		t.Errorf("the constant is read with %+v", net.Act[c])
	}
	for _, name := range []string{"dense/kernel", "dense/bias"} {
		if net.Act[tensorOf(t, m, name)] != nil {
			t.Errorf("%s is fake-quantized", name)
		}
	}
	if _, err := p.Attach(net, unit(p)[1:]); err == nil {
		t.Error("attached too few quantizations")
	}
}
