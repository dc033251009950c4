package kernel

import "espalier.dev/espalier/optimizer/kernel/internal/simd"

// With SIMD a depthwise convolution goes through the channels in blocks of a register. The source of a block (x, or for the
// gradient of x, dy) is copied to a small dense image with its padding, a strip of rows at a time that fits the L1 cache; then all
// pixels are alike, whatever the border, and assembly runs over lists of offsets of pixels and taps. The lists depend on the
// geometry alone and are kept.

// depthwiseScratch is the working memory of depthwise convolutions.
type depthwiseScratch struct {
	plans   map[planKey]*depthwisePlan
	current *depthwisePlan // whose padding source holds
	source  []float32
	part    []float32 // pixels of a block that is narrower than a register
	weights []float32 // of a block that is narrower than a register; gradients of weights
	bias    []float32
}

// planKey is what a plan depends on.
type planKey struct {
	w        Window
	channels int // of the target
	backward bool
}

// depthwisePlan says how target pixels are made from source pixels. Forward, the target is y and the source x; backward, the target
// is dx and the source dy.
type depthwisePlan struct {
	targetH, targetW int
	sourceH, sourceW int
	firstRow         int // source row, possibly outside, that strip 0 starts with
	firstCol         int
	width            int // columns of the dense image
	span             int // source rows that one step of target rows reads
	step             int // source rows from one step to the next
	rows             int // target rows of a step: 1, or backward the stride
	steps, strip     int // steps of the image and of a strip
	images           int // at once, where a strip is a whole image
	classes          []depthwiseClass
}

// height is the number of rows of the dense image of so many steps.
func (p *depthwisePlan) height(steps int) int { return p.span + (steps-1)*p.step }

// depthwiseClass is a regular grid of target pixels that use the same taps. Backward with a stride, there are several.
type depthwiseClass struct {
	row, col         int // of the first target pixel
	rowStep, colStep int // between target pixels
	sourceColStep    int
	rows, cols       int
	taps             []tapOffset
	lists            map[listKey]*pixelList
}

// tapOffset is a weight's index and the place in the dense image it is multiplied with, in bytes from a pixel's first.
type tapOffset struct{ index, offset int }

// listKey is what lists depend on, beside their class: images, rows of the grid, and floats between target pixels (and between weights).
type listKey struct{ images, rows, step int }

// pixelList holds pairs of offsets in bytes: of pixels in the dense image and in the target, the last repeated to fill a group of
// eight; of taps in the dense image and in the weights.
type pixelList struct {
	pixels, taps []int
	count        int // of pixels
}

// stripFloats is the size of a dense image that stays in the L1 cache beside the rest.
const stripFloats = 6 << 10

// plan returns the plan for a geometry and makes it current.
func (s *depthwiseScratch) plan(w Window, channels int, backward bool) *depthwisePlan {
	key := planKey{w, channels, backward}
	p := s.plans[key]
	if p == nil {
		if p = newForwardPlan(w); backward {
			p = newBackwardPlan(w)
		}
		p.strip, p.images = min(max((stripFloats/simd.Width/p.width-p.span)/p.step+1, 1), p.steps), 1
		if p.strip == p.steps {
			p.images = max(stripFloats/simd.Width/(p.width*p.height(p.steps)), 1)
		}
		if s.plans == nil {
			s.plans = map[planKey]*depthwisePlan{}
		}
		s.plans[key] = p
	}
	if s.current != p {
		if n := p.images * p.height(p.strip) * p.width * simd.Width; len(s.source) < n {
			s.source = aligned(n)
		} else {
			clear(s.source[:n])
		}
		s.current = p
	}
	if s.bias == nil {
		s.bias = aligned(2 * simd.Width)
	}
	return p
}

func newForwardPlan(w Window) *depthwisePlan {
	p := &depthwisePlan{
		targetH: w.OutH, targetW: w.OutW, sourceH: w.InH, sourceW: w.InW, firstRow: -w.PadTop, firstCol: -w.PadLeft,
		width: (w.OutW-1)*w.StrideW + (w.KW-1)*w.DilationW + 1, span: (w.KH-1)*w.DilationH + 1, step: w.StrideH, rows: 1, steps: w.OutH,
	}
	c := depthwiseClass{rowStep: 1, colStep: 1, sourceColStep: w.StrideW, rows: w.OutH, cols: w.OutW}
	for ky := range w.KH {
		for kx := range w.KW {
			c.tap(p, ky*w.KW+kx, ky*w.DilationH, kx*w.DilationW)
		}
	}
	p.classes = []depthwiseClass{c}
	return p
}

// newBackwardPlan: input row iy gets from output row oy = (iy + PadTop − ky·DilationH)/StrideH where that is whole, so rows that
// are equal modulo the stride use the same taps.
func newBackwardPlan(w Window) *depthwisePlan {
	p := &depthwisePlan{
		targetH: w.InH, targetW: w.InW, sourceH: w.OutH, sourceW: w.OutW,
		firstRow: floorDiv(w.PadTop-(w.KH-1)*w.DilationH, w.StrideH), firstCol: floorDiv(w.PadLeft-(w.KW-1)*w.DilationW, w.StrideW),
		step: 1, rows: w.StrideH, steps: (w.InH + w.StrideH - 1) / w.StrideH,
	}
	p.width = floorDiv(w.InW-1+w.PadLeft, w.StrideW) + 1 - p.firstCol
	p.span = floorDiv(w.StrideH-1+w.PadTop, w.StrideH) + 1 - p.firstRow
	for row := range min(w.StrideH, w.InH) {
		for col := range min(w.StrideW, w.InW) {
			c := depthwiseClass{
				row: row, col: col, rowStep: w.StrideH, colStep: w.StrideW, sourceColStep: 1,
				rows: (w.InH - row + w.StrideH - 1) / w.StrideH, cols: (w.InW - col + w.StrideW - 1) / w.StrideW,
			}
			for ky := range w.KH {
				for kx := range w.KW {
					y, x := row+w.PadTop-ky*w.DilationH, col+w.PadLeft-kx*w.DilationW
					if floorDiv(y, w.StrideH)*w.StrideH == y && floorDiv(x, w.StrideW)*w.StrideW == x {
						c.tap(p, ky*w.KW+kx, floorDiv(y, w.StrideH)-p.firstRow, floorDiv(x, w.StrideW)-p.firstCol)
					}
				}
			}
			p.classes = append(p.classes, c)
		}
	}
	return p
}

func floorDiv(a, b int) int {
	q := a / b
	if q*b > a {
		q--
	}
	return q
}

// tap adds a tap at a row and column of the dense image, counted from the first source pixel of a target pixel.
func (c *depthwiseClass) tap(p *depthwisePlan, index, row, col int) {
	c.taps = append(c.taps, tapOffset{index, 4 * simd.Width * (row*p.width + col)})
}

// list returns the pixels of rows rows of the grid of each of so many images, and the taps, for targets step floats a pixel.
func (c *depthwiseClass) list(p *depthwisePlan, images, rows, step int) *pixelList {
	key := listKey{images, rows, step}
	if l := c.lists[key]; l != nil {
		return l
	}
	l := &pixelList{count: images * rows * c.cols}
	for k := range images {
		for r := range rows {
			for col := range c.cols {
				source := (k*p.height(p.steps)+r*p.step)*p.width + col*c.sourceColStep
				target := (k*p.targetH+c.row+r*c.rowStep)*p.targetW + c.col + col*c.colStep
				l.pixels = append(l.pixels, 4*simd.Width*source, 4*step*target)
			}
		}
	}
	for len(l.pixels)%16 != 0 {
		l.pixels = append(l.pixels, l.pixels[2*l.count-2], l.pixels[2*l.count-1])
	}
	for _, t := range c.taps {
		l.taps = append(l.taps, t.offset, 4*step*t.index)
	}
	if c.lists == nil {
		c.lists = map[listKey]*pixelList{}
	}
	c.lists[key] = l
	return l
}

// fill copies the source rows of a block to dense images: lane i takes channel (at + i)/mult of c.
func (s *depthwiseScratch) fill(p *depthwisePlan, source []float32, c, mult int, b block) {
	columns := p.width * simd.Width
	left, right := max(p.firstCol, 0), min(p.firstCol+p.width, p.sourceW)
	from := p.firstRow + b.first*p.step
	to := from + p.height(b.steps)
	top, bottom := max(from, 0), min(to, p.sourceH)
	if p.strip < p.steps {
		clear(s.source[:max(min(top, to)-from, 0)*columns])
		clear(s.source[(max(bottom, from)-from)*columns : (to-from)*columns])
	}
	if top >= bottom || left >= right {
		return
	}
	for k := range b.images {
		dense := s.source[(k*(to-from)+top-from)*columns+(left-p.firstCol)*simd.Width:]
		from := source[(((b.image+k)*p.sourceH+top)*p.sourceW+left)*c:]
		if mult == 1 {
			simd.CopyBlock(&dense[0], &from[b.at], b.lanes, right-left, bottom-top, 4*columns, 4*c, 4*p.sourceW*c)
			continue
		}
		for y := range bottom - top {
			for x := range right - left {
				pixel, from := dense[y*columns+x*simd.Width:], from[(y*p.sourceW+x)*c:]
				for i := range b.lanes {
					pixel[i] = from[(b.at+i)/mult]
				}
			}
		}
	}
}
