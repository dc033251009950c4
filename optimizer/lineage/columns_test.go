package lineage

import (
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestNumbersThatInt8HardlySeesBesideOthersAreNamed(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("y", b.Input("x", 1, 3), tflitetest.Weights(1, 12), nil, 4, schema.ActivationFunctionTypeNONE))
	n := read(t, b.Model())
	for name, tt := range map[string]struct {
		scale       [3]float32
		activations Activations
		want        string
	}{
		"of different size":  {[3]float32{1, 1e4, 3}, "", `input "x" goes from `},
		"with Int16":         {[3]float32{1, 1e4, 3}, Activations16, ""},
		"of like size":       {[3]float32{1, 10, 3}, "", ""},
		"a constant":         {[3]float32{0, 1e4, 1e4}, "", ""},
		"of like small size": {[3]float32{1e-6, 1e-6, 1e-6}, "", ""},
		"too small for int8": {[3]float32{1e-10, 1e-10, 0}, "", `input "x" goes from `},
	} {
		t.Run(name, func(t *testing.T) {
			d := samples(48, 4, 3)
			source := d.Train.(*memory)
			scaled := &memory{shape: source.shape, classes: source.classes}
			for _, x := range source.x {
				scaled.x = append(scaled.x, []float32{x[0] * tt.scale[0], x[1] * tt.scale[1], x[2] * tt.scale[2]})
			}
			r := &Run{Data: &dataset.Dataset{Train: scaled}, Leaf: LeafOptions{Activations: tt.activations}}
			got, err := r.crowded(n)
			if err != nil || !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if tt.want != "" && !strings.Contains(got, "2 of its 3 numbers") {
				t.Error(got)
			}
		})
	}
}

// A number is lost below four codes of the range that all have, 0 included.
func TestEdgesOfNumbersThatInt8HardlySees(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("y", b.Input("x", 1, 3), tflitetest.Weights(1, 12), nil, 4, schema.ActivationFunctionTypeNONE))
	n := read(t, b.Model())
	for name, tt := range map[string]struct {
		x    [][]float32
		want string
	}{
		"four codes":                {[][]float32{{0, 0, 5}, {255, 4, 5}}, ""},
		"less than four":            {[][]float32{{0, 1, 5}, {255, 4, 5}}, `input "x" goes from 0 to 255, and 1 of its 3 numbers span less than 4 of the 256 codes`},
		"on both sides of 0":        {[][]float32{{-55, 5, 0}, {200, 8, 9}}, `input "x" goes from -55 to 200, and 1 of its 3 numbers`},
		"far from 0":                {[][]float32{{1000, 1000, 1000}, {1255, 1015, 1100}}, `input "x" goes from 0 to 1255, and 1 of its 3 numbers`},
		"seen in some samples only": {[][]float32{{0, 0, 0}, {0, 9, 9}, {255, 0, 0}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Run{Data: &dataset.Dataset{Train: unlabelled{&memory{shape: []int{3}, classes: 1, x: tt.x}}}}
			if got, err := r.crowded(n); err != nil || !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
