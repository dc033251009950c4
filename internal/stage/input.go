package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/tflite"
)

// errLost says that a model in the store is lost and cannot be made again.
var errLost = errors.New("it is lost")

// input reads the float model a stage works on. One that is missing or damaged is made again.
func (r *Runner) input(ctx context.Context, name, digest string) (*tflite.Model, error) {
	content, err := r.Store.GetBlob(ctx, digest)
	if errors.Is(err, artifact.ErrNotFound) || errors.Is(err, artifact.ErrDamaged) {
		if content, err = r.mend(ctx, name, digest, err); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fault.As(fault.Storage, fmt.Errorf("the model that %s works on: %w", name, err))
	}
	m, err := tflite.Read(content)
	return m, fault.As(fault.Storage, err)
}

// mend makes a stage's input again, by the stages that made it.
func (r *Runner) mend(ctx context.Context, name, digest string, cause error) ([]byte, error) {
	r.warn(name, fmt.Errorf("its input is made again: %w", cause))
	again, err := r.again(ctx, r.inputOf(name))
	if err != nil {
		return nil, err
	}
	if again != digest {
		return nil, fault.As(fault.Storage, fmt.Errorf("the model %s that %s works on: %w, and on this machine another comes about, %s: set spec.training.seed to another value to run every stage anew (%w)",
			digest, name, errLost, again, cause))
	}
	content, err := r.Store.GetBlob(ctx, digest)
	return content, fault.As(fault.Storage, err)
}

// again returns the digest of the model that a stage makes, running it and those before it where their results are gone.
func (r *Runner) again(ctx context.Context, name string) (string, error) {
	if name == v1alpha1.FromModel {
		return r.Prepared.ModelDigest, nil
	}
	parent, err := r.again(ctx, r.inputOf(name))
	if err != nil {
		return "", err
	}
	result, _, _, err := r.Run(ctx, name, parent)
	if err != nil {
		return "", err
	}
	return result.Model, nil
}

// inputOf names the stage that a stage builds on, or v1alpha1.FromModel.
func (r *Runner) inputOf(name string) string {
	i := slices.IndexFunc(r.Spec.Stages, func(s v1alpha1.Stage) bool { return s.Name == name })
	if i < 0 {
		return v1alpha1.FromModel
	}
	return r.Spec.Inputs()[i]
}
