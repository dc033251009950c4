package search

import (
	"fmt"
	"strconv"
	"strings"
)

// Tried sums up what the trials are, such as "8 by the price of a bit, 10 to 90, without training; 3 with 4, 2 and 3 codes a layer, with
// training"; "" without any.
func (p *Plan) Tried() string {
	var kinds []string
	of := map[string][]float64{} // levels, by kind
	for _, t := range p.Trials {
		kind, level := t.kind()
		if of[kind] == nil {
			kinds = append(kinds, kind)
		}
		of[kind] = append(of[kind], level)
	}
	parts := make([]string, len(kinds))
	for i, kind := range kinds {
		parts[i] = fmt.Sprintf("%d %s", len(of[kind]), strings.Replace(kind, "LEVELS", levels(of[kind]), 1))
	}
	return strings.Join(parts, "; ")
}

// kind is what a trial is one of, with the place of its level.
func (t *Trial) kind() (kind string, level float64) {
	trained := ", without training"
	if t.trains() {
		trained = ", with training"
	}
	switch {
	case t.Stage.Quantize != nil:
		return "trained on in int8", 0
	case t.Multiplications > 0:
		return "with at most LEVELS of the multiplications" + trained, t.Multiplications
	case t.Channels > 0:
		return "without LEVELS of the channels" + trained, t.Channels
	case t.Stage.Prune != nil:
		return "for the zeros that a constraint asks for", 0
	case t.trains() && int(t.Stage.Cluster.Clusters) <= fewCodes[0].codes:
		return "with LEVELS codes a layer" + trained, float64(t.Stage.Cluster.Clusters)
	}
	return "by the price of a bit, LEVELS" + trained, t.Price
}

// levels lists a few numbers, or says between which more of them lie.
func levels(of []float64) string {
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	low, high := of[0], of[0]
	for _, v := range of {
		low, high = min(low, v), max(high, v)
	}
	switch {
	case low == high:
		return text(low)
	case len(of) > 3:
		return text(low) + " to " + text(high)
	}
	out := text(of[0])
	for i, v := range of[1:] {
		out += map[bool]string{true: " and ", false: ", "}[i == len(of)-2] + text(v)
	}
	return out
}
