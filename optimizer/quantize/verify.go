package quantize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// Checks configure Verify.
type Checks struct {
	// Promises are, by tensor index of the leaf, what stages promised of its weights: zeros and clusters.
	Promises map[int]weight.State
	// Feed and Samples are inputs to run the leaf and its simulation on; without samples only the promises are checked.
	Feed    Feed
	Samples int
	// Classifier asks that the class, the largest element of the first output, agree end to end.
	Classifier bool
	// Simulation is the network that the leaf was emitted from, with the arithmetic it should compute with (Plan.Simulate): the leaf
	// has to agree with it end to end. Place says where in the leaf its tensors are, None for those that are not. Without a
	// Simulation it is made from the leaf itself, which shows no more than that the leaf's operators agree with each other.
	Simulation *float.Network
	Place      []int
	// Float is the network without quantization. How far the Simulation is from it says how much of a rounding error the network itself
	// makes: a leaf may be as far from the simulation. Without it every network is held to the same bound.
	Float *float.Network
}

// The invariants of an emitted file.
const (
	// minEqual is the least share of an operator's values that are the simulation's; the others are off by one code.
	minEqual = 0.999
	// minTopOne is the least share of samples in which the leaf chooses the simulation's class; of a few samples one may differ.
	minTopOne = 0.995
	// tie is how many codes below the simulation's best score a class may be and still count as its choice: what the kernels'
	// double rounding of all layers together moves a score by. Published int8 models differ from a simulation that rounds once
	// in up to 1 % of their decisions, all of them ties. Where that noise is larger, as in deep networks, so are ties: two scores
	// are told apart if they differ by tieNoise times it, but by maxTie codes, a thirtieth of the range, in any case.
	tie, tieNoise, maxTie = 2, 4, 8
	// maxNoise is the most that an output, or the class scores, may be from the simulation's on average, in codes. In deep networks one
	// code of rounding in an early layer may be many at the end; there it is maxShare times what quantization itself makes of the
	// result, the distance between simulation and float network.
	maxNoise, maxShare = 4, 2
	// sampling is how much less often than simulation and float network leaf and simulation may agree in so few samples.
	sampling = 0.05
)

// Verification says how far an emitted leaf and its float simulation agree.
type Verification struct {
	Operators []Agreement
	// TopOne is the share of samples in which the leaf's class is the simulation's or within a tie of it, Strict that in which it
	// is the very same; both 1 if not asked for.
	TopOne, Strict float64
	// Noise is the largest root mean square difference between an output of the leaf, or its class scores, and the simulation's, in
	// codes; NoiseOf names it.
	Noise   float64
	NoiseOf string
	// Quantization is that result's root mean square difference between the simulation and the float network, in codes; 0 if not known.
	Quantization float64
	// FloatTopOne is the share of samples in which the simulation's class is the float network's; 1 if not known.
	FloatTopOne float64
	// Samples is how many were compared.
	Samples int
}

// Agreement compares one operator's int8 result with the simulation's, both computed from the integers before it.
type Agreement struct {
	Node   int
	Name   string // the output tensor's
	Op     string
	Values int64
	// Differ counts values that differ from the simulation's rounded to the nearest code. The reference kernels round twice, to a
	// binary fraction of a code and then to a code, so some do in every layer.
	Differ int64
	// Off counts values that no rounding of the simulation's gives: those further from it than half a code plus half of the
	// fraction the kernel rounds to first (see slack).
	Off   int64
	Worst int // largest difference in codes
}

// Verify checks the invariants of an emitted leaf: masked codes are 0 and distinct codes within what was promised; every int8
// operator, fed what the integer executor computed before it, gives the float simulation's result, rounded, in 99.9 % of its
// values and within one code in all; end to end its outputs are within four codes of the simulation's on average, or twice as far as those
// are from the float network's, and it chooses the simulation's class, ties apart, in 99.5 % of the samples, or as often as that chooses
// the float network's. A broken invariant is an error that names the layer; the measured agreement is returned with it.
func Verify(ctx context.Context, leaf *tflite.Model, checks Checks) (*Verification, error) {
	if err := checkPromises(leaf, checks.Promises); err != nil {
		return nil, err
	}
	v := &Verification{TopOne: 1, Strict: 1, FloatTopOne: 1}
	if checks.Samples == 0 {
		return v, nil
	}
	c, err := newComparison(leaf, checks)
	if err != nil {
		return nil, fmt.Errorf("verification: %w", err)
	}
	for i := range checks.Samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.sample(i); err != nil {
			return nil, fmt.Errorf("verification: sample %d: %w", i, err)
		}
	}
	for _, s := range c.steps {
		if s != nil {
			v.Operators = append(v.Operators, s.Agreement)
		}
	}
	v.Samples = checks.Samples
	v.Noise, v.NoiseOf, v.Quantization = c.ends.noise()
	if checks.Classifier {
		v.TopOne, v.Strict = c.ends.agreement()
		if c.float != nil {
			v.FloatTopOne = float64(c.ends.kept) / float64(checks.Samples)
		}
	}
	return v, v.check()
}

// check reports the first broken invariant.
func (v *Verification) check() error {
	for _, a := range v.Operators {
		switch equal := 1 - float64(a.Off)/float64(max(a.Values, 1)); {
		case a.Worst > 1:
			return fmt.Errorf("layer %q (%s): the int8 result is %d codes from the simulation's, at most 1 is allowed", a.Name, a.Op, a.Worst)
		case equal < minEqual:
			return fmt.Errorf("layer %q (%s): %.2f %% of the int8 results are the simulation's, %.1f %% are required", a.Name, a.Op, 100*equal, 100*minEqual)
		}
	}
	if allowed := max(maxNoise, maxShare*v.Quantization); v.Noise > allowed {
		return fmt.Errorf("the leaf's %q is %.1f codes from the simulation's on average, at most %.4g are allowed", v.NoiseOf, v.Noise, allowed)
	}
	required := minTopOne
	if v.Quantization > maxNoise/maxShare {
		required = min(required, v.FloatTopOne-sampling)
	}
	if v.TopOne < min(required, 1-1.001/float64(max(v.Samples, 1))) {
		return fmt.Errorf("the leaf and its simulation choose the same class for %.2f %% of the samples, %.1f %% are required", 100*v.TopOne, 100*required)
	}
	return nil
}

// checkPromises compares the leaf's weights with what was promised of them.
func checkPromises(leaf *tflite.Model, promises map[int]weight.State) error {
	tensors := leaf.Subgraph().Tensors
	for t, s := range promises {
		if t < 0 || t >= len(tensors) {
			return fmt.Errorf("promised tensor %d is not in the leaf, which has %d", t, len(tensors))
		}
		if err := checkPromise(leaf, tensors[t], s); err != nil {
			return fmt.Errorf("layer %q: %w", tensors[t].Name, err)
		}
	}
	return nil
}

// checkPromise checks a tensor of the leaf: its codes, or the values of a layer kept float.
func checkPromise(leaf *tflite.Model, t *schema.TensorT, s weight.State) error {
	if t.Type == schema.TensorTypeFLOAT32 {
		values, err := leaf.Float32s(t)
		if err != nil {
			return err
		}
		return s.Agrees(values)
	}
	codes, err := leaf.Int8s(t)
	if err != nil {
		return err
	}
	return weight.CheckCodes(codes, s)
}

// comparison runs a leaf by the integer executor and beside it, operator by operator and as a whole, the float simulation.
type comparison struct {
	Checks
	integers *integer.Executor
	graph    *ir.Graph   // of the leaf
	steps    []*step     // by node of the leaf, nil for those that are not compared
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
}

// operand is a tensor of the leaf, with its quantization if it is int8.
type operand struct {
	tensor int
	params Params
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
	im, err := ImportInt8(leaf)
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
func (c *comparison) addSteps(im *Imported) error {
	c.steps = make([]*step, len(c.graph.Nodes))
	for i := range c.graph.Nodes {
		n := &c.graph.Nodes[i]
		if im.Operator[i] == None || !c.isInt8(n) {
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

// isInt8 reports whether an operator computes int8 values from int8 values.
func (c *comparison) isInt8(n *ir.Node) bool {
	return c.graph.Output(n, 0).Type == schema.TensorTypeINT8 && ruleOf(n).Int8.Rule != op.Float
}

// newStep makes the simulation of node n of the leaf from operator op of the imported model.
func newStep(leaf *ir.Graph, n *ir.Node, imported *tflite.Model, op int) (*step, error) {
	one, slots := single(imported, op)
	parsed, err := ir.Parse(one, 0)
	if err != nil {
		return nil, err
	}
	net, err := float.Compile(one, parsed.FileBatch) // whose leading dimension may be another than that of samples
	if err != nil {
		return nil, err
	}
	s := &step{Agreement: Agreement{Node: n.Index, Name: leaf.Output(n, 0).Name, Op: n.Op.String()}}
	acts := map[Params]*float.ActQuant{}
	attach := func(t int, of *ir.Tensor) operand {
		if of.Type != schema.TensorTypeINT8 { // ids, conditions
			return operand{tensor: of.Index}
		}
		p := Params{Scale: of.Quant.Scale[0], ZeroPoint: of.Quant.ZeroPoint[0]}
		if acts[p] == nil {
			acts[p] = &float.ActQuant{Scale: p.Scale, ZeroPoint: p.ZeroPoint}
		}
		net.Act[t] = acts[p]
		return operand{tensor: of.Index, params: p}
	}
	for i, slot := range slots {
		s.inputs = append(s.inputs, attach(net.Graph.Inputs[i], leaf.Input(n, slot)))
		s.buffer = append(s.buffer, make([]float32, net.Graph.Numel(net.Graph.Inputs[i])))
	}
	s.slack = slack(leaf, n)
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
		c.ends.judge(c.whole.Tensor(c.whole.Network().LossTensor(0)), argMax(c.integers.Output(0)))
	}
	return nil
}

// compare feeds the simulation what the integer executor computed and counts where the results differ.
func (s *step) compare(e *integer.Executor) error {
	for i, in := range s.inputs {
		e.Values(in.tensor, s.buffer[i])
		s.exec.SetInput(i, s.buffer[i])
	}
	s.exec.Forward()
	for i, out := range s.outputs {
		got, want := e.Tensor(out.tensor), s.exec.Output(i)
		if len(got) != len(want) {
			return errors.New("internal: simulation and leaf have outputs of different sizes")
		}
		for k, b := range got {
			s.add(int8(b), want[k], k, out.params)
		}
		s.Values += int64(len(got))
	}
	return nil
}

// add compares element k of an output, code q, with the simulation's value.
func (s *step) add(q int8, want float32, k int, p Params) {
	nearest := p.Quantize(want)
	if q == nearest {
		return
	}
	s.Differ++
	s.Worst = max(s.Worst, int(math.Abs(float64(q)-float64(nearest))))
	if s.slack != nil {
		value := float64(want)/float64(p.Scale) + float64(p.ZeroPoint)
		if math.Abs(float64(q)-value) <= 0.5+s.slack[k%len(s.slack)] {
			return
		}
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

// Simulation compiles the imported model with the fake quantization of its int8 form attached.
func (im *Imported) Simulation(microBatch int) (*float.Network, error) {
	net, err := float.Compile(im.Model, microBatch)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(im.Model, Options{Known: im.Known, Float: im.Float})
	if err != nil {
		return nil, err
	}
	acts, err := plan.Attach(net, plan.Params(make([]Range, len(plan.Groups))))
	if err != nil {
		return nil, err
	}
	for t, act := range net.Act {
		for g, group := range plan.Groups {
			if act == acts[g] && group.Fixed == nil {
				net.Act[t] = nil // was float, or a constant whose values are on their grid already
			}
		}
	}
	net.Refresh()
	return net, nil
}
