package v1alpha1

import (
	"maps"
	"slices"
	"time"
)

// The defaults of fields that are not set. They are applied here and not by the schema; see the package comment.
const (
	DefaultEpochs            = 3
	MostEpochs               = 10000 // where only a time bounds them
	DefaultBatchSize         = 64
	DefaultSeed              = 1
	DefaultRetries           = 3
	DefaultBackoffSeconds    = 10
	DefaultDeadline          = 24 * 60 * 60
	MinPublishDeadline       = 60 * 60
	DefaultStartDeadline     = 60 * 60
	DefaultNodeLost          = 10 * 60
	DefaultTTL               = 60 * 60
	DefaultParallelism       = 1
	DefaultCalibrationSample = 512
	DefaultObjective         = CompressedBytes
	DefaultTrials            = 24
	MostTrials               = 32
	DefaultSearchMinutes     = 60
	DefaultTermination       = 60
	DefaultCacheSizeLimit    = "10Gi"
)

// The reserved names of stages. FromModel is the model as a stage's input; BaselineStage and PublishStage are implicit, and SearchStage is
// what a cluster runs for a search.
const (
	FromModel     = "model"
	BaselineStage = "baseline"
	PublishStage  = "publish"
	SearchStage   = "search"
)

// Or returns the value of an optional field, or its default.
func Or[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}

// Stage returns the stage of that name, nil where there is none.
func (s *OptimizationPipelineSpec) Stage(name string) *Stage {
	for i := range s.Stages {
		if s.Stages[i].Name == name {
			return &s.Stages[i]
		}
	}
	return nil
}

// Inputs returns the input of every stage: its from, else the nearest earlier stage that yields a model, else model.
func (s *OptimizationPipelineSpec) Inputs() []string {
	inputs := make([]string, len(s.Stages))
	nearest := FromModel
	for i := range s.Stages {
		stage := &s.Stages[i]
		inputs[i] = nearest
		if stage.From != "" {
			inputs[i] = stage.From
		}
		if !stage.Final() {
			nearest = stage.Name
		}
	}
	return inputs
}

// Line returns a stage and those that it builds on, the nearest first; none of nil.
func (s *OptimizationPipelineSpec) Line(stage *Stage) (line []*Stage) {
	inputs := map[string]string{}
	for i, input := range s.Inputs() {
		inputs[s.Stages[i].Name] = input
	}
	for ; stage != nil; stage = s.Stage(inputs[stage.Name]) {
		line = append(line, stage)
	}
	return line
}

// ModelLocation returns where the model is, with the S3 settings and credentials of the artifacts where it has none of its own.
func (s *OptimizationPipelineSpec) ModelLocation() Location { return s.inherit(s.Model.Location) }

// DatasetLocation returns where the dataset is, with the S3 settings and credentials of the artifacts where it has none of its own.
func (s *OptimizationPipelineSpec) DatasetLocation() Location { return s.inherit(s.Dataset.Location) }

func (s *OptimizationPipelineSpec) inherit(l Location) Location {
	if s.Artifacts != nil && l.S3 == nil && l.CredentialsSecretRef == nil && Scheme(l.URI) == Scheme(s.Artifacts.URI) {
		l.S3, l.CredentialsSecretRef = s.Artifacts.S3, s.Artifacts.CredentialsSecretRef
	}
	return l
}

// Deadline returns how long one attempt of a stage may take, once its container runs. The leaf that all the others were for is given time
// to be published in.
func (s *OptimizationPipelineSpec) Deadline(name string) time.Duration {
	deadline := seconds(s.RunPolicy.ActiveDeadlineSeconds, DefaultDeadline)
	if stage := s.Stage(name); stage != nil && stage.ActiveDeadlineSeconds != nil {
		deadline = seconds(stage.ActiveDeadlineSeconds, 0)
	}
	if name == PublishStage {
		deadline = max(deadline, MinPublishDeadline*time.Second)
	}
	return deadline
}

// StartDeadline returns how long a Job may take until its container runs.
func (p *RunPolicy) StartDeadline() time.Duration {
	return seconds(p.StartDeadlineSeconds, DefaultStartDeadline)
}

// NodeLost returns how long the node of a running stage may not answer.
func (p *RunPolicy) NodeLost() time.Duration { return seconds(p.NodeLostSeconds, DefaultNodeLost) }

func seconds(value *int64, otherwise int64) time.Duration {
	return time.Duration(Or(value, otherwise)) * time.Second
}

// Effective merges the pipeline's training with a stage's, field by field; the stage's win.
func (s *OptimizationPipelineSpec) Effective(stage *Stage) Training {
	t, o := s.Training, stage.Training
	if o.Epochs != nil {
		t.MaxEpochs, t.MaxMinutes = nil, nil
	}
	if o.MaxEpochs != nil || o.MaxMinutes != nil {
		t.Epochs = nil
	}
	override(&t.Epochs, o.Epochs)
	override(&t.MaxEpochs, o.MaxEpochs)
	override(&t.MaxMinutes, o.MaxMinutes)
	override(&t.BatchSize, o.BatchSize)
	override(&t.LearningRate, o.LearningRate)
	override(&t.Momentum, o.Momentum)
	override(&t.WeightDecay, o.WeightDecay)
	override(&t.StepEpochs, o.StepEpochs)
	override(&t.StepFactor, o.StepFactor)
	override(&t.WarmupEpochs, o.WarmupEpochs)
	override(&t.ClipNorm, o.ClipNorm)
	override(&t.LabelSmoothing, o.LabelSmoothing)
	override(&t.EarlyStopEpochs, o.EarlyStopEpochs)
	override(&t.Seed, o.Seed)
	overrideText(&t.Optimizer, o.Optimizer)
	overrideText(&t.Schedule, o.Schedule)
	if o.ClassWeights != nil {
		t.ClassWeights = o.ClassWeights
	}
	if o.Distillation != nil {
		d := *o.Distillation
		if t.Distillation != nil {
			d = *t.Distillation
			override(&d.Weight, o.Distillation.Weight)
			override(&d.Temperature, o.Distillation.Temperature)
		}
		t.Distillation = &d
	}
	return t
}

// EffectiveTemplate merges the pipeline's template with a stage's, field by field; the stage's win. Labels, annotations and environment
// are merged by key. A nil stage is an implicit one.
func (s *OptimizationPipelineSpec) EffectiveTemplate(stage *Stage) PodTemplate {
	t := *s.Template.DeepCopy()
	if stage == nil {
		return t
	}
	o := stage.Template.DeepCopy()
	t.Labels, t.Annotations = merged(t.Labels, o.Labels), merged(t.Annotations, o.Annotations)
	t.Env = mergedEnv(t.Env, o.Env)
	overrideText(&t.Image, o.Image)
	overrideText(&t.ImagePullPolicy, o.ImagePullPolicy)
	overrideText(&t.ServiceAccountName, o.ServiceAccountName)
	overrideText(&t.PriorityClassName, o.PriorityClassName)
	overrideText(&t.RuntimeClassName, o.RuntimeClassName)
	override(&t.CacheSizeLimit, o.CacheSizeLimit)
	override(&t.NodeSelector, o.NodeSelector)
	override(&t.Affinity, o.Affinity)
	override(&t.SecurityContext, o.SecurityContext)
	override(&t.TerminationGracePeriodSeconds, o.TerminationGracePeriodSeconds)
	if o.ImagePullSecrets != nil {
		t.ImagePullSecrets = o.ImagePullSecrets
	}
	if o.Tolerations != nil {
		t.Tolerations = o.Tolerations
	}
	if o.Resources.Requests != nil || o.Resources.Limits != nil || o.Resources.Claims != nil {
		t.Resources = o.Resources
	}
	return t
}

// Defaulted returns the settings with every default filled in, so that writing a default out changes nothing.
func (t Training) Defaulted() Training {
	if !t.Seeks() {
		t.Epochs = orDefault(t.Epochs, DefaultEpochs)
	}
	t.BatchSize = orDefault(t.BatchSize, DefaultBatchSize)
	t.Momentum = orDefault(t.Momentum, "0.9")
	t.WeightDecay = orDefault(t.WeightDecay, "0")
	t.StepEpochs = orDefault(t.StepEpochs, 1)
	t.StepFactor = orDefault(t.StepFactor, "0.5")
	t.WarmupEpochs = orDefault(t.WarmupEpochs, "0")
	t.ClipNorm = orDefault(t.ClipNorm, "0")
	t.LabelSmoothing = orDefault(t.LabelSmoothing, "0")
	t.EarlyStopEpochs = orDefault(t.EarlyStopEpochs, 0)
	t.Seed = orDefault(t.Seed, DefaultSeed)
	overrideText(&t.Optimizer, or(t.Optimizer, "Adam"))
	overrideText(&t.Schedule, or(t.Schedule, "Cosine"))
	if t.Distillation != nil {
		t.Distillation = &Distillation{
			Weight:      orDefault(t.Distillation.Weight, "0.5"),
			Temperature: orDefault(t.Distillation.Temperature, "2"),
		}
	}
	return t
}

// Seeks reports whether the validation loss decides how many epochs there are.
func (t Training) Seeks() bool { return t.MaxEpochs != nil || t.MaxMinutes != nil }

// Trains reports whether there is any training.
func (t Training) Trains() bool { return t.Seeks() || Or(t.Epochs, DefaultEpochs) > 0 }

// Shown returns what a status shows of settings whose defaults are filled in.
func (t Training) Shown() *StageSettings {
	return &StageSettings{
		Epochs: t.Epochs, BatchSize: Or(t.BatchSize, DefaultBatchSize), LearningRate: string(Or(t.LearningRate, "")),
		Optimizer: t.Optimizer, Schedule: t.Schedule, Seed: t.Seed,
	}
}

// Defaulted returns the settings with every default filled in.
func (f FineTune) Defaulted() FineTune { return f }

// Defaulted returns the settings with every default filled in.
func (p Prune) Defaulted() Prune {
	if p.Structure = or(p.Structure, PruneWeights); p.Structure == PruneChannels {
		return p
	}
	if Or(p.Reconstruct, false) {
		p.Schedule = "Constant"
	}
	p.Scope, p.Schedule = or(p.Scope, "Layer"), or(p.Schedule, "Polynomial")
	return p
}

// Defaulted returns the settings with every default filled in.
func (c Cluster) Defaulted() Cluster {
	c.Scope, c.Entropy = or(c.Scope, "Shared"), orDefault(c.Entropy, "1")
	return c
}

// Defaulted returns the settings with every default filled in.
func (q Quantize) Defaulted() Quantize {
	q = q.With(LeafOptions{q.Calibration, q.InputOutput, q.PerTensorDense, q.KeepFloat, q.Reconstruct, q.Equalize, q.Activations, q.Weights, q.Rules, q.Encode, q.Names}.Defaulted())
	q.Ranges, q.Preserve, q.InputOutput = or(q.Ranges, "Tracked"), or(q.Preserve, "Auto"), or(q.InputOutput, "Int8")
	return q
}

// Defaulted returns the selection with its defaults filled in.
func (s Selection) Defaulted() Selection {
	s.Strategy, s.Objective = or(s.Strategy, SelectFirst), or(s.Objective, DefaultObjective)
	return s
}

func or[T ~string](text, otherwise T) T {
	if text == "" {
		return otherwise
	}
	return text
}

func orDefault[T any](value *T, otherwise T) *T {
	v := Or(value, otherwise)
	return &v
}

func override[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

func overrideText[T ~string](field *T, value T) {
	if value != "" {
		*field = value
	}
}

// merged returns both maps' entries; over's win.
func merged(under, over map[string]string) map[string]string {
	if len(over) == 0 {
		return under
	}
	out := maps.Clone(under)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, over)
	return out
}

// mergedEnv returns both lists' variables in order; over's win.
func mergedEnv(under, over []EnvVar) []EnvVar {
	out := slices.Clone(under)
	for _, v := range over {
		i := slices.IndexFunc(out, func(u EnvVar) bool { return u.Name == v.Name })
		if i < 0 {
			out = append(out, v)
			continue
		}
		out[i] = v
	}
	return out
}
