package float

import (
	"espalier.dev/espalier/optimizer/ir"
)

// Op is the forward pass of one float operator, for executors of files that mix float and int8. It belongs to one
// goroutine at a time. It knows no more of the graph than the operator's own tensors.
type Op struct {
	exec *Exec
	node *ir.Node // of a graph of its own
}

// NewOp compiles node number node of g at the graph's batch.
func NewOp(g *ir.Graph, node int) (*Op, error) {
	g = alone(g, node)
	n := &Network{Graph: g, MicroBatch: g.Batch, Act: make([]*ActQuant, len(g.Tensors))}
	if err := n.readConstants(g, g.Nodes); err != nil {
		return nil, err
	}
	l, err := n.newLayer(g, &g.Nodes[0])
	if err != nil {
		return nil, err
	}
	if l != nil {
		l.base().index = 0
	}
	return &Op{exec: n.newFloatExec([]layer{l}), node: &g.Nodes[0]}, nil
}

// alone is a graph of one node of g and its tensors. Both keep the index, by which errors name them, that they have in g.
func alone(g *ir.Graph, node int) *ir.Graph {
	o, one := g.Nodes[node], *g
	one.Inputs, one.Outputs, one.Tensors = nil, nil, nil
	places := map[int]int{-1: -1}
	place := func(tensors []int) []int {
		placed := make([]int, len(tensors))
		for i, t := range tensors {
			if _, ok := places[t]; !ok {
				places[t] = len(one.Tensors)
				one.Tensors = append(one.Tensors, g.Tensors[t])
			}
			placed[i] = places[t]
		}
		return placed
	}
	o.Inputs, o.Outputs = place(o.Inputs), place(o.Outputs)
	one.Nodes = []ir.Node{o}
	return &one
}

// newFloatExec is an Exec that owns no activations: only the constants and the scratch of one node.
func (n *Network) newFloatExec(layers []layer) *Exec {
	count := len(n.Graph.Tensors)
	e := &Exec{
		net: n, layout: &layout{}, graph: n.Graph, layers: layers, batch: n.MicroBatch,
		values: make([][]float32, count), raws: make([][]float32, count), gradients: make([][]float32, count),
		forward: make([][]float32, 1), act: make([]int, count),
	}
	for t := range count {
		e.act[t] = -1
		if c := n.constants[t]; c != nil {
			e.values[t] = c.raw
		}
	}
	if l := layers[0]; l != nil {
		e.forward[0] = make([]float32, l.base().scratchForward)
	}
	return e
}

// Forward computes the outputs from the inputs: slices in the order of the node's inputs and outputs. Inputs that are constants
// or absent are not read and may be nil.
func (f *Op) Forward(in, out [][]float32) {
	e := f.exec
	for i, t := range f.node.Inputs {
		if t >= 0 && e.net.constants[t] == nil {
			e.values[t] = in[i]
		}
	}
	for i, t := range f.node.Outputs {
		if t >= 0 && e.net.constants[t] == nil {
			e.values[t] = out[i]
		}
	}
	l := e.layers[0]
	if l == nil { // the DEQUANTIZE of a constant
		copy(out[0], e.values[f.node.Outputs[0]])
		return
	}
	l.forward(e)
}

// Clone returns the same operator on the same constants for another goroutine.
func (f *Op) Clone() *Op {
	return &Op{exec: f.exec.net.newFloatExec(f.exec.layers), node: f.node}
}
