package weight

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// checkpointVersion begins the binary form of a tensor.
const checkpointVersion = 2

// AppendBinary appends all that training changes: latents, mask, scales, codebooks with their prices, members. It implements
// encoding.BinaryAppender and never fails.
func (t *Tensor) AppendBinary(dst []byte) ([]byte, error) {
	dst = slices.Grow(dst, 1+4*4+4*len(t.Latent)+len(t.Mask)+4*len(t.Scale)+len(t.members)) // whose copies are kept, of the best epoch
	dst = append(dst, checkpointVersion)
	dst = appendFloats(dst, t.Latent)
	dst = appendBytes(dst, t.Mask)
	dst = appendFloats(dst, t.Scale)
	dst = appendBytes(dst, t.members)
	for _, book := range t.Codebooks {
		dst = appendFloats(dst, book.Center)
		dst = appendBytes(dst, book.code)
		dst = appendFloats(dst, book.boundary)
		dst = appendFloats(dst, book.Bits)
		dst = appendFloats(dst, book.Share)
	}
	return dst, nil
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (t *Tensor) MarshalBinary() ([]byte, error) { return t.AppendBinary(nil) }

// UnmarshalBinary continues where AppendBinary left off, so that training goes on bit for bit. The tensor must be set up the way
// the saved one was (same stage, same input); on error it is unusable. Call it before Trainables.
func (t *Tensor) UnmarshalBinary(data []byte) error {
	r := &reader{rest: data}
	if v := r.take(1); r.err == nil && v[0] != checkpointVersion {
		return fmt.Errorf("weights %q: checkpoint of version %d; this version of espalier reads %d", t.Name, v[0], checkpointVersion)
	}
	readFloats(r, &t.Latent, t.Len())
	readBytes(r, &t.Mask, 0, t.Len())
	readFloats(r, &t.Scale, len(t.Scale))
	readBytes(r, &t.members, len(t.members))
	for _, book := range t.Codebooks {
		n := len(book.code)
		readFloats(r, &book.Center, n)
		readBytes(r, &book.code, n)
		readFloats(r, &book.boundary, len(book.boundary))
		readFloats(r, &book.Bits, len(book.Bits))
		readFloats(r, &book.Share, len(book.Share))
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = errors.New("too long")
	}
	if r.err != nil {
		return fmt.Errorf("weights %q: checkpoint does not fit this stage: %w", t.Name, r.err)
	}
	return t.checkRestored()
}

// checkRestored reports restored numbers that would break the tensor.
func (t *Tensor) checkRestored() error {
	for i, k := range t.members {
		if k != pruned && int(k) >= t.bookOf(t.channel(i)).Len() {
			return fmt.Errorf("weights %q: checkpoint is damaged: weight %d belongs to code %d of %d", t.Name, i, k, t.bookOf(t.channel(i)).Len())
		}
	}
	if err := t.Check(); err != nil {
		return fmt.Errorf("checkpoint is damaged: %w", err)
	}
	return nil
}

func appendFloats(dst []byte, values []float32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(values)))
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}

func appendBytes[T int8 | uint8](dst []byte, values []T) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(values)))
	for _, v := range values {
		dst = append(dst, byte(v))
	}
	return dst
}

// reader takes a checkpoint apart; the first error stays.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.rest) {
		r.err = errors.New("too short")
	}
	if r.err != nil {
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// length reads a count, which must be one of those allowed.
func (r *reader) length(allowed []int) int {
	head := r.take(4)
	if r.err != nil {
		return 0
	}
	n := binary.LittleEndian.Uint32(head)
	for _, a := range allowed {
		if n == uint32(a) {
			return a
		}
	}
	r.err = fmt.Errorf("%d numbers where %d belong", n, allowed)
	return 0
}

// readFloats reads into the slice, keeping its memory if it has the length read.
func readFloats(r *reader, into *[]float32, allowed ...int) {
	n := r.length(allowed)
	data := r.take(4 * n)
	if r.err != nil {
		return
	}
	resize(into, n)
	for i := range *into {
		(*into)[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
}

func readBytes[T int8 | uint8](r *reader, into *[]T, allowed ...int) {
	n := r.length(allowed)
	data := r.take(n)
	if r.err != nil {
		return
	}
	resize(into, n)
	for i := range *into {
		(*into)[i] = T(data[i])
	}
}

// resize keeps memory that others refer to, if it has the right length; no numbers make a nil slice.
func resize[T any](s *[]T, n int) {
	switch {
	case n == 0:
		*s = nil
	case len(*s) != n:
		*s = make([]T, n)
	}
}
