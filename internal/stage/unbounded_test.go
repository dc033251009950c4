package stage

import (
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/measure"
)

func TestOutputsThatNoConstraintIsOnAreNamed(t *testing.T) {
	outputs := []answer.Output{
		{Name: "cls", Loss: answer.CrossEntropy, Weight: 1},
		{Name: "box", Loss: answer.MeanSquaredError, Weight: 1},
		{Name: "pose:0", Loss: answer.CrossEntropy, Weight: 1},
		{Name: "debug", Loss: answer.None},
	}
	measured := measure.Metrics{
		"Accuracy": 0.9, "AccuracyDrop": 0, "Agreement": 1, "MeanSquaredError/box": 0.02, "RelativeError/box": 0.15, "Agreement/pose:0": 1,
	}
	bound := func(metric v1alpha1.Metric, output string) v1alpha1.Constraint {
		return v1alpha1.Constraint{Metric: metric, Output: output}
	}
	for name, c := range map[string]struct {
		constraints []v1alpha1.Constraint
		search      *v1alpha1.Search
		want        string
	}{
		"none at all":           {nil, nil, ""},
		"none of answers":       {[]v1alpha1.Constraint{bound("FileBytes", "")}, nil, ""},
		"none of a search":      {[]v1alpha1.Constraint{bound("FileBytes", "")}, &v1alpha1.Search{}, `no constraint is on the answers of cls, box, pose:0: leaves may spoil them and still be taken; {metric: AccuracyDrop, max: …} bounds cls`},
		"all":                   {[]v1alpha1.Constraint{bound("Accuracy", ""), bound("RelativeError", "box"), bound("Agreement", "pose:0")}, nil, ""},
		"a measurement's":       {[]v1alpha1.Constraint{bound("Accuracy", ""), bound("board/error", "")}, nil, ""},
		"the main one by name":  {[]v1alpha1.Constraint{bound("Accuracy", "cls"), bound("RelativeError", "box")}, nil, `no constraint is on the answers of pose:0: leaves may spoil them and still be taken; {metric: Agreement, output: "pose:0", min: …} bounds pose:0`},
		"the main one alone":    {[]v1alpha1.Constraint{bound("AccuracyDrop", "")}, nil, `no constraint is on the answers of box, pose:0: leaves may spoil them and still be taken; {metric: RelativeError, output: "box", max: …} bounds box, the original has 0.15`},
		"all but the main one":  {[]v1alpha1.Constraint{bound("RelativeError", "box"), bound("Agreement", "pose:0")}, nil, `no constraint is on the answers of cls: leaves may spoil them and still be taken; {metric: AccuracyDrop, max: …} bounds cls`},
		"sizes bound no answer": {[]v1alpha1.Constraint{bound("Accuracy", ""), bound("RelativeError", "box"), bound("FileBytes", "")}, nil, `no constraint is on the answers of pose:0: leaves may spoil them and still be taken; {metric: Agreement, output: "pose:0", min: …} bounds pose:0`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := unbounded(&v1alpha1.OptimizationPipelineSpec{Constraints: c.constraints, Search: c.search}, boundable(outputs, "cls", measured)); got != c.want {
				t.Errorf("said %q, want %q", got, c.want)
			}
		})
	}
}
