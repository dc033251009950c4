package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// CONCATENATION copies. Only files that were uint8 may have inputs quantized otherwise than the output; those are rescaled first.
func buildConcat(c *compiler) (runner, error) {
	attr := c.n.Attr.(ir.Concat)
	if attr.Act != ir.None {
		return nil, c.unsupported("a fused activation is not supported on this operator")
	}
	out := c.out(0)
	target, at := strides(out.Shape), 0
	k := &concatKernel{}
	for i := range c.n.Inputs {
		in, _, err := c.moved(i)
		if err != nil {
			return nil, err
		}
		mv := newMove(c, in.Index, out.Index, in.Shape, strides(in.Shape), target, 0, at)
		at += target[attr.Axis] * in.Shape[attr.Axis]
		table, err := c.concatTable(in, out)
		if err != nil {
			return nil, err
		}
		if table == nil {
			k.plain = append(k.plain, mv)
			continue
		}
		mv.from = -1
		c.work.need(in.Numel(), 0)
		k.rescaled = append(k.rescaled, rescaledMove{mv, in.Index, table})
	}
	return k, nil
}

// concatTable returns the codes of in in out's quantization, nil if they are the same. In float32, on uint8 codes, as the kernel of
// uint8 files does.
func (c *compiler) concatTable(in, out *ir.Tensor) (*[256]int8, error) {
	if in.Type != schema.TensorTypeINT8 || in.Quant == nil && out.Quant == nil {
		return nil, nil
	}
	from, err := c.quant(in)
	if err != nil {
		return nil, err
	}
	to, err := c.quant(out)
	if err != nil || from == to {
		return nil, err
	}
	scale := float32(from.scale * (1 / to.scale))
	bias := float32(float32(-(from.zero + 128)) * scale)
	table := new([256]int8)
	for code := int32(-128); code < 128; code++ {
		v := math.Round(float64(float32(float32(code+128)*scale) + bias))
		table[uint8(code)] = clamp(int32(min(max(v, -1<<24), 1<<24))+to.zero, -128, 127)
	}
	return table, nil
}

type concatKernel struct {
	plain    moves
	rescaled []rescaledMove
}

// rescaledMove copies an input from working memory, where its codes have been mapped.
type rescaledMove struct {
	move
	in    int
	table *[256]int8
}

func (k *concatKernel) run(m *memory) error {
	if err := k.plain.run(m); err != nil {
		return err
	}
	for i := range k.rescaled {
		r := &k.rescaled[i]
		x := m.int8s(r.in)
		for j, v := range x {
			m.work8[j] = r.table[uint8(v)]
		}
		r.copy(m.bytes[r.to], m.workBytes)
	}
	return nil
}
