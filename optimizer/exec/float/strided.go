package float

// maxRank bounds the dimensions of a transfer: an 8-dimensional model tensor, split in two by SPACE_TO_DEPTH's blocks.
const maxRank = 10

// transfer pairs the elements of a block of one tensor with those of a block of another: element (i, j, …) of the first lies
// at offset + i·stride[0] + j·stride[1] + …. A stride of 0 repeats an element (broadcasting). It describes every operator that
// only moves values: transposing, slicing, padding, concatenating, rearranging blocks.
type transfer struct {
	dims             []int
	src, dst         []int // strides
	srcFrom, dstFrom int   // offsets
}

// strides of a dense row-major tensor.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = step
		step *= shape[i]
	}
	return s
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// merged returns an equal transfer with dimensions of one element dropped and adjacent ones joined where both sides allow it.
func (t transfer) merged() transfer {
	m := transfer{srcFrom: t.srcFrom, dstFrom: t.dstFrom}
	for i, d := range t.dims {
		if d == 1 {
			continue
		}
		if k := len(m.dims) - 1; k >= 0 && m.src[k] == t.src[i]*d && m.dst[k] == t.dst[i]*d {
			m.dims[k] *= d
			m.src[k], m.dst[k] = t.src[i], t.dst[i]
			continue
		}
		m.dims, m.src, m.dst = append(m.dims, d), append(m.src, t.src[i]), append(m.dst, t.dst[i])
	}
	if len(m.dims) == 0 {
		m.dims, m.src, m.dst = []int{1}, []int{1}, []int{1}
	}
	return m
}

// reversed swaps the two sides.
func (t transfer) reversed() transfer {
	return transfer{dims: t.dims, src: t.dst, dst: t.src, srcFrom: t.dstFrom, dstFrom: t.srcFrom}
}

// rows calls f for every run of the innermost dimension with the offsets of its first elements.
func (t *transfer) rows(f func(src, dst int)) {
	var at [maxRank]int
	outer := len(t.dims) - 1
	src, dst := t.srcFrom, t.dstFrom
	for {
		f(src, dst)
		k := outer - 1
		for ; k >= 0; k-- {
			at[k]++
			src += t.src[k]
			dst += t.dst[k]
			if at[k] < t.dims[k] {
				break
			}
			src -= at[k] * t.src[k]
			dst -= at[k] * t.dst[k]
			at[k] = 0
		}
		if k < 0 {
			return
		}
	}
}

// copy sets the second block to the first.
func (t *transfer) copy(dst, src []float32) {
	k := len(t.dims) - 1
	n, ss, ds := t.dims[k], t.src[k], t.dst[k]
	t.rows(func(s, d int) {
		if ss == 1 && ds == 1 {
			copy(dst[d:d+n], src[s:s+n])
			return
		}
		for range n {
			dst[d] = src[s]
			s += ss
			d += ds
		}
	})
}

// add adds the first block to the second; where the second repeats an element, everything paired with it.
func (t *transfer) add(dst, src []float32) {
	k := len(t.dims) - 1
	n, ss, ds := t.dims[k], t.src[k], t.dst[k]
	t.rows(func(s, d int) {
		if ss == 1 && ds == 1 {
			y := dst[d : d+n]
			for i, v := range src[s : s+n] {
				y[i] += v
			}
			return
		}
		for range n {
			dst[d] += src[s]
			s += ss
			d += ds
		}
	})
}
