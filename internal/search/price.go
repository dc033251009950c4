package search

import (
	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/weight"
)

// Price is what a bit of a layer costs in a plan's stage.
type Price struct {
	Layer string
	// Share is the error of one of the layer's weights when they share codes, as a share of the average layer's; 0: there is none.
	Share float64
	// Entropy is the price.
	Entropy v1alpha1.Decimal
}

// Prices are those of the layers that the last cluster stage of a chain works on.
func Prices(layers []sensitivity.Layer, chain []v1alpha1.Stage) []Price {
	var section *v1alpha1.Cluster
	for i := range chain {
		if chain[i].Cluster != nil {
			section = chain[i].Cluster
		}
	}
	if section == nil {
		return nil
	}
	average := average(layers)
	var out []Price
	for _, l := range layers {
		if len(l.Cluster) == 0 {
			continue
		}
		p := Price{Layer: l.Name, Share: unit(l) / average, Entropy: v1alpha1.Or(section.Entropy, "1")}
		for _, r := range section.Rules {
			if weight.MatchName(r.Layers, l.Name) {
				p.Entropy = v1alpha1.Or(r.Entropy, p.Entropy)
				break
			}
		}
		out = append(out, p)
	}
	return out
}
