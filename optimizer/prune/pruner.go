package prune

import (
	"fmt"

	"espalier.dev/espalier/optimizer/weight"
)

// Pruner drives the masks of tensors during training:
//
//	for step := range steps {
//		p.Before(step)
//		… one training step …
//	}
//	p.Finish()
type Pruner struct {
	schedule Schedule
	targets  []Target
	tensors  []*weight.Tensor
	settled  bool
}

// NewPruner prepares to prune the tensors of the targets, in the same order, in a run of so many steps. Tensors must be float; the
// masks they have are kept. A run that resumes makes its Pruner before it restores the tensors.
func NewPruner(targets []Target, tensors []*weight.Tensor, o Options, steps int) (*Pruner, error) {
	s, err := o.Schedule.Resolve(steps)
	if err != nil {
		return nil, err
	}
	if len(targets) != len(tensors) {
		return nil, fmt.Errorf("%d tensors for %d targets", len(tensors), len(targets))
	}
	p := &Pruner{schedule: s, targets: targets, tensors: tensors}
	for _, t := range tensors {
		if t.Scale != nil {
			return nil, fmt.Errorf("weights %q: clustered or quantized already; prune before", t.Name)
		}
		if t.Mask == nil { // from the start, so that trainables refer to it
			all := make([]uint8, t.Len())
			for i := range all {
				all[i] = 1
			}
			if err := t.SetMask(all); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// Settled is the step from which on masks change no more.
func (p *Pruner) Settled() int { return p.schedule.End }

// Before is called before every training step, and reports whether masks changed. From the schedule's end on they do not.
func (p *Pruner) Before(step int) (bool, error) {
	if !p.settled && step > p.schedule.End { // resumed after the last choice
		p.settled = true
	}
	if p.settled || !p.schedule.Due(step) {
		return false, nil
	}
	if err := p.choose(func(final float64) float64 { return p.schedule.Sparsity(step, final) }); err != nil {
		return false, err
	}
	if step >= p.schedule.End {
		p.settled = true
	}
	return true, nil
}

// Preview sets the masks that pruning at once would end with. Undo it before the first step.
func (p *Pruner) Preview() error { return p.choose(func(final float64) float64 { return final }) }

// Finish is called after the last step: it makes sure that the final sparsity was reached, exactly.
func (p *Pruner) Finish() error {
	if p.settled {
		return nil
	}
	if err := p.Preview(); err != nil {
		return err
	}
	p.settled = true
	return nil
}

// Back is called when training goes back to a step that it took before, with the tensors as they were then.
func (p *Pruner) Back(step int) { p.settled = step > p.schedule.End }

// choose sets all masks, at a sparsity on the way to the final one.
func (p *Pruner) choose(now func(final float64) float64) error {
	layers := weightsOf(p.tensors)
	share := shares(p.targets, layers, now)
	for i, t := range p.tensors {
		mask, err := Mask(layers[i], share[i], p.targets[i].Pattern)
		if err != nil {
			return fmt.Errorf("pruning weights %q: %w", t.Name, err)
		}
		if err := t.SetMask(mask); err != nil {
			return err
		}
	}
	return nil
}

// Shares returns the share of every tensor of the targets that is to be pruned in the end.
func Shares(targets []Target, tensors []*weight.Tensor) []float64 {
	return shares(targets, weightsOf(tensors), func(final float64) float64 { return final })
}

func weightsOf(tensors []*weight.Tensor) []Weights {
	var layers []Weights
	for _, t := range tensors {
		layers = append(layers, Weights{Values: t.Latent, Shape: t.Shape, Axis: t.Axis, Mask: t.Mask}) // what is pruned stays pruned
	}
	return layers
}

// shares is the sparsity of every tensor on the way to the final one.
func shares(targets []Target, layers []Weights, now func(final float64) float64) []float64 {
	share := make([]float64, len(layers))
	var budget []Weights
	var of []int
	var final float64
	for i, t := range targets {
		share[i] = now(t.Sparsity)
		if t.Budget {
			budget, of, final = append(budget, layers[i]), append(of, i), t.Sparsity
		}
	}
	if len(budget) > 0 {
		for k, n := range Allocate(budget, now(final)) {
			size := len(budget[k].Values)
			share[of[k]] = float64(min(n, size-1)) / float64(size) // of a layer that is pruned whole it stays so
		}
	}
	return share
}
