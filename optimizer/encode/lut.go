package encode

import (
	"fmt"
	"math/bits"
)

// maxIndexBits are the most that an index has. The upper half of the same byte of the metadata is the dimension along which tables are,
// oneTable for none: TFLM's tool writes it, since a later commit, and TFLM's kernel goes by the scales of the tensor and the stride instead.
// What is written here is the same to both.
const (
	maxIndexBits = 7
	axisShift    = 4
	oneTable     = 15
)

// lut encodes int8 values with one table for all channels, which is a stride of 0, or with one a channel, whichever is smaller.
func lut(data []byte, l Layout) (Encoded, bool) {
	shared, ok := tables(data, l, 1)
	if l.Channels > 1 {
		if own, can := tables(data, l, l.Channels); can && (!ok || own.Bytes() < shared.Bytes()) {
			return own, true
		}
	}
	return shared, ok
}

// tables encodes with n tables: 1, or one a channel.
func tables(data []byte, l Layout, n int) (Encoded, bool) {
	seen := make([][256]bool, n)
	of := func(i int) int {
		if n == 1 {
			return 0
		}
		return l.channel(i)
	}
	for i, v := range data {
		seen[of(i)][v^0x80] = true
	}
	values, index, stride := make([][]byte, n), make([][256]byte, n), 0
	for t := range seen {
		for v, there := range seen[t] { // ascending
			if there {
				index[t][v] = byte(len(values[t]))
				values[t] = append(values[t], byte(v)^0x80)
			}
		}
		stride = max(stride, len(values[t]))
	}
	width := max(1, bits.Len(uint(stride-1)))
	if width > maxIndexBits {
		return Encoded{}, false
	}
	ancillary := header(LUT)
	ancillary[atParams] = byte(width | oneTable<<axisShift)
	if n > 1 {
		ancillary[atParams], ancillary[atStride] = byte(width|l.axis()<<axisShift), byte(stride)
	}
	for _, v := range values {
		ancillary = append(ancillary, v...)
		ancillary = append(ancillary, make([]byte, stride-len(v))...)
	}
	w := &bitWriter{}
	for i, v := range data {
		w.write(uint32(index[of(i)][v^0x80]), width)
	}
	return Encoded{LUT, w.bytes, ancillary}, true
}

func decodeLUT(data, ancillary []byte, l Layout) ([]byte, error) {
	width, stride, values := int(ancillary[atParams]&maxIndexBits), int(ancillary[atStride]), ancillary[headerSize:]
	if width == 0 {
		return nil, fmt.Errorf("indices of no bits")
	}
	switch along := int(ancillary[atParams] >> axisShift); {
	case along == oneTable:
		stride = 0
	case along != 0 && along != l.axis(): // 0 is written for any, too
		return nil, fmt.Errorf("tables along dimension %d, scales along %d", along, l.axis())
	}
	out, r := make([]byte, 0, l.Count*l.Width), &bitReader{data: data}
	for i := range l.Count {
		index, ok := r.read(width)
		if !ok {
			return nil, fmt.Errorf("the indices end at value %d of %d", i, l.Count)
		}
		at := (l.channel(i)*stride + int(index)) * l.Width
		if at+l.Width > len(values) {
			return nil, fmt.Errorf("value %d has index %d, its table ends before", i, index)
		}
		out = append(out, values[at:at+l.Width]...)
	}
	return out, nil
}
