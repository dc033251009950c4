package encode

// bitWriter writes bits, the highest first.
type bitWriter struct {
	bytes []byte
	free  int // bits of the last byte
}

// write writes the lowest n bits of v.
func (w *bitWriter) write(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.bytes, w.free = append(w.bytes, 0), 8
		}
		w.free--
		w.bytes[len(w.bytes)-1] |= byte(v>>n&1) << w.free
	}
}

// bitReader reads them.
type bitReader struct {
	data []byte
	at   int // the next bit
}

// read returns the next n bits, at most 31; ok is false where the data ends before.
func (r *bitReader) read(n int) (v uint32, ok bool) {
	if r.at+n > 8*len(r.data) {
		return 0, false
	}
	for range n {
		v = v<<1 | uint32(r.data[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v, true
}
