package prune

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/weight"
)

func TestPruningClusteredWeightsKeepsTheirCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		values   []float32
		sets     []int8
		clusters int
		sparsity float64
		want     []int8
		most     int
	}{
		"the smallest code goes whole":         {[]float32{1, 2, 2, 1, 127, -127, -127, 2}, []int8{-127, 1, 2, 127}, 4, 0.25, []int8{0, 2, 2, 0, 127, -127, -127, 2}, 4},
		"its last members go to the nearest":   {[]float32{1, 2, 2, 1, 127, -127, 1, 2}, []int8{-127, 1, 2, 127}, 4, 0.25, []int8{2, 2, 2, 0, 127, -127, 0, 2}, 4},
		"ternary weights that are sparse":      {[]float32{0, 127, 0, -127, 0, 0, 127, 0}, []int8{-127, 0, 127}, 3, 0.5, []int8{0, 127, 0, -127, 0, 0, 127, 0}, 3},
		"more zeros than were there":           {[]float32{0, 127, 0, -127, 127, 0, 127, -127}, []int8{-127, 0, 127}, 3, 0.5, []int8{0, 127, 0, -127, 127, 0, 127, 0}, 3},
		"a constant kernel keeps its constant": {[]float32{127, 127, 127, 127}, []int8{127}, 1, 0.5, []int8{127, 127, 0, 0}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			shape := []int{len(tc.values) / 4, 4}
			tensor, err := weight.FromState("w", tc.values, weight.State{
				Shape: shape, Scope: weight.PerTensor, Clusters: tc.clusters, Scale: []float32{1}, CodeSets: [][]int8{tc.sets},
			})
			if err != nil {
				t.Fatal(err)
			}
			pruned, err := Clustered(tensor, Target{Sparsity: tc.sparsity})
			if err != nil {
				t.Fatal(err)
			}
			codes := make([]int8, len(tc.values))
			if err := pruned.Codes(codes); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, codes); diff != "" {
				t.Error(diff)
			}
			if got := pruned.State().Clusters; got > tc.most {
				t.Errorf("%d clusters, more than %d", got, tc.most)
			}
			if err := pruned.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClusteredChannelsKeepCodesOfTheirOwn(t *testing.T) {
	// the output channels are the middle axis: channel 0 has the codes 1, 2 and 127, channel 1 the codes 3, 4 and 127
	values := []float32{127, 127, 2, 2, 127, 127, 4, 4, 1, 1, 2, 127, 3, 3, 4, 127}
	channels, err := weight.FromState("w", values, weight.State{
		Shape: []int{2, 2, 4}, Axis: 1, Scope: weight.PerChannel, Clusters: 3, Scale: []float32{1, 1}, CodeSets: [][]int8{{1, 2, 127}, {3, 4, 127}},
	})
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := Clustered(channels, Target{Sparsity: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]int8{{2, 127}, {4, 127}}, pruned.State().CodeSets, cmpopts.SortSlices(func(a, b int8) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
	codes := make([]int8, len(values))
	if err := pruned.Codes(codes); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int8{127, 127, 2, 0, 127, 127, 4, 4, 0, 0, 0, 127, 4, 4, 4, 127}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestClusteredWeightsThatHaveTheZerosAreLeftAlone(t *testing.T) {
	state := weight.State{Shape: []int{1, 4}, Scope: weight.PerTensor, Clusters: 3, Scale: []float32{1}, CodeSets: [][]int8{{2, 127}}, Mask: []uint8{0, 1, 1, 1}}
	w, err := weight.FromState("w", []float32{0, 2, 2, 127}, state)
	if err != nil {
		t.Fatal(err)
	}
	for _, sparsity := range []float64{0.25, 0} {
		if got, err := Clustered(w, Target{Sparsity: sparsity}); err != nil || got != w {
			t.Errorf("sparsity %v: other weights (%v)", sparsity, err)
		}
	}
	state.Mask = nil
	if w, err = weight.FromState("w", []float32{2, 2, 2, 127}, state); err != nil {
		t.Fatal(err)
	}
	if got, err := Clustered(w, Target{}); err != nil || got != w {
		t.Errorf("no sparsity: other weights (%v)", err)
	}
}

func TestPatternsSayWhatTheyCannotHave(t *testing.T) {
	for name, tc := range map[string]struct {
		row  int
		want string
	}{
		"rows that divide":  {8, ""},
		"rows with a rest":  {9, "rows of 9 are no multiple of 4: the rest of a row counts as filled up with zeros, so that pattern 2:4 prunes 44.4 % of these weights, not 50.0 %"},
		"rows of one group": {3, "rows of 3 are no multiple of 4: the rest of a row counts as filled up with zeros, so that pattern 2:4 prunes 33.3 % of these weights, not 50.0 %"},
		"rows of one":       {1, "rows of 1 are no multiple of 4: the rest of a row counts as filled up with zeros, so that pattern 2:4 prunes 0.0 % of these weights, not 50.0 %"},
	} {
		t.Run(name, func(t *testing.T) {
			target := Target{Kernel: weight.Kernel{Shape: []int{2, 3, 3, tc.row}}, Pattern: Pattern{Zeros: 2, Of: 4}}
			if diff := cmp.Diff(tc.want, target.Part()); diff != "" {
				t.Error(diff)
			}
			values := make([]float32, 18*tc.row)
			for i := range values {
				values[i] = float32(i + 1)
			}
			mask, err := Mask(Weights{Values: values, Shape: target.Shape}, 0.5, target.Pattern)
			if err != nil {
				t.Fatal(err)
			}
			zeros := 0
			for _, m := range mask {
				zeros += 1 - int(m)
			}
			if got := float64(zeros) / float64(len(mask)); got != target.Pattern.of(tc.row) {
				t.Errorf("%v zeros, %v were said", got, target.Pattern.of(tc.row))
			}
		})
	}
}
