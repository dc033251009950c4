package lineage

import (
	"context"
	"fmt"

	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/weight"
)

var pruneKind = Kind{Name: "prune", Typical: func() Technique {
	return Prune{Options: prune.Options{Sparsity: 0.5, Schedule: prune.Schedule{Kind: prune.Constant}}}
}}

// Prune sets weights to zero by a schedule while it trains. The network it makes holds exactly the planned zeros.
type Prune struct {
	prune.Options
	// Reconstruct chooses the zeros before training, by what they cost the layer's output, and refits the other weights. With the
	// schedule's defaults it is Auto only where zeros come at once anyway.
	Reconstruct Reconstruction
}

// Kind is what it is registered as.
func (Prune) Kind() Kind { return pruneKind }

// String sums the settings up.
func (p Prune) String() string { return fmt.Sprintf("sparsity %v", p.Sparsity) }

// Check resolves the settings for the network's weights.
func (p Prune) Check(n *Network) error {
	_, _, err := prune.NewPlan(n.Kernels(), p.Options)
	return err
}

// Apply makes the network.
func (p Prune) Apply(ctx context.Context, n *Network, w *Work) (*Network, error) {
	targets, notes, err := prune.NewPlan(w.Kernels, p.Options)
	if err != nil {
		return nil, err
	}
	w.notes = append(w.notes, notes...)
	if w.reconstructs(p.Reconstruct, pruning) {
		if err := w.reconstructPruned(ctx, targets); err != nil {
			return nil, err
		}
	}
	tensors := make([]*weight.Tensor, 0, len(targets))
	all := targets
	targets = nil
	for _, target := range all {
		if part := target.Part(); part != "" {
			w.Warn("weights %q: %s", target.Name, part)
		}
		t := w.Tensors[target.Tensor]
		if t.Codebooks == nil {
			targets, tensors = append(targets, target), append(tensors, t)
			continue
		}
		if w.Tensors[target.Tensor], err = prune.Clustered(t, target); err != nil {
			return nil, err
		}
		w.Note("weights %q are clustered already: they are pruned at once, and keep their codes", target.Name)
	}
	pruner, err := prune.NewPruner(targets, tensors, p.Options, w.Steps())
	if err != nil {
		return nil, err
	}
	w.settled, w.preview, w.back = pruner.Settled(), pruner.Preview, pruner.Back
	err = w.Train(ctx, func(step int) error {
		_, err := pruner.Before(step)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := pruner.Finish(); err != nil {
		return nil, err
	}
	for _, target := range all {
		w.Note("weights %q: %.2f %% zeros", target.Name, 100*sparsity(w.Tensors[target.Tensor].Mask))
	}
	return w.Done()
}
