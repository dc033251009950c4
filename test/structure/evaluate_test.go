package structure

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// array is a tensor's values in row-major order: floats, integers and truths alike. open says that its leading dimension is the batch.
type array struct {
	shape     []int
	v         []float64
	imaginary []float64 // of complex numbers, whose real parts are v
}

func newArray(shape ...int) array {
	return array{shape: slices.Clone(shape), v: make([]float64, product(shape))}
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// index returns the position of element i in every dimension.
func index(shape []int, i int) []int {
	at := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = i % shape[d]
		i /= shape[d]
	}
	return at
}

// offset is the element at a position.
func offset(shape, at []int) int {
	i := 0
	for d := range shape {
		i = i*shape[d] + at[d]
	}
	return i
}

func (a array) at(at ...int) float64 { return a.v[offset(a.shape, at)] }

// fill makes an array from the value at every position.
func fill(shape []int, value func(at []int) float64) array {
	a := newArray(shape...)
	for i := range a.v {
		a.v[i] = value(index(shape, i))
	}
	return a
}

func (a array) each(f func(float64) float64) array {
	return fill(a.shape, func(at []int) float64 { return f(a.at(at...)) })
}

// axes returns integers as axes counted from the front.
func (a array) axes(rank int) []int {
	var axes []int
	for _, v := range a.v {
		axes = append(axes, (int(v)+rank)%rank)
	}
	return axes
}

func (a array) ints() []int {
	out := make([]int, len(a.v))
	for i, v := range a.v {
		out[i] = int(v)
	}
	return out
}

// evaluation runs a model operator by operator, as the definitions of the operators read: no shape of the file is looked at, nothing is
// shared with what is tested. It works in float64.
type evaluation struct {
	m       *tflite.Model
	values  map[int32]array
	nearest float64 // the least distance of a value from where an operator's answer jumps
}

// evaluate returns the values of every tensor for the given inputs. Constants in set take the place of the file's.
func evaluate(m *tflite.Model, inputs []array, set map[int32]array) (*evaluation, error) {
	e := &evaluation{m: m, values: map[int32]array{}, nearest: math.Inf(1)}
	g := m.Subgraph()
	for i, t := range g.Tensors {
		if data := m.Data(t); len(data) > 0 {
			a, err := constant(t, data)
			if err != nil {
				return nil, err
			}
			e.values[int32(i)] = a
		}
	}
	for t, a := range set {
		e.values[t] = a
	}
	for i, t := range g.Inputs {
		e.values[t] = inputs[i]
	}
	for i, o := range g.Operators {
		if err := e.run(o); err != nil {
			return nil, fmt.Errorf("operator %d: %w", i, err)
		}
	}
	return e, nil
}

func constant(t *schema.TensorT, data []byte) (array, error) {
	a := array{}
	for _, d := range t.Shape {
		a.shape = append(a.shape, int(d))
	}
	for len(data) > 0 {
		size, v := 4, 0.0
		switch t.Type {
		case schema.TensorTypeFLOAT32:
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
		case schema.TensorTypeINT32:
			v = float64(int32(binary.LittleEndian.Uint32(data)))
		case schema.TensorTypeINT64:
			size, v = 8, float64(int64(binary.LittleEndian.Uint64(data)))
		case schema.TensorTypeBOOL:
			size, v = 1, float64(data[0])
		default:
			return a, fmt.Errorf("a constant of %s", t.Type)
		}
		a.v, data = append(a.v, v), data[size:]
	}
	return a, nil
}

// jump notes how near a value comes to where an answer changes all at once.
func (e *evaluation) jump(distance float64) { e.nearest = min(e.nearest, math.Abs(distance)) }

func (e *evaluation) run(o *schema.OperatorT) error {
	code, _ := e.m.Op(o)
	f := definitions[code]
	if f == nil {
		return fmt.Errorf("no definition of %s", code)
	}
	c := &call{e: e, code: code}
	if o.BuiltinOptions != nil {
		c.options = o.BuiltinOptions.Value
	}
	for _, t := range o.Inputs {
		a, ok := e.values[t]
		if t >= 0 && !ok {
			return fmt.Errorf("%s: tensor %d has no value yet", code, t)
		}
		c.in = append(c.in, a)
	}
	if len(o.Inputs) > 0 && o.Inputs[0] >= 0 {
		c.typ = e.m.Subgraph().Tensors[o.Inputs[0]].Type
	}
	c.to = e.m.Subgraph().Tensors[o.Outputs[0]].Type
	for i, a := range f(c) {
		e.values[o.Outputs[i]] = a
	}
	return nil
}

// call is an operator with its operands.
type call struct {
	e       *evaluation
	code    schema.BuiltinOperator
	options any
	in      []array
	typ, to schema.TensorType // of the first input and of the first output
}

// has reports whether an optional operand is there.
func (c *call) has(i int) bool { return i < len(c.in) && c.in[i].v != nil }

type definition func(c *call) []array

func one(f func(c *call) array) definition { return func(c *call) []array { return []array{f(c)} } }

func activate(a array, act schema.ActivationFunctionType) array {
	switch act {
	case schema.ActivationFunctionTypeRELU:
		return a.each(func(x float64) float64 { return max(x, 0) })
	case schema.ActivationFunctionTypeRELU6:
		return a.each(func(x float64) float64 { return min(max(x, 0), 6) })
	case schema.ActivationFunctionTypeRELU_N1_TO_1:
		return a.each(func(x float64) float64 { return min(max(x, -1), 1) })
	}
	return a
}

func elementwise(f func(x float64) float64) definition {
	return one(func(c *call) array { return c.in[0].each(f) })
}

// jumping is elementwise for functions that jump at whole numbers after adding shift.
func jumping(shift float64, f func(x float64) float64) definition {
	return one(func(c *call) array {
		return c.in[0].each(func(x float64) float64 {
			c.e.jump(x + shift - math.Round(x+shift))
			return f(x)
		})
	})
}

// broadcast returns the shape that operands have together.
func broadcast(shapes ...[]int) []int {
	var out []int
	for _, s := range shapes {
		for len(out) < len(s) {
			out = append([]int{1}, out...)
		}
		for i, d := range s {
			at := len(out) - len(s) + i
			if d != 1 {
				out[at] = d
			}
		}
	}
	return out
}

// of reads an operand that is repeated where it has one element.
func (a array) of(at []int) float64 {
	i := 0
	for d, size := range a.shape {
		p := at[len(at)-len(a.shape)+d]
		if size == 1 {
			p = 0
		}
		i = i*size + p
	}
	return a.v[i]
}

func binaryOf(f func(x, y float64) float64) definition {
	return one(func(c *call) array {
		x, y := c.in[0], c.in[1]
		return activate(fill(broadcast(x.shape, y.shape), func(at []int) float64 { return f(x.of(at), y.of(at)) }), fused(c.options))
	})
}

func fused(options any) schema.ActivationFunctionType {
	switch o := options.(type) {
	case *schema.AddOptionsT:
		return o.FusedActivationFunction
	case *schema.SubOptionsT:
		return o.FusedActivationFunction
	case *schema.MulOptionsT:
		return o.FusedActivationFunction
	case *schema.DivOptionsT:
		return o.FusedActivationFunction
	}
	return schema.ActivationFunctionTypeNONE
}

func compare(f func(x, y float64) bool) definition {
	return one(func(c *call) array {
		x, y := c.in[0], c.in[1]
		return fill(broadcast(x.shape, y.shape), func(at []int) float64 {
			c.e.jump(x.of(at) - y.of(at))
			return truth(f(x.of(at), y.of(at)))
		})
	})
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reduce folds along the axes of the second operand.
func reduce(start float64, f func(sum, x float64) float64, end func(sum float64, n int) float64) definition {
	return one(func(c *call) array {
		x, axes := c.in[0], c.in[1].axes(len(c.in[0].shape))
		keep := c.options.(*schema.ReducerOptionsT).KeepDims
		var kept, shape []int
		for d, size := range x.shape {
			if !slices.Contains(axes, d) {
				kept, shape = append(kept, size), append(shape, size)
				continue
			}
			kept = append(kept, 1)
			if keep {
				shape = append(shape, 1)
			}
		}
		out := newArray(shape...)
		for i := range out.v {
			out.v[i] = start
		}
		for i, v := range x.v {
			at := index(x.shape, i)
			for _, a := range axes {
				at[a] = 0
			}
			k := offset(kept, at)
			out.v[k] = f(out.v[k], v)
		}
		return out.each(func(sum float64) float64 { return end(sum, len(x.v)/len(out.v)) })
	})
}

func plain(sum float64, _ int) float64 { return sum }

// rows applies f to every run along the last dimension.
func rows(f func(c *call, x []float64) []float64) definition {
	return one(func(c *call) array {
		x := c.in[0]
		n := x.shape[len(x.shape)-1]
		out := array{shape: slices.Clone(x.shape)}
		for i := 0; i < len(x.v); i += n {
			out.v = append(out.v, f(c, x.v[i:i+n])...)
		}
		out.shape[len(out.shape)-1] = len(out.v) * n / len(x.v)
		return out
	})
}

func logSum(x []float64) float64 {
	top, sum := slices.Max(x), 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

// window is how a window lies on one spatial dimension: output o reads input o·stride + k·dilation − before.
type window struct{ out, kernel, stride, dilation, before int }

func newWindow(in, kernel, stride, dilation int, padding schema.Padding) window {
	reach := (kernel-1)*dilation + 1
	w := window{out: (in - reach + stride) / stride, kernel: kernel, stride: stride, dilation: dilation}
	if padding == schema.PaddingSAME {
		w.out = (in + stride - 1) / stride
		w.before = max(0, (w.out-1)*stride+reach-in) / 2
	}
	return w
}

func (w window) reads(out, k int) int { return out*w.stride + k*w.dilation - w.before }

func conv2D(c *call) array {
	o, x, w := c.options.(*schema.Conv2DOptionsT), c.in[0], c.in[1]
	h := newWindow(x.shape[1], w.shape[1], int(o.StrideH), int(o.DilationHFactor), o.Padding)
	v := newWindow(x.shape[2], w.shape[2], int(o.StrideW), int(o.DilationWFactor), o.Padding)
	outputs, perGroup := w.shape[0], w.shape[3]
	groups := x.shape[3] / perGroup
	y := fill([]int{x.shape[0], h.out, v.out, outputs}, func(at []int) float64 {
		sum := c.bias(2, at[3])
		group := at[3] / (outputs / groups)
		for i := range h.kernel {
			for j := range v.kernel {
				r, s := h.reads(at[1], i), v.reads(at[2], j)
				if r < 0 || s < 0 || r >= x.shape[1] || s >= x.shape[2] {
					continue
				}
				for k := range perGroup {
					sum += x.at(at[0], r, s, group*perGroup+k) * w.at(at[3], i, j, k)
				}
			}
		}
		return sum
	})
	return activate(y, o.FusedActivationFunction)
}

func (c *call) bias(slot, channel int) float64 {
	if c.has(slot) {
		return c.in[slot].v[channel]
	}
	return 0
}

func depthwise(c *call) array {
	o, x, w := c.options.(*schema.DepthwiseConv2DOptionsT), c.in[0], c.in[1]
	h := newWindow(x.shape[1], w.shape[1], int(o.StrideH), int(o.DilationHFactor), o.Padding)
	v := newWindow(x.shape[2], w.shape[2], int(o.StrideW), int(o.DilationWFactor), o.Padding)
	multiplier := w.shape[3] / x.shape[3]
	y := fill([]int{x.shape[0], h.out, v.out, w.shape[3]}, func(at []int) float64 {
		sum := c.bias(2, at[3])
		for i := range h.kernel {
			for j := range v.kernel {
				r, s := h.reads(at[1], i), v.reads(at[2], j)
				if r >= 0 && s >= 0 && r < x.shape[1] && s < x.shape[2] {
					sum += x.at(at[0], r, s, at[3]/multiplier) * w.at(0, i, j, at[3])
				}
			}
		}
		return sum
	})
	return activate(y, o.FusedActivationFunction)
}

// transposeConv spreads every input pixel over its window: the gradient of a convolution.
func transposeConv(c *call) array {
	o, shape, w, x := c.options.(*schema.TransposeConvOptionsT), c.in[0].ints(), c.in[1], c.in[2]
	h := newWindow(shape[1], w.shape[1], int(o.StrideH), 1, o.Padding)
	v := newWindow(shape[2], w.shape[2], int(o.StrideW), 1, o.Padding)
	y := fill([]int{x.shape[0], shape[1], shape[2], w.shape[0]}, func(at []int) float64 { return c.bias(3, at[3]) })
	for i, value := range x.v {
		at := index(x.shape, i)
		for k := range h.kernel {
			for l := range v.kernel {
				r, s := h.reads(at[1], k), v.reads(at[2], l)
				if r < 0 || s < 0 || r >= shape[1] || s >= shape[2] {
					continue
				}
				for q := range w.shape[0] {
					y.v[offset(y.shape, []int{at[0], r, s, q})] += value * w.at(q, k, l, at[3])
				}
			}
		}
	}
	return activate(y, o.FusedActivationFunction)
}

func conv3D(c *call) array {
	o, x, w := c.options.(*schema.Conv3DOptionsT), c.in[0], c.in[1]
	d := []window{
		newWindow(x.shape[1], w.shape[0], int(o.StrideD), int(o.DilationDFactor), o.Padding),
		newWindow(x.shape[2], w.shape[1], int(o.StrideH), int(o.DilationHFactor), o.Padding),
		newWindow(x.shape[3], w.shape[2], int(o.StrideW), int(o.DilationWFactor), o.Padding),
	}
	y := fill([]int{x.shape[0], d[0].out, d[1].out, d[2].out, w.shape[4]}, func(at []int) float64 {
		sum := c.bias(2, at[4])
		for k := range product(w.shape[:3]) {
			tap, from := index(w.shape[:3], k), make([]int, 3)
			inside := true
			for i := range from {
				from[i] = d[i].reads(at[i+1], tap[i])
				inside = inside && from[i] >= 0 && from[i] < x.shape[i+1]
			}
			for i := 0; inside && i < w.shape[3]; i++ {
				sum += x.at(at[0], from[0], from[1], from[2], i) * w.at(tap[0], tap[1], tap[2], i, at[4])
			}
		}
		return sum
	})
	return activate(y, o.FusedActivationFunction)
}

func fullyConnected(c *call) array {
	o, x, w := c.options.(*schema.FullyConnectedOptionsT), c.in[0], c.in[1]
	n := w.shape[1]
	shape := []int{len(x.v) / n, w.shape[0]}
	y := fill(shape, func(at []int) float64 {
		sum := c.bias(2, at[1])
		for k := range n {
			sum += x.v[at[0]*n+k] * w.at(at[1], k)
		}
		return sum
	})
	if o.KeepNumDims {
		y.shape = append(slices.Clone(x.shape[:len(x.shape)-1]), w.shape[0])
	}
	return activate(y, o.FusedActivationFunction)
}

func batchMatMul(c *call) array {
	o, x, y := c.options.(*schema.BatchMatMulOptionsT), c.in[0], c.in[1]
	if o.AdjX {
		x = swapLast(x)
	}
	if o.AdjY {
		y = swapLast(y)
	}
	r, s := len(x.shape), len(y.shape)
	shape := append(broadcast(x.shape[:r-2], y.shape[:s-2]), x.shape[r-2], y.shape[s-1])
	return fill(shape, func(at []int) float64 {
		sum := 0.0
		left, right := slices.Clone(at), slices.Clone(at)
		for k := range x.shape[r-1] {
			left[len(at)-1], right[len(at)-2] = k, k
			sum += x.of(left) * y.of(right)
		}
		return sum
	})
}

func swapLast(x array) array {
	n := len(x.shape)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	order[n-2], order[n-1] = n-1, n-2
	return permute(x, order)
}

func permute(x array, order []int) array {
	shape := make([]int, len(order))
	for i, d := range order {
		shape[i] = x.shape[d]
	}
	return fill(shape, func(at []int) float64 {
		from := make([]int, len(at))
		for i, d := range order {
			from[d] = at[i]
		}
		return x.at(from...)
	})
}

func pool(start float64, f func(sum, x float64) float64, end func(sum float64, n int) float64) definition {
	return one(func(c *call) array {
		o, x := c.options.(*schema.Pool2DOptionsT), c.in[0]
		h := newWindow(x.shape[1], int(o.FilterHeight), int(o.StrideH), 1, o.Padding)
		v := newWindow(x.shape[2], int(o.FilterWidth), int(o.StrideW), 1, o.Padding)
		y := fill([]int{x.shape[0], h.out, v.out, x.shape[3]}, func(at []int) float64 {
			sum, n := start, 0
			for i := range h.kernel {
				for j := range v.kernel {
					r, s := h.reads(at[1], i), v.reads(at[2], j)
					if r >= 0 && s >= 0 && r < x.shape[1] && s < x.shape[2] {
						sum, n = f(sum, x.at(at[0], r, s, at[3])), n+1
					}
				}
			}
			return end(sum, n)
		})
		return activate(y, o.FusedActivationFunction)
	})
}

// position is where a resized image's pixel lies in the image.
func position(to, in, out int, align, half bool) float64 {
	scale := float64(in) / float64(out)
	if align && out > 1 {
		scale = float64(in-1) / float64(out-1)
	}
	if half {
		return (float64(to)+0.5)*scale - 0.5
	}
	return float64(to) * scale
}

func bilinear(c *call) array {
	o, x, size := c.options.(*schema.ResizeBilinearOptionsT), c.in[0], c.in[1].ints()
	split := func(to, in, out int) (low, high int, share float64) {
		at := position(to, in, out, o.AlignCorners, o.HalfPixelCenters)
		low = max(int(math.Floor(at)), 0)
		high = min(int(math.Ceil(at)), in-1)
		if o.HalfPixelCenters {
			low = min(low, in-1)
		}
		return low, high, at - float64(low)
	}
	return fill([]int{x.shape[0], size[0], size[1], x.shape[3]}, func(at []int) float64 {
		top, bottom, down := split(at[1], x.shape[1], size[0])
		left, right, across := split(at[2], x.shape[2], size[1])
		return (x.at(at[0], top, left, at[3])*(1-across)+x.at(at[0], top, right, at[3])*across)*(1-down) +
			(x.at(at[0], bottom, left, at[3])*(1-across)+x.at(at[0], bottom, right, at[3])*across)*down
	})
}

func nearest(c *call) array {
	o, x, size := c.options.(*schema.ResizeNearestNeighborOptionsT), c.in[0], c.in[1].ints()
	pick := func(to, in, out int) int {
		scale := float64(in) / float64(out)
		if o.AlignCorners && out > 1 {
			scale = float64(in-1) / float64(out-1)
		}
		at := float64(to) * scale
		if o.HalfPixelCenters {
			at = (float64(to) + 0.5) * scale
		}
		if o.AlignCorners {
			return min(int(math.Round(at)), in-1)
		}
		return min(int(math.Floor(at+1e-9)), in-1)
	}
	return fill([]int{x.shape[0], size[0], size[1], x.shape[3]}, func(at []int) float64 {
		return x.at(at[0], pick(at[1], x.shape[1], size[0]), pick(at[2], x.shape[2], size[1]), at[3])
	})
}

func depthToSpace(c *call) array {
	b, x := int(c.options.(*schema.DepthToSpaceOptionsT).BlockSize), c.in[0]
	depth := x.shape[3] / (b * b)
	return fill([]int{x.shape[0], x.shape[1] * b, x.shape[2] * b, depth}, func(at []int) float64 {
		return x.at(at[0], at[1]/b, at[2]/b, (at[1]%b*b+at[2]%b)*depth+at[3])
	})
}

func spaceToDepth(c *call) array {
	b, x := int(c.options.(*schema.SpaceToDepthOptionsT).BlockSize), c.in[0]
	depth := x.shape[3]
	return fill([]int{x.shape[0], x.shape[1] / b, x.shape[2] / b, depth * b * b}, func(at []int) float64 {
		block := at[3] / depth
		return x.at(at[0], at[1]*b+block/b, at[2]*b+block%b, at[3]%depth)
	})
}

func spaceToBatch(c *call) array {
	x, block, pads := c.in[0], c.in[1].ints(), c.in[2].ints()
	h, w := x.shape[1]+pads[0]+pads[1], x.shape[2]+pads[2]+pads[3]
	n := x.shape[0]
	return fill([]int{n * block[0] * block[1], h / block[0], w / block[1], x.shape[3]}, func(at []int) float64 {
		part := at[0] / n
		r, s := at[1]*block[0]+part/block[1]-pads[0], at[2]*block[1]+part%block[1]-pads[2]
		if r < 0 || s < 0 || r >= x.shape[1] || s >= x.shape[2] {
			return 0
		}
		return x.at(at[0]%n, r, s, at[3])
	})
}

func batchToSpace(c *call) array {
	x, block, crops := c.in[0], c.in[1].ints(), c.in[2].ints()
	n := x.shape[0] / (block[0] * block[1])
	h, w := x.shape[1]*block[0]-crops[0]-crops[1], x.shape[2]*block[1]-crops[2]-crops[3]
	return fill([]int{n, h, w, x.shape[3]}, func(at []int) float64 {
		r, s := at[1]+crops[0], at[2]+crops[2]
		return x.at((r%block[0]*block[1]+s%block[1])*n+at[0], r/block[0], s/block[1], at[3])
	})
}

func pads(c *call) array {
	x, p := c.in[0], c.in[1].ints()
	shape := make([]int, len(x.shape))
	for d := range shape {
		shape[d] = x.shape[d] + p[2*d] + p[2*d+1]
	}
	return fill(shape, func(at []int) float64 {
		from := make([]int, len(at))
		for d := range at {
			from[d] = at[d] - p[2*d]
			if o, mirror := c.options.(*schema.MirrorPadOptionsT); mirror {
				edge := 1 // SYMMETRIC repeats the edge
				if o.Mode == schema.MirrorPadModeREFLECT {
					edge = 0
				}
				if from[d] < 0 {
					from[d] = -from[d] - edge
				}
				if from[d] >= x.shape[d] {
					from[d] = 2*x.shape[d] - 2 + edge - from[d]
				}
				continue
			}
			if from[d] < 0 || from[d] >= x.shape[d] {
				return c.bias(2, 0)
			}
		}
		return x.at(from...)
	})
}

func concatenate(axis int, parts ...array) array {
	shape := slices.Clone(parts[0].shape)
	for _, p := range parts[1:] {
		shape[axis] += p.shape[axis]
	}
	return fill(shape, func(at []int) float64 {
		at = slices.Clone(at)
		for _, p := range parts {
			if at[axis] < p.shape[axis] {
				return p.at(at...)
			}
			at[axis] -= p.shape[axis]
		}
		panic("beyond the last part")
	})
}

// part is x from begin on along an axis.
func part(x array, axis, begin, size int) array {
	shape := slices.Clone(x.shape)
	shape[axis] = size
	return fill(shape, func(at []int) float64 {
		at = slices.Clone(at)
		at[axis] += begin
		return x.at(at...)
	})
}

func parts(x array, axis int, sizes []int) []array {
	var out []array
	begin := 0
	for _, size := range sizes {
		out = append(out, part(x, axis, begin, size))
		begin += size
	}
	return out
}

func repeat(n, times int) []int {
	out := make([]int, times)
	for i := range out {
		out[i] = n
	}
	return out
}

func stridedSlice(c *call) array {
	o, x := c.options.(*schema.StridedSliceOptionsT), c.in[0]
	begin, end, stride := c.in[1].ints(), c.in[2].ints(), c.in[3].ints()
	first, counts, steps := make([]int, len(x.shape)), slices.Clone(x.shape), repeat(1, len(x.shape))
	shrunk := map[int]bool{}
	for d := range begin {
		size := x.shape[d]
		low, high := 0, size // of what begin and end are held to
		if stride[d] < 0 {
			low, high = -1, size-1
		}
		held := func(v int, open bool, whole int) int {
			if open {
				return whole
			}
			if v < 0 {
				v += size
			}
			return min(max(v, low), high)
		}
		start, stop := low, high
		if stride[d] < 0 {
			start, stop = high, low
		}
		b := held(begin[d], o.BeginMask>>d&1 == 1, start)
		e := held(end[d], o.EndMask>>d&1 == 1, stop)
		first[d], steps[d] = b, stride[d]
		if o.ShrinkAxisMask>>d&1 == 1 {
			shrunk[d], counts[d], steps[d] = true, 1, 1
			continue
		}
		counts[d] = max(0, int(math.Ceil(float64(e-b)/float64(stride[d]))))
	}
	y := fill(counts, func(at []int) float64 {
		from := make([]int, len(at))
		for d := range at {
			from[d] = first[d] + at[d]*steps[d]
		}
		return x.at(from...)
	})
	var shape []int
	for d, n := range counts {
		if !shrunk[d] {
			shape = append(shape, n)
		}
	}
	y.shape = shape
	return y
}

func slice(c *call) array {
	x, begin, size := c.in[0], c.in[1].ints(), c.in[2].ints()
	for d := range size {
		if size[d] < 0 {
			size[d] = x.shape[d] - begin[d]
		}
		x = part(x, d, begin[d], size[d])
	}
	return x
}

func reshape(c *call) array {
	x := c.in[0]
	var shape []int
	if c.has(1) {
		shape = c.in[1].ints()
	} else {
		for _, d := range c.options.(*schema.ReshapeOptionsT).NewShape {
			shape = append(shape, int(d))
		}
	}
	if i := slices.Index(shape, -1); i >= 0 {
		shape[i] = -len(x.v) / product(shape)
	}
	return array{shape: shape, v: x.v}
}

func squeeze(c *call) array {
	x, dims := c.in[0], c.options.(*schema.SqueezeOptionsT).SqueezeDims
	var shape []int
	for d, n := range x.shape {
		if slices.Contains(dims, int32(d)) || slices.Contains(dims, int32(d-len(x.shape))) || len(dims) == 0 && n == 1 {
			continue
		}
		shape = append(shape, n)
	}
	return array{shape: shape, v: x.v}
}

func gather(c *call) array {
	o, x, ids := c.options.(*schema.GatherOptionsT), c.in[0], c.in[1]
	axis, batch := (int(o.Axis)+len(x.shape))%len(x.shape), int(o.BatchDims)
	shape := slices.Concat(x.shape[:axis], ids.shape[batch:], x.shape[axis+1:])
	return fill(shape, func(at []int) float64 {
		id := slices.Concat(at[:batch], at[axis:axis+len(ids.shape)-batch])
		from := slices.Concat(at[:axis], []int{int(ids.at(id...))}, at[axis+len(ids.shape)-batch:])
		return x.at(from...)
	})
}

func gatherND(c *call) array {
	x, ids := c.in[0], c.in[1]
	r := len(ids.shape) - 1
	depth := ids.shape[r]
	return fill(slices.Concat(ids.shape[:r], x.shape[depth:]), func(at []int) float64 {
		var from []int
		for k := range depth {
			from = append(from, int(ids.at(append(slices.Clone(at[:r]), k)...)))
		}
		return x.at(append(from, at[r:]...)...)
	})
}

// ranked returns the places of a row's values, the largest first, of equal ones the first.
func (e *evaluation) ranked(x []float64, sign float64) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case sign*x[a] > sign*x[b]:
			return -1
		case sign*x[a] < sign*x[b]:
			return 1
		}
		return 0
	})
	for i := 1; i < len(order); i++ {
		e.jump(x[order[i-1]] - x[order[i]])
	}
	return order
}

func extreme(sign float64) definition {
	return one(func(c *call) array {
		x, axis := c.in[0], c.in[1].axes(len(c.in[0].shape))[0]
		shape := slices.Concat(x.shape[:axis], x.shape[axis+1:])
		return fill(shape, func(at []int) float64 {
			var row []float64
			for k := range x.shape[axis] {
				row = append(row, x.at(slices.Insert(slices.Clone(at), axis, k)...))
			}
			return float64(c.e.ranked(row, sign)[0])
		})
	})
}

func topK(c *call) []array {
	x, k := c.in[0], int(c.in[1].v[0])
	n := x.shape[len(x.shape)-1]
	shape := append(slices.Clone(x.shape[:len(x.shape)-1]), k)
	values, places := array{shape: shape}, array{shape: shape}
	for i := 0; i < len(x.v); i += n {
		for _, p := range c.e.ranked(x.v[i:i+n], 1)[:k] {
			values.v, places.v = append(values.v, x.v[i+p]), append(places.v, float64(p))
		}
	}
	return []array{values, places}
}

func oneHot(c *call) array {
	ids, depth := c.in[0], int(c.in[1].v[0])
	axis := int(c.options.(*schema.OneHotOptionsT).Axis)
	if axis < 0 {
		axis = len(ids.shape)
	}
	return fill(slices.Insert(slices.Clone(ids.shape), axis, depth), func(at []int) float64 {
		if int(ids.at(slices.Delete(slices.Clone(at), axis, axis+1)...)) == at[axis] {
			return c.in[2].v[0]
		}
		return c.in[3].v[0]
	})
}

func cumsum(c *call) array {
	o, x, axis := c.options.(*schema.CumsumOptionsT), c.in[0], c.in[1].axes(len(c.in[0].shape))[0]
	return fill(x.shape, func(at []int) float64 {
		sum := 0.0
		for k := range x.shape[axis] {
			before := k < at[axis]
			if o.Reverse {
				before = k > at[axis]
			}
			if before || k == at[axis] && !o.Exclusive {
				from := slices.Clone(at)
				from[axis] = k
				sum += x.at(from...)
			}
		}
		return sum
	})
}

func selectOf(c *call) array {
	when, x, y := c.in[0], c.in[1], c.in[2]
	if c.code == schema.BuiltinOperatorSELECT && len(when.shape) == 1 && len(x.shape) > 1 { // chooses along the first dimension
		when = array{shape: append([]int{when.shape[0]}, repeat(1, len(x.shape)-1)...), v: when.v}
	}
	return fill(broadcast(when.shape, x.shape, y.shape), func(at []int) float64 {
		if when.of(at) != 0 {
			return x.of(at)
		}
		return y.of(at)
	})
}

func cast(c *call) array {
	return c.in[0].each(func(x float64) float64 {
		switch {
		case c.to == schema.TensorTypeBOOL:
			return truth(x != 0)
		case c.to != schema.TensorTypeFLOAT32 && c.typ == schema.TensorTypeFLOAT32:
			c.e.jump(x - math.Round(x))
			return math.Trunc(x)
		}
		return x
	})
}

func gelu(c *call) array {
	approximate := c.options.(*schema.GeluOptionsT).Approximate
	return c.in[0].each(func(x float64) float64 {
		if approximate {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	})
}

// spectrum is the half of the Fourier transform of the last two dimensions that the other half mirrors.
func spectrum(c *call) array {
	x, lengths := c.in[0], c.in[1].ints()
	r := len(x.shape) - 2
	var imaginary []float64
	y := fill(append(slices.Clone(x.shape[:r]), lengths[0], lengths[1]/2+1), func(at []int) float64 {
		re, im := 0.0, 0.0
		for i := range min(lengths[0], x.shape[r]) {
			for k := range min(lengths[1], x.shape[r+1]) {
				angle := 2 * math.Pi * (float64(i*at[r])/float64(lengths[0]) + float64(k*at[r+1])/float64(lengths[1]))
				v := x.at(append(slices.Clone(at[:r]), i, k)...)
				re, im = re+v*math.Cos(angle), im-v*math.Sin(angle)
			}
		}
		imaginary = append(imaginary, im)
		return re
	})
	y.imaginary = imaginary
	return y
}

func scatterND(c *call) array {
	ids, updates, shape := c.in[0], c.in[1], c.in[2].ints()
	r := len(ids.shape) - 1
	out := newArray(shape...)
	for i, v := range updates.v {
		at := index(updates.shape, i)
		var to []int
		for k := range ids.shape[r] {
			to = append(to, int(ids.at(append(slices.Clone(at[:r]), k)...)))
		}
		out.v[offset(shape, append(to, at[r:]...))] += v
	}
	return out
}

func segmentSum(c *call) array {
	x, ids := c.in[0], c.in[1].ints()
	shape := slices.Clone(x.shape)
	shape[0] = slices.Max(ids) + 1
	out := newArray(shape...)
	for i, v := range x.v {
		at := index(x.shape, i)
		at[0] = ids[at[0]]
		out.v[offset(shape, at)] += v
	}
	return out
}

func sign(x float64) float64 { return truth(x > 0) - truth(x < 0) }

func floorMod(x, y float64) float64 { return x - math.Floor(x/y)*y }

// definitions say what every operator with a float form computes.
var definitions = map[schema.BuiltinOperator]definition{
	schema.BuiltinOperatorCONV_2D:                 one(conv2D),
	schema.BuiltinOperatorDEPTHWISE_CONV_2D:       one(depthwise),
	schema.BuiltinOperatorTRANSPOSE_CONV:          one(transposeConv),
	schema.BuiltinOperatorCONV_3D:                 one(conv3D),
	schema.BuiltinOperatorFULLY_CONNECTED:         one(fullyConnected),
	schema.BuiltinOperatorBATCH_MATMUL:            one(batchMatMul),
	schema.BuiltinOperatorAVERAGE_POOL_2D:         pool(0, add, func(sum float64, n int) float64 { return sum / float64(n) }),
	schema.BuiltinOperatorMAX_POOL_2D:             pool(math.Inf(-1), larger, plain),
	schema.BuiltinOperatorL2_POOL_2D:              pool(0, func(sum, x float64) float64 { return sum + x*x }, func(sum float64, n int) float64 { return math.Sqrt(sum / float64(n)) }),
	schema.BuiltinOperatorRESIZE_BILINEAR:         one(bilinear),
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: one(nearest),
	schema.BuiltinOperatorDEPTH_TO_SPACE:          one(depthToSpace),
	schema.BuiltinOperatorSPACE_TO_DEPTH:          one(spaceToDepth),
	schema.BuiltinOperatorSPACE_TO_BATCH_ND:       one(spaceToBatch),
	schema.BuiltinOperatorBATCH_TO_SPACE_ND:       one(batchToSpace),

	schema.BuiltinOperatorADD:                binaryOf(add),
	schema.BuiltinOperatorSUB:                binaryOf(func(x, y float64) float64 { return x - y }),
	schema.BuiltinOperatorMUL:                binaryOf(func(x, y float64) float64 { return x * y }),
	schema.BuiltinOperatorDIV:                binaryOf(func(x, y float64) float64 { return x / y }),
	schema.BuiltinOperatorMINIMUM:            binaryOf(func(x, y float64) float64 { return min(x, y) }),
	schema.BuiltinOperatorMAXIMUM:            binaryOf(larger),
	schema.BuiltinOperatorSQUARED_DIFFERENCE: binaryOf(func(x, y float64) float64 { return (x - y) * (x - y) }),
	schema.BuiltinOperatorPOW:                binaryOf(math.Pow),
	schema.BuiltinOperatorFLOOR_DIV: one(func(c *call) array {
		return fill(broadcast(c.in[0].shape, c.in[1].shape), func(at []int) float64 {
			q := c.in[0].of(at) / c.in[1].of(at)
			c.e.jump(q - math.Round(q))
			return math.Floor(q)
		})
	}),
	schema.BuiltinOperatorFLOOR_MOD: one(func(c *call) array {
		return fill(broadcast(c.in[0].shape, c.in[1].shape), func(at []int) float64 {
			q := c.in[0].of(at) / c.in[1].of(at)
			c.e.jump(q - math.Round(q))
			return floorMod(c.in[0].of(at), c.in[1].of(at))
		})
	}),
	schema.BuiltinOperatorADD_N: one(func(c *call) array {
		return fill(c.in[0].shape, func(at []int) float64 {
			sum := 0.0
			for _, x := range c.in {
				sum += x.at(at...)
			}
			return sum
		})
	}),
	schema.BuiltinOperatorPRELU: binaryOf(func(x, slope float64) float64 {
		if x < 0 {
			return x * slope
		}
		return x
	}),

	schema.BuiltinOperatorRELU:         elementwise(func(x float64) float64 { return max(x, 0) }),
	schema.BuiltinOperatorRELU6:        elementwise(func(x float64) float64 { return min(max(x, 0), 6) }),
	schema.BuiltinOperatorRELU_N1_TO_1: elementwise(func(x float64) float64 { return min(max(x, -1), 1) }),
	schema.BuiltinOperatorRELU_0_TO_1:  elementwise(func(x float64) float64 { return min(max(x, 0), 1) }),
	schema.BuiltinOperatorLEAKY_RELU: one(func(c *call) array {
		slope := float64(c.options.(*schema.LeakyReluOptionsT).Alpha)
		return c.in[0].each(func(x float64) float64 { return max(x, 0) + slope*min(x, 0) })
	}),
	schema.BuiltinOperatorLOGISTIC:   elementwise(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }),
	schema.BuiltinOperatorTANH:       elementwise(math.Tanh),
	schema.BuiltinOperatorHARD_SWISH: elementwise(func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 }),
	schema.BuiltinOperatorGELU:       one(gelu),
	schema.BuiltinOperatorELU: elementwise(func(x float64) float64 {
		if x < 0 {
			return math.Expm1(x)
		}
		return x
	}),
	schema.BuiltinOperatorABS:    elementwise(math.Abs),
	schema.BuiltinOperatorNEG:    elementwise(func(x float64) float64 { return -x }),
	schema.BuiltinOperatorSQRT:   elementwise(math.Sqrt),
	schema.BuiltinOperatorRSQRT:  elementwise(func(x float64) float64 { return 1 / math.Sqrt(x) }),
	schema.BuiltinOperatorEXP:    elementwise(math.Exp),
	schema.BuiltinOperatorLOG:    elementwise(math.Log),
	schema.BuiltinOperatorSQUARE: elementwise(func(x float64) float64 { return x * x }),
	schema.BuiltinOperatorSIN:    elementwise(math.Sin),
	schema.BuiltinOperatorCOS:    elementwise(math.Cos),
	schema.BuiltinOperatorFLOOR:  jumping(0, math.Floor),
	schema.BuiltinOperatorCEIL:   jumping(0, math.Ceil),
	schema.BuiltinOperatorROUND:  jumping(0.5, math.RoundToEven),
	schema.BuiltinOperatorSIGN: one(func(c *call) array {
		return c.in[0].each(func(x float64) float64 {
			c.e.jump(x)
			return sign(x)
		})
	}),
	schema.BuiltinOperatorZEROS_LIKE: elementwise(func(float64) float64 { return 0 }),

	schema.BuiltinOperatorEQUAL:         compare(func(x, y float64) bool { return x == y }),
	schema.BuiltinOperatorNOT_EQUAL:     compare(func(x, y float64) bool { return x != y }),
	schema.BuiltinOperatorLESS:          compare(func(x, y float64) bool { return x < y }),
	schema.BuiltinOperatorLESS_EQUAL:    compare(func(x, y float64) bool { return x <= y }),
	schema.BuiltinOperatorGREATER:       compare(func(x, y float64) bool { return x > y }),
	schema.BuiltinOperatorGREATER_EQUAL: compare(func(x, y float64) bool { return x >= y }),
	schema.BuiltinOperatorLOGICAL_AND:   binaryOf(func(x, y float64) float64 { return x * y }),
	schema.BuiltinOperatorLOGICAL_OR:    binaryOf(larger),
	schema.BuiltinOperatorLOGICAL_NOT:   elementwise(func(x float64) float64 { return 1 - x }),
	schema.BuiltinOperatorSELECT:        one(selectOf),
	schema.BuiltinOperatorSELECT_V2:     one(selectOf),
	schema.BuiltinOperatorCAST:          one(cast),

	schema.BuiltinOperatorSOFTMAX: rows(func(c *call, x []float64) []float64 {
		beta := float64(c.options.(*schema.SoftmaxOptionsT).Beta)
		scaled := array{shape: []int{len(x)}, v: x}.each(func(v float64) float64 { return beta * v })
		sum := logSum(scaled.v)
		return scaled.each(func(v float64) float64 { return math.Exp(v - sum) }).v
	}),
	schema.BuiltinOperatorLOG_SOFTMAX: rows(func(_ *call, x []float64) []float64 {
		sum := logSum(x)
		return array{shape: []int{len(x)}, v: x}.each(func(v float64) float64 { return v - sum }).v
	}),
	schema.BuiltinOperatorLOCAL_RESPONSE_NORMALIZATION: rows(func(c *call, x []float64) []float64 {
		o := c.options.(*schema.LocalResponseNormalizationOptionsT)
		y := slices.Clone(x)
		for i := range x {
			sum := 0.0
			for j, v := range x {
				if j-i <= int(o.Radius) && i-j <= int(o.Radius) {
					sum += v * v
				}
			}
			y[i] /= math.Pow(float64(o.Bias)+float64(o.Alpha)*sum, float64(o.Beta))
		}
		return y
	}),
	schema.BuiltinOperatorL2_NORMALIZATION: rows(func(c *call, x []float64) []float64 {
		sum := 0.0
		for _, v := range x {
			sum += v * v
		}
		c.e.jump(math.Sqrt(sum)) // of a vector near zero the direction jumps
		return array{shape: []int{len(x)}, v: x}.each(func(v float64) float64 { return v / max(math.Sqrt(sum), 1e-6) }).v
	}),

	schema.BuiltinOperatorRFFT2D: one(spectrum),
	schema.BuiltinOperatorREAL:   one(func(c *call) array { return array{shape: c.in[0].shape, v: c.in[0].v} }),
	schema.BuiltinOperatorIMAG:   one(func(c *call) array { return array{shape: c.in[0].shape, v: c.in[0].imaginary} }),
	schema.BuiltinOperatorCOMPLEX_ABS: one(func(c *call) array {
		y := array{shape: c.in[0].shape}
		for i, re := range c.in[0].v {
			y.v = append(y.v, math.Hypot(re, c.in[0].imaginary[i]))
			c.e.jump(y.v[i]) // of a number near zero the direction jumps
		}
		return y
	}),
	schema.BuiltinOperatorSCATTER_ND:  one(scatterND),
	schema.BuiltinOperatorSEGMENT_SUM: one(segmentSum),

	schema.BuiltinOperatorMEAN:        reduce(0, add, func(sum float64, n int) float64 { return sum / float64(n) }),
	schema.BuiltinOperatorSUM:         reduce(0, add, plain),
	schema.BuiltinOperatorREDUCE_MAX:  reduce(math.Inf(-1), larger, plain),
	schema.BuiltinOperatorREDUCE_MIN:  reduce(math.Inf(1), func(sum, x float64) float64 { return min(sum, x) }, plain),
	schema.BuiltinOperatorREDUCE_PROD: reduce(1, func(sum, x float64) float64 { return sum * x }, plain),
	schema.BuiltinOperatorREDUCE_ANY:  reduce(0, larger, plain),
	schema.BuiltinOperatorREDUCE_ALL:  reduce(1, func(sum, x float64) float64 { return min(sum, x) }, plain),
	schema.BuiltinOperatorCUMSUM:      one(cumsum),
	schema.BuiltinOperatorARG_MAX:     extreme(1),
	schema.BuiltinOperatorARG_MIN:     extreme(-1),
	schema.BuiltinOperatorTOPK_V2:     topK,

	schema.BuiltinOperatorCONCATENATION: one(func(c *call) array {
		o := c.options.(*schema.ConcatenationOptionsT)
		rank := len(c.in[0].shape)
		return activate(concatenate((int(o.Axis)+rank)%rank, c.in...), o.FusedActivationFunction)
	}),
	schema.BuiltinOperatorPACK: one(func(c *call) array {
		rank := len(c.in[0].shape) + 1
		axis := (int(c.options.(*schema.PackOptionsT).Axis) + rank) % rank
		var list []array
		for _, x := range c.in {
			list = append(list, array{shape: slices.Insert(slices.Clone(x.shape), axis, 1), v: x.v})
		}
		return concatenate(axis, list...)
	}),
	schema.BuiltinOperatorUNPACK: func(c *call) []array {
		x, rank := c.in[0], len(c.in[0].shape)
		axis := (int(c.options.(*schema.UnpackOptionsT).Axis) + rank) % rank
		out := parts(x, axis, repeat(1, x.shape[axis]))
		for i := range out {
			out[i].shape = slices.Delete(out[i].shape, axis, axis+1)
		}
		return out
	},
	schema.BuiltinOperatorSPLIT: func(c *call) []array {
		x, n := c.in[1], int(c.options.(*schema.SplitOptionsT).NumSplits)
		axis := c.in[0].axes(len(x.shape))[0]
		return parts(x, axis, repeat(x.shape[axis]/n, n))
	},
	schema.BuiltinOperatorSPLIT_V: func(c *call) []array {
		x, sizes := c.in[0], c.in[1].ints()
		axis := c.in[2].axes(len(x.shape))[0]
		if i := slices.Index(sizes, -1); i >= 0 {
			sizes[i] = x.shape[axis]
			for k, n := range sizes {
				if k != i {
					sizes[i] -= n
				}
			}
		}
		return parts(x, axis, sizes)
	},
	schema.BuiltinOperatorGATHER:        one(gather),
	schema.BuiltinOperatorGATHER_ND:     one(gatherND),
	schema.BuiltinOperatorONE_HOT:       one(oneHot),
	schema.BuiltinOperatorPAD:           one(pads),
	schema.BuiltinOperatorPADV2:         one(pads),
	schema.BuiltinOperatorMIRROR_PAD:    one(pads),
	schema.BuiltinOperatorSTRIDED_SLICE: one(stridedSlice),
	schema.BuiltinOperatorSLICE:         one(slice),
	schema.BuiltinOperatorRESHAPE:       one(reshape),
	schema.BuiltinOperatorSQUEEZE:       one(squeeze),
	schema.BuiltinOperatorEXPAND_DIMS: one(func(c *call) array {
		axis := c.in[1].axes(len(c.in[0].shape) + 1)[0]
		return array{shape: slices.Insert(slices.Clone(c.in[0].shape), axis, 1), v: c.in[0].v}
	}),
	schema.BuiltinOperatorTRANSPOSE: one(func(c *call) array { return permute(c.in[0], c.in[1].ints()) }),
	schema.BuiltinOperatorREVERSE_V2: one(func(c *call) array {
		x := c.in[0]
		axes := c.in[1].axes(len(x.shape))
		return fill(x.shape, func(at []int) float64 {
			at = slices.Clone(at)
			for _, a := range axes {
				at[a] = x.shape[a] - 1 - at[a]
			}
			return x.at(at...)
		})
	}),
	schema.BuiltinOperatorTILE: one(func(c *call) array {
		x := c.in[0]
		shape := slices.Clone(x.shape)
		for d, n := range c.in[1].ints() {
			shape[d] *= n
		}
		return fill(shape, func(at []int) float64 {
			from := make([]int, len(at))
			for d := range at {
				from[d] = at[d] % x.shape[d]
			}
			return x.at(from...)
		})
	}),
	schema.BuiltinOperatorBROADCAST_TO: one(func(c *call) array { return fill(c.in[1].ints(), c.in[0].of) }),
	schema.BuiltinOperatorSHAPE: one(func(c *call) array {
		return fill([]int{len(c.in[0].shape)}, func(at []int) float64 { return float64(c.in[0].shape[at[0]]) })
	}),
	schema.BuiltinOperatorRANK: one(func(c *call) array { return array{v: []float64{float64(len(c.in[0].shape))}} }),
	schema.BuiltinOperatorFILL: one(func(c *call) array { return fill(c.in[0].ints(), func([]int) float64 { return c.in[1].v[0] }) }),
	schema.BuiltinOperatorRANGE: one(func(c *call) array {
		n := int(math.Ceil((c.in[1].v[0] - c.in[0].v[0]) / c.in[2].v[0]))
		return fill([]int{n}, func(at []int) float64 { return c.in[0].v[0] + float64(at[0])*c.in[2].v[0] })
	}),
}

func add(x, y float64) float64 { return x + y }

func larger(x, y float64) float64 { return max(x, y) }
