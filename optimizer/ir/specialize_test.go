package ir_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// open gives a tensor a shape signature.
func open(b *builder, t int32, signature ...int32) int32 {
	b.Tensor(t).ShapeSignature = signature
	return t
}

func shapeOf(b *builder, x int32) int32 {
	s := b.Op("shape", schema.BuiltinOperatorSHAPE, schema.BuiltinOptionsNONE, nil, []int32{int32(len(b.Shape(x)))}, x)
	asInts(b, s)
	return s
}

// kerasReshape reshapes as Keras does with the batch open: to [batch, …], packed from the input's shape.
func kerasReshape(b *builder, x int32, rest ...int32) int32 {
	batch := stridedSliceOf(b, shapeOf(b, x), 0, 1, 1, []int32{})
	inputs := []int32{batch}
	shape := []int32{1}
	for _, d := range rest {
		c := b.Ints("dimension", d)
		b.Tensor(c).Shape = []int32{}
		inputs, shape = append(inputs, c), append(shape, d)
	}
	target := b.Op("pack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: int32(len(inputs))}, []int32{int32(len(inputs))}, inputs...)
	asInts(b, batch, target)
	return b.Op("reshape", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsNONE, nil, shape, x, target)
}

func operators(m *tflite.Model) []string {
	var names []string
	for _, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		names = append(names, code.String())
	}
	return names
}

func TestSpecializeFoldsComputedShapesAndKeepsTheBatchOpen(t *testing.T) {
	b := tflitetest.New()
	y := kerasReshape(b, open(b, b.Input("x", 1, 12), -1, 12), 3, 4)
	b.Output(open(b, y, -1, 3, 4))
	m := b.Model()
	notes, err := ir.Specialize(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"3 operators on shapes and constants computed once"}, notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"RESHAPE"}, operators(m)); diff != "" {
		t.Error(diff)
	}
	sub := m.Subgraph()
	target, err := m.Int32s(sub.Tensors[sub.Operators[0].Inputs[1]])
	if diff := cmp.Diff([]int32{-1, 3, 4}, target); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if diff := cmp.Diff([]int32{-1, 3, 4}, sub.Tensors[sub.Outputs[0]].ShapeSignature); diff != "" {
		t.Error(diff)
	}
	g, err := ir.Parse(m, 5)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{5, 3, 4}, g.Tensors[g.Outputs[0]].Shape); diff != "" {
		t.Error(diff)
	}
}

func TestSpecializeSaysWhatItFixes(t *testing.T) {
	b := tflitetest.New()
	x := open(b, b.Input("x", 1, 6), -1, 6)
	batch := stridedSliceOf(b, shapeOf(b, x), 0, 1, 1, []int32{})
	f := b.Op("cast", schema.BuiltinOperatorCAST, schema.BuiltinOptionsNONE, nil, []int32{}, batch)
	asInts(b, batch)
	b.Output(b.Op("scaled", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, []int32{1, 6}, x, f))
	m := b.Model()
	notes, err := ir.Specialize(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "the batch, open in the file, is fixed at 1 in what is written"; len(notes) != 2 || notes[1] != want {
		t.Errorf("notes %q do not say %q", notes, want)
	}
	if s := m.Subgraph().Tensors[m.Subgraph().Inputs[0]].ShapeSignature; s != nil {
		t.Errorf("the input's signature is %v, want none", s)
	}
}

func TestSpecializeTakesOpenSizesFromTheSamples(t *testing.T) {
	build := func() *tflite.Model {
		b := tflitetest.New()
		x := open(b, b.Input("image", 1, 1, 1, 3), -1, -1, -1, 3)
		b.Output(b.Conv("conv", x, make([]float32, 3*3*3*2), nil, 2, 3, 3, 1, schema.PaddingSAME, tflitetest.None))
		return b.Model()
	}
	m := build()
	if _, err := ir.Specialize(m, [][]int{{20, 30, 3}}); err != nil {
		t.Fatal(err)
	}
	out := m.Subgraph().Tensors[m.Subgraph().Outputs[0]]
	if diff := cmp.Diff([]int32{1, 20, 30, 2}, out.Shape); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int32{-1, -1, -1, 2}, out.ShapeSignature); diff != "" {
		t.Error("a size that nothing depends on stays open:", diff)
	}
	for name, samples := range map[string][][]int{
		"no samples":       nil,
		"another rank":     {{20}},
		"another channels": {{20, 30, 1}},
	} {
		_, err := ir.Specialize(build(), samples)
		var e *ir.OpenError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), `the input's size is open: "image" is [? ? ? 3]`) || strings.Contains(err.Error(), "resize") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSpecializeLeavesAModelWithoutOpenShapesAlone(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("dense", b.Input("x", 1, 4), make([]float32, 8), nil, 2, tflitetest.None))
	m := b.Model()
	before, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	notes, err := ir.Specialize(m, [][]int{{4}})
	if err != nil || notes != nil {
		t.Fatal(notes, err)
	}
	after, err := m.Marshal()
	if err != nil || string(after) != string(before) {
		t.Errorf("the file changed (%v)", err)
	}
}

// number adds a constant of one int32.
func number(b *builder, v int32) int32 {
	t := b.Ints("number", v)
	b.Tensor(t).Shape = []int32{}
	return t
}

func TestSpecializeLeavesEmptyPartsOfSplitsOut(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int32
		read  bool // the last part
		want  []int32
	}{
		"open, unread":    {sizes: []int32{1, 2, -1}, want: []int32{1, 2}},
		"nothing, unread": {sizes: []int32{1, 2, 0}, want: []int32{1, 2}},
		"nothing, read":   {sizes: []int32{1, 2, 0}, read: true, want: []int32{1, 2, 0}},
		"not empty":       {sizes: []int32{1, 1, -1}, want: []int32{1, 1, -1}},
	} {
		b := tflitetest.New()
		last := int32(0)
		if c.sizes[0]+c.sizes[1] == 2 {
			last = 1
		}
		parts := b.Ops("y", schema.BuiltinOperatorSPLIT_V, schema.BuiltinOptionsSplitVOptions, &schema.SplitVOptionsT{NumSplits: 3},
			[][]int32{{1, 1}, {1, c.sizes[1]}, {1, last}}, b.Input("x", 1, 3), b.Ints("sizes", c.sizes...), b.Ints("axis", 1))
		b.Output(parts[0])
		b.Output(parts[1])
		if c.read {
			b.Output(b.Unary("read", schema.BuiltinOperatorRELU, parts[2]))
		}
		m := b.Model()
		if _, err := ir.Specialize(m, nil); err != nil {
			t.Fatal(name, err)
		}
		g, err := ir.Parse(m, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		split := &g.Nodes[0]
		if got := g.Input(split, 1).Ints(); len(split.Outputs) != len(c.want) || !slices.EqualFunc(got, c.want, func(a int, b int32) bool { return a == int(b) }) {
			t.Errorf("%s: %d parts of sizes %v, want %v", name, len(split.Outputs), got, c.want)
		}
	}
}

func TestSpecializeComputesArithmeticOnShapes(t *testing.T) {
	plain := func(op schema.BuiltinOperator, shape []int32, inputs func(b *builder) []int32) func(b *builder) int32 {
		return func(b *builder) int32 {
			return b.Op("op", op, schema.BuiltinOptionsNONE, nil, shape, inputs(b)...)
		}
	}
	two := func(a, c []int32) func(b *builder) []int32 {
		return func(b *builder) []int32 { return []int32{b.Ints("a", a...), b.Ints("c", c...)} }
	}
	for name, test := range map[string]struct {
		build func(b *builder) int32
		want  []int32
	}{
		"FLOOR_DIV":      {plain(schema.BuiltinOperatorFLOOR_DIV, []int32{2}, two([]int32{7, -7}, []int32{2, 2})), []int32{3, -4}},
		"DIV":            {plain(schema.BuiltinOperatorDIV, []int32{2}, two([]int32{7, -7}, []int32{2, 2})), []int32{3, -3}},
		"FLOOR_MOD":      {plain(schema.BuiltinOperatorFLOOR_MOD, []int32{2}, two([]int32{7, -7}, []int32{3, 3})), []int32{1, 2}},
		"MAXIMUM":        {plain(schema.BuiltinOperatorMAXIMUM, []int32{2}, two([]int32{7, -7}, []int32{0, 0})), []int32{7, 0}},
		"BROADCAST_ARGS": {plain(schema.BuiltinOperatorBROADCAST_ARGS, []int32{3}, two([]int32{5, 1, 4}, []int32{3, 1})), []int32{5, 3, 4}},
		"RANGE": {plain(schema.BuiltinOperatorRANGE, []int32{3}, func(b *builder) []int32 {
			return []int32{number(b, 1), number(b, 8), number(b, 3)}
		}), []int32{1, 4, 7}},
		"FILL": {plain(schema.BuiltinOperatorFILL, []int32{3}, func(b *builder) []int32 {
			return []int32{b.Ints("shape", 3), number(b, 9)}
		}), []int32{9, 9, 9}},
		"CONCATENATION": {func(b *builder) int32 {
			return b.Op("op", schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{}, []int32{3}, b.Ints("a", 1, 2), b.Ints("c", 3))
		}, []int32{1, 2, 3}},
		"GATHER": {func(b *builder) int32 {
			return b.Op("op", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, []int32{2}, b.Ints("a", 5, 6, 7), b.Ints("i", 2, 0))
		}, []int32{7, 5}},
		"REDUCE_PROD": {func(b *builder) int32 {
			return b.Op("op", schema.BuiltinOperatorREDUCE_PROD, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, []int32{1}, b.Ints("a", 5, 6, 7), b.Ints("axes", 0))
		}, []int32{210}},
		"STRIDED_SLICE": {func(b *builder) int32 {
			return stridedSliceOf(b, b.Ints("a", 5, 6, 7), 1, 3, 0, []int32{2})
		}, []int32{6, 7}},
		"TRANSPOSE": {plain(schema.BuiltinOperatorTRANSPOSE, []int32{1, 2}, func(b *builder) []int32 {
			a := b.Ints("a", 5, 6)
			b.Tensor(a).Shape = []int32{2, 1}
			return []int32{a, b.Ints("perm", 1, 0)}
		}), []int32{5, 6}},
		"SELECT_V2 of EQUAL": {func(b *builder) int32 {
			same := b.Op("equal", schema.BuiltinOperatorEQUAL, schema.BuiltinOptionsNONE, nil, []int32{2}, two([]int32{1, 4}, []int32{1, 5})(b)...)
			b.Tensor(same).Type = schema.TensorTypeBOOL
			return b.Op("op", schema.BuiltinOperatorSELECT_V2, schema.BuiltinOptionsNONE, nil, []int32{2}, same, b.Ints("a", 10, 20), b.Ints("c", 30, 40))
		}, []int32{10, 40}},
		"UNSORTED_SEGMENT_PROD": {func(b *builder) int32 {
			return b.Op("y", schema.BuiltinOperatorUNSORTED_SEGMENT_PROD, schema.BuiltinOptionsNONE, nil, []int32{3}, b.Ints("shape", 1, 16, 2, 8), b.Ints("ids", 0, 1, 2, 2), b.Scalar(b.Ints("number", 3)))
		}, []int32{1, 16, 16}},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			computed := test.build(b)
			asInts(b, computed)
			x := b.Input("x", 1, 4)
			b.Tensor(x).Type = schema.TensorTypeINT32
			y := b.Op("unknown", schema.BuiltinOperatorBUCKETIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, x, computed)
			b.Output(y)
			m := b.Model()
			if _, err := ir.Specialize(m, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"BUCKETIZE"}, operators(m)); diff != "" {
				t.Fatal(diff)
			}
			got, err := m.Int32s(m.Subgraph().Tensors[m.Subgraph().Operators[0].Inputs[1]])
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestSpecializeUnfoldsDilatedConvolutions(t *testing.T) {
	type amounts [2]int32
	for name, test := range map[string]struct {
		length       int32
		block        int32
		pads, crops  amounts
		inner        schema.Padding
		want         []string
		padding      schema.Padding
		output       int
		wantPaddings []int32
	}{
		"VALID":                   {16, 4, amounts{0, 0}, amounts{0, 0}, schema.PaddingVALID, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE"}, schema.PaddingVALID, 8, nil},
		"VALID, padded to blocks": {15, 4, amounts{0, 1}, amounts{0, 1}, schema.PaddingVALID, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE"}, schema.PaddingVALID, 7, nil},
		"SAME":                    {16, 4, amounts{4, 4}, amounts{0, 0}, schema.PaddingVALID, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE"}, schema.PaddingSAME, 16, nil},
		"SAME, padded to blocks":  {15, 4, amounts{4, 5}, amounts{0, 1}, schema.PaddingVALID, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE"}, schema.PaddingSAME, 15, nil},
		"SAME within":             {16, 4, amounts{0, 0}, amounts{0, 0}, schema.PaddingSAME, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE"}, schema.PaddingSAME, 16, nil},
		"causal":                  {16, 4, amounts{8, 0}, amounts{0, 0}, schema.PaddingVALID, []string{"EXPAND_DIMS", "PAD", "CONV_2D", "RESHAPE"}, schema.PaddingVALID, 16, []int32{0, 0, 0, 0, 8, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			const channels, out, kernel = 2, 3, 3
			b := tflitetest.New()
			x := open(b, b.Input("x", 1, test.length, channels), -1, test.length, channels)
			pairs := func(a amounts) int32 {
				p := b.Ints("amounts", a[0], a[1])
				b.Tensor(p).Shape = []int32{1, 2}
				return p
			}
			steps := (test.length + test.pads[0] + test.pads[1]) / test.block
			after := steps - kernel + 1
			if test.inner == schema.PaddingSAME {
				after = steps
			}
			s := b.Op("s2b", schema.BuiltinOperatorSPACE_TO_BATCH_ND, schema.BuiltinOptionsNONE, nil, []int32{test.block, steps, channels}, x, b.Ints("block", test.block), pairs(test.pads))
			s = b.Op("expand", schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOptionsNONE, nil, []int32{test.block, 1, steps, channels}, s, number(b, 1))
			s = b.Conv("conv", s, make([]float32, out*kernel*channels), nil, out, 1, kernel, 1, test.inner, tflitetest.ReLU)
			s = reshapeTo(b, s, []int32{test.block, after, out}, test.block, after, out)
			s = b.Op("b2s", schema.BuiltinOperatorBATCH_TO_SPACE_ND, schema.BuiltinOptionsNONE, nil, []int32{1, int32(test.output), out}, s, b.Ints("block", test.block), pairs(test.crops))
			b.Output(s)
			m := b.Model()
			if _, err := ir.Specialize(m, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, operators(m)); diff != "" {
				t.Fatal(diff)
			}
			sub := m.Subgraph()
			for _, o := range sub.Operators {
				var value any
				if o.BuiltinOptions != nil {
					value = o.BuiltinOptions.Value
				}
				switch options := value.(type) {
				case *schema.Conv2DOptionsT:
					if options.Padding != test.padding || options.DilationWFactor != test.block || options.DilationHFactor != 1 {
						t.Errorf("options %+v, want padding %s and dilation %d", options, test.padding, test.block)
					}
				case *schema.PadOptionsT:
					got, _ := m.Int32s(sub.Tensors[o.Inputs[1]])
					if diff := cmp.Diff(test.wantPaddings, got); diff != "" {
						t.Error(diff)
					}
				}
			}
			for _, batch := range []int{1, 3} {
				g, err := ir.Parse(m, batch)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]int{batch, test.output, out}, g.Tensors[g.Outputs[0]].Shape); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// dilatedBranch adds EXPAND_DIMS → CONV_2D → RESHAPE to blocks of steps and returns their result, before it is one sample again.
func dilatedBranch(b *builder, expanded int32, block, steps, kernel, channels, out int32, padding schema.Padding) int32 {
	y := b.Conv("conv", expanded, make([]float32, out*kernel*channels), nil, out, 1, kernel, 1, padding, tflitetest.None)
	after := b.Shape(y)[2]
	return reshapeTo(b, y, []int32{block, after, out}, block, after, out)
}

func pairsOf(b *builder, before, after int32) int32 {
	p := b.Ints("amounts", before, after)
	b.Tensor(p).Shape = []int32{1, 2}
	return p
}

func TestSpecializeUnfoldsConvolutionsThatShareTheirBlocks(t *testing.T) {
	const block, channels, out = 4, 2, 3
	plain := func(b *builder, op schema.BuiltinOperator, shape []int32, inputs ...int32) int32 {
		return b.Op(op.String(), op, schema.BuiltinOptionsNONE, nil, shape, inputs...)
	}
	multiply := func(b *builder, x, y int32) int32 {
		return b.Op("mul", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), x, y)
	}
	undo := func(b *builder, x, length, before, after int32) int32 {
		return plain(b, schema.BuiltinOperatorBATCH_TO_SPACE_ND, []int32{1, length, out}, x, b.Ints("block", block), pairsOf(b, before, after))
	}
	for name, test := range map[string]struct {
		length, before, after int32
		build                 func(b *builder, expanded int32) int32
		want                  []string // none: the blocks stay
	}{
		"each branch undone": {16, 8, 0, func(b *builder, x int32) int32 {
			f := plain(b, schema.BuiltinOperatorTANH, []int32{1, 16, out}, undo(b, dilatedBranch(b, x, block, 6, 3, channels, out, schema.PaddingVALID), 16, 0, 0))
			g := plain(b, schema.BuiltinOperatorLOGISTIC, []int32{1, 16, out}, undo(b, dilatedBranch(b, x, block, 6, 3, channels, out, schema.PaddingVALID), 16, 0, 0))
			return multiply(b, f, g)
		}, []string{"EXPAND_DIMS", "PAD", "CONV_2D", "RESHAPE", "TANH", "CONV_2D", "RESHAPE", "LOGISTIC", "MUL"}},
		"joined, then undone": {16, 0, 0, func(b *builder, x int32) int32 {
			f := dilatedBranch(b, x, block, 4, 3, channels, out, schema.PaddingSAME)
			g := dilatedBranch(b, x, block, 4, 3, channels, out, schema.PaddingSAME)
			return undo(b, multiply(b, f, g), 16, 0, 0)
		}, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE", "CONV_2D", "RESHAPE", "MUL"}},
		"kernels of two sizes, padded to blocks": {15, 0, 1, func(b *builder, x int32) int32 {
			undo(b, dilatedBranch(b, x, block, 4, 2, channels, out, schema.PaddingVALID), 11, 0, 1)
			return undo(b, dilatedBranch(b, x, block, 4, 3, channels, out, schema.PaddingVALID), 7, 0, 1)
		}, []string{"EXPAND_DIMS", "CONV_2D", "RESHAPE", "CONV_2D", "RESHAPE"}},
		"of single pixels after another": {16, 4, 4, func(b *builder, x int32) int32 {
			y := b.Conv("first", x, make([]float32, out*3*channels), nil, out, 1, 3, 1, schema.PaddingVALID, tflitetest.ReLU)
			return undo(b, dilatedBranch(b, y, block, 4, 1, out, out, schema.PaddingVALID), 16, 0, 0)
		}, []string{"EXPAND_DIMS", "CONV_2D", "CONV_2D", "RESHAPE"}},
		"something before the convolution that moves zeros": {16, 4, 4, func(b *builder, x int32) int32 {
			return undo(b, dilatedBranch(b, plain(b, schema.BuiltinOperatorCOS, b.Shape(x), x), block, 6, 3, channels, out, schema.PaddingVALID), 16, 0, 0)
		}, nil},
		"branches that overlap otherwise": {16, 0, 0, func(b *builder, x int32) int32 {
			f := dilatedBranch(b, x, block, 4, 3, channels, out, schema.PaddingVALID)
			return undo(b, plain(b, schema.BuiltinOperatorCUMSUM, b.Shape(f), f, number(b, 1)), 8, 0, 0)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			steps := (test.length + test.before + test.after) / block
			x := plain(b, schema.BuiltinOperatorSPACE_TO_BATCH_ND, []int32{block, steps, channels}, b.Input("x", 1, test.length, channels), b.Ints("block", block), pairsOf(b, test.before, test.after))
			x = plain(b, schema.BuiltinOperatorEXPAND_DIMS, []int32{block, 1, steps, channels}, x, number(b, 1))
			y := test.build(b, x)
			for i := range b.Model().Subgraph().Tensors { // every result that nothing reads is an output
				if last(b, int32(i)) {
					b.Output(int32(i))
				}
			}
			want := b.Shape(y)
			m := b.Model()
			if _, err := ir.Specialize(m, nil); err != nil {
				t.Fatal(err)
			}
			got := operators(m)
			if test.want == nil {
				if got[0] != "SPACE_TO_BATCH_ND" {
					t.Errorf("became %v, though that is something else", got)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			g, err := ir.Parse(m, 3)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int{3, int(want[1]), out}, g.Tensors[g.Outputs[len(g.Outputs)-1]].Shape); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// last reports whether an operator makes a tensor and none reads it.
func last(b *builder, tensor int32) bool {
	made := false
	for _, o := range b.Model().Subgraph().Operators {
		made = made || slices.Contains(o.Outputs, tensor)
		if slices.Contains(o.Inputs, tensor) {
			return false
		}
	}
	return made
}
