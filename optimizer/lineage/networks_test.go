package lineage

import (
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// memory is a source of samples in memory, sorted by class.
type memory struct {
	shape   []int
	classes int
	x       [][]float32
}

func (m *memory) Len() int                { return len(m.x) }
func (m *memory) Inputs() []dataset.Array { return []dataset.Array{{Name: "x", Shape: m.shape}} }
func (m *memory) Targets() []dataset.Target {
	return []dataset.Target{{Name: "y", Kind: dataset.Class, Classes: m.classes}}
}
func (m *memory) label(i int) int { return i * m.classes / len(m.x) }
func (m *memory) Read(i int, x [][]float32) error {
	copy(x[0], m.x[i])
	return nil
}
func (m *memory) Truth(i int, y [][]float32) error {
	y[0][0] = float32(m.label(i))
	return nil
}

// samples of a shape: every class has a bright value of its own.
func samples(n, classes int, shape ...int) *dataset.Dataset {
	size := 1
	for _, d := range shape {
		size *= d
	}
	random := rand.New(rand.NewPCG(1, 5))
	m := &memory{shape: shape, classes: classes}
	for i := range n {
		x := make([]float32, size)
		for k := range x {
			x[k] = float32(0.4 * random.NormFloat64())
		}
		x[i*classes/n*5%size] += 2
		m.x = append(m.x, x)
	}
	return &dataset.Dataset{Train: m, Test: m}
}

func gauss(seed uint64, n int, spread float64) []float32 {
	random := rand.New(rand.NewPCG(seed, 9))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(spread * random.NormFloat64())
	}
	return v
}

// image is a classifier of images: end finishes it from the last convolution, of [1, 4, 4, 8].
func image(first []float32, end func(b *tflitetest.Builder, x int32) int32) *tflite.Model {
	b := tflitetest.New()
	x := b.Input("x", 1, 4, 4, 2)
	y := b.Conv("first", x, first, gauss(7, 8, 0.1), 8, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = end(b, y)
	y = b.Dense("dense", b.Flatten("flat", y), gauss(3, 4*int(numel(b.Shape(y))), 0.2), gauss(8, 4, 0.1), 4, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	return b.Model()
}

func numel(shape []int32) int32 {
	n := int32(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

func relu(b *tflitetest.Builder, x int32) int32 { return x }

// networks are of the kinds that people bring.
func networks() map[string]*tflite.Model {
	conv := gauss(1, 8*9*2, 0.3)
	ternary := make([]float32, len(conv))
	for i, v := range conv {
		switch {
		case v > 0.15:
			ternary[i] = 0.25
		case v < -0.15:
			ternary[i] = -0.25
		}
	}
	wide := append([]float32(nil), conv...)
	for i := range wide {
		wide[i] *= []float32{1e-6, 1e-3, 1, 1, 1, 1, 30, 1e3}[i/18]
	}
	flat := func() *tflite.Model {
		b := tflitetest.New()
		y := b.Dense("hidden", b.Input("x", 1, 72), gauss(1, 6*72, 0.2), gauss(2, 6, 0.1), 6, tflitetest.ReLU)
		b.Output(b.Softmax("softmax", b.Dense("dense", y, gauss(3, 4*6, 0.5), nil, 4, tflitetest.None)))
		return b.Model()
	}
	return map[string]*tflite.Model{
		"convolution and dense":           image(conv, relu),
		"ternary weights":                 image(ternary, relu),
		"channels of very different size": image(wide, relu),
		"a layer of zeros": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			zero := b.Conv("zero", x, make([]float32, 64), nil, 8, 1, 1, 1, schema.PaddingSAME, tflitetest.None)
			return b.Add("residual", x, zero, tflitetest.None)
		}),
		"a 1x1 depthwise kernel": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			return b.Depthwise("scale", x, gauss(4, 8, 1), gauss(5, 8, 0.1), 1, 1, 1, schema.PaddingSAME, tflitetest.None)
		}),
		"one channel": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			y := b.Conv("one", x, gauss(4, 8, 0.4), gauss(5, 1, 0.1), 1, 1, 1, 1, schema.PaddingSAME, tflitetest.None)
			return b.Conv("of one", y, gauss(6, 8, 0.4), gauss(5, 8, 0.1), 8, 1, 1, 1, schema.PaddingSAME, tflitetest.ReLU)
		}),
		"fewer weights than clusters": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			y := b.Conv("two", x, gauss(4, 16, 0.4), nil, 2, 1, 1, 1, schema.PaddingSAME, tflitetest.None)
			return b.Conv("four", y, gauss(6, 4, 0.8), nil, 2, 1, 1, 1, schema.PaddingSAME, tflitetest.None)
		}),
		"weights shared by two layers": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			w, bias := b.Const("shared/kernel", gauss(4, 64, 0.3), 8, 1, 1, 8), b.Const("shared/bias", gauss(5, 8, 0.1), 8)
			layer := func(name string, x int32) int32 {
				return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions,
					&schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}, b.Shape(x), x, w, bias)
			}
			return layer("second use", layer("first use", x))
		}),
		"weights that are an operand too": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			w := b.Const("both/kernel", gauss(4, 8, 0.6), 1, 1, 1, 8)
			y := b.Op("both", schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions,
				&schema.DepthwiseConv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DepthMultiplier: 1, DilationWFactor: 1, DilationHFactor: 1}, b.Shape(x), x, w)
			return b.Op("plus", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(y), y, w)
		}),
		"constants as first operands": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			c := b.Const("constant", gauss(4, 8, 0.6), 1, 1, 1, 8)
			y := b.Op("minus", schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}, b.Shape(x), c, x)
			return b.Op("times", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), c, y)
		}),
		"a transposed convolution": image(conv, func(b *tflitetest.Builder, x int32) int32 {
			shape := []int32{1, 8, 8, 4}
			return b.Op("transposed", schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideW: 2, StrideH: 2},
				shape, b.Ints("shape", shape...), b.Const("transposed/kernel", gauss(4, 4*9*8, 0.3), 4, 3, 3, 8), x, b.Const("transposed/bias", gauss(5, 4, 0.1), 4))
		}),
		"dense layers only": flat(),
	}
}

// read reads a network from what its file would be.
func read(t testing.TB, m *tflite.Model) *Network {
	t.Helper()
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Read(content)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func data(n *Network) *dataset.Dataset {
	g := n.Model().Subgraph()
	var shape []int
	for _, d := range g.Tensors[g.Inputs[0]].Shape[1:] {
		shape = append(shape, int(d))
	}
	return samples(48, 4, shape...)
}
