package integer

import (
	"math"
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
	in, out         []reals
	inputs, outputs [][]float32 // their values, in order
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

// isFloat refuses a tensor whose values cannot be held as float32. Integers and truths can, as far as they are below 2²⁴.
func (c *compiler) isFloat(t int) error {
	switch t := &c.g.Tensors[t]; t.Type {
	case schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeINT64, schema.TensorTypeBOOL, schema.TensorTypeCOMPLEX64:
		return nil
	default:
		return c.unsupported("%s is %s among float tensors", t, t.Type)
	}
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
			f.in = append(f.in, m.newReals(g, t))
		}
		for _, t := range n.node.Outputs {
			f.out = append(f.out, m.newReals(g, t))
		}
		f.inputs, f.outputs = make([][]float32, len(f.in)), make([][]float32, len(f.out))
		m.floats = append(m.floats, f)
	}
}

// reals are the values of a tensor as float32: its own memory, or for integers a copy.
type reals struct {
	values []float32 // nil if the tensor is absent or a constant that package float has read
	tensor int
	kind   schema.TensorType
}

func (m *memory) newReals(g *ir.Graph, t int) reals {
	switch {
	case t < 0:
		return reals{}
	case g.Tensors[t].Type == schema.TensorTypeFLOAT32 || g.Tensors[t].Type == schema.TensorTypeCOMPLEX64:
		return reals{m.float32s(t), t, g.Tensors[t].Type}
	case g.Tensors[t].Const != nil:
		return reals{}
	default:
		return reals{make([]float32, g.Tensors[t].Numel()), t, g.Tensors[t].Type}
	}
}

// read fills a copy.
func (r *reals) read(m *memory) {
	switch r.kind {
	case schema.TensorTypeINT32:
		convert(r.values, m.int32s(r.tensor))
	case schema.TensorTypeINT64:
		convert(r.values, m.int64s(r.tensor))
	case schema.TensorTypeBOOL:
		convert(r.values, m.bytes[r.tensor])
	}
}

// write stores a copy.
func (r *reals) write(m *memory) {
	switch r.kind {
	case schema.TensorTypeINT32:
		castTo(m.int32s(r.tensor), r.values, math.MinInt32, math.MaxInt32)
	case schema.TensorTypeINT64:
		castTo(m.int64s(r.tensor), r.values, math.MinInt64, math.MaxInt64)
	case schema.TensorTypeBOOL:
		castTo(m.bytes[r.tensor], r.values, 0, 1)
	}
}

func (k floatKernel) run(m *memory) error {
	f := &m.floats[k]
	for i := range f.in {
		f.in[i].read(m)
		f.inputs[i] = f.in[i].values
	}
	for i := range f.out {
		f.outputs[i] = f.out[i].values
	}
	f.Forward(f.inputs, f.outputs)
	for i := range f.out {
		f.out[i].write(m)
	}
	return nil
}
