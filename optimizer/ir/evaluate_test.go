package ir_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// floats are a constant of float32, flags one of bool.
func floats(values ...float32) operand {
	return func(b *builder) int32 { return b.Const("f", values, int32(len(values))) }
}

func flags(values ...byte) operand {
	return func(b *builder) int32 {
		return b.Raw("flags", schema.TensorTypeBOOL, values, int32(len(values)))
	}
}

// longs are a constant of int64.
func longs(values ...int64) operand {
	return func(b *builder) int32 {
		var data []byte
		for _, v := range values {
			data = binary.LittleEndian.AppendUint64(data, uint64(v))
		}
		return b.Raw("longs", schema.TensorTypeINT64, data, int32(len(values)))
	}
}

func grid(rows, columns int32, values ...int32) operand { return shaped(n(values...), rows, columns) }

// read returns the elements of a tensor's constant; nil if it has none.
func read(m *tflite.Model, t *schema.TensorT) (values []float64) {
	data := m.Data(t)
	for len(data) > 0 {
		switch t.Type {
		case schema.TensorTypeFLOAT32:
			values, data = append(values, float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))), data[4:]
		case schema.TensorTypeINT64:
			values, data = append(values, float64(int64(binary.LittleEndian.Uint64(data)))), data[8:]
		case schema.TensorTypeBOOL:
			values, data = append(values, float64(data[0])), data[1:]
		default:
			values, data = append(values, float64(int32(binary.LittleEndian.Uint32(data)))), data[4:]
		}
	}
	return values
}

func TestSpecializeComputesConstants(t *testing.T) {
	const whole, long, float, truth = schema.TensorTypeINT32, schema.TensorTypeINT64, schema.TensorTypeFLOAT32, schema.TensorTypeBOOL
	reduced := func(keep bool) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: keep})
	}
	axis := func(axis int32) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: axis})
	}
	joined := func(axis int32, act tflitetest.Act) *schema.BuiltinOptionsT {
		return with(schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: axis, FusedActivationFunction: act})
	}
	clamped := with(schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{FusedActivationFunction: tflitetest.ReLU})

	for op, cases := range map[schema.BuiltinOperator][]struct {
		name    string
		options *schema.BuiltinOptionsT
		inputs  []operand
		kind    schema.TensorType // of the outputs
		want    [][]float64       // one an output; none: it is left to run
	}{
		schema.BuiltinOperatorADD: {
			{name: "as many as are folded when parsed", inputs: list(n(slices.Repeat([]int32{1}, 64)...), one(2)), kind: whole, want: [][]float64{slices.Repeat([]float64{3}, 64)}},
			{name: "more than are folded when parsed", inputs: list(n(slices.Repeat([]int32{1}, 65)...), one(2)), kind: whole, want: [][]float64{slices.Repeat([]float64{3}, 65)}},
			{name: "floats", inputs: list(floats(1, 2), floats(10, 20)), kind: float, want: [][]float64{{11, 22}}},
			{name: "a row to rows", inputs: list(grid(2, 2, 1, 2, 3, 4), n(10, 20)), kind: whole, want: [][]float64{{11, 22, 13, 24}}},
			{name: "a scalar to a vector", inputs: list(one(5), n(10, 20)), kind: whole, want: [][]float64{{15, 25}}},
			{name: "a vector to a scalar", inputs: list(n(10, 20), one(5)), kind: whole, want: [][]float64{{15, 25}}},
			{name: "long numbers", inputs: list(longs(1<<40), longs(2)), kind: long, want: [][]float64{{1<<40 + 2}}},
			{name: "beyond what int32 holds", inputs: list(n(math.MaxInt32), n(1)), kind: whole},
			{name: "below what int32 holds", inputs: list(n(math.MinInt32), n(-1)), kind: whole},
			{name: "the greatest of int32", inputs: list(n(math.MaxInt32-1), n(1)), kind: whole, want: [][]float64{{math.MaxInt32}}},
			{name: "the least of int32", inputs: list(n(math.MinInt32+1), n(-1)), kind: whole, want: [][]float64{{math.MinInt32}}},
			{name: "clamped", options: clamped, inputs: list(n(1), n(1)), kind: whole},
			{name: "clamped floats", options: clamped, inputs: list(floats(1), floats(1)), kind: float},
		},
		schema.BuiltinOperatorSUB: {
			{name: "whole", inputs: list(n(7, 1), n(2, 5)), kind: whole, want: [][]float64{{5, -4}}},
			{name: "floats", inputs: list(floats(7, 1), floats(2, 5)), kind: float, want: [][]float64{{5, -4}}},
		},
		schema.BuiltinOperatorMUL: {
			{name: "whole", inputs: list(n(7, 1), n(2, 5)), kind: whole, want: [][]float64{{14, 5}}},
			{name: "floats", inputs: list(floats(7, 1), floats(2, 5)), kind: float, want: [][]float64{{14, 5}}},
		},
		schema.BuiltinOperatorDIV:                {{name: "floats", inputs: list(floats(7, -7), floats(2, 2)), kind: float, want: [][]float64{{3.5, -3.5}}}},
		schema.BuiltinOperatorFLOOR_MOD:          {{name: "floats", inputs: list(floats(7, -7), floats(4, 4)), kind: float, want: [][]float64{{3, 1}}}},
		schema.BuiltinOperatorPOW:                {{name: "whole", inputs: list(n(2, 3), n(10, 2)), kind: whole, want: [][]float64{{1024, 9}}}},
		schema.BuiltinOperatorSQUARED_DIFFERENCE: {{name: "whole", inputs: list(n(2, 3), n(10, 2)), kind: whole, want: [][]float64{{64, 1}}}},
		schema.BuiltinOperatorMINIMUM: {
			{name: "whole", inputs: list(n(2, 3), n(10, 2)), kind: whole, want: [][]float64{{2, 2}}},
			{name: "floats", inputs: list(floats(2, 3), floats(10, 2)), kind: float, want: [][]float64{{2, 2}}},
		},
		schema.BuiltinOperatorMAXIMUM:       {{name: "floats", inputs: list(floats(2, 3), floats(10, 2)), kind: float, want: [][]float64{{10, 3}}}},
		schema.BuiltinOperatorEQUAL:         {{name: "whole", inputs: list(n(1, 2, 3), n(2, 2, 2)), kind: truth, want: [][]float64{{0, 1, 0}}}},
		schema.BuiltinOperatorNOT_EQUAL:     {{name: "whole", inputs: list(n(1, 2, 3), n(2, 2, 2)), kind: truth, want: [][]float64{{1, 0, 1}}}},
		schema.BuiltinOperatorLESS:          {{name: "whole", inputs: list(n(1, 2, 3), n(2, 2, 2)), kind: truth, want: [][]float64{{1, 0, 0}}}},
		schema.BuiltinOperatorLESS_EQUAL:    {{name: "whole", inputs: list(n(1, 2, 3), n(2, 2, 2)), kind: truth, want: [][]float64{{1, 1, 0}}}},
		schema.BuiltinOperatorGREATER:       {{name: "whole", inputs: list(n(1, 2, 3), n(2, 2, 2)), kind: truth, want: [][]float64{{0, 0, 1}}}},
		schema.BuiltinOperatorGREATER_EQUAL: {{name: "whole", inputs: list(n(1, 2, 3), n(2, 2, 2)), kind: truth, want: [][]float64{{0, 1, 1}}}},
		schema.BuiltinOperatorLOGICAL_AND:   {{name: "flags", inputs: list(flags(0, 0, 1, 1), flags(0, 1, 0, 1)), kind: truth, want: [][]float64{{0, 0, 0, 1}}}},
		schema.BuiltinOperatorLOGICAL_OR:    {{name: "flags", inputs: list(flags(0, 0, 1, 1), flags(0, 1, 0, 1)), kind: truth, want: [][]float64{{0, 1, 1, 1}}}},
		schema.BuiltinOperatorLOGICAL_NOT:   {{name: "flags", inputs: list(flags(0, 1)), kind: truth, want: [][]float64{{1, 0}}}},
		schema.BuiltinOperatorNEG:           {{name: "whole", inputs: list(n(5, -3)), kind: whole, want: [][]float64{{-5, 3}}}},
		schema.BuiltinOperatorABS:           {{name: "whole", inputs: list(n(5, -3)), kind: whole, want: [][]float64{{5, 3}}}},
		schema.BuiltinOperatorSQRT:          {{name: "floats", inputs: list(floats(16, 2)), kind: float, want: [][]float64{{4, float64(float32(math.Sqrt2))}}}},
		schema.BuiltinOperatorRSQRT:         {{name: "floats", inputs: list(floats(16)), kind: float, want: [][]float64{{0.25}}}},
		schema.BuiltinOperatorSQUARE:        {{name: "whole", inputs: list(n(5, -3)), kind: whole, want: [][]float64{{25, 9}}}},
		schema.BuiltinOperatorFLOOR:         {{name: "floats", inputs: list(floats(1.5, -1.5)), kind: float, want: [][]float64{{1, -2}}}},
		schema.BuiltinOperatorCEIL:          {{name: "floats", inputs: list(floats(1.5, -1.5)), kind: float, want: [][]float64{{2, -1}}}},
		schema.BuiltinOperatorROUND:         {{name: "floats", inputs: list(floats(1.5, 2.5)), kind: float, want: [][]float64{{2, 2}}}},
		schema.BuiltinOperatorZEROS_LIKE:    {{name: "whole", inputs: list(n(5, -3)), kind: whole, want: [][]float64{{0, 0}}}},
		schema.BuiltinOperatorCAST: {
			{name: "of floats to whole numbers", inputs: list(floats(1.5, -1.5)), kind: whole, want: [][]float64{{1, -1}}},
			{name: "of whole numbers to floats", inputs: list(n(3)), kind: float, want: [][]float64{{3}}},
			{name: "of whole numbers to long ones", inputs: list(n(-3)), kind: long, want: [][]float64{{-3}}},
			{name: "of long numbers that floats do not hold", inputs: list(longs(1<<53 + 1)), kind: float},
			{name: "of the longest that they hold", inputs: list(longs(1<<53, -1<<53)), kind: float, want: [][]float64{{1 << 53, -1 << 53}}},
		},
		schema.BuiltinOperatorSELECT: {
			{name: "each", inputs: list(flags(1, 0), n(1, 2), n(3, 4)), kind: whole, want: [][]float64{{1, 4}}},
			{name: "rows", inputs: list(flags(1, 0), grid(2, 2, 1, 2, 3, 4), grid(2, 2, 5, 6, 7, 8)), kind: whole},
		},
		schema.BuiltinOperatorSELECT_V2: {{name: "columns", inputs: list(flags(1, 0), grid(2, 2, 1, 2, 3, 4), grid(2, 2, 5, 6, 7, 8)), kind: whole, want: [][]float64{{1, 6, 3, 8}}}},
		schema.BuiltinOperatorFILL: {
			{name: "two dimensions", inputs: list(n(2, 2), shaped(floats(1.5))), kind: float, want: [][]float64{{1.5, 1.5, 1.5, 1.5}}},
		},
		schema.BuiltinOperatorRANGE: {
			{name: "down", inputs: list(one(5), one(0), one(-2)), kind: whole, want: [][]float64{{5, 3, 1}}},
			{name: "of floats", inputs: list(shaped(floats(0)), shaped(floats(1)), shaped(floats(0.25))), kind: float, want: [][]float64{{0, 0.25, 0.5, 0.75}}},
		},
		schema.BuiltinOperatorUNSORTED_SEGMENT_SUM: {
			{name: "all", inputs: list(n(1, 2, 4), n(0, 1, 0), one(2)), kind: whole, want: [][]float64{{5, 2}}},
			{name: "one left out", inputs: list(n(1, 2, 4), n(0, 1, -1), one(2)), kind: whole, want: [][]float64{{1, 2}}},
			{name: "one without a member", inputs: list(n(1, 2, 4), n(0, 2, 0), one(3)), kind: whole},
			{name: "a member of none", inputs: list(n(1, 2, 4), n(0, 1, 2), one(2)), kind: whole},
		},
		schema.BuiltinOperatorUNSORTED_SEGMENT_MIN: {{name: "all", inputs: list(n(1, 2, 4), n(0, 1, 0), one(2)), kind: whole, want: [][]float64{{1, 2}}}},
		schema.BuiltinOperatorUNSORTED_SEGMENT_MAX: {{name: "all", inputs: list(n(1, 2, 4), n(0, 1, 0), one(2)), kind: whole, want: [][]float64{{4, 2}}}},
		schema.BuiltinOperatorSUM: {
			{name: "a vector", inputs: list(n(1, 2, 4), n(0)), kind: whole, want: [][]float64{{7}}},
			{name: "columns", inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(0)), kind: whole, want: [][]float64{{5, 7, 9}}},
			{name: "rows", options: reduced(true), inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(1)), kind: whole, want: [][]float64{{6, 15}}},
			{name: "planes", inputs: list(shaped(n(1, 2, 3, 4, 5, 6, 7, 8), 2, 2, 2), n(0, 2)), kind: whole, want: [][]float64{{14, 22}}},
		},
		schema.BuiltinOperatorREDUCE_PROD: {
			{name: "columns", inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(0)), kind: whole, want: [][]float64{{4, 10, 18}}},
		},
		schema.BuiltinOperatorREDUCE_MAX: {
			{name: "a vector", inputs: list(n(1, 4, 2), n(0)), kind: whole, want: [][]float64{{4}}},
			{name: "columns", inputs: list(grid(2, 2, 1, 5, 3, 4), n(0)), kind: whole, want: [][]float64{{3, 5}}},
		},
		schema.BuiltinOperatorREDUCE_MIN: {
			{name: "a vector", inputs: list(n(4, 1, 2), n(0)), kind: whole, want: [][]float64{{1}}},
			{name: "columns", inputs: list(grid(2, 2, 1, 5, 3, 4), n(0)), kind: whole, want: [][]float64{{1, 4}}},
		},
		schema.BuiltinOperatorREDUCE_ANY: {{name: "flags", inputs: list(flags(0, 1, 0), n(0)), kind: truth, want: [][]float64{{1}}}},
		schema.BuiltinOperatorREDUCE_ALL: {{name: "flags", inputs: list(flags(1, 0, 1), n(0)), kind: truth, want: [][]float64{{0}}}},
		schema.BuiltinOperatorMEAN: {
			{name: "floats", inputs: list(floats(1, 2, 6), n(0)), kind: float, want: [][]float64{{3}}},
			{name: "whole", inputs: list(n(1, 2, 6), n(0)), kind: whole},
		},
		schema.BuiltinOperatorGATHER: {
			{name: "columns", options: axis(1), inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(2, 0)), kind: whole, want: [][]float64{{3, 1, 6, 4}}},
			{name: "rows", options: axis(0), inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(1)), kind: whole, want: [][]float64{{4, 5, 6}}},
			{name: "floats", options: axis(0), inputs: list(floats(5, 6, 7), n(2, 0)), kind: float, want: [][]float64{{7, 5}}},
			{name: "beyond the last", options: axis(0), inputs: list(n(5, 6, 7), n(3)), kind: whole},
			{name: "before the first", options: axis(0), inputs: list(n(5, 6, 7), n(-1)), kind: whole},
			{name: "beyond the last of rows", options: axis(1), inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(3)), kind: whole},
			{name: "before the first of rows", options: axis(1), inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(-1)), kind: whole},
		},
		schema.BuiltinOperatorCONCATENATION: {
			{name: "columns", options: joined(1, tflitetest.None), inputs: list(grid(2, 2, 1, 2, 3, 4), grid(2, 1, 5, 6)), kind: whole, want: [][]float64{{1, 2, 5, 3, 4, 6}}},
			{name: "rows", options: joined(0, tflitetest.None), inputs: list(grid(1, 2, 1, 2), grid(2, 2, 3, 4, 5, 6)), kind: whole, want: [][]float64{{1, 2, 3, 4, 5, 6}}},
			{name: "clamped", options: joined(0, tflitetest.ReLU), inputs: list(n(1), n(2)), kind: whole},
			{name: "of two types", options: joined(0, tflitetest.None), inputs: list(n(1), longs(2)), kind: whole},
		},
		schema.BuiltinOperatorPACK: {
			{name: "columns", options: with(schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{Axis: 1}), inputs: list(n(1, 2), n(3, 4)), kind: whole, want: [][]float64{{1, 3, 2, 4}}},
			{name: "rows", inputs: list(n(1, 2), n(3, 4)), kind: whole, want: [][]float64{{1, 2, 3, 4}}},
		},
		schema.BuiltinOperatorUNPACK: {
			{name: "columns", options: with(schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Axis: 1, Num: 2}), inputs: list(grid(3, 2, 1, 2, 3, 4, 5, 6)), kind: whole, want: [][]float64{{1, 3, 5}, {2, 4, 6}}},
		},
		schema.BuiltinOperatorSPLIT: {
			{name: "columns", options: with(schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: 2}), inputs: list(one(1), grid(2, 4, 1, 2, 3, 4, 5, 6, 7, 8)), kind: whole, want: [][]float64{{1, 2, 5, 6}, {3, 4, 7, 8}}},
		},
		schema.BuiltinOperatorSPLIT_V: {
			{name: "three parts", inputs: list(n(1, 2, 3, 4, 5, 6), n(1, 2, 3), one(0)), kind: whole, want: [][]float64{{1}, {2, 3}, {4, 5, 6}}},
		},
		schema.BuiltinOperatorTRANSPOSE: {
			{name: "rows and columns", inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(1, 0)), kind: whole, want: [][]float64{{1, 4, 2, 5, 3, 6}}},
			{name: "in a circle", inputs: list(shaped(n(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 2, 3, 2), n(2, 0, 1)), kind: whole, want: [][]float64{{1, 3, 5, 7, 9, 11, 2, 4, 6, 8, 10, 12}}},
		},
		schema.BuiltinOperatorTILE: {
			{name: "both", inputs: list(grid(1, 2, 1, 2), n(2, 2)), kind: whole, want: [][]float64{{1, 2, 1, 2, 1, 2, 1, 2}}},
		},
		schema.BuiltinOperatorBROADCAST_TO: {
			{name: "columns", inputs: list(grid(2, 1, 1, 2), n(2, 3)), kind: whole, want: [][]float64{{1, 1, 1, 2, 2, 2}}},
			{name: "rows", inputs: list(n(1, 2), n(2, 2)), kind: whole, want: [][]float64{{1, 2, 1, 2}}},
		},
		schema.BuiltinOperatorSLICE: {
			{name: "columns", inputs: list(grid(2, 3, 1, 2, 3, 4, 5, 6), n(0, 1), n(2, 2)), kind: whole, want: [][]float64{{2, 3, 5, 6}}},
			{name: "floats", inputs: list(floats(1, 2, 3), n(1), n(2)), kind: float, want: [][]float64{{2, 3}}},
		},
		schema.BuiltinOperatorSTRIDED_SLICE: {
			{name: "every second", inputs: list(n(1, 2, 3, 4, 5, 6, 7), n(1), n(6), n(2)), kind: whole, want: [][]float64{{2, 4, 6}}},
			{name: "backwards in rows", inputs: list(grid(2, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), n(1, 4), n(-3, 0), n(-1, -2)), kind: whole, want: [][]float64{{10, 8, 5, 3}}},
			{name: "a row backwards", options: with(schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{ShrinkAxisMask: 1, BeginMask: 2, EndMask: 2}),
				inputs: list(shaped(floats(1, 2, 3, 4, 5, 6), 2, 3), n(1, 0), n(2, 0), n(1, -2)), kind: float, want: [][]float64{{6, 4}}},
			{name: "a column with a new dimension", options: with(schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{NewAxisMask: 1, BeginMask: 2, EndMask: 2}),
				inputs: list(shaped(floats(1, 2, 3, 4, 5, 6), 2, 3), n(0, 0, 1), n(1, 0, 3), n(1, 1, 2)), kind: float, want: [][]float64{{2, 5}}},
		},
		schema.BuiltinOperatorRESHAPE: {{name: "floats", inputs: list(floats(1, 2), n(2, 1)), kind: float, want: [][]float64{{1, 2}}}},
		schema.BuiltinOperatorTANH:    {{name: "floats, which are not computed", inputs: list(floats(1, 2)), kind: float}},
	} {
		for _, c := range cases {
			t.Run(op.String()+"/"+c.name, func(t *testing.T) {
				b := tflitetest.New()
				var inputs []int32
				for _, o := range c.inputs {
					inputs = append(inputs, o(b))
				}
				kind, value := schema.BuiltinOptionsNONE, any(nil)
				if c.options != nil {
					kind, value = c.options.Type, c.options.Value
				}
				computed := b.Ops("y", op, kind, value, make([][]int32, max(len(c.want), 1)), inputs...)
				for _, y := range computed {
					b.SetType(y, c.kind)
				}
				b.Output(b.Op("unknown", schema.BuiltinOperatorBUCKETIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, append([]int32{b.Input("x", 1, 4)}, computed...)...))
				m := b.Model()
				if _, err := ir.Specialize(m, nil); err != nil {
					t.Fatal(err)
				}
				if c.want == nil {
					if got := operators(m); got[0] != op.String() {
						t.Errorf("was computed: %v", got)
					}
					return
				}
				if diff := cmp.Diff([]string{"BUCKETIZE"}, operators(m)); diff != "" {
					t.Fatal(diff)
				}
				for i, want := range c.want {
					if diff := cmp.Diff(want, read(m, m.Subgraph().Tensors[m.Subgraph().Operators[0].Inputs[1+i]])); diff != "" {
						t.Errorf("output %d: %s", i, diff)
					}
				}
			})
		}
	}
}
