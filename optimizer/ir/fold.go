package ir

import (
	"encoding/binary"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// maxFolded bounds the elements of a folded integer tensor. Shapes have at most 8.
const maxFolded = 64

// fold computes a node whose inputs are constants: integer arithmetic on shapes, and weights stored as float16, int8 or int4 that a
// DEQUANTIZE turns into float32. Any other node is left to run.
func (c *call) fold() {
	if len(c.n.Outputs) != 1 || c.n.Outputs[0] < 0 {
		return
	}
	out := c.Output(c.n, 0)
	for i := range c.n.Inputs {
		if t := c.in(i); t != nil && t.Const == nil && !c.still {
			return
		}
	}
	var data []byte
	switch {
	case c.n.Op == schema.BuiltinOperatorDEQUANTIZE:
		data = dequantized(c.in(0), out)
	case isInteger(out.Type) && out.Numel() <= maxFolded:
		if values, ok := c.integers(); ok {
			data = packed(values, out.Type)
		}
	}
	if data != nil {
		out.Const = data
		c.n.Folded = true
	}
}

func isInteger(t schema.TensorType) bool {
	return t == schema.TensorTypeINT32 || t == schema.TensorTypeINT64
}

func packed(values []int, t schema.TensorType) []byte {
	out := make([]byte, 0, 8*len(values))
	for _, v := range values {
		switch {
		case t == schema.TensorTypeINT64:
			out = binary.LittleEndian.AppendUint64(out, uint64(v))
		case v < math.MinInt32 || v > math.MaxInt32:
			return nil
		default:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		}
	}
	return out
}

// dequantized returns the float32 data of a constant, nil if its type is not supported.
func dequantized(t, out *Tensor) []byte {
	if out.Type != schema.TensorTypeFLOAT32 {
		return nil
	}
	switch {
	case t.Type == schema.TensorTypeFLOAT16:
		half := &schema.TensorT{Type: t.Type}
		m := tflite.Model{ModelT: &schema.ModelT{Buffers: []*schema.BufferT{{Data: t.Const}}}}
		values, err := m.Float32s(half)
		if err != nil {
			return nil
		}
		return tflite.Float32Bytes(values)
	case tflite.IsInt8s(t.Type) && t.Quant != nil:
		inner := 1
		for _, d := range t.Shape[min(t.Quant.Axis+1, len(t.Shape)):] {
			inner *= d
		}
		codes := t.Int8s()
		values := make([]float32, len(codes))
		for i, q := range codes {
			c := i / inner % len(t.Quant.Scale)
			values[i] = t.Quant.Scale[c] * float32(int32(q)-t.Quant.ZeroPoint[c])
		}
		return tflite.Float32Bytes(values)
	default:
		return nil
	}
}

// integers computes an integer operator on small constants.
func (c *call) integers() (values []int, ok bool) {
	out := c.Output(c.n, 0)
	if _, ok := c.n.Attr.(ShapeOf); ok {
		if c.n.Op == schema.BuiltinOperatorRANK {
			return []int{len(c.in(0).Shape)}, true
		}
		return slices.Clone(c.in(0).Shape), true
	}
	x := c.in(0)
	if !isInteger(x.Type) || x.Numel() > maxFolded {
		return nil, false
	}
	in := x.Ints()
	switch attr := c.n.Attr.(type) {
	case Reshape, Cast:
		return in, true
	case StridedSlice:
		return attr.take(in, x.Shape), true
	case Pack, Concat:
		if axis, isConcat := attr.(Concat); len(x.Shape) > 1 || len(out.Shape) != 1 || isConcat && axis.Act != None {
			return nil, false
		}
		for i := range c.n.Inputs {
			if c.in(i).Type != x.Type {
				return nil, false
			}
			values = append(values, c.in(i).Ints()...)
		}
		return values, true
	case Gather:
		if !isInteger(c.in(1).Type) || len(x.Shape) != 1 || attr.BatchDims != 0 {
			return nil, false
		}
		for _, i := range c.in(1).Ints() {
			if i < 0 || i >= len(in) {
				return nil, false
			}
			values = append(values, in[i])
		}
		return values, true
	case Reduce:
		return c.reduceInts(attr, in)
	case Binary:
		return c.binaryInts(attr, in)
	default:
		return nil, false
	}
}

// reduceInts reduces a vector.
func (c *call) reduceInts(attr Reduce, in []int) ([]int, bool) {
	if len(c.in(0).Shape) != 1 || len(attr.Axes) != 1 || len(in) == 0 {
		return nil, false
	}
	total := in[0]
	for _, v := range in[1:] {
		switch c.n.Op {
		case schema.BuiltinOperatorREDUCE_PROD:
			total *= v
		case schema.BuiltinOperatorSUM:
			total += v
		case schema.BuiltinOperatorREDUCE_MAX:
			total = max(total, v)
		case schema.BuiltinOperatorREDUCE_MIN:
			total = min(total, v)
		default:
			return nil, false
		}
	}
	return []int{total}, true
}

// binaryInts combines two vectors, of which one may be a scalar.
func (c *call) binaryInts(attr Binary, a []int) ([]int, bool) {
	if t := c.in(1); !isInteger(t.Type) || t.Numel() > maxFolded || attr.Act != None || len(attr.Shape) > 1 {
		return nil, false
	}
	b := c.in(1).Ints()
	values := make([]int, c.Output(c.n, 0).Numel())
	for i := range values {
		x, y := a[i%max(len(a), 1)], b[i%max(len(b), 1)]
		switch c.n.Op {
		case schema.BuiltinOperatorADD:
			values[i] = x + y
		case schema.BuiltinOperatorSUB:
			values[i] = x - y
		case schema.BuiltinOperatorMUL:
			values[i] = x * y
		case schema.BuiltinOperatorMINIMUM:
			values[i] = min(x, y)
		case schema.BuiltinOperatorMAXIMUM:
			values[i] = max(x, y)
		default:
			return nil, false
		}
	}
	return values, true
}

// take picks the elements of a strided slice, in order.
func (a *StridedSlice) take(in, shape []int) []int {
	picked := []int{0}
	step := len(in)
	for d, size := range shape {
		step /= max(size, 1)
		var next []int
		for _, base := range picked {
			for k := range a.Count[d] {
				next = append(next, base+(a.Begin[d]+k*a.Stride[d])*step)
			}
		}
		picked = next
	}
	values := make([]int, len(picked))
	for i, p := range picked {
		values[i] = in[p]
	}
	return values
}
