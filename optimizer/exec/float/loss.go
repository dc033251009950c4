package float

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Ending is the operator between the loss tensor and the model's output.
type Ending uint8

const (
	// Plain means that the output is the loss tensor itself.
	Plain Ending = iota
	// Softmax means that the output is softmax(β·loss tensor), or its logarithm: the loss tensor holds logits.
	Softmax
	// Logistic means that the output is the logistic function of the loss tensor.
	Logistic
)

// Loss says where a loss attaches: the last differentiable tensor before output 0, and before a final SOFTMAX or LOGISTIC.
type Loss struct {
	Tensor int
	Ending Ending
	Beta   float32 // of a SOFTMAX, else 1
}

// Loss returns where a loss attaches.
func (n *Network) Loss() Loss { return n.loss }

// LossTensor is Loss().Tensor.
func (n *Network) LossTensor() int { return n.loss.Tensor }

// findLoss walks back from output 0.
func (n *Network) findLoss(p *program) {
	g := n.Graph
	t := g.Outputs[0]
	for {
		if loss, ok := n.ending(t); ok {
			n.loss = loss
			return
		}
		producer := g.Tensors[t].Producer
		if producer < 0 || p.layers[producer] == nil || !p.layers[producer].base().opaque {
			break
		}
		t = g.Nodes[producer].Inputs[0]
	}
	n.loss = Loss{Tensor: t, Beta: 1}
}

// ending recognises a SOFTMAX, LOG_SOFTMAX or LOGISTIC that makes t, through operators that only reshape.
func (n *Network) ending(t int) (Loss, bool) {
	g := n.Graph
	for g.Tensors[t].Producer >= 0 {
		o := &g.Nodes[g.Tensors[t].Producer]
		switch attr := o.Attr.(type) {
		case ir.Reshape:
			t = o.Inputs[0]
			continue
		case ir.Softmax:
			return Loss{Tensor: o.Inputs[0], Ending: Softmax, Beta: attr.Beta}, true
		case ir.Unary:
			if o.Op == schema.BuiltinOperatorLOGISTIC {
				return Loss{Tensor: o.Inputs[0], Ending: Logistic, Beta: 1}, true
			}
		}
		break
	}
	return Loss{}, false
}

// findTrainable marks what a gradient path leads to, from the loss tensor back.
func (n *Network) findTrainable(p *program) {
	n.reaches = make([]bool, len(n.Graph.Tensors))
	n.reaches[n.loss.Tensor] = true
	for i := len(p.layers) - 1; i >= 0; i-- {
		if p.layers[i] == nil || p.layers[i].base().opaque {
			continue
		}
		reached := false
		for _, t := range p.layers[i].base().out {
			reached = reached || t >= 0 && n.reaches[t]
		}
		for _, t := range p.layers[i].base().in {
			if reached && t >= 0 && n.Graph.Tensors[t].Type == schema.TensorTypeFLOAT32 {
				n.reaches[t] = true
			}
		}
	}
	for _, param := range n.Params {
		param.Trainable = n.reaches[param.Tensor]
	}
}

// CheckTrainable returns ErrNothingToTrain if no parameter is trainable.
func (n *Network) CheckTrainable() error {
	for _, p := range n.Params {
		if p.Trainable {
			return nil
		}
	}
	return ErrNothingToTrain
}
