package tflitetest

import (
	"math/rand/v2"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Weights returns n normal values of standard deviation 0.3, the same for a seed.
func Weights(seed uint64, n int32) []float32 {
	rng := rand.New(rand.NewPCG(seed, 99))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.3)
	}
	return x
}

// Classifier is conv → pool → depthwise → flatten → dense → softmax, of 8×8×2 inputs and 3 classes.
func Classifier() *tflite.Model {
	b := New()
	x := b.Input("x", 1, 8, 8, 2)
	y := b.Conv("conv", x, Weights(1, 4*9*2), Weights(2, 4), 4, 3, 3, 1, schema.PaddingSAME, ReLU)
	y = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, y, 2, 2, schema.PaddingVALID)
	y = b.Depthwise("depthwise", y, Weights(3, 9*4), Weights(4, 4), 3, 3, 1, schema.PaddingSAME, ReLU6)
	y = b.Flatten("flat", y)
	y = b.Dense("dense", y, Weights(5, 3*64), Weights(6, 3), 3, None)
	b.Output(b.Softmax("softmax", y))
	return b.Model()
}

// LSTM appends a fused layer with a cell for each of units, of random weights; x is [batch, steps, inputs], by time [steps, batch, inputs]. A clip
// of 0 is none.
func (b *Builder) LSTM(name string, x, units int32, clip float32, byTime bool, seed uint64) int32 {
	shape := b.Shape(x)
	batch := shape[0]
	if byTime {
		batch = shape[1]
	}
	inputs := make([]int32, 24)
	for i := range inputs {
		inputs[i] = -1
	}
	inputs[0] = x
	for gate := range int32(4) {
		of := seed + uint64(gate)
		inputs[1+gate] = b.Const(name+"/w", Weights(of, units*shape[2]), units, shape[2])
		inputs[5+gate] = b.Const(name+"/r", Weights(of+10, units*units), units, units)
		inputs[12+gate] = b.Const(name+"/b", Weights(of+20, units), units)
	}
	for i := range int32(2) {
		inputs[18+i] = b.tensor(name+"/state", []int32{batch, units}, 0)
		b.Tensor(inputs[18+i]).IsVariable = true
	}
	options := &schema.UnidirectionalSequenceLSTMOptionsT{FusedActivationFunction: schema.ActivationFunctionTypeTANH, CellClip: clip, TimeMajor: byTime}
	return b.Op(name, schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions, options,
		[]int32{shape[0], shape[1], units}, inputs...)
}
