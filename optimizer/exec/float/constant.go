package float

import (
	"encoding/binary"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// constant is a tensor whose values do not come from an operator, with the forms of it that operators ask for.
type constant struct {
	param     *Param // nil: cannot be trained
	index     int    // of param in Network.Params
	raw       []float32
	quantized []float32 // raw after fake quantization, once Act has asked for it
	forms     []form
}

// form is a rearrangement of a constant's values, such as the transpose of a weight matrix.
type form struct {
	name string
	data []float32
	fill func(dst, src []float32)
}

// form returns a rearrangement, made by fill whenever the values change. Equal names are the same form.
func (c *constant) form(name string, fill func(dst, src []float32)) []float32 {
	for _, f := range c.forms {
		if f.name == name {
			return f.data
		}
	}
	f := form{name: name, data: make([]float32, len(c.raw)), fill: fill}
	f.fill(f.data, c.raw)
	c.forms = append(c.forms, f)
	return f.data
}

// transposed is the form with groups of rows×cols matrices transposed.
func (c *constant) transposed(groups, rows, cols int) []float32 {
	return c.form(fmt.Sprint("transposed ", groups, rows, cols), func(dst, src []float32) {
		for k := range groups {
			at := k * rows * cols
			kernel.Transpose(dst[at:at+rows*cols], src[at:at+rows*cols], rows, cols)
		}
	})
}

// effective returns what operators read: the values, or with q a buffer of the quantized ones.
func (c *constant) effective(q *ActQuant) []float32 {
	if q == nil {
		return c.raw
	}
	if c.quantized == nil {
		c.quantized = make([]float32, len(c.raw))
		c.refresh(q)
	}
	return c.quantized
}

// refresh derives everything from the values again.
func (c *constant) refresh(q *ActQuant) {
	for _, f := range c.forms {
		f.fill(f.data, c.raw)
	}
	if c.quantized != nil && q != nil {
		kernel.FakeQuant(c.quantized, c.raw, q.kernel())
	}
}

// readConstants decodes the constants float operators read and makes Params of those that can be trained.
func (n *Network) readConstants(g *ir.Graph, nodes []ir.Node) error {
	n.constants = make([]*constant, len(g.Tensors))
	for i := range nodes {
		o := &nodes[i]
		if o.Folded {
			continue
		}
		if o.Op == schema.BuiltinOperatorDEQUANTIZE {
			if err := n.foldDequantize(g, o); err != nil {
				return err
			}
			continue
		}
		known := op.Lookup(o.Op)
		for slot, t := range o.Inputs {
			if t < 0 || g.Tensors[t].Const == nil || n.constants[t] != nil || known != nil && known.Slot(slot) == op.Param {
				continue
			}
			c := &constant{raw: g.Tensors[t].Numbers()}
			if c.raw == nil {
				continue
			}
			n.constants[t] = c
			n.addParam(g, o, slot, c)
		}
	}
	return nil
}

// foldDequantize treats the DEQUANTIZE of a constant, as files with float16 weights have it, as a constant.
func (n *Network) foldDequantize(g *ir.Graph, o *ir.Node) error {
	t := &g.Tensors[o.Inputs[0]]
	if t.Const == nil {
		return nil
	}
	values, err := dequantized(t)
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	n.constants[o.Outputs[0]] = &constant{raw: values}
	return nil
}

// dequantized returns the real values of a float16, int8 or int4 constant.
func dequantized(t *ir.Tensor) ([]float32, error) {
	switch {
	case t.Type == schema.TensorTypeFLOAT16:
		values := make([]float32, len(t.Const)/2)
		for i := range values {
			values[i] = halfFloat(binary.LittleEndian.Uint16(t.Const[2*i:]))
		}
		return values, nil
	case tflite.IsInt8s(t.Type) && t.Quant != nil:
		codes := t.Int8s()
		values := make([]float32, len(codes))
		inner, channels := 1, len(t.Quant.Scale)
		if channels > 1 {
			inner = product(t.Shape[t.Quant.Axis+1:])
		}
		for i, q := range codes {
			c := i / inner % channels
			values[i] = t.Quant.Scale[c] * float32(int32(q)-t.Quant.ZeroPoint[c])
		}
		return values, nil
	}
	return nil, fmt.Errorf("%s of type %s cannot be dequantized", t, t.Type)
}

// halfFloat converts an IEEE 754 half.
func halfFloat(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0:
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// addParam makes a Param of the constant in an input slot of o, if the operator has a gradient for it.
func (n *Network) addParam(g *ir.Graph, o *ir.Node, slot int, c *constant) {
	t := &g.Tensors[o.Inputs[slot]]
	p := &Param{Tensor: t.Index, Node: o.Index, Name: t.Name, Shape: t.Shape, Value: c.raw}
	known := op.Lookup(o.Op)
	switch {
	case known == nil:
		return
	case known.Slot(slot) == op.Weight && known.Weights == nil:
		p.Kind, p.Axis = Kernel, len(t.Shape)-1
	case known.Slot(slot) == op.Weight:
		p.Kind, p.Axis = kinds[known.Weights.Kind], known.Weights.Axis
	case known.Slot(slot) == op.Bias:
		p.Kind = Bias
	case t.Type != schema.TensorTypeFLOAT32:
		return
	case known.Slot(slot) == op.Data && known.Table:
		p.Kind, p.Axis = Table, max(len(t.Shape)-1, 0)
	case known.Slot(slot) == op.Data && known.Trains:
		p.Kind, p.Axis = Constant, max(len(t.Shape)-1, 0)
	default:
		return
	}
	c.param, c.index = p, len(n.Params)
	n.Params = append(n.Params, p)
}

// kinds are the parameters that weights are.
var kinds = map[op.Kind]Kind{op.Kernel: Kernel, op.Depthwise: Depthwise, op.Dense: Dense}
