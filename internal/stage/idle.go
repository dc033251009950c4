package stage

import (
	"fmt"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/train"
)

// conditional are the settings of a training that take effect only beside another one.
var conditional = []struct {
	name   string
	value  func(c *train.Config) float64
	given  func(t *v1alpha1.Training) bool
	counts func(c *train.Config) bool
	remedy string
}{
	{"momentum", func(c *train.Config) float64 { return c.Momentum }, func(t *v1alpha1.Training) bool { return t.Momentum != nil },
		func(c *train.Config) bool { return c.Optimizer == train.SGD }, "set optimizer to SGD, or leave it out"},
	{"stepEpochs", func(c *train.Config) float64 { return float64(c.StepEpochs) }, func(t *v1alpha1.Training) bool { return t.StepEpochs != nil },
		func(c *train.Config) bool { return c.Schedule == train.Step }, "set schedule to Step, or leave it out"},
	{"stepFactor", func(c *train.Config) float64 { return c.StepFactor }, func(t *v1alpha1.Training) bool { return t.StepFactor != nil },
		func(c *train.Config) bool { return c.Schedule == train.Step }, "set schedule to Step, or leave it out"},
}

// checkIdle reports a setting that would change nothing: one of a stage beside its optimizer or schedule, one of the pipeline beside those
// of all stages. The default, written out, contradicts nothing.
func checkIdle(spec *v1alpha1.OptimizationPipelineSpec) error {
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
			if field.counts(&c) || field.value(&c) == field.value(&usual) {
				idle = false
				continue
			}
			if field.given(&s.Training) {
				return fmt.Errorf("spec.stages[%d].training.%s has no effect with optimizer %s and schedule %s: %s", i, field.name, c.Optimizer, c.Schedule, field.remedy)
			}
			last = c
		}
		if idle {
			return fmt.Errorf("spec.training.%s has no effect with optimizer %s and schedule %s: %s", field.name, last.Optimizer, last.Schedule, field.remedy)
		}
	}
	return nil
}
