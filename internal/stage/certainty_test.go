package stage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/measure"
)

func TestConstraintsThatTooFewSamplesMeetAreDoubted(t *testing.T) {
	bound := func(metric v1alpha1.Metric, least, most v1alpha1.Decimal) v1alpha1.Constraint {
		c := v1alpha1.Constraint{Metric: metric}
		if least != "" {
			c.Min = &least
		}
		if most != "" {
			c.Max = &most
		}
		return c
	}
	metrics := measure.Metrics{measure.Accuracy: 0.88, measure.AccuracyDrop: 0.004, measure.CompressedBytes: 100}
	in := map[measure.Name]measure.Interval{measure.Accuracy: {Low: 0.86, High: 0.9}, measure.AccuracyDrop: {Low: -0.004, High: 0.016}}
	for name, c := range map[string]struct {
		constraint v1alpha1.Constraint
		want       []string
	}{
		"certainly met":      {bound("Accuracy", "0.85", ""), nil},
		"missed anyway":      {bound("Accuracy", "0.89", ""), nil},
		"no interval":        {bound("CompressedBytes", "", "100"), nil},
		"met by the figure":  {bound("Accuracy", "0.87", ""), []string{"Accuracy meets min 0.87 with 0.8800, but 1000 samples leave it between 0.8600 and 0.9000 with 95 % confidence; about 4000 would tell"}},
		"a drop":             {bound("AccuracyDrop", "", "0.01"), []string{"AccuracyDrop meets max 0.01 with 0.0040, but 1000 samples leave it between -0.0040 and 0.0160 with 95 % confidence; about 4000 would tell"}},
		"exactly the bound":  {bound("Accuracy", "0.88", ""), []string{"Accuracy meets min 0.88 with 0.8800, but 1000 samples leave it between 0.8600 and 0.9000 with 95 % confidence"}},
		"of another output":  {v1alpha1.Constraint{Metric: "Accuracy", Output: "box", Min: ptr(v1alpha1.Decimal("0.87"))}, nil},
		"within both bounds": {bound("Accuracy", "0.8", "0.95"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, doubts([]v1alpha1.Constraint{c.constraint}, metrics, in, 1000)); diff != "" {
				t.Error(diff)
			}
		})
	}
	want := "95 % confidence on 1000 samples: Accuracy 0.8600 to 0.9000, AccuracyDrop -0.0040 to 0.0160"
	if got := intervalsNote(in, 1000); got != want {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := intervalsNote(nil, 1000); got != "" {
		t.Errorf("notes %q without intervals", got)
	}
}

func ptr[T any](v T) *T { return &v }
