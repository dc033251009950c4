package quantize

import (
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/union"
)

// builder finds the groups of a plan. Operators are visited in execution order, so that whether an input's quantization is fixed is
// known before it is united with anything.
type builder struct {
	*Plan
	groups union.Sets      // of tensors, and then of forms
	fixed  map[int]*Params // by root
	active []bool          // tensor has an int8 form
	wide   []bool          // by tensor and form: it is int16
	forms  map[form]int    // of the other width than their tensor's
}

// form is a tensor as operators of one width read it.
type form struct {
	tensor int
	wide   bool
}

func newBuilder(p *Plan) *builder {
	return &builder{Plan: p, groups: union.New(len(p.Graph.Tensors)), fixed: map[int]*Params{}, active: make([]bool, len(p.Graph.Tensors)), wide: make([]bool, len(p.Graph.Tensors)), forms: map[form]int{}}
}

// join unites two groups of which at most one is fixed, or both alike. The lower tensor index becomes the root.
func (b *builder) join(s, t int) {
	root, joined := b.groups.Join(s, t)
	if root == joined {
		return
	}
	if b.fixed[root] == nil {
		b.fixed[root] = b.fixed[joined]
	}
	delete(b.fixed, joined)
}

// mark finds the activations that need an int8 form: what int8 nodes read and write, and with int8 I/O the model's inputs and
// outputs. Quantizations prescribed by an operator or known beforehand are noted.
func (b *builder) mark() {
	b.widths()
	for i := range b.Graph.Nodes {
		n, np := &b.Graph.Nodes[i], &b.Nodes[i]
		np.Operands = make([]int, len(n.Inputs))
		r := RuleOf(n)
		for slot := range n.Inputs {
			np.Operands[slot] = None
			if np.Int8 && np.LSTM == nil && !b.Idle(n) && b.IsActivation(n.Inputs[slot]) {
				b.active[n.Inputs[slot]] = true
			}
		}
		if !np.Int8 || b.Idle(n) || np.LSTM != nil {
			continue
		}
		if r.Int8.Rule == op.Reads {
			continue // its output is no quantized number
		}
		for _, t := range n.Outputs {
			b.active[t] = true
			if r.Int8.Rule == op.Fixed {
				output := prescribed(r.Int8.Output)
				if np.Wide {
					output = prescribed(r.Int16.Output)
					output.Wide = true
				}
				b.fixed[t] = &output
			}
		}
	}
	for _, l := range b.LSTMs {
		b.markLSTM(l)
	}
	if b.Options.IO == IOInt8 {
		for _, t := range append(append([]int(nil), b.Graph.Inputs...), b.Graph.Outputs...) {
			b.active[t] = b.active[t] || b.IsActivation(t) && !b.holdsIDs(t)
		}
	}
	for t, known := range b.Options.Known {
		if (b.active[t] || b.Graph.Tensors[t].Const != nil) && b.fixed[t] == nil && known.Wide == b.wide[t] {
			known := known
			b.fixed[t] = &known
		}
	}
}

// widths decides of every tensor whether its own quantization is int16: as the node that makes it, else as the first that reads it, else
// as is asked for.
func (b *builder) widths() {
	for t := range b.Graph.Tensors {
		tensor := &b.Graph.Tensors[t]
		if tensor.Producer >= 0 && b.Nodes[tensor.Producer].Int8 && !b.Idle(&b.Graph.Nodes[tensor.Producer]) {
			b.wide[t] = b.Nodes[tensor.Producer].Wide
			continue
		}
		reader := slices.IndexFunc(tensor.Consumers, func(i int) bool { return b.Nodes[i].Int8 && !b.Idle(&b.Graph.Nodes[i]) })
		switch known, ok := b.Options.Known[t]; {
		case reader >= 0:
			b.wide[t] = b.Nodes[tensor.Consumers[reader]].Wide
		case b.Options.Width == AsKnown && ok:
			b.wide[t] = known.Wide
		default:
			b.wide[t] = b.Options.Width == Wide
		}
	}
}

// as returns what stands for a tensor as operators of a width read it: the tensor itself if it has that width.
func (b *builder) as(t int, wide bool) int {
	if b.wide[t] == wide {
		return t
	}
	at, ok := b.forms[form{t, wide}]
	if !ok {
		at = b.groups.Grow(1)[0]
		b.forms[form{t, wide}] = at
		b.wide = append(b.wide, wide)
	}
	return at
}

// holdsIDs reports whether a model's input holds whole numbers as floats, such as the ids of an embedding: all that reads it makes
// integers of it, and a code would stand for another one.
func (b *builder) holdsIDs(t int) bool {
	readers := b.Graph.Tensors[t].Consumers
	return contains(b.Graph.Inputs, t) && !contains(b.Graph.Outputs, t) && len(readers) > 0 && !slices.ContainsFunc(readers, func(i int) bool {
		cast, ok := b.Graph.Nodes[i].Attr.(ir.Cast)
		return !ok || cast.To != schema.TensorTypeINT32 && cast.To != schema.TensorTypeINT64
	})
}

// uniteAlike joins the tensors that are to share a quantization by the options. One that an operator prescribes, as TANH does for a state that it
// sets, is that of all.
func (b *builder) uniteAlike() {
	first := map[int]int{} // by class
	for t, class := range b.Options.Alike {
		if class == None || !b.active[t] {
			continue
		}
		if s, ok := first[class]; !ok {
			first[class] = t
		} else if f, g := b.fixed[b.groups.Root(s)], b.fixed[b.groups.Root(t)]; b.wide[s] == b.wide[t] && (f == nil || g == nil || *f == *g) {
			b.join(s, t)
		}
	}
}

// unite joins what must share a quantization and notes for every operand the tensor whose group it is read in.
func (b *builder) unite() {
	for i := range b.Graph.Nodes {
		n, np := &b.Graph.Nodes[i], &b.Nodes[i]
		r := RuleOf(n)
		if np.LSTM != nil {
			if i == np.LSTM.Nodes[0] {
				b.uniteLSTM(np.LSTM)
			}
			continue
		}
		if !np.Int8 || b.Idle(n) {
			continue
		}
		if r.Int8.Rule == op.Same {
			b.uniteNode(n)
		}
		for slot, t := range n.Inputs {
			switch {
			case t < 0 || !b.isOperand(n, r, slot):
			case r.Int8.Rule == op.Same && (b.Graph.Tensors[t].Const != nil || b.groups.Root(t) != b.groups.Root(n.Outputs[0])):
				np.Operands[slot] = n.Outputs[0] // a constant takes the group's quantization; an activation needs a QUANTIZE
			default:
				np.Operands[slot] = b.as(t, np.Wide)
			}
		}
	}
}

// isOperand reports whether an input slot of an int8 node holds quantized values (not weights, biases, shapes, axes).
func (b *builder) isOperand(n *ir.Node, r *op.Op, slot int) bool {
	return r.Slot(slot) == op.Data && b.Graph.Tensors[n.Inputs[slot]].Type == schema.TensorTypeFLOAT32
}

// uniteNode joins the inputs and outputs of a node that wants one quantization. An input whose quantization is fixed joins
// only if that does not impose it on others: otherwise it is requantized on its way in.
func (b *builder) uniteNode(n *ir.Node) {
	out := n.Outputs[0]
	for _, t := range n.Outputs[1:] {
		b.joinIfAlike(out, t)
	}
	var inputs []int
	for _, t := range n.Inputs {
		if b.IsActivation(t) && b.wide[t] == b.wide[out] {
			inputs = append(inputs, t)
		}
	}
	if b.fixed[b.groups.Root(out)] == nil && b.allFixedAlike(inputs) {
		for _, t := range inputs {
			b.join(out, t)
		}
		return
	}
	for _, t := range inputs {
		if b.fixed[b.groups.Root(t)] == nil && b.fixed[b.groups.Root(out)] == nil {
			b.join(out, t)
		} else {
			b.joinIfAlike(out, t)
		}
	}
}

// allFixedAlike reports whether every tensor has one and the same fixed quantization.
func (b *builder) allFixedAlike(tensors []int) bool {
	for _, t := range tensors {
		f, first := b.fixed[b.groups.Root(t)], b.fixed[b.groups.Root(tensors[0])]
		if f == nil || *f != *first {
			return false
		}
	}
	return len(tensors) > 0
}

// joinIfAlike joins two tensors that are fixed alike, or both free.
func (b *builder) joinIfAlike(s, t int) {
	f, g := b.fixed[b.groups.Root(s)], b.fixed[b.groups.Root(t)]
	if (f == nil) == (g == nil) && (f == nil || *f == *g) {
		b.join(s, t)
	}
}

// number turns roots into group indices, in order of their first tensor, and fills the plan.
func (b *builder) number() {
	index := map[int]int{}
	group := func(t int) int {
		r := b.groups.Root(t)
		g, ok := index[r]
		if !ok {
			g = len(b.Groups)
			index[r] = g
			b.Groups = append(b.Groups, Group{Fixed: b.fixed[r], Wide: b.wide[r]})
		}
		return g
	}
	for t := range b.Tensor {
		b.Tensor[t] = None
		if b.active[t] {
			g := group(t)
			b.Tensor[t] = g
			b.Groups[g].Tensors = append(b.Groups[g].Tensors, t)
			b.Groups[g].Input = b.Groups[g].Input || contains(b.Graph.Inputs, t)
		}
	}
	for i := range b.Nodes {
		for slot, t := range b.Nodes[i].Operands {
			if t != None {
				b.Nodes[i].Operands[slot] = group(t)
			}
		}
	}
}

// sources finds for every group the tensors whose values decide its range.
func (b *builder) sources() {
	add := func(g, t int) {
		if b.Groups[g].Fixed == nil && !contains(b.Groups[g].Sources, t) {
			b.Groups[g].Sources = append(b.Groups[g].Sources, t)
		}
	}
	for g := range b.Groups {
		for _, t := range b.Groups[g].Tensors {
			if producer := b.Graph.Tensors[t].Producer; producer < 0 || !b.derived(producer) {
				add(g, t)
			}
		}
	}
	for i := range b.Nodes {
		for slot, g := range b.Nodes[i].Operands {
			if t := b.Graph.Nodes[i].Inputs[slot]; g != None && b.Tensor[t] != g {
				add(g, t)
			}
		}
	}
}

// derived reports whether a node's outputs lie within the range of its inputs, all of which are in the same group or added to
// it as sources.
func (b *builder) derived(node int) bool {
	return b.Nodes[node].Int8 && b.Nodes[node].LSTM == nil && RuleOf(&b.Graph.Nodes[node]).Int8.Rule == op.Same
}
