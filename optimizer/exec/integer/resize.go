package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
)

// RESIZE_NEAREST_NEIGHBOR: of any type. The source pixel is found in float32.
func buildResizeNearest(c *compiler) (runner, error) {
	in, out, err := c.moved(0)
	if err != nil {
		return nil, err
	}
	attr, from, to := c.n.Attr.(ir.Resize), in.Shape, out.Shape
	if to[1]*to[2] > maxPieces {
		return nil, c.unsupported("%s has %d pixels, at most %d are supported", out, to[1]*to[2], maxPieces)
	}
	k := &gatherKernel{in: in.Index, out: out.Index, size: from[3] * elementSize(in.Type), batch: from[0], stride: from[1] * from[2]}
	for y := range to[1] {
		row := nearest(y, from[1], to[1], attr) * from[2]
		for x := range to[2] {
			k.pieces = append(k.pieces, row+nearest(x, from[2], to[2], attr))
		}
	}
	return k, nil
}

// nearest returns the source of pixel i when size pixels become resized.
func nearest(i, size, resized int, attr ir.Resize) int {
	scale, offset := float32(size)/float32(resized), float32(0)
	if attr.AlignCorners && resized > 1 {
		scale = float32(size-1) / float32(resized-1)
	}
	if attr.HalfPixel {
		offset = 0.5
	}
	at := float64(float32((float32(i) + offset) * scale))
	if attr.AlignCorners {
		at = math.Round(at)
	}
	return min(max(int(math.Floor(at)), 0), size-1)
}

// resizeKernel is RESIZE_BILINEAR of int8, in steps of 1/1024 pixel.
type resizeKernel struct {
	in, out         int
	wide            bool // int16
	batch, channels int
	inH, inW        int
	rows, columns   []between
}

// between is a place between two source pixels.
type between struct {
	first, second int
	weight        int64 // of the second, in 1024ths; the first has the rest
}

func buildResizeBilinear(c *compiler) (runner, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	if err := c.sameQuant(in, out); err != nil {
		return nil, err
	}
	attr, from, to := c.n.Attr.(ir.Resize), c.in(0).Shape, c.out(0).Shape
	return &resizeKernel{
		wide: c.wide,
		in:   c.n.Inputs[0], out: c.n.Outputs[0], batch: from[0], channels: from[3], inH: from[1], inW: from[2],
		rows: betweens(from[1], to[1], attr), columns: betweens(from[2], to[2], attr),
	}, nil
}

// betweens returns where the pixels of one dimension come from when size become resized.
func betweens(size, resized int, attr ir.Resize) []between {
	scale := (size<<10 + resized/2) / resized
	if attr.AlignCorners && resized > 1 {
		scale = ((size-1)<<10 + (resized-1)/2) / (resized - 1)
	}
	out := make([]between, resized)
	for i := range out {
		at := i * scale
		if attr.HalfPixel {
			at += scale/2 - 1<<9
		}
		first := max(at/(1<<10), 0)
		out[i] = between{min(first, size-1), min(max((at+1<<10-1)/(1<<10), 0), size-1), int64(at - first<<10)}
	}
	return out
}

func (k *resizeKernel) run(m *memory) error {
	if k.wide {
		resize(k, m.int16s(k.out), m.int16s(k.in))
	} else {
		resize(k, m.int8s(k.out), m.int8s(k.in))
	}
	return nil
}

func resize[T int8 | int16](k *resizeKernel, y, x []T) {
	for range k.batch {
		for _, r := range k.rows {
			upper, lower := x[r.first*k.inW*k.channels:], x[r.second*k.inW*k.channels:]
			for _, c := range k.columns {
				left, right := c.first*k.channels, c.second*k.channels
				for i := range k.channels {
					sum := int64(upper[left+i])*(1<<10-r.weight)*(1<<10-c.weight) + int64(lower[left+i])*r.weight*(1<<10-c.weight) +
						int64(upper[right+i])*(1<<10-r.weight)*c.weight + int64(lower[right+i])*r.weight*c.weight
					if sum > 0 {
						sum += 1 << 19
					} else {
						sum -= 1 << 19
					}
					y[i] = T(sum / (1 << 20))
				}
				y = y[k.channels:]
			}
		}
		x = x[k.inH*k.inW*k.channels:]
	}
}
