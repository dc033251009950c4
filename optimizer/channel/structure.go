package channel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// Structure says how the channels of a network hang together.
type Structure struct {
	// Groups are the channels that can be cut, in order of execution.
	Groups []Group
	// Stays are the weights of which no output channel can be cut.
	Stays []Stay

	graph  *ir.Graph
	units  units
	along  map[place][]int  // units, by tensor and axis
	axis   map[int]int      // of an activation's units; all of one that has none stays
	pinned map[place]string // axes of constants that an operator reads as they are
	known  map[place]bool   // those that the operator at hand reads channel by channel
}

// Group is channels that the same weights make. Any of them may be cut but the last.
type Group struct {
	Weights []int // the tensors whose output channels they are, in order of execution
	Names   []string
	Units   []int // in order of the first tensor's channels

	each int // channels of its narrowest tensor that a unit stands for
}

// Stay is weights whose output channels cannot be cut.
type Stay struct {
	Name, Why string
}

// place is an axis of a tensor.
type place struct{ tensor, axis int }

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.tensor, b.tensor), cmp.Compare(a.axis, b.axis))
}

// Couple finds how the channels of a network hang together.
func Couple(m *tflite.Model) (*Structure, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, err
	}
	s := &Structure{graph: g, units: units{fixed: map[int]string{}}, along: map[place][]int{}, axis: map[int]int{}, pinned: map[place]string{}}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; !n.Folded {
			s.couple(n)
		}
	}
	for _, t := range g.Outputs {
		_, list := s.of(t)
		s.units.fix(list, s.output(t))
	}
	for _, at := range slices.SortedFunc(maps.Keys(s.pinned), comparePlaces) {
		s.units.fix(s.along[at], s.pinned[at])
	}
	s.group(weight.Kernels(m))
	return s, nil
}

// group finds the groups of free units by the weights that make them.
func (s *Structure) group(kernels []weight.Kernel) {
	makers := map[int][]int{} // by root, indices of kernels
	var roots []int
	for k, kernel := range kernels {
		list := s.along[place{kernel.Tensor, kernel.Axis}]
		stays := len(list) > 0
		for _, unit := range list {
			root := s.units.Root(unit)
			if _, ok := s.units.fixed[root]; ok {
				continue
			}
			stays = false
			if m := makers[root]; len(m) == 0 {
				roots = append(roots, root)
			} else if m[len(m)-1] == k {
				continue
			}
			makers[root] = append(makers[root], k)
		}
		if stays {
			s.Stays = append(s.Stays, Stay{kernel.Name, s.units.fixed[s.units.Root(list[0])]})
		}
	}
	at := map[string]int{}
	for _, root := range roots {
		key := fmt.Sprint(makers[root])
		g, ok := at[key]
		if !ok {
			g, at[key] = len(s.Groups), len(s.Groups)
			s.Groups = append(s.Groups, Group{})
			for _, k := range makers[root] {
				s.Groups[g].Weights = append(s.Groups[g].Weights, kernels[k].Tensor)
				s.Groups[g].Names = append(s.Groups[g].Names, kernels[k].Name)
			}
		}
		s.Groups[g].Units = append(s.Groups[g].Units, root)
	}
	for _, g := range slices.DeleteFunc(slices.Clone(s.Groups), func(g Group) bool { return len(g.Units) > 1 }) {
		for _, name := range g.Names {
			s.Stays = append(s.Stays, Stay{name, "all of its channels hang together"})
		}
	}
	s.Groups = slices.DeleteFunc(s.Groups, func(g Group) bool { return len(g.Units) < 2 })
	axis := map[int]int{}
	for _, k := range kernels {
		axis[k.Tensor] = k.Axis
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		var each []int
		for _, t := range g.Weights {
			channels := 0
			for _, unit := range s.along[place{t, axis[t]}] {
				if slices.Contains(g.Units, s.units.Root(unit)) {
					channels++
				}
			}
			each = append(each, channels/len(g.Units))
		}
		g.each = slices.Min(each)
	}
}

// Units returns by axis of a tensor the unit of every index, as Group has them; none for a tensor that stays.
func (s *Structure) Units(tensor int) map[int][]int {
	out := map[int][]int{}
	for axis := range s.graph.Tensors[tensor].Shape {
		if list, ok := s.along[place{tensor, axis}]; ok {
			found := make([]int, len(list))
			for i, unit := range list {
				found[i] = s.units.Root(unit)
			}
			out[axis] = found
		}
	}
	return out
}
