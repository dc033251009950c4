package tflite

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"os"
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Model is a whole .tflite file in memory: the generated object tree.
type Model struct {
	*schema.ModelT
	// Unsigned says that Normalise made the weights int8 which the file has as uint8: LiteRT multiplies the scales of such layers as
	// float32. What is written is int8 and no longer so.
	Unsigned bool
	// Archive is the zip archive of associated files, such as labels.txt, that TFLite's metadata tools append to a model; nil without.
	Archive []byte
	// Encoded are the constants that the file has encoded for TFLM's DECODE operator. What is written holds them as they are.
	Encoded []Encoding
	// Bare says that the file has no names of inner tensors, of those that are neither inputs nor outputs. Read gives them names by
	// their operators, which are not written.
	Bare bool
}

// maxElements bounds the elements of one tensor; LiteRT addresses them with int32.
const maxElements = math.MaxInt32

// ReadFile reads and verifies the model in a file.
func ReadFile(path string) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Read(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Read verifies data as a whole and unpacks it. The model shares memory with data, which must not be changed afterwards. Data
// that lies behind the FlatBuffer (Buffer.offset and size, as converters write large models) is found too, and becomes ordinary
// buffer data. So do the constants that DECODE operators of TFLM decode, whose operators and encoded tensors the model then lacks
// (Model.Encoded). Where no inner tensor has a name all get one (Model.Bare).
func Read(data []byte) (*Model, error) {
	m, err := read(data)
	if err != nil {
		return nil, err
	}
	if err := m.decode(); err != nil {
		return nil, err
	}
	m.name()
	return m, nil
}

// ReadStored is Read for what a runtime sees of the file: its DECODE operators and the tensors that they read stay.
func ReadStored(data []byte) (*Model, error) {
	m, err := read(data)
	if err != nil {
		return nil, err
	}
	m.name()
	return m, nil
}

// read verifies and unpacks a file.
func read(data []byte) (*Model, error) {
	if err := verifyLayout(data); err != nil {
		return nil, err
	}
	m := &Model{ModelT: schema.GetRootAsModel(data, 0).UnPack(), Archive: archiveOf(data)}
	if err := m.loadOutside(data); err != nil {
		return nil, err
	}
	for _, c := range m.OperatorCodes { // old files fill only the deprecated field, new ones both
		c.BuiltinCode = max(c.BuiltinCode, schema.BuiltinOperator(c.DeprecatedBuiltinCode))
	}
	m.bareEncoded()
	if err := m.Check(); err != nil {
		return nil, err
	}
	return m, nil
}

// loadOutside brings buffers and custom options that lie behind the FlatBuffer inside.
func (m *Model) loadOutside(data []byte) error {
	take := func(offset, size uint64, where string) ([]byte, error) {
		if offset > uint64(len(data)) || size > uint64(len(data))-offset {
			return nil, wrong(where, "its data, %d bytes at byte %d, lies outside the file of %d bytes: truncated?", size, offset, len(data))
		}
		return data[offset : offset+size : offset+size], nil
	}
	for i, b := range m.Buffers {
		if b != nil && b.Offset > 1 {
			inside, err := take(b.Offset, b.Size, fmt.Sprintf("buffer %d", i))
			if err != nil {
				return err
			}
			b.Data, b.Offset, b.Size = inside, 0, 0
		}
	}
	for s, g := range m.Subgraphs {
		for i, o := range g.Operators {
			if o.LargeCustomOptionsOffset > 1 {
				inside, err := take(o.LargeCustomOptionsOffset, o.LargeCustomOptionsSize, inSubgraph(s, fmt.Sprintf("operator %d", i)))
				if err != nil {
					return err
				}
				o.CustomOptions, o.LargeCustomOptionsOffset, o.LargeCustomOptionsSize = inside, 0, 0
			}
		}
	}
	return nil
}

// Clone returns a deep copy, but for bytes such as constants: nothing changes these in place (SetData replaces them), and both share them.
func (m *Model) Clone() *Model {
	return &Model{deepCopy(m.ModelT), m.Unsigned, m.Archive, slices.Clone(m.Encoded), m.Bare}
}

// Subgraph returns the primary subgraph.
func (m *Model) Subgraph() *schema.SubGraphT { return m.Subgraphs[0] }

// Op resolves an operator's code, from either of the two fields that may hold it, and the name of a custom operator.
func (m *Model) Op(o *schema.OperatorT) (code schema.BuiltinOperator, custom string) {
	c := m.OperatorCodes[o.OpcodeIndex]
	code = max(c.BuiltinCode, schema.BuiltinOperator(c.DeprecatedBuiltinCode))
	if code == schema.BuiltinOperatorCUSTOM {
		custom = c.CustomCode
	}
	return code, custom
}

// Data returns the raw little-endian data of a constant tensor; nil for activations and variables.
func (m *Model) Data(t *schema.TensorT) []byte {
	if int(t.Buffer) >= len(m.Buffers) || m.Buffers[t.Buffer] == nil {
		return nil
	}
	return m.Buffers[t.Buffer].Data
}

// IsConst reports whether a tensor's values are in the file.
func (m *Model) IsConst(t *schema.TensorT) bool { return len(m.Data(t)) > 0 }

// Float32s returns the values of a constant FLOAT32 or FLOAT16 tensor as a new slice.
func (m *Model) Float32s(t *schema.TensorT) ([]float32, error) {
	data := m.Data(t)
	switch t.Type {
	case schema.TensorTypeFLOAT32:
		out := make([]float32, len(data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		return out, nil
	case schema.TensorTypeFLOAT16:
		out := make([]float32, len(data)/2)
		for i := range out {
			out[i] = fromFloat16(binary.LittleEndian.Uint16(data[2*i:]))
		}
		return out, nil
	default:
		return nil, fmt.Errorf("tensor %q is %s, not float", t.Name, t.Type)
	}
}

// Int8s returns the values of a constant INT8 or INT4 tensor as a new slice.
func (m *Model) Int8s(t *schema.TensorT) ([]int8, error) {
	if !IsInt8s(t.Type) {
		return nil, fmt.Errorf("tensor %q is %s, not INT8 or INT4", t.Name, t.Type)
	}
	n, err := NumElements(t.Shape)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return Int8s(t.Type, m.Data(t), n), nil
}

// IsInt8s reports whether the values of a type are those of int8, or fewer: INT8 and INT4.
func IsInt8s(t schema.TensorType) bool {
	return t == schema.TensorTypeINT8 || t == schema.TensorTypeINT4
}

// Int8s returns the n values of INT8 or INT4 data, or as many as there are; INT4 has two a byte, the first in the lower half.
func Int8s(t schema.TensorType, data []byte, n int) []int8 {
	most := len(data)
	if t == schema.TensorTypeINT4 {
		most *= 2
	}
	out := make([]int8, min(n, most))
	for i := range out {
		if t == schema.TensorTypeINT8 {
			out[i] = int8(data[i])
		} else {
			out[i] = int8(data[i/2]<<(4-4*(i%2))) >> 4
		}
	}
	return out
}

// Int32s returns the values of a constant INT32 tensor, or of an INT64 one whose values fit, as a new slice.
func (m *Model) Int32s(t *schema.TensorT) ([]int32, error) {
	data := m.Data(t)
	switch t.Type {
	case schema.TensorTypeINT32:
		out := make([]int32, len(data)/4)
		for i := range out {
			out[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
		}
		return out, nil
	case schema.TensorTypeINT64:
		out := make([]int32, len(data)/8)
		for i := range out {
			v := int64(binary.LittleEndian.Uint64(data[8*i:]))
			if v < math.MinInt32 || v > math.MaxInt32 {
				return nil, fmt.Errorf("tensor %q holds %d, which does not fit 32 bits", t.Name, v)
			}
			out[i] = int32(v)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("tensor %q is %s, not an integer tensor", t.Name, t.Type)
	}
}

// AddBuffer appends a buffer and returns its index.
func (m *Model) AddBuffer(data []byte) uint32 {
	m.Buffers = append(m.Buffers, &schema.BufferT{Data: data})
	return uint32(len(m.Buffers) - 1)
}

// SetData gives a tensor new constant data. A buffer that anything else uses too is left to the others.
func (m *Model) SetData(t *schema.TensorT, data []byte) {
	if t.Buffer == 0 || m.users(t.Buffer) > 1 {
		t.Buffer = m.AddBuffer(data)
		return
	}
	m.Buffers[t.Buffer] = &schema.BufferT{Data: data}
}

// users counts the tensors and metadata entries of a buffer.
func (m *Model) users(buffer uint32) int {
	n := 0
	for _, g := range m.Subgraphs {
		for _, t := range g.Tensors {
			if t.Buffer == buffer {
				n++
			}
		}
	}
	for _, entry := range m.ModelT.Metadata {
		if entry.Buffer == buffer {
			n++
		}
	}
	return n
}

// Metadata returns the metadata entry of a name.
func (m *Model) Metadata(name string) ([]byte, bool) {
	for _, entry := range m.ModelT.Metadata {
		if entry.Name == name && int(entry.Buffer) < len(m.Buffers) {
			return m.Buffers[entry.Buffer].Data, true
		}
	}
	return nil, false
}

// SetMetadata adds or replaces a metadata entry.
func (m *Model) SetMetadata(name string, data []byte) {
	m.DeleteMetadata(name)
	m.ModelT.Metadata = append(m.ModelT.Metadata, &schema.MetadataT{Name: name, Buffer: m.AddBuffer(data)})
}

// DeleteMetadata removes a metadata entry, if there is one, and empties its buffer unless something else uses it.
func (m *Model) DeleteMetadata(name string) {
	m.ModelT.Metadata = slices.DeleteFunc(m.ModelT.Metadata, func(entry *schema.MetadataT) bool {
		if entry.Name != name {
			return false
		}
		if m.users(entry.Buffer) == 1 && int(entry.Buffer) < len(m.Buffers) {
			m.Buffers[entry.Buffer] = &schema.BufferT{}
		}
		return true
	})
}

// NumElements returns the product of a shape. It is an error if a dimension is negative or the product exceeds 2³¹−1.
func NumElements(shape []int32) (int, error) {
	n := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("dimension %d is negative", d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > maxElements {
			return 0, fmt.Errorf("shape %v has more than %d elements", shape, maxElements)
		}
		n = lo
	}
	return int(n), nil
}

// TypeSize returns the bits of one element; ok is false for types without a fixed size.
func TypeSize(t schema.TensorType) (size int, ok bool) {
	switch t {
	case schema.TensorTypeINT2:
		return 2, true
	case schema.TensorTypeINT4, schema.TensorTypeUINT4:
		return 4, true
	case schema.TensorTypeINT8, schema.TensorTypeUINT8, schema.TensorTypeBOOL, schema.TensorTypeFLOAT8_E4M3FN, schema.TensorTypeFLOAT8_E5M2:
		return 8, true
	case schema.TensorTypeFLOAT16, schema.TensorTypeBFLOAT16, schema.TensorTypeINT16, schema.TensorTypeUINT16:
		return 16, true
	case schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeUINT32:
		return 32, true
	case schema.TensorTypeFLOAT64, schema.TensorTypeINT64, schema.TensorTypeUINT64, schema.TensorTypeCOMPLEX64:
		return 64, true
	case schema.TensorTypeCOMPLEX128:
		return 128, true
	default:
		return 0, false
	}
}

// Float32Bytes returns values as little-endian bytes, the form of buffer data.
func Float32Bytes(values []float32) []byte {
	out := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
	}
	return out
}

// Int32Bytes returns values as little-endian bytes, the form of buffer data.
func Int32Bytes(values []int32) []byte {
	out := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(out[4*i:], uint32(v))
	}
	return out
}

// Int64Bytes returns values as little-endian bytes, the form of buffer data.
func Int64Bytes(values []int64) []byte {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint64(out, uint64(v))
	}
	return out
}

// Int8Bytes returns values as bytes, the form of buffer data.
func Int8Bytes(values []int8) []byte {
	out := make([]byte, len(values))
	for i, v := range values {
		out[i] = byte(v)
	}
	return out
}

// Int4Bytes packs values in [−8, 7] as the buffer data of INT4, two a byte, the first in the lower half.
func Int4Bytes(values []int8) []byte {
	out := make([]byte, (len(values)+1)/2)
	for i, v := range values {
		out[i/2] |= byte(v) & 15 << (4 * (i % 2))
	}
	return out
}

// fromFloat16 widens an IEEE 754 half.
func fromFloat16(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch {
	case exponent == 31:
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	case exponent == 0:
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	default:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
}
