package channel

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/weight"
)

// Options say how many channels are cut.
type Options struct {
	Share float64 // of the channels of every group, in [0, 1)
	// Multiplications is the share of the network's multiplications that may be left, in (0, 1), in place of Share; 0: Share says it.
	Multiplications float64
	// Rules are exceptions; the first that matches counts.
	Rules []Rule
}

// Rule is an exception for weights by name, and for those whose channels hang together with theirs.
type Rule struct {
	// Layers is a glob against the name of the weight tensor: * is any run of characters, ? is any one.
	Layers string
	// Skip leaves the channels alone.
	Skip bool
	// Share of the channels; nil leaves it as it is.
	Share *float64
}

// Target is what is planned for a group.
type Target struct {
	Group
	Cut  int  // units to take out; at least one stays
	Open bool // as many units as Options.Multiplications takes, in place of Cut
}

// NewPlan resolves options: a target for each group that is cut, and why others are not. A rule that matches nothing is an error.
func (s *Structure) NewPlan(o Options) (targets []Target, notes []string, err error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	used := make([]bool, len(o.Rules))
	match := func(name string) int {
		first := -1
		for r, rule := range o.Rules {
			if weight.MatchName(rule.Layers, name) {
				if used[r] = true; first < 0 {
					first = r
				}
			}
		}
		return first
	}
	for _, g := range s.Groups {
		share, skip, first := o.Share, "", len(o.Rules)
		for _, name := range g.Names {
			if r := match(name); r >= 0 {
				first = min(first, r)
			}
		}
		if first < len(o.Rules) {
			if rule := o.Rules[first]; rule.Skip {
				skip = fmt.Sprintf("rule %q skips them", rule.Layers)
			} else if rule.Share != nil {
				share = *rule.Share
			}
		}
		if skip != "" {
			notes = append(notes, fmt.Sprintf("channels of %s: %s", named(g.Names), skip))
			continue
		}
		if o.Multiplications > 0 && (first == len(o.Rules) || o.Rules[first].Share == nil) {
			targets = append(targets, Target{Group: g, Open: true})
			continue
		}
		n := len(g.Units)
		cut := min(int(math.Round(share*float64(n))), n-1)
		if cut <= 0 {
			if share > 0 {
				notes = append(notes, fmt.Sprintf("channels of %s: all %d stay, since a share of %.2g rounds to none or would leave none", named(g.Names), n*g.each, share))
			}
			continue
		}
		if cut = n - g.even(n-cut); cut == 0 {
			notes = append(notes, fmt.Sprintf("channels of %s: all %d stay, since a multiple of %d of them are kept", named(g.Names), n*g.each, lanes))
			continue
		}
		targets = append(targets, Target{Group: g, Cut: cut})
	}
	for _, stay := range s.Stays {
		match(stay.Name)
		notes = append(notes, fmt.Sprintf("channels of weights %q stay: %s", stay.Name, stay.Why))
	}
	for r, rule := range o.Rules {
		if !used[r] {
			return nil, nil, fmt.Errorf("rule %q matches no weights with channels of their own; the model has %s", rule.Layers, named(s.names()))
		}
	}
	if len(s.Groups) == 0 {
		return nil, nil, fmt.Errorf("no channels can be cut: %s", strings.Join(notes[:min(len(notes), 4)], "; "))
	}
	return targets, notes, nil
}

// Known are the rules that match weights with channels of their own.
func (s *Structure) Known(rules []Rule) []Rule {
	names := s.names()
	return slices.DeleteFunc(slices.Clone(rules), func(r Rule) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return weight.MatchName(r.Layers, name) })
	})
}

// Kernels work on lanes channels at once, and on a rest as slowly as on as many again: layers of at least wide channels keep a multiple of them.
const lanes, wide = 8, 16

// lane is how many of so many units that are left go at once: what is beyond whole lanes, or one lane; one of a narrow group, none of a last lane.
func (g Group) lane(left int) int {
	if len(g.Units)*g.each < wide {
		return 1
	}
	step := lanes / gcd(lanes, g.each)
	if left <= step {
		return 0
	}
	return left - (left-1)/step*step
}

// even is how many units are kept for so many: those nearest that make whole lanes of channels, or all.
func (g Group) even(kept int) int {
	n := len(g.Units)
	if n*g.each < wide {
		return kept
	}
	step := lanes / gcd(lanes, g.each)
	below := kept / step * step
	above := min(below+step, n)
	if below > 0 && kept-below < above-kept {
		return below
	}
	return above
}

// names are those of all weights with channels of their own.
func (s *Structure) names() []string {
	var all []string
	for _, g := range s.Groups {
		for _, name := range g.Names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	for _, stay := range s.Stays {
		all = append(all, stay.Name)
	}
	return all
}

// named lists weights for a message, the first dozen.
func named(names []string) string {
	var list []string
	for _, name := range names[:min(len(names), 12)] {
		list = append(list, strconv.Quote(name))
	}
	if len(names) > 12 {
		list = append(list, "…")
	}
	return "weights " + strings.Join(list, ", ")
}

// check reports options that make no sense in themselves.
func (o Options) check() error {
	if !(o.Share >= 0 && o.Share < 1) {
		return fmt.Errorf("channels %v is outside [0, 1)", o.Share)
	}
	if o.Multiplications != 0 && (!(o.Multiplications > 0 && o.Multiplications < 1) || o.Share != 0) {
		return fmt.Errorf("multiplications %v is outside (0, 1), or beside channels", o.Multiplications)
	}
	for _, r := range o.Rules {
		if r.Share != nil && !(*r.Share >= 0 && *r.Share < 1) {
			return fmt.Errorf("rule %q: channels %v is outside [0, 1)", r.Layers, *r.Share)
		}
	}
	return nil
}
