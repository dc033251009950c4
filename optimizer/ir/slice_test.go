package ir_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// numpy gives the positions that Python's slice takes of a dimension; none stands for an absent bound.
func numpy(size, begin, end, stride int, noBegin, noEnd bool) []int {
	lo, hi := 0, size
	if stride < 0 {
		lo, hi = -1, size-1
	}
	bound := func(v int) int {
		if v < 0 {
			v += size
		}
		return min(max(v, lo), hi)
	}
	from, to := bound(begin), bound(end)
	if noBegin {
		from = lo
		if stride < 0 {
			from = hi
		}
	}
	if noEnd {
		to = hi
		if stride < 0 {
			to = lo
		}
	}
	taken := []int{}
	for i := from; stride > 0 && i < to || stride < 0 && i > to; i += stride {
		taken = append(taken, i)
	}
	return taken
}

func TestStridedSlicesAreNumpys(t *testing.T) {
	const size = 5
	for begin := -7; begin <= 7; begin++ {
		for end := -7; end <= 7; end++ {
			for _, stride := range []int{-3, -2, -1, 1, 2, 3} {
				for mask := range int32(4) {
					want := numpy(size, begin, end, stride, mask&1 != 0, mask&2 != 0)
					if len(want) == 0 {
						continue
					}
					b := tflitetest.New()
					x := b.Input("x", 1, size)
					options := &schema.StridedSliceOptionsT{BeginMask: 1 | mask&1<<1, EndMask: 1 | mask&2}
					b.Output(b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, options, []int32{1, int32(len(want))},
						x, b.Ints("begin", 0, int32(begin)), b.Ints("end", 0, int32(end)), b.Ints("strides", 1, int32(stride))))
					g, err := ir.Parse(b.Model(), 0)
					if err != nil {
						t.Fatal(err)
					}
					attr := g.Nodes[0].Attr.(ir.StridedSlice)
					got := []int{}
					for i := range attr.Count[1] {
						got = append(got, attr.Begin[1]+i*attr.Stride[1])
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("[%d:%d:%d], masks %d: %s", begin, end, stride, mask, diff)
					}
				}
			}
		}
	}
}

func TestStridedSliceMasks(t *testing.T) {
	for name, test := range map[string]struct {
		options             schema.StridedSliceOptionsT
		begin, end, strides []int32
		want                []int // of [2, 3, 4, 5]
		shrink              []bool
	}{
		"an ellipsis takes the dimensions between": {
			schema.StridedSliceOptionsT{EllipsisMask: 2}, []int32{0, 0, 1}, []int32{1, 0, 3}, []int32{1, 1, 1}, []int{1, 3, 4, 2}, []bool{false, false, false, false},
		},
		"an ellipsis may take none": {
			schema.StridedSliceOptionsT{EllipsisMask: 16}, []int32{0, 0, 0, 1, 0}, []int32{2, 3, 4, 3, 0}, []int32{1, 1, 1, 1, 1}, []int{2, 3, 4, 2}, []bool{false, false, false, false},
		},
		"a shrunk dimension is gone": {
			schema.StridedSliceOptionsT{ShrinkAxisMask: 2}, []int32{0, -1}, []int32{2, 0}, []int32{1, 1}, []int{2, 4, 5}, []bool{false, true, false, false},
		},
		"a new axis has one element": {
			schema.StridedSliceOptionsT{NewAxisMask: 1}, []int32{0, 0}, []int32{0, 1}, []int32{1, 1}, []int{1, 1, 3, 4, 5}, []bool{false, false, false, false},
		},
		"dimensions not listed stay whole": {
			schema.StridedSliceOptionsT{}, []int32{1}, []int32{2}, []int32{1}, []int{1, 3, 4, 5}, []bool{false, false, false, false},
		},
		"an end relative to begin": {
			schema.StridedSliceOptionsT{Offset: true}, []int32{0, 1}, []int32{2, 2}, []int32{1, 1}, []int{2, 2, 4, 5}, []bool{false, false, false, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 2, 3, 4, 5)
			shape := make([]int32, len(test.want))
			for i, d := range test.want {
				shape[i] = int32(d)
			}
			b.Output(b.Op("y", schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &test.options, shape,
				x, b.Ints("begin", test.begin...), b.Ints("end", test.end...), b.Ints("strides", test.strides...)))
			g, err := ir.Parse(b.Model(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, g.Tensors[g.Outputs[0]].Shape); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.shrink, g.Nodes[0].Attr.(ir.StridedSlice).Shrink); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBroadcastsMergeDimensionsThatAdvanceAlike(t *testing.T) {
	for _, test := range []struct {
		a, b []int32
		want ir.Broadcast
	}{
		{[]int32{2, 3, 4}, []int32{2, 3, 4}, ir.Broadcast{Shape: []int{24}, A: []int{1}, B: []int{1}}},
		{[]int32{2, 3, 4}, []int32{4}, ir.Broadcast{Shape: []int{6, 4}, A: []int{4, 1}, B: []int{0, 1}}},
		{[]int32{2, 3, 4}, []int32{1}, ir.Broadcast{Shape: []int{24}, A: []int{1}, B: []int{0}}},
		{[]int32{2, 3, 4}, []int32{2, 1, 4}, ir.Broadcast{Shape: []int{2, 3, 4}, A: []int{12, 4, 1}, B: []int{4, 0, 1}}},
		{[]int32{2, 3, 4}, []int32{2, 1, 1}, ir.Broadcast{Shape: []int{2, 12}, A: []int{12, 1}, B: []int{1, 0}}},
		{[]int32{3, 1}, []int32{1, 4}, ir.Broadcast{Shape: []int{3, 4}, A: []int{1, 0}, B: []int{0, 1}}},
		{[]int32{1, 1}, []int32{1}, ir.Broadcast{Shape: []int{}, A: []int{}, B: []int{}}},
	} {
		t.Run(fmt.Sprint(test.a, test.b), func(t *testing.T) {
			b := tflitetest.New()
			x, y := b.Input("x", test.a...), b.Input("y", test.b...)
			b.Output(b.Op("z", schema.BuiltinOperatorADD, schema.BuiltinOptionsNONE, nil, test.a, x, y))
			g, err := ir.Parse(b.Model(), 0)
			if err != nil {
				t.Fatal(err)
			}
			got := g.Nodes[0].Attr.(ir.Binary).Broadcast
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			same := len(test.want.Shape) == 0 || len(test.want.Shape) == 1 && test.want.B[0] == 1
			if got.Same() != same {
				t.Errorf("Same is %v", got.Same())
			}
		})
	}
}
