package rewrite

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// written are networks of an operator each. tolerance is how far what is written may be off, of values of about 1.
type written struct {
	op        schema.BuiltinOperator
	tolerance float64
	build     func(b *tflitetest.Builder, x int32) int32 // x is [1, 4, 6, 5]
}

func networks() map[string]written {
	unary := func(code schema.BuiltinOperator) func(*tflitetest.Builder, int32) int32 {
		return func(b *tflitetest.Builder, x int32) int32 { return b.Unary("y", code, x) }
	}
	gelu := func(approximate bool) func(*tflitetest.Builder, int32) int32 {
		return func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{Approximate: approximate}, b.Shape(x), x)
		}
	}
	prelu := func(slopes ...float32) func(*tflitetest.Builder, int32) int32 {
		return func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorPRELU, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("slopes", slopes, 1, 1, 5))
		}
	}
	pow := func(e float32) func(*tflitetest.Builder, int32) int32 {
		return func(b *tflitetest.Builder, x int32) int32 {
			positive := b.Unary("positive", schema.BuiltinOperatorEXP, x)
			return b.Op("y", schema.BuiltinOperatorPOW, schema.BuiltinOptionsPowOptions, &schema.PowOptionsT{}, b.Shape(x), positive, b.Const("e", []float32{e}, 1))
		}
	}
	tile := func(times ...int32) func(*tflitetest.Builder, int32) int32 {
		return func(b *tflitetest.Builder, x int32) int32 {
			x = b.MeanHW("mean", x)
			x = b.Op("wide", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 1, 5}}, []int32{1, 1, 5}, x, b.Ints("wide/shape", 1, 1, 5))
			shape := slices.Clone(b.Shape(x))
			for i, n := range times {
				shape[i] *= n
			}
			return b.Op("y", schema.BuiltinOperatorTILE, schema.BuiltinOptionsTileOptions, &schema.TileOptionsT{}, shape, x, b.Ints("times", times...))
		}
	}
	return map[string]written{
		"GELU":                       {schema.BuiltinOperatorGELU, 3e-4, gelu(false)},
		"GELU by TANH":               {schema.BuiltinOperatorGELU, 1e-5, gelu(true)},
		"HARD_SWISH":                 {schema.BuiltinOperatorHARD_SWISH, 1e-5, unary(schema.BuiltinOperatorHARD_SWISH)},
		"RELU_N1_TO_1":               {schema.BuiltinOperatorRELU_N1_TO_1, 0, unary(schema.BuiltinOperatorRELU_N1_TO_1)},
		"RELU_0_TO_1":                {schema.BuiltinOperatorRELU_0_TO_1, 0, unary(schema.BuiltinOperatorRELU_0_TO_1)},
		"SIGN":                       {schema.BuiltinOperatorSIGN, 0, unary(schema.BuiltinOperatorSIGN)},
		"SQUARE":                     {schema.BuiltinOperatorSQUARE, 0, unary(schema.BuiltinOperatorSQUARE)},
		"PRELU":                      {schema.BuiltinOperatorPRELU, 1e-6, prelu(0.1, 0, 0.5, 1.5, 0.25)},
		"PRELU with negative slopes": {schema.BuiltinOperatorPRELU, 1e-6, prelu(0.1, -0.3, 0.5, 1.5, 0.25)},
		"a square by POW":            {schema.BuiltinOperatorPOW, 1e-4, pow(2)},
		"a cube by POW":              {schema.BuiltinOperatorPOW, 1e-4, pow(3)},
		"a fourth power by POW":      {schema.BuiltinOperatorPOW, 1e-3, pow(4)},
		"a root by POW":              {schema.BuiltinOperatorPOW, 1e-5, pow(0.5)},
		"an inverse root by POW":     {schema.BuiltinOperatorPOW, 1e-5, pow(-0.5)},
		"a power of 1.5":             {schema.BuiltinOperatorPOW, 1e-4, pow(1.5)},
		"a fourth root by POW":       {schema.BuiltinOperatorPOW, 1e-5, pow(0.25)},
		"a power of 0.75":            {schema.BuiltinOperatorPOW, 1e-5, pow(0.75)},
		"a power of 5":               {schema.BuiltinOperatorPOW, 1e-2, pow(5)},
		"a power of 6.75":            {schema.BuiltinOperatorPOW, 1e-1, pow(6.75)},
		"a power of 16":              {schema.BuiltinOperatorPOW, 1e2, pow(16)},
		"a power of 1":               {schema.BuiltinOperatorPOW, 0, pow(1)},
		"an inverse by POW":          {schema.BuiltinOperatorPOW, 1e-5, pow(-1)},
		"a power of -0.25":           {schema.BuiltinOperatorPOW, 1e-5, pow(-0.25)},
		"a power of -2.5":            {schema.BuiltinOperatorPOW, 1e-3, pow(-2.5)},
		"TILE of dimensions of 1":    {schema.BuiltinOperatorTILE, 0, tile(1, 7, 1)},
		"TILE of other dimensions":   {schema.BuiltinOperatorTILE, 0, tile(1, 1, 3)},
		"TILE of both, often":        {schema.BuiltinOperatorTILE, 0, tile(1, 3, 23)},
		"LEAKY_RELU": {schema.BuiltinOperatorLEAKY_RELU, 1e-6, func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorLEAKY_RELU, schema.BuiltinOptionsLeakyReluOptions, &schema.LeakyReluOptionsT{Alpha: 0.2}, b.Shape(x), x)
		}},
		"LEAKY_RELU that is a RELU": {schema.BuiltinOperatorLEAKY_RELU, 1e-6, func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorLEAKY_RELU, schema.BuiltinOptionsLeakyReluOptions, &schema.LeakyReluOptionsT{}, b.Shape(x), x)
		}},
		"SQUARED_DIFFERENCE": {schema.BuiltinOperatorSQUARED_DIFFERENCE, 1e-5, func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorSQUARED_DIFFERENCE, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("c", []float32{1, 2, 3, 4, 5}, 5))
		}},
		"SELECT of elements": {schema.BuiltinOperatorSELECT, 0, func(b *tflitetest.Builder, x int32) int32 {
			more := b.Op("more", schema.BuiltinOperatorGREATER, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("zero", []float32{0}, 1))
			b.SetType(more, schema.TensorTypeBOOL)
			return b.Op("y", schema.BuiltinOperatorSELECT, schema.BuiltinOptionsNONE, nil, b.Shape(x), more, x, b.Unary("tanh", schema.BuiltinOperatorTANH, x))
		}},
		"SELECT of rows": {schema.BuiltinOperatorSELECT, 0, func(b *tflitetest.Builder, x int32) int32 {
			mean := b.Op("mean", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{}, []int32{1}, x, b.Ints("axes", 1, 2, 3))
			more := b.Op("more", schema.BuiltinOperatorGREATER, schema.BuiltinOptionsNONE, nil, []int32{1}, mean, b.Const("zero", []float32{0}, 1))
			b.SetType(more, schema.TensorTypeBOOL)
			return b.Op("y", schema.BuiltinOperatorSELECT, schema.BuiltinOptionsNONE, nil, b.Shape(x), more, x, b.Unary("tanh", schema.BuiltinOperatorTANH, x))
		}},
		"ONE_HOT": {schema.BuiltinOperatorONE_HOT, 0, func(b *tflitetest.Builder, x int32) int32 {
			class := b.Op("class", schema.BuiltinOperatorARG_MAX, schema.BuiltinOptionsArgMaxOptions, &schema.ArgMaxOptionsT{OutputType: schema.TensorTypeINT32}, []int32{1, 4, 6}, x, b.Ints("axis", 3))
			b.SetType(class, schema.TensorTypeINT32)
			return b.Op("y", schema.BuiltinOperatorONE_HOT, schema.BuiltinOptionsOneHotOptions, &schema.OneHotOptionsT{Axis: 2}, []int32{1, 4, 5, 6}, class,
				b.Scalar(b.Ints("depth", 5)), b.Scalar(b.Const("on", []float32{2}, 1)), b.Scalar(b.Const("off", []float32{-1}, 1)))
		}},
		"ONE_HOT of zeros and ones": {schema.BuiltinOperatorONE_HOT, 0, func(b *tflitetest.Builder, x int32) int32 {
			class := b.Op("class", schema.BuiltinOperatorARG_MAX, schema.BuiltinOptionsArgMaxOptions, &schema.ArgMaxOptionsT{OutputType: schema.TensorTypeINT32}, []int32{1, 4, 6}, x, b.Ints("axis", 3))
			b.SetType(class, schema.TensorTypeINT32)
			return b.Op("y", schema.BuiltinOperatorONE_HOT, schema.BuiltinOptionsOneHotOptions, &schema.OneHotOptionsT{Axis: -1}, []int32{1, 4, 6, 5}, class,
				b.Scalar(b.Ints("depth", 5)), b.Scalar(b.Const("on", []float32{1}, 1)), b.Scalar(b.Const("off", []float32{0}, 1)))
		}},
		"CONCATENATION of 11": {schema.BuiltinOperatorCONCATENATION, 0, func(b *tflitetest.Builder, x int32) int32 {
			return b.Concat("y", 3, slices.Repeat([]int32{x}, 11)...)
		}},
		"a RESHAPE behind others": {schema.BuiltinOperatorRESHAPE, 0, func(b *tflitetest.Builder, x int32) int32 {
			x = b.Op("more", schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOptionsExpandDimsOptions, &schema.ExpandDimsOptionsT{}, []int32{1, 4, 1, 6, 5}, x, b.Ints("axis", 2))
			x = b.Op("less", schema.BuiltinOperatorSQUEEZE, schema.BuiltinOptionsSqueezeOptions, &schema.SqueezeOptionsT{SqueezeDims: []int32{2}}, []int32{1, 4, 6, 5}, x)
			return b.Op("y", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 24, 5}}, []int32{1, 24, 5}, x, b.Ints("flat/shape", 1, 24, 5))
		}},
		"a slice of the last": {schema.BuiltinOperatorSTRIDED_SLICE, 0, func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{},
				[]int32{1, 4, 6, 2}, x, b.Ints("begin", 0, 0, 0, 2), b.Ints("end", 1, 4, 6, 4), b.Ints("strides", 1, 1, 1, 1))
		}},
		"a slice backwards": {schema.BuiltinOperatorSTRIDED_SLICE, 0, func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{},
				[]int32{1, 3, 6, 5}, x, b.Ints("begin", 0, 3, 0, 0), b.Ints("end", 1, 0, 6, 5), b.Ints("strides", 1, -1, 1, 1))
		}},
		"a slice with strides": {schema.BuiltinOperatorSTRIDED_SLICE, 0, func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{},
				[]int32{1, 2, 6, 5}, x, b.Ints("begin", 0, 1, 0, 0), b.Ints("end", 1, 4, 6, 5), b.Ints("strides", 1, 2, 1, 1))
		}},
		"CONCATENATION of many": {schema.BuiltinOperatorCONCATENATION, 0, func(b *tflitetest.Builder, x int32) int32 {
			parts := []int32{x}
			for range 11 {
				parts = append(parts, b.Unary("part", schema.BuiltinOperatorTANH, parts[len(parts)-1]))
			}
			return b.Concat("y", 3, parts...)
		}},
		"REDUCE_ANY": {schema.BuiltinOperatorREDUCE_ANY, 0, func(b *tflitetest.Builder, x int32) int32 {
			more := b.Op("more", schema.BuiltinOperatorGREATER, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("one", []float32{1}, 1))
			some := b.Op("some", schema.BuiltinOperatorREDUCE_ANY, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, []int32{1, 4, 6, 1}, more, b.Ints("axes", 3))
			b.SetType(more, schema.TensorTypeBOOL)
			b.SetType(some, schema.TensorTypeBOOL)
			return b.Op("y", schema.BuiltinOperatorSELECT_V2, schema.BuiltinOptionsNONE, nil, b.Shape(x), some, x, b.Unary("tanh", schema.BuiltinOperatorTANH, x))
		}},
		"a slice of five dimensions": {schema.BuiltinOperatorSTRIDED_SLICE, 0, func(b *tflitetest.Builder, x int32) int32 {
			x = b.Op("split", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 4, 2, 3, 5}}, []int32{1, 4, 2, 3, 5}, x, b.Ints("split/shape", 1, 4, 2, 3, 5))
			return b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{ShrinkAxisMask: 2, BeginMask: 0b11101, EndMask: 0b11101},
				[]int32{1, 2, 3, 5}, x, b.Ints("begin", 0, 2, 0, 0, 0), b.Ints("end", 0, 3, 0, 0, 0), b.Ints("strides", 1, 1, 1, 1, 1))
		}},
		"a transposition of seven dimensions": {schema.BuiltinOperatorTRANSPOSE, 0, func(b *tflitetest.Builder, x int32) int32 {
			split := []int32{1, 2, 2, 2, 3, 5, 1}
			x = b.Op("split", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: split}, split, x, b.Ints("split/shape", split...))
			return b.Op("y", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 3, 5, 2, 2, 2, 1}, x, b.Ints("perm", 0, 4, 5, 1, 2, 3, 6))
		}},
		"EXPAND_DIMS behind a RESHAPE": {schema.BuiltinOperatorEXPAND_DIMS, 0, func(b *tflitetest.Builder, x int32) int32 {
			x = b.Op("flat", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 24, 5}}, []int32{1, 24, 5}, x, b.Ints("flat/shape", 1, 24, 5))
			return b.Op("y", schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOptionsExpandDimsOptions, &schema.ExpandDimsOptionsT{}, []int32{1, 24, 1, 5}, x, b.Ints("axis", 2))
		}},
	}
}

// model is a convolution, the operator, and one more behind it.
func (w written) model() *tflite.Model {
	b := tflitetest.New()
	x := b.Conv("conv", b.Input("x", 1, 4, 6, 5), tflitetest.Weights(1, 125*9/5), tflitetest.Weights(2, 5), 5, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
	b.Output(b.Unary("end", schema.BuiltinOperatorTANH, w.build(b, x)))
	return b.Model()
}

// answers runs samples, as many as the network takes at once.
func answers(t *testing.T, m *tflite.Model, batch int) [][]float32 {
	t.Helper()
	net, err := float.Compile(m, batch)
	if err != nil {
		t.Fatal(err)
	}
	exec := net.NewExec(false)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, in := range net.Graph.Inputs {
		for i := range exec.Tensor(in) {
			exec.Tensor(in)[i] = float32(rng.NormFloat64())
		}
	}
	exec.Forward()
	var out [][]float32
	for _, o := range net.Graph.Outputs {
		out = append(out, slices.Clone(exec.Tensor(o)))
	}
	return out
}

func TestWhatIsWrittenComputesTheSame(t *testing.T) {
	covered := map[schema.BuiltinOperator]bool{}
	for name, w := range networks() {
		m := w.model()
		covered[w.op] = true
		out := m.Clone()
		wr := writerOf(t, out, w.op)
		at := wr.n.Index
		if !rules[w.op](wr) {
			t.Errorf("%s is not written by others", name)
			continue
		}
		wr.replace()
		dropUnread(out)
		if err := out.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, o := range wr.written {
			if code, _ := out.Op(o); code == w.op && len(o.Inputs) == len(m.Subgraph().Operators[at].Inputs) && w.op != schema.BuiltinOperatorTRANSPOSE && w.op != schema.BuiltinOperatorSTRIDED_SLICE && w.op != schema.BuiltinOperatorRESHAPE {
				t.Errorf("%s is written as itself", name)
			}
		}
		for i, tensor := range m.Subgraph().Tensors {
			if out.Subgraph().Tensors[i].Name != tensor.Name {
				t.Errorf("%s: tensor %d moved", name, i)
			}
		}
		for _, batch := range []int{1, 3} {
			want, got := answers(t, m, batch), answers(t, out, batch)
			for o := range want {
				for i, v := range want[o] {
					if d := math.Abs(float64(got[o][i] - v)); !(d <= w.tolerance) {
						t.Errorf("%s, batch %d: value %d is %g, of the operator itself %g", name, batch, i, got[o][i], v)
						break
					}
				}
			}
		}
	}
	for code := range rules {
		if !covered[code] && code != schema.BuiltinOperatorSQUEEZE && code != schema.BuiltinOperatorSLICE {
			t.Errorf("no network has %s", code)
		}
	}
}

func TestWhatTFLMLacksIsWrittenForIt(t *testing.T) {
	tflm, err := target.Lookup("cortex-m4")
	if err != nil {
		t.Fatal(err)
	}
	lacks := []string{
		"GELU", "GELU by TANH", "RELU_N1_TO_1", "RELU_0_TO_1", "SIGN", "a square by POW", "a cube by POW", "a root by POW", "a power of 1.5", "a fourth root by POW", "a power of 5", "a power of 1",
		"an inverse by POW", "a power of -0.25", "a power of -2.5", "TILE of dimensions of 1", "TILE of both, often", "SELECT of elements", "SELECT of rows", "ONE_HOT", "ONE_HOT of zeros and ones",
		"CONCATENATION of many", "CONCATENATION of 11", "REDUCE_ANY", "a slice of five dimensions", "a transposition of seven dimensions",
	}
	for name, w := range networks() {
		m := w.model()
		out, changes, err := For(m, tflm)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Contains(lacks, name) {
			if w.op != schema.BuiltinOperatorPOW && w.op != schema.BuiltinOperatorTILE && (out != m || len(changes) > 0) {
				t.Errorf("%s, which runs there, is written anew: %v", name, changes)
			}
			continue
		}
		if len(changes) != 1 || changes[0].Name != w.op.String() || changes[0].Reason == "" || len(changes[0].As) == 0 {
			t.Errorf("%s: %+v", name, changes)
		}
		if refused, err := Refused(out, tflm, Options(tflm)); err != nil || len(refused) > 0 {
			t.Errorf("%s: still refused: %v, %v", name, refused, err)
		}
	}
}

// writerOf writes the first operator of a kind by others.
func writerOf(t *testing.T, m *tflite.Model, code schema.BuiltinOperator) *writer {
	t.Helper()
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(g.Nodes, func(n ir.Node) bool { return n.Op == code })
	return &writer{m: m, g: g, n: &g.Nodes[at], operator: m.Subgraph().Operators[at]}
}

// apply writes the first operator of a kind by others, and returns them with their shapes; "" where it stays.
func apply(t *testing.T, m *tflite.Model, code schema.BuiltinOperator) string {
	t.Helper()
	w := writerOf(t, m, code)
	if !rules[code](w) {
		return ""
	}
	var list []string
	for _, o := range w.written {
		code, _ := m.Op(o)
		list = append(list, fmt.Sprint(code, m.Subgraph().Tensors[o.Outputs[0]].Shape))
	}
	return strings.Join(list, ", ")
}

func TestWhatIsWrittenIsNoMoreThanItTakes(t *testing.T) {
	for name, want := range map[string]string{
		"CONCATENATION of 11":                 "CONCATENATION [1 4 6 50], CONCATENATION [1 4 6 55]",
		"CONCATENATION of many":               "CONCATENATION [1 4 6 50], CONCATENATION [1 4 6 10], CONCATENATION [1 4 6 60]",
		"EXPAND_DIMS behind a RESHAPE":        "RESHAPE [1 24 1 5]",
		"GELU":                                "MUL@, MUL@, ADD@, MUL@, LOGISTIC@, MUL@",
		"LEAKY_RELU":                          "RELU@, MUL@, SUB@",
		"LEAKY_RELU that is a RELU":           "RELU@, MUL@, SUB@",
		"ONE_HOT":                             "RESHAPE [1 4 1 6], EQUAL [1 4 5 6], CAST [1 4 5 6], MUL [1 4 5 6], ADD [1 4 5 6]",
		"ONE_HOT of zeros and ones":           "RESHAPE [1 4 6 1], EQUAL@, CAST@",
		"PRELU with negative slopes":          "RELU@, MUL@, MUL@, SUB@",
		"REDUCE_ANY":                          "CAST@, REDUCE_MAX [1 4 6 1], GREATER [1 4 6 1]",
		"RELU_0_TO_1":                         "MAXIMUM@, MINIMUM@",
		"SELECT of elements":                  "SELECT_V2@",
		"SELECT of rows":                      "RESHAPE [1 1 1 1], SELECT_V2@",
		"SIGN":                                "GREATER@, CAST@, LESS@, CAST@, SUB@",
		"SQUARED_DIFFERENCE":                  "SUB@, MUL@",
		"TILE of both, often":                 "CONCATENATION [1 1 50], CONCATENATION [1 1 50], CONCATENATION [1 1 15], CONCATENATION [1 1 115], BROADCAST_TO [1 3 115]",
		"TILE of dimensions of 1":             "BROADCAST_TO [1 7 5]",
		"TILE of other dimensions":            "CONCATENATION [1 1 15]",
		"a RESHAPE behind others":             "RESHAPE [1 24 5]",
		"a fourth root by POW":                "SQRT@, SQRT@",
		"a power of -2.5":                     "SQRT@, MUL@, MUL@, DIV@",
		"a power of 0.75":                     "SQRT@, SQRT@, MUL@",
		"a power of 1":                        "RESHAPE@",
		"a power of 6.75":                     "SQRT@, MUL@, MUL@, MUL@, MUL@, SQRT@, MUL@",
		"a power of 16":                       "MUL@, MUL@, MUL@, MUL@",
		"a root by POW":                       "SQRT@",
		"a slice of five dimensions":          "RESHAPE [1 4 30], STRIDED_SLICE [1 1 30], RESHAPE [1 2 3 5]",
		"a slice of the last":                 "RESHAPE [1 24 5], STRIDED_SLICE [1 24 2], RESHAPE [1 4 6 2]",
		"a slice backwards":                   "RESHAPE [1 4 30], STRIDED_SLICE [1 3 30], RESHAPE [1 3 6 5]",
		"a slice with strides":                "RESHAPE [1 4 30], STRIDED_SLICE [1 2 30], RESHAPE [1 2 6 5]",
		"a transposition of seven dimensions": "RESHAPE [1 8 15 1], TRANSPOSE [1 15 8 1], RESHAPE [1 3 5 2 2 2 1]",
		"an inverse by POW":                   "DIV@",
		"an inverse root by POW":              "RSQRT@",
	} {
		w := networks()[name]
		if d := cmp.Diff(strings.ReplaceAll(want, "@", " [1 4 6 5]"), apply(t, w.model(), w.op)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Of a chain of a GELU, what cannot be written, another GELU and a long CONCATENATION all but one are written, each named by its place.
func TestSeveralAreWritten(t *testing.T) {
	tflm, err := target.Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	b := tflitetest.New()
	gelu := func(name string, x int32) int32 {
		return b.Op(name, schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{}, b.Shape(x), x)
	}
	x := b.Conv("conv", b.Input("x", 1, 4, 6, 5), tflitetest.Weights(1, 225), nil, 5, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
	powered := b.Op("powered", schema.BuiltinOperatorPOW, schema.BuiltinOptionsPowOptions, &schema.PowOptionsT{}, b.Shape(x), gelu("first", x), b.Const("e", []float32{1.7}, 1))
	b.Output(b.Concat("y", 3, slices.Repeat([]int32{gelu("second", powered)}, 101)...))
	m, changes, err := For(b.Model(), tflm)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%d %s %s as %d", c.Operator, c.Name, c.Layer, len(c.As)))
	}
	if d := cmp.Diff([]string{"1 GELU first as 6", "3 GELU second as 6", "4 CONCATENATION y as 12"}, got); d != "" {
		t.Error(d)
	}
	refused, err := Refused(m, tflm, Options(tflm))
	if err != nil || len(refused) != 1 {
		t.Errorf("%v, %v", refused, err)
	}
	if whole, _, err := For(m, tflm); err != nil || whole != m {
		t.Errorf("what is written is written anew: %v", err)
	}
}

// A slice of six dimensions is written as one of five, which is still more than TFLM's four: it stays, and what else is written, is.
func TestWhatIsWrittenInVainStays(t *testing.T) {
	tflm, err := target.Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	for _, also := range []bool{false, true} {
		b := tflitetest.New()
		x := b.Conv("conv", b.Input("x", 1, 4, 6, 5), tflitetest.Weights(1, 225), nil, 5, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
		if also {
			x = b.Op("gelu", schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{}, b.Shape(x), x)
		}
		split := []int32{1, 2, 2, 3, 2, 5}
		x = b.Op("split", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: split}, split, x, b.Ints("split/shape", split...))
		b.Output(b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{},
			[]int32{1, 1, 1, 2, 2, 5}, x, b.Ints("begin", 0, 1, 1, 1, 0, 0), b.Ints("end", 1, 2, 2, 3, 2, 5), b.Ints("strides", 1, 1, 1, 1, 1, 1)))
		m := b.Model()
		out, changes, err := For(m, tflm)
		if err != nil || len(changes) > 0 != also || out == m != !also || also && changes[0].Name != "GELU" {
			t.Fatalf("%v, %v", changes, err)
		}
		if slices.ContainsFunc(out.Subgraph().Tensors, func(x *schema.TensorT) bool { return len(x.Shape) == 5 }) {
			t.Error("what was written in vain is left")
		}
		refused, err := Refused(out, tflm, Options(tflm))
		for _, p := range refused {
			if p.Name != "STRIDED_SLICE" || len(refused) != 1 {
				t.Errorf("%v", refused)
			}
		}
		if err != nil || len(refused) == 0 {
			t.Errorf("%v, %v", refused, err)
		}
	}
}

func TestWhatIsAsShortAsItCanBeStays(t *testing.T) {
	for name, w := range map[string]written{
		"a RESHAPE": {op: schema.BuiltinOperatorRESHAPE, build: func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 24, 5}}, []int32{1, 24, 5}, x, b.Ints("flat/shape", 1, 24, 5))
		}},
		"ten parts": {op: schema.BuiltinOperatorCONCATENATION, build: func(b *tflitetest.Builder, x int32) int32 {
			return b.Concat("y", 3, slices.Repeat([]int32{x}, 10)...)
		}},
		"a transposition that moves every dimension": {op: schema.BuiltinOperatorTRANSPOSE, build: func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 5, 6, 4}, x, b.Ints("perm", 0, 3, 2, 1))
		}},
		"a transposition of the last two": {op: schema.BuiltinOperatorTRANSPOSE, build: func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, []int32{1, 4, 5, 6}, x, b.Ints("perm", 0, 1, 3, 2))
		}},
		"a slice of every dimension": {op: schema.BuiltinOperatorSTRIDED_SLICE, build: func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{},
				[]int32{1, 3, 5, 4}, x, b.Ints("begin", 0, 1, 1, 1), b.Ints("end", 1, 4, 6, 5), b.Ints("strides", 1, 1, 1, 1))
		}},
		"a slice that runs backwards over the first": {op: schema.BuiltinOperatorSTRIDED_SLICE, build: func(b *tflitetest.Builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{BeginMask: 2, EndMask: 2},
				[]int32{1, 4, 6, 5}, x, b.Ints("begin", 0, 0, 0, 0), b.Ints("end", 1, 0, 6, 5), b.Ints("strides", 1, -1, 1, 1))
		}},
	} {
		if got := apply(t, w.model(), w.op); got != "" {
			t.Errorf("%s is written as %s", name, got)
		}
	}
}

func TestPowersThatAreNoneOfRootsAndProductsAreNotWritten(t *testing.T) {
	for _, e := range [][]float32{{0}, {1.7}, {16.25}, {-16.25}, {-17}, {float32(math.NaN())}, {float32(math.Inf(1))}, {2, 2, 3, 2, 2}} {
		b := tflitetest.New()
		x := b.Input("x", 1, 4, 6, 5)
		b.Output(b.Op("y", schema.BuiltinOperatorPOW, schema.BuiltinOptionsPowOptions, &schema.PowOptionsT{}, b.Shape(x), x, b.Const("e", e, int32(len(e)))))
		w := writerOf(t, b.Model(), schema.BuiltinOperatorPOW)
		if pow(w) || len(w.written) > 0 {
			t.Errorf("the exponent %v is written by %d operators", e, len(w.written))
		}
	}
}

func TestWhatCannotBeWrittenStays(t *testing.T) {
	tflm, err := target.Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	b := tflitetest.New()
	x := b.Conv("conv", b.Input("x", 1, 4, 6, 5), tflitetest.Weights(1, 225), nil, 5, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
	y := b.Op("powered", schema.BuiltinOperatorPOW, schema.BuiltinOptionsPowOptions, &schema.PowOptionsT{}, b.Shape(x), x, b.Const("e", []float32{1.7}, 1))
	b.Output(b.Op("gelu", schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{}, b.Shape(x), y))
	m, changes, err := For(b.Model(), tflm)
	if err != nil || len(changes) != 1 || changes[0].Name != "GELU" || !strings.Contains(changes[0].String(), "GELU (gelu) is written as MUL, MUL, ADD, MUL, LOGISTIC, MUL: TFLM has no kernel for it") {
		t.Fatalf("%v, %v", changes, err)
	}
	refused, err := Refused(m, tflm, Options(tflm))
	if err != nil || len(refused) != 1 || refused[1].Name != "POW" {
		t.Errorf("%v, %v", refused, err)
	}
}
