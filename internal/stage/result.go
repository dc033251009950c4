package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/interval"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/report"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// Result is what a stage committed. Digests name blobs of the store.
type Result struct {
	Stage     string                 `json:"stage"`
	Technique string                 `json:"technique"`
	Model     string                 `json:"model,omitempty"` // float model that later stages build on
	Leaf      string                 `json:"leaf"`
	LeafKind  string                 `json:"leafKind"`       // PTQ, QAT, PQAT, CQAT or PCQAT
	Metrics   []v1alpha1.MetricValue `json:"metrics"`        // of the leaf, on the split that decides
	Test      []v1alpha1.MetricValue `json:"test,omitempty"` // of the leaf, on the test split
	Float     []v1alpha1.MetricValue `json:"float,omitempty"`
	// Evidence is what the intervals of Metrics follow from, TestEvidence those of Test.
	Evidence     interval.Evidence `json:"evidence,omitzero"`
	TestEvidence interval.Evidence `json:"testEvidence,omitzero"`

	Clustered []measure.Clustered `json:"clustered,omitempty"` // tensors of the leaf that its lineage clustered
	Layers    []Layer             `json:"layers,omitempty"`
	TopOne    string              `json:"topOne,omitempty"` // agreement of the leaf with its simulation
	Loss      string              `json:"loss,omitempty"`
	Epochs    int                 `json:"epochs,omitempty"`
	History   []report.Epoch      `json:"history,omitempty"`   // of training
	RangeTest *train.RangeTest    `json:"rangeTest,omitempty"` // that found the learning rate
	Sought    *train.Sought       `json:"sought,omitempty"`    // how many epochs the validation loss decided on
	Undone    bool                `json:"undone,omitempty"`    // training made things worse, and its start was kept
	Seconds   string              `json:"seconds"`
	Notes     []string            `json:"notes,omitempty"`
	Warnings  []string            `json:"warnings,omitempty"`  // of the notes those that a person should see at once
	Once      []string            `json:"once,omitempty"`      // of the notes those that a person should see with the first leaf that has them
	Settings  string              `json:"settings,omitempty"`  // in words
	Facts     []string            `json:"facts,omitempty"`     // of the dataset; baseline only
	Classed   int                 `json:"classed,omitempty"`   // samples that decide, where each has one class; baseline only
	Boundable []Boundable         `json:"boundable,omitempty"` // outputs; baseline only
	// KernelClass is the SIMD level of the machine that made it.
	KernelClass string `json:"kernelClass,omitempty"`
	// Searched is what a search did whose leaf this is.
	Searched *Searched `json:"searched,omitempty"`
}

// Blobs are the files that a result is worth nothing without.
func (r *Result) Blobs() []string {
	if r.Model == "" {
		return []string{r.Leaf}
	}
	return []string{r.Model, r.Leaf}
}

// Status is the leaf as a status has it.
func (r *Result) Status() *v1alpha1.Leaf {
	return &v1alpha1.Leaf{Digest: r.Leaf, Metrics: r.Metrics, Samples: int32(r.Evidence.Samples), Changed: int32(r.Evidence.Changed)}
}

// testStatus is the leaf as the test split has it.
func (r *Result) testStatus() *v1alpha1.Leaf {
	return &v1alpha1.Leaf{Digest: r.Leaf, Metrics: r.Test, Samples: int32(r.TestEvidence.Samples), Changed: int32(r.TestEvidence.Changed)}
}

// contradicts reports what a result says that its leaf does not show: its technique and its sizes. What only samples tell is believed.
func (r *Result) contradicts(s settings, leaf []byte) error {
	if r.Technique != s.technique() {
		return fmt.Errorf("it is of technique %s, not %s", r.Technique, s.technique())
	}
	sizes := measure.Metrics{measure.FileBytes: float64(len(leaf)), measure.CompressedBytes: float64(measure.CompressedSize(leaf))}
	for _, want := range sizes.Values() {
		said, has := walk.Value(r.Metrics, v1alpha1.Metric(want.Name)), shortNumber(sizes[want.Name])
		if said == "" && len(r.Metrics) == v1alpha1.MaxMetrics { // there was no room beside what constraints are on
			continue
		}
		if said != has {
			return fmt.Errorf("it says %s %s where the leaf has %s", want.Name, said, has)
		}
	}
	return nil
}

// FoundRate is the learning rate that the stage found, as a decimal; "" where it was told one, or trained nothing.
func (r *Result) FoundRate() string {
	if r.RangeTest == nil {
		return ""
	}
	return strconv.FormatFloat(r.RangeTest.Rate, 'g', 6, 64)
}

// FoundEpochs are those that were trained, where the validation loss decided how many; 0 elsewhere.
func (r *Result) FoundEpochs() int32 {
	if r.Sought == nil {
		return 0
	}
	return int32(r.Sought.All)
}

// outputSNR is the measured error of an int8 tensor, in dB; nil where it was not measured or there is none.
func (r *Result) outputSNR(tensor int) *float64 {
	for _, l := range r.Layers {
		if v, err := strconv.ParseFloat(l.Decibel, 64); l.Tensor == tensor && err == nil && !math.IsInf(v, 0) {
			return &v
		}
	}
	return nil
}

// Layer is the error of one int8 tensor.
type Layer struct {
	Tensor  int    `json:"tensor"` // of the leaf
	Name    string `json:"name"`
	Decibel string `json:"decibel"`
}

// describe stores an outcome's files and measures its leaf.
func (r *Runner) describe(ctx context.Context, s settings, o *lineage.Outcome) (*Result, error) {
	result := &Result{Stage: s.name, Technique: s.technique(), Notes: o.Notes, Warnings: o.Warnings, Once: o.Once, KernelClass: kernel.Class()}
	leaf, err := o.Leaf.Marshal()
	if err != nil {
		return nil, err
	}
	if result.Leaf, err = r.Store.PutBlob(ctx, leaf); err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	if !o.Network.Final() {
		model, err := o.Network.Model().Marshal()
		if err != nil {
			return nil, err
		}
		if result.Model, err = r.Store.PutBlob(ctx, model); err != nil {
			return nil, fault.As(fault.Storage, err)
		}
	}
	result.LeafKind, result.Settings = leafKind(o), s.words(nil)
	if s.stage == nil {
		result.Facts, result.Classed = r.Prepared.facts(), r.Prepared.classed()
		result.Notes = append(result.Notes, r.Prepared.Data.Notes...)
	}
	for _, t := range slices.Sorted(maps.Keys(o.Promises)) {
		if state := o.Promises[t]; state.Clustered() && !state.Found {
			float := o.Leaf.Subgraph().Tensors[t].Type == schema.TensorTypeFLOAT32 // its values are codes times the channel's scale
			result.Clustered = append(result.Clustered, measure.Clustered{Tensor: t, PerChannel: state.Scope == weight.PerChannel || float})
		}
	}
	for _, l := range o.SNR {
		result.Layers = append(result.Layers, Layer{l.Leaf, l.Name, fmt.Sprintf("%.1f", l.Decibel)})
	}
	if o.Verification != nil {
		result.TopOne = measure.Format(o.Verification.TopOne)
	}
	if o.Training != nil {
		for _, epoch := range o.Training.History {
			result.History = append(result.History, report.Epoch(epoch))
		}
		result.RangeTest = o.Training.RangeTest
		result.Sought, result.Undone = o.Training.Sought, o.Training.Undone()
		result.Settings = s.words(o.Training)
		result.Epochs, result.Loss = o.Training.Epochs, measure.Format(o.Training.Training.Loss)
	}
	return result, r.measure(ctx, s, result, leaf)
}

// leafKind names how a leaf came about, in the field's terms.
func leafKind(o *lineage.Outcome) string {
	if !o.Network.Final() {
		return "PTQ"
	}
	sparse, clustered := "", ""
	for _, state := range o.Promises {
		if state.Mask != nil {
			sparse = "P"
		}
		if state.Clustered() {
			clustered = "C"
		}
	}
	return sparse + clustered + "QAT"
}

// words sums up the settings, with the learning rate and the epochs that were found, if they were. done is nil where nothing was trained.
func (s settings) words(done *train.Result) string {
	var parts []string
	if s.stage != nil {
		if technique, err := techniqueOf(s.stage); err == nil {
			parts = append(parts, technique.String())
		}
		if config, err := training(s.training); err == nil {
			count, found := config.Epochs, ""
			if config.Seek && done != nil && done.Sought != nil {
				count, found = done.Sought.All, ", found,"
			}
			epochs := fmt.Sprintf("%d epochs%s", count, found)
			if count == 1 {
				epochs = "1 epoch" + found
			}
			switch {
			case done != nil && done.RangeTest != nil:
				epochs += fmt.Sprintf(" at %.3g, found", done.RangeTest.Rate)
			case !config.FindRate:
				epochs += fmt.Sprintf(" at %g", config.LearningRate)
			}
			parts = append(parts, epochs)
		}
	}
	if leaf, err := leafOptions(s.leaf); err == nil && leaf.String() != "" {
		parts = append(parts, "leaf: "+leaf.String())
	}
	return strings.Join(parts, ", ")
}

// Target is the device that a pipeline's leaves are for; nil where it names none.
func Target(spec *v1alpha1.OptimizationPipelineSpec) (*target.Target, error) {
	flash := func(m v1alpha1.Metric) bool { return m == v1alpha1.FlashBytes }
	wanted := slices.ContainsFunc(spec.Constraints, func(c v1alpha1.Constraint) bool { return flash(c.Metric) }) ||
		flash(spec.Selection.Objective) || spec.Search != nil && flash(spec.Search.Minimize)
	errFlash := fault.As(fault.Spec, errors.New("FlashBytes is of a target whose runtime reads the file where it lies in flash: name one with TFLM, such as spec.target: {runtime: TFLM, device: cortex-m4}, or take FileBytes"))
	if spec.Target == (v1alpha1.Target{}) {
		if wanted {
			return nil, errFlash
		}
		return nil, nil
	}
	t, err := target.Find(target.Runtime(spec.Target.Runtime), spec.Target.Device)
	if err != nil {
		return nil, fault.As(fault.Spec, fmt.Errorf("spec.target: %w", err))
	}
	if wanted && !t.ReadsFromFlash() {
		return nil, errFlash
	}
	bounds := func(c v1alpha1.Constraint) bool { return c.Metric == v1alpha1.ArenaBytes }
	if t.PlansMemoryUnseen() && slices.ContainsFunc(spec.Constraints, bounds) {
		return nil, fault.As(fault.Spec, fmt.Errorf("spec.constraints: the arena of %s is not in the catalogue: leave ArenaBytes out", t.Name))
	}
	return t, nil
}

// unused says that nothing of a leaf runs on its device's accelerator, and why not the first operator; nil where something does, or there is none.
func unused(t *target.Target, leaf []byte) ([]string, error) {
	if t == nil || t.Accelerator == nil {
		return nil, nil
	}
	m, err := tflite.ReadStored(leaf)
	if err != nil {
		return nil, err
	}
	report := target.Check(m, t)
	if len(report.Operators) == 0 || report.Count(target.OnAccelerator) > 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("%s stays unused, all %d operators run on the processor: %s", t.Accelerator.Title, len(report.Operators), report.Operators[0])}, nil
}

// measure fills in the metrics, always of the emitted file.
func (r *Runner) measure(ctx context.Context, s settings, result *Result, leaf []byte) error {
	if err := r.Prepared.Answer(ctx, r.Workers); err != nil {
		return err
	}
	options := measure.LeafOptions{Original: r.Prepared.validation, Clustered: result.Clustered}
	options.Workers, options.Outputs = r.Workers, r.Prepared.Outputs
	var err error
	if options.Target, err = Target(r.Spec); err != nil {
		return err
	}
	measured, err := measure.Leaf(ctx, leaf, r.Prepared.Deciding(), options)
	var refused *measure.TargetError
	if errors.As(err, &refused) {
		return fault.As(fault.Model, err)
	}
	if err != nil {
		return err
	}
	if options.Target != nil {
		result.Settings = strings.TrimPrefix(result.Settings+", for "+options.Target.Name, ", ")
		if s.stage == nil {
			result.Notes = append(result.Notes, fmt.Sprintf("leaves are for %s: metrics are measured as %s computes there", options.Target.Name, options.Target.Runtime))
		}
	}
	result.Metrics = r.values(measured.Metrics)
	result.Evidence = measured.Answers.Evidence(r.Prepared.validation)
	warnings, err := r.deadened(s, measured.Answers.Alike(r.Prepared.validation), leaf)
	if err != nil {
		return err
	}
	idle, err := unused(options.Target, leaf)
	if err != nil {
		return err
	}
	warnings = append(warnings, idle...)
	result.Notes, result.Warnings = append(result.Notes, warnings...), append(result.Warnings, warnings...)
	if r.Prepared.test != nil {
		options.Original, options.LatencyBudget = r.Prepared.test, -1
		measured, err := measure.Leaf(ctx, leaf, r.Prepared.Data.Test, options)
		if err != nil {
			return err
		}
		result.Test, result.TestEvidence = r.values(measured.Metrics), measured.Answers.Evidence(r.Prepared.test)
	}
	if s.stage != nil {
		return nil
	}
	float := r.Prepared.validation.Metrics(nil)
	size, err := measure.File(r.Prepared.file, nil, dataset.Shapes(r.Prepared.Data.Train)...)
	if err != nil {
		return err
	}
	for _, name := range []measure.Name{measure.FileBytes, measure.CompressedBytes, measure.Sparsity} {
		float[name] = size[name]
	}
	result.Float = r.values(float)
	for _, note := range []string{r.Prepared.Guess(), r.Prepared.Known()} {
		if note != "" {
			result.Notes = append(result.Notes, note)
		}
	}
	result.Boundable = r.Prepared.boundable()
	return nil
}

// values converts metrics to their form in status: those that constraints are on and, as far as there is room, those of the main output
// and the model and the first of every other output.
func (r *Runner) values(m measure.Metrics) []v1alpha1.MetricValue {
	var all []v1alpha1.MetricValue
	has := map[string]bool{}
	add := func(name string, v float64) {
		if !has[name] {
			has[name], all = true, append(all, v1alpha1.MetricValue{Name: name, Value: shortNumber(v)})
		}
	}
	bound := map[string]bool{} // by a constraint; of the main output too, under the name that the constraint has for it
	for _, c := range r.Spec.Constraints {
		bound[c.Metric.Of(c.Output)] = true
	}
	bound[string(r.Spec.Selection.Objective)] = true
	for _, v := range m.Values() {
		if v.Name.Output() == "" {
			add(string(v.Name), m[v.Name])
		}
	}
	for _, c := range r.Spec.Constraints {
		if v, ok := m[nameOf(measure.Name(c.Metric), c.Output, r.Prepared.main())]; ok && c.Output != "" {
			add(c.Metric.Of(c.Output), v)
		}
	}
	first := map[string]bool{}
	for _, v := range m.Values() {
		if output := v.Name.Output(); output != "" && !first[output] {
			first[output] = true
			add(v1alpha1.Metric(v.Name.Metric()).Of(output), m[v.Name])
		}
	}
	room := v1alpha1.MaxMetrics // for what no constraint is on
	for _, v := range all {
		if bound[v.Name] {
			room--
		}
	}
	all = slices.DeleteFunc(all, func(v v1alpha1.MetricValue) bool {
		if !bound[v.Name] {
			room--
		}
		return !bound[v.Name] && room < 0
	})
	return all[:min(len(all), v1alpha1.MaxMetrics)]
}

// shortNumber writes a metric in the room that a status has: a large number without decimals, a very large one to eight places of a power of ten, of at
// most two digits.
func shortNumber(v float64) string {
	text := measure.Format(v)
	if len(text) <= v1alpha1.MaxMetricValue {
		return text
	}
	whole, _, _ := strings.Cut(text, ".")
	if len(whole) > v1alpha1.MaxMetricValue {
		return strconv.FormatFloat(max(-9e99, min(v, 9e99)), 'e', 8, 64)
	}
	return whole
}
