package sensitivity

import (
	"errors"
	"fmt"
	"math"
	"sort"
)

// Plan is a level for each layer that comes to as much as one level for all, at least expected error.
type Plan struct {
	// Technique is prune, cluster or channels, Level the one for all that the plan is held to.
	Technique string  `json:"technique"`
	Level     float64 `json:"level"`
	// Base is the level of the layers without a rule.
	Base float64 `json:"base"`
	// Rules are the other layers' levels.
	Rules []Rule `json:"rules,omitempty"`
	// Error is the expected increase with the rules, Even that with one level for all; Bits are those of a weight, on average, or the share
	// of the multiplications of layers with channels left.
	Error    float64 `json:"error"`
	Even     float64 `json:"evenError"`
	Bits     float64 `json:"bits"`
	EvenBits float64 `json:"evenBits"`
}

// Rule is a layer's own level. The layer goes by its Pattern.
type Rule struct {
	Layer string  `json:"layer"`
	Level float64 `json:"level"`
}

// MostRules is how many a stage may have.
const MostRules = 64

// techniques find the levels of a layer.
var techniques = map[string]func(Layer) []Level{
	"prune":   func(l Layer) []Level { return l.Prune },
	"cluster": func(l Layer) []Level { return l.Cluster },
	"channels": func(l Layer) []Level {
		if l.Channels == nil {
			return nil
		}
		return append([]Level{{Bits: 1}}, l.Channels...) // that none is taken out is a level too
	},
}

// Allocate plans levels for the layers that a stage works on without being told, so that they take as many bits in all as with one level.
// One price of a bit holds for all layers, as at any optimum (Shoham and Gersho, Efficient bit allocation for an arbitrary set of quantizers,
// 1988); every layer takes the level whose error and price together are least.
func Allocate(layers []Layer, technique string, level float64) (Plan, error) {
	plan := Plan{Technique: technique, Level: level}
	var chosen []Layer
	weights, budget := 0.0, 0.0
	for _, l := range layers {
		levels := techniques[technique](l)
		if technique == "channels" { // which all layers lose, and which are paid by what they are multiplied with
			l.Kept, l.Weights = false, int(l.Multiplications)
		}
		if l.Kept || len(levels) == 0 {
			continue
		}
		even, ok := at(levels, level)
		if !ok {
			return plan, fmt.Errorf("%s by %g: rules are written for one of %v", technique, level, known(levels))
		}
		chosen = append(chosen, l)
		n := float64(l.Weights)
		weights, budget, plan.Even = weights+n, budget+n*even.Bits, plan.Even+even.Error
	}
	if chosen == nil {
		if technique == "channels" {
			return plan, errors.New("no layer has channels that can be taken out")
		}
		return plan, fmt.Errorf("there is no layer to %s that is not left alone or clustered already", technique)
	}
	plan.EvenBits = budget / weights
	plan.settle(chosen, cheapest(chosen, techniques[technique], budget))
	if len(plan.Rules) > MostRules {
		plan.settle(chosen, restricted(chosen, techniques[technique], level))
	}
	if plan.Error >= plan.Even { // prices reach only levels on the hull of error over bits, and one level for all may lie between them
		plan.settle(chosen, evenly(chosen, techniques[technique], level))
	}
	names := make([]string, len(layers))
	for i, l := range layers {
		names[i] = l.Name
	}
	for i := range plan.Rules {
		if pattern := Pattern(plan.Rules[i].Layer, names); pattern != "" {
			plan.Rules[i].Layer = pattern
		}
	}
	return plan, nil
}

// settle writes down what was picked; the level that most layers have needs no rules.
func (p *Plan) settle(layers []Layer, picks []Level) {
	p.Error, p.Bits, p.Rules, p.Base = 0, 0, nil, p.Level
	weights, count := 0.0, map[float64]int{}
	for i, v := range picks {
		n := float64(layers[i].Weights)
		p.Error, p.Bits, weights = p.Error+v.Error, p.Bits+n*v.Bits, weights+n
		count[v.Level]++
	}
	p.Bits /= weights
	for _, v := range picks {
		if count[v.Level] > count[p.Base] {
			p.Base = v.Level
		}
	}
	for i, v := range picks {
		if v.Level != p.Base {
			p.Rules = append(p.Rules, Rule{layers[i].Name, v.Level})
		}
	}
}

// evenly picks one level for all.
func evenly(layers []Layer, levels func(Layer) []Level, level float64) []Level {
	picks := make([]Level, len(layers))
	for i, l := range layers {
		picks[i], _ = at(levels(l), level)
	}
	return picks
}

// restricted picks levels of the largest layers, as many as may have rules; the others have the one for all.
func restricted(layers []Layer, levels func(Layer) []Level, level float64) []Level {
	order := make([]int, len(layers))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return layers[order[a]].Weights > layers[order[b]].Weights })
	picks, large, budget := make([]Level, len(layers)), []Layer(nil), 0.0
	for k, i := range order {
		picks[i], _ = at(levels(layers[i]), level)
		if k < MostRules {
			large, budget = append(large, layers[i]), budget+picks[i].Bits*float64(layers[i].Weights)
		}
	}
	for k, v := range cheapest(large, levels, budget) {
		picks[order[k]] = v
	}
	return picks
}

// cheapest picks a level of each layer within a budget of bits: the lowest price at which they fit, then what the rest still buys.
func cheapest(layers []Layer, levels func(Layer) []Level, budget float64) []Level {
	picks := make([]Level, len(layers))
	pick := func(price float64) (bits float64) {
		for i, l := range layers {
			best := math.Inf(1)
			for _, v := range levels(l) {
				if of := v.Error + price*v.Bits*float64(l.Weights); of < best {
					best, picks[i] = of, v
				}
			}
			bits += picks[i].Bits * float64(l.Weights)
		}
		return bits
	}
	const slack = 1e-9
	fits := func(price float64) bool { return pick(price) <= budget*(1+slack) }
	low, high := 0.0, 1e-12
	for !fits(high) && high < 1e12 {
		low, high = high, 4*high
	}
	for range 100 {
		if middle := (low + high) / 2; fits(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	left := budget*(1+slack) - pick(high)
	for { // between two prices a layer may still afford a better level
		best, layer, gain := Level{}, -1, 0.0
		for i, l := range layers {
			for _, v := range levels(l) {
				more := (v.Bits - picks[i].Bits) * float64(l.Weights)
				if less := picks[i].Error - v.Error; more <= left && less > gain {
					best, layer, gain = v, i, less
				}
			}
		}
		if layer < 0 {
			return picks
		}
		left -= (best.Bits - picks[layer].Bits) * float64(layers[layer].Weights)
		picks[layer] = best
	}
}

// at is a level by its value.
func at(levels []Level, value float64) (Level, bool) {
	for _, l := range levels {
		if math.Abs(l.Level-value) < 1e-9 {
			return l, true
		}
	}
	return Level{}, false
}

func known(levels []Level) []float64 {
	out := make([]float64, len(levels))
	for i, l := range levels {
		out[i] = l.Level
	}
	sort.Float64s(out)
	return out
}
