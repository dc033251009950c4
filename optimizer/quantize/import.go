package quantize

import (
	"errors"
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// Imported is an int8 or 16×8 model turned back into a float one.
type Imported struct {
	// Model is the float model. QUANTIZE and DEQUANTIZE operators are gone, and what they connected is one tensor.
	Model *tflite.Model
	// Known are the quantizations of its activations, for Options.Known.
	Known map[int]Params
	// Float are the operators of Model that computed with floats, for Options.Float.
	Float map[int]bool
	// Weights are the integers of its weights, zero points taken off, for Emit. Those of asymmetric weights that are no codes
	// within ±127 are left out.
	Weights map[int]Weights
	// Tensor maps the int8 model's tensor indices to Model's; None for a tensor that became one with another.
	Tensor []int
	// Operator maps its operators likewise; None for a QUANTIZE or DEQUANTIZE.
	Operator []int
}

// ImportInt8 turns an int8 model (or a mixed one, a 16×8 one, or one with int8 weights alone) into the float model it stands for, so that
// later stages can work on it: weights and biases are the real values of their integers, activations are float, and their
// quantizations are kept beside. m is not changed. Emitting the result with the same I/O type gives m's integers again.
func ImportInt8(m *tflite.Model) (*Imported, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, err
	}
	im := &importer{g: g, out: &Imported{Model: m.Clone(), Known: map[int]Params{}, Float: map[int]bool{}, Weights: map[int]Weights{}}}
	im.out.Model.Unsigned = false
	im.sub = im.out.Model.Subgraph()
	if err := im.layers(); err != nil {
		return nil, err
	}
	if err := im.tensors(); err != nil {
		return nil, err
	}
	if len(im.out.Known) == 0 && len(im.out.Weights) == 0 {
		return nil, errors.New("the model holds no int8 or int16 tensors: it needs no import")
	}
	if err := im.bypass(); err != nil {
		return nil, err
	}
	im.renumber(tflite.Compact(im.out.Model))
	if err := im.out.Model.Check(); err != nil {
		return nil, fmt.Errorf("imported model: %w", err)
	}
	return im.out, nil
}

// renumber moves what is known of tensors to their indices in the compacted model.
func (im *importer) renumber(moved []int) {
	im.out.Tensor = moved
	known, weights := map[int]Params{}, map[int]Weights{}
	for t, p := range im.out.Known {
		if moved[t] != None {
			known[moved[t]] = p
		}
	}
	for t, w := range im.out.Weights {
		weights[moved[t]] = w
	}
	im.out.Known, im.out.Weights = known, weights
}

type importer struct {
	g   *ir.Graph
	sub *schema.SubGraphT
	out *Imported
}

// layers dequantizes weights and biases.
func (im *importer) layers() error {
	for i := range im.g.Nodes {
		n := &im.g.Nodes[i]
		r := RuleOf(n)
		if r.Int8.Rule != op.Weighted {
			continue
		}
		kernel := im.g.Input(n, r.Find(op.Weight))
		if !tflite.IsInt8s(kernel.Type) || kernel.Const == nil {
			continue
		}
		if kernel.Quant == nil {
			return fmt.Errorf("%s: integer weights %q without a scale", n, kernel.Name)
		}
		w, values, exact, err := storedWeights(kernel, r.Weights.Axis)
		if err != nil {
			return fmt.Errorf("weights %q: %w", kernel.Name, err)
		}
		if exact {
			im.out.Weights[kernel.Index] = w
		}
		im.setFloat(kernel.Index, values)
		bias := im.g.Input(n, r.Find(op.Bias))
		if bias == nil {
			continue
		}
		input := im.g.Input(n, r.Find(op.Data))
		if bias.Type != schema.TensorTypeINT32 && bias.Type != schema.TensorTypeINT64 {
			continue
		}
		if bias.Const == nil || input.Quant == nil {
			return fmt.Errorf("%s: integer bias %q that is no constant, or without a quantized input", n, bias.Name)
		}
		im.setFloat(bias.Index, biasValues(bias.Ints(), input.Quant.Scale[0], w.Scale))
	}
	return nil
}

// storedWeights returns the integers of int8 or int4 weights with their zero points taken off, and the real values. exact says that the
// integers are codes, those of int8 within ±127: those of asymmetric weights may not be, and then only the values count.
func storedWeights(t *ir.Tensor, axis int) (w Weights, values []float32, exact bool, err error) {
	w = Weights{Codes: t.Int8s(), Scale: t.Quant.Scale, Int4: t.Type == schema.TensorTypeINT4}
	if err := w.checkSize(t.Shape, axis); err != nil {
		return w, nil, false, err
	}
	inner := product(t.Shape[axis+1:])
	lo, hi := w.limits()
	values, exact = make([]float32, len(w.Codes)), true
	for i, q := range w.Codes {
		c := weight.ScaleIndex(i/inner%t.Shape[axis], len(w.Scale), t.Shape[axis])
		code := int32(q) - t.Quant.ZeroPoint[c]
		values[i] = w.Scale[c] * float32(code)
		exact = exact && int(code) >= lo && int(code) <= hi
		w.Codes[i] = int8(min(max(int(code), lo), hi))
	}
	return w, values, exact, nil
}

// biasValues dequantizes biases at scale input·weight[channel].
func biasValues(codes []int, input float32, kernel []float32) []float32 {
	values := make([]float32, len(codes))
	for c, q := range codes {
		values[c] = float32(float64(q) * (float64(input) * float64(kernel[min(c, len(kernel)-1)])))
	}
	return values
}

// tensors makes the remaining int8 tensors float: constants by value, activations by type.
func (im *importer) tensors() error {
	for i := range im.g.Tensors {
		t := &im.g.Tensors[i]
		if now := im.sub.Tensors[i].Type; now != schema.TensorTypeINT8 && now != schema.TensorTypeINT16 || t.Quant == nil {
			if t.Quant != nil && t.Type == schema.TensorTypeUINT8 {
				return fmt.Errorf("tensor %d %q is quantized to %s; only int8 and int16 can be imported", i, t.Name, t.Type)
			}
			continue
		}
		if len(t.Quant.Scale) != 1 {
			return fmt.Errorf("tensor %d %q is no weight but has %d scales", i, t.Name, len(t.Quant.Scale))
		}
		p := Params{Scale: t.Quant.Scale[0], ZeroPoint: t.Quant.ZeroPoint[0], Wide: t.Type == schema.TensorTypeINT16}
		if err := p.Check(); err != nil {
			return fmt.Errorf("tensor %d %q: %w", i, t.Name, err)
		}
		if t.Const == nil {
			im.out.Known[i] = p
			im.sub.Tensors[i].Type = schema.TensorTypeFLOAT32
			im.sub.Tensors[i].Quantization = nil
			continue
		}
		values := make([]float32, p.Codes(t.Const))
		for k := range values {
			values[k] = p.Dequantize(p.Code(t.Const, k))
		}
		im.setFloat(i, values)
	}
	return nil
}

// setFloat replaces a constant by float values.
func (im *importer) setFloat(index int, values []float32) {
	t := im.sub.Tensors[index]
	t.Type, t.Quantization = schema.TensorTypeFLOAT32, nil
	t.Buffer = im.out.Model.AddBuffer(tflite.Float32Bytes(values))
}

// bypass removes QUANTIZE and DEQUANTIZE operators. The tensors such an operator connects become one: the output if that is
// the model's, else the input.
func (im *importer) bypass() error {
	alias := make([]int, len(im.g.Tensors))
	for t := range alias {
		alias[t] = t
	}
	var kept []*schema.OperatorT
	for i, o := range im.sub.Operators {
		n := &im.g.Nodes[i]
		if !im.converts(n) {
			if len(n.Outputs) > 0 && im.g.Output(n, 0).Type == schema.TensorTypeFLOAT32 {
				im.out.Float[len(kept)] = true
			}
			im.out.Operator = append(im.out.Operator, len(kept))
			kept = append(kept, o)
			continue
		}
		im.out.Operator = append(im.out.Operator, None)
		from, to := resolve(alias, n.Inputs[0]), n.Outputs[0]
		if contains(im.g.Outputs, to) {
			if contains(im.g.Inputs, from) || contains(im.g.Outputs, from) {
				return fmt.Errorf("%s connects two inputs or outputs of the model; they cannot become one tensor", n)
			}
			from, to = to, from
		}
		alias[to] = from
		if p, ok := im.out.Known[to]; ok {
			if _, known := im.out.Known[from]; !known {
				im.out.Known[from] = p
			}
			delete(im.out.Known, to)
		}
	}
	for _, o := range kept {
		for _, list := range [][]int32{o.Inputs, o.Outputs} {
			for slot, t := range list {
				if t >= 0 {
					list[slot] = int32(resolve(alias, int(t)))
				}
			}
		}
	}
	im.sub.Operators = kept
	return nil
}

// converts reports whether a node only converts between int8 and float (float16 constants keep their DEQUANTIZE).
func (im *importer) converts(n *ir.Node) bool {
	if n.Op != schema.BuiltinOperatorQUANTIZE && n.Op != schema.BuiltinOperatorDEQUANTIZE {
		return false
	}
	return im.sub.Tensors[n.Inputs[0]].Type == schema.TensorTypeFLOAT32 && im.sub.Tensors[n.Outputs[0]].Type == schema.TensorTypeFLOAT32
}

func resolve(alias []int, t int) int {
	for alias[t] != t {
		t = alias[t]
	}
	return t
}
