package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// selectKernel is SELECT and SELECT_V2 on elements of any type: their bytes are copied as they are.
type selectKernel struct {
	ir.Select
	condition, a, b, out int // tensors
	size                 int // bytes of an element
}

func buildSelect(c *compiler) (runner, error) {
	condition, a, b, out := c.in(0), c.in(1), c.in(2), c.out(0)
	if condition == nil || condition.Type != schema.TensorTypeBOOL {
		return nil, c.unsupported("its condition %s is not BOOL", condition)
	}
	if err := c.sameType(a, out); err != nil {
		return nil, err
	}
	if err := c.sameType(b, out); err != nil {
		return nil, err
	}
	return &selectKernel{c.n.Attr.(ir.Select), condition.Index, a.Index, b.Index, out.Index, elementSize(out.Type)}, nil
}

func (k *selectKernel) run(m *memory) error {
	condition, a, b, out := m.bytes[k.condition], m.bytes[k.a], m.bytes[k.b], m.bytes[k.out]
	var index [8]int
	atC, atA, atB := 0, 0, 0
	for at := 0; at < len(out); at += k.size {
		if condition[atC] != 0 {
			copy(out[at:at+k.size], a[atA*k.size:])
		} else {
			copy(out[at:at+k.size], b[atB*k.size:])
		}
		for d := len(k.Shape) - 1; d >= 0; d-- {
			index[d]++
			atC, atA, atB = atC+k.Condition[d], atA+k.A[d], atB+k.B[d]
			if index[d] < k.Shape[d] {
				break
			}
			atC, atA, atB = atC-k.Condition[d]*k.Shape[d], atA-k.A[d]*k.Shape[d], atB-k.B[d]*k.Shape[d]
			index[d] = 0
		}
	}
	return nil
}

// TILE and BROADCAST_TO: copies that go over the input again and again.
func buildRepeat(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	attr := c.n.Attr.(ir.Repeat)
	return moves{newMove(c, in.Index, out.Index, attr.Shape, attr.Strides, strides(attr.Shape), 0, 0)}, nil
}

// oneHotKernel is ONE_HOT on elements of any type.
type oneHotKernel struct {
	ids, on, off, out   int // tensors
	outer, depth, inner int
	size                int
	wide                bool
}

func buildOneHot(c *compiler) (runner, error) {
	ids, on, off, out, attr := c.in(0), c.in(2), c.in(3), c.out(0), c.n.Attr.(ir.OneHot)
	if ids.Type != schema.TensorTypeINT32 && ids.Type != schema.TensorTypeINT64 {
		return nil, c.unsupported("its ids %s are not INT32 or INT64", ids)
	}
	if err := c.sameType(on, out); err != nil {
		return nil, err
	}
	if err := c.sameType(off, out); err != nil {
		return nil, err
	}
	k := &oneHotKernel{
		ids: ids.Index, on: on.Index, off: off.Index, out: out.Index, outer: 1, depth: attr.Depth, inner: 1,
		size: elementSize(out.Type), wide: ids.Type == schema.TensorTypeINT64,
	}
	for d, n := range ids.Shape {
		if d < attr.Axis {
			k.outer *= n
		} else {
			k.inner *= n
		}
	}
	return k, nil
}

func (k *oneHotKernel) run(m *memory) error {
	y, on, off := m.bytes[k.out], m.bytes[k.on], m.bytes[k.off]
	for at := 0; at < len(y); at += k.size {
		copy(y[at:], off[:k.size])
	}
	for i := range k.outer * k.inner {
		var id int
		if k.wide {
			id = int(m.int64s(k.ids)[i])
		} else {
			id = int(m.int32s(k.ids)[i])
		}
		if id >= 0 && id < k.depth {
			copy(y[((i/k.inner*k.depth+id)*k.inner+i%k.inner)*k.size:], on[:k.size])
		}
	}
	return nil
}
