package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
)

// Sources say how a pipeline's model and dataset are reached.
type Sources struct {
	// Base is the folder that paths without a scheme are relative to.
	Base string
	// Claims is where claims are mounted; empty: nowhere.
	Claims string
	// Secrets holds the mounted secrets as order.go says. Empty: the environment's credentials count.
	Secrets string
	// Cache is where what is not a file is brought; MaxBytes bounds model and dataset together.
	Cache artifact.Cache
	// Pinned, where given, is what model and dataset must still be.
	Pinned *v1alpha1.Baseline
	// ReadOnly has Open return a store in which nothing is written or removed.
	ReadOnly bool
	// Fetched, if set, is told of what was brought.
	Fetched func(uri string, bytes int64)
}

// ErrInputChanged says that a model or dataset is another than the pinned one.
var ErrInputChanged = errors.New("it changed under its address")

// checkPin compares a digest with those that the spec and the baseline pin.
func (s *Sources) checkPin(class fault.Class, what string, source v1alpha1.ModelSource, digest string) error {
	if want := source.Digest; want != "" && want != digest {
		return fault.As(class, fmt.Errorf("%s %s has digest %s, spec.%s.digest wants %s: %w: correct the digest, or bring the file back and set the annotation %s",
			what, source.URI, digest, what, want, ErrInputChanged, v1alpha1.RerunAnnotation))
	}
	if s.Pinned == nil {
		return nil
	}
	want := s.Pinned.ModelDigest
	if class == fault.Dataset {
		want = s.Pinned.DatasetDigest
	}
	if want != digest {
		return fault.As(class, fmt.Errorf("%s %s has digest %s, the baseline read %s: %w: change the spec, or set the annotation %s to start anew",
			what, source.URI, digest, want, ErrInputChanged, v1alpha1.RerunAnnotation))
	}
	return nil
}

// model brings the model to a local path.
func (s *Sources) model(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec) (artifact.Fetched, error) {
	return s.fetch(ctx, fault.Model, "model", s.options(spec, spec.ModelLocation(), spec.Model.Location, "model"), spec.Model.URI, s.Cache)
}

// dataset brings the dataset to a local path, given what the model took of the room.
func (s *Sources) dataset(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec, used int64) (artifact.Fetched, error) {
	cache := s.Cache
	if cache.MaxBytes > 0 {
		cache.MaxBytes = max(cache.MaxBytes-used, 1)
	}
	return s.fetch(ctx, fault.Dataset, "dataset", s.options(spec, spec.DatasetLocation(), spec.Dataset.Location, "dataset"), spec.Dataset.URI, cache)
}

func (s *Sources) fetch(ctx context.Context, class fault.Class, what string, o artifact.Options, uri string, cache artifact.Cache) (artifact.Fetched, error) {
	fetched, err := artifact.Fetch(ctx, uri, o, cache)
	if err != nil {
		return fetched, unreachable(class, what, uri, err)
	}
	if s.Fetched != nil && fetched.Digest != "" {
		s.Fetched(uri, fetched.Bytes)
	}
	return fetched, nil
}

// unreachable classifies what kept a model or dataset from being read.
func unreachable(class fault.Class, what, uri string, err error) error {
	switch {
	case errors.Is(err, artifact.ErrNotFound):
		remedy := "check spec." + what + ".uri"
		if v1alpha1.Scheme(uri) == "" {
			remedy = "check the path; spec." + what + ".uri of a manifest is relative to the manifest"
		}
		return fault.As(class, fmt.Errorf("%s: %w: %s", what, err, remedy))
	case errors.Is(err, artifact.ErrTooLarge):
		return fault.As(fault.Spec, fmt.Errorf("%s: %w", what, err))
	case errors.Is(err, artifact.ErrBadAddress):
		return fault.As(fault.Spec, fmt.Errorf("spec.%s.uri: %w", what, err))
	case errors.Is(err, artifact.ErrTemporary): // which begins with the server and names the address
		return fault.As(fault.Storage, err)
	}
	return fault.As(fault.Storage, fmt.Errorf("%s: %w", what, err))
}

// Open opens a pipeline's artifact store.
func (s *Sources) Open(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec) (*artifact.Store, error) {
	if spec.Artifacts == nil {
		return nil, fault.As(fault.Spec, errors.New("spec.artifacts is missing: in a cluster, stages keep what they make there"))
	}
	l := spec.Artifacts.Location
	options := s.options(spec, l, l, artifactsFolder)
	options.ReadOnly = s.ReadOnly
	store, err := artifact.Open(ctx, l.URI, options)
	if errors.Is(err, artifact.ErrBadAddress) {
		return nil, fault.As(fault.Spec, fmt.Errorf("spec.artifacts.uri: %w", err))
	}
	if err != nil {
		return nil, fault.As(fault.Storage, fmt.Errorf("artifacts: %w", err))
	}
	return store, nil
}

// artifactsFolder is the folder of the artifacts' secrets.
const artifactsFolder = "artifacts"

// options say how to get at a location: effective is what counts, own what it says itself.
func (s *Sources) options(spec *v1alpha1.OptimizationPipelineSpec, effective, own v1alpha1.Location, name string) artifact.Options {
	o := artifact.Options{Base: s.Base, ClaimRoot: s.Claims}
	if effective.S3 != nil {
		o.S3 = artifact.S3Options{Endpoint: effective.S3.Endpoint, Region: effective.S3.Region, PathStyle: effective.S3.PathStyle}
	}
	if s.Secrets == "" {
		return o
	}
	inherited := spec.Artifacts != nil && own.S3 == nil && own.CredentialsSecretRef == nil
	if effective.CredentialsSecretRef != nil {
		o.CredentialsDir = s.mounted(name, inherited, "credentials")
	}
	if effective.S3 != nil && effective.S3.CASecretRef != nil {
		o.S3.CAFile = s.mounted(name, inherited, "ca", "ca.crt")
	}
	return o
}

// mounted is the path of a location's secret. A location that inherits the artifacts' secrets may be without a folder of its own.
func (s *Sources) mounted(location string, inherited bool, path ...string) string {
	own := filepath.Join(append([]string{s.Secrets, location}, path...)...)
	if _, err := os.Stat(own); err != nil && inherited {
		return filepath.Join(append([]string{s.Secrets, artifactsFolder}, path...)...)
	}
	return own
}
