package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"espalier.dev/espalier/optimizer/audio"
)

// packed is samples that are files of their own, images, recordings or .npy arrays, inside larger files.
type packed struct {
	title  string
	data   []io.ReaderAt // the larger files
	places []place
	label  func(i int) string // where sample i comes from
}

// place is where the bytes of a sample lie.
type place struct {
	file           int32
	offset, length int64
}

func (p *packed) len() int { return len(p.places) }

func (p *packed) name(i int) string {
	if i >= len(p.places) {
		return p.title
	}
	return p.label(i)
}

// section is the bytes of sample i.
func (p *packed) section(i int) *io.SectionReader {
	at := p.places[i]
	return io.NewSectionReader(p.data[at.file], at.offset, at.length)
}

// load calls do with the bytes of sample i, which are reused.
func (p *packed) load(i int, do func([]byte) error) error {
	raw := borrow(int(p.places[i].length))
	defer buffers.Put(raw)
	_, err := io.ReadFull(p.section(i), *raw)
	if err == nil {
		err = do(*raw)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.name(i), damaged(err))
	}
	return nil
}

// maxPacked bounds the bytes of one packed sample.
const maxPacked = 1 << 28

// packing is what the samples of an input have in common, in all splits. What they are is told by the first bytes of the first.
type packing struct {
	is      packedKind
	sizes   sizes      // of images
	array   *npyHeader // of arrays
	headers []*audio.Header
}

type packedKind int

const (
	packedImages packedKind = iota + 1
	packedClips
	packedArrays
)

// kindOf recognises what bytes are; 0: nothing that a sample may be.
func kindOf(head []byte) packedKind {
	_, image := codecOf(head)
	switch {
	case image:
		return packedImages
	case bytes.HasPrefix(head, []byte("RIFF")) && len(head) >= 12 && string(head[8:12]) == "WAVE":
		return packedClips
	case bytes.HasPrefix(head, []byte("\x93NUMPY")):
		return packedArrays
	default:
		return 0
	}
}

// look compares one more sample with the others.
func (p *packing) look(r *io.SectionReader) error {
	if r.Size() > maxPacked {
		return fmt.Errorf("has %d bytes; at most %d are supported", r.Size(), maxPacked)
	}
	var head [12]byte
	n, _ := r.ReadAt(head[:], 0) // what is shorter is none of the kinds
	is := kindOf(head[:n])
	switch {
	case is == 0:
		return errors.New("is neither an image (PNG, JPEG, WebP, BMP) nor WAV or .npy: convert it, or name another in dataset.samples")
	case p.is != 0 && p.is != is:
		return errors.New("is another kind of sample than those before it")
	}
	p.is = is
	switch is {
	case packedImages:
		shape, err := measure(head[:n], r)
		if err != nil {
			return err
		}
		p.sizes.add(shape)
	case packedClips:
		header, err := audio.ReadHeader(r, r.Size())
		if err != nil {
			return err
		}
		p.headers = append(p.headers, header)
	default:
		header, err := readNPYHeader(r)
		if err != nil {
			return err
		}
		if header.kind.text {
			return fmt.Errorf("holds text (%s): a sample is numbers", header.kind.name)
		}
		if p.array == nil {
			p.array = header
		}
		if !slices.Equal(header.dims, p.array.dims) || header.kind.name != p.array.kind.name {
			return fmt.Errorf("has shape %v of %s, others have %v of %s", header.dims, header.kind.name, p.array.dims, p.array.kind.name)
		}
		size, err := byteSize("it", header.kind, append([]int{1}, header.dims...))
		if err != nil {
			return err
		}
		if r.Size() != header.size+size {
			return fmt.Errorf("has %d bytes, its header says %d: truncated or damaged?", r.Size(), header.size+size)
		}
	}
	return nil
}

// store makes a store of samples that were looked at, the first of which was number from among all of its input.
func (p *packing) store(samples *packed, from int) store {
	switch p.is {
	case packedClips:
		return &packedRecordings{packed: samples, headers: p.headers[from:][:samples.len()]}
	case packedArrays:
		return &packedValues{packed: samples, header: p.array}
	default:
		return &packedPictures{packed: samples, sizes: &p.sizes}
	}
}

// packedPictures is a store of images.
type packedPictures struct {
	*packed
	sizes *sizes
}

func (s *packedPictures) shape() []int    { return s.sizes.common }
func (s *packedPictures) varying() *sizes { return s.sizes }
func (s *packedPictures) read(i int, into *sample) error {
	return s.load(i, func(raw []byte) error { return decodeImage(raw, into) })
}

// packedRecordings is a store of WAV files.
type packedRecordings struct {
	*packed
	headers []*audio.Header
}

func (s *packedRecordings) shape() []int               { return nil }
func (s *packedRecordings) header(i int) *audio.Header { return s.headers[i] }
func (s *packedRecordings) read(int, *sample) error {
	return errors.New("clips have no shape of their own") // listeners read them
}

func (s *packedRecordings) clip(i int) (*audio.Clip, error) {
	r := s.section(i)
	c, err := audio.Decode(r, r.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(i), err)
	}
	return c, nil
}

// packedValues is a store of .npy files.
type packedValues struct {
	*packed
	header *npyHeader
}

func (s *packedValues) shape() []int { return s.header.dims }
func (s *packedValues) read(i int, into *sample) error {
	return s.load(i, func(raw []byte) error {
		into.shape = s.header.dims
		s.header.kind.decode(into.grow(numel(s.header.dims)), raw[s.header.size:])
		return nil
	})
}
