package ir

import (
	"fmt"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// callOnce is CALL_ONCE: a subgraph that runs before anything else and sets variables to constants. One that does anything else is not
// supported.
func callOnce(c *call) error {
	o, err := options[schema.CallOnceOptionsT](c)
	if err != nil {
		return err
	}
	if once, ok := c.initial(int(o.InitSubgraphIndex)); ok {
		c.n.Attr = once
	}
	return nil
}

// initial reads the variables that a subgraph sets; ok is false if it does anything else.
func (c *call) initial(subgraph int) (once CallOnce, ok bool) {
	if subgraph < 1 || subgraph >= len(c.Model.Subgraphs) {
		return CallOnce{}, false
	}
	sub := c.Model.Subgraphs[subgraph]
	names, values := map[int32]string{}, map[int32][]byte{}
	once.Values = map[string][]byte{}
	value := func(t int32) []byte {
		if t >= 0 && c.Model.IsConst(sub.Tensors[t]) {
			return c.Model.Data(sub.Tensors[t])
		}
		return values[t]
	}
	for _, o := range sub.Operators {
		switch code, _ := c.Model.Op(o); {
		case code == schema.BuiltinOperatorVAR_HANDLE && len(o.Outputs) == 1:
			names[o.Outputs[0]] = variableName(o)
		case code == schema.BuiltinOperatorDEQUANTIZE && len(o.Inputs) == 1 && len(o.Outputs) == 1 && o.Inputs[0] >= 0 && sub.Tensors[o.Inputs[0]].Type == schema.TensorTypeFLOAT16:
			half, err := c.Model.Float32s(sub.Tensors[o.Inputs[0]])
			if err != nil {
				return CallOnce{}, false
			}
			values[o.Outputs[0]] = tflite.Float32Bytes(half)
		case code == schema.BuiltinOperatorASSIGN_VARIABLE && len(o.Inputs) == 2 && value(o.Inputs[1]) != nil:
			once.Values[names[o.Inputs[0]]] = value(o.Inputs[1])
		default:
			return CallOnce{}, false
		}
	}
	return once, true
}

// variableName is what a VAR_HANDLE calls its variable.
func variableName(o *schema.OperatorT) string {
	if o.BuiltinOptions != nil {
		if v, ok := o.BuiltinOptions.Value.(*schema.VarHandleOptionsT); ok && v != nil {
			return v.Container + "/" + v.SharedName
		}
	}
	return "/"
}

func varHandle(c *call) error {
	c.n.Attr = VarHandle{Name: variableName(c.Model.Subgraph().Operators[c.n.Index])}
	c.give([]int{})
	return nil
}

// variable names the variable that input 0 stands for; ok is false if no VAR_HANDLE gives it.
func (c *call) variable() (name string, ok bool) {
	if t := c.in(0); t != nil && t.Producer >= 0 {
		if handle, ok := c.Nodes[t.Producer].Attr.(VarHandle); ok {
			return handle.Name, true
		}
	}
	return "", false
}

// readVariable gives a variable's value, of the shape that the file says. Of a variable that only CALL_ONCE sets it is a constant.
func readVariable(c *call) error {
	name, ok := c.variable()
	if !ok || len(c.n.Outputs) != 1 || c.n.Outputs[0] < 0 {
		return c.unknown()
	}
	out := c.Output(c.n, 0)
	c.n.Attr = Variable{Name: name}
	c.give(slices.Clone(out.Shape))
	value, assigned := c.setTo(name)
	if size, ok := elementSize(out.Type); c.deep && !assigned && ok && value != nil && len(value) == size*out.Numel() {
		out.Const, c.n.Folded = value, true
		return nil
	}
	return c.ofOneSequence(name)
}

// setTo is what CALL_ONCE sets a variable to, and whether anything else sets it.
func (c *call) setTo(name string) (value []byte, assigned bool) {
	sub := c.Model.Subgraph()
	for i, o := range sub.Operators {
		code, _ := c.Model.Op(o)
		if once, ok := c.Nodes[i].Attr.(CallOnce); ok && once.Values[name] != nil {
			value = once.Values[name]
		}
		if code != schema.BuiltinOperatorASSIGN_VARIABLE || len(o.Inputs) == 0 || o.Inputs[0] < 0 {
			continue
		}
		if at := c.Tensors[o.Inputs[0]].Producer; at < 0 || variableName(sub.Operators[at]) == name {
			assigned = true
		}
	}
	return value, assigned
}

// ofOneSequence refuses other batches than the file's where a variable changes.
func (c *call) ofOneSequence(name string) error {
	if _, assigned := c.setTo(name); assigned && c.Batch != c.FileBatch {
		return c.fail("its variable is the state of one sequence")
	}
	return nil
}

func assignVariable(c *call) error {
	name, ok := c.variable()
	if !ok || c.in(1) == nil {
		return nil
	}
	c.n.Attr = Variable{Name: name}
	return c.ofOneSequence(name)
}

// unread reports whether nothing that is left to run reads or sets the variables of a CALL_ONCE.
func (g *Graph) unread(once CallOnce) bool {
	return !slices.ContainsFunc(g.Nodes, func(n Node) bool {
		v, ok := n.Attr.(Variable)
		return ok && !n.Folded && once.Values[v.Name] != nil
	})
}

// NeverSet is an error for a model that reads variables though nothing in the file gives them values, as converters leave it that do not
// know the variables of a function: the weights are not in the file.
func NeverSet(m *tflite.Model) error {
	var names []string
	var first *Node
	for _, g := range m.Subgraphs {
		for i, o := range g.Operators {
			switch code, _ := m.Op(o); code {
			case schema.BuiltinOperatorASSIGN_VARIABLE:
				return nil
			case schema.BuiltinOperatorVAR_HANDLE:
				if first == nil {
					first = &Node{Index: i, Op: code}
				}
				names = append(names, variableName(o))
			}
		}
	}
	if first == nil {
		return nil
	}
	return &Error{first.Index, first.String(), fmt.Sprintf("nothing in the file gives its variables values (%d, the first %q): the converter left the weights out. "+
		"Convert with from_keras_model or from_saved_model, or from functions with the variables made constants", len(names), strings.TrimPrefix(names[0], "/"))}
}

// KeepsState names the first operator that sets a variable or has a memory, by which a network keeps state from call to call; "" if none
// does.
func KeepsState(m *tflite.Model) string {
	for i, o := range m.Subgraph().Operators {
		if code, _ := m.Op(o); code == schema.BuiltinOperatorASSIGN_VARIABLE || code == schema.BuiltinOperatorSVDF {
			return (&Node{Index: i, Op: code}).String()
		}
	}
	return ""
}
