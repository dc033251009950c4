package stage

import (
	"strings"
	"testing"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/dataset"
)

func TestAShiftLeavesSomethingOfTheImage(t *testing.T) {
	size := func(height, width int) dataset.Size { return dataset.Size{Height: height, Width: width} }
	resized := dataset.Preprocessing{Resize: &dataset.Resize{Height: 20, Width: 10}}
	cropped := dataset.Preprocessing{Crop: &dataset.Size{Height: 4, Width: 4}}
	flat := dataset.Preprocessing{Reshape: []int{64}}
	tests := map[string]struct {
		shift dataset.Size
		steps dataset.Preprocessing
		store dataset.Stored
		shape []int
		want  string
	}{
		"none":                         {shape: []int{8, 8, 1}},
		"all but a row":                {shift: size(7, 0), shape: []int{8, 6, 1}},
		"every row":                    {shift: size(8, 0), shape: []int{8, 6, 1}, want: "spec.dataset.augmentation.shift.height is 8, and images are 8 pixels high: shift by less"},
		"every column":                 {shift: size(0, 7), shape: []int{8, 6}, want: "spec.dataset.augmentation.shift.width is 7, and images are 6 pixels wide"},
		"resized images":               {shift: size(19, 9), steps: resized, shape: []int{20, 10, 3}},
		"resized images, too far":      {shift: size(1, 10), steps: resized, shape: []int{20, 10, 3}, want: "10 pixels wide"},
		"beyond a crop":                {shift: size(6, 6), steps: cropped, store: dataset.Stored{Shape: []int{8, 8, 1}}, shape: []int{4, 4, 1}},
		"beyond the cropped":           {shift: size(8, 6), steps: cropped, store: dataset.Stored{Shape: []int{8, 8, 1}}, shape: []int{4, 4, 1}, want: "8 pixels high"},
		"channels first":               {shift: size(8, 0), steps: flat, store: dataset.Stored{Shape: []int{3, 8, 8}, Layout: dataset.ChannelsFirst}, shape: []int{192}, want: "8 pixels high"},
		"images of a size not known":   {shift: size(900, 900), steps: flat, shape: []int{64}},
		"samples that are no pictures": {shift: size(0, 0), shape: []int{64}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := checkShift(dataset.Spec{Preprocessing: tt.steps, Stored: tt.store, Augmentation: dataset.Augmentation{Shift: tt.shift}}, tt.shape)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || fault.ClassOf(err) != fault.Spec):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
