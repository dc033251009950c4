package integer

import (
	"strings"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// floatKernel is an operator on float32, computed by package float. A float.Op has working memory, so every executor has its
// own.
type floatKernel int // index of the executor's floatOp

// floatOp is one executor's float operator and where its operands lie.
type floatOp struct {
	*float.Op
	in, out [][]float32
}

func buildFloat(c *compiler) (runner, error) {
	known := op.Lookup(c.n.Op)
	for i, t := range c.n.Inputs {
		if t < 0 || known != nil && known.Slot(i) == op.Param && c.g.Tensors[t].Const != nil { // axes, a size: read when parsed
			continue
		}
		if err := c.isFloat(t); err != nil {
			return nil, err
		}
	}
	for _, t := range c.n.Outputs {
		if err := c.isFloat(t); err != nil {
			return nil, err
		}
	}
	compiled, err := float.NewOp(c.g, c.n.Index)
	if err != nil {
		return nil, &UnsupportedError{c.n.Index, c.n.String(), strings.TrimPrefix(err.Error(), c.n.String()+" ")}
	}
	c.floats = append(c.floats, floatNode{c.n, compiled})
	return floatKernel(len(c.floats) - 1), nil
}

// isFloat refuses a tensor of another type among the float ones.
func (c *compiler) isFloat(t int) error {
	if t := &c.g.Tensors[t]; t.Type != schema.TensorTypeFLOAT32 {
		return c.unsupported("%s is %s among float tensors", t, t.Type)
	}
	return nil
}

// floatNode is a float operator as compiled.
type floatNode struct {
	node *ir.Node
	op   *float.Op
}

// addFloats gives an executor's memory its own instances.
func (m *memory) addFloats(g *ir.Graph, floats []floatNode) {
	for _, n := range floats {
		f := floatOp{Op: n.op.Clone()}
		for _, t := range n.node.Inputs {
			f.in = append(f.in, m.reals(g, t))
		}
		for _, t := range n.node.Outputs {
			f.out = append(f.out, m.reals(g, t))
		}
		m.floats = append(m.floats, f)
	}
}

// reals returns a float tensor's values; nil if it is absent or not float.
func (m *memory) reals(g *ir.Graph, t int) []float32 {
	if t < 0 || g.Tensors[t].Type != schema.TensorTypeFLOAT32 {
		return nil
	}
	return m.float32s(t)
}

func (k floatKernel) run(m *memory) error {
	f := &m.floats[k]
	f.Forward(f.in, f.out)
	return nil
}
