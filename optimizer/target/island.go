package target

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// staysFloat is the rule of an operator that leaves have in float and that computes with floats here, nil of any other.
func (n *node) staysFloat() *op.Int8 {
	known := op.Lookup(n.code)
	if known == nil || known.Int8.Instead == "" || len(n.floats()) == 0 {
		return nil
	}
	return &known.Int8
}

// converts reports whether an operator only converts to or from floats.
func (n *node) converts() bool {
	quantizes := n.code == schema.BuiltinOperatorQUANTIZE || n.code == schema.BuiltinOperatorDEQUANTIZE
	return quantizes && len(n.floats()) > 0
}

// floats are the tensors of floats, complex numbers too, that an operator reads or makes and that are no constants.
func (n *node) floats() []int32 {
	var list []int32
	for _, i := range slices.Concat(n.op.Inputs, n.op.Outputs) {
		if i < 0 {
			continue
		}
		t := n.subgraph.Tensors[i]
		if (t.Type == schema.TensorTypeFLOAT32 || t.Type == schema.TensorTypeCOMPLEX64) && !n.model.IsConst(t) {
			list = append(list, i)
		}
	}
	return list
}

// explainFloat has the operators that an accelerator does not take say for the sake of which other they are in float: those that lie, in floats,
// nearest to one that stays float in leaves, conversions among them, and the conversions beside any other. A subgraph in which nothing is
// converted is float as a whole, and each of its operators speaks for itself.
func (t *Target) explainFloat(nodes []*node, placed []Placement) {
	if t.Accelerator == nil || !slices.ContainsFunc(nodes, (*node).converts) {
		return
	}
	beside := map[int32][]int{} // operators by the tensor of floats that they touch
	for i, n := range nodes {
		for _, f := range n.floats() {
			beside[f] = append(beside[f], i)
		}
	}
	off := func(i int) bool { return placed[i].Reason != "" }
	t.spread(nodes, placed, beside, func(i int) bool { return off(i) && nodes[i].staysFloat() != nil }, func(int) bool { return true })
	t.spread(nodes, placed, beside, func(i int) bool { return off(i) && placed[i].Because == nil && !nodes[i].converts() },
		func(i int) bool { return nodes[i].converts() })
}

// spread goes from the causes over operators that share a tensor of floats, as far as they may follow, and has each name the cause that is nearest.
func (t *Target) spread(nodes []*node, placed []Placement, beside map[int32][]int, cause, follows func(i int) bool) {
	of, passed := map[int]int{}, map[int32]bool{}
	var queue []int
	for i := range placed {
		if cause(i) {
			of[i] = i
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, f := range nodes[at].floats() {
			if passed[f] {
				continue
			}
			passed[f] = true
			for _, i := range beside[f] {
				if _, reached := of[i]; reached || placed[i].Because != nil || !follows(i) {
					continue
				}
				of[i] = of[at]
				queue = append(queue, i)
				p, because := &placed[i], placed[of[at]]
				if p.Reason == "" {
					continue
				}
				p.Because, p.Remedy = &placed[of[at]].Operator, because.Remedy
				if p.Place != Nowhere {
					p.Reason = t.off(fmt.Sprintf("it is float for the sake of %s (%s)", because.Name, because.Layer))
				}
			}
		}
	}
}
