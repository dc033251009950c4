package ir

import (
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// LSTMSteps are operators that together are one UNIDIRECTIONAL_SEQUENCE_LSTM with four gates that activates by TANH: those that Specialize
// writes for it. Tensors are indices of the graph.
type LSTMSteps struct {
	// Nodes are the operators, in order; the last, a PACK, gives Output.
	Nodes []int
	// X [batch, steps, inputs], or [steps, batch, inputs] if TimeMajor, is what is read, Output [batch, steps, cells] what is given.
	X, Output int
	TimeMajor bool
	// Kernel [4·cells, inputs] and Recurrent [4·cells, cells] are the weights of the gates input, forget, cell and output, one after the other, Bias
	// [4·cells] their biases, −1 if there are none.
	Kernel, Recurrent, Bias int
	// Sums are the products by weights, and the sums of two, that gates are functions of. Cells are the cell's states and Hidden the outputs, in order
	// of steps.
	Sums, Cells, Hidden []int
	// CellClip bounds the magnitude of the cell's state; 0: nothing does.
	CellClip float32
	// Batch, Inputs and Units are sizes.
	Batch, Inputs, Units int
}

// FindLSTMs finds the layers that Specialize wrote as their steps, as long as nothing else reads what is between these.
func FindLSTMs(g *Graph) []*LSTMSteps {
	var found []*LSTMSteps
	for i := range g.Nodes {
		if g.Nodes[i].Op != schema.BuiltinOperatorPACK {
			continue
		}
		f := &lstmFinder{g: g, lstm: &LSTMSteps{Bias: -1, Recurrent: -1}, own: map[int]bool{i: true}}
		if f.read(&g.Nodes[i]) {
			found = append(found, f.lstm)
		}
	}
	return found
}

// lstmFinder reads one layer from its end.
type lstmFinder struct {
	g      *Graph
	lstm   *LSTMSteps
	own    map[int]bool // the operators found so far
	unpack *Node
}

// by returns the operator that makes a tensor and counts it to the layer; nil if it is another than code or has an activation.
func (f *lstmFinder) by(t int, code schema.BuiltinOperator) *Node {
	if t < 0 || f.g.Tensors[t].Producer < 0 {
		return nil
	}
	n := &f.g.Nodes[f.g.Tensors[t].Producer]
	if n.Op != code || n.Folded {
		return nil
	}
	switch attr := n.Attr.(type) {
	case Binary:
		if attr.Act != None {
			return nil
		}
	case FullyConnected:
		if attr.Act != None || !attr.KeepDims && len(f.g.Output(n, 0).Shape) != 2 {
			return nil
		}
	}
	f.own[n.Index] = true
	return n
}

// of returns the only input of the operator that makes a tensor, −1 if that is another than code.
func (f *lstmFinder) of(t int, code schema.BuiltinOperator) int {
	n := f.by(t, code)
	if n == nil || len(n.Inputs) != 1 {
		return -1
	}
	return n.Inputs[0]
}

// both returns the two inputs of the operator that makes a tensor, −1 if that is another than code.
func (f *lstmFinder) both(t int, code schema.BuiltinOperator) (a, b int) {
	n := f.by(t, code)
	if n == nil || len(n.Inputs) != 2 {
		return -1, -1
	}
	return n.Inputs[0], n.Inputs[1]
}

// read reads the layer that ends in a PACK.
func (f *lstmFinder) read(pack *Node) bool {
	l := f.lstm
	attr, ok := pack.Attr.(Pack)
	if !ok || len(pack.Inputs) < 2 || attr.Axis > 1 || len(f.g.Output(pack, 0).Shape) != 3 {
		return false
	}
	l.TimeMajor, l.Output, l.Hidden = attr.Axis == 0, pack.Outputs[0], slices.Clone(pack.Inputs)
	for t := range l.Hidden {
		if !f.step(t) {
			return false
		}
	}
	return f.begin(attr.Axis) && f.sizes() && f.closed()
}

// step reads step t, whose output is known.
func (f *lstmFinder) step(t int) bool {
	l := f.lstm
	leaves, active := f.both(l.Hidden[t], schema.BuiltinOperatorMUL)
	gate, cell := f.of(leaves, schema.BuiltinOperatorLOGISTIC), f.of(active, schema.BuiltinOperatorTANH)
	split := f.by(gate, schema.BuiltinOperatorSPLIT)
	if split == nil || cell < 0 || len(split.Outputs) != 4 || split.Outputs[outputGate] != gate {
		return false
	}
	parted, ok := split.Attr.(Split)
	if !ok || parted.Axis != len(f.g.Output(split, 0).Shape)-1 {
		return false
	}
	sum := split.Inputs[parted.Data]
	l.Cells = append(l.Cells, cell)
	state, ok := f.unclipped(t, cell)
	if !ok {
		return false
	}
	entering := state
	if t > 0 {
		kept, added := f.both(state, schema.BuiltinOperatorADD)
		forget, before := f.both(kept, schema.BuiltinOperatorMUL)
		if before != l.Cells[t-1] || f.of(forget, schema.BuiltinOperatorLOGISTIC) != split.Outputs[forgetGate] {
			return false
		}
		entering = added
	}
	enters, candidate := f.both(entering, schema.BuiltinOperatorMUL)
	if enters < 0 || f.of(enters, schema.BuiltinOperatorLOGISTIC) != split.Outputs[inputGate] || f.of(candidate, schema.BuiltinOperatorTANH) != split.Outputs[cellGate] {
		return false
	}
	part := sum
	if t > 0 {
		var back int
		part, back = f.both(sum, schema.BuiltinOperatorADD)
		dense := f.by(back, schema.BuiltinOperatorFULLY_CONNECTED)
		if dense == nil || dense.Inputs[0] != l.Hidden[t-1] || f.g.Input(dense, 2) != nil || l.Recurrent >= 0 && dense.Inputs[1] != l.Recurrent {
			return false
		}
		l.Recurrent = dense.Inputs[1]
		l.Sums = append(l.Sums, back, sum)
	}
	unpack := f.by(part, schema.BuiltinOperatorUNPACK)
	if unpack == nil || f.unpack != nil && f.unpack != unpack || t >= len(unpack.Outputs) || unpack.Outputs[t] != part {
		return false
	}
	f.unpack = unpack
	return true
}

// unclipped is the cell's state before it is kept within ±CellClip, which is the same at all steps.
func (f *lstmFinder) unclipped(t, cell int) (state int, ok bool) {
	clip := float32(0)
	state = cell
	if producer := f.g.Tensors[cell].Producer; producer >= 0 && f.g.Nodes[producer].Op == schema.BuiltinOperatorMAXIMUM {
		bounded, low := f.both(cell, schema.BuiltinOperatorMAXIMUM)
		inner, high := f.both(bounded, schema.BuiltinOperatorMINIMUM)
		if inner < 0 {
			return -1, false
		}
		lows, highs := f.g.Tensors[low].Float32s(), f.g.Tensors[high].Float32s()
		if len(lows) != 1 || len(highs) != 1 || lows[0] != -highs[0] || !(highs[0] > 0) {
			return -1, false
		}
		state, clip = inner, highs[0]
	}
	if t > 0 && clip != f.lstm.CellClip {
		return -1, false
	}
	f.lstm.CellClip = clip
	return state, true
}

// begin reads the product of the whole sequence.
func (f *lstmFinder) begin(axis int) bool {
	l := f.lstm
	if attr, ok := f.unpack.Attr.(Unpack); !ok || attr.Axis != axis || len(f.unpack.Outputs) != len(l.Hidden) {
		return false
	}
	all := f.unpack.Inputs[0]
	dense := f.by(all, schema.BuiltinOperatorFULLY_CONNECTED)
	if dense == nil || len(f.g.Input(dense, 0).Shape) != 3 || len(f.g.Tensors[all].Shape) != 3 {
		return false
	}
	l.X, l.Kernel = dense.Inputs[0], dense.Inputs[1]
	if bias := f.g.Input(dense, 2); bias != nil {
		l.Bias = bias.Index
	}
	l.Sums = append(l.Sums, all)
	return true
}

// sizes reads them and reports whether weights are constants of them.
func (f *lstmFinder) sizes() bool {
	l := f.lstm
	x, kernel, recurrent := &f.g.Tensors[l.X], &f.g.Tensors[l.Kernel], &f.g.Tensors[l.Recurrent]
	l.Batch, l.Inputs, l.Units = x.Shape[0], x.Shape[2], recurrent.Shape[1]
	if l.TimeMajor {
		l.Batch = x.Shape[1]
	}
	constant := kernel.Float32s() != nil && recurrent.Float32s() != nil && (l.Bias < 0 || f.g.Tensors[l.Bias].Float32s() != nil)
	return constant && slices.Equal(kernel.Shape, []int{4 * l.Units, l.Inputs}) && slices.Equal(recurrent.Shape, []int{4 * l.Units, l.Units})
}

// closed reports whether the operators' results are read by them alone, but for the output, and are none of the network's.
func (f *lstmFinder) closed() bool {
	l := f.lstm
	l.Nodes = slices.Sorted(maps.Keys(f.own))
	for _, i := range l.Nodes {
		for _, t := range f.g.Nodes[i].Outputs {
			if t == l.Output {
				continue
			}
			if slices.Contains(f.g.Outputs, t) || slices.ContainsFunc(f.g.Tensors[t].Consumers, func(reader int) bool { return !f.own[reader] }) {
				return false
			}
		}
	}
	return true
}
