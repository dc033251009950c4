package leaf

import (
	"context"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// LayerSNR is how well one int8 tensor of a leaf stands for the float model's.
type LayerSNR struct {
	Tensor  int // in the float model
	Leaf    int // in the leaf
	Name    string
	Decibel float64 // 10·log₁₀(Σ x² / Σ (x − x̂)²); +Inf where they are equal
	Params  quantize.Params
}

// SNR measures, on samples 0 … n−1, the signal-to-noise ratio of every int8 tensor of a leaf against the float model it was
// emitted from, in execution order: the error that all layers before it have left in it, its own rounding included.
func SNR(ctx context.Context, m *tflite.Model, plan *quantize.Plan, leaf *Emitted, feed quantize.Feed, n int) ([]LayerSNR, error) {
	net, err := float.Compile(m, 1)
	if err != nil {
		return nil, err
	}
	exec := net.NewExec(false)
	integers, err := integer.Compile(leaf.Model, 1)
	if err != nil {
		return nil, err
	}
	meter := newMeter(plan, leaf)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := feed.Batch(exec, i, 1); err != nil {
			return nil, err
		}
		exec.Forward()
		for k := range net.Graph.Inputs {
			if err := integers.SetInput(k, exec.Input(k)); err != nil {
				return nil, err
			}
		}
		if err := integers.RunEach(func(n *ir.Node) error { meter.node(exec, integers, n); return nil }); err != nil {
			return nil, fmt.Errorf("sample %d: %w", i, err)
		}
		meter.add(exec, integers, meter.inputs)
	}
	return meter.report(), nil
}

// meter sums signal and noise by tensor.
type meter struct {
	layers        []LayerSNR
	inputs        []int // layers that are model inputs
	layer         []int // by tensor of the leaf: index in layers, quantize.None if it is no int8 form of a tensor of the float model
	signal, noise []float64
}

func newMeter(plan *quantize.Plan, leaf *Emitted) *meter {
	m := &meter{layer: make([]int, len(leaf.Model.Subgraph().Tensors))}
	for t := range m.layer {
		m.layer[t] = quantize.None
	}
	add := func(t int) {
		if g := plan.Tensor[t]; g == quantize.None || !plan.IsInt8(t) {
			return
		}
		at := leaf.Tensor[t]
		if at == quantize.None { // inside of what is one operator
			return
		}
		q := leaf.Model.Subgraph().Tensors[at].Quantization
		m.layer[at] = len(m.layers)
		m.layers = append(m.layers, LayerSNR{Tensor: t, Leaf: at, Name: plan.Graph.Tensors[t].Name, Params: quantize.Params{Scale: q.Scale[0], ZeroPoint: int32(q.ZeroPoint[0]), Wide: leaf.Model.Subgraph().Tensors[at].Type == schema.TensorTypeINT16}})
	}
	for _, t := range plan.Graph.Inputs {
		add(t)
	}
	for i := range m.layers {
		m.inputs = append(m.inputs, i)
	}
	for i := range plan.Graph.Nodes {
		for _, t := range plan.Graph.Nodes[i].Outputs {
			add(t)
		}
	}
	m.signal, m.noise = make([]float64, len(m.layers)), make([]float64, len(m.layers))
	return m
}

// node adds the results of a node of the leaf that has just run.
func (m *meter) node(exec *float.Exec, integers *integer.Executor, n *ir.Node) {
	for _, t := range n.Outputs {
		if m.layer[t] != quantize.None {
			m.add(exec, integers, []int{m.layer[t]})
		}
	}
}

func (m *meter) add(exec *float.Exec, integers *integer.Executor, layers []int) {
	for _, i := range layers {
		codes, p := integers.Tensor(m.layers[i].Leaf), m.layers[i].Params
		for k, x := range exec.Tensor(m.layers[i].Tensor) {
			d := float64(x - p.Dequantize(p.Code(codes, k)))
			m.signal[i] += float64(float64(x) * float64(x))
			m.noise[i] += float64(d * d)
		}
	}
}

func (m *meter) report() []LayerSNR {
	for i := range m.layers {
		m.layers[i].Decibel = 10 * math.Log10(m.signal[i]/m.noise[i])
		if m.noise[i] == 0 {
			m.layers[i].Decibel = math.Inf(1)
		}
	}
	return m.layers
}
