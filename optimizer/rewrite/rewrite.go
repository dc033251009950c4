// Package rewrite writes operators that a device lacks as others that it has.
//
// For asks the target which operators of a network's leaf run nowhere on the device, before any range is known, and writes those by others, of
// which all run there. A rewrite is a pure function of one operator of the float network and computes the same numbers; of GELU's form with the
// normal distribution, numbers within 0.0003. What has no rewrite stays: the check of the leaf names it.
package rewrite

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/leaf"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Change is an operator that was written by others.
type Change struct {
	Operator int      `json:"operator"` // of the network as it was
	Name     string   `json:"name"`
	Layer    string   `json:"layer"` // the tensor that it makes
	Reason   string   `json:"reason"`
	As       []string `json:"as"` // the operators that it is now, in order
}

// String is one line for people.
func (c Change) String() string {
	return fmt.Sprintf("%s (%s) is written as %s: %s", c.Name, c.Layer, strings.Join(c.As, ", "), c.Reason)
}

// For returns m with the operators whose form in a leaf runs nowhere on t written by operators that do, as far as there are such, and what
// changed. m is a float model, every shape of which is a number; it stays as it is, and is what is returned where nothing changes. Tensors keep
// their indices, those of new operators come behind them.
func For(m *tflite.Model, t *target.Target) (*tflite.Model, []Change, error) {
	refused, err := Refused(m, t, Options(t))
	if err != nil || len(refused) == 0 {
		return m, nil, err
	}
	hopeless := map[int]bool{}
	for {
		a := &attempt{target: t, model: m.Clone(), changes: map[int]*Change{}, origin: map[*schema.OperatorT]int{}}
		for i, o := range a.model.Subgraph().Operators {
			a.origin[o] = i
		}
		failed, err := a.run(hopeless)
		if err != nil {
			return nil, nil, err
		}
		if len(failed) == 0 {
			return a.result(m)
		}
		for _, i := range failed {
			hopeless[i] = true
		}
	}
}

// Options are those of the plan by which For tells a leaf's operators.
func Options(t *target.Target) quantize.Options {
	return quantize.Options{PerTensor: t.PerTensor(), PerTensorDense: t.PerTensorDense()}
}

// rounds bounds how often what was written is written anew.
const rounds = 4

// attempt writes all refused operators by others.
type attempt struct {
	target  *target.Target
	model   *tflite.Model
	changes map[int]*Change           // by operator of the network as it was
	origin  map[*schema.OperatorT]int // what an operator was written for, or is
}

// run returns the operators, written by others or not, for which something is still refused: with those left alone another attempt is made.
func (a *attempt) run(hopeless map[int]bool) (failed []int, err error) {
	for range rounds {
		refused, err := Refused(a.model, a.target, Options(a.target))
		if err != nil {
			return nil, err
		}
		operators := slices.Clone(a.model.Subgraph().Operators)
		g, err := ir.Parse(a.model, 0)
		if err != nil {
			return nil, err
		}
		written := 0
		for _, i := range slices.Sorted(maps.Keys(refused)) {
			from := a.origin[operators[i]]
			if hopeless[from] {
				continue
			}
			if a.write(g, i, operators[i], refused[i]) {
				written++
			} else if a.changes[from] != nil {
				failed = append(failed, from)
			}
		}
		if written == 0 {
			return failed, nil
		}
		dropUnread(a.model)
		if len(failed) > 0 {
			return failed, nil
		}
	}
	return slices.Sorted(maps.Keys(a.changes)), nil // it would not end
}

// write applies the rule of an operator; false where there is none, or it cannot.
func (a *attempt) write(g *ir.Graph, i int, o *schema.OperatorT, p target.Placement) bool {
	rule := rules[g.Nodes[i].Op]
	if rule == nil {
		return false
	}
	w := &writer{m: a.model, g: g, n: &g.Nodes[i], operator: o}
	if !rule(w) {
		return false
	}
	w.replace()
	from := a.origin[o]
	if a.changes[from] == nil {
		a.changes[from] = &Change{Operator: from, Name: p.Name, Layer: p.Layer, Reason: p.Reason}
	}
	for _, made := range w.written {
		a.origin[made] = from
	}
	return true
}

// result is the model with what changed, of is the model as it was.
func (a *attempt) result(of *tflite.Model) (*tflite.Model, []Change, error) {
	if len(a.changes) == 0 {
		return of, nil, nil
	}
	for _, o := range a.model.Subgraph().Operators {
		if c := a.changes[a.origin[o]]; c != nil {
			code, _ := a.model.Op(o)
			c.As = append(c.As, code.String())
		}
	}
	var changes []Change
	for _, i := range slices.Sorted(maps.Keys(a.changes)) {
		changes = append(changes, *a.changes[i])
	}
	for _, t := range a.model.Subgraph().Tensors {
		t.ShapeSignature = nil // what is written has the sizes in it
	}
	return a.model, changes, a.model.Check()
}

// dropUnread takes out operators whose outputs nothing reads.
func dropUnread(m *tflite.Model) {
	sub := m.Subgraph()
	read := map[int32]bool{}
	for _, t := range sub.Outputs {
		read[t] = true
	}
	for i, o := range slices.Backward(sub.Operators) {
		if slices.ContainsFunc(o.Outputs, func(t int32) bool { return read[t] }) || len(o.Outputs) == 0 {
			for _, t := range o.Inputs {
				read[t] = true
			}
			continue
		}
		sub.Operators = slices.Delete(sub.Operators, i, i+1)
	}
}

// Refused are the operators of a float model whose form in a leaf, by a plan's options, runs nowhere on the target, by their index. Of a
// model of which nothing is quantized they are those of the float model. An LSTM's steps are taken for what they are.
func Refused(m *tflite.Model, t *target.Target, options quantize.Options) (map[int]target.Placement, error) {
	options.Fuse = false
	asked, err := Draft(m, options)
	if err != nil {
		return nil, err
	}
	report := target.Check(asked, t)
	if report.Runs {
		return nil, nil
	}
	out := map[int]target.Placement{}
	at := -1
	for _, p := range report.Operators {
		if p.Subgraph > 0 {
			break
		}
		code, _ := asked.Op(asked.Subgraph().Operators[p.Operator])
		if asked != m && (code == schema.BuiltinOperatorQUANTIZE || code == schema.BuiltinOperatorDEQUANTIZE) {
			continue // those that a leaf has between the others
		}
		if at++; p.Place == target.Nowhere {
			out[at] = p
		}
	}
	return out, nil
}

// Draft is a leaf of m, by a plan's options, as far as operators and types go: its ranges stand for none. It is m where nothing of it can be
// quantized.
func Draft(m *tflite.Model, options quantize.Options) (*tflite.Model, error) {
	plan, err := quantize.PlanOf(m, options)
	if err != nil {
		return m, nil //nolint:nilerr // its leaf says why, where one is made
	}
	return DraftOf(m, plan)
}

// DraftOf is a leaf of m by a plan, as far as operators and types go: its ranges stand for none.
func DraftOf(m *tflite.Model, plan *quantize.Plan) (*tflite.Model, error) {
	params := make([]quantize.Params, len(plan.Groups))
	for i, g := range plan.Groups {
		params[i] = quantize.Params{Scale: 1.0 / 16, Wide: g.Wide}
		if g.Fixed != nil {
			params[i] = *g.Fixed
		}
	}
	emitted, err := leaf.Emit(m, plan, params, nil)
	if err != nil {
		return nil, err
	}
	return emitted.Model, nil
}
