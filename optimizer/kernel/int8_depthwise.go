package kernel

import (
	"unsafe"

	"espalier.dev/espalier/optimizer/kernel/internal/simd"
)

// Int8Depthwise is DEPTHWISE_CONV_2D of int8 over images of a fixed size. It is immutable.
//
// With SIMD it goes through the channels in blocks of a register of sums. Inputs of neighbouring pixels are brought together, so
// that one instruction multiplies and adds several taps; the pixels of a strip of rows at a time.
type Int8Depthwise struct {
	w            Window
	c, mult      int
	outs         int
	weights      []int8 // [KH, KW, outs], as given
	packed       []byte // by block of channels: [taps][lanes][neighbours]
	wZero        int32  // of the weights
	image        padded
	requant      requantizer
	zero         int8 // of the inputs
	cols, strip  int  // of the image of groups; output rows at a time
	taps, pixels []int
}

// NewInt8Depthwise packs weights [KH, KW, c·mult]; it keeps a reference to them.
func NewInt8Depthwise(weights []int8, w Window, c, mult int, q Requant) *Int8Depthwise {
	l := newDepthwise(weights, w, c, mult, q.WeightZero, int8(q.InputZero))
	l.requant = newLayerRequantizer(q, l.outputSums(), q.InputZero+int32(simd.IntXor))
	return l
}

// newDepthwise packs weights with a zero point; zero is what padding holds.
func newDepthwise(weights []int8, w Window, c, mult int, wZero int32, zero int8) *Int8Depthwise {
	l := &Int8Depthwise{w: w, c: c, mult: mult, outs: c * mult, weights: weights[:w.KH*w.KW*c*mult], wZero: wZero, zero: zero}
	if simd.IntLanes > 0 && w.OutH > 0 && w.OutW > 0 && l.outs > 0 {
		l.pack()
	}
	return l
}

func (l *Int8Depthwise) outputSums() outputSums {
	sums := newOutputSums(l.outs)
	for i, v := range l.weights {
		sums.add(i%l.outs, int32(v)-l.wZero)
	}
	return sums
}

// groupsOfRow returns how many groups a row of taps makes and the step in pixels from one to the next: neighbours only if there is
// no dilation.
func (l *Int8Depthwise) groupsOfRow() (groups, step, neighbours int) {
	if l.w.DilationW == 1 {
		return (l.w.KW + simd.IntTaps - 1) / simd.IntTaps, simd.IntTaps, simd.IntTaps
	}
	return l.w.KW, l.w.DilationW, 1
}

// lessZero are weights that every tap is multiplied with besides its own, so that it is as if its zero point had been taken off.
func (l *Int8Depthwise) lessZero() []int8 {
	switch {
	case l.wZero == 0:
		return nil
	case l.wZero == -128:
		return []int8{127, 1}
	default:
		return []int8{int8(-l.wZero)}
	}
}

func (l *Int8Depthwise) pack() {
	w := l.w
	groups, step, neighbours := l.groupsOfRow()
	extra := l.lessZero()
	taps := w.KH * groups * (1 + len(extra))
	lanes := simd.IntLanes
	l.cols = (w.OutW-1)*w.StrideW + (groups-1)*step + 1
	l.image = newPadded(w, l.outs, l.cols+simd.IntTaps-1, l.zero)
	size := lanes * simd.IntTaps * simd.IntSize // of the groups of a pixel: four bytes a lane
	l.packed = grow(l.packed, (l.outs+lanes-1)/lanes*taps*size)
	for i, v := range l.weights {
		ky, kx, o := i/l.outs/w.KW, i/l.outs%w.KW, i%l.outs
		tap := ky*groups + kx/neighbours
		for k, v := range append([]int8{v}, extra...) {
			putInt(l.packed, ((o/lanes*taps+k*w.KH*groups+tap)*lanes+o%lanes)*simd.IntTaps+kx%neighbours, v)
		}
	}
	for range 1 + len(extra) {
		for ky := range w.KH {
			for g := range groups {
				l.taps = append(l.taps, size*(ky*w.DilationH*l.cols+g*step))
			}
		}
	}
	span := (w.KH-1)*w.DilationH + 1
	l.strip = min(max((stripBytes/size/l.cols-span)/w.StrideH+1, 1), w.OutH)
	for r := range l.strip {
		for x := range w.OutW {
			l.pixels = append(l.pixels, size*(r*w.StrideH*l.cols+x*w.StrideW), 4*lanes*(r*w.OutW+x))
		}
	}
	for n := l.strip * w.OutW; len(l.pixels)%16 != 0; {
		l.pixels = append(l.pixels, l.pixels[2*n-2], l.pixels[2*n-1])
	}
}

// stripBytes is the size of an image of groups that stays in the L1 cache beside the sums.
const stripBytes = 20 << 10

// Run computes one image y [OutH, OutW, c·mult] from x [InH, InW, c].
func (l *Int8Depthwise) Run(s *Int8Scratch, y, x []int8) { l.RunRows(s, y, x, 0, l.w.OutH) }

// RunRows computes rows from to to−1 of an image y.
func (l *Int8Depthwise) RunRows(s *Int8Scratch, y, x []int8, from, to int) {
	w := l.w
	x, y = x[:w.InH*w.InW*l.c], y[:w.OutH*w.OutW*l.outs]
	if l.packed == nil {
		l.runPortable(s, y, x, from*w.OutW, to*w.OutW)
		return
	}
	l.runPacked(s, results{codes: y}, x, from, to)
}

// runPacked is RunRows by assembly.
func (l *Int8Depthwise) runPacked(s *Int8Scratch, y results, x []int8, from, to int) {
	w := l.w
	if l.mult > 1 {
		x = l.expand(s, x)
	}
	l.image.fill(s, l, x)
	span := (w.KH-1)*w.DilationH + 1
	lanes := simd.IntLanes
	size := lanes * simd.IntTaps * simd.IntSize
	s.groups = grow(s.groups, (span+(l.strip-1)*w.StrideH)*l.cols*size)
	s.sums = grow(s.sums, len(l.pixels)/2*lanes)
	for at := 0; at < l.outs; at += lanes {
		for first := from; first < to; first += l.strip {
			rows := min(l.strip, to-first)
			simd.Interleave(&simd.InterleaveArgs{
				Dst: unsafe.Pointer(&s.groups[0]), Src: (*int8)(unsafe.Pointer(&s.image[first*w.StrideH*l.image.cols*l.outs+at])),
				Cols: l.cols, Rows: span + (rows-1)*w.StrideH, SrcCol: l.outs, SrcRow: l.image.cols * l.outs,
			})
			// a shorter strip computes some pixels too many, of stale groups
			simd.DepthwiseInt8(&simd.DepthwiseInt8Args{
				Y: &s.sums[0], X: unsafe.Pointer(&s.groups[0]), W: unsafe.Pointer(&l.packed[at/lanes*len(l.taps)*size]),
				Pixels: &l.pixels[0], Taps: &l.taps[0], Count: (rows*w.OutW + 7) / 8, TapCount: len(l.taps),
			})
			l.requant.run(s, y.from(first*w.OutW*l.outs+at), l.outs, s.sums, lanes, rows*w.OutW, at, min(lanes, l.outs-at))
		}
	}
}

// expand repeats every channel mult times.
func (l *Int8Depthwise) expand(s *Int8Scratch, x []int8) []int8 {
	s.rows = grow(s.rows, len(x)*l.mult)
	out := int8s(s.rows)[:len(x)*l.mult]
	for i, v := range x {
		for k := range l.mult {
			out[i*l.mult+k] = v
		}
	}
	return out
}

// runPortable computes output pixels from to to−1.
func (l *Int8Depthwise) runPortable(s *Int8Scratch, y, x []int8, from, to int) {
	w := l.w
	s.sums = grow(s.sums, l.outs)
	sums := s.sums[:l.outs]
	for pixel := from; pixel < to; pixel++ {
		iy, ix := pixel/w.OutW*w.StrideH-w.PadTop, pixel%w.OutW*w.StrideW-w.PadLeft
		clear(sums)
		for tap := range w.KH * w.KW {
			weights := l.weights[tap*l.outs : (tap+1)*l.outs]
			from := w.pixel(iy+tap/w.KW*w.DilationH, ix+tap%w.KW*w.DilationW)
			for o, v := range weights {
				in := l.zero
				if from >= 0 {
					in = x[from*l.c+o/l.mult]
				}
				sums[o] += int32(in) * (int32(v) - l.wZero)
			}
		}
		for o, sum := range sums {
			y[pixel*l.outs+o] = l.requant.code(sum, o)
		}
	}
}
