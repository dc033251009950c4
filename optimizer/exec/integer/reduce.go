package integer

import (
	"math"
	"math/bits"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// reduceKernel is MEAN, SUM, REDUCE_MAX or REDUCE_MIN over int8: every input element belongs to one output element.
type reduceKernel struct {
	in, out      int
	shape        []int // of the input
	stride       []int // of the output along each input dimension, 0 where reduced
	op           schema.BuiltinOperator
	output       multiplier
	count        int32 // elements reduced into one
	inZero, zero int32
}

func buildReduce(c *compiler) (runner, error) {
	k, err := c.newReduce()
	if err != nil {
		return nil, err
	}
	if mean := k.asProduct(c); mean != nil {
		return mean, nil
	}
	return k, nil
}

// reduce16 is a reduceKernel on int16.
type reduce16 struct{ *reduceKernel }

func buildReduce16(c *compiler) (runner, error) {
	k, err := c.newReduce()
	return reduce16{k}, err
}

func (k reduce16) run(m *memory) error {
	reduce(k.reduceKernel, m, m.int16s(k.out), m.int16s(k.in), math.MinInt16, math.MaxInt16)
	return nil
}

func (c *compiler) newReduce() (*reduceKernel, error) {
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	k := &reduceKernel{in: c.n.Inputs[0], out: c.n.Outputs[0], shape: c.in(0).Shape, op: c.n.Op, inZero: in.zero, zero: out.zero}
	k.stride = reducedStrides(k.shape, c.n.Attr.(ir.Reduce).Axes)
	outputs := c.out(0).Numel()
	if outputs == 0 || c.in(0).Numel() == 0 {
		return nil, c.unsupported("nothing to reduce in %s of shape %v", c.in(0), k.shape)
	}
	k.count = int32(c.in(0).Numel() / outputs)
	switch c.n.Op {
	case schema.BuiltinOperatorMEAN, schema.BuiltinOperatorSUM:
		k.output = newMultiplier(float64(in.scale) / float64(out.scale))
		if c.n.Op == schema.BuiltinOperatorMEAN {
			k.output = k.output.dividedBy(int64(k.count))
		}
		c.work.need(0, outputs)
		return k, nil
	default:
		return k, c.sameQuant(in, out)
	}
}

// meanProduct is a MEAN over the image as package kernel computes it: a depthwise convolution whose weights are 1.
type meanProduct struct {
	*reduceKernel
	packed          *kernel.Int8Depthwise
	pixels, outputs int // of an image
}

// asProduct returns a MEAN over the middle dimensions of [batch, height, width, channels] as a meanProduct; nil for anything else.
func (k *reduceKernel) asProduct(c *compiler) runner {
	if c.reference || k.op != schema.BuiltinOperatorMEAN || len(k.shape) != 4 || k.stride[1] != 0 || k.stride[2] != 0 || k.stride[3] != 1 || k.output.shift > 30 {
		return nil
	}
	height, width, channels := k.shape[1], k.shape[2], k.shape[3]
	window := ir.Window{KH: height, KW: width, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, InH: height, InW: width, OutH: 1, OutW: 1}
	if height*width > 1<<16 || k.stride[0] == 0 && k.shape[0] > 1 || !paddable(window, channels) {
		return nil
	}
	q := kernel.Requant{
		Bias: make([]int32, channels), Multiplier: slices.Repeat([]int32{k.output.value}, channels), Shift: slices.Repeat([]int32{int32(k.output.shift)}, channels),
		InputZero: k.inZero, Zero: k.zero, Min: -128, Max: 127,
	}
	ones := slices.Repeat([]int8{1}, height*width*channels)
	return &meanProduct{k, kernel.NewInt8Depthwise(ones, kernel.Window(window), channels, 1, q), height * width, channels}
}

func (k *meanProduct) run(m *memory) error {
	x, y := m.int8s(k.in), m.int8s(k.out)
	for b := range k.shape[0] {
		k.packed.Run(&m.scratch, y[b*k.outputs:(b+1)*k.outputs], x[b*k.pixels*k.outputs:(b+1)*k.pixels*k.outputs])
	}
	return nil
}

// dividedBy folds 1/n into a multiplier, keeping as many bits as the shift allows.
func (m multiplier) dividedBy(n int64) multiplier {
	shift := 63 - bits.LeadingZeros64(uint64(n))
	shift = min(shift, 32, 31+m.shift)
	return multiplier{int32(int64(m.value) << shift / n), m.shift - shift}
}

// reducedStrides returns the stride of the output along every dimension of the input, 0 along those reduced.
func reducedStrides(shape, axes []int) []int {
	stride := make([]int, len(shape))
	for _, a := range axes {
		stride[a] = -1
	}
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if stride[i] < 0 {
			stride[i] = 0
			continue
		}
		stride[i] = step
		step *= shape[i]
	}
	return stride
}

func (k *reduceKernel) run(m *memory) error {
	reduce(k, m, m.int8s(k.out), m.int8s(k.in), math.MinInt8, math.MaxInt8)
	return nil
}

// reduce computes all of y, whose codes are from least to most.
func reduce[T int8 | int16](k *reduceKernel, m *memory, y, x []T, least, most T) {
	n := 1 // elements along the innermost dimension
	if len(k.shape) > 0 {
		n = k.shape[len(k.shape)-1]
	}
	switch k.op {
	case schema.BuiltinOperatorREDUCE_MAX:
		fill(y, least)
		for at := k.start(); at.from < len(x); at.next(k) {
			for i, v := range x[at.from : at.from+n] {
				to := at.to + i*at.step
				y[to] = max(y[to], v)
			}
		}
	case schema.BuiltinOperatorREDUCE_MIN:
		fill(y, most)
		for at := k.start(); at.from < len(x); at.next(k) {
			for i, v := range x[at.from : at.from+n] {
				to := at.to + i*at.step
				y[to] = min(y[to], v)
			}
		}
	default:
		sum := m.work32[:len(y)]
		fill(sum, 0)
		for at := k.start(); at.from < len(x); at.next(k) {
			for i, v := range x[at.from : at.from+n] {
				sum[at.to+i*at.step] += int32(v)
			}
		}
		for i, s := range sum {
			y[i] = T(min(max(k.output.of(s-k.inZero*k.count)+k.zero, int32(least)), int32(most)))
		}
	}
}

// position is a row of the input along its innermost dimension, and where in the output its elements go.
type position struct {
	from, to, step int
	index          [8]int
}

func (k *reduceKernel) start() position {
	if len(k.shape) == 0 {
		return position{}
	}
	return position{step: k.stride[len(k.shape)-1]}
}

func (p *position) next(k *reduceKernel) {
	last := len(k.shape) - 1
	if last < 0 {
		p.from++
		return
	}
	p.from += k.shape[last]
	for d := last - 1; d >= 0; d-- {
		p.index[d]++
		p.to += k.stride[d]
		if p.index[d] < k.shape[d] {
			return
		}
		p.to -= k.stride[d] * k.shape[d]
		p.index[d] = 0
	}
}

func fill[T any](x []T, v T) {
	for i := range x {
		x[i] = v
	}
}
