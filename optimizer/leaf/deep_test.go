package leaf

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// deep is a network of thirty convolutions.
func deep() *tflite.Model {
	b := tflitetest.New()
	y := b.Input("x", 1, 8, 8, 4)
	for i := range uint64(30) {
		y = b.Conv(fmt.Sprintf("conv%d", i), y, tflitetest.Weights(10+i, 8*9*b.Shape(y)[3]), tflitetest.Weights(50+i, 8), 8, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	}
	y = b.Dense("dense", b.MeanHW("mean", y), tflitetest.Weights(5, 3*8), tflitetest.Weights(6, 3), 3, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	return b.Model()
}

// A deep network makes a large error of early rounding, for which Verify has room, but not for a layer that computes something else.
func TestADeepLeafIsRefusedForOneWrongMultiplier(t *testing.T) {
	m := deep()
	made := ptq(t, m, ptqOptions{})
	unquantized, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(leaf *tflite.Model) (*Verification, error) {
		simulation, err := made.Plan.Simulate(m, made.Params, made.Weights, 1)
		if err != nil {
			t.Fatal(err)
		}
		return Verify(context.Background(), leaf, Checks{Feed: noise, Samples: 40, Classifier: true, Simulation: simulation, Place: made.Tensor, Float: unquantized})
	}
	v, err := verify(made.Model)
	if err != nil {
		t.Fatalf("the honest leaf: %v", err)
	}
	t.Logf("honest: %.2f codes from the simulation, which is %.2f from the float network", v.Noise, v.Quantization)
	for _, layer := range []int{0, 15, 29} {
		wrong := made.Model.Clone()
		weights := wrong.Subgraph().Tensors[made.Tensor[made.Plan.Layers[layer].Weight]]
		q := *weights.Quantization
		q.Scale = append([]float32(nil), q.Scale...)
		for c := range q.Scale {
			q.Scale[c] *= 1.2
		}
		weights.Quantization = &q
		v, err := verify(wrong)
		if err == nil || !strings.Contains(err.Error(), "from the simulation's on average") {
			t.Errorf("layer %d with a multiplier of 1.2: %v, %.2f codes from the simulation, which is %.2f from the float network", layer, err, v.Noise, v.Quantization)
		}
	}
}
