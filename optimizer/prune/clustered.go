package prune

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/weight"
)

// Clustered returns a clustered tensor with the zeros of a target, chosen at once: its codes stay, and the smallest weights become the
// mask's. Where zero is then one code too many, the smallest code goes, and its members to the nearest one. A tensor that has the zeros
// already is returned as it is.
func Clustered(t *weight.Tensor, target Target) (*weight.Tensor, error) {
	values := t.Values()
	mask, err := Mask(Weights{Values: values, Shape: t.Shape, Axis: t.Axis, Mask: t.Mask}, target.Sparsity, target.Pattern)
	if err != nil {
		return nil, fmt.Errorf("pruning weights %q: %w", t.Name, err)
	}
	if !slices.Contains(mask, 0) || slices.Equal(mask, t.Mask) {
		return t, nil
	}
	s := t.State()
	codes := make([]int8, t.Len())
	if err := t.Codes(codes); err != nil {
		return nil, err
	}
	for i, code := range codes {
		if code == 0 { // a zero stays one
			mask[i] = 0
		}
	}
	s.Mask, s.Clusters = mask, max(s.Clusters, 2)
	used := make([]map[int8]bool, len(s.CodeSets))
	for b := range used {
		used[b] = map[int8]bool{}
	}
	inner := 1
	for _, d := range t.Shape[t.Axis+1:] {
		inner *= d
	}
	for i, code := range codes {
		if mask[i] == 0 {
			values[i] = 0
		} else {
			used[min(i/inner%t.Channels(), len(used)-1)][code] = true
		}
	}
	for b, set := range s.CodeSets {
		s.CodeSets[b] = survivors(set, used[b], s.Clusters-1)
	}
	return weight.FromState(t.Name, values, s)
}

// survivors are the codes of a set that are used and not 0, at most so many: the smallest go first.
func survivors(set []int8, used map[int8]bool, most int) []int8 {
	set = slices.DeleteFunc(slices.Clone(set), func(code int8) bool { return code == 0 || !used[code] })
	for len(set) > most {
		least := slices.MinFunc(set, func(a, b int8) int { return abs(a) - abs(b) })
		set = slices.DeleteFunc(set, func(code int8) bool { return code == least })
	}
	return set
}

func abs(code int8) int { return max(int(code), -int(code)) }
