package ir

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// OpenError says that the size of an input is open and was not decided, or how many steps of it make a sequence.
type OpenError struct {
	Input     string
	Signature []int32 // −1 where the size is open; of one step, without any
	Reason    string
}

func (e *OpenError) Error() string {
	parts := make([]string, len(e.Signature))
	for i, d := range e.Signature {
		if parts[i] = fmt.Sprint(d); d == -1 {
			parts[i] = "?"
		}
	}
	size := strings.Join(parts, " ")
	if !slices.Contains(e.Signature, -1) {
		return fmt.Sprintf("the input %q, [%s], is one step: %s", e.Input, size, e.Reason)
	}
	return fmt.Sprintf("the input's size is open: %q is [%s]: %s", e.Input, size, e.Reason)
}

// Specialize turns a model, in place, into one in which every shape is a number. Open leading dimensions take batch 1, other open
// dimensions of input k the sizes of samples[k], a sample's shape without the batch; arithmetic on shapes and on other constants
// becomes constants, loops, branches and fused recurrent layers the operators that they stand for, and dilated convolutions written as
// SPACE_TO_BATCH_ND → convolutions → BATCH_TO_SPACE_ND just that. What
// an open dimension left in the file no longer depends on stays open in the shape signatures. A model without anything to decide or
// fold is left as it is. It returns a note for every kind of change. An open size that samples do not tell is an *OpenError.
func Specialize(m *tflite.Model, samples [][]int) (notes []string, err error) {
	if err := NeverSet(m); err != nil {
		return nil, err
	}
	s := specializer{m: m}
	if notes, err = s.decideInputs(samples); err != nil {
		return nil, err
	}
	if !s.decided && !worthwhile(m) {
		return nil, nil
	}
	original := m.Clone()
	unrolled, folded, dilated, err := fix(m)
	if err != nil {
		return nil, err
	}
	if !s.decided && folded+dilated+len(unrolled) == 0 {
		m.ModelT = original.ModelT
		return nil, nil
	}
	notes = append(notes, unrolled...)
	if folded > 0 {
		notes = append(notes, fmt.Sprintf("%d operators on shapes and constants computed once", folded))
	}
	if dilated > 0 {
		notes = append(notes, fmt.Sprintf("%d convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND written as dilated convolutions", dilated))
	}
	notes = append(notes, s.signatures(original)...)
	tflite.Compact(m)
	return notes, nil
}

// OpenSizes reports whether an input has a dimension besides the first that the file leaves open.
func OpenSizes(m *tflite.Model) bool {
	g := m.Subgraph()
	return slices.ContainsFunc(g.Inputs, func(i int32) bool {
		t := g.Tensors[i]
		return len(t.ShapeSignature) == len(t.Shape) && len(t.Shape) > 0 && slices.Contains(t.ShapeSignature[1:], -1)
	})
}

// fix unrolls, folds and unfolds a model whose inputs have their sizes, and writes the shapes into it.
func fix(m *tflite.Model) (unrolled []string, folded, dilated int, err error) {
	g, unrolled, err := unroll(m)
	if err != nil {
		return nil, 0, 0, err
	}
	if empty := dropEmptyParts(m, g); empty > 0 {
		unrolled = append(unrolled, fmt.Sprintf("%d parts of splits that are empty and that nothing reads left out", empty))
		if g, err = parseDeep(m); err != nil {
			return nil, 0, 0, err
		}
	}
	if folded = store(m, g); folded > 0 {
		if g, err = parseDeep(m); err != nil {
			return nil, 0, 0, err
		}
	}
	if dilated = unfoldDilations(m, g); dilated > 0 {
		if g, err = parseDeep(m); err != nil {
			return nil, 0, 0, err
		}
	}
	for i, t := range m.Subgraph().Tensors {
		if g.Tensors[i].Producer >= 0 {
			t.Shape = int32s(g.Tensors[i].Shape)
		}
	}
	return unrolled, folded, dilated, nil
}

// unroll writes loops, branches and fused recurrent layers as the operators that they stand for. It returns what the model then is.
func unroll(m *tflite.Model) (g *Graph, notes []string, err error) {
	notes = partStates(m)
	for {
		if g, err = parseDeep(m); err != nil {
			return nil, nil, err
		}
		note, err := unrollControl(m, g)
		if err != nil {
			return nil, nil, err
		}
		if note == "" {
			break
		}
		notes = append(notes, note)
	}
	switch hybrid, err := dequantizeLayers(m); {
	case err != nil:
		return nil, nil, err
	case hybrid > 0:
		if g, err = parseDeep(m); err != nil {
			return nil, nil, err
		}
	}
	layers, err := unrollLayers(m, g)
	if err != nil {
		return nil, nil, err
	}
	if notes = append(notes, layers...); len(notes) == 0 {
		return g, nil, nil
	}
	dropDead(m)
	tflite.DropSubgraphs(m)
	g, err = parseDeep(m)
	return g, notes, err
}

// parseDeep parses a model at its own batch and folds all that is constant.
func parseDeep(m *tflite.Model) (*Graph, error) {
	g, err := load(m)
	if err != nil {
		return nil, err
	}
	p := parser{Graph: g, deep: true}
	return g, p.infer()
}

type specializer struct {
	m         *tflite.Model
	decided   bool // an input's shape was changed
	batchOpen bool
	sizesOpen bool
}

// worthwhile reports whether there is an operator that may be folded or unfolded, so that other models cost nothing.
func worthwhile(m *tflite.Model) bool {
	g := m.Subgraph()
	variable := func(t int32) bool { return t < 0 || !m.IsConst(g.Tensors[t]) || slices.Contains(g.Inputs, t) }
	for _, o := range g.Operators {
		switch code, _ := m.Op(o); code {
		case schema.BuiltinOperatorSHAPE, schema.BuiltinOperatorRANK, schema.BuiltinOperatorSPACE_TO_BATCH_ND, schema.BuiltinOperatorWHILE, schema.BuiltinOperatorIF, schema.BuiltinOperatorREAD_VARIABLE,
			schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN, schema.BuiltinOperatorSPLIT_V:
			return true
		case schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOperatorQUANTIZE:
		default:
			if len(o.Inputs) > 0 && !slices.ContainsFunc(o.Inputs, variable) {
				return true
			}
		}
	}
	return false
}

// decideInputs gives the inputs their shapes.
func (s *specializer) decideInputs(samples [][]int) (notes []string, err error) {
	g := s.m.Subgraph()
	for k, i := range g.Inputs {
		t := g.Tensors[i]
		if !slices.Contains(t.ShapeSignature, -1) || len(t.ShapeSignature) != len(t.Shape) {
			continue
		}
		shape := slices.Clone(t.Shape)
		if t.ShapeSignature[0] == -1 {
			s.batchOpen = true
			shape[0] = 1
		}
		if slices.Contains(t.ShapeSignature[1:], -1) {
			s.sizesOpen = true
			var sample []int
			if k < len(samples) {
				sample = samples[k]
			}
			if err := fillSizes(t, shape[1:], sample); err != nil {
				return nil, err
			}
			notes = append(notes, fmt.Sprintf("input %q, whose size is open, takes the samples': %v", t.Name, shape[1:]))
		}
		if !slices.Equal(shape, t.Shape) {
			t.Shape, s.decided = shape, true
		}
	}
	return notes, nil
}

// fillSizes writes a sample's sizes into the open dimensions of an input's shape without the batch.
func fillSizes(t *schema.TensorT, shape []int32, sample []int) error {
	open := t.ShapeSignature[1:]
	fail := func(format string, args ...any) error {
		return &OpenError{t.Name, t.ShapeSignature, fmt.Sprintf(format, args...)}
	}
	if sample == nil {
		return fail("samples tell it: give a dataset whose samples have one size, or export the model with a fixed size")
	}
	fitted := slices.Clone(sample)
	if len(fitted) == len(open)-1 && open[len(open)-1] == 1 {
		fitted = append(fitted, 1)
	}
	if len(fitted) == len(open)+1 && fitted[len(open)] == 1 {
		fitted = fitted[:len(open)]
	}
	if len(fitted) != len(open) {
		return fail("the dataset's samples have shape %v, which has %d dimensions and not %d; give samples of that many, or export the model with a fixed size", sample, len(sample), len(open))
	}
	for d, size := range fitted {
		if open[d] != -1 && int(open[d]) != size {
			return fail("the dataset's samples have shape %v, whose dimension %d is %d and not %d; dataset.preprocessing (channels, layout) or other samples mend that", sample, d, size, open[d])
		}
		shape[d] = int32(size)
	}
	return nil
}

// store writes what was folded into the model and drops the operators. It returns how many.
func store(m *tflite.Model, g *Graph) int {
	sub := m.Subgraph()
	kept, dropped := make([]*schema.OperatorT, 0, len(sub.Operators)), 0
	for i, o := range sub.Operators {
		n := &g.Nodes[i]
		if once, ok := n.Attr.(CallOnce); ok && g.unread(once) {
			dropped++
			continue
		}
		if !n.Folded || slices.ContainsFunc(n.Outputs, func(t int) bool { return slices.Contains(g.Outputs, t) }) {
			kept = append(kept, o)
			if n.Op == schema.BuiltinOperatorCONCATENATION {
				o.Inputs = slices.DeleteFunc(o.Inputs, func(t int32) bool { return t >= 0 && g.Numel(int(t)) == 0 && g.Output(n, 0).Numel() > 0 })
			}
			continue
		}
		dropped++
		for _, t := range n.Outputs {
			tensor := sub.Tensors[t]
			tensor.Shape, tensor.ShapeSignature = int32s(g.Tensors[t].Shape), nil
			if len(g.Tensors[t].Const) > 0 {
				tensor.Buffer = m.AddBuffer(g.Tensors[t].Const)
			}
		}
	}
	sub.Operators = kept
	if dropped > 0 {
		dropDead(m)
		tflite.DropSubgraphs(m)
	}
	return dropped
}

// dropEmptyParts leaves out the parts of SPLIT_V without elements that nothing reads, such as those of a Keras GRU with reset_after=False. It returns how many.
func dropEmptyParts(m *tflite.Model, g *Graph) (dropped int) {
	sub, sizes := m.Subgraph(), map[string]int32{}
	for i, o := range sub.Operators {
		n := &g.Nodes[i]
		split, ok := n.Attr.(Split)
		if !ok || n.Op != schema.BuiltinOperatorSPLIT_V || len(n.Outputs) != len(split.Sizes) {
			continue
		}
		var outputs, kept []int32
		for k, t := range n.Outputs {
			if t < 0 || split.Sizes[k] > 0 || len(g.Tensors[t].Consumers) > 0 || slices.Contains(g.Outputs, t) {
				outputs, kept = append(outputs, o.Outputs[k]), append(kept, int32(split.Sizes[k]))
			}
		}
		if len(kept) == 0 || len(kept) == len(n.Outputs) {
			continue
		}
		dropped += len(n.Outputs) - len(kept)
		key := fmt.Sprint(kept)
		if _, ok := sizes[key]; !ok {
			sub.Tensors = append(sub.Tensors, &schema.TensorT{Name: sub.Tensors[o.Inputs[1]].Name + "_kept", Type: schema.TensorTypeINT32, Shape: []int32{int32(len(kept))}, HasRank: true,
				Buffer: m.AddBuffer(tflite.Int32Bytes(kept))})
			sizes[key] = int32(len(sub.Tensors) - 1)
		}
		o.Inputs, o.Outputs = slices.Clone(o.Inputs), outputs
		o.Inputs[1] = sizes[key]
		o.BuiltinOptions = &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsSplitVOptions, Value: &schema.SplitVOptionsT{NumSplits: int32(len(kept))}}
	}
	return dropped
}

// signatures decides which dimensions stay open: those at whose other sizes the same operators and constants would have come about,
// apart from targets of reshapes, whose first dimension can be left open.
func (s *specializer) signatures(original *tflite.Model) (notes []string) {
	sub := s.m.Subgraph()
	open := make([][]bool, len(sub.Tensors))
	for _, o := range []struct {
		open, batch bool
		note        string
	}{
		{s.batchOpen, true, "the batch, open in the file, is fixed at 1 in what is written"},
		{s.sizesOpen, false, "the input's size, open in the file, is fixed in what is written"},
	} {
		if !o.open {
			continue
		}
		other := resized(original, original, o.batch)
		if _, _, _, err := fix(other); err != nil || !s.alike(other, o.batch) {
			notes = append(notes, o.note)
			continue
		}
		for i, t := range other.Subgraph().Tensors {
			if len(open) <= i {
				break
			}
			for d, size := range t.Shape {
				for len(open[i]) <= d {
					open[i] = append(open[i], false)
				}
				open[i][d] = open[i][d] || d < len(sub.Tensors[i].Shape) && size != sub.Tensors[i].Shape[d]
			}
		}
	}
	for i, t := range sub.Tensors {
		t.ShapeSignature = nil
		if i < len(open) && !s.m.IsConst(t) && slices.Contains(open[i], true) {
			t.ShapeSignature = slices.Clone(t.Shape)
			for d := range t.ShapeSignature {
				if open[i][d] {
					t.ShapeSignature[d] = -1
				}
			}
		}
	}
	return notes
}

// resized returns a copy of a model with its open batch, or its other open sizes, doubled. What is open is read from another model of
// the same inputs.
func resized(m, signatures *tflite.Model, batch bool) *tflite.Model {
	other := m.Clone()
	for _, i := range signatures.Subgraph().Inputs {
		t := other.Subgraph().Tensors[i]
		for d, open := range signatures.Subgraph().Tensors[i].ShapeSignature {
			if open == -1 && (d == 0) == batch {
				t.Shape[d] *= 2
			}
		}
	}
	return other
}

// alike reports whether the model is the same as one specialized at other sizes, and leaves open what makes it so: the batch in the
// targets of reshapes.
func (s *specializer) alike(other *tflite.Model, batch bool) bool {
	a, b := s.m.Subgraph(), other.Subgraph()
	if len(a.Operators) != len(b.Operators) || len(a.Tensors) != len(b.Tensors) {
		return false
	}
	var targets []int
	for i, x := range a.Operators {
		y := b.Operators[i]
		code, _ := s.m.Op(x)
		if !slices.Equal(x.Inputs, y.Inputs) || !slices.Equal(x.Outputs, y.Outputs) {
			return false
		}
		reshapes := code == schema.BuiltinOperatorRESHAPE
		if !reshapes && !reflect.DeepEqual(x.BuiltinOptions, y.BuiltinOptions) {
			return false
		}
		for slot, t := range x.Inputs {
			if t < 0 || bytes.Equal(s.m.Data(a.Tensors[t]), other.Data(b.Tensors[t])) {
				continue
			}
			if !reshapes || !batch || slot != 1 || !onlyFirst(a.Tensors[x.Outputs[0]].Shape, b.Tensors[y.Outputs[0]].Shape) {
				return false
			}
			targets = append(targets, i)
		}
	}
	for _, i := range targets {
		target := slices.Clone(a.Tensors[a.Operators[i].Outputs[0]].Shape)
		target[0] = -1
		setTarget(s.m, a.Operators[i], target)
	}
	return true
}

// onlyFirst reports whether two shapes differ in their first dimension only and the rest can be a target beside an open dimension.
func onlyFirst(x, y []int32) bool {
	return len(x) == len(y) && len(x) > 0 && slices.Equal(x[1:], y[1:]) && !slices.Contains(x[1:], 0)
}

// setTarget gives a RESHAPE a target of its own.
func setTarget(m *tflite.Model, o *schema.OperatorT, target []int32) {
	sub := m.Subgraph()
	name := ""
	if len(o.Inputs) > 1 && o.Inputs[1] >= 0 {
		name = sub.Tensors[o.Inputs[1]].Name
	}
	t := &schema.TensorT{Type: schema.TensorTypeINT32, Shape: []int32{int32(len(target))}, Name: name, HasRank: true}
	t.Buffer = m.AddBuffer(tflite.Int32Bytes(target))
	sub.Tensors = append(sub.Tensors, t)
	o.Inputs = []int32{o.Inputs[0], int32(len(sub.Tensors) - 1)}
	o.BuiltinOptions = &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsReshapeOptions, Value: &schema.ReshapeOptionsT{NewShape: slices.Clone(target)}}
}

// setReshape makes an EXPAND_DIMS, SQUEEZE or RESHAPE give a shape; the first two do so already.
func setReshape(m *tflite.Model, o *schema.OperatorT, shape []int) {
	if code, _ := m.Op(o); code == schema.BuiltinOperatorRESHAPE {
		target := int32s(shape)
		target[0] = -1
		setTarget(m, o, target)
	}
}

// insertPad puts a PAD of height and width before an operator, whose first input of the given shape it pads, and returns its output.
func insertPad(m *tflite.Model, before *schema.OperatorT, shape []int, amount [4]int) int32 {
	sub := m.Subgraph()
	from := sub.Tensors[before.Inputs[0]]
	paddings := &schema.TensorT{Type: schema.TensorTypeINT32, Shape: []int32{4, 2}, Name: from.Name + "_paddings", HasRank: true}
	paddings.Buffer = m.AddBuffer(tflite.Int32Bytes([]int32{0, 0, int32(amount[0]), int32(amount[1]), int32(amount[2]), int32(amount[3]), 0, 0}))
	out := &schema.TensorT{Type: from.Type, Name: from.Name + "_padded", HasRank: true, Quantization: from.Quantization}
	out.Shape = int32s([]int{shape[0], shape[1] + amount[0] + amount[1], shape[2] + amount[2] + amount[3], shape[3]})
	sub.Tensors = append(sub.Tensors, paddings, out)
	y := int32(len(sub.Tensors) - 1)
	m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: schema.BuiltinOperatorPAD, DeprecatedBuiltinCode: int8(schema.BuiltinOperatorPAD), Version: 1})
	o := &schema.OperatorT{OpcodeIndex: uint32(len(m.OperatorCodes) - 1), Inputs: []int32{before.Inputs[0], y - 1}, Outputs: []int32{y},
		BuiltinOptions: &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsPadOptions, Value: &schema.PadOptionsT{}}}
	sub.Operators = slices.Insert(sub.Operators, slices.Index(sub.Operators, before), o)
	return y
}

// dropDead removes operators whose results nothing uses.
func dropDead(m *tflite.Model) {
	sub := m.Subgraph()
	used := map[int32]bool{}
	for _, t := range sub.Outputs {
		used[t] = true
	}
	for _, signature := range m.SignatureDefs {
		if signature.SubgraphIndex == 0 {
			for _, entry := range signature.Outputs {
				used[int32(entry.TensorIndex)] = true
			}
		}
	}
	var kept []*schema.OperatorT
	for i := len(sub.Operators) - 1; i >= 0; i-- {
		o := sub.Operators[i]
		if !slices.ContainsFunc(o.Outputs, func(t int32) bool { return used[t] }) && !effects(m, o) {
			continue
		}
		for _, t := range o.Inputs {
			used[t] = true
		}
		kept = append(kept, o)
	}
	slices.Reverse(kept)
	sub.Operators = kept
}

// effects reports whether an operator may do more than make its outputs.
func effects(m *tflite.Model, o *schema.OperatorT) bool {
	sub := m.Subgraph()
	for _, t := range o.Inputs {
		if t >= 0 && (sub.Tensors[t].IsVariable || sub.Tensors[t].Type == schema.TensorTypeRESOURCE) {
			return true
		}
	}
	switch code, _ := m.Op(o); code {
	case schema.BuiltinOperatorCUSTOM, schema.BuiltinOperatorCALL_ONCE, schema.BuiltinOperatorASSIGN_VARIABLE:
		return true
	default:
		return false
	}
}

func int32s(a []int) []int32 {
	out := make([]int32, len(a))
	for i, v := range a {
		out[i] = int32(v)
	}
	return out
}
