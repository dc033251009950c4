package ir

import (
	"fmt"
	"slices"
	"strconv"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// maxSteps bounds the steps of a fused recurrent layer that are written out.
const maxSteps = 512

// maxState bounds the batch and the units of a state that is written out.
const maxState = 1 << 12

// cell is a recurrent layer: step writes a step of it, of which x is the part that the input contributes, and returns its output. stays says why
// leaves have the steps too; "": they have one operator, where they can.
type cell interface {
	step(x int32) int32
	stays() string
}

// layers are the fused recurrent layers.
var layers = map[schema.BuiltinOperator]func(*unroller) (cell, error){
	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM: newLSTM,
	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN:  newRNN,
}

// dequantizeLayers turns the integer weights of float fused recurrent layers into float: the files that are measured are not normalised. It returns
// how many there were.
func dequantizeLayers(m *tflite.Model) (count int, err error) {
	for _, o := range m.Subgraph().Operators {
		if code, _ := m.Op(o); layers[code] == nil {
			continue
		}
		n, err := m.DequantizeOperands(0, o)
		if err != nil {
			return 0, err
		}
		count += n
	}
	return count, nil
}

// unrollLayers writes float fused recurrent layers as their steps: one matrix product of the whole sequence by the weights of all
// gates, and at each step one of the state. Every sequence begins with a state of zeros, as in training. It returns a note for each
// layer. g is the model's graph, all of whose shapes are known.
func unrollLayers(m *tflite.Model, g *Graph) (notes []string, err error) {
	operators, shared := slices.Clone(m.Subgraph().Operators), map[string]int32{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		read := layers[n.Op]
		if read == nil || g.Output(n, 0).Type != schema.TensorTypeFLOAT32 {
			continue
		}
		u := &unroller{m: m, g: g, n: n, operator: operators[i], shared: shared}
		c, err := read(u)
		if err != nil {
			return nil, err
		}
		if err := u.write(c); err != nil {
			return nil, err
		}
		note := fmt.Sprintf("%s written as its %d steps, %d operators, every sequence beginning with a state of zeros", n, u.steps(), len(u.written))
		if why := c.stays(); why != "" {
			note += "; leaves have the steps too: " + why
		}
		notes = append(notes, note)
	}
	return notes, nil
}

// unroller writes the operators that a fused layer stands for.
type unroller struct {
	m              *tflite.Model
	g              *Graph
	n              *Node
	operator       *schema.OperatorT
	timeMajor      bool
	kernel, biases int32            // of all gates
	shared         map[string]int32 // constants of the model that joined made, by those that they are of: layers may have the same
	written        []*schema.OperatorT
}

func (u *unroller) fail(format string, args ...any) error {
	return &Error{u.n.Index, u.n.String(), fmt.Sprintf(format, args...)}
}

// tensor is an input of the layer, nil if absent; input its index in the model, −1 if absent.
func (u *unroller) tensor(slot int) *Tensor { return u.g.Input(u.n, slot) }

func (u *unroller) input(slot int) int32 {
	if t := u.tensor(slot); t != nil {
		return int32(t.Index)
	}
	return -1
}

// axis is the dimension of time.
func (u *unroller) axis() int32 {
	if u.timeMajor {
		return 0
	}
	return 1
}

func (u *unroller) steps() int { return u.g.Input(u.n, 0).Shape[u.axis()] }

// stateless refuses a layer whose state anything else reads or sets. Constant zeros are none: files of float16 weights begin with such, which a
// DEQUANTIZE makes.
func (u *unroller) stateless(slots ...int) error {
	for _, slot := range slots {
		t := u.tensor(slot)
		if t == nil || zeros(t) && len(t.Consumers) == 1 {
			continue
		}
		if t.Producer >= 0 || t.Const != nil || slices.Contains(u.g.Inputs, t.Index) || len(t.Consumers) > 1 {
			return u.fail("its state %s is given from outside: export the layer with a state of its own that begins with zeros", t)
		}
	}
	return nil
}

// partStates gives loops that begin with the state of a fused recurrent layer zeros of their own. The converter makes one tensor of zeros that are alike,
// also where a layer then writes its state into it; as trained, both begin with zeros. It returns a note for each loop.
func partStates(m *tflite.Model) (notes []string) {
	sub, states := m.Subgraph(), map[int32]int{} // the layer of each state
	for i, o := range sub.Operators {
		code, _ := m.Op(o)
		if layers[code] == nil {
			continue
		}
		for _, t := range o.Inputs {
			if t < 0 {
				continue
			}
			if of := sub.Tensors[t]; of.IsVariable && of.Type == schema.TensorTypeFLOAT32 && !m.IsConst(of) && len(of.Shape) == 2 && min(of.Shape[0], of.Shape[1]) > 0 && max(of.Shape[0], of.Shape[1]) <= maxState {
				states[t] = i
			}
		}
	}
	for i, o := range sub.Operators {
		code, _ := m.Op(o)
		if code != schema.BuiltinOperatorWHILE {
			continue
		}
		for k, t := range o.Inputs {
			layer, shared := states[t]
			if !shared {
				continue
			}
			of := sub.Tensors[t]
			sub.Tensors = append(sub.Tensors, &schema.TensorT{Name: of.Name + "_zeros", Shape: slices.Clone(of.Shape), HasRank: true, Buffer: m.AddBuffer(make([]byte, 4*int(of.Shape[0])*int(of.Shape[1])))})
			o.Inputs[k] = int32(len(sub.Tensors) - 1)
			notes = append(notes, fmt.Sprintf("operator %d WHILE begins with zeros, as trained: in the file it has its first state in one tensor with the state of operator %d, so that LiteRT begins it with what that layer left", i, layer))
		}
	}
	return notes
}

// zeros reports whether a tensor is a constant of float32 zeros.
func zeros(t *Tensor) bool {
	return t.Float32s() != nil && !slices.ContainsFunc(t.Float32s(), func(v float32) bool { return v != 0 })
}

// joined lays constants one behind the other along their first dimension; −1 if none of them is there.
func (u *unroller) joined(name string, slots []int) (int32, error) {
	var values []float32
	var shape []int32
	var of []int32
	for _, slot := range slots {
		t := u.tensor(slot)
		of = append(of, u.input(slot))
		switch {
		case t == nil && len(values) == 0:
			continue
		case t == nil || t.Float32s() == nil || len(t.Shape) == 0 || shape != nil && !slices.Equal(int32s(t.Shape[1:]), shape[1:]):
			return 0, u.fail("input %d, of its %s, is no float32 constant like those of the other gates: convert the float model, with trained weights as constants", slot, name)
		case shape == nil && slot != slots[0]:
			return 0, u.fail("input %d, of its %s, is there, input %d is not", slot, name, slots[0])
		}
		if shape == nil {
			shape = int32s(t.Shape)
			shape[0] = 0
		}
		shape[0] += int32(t.Shape[0])
		values = append(values, t.Float32s()...)
	}
	if shape == nil {
		return -1, nil
	}
	key := fmt.Sprint(of)
	if _, ok := u.shared[key]; !ok {
		u.shared[key] = u.constant(name, values, shape...)
	}
	return u.shared[key], nil
}

// write replaces the layer.
func (u *unroller) write(c cell) error {
	switch n := u.steps(); {
	case n == 1:
		return u.fail("it computes one step a call and keeps its state from call to call, which is not supported: export a model of whole sequences")
	case n > maxSteps:
		return u.fail("its %d steps are more than the %d that are written out: export the model for shorter sequences", n, maxSteps)
	}
	out := u.operator.Outputs[0]
	sub := u.m.Subgraph()
	shape := u.g.Output(u.n, 0).Shape
	all := u.dense(u.operator.Inputs[0], u.kernel, u.biases)
	parts := u.unpack(all)
	outputs := make([]int32, len(parts))
	for t, x := range parts {
		outputs[t] = c.step(x)
	}
	u.add(schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions,
		&schema.PackOptionsT{ValuesCount: int32(len(outputs)), Axis: u.axis()}, [][]int32{int32s(shape)}, outputs...)
	u.written[len(u.written)-1].Outputs = []int32{out}
	at := slices.Index(sub.Operators, u.operator)
	sub.Operators = slices.Replace(sub.Operators, at, at+1, u.written...)
	return nil
}

// constant adds a constant of the layer.
func (u *unroller) constant(name string, values []float32, shape ...int32) int32 {
	return u.tensorOf(name, &schema.TensorT{Shape: shape, Buffer: u.m.AddBuffer(tflite.Float32Bytes(values))})
}

// tensorOf adds a tensor that is named after the layer.
func (u *unroller) tensorOf(name string, t *schema.TensorT) int32 {
	sub := u.m.Subgraph()
	t.Name = sub.Tensors[u.operator.Outputs[0]].Name + "/" + name
	t.HasRank = true
	sub.Tensors = append(sub.Tensors, t)
	return int32(len(sub.Tensors) - 1)
}

// add writes an operator and returns its outputs.
func (u *unroller) add(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, shapes [][]int32, inputs ...int32) []int32 {
	o := &schema.OperatorT{OpcodeIndex: operatorCode(u.m, code), Inputs: inputs}
	if kind != schema.BuiltinOptionsNONE {
		o.BuiltinOptions = &schema.BuiltinOptionsT{Type: kind, Value: options}
	}
	for _, shape := range shapes {
		o.Outputs = append(o.Outputs, u.tensorOf(strconv.Itoa(len(u.written)), &schema.TensorT{Shape: slices.Clone(shape)}))
	}
	u.written = append(u.written, o)
	return o.Outputs
}

// operatorCode finds an operator's code in the model, or adds it.
func operatorCode(m *tflite.Model, code schema.BuiltinOperator) uint32 {
	for i, c := range m.OperatorCodes {
		if c.BuiltinCode == code {
			return uint32(i)
		}
	}
	m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: code, DeprecatedBuiltinCode: int8(min(code, 127)), Version: 1})
	return uint32(len(m.OperatorCodes) - 1)
}

func (u *unroller) shape(t int32) []int32 { return u.m.Subgraph().Tensors[t].Shape }

// dense is x·wᵀ + bias over the last dimension.
func (u *unroller) dense(x, w, bias int32) int32 {
	shape := slices.Clone(u.shape(x))
	shape[len(shape)-1] = u.shape(w)[0]
	return u.add(schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{KeepNumDims: true},
		[][]int32{shape}, x, w, bias)[0]
}

// unpack takes the steps apart.
func (u *unroller) unpack(x int32) []int32 {
	shape := slices.Delete(slices.Clone(u.shape(x)), int(u.axis()), int(u.axis())+1)
	n := u.steps()
	return u.add(schema.BuiltinOperatorUNPACK, schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Num: int32(n), Axis: u.axis()},
		slices.Repeat([][]int32{shape}, n), x)
}

// split takes the gates apart, which lie one after the other in the last dimension.
func (u *unroller) split(x int32, n int) []int32 {
	shape := slices.Clone(u.shape(x))
	shape[len(shape)-1] /= int32(n)
	axis := u.tensorOf("axis", &schema.TensorT{Type: schema.TensorTypeINT32, Shape: []int32{}, Buffer: u.m.AddBuffer(tflite.Int32Bytes([]int32{int32(len(shape) - 1)}))})
	return u.add(schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: int32(n)},
		slices.Repeat([][]int32{shape}, n), axis, x)
}

func (u *unroller) unary(code schema.BuiltinOperator, x int32) int32 {
	return u.add(code, schema.BuiltinOptionsNONE, nil, [][]int32{u.shape(x)}, x)[0]
}

// binary combines tensors of one shape, or of which one is a constant that fits the other.
func (u *unroller) binary(code schema.BuiltinOperator, a, b int32) int32 {
	kind, options := schema.BuiltinOptionsAddOptions, any(&schema.AddOptionsT{})
	switch code {
	case schema.BuiltinOperatorSUB:
		kind, options = schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}
	case schema.BuiltinOperatorMUL:
		kind, options = schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}
	case schema.BuiltinOperatorMINIMUM, schema.BuiltinOperatorMAXIMUM:
		kind, options = schema.BuiltinOptionsMaximumMinimumOptions, &schema.MaximumMinimumOptionsT{}
	}
	shape := u.shape(a)
	if len(u.shape(b)) > len(shape) {
		shape = u.shape(b)
	}
	return u.add(code, kind, options, [][]int32{shape}, a, b)[0]
}

// activate writes an activation function, nothing where there is none.
func (u *unroller) activate(act schema.ActivationFunctionType, x int32) int32 {
	switch act {
	case schema.ActivationFunctionTypeTANH:
		return u.unary(schema.BuiltinOperatorTANH, x)
	case schema.ActivationFunctionTypeRELU:
		return u.unary(schema.BuiltinOperatorRELU, x)
	case schema.ActivationFunctionTypeRELU6:
		return u.unary(schema.BuiltinOperatorRELU6, x)
	case schema.ActivationFunctionTypeRELU_N1_TO_1:
		return u.unary(schema.BuiltinOperatorRELU_N1_TO_1, x)
	}
	return x
}

// clipped keeps values within ±limit; 0 is none.
func (u *unroller) clipped(x int32, limit float32) int32 {
	if limit <= 0 {
		return x
	}
	x = u.binary(schema.BuiltinOperatorMINIMUM, x, u.constant("clip", []float32{limit}, 1))
	return u.binary(schema.BuiltinOperatorMAXIMUM, x, u.constant("clip", []float32{-limit}, 1))
}
