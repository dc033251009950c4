package search

import (
	"math"
	"sort"
	"strconv"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// level is the number of codes that layers are compared at; it is among sensitivity.Clusters.
const level = 32

const mostEntropy = 1000 // that a manifest may say

// allocation is what every layer is clustered by: the price of a bit, as the entropy weight of the average layer, how much layers differ
// in it by what they tolerate (0: not at all, 1: one price of output error for all), and how many codes they may have at most.
type allocation struct {
	price, tilt float64
	codes       int
}

// cluster is the section of a stage that carries an allocation out.
func (a allocation) cluster(layers []sensitivity.Layer) *v1alpha1.Cluster {
	base := number(a.price)
	out := &v1alpha1.Cluster{Clusters: int32(a.codes), Entropy: &base, Reconstruct: true}
	for _, e := range a.entropies(layers) {
		entropy := number(e.entropy)
		out.Rules = append(out.Rules, v1alpha1.ClusterRule{Layers: e.pattern, Entropy: &entropy})
	}
	return out
}

// share is a layer's own price.
type share struct {
	pattern string
	entropy float64
}

// entropies are the prices by layer; of the largest where there are more layers than a stage may have rules.
func (a allocation) entropies(layers []sensitivity.Layer) []share {
	var names []string
	var chosen []sensitivity.Layer
	for _, l := range layers {
		names = append(names, l.Name)
		if len(l.Cluster) > 0 {
			chosen = append(chosen, l)
		}
	}
	sort.SliceStable(chosen, func(i, j int) bool { return chosen[i].Weights > chosen[j].Weights })
	average := average(chosen)
	var out []share
	for _, l := range chosen {
		if len(out) == sensitivity.MostRules {
			break
		}
		e := a.price
		if u := unit(l); u > 0 {
			e *= math.Pow(average/u, a.tilt)
		}
		if pattern := sensitivity.Pattern(l.Name, names); pattern != "" {
			out = append(out, share{pattern, min(e, mostEntropy)})
		}
	}
	return out
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
	return v1alpha1.Decimal(strconv.FormatFloat(rounded, 'f', -1, 64))
}
