package integer_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// counting returns 0, 1, 2, … as codes.
func counting(n int) []byte {
	x := make([]byte, n)
	for i := range x {
		x[i] = byte(i)
	}
	return x
}

func TestMovesPutEveryElementInItsPlace(t *testing.T) {
	q := affine{1, 0}
	for name, test := range map[string]struct {
		shape []int32
		build func(b *builder, x int32) int32
		want  []byte
	}{
		"transpose": {[]int32{1, 2, 3}, func(b *builder, x int32) int32 {
			return b.plain(schema.BuiltinOperatorTRANSPOSE, q, []int32{1, 3, 2}, x, b.Ints("perm", 0, 2, 1))
		}, []byte{0, 3, 1, 4, 2, 5}},
		"reverse": {[]int32{1, 2, 3}, func(b *builder, x int32) int32 {
			return b.plain(schema.BuiltinOperatorREVERSE_V2, q, []int32{1, 2, 3}, x, b.Ints("axes", -1))
		}, []byte{2, 1, 0, 5, 4, 3}},
		"strided slice backwards": {[]int32{1, 5}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{BeginMask: 3, EndMask: 3}, q,
				[]int32{1, 3}, x, b.Ints("begin", 0, 0), b.Ints("end", 0, 0), b.Ints("strides", 1, -2))
		}, []byte{4, 2, 0}},
		"slice": {[]int32{1, 3, 3}, func(b *builder, x int32) int32 {
			return b.plain(schema.BuiltinOperatorSLICE, q, []int32{1, 2, 2}, x, b.Ints("begin", 0, 1, 1), b.Ints("size", -1, 2, 2))
		}, []byte{4, 5, 7, 8}},
		"concatenation": {[]int32{1, 2, 2}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: 1}, q, []int32{1, 4, 2}, x, x)
		}, []byte{0, 1, 2, 3, 0, 1, 2, 3}},
		"concatenation of the last axis": {[]int32{1, 2, 2}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: -1}, q, []int32{1, 2, 4}, x, x)
		}, []byte{0, 1, 0, 1, 2, 3, 2, 3}},
		"pack": {[]int32{1, 2, 2}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{Axis: 2, ValuesCount: 2}, q, []int32{1, 2, 2, 2}, x, x)
		}, []byte{0, 1, 0, 1, 2, 3, 2, 3}},
		"padding": {[]int32{1, 2, 2}, func(b *builder, x int32) int32 {
			return b.plain(schema.BuiltinOperatorPAD, affine{1, 9}, []int32{1, 3, 4}, x, b.Ints("pads", 0, 0, 1, 0, 1, 1))
		}, []byte{9, 9, 9, 9, 9, 0, 1, 9, 9, 2, 3, 9}},
		"padding with a value": {[]int32{1, 3}, func(b *builder, x int32) int32 {
			return b.plain(schema.BuiltinOperatorPADV2, q, []int32{1, 5}, x, b.Ints("pads", 0, 0, 2, 0), b.codes(q, 7, 7, 1))
		}, []byte{7, 7, 0, 1, 2}},
		"mirrored padding": {[]int32{1, 3}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeREFLECT}, q,
				[]int32{1, 7}, x, b.Ints("pads", 0, 0, 2, 2))
		}, []byte{2, 1, 0, 1, 2, 1, 0}},
		"symmetric padding": {[]int32{1, 3}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, &schema.MirrorPadOptionsT{Mode: schema.MirrorPadModeSYMMETRIC}, q,
				[]int32{1, 7}, x, b.Ints("pads", 0, 0, 2, 2))
		}, []byte{1, 0, 0, 1, 2, 2, 1}},
		"depth to space": {[]int32{1, 1, 2, 4}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorDEPTH_TO_SPACE, schema.BuiltinOptionsDepthToSpaceOptions, &schema.DepthToSpaceOptionsT{BlockSize: 2}, q, []int32{1, 2, 4, 1}, x)
		}, []byte{0, 1, 4, 5, 2, 3, 6, 7}},
		"space to depth": {[]int32{1, 2, 4, 1}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorSPACE_TO_DEPTH, schema.BuiltinOptionsSpaceToDepthOptions, &schema.SpaceToDepthOptionsT{BlockSize: 2}, q, []int32{1, 1, 2, 4}, x)
		}, []byte{0, 1, 4, 5, 2, 3, 6, 7}},
		"gather": {[]int32{1, 3, 2}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: 1}, q, []int32{1, 2, 2}, x, b.Ints("indices", 2, 0))
		}, []byte{4, 5, 0, 1}},
		"nearest neighbour": {[]int32{1, 2, 2, 1}, func(b *builder, x int32) int32 {
			return b.plain(schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR, q, []int32{1, 4, 2, 1}, x, b.Ints("size", 4, 2))
		}, []byte{0, 1, 0, 1, 2, 3, 2, 3}},
		"nearest neighbour with aligned corners": {[]int32{1, 1, 3, 1}, func(b *builder, x int32) int32 {
			return b.op(schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR, schema.BuiltinOptionsResizeNearestNeighborOptions, &schema.ResizeNearestNeighborOptionsT{AlignCorners: true}, q,
				[]int32{1, 1, 5, 1}, x, b.Ints("size", 1, 5))
		}, []byte{0, 1, 1, 2, 2}},
		"squeeze": {[]int32{1, 1, 3}, func(b *builder, x int32) int32 { return b.plain(schema.BuiltinOperatorSQUEEZE, q, []int32{3}, x) }, []byte{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder()
			m := b.model(test.build(b, b.input(q, test.shape...)))
			got := run(t, compile(t, m, 0), counting(elements(test.shape)))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplitsGiveEveryPart(t *testing.T) {
	q := affine{1, 0}
	b := newBuilder()
	x := b.input(q, 1, 4)
	axis := b.Ints("axis", 1)
	first := b.op(schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: 2}, q, []int32{1, 2}, axis, x)
	second := b.AddOutput(first, 1, 2)
	b.int8s(second, q)
	b.Output(second)
	e := compile(t, b.model(first), 0)
	run(t, e, counting(4))
	if diff := cmp.Diff([]byte{2, 3}, e.OutputBytes(0)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]byte{0, 1}, e.OutputBytes(1)); diff != "" {
		t.Error(diff)
	}
}

func TestArgMaxIsTheFirstOfTheLargest(t *testing.T) {
	b := newBuilder()
	y := b.Op("y", schema.BuiltinOperatorARG_MAX, schema.BuiltinOptionsNONE, nil, []int32{2}, b.input(wide, 2, 4), b.Ints("axis", -1))
	b.Tensor(y).Type = schema.TensorTypeINT32
	got := run(t, compile(t, b.model(y), 0), []byte{1, 5, 5, 0x80, 9, 0xff, 2, 3})
	if diff := cmp.Diff([]int32{1, 0}, ints32(got)); diff != "" {
		t.Error(diff)
	}
}

func TestCastsWrapIntegersAndSaturateFloats(t *testing.T) {
	b := newBuilder()
	x := b.input(affine{1, 0}, 1, 3)
	b.Tensor(x).Quantization = nil
	y := b.Op("y", schema.BuiltinOperatorCAST, schema.BuiltinOptionsNONE, nil, []int32{1, 3}, x)
	b.Tensor(y).Type = schema.TensorTypeINT32
	got := run(t, compile(t, b.model(y), 0), []byte{0xff, 0, 0x80})
	if diff := cmp.Diff([]int32{-1, 0, -128}, ints32(got)); diff != "" {
		t.Error(diff)
	}

	for _, c := range []struct {
		to   schema.TensorType
		want []byte
	}{
		{schema.TensorTypeINT8, []byte{0xff, 127, 0x80, 5, 127, 127}},
		{schema.TensorTypeUINT8, []byte{0, 255, 0, 5, 130, 255}},
		{schema.TensorTypeINT16, []byte{0xff, 0xff, 0xff, 0x7f, 0, 0x80, 5, 0, 130, 0, 0xff, 0x7f}},
		{schema.TensorTypeBOOL, []byte{1, 1, 1, 1, 1, 1}},
	} {
		b = newBuilder()
		y = b.Op("y", schema.BuiltinOperatorCAST, schema.BuiltinOptionsNONE, nil, []int32{1, 6}, b.Input("x", 1, 6))
		b.Tensor(y).Type = c.to
		e := compile(t, b.model(y), 0)
		if err := e.SetInput(0, []float32{-1.9, 1e9, -1e9, 5, 130, float32(math.NaN())}); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, e.OutputBytes(0)); diff != "" {
			t.Error(c.to, diff)
		}
	}
}

func ints32(data []byte) []int32 {
	out := make([]int32, len(data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}
