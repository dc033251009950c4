package ir

import (
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// pad computes output size and padding of one dimension as LiteRT does (kernels/padding.h): SAME gives ceil(in/stride) outputs
// and splits what the windows reach beyond the input, an odd pixel after; VALID gives the windows that fit.
func pad(in, kernel, stride, dilation int, same bool) (out, before, after int) {
	reach := (kernel-1)*dilation + 1
	if same {
		out = (in + stride - 1) / stride
	} else if in >= reach {
		out = (in - reach + stride) / stride
	}
	total := max((out-1)*stride+reach-in, 0)
	if out == 0 {
		total = 0
	}
	return out, total / 2, total - total/2
}

// window builds the geometry of a convolution or pool.
func (c *call) window(inH, inW, kh, kw int, strideH, strideW, dilationH, dilationW int32, padding schema.Padding) (Window, error) {
	w := Window{
		KH: kh, KW: kw, StrideH: int(strideH), StrideW: int(strideW), DilationH: int(dilationH), DilationW: int(dilationW),
		InH: inH, InW: inW,
	}
	if kh < 1 || kw < 1 || w.StrideH < 1 || w.StrideW < 1 || w.DilationH < 1 || w.DilationW < 1 {
		return w, c.fail("kernel %d×%d, stride %d×%d, dilation %d×%d: all must be at least 1", kh, kw, strideH, strideW, dilationH, dilationW)
	}
	if padding != schema.PaddingSAME && padding != schema.PaddingVALID {
		return w, c.fail("padding %s is unknown", padding)
	}
	same := padding == schema.PaddingSAME
	w.OutH, w.PadTop, w.PadBottom = pad(inH, kh, w.StrideH, w.DilationH, same)
	w.OutW, w.PadLeft, w.PadRight = pad(inW, kw, w.StrideW, w.DilationW, same)
	if w.OutH < 1 || w.OutW < 1 {
		return w, c.fail("a window of %d×%d (dilation %d×%d) does not fit %d×%d pixels", kh, kw, dilationH, dilationW, inH, inW)
	}
	return w, nil
}

// image returns input i, which must have the four dimensions NHWC.
func (c *call) image(i int) ([]int, error) {
	t := c.in(i)
	if t == nil {
		return nil, c.fail("input %d is missing", i)
	}
	if len(t.Shape) != 4 {
		return nil, c.fail("%s has shape %v, want four dimensions (NHWC)", t, t.Shape)
	}
	return t.Shape, nil
}

func (c *call) bias(i, channels int) error {
	if b := c.in(i); b != nil && b.Numel() != channels {
		return c.fail("bias %s has %d elements for %d channels", b, b.Numel(), channels)
	}
	return nil
}

func conv(c *call) error {
	o, err := options[schema.Conv2DOptionsT](c)
	if err != nil {
		return err
	}
	x, err := c.image(0)
	if err != nil {
		return err
	}
	w, err := c.image(1)
	if err != nil {
		return err
	}
	if w[3] < 1 || x[3] < 1 || x[3]%w[3] != 0 || w[0] < 1 || w[0]%(x[3]/w[3]) != 0 {
		return c.fail("weights %v do not fit input %v", w, x)
	}
	window, err := c.window(x[1], x[2], w[1], w[2], o.StrideH, o.StrideW, o.DilationHFactor, o.DilationWFactor, o.Padding)
	if err != nil {
		return err
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	if err := c.bias(2, w[0]); err != nil {
		return err
	}
	c.n.Attr = Conv{Window: window, Act: act, Groups: x[3] / w[3]}
	c.batchedOnly(0)
	c.give([]int{x[0], window.OutH, window.OutW, w[0]})
	return nil
}

func depthwise(c *call) error {
	o, err := options[schema.DepthwiseConv2DOptionsT](c)
	if err != nil {
		return err
	}
	x, err := c.image(0)
	if err != nil {
		return err
	}
	w, err := c.image(1)
	if err != nil {
		return err
	}
	// The multiplier follows from the shapes: LiteRT ignores the option, which some converters leave at 0.
	if w[0] != 1 || x[3] < 1 || w[3] < 1 || w[3]%x[3] != 0 {
		return c.fail("weights %v do not fit input %v", w, x)
	}
	window, err := c.window(x[1], x[2], w[1], w[2], o.StrideH, o.StrideW, o.DilationHFactor, o.DilationWFactor, o.Padding)
	if err != nil {
		return err
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	if err := c.bias(2, w[3]); err != nil {
		return err
	}
	c.n.Attr = Conv{Window: window, Act: act, Depthwise: true, DepthMultiplier: w[3] / x[3], Groups: 1}
	c.batchedOnly(0)
	c.give([]int{x[0], window.OutH, window.OutW, w[3]})
	return nil
}

// Multiplications are one a tap, input channel of the group and output value.
func (a Conv) Multiplications(g *Graph, n *Node) int64 {
	taps := numel(g.Input(n, 1).Shape[1:])
	if a.Depthwise {
		taps = a.KH * a.KW
	}
	return int64(g.Output(n, 0).Numel()) * int64(taps)
}

func transposeConv(c *call) error {
	o, err := options[schema.TransposeConvOptionsT](c)
	if err != nil {
		return err
	}
	w, err := c.image(1)
	if err != nil {
		return err
	}
	x, err := c.image(2)
	if err != nil {
		return err
	}
	size, err := c.constants(0, "output shape")
	if err != nil {
		return err
	}
	if len(size) != 4 || w[3] != x[3] || w[3] < 1 || w[0] < 1 {
		return c.fail("output shape %v, weights %v and input %v do not fit", size, w, x)
	}
	out := []int{size[0], size[1], size[2], w[0]}
	if c.file != nil && c.Tensors[c.n.Inputs[0]].Producer < 0 {
		out[0] = x[0] // the constant has the file's batch
	}
	if out[0] != x[0] || size[3] != w[0] {
		return c.fail("output shape %v does not fit weights %v and input %v", size, w, x)
	}
	if err := checkShape(out); err != nil {
		return err
	}
	back, err := c.window(out[1], out[2], w[1], w[2], o.StrideH, o.StrideW, 1, 1, o.Padding)
	if err != nil {
		return err
	}
	if back.OutH != x[1] || back.OutW != x[2] {
		return c.fail("input is %d×%d, an output of %d×%d wants %d×%d", x[1], x[2], out[1], out[2], back.OutH, back.OutW)
	}
	back.InH, back.InW, back.OutH, back.OutW = back.OutH, back.OutW, back.InH, back.InW
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	if err := c.bias(3, w[0]); err != nil {
		return err
	}
	c.n.Attr = TransposeConv{Window: back, Act: act}
	c.batchedOnly(2)
	c.give(out)
	return nil
}

// Multiplications are one a weight and input pixel.
func (a TransposeConv) Multiplications(g *Graph, n *Node) int64 {
	return int64(g.Input(n, 2).Shape[0]) * int64(a.InH*a.InW) * int64(g.Input(n, 1).Numel())
}

func pool(c *call) error {
	o, err := options[schema.Pool2DOptionsT](c)
	if err != nil {
		return err
	}
	x, err := c.image(0)
	if err != nil {
		return err
	}
	window, err := c.window(x[1], x[2], int(o.FilterHeight), int(o.FilterWidth), o.StrideH, o.StrideW, 1, 1, o.Padding)
	if err != nil {
		return err
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	c.n.Attr = Pool{Window: window, Act: act}
	c.give([]int{x[0], window.OutH, window.OutW, x[3]})
	return nil
}

func resize(align, half bool, c *call) error {
	x, err := c.image(0)
	if err != nil {
		return err
	}
	size, err := c.constants(1, "size")
	if err != nil {
		return err
	}
	if len(size) != 2 || size[0] < 1 || size[1] < 1 || x[1] < 1 || x[2] < 1 {
		return c.fail("cannot resize %v to %v", x, size)
	}
	if align && half {
		return c.fail("align_corners and half_pixel_centers exclude each other")
	}
	c.n.Attr = Resize{AlignCorners: align, HalfPixel: half}
	c.batchedOnly(0)
	c.give([]int{x[0], size[0], size[1], x[3]})
	return nil
}

func resizeBilinear(c *call) error {
	o, err := options[schema.ResizeBilinearOptionsT](c)
	if err != nil {
		return err
	}
	return resize(o.AlignCorners, o.HalfPixelCenters, c)
}

func resizeNearest(c *call) error {
	o, err := options[schema.ResizeNearestNeighborOptionsT](c)
	if err != nil {
		return err
	}
	return resize(o.AlignCorners, o.HalfPixelCenters, c)
}

// block infers DEPTH_TO_SPACE and SPACE_TO_DEPTH.
func depthToSpace(c *call) error {
	o, err := options[schema.DepthToSpaceOptionsT](c)
	if err != nil {
		return err
	}
	x, err := c.image(0)
	if err != nil {
		return err
	}
	b := int(o.BlockSize)
	if b < 1 || b > maxElements/b || x[3]%(b*b) != 0 {
		return c.fail("block size %d does not fit %v", b, x)
	}
	c.n.Attr = BlockSize(b)
	c.give([]int{x[0], x[1] * b, x[2] * b, x[3] / (b * b)})
	return nil
}

func spaceToDepth(c *call) error {
	o, err := options[schema.SpaceToDepthOptionsT](c)
	if err != nil {
		return err
	}
	x, err := c.image(0)
	if err != nil {
		return err
	}
	b := int(o.BlockSize)
	if b < 1 || b > maxElements/b || x[1]%b != 0 || x[2]%b != 0 {
		return c.fail("block size %d does not fit %v", b, x)
	}
	c.n.Attr = BlockSize(b)
	c.give([]int{x[0], x[1] / b, x[2] / b, x[3] * b * b})
	return nil
}
