package stream

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// maxOperators bounds an unrolled network.
const maxOperators = 100_000

// None is where a tensor or an operator of an unrolled network is none of a step's.
const None = -1

// Unrolled is a network of whole sequences: steps one behind the other, the first of which finds zeros. Of sequences that are too long for that
// it is one of a chunk.
type Unrolled struct {
	// Model has the Step's constants and its last step under their own indices. Its outputs are the last step's.
	Model *tflite.Model
	Steps int
	// Chunks say how sequences are cut; nil: not at all.
	Chunks *Chunks
	// Tensor and Operator say what each of Model's stands for, by index in the Step's model; None for what only cuts the input up or
	// makes the first state.
	Tensor, Operator []int
	heard            []bool // by state: something depends on what an earlier step left of it
}

// Unreached names a state of the step, or an operator, that no answer depends on within so few steps; "" if there is none.
func (u *Unrolled) Unreached(s *Step) string {
	for i, st := range s.States {
		if !u.heard[i] {
			return fmt.Sprintf("what a step leaves in the state %q", st.Name)
		}
	}
	for i, o := range s.Model.Subgraph().Operators {
		for _, t := range o.Outputs {
			if t >= 0 && !slices.Contains(u.Operator, i) {
				code, _ := s.Model.Op(o)
				return fmt.Sprintf("the %s that gives %q", code, s.Model.Subgraph().Tensors[t].Name)
			}
		}
	}
	return ""
}

// Sequence opens a network and unrolls it over samples of the given shapes, an input's without the batch. It is nil if the network keeps
// no state, or if no samples are given.
func Sequence(m *tflite.Model, samples [][]int) (*Step, *Unrolled, error) {
	s, err := Open(m)
	if err != nil || s == nil || len(samples) == 0 {
		return s, nil, err
	}
	n, err := s.steps(samples)
	if err != nil {
		return nil, nil, err
	}
	chunks, err := s.cut(n)
	if err != nil {
		return nil, nil, err
	}
	if chunks != nil {
		n, samples = chunks.Chunk, s.Samples(chunks.Chunk)
	}
	u, err := s.unroll(n, samples, chunks)
	return s, u, err
}

// Whole writes a model that keeps state, in place, as the network of whole sequences that its samples are. Other models, and all
// without samples, stay as they are. It returns the steps, 0 if nothing changed. Sequences that are too long for that are an error.
func Whole(m *tflite.Model, samples [][]int) (steps int, err error) {
	s, u, err := Sequence(m, samples)
	if err != nil || u == nil {
		return 0, err
	}
	if c := u.Chunks; c != nil {
		return 0, fmt.Errorf("samples have %d steps of %d operators, more than %d in all: cut them into shorter sequences", c.Steps, len(s.Model.Subgraph().Operators), maxOperators)
	}
	m.ModelT = u.Model.ModelT
	return u.Steps, nil
}

// data are the inputs that are no states.
func (s *Step) data() []int32 {
	in := s.Model.Subgraph().Inputs
	return in[:len(in)-len(s.States)]
}

// Samples are the shapes of samples of n steps, an input's without the batch.
func (s *Step) Samples(n int) [][]int {
	var samples [][]int
	for _, i := range s.data() {
		shape := []int{n}
		for d, size := range s.Model.Subgraph().Tensors[i].Shape {
			if d > 0 {
				shape = append(shape, int(size))
			}
		}
		samples = append(samples, shape)
	}
	return samples
}

// steps is how many a sample has: every input's sample is a whole number of what a step takes, the same for all.
func (s *Step) steps(samples [][]int) (n int, err error) {
	sub := s.Model.Subgraph()
	data := s.data()
	if len(data) == 0 {
		return 0, fmt.Errorf("the network has no input besides its state")
	}
	if len(samples) != len(data) {
		return 0, fmt.Errorf("the network has %d inputs besides its state, samples have %d", len(data), len(samples))
	}
	for k, i := range data {
		t := sub.Tensors[i]
		if len(t.Shape) < 2 || t.Shape[0] != 1 {
			return 0, fmt.Errorf("input %q is %v: a network with state takes the batch 1 and at least one dimension more", t.Name, t.Shape)
		}
		if k == 0 && !scaled(t.Type) {
			return 0, fmt.Errorf("input %q is %s: a network with state takes numbers first, not ids", t.Name, t.Type)
		}
		step, sample := elements(t.Shape), 1
		for _, d := range samples[k] {
			sample *= d
		}
		if step == 0 || sample == 0 || sample%step != 0 || !follows(samples[k], t.Shape[1:]) {
			return 0, fmt.Errorf("the network keeps state: a step takes %v of %q, and samples of %v are no sequences of that: give [steps %s]", t.Shape[1:], t.Name, samples[k], spaced(t.Shape[1:]))
		}
		of := sample / step
		if k > 0 && of != n {
			return 0, fmt.Errorf("samples of %q have %d steps, those of %q %d", t.Name, of, sub.Tensors[data[0]].Name, n)
		}
		n = of
	}
	return n, nil
}

// scaled reports whether values of a type may be numbers of a scale.
func scaled(t schema.TensorType) bool {
	return t == schema.TensorTypeFLOAT32 || t == schema.TensorTypeINT8 || t == schema.TensorTypeINT16
}

// follows reports whether a sample's shape is that of steps one behind the other: it ends as a step's does. Of a step of one dimension it is
// flat, or has steps of that many values.
func follows(sample []int, step []int32) bool {
	have := slices.DeleteFunc(slices.Clone(sample), func(d int) bool { return d == 1 })
	if len(step) == 1 {
		return len(have) <= 1 || have[len(have)-1] == int(step[0])
	}
	want := ints(slices.DeleteFunc(slices.Clone(step[1:]), func(d int32) bool { return d == 1 }))
	return len(have) >= len(want) && slices.Equal(have[len(have)-len(want):], want)
}

func spaced(shape []int32) string {
	text := fmt.Sprint(shape)
	return text[1 : len(text)-1]
}

func ints(a []int32) []int {
	out := make([]int, len(a))
	for i, v := range a {
		out[i] = int(v)
	}
	return out
}

func elements(shape []int32) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}

// unroller writes the operators of an unrolled network.
type unroller struct {
	*Unrolled
	step *Step
	sub  *schema.SubGraphT
	code int // of the step's operator that is written, None
}

func (s *Step) unroll(n int, samples [][]int, chunks *Chunks) (*Unrolled, error) {
	u := &unroller{Unrolled: &Unrolled{Model: s.Model.Clone(), Steps: n, Chunks: chunks}, step: s, code: None}
	u.Model.DeleteMetadata(tflite.StatesName)
	u.sub = u.Model.Subgraph()
	for t := range u.sub.Tensors {
		u.Tensor = append(u.Tensor, t)
	}
	operators := u.sub.Operators
	u.sub.Operators = nil
	u.sub.Outputs = u.sub.Outputs[:len(u.sub.Outputs)-len(s.States)]
	u.Model.SetEachStep(false)
	u.Model.SetChunk(0)
	answers, err := s.answers(u.sub.Outputs)
	if err != nil {
		return nil, err
	}
	pieces := u.cut(samples)
	held := make([]int32, len(s.States)) // what each state holds
	for i := range s.States {
		if chunks != nil {
			held[i] = u.entry(s.States[i].Input)
			continue
		}
		held[i] = u.first(pieces[0][0], s.States[i].Input)
	}
	first := slices.Clone(held)
	left := make([][]int32, len(s.States))       // what a step found of each state that an earlier one had left
	variable := make([]bool, len(u.sub.Tensors)) // by tensor of the step: another at every step
	for i := range variable {
		variable[i] = !u.Model.IsConst(u.sub.Tensors[i]) && !u.sub.Tensors[i].IsVariable
	}
	for k := range n {
		at := map[int32]int32{-1: -1} // by tensor of the step
		for i, t := range s.data() {
			at[t] = pieces[i][k]
		}
		for i, st := range s.States {
			at[int32(st.Input)] = held[i]
			if chunks != nil || !slices.Contains(first, held[i]) { // of a chunk the first is what the one before left
				left[i] = append(left[i], held[i])
			}
		}
		place := func(t int32) int32 {
			if to, ok := at[t]; ok {
				return to
			}
			if k < n-1 && variable[t] {
				at[t] = u.tensor(int(t))
				return at[t]
			}
			return t
		}
		for i, o := range operators {
			u.code = i
			u.write(&schema.OperatorT{OpcodeIndex: o.OpcodeIndex, Inputs: each(o.Inputs, place), Outputs: each(o.Outputs, place), BuiltinOptions: o.BuiltinOptions,
				CustomOptions: o.CustomOptions, CustomOptionsFormat: o.CustomOptionsFormat, MutatingVariableInputs: o.MutatingVariableInputs, Intermediates: o.Intermediates})
		}
		u.code = None
		for i, st := range s.States {
			held[i] = place(int32(st.Output))
		}
		if err := u.leave(k+1, held); err != nil {
			return nil, err
		}
		for i := range answers {
			answers[i].parts = append(answers[i].parts, place(answers[i].from))
		}
		for i, t := range u.sub.Outputs {
			if k == n-1 && answers == nil {
				u.sub.Outputs[i] = place(t)
			}
		}
	}
	for i := range answers {
		u.sub.Outputs[i] = u.together(&answers[i], operators)
	}
	used := u.dropDead()
	for _, tensors := range left {
		u.heard = append(u.heard, slices.ContainsFunc(tensors, func(t int32) bool { return used[t] }))
	}
	return u.Unrolled, u.Model.Check()
}

func each(list []int32, place func(int32) int32) []int32 {
	out := make([]int32, len(list))
	for i, t := range list {
		out[i] = place(t)
	}
	return out
}

func (u *unroller) write(o *schema.OperatorT) {
	u.sub.Operators = append(u.sub.Operators, o)
	u.Operator = append(u.Operator, u.code)
}

// op writes an operator that is none of the step's.
func (u *unroller) op(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, inputs []int32, outputs ...int32) {
	u.write(u.Model.NewOp(code, kind, options, inputs, outputs))
}

// tensor adds a tensor like one of the step's, which it stands for.
func (u *unroller) tensor(like int) int32 { return u.add(like, nil, like) }

// add adds a tensor of another shape, unless that is nil, that stands for one of the step's, or None.
func (u *unroller) add(like int, shape []int32, of int) int32 {
	from := u.sub.Tensors[like]
	t := &schema.TensorT{Type: from.Type, Shape: from.Shape, HasRank: true, Name: from.Name, Quantization: from.Quantization}
	if shape != nil {
		t.Shape = shape
	}
	u.sub.Tensors = append(u.sub.Tensors, t)
	u.Tensor = append(u.Tensor, of)
	return int32(len(u.sub.Tensors) - 1)
}

// constant adds a constant.
func (u *unroller) constant(name string, t schema.TensorType, data []byte, quantization *schema.QuantizationParametersT, shape ...int32) int32 {
	u.sub.Tensors = append(u.sub.Tensors, &schema.TensorT{Type: t, Shape: shape, HasRank: true, Name: name, Quantization: quantization, Buffer: u.Model.AddBuffer(data)})
	u.Tensor = append(u.Tensor, None)
	return int32(len(u.sub.Tensors) - 1)
}

func (u *unroller) ints(name string, values ...int32) int32 {
	return u.constant(name, schema.TensorTypeINT32, tflite.Int32Bytes(values), nil, int32(len(values)))
}

// reshape writes a RESHAPE, whose first dimension is the batch's.
func (u *unroller) reshape(x, y int32) {
	target := slices.Clone(u.sub.Tensors[y].Shape)
	target[0] = -1
	u.op(schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: target}, []int32{x, u.ints("shape", target...)}, y)
}

// cut makes inputs of whole sequences and cuts them into steps: pieces by input and step.
func (u *unroller) cut(samples [][]int) (pieces [][]int32) {
	for k, i := range u.step.data() {
		of := u.sub.Tensors[i]
		shape := []int32{1}
		for _, d := range samples[k] {
			shape = append(shape, int32(d))
		}
		x := u.add(int(i), shape, int(i))
		u.moveSignature(i, x)
		var list []int32
		if u.Steps == 1 {
			list = []int32{i}
			u.reshape(x, i)
		} else {
			long := slices.Clone(of.Shape)
			long[1] *= int32(u.Steps)
			row := x
			if !slices.Equal(long, shape) {
				row = u.add(int(i), long, int(i))
				u.reshape(x, row)
			}
			for range u.Steps - 1 {
				list = append(list, u.tensor(int(i)))
			}
			list = append(list, i)
			axis := u.constant("axis", schema.TensorTypeINT32, tflite.Int32Bytes([]int32{1}), nil)
			u.op(schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: int32(u.Steps)}, []int32{axis, row}, list...)
		}
		if k == 0 {
			u.sub.Inputs = nil
		}
		u.sub.Inputs, pieces = append(u.sub.Inputs, x), append(pieces, list)
	}
	return pieces
}

// moveSignature has signatures name another tensor for an input or an output.
func (u *unroller) moveSignature(from, to int32) {
	for _, s := range u.Model.SignatureDefs {
		if s.SubgraphIndex != 0 {
			continue
		}
		for _, e := range slices.Concat(s.Inputs, s.Outputs) {
			if int32(e.TensorIndex) == from {
				e.TensorIndex = uint32(to)
			}
		}
	}
}

// first writes the zeros that a state begins with, one for every sample of whatever batch: a value of the input times zeros.
func (u *unroller) first(x int32, state int) int32 {
	from, of := u.sub.Tensors[x], u.sub.Tensors[state]
	n := int32(elements(of.Shape))
	in := u.Tensor[x]
	row, one, flat := u.add(in, []int32{1, int32(elements(from.Shape))}, in), u.add(in, []int32{1, 1}, in), u.add(state, []int32{1, n}, state)
	u.reshape(x, row)
	u.op(schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{BeginMask: 1, EndMask: 1},
		[]int32{row, u.ints("begin", 0, 0), u.ints("end", 0, 1), u.ints("strides", 1, 1)}, one)
	if from.Type != of.Type { // of a network of one type inside and another outside
		code, kind, options := schema.BuiltinOperatorQUANTIZE, schema.BuiltinOptionsQuantizeOptions, any(&schema.QuantizeOptionsT{})
		if of.Type == schema.TensorTypeFLOAT32 {
			code, kind, options = schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOptionsDequantizeOptions, any(&schema.DequantizeOptionsT{})
		}
		u.Tensor[one] = None
		converted := u.add(state, []int32{1, 1}, None)
		u.op(code, kind, options, []int32{one}, converted)
		one = converted
	}
	bits, _ := tflite.TypeSize(of.Type)
	var scale *schema.QuantizationParametersT
	if q := of.Quantization; q != nil && len(q.Scale) > 0 {
		scale = &schema.QuantizationParametersT{Scale: []float32{1}, ZeroPoint: []int64{0}}
	}
	none := u.constant(of.Name+"/zeros", of.Type, make([]byte, int(n)*bits/8), scale, 1, n)
	u.op(schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, []int32{one, none}, flat)
	if slices.Equal(of.Shape, []int32{1, n}) {
		return flat
	}
	y := u.tensor(state)
	u.reshape(flat, y)
	return y
}

// dropDead removes operators whose results nothing uses, as the state that the last step leaves to no chunk. It returns what is used.
func (u *unroller) dropDead() (used map[int32]bool) {
	used = map[int32]bool{}
	for _, t := range u.sub.Outputs {
		used[t] = true
	}
	if c := u.Chunks; c != nil {
		for _, t := range slices.Concat(c.Left[:]...) {
			used[int32(t)] = true
		}
	}
	var operators []*schema.OperatorT
	var of []int
	for i, o := range slices.Backward(u.sub.Operators) {
		if !isMemory(u.Model, o) && !slices.ContainsFunc(o.Outputs, func(t int32) bool { return used[t] }) {
			continue
		}
		for _, t := range o.Inputs {
			used[t] = true
		}
		operators, of = append(operators, o), append(of, u.Operator[i])
	}
	slices.Reverse(operators)
	slices.Reverse(of)
	u.sub.Operators, u.Operator = operators, of
	return used
}
