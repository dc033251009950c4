package quantize

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// staleMetadata are entries of a float model that are no longer true of its int8 form: how it was converted, and the state
// of its weights, which the integers now hold.
var staleMetadata = []string{"CONVERSION_METADATA", weight.MetadataName}

// Leaf is an emitted int8 model and what was written into it.
type Leaf struct {
	Model *tflite.Model
	// Weights are the integers and scales as emitted, by the weight tensor's index in the float model.
	Weights map[int]Weights
	// Tensor maps the float model's tensor indices to the leaf's; None if a tensor is gone. They are equal unless the float
	// model had tensors that nothing used.
	Tensor []int
	// forms are the leaf's int8 tensors of each weight tensor of the float model.
	forms map[int][]int
	// Notes say, one line each, where emission had to deviate: scales raised so that a bias fits int32.
	Notes []string
}

// Emit writes the int8 form of the float model m, which plan was made from: params by group, weights by tensor index. Weights
// not given are taken from the model's own constants by symmetric quantization. Operators and tensors keep their order and
// indices; QUANTIZE and DEQUANTIZE operators, and the tensors they need, come in between and at the end. m is not changed.
func Emit(m *tflite.Model, plan *Plan, params []Params, weights map[int]Weights) (*Leaf, error) {
	if len(params) != len(plan.Groups) {
		return nil, fmt.Errorf("%d quantizations for a plan of %d groups", len(params), len(plan.Groups))
	}
	for g, p := range params {
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("quantization of %s: %w", plan.groupName(g), err)
		}
	}
	e := &emitter{model: m, plan: plan, params: params, leaf: &Leaf{Model: m.Clone(), forms: map[int][]int{}}, forms: map[form]int{}, taken: map[int]string{}}
	e.sub = e.leaf.Model.Subgraph()
	if err := e.layers(weights); err != nil {
		return nil, err
	}
	e.operators()
	for _, name := range staleMetadata {
		e.leaf.Model.DeleteMetadata(name)
	}
	e.leaf.Tensor = compact(e.leaf.Model)
	e.leaf.settle()
	if err := e.leaf.Model.Check(); err != nil {
		return nil, fmt.Errorf("emitted model: %w", err)
	}
	return e.leaf, nil
}

// Forms are the leaf's tensors that hold a weight tensor of the float model: as integers, as floats, or both.
func (l *Leaf) Forms(weight int) []int {
	forms := slices.Clone(l.forms[weight])
	if at := l.Tensor[weight]; at != None && l.Model.Subgraph().Tensors[at].Type == schema.TensorTypeFLOAT32 {
		forms = append(forms, at)
	}
	return forms
}

// settle moves the integer forms to their indices in the compacted leaf.
func (l *Leaf) settle() {
	for t, forms := range l.forms {
		for i, f := range forms {
			forms[i] = l.Tensor[f]
		}
		slices.Sort(forms)
		l.forms[t] = slices.Compact(forms)
	}
}

// compact drops what nothing refers to and returns the new index of every tensor of the primary subgraph, None if dropped.
func compact(m *tflite.Model) []int {
	before := m.Subgraph().Tensors
	tflite.Compact(m)
	after := m.Subgraph().Tensors
	moved := make([]int, len(before))
	next := 0
	for t := range before {
		moved[t] = None
		if next < len(after) && after[next] == before[t] {
			moved[t] = next
			next++
		}
	}
	return moved
}

// groupName names a group by its first tensor.
func (p *Plan) groupName(g int) string {
	switch group := &p.Groups[g]; {
	case len(group.Tensors) > 0:
		return p.name(group.Tensors[0])
	case len(group.Sources) > 0:
		return p.name(group.Sources[0])
	default:
		return fmt.Sprintf("group %d", g)
	}
}

// form is one representation of a tensor: int8 in a group's quantization, or float with group None.
type form struct{ tensor, group int }

type emitter struct {
	model  *tflite.Model // the float model, whose constants may be newer than the plan's
	plan   *Plan
	params []Params
	leaf   *Leaf
	sub    *schema.SubGraphT
	forms  map[form]int        // index in the file of each form made so far
	taken  map[int]string      // constants that were rewritten under their own index, and as what
	file   []*schema.OperatorT // by node
	ops    []*schema.OperatorT // in the leaf
	inputs map[[2]int]int      // (node, slot) → tensor index, of weights and biases
}

// Integers chooses the integers of every layer's weights in m, by tensor: those given, else the model's own values quantized. Scales too
// small for a bias to fit int32 are raised, codes kept, which the notes say.
func (p *Plan) Integers(m *tflite.Model, params []Params, given map[int]Weights) (weights map[int]Weights, notes []string, err error) {
	floors := map[int][]float32{} // by weight tensor: layers may share one
	for _, l := range p.Layers {
		if l.Bias != None {
			floor := scaleFloor(p.constant(m, l.Bias), params[p.inputGroup(l)].Scale)
			floors[l.Weight] = maxima(floors[l.Weight], floor)
		}
	}
	weights = map[int]Weights{}
	for _, l := range p.Layers {
		if _, ok := weights[l.Weight]; ok { // of a layer that shares the tensor
			continue
		}
		shape := p.Graph.Tensors[l.Weight].Shape
		w, ok := given[l.Weight]
		if !ok {
			if w, err = Symmetric(l.Name, p.constant(m, l.Weight), shape, l.Axis, l.PerChannel, floors[l.Weight]); err != nil {
				return nil, nil, fmt.Errorf("layer %q: %w", l.Name, err)
			}
		}
		if err := w.check(shape, l.Axis); err != nil {
			return nil, nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		w, raised := w.withFloor(floors[l.Weight])
		if len(raised) > 0 {
			notes = append(notes, fmt.Sprintf("layer %q: scales of channels %v raised, codes kept, so that their biases fit int32", l.Name, raised))
		}
		weights[l.Weight] = w
	}
	return weights, notes, nil
}

// layers writes weights and biases.
func (e *emitter) layers(given map[int]Weights) (err error) {
	e.inputs = map[[2]int]int{}
	if e.leaf.Weights, e.leaf.Notes, err = e.plan.Integers(e.model, e.params, given); err != nil {
		return err
	}
	for _, l := range e.plan.Layers {
		w := e.leaf.Weights[l.Weight]
		r := ruleOf(&e.plan.Graph.Nodes[l.Node])
		at := e.constant(l.Weight, fmt.Sprint("weight ", l.Axis, len(w.Scale)), schema.TensorTypeINT8, tflite.Int8Bytes(w.Codes), &schema.QuantizationParametersT{
			Scale: w.Scale, ZeroPoint: make([]int64, len(w.Scale)), QuantizedDimension: int32(axisOf(w, l.Axis)),
		})
		e.inputs[[2]int{l.Node, r.Find(op.Weight)}] = at
		e.leaf.forms[l.Weight] = append(e.leaf.forms[l.Weight], at)
		if l.Bias == None {
			continue
		}
		input := e.inputOf(l).Scale
		scale := biasScale(input, w.Scale)
		codes := biasCodes(e.values(l.Bias), input, w.Scale)
		e.inputs[[2]int{l.Node, r.Find(op.Bias)}] = e.constant(l.Bias, fmt.Sprint("bias ", codes, scale), schema.TensorTypeINT32, tflite.Int32Bytes(codes), &schema.QuantizationParametersT{
			Scale: scale, ZeroPoint: make([]int64, len(scale)),
		})
	}
	return nil
}

// inputOf is the quantization of a layer's input.
func (e *emitter) inputOf(l Layer) Params { return e.params[e.plan.inputGroup(l)] }

// axisOf is the quantized dimension to write: 0 where there is one scale.
func axisOf(w Weights, axis int) int {
	if len(w.Scale) == 1 {
		return 0
	}
	return axis
}

func maxima(a, b []float32) []float32 {
	if a == nil {
		return b
	}
	for i := range a {
		a[i] = max(a[i], b[i])
	}
	return a
}

// operators rewrites the operator list.
func (e *emitter) operators() {
	for t := range e.plan.Graph.Tensors {
		if !e.plan.isActivation(t) {
			continue
		}
		if e.plan.stored(t) {
			e.forms[form{t, e.plan.Tensor[t]}] = t
			e.setInt8(t, e.plan.Tensor[t])
		} else {
			e.forms[form{t, None}] = t
		}
	}
	e.file = e.sub.Operators
	for i, o := range e.file {
		n, np := &e.plan.Graph.Nodes[i], &e.plan.Nodes[i]
		for slot, t := range n.Inputs {
			if t >= 0 {
				o.Inputs[slot] = int32(e.operand(i, slot))
			}
		}
		var after []*schema.OperatorT
		for slot, t := range n.Outputs {
			if !e.plan.isActivation(t) {
				continue
			}
			made := form{t, None}
			if np.Int8 {
				made.group = e.plan.Tensor[t]
			}
			if _, ok := e.forms[made]; ok {
				continue
			}
			// A model output of the other type: the node writes a tensor of its own, converted right after.
			from, to := e.newTensor(made), t
			o.Outputs[slot] = int32(from)
			after = append(after, e.conversion(from, to))
		}
		e.ops = append(append(e.ops, o), after...)
	}
	e.sub.Operators = e.ops
	e.dropFolded()
}

// dropFolded removes operators that only computed a constant (such as float32 weights from float16) which nothing reads any more.
func (e *emitter) dropFolded() {
	folded := map[*schema.OperatorT]bool{}
	for i := range e.plan.Graph.Nodes {
		folded[e.file[i]] = e.plan.Graph.Nodes[i].Folded
	}
	for again := true; again; {
		read := map[int32]bool{}
		for _, list := range append([][]int32{e.sub.Outputs}, inputsOf(e.sub.Operators)...) {
			for _, t := range list {
				read[t] = true
			}
		}
		before := len(e.sub.Operators)
		e.sub.Operators = slices.DeleteFunc(e.sub.Operators, func(o *schema.OperatorT) bool {
			return folded[o] && !slices.ContainsFunc(o.Outputs, func(t int32) bool { return read[t] })
		})
		again = len(e.sub.Operators) < before
	}
}

func inputsOf(operators []*schema.OperatorT) [][]int32 {
	var lists [][]int32
	for _, o := range operators {
		lists = append(lists, o.Inputs)
	}
	return lists
}

// operand returns the tensor a node is to read in an input slot, after making it.
func (e *emitter) operand(node, slot int) int {
	t := e.plan.Graph.Nodes[node].Inputs[slot]
	if index, ok := e.inputs[[2]int{node, slot}]; ok {
		return index
	}
	np := &e.plan.Nodes[node]
	group := np.Operands[slot]
	switch {
	case e.plan.Graph.Tensors[t].Const != nil && group != None:
		p := e.params[group]
		values := e.values(t)
		quantized := make([]int8, len(values))
		for i, v := range values {
			quantized[i] = p.Quantize(v)
		}
		return e.constant(t, fmt.Sprint("operand ", p), schema.TensorTypeINT8, tflite.Int8Bytes(quantized), p.schema())
	case !e.plan.isActivation(t):
		return t
	case e.plan.idle(&e.plan.Graph.Nodes[node]):
		return t
	default:
		return e.activation(form{t, group})
	}
}

// activation returns the index of a form of an activation, converting one that exists if need be.
func (e *emitter) activation(want form) int {
	if index, ok := e.forms[want]; ok {
		return index
	}
	// The source is what the producer wrote: converting that loses least.
	home := form{want.tensor, e.plan.Tensor[want.tensor]}
	source, ok := e.forms[home]
	if float, has := e.forms[form{want.tensor, None}]; has && (!ok || !e.madeInt8(want.tensor)) {
		source = float
	}
	index := e.newTensor(want)
	e.ops = append(e.ops, e.conversion(source, index))
	return index
}

// madeInt8 reports whether the producer of a tensor writes int8.
func (e *emitter) madeInt8(t int) bool {
	if producer := e.plan.Graph.Tensors[t].Producer; producer >= 0 {
		return e.plan.Nodes[producer].Int8
	}
	return e.plan.stored(t)
}

// newTensor appends a tensor for a form.
func (e *emitter) newTensor(f form) int {
	of := e.sub.Tensors[f.tensor]
	t := &schema.TensorT{Shape: of.Shape, ShapeSignature: of.ShapeSignature, HasRank: of.HasRank, Name: of.Name + "_float"}
	index := len(e.sub.Tensors)
	e.sub.Tensors = append(e.sub.Tensors, t)
	if f.group != None {
		t.Name = of.Name + "_int8"
		e.setInt8(index, f.group)
	}
	e.forms[f] = index
	return index
}

func (e *emitter) setInt8(index, group int) {
	t := e.sub.Tensors[index]
	t.Type = schema.TensorTypeINT8
	t.Quantization = e.params[group].schema()
}

// schema is the quantization as written into the file.
func (p Params) schema() *schema.QuantizationParametersT {
	return &schema.QuantizationParametersT{Scale: []float32{p.Scale}, ZeroPoint: []int64{int64(p.ZeroPoint)}}
}

// conversion makes a QUANTIZE or DEQUANTIZE operator.
func (e *emitter) conversion(from, to int) *schema.OperatorT {
	code := schema.BuiltinOperatorQUANTIZE
	options := &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsQuantizeOptions, Value: &schema.QuantizeOptionsT{}}
	if e.sub.Tensors[to].Type == schema.TensorTypeFLOAT32 {
		code = schema.BuiltinOperatorDEQUANTIZE
		options = &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsDequantizeOptions, Value: &schema.DequantizeOptionsT{}}
	}
	return &schema.OperatorT{OpcodeIndex: e.opcode(code), Inputs: []int32{int32(from)}, Outputs: []int32{int32(to)}, BuiltinOptions: options}
}

// opcode returns the index of an operator code, adding it if the model has none.
func (e *emitter) opcode(code schema.BuiltinOperator) uint32 {
	codes := e.leaf.Model.OperatorCodes
	for i, c := range codes {
		if c.BuiltinCode == code {
			return uint32(i)
		}
	}
	e.leaf.Model.OperatorCodes = append(codes, &schema.OperatorCodeT{BuiltinCode: code, DeprecatedBuiltinCode: int8(code), Version: 1})
	return uint32(len(codes))
}

// constant rewrites constant t as the given integers and returns its index: t itself for the first use, unless a float node
// reads it too; for a use that needs other integers, a new tensor. as identifies the integers.
func (e *emitter) constant(t int, as string, typ schema.TensorType, data []byte, q *schema.QuantizationParametersT) int {
	index, ok := t, true
	if e.readAsFloat(t) || !e.model.IsConst(e.model.Subgraph().Tensors[t]) {
		ok = false
	} else if now, done := e.taken[t]; done {
		if now == as {
			return t
		}
		ok = false
	}
	if !ok {
		of := e.sub.Tensors[t]
		index = len(e.sub.Tensors)
		e.sub.Tensors = append(e.sub.Tensors, &schema.TensorT{Shape: of.Shape, HasRank: of.HasRank, Name: of.Name + "_int8"})
	}
	e.taken[index] = as
	tensor := e.sub.Tensors[index]
	tensor.Type, tensor.Quantization = typ, q
	tensor.Buffer = e.leaf.Model.AddBuffer(data)
	return index
}

// readAsFloat reports whether a node that stays float reads t, or the model gives it as an output.
func (e *emitter) readAsFloat(t int) bool {
	for _, n := range e.plan.Graph.Tensors[t].Consumers {
		if !e.plan.Nodes[n].Int8 {
			return true
		}
	}
	return contains(e.plan.Graph.Outputs, t)
}

// values returns the values of a float32 constant of the model.
func (e *emitter) values(t int) []float32 { return e.plan.constant(e.model, t) }

// constant returns the values that a float32 constant of the plan's graph has in m, which is the planned model or a later version
// of it, with other weights. What the graph computed from constants (see dropFolded) has its value at the time of planning.
func (p *Plan) constant(m *tflite.Model, t int) []float32 {
	if tensor := m.Subgraph().Tensors[t]; m.IsConst(tensor) {
		if values, err := m.Float32s(tensor); err == nil {
			return values
		}
	}
	return p.Graph.Tensors[t].Float32s()
}
