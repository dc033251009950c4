package float

import (
	"espalier.dev/espalier/optimizer/ir"
)

// Op is the forward pass of one float operator, for executors of files that mix float and int8. It belongs to one
// goroutine at a time.
type Op struct {
	exec *Exec
	node *ir.Node
}

// NewOp compiles node number node of g at the graph's batch.
func NewOp(g *ir.Graph, node int) (*Op, error) {
	n := &Network{Graph: g, MicroBatch: g.Batch, Act: make([]*ActQuant, len(g.Tensors)), model: g.Model}
	o := &g.Nodes[node]
	if err := n.readConstants(g, g.Nodes[node:node+1]); err != nil {
		return nil, err
	}
	l, err := n.newLayer(g, o)
	if err != nil {
		return nil, err
	}
	p := &program{graph: g, layers: make([]layer, len(g.Nodes))}
	p.layers[node] = l
	return &Op{exec: n.newFloatExec(p, node), node: o}, nil
}

// newFloatExec is an Exec that owns no activations: only the constants and the scratch of one node.
func (n *Network) newFloatExec(p *program, node int) *Exec {
	count := len(n.Graph.Tensors)
	e := &Exec{
		net: n, layout: &layout{}, graph: n.Graph, layers: p.layers, batch: n.MicroBatch,
		values: make([][]float32, count), raws: make([][]float32, count), gradients: make([][]float32, count),
		forward: make([][]float32, len(p.layers)), act: make([]int, count),
	}
	for t := range count {
		e.act[t] = -1
		if c := n.constants[t]; c != nil {
			e.values[t] = c.raw
		}
	}
	if l := p.layers[node]; l != nil {
		e.forward[node] = make([]float32, l.base().scratchForward)
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
	l := e.layers[f.node.Index]
	if l == nil { // the DEQUANTIZE of a constant
		copy(out[0], e.values[f.node.Outputs[0]])
		return
	}
	l.forward(e)
}

// Clone returns the same operator on the same constants for another goroutine.
func (f *Op) Clone() *Op {
	p := &program{graph: f.exec.graph, layers: f.exec.layers}
	return &Op{exec: f.exec.net.newFloatExec(p, f.node.Index), node: f.node}
}
