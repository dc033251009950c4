package stage

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/train"
)

// conditional are the settings of a training that take effect only beside another one, or with outputs of some kind.
var conditional = []struct {
	name   string
	value  func(c *train.Config) float64 // nil: none is usual
	given  func(t *v1alpha1.Training) bool
	counts func(c *train.Config, outputs []answer.Output) bool
	beside func(c *train.Config) string // what it has no effect with
	remedy string
}{
	{"momentum", func(c *train.Config) float64 { return c.Momentum }, func(t *v1alpha1.Training) bool { return t.Momentum != nil },
		func(c *train.Config, _ []answer.Output) bool { return c.Optimizer == train.SGD }, pace, "set optimizer to SGD, or leave it out"},
	{"stepEpochs", func(c *train.Config) float64 { return float64(c.StepEpochs) }, func(t *v1alpha1.Training) bool { return t.StepEpochs != nil },
		func(c *train.Config, _ []answer.Output) bool { return c.Schedule == train.Step }, pace, "set schedule to Step, or leave it out"},
	{"stepFactor", func(c *train.Config) float64 { return c.StepFactor }, func(t *v1alpha1.Training) bool { return t.StepFactor != nil },
		func(c *train.Config, _ []answer.Output) bool { return c.Schedule == train.Step }, pace, "set schedule to Step, or leave it out"},
	{"labelSmoothing", func(c *train.Config) float64 { return c.LabelSmoothing }, func(t *v1alpha1.Training) bool { return t.LabelSmoothing != nil },
		func(c *train.Config, outputs []answer.Output) bool { return c.Epochs == 0 || labelled(outputs) }, unlabelled, "leave it out"},
	{"classWeights", nil, func(t *v1alpha1.Training) bool { return len(t.ClassWeights) > 0 },
		func(c *train.Config, outputs []answer.Output) bool {
			return c.Epochs == 0 || len(c.ClassWeights) == 0 || labelled(outputs)
		}, unlabelled, "leave it out"},
	{"distillation.temperature", func(c *train.Config) float64 { return c.Distillation.Temperature },
		func(t *v1alpha1.Training) bool { return t.Distillation != nil && t.Distillation.Temperature != nil },
		func(c *train.Config, outputs []answer.Output) bool {
			return c.Epochs == 0 || slices.ContainsFunc(outputs, chances)
		}, func(*train.Config) string { return "outputs that are numbers" }, "leave it out"},
}

func pace(c *train.Config) string {
	return fmt.Sprintf("optimizer %s and schedule %s", c.Optimizer, c.Schedule)
}

func unlabelled(*train.Config) string { return "a dataset without labels of classes" }

// labelled reports whether an output learns classes from labels.
func labelled(outputs []answer.Output) bool {
	return slices.ContainsFunc(outputs, func(o answer.Output) bool { return o.Target >= 0 && chances(o) })
}

// chances reports whether an output is trained by how likely it takes what is right to be.
func chances(o answer.Output) bool {
	return o.Trained() && (o.Loss == answer.CrossEntropy || o.Loss == answer.BinaryCrossEntropy)
}

// checkIdle reports a setting that would change nothing: one of a stage beside its optimizer or schedule, or with outputs that it does not
// bear on; one of the pipeline where that is so in all stages. The default, written out, contradicts nothing.
func checkIdle(spec *v1alpha1.OptimizationPipelineSpec, outputs []answer.Output) error {
	usual := train.DefaultConfig()
	for _, field := range conditional {
		idle := len(spec.Stages) > 0 && field.given(&spec.Training)
		var last train.Config
		for i := range spec.Stages {
			s := &spec.Stages[i]
			c, err := training(spec.Effective(s))
			if err != nil {
				continue // said where the stage is checked
			}
			if field.counts(&c, outputs) || field.value != nil && field.value(&c) == field.value(&usual) {
				idle = false
				continue
			}
			if field.given(&s.Training) {
				return fmt.Errorf("spec.stages[%d].training.%s has no effect with %s: %s", i, field.name, field.beside(&c), field.remedy)
			}
			last = c
		}
		if idle {
			return fmt.Errorf("spec.training.%s has no effect with %s: %s", field.name, field.beside(&last), field.remedy)
		}
	}
	return nil
}
