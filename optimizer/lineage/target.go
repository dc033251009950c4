package lineage

import (
	"context"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/rewrite"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

// For has the operators of a lineage's first network whose form in a leaf runs nowhere on a device written by others that do (Rewrite).
// What is written has to answer up to reachSamples training samples as before, to half an int8 code.
func (r *Run) For(ctx context.Context, n *Network, t *target.Target) (*Network, error) {
	written, changes, err := Rewrite(n, t)
	if err != nil || len(changes) == 0 {
		return n, err
	}
	drawn := r.draw(reachSamples)
	feed, err := r.feed(n, drawn)
	if err != nil {
		return nil, err
	}
	same, err := quantize.Agree(ctx, n.model, written.model, feed, len(drawn))
	if err != nil {
		return nil, err
	}
	if same {
		return written, nil
	}
	from, out := *n.from, *n
	from.notes = append(slices.Clone(from.notes), fmt.Sprintf("operators that %s lacks are not written by others: the network would answer otherwise by more than half an int8 code", t.Name))
	out.from = &from
	return &out, nil
}

// Rewrite is For without samples that what is written is tried on (rewrite.For). A quantized network stays as it is, and one that keeps state
// too: the check of the leaf says what does not run.
func Rewrite(n *Network, t *target.Target) (*Network, []rewrite.Change, error) {
	if n.Int8() || n.from.stream != nil {
		return n, nil, nil
	}
	model, changes, err := rewrite.For(n.model, t)
	if err != nil || len(changes) == 0 {
		return n, nil, err
	}
	from, out := *n.from, *n
	from.notes = slices.Clone(from.notes)
	for _, c := range changes {
		from.notes = append(from.notes, fmt.Sprintf("for %s %s", t.Name, c))
	}
	from.model, from.rewritten = model, true
	out.model, out.from, out.ids = model, &from, identityIDs(len(model.Subgraph().Tensors))
	return &out, changes, nil
}

// Draft is a network's leaf as far as operators and types go, before anything is trained or measured: its ranges stand for none. It is nil of a
// quantized network, of one that keeps state, and where nothing can be quantized: of these only a leaf tells.
func (r *Run) Draft(n *Network) (*tflite.Model, error) {
	if n.Int8() || n.from.stream != nil {
		return nil, nil
	}
	plan, err := r.planFor(n)
	if err != nil {
		return nil, nil //nolint:nilerr // its leaf says why, where one is made
	}
	states := n.States()
	for i := range plan.Layers { // clusters of a whole tensor have one scale in leaves too
		if s := states[plan.Layers[i].Weight]; s.Clustered() && len(s.Scale) == 1 {
			plan.Layers[i].Scales = 1
		}
	}
	return rewrite.DraftOf(n.model, plan)
}

// Placed says where the operators of a network's leaves run on their device, as far as Draft knows them; nil without a device, and where it does not.
func (r *Run) Placed(n *Network) (*target.Report, error) {
	if r.Leaf.Target == nil {
		return nil, nil
	}
	draft, err := r.Draft(n)
	if err != nil || draft == nil {
		return nil, err
	}
	return target.Check(draft, r.Leaf.Target), nil
}

// planFor plans the quantization of a network. Operators without weights whose quantized form runs nowhere on the leaf's device stay float
// where that runs.
func (r *Run) planFor(n *Network) (*quantize.Plan, error) {
	options := r.Leaf.quantization(n)
	plan, err := quantize.PlanOf(n.model, options)
	if err != nil || r.Leaf.Target == nil || n.Int8() {
		return plan, err
	}
	refused, err := rewrite.Refused(n.model, r.Leaf.Target, options)
	if err != nil {
		return nil, err
	}
	options.Refused = map[int]string{}
	for i, p := range refused {
		if node := &plan.Graph.Nodes[i]; plan.Nodes[i].Int8 && plan.Nodes[i].LSTM == nil && quantize.RuleOf(node).Weights == nil {
			options.Refused[i] = fmt.Sprintf("%s, on %s", p.Reason, r.Leaf.Target.Name)
		}
	}
	if len(options.Refused) == 0 {
		return plan, nil
	}
	still, err := rewrite.Refused(n.model, r.Leaf.Target, options)
	if err != nil {
		return nil, err
	}
	for i := range still {
		delete(options.Refused, i)
	}
	return quantize.PlanOf(n.model, options)
}
