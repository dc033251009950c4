package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/measurement"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/kernel"
)

// runOptions are the flags of `espalier run`.
type runOptions struct {
	manifest string
	outFlags
	commands bool // of the manifest may be run
	streams  *ioStreams
}

// outFlags say where a walk leaves what it found, and how it works.
type outFlags struct {
	out     string
	workers int
}

func (o *outFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.out, "out", "out", "folder for the results")
	cmd.Flags().StringVarP(&o.out, "output", "o", "out", "folder for the results")
	cmd.Flags().IntVar(&o.workers, "workers", 0, "goroutines for training and measuring; 0: one a processor; changes no result")
	_ = cmd.Flags().MarkHidden("out")
}

func newRunCommand(streams *ioStreams) *cobra.Command {
	o := &runOptions{streams: streams}
	cmd := &cobra.Command{
		Use:   "run PIPELINE.yaml -o FOLDER",
		Short: "Walk a pipeline's whole deployment tree in this process",
		Long: `Walk a pipeline's deployment tree: read the model and the dataset, apply each stage, measure each int8 leaf, and stop at the
first leaf that meets every constraint. The folder gets

  result.json    the pipeline with its status filled
  report.html    the tree, the figures and the weights of every layer, for people
  leaves/        every int8 leaf, one file a stage
  models/        the float models between stages
  found.yaml     of a search: what it found, as a plain pipeline that makes the same leaf
  .cache/        what was computed, by content: a second run goes on from there

Paths in the manifest are relative to the manifest. The result.json of a search is taken for the manifest that it found. Models and datasets at s3://, gs:// and azblob:// addresses are read with the
environment's credentials and kept in .cache. Ctrl-C saves the stage under way; the same command resumes it.

The programs of spec.measurements are run only with --allow-commands: they may do here whatever you may.`,
		Example: "  espalier run pipeline.yaml -o out/",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.manifest = args[0]
			return o.run(cmd.Context())
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.commands, "allow-commands", false, "run the commands of spec.measurements on this machine, as you")
	return cmd
}

func (o *runOptions) run(ctx context.Context) error {
	content, err := os.ReadFile(o.manifest)
	if err != nil {
		return fault.As(fault.Spec, err)
	}
	pipeline, err := readManifest(content)
	if err != nil {
		return fault.As(fault.Spec, fmt.Errorf("%s: %w", o.manifest, err))
	}
	if err := o.mayMeasure(&pipeline.Spec); err != nil {
		return err
	}
	if err := o.placed(pipeline); err != nil {
		return err
	}
	return o.walk(ctx, o.streams, pipeline, filepath.Dir(o.manifest))
}

// placed refuses the result of a run whose model is not beside it: its paths are as the manifest has them, whose place it does not know.
func (o *runOptions) placed(p *v1alpha1.OptimizationPipeline) error {
	uri := p.Spec.Model.URI
	if len(p.Status.Stages) == 0 || v1alpha1.Scheme(uri) != "" || filepath.IsAbs(uri) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(o.manifest), uri)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.As(fault.Spec, fmt.Errorf("%s: model %s is not beside it: the paths in a run's result are relative to the manifest that was run; run that manifest, or a copy of this file in its folder", o.manifest, uri))
}

// mayMeasure refuses a manifest whose measurements would run commands that nobody here agreed to.
func (o *runOptions) mayMeasure(spec *v1alpha1.OptimizationPipelineSpec) error {
	if o.commands || len(spec.Measurements) == 0 {
		return nil
	}
	var commands []string
	for i := range spec.Measurements {
		commands = append(commands, fmt.Sprintf("%q", strings.Join(spec.Measurements[i].Command, " ")))
	}
	return fault.As(fault.Spec, fmt.Errorf("%s: spec.measurements runs commands on this machine: %s; read what they do, and add --allow-commands", o.manifest, strings.Join(commands, ", ")))
}

// warner shows warnings, those that need be said once of the first leaf that gives them.
func warner(view *view) func(name string, err error) {
	var said sync.Map
	return func(name string, err error) {
		if once, ok := errors.AsType[stage.Once](err); ok {
			if _, twice := said.LoadOrStore(once, true); twice {
				return
			}
		}
		view.Say("note     %s: %v", name, err)
	}
}

// walk walks a pipeline whose paths are relative to a folder.
func (o *outFlags) walk(ctx context.Context, streams *ioStreams, pipeline *v1alpha1.OptimizationPipeline, base string) error {
	sources := stage.Sources{
		Base: base, Cache: artifact.Cache{Dir: filepath.Join(o.out, ".cache", "fetched")},
		Fetched: func(uri string, bytes int64) { streams.tell("fetched  %s, %d bytes", uri, bytes) },
	}
	prepared, err := stage.Prepare(ctx, &pipeline.Spec, sources)
	if err != nil {
		return err
	}
	defer prepared.Close()
	view := newView(streams, &pipeline.Spec)
	runner := &stage.Runner{Spec: &pipeline.Spec, Prepared: prepared, KernelClass: kernel.Class(), Workers: o.workers, Progress: view.progress, Guard: guarded,
		Measure: &measurement.Local{Dir: base},
		Warn:    warner(view)}
	unable, err := runner.Check()
	if err == nil {
		err = prepared.Answer(ctx, o.workers)
	}
	if err == nil {
		err = prepared.Measurable(pipeline.Spec.Constraints)
	}
	if err == nil {
		err = prepared.Tellable(pipeline.Spec.Constraints)
	}
	if err != nil {
		return err
	}
	store, err := artifact.OpenFolder(filepath.Join(o.out, stage.CacheFolder))
	if err != nil {
		return fault.As(fault.Storage, err)
	}
	defer store.Close()
	runner.Store = store
	view.inputs(pipeline, prepared, unable)
	local := stage.NewWalk(pipeline, runner, view)
	decision, walkErr := local.Run(ctx)
	view.close()
	if walkErr != nil && !local.Started() {
		if local.Failure != nil && errors.Is(walkErr, local.Failure) { // the stage's line said it
			return errors.Join(errSilent, walkErr)
		}
		return walkErr
	}
	files := &folder{path: o.out}
	found := &stage.Publication{Store: store, Pipeline: local.Filled(decision), Tool: tool(), Models: true}
	if found.Searched, err = local.Searched(decision, base, o.out); err != nil {
		return errors.Join(walkErr, fault.As(fault.Storage, err))
	}
	if err := files.write(context.WithoutCancel(ctx), found); err != nil {
		return errors.Join(walkErr, fault.As(fault.Storage, err))
	}
	if errors.Is(walkErr, context.Canceled) {
		streams.tell("interrupted: what was computed is kept; the same command goes on from here")
		return errors.Join(errSilent, walkErr)
	}
	if walkErr != nil {
		return walkErr
	}
	view.conclude(decision, o.out, found.Searched)
	return verdict(decision, local.Failure)
}

// readManifest reads a manifest. The result.json of a search is the manifest that it found: as found.yaml, which is beside it.
func readManifest(content []byte) (*v1alpha1.OptimizationPipeline, error) {
	_, searched, err := stage.ReadResult(content)
	if err != nil || searched == nil {
		return v1alpha1.Decode(content)
	}
	if searched.Manifest == nil {
		return nil, errors.New("is the result of a search that found no stages; run the manifest of the search instead")
	}
	found, err := json.Marshal(searched.Manifest)
	if err != nil {
		return nil, err
	}
	return v1alpha1.Decode(found)
}

// verdict is the error a walk ends with, of which a stage may have failed first: none if it came to a good end.
func verdict(d walk.Decision, failure error) error {
	switch {
	case d.Ready:
		return nil
	case d.Suspended:
		return fault.As(fault.Spec, errors.New("spec.runPolicy.suspend is true: nothing runs until it is false"))
	case failure != nil && d.Reason != walk.ReasonNotMet && d.Reason != walk.ReasonCannotBeMet:
		return errors.Join(errSilent, failure)
	}
	return errors.Join(errSilent, fault.As(fault.Constraints, errors.New(d.Message)))
}
