package kernel

import "espalier.dev/espalier/optimizer/kernel/internal/simd"

// block is a block of channels, images and a strip of each: first of each and number of each. Several images have one strip.
type block struct{ at, lanes, image, images, first, steps int }

// blocks calls f for every block of images of channels, all of some channels one after the other.
func (p *depthwisePlan) blocks(images, channels int, f func(b block)) {
	for at := 0; at < channels; at += simd.Width {
		for image := 0; image < images; image += p.images {
			for first := 0; first < p.steps; first += p.strip {
				f(block{at, min(simd.Width, channels-at), image, min(p.images, images-image), first, min(p.strip, p.steps-first)})
			}
		}
	}
}

// target returns the pixels of a block in images that hold step floats a pixel: the first and the number, which lie one after the other.
func (p *depthwisePlan) target(b block) (first, pixels int) {
	row := b.first * p.rows
	rows := min(b.steps*p.rows, p.targetH-row)
	return (b.image*p.targetH + row) * p.targetW, b.images * rows * p.targetW
}

// partial returns memory for the target pixels of a block that is narrower than a register.
func (s *depthwiseScratch) partial(pixels int) []float32 {
	if n := pixels * simd.Width; len(s.part) < n {
		s.part = aligned(n)
	}
	return s.part[:pixels*simd.Width]
}

// narrowWeights returns the weights of a block, Width floats a tap.
func (s *depthwiseScratch) narrowWeights(weights []float32, taps, outs int, b block) []float32 {
	s.reserveWeights(taps)
	copyRuns(s.weights, weights[b.at:], b.lanes, taps, simd.Width, outs)
	return s.weights
}

func (s *depthwiseScratch) reserveWeights(taps int) {
	if n := (taps + 8) / 9 * 9 * simd.Width; len(s.weights) < n {
		s.weights = aligned(n)
	}
}

// convolve computes the target pixels of a block; step floats lie between pixels of the target and between weights.
func (s *depthwiseScratch) convolve(p *depthwisePlan, b block, target, weights []float32, step int, bias *float32, add bool) {
	args := simd.DepthwiseArgs{Y: &target[0], X: &s.source[0], W: &weights[0], Bias: bias}
	if add {
		args.Add = 1
	}
	for i := range p.classes {
		c := &p.classes[i]
		rows := min(b.steps, c.rows-b.first)
		if rows <= 0 {
			continue
		}
		if len(c.taps) == 0 {
			c.zero(p, target, b.images, rows, step, add)
			continue
		}
		l := c.list(p, b.images, rows, step)
		args.Pixels, args.Taps, args.Count, args.TapCount = &l.pixels[0], &l.taps[0], (l.count+7)/8, len(c.taps)
		simd.Depthwise(&args)
	}
}

// zero writes pixels that no tap reaches.
func (c *depthwiseClass) zero(p *depthwisePlan, target []float32, images, rows, step int, add bool) {
	if add {
		return
	}
	for k := range images {
		for r := range rows {
			for col := range c.cols {
				at := step * ((k*p.targetH+c.row+r*c.rowStep)*p.targetW + c.col + col*c.colStep)
				clear(target[at : at+simd.Width])
			}
		}
	}
}

func depthwiseForward(s *depthwiseScratch, y, x, weights, bias []float32, w Window, images, c, mult int) {
	outs, taps := c*mult, w.KH*w.KW
	p := s.plan(w, outs, false)
	p.blocks(images, outs, func(b block) {
		s.fill(p, x, c, mult, b)
		from := &s.bias[simd.Width]
		if bias != nil {
			clear(s.bias[:simd.Width])
			copy(s.bias, bias[b.at:b.at+b.lanes])
			from = &s.bias[0]
		}
		first, pixels := p.target(b)
		target := y[first*outs+b.at:]
		if b.lanes == simd.Width {
			s.convolve(p, b, target, weights[b.at:], outs, from, false)
			return
		}
		part := s.partial(pixels)
		s.convolve(p, b, part, s.narrowWeights(weights, taps, outs, b), simd.Width, from, false)
		copyRuns(target, part, b.lanes, pixels, outs, simd.Width)
	})
}

func depthwiseBackwardInput(s *depthwiseScratch, dx, dy, weights []float32, w Window, images, c, mult int, accumulate bool) {
	outs, taps := c*mult, w.KH*w.KW
	p := s.plan(w, outs, true)
	if mult > 1 && !accumulate {
		clear(dx)
	}
	p.blocks(images, outs, func(b block) {
		s.fill(p, dy, outs, 1, b)
		first, pixels := p.target(b)
		zero := &s.bias[simd.Width]
		if b.lanes == simd.Width && mult == 1 {
			s.convolve(p, b, dx[first*c+b.at:], weights[b.at:], outs, zero, accumulate)
			return
		}
		part := s.partial(pixels)
		s.convolve(p, b, part, s.narrowWeights(weights, taps, outs, b), simd.Width, zero, false)
		target := dx[first*c:]
		switch {
		case mult > 1:
			for pixel := range pixels {
				for i, v := range part[pixel*simd.Width:][:b.lanes] {
					target[pixel*c+(b.at+i)/mult] += v
				}
			}
		case accumulate:
			addRuns(target[b.at:], part, b.lanes, pixels, c, simd.Width)
		default:
			copyRuns(target[b.at:], part, b.lanes, pixels, c, simd.Width)
		}
	})
}

func depthwiseBackwardWeights(s *depthwiseScratch, dw, x, dy []float32, w Window, images, c, mult int) {
	outs, taps := c*mult, w.KH*w.KW
	p := s.plan(w, outs, false)
	s.reserveWeights(taps)
	class := &p.classes[0]
	p.blocks(images, outs, func(b block) {
		if b.image == 0 && b.first == 0 {
			clear(s.weights)
		}
		s.fill(p, x, c, mult, b)
		first, pixels := p.target(b)
		gradient, step := dy[first*outs+b.at:], outs
		if b.lanes < simd.Width {
			part := s.partial(pixels)
			clear(part)
			copyRuns(part, gradient, b.lanes, pixels, simd.Width, outs)
			gradient, step = part, simd.Width
		}
		l := class.list(p, b.images, min(b.steps, class.rows-b.first), step)
		for first := 0; first < taps; first += 9 {
			var offsets [9]int
			for i := range offsets {
				offsets[i] = class.taps[min(first+i, taps-1)].offset // what the surplus adds up is not used
			}
			simd.DepthwiseWeights(&simd.DepthwiseArgs{Y: &gradient[0], X: &s.source[0], W: &s.weights[first*simd.Width], Pixels: &l.pixels[0], Taps: &offsets[0], Count: l.count})
		}
		if b.image+b.images == images && b.first+b.steps == p.steps {
			addRuns(dw[b.at:], s.weights, b.lanes, taps, outs, simd.Width)
		}
	})
}
