package prune

import (
	"fmt"

	"espalier.dev/espalier/optimizer/weight"
)

// Scope says how sparsity is shared out among layers.
type Scope string

const (
	// Layer gives every layer the same sparsity.
	Layer Scope = "Layer"
	// Global gives all layers together one budget, shared out by LAMP (see Allocate).
	Global Scope = "Global"
)

// Options say how a model is pruned.
type Options struct {
	Sparsity float64 // share of the weights to prune, in [0, 1)
	Scope    Scope   // empty means Layer
	Pattern  Pattern
	Schedule Schedule
	// Rules are exceptions; the first that matches counts.
	Rules []Rule
}

// Rule is an exception for weights by name.
type Rule struct {
	// Layers is a glob against the name of the weight tensor: * is any run of characters, ? is any one.
	Layers string
	// Skip leaves the weights alone.
	Skip bool
	// Sparsity of each tensor, not part of a global budget; nil leaves it as it is.
	Sparsity *float64
	// Pattern of zeros; nil leaves it as it is.
	Pattern *Pattern
}

// Target is what is planned for one kernel.
type Target struct {
	weight.Kernel
	Sparsity float64
	Pattern  Pattern
	// Budget says that Sparsity is the global budget's, of which LAMP decides the layer's share.
	Budget bool
}

// Part says where a pattern cannot have its share of zeros, because rows do not divide into its groups; "" where it can.
func (t Target) Part() string {
	if t.Pattern.Of == 0 {
		return ""
	}
	row := t.Shape[len(t.Shape)-1]
	if row%t.Pattern.Of == 0 {
		return ""
	}
	return fmt.Sprintf("rows of %d are no multiple of %d: the rest of a row counts as filled up with zeros, so that pattern %s prunes %.1f %% of these weights, not %.1f %%",
		row, t.Pattern.Of, t.Pattern, 100*t.Pattern.of(row), 100*t.Pattern.Share())
}

// NewPlan resolves options for a model's kernels: a target for each that is pruned, and why others are not. Depthwise kernels have
// few weights and much effect, and are pruned only if a rule says so. A rule that matches nothing is an error.
func NewPlan(kernels []weight.Kernel, o Options) (targets []Target, notes []string, err error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	used := make([]bool, len(o.Rules))
	for _, k := range kernels {
		t := Target{Kernel: k, Sparsity: o.Sparsity, Pattern: o.Pattern, Budget: o.Scope == Global}
		skip, matched := "", false
		if k.Depthwise() {
			skip = "depthwise kernels are not pruned unless a rule says so"
		}
		for r, rule := range o.Rules {
			if !weight.MatchName(rule.Layers, k.Name) {
				continue
			}
			used[r] = true
			if matched {
				continue
			}
			matched, skip = true, ""
			if rule.Skip {
				skip = fmt.Sprintf("rule %q skips them", rule.Layers)
			}
			if rule.Sparsity != nil {
				t.Sparsity, t.Budget = *rule.Sparsity, false
			}
			if rule.Pattern != nil {
				t.Pattern = *rule.Pattern
			}
		}
		if t.Pattern.Of > 0 {
			t.Budget, t.Sparsity = false, t.Pattern.Share()
			if skip == "" && k.Axis == len(k.Shape)-1 {
				return nil, nil, fmt.Errorf("weights %q: %s needs input channels on the last axis; a depthwise kernel has none: skip it by a rule", k.Name, t.Pattern)
			}
		}
		if skip != "" {
			notes = append(notes, fmt.Sprintf("weights %q: %s", k.Name, skip))
			continue
		}
		targets = append(targets, t)
	}
	for r, rule := range o.Rules {
		if !used[r] {
			return nil, nil, fmt.Errorf("rule %q matches no weights; the model has %s", rule.Layers, weight.Names(kernels))
		}
	}
	if len(targets) == 0 {
		return nil, nil, fmt.Errorf("nothing to prune; the model has %s", weight.Names(kernels))
	}
	return targets, notes, nil
}

// check reports options that make no sense in themselves.
func (o Options) check() error {
	if o.Scope != "" && o.Scope != Layer && o.Scope != Global {
		return fmt.Errorf("scope %q is neither %s nor %s", o.Scope, Layer, Global)
	}
	if err := checkSparsity(o.Sparsity); err != nil {
		return err
	}
	if err := o.Pattern.check(); err != nil {
		return err
	}
	for _, r := range o.Rules {
		if r.Sparsity != nil {
			if err := checkSparsity(*r.Sparsity); err != nil {
				return fmt.Errorf("rule %q: %w", r.Layers, err)
			}
		}
		if r.Pattern != nil {
			if err := r.Pattern.check(); err != nil {
				return fmt.Errorf("rule %q: %w", r.Layers, err)
			}
		}
	}
	return nil
}

func checkSparsity(s float64) error {
	if !(s >= 0 && s < 1) {
		return fmt.Errorf("sparsity %v is outside [0, 1)", s)
	}
	return nil
}
