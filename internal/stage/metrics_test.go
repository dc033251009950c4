package stage

import (
	"strings"
	"testing"
	"unicode"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/measure"
)

func runnerOf(outputs []string, bound ...string) *Runner {
	most := v1alpha1.Decimal("0.1")
	r := &Runner{Spec: &v1alpha1.OptimizationPipelineSpec{}, Prepared: &Prepared{}}
	for i, name := range outputs {
		kind := answer.Values
		if i == 0 {
			kind = answer.Classes
		}
		r.Prepared.Outputs = append(r.Prepared.Outputs, answer.Output{Index: i, Name: name, Kind: kind, Classes: 3 * (1 - min(i, 1)), Target: i})
	}
	for _, output := range bound {
		r.Spec.Constraints = append(r.Spec.Constraints, v1alpha1.Constraint{Metric: v1alpha1.MeanSquaredError, Output: output, Max: &most})
	}
	return r
}

// Converters name outputs alike, and longer than a status has room.
func TestOutputsOfLongNamesAreToldApart(t *testing.T) {
	names := []string{"cls", "StatefulPartitionedCall:1", "StatefulPartitionedCall:2", "box head", "box_head", "größe\x1b", "bad\xff"}
	r := runnerOf(names, names[1:]...)
	m := measure.Metrics{measure.Accuracy: 0.9}
	for i, name := range names[1:] {
		m[measure.MeanSquaredError.Of(name)] = float64(i)
	}
	values := r.values(m)
	if len(values) != len(names) {
		t.Fatalf("%d metrics of %d outputs: %v", len(values), len(names), values)
	}
	for _, v := range values {
		if len(v.Name) > v1alpha1.MaxMetricName || strings.ContainsFunc(v.Name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }) {
			t.Errorf("name %q", v.Name)
		}
	}
	if missed := walk.Judge(r.Spec.Constraints, &v1alpha1.Leaf{Metrics: values}); len(missed) != len(names)-2 {
		t.Errorf("%d constraints are missed, want all but the first: %v", len(missed), missed)
	}
}

func TestWhatIsBoundIsMeasuredHoweverMuchElseThereIs(t *testing.T) {
	r := runnerOf([]string{"cls", "a", "b", "c"}, "a", "b", "c")
	m := measure.Metrics{}
	for _, name := range []measure.Name{measure.Accuracy, measure.AccuracyDrop, measure.Agreement, measure.AUC, measure.Sparsity, measure.Clusters, measure.FileBytes,
		measure.CompressedBytes, measure.ArenaBytes, measure.LatencyMicros, measure.MeanSquaredError.Of("a"), measure.MeanSquaredError.Of("b"), measure.MeanSquaredError.Of("c")} {
		m[name] = 0.01
	}
	values := r.values(m)
	if missed := walk.Judge(r.Spec.Constraints, &v1alpha1.Leaf{Metrics: values}); len(missed) > 0 || len(values) > v1alpha1.MaxMetrics {
		t.Errorf("missed %v of %d metrics", missed, len(values))
	}
}
