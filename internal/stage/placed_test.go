package stage

import (
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// Clusters by tensor leave a dense layer one scale, which is what TFLM takes of int4: a stage that keeps them is not refused for those that the
// network had before.
func TestClustersOfAStageCountBeforeItRuns(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("dense", b.Input("x", 1, 4), []float32{1, 2, 3, 4, 5, 6, 7, 8}, nil, 2, tflitetest.None))
	content, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	network, err := lineage.Read(content)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		scope, preserve string
		runs            bool
	}{"by tensor": {"Tensor", "", true}, "by channel": {"Channel", "", false}, "given up": {"Tensor", "None", false}} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.OptimizationPipelineSpec{
				Target: v1alpha1.Target{Device: "cortex-m4", Runtime: "TFLM"},
				Stages: []v1alpha1.Stage{
					{Name: "cluster", Cluster: &v1alpha1.Cluster{Clusters: 4, Scope: c.scope}},
					{Name: "four", Quantize: &v1alpha1.Quantize{Weights: "Int4", Preserve: c.preserve}},
				},
			}
			k := checker{spec: spec, network: network}
			if err := k.runs(&spec.Stages[1]); (err == nil) != c.runs {
				t.Errorf("error %v", err)
			}
		})
	}
}
