package ir

import "espalier.dev/espalier/optimizer/tflite/schema"

func conv3D(c *call) error {
	o, err := options[schema.Conv3DOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(2); err != nil {
		return err
	}
	x, w := c.in(0).Shape, c.in(1).Shape
	if len(x) != 5 || len(w) != 5 || x[4] != w[3] || x[4] < 1 || w[4] < 1 {
		return c.fail("weights %v do not fit input %v", w, x)
	}
	act, err := c.activation(o.FusedActivationFunction)
	if err != nil {
		return err
	}
	a := Conv3D{Channels: w[3], Outputs: w[4], Act: act}
	a.Stride = [3]int{int(o.StrideD), int(o.StrideH), int(o.StrideW)}
	a.Dilation = [3]int{int(o.DilationDFactor), int(o.DilationHFactor), int(o.DilationWFactor)}
	out := []int{x[0], 0, 0, 0, w[4]}
	for d := range 3 {
		a.In[d], a.Kernel[d] = x[d+1], w[d]
		if a.Kernel[d] < 1 || a.Stride[d] < 1 || a.Dilation[d] < 1 {
			return c.fail("kernel %v, strides %v, dilations %v: all must be at least 1", a.Kernel, a.Stride, a.Dilation)
		}
		a.Out[d], a.Pad[d], _ = pad(a.In[d], a.Kernel[d], a.Stride[d], a.Dilation[d], o.Padding == schema.PaddingSAME)
		if a.Out[d] < 1 {
			return c.fail("a window of %v does not fit %v", w[:3], x[1:4])
		}
		out[d+1] = a.Out[d]
	}
	if err := c.bias(2, w[4]); err != nil {
		return err
	}
	c.n.Attr = a
	c.batchedOnly(0)
	c.give(out)
	return nil
}

// Multiplications are one a tap, input channel and output value.
func (a Conv3D) Multiplications(g *Graph, n *Node) int64 {
	return int64(g.Output(n, 0).Numel()) * int64(numel(g.Input(n, 1).Shape[:4]))
}
