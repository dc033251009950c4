package float

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// matrices are BATCH_MATMUL of activations and of a constant, every way round, and CONV_3D.
func matrices() []gradientCase {
	var cases []gradientCase
	matmul := func(b *builder, adjX, adjY bool, shape []int32, x, y int32) int32 {
		o := &schema.BatchMatMulOptionsT{AdjX: adjX, AdjY: adjY}
		return b.Op("y", schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, o, shape, x, y)
	}
	turned := func(rows, columns int32, adj bool) []int32 {
		if adj {
			rows, columns = columns, rows
		}
		return []int32{rows, columns}
	}
	for _, adjX := range []bool{false, true} {
		for _, adjY := range []bool{false, true} {
			cases = append(cases,
				gradientCase{name: fmt.Sprintf("BATCH_MATMUL by a constant %v %v", adjX, adjY), input: append([]int32{1, 2}, turned(3, 5, adjX)...), build: func(b *builder, x int32) int32 {
					return matmul(b, adjX, adjY, []int32{1, 2, 3, 4}, x, b.Const("c", normal(40), append([]int32{2}, turned(5, 4, adjY)...)...))
				}},
				gradientCase{name: fmt.Sprintf("BATCH_MATMUL of activations %v %v", adjX, adjY), input: append([]int32{1, 2}, turned(3, 5, adjX)...), smooth: true, build: func(b *builder, x int32) int32 {
					y := b.Unary("s", schema.BuiltinOperatorSQUARE, x) // [2, 3, 5] or turned; read as its own transpose or not
					return matmul(b, adjX, adjX != true, []int32{1, 2, 3, 3}, x, y)
				}})
		}
	}
	cases = append(cases, gradientCase{name: "BATCH_MATMUL, one matrix for all", input: []int32{1, 2, 3, 5}, build: func(b *builder, x int32) int32 {
		return matmul(b, false, false, []int32{1, 2, 3, 4}, x, b.Const("c", normal(20), 5, 4))
	}})
	for _, c := range []struct {
		padding  schema.Padding
		stride   [3]int32
		dilation int32
		out      []int32
	}{
		{schema.PaddingSAME, [3]int32{1, 2, 1}, 1, []int32{1, 3, 3, 4, 3}},
		{schema.PaddingVALID, [3]int32{1, 1, 1}, 1, []int32{1, 2, 3, 2, 3}},
		{schema.PaddingSAME, [3]int32{1, 1, 1}, 2, []int32{1, 3, 5, 4, 3}},
	} {
		cases = append(cases, gradientCase{name: fmt.Sprintf("CONV_3D %s strides %v dilation %d", c.padding, c.stride, c.dilation), input: []int32{1, 3, 5, 4, 2}, build: func(b *builder, x int32) int32 {
			o := &schema.Conv3DOptionsT{
				Padding: c.padding, StrideD: c.stride[0], StrideH: c.stride[1], StrideW: c.stride[2],
				DilationDFactor: c.dilation, DilationHFactor: c.dilation, DilationWFactor: c.dilation, FusedActivationFunction: tflitetest.ReLU,
			}
			return b.Op("y", schema.BuiltinOperatorCONV_3D, schema.BuiltinOptionsConv3DOptions, o, c.out, x, b.Const("w", normal(2*3*3*2*3), 2, 3, 3, 2, 3), b.Const("b", normal(3), 3))
		}})
	}
	return cases
}

// choices are operators that choose, repeat and add up.
func choices() []gradientCase {
	image := []int32{1, 3, 4}
	chosen := func(code schema.BuiltinOperator) func(b *builder, x int32) int32 {
		return func(b *builder, x int32) int32 {
			truth := b.Op("t", schema.BuiltinOperatorGREATER, schema.BuiltinOptionsNONE, nil, b.Shape(x), x, b.Const("limit", []float32{0.1}, 1))
			b.SetType(truth, schema.TensorTypeBOOL)
			square := b.Unary("s", schema.BuiltinOperatorSQUARE, x)
			return b.Op("y", code, schema.BuiltinOptionsNONE, nil, b.Shape(x), truth, square, b.Const("c", normal(4), 1, 1, 4))
		}
	}
	cumsum := func(exclusive, reverse bool) func(b *builder, x int32) int32 {
		return func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorCUMSUM, schema.BuiltinOptionsCumsumOptions, &schema.CumsumOptionsT{Exclusive: exclusive, Reverse: reverse}, image, x, b.Scalar(b.Ints("axis", 1)))
		}
	}
	spectrum := func(code schema.BuiltinOperator, h, w int32) func(b *builder, x int32) int32 {
		return func(b *builder, x int32) int32 {
			shape := append(slices.Clone(b.Shape(x)[:2]), h, w/2+1)
			complex := b.Op("s", schema.BuiltinOperatorRFFT2D, schema.BuiltinOptionsNONE, nil, shape, x, b.Ints("lengths", h, w))
			b.SetType(complex, schema.TensorTypeCOMPLEX64)
			return b.Unary("y", code, complex)
		}
	}
	return []gradientCase{
		{name: "SELECT", input: image, smooth: true, build: chosen(schema.BuiltinOperatorSELECT)},
		{name: "SELECT_V2", input: image, smooth: true, build: chosen(schema.BuiltinOperatorSELECT_V2)},
		{name: "TOPK_V2", input: image, smooth: true, build: func(b *builder, x int32) int32 {
			square := b.Unary("s", schema.BuiltinOperatorSQUARE, x)
			return b.Ops("y", schema.BuiltinOperatorTOPK_V2, schema.BuiltinOptionsTopKV2Options, &schema.TopKV2OptionsT{}, [][]int32{{1, 3, 2}, {1, 3, 2}}, square, b.Scalar(b.Ints("k", 2)))[0]
		}},
		{name: "CUMSUM", input: image, build: cumsum(false, false)},
		{name: "CUMSUM, exclusive", input: image, build: cumsum(true, false)},
		{name: "CUMSUM, from the end", input: image, build: cumsum(false, true)},
		{name: "CUMSUM, exclusive from the end", input: image, build: cumsum(true, true)},
		{name: "SCATTER_ND", input: []int32{1, 3, 4}, one: true, build: func(b *builder, x int32) int32 {
			places := b.Ints("places", 2, 0, 2)
			b.Tensor(places).Shape = []int32{1, 3, 1}
			return b.Op("y", schema.BuiltinOperatorSCATTER_ND, schema.BuiltinOptionsNONE, nil, []int32{4, 4}, places, x, b.Ints("shape", 4, 4))
		}},
		{name: "SEGMENT_SUM", input: []int32{1, 12}, one: true, build: func(b *builder, x int32) int32 {
			x = b.Op("r", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{}, []int32{4, 3}, x, b.Ints("rows", 4, 3))
			return b.Op("y", schema.BuiltinOperatorSEGMENT_SUM, schema.BuiltinOptionsNONE, nil, []int32{3, 3}, x, b.Ints("ids", 0, 0, 1, 2))
		}},
		{name: "RFFT2D, COMPLEX_ABS", input: []int32{1, 2, 3, 6}, smooth: true, build: spectrum(schema.BuiltinOperatorCOMPLEX_ABS, 2, 8)},
		{name: "RFFT2D cut, REAL", input: []int32{1, 2, 1, 6}, build: spectrum(schema.BuiltinOperatorREAL, 4, 4)},
		{name: "RFFT2D, IMAG", input: []int32{1, 2, 1, 8}, build: spectrum(schema.BuiltinOperatorIMAG, 1, 8)},
		{name: "TILE", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorTILE, schema.BuiltinOptionsNONE, nil, []int32{1, 6, 12}, x, b.Ints("times", 1, 2, 3))
		}},
		{name: "BROADCAST_TO", input: []int32{1, 1, 4}, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorBROADCAST_TO, schema.BuiltinOptionsNONE, nil, []int32{1, 3, 4}, x, b.Ints("shape", 1, 3, 4))
		}},
		{name: "ADD_N", input: image, smooth: true, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorADD_N, schema.BuiltinOptionsNONE, nil, image, x, b.Unary("s", schema.BuiltinOperatorSQUARE, x), x)
		}},
		{name: "POW", input: image, smooth: true, build: func(b *builder, x int32) int32 {
			base := b.Op("a", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, image, b.Unary("s", schema.BuiltinOperatorSQUARE, x), b.Const("c", positive(12), image...))
			return b.Op("y", schema.BuiltinOperatorPOW, schema.BuiltinOptionsNONE, nil, image, base, b.Unary("t", schema.BuiltinOperatorTANH, x))
		}},
		{name: "FLOOR_MOD", input: image, build: func(b *builder, x int32) int32 {
			return b.Op("y", schema.BuiltinOperatorFLOOR_MOD, schema.BuiltinOptionsNONE, nil, image, x, b.Const("c", []float32{5}, 1))
		}},
		{name: "GATHER_ND of a table", input: []int32{1, 3}, build: func(b *builder, x int32) int32 {
			places := b.Ints("places", 2, 0, 1, 3, 2, 0)
			b.Tensor(places).Shape = []int32{3, 2}
			rows := b.Op("r", schema.BuiltinOperatorGATHER_ND, schema.BuiltinOptionsNONE, nil, []int32{3}, b.Const("table", normal(12), 3, 4), places)
			return b.Op("y", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, []int32{1, 3}, x, rows)
		}},
		{name: "GATHER by computed ids", input: []int32{1, 5, 3}, smooth: true, build: func(b *builder, x int32) int32 {
			at := b.Op("i", schema.BuiltinOperatorARG_MAX, schema.BuiltinOptionsArgMaxOptions, &schema.ArgMaxOptionsT{OutputType: schema.TensorTypeINT32}, []int32{1, 3}, x, b.Scalar(b.Ints("axis", 1)))
			b.SetType(at, schema.TensorTypeINT32)
			rows := b.Op("r", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: 0}, []int32{1, 3, 4}, b.Const("table", normal(24), 6, 4), at)
			mean := b.Op("m", schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, []int32{1, 1, 1}, x, b.Ints("axes", 1, 2))
			return b.Op("y", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, []int32{1, 3, 4}, rows, mean)
		}},
	}
}

func TestAnEmbeddingTrains(t *testing.T) {
	b := tflitetest.New()
	ids := b.Input("ids", 1, 3)
	b.SetType(ids, schema.TensorTypeINT32)
	table := b.Const("table", normal(10), 5, 2)
	b.Output(b.Op("y", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, []int32{1, 3, 2}, table, ids))
	n, err := Compile(b.Model(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Params) != 1 || n.Params[0].Kind != Table || !n.Params[0].Trainable {
		t.Fatalf("parameters: %+v", n.Params)
	}
	e, g := n.NewExec(true), n.NewGrads()
	e.SetInput(0, []float32{4, 0, 4, 2, 2, 2})
	e.Forward()
	rows := n.Params[0].Value
	want := slices.Concat(rows[8:10], rows[:2], rows[8:10], rows[4:6], rows[4:6], rows[4:6])
	if got := e.Output(0); !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
	for i := range e.LossGrad(e.net.LossTensor(0)) {
		e.LossGrad(e.net.LossTensor(0))[i] = 1
	}
	e.Backward(g)
	if got, want := g.Param[0], []float32{1, 1, 0, 0, 3, 3, 0, 0, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("gradient %v, want %v", got, want)
	}
}

func TestValuesOfOperatorsThatChoose(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		code       schema.BuiltinOperator
		x, y, want []float32
	}{
		{schema.BuiltinOperatorEQUAL, []float32{1, 2, inf}, []float32{1, 3, inf}, []float32{1, 0, 1}},
		{schema.BuiltinOperatorNOT_EQUAL, []float32{1, 2, 3}, []float32{1, 3, 3}, []float32{0, 1, 0}},
		{schema.BuiltinOperatorLESS, []float32{1, 2, 3}, []float32{1, 3, 2}, []float32{0, 1, 0}},
		{schema.BuiltinOperatorLESS_EQUAL, []float32{1, 2, 3}, []float32{1, 3, 2}, []float32{1, 1, 0}},
		{schema.BuiltinOperatorGREATER, []float32{1, 2, 3}, []float32{1, 3, 2}, []float32{0, 0, 1}},
		{schema.BuiltinOperatorGREATER_EQUAL, []float32{1, 2, 3}, []float32{1, 3, 2}, []float32{1, 0, 1}},
		{schema.BuiltinOperatorLOGICAL_AND, []float32{1, 0, 1}, []float32{1, 1, 0}, []float32{1, 0, 0}},
		{schema.BuiltinOperatorLOGICAL_OR, []float32{1, 0, 0}, []float32{1, 1, 0}, []float32{1, 1, 0}},
		{schema.BuiltinOperatorFLOOR_DIV, []float32{7, -7, 7}, []float32{2, 2, -2}, []float32{3, -4, -4}},
		{schema.BuiltinOperatorFLOOR_MOD, []float32{7, -7, 7}, []float32{4, 4, -4}, []float32{3, 1, -1}},
	} {
		b := tflitetest.New()
		x, y := b.Input("x", 1, 3), b.Input("y", 1, 3)
		b.Output(b.Op("z", c.code, schema.BuiltinOptionsNONE, nil, []int32{1, 3}, x, y))
		n, err := Compile(b.Model(), 1)
		if err != nil {
			t.Fatal(err)
		}
		e := n.NewForwardExec()
		e.SetInput(0, c.x)
		e.SetInput(1, c.y)
		e.Forward()
		if got := e.Output(0); !slices.Equal(got, c.want) {
			t.Errorf("%s of %v and %v is %v, want %v", c.code, c.x, c.y, got, c.want)
		}
	}
}

func TestAnOperatorThatIsNotRunSaysWhy(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 3)
	b.Output(b.Op("y", schema.BuiltinOperatorWHERE, schema.BuiltinOptionsNONE, nil, []int32{3, 2}, x))
	_, err := Compile(b.Model(), 1)
	if want := "operator 0 WHERE cannot be executed: how many elements it gives depends on their values; a choice between two tensors is a SELECT_V2 (tf.where with three arguments)"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
