package float

import (
	"fmt"
	"unsafe"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/panics"
)

// Exec runs a Network on one micro-batch at a time. It belongs to one goroutine; several may run side by side. It allocates
// nothing after NewExec, except once for every smaller batch size it meets.
type Exec struct {
	net    *Network
	layout *layout
	batch  int

	graph  *ir.Graph // shapes at the current batch
	layers []layer

	values    [][]float32 // by tensor
	raws      [][]float32
	gradients [][]float32
	saved     [][]float32 // by node
	forward   [][]float32
	backward  [][]float32

	acts     []*ActQuant // distinct
	act      []int       // by tensor: index in acts, −1 none
	observed []Range     // by act
	scratch  kernel.Scratch
	arena    []float32
	views    map[int]*views // by batch
}

// views are an Exec's buffers cut to a batch size.
type views struct {
	graph                                             *ir.Graph
	layers                                            []layer
	values, raws, gradients, saved, forward, backward [][]float32
}

// NewExec plans and allocates what one worker needs. With train it can run Backward, and only the outputs, the loss
// tensors and the tensors named are certain to be readable after Forward; without, every tensor is.
func (n *Network) NewExec(train bool, tensors ...int) *Exec {
	return n.newExec(train, keep{all: !train, tensors: tensors})
}

// NewForwardExec is an Exec for inference in little memory: buffers are reused, so that after Forward only the
// outputs and the tensors named are readable.
func (n *Network) NewForwardExec(tensors ...int) *Exec {
	return n.newExec(false, keep{tensors: tensors})
}

func (n *Network) newExec(train bool, k keep) *Exec {
	e := &Exec{net: n, layout: n.plan(train, k), views: map[int]*views{}}
	e.acts = n.ActQuants()
	e.act = make([]int, len(n.Act))
	for t, q := range n.Act {
		e.act[t] = -1
		for i, known := range e.acts {
			if q == known {
				e.act[t] = i
			}
		}
	}
	e.observed = make([]Range, len(e.acts))
	e.arena = aligned(e.layout.total)
	e.use(e.newViews(n.MicroBatch, n.full))
	return e
}

// aligned returns n zero floats at a multiple of 64 bytes.
func aligned(n int) []float32 {
	raw := make([]float32, n+alignment)
	skip := 0
	for uintptr(unsafe.Pointer(&raw[skip]))%(4*alignment) != 0 {
		skip++
	}
	return raw[skip : skip+n]
}

func (e *Exec) newViews(batch int, p *program) *views {
	l := e.layout
	tensors, nodes := len(l.class), len(p.layers)
	v := &views{
		graph: p.graph, layers: p.layers,
		values: make([][]float32, tensors), raws: make([][]float32, tensors), gradients: make([][]float32, tensors),
		saved: make([][]float32, nodes), forward: make([][]float32, nodes), backward: make([][]float32, nodes),
	}
	e.net.mutex.Lock()
	defer e.net.mutex.Unlock()
	for t := range l.class {
		c, size := l.class[t], p.graph.Tensors[t].Floats()
		if constant := e.net.constants[t]; constant != nil {
			v.values[t] = constant.effective(e.net.Act[t])
			continue
		}
		v.values[t] = l.value[c].Slice(e.arena, size)
		v.raws[t] = l.raw[t].Slice(e.arena, size)
		v.gradients[t] = l.gradient[c].Slice(e.arena, size)
	}
	for i := range p.layers {
		v.saved[i] = l.saved[i].Slice(e.arena, everything)
		v.forward[i] = l.forward[i].Slice(e.arena, everything)
		v.backward[i] = l.backward[i].Slice(e.arena, everything)
	}
	e.views[batch] = v
	return v
}

func (e *Exec) use(v *views) {
	e.graph, e.layers = v.graph, v.layers
	e.batch = v.graph.Batch
	e.values, e.raws, e.gradients = v.values, v.raws, v.gradients
	e.saved, e.forward, e.backward = v.saved, v.forward, v.backward
}

// SetBatch sets the number of samples of the next pass, from 1 to the network's MicroBatch (the initial setting).
func (e *Exec) SetBatch(k int) error {
	if k < 1 || k > e.net.MicroBatch {
		return fmt.Errorf("batch of %d samples: want 1 to %d", k, e.net.MicroBatch)
	}
	v := e.views[k]
	if v == nil {
		p, err := e.net.program(k)
		if err != nil {
			return err
		}
		v = e.newViews(k, p)
	}
	e.use(v)
	return nil
}

// Batch returns the number of samples of a pass.
func (e *Exec) Batch() int { return e.batch }

// SetInput copies values into model input i: the batch's samples one after the other. Excess on either side is ignored.
func (e *Exec) SetInput(i int, x []float32) {
	copy(e.values[e.net.Graph.Inputs[i]], x)
}

// Input returns the buffer of model input i, to be filled in place of SetInput.
func (e *Exec) Input(i int) []float32 { return e.values[e.net.Graph.Inputs[i]] }

// Output returns the values of model output i.
func (e *Exec) Output(i int) []float32 { return e.values[e.net.Graph.Outputs[i]] }

// Tensor returns the values of tensor t as its consumers read them; see NewExec for when they are valid.
func (e *Exec) Tensor(t int) []float32 { return e.values[t] }

// LossGrad returns the buffer for dL/d(loss tensor) t, which the caller fills between Forward and Backward: first
// ClearLossGrads, then adding, since outputs may share a buffer. It is nil where nothing trains by it.
func (e *Exec) LossGrad(t int) []float32 { return e.gradients[t] }

// ClearLossGrads sets the gradients of all loss tensors to zero.
func (e *Exec) ClearLossGrads() {
	for _, t := range e.net.losses {
		clear(e.gradients[t])
	}
}

// Forward runs every operator.
func (e *Exec) Forward() { e.ForwardBefore(len(e.layers)) }

// ForwardBefore runs the operators before a node. Of tensors only those that they give have their values afterwards.
func (e *Exec) ForwardBefore(node int) {
	for i := range e.observed {
		e.observed[i] = kernel.EmptyRange()
	}
	for _, t := range e.net.Graph.Inputs {
		if e.act[t] >= 0 {
			e.quantize(t, e.values[t])
		}
	}
	var at layer
	defer panics.Name(func() string { return nameOf(at) })
	for _, at = range e.layers[:node] {
		if at != nil {
			e.runForward(at)
		}
	}
}

func nameOf(l layer) string {
	if l == nil {
		return ""
	}
	return l.base().name
}

func (e *Exec) runForward(l layer) {
	l.forward(e)
	b := l.base()
	if b.fused {
		return
	}
	for k, t := range b.out {
		if t >= 0 && e.act[t] >= 0 && e.net.requantizes(b) {
			if b.poles {
				e.cap(t, e.result(b, k))
			}
			e.quantize(t, e.result(b, k))
		}
	}
}

// Backward adds the gradients of the loss to g.
func (e *Exec) Backward(g *Grads) {
	var at layer
	defer panics.Name(func() string { return nameOf(at) })
	for i := len(e.layers) - 1; i >= 0; i-- {
		if at = e.layers[i]; e.layout.runs[i] {
			e.runBackward(i, at, g)
		}
	}
	e.Observe(g)
}

// Observe adds the ranges of activations that the forward pass saw, as Backward does too.
func (e *Exec) Observe(g *Grads) {
	for i, r := range e.observed {
		g.Act[i].Range = union(g.Act[i].Range, r)
	}
}

func (e *Exec) runBackward(i int, l layer, g *Grads) {
	b := l.base()
	if !b.fused {
		for k, t := range b.out {
			if t >= 0 && e.act[t] >= 0 && e.gradients[t] != nil && e.net.requantizes(b) {
				e.gate(g, t, e.gradients[t], e.result(b, k), unbounded)
			}
		}
	}
	if b.adds {
		for slot, t := range b.in {
			if t >= 0 && e.layout.first[i][slot] && e.gradients[t] != nil {
				clear(e.gradients[t])
			}
		}
	}
	l.backward(e, g)
}

// value returns what an operator reads of tensor t.
func (e *Exec) value(t int) []float32 { return e.values[t] }

// result returns the buffer for output k of a node before quantization.
func (e *Exec) result(n *node, k int) []float32 {
	t := n.out[k]
	if raw := e.raws[t]; raw != nil {
		return raw
	}
	return e.values[t]
}

// gradient returns dL/dt; nil if it is not wanted.
func (e *Exec) gradient(t int) []float32 { return e.gradients[t] }

// gradientOf returns where the gradient of a node's input in a slot goes, and whether it is to be added to what is there. It
// is nil if the gradient is not wanted.
func (e *Exec) gradientOf(g *Grads, n *node, slot int) (dx []float32, add bool) {
	t := n.input(slot)
	if t < 0 {
		return nil, false
	}
	if c := e.net.constants[t]; c != nil {
		if c.param == nil || !c.param.Trainable {
			return nil, false
		}
		return g.Param[c.index], true
	}
	if e.gradients[t] == nil {
		return nil, false
	}
	return e.gradients[t], !e.layout.first[n.index][slot]
}

// Network returns what the Exec runs.
func (e *Exec) Network() *Network { return e.net }
