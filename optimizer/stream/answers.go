package stream

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// EachStep decides by the targets of samples whether a network with state is to answer at each of their steps: where a target has a value, a
// row or a class for each step of an output, and none is one of a single step. steps is how many samples have, 0 of a network without state
// or of samples that are none of its. Shapes are without the batch.
func EachStep(m *tflite.Model, samples, targets [][]int) (each bool, steps int) {
	m = m.Clone()
	if _, err := ir.Specialize(m, samples); err != nil {
		return false, 0
	}
	s, err := Open(m)
	if err != nil || s == nil || len(samples) == 0 {
		return false, 0
	}
	if steps, err = s.steps(samples); err != nil {
		return false, 0
	}
	one, all := false, false
	for _, target := range targets {
		size := 1
		for _, d := range target {
			size *= d
		}
		for _, t := range s.Model.Subgraph().Outputs[:len(s.Model.Subgraph().Outputs)-len(s.States)] {
			shape := s.Model.Subgraph().Tensors[t].Shape
			values, rows := elements(shape), elements(shape[:max(0, len(shape)-1)])
			one = one || size == values || size == rows
			all = all || size == steps*values || size == steps*rows
		}
	}
	return all && !one, steps
}

// answered is an output of a network that answers at each step.
type answered struct {
	from  int32   // tensor of the step
	tail  []int   // the step's operators behind it, which take rows for themselves: written once, for all steps
	parts []int32 // from, by step
}

// answers are the outputs of a network that is asked at each step; nil where the last step's alone count.
func (s *Step) answers(outputs []int32) ([]answered, error) {
	if !s.Model.EachStep() {
		return nil, nil
	}
	sub := s.Model.Subgraph()
	var out []answered
	for _, t := range outputs {
		if of := sub.Tensors[t]; len(of.Shape) < 2 || of.Shape[0] != 1 {
			return nil, fmt.Errorf("output %q is %v: to answer at each step it has the batch 1 and at least one dimension more", of.Name, of.Shape)
		}
		a := answered{from: t}
		for {
			i := slices.IndexFunc(sub.Operators, func(o *schema.OperatorT) bool { return slices.Contains(o.Outputs, a.from) })
			if i < 0 || !byRow(s.Model, sub.Operators[i]) {
				break
			}
			a.tail, a.from = append(a.tail, i), sub.Operators[i].Inputs[0]
		}
		slices.Reverse(a.tail)
		out = append(out, a)
	}
	return out, nil
}

// byRow reports whether an operator has one input, each row of which, or each value, gives one of the output.
func byRow(m *tflite.Model, o *schema.OperatorT) bool {
	switch code, _ := m.Op(o); code {
	case schema.BuiltinOperatorSOFTMAX, schema.BuiltinOperatorLOG_SOFTMAX, schema.BuiltinOperatorLOGISTIC, schema.BuiltinOperatorDEQUANTIZE:
		return len(o.Inputs) == 1 && o.Inputs[0] >= 0 && len(m.Subgraph().Tensors[o.Inputs[0]].Shape) > 1
	}
	return false
}

// together writes what all steps answer as one tensor: [1, steps, …] of [1, …], and [1, steps·n, …] of [1, n, …].
func (u *unroller) together(a *answered, operators []*schema.OperatorT) int32 {
	of := u.sub.Tensors[a.from].Shape
	long := slices.Clone(of)
	long[1] *= int32(u.Steps)
	all := u.add(int(a.from), long, int(a.from))
	u.op(schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, &schema.ConcatenationOptionsT{Axis: 1}, a.parts, all)
	if len(of) == 2 {
		long = []int32{1, int32(u.Steps), of[1]}
		rows := u.add(int(a.from), long, int(a.from))
		u.reshape(all, rows)
		all = rows
	}
	last := a.from
	for _, i := range a.tail {
		o := operators[i]
		last = o.Outputs[0]
		y := u.add(int(last), long, int(last))
		u.code = i
		u.write(&schema.OperatorT{OpcodeIndex: o.OpcodeIndex, Inputs: []int32{all}, Outputs: []int32{y}, BuiltinOptions: o.BuiltinOptions})
		u.code, all = None, y
	}
	u.moveSignature(last, all)
	return all
}
