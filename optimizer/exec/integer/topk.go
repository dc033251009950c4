package integer

import (
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// topKernel is TOPK_V2 over codes: the largest of every row, the first of equals first, and where they are.
type topKernel struct {
	ir.TopK
	in, out, places int // tensors
}

func buildTopK(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if places := c.out(1); places.Type != schema.TensorTypeINT32 {
		return nil, c.unsupported("%s is %s, want INT32", places, places.Type)
	}
	attr := c.n.Attr.(ir.TopK)
	c.work.need(0, attr.Size)
	return &topKernel{attr, c.n.Inputs[0], c.n.Outputs[0], c.n.Outputs[1]}, c.sameQuant(in, out)
}

func (k *topKernel) run(m *memory) error {
	x, values, places := m.int8s(k.in), m.int8s(k.out), m.int32s(k.places)
	order := m.work32[:k.Size]
	for ; len(x) > 0; x = x[k.Size:] {
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(i, j int32) int { return int(x[j]) - int(x[i]) })
		for i := range k.K {
			values[i], places[i] = x[order[i]], order[i]
		}
		values, places = values[k.K:], places[k.K:]
	}
	return nil
}
