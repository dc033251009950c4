package float

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// LossTensor is where the loss of model output i attaches unless told otherwise.
func (n *Network) LossTensor(i int) int { return n.ends[i].Tensor }

// Attach says which tensors have a loss; initially the LossTensor of every output. It must be called before NewExec, and decides what
// is trainable.
func (n *Network) Attach(tensors ...int) {
	n.losses = n.losses[:0]
	for _, t := range tensors {
		if !slices.Contains(n.losses, t) {
			n.losses = append(n.losses, t)
		}
	}
	n.findTrainable(n.full)
}

// findLosses attaches a loss to every output.
func (n *Network) findLosses() {
	all := make([]int, len(n.Graph.Outputs))
	for i := range n.Graph.Outputs {
		n.ends = append(n.ends, n.Graph.End(i))
		all[i] = n.ends[i].Tensor
	}
	n.Attach(all...)
}

// findTrainable marks what a gradient path leads to, from the loss tensors back.
func (n *Network) findTrainable(p *program) {
	n.reaches = make([]bool, len(n.Graph.Tensors))
	for _, t := range n.losses {
		n.reaches[t] = true
	}
	for i := len(p.layers) - 1; i >= 0; i-- {
		if p.layers[i] == nil || p.layers[i].base().opaque {
			continue
		}
		reached := false
		for _, t := range p.layers[i].base().out {
			reached = reached || t >= 0 && n.reaches[t]
		}
		for _, t := range p.layers[i].base().in {
			if reached && t >= 0 && differentiable(n.Graph.Tensors[t].Type) {
				n.reaches[t] = true
			}
		}
	}
	for _, param := range n.Params {
		param.Trainable = n.reaches[param.Tensor]
	}
}

// differentiable reports whether values of a type have gradients.
func differentiable(t schema.TensorType) bool {
	return t == schema.TensorTypeFLOAT32 || t == schema.TensorTypeCOMPLEX64
}
