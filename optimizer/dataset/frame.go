package dataset

import (
	"fmt"
	"math"
)

// plane returns the height, width and channels of an image [H, W] or [H, W, C].
func (s *sample) plane() (height, width, channels int) {
	if len(s.shape) == 2 {
		return s.shape[0], s.shape[1], 1
	}
	return s.shape[0], s.shape[1], s.shape[2]
}

// channelsLast turns [C, H, W] into [H, W, C].
func channelsLast(from, to *sample) {
	c, h, w := from.shape[0], from.shape[1], from.shape[2]
	to.shape = []int{h, w, c}
	out := to.grow(h * w * c)
	for i, v := range from.values {
		out[i%(h*w)*c+i/(h*w)] = v
	}
}

// window is a part of an image.
type window struct{ top, left, height, width int }

// within is the part of a window that lies in an image of a height and width.
func (a window) within(height, width int) window {
	top, left := max(0, a.top), max(0, a.left)
	return window{top, left, max(0, min(height, a.top+a.height)-top), max(0, min(width, a.left+a.width)-left)}
}

// resize scales an image as tf.image.resize does, pixel centres at halves, no smoothing, and gives a part of the result.
func resize(from, to *sample, r *Resize, part window) {
	h, w, c := from.plane()
	to.shape = []int{part.height, part.width, c}
	out := to.grow(part.height * part.width * c)
	if r.Method == Nearest {
		for y := range part.height {
			row := nearest(part.top+y, r.Height, h) * w
			for x := range part.width {
				source := (row + nearest(part.left+x, r.Width, w)) * c
				copy(out[(y*part.width+x)*c:][:c], from.values[source:source+c])
			}
		}
		return
	}
	for y := range part.height {
		top, bottom, fy := between(part.top+y, r.Height, h)
		for x := range part.width {
			left, right, fx := between(part.left+x, r.Width, w)
			for k := range c {
				at := func(y, x int) float64 { return float64(from.values[(y*w+x)*c+k]) }
				upper := at(top, left) + float64((at(top, right)-at(top, left))*fx)
				lower := at(bottom, left) + float64((at(bottom, right)-at(bottom, left))*fx)
				out[(y*part.width+x)*c+k] = float32(upper + float64((lower-upper)*fy))
			}
		}
	}
}

// nearest returns the pixel of n whose area holds the centre of pixel i of m.
func nearest(i, m, n int) int { return min(n-1, (2*i+1)*n/(2*m)) }

// between returns the two pixels of n around the centre of pixel i of m, and the weight of the second.
func between(i, m, n int) (low, high int, weight float64) {
	position := (float64(i)+0.5)*float64(n)/float64(m) - 0.5
	floor := math.Floor(position)
	low, high = max(0, int(floor)), min(n-1, int(floor)+1)
	return low, high, position - floor
}

// taken is what is taken of an image of a height and width: its centre, or what change says. It may reach beyond the image.
func (p *pipeline) taken(h, w int, change *change) (window, error) {
	height, width := p.height, p.width
	if p.crop == nil && p.resize == nil && (h != height || w != width) {
		return window{}, fmt.Errorf("is %d × %d, others are %d × %d; preprocessing.resize makes them equal", h, w, height, width)
	}
	if h < height || w < width {
		return window{}, fmt.Errorf("is %d × %d, smaller than preprocessing.crop's %d × %d; resize to more first", h, w, height, width)
	}
	a := window{(h - height) / 2, (w - width) / 2, height, width}
	if change == nil {
		return a, nil
	}
	if change.crop {
		a.top, a.left = change.within(h-height, change.u[0], change.padding), change.within(w-width, change.u[1], change.padding)
	}
	a.top, a.left = a.top-change.down, a.left-change.right
	return a, nil
}

// cut takes a window of an image, mirrored where flip. What lies outside is zero.
func cut(from, to *sample, a window, flip bool) {
	h, w, c := from.plane()
	to.shape = []int{a.height, a.width, c}
	out := to.grow(a.height * a.width * c)
	clear(out)
	for y := range a.height {
		sy := y + a.top
		if sy < 0 || sy >= h {
			continue
		}
		for x := range a.width {
			sx := x + a.left
			if flip {
				sx = a.width - 1 - x + a.left
			}
			if sx >= 0 && sx < w {
				copy(out[(y*a.width+x)*c:][:c], from.values[(sy*w+sx)*c:][:c])
			}
		}
	}
}

// colour brings stored channels (1, 3: RGB, 4: RGB and transparency, which is ignored) into order.
func colour(from, to *sample, order Channels) error {
	h, w, c := from.plane()
	if c != 1 && c != 3 && c != 4 {
		return fmt.Errorf("has %d channels, not 1, 3 or 4", c)
	}
	n := 3
	if order == Gray {
		n = 1
	}
	to.shape = []int{h, w, n}
	out := to.grow(h * w * n)
	for i := range h * w {
		pixel := from.values[i*c:][:c]
		r, g, b := pixel[0], pixel[0], pixel[0]
		if c > 1 {
			r, g, b = pixel[0], pixel[1], pixel[2]
		}
		switch {
		case order == RGB:
			out[3*i], out[3*i+1], out[3*i+2] = r, g, b
		case order == BGR:
			out[3*i], out[3*i+1], out[3*i+2] = b, g, r
		case c == 1:
			out[i] = r
		default:
			out[i] = float32(float64(0.299*float64(r)) + float64(0.587*float64(g)) + float64(0.114*float64(b)))
		}
	}
	return nil
}
