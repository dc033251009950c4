package float

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// layer is one operator compiled at one batch size: immutable and shared by every Exec of the Network.
type layer interface {
	base() *node
	// forward computes the node's outputs from its inputs.
	forward(e *Exec)
	// backward adds to the gradients of the node's inputs and parameters, given those of its outputs. It is called only if
	// the gradient of some output is wanted.
	backward(e *Exec, g *Grads)
}

// role says how a node's outputs relate to its inputs.
type role uint8

const (
	// computes gives new values: they are fake-quantized.
	computes role = iota
	// moves gives values of the inputs, rearranged: they are fake-quantized only where input and output differ in quantization.
	moves
	// aliases gives the input itself under another shape: no values are copied unless quantizations differ.
	aliases
)

// node is what every layer has: its place in the graph and what it needs of an Exec.
type node struct {
	index   int
	name    string // for messages: operator and output
	in, out []int  // tensors; −1: absent
	role    role

	opaque bool // no gradient passes
	fused  bool // forward and backward do the fake quantization of output 0 themselves

	usesIn  bool // backward reads the inputs' values
	usesOut bool // backward reads the outputs' values, before quantization
	poles   bool // finite inputs may give infinities
	adds    bool // backward only ever adds to an input's gradient; the Exec clears it first where nothing is there yet

	saved           int // floats kept from forward to backward
	scratchForward  int // floats used during one call
	scratchBackward int
}

func (n *node) base() *node { return n }

// newNode returns the common part of a layer for node i of g.
func newNode(o *ir.Node, g *ir.Graph) node {
	name := o.String()
	if len(o.Outputs) > 0 && o.Outputs[0] >= 0 {
		name = fmt.Sprintf("%s %q", name, g.Tensors[o.Outputs[0]].Name)
	}
	return node{index: o.Index, name: name, in: o.Inputs, out: o.Outputs}
}

// input returns the tensor in slot i, −1 if absent.
func (n *node) input(i int) int {
	if i >= len(n.in) {
		return -1
	}
	return n.in[i]
}

// alias is RESHAPE, SQUEEZE and EXPAND_DIMS: input and output share memory, so there is nothing to do unless their
// quantizations differ.
type alias struct{ node }

func buildAlias(s *site) (layer, error) {
	s.role = aliases
	return &alias{s.node}, nil
}

func (l *alias) forward(e *Exec) {
	if x, y := e.value(l.in[0]), e.result(&l.node, 0); &x[0] != &y[0] {
		copy(y, x)
	}
}

func (l *alias) backward(e *Exec, g *Grads) {
	dy := e.gradient(l.out[0])
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil || &dx[0] == &dy[0] {
		return
	}
	assign(dx, dy, add)
}

// assign sets dst to src, or adds.
func assign(dst, src []float32, add bool) {
	if !add {
		copy(dst, src)
		return
	}
	kernel.Axpy(dst, 1, src)
}
