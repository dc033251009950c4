package v1alpha1_test

import (
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
)

func TestDeadlines(t *testing.T) {
	policy := func(seconds int64) v1alpha1.OptimizationPipelineSpec {
		return v1alpha1.OptimizationPipelineSpec{RunPolicy: v1alpha1.RunPolicy{ActiveDeadlineSeconds: &seconds}}
	}
	own := policy(60)
	own.Stages = []v1alpha1.Stage{{Name: "prune", ActiveDeadlineSeconds: ptr.To[int64](5)}}
	tests := map[string]struct {
		spec  v1alpha1.OptimizationPipelineSpec
		stage string
		want  time.Duration
	}{
		"the default":                   {v1alpha1.OptimizationPipelineSpec{}, "prune", 24 * time.Hour},
		"the pipeline's":                {policy(60), "prune", time.Minute},
		"the stage's":                   {own, "prune", 5 * time.Second},
		"of the baseline":               {own, v1alpha1.BaselineStage, time.Minute},
		"publishing has an hour":        {policy(60), v1alpha1.PublishStage, time.Hour},
		"or as long as all others have": {policy(7200), v1alpha1.PublishStage, 2 * time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.spec.Deadline(tt.stage); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
