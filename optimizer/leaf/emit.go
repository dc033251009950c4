package leaf

import (
	"cmp"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// staleMetadata are entries of a float model that are no longer true of its int8 form: how it was converted, the state
// of its weights, which the integers now hold, and what it was cut from.
var staleMetadata = []string{"CONVERSION_METADATA", weight.MetadataName, channel.MetadataName}

// Emitted is a leaf, an int8 model, and what was written into it.
type Emitted struct {
	Model *tflite.Model
	// Weights are the integers and scales as emitted, by the weight tensor's index in the float model.
	Weights map[int]quantize.Weights
	// Tensor maps the float model's tensor indices to the leaf's; quantize.None if a tensor is gone. They are equal unless the float
	// model had tensors that nothing used.
	Tensor []int
	// forms are the leaf's int8 tensors of each weight tensor of the float model.
	forms map[int][]Form
	// Notes say, one line each, where emission had to deviate: scales raised so that a bias fits int32.
	Notes []string
}

// Emit writes the int8 form of the float model m, which plan was made from: params by group, weights by tensor index. Weights
// not given are taken from the model's own constants by symmetric quantization. Operators and tensors keep their order and
// indices; QUANTIZE and DEQUANTIZE operators, and the tensors they need, come in between and at the end. m is not changed.
func Emit(m *tflite.Model, plan *quantize.Plan, params []quantize.Params, weights map[int]quantize.Weights) (*Emitted, error) {
	if err := plan.CheckParams(params); err != nil {
		return nil, err
	}
	e := &emitter{model: m, plan: plan, params: params, leaf: &Emitted{Model: m.Clone(), forms: map[int][]Form{}}, forms: map[form]int{}, taken: map[int]string{}}
	e.sub = e.leaf.Model.Subgraph()
	if err := e.layers(weights); err != nil {
		return nil, err
	}
	e.operators()
	for _, name := range staleMetadata {
		e.leaf.Model.DeleteMetadata(name)
	}
	e.leaf.Tensor = tflite.Compact(e.leaf.Model)
	e.leaf.settle()
	if err := e.leaf.Model.Check(); err != nil {
		return nil, fmt.Errorf("emitted model: %w", err)
	}
	return e.leaf, nil
}

// Form is a tensor of a leaf that holds a weight tensor of the float model, or part Part of Of equal ones that its first dimension is cut into: the
// weights of one gate.
type Form struct{ Tensor, Part, Of int }

// Forms are the leaf's tensors that hold a weight tensor of the float model: as integers, as floats, or both.
func (l *Emitted) Forms(weight int) []Form {
	forms := slices.Clone(l.forms[weight])
	if at := l.Tensor[weight]; at != quantize.None && l.Model.Subgraph().Tensors[at].Type == schema.TensorTypeFLOAT32 {
		forms = append(forms, Form{Tensor: at, Of: 1})
	}
	return forms
}

// Promises are what the leaf's tensors are held to, by what weight tensors of the float model are.
func (l *Emitted) Promises(states map[int]weight.State) map[int]weight.State {
	promises := map[int]weight.State{}
	for t, state := range states {
		for _, form := range l.Forms(t) {
			promises[form.Tensor] = state.Part(form.Part, form.Of)
		}
	}
	return promises
}

// settle moves the integer forms to their indices in the compacted leaf.
func (l *Emitted) settle() {
	for t, forms := range l.forms {
		for i := range forms {
			forms[i].Tensor = l.Tensor[forms[i].Tensor]
		}
		slices.SortFunc(forms, func(a, b Form) int { return cmp.Compare(a.Tensor, b.Tensor) })
		l.forms[t] = slices.Compact(forms)
	}
}
