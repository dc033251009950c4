package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// IO is the type of a quantized model's inputs and outputs.
type IO uint8

const (
	// IOInt8 makes inputs and outputs int8 (the default).
	IOInt8 IO = iota
	// IOFloat32 keeps them float32, with a QUANTIZE behind every input and a DEQUANTIZE before every output.
	IOFloat32
)

// Options are the choices of a plan. The zero value quantizes everything that has an int8 kernel, dense layers per channel.
type Options struct {
	IO IO
	// KeepFloat names layers that stay float: glob patterns (* any run of characters, ? one) matched against the names of a
	// node's outputs and weights.
	KeepFloat []string
	// PerTensorDense gives FULLY_CONNECTED weights one scale instead of one per output channel, for runtimes older than the
	// per-channel kernels (TensorFlow Lite before 2.17, TFLM before 2024).
	PerTensorDense bool
	// PerTensor gives all weights one scale, for devices that take no more.
	PerTensor bool
	// Width is that of activations, Bits those of weights, where no rule gives a layer others: the first that matches its name, as
	// KeepFloat does, and has a width, or bits.
	Width Width
	Bits  Bits
	Rules []WidthRule
	// Packed are weights, by tensor index, that ImportInt8 found int4: they stay so where Bits are AsGiven.
	Packed map[int]bool
	// Known are quantizations to keep, by tensor index: those ImportInt8 found. They are not calibrated.
	Known map[int]Params
	// Float are nodes that stay float, by index: those that ImportInt8 found float.
	Float map[int]bool
	// Refused are nodes that stay float too, by index, and why: those of which a device has a kernel for floats only.
	Refused map[int]string
	// Fuse makes one operator of the steps of a fused recurrent layer (ir.FindLSTMs), where all of them would be int8 with weights of eight bits. Steps
	// says, by weight tensor, why one stays its steps all the same.
	Fuse  bool
	Steps map[int]string
	// Alike are classes of tensors that share one quantization whatever connects them, by tensor index; None for the others. Nil: none.
	Alike []int
}

// Width is how wide activations are.
type Width uint8

const (
	// AsKnown is what an imported model had, else int8.
	AsKnown Width = iota
	// Narrow is int8.
	Narrow
	// Wide is int16, symmetric, with biases of 64 bits. Operators without such a kernel stay float.
	Wide
)

// Bits are those of a weight. Layers of which LiteRT has no kernel of four bits keep eight, which Plan.Notes say.
type Bits uint8

const (
	// AsGiven is what an imported model had, else eight.
	AsGiven Bits = 0
	Four    Bits = 4
	Eight   Bits = 8
)

// WidthRule gives the layers that a pattern names a width of activations, bits of weights, or both.
type WidthRule struct {
	Layers string
	Width  Width
	Bits   Bits
}

// None marks the absence of a group or a tensor.
const None = -1

// Plan says which tensors of a graph become int8, or int16, and which of them share one quantization. It holds no values: ranges come
// from Calibrate or from training, by group.
type Plan struct {
	Options Options
	Graph   *ir.Graph
	Nodes   []NodePlan // by node index
	Groups  []Group
	Tensor  []int // by tensor index: the group of an activation's int8 form, None if it has no int8 form
	Layers  []Layer
	// LSTMs are the operators that steps become. Stepwise names, a line each, the layers that stay their steps although Options.Fuse is set.
	LSTMs    []*LSTM
	Stepwise []string
	// Notes name layers that keep weights of eight bits although four are asked for, and why, and rules that decide nothing.
	Notes []string
}

// NodePlan is what becomes of one node.
type NodePlan struct {
	Int8 bool
	// Wide says of such a node that its activations are int16.
	Wide bool
	// LSTM is the operator that such a node is a step of; nil: it is one itself.
	LSTM *LSTM
	// Why says, for a node that stays float, the reason.
	Why string
	// Operands holds, by input slot, the group an int8 node reads that operand in; None for weights, biases, shapes and absent
	// operands. Where it differs from the group of the activation, Emit inserts a QUANTIZE.
	Operands []int
}

// Group is a set of tensors that share one quantization.
type Group struct {
	// Tensors are the activations in the group, in order.
	Tensors []int
	// Sources are the tensors whose values make up its range, constants included: the others hold values of these.
	Sources []int
	// Fixed is the prescribed or known quantization; nil where the range decides.
	Fixed *Params
	// Input marks a group holding a model input: its scale is kept at full precision, since inputs such as image bytes may sit
	// exactly on a grid.
	Input bool
	// Wide is set for int16.
	Wide bool
	// Cell is set for the state of an LSTM's cells: its scale is a power of two.
	Cell bool
}

// Layer is a node with int8 weights.
type Layer struct {
	Node                        int
	Name                        string // the weight tensor's
	Input, Weight, Bias, Output int    // tensor indices; Bias None if absent
	Axis                        int    // of the weight tensor, along output channels
	Scales                      int    // of the weights, as weight.ScaleIndex has them: mostly one per output channel
	Int4                        bool   // weights are int4; otherwise int8
}

// Int4 are the weight tensors that become int4.
func (p *Plan) Int4() map[int]bool {
	out := map[int]bool{}
	for _, l := range p.Layers {
		out[l.Weight] = l.Int4
	}
	return out
}

// Most is the largest magnitude of the layer's codes.
func (l Layer) Most() int {
	if l.Int4 {
		return weight.MaxCode4
	}
	return weight.MaxCode
}

// NewPlan decides what becomes int8 in g. An operator without an int8 kernel here, with weights that are not constant, or
// matched by a keep-float pattern stays float, with the reason in its NodePlan; it is an error if none is left, or if g is
// quantized already.
func NewPlan(g *ir.Graph, options Options) (*Plan, error) {
	p := &Plan{Options: options, Graph: g, Nodes: make([]NodePlan, len(g.Nodes)), Tensor: make([]int, len(g.Tensors))}
	if err := options.CheckNames(g); err != nil {
		return nil, err
	}
	if err := p.chooseNodes(); err != nil {
		return nil, err
	}
	p.fuse()
	b := newBuilder(p)
	for t, known := range options.Known {
		if err := known.Check(); err != nil {
			return nil, fmt.Errorf("known quantization of %s: %w", p.name(t), err)
		}
	}
	b.mark()
	b.uniteAlike()
	b.unite()
	b.number()
	b.sources()
	b.findStates()
	p.findLayers()
	p.noteHidden()
	return p, nil
}

// PlanOf plans a model at the file's own shapes.
func PlanOf(m *tflite.Model, options Options) (*Plan, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, err
	}
	return NewPlan(g, options)
}

// chooseNodes decides node by node between int8 and float.
func (p *Plan) chooseNodes() error {
	count, quantized := 0, false
	var reasons []string
	spectral := untilLog(p.Graph)
	for i := range p.Graph.Nodes {
		n := &p.Graph.Nodes[i]
		why := p.whyFloat(n)
		if why == "" && spectral[i] && p.Options.Float == nil && !p.Idle(n) {
			why = fmt.Sprintf("%s stays float: it lies between a spectrum and its logarithm, which spans more than 256 codes hold", n)
		}
		p.Nodes[i] = NodePlan{Int8: why == "", Wide: why == "" && p.isWide(n), Why: why}
		if why == "" && !p.Idle(n) {
			count++
		} else if why != "" {
			reasons = append(reasons, why)
			quantized = quantized || strings.HasSuffix(why, quantizedAlready)
		}
	}
	switch {
	case count > 0:
		return nil
	case quantized:
		return errors.New("nothing to quantize: the model is quantized already; import it first (ImportInt8)")
	case len(reasons) > reasonsShown:
		reasons = append(reasons[:reasonsShown], fmt.Sprintf("and %d more", len(reasons)-reasonsShown))
	case len(reasons) == 0:
		reasons = []string{"the model has no operators"}
	}
	return fmt.Errorf("nothing to quantize: %s", strings.Join(reasons, "; "))
}

const (
	quantizedAlready = "is quantized already"
	reasonsShown     = 3 // in an error
)

// whyFloat returns why a node stays float, "" if it becomes int8.
func (p *Plan) whyFloat(n *ir.Node) string {
	if p.Idle(n) {
		return ""
	}
	r := RuleOf(n)
	if p.Options.Float[n.Index] {
		return fmt.Sprintf("%s is float in the imported model", n)
	}
	if why, refused := p.Options.Refused[n.Index]; refused {
		return fmt.Sprintf("%s stays float: %s", n, why)
	}
	if r.Int8.Rule == op.Float {
		return fmt.Sprintf("%s stays float: %s", n, r.Int8.Why)
	}
	if p.isWide(n) && r.Int16 == nil {
		return fmt.Sprintf("%s stays float: LiteRT has no int16 kernel of it", n)
	}
	if pattern := p.keptBy(n); pattern != "" {
		return fmt.Sprintf("%s is kept float by pattern %q", n, pattern)
	}
	for slot, t := range n.Inputs {
		if t < 0 {
			continue
		}
		tensor := &p.Graph.Tensors[t]
		switch {
		case r.Slot(slot) == op.Weight || r.Slot(slot) == op.Bias:
			if tensor.Type != schema.TensorTypeFLOAT32 || tensor.Const == nil {
				return fmt.Sprintf("%s has weights or a bias that are no float32 constants", n)
			}
		case tensor.Type == schema.TensorTypeINT8 || tensor.Type == schema.TensorTypeUINT8 || tensor.Type == schema.TensorTypeINT16:
			return fmt.Sprintf("%s %s", n, quantizedAlready)
		case tensor.Type == schema.TensorTypeFLOAT16 || tensor.Type == schema.TensorTypeFLOAT64:
			return fmt.Sprintf("%s reads %s, of a float type other than float32", n, p.name(t))
		}
	}
	for _, t := range n.Outputs {
		if r.Int8.Rule == op.Reads {
			continue
		}
		if p.Graph.Tensors[t].Type != schema.TensorTypeFLOAT32 {
			return fmt.Sprintf("%s does not give float32", n)
		}
	}
	return ""
}

// Idle reports whether a node computes with shapes only: it stays as it is and takes whatever type its input has.
func (p *Plan) Idle(n *ir.Node) bool { return n.Folded || RuleOf(n).Int8.Rule == op.Opaque }

// keptBy returns the keep-float pattern that matches the node's output or weight names, "" if none does.
func (p *Plan) keptBy(n *ir.Node) string {
	for _, pattern := range p.Options.KeepFloat {
		if isNamed(p.Graph, n, pattern) {
			return pattern
		}
	}
	return ""
}

// isWide reports whether a node, if it does not stay float, computes with int16 activations.
func (p *Plan) isWide(n *ir.Node) bool {
	width := p.Options.Width
	for _, rule := range p.Options.Rules {
		if rule.Width != AsKnown && isNamed(p.Graph, n, rule.Layers) {
			width = rule.Width
			break
		}
	}
	if width == AsKnown {
		for _, t := range append(slices.Clone(n.Outputs), n.Inputs...) {
			if known, ok := p.Options.Known[t]; ok {
				return known.Wide
			}
		}
	}
	return width == Wide
}

// noteHidden names the rules of which nothing is left, since earlier ones, of which the first counts, decide all that they would.
func (p *Plan) noteHidden() {
	for r, rule := range p.Options.Rules {
		hidden := !slices.ContainsFunc(p.Graph.Nodes, func(n ir.Node) bool {
			width, bits := rule.Width != AsKnown, rule.Bits != AsGiven
			for _, earlier := range p.Options.Rules[:r] {
				if isNamed(p.Graph, &n, earlier.Layers) {
					width, bits = width && earlier.Width == AsKnown, bits && earlier.Bits == AsGiven
				}
			}
			return (width || bits) && isNamed(p.Graph, &n, rule.Layers)
		})
		if hidden {
			p.Notes = append(p.Notes, fmt.Sprintf("the rule for layers %q decides nothing: rules before it decide for all of them; put it before those, or leave it out", rule.Layers))
		}
	}
}

// bits are those asked for of a node's weights.
func (p *Plan) bits(n *ir.Node, weight int) Bits {
	bits := p.Options.Bits
	for _, rule := range p.Options.Rules {
		if rule.Bits != AsGiven && isNamed(p.Graph, n, rule.Layers) {
			bits = rule.Bits
			break
		}
	}
	if bits == AsGiven && p.Options.Packed[weight] {
		bits = Four
	}
	return bits
}

// isInt4 reports whether a layer's weights are int4.
func (p *Plan) isInt4(l Layer) bool {
	n := &p.Graph.Nodes[l.Node]
	switch {
	case p.bits(n, l.Weight) != Four:
		return false
	case RuleOf(n).Weights.Int4 == 0:
		p.Notes = append(p.Notes, fmt.Sprintf("weights %q keep 8 bits: LiteRT has no int4 kernel of %s", l.Name, n))
		return false
	case p.Nodes[l.Node].Wide:
		p.Notes = append(p.Notes, fmt.Sprintf("weights %q keep 8 bits: %s has int16 activations, which int4 weights do not go with", l.Name, n))
		return false
	}
	return true
}

// CheckNames returns an error for the first pattern that matches nothing in g: a layer meant to stay float, or of another width, would
// silently become like all others.
func (o Options) CheckNames(g *ir.Graph) error {
	named := func(pattern string) bool {
		return slices.ContainsFunc(g.Nodes, func(n ir.Node) bool { return isNamed(g, &n, pattern) })
	}
	for _, pattern := range o.KeepFloat {
		if !named(pattern) {
			return fmt.Errorf("keepFloat %q matches no layer; the model has %s", pattern, layerNames(g))
		}
	}
	for _, rule := range o.Rules {
		if !named(rule.Layers) {
			return fmt.Errorf("the rule for layers %q matches none; the model has %s", rule.Layers, layerNames(g))
		}
	}
	return nil
}

// isNamed reports whether a keep-float pattern finds a node.
func isNamed(g *ir.Graph, n *ir.Node, pattern string) bool {
	return slices.ContainsFunc(namesOf(g, n), func(name string) bool { return weight.MatchName(pattern, name) })
}

// namesOf are the names by which a keep-float pattern finds a node: those of its outputs and of its weights.
func namesOf(g *ir.Graph, n *ir.Node) []string {
	names := make([]string, 0, len(n.Outputs)+1)
	for _, t := range n.Outputs {
		names = append(names, g.Tensors[t].Name)
	}
	if r := RuleOf(n); r.Weights != nil {
		names = append(names, g.Tensors[n.Inputs[r.Find(op.Weight)]].Name)
	}
	return names
}

// layerNames lists the first few nodes that could be named.
func layerNames(g *ir.Graph) string {
	const most = 8
	var names []string
	for i := range g.Nodes {
		if own := namesOf(g, &g.Nodes[i]); len(own) > 0 && !g.Nodes[i].Folded {
			names = append(names, strconv.Quote(own[len(own)-1]))
		}
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// findLayers lists the nodes with weights.
func (p *Plan) findLayers() {
	fused := map[int]bool{} // weights that have a scale per gate, in steps of other layers too
	for _, l := range p.LSTMs {
		fused[l.Kernel], fused[l.Recurrent] = true, true
	}
	for i := range p.Graph.Nodes {
		n := &p.Graph.Nodes[i]
		r := RuleOf(n)
		if !p.Nodes[i].Int8 || r.Weights == nil {
			continue
		}
		layer := Layer{
			Node: i, Input: n.Inputs[r.Find(op.Data)], Weight: n.Inputs[r.Find(op.Weight)], Bias: None, Output: n.Outputs[0], Axis: r.Weights.Axis,
		}
		switch channels := p.Graph.Tensors[layer.Weight].Shape[layer.Axis]; {
		case fused[layer.Weight]:
			layer.Scales = len(ir.LSTMGates)
		case p.Options.PerTensor || r.Weights.Kind == op.Dense && p.Options.PerTensorDense:
			layer.Scales = 1
		default:
			layer.Scales = channels
		}
		if bias := p.Graph.Input(n, r.Find(op.Bias)); bias != nil {
			layer.Bias = bias.Index
		}
		layer.Name = p.Graph.Tensors[layer.Weight].Name
		layer.Int4 = p.isInt4(layer)
		p.Layers = append(p.Layers, layer)
	}
	eight := map[int]bool{}
	for _, l := range p.Layers {
		eight[l.Weight] = eight[l.Weight] || !l.Int4
	}
	for i := range p.Layers { // layers that share weights share their bits
		p.Layers[i].Int4 = !eight[p.Layers[i].Weight]
	}
}

// InputGroup is the group a layer reads its input in.
func (p *Plan) InputGroup(l Layer) int {
	return p.Nodes[l.Node].Operands[RuleOf(&p.Graph.Nodes[l.Node]).Find(op.Data)]
}

// Kept lists the nodes that stay float and why, one line each, for the report.
func (p *Plan) Kept() []string {
	var lines []string
	for _, n := range p.Nodes {
		if !n.Int8 {
			lines = append(lines, n.Why)
		}
	}
	return lines
}

// IsInt8 reports whether tensor t itself, under its own index, is int8 in the emitted file: a model input or output by the
// I/O type, any other by the node that makes it.
func (p *Plan) IsInt8(t int) bool {
	if p.Tensor[t] == None {
		return false
	}
	if p.isBorder(t) {
		return p.Options.IO == IOInt8
	}
	return p.Nodes[p.Graph.Tensors[t].Producer].Int8
}

// isBorder reports whether t is a model input or output.
func (p *Plan) isBorder(t int) bool {
	return contains(p.Graph.Inputs, t) || contains(p.Graph.Outputs, t)
}

// IsActivation reports whether t holds float values that change with the input.
func (p *Plan) IsActivation(t int) bool {
	return t >= 0 && p.Graph.Tensors[t].Const == nil && p.Graph.Tensors[t].Type == schema.TensorTypeFLOAT32
}

func (p *Plan) name(t int) string { return p.Graph.Tensors[t].String() }

func contains(list []int, t int) bool {
	for _, v := range list {
		if v == t {
			return true
		}
	}
	return false
}
