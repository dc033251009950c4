package tflite

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// CopySubgraph returns a copy that shares nothing with the original.
func CopySubgraph(g *schema.SubGraphT) *schema.SubGraphT { return deepCopy(g) }

// DropSubgraphs removes the subgraphs that no signature and no operator of a subgraph that stays names. The primary one stays.
func DropSubgraphs(m *Model) {
	used := make([]bool, len(m.Subgraphs))
	var visit func(i uint64)
	visit = func(i uint64) {
		if i >= uint64(len(used)) || used[i] {
			return
		}
		used[i] = true
		eachSubgraphNamed(m.Subgraphs[i], func(named uint64) uint64 {
			visit(named)
			return named
		})
	}
	visit(0)
	for _, s := range m.SignatureDefs {
		visit(uint64(s.SubgraphIndex))
	}
	if !slices.Contains(used, false) {
		return
	}
	place := make([]uint64, len(used))
	var kept []*schema.SubGraphT
	for i, g := range m.Subgraphs {
		place[i] = uint64(len(kept))
		if used[i] {
			kept = append(kept, g)
		}
	}
	m.Subgraphs = kept
	for _, s := range m.SignatureDefs {
		s.SubgraphIndex = uint32(place[s.SubgraphIndex])
	}
	for _, g := range kept {
		eachSubgraphNamed(g, func(named uint64) uint64 { return place[named] })
	}
}

// eachSubgraphNamed gives every subgraph that an operator of g names the number that place returns.
func eachSubgraphNamed(g *schema.SubGraphT, place func(uint64) uint64) {
	for _, o := range g.Operators {
		if o.BuiltinOptions != nil {
			renumberSubgraphs(o.BuiltinOptions.Value, place)
		}
		if o.BuiltinOptions2 != nil {
			renumberSubgraphs(o.BuiltinOptions2.Value, place)
		}
	}
}
