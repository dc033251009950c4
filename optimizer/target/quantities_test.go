package target

import (
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// A limit bounds what the operator has, in the unit that its name says; what the operator does not have is bounded by nothing.
func TestQuantities(t *testing.T) {
	i8, i16, i32, f32 := schema.TensorTypeINT8, schema.TensorTypeINT16, schema.TensorTypeINT32, schema.TensorTypeFLOAT32
	of := func(code schema.BuiltinOperator, options any, tensors ...*schema.TensorT) *tflite.Model {
		var o *schema.BuiltinOptionsT
		if options != nil {
			o = &schema.BuiltinOptionsT{Value: options}
		}
		return oneOperator(code, o, tensors...)
	}
	holding := func(m *tflite.Model, values ...int32) *tflite.Model { // what its constants are
		m.Buffers[1].Data = tflite.Int32Bytes(values)
		return m
	}
	conv := of(schema.BuiltinOperatorCONV_2D, &schema.Conv2DOptionsT{StrideH: 2, StrideW: 3, DilationHFactor: 4, DilationWFactor: 1, Padding: schema.PaddingVALID},
		tensor(i8, 0, 2, 20, 30, 6), scaled(tensor(i8, 1, 8, 3, 5, 6), 8), tensor(i32, 1, 8), tensor(i8, 0, 2, 6, 9, 8))
	dilated := func(h, w int32) *tflite.Model {
		return of(schema.BuiltinOperatorDEPTHWISE_CONV_2D, &schema.DepthwiseConv2DOptionsT{StrideH: 1, StrideW: 2, DilationHFactor: h, DilationWFactor: w, DepthMultiplier: 3},
			tensor(i8, 0, 1, 9, 9, 2), tensor(i8, 1, 1, 3, 3, 6), tensor(i8, 0, 1, 5, 5, 6))
	}
	padded := func(side, made, stride int32) *tflite.Model {
		return of(schema.BuiltinOperatorCONV_2D, &schema.Conv2DOptionsT{StrideH: stride, StrideW: stride, DilationHFactor: 1, DilationWFactor: 1, Padding: schema.PaddingSAME},
			tensor(i8, 0, 1, side, side, 1), tensor(i8, 1, 1, 3, 5, 1), tensor(i8, 0, 1, made, made, 1))
	}
	mean := func(axes ...int32) *tflite.Model {
		return holding(of(schema.BuiltinOperatorMEAN, nil, tensor(i8, 0, 2, 4, 5, 6), tensor(i32, 1, int32(len(axes))), tensor(i8, 0, 1)), axes...)
	}
	gather := func(axis, batches int32) *tflite.Model {
		return of(schema.BuiltinOperatorGATHER, &schema.GatherOptionsT{Axis: axis, BatchDims: batches}, tensor(f32, 0, 2, 3, 4), tensor(i32, 0, 2, 5), tensor(f32, 0, 2, 5, 4))
	}
	pack := func(axis int32) *tflite.Model {
		return of(schema.BuiltinOperatorPACK, &schema.PackOptionsT{Axis: axis, ValuesCount: 2}, tensor(f32, 0, 3, 4), tensor(f32, 0, 3, 4), tensor(f32, 0, 3, 4, 2))
	}
	resize := func(o any, h, w, toH, toW int32) *tflite.Model {
		return of(schema.BuiltinOperatorRESIZE_BILINEAR, o, tensor(f32, 0, 1, h, w, 1), tensor(i32, 1, 2), tensor(f32, 0, 1, toH, toW, 1))
	}
	bilinear := &schema.ResizeBilinearOptionsT{}
	corners := &schema.ResizeNearestNeighborOptionsT{AlignCorners: true}
	quantized := func(scale float32, zero int64) *schema.TensorT {
		out := tensor(i8, 0, 1, 8)
		out.Quantization = &schema.QuantizationParametersT{Scale: []float32{scale}, ZeroPoint: []int64{zero}}
		return out
	}
	maximum := func(a, b *schema.TensorT) *tflite.Model {
		return of(schema.BuiltinOperatorMAXIMUM, nil, a, b, quantized(0.5, 3))
	}
	weights := func(code schema.BuiltinOperator, zeros []int64, shape []int32, values ...byte) *tflite.Model {
		w := tensor(i8, 1, shape...)
		w.Quantization = &schema.QuantizationParametersT{Scale: make([]float32, len(zeros)), ZeroPoint: zeros}
		m := of(code, nil, tensor(i8, 0, 1, 2), w, tensor(i8, 0, 1, 2))
		m.Buffers[1].Data = values
		return m
	}
	pool := of(schema.BuiltinOperatorAVERAGE_POOL_2D, &schema.Pool2DOptionsT{StrideH: 2, StrideW: 2, FilterHeight: 2, FilterWidth: 7}, tensor(i16, 0, 1, 8, 8, 3), tensor(i16, 0, 1, 4, 1, 3))
	relu := of(schema.BuiltinOperatorRELU, nil, tensor(f32, 0, 2, 3, 4, 5, 6), tensor(f32, 0, 2, 3, 4, 5, 6))
	line := of(schema.BuiltinOperatorRELU, nil, tensor(f32, 0, 7), tensor(f32, 0, 7))
	scalar := of(schema.BuiltinOperatorRELU, nil, tensor(f32, 0), tensor(f32, 0))
	nothing := of(schema.BuiltinOperatorCONV_2D, nil, tensor(f32, 0, 1), tensor(f32, 0, 1))
	slopes := func(shape ...int32) *tflite.Model {
		return of(schema.BuiltinOperatorPRELU, nil, tensor(f32, 0, 1, 4, 5, 6), tensor(f32, 1, shape...), tensor(f32, 0, 1, 4, 5, 6))
	}
	pads := func(values ...int32) *tflite.Model {
		return holding(of(schema.BuiltinOperatorPAD, nil, tensor(f32, 0, 1, 2), tensor(i32, 1, 2, 2), tensor(f32, 0, 4, 4)), values...)
	}

	const absent = -1
	for _, c := range []struct {
		quantity string
		model    *tflite.Model
		want     float64 // absent: it has none
	}{
		{"kernel height", conv, 3}, {"kernel width", conv, 5}, {"kernel area", conv, 15}, {"kernel area", pool, 14}, {"kernel area", nothing, absent}, {"kernel area", relu, absent},
		{"stride height", conv, 2}, {"stride width", conv, 3}, {"dilation height", conv, 4}, {"dilation width", conv, 1}, {"dilation width", pool, 1},
		{"dilated kernel height", conv, 9}, {"dilated kernel area", conv, 45}, {"dilated kernel area", dilated(2, 3), 35},
		{"stride where it pads or dilates", conv, 3}, {"stride where it pads or dilates", padded(9, 5, 2), 2}, {"stride where it pads or dilates", padded(5, 1, 2), 1},
		{"stride where it dilates", conv, 3}, {"stride where it dilates", dilated(1, 1), 1}, {"stride where it dilates", dilated(1, 2), 2}, {"stride where it dilates", padded(9, 5, 2), 1},
		{"kernel where it pads", padded(8, 8, 1), 5}, {"kernel where it pads", padded(5, 1, 2), 1}, {"kernel where it pads", conv, 1},
		{"difference of dilations", conv, 3}, {"difference of dilations", dilated(1, 3), 2}, {"difference of dilations", dilated(2, 2), 0},
		{"axis behind batch dimensions", gather(2, 1), 1}, {"axis behind batch dimensions", gather(-1, 1), 1}, {"axis behind batch dimensions", gather(0, 0), 0}, {"axis behind batch dimensions", relu, absent},
		{"largest dimension reduced", mean(1, 2), 5}, {"largest dimension reduced", mean(-1), 6}, {"elements reduced", mean(1, 2), 20}, {"elements reduced", mean(0, -1), 12},
		{"height and width reduced alone", mean(1, 2), 1}, {"height and width reduced alone", mean(-3, -2), 1}, {"height and width reduced alone", mean(1), 0}, {"height and width reduced alone", mean(1, 2, 3), 0},
		{"batch reduced", mean(0), 1}, {"batch reduced", mean(-4), 1}, {"batch reduced", mean(1, 2), 0},
		{"channels reduced that are no multiple of 4", mean(3), 6}, {"channels reduced that are no multiple of 4", mean(1), 0},
		{"depth reduced with no side of 1", mean(3), 1}, {"depth reduced with no side of 1", mean(-1), 1}, {"depth reduced with no side of 1", mean(1, 2), 0},
		{"pixels", conv, 600}, {"pixels", relu, absent},
		{"depth multiplier", dilated(1, 1), 3}, {"depth multiplier", line, absent},
		{"bits of data", conv, 8}, {"bits of data", pool, 16}, {"bits of data", relu, 32},
		{"dimensions of inputs and outputs", conv, 4}, {"dimensions of inputs and outputs", relu, 5}, {"dimensions of inputs and outputs", scalar, 0},
		{"largest side of the output", conv, 9}, {"largest side of the output", pool, 4}, {"largest side of the output", line, absent},
		{"largest dimension", conv, 30}, {"largest dimension", line, 7}, {"largest dimension", scalar, 0},
		{"constant bias", conv, 1}, {"constant bias", relu, absent},
		{"constant input 0", conv, 0}, {"constant input 1", conv, 1}, {"constant input 2", relu, absent},
		{"batch padded", pads(1, 2, 0, 0), 3}, {"batch padded", pads(0, 0, 1, 1), 0}, {"batch padded", relu, absent},
		{"axis of packing", pack(1), 1}, {"axis of packing", pack(0), 0}, {"axis of packing", pack(-1), 2}, {"axis of packing", relu, absent},
		{"slopes of one channel", slopes(1, 1, 6), 1}, {"slopes of one channel", slopes(4, 5, 6), 20}, {"slopes of one channel", slopes(), absent},
		{"fused activation", pool, 0}, {"fused activation", relu, absent},
		{"elements", conv, 2 * 20 * 30 * 6}, {"elements", scalar, 1},
		{"dimensions before the last three", relu, 6}, {"dimensions before the last three", conv, 2}, {"dimensions before the last three", line, 1},
		{"batch", conv, 2}, {"batch", scalar, absent}, {"channels", conv, 6}, {"channels", scalar, absent}, {"channels", line, 7},
		{"inputs", conv, 3}, {"inputs", relu, 1}, {"rank", relu, 5}, {"rank", scalar, 0},
		{"scales of weights", conv, 8}, {"scales of weights", dilated(1, 1), absent}, {"scales of weights", relu, absent},
		{"quantized inputs and outputs", maximum(quantized(1, 0), quantized(1, 0)), 1}, {"quantized inputs and outputs", conv, 0}, {"quantized inputs and outputs", relu, 1},
		{"equal quantization", maximum(quantized(0.5, 3), quantized(0.5, 3)), 1}, {"equal quantization", maximum(quantized(0.5, 3), quantized(0.5, 2)), 0},
		{"equal quantization", maximum(quantized(0.25, 3), quantized(0.5, 3)), 0}, {"equal quantization", relu, absent},
		{"scale factor", resize(bilinear, 4, 4, 8, 8), 2}, {"scale factor", resize(bilinear, 4, 4, 8, 4), 0}, {"scale factor", resize(bilinear, 1, 1, 3, 5), 1},
		{"scale factor", resize(bilinear, 4, 1, 12, 1), 3}, {"scale factor", resize(bilinear, 1, 4, 1, 12), 3}, {"scale factor", resize(corners, 3, 3, 5, 5), 2}, {"scale factor", resize(nil, 3, 3, 6, 6), absent},
		{"scale factor between centres of pixels", resize(bilinear, 4, 4, 8, 8), absent},
		{"scale factor between centres of pixels", resize(&schema.ResizeNearestNeighborOptionsT{HalfPixelCenters: true}, 4, 4, 12, 12), 3},
		{"scale factors of powers of two", resize(bilinear, 4, 4, 8, 16), 1}, {"scale factors of powers of two", resize(bilinear, 4, 4, 4, 4), 1},
		{"scale factors of powers of two", resize(bilinear, 4, 4, 12, 8), 0}, {"scale factors of powers of two", resize(bilinear, 4, 4, 2, 2), 0}, {"scale factors of powers of two", resize(corners, 3, 3, 9, 9), 1},
		{"sum of absolute weights", weights(schema.BuiltinOperatorFULLY_CONNECTED, []int64{0}, []int32{2, 3}, 1, 2, 0xfd, 10, 10, 0), 20},
		{"sum of absolute weights", weights(schema.BuiltinOperatorFULLY_CONNECTED, []int64{1, 10}, []int32{2, 3}, 1, 2, 0xfd, 10, 10, 0), 10},
		{"sum of absolute weights", weights(schema.BuiltinOperatorDEPTHWISE_CONV_2D, []int64{0}, []int32{1, 1, 3, 2}, 1, 20, 2, 20, 3, 0xf6), 50},
		{"sum of absolute weights", weights(schema.BuiltinOperatorFULLY_CONNECTED, []int64{0}, []int32{4, 1}, 1, 2, 3), absent}, {"sum of absolute weights", relu, absent},
	} {
		g := c.model.Subgraphs[0]
		code, _ := c.model.Op(g.Operators[0])
		got, ok := quantities[c.quantity](&node{model: c.model, subgraph: g, op: g.Operators[0], code: code})
		if ok != (c.want != absent) || ok && got != c.want {
			t.Errorf("%s of %s: %v, %v, want %v", c.quantity, code, got, ok, c.want)
		}
	}
}
