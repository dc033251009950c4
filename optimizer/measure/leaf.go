package measure

import (
	"context"
	"fmt"
	"maps"
	"time"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

// LeafOptions say what a leaf is measured against.
type LeafOptions struct {
	Options
	// Original is what the float original answers on the same source; without it there is no Agreement and no AccuracyDrop.
	Original *Answers
	// Clustered are the tensors that the leaf's lineage has clustered.
	Clustered []Clustered
	// Recognise has clustered tensors told by what the file holds, where no lineage tells.
	Recognise bool
	// LatencyBudget bounds the timing. Default 300 ms; negative: no timing, no LatencyMicros.
	LatencyBudget time.Duration
	// Target is the device that the leaf is for: it is computed as the target's runtime does, and ArenaBytes is that runtime's, or missing where a compiler plans it. A leaf
	// that does not run there is refused with a *TargetError. Nil is LiteRT.
	Target *target.Target
}

// TargetError says which operators of a leaf do not run on its target.
type TargetError struct{ Err error }

func (e *TargetError) Error() string { return e.Err.Error() }
func (e *TargetError) Unwrap() error { return e.Err }

// Result is what is known of a leaf.
type Result struct {
	Metrics Metrics
	Answers *Answers
	Latency Latency // zero if it was not timed
}

// Leaf measures an emitted file on a source: all metrics it can have. The file is read anew, so that what is measured is what was
// written.
func Leaf(ctx context.Context, model []byte, source dataset.Source, o LeafOptions) (*Result, error) {
	m, err := specialized(model, dataset.Shapes(source)...)
	if err != nil {
		return nil, err
	}
	if o.Batch == 0 {
		o.Batch = 8
	}
	arena, err := arenaOn(model, o.Target)
	if err != nil {
		return nil, err
	}
	exec, err := integer.Compile(m, 0, arithmetic(o.Target)...)
	if err != nil {
		return nil, err
	}
	if o.Recognise {
		if o.Clustered, err = clusteredIn(m); err != nil {
			return nil, err
		}
	}
	file := Metrics{}
	if err := file.ofFile(model, m, exec, o.Clustered); err != nil {
		return nil, err
	}
	whole, err := networkOf(m, dataset.Shapes(source), o.Batch, arithmetic(o.Target)...)
	if err != nil {
		return nil, err
	}
	answers, err := run(ctx, whole, source, o.Options)
	if err != nil {
		return nil, err
	}
	r := &Result{Answers: answers, Metrics: answers.Metrics(o.Original)}
	maps.Copy(r.Metrics, file)
	if o.Target != nil && o.Target.ReadsFromFlash() {
		r.Metrics[FlashBytes] = float64(len(model))
	}
	switch {
	case arena > 0:
		r.Metrics[ArenaBytes] = float64(arena)
	case o.Target != nil && o.Target.PlansMemoryUnseen():
		delete(r.Metrics, ArenaBytes)
	}
	if o.LatencyBudget < 0 {
		return r, nil
	}
	if r.Latency, err = TimeLatency(ctx, model, source, LatencyOptions{Budget: o.LatencyBudget, Target: o.Target}); err != nil {
		return nil, err
	}
	r.Metrics[LatencyMicros] = r.Latency.P50
	return r, nil
}

// arithmetic says how the target's runtime computes.
func arithmetic(t *target.Target) []integer.Option {
	if t != nil && t.Runtime == target.TFLM {
		return []integer.Option{integer.TFLM()}
	}
	return nil
}

// arenaOn is the arena that a model takes on a target, 0 where that is LiteRT's own or not known.
func arenaOn(model []byte, t *target.Target) (int, error) {
	if t == nil {
		return 0, nil
	}
	m, err := tflite.ReadStored(model)
	if err != nil {
		return 0, err
	}
	if err := target.Check(m, t).Err(); err != nil {
		return 0, &TargetError{fmt.Errorf("the leaf %w", err)}
	}
	if !t.PlansGreedily() {
		return 0, nil
	}
	memory, err := target.MemoryOf(m, t)
	if err != nil {
		return 0, err
	}
	return memory.Bytes, nil
}

// read reads a model as it is run over the samples of a source: all its shapes are numbers.
func read(model []byte, source dataset.Source, batch int, options ...integer.Option) (*network, error) {
	m, err := specialized(model, dataset.Shapes(source)...)
	if err != nil {
		return nil, err
	}
	return networkOf(m, dataset.Shapes(source), batch, options...)
}

// specialized reads a model and gives its shapes their numbers; samples are the shapes of its inputs' samples.
func specialized(model []byte, samples ...[]int) (*tflite.Model, error) {
	m, err := tflite.Read(model)
	if err != nil {
		return nil, err
	}
	_, err = ir.Specialize(m, samples)
	return m, err
}

// File returns the metrics that need no samples. Where the size of an input is open, samples are the shapes of the inputs' samples.
func File(model []byte, list []Clustered, samples ...[]int) (Metrics, error) {
	m, err := specialized(model, samples...)
	if err != nil {
		return nil, err
	}
	exec, err := integer.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	out := Metrics{}
	return out, out.ofFile(model, m, exec, list)
}

// ofFile adds the metrics that need no samples.
func (r Metrics) ofFile(model []byte, m *tflite.Model, exec *integer.Executor, list []Clustered) error {
	zeros, err := sparsity(m)
	if err != nil {
		return err
	}
	codes, err := clusters(m, list)
	if err != nil {
		return err
	}
	r[Multiplications] = float64(exec.Graph().Multiplications())
	r[Sparsity], r[Clusters] = zeros, float64(codes)
	r[FileBytes], r[CompressedBytes] = float64(len(model)), float64(CompressedSize(model))
	r[ArenaBytes] = float64(exec.ArenaBytes())
	return nil
}
