package channel

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// choice is units that are taken out one after the other, such that of every tensor something is left.
type choice struct {
	removed map[int]bool
	left    map[place]int         // indices
	of      map[int]map[place]int // by unit, its indices
}

func (s *Structure) choice() *choice {
	c := &choice{map[int]bool{}, map[place]int{}, map[int]map[place]int{}}
	for at, list := range s.along {
		c.left[at] = len(list)
		for _, unit := range list {
			root := s.units.Root(unit)
			if c.of[root] == nil {
				c.of[root] = map[place]int{}
			}
			c.of[root][at]++
		}
	}
	return c
}

// take takes up to so many of the units out, the first that are not the last of a part of their channels, such as of a slice.
func (c *choice) take(units []int, count int) (taken []int) {
	for _, unit := range units {
		last := func(at place) bool { return c.left[at] == c.of[unit][at] }
		if len(taken) == count || c.removed[unit] || slices.ContainsFunc(slices.Collect(maps.Keys(c.of[unit])), last) {
			continue
		}
		for at, n := range c.of[unit] {
			c.left[at] -= n
		}
		c.removed[unit] = true
		taken = append(taken, unit)
	}
	return taken
}

// back undoes a take.
func (c *choice) back(units []int) {
	for _, unit := range units {
		for at, n := range c.of[unit] {
			c.left[at] += n
		}
		delete(c.removed, unit)
	}
}

// Choose returns the units to take out, those of each target that matter least. Of every tensor something is left: where units are the last
// of a part of their channels, such as of a slice, others go.
func (s *Structure) Choose(targets []Target, importance map[int]float64) map[int]bool {
	c := s.choice()
	for _, t := range targets {
		c.take(t.least(importance), t.Cut)
	}
	return c.removed
}

// least are the units, those that matter least first.
func (g Group) least(importance map[int]float64) []int {
	return slices.SortedStableFunc(slices.Values(g.Units), func(a, b int) int { return cmp.Compare(importance[a], importance[b]) })
}

// layer is how the multiplications of an operator go with the channels that are left: each for all indices of some axes of its weights.
type layer struct {
	each float64
	axes []place
}

// layers are the operators that multiply.
func (s *Structure) layers() (all []layer) {
	for i := range s.graph.Nodes {
		n := &s.graph.Nodes[i]
		m := s.graph.MultiplicationsOf(n)
		if m == 0 || n.Folded {
			continue
		}
		l := layer{each: float64(m)}
		for _, t := range n.Inputs {
			if t < 0 || s.graph.Tensors[t].Const == nil || len(s.graph.Tensors[t].Shape) < 2 {
				continue
			}
			for axis := range s.graph.Tensors[t].Shape {
				if list, ok := s.along[place{t, axis}]; ok {
					l.axes = append(l.axes, place{t, axis})
					l.each /= float64(len(list))
				}
			}
		}
		all = append(all, l)
	}
	return all
}

// multiplications are those that are left.
func (c *choice) multiplications(layers []layer) (all float64) {
	for _, l := range layers {
		of := l.each
		for _, at := range l.axes {
			of *= float64(c.left[at])
		}
		all += of
	}
	return all
}

// step is units of a target that are taken out together.
type step struct {
	target int
	units  []int
	loss   float64
}

// ChooseWithin returns the units to take out such that at most a share of the network's multiplications is left: those of fixed targets as
// Choose does, and of open ones, step by step, those whose importance is least for the multiplications that go with them and that are
// still to go. Wide layers lose whole lanes of channels, fewer where whole ones are not enough or far too much. importance is what the outputs lose
// without a unit, in the same terms for all. It is an error if as few multiplications cannot be reached.
func (s *Structure) ChooseWithin(targets []Target, share float64, importance map[int]float64) (map[int]bool, error) {
	c, layers, units := s.choice(), s.layers(), make([][]int, len(targets))
	all := c.multiplications(layers)
	most := share * all * (1 + 1e-9)
	for i, t := range targets {
		if units[i] = t.least(importance); !t.Open {
			c.take(units[i], t.Cut)
		}
	}
	var steps []step
	for now := c.multiplications(layers); now > most; now = c.multiplications(layers) {
		best := c.cheapest(targets, units, layers, importance, now-most, Group.lane)
		if best.units == nil {
			best = c.cheapest(targets, units, layers, importance, now-most, func(Group, int) int { return 1 })
		}
		if best.units == nil {
			left := math.Ceil(100*now/all) / 100
			if left == 1 {
				return nil, fmt.Errorf("multiplications %v: the layers that may lose channels have less than a hundredth of the network's; have rules skip fewer layers, or give sparsity in place of it (structure Weights)", share)
			}
			return nil, fmt.Errorf("multiplications %v: with every channel out that can go, more than %v of the network's are left; ask for at least %v", share, share, left)
		}
		c.take(best.units, len(best.units))
		steps = append(steps, best)
	}
	steps = c.spare(steps, layers, most)
	c.approach(steps, layers, importance, most)
	return c.removed, nil
}

// Least is the share of the network's multiplications that is left with every channel of the groups out that can go.
func (s *Structure) Least() float64 {
	c, layers := s.choice(), s.layers()
	all := c.multiplications(layers)
	if all == 0 {
		return 1
	}
	for _, g := range s.Groups {
		c.take(g.Units, len(g.Units)-1)
	}
	return c.multiplications(layers) / all
}

// cheapest is the step of least loss for each multiplication saved that is still to go; without units, if there is none. count says how many
// units of a group that has so many left go at once.
func (c *choice) cheapest(targets []Target, units [][]int, layers []layer, importance map[int]float64, wanted float64, count func(g Group, left int) int) (best step) {
	now, least := c.multiplications(layers), math.Inf(1)
	for i, t := range targets {
		if !t.Open {
			continue
		}
		left := 0
		for _, unit := range units[i] {
			if !c.removed[unit] {
				left++
			}
		}
		n := min(count(t.Group, left), left-1)
		taken := c.take(units[i], n)
		saved := min(now-c.multiplications(layers), wanted)
		c.back(taken)
		if len(taken) < max(n, 1) || saved <= 0 {
			continue
		}
		loss := 0.0
		for _, unit := range taken {
			loss += importance[unit]
		}
		if loss/saved < least {
			best, least = step{i, taken, loss}, loss/saved
		}
	}
	return best
}

// spare takes back the steps that turn out not to be needed, those of most loss first, and of each target the last first. It returns the others.
func (c *choice) spare(steps []step, layers []layer, most float64) []step {
	for {
		back, last := -1, map[int]bool{}
		for i := len(steps) - 1; i >= 0; i-- {
			if last[steps[i].target] {
				continue
			}
			last[steps[i].target] = true
			c.back(steps[i].units)
			if c.multiplications(layers) <= most && (back < 0 || steps[i].loss > steps[back].loss) {
				back = i
			}
			c.take(steps[i].units, len(steps[i].units))
		}
		if back < 0 {
			return steps
		}
		c.back(steps[back].units)
		steps = slices.Delete(steps, back, back+1)
	}
}

// Near is the share of the multiplications that may be left which whole lanes, and whole branches, are to come to, or less is taken out.
const Near = 0.9

// approach takes single units back where whole lanes went much further than was asked, those of most loss first, and of each target those that went
// last.
func (c *choice) approach(steps []step, layers []layer, importance map[int]float64, most float64) {
	for c.multiplications(layers) < Near*most {
		back, last := -1, map[int]bool{}
		for i := len(steps) - 1; i >= 0; i-- {
			units := steps[i].units
			if len(units) == 0 || last[steps[i].target] {
				continue
			}
			last[steps[i].target] = true
			unit := units[len(units)-1:]
			c.back(unit)
			if c.multiplications(layers) <= most && (back < 0 || importance[unit[0]] > importance[steps[back].units[len(steps[back].units)-1]]) {
				back = i
			}
			c.take(unit, 1)
		}
		if back < 0 {
			return
		}
		n := len(steps[back].units) - 1
		c.back(steps[back].units[n:])
		steps[back].units = steps[back].units[:n]
	}
}
