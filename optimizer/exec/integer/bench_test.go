package integer_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// BenchmarkRun measures one sample of every model of the material, on the fast path and by the plain loops.
func BenchmarkRun(b *testing.B) {
	for _, path := range testmaterial.Glob(b, "models/*.tflite") {
		m, err := tflite.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		for _, v := range []struct {
			name    string
			batch   int
			options []integer.Option
		}{{"fast", 1, nil}, {"batch8", 8, nil}, {"reference", 1, []integer.Option{integer.Reference()}}} {
			b.Run(strings.TrimSuffix(filepath.Base(path), ".tflite")+"/"+v.name, func(b *testing.B) {
				e, err := integer.Compile(m, v.batch, v.options...)
				if err != nil {
					b.Fatal(err)
				}
				run(b, e, noise(e)...) // buffers grow on first use
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if err := e.Run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*e.Batch())/b.Elapsed().Seconds(), "samples/s")
			})
		}
	}
}

// noise makes random bytes for every input, of float32 inputs those of numbers from 0 to 1.
func noise(e *integer.Executor) (inputs [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, t := range e.Graph().Inputs {
		x := make([]byte, len(e.Tensor(t)))
		if e.Graph().Tensors[t].Type == schema.TensorTypeFLOAT32 {
			for i := 0; i < len(x); i += 4 {
				binary.LittleEndian.PutUint32(x[i:], math.Float32bits(rng.Float32()))
			}
		} else {
			for i := range x {
				x[i] = byte(rng.Uint32())
			}
		}
		inputs = append(inputs, x)
	}
	return inputs
}

// BenchmarkEvaluate measures the 1,000 keyword samples on four clones.
func BenchmarkEvaluate(b *testing.B) {
	x, y := keywords(b)
	m, err := tflite.ReadFile(testmaterial.Path(b, "models/kws_ref_model.tflite"))
	if err != nil {
		b.Fatal(err)
	}
	e := compile(b, m, 8)
	for range b.N {
		correct(b, e, x, y)
	}
	b.ReportMetric(float64(b.N*len(y))/b.Elapsed().Seconds(), "samples/s")
}

// dsCNNL is DS-CNN-L in int8 with random weights: 276 channels, five separable blocks, 49×10 features.
func dsCNNL() *tflite.Model {
	const channels = 276
	b := newBuilder()
	q := affine{0.05, -128}
	relu := schema.ActivationFunctionTypeRELU
	conv := func(x, kh, kw, in, h, w, strideH, strideW int32) int32 {
		options := &schema.Conv2DOptionsT{StrideH: strideH, StrideW: strideW, DilationHFactor: 1, DilationWFactor: 1, FusedActivationFunction: relu}
		return b.op(schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, options, q, []int32{1, h, w, channels}, x, b.weights(0, channels, kh, kw, in), b.bias(channels))
	}
	depthwise := func(x, h, w, stride int32) int32 {
		options := &schema.DepthwiseConv2DOptionsT{StrideH: stride, StrideW: stride, DilationHFactor: 1, DilationWFactor: 1, DepthMultiplier: 1, FusedActivationFunction: relu}
		return b.op(schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, options, q, []int32{1, h, w, channels}, x, b.weights(3, 1, 3, 3, channels), b.bias(channels))
	}
	x := conv(b.input(wide, 1, 49, 10, 1), 10, 4, 1, 25, 10, 2, 1)
	for _, stride := range []int32{2, 1, 1, 1, 1} {
		x = conv(depthwise(x, 13, 5, stride), 1, 1, channels, 13, 5, 1, 1)
	}
	x = b.plain(schema.BuiltinOperatorMEAN, q, []int32{1, channels}, x, b.Ints("axes", 1, 2))
	options := &schema.FullyConnectedOptionsT{}
	return b.model(b.op(schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, options, wide, []int32{1, 10}, x, b.weights(0, 10, channels), b.bias(10)))
}

// BenchmarkDSCNNL measures one sample of DS-CNN-L in int8.
func BenchmarkDSCNNL(b *testing.B) {
	m := dsCNNL()
	for _, batch := range []int{1, 8} {
		b.Run(fmt.Sprintf("batch%d", batch), func(b *testing.B) {
			e := compile(b, m, batch)
			run(b, e)
			b.ReportAllocs()
			for b.Loop() {
				run(b, e)
			}
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}

// BenchmarkLSTM measures one sequence of an int8 UNIDIRECTIONAL_SEQUENCE_LSTM.
func BenchmarkLSTM(b *testing.B) {
	for _, name := range []string{"lstm_int8", "lstm_widest_int8"} {
		b.Run(name, func(b *testing.B) {
			m, err := tflite.ReadFile("testdata/recurrent/" + name + ".tflite")
			if err != nil {
				b.Fatal(err)
			}
			e := compile(b, m, 0)
			b.ReportAllocs()
			for b.Loop() {
				run(b, e)
			}
		})
	}
}
