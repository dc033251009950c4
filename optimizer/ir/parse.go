package ir

import (
	"errors"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Limits on shapes: dimensions as LiteRT's kernels have them, elements as LiteRT counts them.
const (
	maxRank     = 8
	maxElements = 1<<31 - 1
)

// Parse returns the primary subgraph of a model with shapes for batch samples; 0 means the file's own batch. Errors are an
// *Error that names the operator, a *BatchError if the graph cannot be proven right at that batch, or name the tensor.
func Parse(m *tflite.Model, batch int) (*Graph, error) {
	if m == nil || m.ModelT == nil || len(m.Subgraphs) == 0 {
		return nil, errors.New("the model has no subgraph")
	}
	if batch < 0 {
		return nil, fmt.Errorf("batch is %d, want at least 1, or 0 for the file's", batch)
	}
	file, err := load(m)
	if err != nil {
		return nil, err
	}
	p := parser{Graph: file}
	if err := p.infer(); err != nil {
		return nil, err
	}
	if batch == 0 || batch == file.FileBatch {
		return file, nil
	}
	scaled, err := load(m)
	if err != nil {
		return nil, err
	}
	p = parser{Graph: scaled, file: file}
	if err := p.scaleInputs(batch); err != nil {
		return nil, err
	}
	if err := p.infer(); err != nil {
		return nil, err
	}
	for _, t := range scaled.Outputs {
		if out := &scaled.Tensors[t]; !out.Batched {
			return nil, &BatchError{-1, "output " + out.String(), batch, file.FileBatch, "it is one for all samples"}
		}
	}
	return scaled, nil
}

// Outline returns the primary subgraph as the file has it: nothing is inferred, operators have no attributes. It is for showing models
// that Parse refuses.
func Outline(m *tflite.Model) (*Graph, error) {
	if m == nil || m.ModelT == nil || len(m.Subgraphs) == 0 {
		return nil, errors.New("the model has no subgraph")
	}
	return load(m)
}

// load copies tensors and nodes without their attributes; shapes are the file's.
func load(m *tflite.Model) (*Graph, error) {
	sub := m.Subgraph()
	g := &Graph{Model: m, Inputs: ints(sub.Inputs), Outputs: ints(sub.Outputs), Tensors: make([]Tensor, len(sub.Tensors)), Nodes: make([]Node, len(sub.Operators))}
	for i, t := range sub.Tensors {
		if err := g.loadTensor(i, t); err != nil {
			return nil, err
		}
	}
	for _, border := range [][]int{g.Inputs, g.Outputs} {
		for _, t := range border {
			if t < 0 || t >= len(g.Tensors) {
				return nil, fmt.Errorf("model input or output is tensor %d of %d", t, len(g.Tensors))
			}
		}
	}
	for _, t := range g.Inputs {
		g.Tensors[t].Const = nil
	}
	for i, o := range sub.Operators {
		if err := g.loadNode(i, o); err != nil {
			return nil, err
		}
	}
	g.FileBatch = 1
	if len(g.Inputs) > 0 && len(g.Tensors[g.Inputs[0]].Shape) > 0 {
		g.FileBatch = g.Tensors[g.Inputs[0]].Shape[0]
	}
	g.Batch = g.FileBatch
	for _, t := range g.Inputs {
		in := &g.Tensors[t]
		in.Batched = g.FileBatch > 0 && len(in.Shape) > 0 && in.Shape[0] == g.FileBatch
	}
	return g, nil
}

func (g *Graph) loadTensor(i int, t *schema.TensorT) error {
	out := &g.Tensors[i]
	*out = Tensor{Index: i, Name: t.Name, Type: t.Type, Shape: ints(t.Shape), Producer: -1}
	if t.Sparsity != nil {
		return fmt.Errorf("%s has sparse storage: convert the model without the sparsity optimization, zeros are found all the same", out)
	}
	if err := checkShape(out.Shape); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	if q := t.Quantization; q != nil && len(q.Scale) > 0 && (q.Details == nil || q.Details.Type == schema.QuantizationDetailsNONE) {
		quant, err := loadQuant(out.Shape, q)
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		out.Quant = quant
	}
	data := g.Model.Data(t)
	size, known := tflite.TypeSize(t.Type)
	switch {
	case len(data) > 0:
		if want := (out.Numel()*size + 7) / 8; known && want != len(data) {
			return fmt.Errorf("%s: %s%v takes %d bytes, its buffer has %d", out, t.Type, t.Shape, want, len(data))
		}
		out.Const = data
	case out.Numel() == 0:
		out.Const = []byte{}
	}
	return nil
}

func loadQuant(shape []int, q *schema.QuantizationParametersT) (*Quant, error) {
	n := len(q.Scale)
	out := &Quant{Scale: slices.Clone(q.Scale), ZeroPoint: make([]int32, n), Axis: int(q.QuantizedDimension)}
	if len(q.ZeroPoint) > 1 && len(q.ZeroPoint) != n {
		return nil, fmt.Errorf("%d scales but %d zero points", n, len(q.ZeroPoint))
	}
	for i := range out.ZeroPoint {
		if len(q.ZeroPoint) > 0 {
			out.ZeroPoint[i] = int32(q.ZeroPoint[min(i, len(q.ZeroPoint)-1)])
		}
	}
	if n == 1 || len(shape) == 1 {
		out.Axis = 0
	}
	if n > 1 && (out.Axis < 0 || out.Axis >= len(shape) || shape[out.Axis] != n) {
		return nil, fmt.Errorf("%d scales on dimension %d of shape %v", n, out.Axis, shape)
	}
	return out, nil
}

func (g *Graph) loadNode(i int, o *schema.OperatorT) error {
	n := &g.Nodes[i]
	n.Index, n.Inputs, n.Outputs = i, ints(o.Inputs), ints(o.Outputs)
	if int(o.OpcodeIndex) >= len(g.Model.OperatorCodes) {
		return fmt.Errorf("operator %d: operator code %d of %d", i, o.OpcodeIndex, len(g.Model.OperatorCodes))
	}
	n.Op, n.Custom = g.Model.Op(o)
	n.Version = int(g.Model.OperatorCodes[o.OpcodeIndex].Version)
	for _, t := range n.Inputs {
		if t < -1 || t >= len(g.Tensors) {
			return &Error{i, n.String(), fmt.Sprintf("input is tensor %d of %d", t, len(g.Tensors))}
		}
		if t >= 0 && !slices.Contains(g.Tensors[t].Consumers, i) {
			g.Tensors[t].Consumers = append(g.Tensors[t].Consumers, i)
		}
	}
	for _, t := range n.Outputs {
		switch {
		case t < -1 || t >= len(g.Tensors):
			return &Error{i, n.String(), fmt.Sprintf("output is tensor %d of %d", t, len(g.Tensors))}
		case t == -1:
			continue
		case g.Tensors[t].Producer >= 0:
			return &Error{i, n.String(), fmt.Sprintf("writes %s, which operator %d makes", &g.Tensors[t], g.Tensors[t].Producer)}
		case len(g.Tensors[t].Consumers) > 0 && g.Tensors[t].Consumers[0] <= i:
			return &Error{i, n.String(), fmt.Sprintf("writes %s, which operator %d has read before", &g.Tensors[t], g.Tensors[t].Consumers[0])}
		}
		if len(g.Tensors[t].Const) > 0 {
			return &Error{i, n.String(), fmt.Sprintf("writes %s, which is a constant", &g.Tensors[t])}
		}
		g.Tensors[t].Producer, g.Tensors[t].Const = i, nil
	}
	return nil
}

// scaleInputs gives the inputs the leading dimension batch.
func (p *parser) scaleInputs(batch int) error {
	fileBatch := p.FileBatch
	for _, t := range p.Inputs {
		in := &p.Tensors[t]
		if !in.Batched {
			reason := fmt.Sprintf("its shape %v does not begin with the file's batch", in.Shape)
			return &BatchError{-1, "input " + in.String(), batch, fileBatch, reason}
		}
		in.Shape[0] = batch
		if err := checkShape(in.Shape); err != nil {
			return fmt.Errorf("input %s at batch %d: %w", in, batch, err)
		}
	}
	p.Batch = batch
	return nil
}

func checkShape(shape []int) error {
	if len(shape) > maxRank {
		return fmt.Errorf("shape %v has %d dimensions, at most %d are supported", shape, len(shape), maxRank)
	}
	n := 1
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if d > maxElements || n*d > maxElements {
			return fmt.Errorf("shape %v has more than %d elements", shape, maxElements)
		}
		n *= d
	}
	return nil
}

func ints(a []int32) []int {
	out := make([]int, len(a))
	for i, v := range a {
		out[i] = int(v)
	}
	return out
}
