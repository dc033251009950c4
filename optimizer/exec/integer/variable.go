package integer

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// refuseVariables names a variable that a graph holds, why it cannot be run and what to do about it; nil if it holds none. Some
// variables carry a state from one inference to the next, others only hold constants that the converter left to another subgraph to set.
func refuseVariables(g *ir.Graph) error {
	written := map[int]bool{}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; n.Op == schema.BuiltinOperatorASSIGN_VARIABLE && len(n.Inputs) > 0 {
			written[n.Inputs[0]] = true
		}
	}
	var first *ir.Node
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Op != schema.BuiltinOperatorVAR_HANDLE || len(n.Outputs) == 0 {
			continue
		}
		if written[n.Outputs[0]] {
			return &UnsupportedError{n.Index, n.String(), fmt.Sprintf("the network keeps its state in %s from one inference to the next, but samples are answered each for itself: "+
				"give the network the state as one more input, return the new state as one more output, and convert it again", variable(g, n))}
		}
		if first == nil {
			first = n
		}
	}
	if first == nil {
		return nil
	}
	return &UnsupportedError{first.Index, first.String(), fmt.Sprintf("the network only reads %s, which another subgraph sets: convert the one signature that is to be optimized "+
		"(signature_keys of TFLiteConverter.from_saved_model, or a model saved without functions that assign it), so that the value is written as a constant", variable(g, first))}
}

// variable names what a VAR_HANDLE stands for.
func variable(g *ir.Graph, n *ir.Node) string {
	operator := g.Model.Subgraph().Operators[n.Index]
	if o := operator.BuiltinOptions; o != nil {
		if v, ok := o.Value.(*schema.VarHandleOptionsT); ok && v.SharedName != "" {
			return fmt.Sprintf("variable %q", v.SharedName)
		}
	}
	return "a variable"
}
