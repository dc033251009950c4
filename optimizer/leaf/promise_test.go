package leaf

import (
	"context"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// A leaf that does not hold what stages promised is refused, and the refusal names where.
func TestBrokenPromisesAreRefused(t *testing.T) {
	leaf := ptq(t, twoLayers(), ptqOptions{}).Model
	tensors := leaf.Subgraph().Tensors
	at := slices.IndexFunc(tensors, func(s *schema.TensorT) bool {
		return s.Type == schema.TensorTypeINT8 && leaf.IsConst(s) && len(s.Shape) == 2 && s.Shape[1] == 8
	})
	codes, err := leaf.Int8s(tensors[at])
	if err != nil {
		t.Fatal(err)
	}
	mask := func(zero int) []uint8 {
		out := slices.Repeat([]uint8{1}, len(codes))
		if zero >= 0 {
			out[zero] = 0
		}
		return out
	}
	state := func(m []uint8) weight.State { return weight.State{Shape: []int{4, 8}, Mask: m} }
	inexact := twoLayers()
	float := slices.IndexFunc(inexact.Subgraph().Tensors, func(s *schema.TensorT) bool { return inexact.IsConst(s) && len(s.Shape) == 2 && s.Shape[1] == 8 })
	nonzero := slices.IndexFunc(codes, func(c int8) bool { return c != 0 })
	for name, c := range map[string]struct {
		leaf   *tflite.Model
		checks Checks
		want   string
	}{
		"nothing":                         {leaf, Checks{}, ""},
		"no zeros":                        {leaf, Checks{Promises: map[int]weight.State{at: state(mask(-1))}}, ""},
		"a zero that is none":             {leaf, Checks{Promises: map[int]weight.State{at: state(mask(nonzero))}}, `layer "` + tensors[at].Name + `": `},
		"of a layer that is kept float":   {inexact, Checks{Promises: map[int]weight.State{float: state(mask(-1))}}, ""},
		"a zero that is none in float":    {inexact, Checks{Promises: map[int]weight.State{float: state(mask(3))}}, `layer "` + inexact.Subgraph().Tensors[float].Name + `": `},
		"of a tensor that is not there":   {leaf, Checks{Promises: map[int]weight.State{len(tensors): state(mask(-1))}}, "is not in the leaf, which has"},
		"of a tensor before all":          {leaf, Checks{Promises: map[int]weight.State{-1: state(mask(-1))}}, "promised tensor -1 is not in the leaf"},
		"the channels that are left":      {leaf, Checks{Shapes: map[int][]int{at: {4, 8}}}, ""},
		"others":                          {leaf, Checks{Shapes: map[int][]int{at: {4, 7}}}, "should have the channels of [4 7]"},
		"channels of one dimension less":  {leaf, Checks{Shapes: map[int][]int{at: {4}}}, "should have the channels of [4]"},
		"channels of a tensor beyond all": {leaf, Checks{Shapes: map[int][]int{len(tensors): {4}}}, "should have the channels of [4]"},
		"channels of one before all":      {leaf, Checks{Shapes: map[int][]int{-1: {4}}}, "tensor -1 of the leaf should have the channels of [4]"},
	} {
		if _, err := Verify(context.Background(), c.leaf, c.checks); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
