package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
)

// readModelFile reads a model's file whole.
func readModelFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	return content, fault.As(fault.Model, err)
}

// stateFlags say which inputs and outputs of a model are state.
type stateFlags []string

func (f *stateFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar((*[]string)(f), "state", nil, "an input and an output that are state, as INPUT=OUTPUT, once a pair; a leaf says so itself, variables need none")
}

// pairs are those of model.states.
func (f stateFlags) pairs() (pairs []v1alpha1.StatePair, err error) {
	for _, pair := range f {
		in, out, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("--state %q: want INPUT=OUTPUT", pair)
		}
		pairs = append(pairs, v1alpha1.StatePair{Input: in, Output: out})
	}
	return pairs, nil
}

// write writes the pairs into a model's content that says nothing of its own.
func (f stateFlags) write(content []byte) ([]byte, error) {
	m, err := tflite.Read(content)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	if _, has := m.Metadata(tflite.StatesName); has || len(f) == 0 {
		return content, nil
	}
	source := v1alpha1.NetworkSource{}
	if source.States, err = f.pairs(); err != nil {
		return nil, fault.As(fault.Spec, err)
	}
	content, err = stage.WithStates(content, source)
	if err != nil {
		err = errors.New(strings.Replace(err.Error(), "model.states", "--state", 1))
	}
	return content, fault.As(fault.Spec, err)
}

// read reads a model's file as readSignature does, with the pairs written into it.
func (f stateFlags) read(path, key string) ([]byte, error) {
	content, err := readSignature(path, key)
	if err != nil {
		return nil, err
	}
	return f.write(content)
}

// readSignature reads a model's file with the subgraph of a signature as its primary one: without a key as `run` chooses it, and where that
// does not choose, as in a leaf, the file's own.
func readSignature(path, key string) ([]byte, error) {
	content, err := readModelFile(path)
	if err != nil {
		return nil, err
	}
	m, err := tflite.ReadStored(content)
	if err != nil {
		return nil, fault.As(fault.Model, fmt.Errorf("%s: %w", path, err))
	}
	_, moved, err := tflite.Select(m, key)
	switch {
	case err != nil && key != "":
		return nil, fault.As(fault.Spec, fmt.Errorf("--signature: %s: %w", path, err))
	case err != nil || !moved:
		return content, nil
	}
	content, err = m.Marshal()
	return content, fault.As(fault.Model, err)
}

// dataFlags say which dataset, and how it is prepared.
type dataFlags struct {
	path, spec, pipeline, split string

	// asked is the pipeline that --pipeline names, read once; nil without.
	asked func() (*v1alpha1.OptimizationPipeline, error)
}

func (f *dataFlags) add(cmd *cobra.Command, required bool) {
	f.asked = sync.OnceValues(f.readPipeline)
	cmd.Flags().StringVar(&f.path, "dataset", "", "dataset: a .npz, TFRecord or table, or a folder of IDX files, arrays, tables, images or recordings")
	cmd.Flags().StringVar(&f.spec, "dataset-spec", "", `how it is prepared, as in the manifest: '{preprocessing: {scale: "1/255"}}', or @FILE`)
	cmd.Flags().StringVar(&f.pipeline, "pipeline", "", "pipeline that says how it is prepared: a manifest, or the result.json of a run")
	cmd.Flags().StringVar(&f.split, "split", "test", "samples to use: train, validation or test")
	if required {
		_ = cmd.MarkFlagRequired("dataset")
	}
}

// needed is an error where flags say how a dataset is prepared that is not there.
func (f *dataFlags) needed() error {
	if f.path == "" && f.spec != "" {
		return fault.As(fault.Spec, errors.New("--dataset-spec says how a dataset is prepared, and needs --dataset"))
	}
	return nil
}

// open opens the dataset of a model, picks the split and notes what the reader decided. Where the model's file does not say how its inputs are made,
// that of the first of others does that says it.
func (f *dataFlags) open(streams *ioStreams, model []byte, others ...[]byte) (*dataset.Dataset, dataset.Source, error) {
	spec, err := f.preparation()
	if err != nil {
		return nil, nil, err
	}
	m, err := tflite.Read(model)
	if err != nil {
		return nil, nil, fault.As(fault.Model, err)
	}
	spec.Network = dataset.NetworkOf(m)
	spec.Made, _ = m.Metadata(dataset.PreprocessingMetadata)
	for _, content := range others {
		other, err := tflite.Read(content)
		if err != nil {
			return nil, nil, fault.As(fault.Model, err)
		}
		said, _ := other.Metadata(dataset.PreprocessingMetadata)
		if len(spec.Made) == 0 {
			spec.Made = said
		} else if len(said) > 0 && !bytes.Equal(said, spec.Made) && f.spec == "" && f.pipeline == "" {
			streams.note("the models' files do not say the same of how inputs are made: the first one's word counts for both; --dataset-spec says another")
		}
	}
	data, err := dataset.Open(f.path, spec)
	if err != nil {
		return nil, nil, fault.As(fault.Dataset, named(err))
	}
	source, ok := map[string]dataset.Source{"train": data.Train, "validation": data.Validation, "test": data.Test}[f.split]
	if !ok || source == nil {
		data.Close()
		if ok {
			err = fmt.Errorf("--split %s: the dataset has no training samples: name test or validation", f.split)
		} else {
			err = fmt.Errorf("--split %q: want train, validation or test", f.split)
		}
		return nil, nil, fault.As(fault.Spec, err)
	}
	for _, note := range data.Notes {
		streams.note("%s", note)
	}
	return data, source, nil
}

// asked is a model's content that says at which steps of the sequences of a source it is asked, where the source's targets tell; of other
// networks, and without a source, it is as it was.
func asked(streams *ioStreams, content []byte, source dataset.Source) ([]byte, error) {
	if source == nil {
		return content, nil
	}
	m, err := tflite.Read(content)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	targets := dataset.TargetShapes(source)
	each, steps := stream.EachStep(m, dataset.Shapes(source), targets)
	if steps == 1 {
		streams.note("the network keeps state, and a sample is one step: it begins with zeros, and what it leaves is never read; give sequences, [steps, …]")
	}
	if steps == 0 || len(targets) == 0 || each == m.EachStep() {
		return content, nil
	}
	m.SetEachStep(each)
	content, err = m.Marshal()
	return content, fault.As(fault.Model, err)
}

// preparation is how the dataset is prepared.
func (f *dataFlags) preparation() (dataset.Spec, error) {
	p, err := f.asked()
	switch {
	case err != nil:
		return dataset.Spec{}, err
	case p != nil && f.spec != "":
		return dataset.Spec{}, fault.As(fault.Spec, errors.New("--pipeline and --dataset-spec both say how the dataset is prepared: leave one out"))
	case p != nil:
		return stage.DatasetSpec(p.Spec.Dataset)
	}
	text, err := textOrFile(f.spec)
	if err != nil {
		return dataset.Spec{}, fault.As(fault.Spec, fmt.Errorf("--dataset-spec: %w", err))
	}
	section, err := v1alpha1.DecodeDataset(text)
	if err != nil {
		return dataset.Spec{}, fault.As(fault.Spec, fmt.Errorf("--dataset-spec: %w", err))
	}
	return stage.DatasetSpec(section)
}

// textOrFile is YAML that a flag has, or that is in the file it names with @.
func textOrFile(flag string) ([]byte, error) {
	path, named := strings.CutPrefix(flag, "@")
	if !named {
		return []byte(flag), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: @FILE names a file of YAML", err)
	}
	return text, nil
}

func (f *dataFlags) readPipeline() (*v1alpha1.OptimizationPipeline, error) {
	if f.pipeline == "" {
		return nil, nil
	}
	text, err := os.ReadFile(f.pipeline)
	if err != nil {
		return nil, fault.As(fault.Spec, fmt.Errorf("--pipeline: %w: name a manifest or a result.json", err))
	}
	if p, searched, err := stage.ReadResult(text); err == nil && searched != nil { // what a search did is no field of a manifest
		return p, nil
	}
	p, err := v1alpha1.Decode(text)
	if err != nil {
		return nil, fault.As(fault.Spec, fmt.Errorf("--pipeline %s: %w", f.pipeline, err))
	}
	return p, nil
}

// named says where the fields are that a remedy names: in a manifest the dataset's, here a flag's.
func named(err error) error {
	for _, field := range []string{"preprocessing", "dataset.", "stored.", "split."} {
		if strings.Contains(err.Error(), field) && !strings.Contains(err.Error(), "--dataset-spec") {
			example := `{scale: "1/255"}`
			if strings.Contains(err.Error(), "preprocessing.audio") {
				example = "{audio: {features: MFCC}}"
			}
			return fmt.Errorf("%w (--dataset-spec says it, such as '{preprocessing: %s}')", err, example)
		}
	}
	return err
}

// unmeasured is why a model could not be measured: the dataset's fault or the model's.
func unmeasured(err error) error {
	var sample *dataset.SampleError
	var fit *dataset.FitError
	var targets *answer.Error
	if errors.As(err, &sample) || errors.As(err, &fit) || errors.As(err, &targets) {
		return fault.As(fault.Dataset, named(err))
	}
	return fault.As(fault.Model, named(err))
}
