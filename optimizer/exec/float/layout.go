package float

import (
	"math"

	"espalier.dev/espalier/optimizer/exec/arena"
)

// layout is where everything an Exec holds lies in its arena, for the full micro-batch; a smaller batch uses the beginning of
// each buffer. Steps: 0 loads the inputs, 1+i runs node i forward, then the loss, then the nodes backward.
type layout struct {
	train bool
	class []int // by tensor: the tensor whose buffer it shares (RESHAPE and the like)

	value    []*arena.Block // by class
	raw      []*arena.Block // by tensor: the values before quantization, where backward needs them; nil: quantized in place
	gradient []*arena.Block // by class; nil: not wanted
	saved    []*arena.Block // by node
	forward  []*arena.Block // by node: scratch
	backward []*arena.Block
	total    int

	runs  []bool   // by node: backward runs
	first [][]bool // by node and slot: no gradient has been written there before
}

// keep says which values an Exec holds on to after a forward pass.
type keep struct {
	all     bool
	tensors []int
}

// plan lays out an Exec.
func (n *Network) plan(train bool, k keep) *layout {
	p := n.full
	count := len(n.Graph.Tensors)
	l := &layout{
		train: train, class: make([]int, count),
		value: make([]*arena.Block, count), raw: make([]*arena.Block, count), gradient: make([]*arena.Block, count),
		saved: make([]*arena.Block, len(p.layers)), forward: make([]*arena.Block, len(p.layers)), backward: make([]*arena.Block, len(p.layers)),
		runs: make([]bool, len(p.layers)), first: make([][]bool, len(p.layers)),
	}
	n.share(p, l)
	wanted := n.wanted(p, l)
	n.planValues(p, l, k)
	if train {
		n.planGradients(p, l, wanted)
		for _, b := range l.gradient {
			if k.all && b != nil {
				b.Last = 2*len(p.layers) + 2
			}
		}
	}
	n.planScratch(p, l)
	l.total = arena.Place(l.blocks(), 2*len(p.layers)+2, alignment)
	return l
}

// share finds the classes of tensors that hold the same values.
func (n *Network) share(p *program, l *layout) {
	for t := range l.class {
		l.class[t] = t
	}
	for _, layer := range p.layers {
		if layer == nil {
			continue
		}
		b := layer.base()
		if b.role == aliases && n.constants[b.in[0]] == nil && !n.requantizes(b) {
			l.class[b.out[0]] = l.class[b.in[0]]
		}
	}
}

// requantizes reports whether a node's output 0 gets a fake quantization its values do not have yet.
func (n *Network) requantizes(b *node) bool {
	q := n.Act[b.out[0]]
	if q == nil {
		return false
	}
	if b.role == computes {
		return true
	}
	for _, t := range b.in {
		if t >= 0 && n.Graph.Tensors[t].Type == n.Graph.Tensors[b.out[0]].Type && n.Act[t] != q {
			return true
		}
	}
	return false
}

// wanted marks the tensors whose gradient is needed: those between a trainable parameter, or a learned quantization, and the
// loss.
func (n *Network) wanted(p *program, l *layout) []bool {
	depends := make([]bool, len(l.class))
	for _, t := range n.Graph.Inputs {
		depends[t] = n.inputGradients
	}
	for _, layer := range p.layers {
		if layer == nil {
			continue
		}
		b := layer.base()
		any := false
		for _, t := range b.in {
			if t < 0 {
				continue
			}
			if c := n.constants[t]; c != nil {
				any = any || c.param != nil && c.param.Trainable
			} else {
				any = any || depends[t]
			}
		}
		for _, t := range b.out {
			if t >= 0 {
				depends[t] = any || n.Act[t] != nil && n.Act[t].Learn
			}
		}
	}
	for t := range depends {
		depends[t] = depends[t] && n.reaches[t]
	}
	return depends
}

// planValues finds the lifetime of every activation.
func (n *Network) planValues(p *program, l *layout, k keep) {
	nodes := len(p.layers)
	loss, end := nodes+1, 2*nodes+2
	for t := range n.Graph.Tensors {
		if n.constants[t] != nil || n.Graph.Tensors[t].Const != nil || l.class[t] != t {
			continue
		}
		first := n.Graph.Tensors[t].Producer + 1
		l.value[t] = &arena.Block{Size: n.Graph.Tensors[t].Floats(), First: first, Last: first}
	}
	hold := func(t, step int) {
		if b := l.value[l.class[t]]; b != nil {
			b.Last = max(b.Last, step)
		}
	}
	for i, layer := range p.layers {
		if layer == nil {
			continue
		}
		b := layer.base()
		for _, t := range b.in {
			if t >= 0 {
				hold(t, i+1)
				if l.train && b.usesIn {
					hold(t, loss+nodes-i)
				}
			}
		}
		for _, t := range b.out {
			if t >= 0 && l.train && b.usesOut {
				hold(t, loss+nodes-i)
			}
		}
	}
	for _, t := range n.losses {
		hold(t, loss)
	}
	for _, t := range n.Graph.Outputs {
		hold(t, end)
	}
	for _, t := range k.tensors {
		hold(t, end)
	}
	for t := range l.value {
		if k.all && l.value[t] != nil {
			l.value[t].Last = end
		}
	}
}

// planGradients finds which nodes run backward and the lifetime of every gradient.
func (n *Network) planGradients(p *program, l *layout, wanted []bool) {
	nodes := len(p.layers)
	loss := nodes + 1
	written := make([]bool, len(l.class))
	extend := func(t, step int) {
		c := l.class[t]
		if l.gradient[c] == nil {
			l.gradient[c] = &arena.Block{Size: n.Graph.Tensors[c].Floats(), First: step}
		}
		l.gradient[c].Last = step
	}
	for _, t := range n.losses {
		if wanted[t] {
			extend(t, loss)
			written[l.class[t]] = true
		}
	}
	for i := nodes - 1; i >= 0; i-- {
		if p.layers[i] == nil {
			continue
		}
		b, step := p.layers[i].base(), loss+nodes-i
		l.first[i] = make([]bool, len(b.in))
		for _, t := range b.out {
			if t >= 0 && written[l.class[t]] && wanted[t] {
				l.runs[i] = true
				extend(t, step)
			}
		}
		if !l.runs[i] || b.opaque {
			l.runs[i] = false
			continue
		}
		for slot, t := range b.in {
			if t < 0 || !wanted[t] || n.constants[t] != nil {
				continue
			}
			c := l.class[t]
			l.first[i][slot] = !written[c]
			written[c] = true
			extend(t, step)
		}
		if q := b.out[0]; n.requantizes(b) {
			l.raw[q] = &arena.Block{Size: n.Graph.Numel(q), First: i + 1, Last: step}
		}
	}
	for _, t := range n.Graph.Inputs {
		if l.gradient[t] != nil {
			extend(t, loss+nodes+1)
		}
	}
}

// planScratch finds the lifetimes of what single nodes need.
func (n *Network) planScratch(p *program, l *layout) {
	loss := len(p.layers) + 1
	for i, layer := range p.layers {
		if layer == nil {
			continue
		}
		b, step := layer.base(), loss+len(p.layers)-i
		l.forward[i] = &arena.Block{Size: b.scratchForward, First: i + 1, Last: i + 1}
		l.saved[i] = &arena.Block{Size: b.saved, First: i + 1, Last: i + 1}
		if l.runs[i] {
			l.backward[i] = &arena.Block{Size: b.scratchBackward, First: step, Last: step}
			l.saved[i].Last = step
		}
	}
}

// alignment of every buffer in floats: one cache line, so that no two buffers share one.
const alignment = 16

func (l *layout) blocks() []*arena.Block {
	var all []*arena.Block
	for _, list := range [][]*arena.Block{l.value, l.raw, l.gradient, l.saved, l.forward, l.backward} {
		for _, b := range list {
			if b != nil {
				all = append(all, b)
			}
		}
	}
	return all
}

const everything = math.MaxInt
