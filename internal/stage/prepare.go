package stage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
)

// Prepared is what every stage of a pipeline shares: the network, the dataset and the original's answers.
type Prepared struct {
	Network     *lineage.Network // the pipeline's own, whose constants are within reach
	original    *lineage.Network // as it was read: what leaves are compared with
	Data        *dataset.Dataset
	Outputs     []answer.Output // what the network's outputs are
	ModelDigest string

	file    []byte // of the model, as it was given
	content []byte // that of the model as it is read: which inputs are state is in it

	answering  sync.Mutex
	validation *measure.Answers // the original's, on the split that decides; nil until a leaf is measured
	test       *measure.Answers // nil where there is no other split
}

// Prepare reads the network and the dataset of a pipeline and checks that they are the pinned ones and fit each other.
func Prepare(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec, sources Sources) (*Prepared, error) {
	if _, err := Target(spec); err != nil {
		return nil, err
	}
	model, err := sources.model(ctx, spec)
	if err != nil {
		return nil, err
	}
	p := &Prepared{}
	if p.file, err = os.ReadFile(model.Path); err != nil {
		return nil, fault.As(fault.Model, err)
	}
	p.ModelDigest = artifact.Digest(p.file)
	if err := sources.checkPin(fault.Model, "model", spec.Model.ModelSource, p.ModelDigest); err != nil {
		return nil, err
	}
	if p.content, err = WithStates(p.file, spec.Model); err != nil {
		return nil, fault.As(fault.Model, err)
	}
	var open *ir.OpenError
	if err := p.read(spec); err != nil && !errors.As(err, &open) { // the dataset tells open sizes
		return nil, err
	}
	if err := p.open(ctx, spec, sources, model.Bytes); err != nil {
		_ = p.Close()
		return nil, err
	}
	p.original = p.Network
	if err := p.say(spec); err != nil {
		_ = p.Close()
		return nil, err
	}
	if p.Network, err = (&lineage.Run{Data: p.Data}).Reach(ctx, p.Network); err != nil {
		_ = p.Close()
		return nil, fault.As(fault.Model, classify(err))
	}
	if err := p.forTarget(ctx, spec); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// say writes into the network how its inputs are made, in place of what its file said.
func (p *Prepared) say(spec *v1alpha1.OptimizationPipelineSpec) error {
	made, err := p.Data.MadeJSON()
	if err != nil {
		return err
	}
	said, _ := p.Network.Given().Metadata(dataset.PreprocessingMetadata)
	if bytes.Equal(said, made) {
		return nil
	}
	if len(said) > 0 {
		now := "is replaced by what dataset.preprocessing says"
		if len(made) == 0 {
			now = "is left out, as the manifest has samples taken as they are stored"
		}
		p.Data.Notes = append(p.Data.Notes, fmt.Sprintf("how inputs were made, as the file of the model %s has it, %s: %.300s", spec.Model.URI, now, oneLine(string(said))))
	}
	p.Network = p.Network.WithMetadata(dataset.PreprocessingMetadata, made)
	return nil
}

// forTarget has operators that the pipeline's device lacks written by others.
func (p *Prepared) forTarget(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec) error {
	t, err := Target(spec)
	if err != nil || t == nil {
		return err
	}
	p.Network, err = (&lineage.Run{Data: p.Data}).For(ctx, p.Network, t)
	return fault.As(fault.Model, classify(err))
}

// WithStates is a model's content in which the inputs and outputs that a source pairs as state are written down, and how many steps are trained
// over at once; without either it is as it was.
func WithStates(content []byte, source v1alpha1.NetworkSource) ([]byte, error) {
	if len(source.States) == 0 && source.Chunk == nil {
		return content, nil
	}
	m, err := tflite.Read(content)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", source.URI, err)
	}
	if _, _, err := tflite.Select(m, source.Signature); err != nil {
		return nil, fmt.Errorf("model %s: %w", source.URI, err)
	}
	var pairs []tflite.StatePair
	for _, s := range source.States {
		pairs = append(pairs, tflite.StatePair{Input: s.Input, Output: s.Output})
	}
	if pairs != nil {
		if err := m.SetStates(pairs); err != nil {
			return nil, fmt.Errorf("model.states: %w", err)
		}
	}
	if source.Chunk == nil {
		return m.Marshal()
	}
	if step, err := stream.Open(m); err == nil && step == nil {
		return nil, fmt.Errorf("model.chunk: the network keeps no state that a chunk could leave to the next: leave it out, or name inputs and outputs that are state (model.states)")
	}
	m.SetChunk(int(*source.Chunk))
	return m.Marshal()
}

// eachStep is a model's content that says that it answers at each step of a sequence.
func eachStep(content []byte) ([]byte, error) {
	m, err := tflite.Read(content)
	if err != nil {
		return nil, err
	}
	m.SetEachStep(true)
	return m.Marshal()
}

// read reads the network; samples are the shapes of the dataset's.
func (p *Prepared) read(spec *v1alpha1.OptimizationPipelineSpec, samples ...[]int) error {
	var err error
	if p.Network, err = lineage.ReadSignature(p.content, spec.Model.Signature, samples...); err != nil {
		return fault.As(fault.Model, fmt.Errorf("model %s: %w", spec.Model.URI, err))
	}
	return nil
}

// open opens the dataset.
func (p *Prepared) open(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec, sources Sources, used int64) error {
	options, err := DatasetSpec(spec.Dataset)
	if err != nil {
		return err
	}
	given, err := tflite.Read(p.content)
	if err != nil {
		return fault.As(fault.Model, fmt.Errorf("model %s: %w", spec.Model.URI, err))
	}
	if _, _, err := tflite.Select(given, spec.Model.Signature); err != nil {
		return fault.As(fault.Model, fmt.Errorf("model %s: %w", spec.Model.URI, err))
	}
	options.Network = dataset.NetworkOf(given)
	for _, o := range spec.Outputs {
		options.Network.Tell(o.Name, o.Target)
	}
	fetched, err := sources.dataset(ctx, spec, used)
	if err != nil {
		return err
	}
	if p.Data, err = dataset.Open(fetched.Path, options); err != nil {
		if fetched.Digest != "" { // named by where it is kept for now
			err = fmt.Errorf("%s: %w", spec.Dataset.URI, err)
		}
		return fault.As(fault.Dataset, err)
	}
	if p.Data.Train == nil {
		return fault.As(fault.Dataset, fmt.Errorf("dataset %s has no training samples: a pipeline trains and calibrates on them", spec.Dataset.URI))
	}
	if err := checkShift(options, dataset.Shapes(p.Data.Train)...); err != nil {
		return err
	}
	if err := sources.checkPin(fault.Dataset, "dataset", spec.Dataset.ModelSource, p.Data.Digest); err != nil {
		return err
	}
	if each, _ := stream.EachStep(given, dataset.Shapes(p.Data.Train), dataset.TargetShapes(p.Data.Train)); each {
		if p.content, err = eachStep(p.content); err != nil {
			return fault.As(fault.Model, err)
		}
	}
	if p.Network == nil {
		if err := p.read(spec, dataset.Shapes(p.Data.Train)...); err != nil {
			return err
		}
	}
	return p.fit(ctx, spec)
}

// Close frees the dataset's files.
func (p *Prepared) Close() error {
	if p.Data == nil {
		return nil
	}
	return p.Data.Close()
}

// digests are those that results depend on.
func (p *Prepared) digests() v1alpha1.Baseline {
	return v1alpha1.Baseline{ModelDigest: p.ModelDigest, DatasetDigest: p.Data.Digest}
}

// fit checks the dataset's samples against the network's inputs, and its targets against the outputs.
func (p *Prepared) fit(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec) error {
	if _, err := ir.Parse(p.Network.Model(), 0); err != nil {
		return fault.As(fault.Model, err)
	}
	if err := p.Data.Fit(p.Network.Samples()); err != nil {
		return fault.As(fault.Dataset, err)
	}
	return p.describe(ctx, spec)
}

// describe decides what the network's outputs are.
func (p *Prepared) describe(ctx context.Context, spec *v1alpha1.OptimizationPipelineSpec) (err error) {
	chosen, err := choices(spec)
	if err != nil {
		return err
	}
	p.Outputs, err = lineage.Describe(ctx, p.Network, p.Data.Train, chosen)
	var misfit *answer.Error
	var unknown *answer.ChoiceError
	switch {
	case errors.As(err, &misfit):
		return fault.As(fault.Dataset, err)
	case errors.As(err, &unknown):
		return fault.As(fault.Spec, fmt.Errorf("spec.%w", err))
	}
	return fault.As(fault.Model, classify(err))
}

// choices are what the manifest says of outputs.
func choices(spec *v1alpha1.OptimizationPipelineSpec) ([]answer.Choice, error) {
	n := &numbers{}
	var out []answer.Choice
	for _, o := range spec.Outputs {
		c := answer.Choice{Name: o.Name, Target: o.Target, Weight: n.float(o.Weight, 1)}
		if o.Loss != "Auto" {
			c.Loss = answer.Loss(o.Loss)
		}
		if !(c.Weight > 0) {
			return nil, fault.As(fault.Spec, fmt.Errorf("spec.outputs: the weight of %s is %g: it is above 0; loss None trains it not at all", o.Name, c.Weight))
		}
		out = append(out, c)
	}
	return out, n.err
}

// Measurable returns an error for the first constraint on a metric that this network and dataset do not give, of which no leaf could
// tell whether it is met. It wants an Answer.
func (p *Prepared) Measurable(constraints []v1alpha1.Constraint) error {
	measured := p.validation.Metrics(p.validation)
	for i, c := range constraints {
		if c.Output != "" && !slices.ContainsFunc(p.Outputs, func(o answer.Output) bool { return o.Name == c.Output }) {
			var names []string
			for _, o := range p.Outputs {
				names = append(names, o.Name)
			}
			return fault.As(fault.Spec, fmt.Errorf("spec.constraints[%d]: the model has no output %q; it has %s", i, c.Output, strings.Join(names, ", ")))
		}
		name := nameOf(measure.Name(c.Metric), c.Output, p.main())
		if _, ok := measured[name]; ok || walk.Needs(c.Metric) == "" {
			continue
		}
		return fault.As(fault.Spec, fmt.Errorf("spec.constraints[%d]: %s cannot be measured on this dataset: %s", i, c.Metric.Of(c.Output), walk.Needs(c.Metric)))
	}
	return nil
}

// Unbounded says which outputs leaves may spoil unseen, and what bounds the first of them; "" where there is none. It wants an Answer.
func (p *Prepared) Unbounded(spec *v1alpha1.OptimizationPipelineSpec) string {
	return unbounded(spec, p.boundable())
}

// Boundable is an output that constraints may be on. Remedy is the constraint that bounds it, as the end of a sentence.
type Boundable struct {
	Output string `json:"output"`
	Main   bool   `json:"main,omitempty"` // constraints without output are on it
	Remedy string `json:"remedy,omitempty"`
}

// boundable are the outputs that are trained. It wants an Answer.
func (p *Prepared) boundable() []Boundable {
	return boundable(p.Outputs, p.main(), p.validation.Metrics(p.validation))
}

func boundable(outputs []answer.Output, main string, measured measure.Metrics) (out []Boundable) {
	for i := range outputs {
		if o := &outputs[i]; o.Trained() {
			out = append(out, Boundable{o.Name, o.Name == main, bounding(o.Name, main, measured)})
		}
	}
	return out
}

// unbounded are the outputs that no constraint is on while one is on the answers of another, or a search makes leaves smaller for as long as they
// meet what is asked: what is not asked for is the first to be given up. Measurements may be of any.
func unbounded(spec *v1alpha1.OptimizationPipelineSpec, outputs []Boundable) string {
	bounded, main := map[string]bool{}, false
	for _, c := range spec.Constraints {
		if c.Metric.Measured() {
			return ""
		}
		if measure.Name(c.Metric).OfAnswers() {
			bounded[c.Output] = true
			main = main || c.Output == ""
		}
	}
	if len(bounded) == 0 && spec.Search == nil {
		return ""
	}
	var names []string
	var remedy string
	for _, o := range outputs {
		if !bounded[o.Output] && !(o.Main && main) {
			names, remedy = append(names, o.Output), cmp.Or(remedy, o.Remedy)
		}
	}
	if names == nil {
		return ""
	}
	return fmt.Sprintf("no constraint is on the answers of %s: leaves may spoil them and still be taken%s", strings.Join(names, ", "), remedy)
}

// bounding is the constraint that bounds an output by what is measured of it.
func bounding(output, main string, measured measure.Metrics) string {
	for _, m := range []measure.Name{measure.AccuracyDrop, measure.Agreement, measure.RelativeError, measure.MeanSquaredError} {
		value, ok := measured[nameOf(m, output, main)]
		if !ok {
			continue
		}
		side := "max"
		if m.Higher() {
			side = "min"
		}
		which := ""
		if output != main {
			which = fmt.Sprintf(" output: %q,", output)
		}
		remedy := fmt.Sprintf("; {metric: %s,%s %s: …} bounds %s", m, which, side, output)
		if value > 0 && (m == measure.RelativeError || m == measure.MeanSquaredError) {
			remedy += fmt.Sprintf(", the original has %.4g", value)
		}
		return remedy
	}
	return ""
}

// main is the name of the main output.
func (p *Prepared) main() string { return p.Outputs[answer.Main(p.Outputs)].Name }

// nameOf is a metric of an output: those of the main output, which "" is too, go without its name.
func nameOf(metric measure.Name, output, main string) measure.Name {
	if output == "" || output == main {
		return metric
	}
	return metric.Of(output)
}

// Deciding returns the split that decisions use.
func (p *Prepared) Deciding() dataset.Source {
	if p.Data.Validation != nil {
		return p.Data.Validation
	}
	return p.Data.Test
}

// facts describes the dataset.
func (p *Prepared) facts() []string {
	out := []string{fmt.Sprintf("%s, %d training samples", p.Data.Format, p.Data.Train.Len()), fmt.Sprintf("%d validation", p.Deciding().Len())}
	if p.held() {
		out = append(out, fmt.Sprintf("%d test", p.Data.Test.Len()))
	}
	if n := dataset.ClassCount(p.Data.Train); n > 0 {
		if n == 1 {
			out = append(out, "1 class")
		} else {
			out = append(out, fmt.Sprintf("%d classes", n))
		}
	}
	for i := range p.Outputs {
		out = append(out, "output "+p.Outputs[i].String())
	}
	return out
}

// held reports whether the test split is one of its own.
func (p *Prepared) held() bool {
	return p.Data.Test != nil && p.Data.Validation != nil && p.Data.Test != p.Data.Validation
}

// Answer runs the original as it was given, unless that was done; an int8 network runs as it is. Stages do so when they measure; before
// that it tells whether model and samples can be run at all.
func (p *Prepared) Answer(ctx context.Context, workers int) error {
	p.answering.Lock()
	defer p.answering.Unlock()
	if p.validation != nil {
		return nil
	}
	content := p.content
	var err error
	switch {
	case p.Network.Rewritten() && !p.Network.Int8(): // normalised: what stages start from
		var model *tflite.Model
		if model, err = p.original.Runs(); err == nil {
			content, err = model.Marshal()
		}
	case p.Network.Selected():
		content, err = p.Network.Given().Marshal()
	}
	if err != nil {
		return err
	}
	var test *measure.Answers
	if p.held() {
		var err error
		if test, err = measure.Run(ctx, content, p.Data.Test, measure.Options{Workers: workers, Outputs: p.Outputs}); err != nil {
			return fault.As(fault.Model, classify(err))
		}
	}
	validation, err := measure.Run(ctx, content, p.Deciding(), measure.Options{Workers: workers, Outputs: p.Outputs})
	if err != nil {
		return fault.As(fault.Model, classify(err))
	}
	p.validation, p.test = validation, test
	return nil
}
