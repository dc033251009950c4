package integer

import (
	"fmt"
	"unsafe"

	"espalier.dev/espalier/optimizer/exec/arena"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// alignment of tensors in the arena, in bytes: that of LiteRT's data and of the file's buffers.
const alignment = 16

// maxArena bounds what a file may make us allocate, in bytes.
const maxArena = 1 << 30

// plan says where every tensor lies and how much working memory the kernels want.
type plan struct {
	offset []int // by tensor, in bytes; -1 if not in the arena
	size   int   // of the arena, in bytes
	work   work
}

// work is the working memory of kernels, shared by all of them: elements of each type.
type work struct {
	int8s, int32s, int64s int
}

func (w *work) bytes() int { return w.int8s + 4*w.int32s + 8*w.int64s }

func (w *work) need(int8s, int32s int) {
	w.int8s, w.int32s = max(w.int8s, int8s), max(w.int32s, int32s)
}

func (w *work) needWide(int64s int) { w.int64s = max(w.int64s, int64s) }

// memory is one executor's: every tensor's bytes, and working memory.
type memory struct {
	bytes     [][]byte
	workBytes []byte
	work8     []int8 // the same memory
	work32    []int32
	work64    []int64
	scratch   kernel.Int8Scratch
	floats    []floatOp
	variables variables
}

func newMemory(g *ir.Graph, p *plan) memory {
	m := memory{
		bytes: make([][]byte, len(g.Tensors)), workBytes: aligned(p.work.int8s), work32: make([]int32, p.work.int32s),
		work64: make([]int64, p.work.int64s),
	}
	m.work8 = view[int8](m.workBytes)
	arena := aligned(p.size)
	for i := range g.Tensors {
		t := &g.Tensors[i]
		switch {
		case t.Const != nil:
			m.bytes[i] = t.Const
			if uintptr(unsafe.Pointer(unsafe.SliceData(t.Const)))%alignment != 0 {
				m.bytes[i] = aligned(len(t.Const)) // a file may place its buffers anywhere
				copy(m.bytes[i], t.Const)
			}
		case p.offset[i] >= 0:
			end := p.offset[i] + t.Numel()*elementSize(t.Type)
			m.bytes[i] = arena[p.offset[i]:end:end]
		}
	}
	return m
}

// aligned allocates bytes at an address that is a multiple of the alignment.
func aligned(n int) []byte {
	block := make([]byte, n+alignment-1)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(block))) % alignment)
	return block[skip : skip+n : skip+n]
}

func (m *memory) int8s(t int) []int8       { return view[int8](m.bytes[t]) }
func (m *memory) int16s(t int) []int16     { return view[int16](m.bytes[t]) }
func (m *memory) int32s(t int) []int32     { return view[int32](m.bytes[t]) }
func (m *memory) int64s(t int) []int64     { return view[int64](m.bytes[t]) }
func (m *memory) float32s(t int) []float32 { return view[float32](m.bytes[t]) }

// view reinterprets aligned little-endian bytes; both architectures that are supported are little-endian.
func view[T int8 | int16 | int32 | int64 | float32](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

// elementSize returns the bytes of an element of the types that run.
func elementSize(t schema.TensorType) int {
	switch t {
	case schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeUINT32:
		return 4
	case schema.TensorTypeINT64, schema.TensorTypeUINT64, schema.TensorTypeFLOAT64, schema.TensorTypeCOMPLEX64:
		return 8
	case schema.TensorTypeINT16, schema.TensorTypeUINT16, schema.TensorTypeFLOAT16:
		return 2
	default:
		return 1
	}
}

// planArena places the activations of a graph.
func planArena(g *ir.Graph) (plan, error) {
	steps := len(g.Nodes)
	p := plan{offset: make([]int, len(g.Tensors))}
	first, last := make([]int, len(g.Tensors)), make([]int, len(g.Tensors))
	for i := range g.Tensors {
		t := &g.Tensors[i]
		first[i], last[i] = max(t.Producer, 0), max(t.Producer, 0)
		for _, c := range t.Consumers {
			last[i] = max(last[i], c)
		}
	}
	for _, t := range g.Inputs {
		first[t], last[t] = 0, steps
	}
	for _, t := range g.Outputs {
		last[t] = steps
	}
	var blocks []*arena.Block
	total := 0
	for i := range g.Tensors {
		t := &g.Tensors[i]
		p.offset[i] = -1
		if t.Const != nil || t.Producer < 0 && last[i] < steps {
			continue
		}
		b := &arena.Block{ID: i, Size: t.Numel() * elementSize(t.Type), First: first[i], Last: last[i]}
		if total += b.Size; b.Size > maxArena || total > 64*maxArena {
			return p, fmt.Errorf("%s of shape %v takes more than the %d MiB of activations an executor may have: use a smaller batch", t, t.Shape, maxArena>>20)
		}
		blocks = append(blocks, b)
	}
	p.size = arena.Place(blocks, steps, alignment)
	if p.size > maxArena {
		return p, fmt.Errorf("activations take %d MiB, an executor may have %d: use a smaller batch", p.size>>20, maxArena>>20)
	}
	for _, b := range blocks {
		p.offset[b.ID] = b.Offset
	}
	return p, nil
}
