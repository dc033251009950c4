package float

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// newLayer compiles one node; nil if there is nothing to run.
func (n *Network) newLayer(g *ir.Graph, o *ir.Node) (layer, error) {
	if o.Folded || o.Op == schema.BuiltinOperatorDEQUANTIZE && n.constants[o.Outputs[0]] != nil {
		return nil, nil
	}
	if why := refusal(o); o.Attr == nil && why != "" {
		return nil, fmt.Errorf("%s cannot be executed: %s", o, why)
	}
	if o.Attr == nil {
		return nil, fmt.Errorf("%s cannot be executed in float: it is not supported; models with it can be carried through, not trained or measured", o)
	}
	if err := n.check(g, o); err != nil {
		return nil, err
	}
	l, err := n.build(g, o)
	if err != nil {
		return nil, err
	}
	if l == nil && (o.Op == schema.BuiltinOperatorQUANTIZE || o.Op == schema.BuiltinOperatorDEQUANTIZE) {
		return nil, fmt.Errorf("%s: the model is quantized at least in part: import it as float first", o)
	}
	if why := refusal(o); l == nil && why != "" {
		return nil, fmt.Errorf("%s cannot be executed: %s", o, why)
	}
	if l == nil {
		return nil, fmt.Errorf("%s cannot be executed in float: it is not supported", o)
	}
	return l, nil
}

// refusal is why an operator of the table is not run, "" if it does not say.
func refusal(o *ir.Node) string {
	if known := op.Lookup(o.Op); known != nil && o.Custom == "" {
		return known.NoForward
	}
	return ""
}

// check refuses what layers rely on not to meet: quantized or empty operands, weights that are computed where constants are
// needed.
func (n *Network) check(g *ir.Graph, o *ir.Node) error {
	for _, t := range o.Outputs {
		if t >= 0 && g.Numel(t) == 0 {
			return fmt.Errorf("%s: %s is empty, shape %v", o, &g.Tensors[t], g.Tensors[t].Shape)
		}
	}
	for _, t := range o.Inputs {
		if t < 0 {
			continue
		}
		tensor := &g.Tensors[t]
		switch tensor.Type {
		case schema.TensorTypeINT8, schema.TensorTypeUINT8, schema.TensorTypeINT16, schema.TensorTypeINT4:
			if tensor.Quant != nil {
				return fmt.Errorf("%s reads %s, which is quantized: normalise a hybrid model, or import an int8 one as float, first", o, tensor)
			}
		case schema.TensorTypeCOMPLEX64:
			if !readsComplex[o.Op] {
				return fmt.Errorf("%s reads %s of type %s: of complex numbers only their magnitude, real and imaginary parts and other shapes are supported", o, tensor, tensor.Type)
			}
		case schema.TensorTypeFLOAT16, schema.TensorTypeFLOAT64:
			return fmt.Errorf("%s reads %s of type %s: only float32 is supported", o, tensor, tensor.Type)
		}
		if tensor.Numel() == 0 && tensor.Type == schema.TensorTypeFLOAT32 {
			return fmt.Errorf("%s: %s is empty, shape %v", o, tensor, tensor.Shape)
		}
	}
	known := op.Lookup(o.Op)
	if known == nil || known.Weights == nil {
		return nil
	}
	switch w := g.Input(o, known.Find(op.Weight)); {
	case known.Weights.Kind == op.Dense && w.Type != schema.TensorTypeFLOAT32:
		return fmt.Errorf("%s: its weights %s are of type %s: only float32 is supported", o, w, w.Type)
	case known.Weights.Kind != op.Dense && n.constants[o.Inputs[known.Find(op.Weight)]] == nil:
		return fmt.Errorf("%s: its weights %s are no float32 constant", o, w)
	}
	return nil
}

// site is the place of a node being compiled.
type site struct {
	node
	net *Network
	g   *ir.Graph
	o   *ir.Node
}

// width is the last dimension of the first input.
func (s *site) width() int {
	if t := s.g.Input(s.o, 0); t != nil && len(t.Shape) > 0 {
		return t.Shape[len(t.Shape)-1]
	}
	return 1
}

// build makes the layer of an operator.
type build = func(*site) (layer, error)

// of is the build of a layer that is made from its node, the graph and an attribute of type A.
func of[A any](made func(node, *ir.Graph, A) layer) build {
	return func(s *site) (layer, error) { return made(s.node, s.g, s.o.Attr.(A)), nil }
}

// build makes the layer of a supported operator, nil for any other.
func (n *Network) build(g *ir.Graph, o *ir.Node) (layer, error) {
	make, ok := builders[o.Op]
	if !ok {
		return nil, nil
	}
	return make(&site{newNode(o, g), n, g, o})
}
