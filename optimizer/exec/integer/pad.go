package integer

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// padKernel is PAD or PADV2: the output filled with one value, then the input copied into it.
type padKernel struct {
	inner move
	value []byte // of one element
	from  int    // tensor that holds the value, -1: value
}

func buildPad(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	attr := c.n.Attr.(ir.Pad)
	target, at := strides(out.Shape), 0
	for d, before := range attr.Before {
		at += target[d] * before
	}
	k := &padKernel{
		inner: newMove(c, in.Index, out.Index, in.Shape, strides(in.Shape), target, 0, at),
		value: make([]byte, elementSize(in.Type)), from: attr.Value,
	}
	if attr.Value >= 0 {
		return k, c.sameType(in, &c.g.Tensors[attr.Value])
	}
	if in.Type == schema.TensorTypeINT8 && out.Quant != nil {
		q, err := c.quant(out)
		if err != nil {
			return nil, err
		}
		k.value[0] = byte(q.zero)
	}
	return k, nil
}

func (k *padKernel) run(m *memory) error {
	value, y := k.value, m.bytes[k.inner.to]
	if k.from >= 0 {
		value = m.bytes[k.from]
	}
	for i := 0; i < len(y); {
		if i < len(value) {
			i += copy(y, value)
		} else {
			i += copy(y[i:], y[:i])
		}
	}
	k.inner.run(m)
	return nil
}

// gatherKernel copies pieces of the input, each to the next place of the output: RESIZE_NEAREST_NEIGHBOR and MIRROR_PAD.
type gatherKernel struct {
	in, out, size int   // size: bytes of a piece
	pieces        []int // of one image, by place in the output
	stride, batch int   // input pieces of one image, images
}

func (k *gatherKernel) run(m *memory) error {
	x, y := m.bytes[k.in], m.bytes[k.out]
	for b := range k.batch {
		for _, p := range k.pieces {
			p += b * k.stride
			copy(y[:k.size], x[p*k.size:])
			y = y[k.size:]
		}
	}
	return nil
}

// maxPieces bounds the table of a gatherKernel.
const maxPieces = 1 << 22

// MIRROR_PAD.
func buildMirrorPad(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	if out.Numel() > maxPieces {
		return nil, c.unsupported("%s has %d elements, at most %d are supported", out, out.Numel(), maxPieces)
	}
	attr := c.n.Attr.(ir.MirrorPad)
	k := &gatherKernel{in: in.Index, out: out.Index, size: elementSize(in.Type), batch: 1, pieces: make([]int, out.Numel())}
	from, to := strides(in.Shape), strides(out.Shape)
	for i := range k.pieces {
		rest := i
		for d, n := range in.Shape {
			at := rest/to[d] - attr.Before[d]
			rest %= to[d]
			k.pieces[i] += from[d] * mirrored(at, n, attr.Symmetric)
		}
	}
	return k, nil
}

// mirrored reflects a position outside [0, n) into it.
func mirrored(at, n int, symmetric bool) int {
	border := 0
	if symmetric {
		border = 1
	}
	switch {
	case at < 0:
		return -at - border
	case at >= n:
		return 2*(n-1) - at + border
	default:
		return at
	}
}

// indexKernel is GATHER.
type indexKernel struct {
	ir.Gather
	in, indices, out   int
	wide               bool // indices are int64
	outer, size, piece int  // leading dimensions before the axis, extent of the axis, bytes of a piece
	batches, perBatch  int  // of the indices
}

// IndexError is an index, such as an id, beyond the dimension that it is of.
type IndexError struct{ At, Size int }

func (e *IndexError) Error() string {
	return fmt.Sprintf("index %d of a dimension of %d", e.At, e.Size)
}

func buildGather(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	attr, indices := c.n.Attr.(ir.Gather), c.in(1)
	if indices == nil || indices.Type != schema.TensorTypeINT32 && indices.Type != schema.TensorTypeINT64 {
		return nil, c.unsupported("its indices %s are not INT32 or INT64", indices)
	}
	k := &indexKernel{Gather: attr, in: in.Index, indices: indices.Index, out: out.Index, wide: indices.Type == schema.TensorTypeINT64}
	k.batches, k.outer, k.size, k.piece = 1, 1, in.Shape[attr.Axis], elementSize(in.Type)
	for d, n := range in.Shape {
		switch {
		case d < attr.BatchDims:
			k.batches *= n
		case d < attr.Axis:
			k.outer *= n
		case d > attr.Axis:
			k.piece *= n
		}
	}
	k.perBatch = indices.Numel() / max(k.batches, 1)
	return k, nil
}

func (k *indexKernel) run(m *memory) error {
	x, y := m.bytes[k.in], m.bytes[k.out]
	for b := range k.batches {
		for o := range k.outer {
			image := x[(b*k.outer+o)*k.size*k.piece:]
			for i := b * k.perBatch; i < (b+1)*k.perBatch; i++ {
				at := k.index(m, i)
				if at < 0 || at >= k.size {
					return &IndexError{at, k.size}
				}
				copy(y[:k.piece], image[at*k.piece:])
				y = y[k.piece:]
			}
		}
	}
	return nil
}

func (k *indexKernel) index(m *memory, i int) int {
	if k.wide {
		return int(m.int64s(k.indices)[i])
	}
	return int(m.int32s(k.indices)[i])
}
