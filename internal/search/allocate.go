package search

import (
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/weight"
)

// level is the number of codes that layers are compared at; it is among sensitivity.Clusters.
const level = 32

const mostEntropy = 1000 // that a manifest may say

// allocation is what every layer is clustered by: the price of a bit, as the entropy weight of the average layer, how much layers differ
// in it by what they tolerate (0: not at all, 1: one price of output error for all), and how many codes they may have at most. An even one
// has one price for all and more codes, up to most, where layers tolerate less.
type allocation struct {
	price, tilt float64
	codes       int
	most        int    // of an even one; 0 of others
	scope       string // "": the default
}

// cluster is the section of a stage that carries an allocation out. Layers that have what the stage has need no rule, and those that are alike
// share one where a pattern names them and no other. The largest have rules where there are more than a stage may have.
func (a allocation) cluster(layers []sensitivity.Layer) *v1alpha1.Cluster {
	base := terms{number(a.price), a.codes}
	out := &v1alpha1.Cluster{Clusters: int32(a.codes), Entropy: &base.entropy, Scope: a.scope}
	var order []terms // by the largest layer that has them
	alike := map[terms][]share{}
	for _, e := range a.shares(layers) {
		if e.terms == base && !e.kept {
			continue
		}
		if alike[e.terms] == nil {
			order = append(order, e.terms)
		}
		alike[e.terms] = append(alike[e.terms], e)
	}
	names := namesOf(layers)
	for _, of := range order {
		rule := v1alpha1.ClusterRule{}
		if of.codes != base.codes {
			rule.Clusters = new(int32(of.codes))
		}
		if of.entropy != base.entropy || rule.Clusters == nil {
			rule.Entropy = &of.entropy
		}
		for _, pattern := range patterns(alike[of], names) {
			if len(out.Rules) < sensitivity.MostRules {
				rule.Layers = pattern
				out.Rules = append(out.Rules, rule)
			}
		}
	}
	return out
}

// terms are what a layer is clustered by.
type terms struct {
	entropy v1alpha1.Decimal
	codes   int
}

// share is a layer's own terms.
type share struct {
	layer, pattern string
	terms
	kept bool // it is left alone where no rule names it
}

// shares are the terms by layer, of the largest first.
func (a allocation) shares(layers []sensitivity.Layer) []share {
	var chosen []sensitivity.Layer
	for _, l := range layers {
		if len(l.Cluster) > 0 {
			chosen = append(chosen, l)
		}
	}
	sort.SliceStable(chosen, func(i, j int) bool { return chosen[i].Weights > chosen[j].Weights })
	names, average := namesOf(layers), average(chosen)
	var out []share
	for _, l := range chosen {
		e, n := a.price, a.codes
		if u := unit(l); u > 0 {
			e *= math.Pow(average/u, a.tilt)
			if a.most > 0 { // twice the codes are a quarter of the error
				n = max(n, min(a.most, int(math.Round(float64(n)*math.Sqrt(u/average)))))
			}
		}
		if pattern := sensitivity.Pattern(l.Name, names); pattern != "" {
			out = append(out, share{l.Name, pattern, terms{number(min(e, mostEntropy)), n}, l.Kept})
		}
	}
	return out
}

func namesOf(layers []sensitivity.Layer) []string {
	out := make([]string, len(layers))
	for i := range layers {
		out[i] = layers[i].Name
	}
	return out
}

// patterns name layers and no others: one for all, of what their names begin and end with, or one for each.
func patterns(of []share, names []string) []string {
	var each []string
	among := map[string]bool{}
	start, end := of[0].layer, of[0].layer
	for _, e := range of {
		each, among[e.layer] = append(each, e.pattern), true
		for !strings.HasPrefix(e.layer, start) {
			_, size := utf8.DecodeLastRuneInString(start)
			start = start[:len(start)-size]
		}
		for !strings.HasSuffix(e.layer, end) {
			_, size := utf8.DecodeRuneInString(end)
			end = end[size:]
		}
	}
	joint := start + "*" + end
	if len(of) == 1 || len(joint) > sensitivity.LongestPattern {
		return each
	}
	for _, name := range names {
		if weight.MatchName(joint, name) != among[name] {
			return each
		}
	}
	return []string{joint}
}

// unit is the error that a layer's weights bring about when they have so many codes, by weight.
func unit(l sensitivity.Layer) float64 {
	for _, v := range l.Cluster {
		if v.Level == level {
			return v.Error / float64(max(l.Weights, 1))
		}
	}
	return 0
}

// average is the geometric mean of the layers' units, by weight.
func average(layers []sensitivity.Layer) float64 {
	sum, n := 0.0, 0.0
	for _, l := range layers {
		if u := unit(l); u > 0 {
			sum, n = sum+float64(l.Weights)*math.Log(u), n+float64(l.Weights)
		}
	}
	return math.Exp(sum / max(n, 1))
}

// number writes a number in three digits.
func number(v float64) v1alpha1.Decimal {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return decimalOf(rounded)
}
