package leaf

import (
	"fmt"
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// checkPromises compares the leaf's weights with what was promised of them.
func checkPromises(leaf *tflite.Model, promises map[int]weight.State) error {
	tensors := leaf.Subgraph().Tensors
	for t, s := range promises {
		if t < 0 || t >= len(tensors) {
			return fmt.Errorf("promised tensor %d is not in the leaf, which has %d", t, len(tensors))
		}
		if err := checkPromise(leaf, tensors[t], s); err != nil {
			return fmt.Errorf("layer %q: %w", tensors[t].Name, err)
		}
	}
	return nil
}

// checkShapes compares shapes of the leaf with what was promised of its channels.
func checkShapes(leaf *tflite.Model, shapes map[int][]int) error {
	tensors := leaf.Subgraph().Tensors
	for _, t := range slices.Sorted(maps.Keys(shapes)) {
		same := func(has int32, want int) bool { return int(has) == want }
		if t < 0 || t >= len(tensors) || !slices.EqualFunc(tensors[t].Shape, shapes[t], same) {
			return fmt.Errorf("tensor %d of the leaf should have the channels of %v", t, shapes[t])
		}
	}
	return nil
}

// checkPromise checks a tensor of the leaf: its codes, or the values of a layer kept float.
func checkPromise(leaf *tflite.Model, t *schema.TensorT, s weight.State) error {
	if t.Type == schema.TensorTypeFLOAT32 {
		values, err := leaf.Float32s(t)
		if err != nil {
			return err
		}
		return s.Agrees(values)
	}
	codes, err := leaf.Int8s(t)
	if err != nil {
		return err
	}
	return weight.CheckCodes(codes, s)
}
