package ir

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// maxWritten bounds the operators that loops are written as.
const maxWritten = 1 << 16

// unrollControl writes the first WHILE or IF of a model as operators of its primary subgraph: a WHILE, which must count by constants, as
// its bodies one after the other; an IF as the branch that a constant chooses, or as both branches and a choice between what they give.
// It returns a note, "" if there is no such operator. g is the model's graph, with all that is constant folded.
func unrollControl(m *tflite.Model, g *Graph) (note string, err error) {
	sub := m.Subgraph()
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Op != schema.BuiltinOperatorWHILE && n.Op != schema.BuiltinOperatorIF {
			continue
		}
		c := &control{m: m, g: g, n: n, constants: map[[2]int]int32{}}
		var gives []operand
		if n.Op == schema.BuiltinOperatorWHILE {
			note, gives, err = c.loop(sub.Operators[i].BuiltinOptions)
		} else {
			note, gives, err = c.branch(sub.Operators[i].BuiltinOptions)
		}
		if err != nil {
			return "", err
		}
		return note, c.replace(i, gives)
	}
	return "", nil
}

// control writes the subgraphs of one operator into the primary one.
type control struct {
	m         *tflite.Model
	g         *Graph
	n         *Node
	written   []*schema.OperatorT
	constants map[[2]int]int32 // the primary subgraph's constant for one of another subgraph: subgraph and tensor
}

// operand is what a subgraph is given or gives: a tensor of the primary one, and its value if that is constant.
type operand struct {
	tensor int32 // −1: not there yet, only its value is
	kind   schema.TensorType
	shape  []int
	value  []byte // nil: not known
	quant  *schema.QuantizationParametersT
}

func (c *control) fail(format string, args ...any) error {
	return &Error{c.n.Index, c.n.String(), fmt.Sprintf(format, args...)}
}

// given are the operator's inputs from slot first on.
func (c *control) given(first int) ([]operand, error) {
	var list []operand
	for i := first; i < len(c.n.Inputs); i++ {
		t := c.g.Input(c.n, i)
		if t == nil {
			return nil, c.fail("input %d is missing", i)
		}
		o := operand{tensor: int32(t.Index), kind: t.Type, shape: t.Shape, quant: c.m.Subgraph().Tensors[t.Index].Quantization}
		if !slices.Contains(c.g.Inputs, t.Index) {
			o.value = t.Const
		}
		list = append(list, o)
	}
	return list, nil
}

// loop writes a WHILE.
func (c *control) loop(options *schema.BuiltinOptionsT) (note string, gives []operand, err error) {
	if options == nil || options.Type != schema.BuiltinOptionsWhileOptions {
		return "", nil, c.fail("has no options")
	}
	o := options.Value.(*schema.WhileOptionsT)
	carried, err := c.given(0)
	if err != nil {
		return "", nil, err
	}
	for step := 0; ; step++ {
		_, goesOn, err := c.evaluated(int(o.CondSubgraphIndex), carried)
		if err != nil {
			return "", nil, err
		}
		decision := &goesOn.Tensors[goesOn.Outputs[0]]
		if len(decision.Const) != 1 {
			return "", nil, c.fail("how often it repeats depends on the input, which is not supported: export the model with loops of fixed length, or unrolled")
		}
		if decision.Const[0] == 0 {
			note := fmt.Sprintf("%s written as its %d repetitions, %d operators, which leaves have too", c.n, step, len(c.written))
			if step > 1 {
				note += ": a recurrent layer is one operator where the converter fuses it, see docs/guide.md, networks that keep state"
			}
			return note, carried, nil
		}
		if step == maxSteps || len(c.written) > maxWritten {
			return "", nil, c.fail("more than %d repetitions, or %d operators, are not written out: export the model for shorter sequences", maxSteps, maxWritten)
		}
		if carried, err = c.inlined(int(o.BodySubgraphIndex), carried, fmt.Sprintf("_%d", step)); err != nil {
			return "", nil, err
		}
	}
}

// branch writes an IF.
func (c *control) branch(options *schema.BuiltinOptionsT) (note string, gives []operand, err error) {
	if options == nil || options.Type != schema.BuiltinOptionsIfOptions {
		return "", nil, c.fail("has no options")
	}
	o := options.Value.(*schema.IfOptionsT)
	given, err := c.given(1)
	if err != nil {
		return "", nil, err
	}
	condition := c.g.Input(c.n, 0)
	if condition == nil || condition.Numel() != 1 {
		return "", nil, c.fail("its condition is not one truth")
	}
	if len(condition.Const) == 1 && !slices.Contains(c.g.Inputs, condition.Index) {
		chosen, what := o.ElseSubgraphIndex, "else"
		if condition.Const[0] != 0 {
			chosen, what = o.ThenSubgraphIndex, "then"
		}
		gives, err = c.inlined(int(chosen), given, "")
		return fmt.Sprintf("%s, whose condition is constant, written as its %s branch", c.n, what), gives, err
	}
	yes, err := c.inlined(int(o.ThenSubgraphIndex), given, "")
	if err != nil {
		return "", nil, err
	}
	no, err := c.inlined(int(o.ElseSubgraphIndex), given, "")
	if err != nil {
		return "", nil, err
	}
	for j := range min(len(yes), len(no)) {
		if !slices.Equal(yes[j].shape, no[j].shape) || yes[j].kind != no[j].kind {
			return "", nil, c.fail("output %d is %s%v of one branch and %s%v of the other, so that neither can be computed for both", j, yes[j].kind, yes[j].shape, no[j].kind, no[j].shape)
		}
		gives = append(gives, c.choice(int32(condition.Index), yes[j], no[j]))
	}
	return fmt.Sprintf("%s written as both its branches and a choice between them", c.n), gives, nil
}

// choice writes a SELECT_V2.
func (c *control) choice(condition int32, yes, no operand) operand {
	out := yes
	out.value = nil
	out.tensor = c.tensor(&schema.TensorT{Name: c.m.Subgraph().Tensors[c.n.Outputs[0]].Name, Type: yes.kind, Shape: int32s(yes.shape), Quantization: yes.quant, HasRank: true})
	c.written = append(c.written, &schema.OperatorT{
		OpcodeIndex: operatorCode(c.m, schema.BuiltinOperatorSELECT_V2), Outputs: []int32{out.tensor},
		Inputs:         []int32{condition, c.placed(&yes), c.placed(&no)},
		BuiltinOptions: &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsSelectV2Options, Value: &schema.SelectV2OptionsT{}},
	})
	return out
}

// evaluated infers a copy of a subgraph for what it is given and folds all that is constant.
func (c *control) evaluated(subgraph int, given []operand) (*tflite.Model, *Graph, error) {
	part, err := c.part(subgraph, given)
	if err != nil {
		return nil, nil, err
	}
	g, err := parseDeep(part)
	if err != nil {
		return nil, nil, c.fail("in its subgraph %d: %v", subgraph, err)
	}
	return part, g, nil
}

// part is a model of a copy of a subgraph in which inputs whose values are known are constants.
func (c *control) part(subgraph int, given []operand) (*tflite.Model, error) {
	if subgraph < 1 || subgraph >= len(c.m.Subgraphs) {
		return nil, c.fail("names subgraph %d of %d", subgraph, len(c.m.Subgraphs))
	}
	sub := tflite.CopySubgraph(c.m.Subgraphs[subgraph])
	if len(sub.Inputs) != len(given) || len(sub.Outputs) == 0 {
		return nil, c.fail("gives %d values to subgraph %d, which takes %d and gives %d", len(given), subgraph, len(sub.Inputs), len(sub.Outputs))
	}
	part := &tflite.Model{ModelT: &schema.ModelT{Version: c.m.Version, OperatorCodes: c.m.OperatorCodes, Buffers: slices.Clone(c.m.Buffers), Subgraphs: []*schema.SubGraphT{sub}}}
	var open []int32
	for i, t := range sub.Inputs {
		sub.Tensors[t].Shape, sub.Tensors[t].ShapeSignature = int32s(given[i].shape), nil
		if given[i].value == nil {
			open = append(open, t)
			continue
		}
		sub.Tensors[t].Buffer = part.AddBuffer(given[i].value)
	}
	sub.Inputs = open
	return part, nil
}

// inlined writes a subgraph's operators, those that are not constant, and returns what it gives.
func (c *control) inlined(subgraph int, given []operand, suffix string) ([]operand, error) {
	part, g, err := c.evaluated(subgraph, given)
	if err != nil {
		return nil, err
	}
	source := part.Subgraph()
	at := make([]*operand, len(source.Tensors))
	for i, t := range c.m.Subgraphs[subgraph].Inputs {
		at[t] = &given[i]
	}
	known := func(t int32) *operand {
		if at[t] == nil { // a constant
			tensor := &g.Tensors[t]
			at[t] = &operand{tensor: -1, kind: tensor.Type, shape: tensor.Shape, value: tensor.Const, quant: source.Tensors[t].Quantization}
			if tensor.Producer < 0 {
				at[t].tensor = c.constant(subgraph, int(t), source.Tensors[t])
			}
		}
		return at[t]
	}
	for i, o := range source.Operators {
		if g.Nodes[i].Folded {
			continue
		}
		if effects(part, o) {
			return nil, c.fail("its subgraph %d changes a variable, which is not supported inside", subgraph)
		}
		for k, t := range o.Inputs {
			if t >= 0 {
				o.Inputs[k] = c.placed(known(t))
			}
		}
		for k, t := range o.Outputs {
			if t < 0 {
				continue
			}
			tensor := source.Tensors[t]
			tensor.Name, tensor.Shape, tensor.ShapeSignature = tensor.Name+suffix, int32s(g.Tensors[t].Shape), nil
			at[t] = &operand{tensor: c.tensor(tensor), kind: tensor.Type, shape: g.Tensors[t].Shape, quant: tensor.Quantization}
			o.Outputs[k] = at[t].tensor
		}
		c.written = append(c.written, o)
	}
	var gives []operand
	for _, t := range source.Outputs {
		gives = append(gives, *known(t))
	}
	return gives, nil
}

// constant is the primary subgraph's copy of another's constant; a weight that every repetition reads is one tensor.
func (c *control) constant(subgraph, t int, tensor *schema.TensorT) int32 {
	key := [2]int{subgraph, t}
	if _, there := c.constants[key]; !there {
		c.constants[key] = c.tensor(tensor)
	}
	return c.constants[key]
}

// placed gives a value that is only known a tensor.
func (c *control) placed(o *operand) int32 {
	if o.tensor < 0 {
		o.tensor = c.tensor(&schema.TensorT{
			Name: c.m.Subgraph().Tensors[c.n.Outputs[0]].Name + "/constant", Type: o.kind, Shape: int32s(o.shape), Buffer: c.m.AddBuffer(o.value),
			Quantization: o.quant, HasRank: true,
		})
	}
	return o.tensor
}

func (c *control) tensor(t *schema.TensorT) int32 {
	sub := c.m.Subgraph()
	sub.Tensors = append(sub.Tensors, t)
	return int32(len(sub.Tensors) - 1)
}

// replace puts what was written in the place of the operator, and what it gives in that of its outputs.
func (c *control) replace(at int, gives []operand) error {
	if len(gives) != len(c.n.Outputs) {
		return c.fail("has %d outputs, its subgraph gives %d", len(c.n.Outputs), len(gives))
	}
	sub := c.m.Subgraph()
	instead := map[int32]int32{}
	for j, t := range c.n.Outputs {
		if t < 0 {
			continue
		}
		outside := slices.Contains(c.g.Outputs, t)
		if !outside && len(c.g.Tensors[t].Consumers) == 0 {
			continue
		}
		instead[int32(t)] = c.placed(&gives[j])
		if !outside {
			continue
		}
		if !slices.ContainsFunc(c.written, func(o *schema.OperatorT) bool { return slices.Contains(o.Outputs, instead[int32(t)]) }) {
			return c.fail("its output %d, which the model gives, is nothing that it computes", j)
		}
		sub.Tensors[instead[int32(t)]].Name = sub.Tensors[t].Name
	}
	sub.Operators = slices.Replace(sub.Operators, at, at+1, c.written...)
	for _, o := range sub.Operators {
		replaceAll(o.Inputs, instead)
	}
	replaceAll(sub.Outputs, instead)
	for _, s := range c.m.SignatureDefs {
		for _, out := range s.Outputs {
			if other, ok := instead[int32(out.TensorIndex)]; ok && s.SubgraphIndex == 0 {
				out.TensorIndex = uint32(other)
			}
		}
	}
	return nil
}

func replaceAll(list []int32, instead map[int32]int32) {
	for i, t := range list {
		if other, ok := instead[t]; ok {
			list[i] = other
		}
	}
}
