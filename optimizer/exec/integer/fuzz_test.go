package integer_test

import (
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// seeds are small int8 and float models that together hold most kernels.
func seeds() [][]byte {
	q := affine{0.05, 3}
	models := []*tflite.Model{small()}
	add := func(build func(b *builder) int32) {
		b := newBuilder()
		models = append(models, b.model(build(b)))
	}
	add(func(b *builder) int32 {
		x := b.input(q, 1, 4, 4, 4)
		x = b.op(schema.BuiltinOperatorAVERAGE_POOL_2D, schema.BuiltinOptionsPool2DOptions, &schema.Pool2DOptionsT{StrideH: 2, StrideW: 2, FilterHeight: 2, FilterWidth: 2}, q, []int32{1, 2, 2, 4}, x)
		x = b.plain(schema.BuiltinOperatorPAD, q, []int32{1, 4, 4, 4}, x, b.Ints("pads", 0, 0, 1, 1, 1, 1, 0, 0))
		x = b.plain(schema.BuiltinOperatorADD, q, []int32{1, 4, 4, 4}, x, b.codes(q, -9, 9, 4))
		x = b.plain(schema.BuiltinOperatorHARD_SWISH, q, []int32{1, 4, 4, 4}, x)
		x = b.plain(schema.BuiltinOperatorRESIZE_BILINEAR, q, []int32{1, 3, 3, 4}, x, b.Ints("size", 3, 3))
		return b.plain(schema.BuiltinOperatorLOG_SOFTMAX, affine{1.0 / 16, 127}, []int32{1, 3, 3, 4}, x)
	})
	add(func(b *builder) int32 {
		x := b.input(q, 1, 4, 4, 4)
		y := b.plain(schema.BuiltinOperatorTRANSPOSE, q, []int32{1, 4, 4, 4}, x, b.Ints("perm", 0, 3, 2, 1))
		y = b.plain(schema.BuiltinOperatorMUL, q, []int32{1, 4, 4, 4}, x, y)
		y = b.op(schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{}, q, []int32{1, 2, 4, 4}, y,
			b.Ints("begin", 0, 0, 0, 0), b.Ints("end", 1, 4, 4, 4), b.Ints("strides", 1, 2, 1, 1))
		y = b.op(schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: 1}, q, []int32{1, 4, 4, 4}, y, y)
		y = b.op(schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: 2}, q, []int32{1, 4, 2, 4}, y, b.Ints("i", 0, 3))
		return b.plain(schema.BuiltinOperatorL2_NORMALIZATION, affine{1.0 / 128, 0}, []int32{1, 4, 2, 4}, y)
	})
	add(func(b *builder) int32 {
		x := b.input(q, 1, 3, 3, 2)
		options := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideH: 2, StrideW: 2}
		y := b.op(schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, options, q, []int32{1, 6, 6, 3}, b.Ints("shape", 1, 6, 6, 3), b.weights(0, 3, 3, 3, 2), x)
		y = b.op(schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, &schema.BatchMatMulOptionsT{AdjY: true}, q, []int32{1, 6, 6, 6}, y, y)
		y = b.plain(schema.BuiltinOperatorSUM, q, []int32{1, 6, 6}, y, b.Ints("axes", 3))
		real := b.Op("real", schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsNONE, nil, []int32{1, 6, 6}, y)
		real = b.Op("elu", schema.BuiltinOperatorELU, schema.BuiltinOptionsNONE, nil, []int32{1, 6, 6}, real)
		return b.plain(schema.BuiltinOperatorQUANTIZE, q, []int32{1, 6, 6}, real)
	})
	f := tflitetest.New()
	x := f.Conv("conv", f.Input("x", 1, 5, 5, 2), make([]float32, 3*3*3*2), nil, 3, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	f.Output(f.Softmax("softmax", f.Dense("dense", f.Flatten("flatten", x), make([]float32, 4*75), nil, 4, tflitetest.None)))
	models = append(models, f.Model())

	out := make([][]byte, len(models))
	for i, m := range models {
		data, err := m.Marshal()
		if err != nil {
			panic(err)
		}
		out[i] = data
	}
	return out
}

// FuzzCompile checks that no model makes Compile or Run panic, and that the fast paths give the bytes of the plain loops.
func FuzzCompile(f *testing.F) {
	models := seeds()
	for i := range models {
		f.Add(uint8(i), uint8(2), []byte{})
		for change := range byte(9) {
			f.Add(uint8(i), uint8(0), []byte{change, 1, 2, 4, change + 1, 0, 1, 252})
		}
	}
	f.Fuzz(func(t *testing.T, seed, batch uint8, changes []byte) {
		m, err := tflite.Read(models[int(seed)%len(models)])
		if err != nil {
			t.Fatal(err)
		}
		tflitetest.Mutate(m, changes[:min(len(changes), 32)])
		if m.Check() != nil {
			return
		}
		if g, err := ir.Parse(m, int(batch%4)); err != nil || !tiny(g) {
			return // what is large is slow to run
		}
		fast, err := integer.Compile(m, int(batch%4))
		if err != nil {
			return
		}
		plain, err := integer.Compile(m, int(batch%4), integer.Reference())
		if err != nil {
			t.Fatalf("only the fast path compiles: %v", err)
		}
		for i := range fast.Graph().Inputs {
			x := fast.Tensor(fast.Graph().Inputs[i])
			for k := range x {
				x[k] = byte(17 * k)
			}
			copy(plain.Tensor(plain.Graph().Inputs[i]), x)
		}
		errFast, errPlain := fast.Run(), plain.Run()
		if (errFast == nil) != (errPlain == nil) {
			t.Fatalf("fast: %v, plain: %v", errFast, errPlain)
		}
		for i := range fast.Graph().Outputs {
			if errFast == nil && string(fast.OutputBytes(i)) != string(plain.OutputBytes(i)) {
				t.Fatalf("output %d differs", i)
			}
			fast.Output(i)
		}
	})
}

// tiny reports whether a graph has few elements, windows included.
func tiny(g *ir.Graph) bool {
	total := 0
	for i := range g.Tensors {
		total += g.Numel(i)
	}
	for i := range g.Nodes {
		switch attr := g.Nodes[i].Attr.(type) {
		case ir.Pool:
			total += attr.KH * attr.KW * g.Numel(g.Nodes[i].Outputs[0])
		case ir.BatchMatMul:
			total += attr.K * g.Numel(g.Nodes[i].Outputs[0])
		}
	}
	return total < 1<<20
}
