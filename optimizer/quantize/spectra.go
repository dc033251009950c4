package quantize

import (
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// untilLog marks the nodes between the parts of a complex spectrum and the logarithm that is taken of what is made of them: powers of a
// spectrum span many more orders of magnitude than 256 codes, and the logarithm looks at the least of them. Nodes of which anything
// else is made are not among them.
func untilLog(g *ir.Graph) []bool {
	marked := make([]bool, len(g.Nodes))
	for i := range g.Nodes {
		n := &g.Nodes[i]
		switch n.Op {
		case schema.BuiltinOperatorCOMPLEX_ABS, schema.BuiltinOperatorREAL, schema.BuiltinOperatorIMAG:
			marked[i] = true
		case schema.BuiltinOperatorLOG:
		default:
			marked[i] = !n.Folded && ofMarked(g, n, marked)
		}
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		for _, t := range g.Nodes[i].Outputs {
			if t < 0 {
				continue
			}
			readers := g.Tensors[t].Consumers
			marked[i] = marked[i] && len(readers) > 0 && !slices.Contains(g.Outputs, t) && !slices.ContainsFunc(readers, func(r int) bool {
				return !marked[r] && g.Nodes[r].Op != schema.BuiltinOperatorLOG
			})
		}
	}
	return marked
}

// ofMarked reports whether all that a node reads, constants apart, comes from marked nodes.
func ofMarked(g *ir.Graph, n *ir.Node, marked []bool) bool {
	any := false
	for _, t := range n.Inputs {
		if t < 0 || g.Tensors[t].Const != nil {
			continue
		}
		if at := g.Tensors[t].Producer; at < 0 || !marked[at] {
			return false
		}
		any = true
	}
	return any
}
