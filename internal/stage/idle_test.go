package stage

import (
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/answer"
)

// A setting takes effect or is refused, with what to do.
func TestASettingWithoutEffectIsRefused(t *testing.T) {
	value := v1alpha1.Decimal("0.8")
	usual := v1alpha1.Decimal("0.90")
	two, none := int32(2), int32(0)
	numbers := []answer.Output{{Kind: answer.Values, Loss: answer.MeanSquaredError, Weight: 1}}
	classes := []answer.Output{numbers[0], {Kind: answer.Classes, Loss: answer.CrossEntropy, Weight: 1}}
	untold := []answer.Output{{Kind: answer.Classes, Loss: answer.CrossEntropy, Weight: 1, Target: -1}}
	warm := v1alpha1.Distillation{Temperature: &value}
	for name, tt := range map[string]struct {
		all     v1alpha1.Training
		stages  []v1alpha1.Training
		want    string // empty: it has an effect
		outputs []answer.Output
	}{
		"momentum of SGD":                   {v1alpha1.Training{Momentum: &value, Optimizer: "SGD"}, make([]v1alpha1.Training, 2), "", nil},
		"momentum of Adam":                  {v1alpha1.Training{Momentum: &value, Optimizer: "Adam"}, make([]v1alpha1.Training, 2), "spec.training.momentum has no effect with optimizer Adam", nil},
		"momentum of no optimizer":          {v1alpha1.Training{Momentum: &value}, make([]v1alpha1.Training, 2), "set optimizer to SGD", nil},
		"the usual momentum":                {v1alpha1.Training{Momentum: &usual}, make([]v1alpha1.Training, 2), "", nil},
		"momentum of a stage":               {v1alpha1.Training{}, []v1alpha1.Training{{}, {Momentum: &value}}, "spec.stages[1].training.momentum", nil},
		"momentum of one stage's SGD":       {v1alpha1.Training{Momentum: &value}, []v1alpha1.Training{{Optimizer: "SGD"}, {}}, "", nil},
		"steps of a schedule that has none": {v1alpha1.Training{StepEpochs: &two}, make([]v1alpha1.Training, 1), "spec.training.stepEpochs has no effect", nil},
		"a factor of one that has none":     {v1alpha1.Training{}, []v1alpha1.Training{{StepFactor: &value, Schedule: "Constant"}}, "spec.stages[0].training.stepFactor", nil},
		"steps of schedule Step":            {v1alpha1.Training{StepEpochs: &two, StepFactor: &value, Schedule: "Step"}, make([]v1alpha1.Training, 1), "", nil},
		"a schedule that a stage steps by":  {v1alpha1.Training{StepEpochs: &two}, []v1alpha1.Training{{Schedule: "Step"}, {}}, "", nil},
		"smoothed classes":                  {v1alpha1.Training{LabelSmoothing: &value}, make([]v1alpha1.Training, 2), "", classes},
		"smoothed numbers":                  {v1alpha1.Training{LabelSmoothing: &value}, make([]v1alpha1.Training, 2), "spec.training.labelSmoothing has no effect with a dataset without labels of classes: leave it out", numbers},
		"smoothing of no labels":            {v1alpha1.Training{}, []v1alpha1.Training{{LabelSmoothing: &value}}, "spec.stages[0].training.labelSmoothing", untold},
		"smoothing without training":        {v1alpha1.Training{LabelSmoothing: &value, Epochs: &none}, make([]v1alpha1.Training, 2), "", numbers},
		"weighed classes":                   {v1alpha1.Training{ClassWeights: []v1alpha1.Decimal{"1", "2"}}, make([]v1alpha1.Training, 1), "", classes},
		"weighed numbers":                   {v1alpha1.Training{ClassWeights: []v1alpha1.Decimal{"1"}}, make([]v1alpha1.Training, 1), "spec.training.classWeights has no effect", numbers},
		"a temperature of no labels":        {v1alpha1.Training{Distillation: &warm}, make([]v1alpha1.Training, 1), "", untold},
		"a temperature of numbers":          {v1alpha1.Training{}, []v1alpha1.Training{{Distillation: &warm}}, "spec.stages[0].training.distillation.temperature has no effect with outputs that are numbers", numbers},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.OptimizationPipelineSpec{Training: tt.all}
			for _, own := range tt.stages {
				spec.Stages = append(spec.Stages, v1alpha1.Stage{Training: own})
			}
			err := checkIdle(spec, tt.outputs)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
