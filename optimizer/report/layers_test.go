package report

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
)

func TestLayersOfPeers(t *testing.T) {
	read := func(name string) *tflite.Model {
		m, err := tflite.ReadFile(testmaterial.Path(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	original := read("models/mnist_cnn_float.tflite")
	tests := map[string]struct {
		model       string
		zeros       float64 // of the dense layer
		codes       int
		discrete    bool
		atLeast, to float64 // SNR in dB
	}{
		"float weights are continuous":         {"models/mnist_cnn_float.tflite", 0, 0, false, math.Inf(1), math.Inf(1)},
		"pruned ones have zeros":               {"peers/tfmot_mnist_cnn/pruned_float.tflite", 0.5, 0, false, 8, 20},
		"clustered ones are codes":             {"peers/tfmot_mnist_cnn/clustered_float.tflite", 0, 8, true, 10, 25},
		"quantized ones are codes":             {"peers/tfmot_mnist_cnn/ptq.tflite", 0.02, 215, true, 30, 60},
		"sparse clustered int8 ones are codes": {"peers/tfmot_mnist_cnn/sparse_clustered_ptq.tflite", 0.5, 8, true, 5, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			layers, err := Layers(read(tt.model), original)
			if err != nil {
				t.Fatal(err)
			}
			if len(layers) != 2 || layers[0].Op != "CONV_2D" || layers[1].Op != "FULLY_CONNECTED" || layers[1].Weights != 20280 {
				t.Fatalf("%+v", layers)
			}
			l := layers[1]
			if share := float64(l.Zeros) / float64(l.Weights); math.Abs(share-tt.zeros) > 0.005 {
				t.Errorf("%v zeros, want %v", share, tt.zeros)
			}
			if l.Codes != tt.codes || l.Density.Discrete != tt.discrete || l.Density.total() != l.Weights {
				t.Errorf("%d codes (discrete: %v) of %d weights", l.Codes, l.Density.Discrete, l.Density.total())
			}
			snr := math.Inf(1)
			if l.SNR != nil {
				snr = *l.SNR
			}
			if snr < tt.atLeast || snr > tt.to {
				t.Errorf("SNR %v dB, want %v to %v", snr, tt.atLeast, tt.to)
			}
		})
	}
}

func TestBriefNames(t *testing.T) {
	var layers []Layer
	for _, name := range []string{"model/dense/MatMul", "model/block_1/conv2d/Conv2D;model/block_1/bias", "model/block_2/conv2d/Conv2D", "", "w"} {
		layers = append(layers, Layer{Name: name})
	}
	want := []string{"model/dense", "block_1/conv2d", "block_2/conv2d", "unnamed", "w"}
	if diff := cmp.Diff(want, briefNames(layers)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLayersThatLostChannelsHaveTheirNewShape(t *testing.T) {
	d := &Data{Stages: []Stage{
		{Layers: []Layer{{Name: "a", Shape: []int{8, 3}, Weights: 24}, {Name: "b", Shape: []int{2, 8}, Weights: 16}}},
		{Name: "narrow", Layers: []Layer{{Name: "a", Shape: []int{4, 3}, Weights: 12}, {Name: "b", Shape: []int{2, 8}, Weights: 16}}},
	}}
	rows, _ := d.densities()
	for i, want := range []string{"4 × 3, float", "float"} {
		if got := rows[i].Panels[1].Note; got != want {
			t.Errorf("layer %s after the stage: %q, want %q", rows[i].Name, got, want)
		}
	}
}
