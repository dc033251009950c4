package leaf

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// sequence holds an LSTM of a leaf, step by step, to what its cells are in exact arithmetic, given the codes of its inputs and, at each step, those
// of its own outputs one step before. What the kernel's roundings may have made of a cell by then is summed up beside it.
type sequence struct {
	Agreement
	x, y           operand
	batch, steps   int
	timeMajor      bool
	inputs, units  int
	gates          [len(ir.LSTMGates)]gate
	cell           float64 // the scale of the cell's state
	clip           float64 // its largest magnitude
	values, before []float64
	state, error   []float64 // of a sequence's cells, and how far the kernel's may be from them
}

// gate is one of its gates: weights and biases as real values.
type gate struct{ w, r, bias []float64 }

// How far LiteRT's logistic and hyperbolic tangent of 16 bits are from the functions at most, over all inputs of up to six integer bits.
const (
	logisticError = 7.0 / (1 << 15)
	tanhError     = 12.5 / (1 << 15)
)

// newSequence reads an LSTM of a leaf.
func newSequence(g *ir.Graph, n *ir.Node) (*sequence, error) {
	attr, x := n.Attr.(ir.SequenceLSTM), g.Input(n, 0)
	cell := g.Input(n, ir.LSTMStates+1)
	if attr.Unsupported != "" || cell == nil || cell.Quant == nil {
		return nil, fmt.Errorf("%s: its cell state has no scale", n)
	}
	s := &sequence{
		Agreement: Agreement{Node: n.Index, Name: g.Output(n, 0).Name, Op: n.Op.String()},
		x:         operand{x.Index, paramsOf(x)}, y: operand{n.Outputs[0], paramsOf(g.Output(n, 0))},
		batch: x.Shape[0], steps: x.Shape[1], inputs: x.Shape[2], units: g.Output(n, 0).Shape[2], timeMajor: attr.TimeMajor, cell: scaleOf(cell),
	}
	if s.clip = math.MaxInt16 * s.cell; attr.CellClip > 0 {
		s.clip = min(s.clip, float64(attr.CellClip))
	}
	if attr.TimeMajor {
		s.batch, s.steps = s.steps, s.batch
	}
	for k := range s.gates {
		w, r, bias := g.Input(n, ir.LSTMWeights+k), g.Input(n, ir.LSTMRecurrent+k), g.Input(n, ir.LSTMBiases+k)
		if w == nil {
			continue
		}
		s.gates[k] = gate{w: real(w), r: real(r)}
		for _, code := range bias.Ints() {
			s.gates[k].bias = append(s.gates[k].bias, float64(code)*scaleOf(x)*scaleOf(w))
		}
	}
	s.values, s.before = make([]float64, s.inputs), make([]float64, s.units)
	s.state, s.error = make([]float64, s.units), make([]float64, s.units)
	return s, nil
}

// real are the values of constant weights.
func real(t *ir.Tensor) []float64 {
	values, scale := make([]float64, t.Numel()), scaleOf(t)
	for i, code := range t.Int8s() {
		values[i] = float64(code) * scale
	}
	return values
}

// compare adds a sample.
func (s *sequence) compare(e *integer.Executor) {
	x, y := e.Tensor(s.x.tensor), e.Tensor(s.y.tensor)
	for b := range s.batch {
		clear(s.before)
		clear(s.state)
		clear(s.error)
		for t := range s.steps {
			at := b*s.steps + t
			if s.timeMajor {
				at = t*s.batch + b
			}
			for j := range s.values {
				s.values[j] = float64(s.x.params.Dequantize(s.x.params.Code(x, at*s.inputs+j)))
			}
			for i := range s.units {
				s.unit(i, s.y.params.Code(y, at*s.units+i))
			}
			for i := range s.before {
				s.before[i] = float64(s.y.params.Dequantize(s.y.params.Code(y, at*s.units+i)))
			}
		}
	}
	s.Values += int64(s.batch * s.steps * s.units)
}

// unit moves a cell on by one step and compares its output, code q.
func (s *sequence) unit(i, q int) {
	forget, forgetError := s.logistic(1, i)
	enters, entersError := 1-forget, forgetError
	if s.gates[0].w != nil {
		enters, entersError = s.logistic(0, i)
	}
	sum := s.sum(2, i)
	candidate := math.Tanh(sum)
	candidateError := (1-candidate*candidate)*sumError + sumError*sumError + tanhError
	leaves, leavesError := s.logistic(3, i)

	cell, e := s.state[i], s.error[i]
	s.error[i] = forget*e + forgetError*(math.Abs(cell)+e) + enters*candidateError + entersError*(math.Abs(candidate)+candidateError) + s.cell
	s.state[i] = min(max(forget*cell+enters*candidate, -s.clip-s.cell), s.clip)

	active := math.Tanh(s.state[i])
	activeError := (1-active*active)*s.error[i] + s.error[i]*s.error[i] + tanhError
	value := leaves*active/float64(s.y.params.Scale) + float64(s.y.params.ZeroPoint)
	slack := (leaves*activeError + leavesError*(math.Abs(active)+activeError)) / float64(s.y.params.Scale)
	nearest := s.y.params.Quantize(float32(leaves * active))
	if q == nearest {
		return
	}
	s.Differ++
	if math.Abs(float64(q)-value) <= 0.5+slack {
		return
	}
	s.Off++
	s.Worst = max(s.Worst, int(math.Abs(float64(q-nearest))))
}

// sumError is how far the kernel's sum of a gate may be from the exact one: two products, each rounded to a fraction of a code and then to a code of
// 2⁻¹².
const sumError = 2.0 / (1 << 12)

// sum is what gate k of a unit is a function of.
func (s *sequence) sum(k, i int) float64 {
	g := &s.gates[k]
	of := g.bias[i]
	for j, v := range s.values {
		of += v * g.w[i*s.inputs+j]
	}
	of = within(of)
	for j, v := range s.before {
		of += v * g.r[i*s.units+j]
	}
	return within(of)
}

// within keeps a sum where 16 bits have it.
func within(x float64) float64 { return min(max(x, -8), 8) }

// logistic is gate k of a unit, and how far the kernel's may be from it.
func (s *sequence) logistic(k, i int) (value, e float64) {
	value = 1 / (1 + math.Exp(-s.sum(k, i)))
	return value, value*(1-value)*sumError + sumError*sumError + logisticError
}

// isSequence reports whether an operator of a leaf is an LSTM that computes codes from codes.
func isSequence(g *ir.Graph, n *ir.Node) bool {
	return n.Op == schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM && isQuantized(g.Output(n, 0))
}
