package quantize

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
)

// unknown stands for a custom operator and one that is not in the table.
var unknown = &op.Op{Int8: op.Int8{Why: "it is not known"}}

// RuleOf returns what is known of a node's operator.
func RuleOf(n *ir.Node) *op.Op {
	if o := op.Lookup(n.Op); o != nil && n.Custom == "" {
		return o
	}
	return unknown
}

// prescribed returns a prescribed quantization.
func prescribed(q op.Quant) Params { return Params{Scale: q.Scale, ZeroPoint: q.ZeroPoint} }
