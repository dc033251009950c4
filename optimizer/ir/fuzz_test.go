package ir_test

import (
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// seeds are small models that together hold most operators.
func seeds() [][]byte {
	var out [][]byte
	add := func(build func(b *builder) int32) {
		b := tflitetest.New()
		b.Output(build(b))
		data, err := b.Model().Marshal()
		if err != nil {
			panic(err)
		}
		out = append(out, data)
	}
	floats := func(n int) []float32 { return make([]float32, n) }
	plain := func(b *builder, op schema.BuiltinOperator, shape []int32, inputs ...int32) int32 {
		return b.Op("y", op, schema.BuiltinOptionsNONE, nil, shape, inputs...)
	}
	add(func(b *builder) int32 {
		x := b.Conv("conv", b.Input("x", 1, 6, 6, 2), floats(3*3*3*2), floats(3), 3, 3, 3, 2, schema.PaddingSAME, tflitetest.ReLU6)
		x = b.Depthwise("depthwise", x, floats(3*3*3), nil, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
		x = b.Pool("pool", schema.BuiltinOperatorAVERAGE_POOL_2D, x, 3, 3, schema.PaddingVALID)
		return b.Softmax("softmax", b.Dense("dense", b.Flatten("flatten", x), floats(12), floats(4), 4, tflitetest.None))
	})
	add(func(b *builder) int32 {
		x := b.Input("x", 1, 4, 4, 4)
		y := b.Concat("concat", 3, x, b.Unary("relu", schema.BuiltinOperatorRELU, x))
		y = plain(b, schema.BuiltinOperatorTRANSPOSE, []int32{1, 8, 4, 4}, y, b.Ints("perm", 0, 3, 1, 2))
		return b.MeanHW("mean", b.Add("add", y, y, tflitetest.None))
	})
	add(func(b *builder) int32 {
		x := b.Input("x", 1, 4, 4, 4)
		y := stridedSliceOf(b, x, 0, 1, 0, []int32{1, 4, 4, 4})
		shape := plain(b, schema.BuiltinOperatorSHAPE, []int32{4}, y)
		first := stridedSliceOf(b, shape, 0, 1, 1, nil)
		rest := b.Ints("rest", 64)
		b.Tensor(rest).Shape = nil
		target := b.Op("pack", schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: 2}, []int32{2}, first, rest)
		asInts(b, shape, first, target)
		return plain(b, schema.BuiltinOperatorRESHAPE, []int32{1, 64}, y, target)
	})
	add(func(b *builder) int32 {
		x := b.Input("x", 1, 2, 3)
		y := b.Op("mm", schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, &schema.BatchMatMulOptionsT{AdjY: true}, []int32{1, 2, 2}, x, x)
		return b.Op("gather", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: 1}, []int32{1, 1, 2}, y, b.Ints("i", 1))
	})
	add(func(b *builder) int32 {
		x := b.Input("x", 1, 2, 2, 4)
		y := b.Op("d2s", schema.BuiltinOperatorDEPTH_TO_SPACE, schema.BuiltinOptionsDepthToSpaceOptions, &schema.DepthToSpaceOptionsT{BlockSize: 2}, []int32{1, 4, 4, 1}, x)
		y = plain(b, schema.BuiltinOperatorRESIZE_BILINEAR, []int32{1, 5, 5, 1}, y, b.Ints("size", 5, 5))
		w := b.Const("w", floats(9), 1, 3, 3, 1)
		options := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideH: 2, StrideW: 2}
		y = b.Op("t", schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, options, []int32{1, 10, 10, 1}, b.Ints("shape", 1, 10, 10, 1), w, y)
		return b.Custom("fancy", "Fancy", []int32{1, 3}, y)
	})
	return out
}

// FuzzParse checks that no model makes Parse panic, and that what it returns keeps the promises of the package comment.
func FuzzParse(f *testing.F) {
	for i := range seeds() {
		f.Add(uint8(i), uint8(3), []byte{})
		for change := range byte(9) {
			f.Add(uint8(i), uint8(2), []byte{change, 1, 2, 4, change + 1, 0, 1, 252})
		}
	}
	models := seeds()
	f.Fuzz(func(t *testing.T, seed, batch uint8, changes []byte) {
		m, err := tflite.Read(models[int(seed)%len(models)])
		if err != nil {
			t.Fatal(err)
		}
		tflitetest.Mutate(m, changes[:min(len(changes), 64)])
		if m.Check() != nil {
			return
		}
		for _, batch := range []int{0, int(batch)} {
			if g, err := ir.Parse(m, batch); err == nil {
				checkGraph(t, g)
			}
		}
	})
}

func checkGraph(t *testing.T, g *ir.Graph) {
	t.Helper()
	for i := range g.Tensors {
		tensor := &g.Tensors[i]
		n := uint64(1)
		for _, d := range tensor.Shape {
			if d < 0 || d > 1<<31 {
				t.Fatalf("%s has shape %v", tensor, tensor.Shape)
			}
			n *= uint64(d)
		}
		if len(tensor.Shape) > 8 || n > 1<<31 {
			t.Fatalf("%s has shape %v", tensor, tensor.Shape)
		}
		if size, ok := tflite.TypeSize(tensor.Type); ok && tensor.Const != nil && (tensor.Numel()*size+7)/8 != len(tensor.Const) {
			t.Fatalf("%s%v has %d bytes", tensor, tensor.Shape, len(tensor.Const))
		}
		if tensor.Batched && (len(tensor.Shape) == 0 || tensor.Shape[0]%g.Batch != 0) {
			t.Fatalf("%s of shape %v is batched at %d", tensor, tensor.Shape, g.Batch)
		}
	}
	for i := range g.Nodes {
		for _, in := range g.Nodes[i].Inputs {
			if in >= 0 && g.Tensors[in].Producer >= i {
				t.Fatalf("%s reads what is made later", &g.Nodes[i])
			}
		}
	}
}
