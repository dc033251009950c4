package lineage

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/leaf"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// streaming is what is known of the one step that a network with state computes a call. The lineage is that of the network of whole
// sequences; its leaves are written as the step.
type streaming struct {
	step  *stream.Step
	model *tflite.Model // the step's, float
	place []int         // the model's tensors by those of the step
	// tensor and operator are the model's, by the unrolled one's.
	tensor, operator []int
	states           [][2]int // input and output, as tensors of the model
	// Of sequences in chunks, of which the network is one:
	chunks  *stream.Chunks
	samples [][]int // shapes of sequences
}

// openStream reads the steps of a network that keeps state; nil if it keeps none. unrolled is the network of whole sequences.
func openStream(m *tflite.Model, samples [][]int) (s *streaming, unrolled *stream.Unrolled, err error) {
	step, unrolled, err := stream.Sequence(m, samples)
	if err != nil || step == nil {
		return nil, nil, err
	}
	if unrolled == nil {
		t := step.Model.Subgraph().Tensors[step.Model.Subgraph().Inputs[0]]
		return nil, nil, &ir.OpenError{Input: t.Name, Signature: t.Shape, Reason: "the network keeps state from step to step, and samples tell how many steps a sequence has"}
	}
	if o := unrolled.Unreached(step); o != "" {
		return nil, nil, fmt.Errorf("the network keeps state, of which samples of %d %s show nothing: no answer depends on %s; give longer sequences, [steps %s]", unrolled.Steps, map[bool]string{true: "step", false: "steps"}[unrolled.Steps == 1], o,
			strings.Trim(fmt.Sprint(step.Model.Subgraph().Tensors[step.Model.Subgraph().Inputs[0]].Shape[1:]), "[]"))
	}
	s = &streaming{step: step, model: step.Model, place: identity(len(step.Model.Subgraph().Tensors)), tensor: unrolled.Tensor, operator: unrolled.Operator, chunks: unrolled.Chunks, samples: samples}
	for _, state := range step.States {
		s.states = append(s.states, [2]int{state.Input, state.Output})
	}
	return s, unrolled, nil
}

// note says what sequences are to the network, of which so many steps are unrolled.
func (s *streaming) note(steps int) string {
	const leaves = "each sample beginning with zeros; leaves are one step, as the file is"
	if s.chunks == nil {
		return fmt.Sprintf("the network keeps state: trained, calibrated and checked as the %d steps that a sample has, %s", steps, leaves)
	}
	return fmt.Sprintf("the network keeps state, and samples have %d steps: trained, calibrated and checked over chunks of %d, with the state that the chunk before left and no gradient into it, %s",
		s.chunks.Steps, steps, leaves)
}

// imported has the step be the float one that an int8 step stands for, as the unrolled network is.
func (s *streaming) imported(unrolled *quantize.Imported) error {
	step, err := quantize.ImportInt8(s.model)
	if err != nil {
		return err
	}
	moved := func(of, from, to []int) []int {
		out := make([]int, slices.Max(append(from, -1))+1)
		for i := range out {
			out[i] = quantize.None
		}
		for i, at := range from {
			if at != quantize.None && of[i] != stream.None {
				out[at] = to[of[i]]
			}
		}
		return out
	}
	s.tensor, s.operator = moved(s.tensor, unrolled.Tensor, step.Tensor), moved(s.operator, unrolled.Operator, step.Operator)
	for i, state := range s.states {
		s.states[i] = [2]int{step.Tensor[state[0]], step.Tensor[state[1]]}
	}
	if s.chunks != nil {
		chunks := *s.chunks
		for i, of := range chunks.Left {
			chunks.Left[i] = nil
			for _, t := range of {
				chunks.Left[i] = append(chunks.Left[i], unrolled.Tensor[t])
			}
		}
		s.chunks = &chunks
	}
	s.model, s.place = step.Model, step.Tensor
	return nil
}

// alike are the classes of tensors of the unrolled network that share a quantization: those that one of the step stands for, and the
// state that a step leaves with the one that it finds.
func (s *streaming) alike() []int {
	class := identity(len(s.model.Subgraph().Tensors))
	for again := true; again; { // states may hand theirs on to each other
		again = false
		for _, state := range s.states {
			if a, b := class[state[0]], class[state[1]]; a != b {
				class[state[0]], class[state[1]], again = min(a, b), min(a, b), true
			}
		}
	}
	out := make([]int, len(s.tensor))
	for t, of := range s.tensor {
		if out[t] = quantize.None; of != stream.None {
			out[t] = class[of]
		}
	}
	return out
}

// known are the quantizations of one of each class for all of it.
func known(of map[int]quantize.Params, alike []int) map[int]quantize.Params {
	all := map[int]quantize.Params{}
	for _, t := range slices.Sorted(maps.Keys(of)) {
		if c := alike[t]; c != quantize.None {
			all[c] = of[t]
		}
	}
	out := maps.Clone(of)
	for t, c := range alike {
		if p, ok := all[c]; ok && c != quantize.None {
			out[t] = p
		}
	}
	return out
}

// write writes the step of a leaf: what was decided for the unrolled network, for one of its steps.
func (s *streaming) write(n *Network, q *quantized, weights map[int]quantize.Weights, io IO) (*leaf.Emitted, *tflite.Model, error) {
	m := s.current(n)
	m.DeleteMetadata(weight.MetadataName)
	plan, err := quantize.PlanOf(m, s.options(q))
	if err != nil {
		return nil, nil, err
	}
	integers := map[int]quantize.Weights{}
	for t, w := range weights {
		integers[s.tensor[t]] = w
	}
	emitted, err := leaf.Emit(m, plan, plan.Params(make([]quantize.Range, len(plan.Groups))), integers)
	if err != nil {
		return nil, nil, err
	}
	place := make([]int, len(s.place))
	for t, at := range s.place {
		if place[t] = quantize.None; at != quantize.None {
			place[t] = emitted.Tensor[at]
		}
	}
	closed, err := s.step.Close(emitted.Model, place)
	if err == nil && io == Float32 {
		floatBorders(closed, s.step, place)
	}
	return emitted, closed, err
}

// options are the decisions of a plan of the unrolled network, for the step.
func (s *streaming) options(q *quantized) quantize.Options {
	o := quantize.Options{PerTensorDense: q.plan.Options.PerTensorDense, PerTensor: q.plan.Options.PerTensor, Known: map[int]quantize.Params{}, Float: map[int]bool{}, Packed: q.plan.Int4()}
	packed := map[int]bool{}
	for t := range o.Packed {
		packed[s.tensor[t]] = o.Packed[t]
	}
	o.Packed = packed
	for i := range q.plan.Graph.Nodes {
		of := s.operator[i]
		if of == stream.None {
			continue
		}
		n, np := &q.plan.Graph.Nodes[i], &q.plan.Nodes[i]
		if !np.Int8 {
			o.Float[of] = true
		}
		for slot, t := range n.Inputs {
			if t >= 0 && q.plan.Graph.Tensors[t].Const != nil && slot < len(np.Operands) && np.Operands[slot] != quantize.None && s.tensor[t] != stream.None {
				o.Known[s.tensor[t]] = q.params[np.Operands[slot]]
			}
		}
	}
	for t, g := range q.plan.Tensor {
		if g != quantize.None && s.tensor[t] != stream.None {
			o.Known[s.tensor[t]] = q.params[g]
		}
	}
	return o
}

// floatBorders has a leaf take and give floats; its state stays as it is.
func floatBorders(m *tflite.Model, step *stream.Step, place []int) {
	sub := m.Subgraph()
	found, left := map[int32]bool{}, map[int32]bool{} // by steps, as state
	for _, s := range step.States {
		found[int32(place[s.Input])], left[int32(place[s.Output])] = true, true
	}
	float := func(t int32) int32 {
		of := sub.Tensors[t]
		sub.Tensors = append(sub.Tensors, &schema.TensorT{Name: of.Name, Shape: of.Shape, ShapeSignature: of.ShapeSignature, HasRank: of.HasRank})
		of.Name += "_int8"
		return int32(len(sub.Tensors) - 1)
	}
	moved := map[int32]int32{}
	quantized := func(t int32) bool {
		return sub.Tensors[t].Type == schema.TensorTypeINT8 || sub.Tensors[t].Type == schema.TensorTypeINT16
	}
	for i, t := range sub.Inputs {
		if !found[t] && quantized(t) {
			moved[t] = float(t)
			sub.Inputs[i] = moved[t]
			sub.Operators = slices.Insert(sub.Operators, 0, m.NewOp(schema.BuiltinOperatorQUANTIZE, schema.BuiltinOptionsQuantizeOptions, &schema.QuantizeOptionsT{}, []int32{moved[t]}, []int32{t}))
		}
	}
	for i, t := range sub.Outputs {
		if !left[t] && quantized(t) {
			moved[t] = float(t)
			sub.Outputs[i] = moved[t]
			m.AddOp(sub, schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsDequantizeOptions, &schema.DequantizeOptionsT{}, []int32{t}, []int32{moved[t]})
		}
	}
	for _, s := range m.SignatureDefs {
		for _, e := range slices.Concat(s.Inputs, s.Outputs) {
			if to, ok := moved[int32(e.TensorIndex)]; ok && s.SubgraphIndex == 0 {
				e.TensorIndex = uint32(to)
			}
		}
	}
}

// stepSamples are how many the step is held against the unrolled leaf on.
const stepSamples = 16

// checkStep runs the step over whole sequences and the unrolled leaf that was checked: they give the same, bit for bit.
func (r *Run) checkStep(ctx context.Context, n *Network, step, whole *tflite.Model) error {
	given := step.Clone()
	if c := n.chunks(); c != nil {
		given.SetChunk(c.Chunk)
	}
	opened, again, err := stream.Sequence(given, dataset.Shapes(r.Data.Train))
	if err != nil {
		return err
	}
	drawn := r.draw(stepSamples)
	feed, err := r.feed(n, drawn)
	if err != nil {
		return err
	}
	var of [2]*integer.Executor
	for i, m := range []*tflite.Model{whole, again.Model} {
		if of[i], err = integer.Compile(m, 1); err != nil {
			return err
		}
	}
	g := of[0].Graph()
	x := make([][]float32, len(g.Inputs))
	for k, t := range g.Inputs {
		x[k] = make([]float32, g.Tensors[t].Numel())
	}
	moved, err := n.from.stream.order(opened, len(x))
	if err != nil {
		return err
	}
	for i := range drawn {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := feed(i, x); err != nil {
			return err
		}
		for k := range x {
			if err := cmp.Or(of[0].SetInput(k, x[k]), of[1].SetInput(moved[k], x[k])); err != nil {
				return err
			}
		}
		for _, e := range of {
			if err := e.Run(); err != nil {
				return err
			}
		}
		for k := range of[0].Graph().Outputs {
			if !bytes.Equal(of[0].OutputBytes(k), of[1].OutputBytes(k)) {
				return fmt.Errorf("output %d of sample %d is another than that of the checked sequence", k, i)
			}
		}
	}
	return nil
}

// order is where another opening of the step has inputs: its states may come in another order.
func (s *streaming) order(opened *stream.Step, inputs int) ([]int, error) {
	moved := identity(inputs)
	if s.chunks == nil {
		return moved, nil
	}
	data := inputs - len(s.states)
	for i, state := range s.step.States {
		at := slices.IndexFunc(opened.States, func(o stream.State) bool { return o.Name == state.Name })
		if at < 0 {
			return nil, fmt.Errorf("state %q is none of the leaf's", state.Name)
		}
		moved[data+i] = data + at
	}
	return moved, nil
}

// toStep has an outcome's leaf be the step. emitted is the unrolled one, which was checked.
func (r *Run) toStep(ctx context.Context, n *Network, out *Outcome, q *quantized, weights map[int]quantize.Weights) error {
	s := n.from.stream
	io := r.Leaf.IO
	if io == "" {
		io = n.from.io
	}
	emitted, step, err := s.write(n, q, weights, io)
	if err != nil {
		return wrap("the leaf of one step", err)
	}
	if err := r.checkStep(ctx, n, step, out.Leaf); err != nil {
		return wrap("the leaf of one step, run over whole sequences", err)
	}
	out.Leaf = step
	states := map[int]weight.State{}
	for t, state := range n.States() {
		states[s.tensor[t]] = state
	}
	out.Promises = emitted.Promises(states)
	if err := leafPromises(ctx, step, out.Promises); err != nil {
		return err
	}
	var kept []leaf.LayerSNR
	seen := map[int]bool{}
	for _, l := range slices.Backward(out.SNR) { // the last step's
		if of := s.tensor[l.Tensor]; of != stream.None && !seen[of] && emitted.Tensor[of] != quantize.None {
			seen[of] = true
			l.Leaf = emitted.Tensor[of]
			kept = append(kept, l)
		}
	}
	slices.Reverse(kept)
	out.SNR = kept
	return nil
}

// leafPromises checks what was promised of the weights of a leaf as it is written.
func leafPromises(ctx context.Context, m *tflite.Model, promises map[int]weight.State) error {
	_, err := leaf.Verify(ctx, m, leaf.Checks{Promises: promises})
	return wrap("the emitted leaf does not agree with the network", err)
}
