package leaf

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// comparison runs a leaf by the integer executor and beside it, operator by operator and as a whole, the float simulation.
type comparison struct {
	Checks
	integers *integer.Executor
	graph    *ir.Graph   // of the leaf
	steps    []*step     // by node of the leaf, nil for those that are not compared
	layers   []*sequence // likewise, those that compute a sequence at once
	inputs   [][]float32 // one sample
	whole    *float.Exec // end to end
	float    *float.Exec // the same without quantization; nil if not known
	ends     *ends
}

// step is one int8 operator of the leaf and its simulation.
type step struct {
	Agreement
	exec    *float.Exec
	inputs  []operand
	outputs []operand
	buffer  [][]float32
	// slack is, by channel of the output, how far beyond half a code the kernel's rounding may be from the simulation's value;
	// nil where the simulation rounds as the kernel does and codes are compared.
	slack []float64
	// wide is the same of an int16 kernel, by the exact result in codes.
	wide func(value float64) float64
}

// operand is a tensor of the leaf, with its quantization if it is int8.
type operand struct {
	tensor int
	params quantize.Params
}

func newComparison(leaf *tflite.Model, checks Checks) (*comparison, error) {
	c := &comparison{Checks: checks}
	var err error
	if c.graph, err = ir.Parse(leaf, 1); err != nil {
		return nil, err
	}
	if c.integers, err = integer.Compile(leaf, 1); err != nil {
		return nil, err
	}
	for _, t := range c.graph.Inputs {
		c.inputs = append(c.inputs, make([]float32, c.graph.Numel(t)))
	}
	im, err := quantize.ImportInt8(leaf)
	if err != nil {
		return nil, err
	}
	if err := c.addSteps(im); err != nil {
		return nil, err
	}
	simulation, place := checks.Simulation, checks.Place
	if simulation == nil {
		if simulation, err = im.Simulation(1); err != nil {
			return nil, err
		}
		place = make([]int, len(simulation.Graph.Tensors))
		for t := range place {
			place[t] = slices.Index(im.Tensor, t)
		}
	}
	c.whole, c.ends = simulation.NewExec(false), newEnds(c.graph, simulation, place)
	if checks.Float != nil {
		c.float = checks.Float.NewExec(false)
	}
	return c, nil
}

// addSteps makes the simulation of every int8 operator.
func (c *comparison) addSteps(im *quantize.Imported) error {
	c.steps, c.layers = make([]*step, len(c.graph.Nodes)), make([]*sequence, len(c.graph.Nodes))
	for i := range c.graph.Nodes {
		n := &c.graph.Nodes[i]
		if isSequence(c.graph, n) {
			var err error
			if c.layers[i], err = newSequence(c.graph, n); err != nil {
				return err
			}
			continue
		}
		if im.Operator[i] == quantize.None || !c.isInt8(n) {
			continue
		}
		s, err := newStep(c.graph, n, im.Model, im.Operator[i])
		if err != nil {
			return fmt.Errorf("simulation of %s: %w", n, err)
		}
		c.steps[i] = s
	}
	return nil
}

// isInt8 reports whether an operator computes codes from codes.
func (c *comparison) isInt8(n *ir.Node) bool {
	return isQuantized(c.graph.Output(n, 0)) && quantize.RuleOf(n).Int8.Rule != op.Float
}

// isQuantized reports whether a tensor of a leaf holds codes.
func isQuantized(t *ir.Tensor) bool {
	return (t.Type == schema.TensorTypeINT8 || t.Type == schema.TensorTypeINT16) && t.Quant != nil
}

// paramsOf is the quantization of such a tensor.
func paramsOf(t *ir.Tensor) quantize.Params {
	return quantize.Params{Scale: t.Quant.Scale[0], ZeroPoint: t.Quant.ZeroPoint[0], Wide: t.Type == schema.TensorTypeINT16}
}

// newStep makes the simulation of node n of the leaf from operator op of the imported model.
func newStep(leaf *ir.Graph, n *ir.Node, imported *tflite.Model, op int) (*step, error) {
	one, slots := single(imported, op)
	leading := 0 // of the leaf's input, which may be another than the batch
	if len(slots) > 0 {
		if shape := leaf.Input(n, slots[0]).Shape; len(shape) > 0 {
			leading = shape[0]
		}
	}
	net, err := compileSingle(one, leading)
	if err != nil {
		return nil, err
	}
	s := &step{Agreement: Agreement{Node: n.Index, Name: leaf.Output(n, 0).Name, Op: n.Op.String()}}
	acts := map[quantize.Params]*float.ActQuant{}
	attach := func(t int, of *ir.Tensor) operand {
		if !isQuantized(of) { // ids, conditions
			return operand{tensor: of.Index}
		}
		p := paramsOf(of)
		if acts[p] == nil {
			acts[p] = &float.ActQuant{Scale: p.Scale, ZeroPoint: p.ZeroPoint, Wide: p.Wide}
		}
		net.Act[t] = acts[p]
		return operand{tensor: of.Index, params: p}
	}
	for i, slot := range slots {
		s.inputs = append(s.inputs, attach(net.Graph.Inputs[i], leaf.Input(n, slot)))
		s.buffer = append(s.buffer, make([]float32, net.Graph.Numel(net.Graph.Inputs[i])))
	}
	s.slack = slack(leaf, n)
	if known := quantize.RuleOf(n).Int16; known != nil {
		input, output := scaleOf(leaf.Input(n, 0)), scaleOf(leaf.Output(n, 0))
		depth := 0
		if shape := leaf.Output(n, 0).Shape; len(shape) > 0 {
			depth = shape[len(shape)-1]
		}
		s.wide = func(value float64) float64 { return known.Slack(input, output, value, depth) }
	}
	for i := range n.Outputs {
		s.outputs = append(s.outputs, attach(net.Graph.Outputs[i], leaf.Output(n, i)))
		if s.slack != nil {
			net.Act[net.Graph.Outputs[i]] = nil
		}
	}
	net.Refresh()
	s.exec = net.NewExec(false)
	return s, nil
}

// compileSingle compiles a model of one operator for the leading dimension that its first input has in the leaf. An operator that tells
// nothing of the samples by itself, as a RESHAPE that takes them apart, is compiled for the file's.
func compileSingle(one *tflite.Model, leading int) (*float.Network, error) {
	parsed, err := ir.Parse(one, leading)
	if fixed := (*ir.BatchError)(nil); errors.As(err, &fixed) {
		parsed, err = ir.Parse(one, 0)
	}
	if err != nil {
		return nil, err
	}
	return float.Compile(one, parsed.Batch)
}

// sample runs sample i through the leaf, compares every operator, and the ends.
func (c *comparison) sample(i int) error {
	if err := c.Feed(i, c.inputs); err != nil {
		return err
	}
	for k, x := range c.inputs {
		if err := c.integers.SetInput(k, x); err != nil {
			return err
		}
	}
	err := c.integers.RunEach(func(n *ir.Node) error {
		c.ends.keep(c.integers, n)
		if s := c.steps[n.Index]; s != nil {
			return s.compare(c.integers)
		}
		if s := c.layers[n.Index]; s != nil {
			s.compare(c.integers)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.whole == nil {
		return nil
	}
	if err := c.whole.SetBatch(1); err != nil {
		return err
	}
	for k, x := range c.inputs {
		c.whole.SetInput(k, x)
	}
	c.whole.Forward()
	if c.float != nil {
		for k, x := range c.inputs {
			c.float.SetInput(k, x)
		}
		c.float.Forward()
	}
	c.ends.compare(c.whole, c.float)
	if c.Classifier {
		if loss := c.whole.Network().LossTensor(0); c.float != nil && argMax(c.float.Tensor(loss)) == argMax(c.whole.Tensor(loss)) {
			c.ends.kept++
		}
		c.ends.judge(c.whole.Tensor(c.whole.Network().LossTensor(0)), c.integers.Output(0))
	}
	return nil
}

// compare feeds the simulation what the integer executor computed and counts where the results differ.
func (s *step) compare(e *integer.Executor) error {
	for i, in := range s.inputs {
		x, n := s.buffer[i], e.Graph().Numel(in.tensor)
		e.Values(in.tensor, x)
		for at := n; at < len(x); at += n { // the sample, as often as the file's batch has it
			copy(x[at:], x[:n])
		}
		s.exec.SetInput(i, x)
	}
	s.exec.Forward()
	for i, out := range s.outputs {
		got := e.Tensor(out.tensor)
		want := s.exec.Output(i)[:e.Graph().Numel(out.tensor)]
		for k := range want {
			s.add(out.params.Code(got, k), want[k], k, out.params)
		}
		s.Values += int64(len(want))
	}
	return nil
}

// add compares element k of an output, code q, with the simulation's value.
func (s *step) add(q int, want float32, k int, p quantize.Params) {
	nearest := p.Quantize(want)
	if q == nearest {
		return
	}
	s.Differ++
	value := float64(want)/float64(p.Scale) + float64(p.ZeroPoint)
	off := math.Abs(float64(q) - value)
	if p.Wide && s.wide != nil && off <= 0.5+s.wide(value) {
		return
	}
	s.Worst = max(s.Worst, int(math.Abs(float64(q-nearest))))
	if s.slack != nil && !p.Wide && off <= 0.5+s.slack[k%len(s.slack)] {
		return
	}
	s.Off++
}

// argMax is the index of the first largest element.
func argMax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
