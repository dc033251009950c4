package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// placeKernel is GATHER_ND on elements of any type.
type placeKernel struct {
	dims            []int
	piece           int // in bytes
	in, places, out int // tensors
	wide            bool
}

func buildGatherND(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	places, attr := c.in(1), c.n.Attr.(ir.GatherND)
	if places.Type != schema.TensorTypeINT32 && places.Type != schema.TensorTypeINT64 {
		return nil, c.unsupported("its places %s are not INT32 or INT64", places)
	}
	return &placeKernel{attr.Dims, attr.Piece * elementSize(in.Type), in.Index, places.Index, out.Index, places.Type == schema.TensorTypeINT64}, nil
}

func (k *placeKernel) run(m *memory) error {
	x, y := m.bytes[k.in], m.bytes[k.out]
	for i := 0; len(y) >= k.piece && k.piece > 0; i += len(k.dims) {
		from := 0
		for d, size := range k.dims {
			at := 0
			if k.wide {
				at = int(m.int64s(k.places)[i+d])
			} else {
				at = int(m.int32s(k.places)[i+d])
			}
			if at < 0 || at >= size {
				return &IndexError{at, size}
			}
			from = from*size + at
		}
		copy(y[:k.piece], x[from*k.piece:])
		y = y[k.piece:]
	}
	return nil
}
