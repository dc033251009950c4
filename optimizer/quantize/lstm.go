package quantize

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// LSTM is an int8 UNIDIRECTIONAL_SEQUENCE_LSTM that steps are written as. Its arithmetic is that of the reference kernel: inputs, outputs and weights
// of 8 bits, a scale each, weights one per gate; sums of products in int16 of the scale 2⁻¹²; the cell's state in int16 of a scale that is a power of two; gates in
// 15 bits.
type LSTM struct {
	*ir.LSTMSteps
	// Input and Cell are groups: that which X is read in, and that of the cell's state. The output's is that of Output.
	Input, Cell int
}

// gateScale is that of the sums that gates are functions of.
const gateScale = 1.0 / (1 << 12)

// The powers of two that LiteRT's kernel takes as scale of the cell's state.
const (
	LeastCellPower    = -15
	GreatestCellPower = -9
)

// fuse finds the layers that become one operator.
func (p *Plan) fuse() {
	if !p.Options.Fuse {
		return
	}
	for _, steps := range ir.FindLSTMs(p.Graph) {
		if why := p.whySteps(steps); why != "" {
			p.Stepwise = append(p.Stepwise, fmt.Sprintf("the LSTM that gives %s stays its %d steps in leaves, several times the size of one operator: %s", p.name(steps.Output), len(steps.Hidden), why))
			continue
		}
		l := &LSTM{LSTMSteps: steps, Input: None, Cell: None}
		p.LSTMs = append(p.LSTMs, l)
		for _, i := range steps.Nodes {
			p.Nodes[i].LSTM = l
		}
	}
}

// whySteps returns why a layer stays its steps, "" if it does not.
func (p *Plan) whySteps(l *ir.LSTMSteps) string {
	for _, t := range []int{l.Kernel, l.Recurrent} {
		if why := p.Options.Steps[t]; why != "" {
			return why
		}
	}
	for _, i := range l.Nodes {
		n, np := &p.Graph.Nodes[i], &p.Nodes[i]
		switch {
		case !np.Int8:
			return np.Why
		case np.Wide:
			return "its activations are int16, and only of Int8 ones it is one operator"
		case RuleOf(n).Weights != nil && p.bits(n, n.Inputs[RuleOf(n).Find(op.Weight)]) == Four:
			return "its weights have 4 bits, and only of Int8 ones it is one operator"
		}
		for _, t := range n.Outputs {
			if _, known := p.Options.Known[t]; known && t != l.Output {
				return "the network was given quantized, as its steps; give the float one"
			}
		}
	}
	return ""
}

// markLSTM notes which tensors of a layer have an integer form, and the quantization of its sums.
func (b *builder) markLSTM(l *LSTM) {
	for _, t := range l.Sums {
		b.active[t], b.wide[t] = true, true
		b.fixed[t] = &Params{Scale: gateScale, Wide: true}
	}
	for _, t := range l.Cells {
		b.active[t], b.wide[t] = true, true
	}
	for _, t := range append([]int{l.X, l.Output}, l.Hidden...) {
		b.active[t] = true
	}
}

// uniteLSTM joins what is one tensor of a layer.
func (b *builder) uniteLSTM(l *LSTM) {
	for _, t := range l.Sums[1:] {
		b.join(l.Sums[0], t)
	}
	for _, t := range l.Cells[1:] {
		b.join(l.Cells[0], t)
	}
	for _, t := range l.Hidden {
		b.join(l.Output, t)
	}
	for _, i := range l.Nodes {
		n := &b.Graph.Nodes[i]
		if n.Op != schema.BuiltinOperatorFULLY_CONNECTED {
			continue
		}
		b.Nodes[i].Operands[0] = b.as(n.Inputs[0], false)
	}
}

// findStates notes the groups of the layers' tensors.
func (b *builder) findStates() {
	for _, l := range b.LSTMs {
		l.Cell = b.Tensor[l.Cells[0]]
		b.Groups[l.Cell].Cell = true
		for _, i := range l.Nodes {
			if n := &b.Graph.Nodes[i]; n.Op == schema.BuiltinOperatorFULLY_CONNECTED && n.Inputs[1] == l.Kernel {
				l.Input = b.Nodes[i].Operands[0]
			}
		}
	}
}

// CellParams are the parameters of an LSTM's cell state: int16, the scale the least power of two that holds the range, within those that kernels take.
func (r Range) CellParams() Params {
	r = r.widen()
	power := math.Ceil(math.Log2(float64(max(-r.Min, r.Max)))) - 15
	return Params{Scale: float32(math.Exp2(min(max(power, LeastCellPower), GreatestCellPower))), Wide: true}
}
