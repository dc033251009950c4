package ir_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// What only Specialize infers: operators of the arithmetic on shapes, and blocks of samples.
func TestSpecializeInfersWhatDoesNotRun(t *testing.T) {
	const toBlocks, toSpace = schema.BuiltinOperatorSPACE_TO_BATCH_ND, schema.BuiltinOperatorBATCH_TO_SPACE_ND
	const sum = schema.BuiltinOperatorUNSORTED_SEGMENT_SUM
	for name, c := range map[string]struct {
		op      schema.BuiltinOperator
		inputs  []operand
		want    []int32
		refused string
	}{
		"an image in blocks":                {op: toBlocks, inputs: list(x(1, 6, 8, 2), n(3, 2), grid(2, 2, 0, 0, 1, 1)), want: []int32{6, 2, 5, 2}},
		"rows in blocks":                    {op: toBlocks, inputs: list(x(2, 5, 3), n(3), grid(1, 2, 1, 0)), want: []int32{6, 2, 3}},
		"no blocks":                         {op: toBlocks, inputs: list(x(2, 5, 3), n(1), grid(1, 2, 0, 0)), want: []int32{2, 5, 3}},
		"a block that does not divide":      {op: toBlocks, inputs: list(x(2, 5, 3), n(3), grid(1, 2, 0, 0)), refused: "blocks of 3 do not divide the 5 elements of dimension 1"},
		"as many blocks as dimensions":      {op: toBlocks, inputs: list(x(2, 6), n(1, 1), grid(2, 2, 0, 0, 0, 0)), refused: "block [1 1] and paddings [0 0 0 0] do not fit [2 6]"},
		"a block of nothing":                {op: toBlocks, inputs: list(x(2, 6), n(0), grid(1, 2, 0, 0)), refused: "block [0] and paddings [0 0] do not fit [2 6]"},
		"less than no padding":              {op: toBlocks, inputs: list(x(2, 6), n(2), grid(1, 2, 0, -2)), refused: "block [2] and paddings [0 -2] do not fit [2 6]"},
		"too few paddings":                  {op: toBlocks, inputs: list(x(2, 6, 2), n(2, 1), grid(1, 2, 0, 0)), refused: "block [2 1] and paddings [0 0] do not fit [2 6 2]"},
		"blocks back to an image":           {op: toSpace, inputs: list(x(6, 2, 5, 2), n(3, 2), grid(2, 2, 0, 0, 1, 1)), want: []int32{1, 6, 8, 2}},
		"blocks cropped to nothing":         {op: toSpace, inputs: list(x(3, 2, 5), n(3), grid(1, 2, 3, 3)), want: []int32{1, 0, 5}},
		"blocks cropped to less":            {op: toSpace, inputs: list(x(3, 2, 5), n(3), grid(1, 2, 3, 4)), refused: "block [3] and crops [3 4] do not fit [3 2 5]"},
		"samples that blocks do not divide": {op: toSpace, inputs: list(x(4, 2, 5), n(3), grid(1, 2, 0, 0)), refused: "block [3] and crops [0 0] do not fit [4 2 5]"},
		"a number filled in":                {op: schema.BuiltinOperatorFILL, inputs: list(n(2, 3), shaped(w(1))), want: []int32{2, 3}},
		"two numbers filled in":             {op: schema.BuiltinOperatorFILL, inputs: list(n(2, 3), w(2)), refused: `value tensor 3 "w" is not one number`},
		"a number filled into less":         {op: schema.BuiltinOperatorFILL, inputs: list(n(2, -3), shaped(w(1))), refused: "shape: shape [2 -3] has a negative dimension"},
		"shapes of two lengths":             {op: schema.BuiltinOperatorBROADCAST_ARGS, inputs: list(n(2, 1, 3), n(3)), want: []int32{3}},
		"a shape alone":                     {op: schema.BuiltinOperatorBROADCAST_ARGS, inputs: list(n(2, 1, 3)), refused: "input 1 is missing"},
		"a range that does not divide":      {op: schema.BuiltinOperatorRANGE, inputs: list(one(0), one(7), one(2)), want: []int32{4}},
		"a range the other way":             {op: schema.BuiltinOperatorRANGE, inputs: list(one(7), one(0), one(2)), want: []int32{0}},
		"a range that stands still":         {op: schema.BuiltinOperatorRANGE, inputs: list(one(0), one(7), one(0)), refused: "from 0 to 7 in steps of 0"},
		"a range of vectors":                {op: schema.BuiltinOperatorRANGE, inputs: list(n(0, 0), one(7), one(1)), refused: `input 0, tensor 2 "n", is not a constant number`},
		"segments":                          {op: sum, inputs: list(n(1, 2, 4), n(0, 1, 0), one(2)), want: []int32{2}},
		"no segments":                       {op: sum, inputs: list(n(1, 2, 4), n(-1, -1, -1), one(0)), want: []int32{0}},
		"segments of rows":                  {op: sum, inputs: list(grid(2, 2, 1, 2, 3, 4), n(0, 1), one(2)), refused: "[2] segments of [2 2] by [2]: only one number by one id is supported"},
		"segments of another number of ids": {op: sum, inputs: list(n(1, 2, 4), n(0, 1), one(2)), refused: "[2] segments of [3] by [2]: only one number by one id is supported"},
		"less than no segments":             {op: sum, inputs: list(n(1, 2, 4), n(0, 1, 0), one(-1)), refused: "[-1] segments of [3] by [3]: only one number by one id is supported"},
		"two numbers of segments":           {op: sum, inputs: list(n(1, 2, 4), n(0, 1, 0), n(2, 2)), refused: "[2 2] segments of [3] by [3]: only one number by one id is supported"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			z := open(b, b.Input("z", 2, 4), -1, 4) // which is decided, so that every shape is written anew
			b.Output(shapeOf(b, z))
			var inputs []int32
			for _, o := range c.inputs {
				inputs = append(inputs, o(b))
			}
			y := b.Op("y", c.op, schema.BuiltinOptionsNONE, nil, []int32{9}, inputs...)
			b.SetType(y, b.Tensor(inputs[0]).Type)
			b.Output(b.Op("unknown", schema.BuiltinOperatorBUCKETIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, z, y))
			m := b.Model()
			_, err := ir.Specialize(m, nil)
			if c.want == nil {
				var typed *ir.Error
				if !errors.As(err, &typed) || typed.Reason != c.refused {
					t.Errorf("got  %v\nwant %s", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := m.Subgraph().Tensors[m.Subgraph().Operators[len(m.Subgraph().Operators)-1].Inputs[1]].Shape
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
