package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// epsilon is added to variances, which are of channels that vary by about 1.
const epsilon = 1e-5

// layer is a convolution whose scale and shift are split from its weights: it gives z, and behind it stands act(γ·ẑ + β), where ẑ is z with
// the mean 0 and the variance 1 over a batch, or z as it is.
type layer struct {
	kernel, bias   int // tensors of the folded network
	rows           bool
	z, gamma, beta int       // tensors of the unfolded one
	mean, variance []float64 // of z, by channel
}

// unfolder writes a network in which normalizations are operators of their own.
type unfolder struct {
	m    *tflite.Model
	name string // of what is being written
	ops  []*schema.OperatorT
}

func (u *unfolder) tensor(name string, shape []int32, kind schema.TensorType, data []byte) int32 {
	t := &schema.TensorT{Name: u.name + "/" + name, Shape: slices.Clone(shape), HasRank: true, Type: kind}
	if data != nil {
		t.Buffer = u.m.AddBuffer(data)
	}
	sub := u.m.Subgraph()
	sub.Tensors = append(sub.Tensors, t)
	return int32(len(sub.Tensors) - 1)
}

func (u *unfolder) floats(name string, values []float32, shape ...int32) int32 {
	return u.tensor(name, shape, schema.TensorTypeFLOAT32, tflite.Float32Bytes(values))
}

func (u *unfolder) op(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, shape []int32, inputs ...int32) int32 {
	out := u.tensor(fmt.Sprint(len(u.ops)), shape, schema.TensorTypeFLOAT32, nil)
	u.ops = append(u.ops, u.m.NewOp(code, kind, options, inputs, []int32{out}))
	return out
}

func (u *unfolder) mean(x int32, shape []int32) int32 {
	axes := u.tensor("axes", []int32{3}, schema.TensorTypeINT32, tflite.Int32Bytes([]int32{0, 1, 2}))
	return u.op(schema.BuiltinOperatorMEAN, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, shape, x, axes)
}

func (u *unfolder) mul(shape []int32, a, b int32) int32 {
	return u.op(schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, shape, a, b)
}

// normalized writes x with the mean 0 and the variance 1 over the batch.
func (u *unfolder) normalized(x int32, shape []int32) int32 {
	one := []int32{1, 1, 1, shape[3]}
	d := u.op(schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}, shape, x, u.mean(x, one))
	v := u.mean(u.mul(shape, d, d), one)
	v = u.op(schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, one, v, u.floats("epsilon", []float32{epsilon}, 1))
	return u.mul(shape, d, u.op(schema.BuiltinOperatorRSQRT, schema.BuiltinOptionsNONE, nil, one, v))
}

// unfold writes m at a fixed batch with the scale and shift of every convolution apart from its weights. Statistics of z, by kernel, are what
// the weights are divided by (nil: by 1); with batchStats z is normalized over the batch.
func unfold(m *tflite.Model, batch int, batchStats bool, statistics map[int]*layer) (*tflite.Model, []*layer, error) {
	g, err := ir.Parse(m, batch)
	if err != nil {
		return nil, nil, err
	}
	u := &unfolder{m: m.Clone()}
	u.m.SignatureDefs = nil
	sub := u.m.Subgraph()
	for i, t := range sub.Tensors {
		t.ShapeSignature = nil
		if g.Tensors[i].Const == nil {
			t.Shape = nil
			for _, d := range g.Tensors[i].Shape {
				t.Shape = append(t.Shape, int32(d))
			}
		}
	}
	var layers []*layer
	for i, o := range sub.Operators {
		attr, ok := g.Nodes[i].Attr.(ir.Conv)
		if !ok || len(o.Inputs) < 3 || o.Inputs[2] < 0 {
			u.ops = append(u.ops, o)
			continue
		}
		l := &layer{kernel: int(o.Inputs[1]), bias: int(o.Inputs[2]), rows: !attr.Depthwise}
		if err := u.unfold(o, l, batchStats, statistics[l.kernel]); err != nil {
			return nil, nil, err
		}
		layers = append(layers, l)
	}
	sub.Operators = u.ops
	return u.m, layers, nil
}

func (u *unfolder) unfold(o *schema.OperatorT, l *layer, batchStats bool, statistics *layer) error {
	tensors := u.m.Subgraph().Tensors
	kernel, err := u.m.Float32s(tensors[l.kernel])
	if err != nil {
		return err
	}
	beta, err := u.m.Float32s(tensors[l.bias])
	if err != nil {
		return err
	}
	c, y := len(beta), o.Outputs[0]
	shape := slices.Clone(tensors[y].Shape)
	u.name = tensors[y].Name
	gamma := slices.Repeat([]float32{1}, c)
	l.mean, l.variance = make([]float64, c), make([]float64, c)
	if statistics != nil {
		for k := range c {
			gamma[k] = float32(max(math.Sqrt(statistics.variance[k]), 1e-12))
			if batchStats {
				beta[k] += float32(statistics.mean[k])
			}
		}
		scale(kernel, c, l.rows, func(k int) float32 { return 1 / gamma[k] })
		u.m.SetData(tensors[l.kernel], tflite.Float32Bytes(kernel))
	}
	var act schema.ActivationFunctionType
	switch options := o.BuiltinOptions.Value.(type) {
	case *schema.Conv2DOptionsT:
		act, options.FusedActivationFunction = options.FusedActivationFunction, schema.ActivationFunctionTypeNONE
	case *schema.DepthwiseConv2DOptionsT:
		act, options.FusedActivationFunction = options.FusedActivationFunction, schema.ActivationFunctionTypeNONE
	}
	z := u.tensor("z", shape, schema.TensorTypeFLOAT32, nil)
	o.Inputs, o.Outputs = o.Inputs[:2:2], []int32{z}
	u.ops = append(u.ops, o)
	x := z
	if batchStats {
		x = u.normalized(z, shape)
	}
	l.z, l.gamma, l.beta = int(z), int(u.floats("gamma", gamma, 1, 1, 1, int32(c))), int(u.floats("beta", beta, int32(c)))
	u.ops = append(u.ops, u.m.NewOp(schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions,
		&schema.DepthwiseConv2DOptionsT{StrideW: 1, StrideH: 1, DepthMultiplier: 1, DilationWFactor: 1, DilationHFactor: 1, FusedActivationFunction: act},
		[]int32{x, int32(l.gamma), int32(l.beta)}, []int32{y}))
	return nil
}

// scale multiplies the weights of every output channel, which are rows or columns.
func scale(w []float32, channels int, rows bool, factor func(c int) float32) {
	per := len(w) / channels
	for i := range w {
		c := i % channels
		if rows {
			c = i / per
		}
		w[i] *= factor(c)
	}
}

// estimate sets the layers' statistics to the means over batches of those of z in a batch; samples are drawn by a fixed seed.
func estimate(net *float.Network, layers []*layer, src dataset.Source, batches int) error {
	e := net.NewExec(false)
	for _, l := range layers {
		clear(l.mean)
		clear(l.variance)
	}
	order := rand.New(rand.NewPCG(7, 7)).Perm(src.Len())
	for b := range batches {
		x := e.Input(0)
		per := len(x) / net.MicroBatch
		for k := range net.MicroBatch {
			if err := src.Read(order[(b*net.MicroBatch+k)%len(order)], [][]float32{x[k*per : (k+1)*per]}); err != nil {
				return err
			}
		}
		e.Forward()
		for _, l := range layers {
			l.add(e.Tensor(l.z), batches)
		}
	}
	return nil
}

// add adds the statistics of z in one batch of several.
func (l *layer) add(z []float32, batches int) {
	c := len(l.mean)
	n := float64(len(z) / c)
	sum, squares := make([]float64, c), make([]float64, c)
	for i, v := range z {
		sum[i%c] += float64(v)
		squares[i%c] += float64(v) * float64(v)
	}
	for k := range c {
		mean := sum[k] / n
		l.mean[k] += mean / float64(batches)
		l.variance[k] += max(0, squares[k]/n-mean*mean) / float64(batches)
	}
}

// fold returns m with the values of an unfolded network, its normalizations folded into the weights.
func fold(m *tflite.Model, net *float.Network, layers []*layer, batchStats bool) *tflite.Model {
	out := m.Clone()
	tensors := out.Subgraph().Tensors
	for _, p := range net.Params {
		if p.Tensor < len(tensors) && p.Kind != float.Constant {
			out.SetData(tensors[p.Tensor], tflite.Float32Bytes(p.Value))
		}
	}
	for _, l := range layers {
		w, factor, bias := slices.Clone(net.Param(l.kernel).Value), slices.Clone(net.Param(l.gamma).Value), slices.Clone(net.Param(l.beta).Value)
		if batchStats {
			for c := range factor {
				f := float64(factor[c]) / math.Sqrt(l.variance[c]+epsilon)
				factor[c], bias[c] = float32(f), float32(float64(bias[c])-l.mean[c]*f)
			}
		}
		scale(w, len(factor), l.rows, func(c int) float32 { return factor[c] })
		out.SetData(tensors[l.kernel], tflite.Float32Bytes(w))
		out.SetData(tensors[l.bias], tflite.Float32Bytes(bias))
	}
	return out
}
