package stream

import (
	"fmt"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Step is one call of a network with state.
type Step struct {
	// Model has every state as an input and an output, behind those that are none.
	Model  *tflite.Model
	States []State
	// inputs and outputs are those of the file, in its order, as tensors of Model.
	inputs, outputs []int32
}

// State is a value that a step hands on to the next.
type State struct {
	Name          string // the variable's, or the input's
	Input, Output int    // tensors of the Step's model
	variable      bool
}

// Open reads the steps of a network; nil if it keeps no state. m is not changed.
func Open(m *tflite.Model) (*Step, error) {
	pairs, err := m.States()
	if err != nil {
		return nil, err
	}
	if len(pairs) == 0 && !m.Assigns() && !remembers(m) {
		return nil, nil
	}
	s := &Step{Model: m.Clone()}
	for _, p := range pairs {
		s.States = append(s.States, State{Name: m.Subgraph().Tensors[p[0]].Name, Input: p[0], Output: p[1]})
	}
	if m.Assigns() {
		if err := s.openVariables(); err != nil {
			return nil, err
		}
	}
	if remembers(s.Model) {
		if err := s.openMemories(); err != nil {
			return nil, err
		}
	}
	sub := s.Model.Subgraph()
	s.inputs, s.outputs = slices.Clone(sub.Inputs), slices.Clone(sub.Outputs)
	for _, st := range s.States {
		if st.variable {
			s.inputs, s.outputs = without(s.inputs, st.Input), s.outputs[:len(s.outputs)-1]
		}
	}
	sub.Inputs, sub.Outputs = slices.Clone(s.inputs), slices.Clone(s.outputs)
	for _, st := range s.States {
		if !st.variable {
			sub.Inputs, sub.Outputs = without(sub.Inputs, st.Input), without(sub.Outputs, st.Output)
		}
	}
	for _, st := range s.States {
		sub.Inputs, sub.Outputs = append(sub.Inputs, int32(st.Input)), append(sub.Outputs, int32(st.Output))
		if err := alike(sub.Tensors[st.Input], sub.Tensors[st.Output]); err != nil {
			return nil, fmt.Errorf("state %q: %w", st.Name, err)
		}
	}
	return s, nil
}

// Holds reports whether the file's input of an index is a state.
func (s *Step) Holds(input int) bool {
	return slices.ContainsFunc(s.States, func(st State) bool { return !st.variable && int32(st.Input) == s.inputs[input] })
}

func without(list []int32, t int) []int32 {
	return slices.DeleteFunc(slices.Clone(list), func(v int32) bool { return int(v) == t })
}

// alike checks that what a step leaves can be what the next finds.
func alike(in, out *schema.TensorT) error {
	p, q := in.Quantization, out.Quantization
	scaled := func(q *schema.QuantizationParametersT) bool { return q != nil && len(q.Scale) > 0 }
	switch {
	case in.Type != out.Type:
		return fmt.Errorf("it is read as %s and set to %s", in.Type, out.Type)
	case !slices.Equal(in.Shape, out.Shape):
		return fmt.Errorf("it is read as %v and set to %v: export the model with fixed shapes", in.Shape, out.Shape)
	case scaled(p) != scaled(q), scaled(p) && (!slices.Equal(p.Scale, q.Scale) || !slices.Equal(p.ZeroPoint, q.ZeroPoint)):
		return fmt.Errorf("the scale that it is read with is not the one it is set with, so that its codes would stand for other values: convert the model again")
	}
	return nil
}

// openVariables makes variables inputs and outputs.
func (s *Step) openVariables() error {
	g, err := ir.Parse(s.Model, 0)
	if err != nil {
		return err
	}
	sub := s.Model.Subgraph()
	first := map[string][]byte{}
	now := map[string]int32{}  // what a variable holds, by name
	read := map[string]int32{} // what it holds at first, by name
	alias := map[int32]int32{} // what is read, by what READ_VARIABLE gives
	var order []string
	var kept []*schema.OperatorT
	for i, o := range sub.Operators {
		for k, t := range o.Inputs {
			if to, ok := alias[t]; ok {
				o.Inputs[k] = to
			}
		}
		n := &g.Nodes[i]
		switch n.Op {
		case schema.BuiltinOperatorCALL_ONCE:
			once, ok := n.Attr.(ir.CallOnce)
			if !ok {
				return fmt.Errorf("%s does more than set variables to constants", n)
			}
			for name, value := range once.Values {
				first[name] = value
			}
		case schema.BuiltinOperatorVAR_HANDLE:
		case schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOperatorASSIGN_VARIABLE:
			v, ok := n.Attr.(ir.Variable)
			if !ok {
				return fmt.Errorf("%s: no VAR_HANDLE says which variable it is of", n)
			}
			if n.Op == schema.BuiltinOperatorASSIGN_VARIABLE {
				now[v.Name] = o.Inputs[1]
				continue
			}
			if _, set := now[v.Name]; !set {
				now[v.Name], read[v.Name] = o.Outputs[0], o.Outputs[0]
				order = append(order, v.Name)
			}
			alias[o.Outputs[0]] = now[v.Name]
		default:
			kept = append(kept, o)
		}
	}
	for k, t := range sub.Outputs {
		if to, ok := alias[t]; ok {
			sub.Outputs[k] = to
		}
	}
	sub.Operators = kept
	for _, name := range order {
		st := State{Name: name, Input: int(read[name]), Output: int(now[name]), variable: true}
		if st.Input == st.Output {
			return fmt.Errorf("variable %q is set to what it is: leave it out of the model", name)
		}
		if value, ok := first[name]; !ok || !isZero(sub.Tensors[st.Input], value) {
			return fmt.Errorf("variable %q does not begin with zeros: set it to zeros where the model is made", name)
		}
		s.States = append(s.States, st)
		sub.Inputs, sub.Outputs = append(sub.Inputs, read[name]), append(sub.Outputs, now[name])
	}
	tflite.DropSubgraphs(s.Model)
	moved := tflite.Compact(s.Model)
	for i := range s.States {
		s.States[i].Input, s.States[i].Output = moved[s.States[i].Input], moved[s.States[i].Output]
	}
	return nil
}

// isZero reports whether data stands for zeros.
func isZero(t *schema.TensorT, data []byte) bool {
	return slices.Equal(data, zeros(t, len(data)))
}

// zeros are n bytes of data that stand for zeros.
func zeros(t *schema.TensorT, n int) []byte {
	data := make([]byte, n)
	if q := t.Quantization; t.Type == schema.TensorTypeINT8 && q != nil && len(q.ZeroPoint) > 0 {
		for i := range data {
			data[i] = byte(q.ZeroPoint[0])
		}
	}
	return data
}

// Close returns the file that a leaf of a Step's model is: states that were variables are variables again, inputs and outputs stand in
// the file's order. moved are the leaf's tensors by the Step's.
func (s *Step) Close(leaf *tflite.Model, moved []int) (*tflite.Model, error) {
	m := leaf.Clone()
	m.SetChunk(0)
	sub := m.Subgraph()
	place := func(list []int32) []int32 {
		out := make([]int32, len(list))
		for i, t := range list {
			out[i] = int32(moved[t])
		}
		return out
	}
	sub.Inputs, sub.Outputs = place(s.inputs), place(s.outputs)
	for _, st := range s.States {
		in, out := sub.Tensors[moved[st.Input]], sub.Tensors[moved[st.Output]]
		if err := alike(in, out); err != nil {
			return nil, fmt.Errorf("state %q of the leaf: %w", st.Name, err)
		}
	}
	init := &schema.SubGraphT{Name: "first_state"}
	for _, st := range s.States {
		if st.variable {
			if err := keep(m, init, st.Name, int32(moved[st.Input]), int32(moved[st.Output])); err != nil {
				return nil, err
			}
		}
	}
	if len(init.Operators) > 0 {
		m.Subgraphs = append(m.Subgraphs, init)
		once := m.NewOp(schema.BuiltinOperatorCALL_ONCE, schema.BuiltinOptionsCallOnceOptions, &schema.CallOnceOptionsT{InitSubgraphIndex: int32(len(m.Subgraphs) - 1)}, nil, nil)
		sub.Operators = slices.Insert(sub.Operators, 0, once)
	}
	return m, m.Check()
}

// keep makes a variable of an input and an output, which init sets to zeros.
func keep(m *tflite.Model, init *schema.SubGraphT, name string, in, out int32) error {
	sub := m.Subgraph()
	container, shared, _ := strings.Cut(name, "/")
	handle := func(g *schema.SubGraphT) int32 {
		g.Tensors = append(g.Tensors, &schema.TensorT{Name: shared, Type: schema.TensorTypeRESOURCE, HasRank: true})
		return int32(len(g.Tensors) - 1)
	}
	options := func() *schema.VarHandleOptionsT {
		return &schema.VarHandleOptionsT{Container: container, SharedName: shared}
	}
	at := handle(sub)
	reads := func(o *schema.OperatorT) bool { return slices.Contains(o.Inputs, in) }
	makes := func(o *schema.OperatorT) bool { return slices.Contains(o.Outputs, out) }
	assign := slices.IndexFunc(sub.Operators, makes) + 1 // of what an input gives: as soon as possible
	first := slices.IndexFunc(sub.Operators[:assign], reads)
	if first < 0 {
		first = assign
	}
	sub.Operators = slices.Insert(sub.Operators, assign,
		m.NewOp(schema.BuiltinOperatorASSIGN_VARIABLE, schema.BuiltinOptionsAssignVariableOptions, &schema.AssignVariableOptionsT{}, []int32{at, out}, nil))
	sub.Operators = slices.Insert(sub.Operators, first,
		m.NewOp(schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOptionsVarHandleOptions, options(), nil, []int32{at}),
		m.NewOp(schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOptionsReadVariableOptions, &schema.ReadVariableOptionsT{}, []int32{at}, []int32{in}))
	of := sub.Tensors[in]
	bits, ok := tflite.TypeSize(of.Type)
	n, err := tflite.NumElements(of.Shape)
	if err != nil || !ok {
		return fmt.Errorf("state %q is %s %v: %w", name, of.Type, of.Shape, err)
	}
	value := &schema.TensorT{Name: of.Name + "/first", Type: of.Type, Shape: slices.Clone(of.Shape), HasRank: true, Quantization: of.Quantization, Buffer: m.AddBuffer(zeros(of, n*bits/8))}
	there := handle(init)
	init.Tensors = append(init.Tensors, value)
	m.AddOp(init, schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOptionsVarHandleOptions, options(), nil, []int32{there})
	m.AddOp(init, schema.BuiltinOperatorASSIGN_VARIABLE, schema.BuiltinOptionsAssignVariableOptions, &schema.AssignVariableOptionsT{}, []int32{there, int32(len(init.Tensors) - 1)}, nil)
	return nil
}
