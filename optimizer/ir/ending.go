package ir

import (
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Last is the operator between the values a loss sees and a model's output.
type Last uint8

const (
	// PlainEnd means that the output is the loss tensor itself.
	PlainEnd Last = iota
	// SoftmaxEnd means that the output is softmax(β·loss tensor), or its logarithm: the loss tensor holds logits.
	SoftmaxEnd
	// LogisticEnd means that the output is the logistic function of the loss tensor.
	LogisticEnd
	// UnitEnd means that the output is the loss tensor, whose rows L2_NORMALIZATION made of length 1.
	UnitEnd
)

// Ending says how a model output is made, from where a loss can attach on.
type Ending struct {
	// Tensor is the loss tensor: the last differentiable one, before a final SOFTMAX or LOGISTIC.
	Tensor int
	Last   Last
	Beta   float32 // of a SOFTMAX, else 1
	// Index means that the output is the position of the largest value along Tensor's last dimension, by ARG_MAX.
	Index bool
	// Cut means that operators without a gradient, of which Index says nothing, lie between Tensor and the output.
	Cut bool
}

// End returns how model output i is made.
func (g *Graph) End(i int) Ending {
	e := Ending{Tensor: g.Outputs[i], Beta: 1}
	for {
		if g.last(&e) {
			return e
		}
		n := g.producer(g.seenThrough(e.Tensor))
		if n == nil || n.Folded || !flat(n) {
			return e
		}
		arg, ok := n.Attr.(ArgReduce)
		first := n.Op == schema.BuiltinOperatorARG_MAX && ok && arg.Axis == len(g.Tensors[n.Inputs[0]].Shape)-1
		e.Index, e.Cut = first && !e.Index && !e.Cut, e.Cut || e.Index || !first
		e.Tensor = n.Inputs[0]
	}
}

// flat reports whether a node has no gradient to pass on.
func flat(n *Node) bool {
	if cast, ok := n.Attr.(Cast); ok {
		return !isFloat(cast.To)
	}
	known := op.Lookup(n.Op)
	return known != nil && known.NoGradient != "" && len(n.Inputs) > 0 && n.Inputs[0] >= 0
}

func isFloat(t schema.TensorType) bool {
	return t == schema.TensorTypeFLOAT32 || t == schema.TensorTypeFLOAT16 || t == schema.TensorTypeFLOAT64
}

// last recognises a SOFTMAX, LOG_SOFTMAX, LOGISTIC or L2_NORMALIZATION that makes the ending's tensor.
func (g *Graph) last(e *Ending) bool {
	n := g.producer(g.seenThrough(e.Tensor))
	if n == nil {
		return false
	}
	switch attr := n.Attr.(type) {
	case Softmax:
		e.Tensor, e.Last, e.Beta = n.Inputs[0], SoftmaxEnd, attr.Beta
	case L2Norm:
		e.Last = UnitEnd
	default:
		if n.Op != schema.BuiltinOperatorLOGISTIC {
			return false
		}
		e.Tensor, e.Last = n.Inputs[0], LogisticEnd
	}
	return true
}

// seenThrough is the tensor that t holds in another shape or number format.
func (g *Graph) seenThrough(t int) int {
	for {
		n := g.producer(t)
		if n == nil || n.Folded {
			return t
		}
		cast, isCast := n.Attr.(Cast)
		_, shaped := n.Attr.(Reshape)
		again := n.Op == schema.BuiltinOperatorQUANTIZE || n.Op == schema.BuiltinOperatorDEQUANTIZE
		// A change from an integer to another type is of an index or a count.
		if !shaped && !again && !(isCast && (isFloat(cast.To) || !isFloat(cast.From))) {
			return t
		}
		t = n.Inputs[0]
	}
}

// producer is the node that makes t; nil for inputs and constants.
func (g *Graph) producer(t int) *Node {
	if t < 0 || g.Tensors[t].Producer < 0 {
		return nil
	}
	return &g.Nodes[g.Tensors[t].Producer]
}
