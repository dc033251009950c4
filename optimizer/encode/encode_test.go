package encode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// weights draws int8 values: so many distinct ones, of which a share is zero.
func weights(n, distinct int, zeros float64, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, n)
	for i := range out {
		if r.Float64() >= zeros {
			v := int(r.NormFloat64() * float64(distinct) / 4)
			out[i] = byte(min(max(v, -distinct/2), (distinct-1)/2))
		}
	}
	return out
}

func TestDecodeGivesWhatWasEncoded(t *testing.T) {
	for _, distinct := range []int{1, 2, 3, 4, 8, 16, 17, 33, 64, 128, 129, 256} {
		for _, zeros := range []float64{0, 0.5, 0.98} {
			for _, l := range []Layout{
				{Width: 1, Count: 1, Channels: 1}, {Width: 1, Count: 1000, Channels: 1}, {Width: 1, Count: 1000, Channels: 8}, {Width: 1, Count: 1000, Channels: 8, Last: true, Rank: 4},
				{Width: 1, Count: 40001, Channels: 1},
			} {
				for _, k := range Kinds {
					data := weights(l.Count, distinct, zeros, uint64(distinct))
					e, ok := Of(k, data, l)
					if !ok {
						if k != LUT || distinct < 128 {
							t.Errorf("%s cannot hold %d distinct values", k, distinct)
						}
						continue
					}
					got, err := Decode(e.Data, e.Ancillary, l)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%s of %d distinct values, %v zeros, %+v: %v", k, distinct, zeros, l, err)
					}
				}
			}
		}
	}
}

func TestTablesOfChannelsAreSharedWhereThatIsSmaller(t *testing.T) {
	l := Layout{Width: 1, Count: 4 * 64, Channels: 4}
	same, own := make([]byte, l.Count), make([]byte, l.Count)
	for i := range same {
		same[i] = byte(i % 16)
		own[i] = byte(i/64*40 + i%2)
	}
	for _, c := range []struct {
		data           []byte
		params, stride byte // by TFLM's tool: 15 for one table, else the dimension of channels; and the bits of an index
		bytes          int
	}{{same, 15<<4 | 4, 0, 128 + 16 + 16}, {own, 0<<4 | 1, 2, 32 + 16 + 8}} {
		e, ok := Of(LUT, c.data, l)
		if !ok || e.Ancillary[atParams] != c.params || e.Ancillary[atStride] != c.stride || e.Bytes() != c.bytes {
			t.Errorf("parameters %d, stride %d, %d bytes, want %+v", e.Ancillary[atParams], e.Ancillary[atStride], e.Bytes(), c)
		}
	}
}

func TestTablesNameTheDimensionOfTheirChannels(t *testing.T) {
	own := make([]byte, 4*64)
	for i := range own {
		own[i] = byte(i%4*40 + i/4%2)
	}
	for rank, want := range map[int]byte{1: 0<<4 | 1, 2: 1<<4 | 1, 4: 3<<4 | 1, 15: 14<<4 | 1} {
		e, ok := Of(LUT, own, Layout{Width: 1, Count: len(own), Channels: 4, Last: true, Rank: rank})
		if !ok || e.Ancillary[atParams] != want || e.Ancillary[atStride] != 2 {
			t.Errorf("channels last of %d dimensions: %v, parameters %d, want %d", rank, ok, e.Ancillary[atParams], want)
		}
	}
	if _, ok := Of(LUT, own, Layout{Width: 1, Count: len(own), Channels: 4, Last: true, Rank: 16}); ok {
		t.Error("dimension 15 is that of no table")
	}
}

func TestIndicesHaveSevenBitsAtMost(t *testing.T) {
	for distinct, want := range map[int]bool{64: true, 65: true, 128: true, 129: false} {
		if _, ok := Of(LUT, weightsEven(512, distinct), Layout{Width: 1, Count: 512, Channels: 1}); ok != want {
			t.Errorf("%d values: %v", distinct, ok)
		}
	}
}

func TestOfEqualEncodingsTheFirst(t *testing.T) {
	l := Layout{Width: 1, Count: 16, Channels: 2}
	data := []byte{3: 5, 15: 5} // as table or as bits and values: two bytes beside the bits
	for _, kinds := range [][]Kind{{LUT, Prune}, {Prune, LUT}} {
		if e, ok := Smallest(data, l, kinds...); !ok || e.Kind != kinds[0] || e.Bytes() != 16+2+2 {
			t.Errorf("%s of %d bytes is taken, want %s", e.Kind, e.Bytes(), kinds[0])
		}
	}
	if e, ok := Of(LUT, []byte{8: 5, 9: 5, 10: 5, 11: 5, 12: 5, 13: 5, 14: 5, 15: 5}, l); !ok || e.Ancillary[atParams] != oneTable<<axisShift|1 || e.Bytes() != 16+2+2 {
		t.Errorf("a table a channel that is no smaller: parameters %d, %d bytes", e.Ancillary[atParams], e.Bytes())
	}
}

func TestCodewordsOfEqualWeightGoByTheirValue(t *testing.T) {
	for name, c := range map[string]struct {
		data   []byte
		want   string
		params byte // the bits of the first table's index less one, in the upper half
		tables int
	}{
		"four alike":            {[]byte{0, 1, 2, 3}, "00 01 10 11", 1 << 4, 4},
		"negative ones last":    {[]byte{255, 7, 128, 0}, "11 01 10 00", 1 << 4, 4},
		"one":                   {[]byte{9, 9, 9}, "1 1 1", 0, 2},
		"one half, two fourths": {[]byte{0, 0, 1, 2}, "0 0 10 11", 1 << 4, 4}, // as many entries as two tables of a bit
		"five":                  {[]byte{0, 0, 0, 0, 1, 2, 3, 4}, "0 0 0 0 100 101 110 111", 0, 2 + 4},
	} {
		e, ok := Of(Huffman, c.data, Layout{Width: 1, Count: len(c.data), Channels: 1})
		bits := strings.ReplaceAll(c.want, " ", "")
		var got strings.Builder
		for _, b := range e.Data {
			fmt.Fprintf(&got, "%08b", b)
		}
		if !ok || got.String() != bits+strings.Repeat("0", 32-len(bits)) || e.Ancillary[atParams] != c.params || len(e.Ancillary) != headerSize+2*c.tables {
			t.Errorf("%s: %s, parameters %d, tables of %d bytes, want %+v", name, got.String(), e.Ancillary[atParams], len(e.Ancillary)-headerSize, c)
		}
	}
}

// The decoder reads whole indices: it may look past the last codeword, and no further than a table asks.
func TestTheLastWordIsAsLongAsTheDecoderReads(t *testing.T) {
	repeated := func(counts ...int) (out []byte) {
		for v, n := range counts {
			out = append(out, bytes.Repeat([]byte{byte(v)}, n)...)
		}
		return out
	}
	for name, c := range map[string]struct {
		data  []byte
		words int
	}{
		"31 bits":                            {repeated(16, 15), 1},
		"a whole word":                       {repeated(16, 16), 1},
		"a bit more":                         {repeated(17, 16), 2},
		"a whole word, the last of two bits": {append(repeated(9, 3, 3, 2), 1), 1}, // codewords of 1, 2, 3 and 3 bits, the first table of 2
		"a whole word, the last of one bit":  {append(repeated(8, 4, 3, 2), 0), 2}, // two are read, and one is put back
		"a whole word, the last of three":    {repeated(9, 4, 3, 2), 1},
	} {
		l := Layout{Width: 1, Count: len(c.data), Channels: 1}
		e, ok := Of(Huffman, c.data, l)
		if got, err := Decode(e.Data, e.Ancillary, l); !ok || len(e.Data) != c.words*wordSize || err != nil || !bytes.Equal(got, c.data) {
			t.Errorf("%s: %d bytes, want %d words (%v)", name, len(e.Data), c.words, err)
		}
	}
}

// The example of TFLM's documentation: tensorflow/lite/micro/docs/compression.md.
func TestIndicesAreWrittenFromTheHighestBit(t *testing.T) {
	e, ok := Of(LUT, []byte{2, 4, 4, 10, 1, 7, 99, 10, 2, 4}, Layout{Width: 1, Count: 10, Channels: 1})
	if want := []byte{16: 1, 2, 4, 7, 10, 99}; !ok || !slices.Equal(e.Ancillary[16:], want[16:]) {
		t.Errorf("table %v", e.Ancillary[16:])
	}
	if got, want := fmt.Sprintf("%08b", e.Data), "[00101001 01000000 11101100 00101000]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCodewordsTakeTheirEntropyAndWholeWords(t *testing.T) {
	l := Layout{Width: 1, Count: 8000, Channels: 1}
	data := make([]byte, l.Count)
	for i := range data {
		data[i] = [8]byte{0, 0, 0, 0, 1, 1, 2, 3}[i%8]
	}
	e, _ := Of(Huffman, data, l)
	if bits := 1000 * (4*1 + 2*2 + 3 + 3); len(e.Data) != (bits+31)/32*4 {
		t.Errorf("%d bytes, want %d", len(e.Data), (bits+31)/32*4)
	}
	if want := 2 * 6; len(e.Ancillary)-headerSize != want { // two levels of one bit and one of one
		t.Errorf("tables of %d bytes, want %d", len(e.Ancillary)-headerSize, want)
	}
}

func TestSmallestIsTheSmallest(t *testing.T) {
	l := Layout{Width: 1, Count: 5000, Channels: 1}
	for want, data := range map[Kind][]byte{LUT: weightsEven(l.Count, 16), Huffman: weights(l.Count, 16, 0.5, 1), Prune: weightsOf(l.Count)} {
		e, ok := Smallest(data, l, Kinds...)
		if !ok || e.Kind != want {
			t.Errorf("%s is taken with %d bytes, want %s", e.Kind, e.Bytes(), want)
		}
	}
}

// weightsEven has every value equally often: nothing for codewords of several lengths.
func weightsEven(n, distinct int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i % distinct)
	}
	return out
}

// weightsOf has nine zeros of ten, and all else different: long tables for codewords.
func weightsOf(n int) []byte {
	out := make([]byte, n)
	for i := 0; i < n; i += 10 {
		out[i] = byte(1 + i/10%255)
	}
	return out
}

// Forms that TFLM decodes and this package does not write.
func TestDecodeReadsWiderValues(t *testing.T) {
	words := func(values ...uint32) (out []byte) {
		for _, v := range values {
			out = binary.LittleEndian.AppendUint32(out, v)
		}
		return out
	}
	for name, c := range map[string]struct {
		data, ancillary []byte
		layout          Layout
		want            []byte
	}{
		"indices into int32":     {[]byte{0b01100000}, append([]byte{0, 1, 0, 0, 1, 1, 0, 15: 0}, words(7, 1<<20)...), Layout{Width: 4, Count: 3, Channels: 1}, words(7, 1<<20, 1<<20)},
		"zeros among int32":      {[]byte{0b01100000}, append([]byte{2, 1, 0, 0, 1, 15: 0}, words(9, 1<<20)...), Layout{Width: 4, Count: 3, Channels: 1}, words(0, 9, 1<<20)},
		"zero points by channel": {[]byte{0b01000000}, append([]byte{2, 1, 0, 0, 1, 15: 0}, 9), Layout{Width: 1, Count: 4, Channels: 2, Zero: []int{-1, 5}}, []byte{255, 9, 5, 5}},
		"zero points, last":      {[]byte{0b01000000}, append([]byte{2, 1, 0, 0, 1, 15: 0}, 9), Layout{Width: 1, Count: 4, Channels: 2, Last: true, Rank: 2, Zero: []int{-1, 5}}, []byte{255, 9, 255, 5}},
		"codewords of int16": {[]byte{0b01011000, 0, 0, 0}, append([]byte{1, 1, 0, 0, 1, 1, 15: 0}, words(1<<31|1<<27|0xff00, 0<<27|1, 1<<31|1<<27|258, 1<<31|1<<27|3)...),
			Layout{Width: 2, Count: 3, Channels: 1}, []byte{0, 255, 2, 1, 3, 0}},
	} {
		got, err := Decode(c.data, c.ancillary, c.layout)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	l := Layout{Width: 1, Count: 8, Channels: 1}
	metadata := func(k Kind, params byte, rest ...byte) []byte {
		h := header(k)
		h[atParams] = params
		return append(h, rest...)
	}
	for name, c := range map[string]struct {
		data, ancillary []byte
		layout          Layout
		want            string
	}{
		"short metadata":       {[]byte{0}, make([]byte, 15), l, "15 bytes of metadata, want 16"},
		"another version":      {[]byte{0}, []byte{0, 2, 15: 0}, l, "version 2 of the metadata is not known, only 1"},
		"another LUT":          {[]byte{0}, []byte{0, 1, 0, 0, 2, 15: 0}, l, "version 2 of LUT is not known, only 1"},
		"an application's own": {[]byte{0}, []byte{128, 1, 15: 0}, l, "kind 128 is not known"},
		"no bits":              {[]byte{0}, metadata(LUT, 0, 1), l, "indices of no bits"},
		"tables elsewhere":     {[]byte{0}, metadata(LUT, 1<<4|1, 1, 1), Layout{Width: 1, Count: 8, Channels: 2, Rank: 4}, "tables along dimension 1, scales along 0"},
		"few indices":          {[]byte{0}, metadata(LUT, 2, 1, 1, 1, 1), l, "the indices end at value 4 of 8"},
		"short table":          {[]byte{1}, metadata(LUT, 1, 1), l, "value 7 has index 1, its table ends before"},
		"few bits":             {nil, metadata(Prune, 0), l, "8 values in 0 bytes"},
		"few values":           {[]byte{0b11000000}, metadata(Prune, 0, 5), l, "the values end at value 1 of 8"},
		"no table":             {[]byte{0}, metadata(Huffman, 0), l, "value 0 leads to entry 0, behind the tables"},
		"codewords of no bits": {[]byte{0}, metadata(Huffman, 0, 1, 0x80, 1, 0x80), l, "value 0 has a codeword of no bits"},
		"a circle":             {[]byte{0}, metadata(Huffman, 0, 0, 0, 0, 0), l, "the codewords end at value 0 of 8"},
		"channels of nothing":  {[]byte{0}, metadata(Prune, 0), Layout{Width: 1, Count: 8, Channels: 2, Last: true}, "channels are the last of 0 dimensions"},
		"uneven channels":      {[]byte{0}, metadata(Prune, 0), Layout{Width: 1, Count: 8, Channels: 3}, "8 values of 1 bytes in 3 channels"},
		"wide codewords":       {[]byte{0}, metadata(Huffman, 0), Layout{Width: 4, Count: 8, Channels: 1}, "values of 4 bytes with entries of 2"},
	} {
		if _, err := Decode(c.data, c.ancillary, c.layout); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// No bytes make the decoder read outside them, take more memory than they stand for, or run without end.
func FuzzDecode(f *testing.F) {
	l := Layout{Width: 1, Count: 64, Channels: 4}
	for _, k := range Kinds {
		e, _ := Of(k, weights(l.Count, 16, 0.5, 1), l)
		f.Add(e.Data, e.Ancillary, byte(1), uint16(l.Count), byte(4), false)
	}
	f.Fuzz(func(t *testing.T, data, ancillary []byte, width byte, count uint16, channels byte, last bool) {
		l := Layout{Width: int(width) % 9, Count: int(count), Channels: int(channels), Last: last, Rank: int(width) % 5}
		out, err := Decode(data, ancillary, l)
		if err == nil && len(out) != l.Width*l.Count {
			t.Fatalf("%d bytes, want %d of %d", len(out), l.Count, l.Width)
		}
	})
}

// Whatever is encoded comes back.
func FuzzRoundTrip(f *testing.F) {
	f.Add(weights(100, 16, 0.5, 1), byte(4), true)
	f.Fuzz(func(t *testing.T, data []byte, channels byte, last bool) {
		l := Layout{Width: 1, Count: len(data), Channels: int(channels), Last: last, Rank: 4}
		for _, k := range Kinds {
			e, ok := Of(k, data, l)
			if !ok {
				continue
			}
			if out, err := Decode(e.Data, e.Ancillary, l); err != nil || !bytes.Equal(out, data) {
				t.Fatalf("%s: %v", k, err)
			}
		}
	})
}
