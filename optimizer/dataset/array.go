package dataset

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"
)

// kind is an element type of an array.
type kind struct {
	name    Type // of the Spec; empty for types it does not name
	size    int  // bytes
	integer bool // whole numbers (truth values too)
	decode  func(dst []float32, src []byte)
	class   func(src []byte) int64 // exact value of an integer; nil for floats
	text    bool                   // names of classes
	string  func(src []byte) string
}

// littleKinds are the element types by their name in the Spec.
var littleKinds = named(map[Type]kind{
	Uint8:   {size: 1, integer: true, decode: decodeUint8, class: func(b []byte) int64 { return int64(b[0]) }},
	Int8:    {size: 1, integer: true, decode: decodeInt8, class: func(b []byte) int64 { return int64(int8(b[0])) }},
	Uint16:  integers(2, func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }),
	Int16:   integers(2, func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) }),
	Int32:   integers(4, func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }),
	Int64:   integers(8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }),
	Float16: floats(2, func(b []byte) float32 { return half(binary.LittleEndian.Uint16(b)) }),
	Float32: {size: 4, decode: decodeFloat32},
	Float64: floats(8, func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }),
})

// named gives kinds their names.
func named(kinds map[Type]kind) map[Type]kind {
	for name, k := range kinds {
		k.name = name
		kinds[name] = k
	}
	return kinds
}

func integers(size int, get func([]byte) int64) kind {
	return kind{size: size, integer: true, class: get,
		decode: func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = float32(get(src[i*size:]))
			}
		}}
}

func floats(size int, get func([]byte) float32) kind {
	return kind{size: size, decode: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = get(src[i*size:])
		}
	}}
}

func decodeUint8(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		dst[i] = float32(b)
	}
}

func decodeInt8(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		dst[i] = float32(int8(b))
	}
}

func decodeFloat32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// half widens an IEEE 754 half.
func half(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exponent {
	case 31:
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	case 0:
		return math.Float32frombits(math.Float32bits(float32(fraction)/(1<<24)) | sign)
	default:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
}

// array is a row-major array [n, …] whose elements can be read at random: a store of its rows.
type array struct {
	title string // for messages, such as `x_train` or a file's path
	kind  kind
	dims  []int // of the whole array; at least one
	data  io.ReaderAt
	start int64 // of the elements in data
	// label says where row i comes from, for messages; nil: from the array that title names
	label func(i int) string
}

// maxElements bounds one sample; a model's tensors are addressed with int32.
const maxElements = math.MaxInt32

// newArray checks that dims times the element size is what data holds from start to start+size.
func newArray(title string, k kind, dims []int, data io.ReaderAt, start, size int64) (*array, error) {
	if len(dims) == 0 {
		return nil, fmt.Errorf("%s is a single number, not an array of samples", title)
	}
	want, err := byteSize(title, k, dims)
	if err != nil {
		return nil, err
	}
	if want != size {
		return nil, fmt.Errorf("%s: shape %v needs %d bytes, there are %d: truncated or damaged?", title, dims, want, size)
	}
	return &array{title: title, kind: k, dims: dims, data: data, start: start}, nil
}

// byteSize returns the bytes of an array and refuses shapes no file can have.
func byteSize(title string, k kind, dims []int) (int64, error) {
	if len(dims) > 16 {
		return 0, fmt.Errorf("%s has %d dimensions", title, len(dims))
	}
	total, row := uint64(k.size), uint64(1)
	for i, d := range dims {
		if d < 0 || d > maxElements {
			return 0, fmt.Errorf("%s: shape %v is not possible", title, dims)
		}
		hi, lo := bits.Mul64(total, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("%s: shape %v is larger than any file", title, dims)
		}
		total = lo
		if i > 0 {
			if row *= uint64(d); row > maxElements {
				return 0, fmt.Errorf("%s: a sample of shape %v has more than %d elements", title, dims[1:], maxElements)
			}
		}
	}
	return int64(total), nil
}

func (a *array) len() int     { return a.dims[0] }
func (a *array) shape() []int { return a.dims[1:] }

func (a *array) name(i int) string {
	if a.label != nil {
		return a.label(i)
	}
	return fmt.Sprintf("%s: sample %d", a.title, i)
}

// buffers are reused for the bytes of samples.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// borrow returns a buffer of n bytes; give it back with buffers.Put.
func borrow(n int) *[]byte {
	b := buffers.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

func (a *array) read(i int, into *sample) error {
	n := numel(a.shape())
	into.shape = a.shape()
	if n == 0 {
		into.grow(0)
		return nil
	}
	raw := borrow(n * a.kind.size)
	defer buffers.Put(raw)
	if err := a.bytes(i, *raw); err != nil {
		return err
	}
	a.kind.decode(into.grow(n), *raw)
	return nil
}

// bytes reads the raw elements of row i.
func (a *array) bytes(i int, raw []byte) error {
	if _, err := a.data.ReadAt(raw, a.start+int64(i)*int64(len(raw))); err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", a.name(i), err)
	} else if err == io.EOF {
		return fmt.Errorf("%s: the file ended; was it changed meanwhile?", a.name(i))
	}
	return nil
}

// rows calls f with blocks of whole rows, in order, and the index of the first.
func (a *array) rows(f func(first int, raw []byte, rowSize int) error) error {
	rowSize := numel(a.shape()) * a.kind.size
	if rowSize == 0 {
		return nil
	}
	block := max(1, (1<<20)/rowSize)
	raw := make([]byte, block*rowSize)
	for first := 0; first < a.len(); first += block {
		piece := raw[:min(block, a.len()-first)*rowSize]
		if _, err := a.data.ReadAt(piece, a.start+int64(first)*int64(rowSize)); err != nil && err != io.EOF {
			return fmt.Errorf("%s: %w", a.name(first), err)
		}
		if err := f(first, piece, rowSize); err != nil {
			return err
		}
	}
	return nil
}
