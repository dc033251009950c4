package leaf

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/quantize"
)

// slack returns, by output channel (or one for all), how much further than half a code the int8 kernel of a node may be from the
// exact result, because it rounds twice (op.Factor). It is nil for operators whose simulation rounds as the kernel does, or that
// only move values.
func slack(g *ir.Graph, n *ir.Node) []float64 {
	r := quantize.RuleOf(n)
	scales := &op.Scales{Data: max(r.Find(op.Data), 0), Output: scaleOf(g.Output(n, 0)), Count: g.Numel(n.Inputs[0]) / max(g.Numel(n.Outputs[0]), 1)}
	for slot := range n.Inputs {
		scales.Inputs = append(scales.Inputs, scaleOf(g.Input(n, slot)))
	}
	if r.Weights != nil {
		for _, s := range g.Input(n, r.Find(op.Weight)).Quant.Scale {
			scales.Weights = append(scales.Weights, float64(s))
		}
	}
	if attr, ok := n.Attr.(ir.LeakyRelu); ok {
		scales.Alpha = float64(attr.Alpha)
	}
	var list []float64
	for _, f := range r.Int8.FactorsOf(scales) {
		list = append(list, f.Slack())
	}
	return list
}

// scaleOf is the first scale of a tensor, 0 if it is absent or has none.
func scaleOf(t *ir.Tensor) float64 {
	if t == nil || t.Quant == nil {
		return 0
	}
	return float64(t.Quant.Scale[0])
}
