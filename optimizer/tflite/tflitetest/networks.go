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
