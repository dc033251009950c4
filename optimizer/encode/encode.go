package encode

import (
	"fmt"
)

// Kind is how a constant is encoded.
type Kind uint8

// The kinds, as the metadata numbers them.
const (
	LUT     Kind = 0
	Huffman Kind = 1
	Prune   Kind = 2
)

// Kinds lists them.
var Kinds = []Kind{LUT, Huffman, Prune}

func (k Kind) String() string {
	switch k {
	case LUT:
		return "LUT"
	case Huffman:
		return "Huffman"
	case Prune:
		return "Prune"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Operator is the name of the custom operator that decodes. Its inputs are pairs of an encoded and an ancillary tensor, its outputs the
// tensors that these stand for.
const Operator = "TFLM_DECODE"

// Layout says what a constant is beside its bytes.
type Layout struct {
	Width    int  // bytes of a value
	Count    int  // values
	Channels int  // with a scale of their own; 1 of a tensor with one scale or none
	Last     bool // channels are the last dimension, else the first
	Rank     int  // dimensions, at least 1 where channels are the last
	// Zero are the zero points by channel; nil where all are 0.
	Zero []int
}

// channel is that of a value.
func (l *Layout) channel(i int) int {
	if l.Last {
		return i % l.Channels
	}
	return i / (l.Count / l.Channels)
}

// axis is the dimension of channels.
func (l *Layout) axis() int {
	if l.Last {
		return l.Rank - 1
	}
	return 0
}

// check reports a layout that DECODE does not read.
func (l *Layout) check() error {
	if l.Width < 1 || l.Channels < 1 || l.Count < 1 || l.Count%l.Channels != 0 {
		return fmt.Errorf("%d values of %d bytes in %d channels", l.Count, l.Width, l.Channels)
	}
	if l.Last && (l.Rank < 1 || l.Rank > oneTable) {
		return fmt.Errorf("channels are the last of %d dimensions", l.Rank)
	}
	if l.Zero != nil && len(l.Zero) != l.Channels {
		return fmt.Errorf("%d zero points for %d channels", len(l.Zero), l.Channels)
	}
	return nil
}

// Encoded is a constant as it lies in flash.
type Encoded struct {
	Kind      Kind
	Data      []byte
	Ancillary []byte
}

// Bytes is what both tensors take.
func (e Encoded) Bytes() int { return len(e.Data) + len(e.Ancillary) }

// headerSize is that of the common metadata: kind, version, two reserved bytes, twelve of the kind's own.
const headerSize = 16

// Places in the metadata.
const (
	atKind    = 0
	atVersion = 1
	atOwn     = 4 // version of the kind's own part
	atParams  = 5
	atStride  = 6
)

// version is that of the common metadata and of every kind's own part.
const version = 1

// header begins the ancillary tensor.
func header(k Kind) []byte {
	h := make([]byte, headerSize)
	h[atKind], h[atVersion], h[atOwn] = byte(k), version, version
	return h
}

// Of encodes a constant of int8 values; ok is false where the kind cannot hold it.
func Of(k Kind, data []byte, l Layout) (e Encoded, ok bool) {
	if l.check() != nil || l.Width != 1 || len(data) != l.Count {
		return Encoded{}, false
	}
	switch k {
	case LUT:
		return lut(data, l)
	case Huffman:
		return huffman(data), true
	case Prune:
		return prune(data, l)
	default:
		return Encoded{}, false
	}
}

// Smallest returns the smallest of the encodings; of equal ones the first. ok is false where none can hold the constant.
func Smallest(data []byte, l Layout, kinds ...Kind) (smallest Encoded, ok bool) {
	for _, k := range kinds {
		if e, can := Of(k, data, l); can && (!ok || e.Bytes() < smallest.Bytes()) {
			smallest, ok = e, true
		}
	}
	return smallest, ok
}

// KindOf tells the kind by the ancillary tensor. known is false for what an application decodes by an operator of its own.
func KindOf(ancillary []byte) (k Kind, known bool, err error) {
	if len(ancillary) < headerSize {
		return 0, false, fmt.Errorf("%d bytes of metadata, want %d", len(ancillary), headerSize)
	}
	if v := ancillary[atVersion]; v != version {
		return 0, false, fmt.Errorf("version %d of the metadata is not known, only %d", v, version)
	}
	k = Kind(ancillary[atKind])
	if k > Prune {
		return k, false, nil
	}
	if v := ancillary[atOwn]; v != version {
		return k, false, fmt.Errorf("version %d of %s is not known, only %d", v, k, version)
	}
	return k, true, nil
}

// Decode returns the bytes of a constant.
func Decode(data, ancillary []byte, l Layout) ([]byte, error) {
	k, known, err := KindOf(ancillary)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("%s is not known", k)
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	if l.Count > 8*len(data) {
		return nil, fmt.Errorf("%d values in %d bytes", l.Count, len(data))
	}
	switch k {
	case LUT:
		return decodeLUT(data, ancillary, l)
	case Huffman:
		return decodeHuffman(data, ancillary, l)
	default:
		return decodePruned(data, ancillary[headerSize:], l)
	}
}
