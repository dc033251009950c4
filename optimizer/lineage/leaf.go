package lineage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/leaf"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// IO is the type of a leaf's inputs and outputs; "": as an int8 original's, else Int8.
type IO string

const (
	Int8    IO = "Int8"
	Float32 IO = "Float32"
)

// Activations is the type of a leaf's activations; "": as a quantized original's, else Activations8.
type Activations string

const (
	Activations8  Activations = "Int8"
	Activations16 Activations = "Int16" // with weights of 8 bits and biases of 64
)

// Weights is the type of a leaf's weights; "": as a quantized original's, else Weights8.
type Weights string

const (
	Weights8 Weights = "Int8"
	Weights4 Weights = "Int4" // of convolutions and fully connected layers with activations of 8 bits
)

// Encoding is how int8 weights lie in a leaf's file; "": as they are.
type Encoding string

// The encodings; each of the others is the name of an encode.Kind.
const (
	EncodeNone Encoding = "None"
	EncodeAuto Encoding = "Auto" // of each tensor the smallest
)

// Kinds are those that weights may be encoded in.
func (e Encoding) Kinds() []encode.Kind {
	var kinds []encode.Kind
	for _, k := range encode.Kinds {
		if e == EncodeAuto || string(e) == k.String() {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// LeafRule gives the layers that a glob names other activations, other weights, or both.
type LeafRule struct {
	Layers      string
	Activations Activations
	Weights     Weights
}

// LeafOptions say how int8 leaves are made, those of any technique.
type LeafOptions struct {
	IO IO
	// KeepFloat names layers that stay float: globs against the names of a layer's outputs and weights.
	KeepFloat []string
	// Activations and Weights are those of all layers but those that a rule names, of which the first counts that matches and says so.
	Activations Activations
	Weights     Weights
	Rules       []LeafRule
	// PerTensorDense gives FULLY_CONNECTED weights one scale instead of one per output channel.
	PerTensorDense bool
	Calibration    quantize.Calibration
	Samples        int // of the training split to calibrate on; 0: DefaultSamples
	// Reconstruct rounds weights by the error of their layer's output, and sets biases to what makes up for it.
	Reconstruct bool
	// Equalize scales channels first, such that their quantization leaves the least error in the outputs (package equalize). Nil: it is done for a
	// Target that takes one scale a tensor, and for no other.
	Equalize *bool
	// Encode has weights lie encoded in the file, where it gets smaller, for TFLM's DECODE operator.
	Encode Encoding
	// Bare leaves the names of inner tensors out of the file (tflite.Model.Bare).
	Bare bool
	// Target is the device that leaves are for; nil: any. Operators of which it has a kernel for floats only stay float, and all weights have
	// one scale where it takes no more.
	Target *target.Target
}

// perTensor reports whether all weights have one scale.
func (o LeafOptions) perTensor() bool { return o.Target != nil && o.Target.PerTensor() }

// perTensorDense reports whether fully connected weights have one scale.
func (o LeafOptions) perTensorDense() bool {
	return o.PerTensorDense || o.Target != nil && o.Target.PerTensorDense()
}

// equalizes reports whether leaves have their channels equalized. Where all weights have one scale that is the default: it costs nothing that it would not give back, since
// channels that differ much are left a few codes only.
func (o LeafOptions) equalizes() bool {
	if o.Equalize != nil {
		return *o.Equalize
	}
	return o.perTensor()
}

// DefaultSamples are those that calibration takes where LeafOptions do not say.
const DefaultSamples = 512

// verifySamples and snrSamples are what checking and describing a leaf takes.
const (
	verifySamples = 200
	snrSamples    = 32
)

// String sums up what is not the default, "" where all is.
func (o LeafOptions) String() string {
	var words []string
	if o.IO != "" {
		words = append(words, fmt.Sprintf("inputs and outputs %s", o.IO))
	}
	if len(o.KeepFloat) > 0 {
		words = append(words, strings.Join(o.KeepFloat, " ")+" in float")
	}
	if o.Activations != "" {
		words = append(words, fmt.Sprintf("activations %s", o.Activations))
	}
	if o.Weights != "" {
		words = append(words, fmt.Sprintf("weights %s", o.Weights))
	}
	for _, r := range o.Rules {
		if r.Activations != "" {
			words = append(words, fmt.Sprintf("activations of %s %s", r.Layers, r.Activations))
		}
		if r.Weights != "" {
			words = append(words, fmt.Sprintf("weights of %s %s", r.Layers, r.Weights))
		}
	}
	if o.PerTensorDense {
		words = append(words, "dense layers with one scale")
	}
	if o.Calibration.Method != quantize.MinMax {
		words = append(words, fmt.Sprintf("calibrated by %s", o.Calibration.Method))
	}
	switch {
	case o.Equalize == nil:
	case *o.Equalize:
		words = append(words, "channels equalized")
	case o.perTensor():
		words = append(words, "channels not equalized")
	}
	if o.Reconstruct {
		words = append(words, "reconstructed layer by layer")
	}
	if len(o.Encode.Kinds()) > 0 {
		words = append(words, fmt.Sprintf("encoded %s", o.Encode))
	}
	if o.Bare {
		words = append(words, "without names of inner tensors")
	}
	return strings.Join(words, ", ")
}

// Check reports options that do not fit a network.
func (o LeafOptions) Check(n *Network) error {
	g, err := ir.Parse(n.model, 0)
	if err != nil {
		return err
	}
	if err := (quantize.Options{KeepFloat: o.KeepFloat, Rules: o.rules()}).CheckNames(g); err != nil || len(o.KeepFloat) == 0 {
		return err
	}
	if _, err := quantize.PlanOf(n.model, o.quantization(n)); err == nil {
		return nil
	}
	all := o
	all.KeepFloat = nil
	if _, err := quantize.PlanOf(n.model, all.quantization(n)); err != nil {
		return nil // it is not for the patterns: said where the leaf is made
	}
	return fmt.Errorf("keepFloat %s leaves nothing to quantize: name only the layers that have to stay float", strings.Join(o.KeepFloat, ", "))
}

// unchanged reports whether an int8 original is already the leaf that the options ask for.
func (o LeafOptions) unchanged(n *Network) bool {
	same := (o.Activations == "" || o.Activations == n.from.activations) && (o.Weights == "" || o.Weights == n.from.weights)
	return !o.losesScales(n) && (o.IO == "" || o.IO == n.from.io) && len(o.KeepFloat) == 0 && !o.PerTensorDense && same && len(o.Rules) == 0
}

// losesScales reports whether an int8 original has scales that its device does not take.
func (o LeafOptions) losesScales(n *Network) bool {
	if o.Target == nil || !o.Target.PerTensorDense() {
		return false
	}
	fewer, err := o.fewerScales(n)
	for kernel, w := range n.integers() {
		if err == nil && fewer.lacks(kernel, len(w.Scale)) {
			return true
		}
	}
	return false
}

// width is what activations are to a plan.
func (a Activations) width() quantize.Width {
	switch a {
	case Activations8:
		return quantize.Narrow
	case Activations16:
		return quantize.Wide
	default:
		return quantize.AsKnown
	}
}

// bits are what weights have to a plan.
func (w Weights) bits() quantize.Bits {
	switch w {
	case Weights8:
		return quantize.Eight
	case Weights4:
		return quantize.Four
	default:
		return quantize.AsGiven
	}
}

// rules are those of a plan.
func (o LeafOptions) rules() []quantize.WidthRule {
	var rules []quantize.WidthRule
	for _, r := range o.Rules {
		rules = append(rules, quantize.WidthRule{Layers: r.Layers, Width: r.Activations.width(), Bits: r.Weights.bits()})
	}
	return rules
}

// quantization are the options as they apply to a network.
func (o LeafOptions) quantization(n *Network) quantize.Options {
	io := o.IO
	if io == "" {
		io = n.from.io
	}
	q := quantize.Options{KeepFloat: o.KeepFloat, PerTensorDense: o.perTensorDense(), PerTensor: o.perTensor(), Known: n.ranges(), Float: n.floatOperators()}
	if s := n.from.stream; s != nil {
		q.Alike = s.alike()
		q.Known = known(q.Known, q.Alike)
	} else {
		q.Fuse, q.Steps = true, o.stepwise(n)
	}
	q.Width, q.Bits, q.Rules, q.Packed = o.Activations.width(), o.Weights.bits(), o.rules(), n.packed()
	if io == Float32 {
		q.IO = quantize.IOFloat32
	}
	return q
}

// stepwise are the weights for the sake of which an LSTM stays its steps in a leaf, and why.
func (o LeafOptions) stepwise(n *Network) map[int]string {
	const lstm = schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM
	lacking := o.Target != nil && !o.Target.Takes(lstm, schema.TensorTypeINT8)
	states, steps := n.States(), map[int]string{}
	for _, k := range n.Kernels() {
		switch s := states[k.Tensor]; {
		case lacking:
			steps[k.Tensor] = fmt.Sprintf("%s has no int8 %s, other devices do (espalier targets)", o.Target.Name, lstm)
		case s.Clustered() && len(s.Scale) > len(ir.LSTMGates):
			steps[k.Tensor] = fmt.Sprintf("weights %q are clustered with a scale per output channel, the operator has one per gate: cluster them with scope Shared", k.Name)
		}
	}
	return steps
}

// plan plans the quantization of a network. A kernel that the original gave one scale keeps one.
func (r *Run) plan(n *Network) (*quantize.Plan, error) {
	plan, err := r.planFor(n)
	if err != nil {
		return nil, err
	}
	integers := n.integers()
	for i := range plan.Layers {
		l := &plan.Layers[i]
		if w, ok := integers[l.Weight]; ok && len(w.Scale) == 1 {
			l.Scales = 1
		}
	}
	return plan, nil
}

// largest returns by kernel the largest magnitude of a code that its leaf is to have; those it leaves out have weight.MaxCode.
func (r *Run) largest(n *Network) (map[int]int, error) {
	asked := r.Leaf.Weights == Weights4 || slices.ContainsFunc(r.Leaf.Rules, func(rule LeafRule) bool { return rule.Weights == Weights4 })
	if !asked && len(n.packed()) == 0 {
		return nil, nil
	}
	plan, err := r.plan(n)
	if err != nil {
		return nil, err
	}
	most := map[int]int{}
	for _, l := range plan.Layers {
		most[l.Weight] = l.Most()
	}
	return most, nil
}

// CheckAfter reports kernels that a cluster technique, with leaf options of its own, would give the scales that PerTensorDense takes away.
func (o LeafOptions) CheckAfter(n *Network, c Cluster, own LeafOptions) error {
	if own.perTensorDense() && c.Scope != weight.PerChannel || c.Scope == weight.PerTensor {
		return nil
	}
	fewer, err := o.fewerScales(n)
	if err != nil {
		return err
	}
	targets, _, err := cluster.NewPlan(n.Kernels(), c.Options, c.Rules)
	for _, t := range targets {
		if _, ok := fewer[t.Tensor]; ok {
			return errScales(t.Name)
		}
	}
	return err
}

// fewer are kernels whose integers have fewer scales than output channels, and how many.
type fewer map[int]int

// lacks reports whether a kernel has fewer scales than so many.
func (f fewer) lacks(kernel, scales int) bool {
	most, ok := f[kernel]
	return ok && scales > most
}

// fewerScales are those that PerTensorDense or a device gives one scale, and those of LSTMs, which have one per gate.
func (o LeafOptions) fewerScales(n *Network) (fewer, error) {
	plan, err := quantize.PlanOf(n.model, o.quantization(n))
	switch {
	case err == nil:
	case o.perTensorDense():
		return nil, err
	default:
		return nil, nil //nolint:nilerr // its leaf says why, where one is made
	}
	kernels := fewer{}
	for _, l := range plan.Layers {
		if l.Scales < plan.Graph.Tensors[l.Weight].Shape[l.Axis] {
			kernels[l.Weight] = l.Scales
		}
	}
	return kernels, nil
}

// errScales is returned where PerTensorDense would take away the scales that codes were chosen for.
func errScales(name string) error {
	return fmt.Errorf("weights %q are clustered with a scale per output channel, which perTensorDense cannot give them: cluster them with scope Tensor, or with leaf.perTensorDense of the pipeline, or leave perTensorDense out", name)
}

// calibrate finds the ranges of a network's activations, with the values that its parameters have.
func (r *Run) calibrate(ctx context.Context, n *Network, net *float.Network, plan *quantize.Plan) (*quantize.Statistics, error) {
	samples := r.Leaf.Samples
	if samples == 0 {
		samples = DefaultSamples
	}
	drawn, config := r.again(n, r.draw(samples), samples), r.Leaf.Calibration
	feed, err := r.feedOf(n, net, drawn, false)
	if err != nil {
		return nil, err
	}
	config.Outputs, config.Searched = answer.LossTensors(r.Outputs, plan.Graph), r.searched
	return quantize.Calibrate(ctx, net, plan, config, feed, len(drawn))
}

// searched tells how many ranges are decided.
func (r *Run) searched(done, of int) {
	if r.Progress != nil {
		r.Progress(train.Progress{Range: done, Ranges: of, Accuracy: -1})
	}
}

// quantized chooses integers and ranges of a network after training: clustered weights keep their codes, those of an int8 original
// their scales. Notes go to the outcome.
func (r *Run) quantized(ctx context.Context, n *Network, out *Outcome) (*quantized, error) {
	plan, err := r.plan(n)
	if err != nil {
		return nil, err
	}
	net, err := float.Compile(n.model, 0)
	if err != nil {
		return nil, err
	}
	statistics, err := r.calibrate(ctx, n, net, plan)
	if err != nil {
		return nil, err
	}
	if statistics.Note != "" {
		out.Notes = append(out.Notes, "the leaf's "+statistics.Note)
	}
	q := &quantized{plan: plan, params: plan.Params(statistics.Ranges)}
	if q.weights, err = plan.Stored(n.model); err != nil {
		return nil, err
	}
	fewer, err := r.Leaf.fewerScales(n)
	if err != nil {
		return nil, err
	}
	for t, w := range q.weights {
		if fewer.lacks(t, len(w.Scale)) {
			return nil, errScales(plan.Graph.Tensors[t].Name)
		}
	}
	int4 := plan.Int4()
	for t, w := range n.integers() {
		if _, stored := q.weights[t]; stored || fewer.lacks(t, len(w.Scale)) || int4[t] && !w.Int4 {
			continue
		}
		w.Int4 = int4[t]
		values, err := n.model.Float32s(n.model.Subgraph().Tensors[t])
		if err != nil {
			return nil, err
		}
		if kept, ok := w.On(values, plan.Graph.Tensors[t].Shape, axisOf(n, t)); ok {
			q.weights[t] = kept
		}
	}
	return q, nil
}

// axisOf is the output-channel axis of a kernel.
func axisOf(n *Network, tensor int) int {
	for _, k := range n.Kernels() {
		if k.Tensor == tensor {
			return k.Axis
		}
	}
	return 0
}

// reconstruct is quantized with integers and biases by the error of layers' outputs. The network stays as it is; notes go to the outcome.
func (r *Run) reconstruct(ctx context.Context, n *Network, out *Outcome) (*Network, error) {
	w, err := r.open(n)
	if err != nil {
		return nil, err
	}
	w.notes = nil
	plan, ranges, err := w.quantize(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, note := range w.notes {
		out.Notes = append(out.Notes, "the leaf's "+note)
	}
	return w.quantized(plan, ranges)
}

// leaf makes the leaf of an outcome's network, checks it against what was promised and against the network's own simulation, and
// measures how far it is from the float network.
func (r *Run) leaf(ctx context.Context, out *Outcome) (err error) {
	n := out.Network
	if n.final == nil && r.Leaf.equalizes() {
		var note string
		if n, note, err = r.equalize(ctx, n); err != nil {
			return err
		}
		if note != "" {
			out.Notes = append(out.Notes, note)
		}
	}
	before := n.model // with the channels that the leaf has
	if n.final == nil && r.Leaf.Reconstruct {
		if n, err = r.reconstruct(ctx, n, out); err != nil {
			return err
		}
	}
	q := n.final
	if q == nil {
		if q, err = r.quantized(ctx, n, out); err != nil {
			return err
		}
	}
	weights, notes, err := q.plan.Integers(n.model, q.params, q.weights)
	if err != nil {
		return err
	}
	out.Notes = append(out.Notes, notes...)
	if err := q.plan.CheckIntegers(n.model, q.params, weights); err != nil {
		return wrap("the integers chosen for the leaf", err)
	}
	simulation, err := q.plan.Simulate(n.model, q.params, weights, 1)
	if err != nil {
		return err
	}
	emitted, err := leaf.Emit(n.model, q.plan, q.params, weights)
	if err != nil {
		return err
	}
	out.Leaf = emitted.Model
	out.Notes = slices.Concat(out.Notes, emitted.Notes, q.plan.Notes, q.plan.Stepwise, q.plan.Kept())
	out.Warnings = append(out.Warnings, q.plan.Notes...) // what was asked for and is not done
	out.Once = append(out.Once, q.plan.Stepwise...)
	out.Promises = emitted.Promises(n.States())
	unquantized, err := float.Compile(n.model, 1)
	if err != nil {
		return err
	}
	checked := r.draw(verifySamples)
	feed, err := r.feed(n, checked)
	if err != nil {
		return err
	}
	checks := leaf.Checks{
		Promises: out.Promises, Shapes: n.shapes(emitted), Simulation: simulation, Float: unquantized, Place: emitted.Tensor, Feed: feed, Samples: len(checked), Classifier: r.classifies(),
	}
	if out.Verification, err = leaf.Verify(ctx, emitted.Model, checks); err != nil {
		return wrap("the emitted leaf does not agree with the network", err)
	}
	if out.SNR, err = leaf.SNR(ctx, before, q.plan, emitted, feed, min(snrSamples, len(checked))); err != nil {
		return err
	}
	if n.from.stream != nil {
		if err := r.toStep(ctx, n, out, q, weights); err != nil {
			return err
		}
	}
	out.remember()
	return r.ship(out)
}

// shapes are those that the leaf's inputs, outputs and weights have: the original's, without the channels that were cut.
func (n *Network) shapes(emitted *leaf.Emitted) map[int][]int {
	shapes := map[int][]int{}
	g := n.from.model.Subgraph()
	for _, border := range [2][2][]int32{{g.Inputs, emitted.Model.Subgraph().Inputs}, {g.Outputs, emitted.Model.Subgraph().Outputs}} {
		for i, t := range border[1] {
			shapes[int(t)] = n.original(int(border[0][i]))
		}
	}
	for _, k := range n.Kernels() {
		for _, form := range emitted.Forms(k.Tensor) {
			shape := channel.Shape(n.original(k.Tensor), n.cuts[k.Tensor])
			shape[0] /= form.Of
			shapes[form.Tensor] = shape
		}
	}
	return shapes
}

// ship has an outcome's leaf lie in its file as was asked for: without names, with its weights encoded.
func (r *Run) ship(out *Outcome) error {
	if err := r.unname(out); err != nil {
		return err
	}
	kinds := r.Leaf.Encode.Kinds()
	if len(kinds) == 0 {
		return nil
	}
	made, err := leaf.Encode(out.Leaf, kinds...)
	if err != nil {
		return err
	}
	out.Leaf, out.Promises = made.Model, byIndex(made.Tensor, out.Promises)
	out.Notes = append(out.Notes, made.Notes...)
	return nil
}

// unname leaves the names of inner tensors out of an outcome's leaf, if that was asked for or the first network had none.
func (r *Run) unname(out *Outcome) error {
	if !r.Leaf.Bare && !out.Network.from.given.Bare {
		return nil
	}
	bare := *out.Leaf
	bare.Bare = true
	if r.Leaf.Bare {
		named, err := out.Leaf.Marshal()
		if err != nil {
			return err
		}
		unnamed, err := bare.Marshal()
		if err != nil {
			return err
		}
		if n := len(named) - len(unnamed); n > 0 {
			out.unnamed = fmt.Sprintf("the names of inner tensors, which no runtime asks for, are left out of the file, %d bytes: leaf: {names: Keep} keeps them", n)
			out.Notes = append(out.Notes, out.unnamed)
		}
	}
	out.Leaf = &bare
	return nil
}

// byIndex moves promises to the tensors that theirs have become.
func byIndex(moved []int, promises map[int]weight.State) map[int]weight.State {
	out := map[int]weight.State{}
	for t, state := range promises {
		if moved[t] >= 0 {
			out[moved[t]] = state
		}
	}
	return out
}

// classifies reports whether the first output chooses one class a sample, by the largest of its values.
func (r *Run) classifies() bool {
	o := &r.Outputs[0]
	return o.Kind == answer.Classes && o.Target >= 0 && o.Activation != answer.Position
}

// promises are what an int8 original's weights are held to, by tensors of its file.
func (n *Network) promises() map[int]weight.State {
	promises := map[int]weight.State{}
	for id, state := range n.states {
		if at, ok := n.from.place[id]; ok {
			promises[at] = state
		}
	}
	return promises
}
