package stage

import (
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
)

// A setting takes effect or is refused, with what to do.
func TestASettingWithoutEffectIsRefused(t *testing.T) {
	value := v1alpha1.Decimal("0.8")
	usual := v1alpha1.Decimal("0.90")
	two := int32(2)
	for name, tt := range map[string]struct {
		all    v1alpha1.Training
		stages []v1alpha1.Training
		want   string // empty: it has an effect
	}{
		"momentum of SGD":                   {v1alpha1.Training{Momentum: &value, Optimizer: "SGD"}, make([]v1alpha1.Training, 2), ""},
		"momentum of Adam":                  {v1alpha1.Training{Momentum: &value, Optimizer: "Adam"}, make([]v1alpha1.Training, 2), "spec.training.momentum has no effect with optimizer Adam"},
		"momentum of no optimizer":          {v1alpha1.Training{Momentum: &value}, make([]v1alpha1.Training, 2), "set optimizer to SGD"},
		"the usual momentum":                {v1alpha1.Training{Momentum: &usual}, make([]v1alpha1.Training, 2), ""},
		"momentum of a stage":               {v1alpha1.Training{}, []v1alpha1.Training{{}, {Momentum: &value}}, "spec.stages[1].training.momentum"},
		"momentum of one stage's SGD":       {v1alpha1.Training{Momentum: &value}, []v1alpha1.Training{{Optimizer: "SGD"}, {}}, ""},
		"steps of a schedule that has none": {v1alpha1.Training{StepEpochs: &two}, make([]v1alpha1.Training, 1), "spec.training.stepEpochs has no effect"},
		"a factor of one that has none":     {v1alpha1.Training{}, []v1alpha1.Training{{StepFactor: &value, Schedule: "Constant"}}, "spec.stages[0].training.stepFactor"},
		"steps of schedule Step":            {v1alpha1.Training{StepEpochs: &two, StepFactor: &value, Schedule: "Step"}, make([]v1alpha1.Training, 1), ""},
		"a schedule that a stage steps by":  {v1alpha1.Training{StepEpochs: &two}, []v1alpha1.Training{{Schedule: "Step"}, {}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.OptimizationPipelineSpec{Training: tt.all}
			for _, own := range tt.stages {
				spec.Stages = append(spec.Stages, v1alpha1.Stage{Training: own})
			}
			err := checkIdle(spec)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
