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
		"of different size": {[3]float32{1, 1e4, 3}, "", `input "x" goes from `},
		"with Int16":        {[3]float32{1, 1e4, 3}, Activations16, ""},
		"of like size":      {[3]float32{1, 10, 3}, "", ""},
		"a constant":        {[3]float32{0, 1e4, 1e4}, "", ""},
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
