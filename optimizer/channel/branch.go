package channel

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Branch is the side of a residual addition that can go as a whole: operators that nothing but the addition reads. What is left of the addition
// is its other side, the skip.
type Branch struct {
	Name            string   // of the addition: its output
	Add             int      // operator
	Sum, Skip       int      // tensors: what it makes, and its other side
	Operators       []int    // of the branch, in order of execution; the addition is none of them
	Weights         []string // of these, in order
	Multiplications int64    // of the operators

	tensors int // of the model
}

// String names it in words.
func (b *Branch) String() string {
	return fmt.Sprintf("the branch of addition %q, with %s", b.Name, named(b.Weights))
}

// Branches finds the residual additions of a network: those of two sides of one shape, of which one is made by operators that nothing else reads,
// out of what the other is made of too. Of two such sides the one of more multiplications is the branch. Others stay, and why.
func Branches(m *tflite.Model) (branches []Branch, stays []Stay, err error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, nil, err
	}
	f := &finder{graph: g}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if _, ok := n.Attr.(ir.Binary); !ok || n.Op != schema.BuiltinOperatorADD || n.Folded {
			continue
		}
		a, b := n.Inputs[0], n.Inputs[1]
		if g.Tensors[a].Const != nil || g.Tensors[b].Const != nil {
			continue // no residual addition, but a bias
		}
		name := g.Output(n, 0).Name
		branch, why := f.branch(n, b, a)
		other, _ := f.branch(n, a, b)
		switch {
		case branch == nil && other == nil:
			stays = append(stays, Stay{name, why})
			continue
		case branch == nil || other != nil && other.Multiplications > branch.Multiplications:
			branch = other
		}
		branches = append(branches, *branch)
	}
	return branches, stays, nil
}

// finder finds the branches of a network.
type finder struct{ graph *ir.Graph }

// branch is the side of an addition that makes an operand, the other being the skip; nil, and why, if it cannot go.
func (f *finder) branch(add *ir.Node, operand, skip int) (*Branch, string) {
	g, out := f.graph, f.graph.Output(add, 0)
	if operand == skip {
		return nil, "both of its sides are one tensor"
	}
	if s := &g.Tensors[skip]; !slices.Equal(s.Shape, out.Shape) || s.Type != schema.TensorTypeFLOAT32 || s.Quant != nil {
		return nil, "its sides differ in shape, or are no floats"
	}
	inside := f.alone(operand, add.Index)
	if len(inside) == 0 {
		return nil, fmt.Sprintf("%q is read elsewhere too, or is an input or output of the network", g.Tensors[operand].Name)
	}
	b := &Branch{Name: out.Name, Add: add.Index, Sum: out.Index, Skip: skip, Operators: slices.Sorted(maps.Keys(inside)), tensors: len(g.Tensors)}
	var reads []int
	for _, i := range b.Operators {
		n := &g.Nodes[i]
		b.Multiplications += g.MultiplicationsOf(n)
		if known := op.Lookup(n.Op); known != nil && known.Weights != nil {
			b.Weights = append(b.Weights, g.Input(n, known.Find(op.Weight)).Name)
		}
		for _, t := range n.Inputs {
			if t >= 0 && g.Tensors[t].Const == nil && !inside[g.Tensors[t].Producer] {
				reads = append(reads, t)
			}
		}
	}
	if len(reads) == 0 || b.Multiplications == 0 {
		return nil, "no multiplications would go with either of its sides"
	}
	if other := f.other(skip, reads); other >= 0 {
		return nil, fmt.Sprintf("one of them reads %q, which the other is not made of", g.Tensors[other].Name)
	}
	if f.way(b) == stuck {
		return nil, fmt.Sprintf("it is the network's output %q", out.Name)
	}
	return b, ""
}

// alone are the operators that make a tensor for one reader, and nothing else.
func (f *finder) alone(t, reader int) map[int]bool {
	g, inside, wanted := f.graph, map[int]bool{}, map[int]bool{t: true}
	for i := g.Tensors[t].Producer; i >= 0 && len(wanted) > 0; i-- {
		n := &g.Nodes[i]
		if !slices.ContainsFunc(n.Outputs, func(out int) bool { return wanted[out] }) {
			continue
		}
		elsewhere := func(out int) bool {
			return out >= 0 && (slices.Contains(g.Outputs, out) || slices.ContainsFunc(g.Tensors[out].Consumers, func(c int) bool { return !inside[c] && !(c == reader && out == t) }))
		}
		inside[i] = !slices.ContainsFunc(n.Outputs, elsewhere)
		for _, out := range n.Outputs {
			delete(wanted, out)
		}
		for _, in := range n.Inputs {
			if inside[i] && in >= 0 && g.Tensors[in].Producer >= 0 {
				wanted[in] = true
			}
		}
	}
	maps.DeleteFunc(inside, func(_ int, in bool) bool { return !in })
	return inside
}

// other is one of some activations that a tensor is not made of; −1: it is made of all, or one of them.
func (f *finder) other(t int, of []int) int {
	g, made, left := f.graph, map[int]bool{t: true}, map[int]bool{}
	lowest := len(g.Nodes)
	for _, x := range of {
		if x != t {
			left[x], lowest = true, min(lowest, g.Tensors[x].Producer)
		}
	}
	for i := g.Tensors[t].Producer; i > lowest && len(left) > 0; i-- {
		n := &g.Nodes[i]
		if !slices.ContainsFunc(n.Outputs, func(out int) bool { return made[out] }) {
			continue
		}
		for _, in := range n.Inputs {
			made[in] = true
			delete(left, in)
		}
	}
	for _, x := range of {
		if left[x] {
			return x
		}
	}
	return -1
}

// way is how an addition passes on its skip alone.
type way int

const (
	stuck  way = iota // not at all
	direct            // what reads the sum reads the skip
	fused             // what makes the skip makes the sum, with the addition's activation function
	apart             // an operator is the addition's activation function
)

// way finds it.
func (f *finder) way(b *Branch) way {
	g := f.graph
	add, skip := &g.Nodes[b.Add], &g.Tensors[b.Skip]
	from, to, fuses := float32(math.Inf(-1)), float32(math.Inf(1)), false
	only := false // the sum alone is made of the skip
	if skip.Producer >= 0 {
		maker := &g.Nodes[skip.Producer]
		from, to = bounds(maker)
		fuses = unbounded(from, to) && fusion(g.Model.Subgraph().Operators[maker.Index]) != nil
		other := func(c int) bool { return c != b.Add && !slices.Contains(b.Operators, c) }
		only = len(maker.Outputs) == 1 && !slices.Contains(g.Outputs, b.Skip) && !slices.ContainsFunc(skip.Consumers, other)
	}
	lo, hi := add.Attr.(ir.Binary).Act.Bounds()
	within := from >= lo && to <= hi
	switch {
	case within && !slices.Contains(g.Outputs, add.Outputs[0]):
		return direct
	case only && (within || fuses):
		return fused
	case within:
		return stuck
	default:
		return apart
	}
}

// bounds are those of what an operator makes.
func bounds(n *ir.Node) (lo, hi float32) {
	act := ir.None
	switch a := n.Attr.(type) {
	case ir.Conv:
		act = a.Act
	case ir.FullyConnected:
		act = a.Act
	case ir.Binary:
		act = a.Act
	case ir.Pool:
		act = a.Act
	}
	for of, as := range activations {
		if as.operator == n.Op {
			act = of
		}
	}
	return act.Bounds()
}

func unbounded(lo, hi float32) bool { return math.IsInf(float64(lo), -1) && math.IsInf(float64(hi), 1) }

// activations are activation functions as operators, and as options of others.
var activations = map[ir.Activation]struct {
	operator schema.BuiltinOperator
	option   schema.ActivationFunctionType
}{
	ir.Relu:      {schema.BuiltinOperatorRELU, schema.ActivationFunctionTypeRELU},
	ir.Relu6:     {schema.BuiltinOperatorRELU6, schema.ActivationFunctionTypeRELU6},
	ir.ReluN1To1: {schema.BuiltinOperatorRELU_N1_TO_1, schema.ActivationFunctionTypeRELU_N1_TO_1},
}

// Zeroed returns a model, the one that a branch is of or one with other constants, with zeros in the place of the branch. Operators and
// tensors keep their places, the zeros come behind the latter; what made the branch is still there.
func (b *Branch) Zeroed(m *tflite.Model) *tflite.Model {
	m = m.Clone()
	sub := m.Subgraph()
	sub.Tensors = append(sub.Tensors, &schema.TensorT{Name: b.Name + "/zero", Shape: []int32{1}, HasRank: true, Buffer: m.AddBuffer(tflite.Float32Bytes([]float32{0}))})
	o := sub.Operators[b.Add]
	o.Inputs = []int32{int32(b.Skip), int32(len(sub.Tensors) - 1)}
	return m
}

// Without returns a model, the one that a branch is of or one with other constants, Zeroed or not, without the branch, and the operators that are
// gone. Tensors keep their places; constants that nothing reads have no values.
func (b *Branch) Without(m *tflite.Model) (left *tflite.Model, gone []int, err error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, nil, err
	}
	f := &finder{graph: g}
	add, skip := &g.Nodes[b.Add], &g.Tensors[b.Skip]
	act, out := add.Attr.(ir.Binary).Act, int32(add.Outputs[0])
	m = m.Clone()
	sub := m.Subgraph()
	gone = slices.Clone(b.Operators)
	switch f.way(b) {
	case fused:
		o := sub.Operators[skip.Producer]
		o.Outputs = []int32{out}
		if unbounded(bounds(&g.Nodes[skip.Producer])) && act != ir.None {
			*fusion(o) = activations[act].option
		}
		gone = append(gone, b.Add)
	case direct:
		for _, o := range sub.Operators {
			for i, t := range o.Inputs {
				if t == out {
					o.Inputs[i] = int32(b.Skip)
				}
			}
		}
		gone = append(gone, b.Add)
	case apart:
		sub.Operators[b.Add] = m.NewOp(activations[act].operator, schema.BuiltinOptionsNONE, nil, []int32{int32(b.Skip)}, []int32{out})
	default:
		return nil, nil, fmt.Errorf("the branch of addition %q cannot be taken out", b.Name)
	}
	slices.Sort(gone)
	operators := make([]*schema.OperatorT, 0, len(sub.Operators))
	for i, o := range sub.Operators {
		if _, is := slices.BinarySearch(gone, i); !is {
			operators = append(operators, o)
		}
	}
	sub.Operators, sub.Tensors = operators, sub.Tensors[:b.tensors]
	forget(m)
	if _, err := ir.Parse(m, 0); err != nil {
		return nil, nil, fmt.Errorf("the network without the branch of addition %q: %w", b.Name, err)
	}
	return m, gone, nil
}

// fusion is where an operator's options say its activation function; nil, if they do not.
func fusion(o *schema.OperatorT) *schema.ActivationFunctionType {
	if o.BuiltinOptions == nil {
		return nil
	}
	switch a := o.BuiltinOptions.Value.(type) {
	case *schema.Conv2DOptionsT:
		if a != nil {
			return &a.FusedActivationFunction
		}
	case *schema.DepthwiseConv2DOptionsT:
		if a != nil {
			return &a.FusedActivationFunction
		}
	case *schema.FullyConnectedOptionsT:
		if a != nil {
			return &a.FusedActivationFunction
		}
	case *schema.AddOptionsT:
		if a != nil {
			return &a.FusedActivationFunction
		}
	}
	return nil
}

// forget takes the values of constants that no operator reads.
func forget(m *tflite.Model) {
	sub := m.Subgraph()
	read := map[int32]bool{}
	for _, o := range sub.Operators {
		for _, t := range o.Inputs {
			read[t] = true
		}
	}
	for i, t := range sub.Tensors {
		if !read[int32(i)] && m.IsConst(t) && !slices.Contains(sub.Outputs, int32(i)) {
			m.SetData(t, nil)
		}
	}
}

// Gone are the operators of a network that are not there any more once some are, and then some of those that were left, by their places among them;
// all in order.
func Gone(first, then []int) []int {
	all := slices.Clone(first)
	passed := 0 // of the first, before a place
	for _, place := range then {
		for passed < len(first) && first[passed] <= place+passed {
			passed++
		}
		all = append(all, place+passed)
	}
	slices.Sort(all)
	return all
}
