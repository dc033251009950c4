package target

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Report says where the operators of a model run on a target.
type Report struct {
	Target    string      `json:"target"`
	Runs      bool        `json:"runs"` // every operator runs somewhere on the device
	Operators []Placement `json:"operators"`
}

// Place is where an operator runs.
type Place string

// The places.
const (
	OnProcessor   Place = "processor"
	OnAccelerator Place = "accelerator"
	Nowhere       Place = "nowhere"
)

// Placement says where one operator runs. Reason and Remedy are set where it does not run at all, or not on the accelerator.
type Placement struct {
	Subgraph int    `json:"subgraph,omitempty"`
	Operator int    `json:"operator"`
	Name     string `json:"name"`
	Layer    string `json:"layer"` // the tensor it makes
	Place    Place  `json:"place"`
	Reason   string `json:"reason,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
	// Because is the operator of the same subgraph for the sake of which this one is not on the accelerator: it stays float, and this one with
	// it, or nothing behind it is placed. Nil where the reason is the operator's own.
	Because *int `json:"because,omitempty"`
}

// String is one line for people: what does not run, why, and what to change.
func (p Placement) String() string {
	s := fmt.Sprintf("%s (%s): %s", p.Name, p.Layer, p.Reason)
	if p.Subgraph > 0 {
		s = fmt.Sprintf("subgraph %d, %s", p.Subgraph, s)
	}
	if p.Remedy != "" {
		s += ": " + p.Remedy
	}
	return s
}

// Refused lists the operators that run nowhere.
func (r *Report) Refused() []Placement {
	return slices.DeleteFunc(slices.Clone(r.Operators), func(p Placement) bool { return p.Place != Nowhere })
}

// Count is how many operators run in a place.
func (r *Report) Count(in Place) int {
	n := 0
	for i := range r.Operators {
		if r.Operators[i].Place == in {
			n++
		}
	}
	return n
}

// Err is an error that names every operator that runs nowhere; nil where the model runs.
func (r *Report) Err() error {
	if r.Runs {
		return nil
	}
	var lines []string
	for _, p := range r.Refused() {
		lines = append(lines, p.String())
	}
	return fmt.Errorf("does not run on %s: %s", r.Target, strings.Join(lines, "; "))
}

// Check says where each operator of a model runs on the target, in all subgraphs.
func Check(m *tflite.Model, t *Target) *Report {
	r := &Report{Target: t.Name, Runs: true, Operators: []Placement{}}
	once := t.Accelerator != nil && t.Accelerator.Once
	stopped := "" // the first operator that is not on an accelerator that takes only what is before it
	for s, g := range m.Subgraphs {
		nodes, placed := make([]*node, len(g.Operators)), make([]Placement, len(g.Operators))
		for i, o := range g.Operators {
			code, custom := m.Op(o)
			nodes[i] = &node{model: m, subgraph: g, op: o, code: code, custom: custom}
			p := t.place(nodes[i])
			p.Subgraph, p.Operator, p.Name = s, i, strings.TrimPrefix(nodes[i].name(), customPrefix)
			if out := nodes[i].out(0); out != nil {
				p.Layer = out.Name
			}
			placed[i] = p
		}
		t.explainFloat(nodes, placed)
		first := -1
		for i := range placed {
			p := &placed[i]
			if once && stopped != "" && p.Place == OnAccelerator {
				p.Place, p.Reason = OnProcessor, t.off("it stands behind "+stopped)
				if first >= 0 {
					p.Because = &placed[first].Operator
				}
			}
			if once && stopped == "" && p.Place != OnAccelerator {
				if first = i; p.Because != nil {
					first = *p.Because
				}
				stopped = fmt.Sprintf("%s (%s), which is not", placed[first].Name, placed[first].Layer)
			}
			r.Runs = r.Runs && p.Place != Nowhere
		}
		r.Operators = append(r.Operators, placed...)
	}
	return r
}

// off is the reason of an operator that is not on the accelerator.
func (t *Target) off(why string) string { return "not on " + t.Accelerator.Title + ": " + why }

// place finds where an operator runs: on the accelerator if that takes it, else on the processor.
func (t *Target) place(n *node) Placement {
	p := Placement{Place: OnProcessor}
	if n.custom == encode.Operator && len(t.Encodings) == 0 {
		p.Place, p.Reason, p.Remedy = Nowhere, "weights are encoded, which only TFLM on a processor decodes", "make the leaf without encode"
		return p
	}
	if t.Accelerator != nil {
		reason, remedy := t.Accelerator.table().refuses(n)
		if reason == "" {
			p.Place = OnAccelerator
			return p
		}
		if stays := n.staysFloat(); stays != nil {
			reason, remedy = "it stays float, as "+stays.Why, stays.Instead
		}
		if strings.HasPrefix(remedy, remedyWithout) {
			remedy = t.Accelerator.without()
		}
		p.Reason, p.Remedy = t.off(reason), remedy
	}
	if reason, remedy := t.table().refuses(n); reason != "" {
		p.Place, p.Reason, p.Remedy = Nowhere, reason, remedy
	}
	return p
}

// Takes reports whether the accelerator of a target, its processor if there is none, runs an operator whose inputs, weights and outputs are all of
// one type, as far as types tell.
func (t *Target) Takes(code schema.BuiltinOperator, kind schema.TensorType) bool {
	table := t.table()
	if t.Accelerator != nil {
		table = t.Accelerator.table()
	}
	if s := table.Operators[code.String()]; s != nil {
		return slices.ContainsFunc(s.Types, func(p TypePattern) bool { return p.matches(kind.String(), kind.String(), kind.String()) })
	}
	_, absent := table.Absent[code.String()]
	return table.AllOthers && !absent
}

// refuses says why an operator does not run by this table, and what to change; "" if it does.
func (t *Table) refuses(n *node) (reason, remedy string) {
	s := t.Operators[n.name()]
	if s == nil {
		if reason, remedy := t.missing(n); reason != "" {
			return reason, remedy
		}
		s = &Support{Types: []TypePattern{{input: "*", weights: "*", output: "*"}}}
	}
	at := n.subject()
	if s.Input != nil {
		at = *s.Input
	}
	input, weights, output := typeOf(n.in(at)), typeOf(n.weights()), typeOf(n.out(0))
	if !slices.ContainsFunc(s.Types, func(p TypePattern) bool { return p.matches(input, weights, output) }) {
		reason, remedy := refuseTypes(s, input, weights, output)
		switch in := n.in(at); {
		case n.code == schema.BuiltinOperatorCAST:
			remedy = "build the network with values of one of these types before it, such as an input of floats"
		case input == "FLOAT32" && n.code == schema.BuiltinOperatorQUANTIZE:
			remedy = remedyIO
		case literal(in):
			remedy = "build the network with fixed shapes, so that sizes are constants, or with float values here"
		}
		return reason, remedy
	}
	for _, l := range slices.Concat(t.Common, s.Limits) {
		if !l.holdsFor(input, weights) {
			continue
		}
		if v, ok := quantities[l.Of](n); ok && !l.holds(v) {
			return l.broken(v), l.Remedy
		}
	}
	return "", ""
}

// remedyWithout is what to do about an operator that nothing stands for.
const remedyWithout = "build the network without it"

// without is what to do about an operator that the accelerator has nothing for, and that the processor computes.
func (a *Accelerator) without() string {
	if a.Once {
		return remedyWithout + ", or with it behind all that " + a.Title + " is to compute"
	}
	return "none is needed: the processor computes it"
}

// remedyState is what to do about variables where there are none.
const remedyState = "hand the state on as an input and an output of the network (model.states)"

// remedyIO is what to do about conversions from and to float.
const remedyIO = "give the leaf inputs and outputs of int8 (leaf.inputOutput: Int8), or keep no layer before or behind it in float"

// missing refuses an operator that the table does not list.
func (t *Table) missing(n *node) (reason, remedy string) {
	if n.code == schema.BuiltinOperatorCUSTOM {
		return fmt.Sprintf("custom operator %q is not known", n.custom), remedyWithout + ", or register its kernel with the runtime yourself"
	}
	remedy, absent := t.Absent[n.name()]
	if t.AllOthers && !absent {
		return "", ""
	}
	switch n.code {
	case schema.BuiltinOperatorQUANTIZE, schema.BuiltinOperatorDEQUANTIZE:
		remedy = cmp.Or(remedy, remedyIO)
	case schema.BuiltinOperatorASSIGN_VARIABLE, schema.BuiltinOperatorCALL_ONCE, schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOperatorVAR_HANDLE:
		remedy = cmp.Or(remedy, remedyState)
	}
	if known := op.Lookup(n.code); known != nil {
		remedy = cmp.Or(remedy, known.Int8.Instead)
	}
	return t.Name + " has no kernel for it", cmp.Or(remedy, remedyWithout)
}

func typeOf(t *schema.TensorT) string {
	if t == nil {
		return ""
	}
	return t.Type.String()
}

// literal reports whether a tensor has values that stand for themselves, such as sizes, bytes or truths: no weights or activations.
func literal(t *schema.TensorT) bool {
	if t == nil || t.Quantization != nil && len(t.Quantization.Scale) > 0 {
		return false
	}
	return !slices.Contains([]schema.TensorType{schema.TensorTypeFLOAT32, schema.TensorTypeINT4, schema.TensorTypeINT8, schema.TensorTypeINT16}, t.Type)
}

// refuseTypes says that no entry of the table takes these types, and which would be taken, of values that are floats or quantized.
func refuseTypes(s *Support, input, weights, output string) (reason, remedy string) {
	got := input
	if weights != "" {
		got += " with " + weights + " weights"
	}
	if output != "" && output != input {
		got += " to " + output
	}
	spoken := make([]string, len(s.Types))
	for i, p := range s.Types {
		spoken[i] = strings.NewReplacer("/", " with weights ", ">", " to ").Replace(p.text)
	}
	reason = fmt.Sprintf("it does not run on %s, only on %s", got, strings.Join(spoken, ", "))
	takes := func(name string) bool {
		return slices.ContainsFunc(s.Types, func(p TypePattern) bool { return strings.HasPrefix(p.text, name) })
	}
	switch {
	case input == "INT8" && weights == "INT4":
		return reason, "give this layer weights of 8 bits (weights: Int8)"
	case input == "FLOAT32" && weights != "" && weights != "FLOAT32":
		return reason, "activations are float beside integer weights: quantize both (quantize: {}), or neither"
	case input == "FLOAT32" && takes("INT8"):
		return reason, "quantize it (quantize: {})"
	case input == "INT16" && takes("INT8"):
		return reason, "give it activations of 8 bits (activations: Int8)"
	case input == "UINT8" && takes("INT8"):
		return reason, "quantize it to int8 (quantize: {})"
	case takes("FLOAT32") && input != "FLOAT32":
		return reason, "keep this layer in float (keepFloat)"
	default:
		return reason, "build the network with one of these types"
	}
}

// holdsFor reports whether the limit is one for these types.
func (l Limit) holdsFor(input, weights string) bool {
	return len(l.Types) == 0 || slices.ContainsFunc(l.Types, func(p TypePattern) bool { return p.matches(input, weights, "") })
}

func (l Limit) holds(v float64) bool {
	return (l.Min == nil || v >= *l.Min) && (l.Max == nil || v <= *l.Max) && (len(l.OneOf) == 0 || slices.Contains(l.OneOf, v))
}

// broken says how a value breaks the limit.
func (l Limit) broken(v float64) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	switch {
	case strings.HasPrefix(l.Of, "constant input"):
		which := strings.TrimPrefix(l.Of, "constant ")
		if v == 0 {
			return which + " is computed, and must be a constant"
		}
		return which + " is a constant, and must be computed"
	case l.Of == "channels reduced":
		return "it reduces channels"
	case l.Of == "channels padded":
		return "it pads channels"
	case l.Of == "depth reduced with no side of 1":
		return "it reduces channels, and neither height nor width nor channels is 1"
	case l.Of == "height and width reduced alone":
		return "it reduces others than height and width, or one of them"
	case l.Of == "constant bias":
		return "its bias is computed, and must be a constant"
	case l.Of == "equal quantization":
		return "its inputs are quantized otherwise than its output"
	case l.Of == "scale factor" && v == 0:
		return "it scales height and width by different factors"
	case l.Of == "scale factors of powers of two":
		return "it scales height or width by no power of two"
	case l.Of == "scale for e^x":
		return fmt.Sprintf("its input's scale times beta is %.3g, too small to compute with: it must be above 2⁻²⁶", v)
	case l.Of == "scales of weights" && l.Max != nil && *l.Max == 1:
		return fmt.Sprintf("its weights have a scale for each of %s channels, and must have one for the whole tensor", number(v))
	case l.Of == "bits of data" && l.Max != nil:
		return fmt.Sprintf("its values have %s bits, must have at most %s", number(v), number(*l.Max))
	case l.Of == "quantized inputs and outputs":
		return "its input or output has no scale"
	case l.Min != nil && v < *l.Min:
		return fmt.Sprintf("%s is %s, must be at least %s", l.Of, number(v), number(*l.Min))
	case l.Max != nil && v > *l.Max:
		return fmt.Sprintf("%s is %s, must be at most %s", l.Of, number(v), number(*l.Max))
	}
	choices := make([]string, len(l.OneOf))
	for i, c := range l.OneOf {
		choices[i] = number(c)
	}
	return fmt.Sprintf("%s is %s, must be %s", l.Of, number(v), strings.Join(choices, " or "))
}
