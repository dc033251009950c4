package float

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// newLayer compiles one node; nil if there is nothing to run.
func (n *Network) newLayer(g *ir.Graph, o *ir.Node) (layer, error) {
	if o.Folded || o.Op == schema.BuiltinOperatorDEQUANTIZE && n.constants[o.Outputs[0]] != nil {
		return nil, nil
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
	if l == nil {
		return nil, fmt.Errorf("%s cannot be executed in float: it is not supported", o)
	}
	return l, nil
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
		case schema.TensorTypeINT8, schema.TensorTypeUINT8, schema.TensorTypeINT16:
			if tensor.Quant != nil {
				return fmt.Errorf("%s reads %s, which is quantized: normalise a hybrid model, or import an int8 one as float, first", o, tensor)
			}
		case schema.TensorTypeFLOAT16, schema.TensorTypeFLOAT64:
			return fmt.Errorf("%s reads %s of type %s: only float32 is supported", o, tensor, tensor.Type)
		}
		if tensor.Numel() == 0 && tensor.Type == schema.TensorTypeFLOAT32 {
			return fmt.Errorf("%s: %s is empty, shape %v", o, tensor, tensor.Shape)
		}
	}
	switch o.Op {
	case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOperatorTRANSPOSE_CONV:
		if n.constants[o.Inputs[1]] == nil {
			return fmt.Errorf("%s: its weights %s are no float32 constant", o, &g.Tensors[o.Inputs[1]])
		}
	case schema.BuiltinOperatorFULLY_CONNECTED:
		if w := &g.Tensors[o.Inputs[1]]; w.Type != schema.TensorTypeFLOAT32 {
			return fmt.Errorf("%s: its weights %s are of type %s: only float32 is supported", o, w, w.Type)
		}
	}
	return nil
}

// build makes the layer of a supported operator, nil for any other.
func (n *Network) build(g *ir.Graph, o *ir.Node) (layer, error) {
	node := newNode(o, g)
	width := 1
	if t := g.Input(o, 0); t != nil && len(t.Shape) > 0 {
		width = t.Shape[len(t.Shape)-1]
	}
	switch attr := o.Attr.(type) {
	case ir.Conv:
		if attr.Depthwise {
			return newDepthwise(node, g, attr), nil
		}
		return newConv(node, n, g, attr), nil
	case ir.TransposeConv:
		return newTransposeConv(node, n, g, attr), nil
	case ir.FullyConnected:
		return newDense(node, n, attr.Rows, attr.In, attr.Out, boundsOf(attr.Act)), nil
	case ir.Binary:
		return newBinary(node, attr, operations[o.Op]), nil
	case ir.Pool:
		return n.buildPool(node, g, o, attr), nil
	case ir.Reduce:
		return n.buildReduce(node, g, o, attr), nil
	case ir.Softmax:
		return newSoftmax(node, width, attr.Beta, o.Op == schema.BuiltinOperatorLOG_SOFTMAX), nil
	case ir.L2Norm:
		return newNormalize(node, width, boundsOf(attr.Act)), nil
	case ir.Resize:
		return newResize(node, g, attr, o.Op == schema.BuiltinOperatorRESIZE_BILINEAR), nil
	case ir.Reshape:
		node.role = aliases
		return &alias{node}, nil
	case ir.Cast:
		return newCast(node, attr), nil
	case ir.Unary, ir.LeakyRelu, ir.Gelu:
		return n.buildUnary(node, o), nil
	}
	return n.buildMove(node, g, o)
}

func (n *Network) buildMove(node node, g *ir.Graph, o *ir.Node) (layer, error) {
	switch attr := o.Attr.(type) {
	case ir.Transpose:
		return newTranspose(node, g, attr), nil
	case ir.StridedSlice:
		return newStridedSlice(node, g, attr), nil
	case ir.Split:
		return newSplit(node, g, attr), nil
	case ir.Concat:
		return newConcat(node, g, attr), nil
	case ir.Pad:
		return newPad(node, g, attr), nil
	case ir.MirrorPad:
		return newMirrorPad(node, g, attr), nil
	case ir.BlockSize:
		return newBlocks(node, o, g, attr), nil
	case ir.Gather:
		return newGather(node, g, attr)
	case ir.Pack:
		return newPack(node, g, attr), nil
	case ir.Unpack:
		return newUnpack(node, g, attr), nil
	case ir.Reverse:
		return newReverse(node, g, attr), nil
	}
	return nil, nil
}

func (n *Network) buildPool(node node, g *ir.Graph, o *ir.Node, attr ir.Pool) layer {
	switch o.Op {
	case schema.BuiltinOperatorMAX_POOL_2D:
		return newMaxPool(node, g, attr)
	case schema.BuiltinOperatorAVERAGE_POOL_2D:
		return newAveragePool(node, g, attr)
	}
	return nil
}

func (n *Network) buildReduce(node node, g *ir.Graph, o *ir.Node, attr ir.Reduce) layer {
	switch o.Op {
	case schema.BuiltinOperatorMEAN, schema.BuiltinOperatorSUM:
		return newSum(node, g, attr, o.Op == schema.BuiltinOperatorMEAN)
	case schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOperatorREDUCE_MIN:
		return newExtreme(node, g, attr, o.Op)
	}
	return nil
}

func (n *Network) buildUnary(node node, o *ir.Node) layer {
	switch o.Op {
	case schema.BuiltinOperatorRELU:
		return newClamp(node, boundsOf(ir.Relu))
	case schema.BuiltinOperatorRELU6:
		return newClamp(node, boundsOf(ir.Relu6))
	case schema.BuiltinOperatorRELU_N1_TO_1:
		return newClamp(node, boundsOf(ir.ReluN1To1))
	case schema.BuiltinOperatorRELU_0_TO_1:
		return newClamp(node, bounds{0, 1})
	}
	l, ok := newUnary(o, node)
	switch {
	case !ok:
		return nil
	case o.Op == schema.BuiltinOperatorHARD_SWISH:
		return newHardSwish(l)
	}
	return l
}
