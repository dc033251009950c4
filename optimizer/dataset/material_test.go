package dataset

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
)

func TestMaterialOpens(t *testing.T) {
	tests := map[string]struct {
		path        string
		spec        Spec
		counts      [3]int
		shape       []int
		classes     int
		notes       int
		sum         float64 // of the first test sample
		first       int     // label of the first test sample
		modelsInput []int
	}{
		"MNIST as IDX": {path: "mnist", spec: Spec{Preprocessing: Preprocessing{Scale: "1/255"}},
			counts: [3]int{60000, 10000, 10000}, shape: []int{28, 28}, classes: 10, notes: 1, sum: 72.3686, first: 7, modelsInput: []int{28, 28, 1}},
		"a deflated .npz with two splits": {path: "fsdd/fsdd_mfcc.npz",
			counts: [3]int{2000, 1000, 1000}, shape: []int{49, 10, 1}, classes: 10, notes: 1, sum: 146.9418, first: 0, modelsInput: []int{49, 10, 1}},
		"an .npz with one split, halved": {path: "kws01/kws01_int8.npz",
			spec:   Spec{Stored: Stored{Scale: "0.5847029", ZeroPoint: 83}, Split: Split{Test: "0.5"}, Preprocessing: Preprocessing{Reshape: []int{490}}},
			counts: [3]int{500, 500, 500}, shape: []int{490}, classes: 12, notes: 2, sum: -1592.146, first: 7, modelsInput: []int{490}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Open(testmaterial.Path(t, tt.path), tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if got := [3]int{d.Train.Len(), d.Validation.Len(), d.Test.Len()}; got != tt.counts {
				t.Errorf("counts %v, want %v", got, tt.counts)
			}
			if diff := cmp.Diff([][]int{tt.shape}, Shapes(d.Test)); diff != "" {
				t.Errorf("shape (-want +got):\n%s", diff)
			}
			if ClassCount(d.Test) != tt.classes || len(d.Notes) != tt.notes {
				t.Errorf("%d classes, notes %q", ClassCount(d.Test), d.Notes)
			}
			if err := d.Fit([][]int{tt.modelsInput}); err != nil {
				t.Error(err)
			}
			x := Sample(d.Test)
			if err := d.Test.Read(0, x); err != nil {
				t.Fatal(err)
			}
			label := Labels(d.Test)[0]
			sum := 0.0
			for _, v := range x[0] {
				sum += float64(v)
			}
			if label != tt.first || sum < tt.sum-0.01 || sum > tt.sum+0.01 {
				t.Errorf("first test sample: label %d, sum %.4f; want %d, %.4f", label, sum, tt.first, tt.sum)
			}
		})
	}
}
