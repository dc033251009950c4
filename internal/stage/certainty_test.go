package stage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/interval"
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
	evidence := interval.Evidence{Samples: 1000, Changed: 24}
	for name, c := range map[string]struct {
		constraint v1alpha1.Constraint
		want       []string
	}{
		"certainly met":      {bound("Accuracy", "0.85", ""), nil},
		"missed anyway":      {bound("Accuracy", "0.89", ""), nil},
		"no interval":        {bound("CompressedBytes", "", "100"), nil},
		"met by the figure":  {bound("Accuracy", "0.87", ""), []string{"Accuracy meets min 0.87 with 0.8800, but 1000 samples leave it between 0.8588 and 0.8990 with 95 % confidence; about 4600 would tell"}},
		"a drop":             {bound("AccuracyDrop", "", "0.01"), []string{"AccuracyDrop meets max 0.01 with 0.0040, but 1000 samples leave it between -0.0058 and 0.0138 with 95 % confidence; about 2700 would tell"}},
		"exactly the bound":  {bound("Accuracy", "0.88", ""), []string{"Accuracy meets min 0.88 with 0.8800, but 1000 samples leave it between 0.8588 and 0.8990 with 95 % confidence"}},
		"of another output":  {v1alpha1.Constraint{Metric: "Accuracy", Output: "box", Min: ptr(v1alpha1.Decimal("0.87"))}, nil},
		"within both bounds": {bound("Accuracy", "0.8", "0.95"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, doubts([]v1alpha1.Constraint{c.constraint}, metrics, evidence)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplitsThatAreTooSmallForAConstraintAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		constraint v1alpha1.Constraint
		samples    int
		want       string
	}{
		"a drop, enough":   {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0.01"))}, 200, ""},
		"a drop, too few":  {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0.01"))}, 100, "100 samples are too few to tell AccuracyDrop max 0.01: with confidence 0.95, a leaf that answers all of them as the model does may have 0.0192; 200 would do for that, more for any other"},
		"no drop":          {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0"))}, 100, ""},
		"surely no drop":   {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0")), Confidence: ptr(v1alpha1.Decimal("0.9"))}, 100, "100 samples are too few to tell AccuracyDrop max 0: with confidence 0.9, a leaf that answers all of them as the model does may have 0.0161"},
		"an accuracy":      {v1alpha1.Constraint{Metric: "Accuracy", Min: ptr(v1alpha1.Decimal("0.97"))}, 50, "50 samples are too few to tell Accuracy min 0.97: with confidence 0.95, a leaf that is right in all of them may have 0.9512; 83 would do for that, more for any other"},
		"an agreement":     {v1alpha1.Constraint{Metric: "Agreement", Min: ptr(v1alpha1.Decimal("0.97")), Confidence: ptr(v1alpha1.Decimal("0.5"))}, 5, "5 samples are too few to tell Agreement min 0.97: with confidence 0.5, a leaf that answers all of them as the model does may have 0.8818; 22 would do for that, more for any other"},
		"bytes":            {v1alpha1.Constraint{Metric: "CompressedBytes", Max: ptr(v1alpha1.Decimal("100"))}, 1, ""},
		"another output's": {v1alpha1.Constraint{Metric: "Accuracy", Output: "box", Min: ptr(v1alpha1.Decimal("0.97"))}, 1, ""},
	} {
		got, err := tellable(c.constraint, c.samples)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v\nwant %q", name, got, err, c.want)
		}
	}
}

func ptr[T any](v T) *T { return &v }
