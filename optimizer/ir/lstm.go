package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Where the inputs of UNIDIRECTIONAL_SEQUENCE_LSTM begin; gates come in the order input, forget, cell, output.
const (
	LSTMWeights    = 1  // one a gate
	LSTMRecurrent  = 5  // one a gate
	lstmPeepholes  = 9  // of the input, forget and output gate
	LSTMBiases     = 12 // one a gate
	lstmProjection = 16 // weights, bias
	LSTMStates     = 18 // of the output, of the cell
	lstmNorms      = 20 // one a gate
)

// The gates.
const (
	inputGate = iota
	forgetGate
	cellGate
	outputGate
)

// LSTMGates are the gates' names, in order.
var LSTMGates = [...]string{inputGate: "input", forgetGate: "forget", cellGate: "cell", outputGate: "output"}

// lstm is UNIDIRECTIONAL_SEQUENCE_LSTM (Hochreiter and Schmidhuber, 1997; gates as Sak et al., arXiv 1402.1128):
// c ← σ(f)·c + σ(i)·act(g), h ← σ(o)·act(c), where without an input gate σ(i) is 1 − σ(f).
type lstm struct {
	*unroller
	gates            []int // those there are, as they lie in the matrices
	act              schema.ActivationFunctionType
	cellClip, clip   float32
	recurrent        int32 // constants of the rewritten model, −1: absent
	peepholes        [4]int32
	projection, bias int32
	one              int32 // the number 1, where there is no input gate
	cell, output     int32 // the states, −1: zeros
}

// sequenceLSTM infers it; Specialize writes it as its steps.
func sequenceLSTM(c *call) error {
	o, err := options[schema.UnidirectionalSequenceLSTMOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.sequence(o.TimeMajor, LSTMWeights+forgetGate, LSTMRecurrent+forgetGate); err != nil {
		return err
	}
	attr := SequenceLSTM{TimeMajor: o.TimeMajor, CellClip: o.CellClip, Hidden: -1}
	if c.in(0).Type == schema.TensorTypeINT8 {
		c.quantizedLSTM(&attr, o)
	}
	c.n.Attr = attr
	return nil
}

// Multiplications are those of the steps that the layer stands for.
func (a SequenceLSTM) Multiplications(g *Graph, n *Node) int64 {
	gates := func(first int) []int {
		return []int{first + inputGate, first + forgetGate, first + cellGate, first + outputGate}
	}
	count := stepMultiplications(g, n, a.TimeMajor, gates(LSTMWeights), gates(LSTMRecurrent))
	if w := g.Input(n, lstmProjection); w != nil {
		out := g.Output(n, 0)
		count += int64(out.Shape[0]) * int64(out.Shape[1]) * int64(w.Numel())
	}
	return count
}

// quantizedLSTM describes a layer of int8, which is run as it is.
func (c *call) quantizedLSTM(attr *SequenceLSTM, o *schema.UnidirectionalSequenceLSTMOptionsT) {
	const hidden = 4 // of the intermediate tensors
	if list := c.Model.Subgraph().Operators[c.n.Index].Intermediates; len(list) > hidden {
		attr.Hidden = int(list[hidden])
	}
	for what, slots := range map[string][2]int{
		"peephole connections": {lstmPeepholes, 3}, "a projection": {lstmProjection, 2}, "layer normalization": {lstmNorms, 4},
	} {
		for i := range slots[1] {
			if c.in(slots[0]+i) != nil {
				attr.Unsupported = what + " inside a quantized one are not supported: give the float model"
			}
		}
	}
	if o.FusedActivationFunction != schema.ActivationFunctionTypeTANH {
		attr.Unsupported = "of quantized ones only those that activate by TANH are supported: give the float model"
	}
}

// newLSTM reads a layer; nil if it does not compute with floats.
func newLSTM(u *unroller) (cell, error) {
	o, _ := u.operator.BuiltinOptions.Value.(*schema.UnidirectionalSequenceLSTMOptionsT)
	if o == nil {
		o = &schema.UnidirectionalSequenceLSTMOptionsT{}
	}
	u.timeMajor = o.TimeMajor
	if o.DiagonalRecurrentTensors {
		return nil, u.fail("diagonal recurrent weights are not supported: export the model with whole ones")
	}
	for i := lstmNorms; i < lstmNorms+4; i++ {
		if u.tensor(i) != nil {
			return nil, u.fail("layer normalization inside is not supported: export the model unrolled, so that its steps are operators of their own")
		}
	}
	l := &lstm{unroller: u, act: o.FusedActivationFunction, cellClip: o.CellClip, clip: o.ProjClip, cell: -1, output: -1, one: -1}
	for gate := inputGate; gate <= outputGate; gate++ {
		if u.tensor(LSTMWeights+gate) != nil {
			l.gates = append(l.gates, gate)
		}
	}
	if len(l.gates) < 3 || len(l.gates) == 3 && l.gates[0] == inputGate {
		return nil, u.fail("it lacks the weights of a gate")
	}
	if err := u.stateless(LSTMStates, LSTMStates+1); err != nil {
		return nil, err
	}
	return l, l.read()
}

// stays says why leaves have the steps: what an int8 kernel does not compute.
func (l *lstm) stays() string {
	switch {
	case len(l.gates) < len(LSTMGates):
		return "an int8 operator has all gates; export the layer with an input gate, as Keras has it, to have one"
	case slices.Max(l.peepholes[:]) >= 0:
		return "an int8 operator has no peephole connections; export the layer without, as Keras has it, to have one"
	case l.projection >= 0:
		return "an int8 operator has no projection; export that as a layer of its own to have one"
	case l.act != schema.ActivationFunctionTypeTANH:
		return "an int8 operator activates by TANH; train the layer so to have one"
	}
	return ""
}

// read joins the matrices of the gates and takes over what else is constant.
func (l *lstm) read() (err error) {
	at := func(first int) (slots []int) {
		for _, gate := range l.gates {
			slots = append(slots, first+gate)
		}
		return slots
	}
	if l.kernel, err = l.joined("kernel", at(LSTMWeights)); err != nil {
		return err
	}
	if l.recurrent, err = l.joined("recurrent_kernel", at(LSTMRecurrent)); err != nil {
		return err
	}
	if l.biases, err = l.joined("bias", at(LSTMBiases)); err != nil {
		return err
	}
	l.peepholes = [4]int32{-1, -1, -1, -1}
	for k, gate := range []int{inputGate, forgetGate, outputGate} {
		if l.tensor(lstmPeepholes+k) != nil && slices.Contains(l.gates, gate) {
			l.peepholes[gate] = l.input(lstmPeepholes + k)
		}
	}
	l.projection, l.bias = l.input(lstmProjection), l.input(lstmProjection+1)
	if l.gates[0] != inputGate {
		l.one = l.constant("one", []float32{1}, 1)
	}
	return nil
}

// step writes one step and returns its output.
func (l *lstm) step(x int32) int32 {
	if l.output >= 0 {
		x = l.binary(schema.BuiltinOperatorADD, x, l.dense(l.output, l.recurrent, -1))
	}
	parts := l.split(x, len(l.gates))
	var gate [4]int32
	for k, g := range l.gates {
		gate[g] = parts[k]
	}
	forget := int32(-1)
	if l.cell >= 0 || l.one >= 0 {
		forget = l.logistic(forgetGate, gate[forgetGate], l.cell)
	}
	var enters int32
	if l.one >= 0 {
		enters = l.binary(schema.BuiltinOperatorSUB, l.one, forget)
	} else {
		enters = l.logistic(inputGate, gate[inputGate], l.cell)
	}
	cell := l.binary(schema.BuiltinOperatorMUL, enters, l.activate(l.act, gate[cellGate]))
	if l.cell >= 0 {
		cell = l.binary(schema.BuiltinOperatorADD, l.binary(schema.BuiltinOperatorMUL, forget, l.cell), cell)
	}
	l.cell = l.clipped(cell, l.cellClip)
	leaves := l.logistic(outputGate, gate[outputGate], l.cell)
	l.output = l.binary(schema.BuiltinOperatorMUL, leaves, l.activate(l.act, l.cell))
	if l.projection >= 0 {
		l.output = l.clipped(l.dense(l.output, l.projection, l.bias), l.clip)
	}
	return l.output
}

// logistic writes a gate, which may look at the cell.
func (l *lstm) logistic(gate int, x, cell int32) int32 {
	if w := l.peepholes[gate]; w >= 0 && cell >= 0 {
		x = l.binary(schema.BuiltinOperatorADD, x, l.binary(schema.BuiltinOperatorMUL, cell, w))
	}
	return l.unary(schema.BuiltinOperatorLOGISTIC, x)
}

// rnn is UNIDIRECTIONAL_SEQUENCE_RNN: h ← act(x·W + h·R + b).
type rnn struct {
	*unroller
	act               schema.ActivationFunctionType
	recurrent, output int32
}

// sequenceRNN infers it, likewise.
func sequenceRNN(c *call) error {
	o, err := options[schema.SequenceRNNOptionsT](c)
	if err != nil {
		return err
	}
	c.n.Attr = SequenceRNN{TimeMajor: o.TimeMajor}
	return c.sequence(o.TimeMajor, 1, 2)
}

// Multiplications are those of the steps that the layer stands for.
func (a SequenceRNN) Multiplications(g *Graph, n *Node) int64 {
	return stepMultiplications(g, n, a.TimeMajor, []int{1}, []int{2})
}

// stays says that there is no int8 kernel.
func (r *rnn) stays() string {
	return "there is no int8 operator; an LSTM is one, where the network may have that"
}

func newRNN(u *unroller) (cell, error) {
	o, _ := u.operator.BuiltinOptions.Value.(*schema.SequenceRNNOptionsT)
	if o == nil {
		o = &schema.SequenceRNNOptionsT{}
	}
	u.timeMajor = o.TimeMajor
	r := &rnn{unroller: u, act: o.FusedActivationFunction, output: -1}
	if err := u.stateless(4); err != nil {
		return nil, err
	}
	var err error
	if u.kernel, err = u.joined("kernel", []int{1}); err != nil {
		return nil, err
	}
	if r.recurrent, err = u.joined("recurrent_kernel", []int{2}); err != nil {
		return nil, err
	}
	u.biases, err = u.joined("bias", []int{3})
	return r, err
}

func (r *rnn) step(x int32) int32 {
	if r.output >= 0 {
		x = r.binary(schema.BuiltinOperatorADD, x, r.dense(r.output, r.recurrent, -1))
	}
	r.output = r.activate(r.act, x)
	return r.output
}

// sequence gives the output the input's shape with as many channels as the recurrent weights read.
func (c *call) sequence(timeMajor bool, weights, recurrent int) error {
	for _, i := range []int{0, weights, recurrent} {
		rank := 2
		if i == 0 {
			rank = 3
		}
		if t := c.in(i); t == nil || len(t.Shape) != rank {
			return c.fail("input %d is missing or has not %d dimensions", i, rank)
		}
	}
	if timeMajor {
		c.mix("its samples are the second dimension")
	}
	x := c.in(0).Shape
	c.give([]int{x[0], x[1], c.in(recurrent).Shape[1]})
	return nil
}

// stepMultiplications are those of a recurrent layer by its weights of the input, at every step, and of the state, at every step but the first
// of a sequence, whose state is zeros. A layer of one step goes on from the call before.
func stepMultiplications(g *Graph, n *Node, timeMajor bool, weights, recurrent []int) int64 {
	x := g.Input(n, 0).Shape
	sequences, steps := int64(x[0]), int64(x[1])
	if timeMajor {
		sequences, steps = steps, sequences
	}
	count := int64(0)
	add := func(slots []int, times int64) {
		for _, slot := range slots {
			if w := g.Input(n, slot); w != nil {
				count += sequences * times * int64(w.Numel())
			}
		}
	}
	add(weights, steps)
	add(recurrent, max(1, steps-1))
	return count
}
