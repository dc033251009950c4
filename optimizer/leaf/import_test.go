package leaf

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// asymmetric returns the int8 tflitetest.Classifier with the codes of its dense weights moved by a zero point.
func asymmetric(t *testing.T, codes []int8, zero int64) (m *tflite.Model, dense int) {
	t.Helper()
	weights := make([]int8, 3*64)
	for i := range weights {
		weights[i] = codes[i%len(codes)]
	}
	leaf, plan, _ := emitted(t, tflitetest.Classifier(), quantize.Options{PerTensorDense: true}, nil)
	dense = plan.Layers[2].Weight
	tensor := leaf.Model.Subgraph().Tensors[leaf.Tensor[dense]]
	leaf.Model.SetData(tensor, tflite.Int8Bytes(weights))
	tensor.Quantization.ZeroPoint = []int64{zero}
	tensor.Quantization.Scale = []float32{0.5}
	return leaf.Model, leaf.Tensor[dense]
}

func TestZeroPointsOfWeightsAreTakenOff(t *testing.T) {
	for name, tc := range map[string]struct {
		codes []int8
		zero  int64
		want  []float32
		exact []int8 // nil: no codes within ±127
	}{
		"codes that fit":                       {[]int8{7, 127, -100}, 7, []float32{0, 60, -53.5}, []int8{0, 120, -107}},
		"codes of a legacy uint8 model":        {[]int8{-128, 127, 5}, 5, []float32{-66.5, 61, 0}, nil},
		"the least code without zero point":    {[]int8{-128, 1, 0}, 0, []float32{-64, 0.5, 0}, nil},
		"symmetric codes, which stay the same": {[]int8{-127, 1, 0}, 0, []float32{-63.5, 0.5, 0}, []int8{-127, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			m, dense := asymmetric(t, tc.codes, tc.zero)
			im, err := quantize.ImportInt8(m)
			if err != nil {
				t.Fatal(err)
			}
			moved := im.Tensor[dense]
			values, err := im.Model.Float32s(im.Model.Subgraph().Tensors[moved])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, values[:3]); diff != "" {
				t.Error(diff)
			}
			w, ok := im.Weights[moved]
			if ok != (tc.exact != nil) || ok && !slices.Equal(w.Codes[:3], tc.exact) {
				t.Errorf("integers %v, %v; want %v", w.Codes, ok, tc.exact)
			}
		})
	}
}
