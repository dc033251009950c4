package stage

import (
	"fmt"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/dataset"
)

// checkShift refuses to shift images out of sight: a model that trains on what is left learns nothing. shapes are those of a finished
// sample, by input.
func checkShift(spec dataset.Spec, shapes ...[]int) error {
	for _, shape := range shapes {
		if err := checkShiftOf(spec, shape); err != nil {
			return err
		}
	}
	return nil
}

func checkShiftOf(spec dataset.Spec, shape []int) error {
	height, width, known := imageSize(spec, shape)
	if !known {
		return nil
	}
	for _, side := range []struct {
		field, word string
		by, size    int
	}{
		{"height", "high", spec.Augmentation.Shift.Height, height},
		{"width", "wide", spec.Augmentation.Shift.Width, width},
	} {
		if side.by > 0 && side.by >= side.size {
			return fault.As(fault.Spec, fmt.Errorf("spec.dataset.augmentation.shift.%s is %d, and images are %d pixels %s: shift by less",
				side.field, side.by, side.size, side.word))
		}
	}
	return nil
}

// imageSize is the size of what augmentation shifts: resized images, before they are cropped.
func imageSize(spec dataset.Spec, shape []int) (height, width int, known bool) {
	p := spec.Preprocessing
	switch {
	case p.Resize != nil:
		return p.Resize.Height, p.Resize.Width, true
	case p.Crop == nil && p.Reshape == nil:
	case len(spec.Stored.Shape) == 3 && spec.Stored.Layout == dataset.ChannelsFirst:
		shape = spec.Stored.Shape[1:]
	default:
		shape = spec.Stored.Shape
	}
	if len(shape) < 2 {
		return 0, 0, false
	}
	return shape[0], shape[1], true
}
