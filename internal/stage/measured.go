package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/measurement"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/measure"
)

// programs tell what runs each measurement from others.
func (r *Runner) programs() ([]string, error) {
	if len(r.Spec.Measurements) == 0 {
		return nil, nil
	}
	if r.Measure == nil {
		return nil, fault.As(fault.Spec, errors.New("spec.measurements names programs, and there is nothing here to run them"))
	}
	out := make([]string, len(r.Spec.Measurements))
	for i := range r.Spec.Measurements {
		program, err := r.Measure.Program(&r.Spec.Measurements[i])
		if err != nil {
			return nil, fault.As(fault.Spec, fmt.Errorf("spec.measurements[%d] %s: %w", i, r.Spec.Measurements[i].Name, err))
		}
		out[i] = program
	}
	return out, nil
}

// measured has a stage's leaf measured, which is made first if it is not there, and commits the result with what that gave.
func (r *Runner) measured(ctx context.Context, s settings, trained, hash, parent string, programs []string) (*Result, error) {
	result, err := r.committed(ctx, s, trained)
	switch {
	case !errors.Is(err, artifact.ErrNotFound):
	case r.readsOnly():
		err = fault.As(fault.Storage, fmt.Errorf("%w: %w", errNoResult, err))
	default:
		result, err = r.trained(ctx, s, trained, parent)
	}
	if err != nil {
		return nil, err
	}
	leaf, err := r.Store.GetBlob(ctx, result.Leaf)
	if err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	values := make([][]v1alpha1.MetricValue, len(r.Spec.Measurements))
	for _, i := range r.hereFirst() {
		if values[i], err = r.valuesOf(ctx, &r.Spec.Measurements[i], programs[i], result, leaf); err != nil {
			return nil, err
		}
	}
	if r.ReadOnly {
		return nil, fault.As(fault.Storage, errNoResult)
	}
	with := *result
	with.Metrics = joined(result.Metrics, slices.Concat(values...), r.Spec.Constraints)
	committed, err := artifact.PutResult(ctx, r.Store, hash, &with)
	if err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	committed.Stage = s.name
	return committed, nil
}

// hereFirst are the indices of the measurements, those that are made here first.
func (r *Runner) hereFirst() []int {
	var here, elsewhere []int
	for i := range r.Spec.Measurements {
		if r.here(&r.Spec.Measurements[i]) {
			here = append(here, i)
		} else {
			elsewhere = append(elsewhere, i)
		}
	}
	return append(here, elsewhere...)
}

// here reports whether a measurement's program can be run here.
func (r *Runner) here(m *v1alpha1.Measurement) bool {
	switch {
	case r.ReadOnly:
		return false
	case r.Measures != "":
		return m.Name == r.Measures
	}
	return !r.Elsewhere || m.Job == nil
}

// awaitsError says that a stage is over but for a measurement, which is made of its leaf in a Job of its own.
type awaitsError struct {
	measurement string
	result      *Result
}

func (e *awaitsError) Error() string {
	return "measurement " + e.measurement + " is made in a Job of its own, and was not yet"
}

// given is what a measurement gave of a leaf, in the store.
type given struct {
	Metrics []v1alpha1.MetricValue `json:"metrics"`
}

// valuesOf is what a measurement gives of a leaf: what the store has, or else what its program says now.
func (r *Runner) valuesOf(ctx context.Context, m *v1alpha1.Measurement, program string, result *Result, leaf []byte) ([]v1alpha1.MetricValue, error) {
	hash, err := walk.MeasurementHash(result.Leaf, m, program)
	if err != nil {
		return nil, err
	}
	known, err := artifact.GetResult[given](ctx, r.Store, hash)
	if err == nil {
		return known.Metrics, nil
	}
	switch {
	case !errors.Is(err, artifact.ErrNotFound):
		return nil, fault.As(fault.Storage, err)
	case r.here(m):
	case m.Job != nil:
		return nil, &awaitsError{m.Name, result}
	default:
		return nil, fault.As(fault.Storage, fmt.Errorf("%w: what measurement %s gave is missing: %w", errNoResult, m.Name, err))
	}
	values, err := measurement.Measure(ctx, r.Measure, m, leaf)
	if err != nil {
		class := fault.Measurement
		if measurement.Final(err) {
			class = fault.Spec
		}
		return nil, fault.As(class, err)
	}
	known, err = artifact.PutResult(ctx, r.Store, hash, &given{values})
	if err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	return known.Metrics, nil
}

// Given says what a measurement gives, in words.
func Given(m *v1alpha1.Measurement) string {
	var parts []string
	for _, g := range m.Gives() {
		if g.Unit != "" {
			g.Name += " in " + g.Unit
		}
		parts = append(parts, g.Name)
	}
	return strings.Join(parts, ", ")
}

// joined are the metrics of a leaf with those that measurements gave, as many as a status has: those that constraints are on, the file's
// sizes, which tell that a result is of its leaf, what measurements gave, and then the others.
func joined(metrics, given []v1alpha1.MetricValue, constraints []v1alpha1.Constraint) []v1alpha1.MetricValue {
	all := slices.Concat(metrics, given)
	rank := func(m v1alpha1.MetricValue) int {
		switch {
		case slices.ContainsFunc(constraints, func(c v1alpha1.Constraint) bool { return c.Metric.Of(c.Output) == m.Name }):
			return 0
		case m.Name == string(measure.FileBytes), m.Name == string(measure.CompressedBytes):
			return 1
		case v1alpha1.Metric(m.Name).Measured():
			return 2
		}
		return 3
	}
	kept := slices.Clone(all)
	slices.SortStableFunc(kept, func(a, b v1alpha1.MetricValue) int { return rank(a) - rank(b) })
	kept = kept[:min(len(kept), v1alpha1.MaxMetrics)]
	return slices.DeleteFunc(all, func(m v1alpha1.MetricValue) bool { return !slices.Contains(kept, m) })
}
