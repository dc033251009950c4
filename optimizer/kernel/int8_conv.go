package kernel

import (
	"unsafe"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Int8Conv is CONV_2D of int8 over images of a fixed size. It is immutable.
type Int8Conv struct {
	dense *Int8Dense
	w     Window
	c     int // channels of the input
	image padded
}

// NewInt8Conv packs weights [n, KH, KW, c], n being len(q.Bias); it keeps a reference to them.
func NewInt8Conv(weights []int8, w Window, c int, q Requant) *Int8Conv {
	return newConv(NewInt8Dense(weights, w.KH*w.KW*c, q), w, c, int8(q.InputZero))
}

// newConv makes a convolution of its product; zero is what padding holds.
func newConv(d *Int8Dense, w Window, c int, zero int8) *Int8Conv {
	return &Int8Conv{dense: d, w: w, c: c, image: newPadded(w, c, (w.OutW-1)*w.StrideW+(w.KW-1)*w.DilationW+1, zero)}
}

// Run computes one image y [OutH, OutW, n] from x [InH, InW, c].
func (l *Int8Conv) Run(s *Int8Scratch, y, x []int8) { l.RunRows(s, y, x, 0, l.w.OutH) }

// RunRows computes rows from to to−1 of an image y.
func (l *Int8Conv) RunRows(s *Int8Scratch, y, x []int8, from, to int) {
	d, w := l.dense, l.w
	x, y = x[:w.InH*w.InW*l.c], y[:w.OutH*w.OutW*d.n]
	switch {
	case len(y) == 0 || from >= to:
	case d.packed != nil:
		l.runPacked(s, results{codes: y}, x, from, to)
	case l.pointwise():
		d.Run(s, y[from*w.OutW*d.n:], x[from*w.OutW*l.c:], (to-from)*w.OutW, l.c)
	default:
		l.runPortable(s, y, x, from*w.OutW, to*w.OutW)
	}
}

// pointwise reports whether every output pixel is made of the input pixel at its place.
func (l *Int8Conv) pointwise() bool {
	w := l.w
	return w.KH == 1 && w.KW == 1 && w.StrideH == 1 && w.StrideW == 1 && w.PadTop == 0 && w.PadLeft == 0 && w.OutH == w.InH && w.OutW == w.InW
}

// runPacked is RunRows by assembly, of at least one output pixel.
func (l *Int8Conv) runPacked(s *Int8Scratch, y results, x []int8, from, to int) {
	d, w := l.dense, l.w
	from, to = from*w.OutW, to*w.OutW
	switch {
	case l.pointwise():
		d.runPacked(s, y.from(from*d.n), x[from*l.c:], to-from, l.c)
	case l.inPlace():
		l.image.fill(s, l, x)
		l.runInPlace(s, y, from/w.OutW, to/w.OutW)
	default:
		l.image.fill(s, l, x)
		chunk := d.chunk()
		s.rows = grow(s.rows, chunk*d.rowBytes()+64)
		for first := from; first < to; first += chunk {
			n := min(chunk, to-first)
			l.gather(s, first, n)
			d.multiply(s, y.from(first*d.n), n)
		}
	}
}

// inPlace reports whether the taps of an output pixel can be multiplied where they lie in the padded image: whole steps a row of taps.
func (l *Int8Conv) inPlace() bool {
	return simd.HasSegments && simd.IntSize == 1 && l.w.DilationW == 1 && l.w.KW*l.c%(simd.DenseTaps*simd.IntSteps) == 0
}

// runInPlace computes output rows from to to−1 from the padded image.
func (l *Int8Conv) runInPlace(s *Int8Scratch, y results, from, to int) {
	d, w := l.dense, l.w
	outputs, line := d.outputs(), l.image.cols*l.c
	chunk := max(4<<10/outputs/w.OutW, 1) // rows whose sums stay in the L1 cache
	s.sums = grow(s.sums, chunk*w.OutW*outputs)
	p := simd.Int8Args{LDA: w.StrideW * l.c, LDC: 4 * outputs, Steps: w.KW * l.c / simd.DenseTaps, Segments: w.KH, Skip: w.DilationH*line - w.KW*l.c}
	for ; from < to; from += chunk {
		rows := min(chunk, to-from)
		for j := 0; j < outputs; j += 2 * simd.IntLanes {
			p.Registers = min(outputs-j, 2*simd.IntLanes) / simd.IntLanes
			p.B = unsafe.Pointer(&d.packed[j*d.steps*simd.DenseTaps])
			for _, g := range tilings(w.OutW, simd.MaxIntRows(p.Registers)) {
				for r := 0; r < rows && g.tiles > 0; r++ {
					p.Rows, p.Tiles = g.rows, g.tiles
					p.A = unsafe.Pointer(&s.image[(from+r)*w.StrideH*line+g.first*p.LDA])
					p.C = &s.sums[(r*w.OutW+g.first)*outputs+j]
					simd.GemmInt8(&p)
				}
			}
		}
		d.finish(s, y.from(from*w.OutW*d.n), rows*w.OutW)
	}
}

// gather copies the taps of n output pixels from the padded image to s.rows: whole rows of the output at once.
func (l *Int8Conv) gather(s *Int8Scratch, first, n int) {
	for row := 0; row < n; {
		oy, ox := (first+row)/l.w.OutW, (first+row)%l.w.OutW
		count, rows := min(n-row, l.w.OutW-ox), 1
		if ox == 0 && n-row >= l.w.OutW {
			rows = (n - row) / l.w.OutW
		}
		l.gatherRows(s, row, oy, ox, count, rows)
		row += rows * count
	}
}

// gatherRows copies the taps of rows × count output pixels from (oy, ox) on, to s.rows from a row on.
func (l *Int8Conv) gatherRows(s *Int8Scratch, row, oy, ox, count, rows int) {
	w, size := l.w, l.dense.rowBytes()
	n, parts, step := w.KW*l.c, 1, 0
	if w.DilationW != 1 {
		n, parts, step = l.c, w.KW, w.DilationW*l.c
	}
	image := int8s(s.image)
	for ky := range w.KH {
		for part := range parts {
			at := ((oy*w.StrideH+ky*w.DilationH)*l.image.cols+ox*w.StrideW)*l.c + part*step
			to := row*size + (ky*w.KW*l.c+part*n)*simd.IntSize
			if simd.IntSize == 1 {
				simd.CopyRuns(&simd.RunsArgs{
					Dst: unsafe.Pointer(&s.rows[to]), Src: unsafe.Pointer(&image[at]), N: n, Count: count, Rows: rows,
					DstStep: size, SrcStep: w.StrideW * l.c, DstRow: count * size, SrcRow: w.StrideH * l.image.cols * l.c,
				})
				continue
			}
			for r := range rows {
				loadRuns(s.rows[to+r*count*size:], image[at+r*w.StrideH*l.image.cols*l.c:], n, count, size, w.StrideW*l.c, 0)
			}
		}
	}
}

// runPortable computes output pixels from to to−1.
func (l *Int8Conv) runPortable(s *Int8Scratch, y, x []int8, from, to int) {
	w, d := l.w, l.dense
	s.rows = grow(s.rows, d.k)
	taps := int8s(s.rows)[:d.k]
	for pixel := from; pixel < to; pixel++ {
		iy, ix := pixel/w.OutW*w.StrideH-w.PadTop, pixel%w.OutW*w.StrideW-w.PadLeft
		for tap := range w.KH * w.KW {
			to := taps[tap*l.c : (tap+1)*l.c]
			if from := w.pixel(iy+tap/w.KW*w.DilationH, ix+tap%w.KW*w.DilationW); from >= 0 {
				copy(to, x[from*l.c:])
				continue
			}
			for i := range to {
				to[i] = l.image.zero
			}
		}
		d.runPortable(y[pixel*d.n:], taps, 1, d.k)
	}
}

// pixel is the index of an input pixel, −1 if it lies outside the image.
func (w *Window) pixel(y, x int) int {
	if y < 0 || y >= w.InH || x < 0 || x >= w.InW {
		return -1
	}
	return y*w.InW + x
}

// int8s reinterprets bytes.
func int8s(b []byte) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// padded is the layout of an image with its padding, for assembly: all output pixels are alike then.
type padded struct {
	rows, cols int // of the padded image; parts of the input that no tap reaches are left out
	c          int
	zero       int8 // what padding holds
	// the part of the input inside: first row and column, number of rows and columns; and where it goes
	y, x, h, w, top, left int
	inW                   int
}

// newPadded lays out an image of cols columns, those to the right of the input included.
func newPadded(w Window, c, cols int, zero int8) padded {
	p := padded{rows: (w.OutH-1)*w.StrideH + (w.KH-1)*w.DilationH + 1, cols: cols, c: c, zero: zero, inW: w.InW}
	p.top, p.left = max(w.PadTop, 0), max(w.PadLeft, 0)
	p.y, p.x = max(-w.PadTop, 0), max(-w.PadLeft, 0)
	p.h, p.w = max(min(w.InH-p.y, p.rows-p.top), 0), max(min(w.InW-p.x, p.cols-p.left), 0)
	return p
}

// fill copies an image to s.image, as assembly wants the inputs but for widening, and its padding if another layer was here.
func (p *padded) fill(s *Int8Scratch, owner any, x []int8) {
	line := p.cols * p.c
	if s.owner != owner {
		s.image = grow(s.image, p.rows*line+64) // beyond, assembly reads but does not use
		border := s.image[:p.rows*line]
		for i := range border[:line] {
			border[i] = byte(p.zero) ^ byte(simd.IntXor)
		}
		for at := line; at < len(border); at *= 2 {
			copy(border[at:], border[:at])
		}
		s.owner = owner
	}
	if p.h == 0 || p.w == 0 {
		return
	}
	dst := s.image[p.top*line+p.left*p.c:]
	src := x[(p.y*p.inW+p.x)*p.c:]
	simd.CopyRuns(&simd.RunsArgs{
		Dst: unsafe.Pointer(&dst[0]), Src: unsafe.Pointer(&src[0]), N: p.w * p.c, Count: p.h, Rows: 1, DstStep: line, SrcStep: p.inW * p.c, Xor: repeatByte(int32(simd.IntXor)),
	})
}
