package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/report"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// The names of what is made for people.
const (
	ResultFile   = "result.json"
	ReportFile   = "report.html"
	FoundFile    = "found.yaml"
	SelectedFile = "leaf.tflite"
)

// DigestFile is the name that the selected leaf has besides. No other leaf ever has it.
func DigestFile(digest string) string {
	return "leaf-" + strings.TrimPrefix(digest, "sha256:") + ".tflite"
}

// Home is where a pipeline publishes, below the address of its store.
func Home(namespace, pipeline string) string { return namespace + "/" + pipeline }

// LeafFile is the name of a stage's leaf.
func LeafFile(stage string) string { return "leaves/" + stage + ".tflite" }

func modelFile(stage string) string { return "models/" + stage + ".tflite" }

// Publication is what a pipeline found, as files for people.
type Publication struct {
	Store *artifact.Store
	// Pipeline with its status filled.
	Pipeline *v1alpha1.OptimizationPipeline
	// Tool says what made it.
	Tool string
	// Models says that the float models between stages belong to it.
	Models bool
	// Searched is what a search did whose trials are the pipeline's stages; nil of a pipeline with stages of its own.
	Searched *Searched
	// Selected says that the leaf that was taken is handed over under names of its own, too.
	Selected bool
}

// Searched is what a search did: what layers tolerate, the trials, and the plain pipeline that makes the selected leaf again, if one was.
type Searched struct {
	Layers []sensitivity.Layer `json:"layers"`
	search.Plan
	Manifest *v1alpha1.OptimizationPipeline `json:"manifest,omitempty"`
	// Made is what came of the trials where one stage made them all.
	Made []v1alpha1.StageStatus `json:"made,omitempty"`
	// Taken is the one of those whose leaf is the stage's.
	Taken string `json:"taken,omitempty"`

	attempt int32 // of that stage
}

// written is the content of result.json: the pipeline with its status, and what its search did.
type written struct {
	*v1alpha1.OptimizationPipeline
	Searched *Searched `json:"searched,omitempty"`
}

// ReadResult reads result.json back.
func ReadResult(content []byte) (*v1alpha1.OptimizationPipeline, *Searched, error) {
	w := written{OptimizationPipeline: &v1alpha1.OptimizationPipeline{}}
	if err := json.Unmarshal(content, &w); err != nil {
		return nil, nil, err
	}
	if w.Searched != nil {
		w.Spec = search.Run(&w.Spec, w.Searched.Stages())
	}
	return w.OptimizationPipeline, w.Searched, nil
}

// Files hands over every file: leaves, models, the selected leaf under its digest, the report, the result, and last the name that stands for
// the selected leaf, whichever that is.
func (p *Publication) Files(ctx context.Context, put func(name string, content []byte) error) error {
	for i := range p.Pipeline.Status.Stages {
		s := &p.Pipeline.Status.Stages[i]
		if s.Leaf != nil {
			if err := p.copy(ctx, s.Leaf.Digest, LeafFile(s.Name), put); err != nil {
				return err
			}
		}
		if s.Model != nil && p.Models {
			if err := p.copy(ctx, s.Model.Digest, modelFile(s.Name), put); err != nil {
				return err
			}
		}
	}
	page, err := p.Report(ctx)
	if err != nil {
		return err
	}
	if err := p.selected(ctx, DigestFile, put); err != nil {
		return err
	}
	if err := put(ReportFile, page); err != nil {
		return err
	}
	w := written{p.Pipeline, p.Searched}
	if p.Searched != nil {
		w.OptimizationPipeline = p.Pipeline.DeepCopy()
		w.Spec.Stages, w.Spec.Selection = nil, v1alpha1.Selection{}
		if err := p.found(put); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	if err := put(ResultFile, append(data, '\n')); err != nil {
		return err
	}
	return p.selected(ctx, func(string) string { return SelectedFile }, put)
}

// found hands over the plain pipeline that a search found, if it did.
func (p *Publication) found(put func(name string, content []byte) error) error {
	if p.Searched.Manifest == nil {
		return nil
	}
	text, err := yaml.Marshal(p.Searched.Manifest)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("# What a search found, as stages: they make the leaf of %s again.\n", p.Pipeline.Status.Selected.Stage)
	if p.Searched.attempt > 0 {
		head += "# The template is not here: add that of the search, if it has one.\n"
	}
	return put(FoundFile, append([]byte(head), text...))
}

// selected hands over the leaf that was taken, if one was, under the name that it is given.
func (p *Publication) selected(ctx context.Context, name func(digest string) string, put func(name string, content []byte) error) error {
	taken := p.Pipeline.Status.Selected
	if !p.Selected || taken == nil {
		return nil
	}
	return p.copy(ctx, taken.Digest, name(taken.Digest), put)
}

func (p *Publication) copy(ctx context.Context, digest, name string, put func(string, []byte) error) error {
	content, err := p.Store.GetBlob(ctx, digest)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return put(name, content)
}

// lostError says that results are not in the store any more.
type lostError struct {
	stages map[string]int32 // with the attempt that counted
	cause  error
}

func (e *lostError) Error() string {
	names := slices.Sorted(maps.Keys(e.stages))
	return fmt.Sprintf("the store does not have what %s made, which is made again: %s", strings.Join(names, ", "), e.cause)
}

func (e *lostError) Unwrap() error { return e.cause }

// lost says which stages' results are not in the store, where that kept them from being published; else it returns the cause. A store
// that is not there at all has lost nothing.
func (p *Publication) lost(ctx context.Context, folder string, cause error) error {
	if _, err := p.Store.Published(ctx, folder); err != nil {
		return err
	}
	e := &lostError{stages: map[string]int32{}, cause: cause}
	for i := range p.Pipeline.Status.Stages {
		s := &p.Pipeline.Status.Stages[i]
		if s.Leaf == nil {
			continue
		}
		_, err := p.result(ctx, s)
		if err == nil {
			err = p.Store.CheckBlob(ctx, s.Leaf.Digest)
		}
		switch {
		case errors.Is(err, artifact.ErrNotFound), errors.Is(err, artifact.ErrDamaged):
			if p.Searched != nil && p.Searched.Plan.Tries(s.Name) { // in a stage of its own
				e.stages[walk.Search] = p.Searched.attempt
			} else {
				e.stages[s.Name] = s.Attempt
			}
		case err != nil:
			return err
		}
	}
	if len(e.stages) == 0 {
		return cause
	}
	return e
}

// Report makes the page from the pipeline's status and the results that its stages committed.
func (p *Publication) Report(ctx context.Context) ([]byte, error) {
	b := &reportBuilder{Publication: p, ctx: ctx}
	data, err := b.build()
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var page bytes.Buffer
	if err := report.Write(&page, data); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return page.Bytes(), nil
}

// result returns what a stage committed. In a cluster the baseline's status is not under the name of its result: that follows from what
// it pinned.
func (p *Publication) result(ctx context.Context, s *v1alpha1.StageStatus) (*Result, error) {
	result, err := artifact.GetResult[Result](ctx, p.Store, s.InputHash)
	status := &p.Pipeline.Status
	if s.Name != walk.Baseline || status.Baseline == nil || !errors.Is(err, artifact.ErrNotFound) {
		return result, err
	}
	versions := walk.Versions{Algorithm: status.AlgorithmVersion}
	hash := walk.StageHash(&p.Pipeline.Spec, s.Name, versions, *status.Baseline, status.Baseline.ModelDigest)
	return artifact.GetResult[Result](ctx, p.Store, walk.AttemptHash(&p.Pipeline.Spec, hash))
}
