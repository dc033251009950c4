package stage

import (
	"context"
	"errors"

	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// Sensitivity is what every layer of the network tolerates, as a search starts from.
type Sensitivity struct {
	Layers []sensitivity.Layer `json:"layers"`
	// Least is the share of the multiplications that is left with every channel out that can go.
	Least float64  `json:"least,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// Sensitivity returns what every layer tolerates: what the store has, or else what one pass over some samples shows.
func (r *Runner) Sensitivity(ctx context.Context) (*Sensitivity, error) {
	hash, err := walk.SensitivityHash(r.Spec, walk.Versions{Algorithm: optimizer.AlgorithmVersion, KernelClass: r.KernelClass}, r.digests())
	if err != nil {
		return nil, fault.As(fault.Spec, err)
	}
	found, err := artifact.GetResult[Sensitivity](ctx, r.Store, hash)
	if err == nil || !errors.Is(err, artifact.ErrNotFound) {
		return found, fault.As(fault.Storage, err)
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	found = &Sensitivity{}
	run := &lineage.Run{Data: r.Prepared.Data, Workers: r.Workers, Outputs: r.Prepared.Outputs}
	if found.Layers, found.Notes, err = run.Sensitivity(ctx, r.Prepared.Network); err != nil {
		return nil, fault.As(fault.Model, classify(err))
	}
	if found.Least, err = lineage.LeastMultiplications(r.Prepared.Network); err != nil {
		return nil, fault.As(fault.Model, classify(err))
	}
	found, err = artifact.PutResult(ctx, r.Store, hash, found)
	return found, fault.As(fault.Storage, err)
}
