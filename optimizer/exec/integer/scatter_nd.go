package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// SCATTER_ND on int8: codes are added to code 0, whatever the zero point, and wrap.
func buildScatterND(c *compiler) (runner, error) {
	places := c.in(0)
	if places.Type != schema.TensorTypeINT32 {
		return nil, c.unsupported("%s is %s: only places of INT32 are supported", places, places.Type)
	}
	for _, t := range []*ir.Tensor{c.in(1), c.out(0)} {
		if _, err := c.quant(t); err != nil {
			return nil, err
		}
	}
	return &scatterKernel{places.Index, c.in(1).Index, c.out(0).Index, c.n.Attr.(ir.ScatterND)}, nil
}

type scatterKernel struct {
	places, updates, out int
	ir.ScatterND
}

func (k *scatterKernel) run(m *memory) error {
	y, updates := m.int8s(k.out), m.int8s(k.updates)
	clear(y)
	places, depth := m.int32s(k.places), len(k.Dims)
	for i := 0; i*depth < len(places); i++ {
		to, inside := 0, true
		for d, size := range k.Dims {
			p := int(places[i*depth+d])
			inside = inside && p >= 0 && p < size
			to = to*size + p
		}
		if !inside {
			continue
		}
		for j, v := range updates[i*k.Piece : (i+1)*k.Piece] {
			y[to*k.Piece+j] += v
		}
	}
	return nil
}
