package cluster

import (
	"fmt"

	"espalier.dev/espalier/optimizer/weight"
)

// Rule is an exception for weights by name.
type Rule struct {
	// Layers is a glob against the name of the weight tensor: * is any run of characters, ? is any one.
	Layers string
	// Skip leaves the weights alone.
	Skip bool
	// Clusters of these weights; 0 leaves it as it is.
	Clusters int
	// Entropy of these weights; nil leaves it as it is.
	Entropy *float64
}

// Target is what is planned for one kernel.
type Target struct {
	weight.Kernel
	Clusters int
	Entropy  float64
}

// NewPlan resolves the number of clusters, the entropy and the exceptions, of which the first that matches counts, for a model's kernels: a
// target for each that is clustered, and why others are not. Depthwise kernels have few weights and lose much, and are clustered
// only if a rule says so. A rule that matches nothing is an error.
func NewPlan(kernels []weight.Kernel, o Options, rules []Rule) (targets []Target, notes []string, err error) {
	used := make([]bool, len(rules))
	for _, k := range kernels {
		t, skip, matched := Target{Kernel: k, Clusters: o.Clusters, Entropy: o.Entropy}, "", false
		if k.Depthwise() {
			skip = "depthwise kernels are not clustered unless a rule says so"
		}
		for r, rule := range rules {
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
			if rule.Clusters != 0 {
				t.Clusters = rule.Clusters
			}
			if rule.Entropy != nil {
				t.Entropy = *rule.Entropy
			}
		}
		if skip != "" {
			notes = append(notes, fmt.Sprintf("weights %q: %s", k.Name, skip))
			continue
		}
		if t.Clusters < 2 || t.Clusters > 2*weight.MaxCode+1 {
			return nil, nil, fmt.Errorf("weights %q: %d clusters; possible are 2 to %d", k.Name, t.Clusters, 2*weight.MaxCode+1)
		}
		targets = append(targets, t)
	}
	for r, rule := range rules {
		if !used[r] {
			return nil, nil, fmt.Errorf("rule %q matches no weights; the model has %s", rule.Layers, weight.Names(kernels))
		}
	}
	if len(targets) == 0 {
		return nil, nil, fmt.Errorf("nothing to cluster; the model has %s", weight.Names(kernels))
	}
	return targets, notes, nil
}
