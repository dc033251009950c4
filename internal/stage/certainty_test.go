package stage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/interval"
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
	r := &Result{Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.88"}, {Name: "AccuracyDrop", Value: "0.004"}, {Name: "CompressedBytes", Value: "100"}},
		Evidence: interval.Evidence{Samples: 1000, Changed: 24}}
	for name, c := range map[string]struct {
		constraint v1alpha1.Constraint
		want       []string
	}{
		"certainly met":      {bound("Accuracy", "0.85", ""), nil},
		"missed anyway":      {bound("Accuracy", "0.89", ""), nil},
		"no interval":        {bound("CompressedBytes", "", "100"), nil},
		"met by the figure":  {bound("Accuracy", "0.87", ""), []string{"Accuracy meets min 0.87 with 0.8800, but 1000 samples leave it between 0.8588 and 0.8990 with 95 % confidence; about 4300 would tell"}},
		"a drop":             {bound("AccuracyDrop", "", "0.01"), []string{"AccuracyDrop meets max 0.01 with 0.0040, but 1000 samples leave it between -0.0058 and 0.0138 with 95 % confidence; about 2600 would tell"}},
		"exactly the bound":  {bound("Accuracy", "0.88", ""), []string{"Accuracy meets min 0.88 with 0.8800, but 1000 samples leave it between 0.8588 and 0.8990 with 95 % confidence"}},
		"of another output":  {v1alpha1.Constraint{Metric: "Accuracy", Output: "box", Min: ptr(v1alpha1.Decimal("0.87"))}, nil},
		"within both bounds": {bound("Accuracy", "0.8", "0.95"), nil},
		"not measured":       {bound("Agreement", "0.8", ""), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, r.doubts([]v1alpha1.Constraint{c.constraint})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Of the baseline, what no leaf could show is said where its own figures say nothing: one number of samples to one constraint.
func TestAConstraintIsDoubtedOnce(t *testing.T) {
	constraints := []v1alpha1.Constraint{{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0.01"))}, {Metric: "Accuracy", Min: ptr(v1alpha1.Decimal("0.99"))}}
	r := &Result{Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}, {Name: "AccuracyDrop", Value: "0"}}, Evidence: interval.Evidence{Samples: 100}, Classed: 100}
	want := []string{
		"AccuracyDrop meets max 0.01 with 0.0000, but 100 samples leave it between -0.0192 and 0.0192 with 95 % confidence; about 200 would tell",
		"spec.constraints[1]: 100 samples are too few to tell Accuracy min 0.99: with confidence 0.95, a leaf that is right in all of them may have 0.9753 on others; 250 would tell of such a leaf, more of any other",
	}
	if diff := cmp.Diff(want, r.doubts(constraints)); diff != "" {
		t.Error(diff)
	}
	r.Classed = 0
	if got := r.doubts(constraints); len(got) != 1 {
		t.Errorf("of a stage: %q", got)
	}
}

func TestSplitsThatAreTooSmallForAConstraintAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		constraint v1alpha1.Constraint
		samples    int
		want       string
	}{
		"a drop, enough":   {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0.01"))}, 200, ""},
		"a drop, too few":  {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0.01"))}, 100, "100 samples are too few to tell AccuracyDrop max 0.01: with confidence 0.95, a leaf that answers all of them as the model does may have 0.0192 on others; 194 would tell of such a leaf, more of any other"},
		"no drop":          {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0"))}, 100, ""},
		"surely no drop":   {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0")), Confidence: ptr(v1alpha1.Decimal("0.9"))}, 100, "100 samples are too few to tell AccuracyDrop max 0: with confidence 0.9, a leaf that answers all of them as the model does may have 0.0161 on others"},
		"an accuracy":      {v1alpha1.Constraint{Metric: "Accuracy", Min: ptr(v1alpha1.Decimal("0.97"))}, 50, "50 samples are too few to tell Accuracy min 0.97: with confidence 0.95, a leaf that is right in all of them may have 0.9512 on others; 83 would tell of such a leaf, more of any other"},
		"an agreement":     {v1alpha1.Constraint{Metric: "Agreement", Min: ptr(v1alpha1.Decimal("0.97")), Confidence: ptr(v1alpha1.Decimal("0.5"))}, 5, "5 samples are too few to tell Agreement min 0.97: with confidence 0.5, a leaf that answers all of them as the model does may have 0.8818 on others; 22 would tell of such a leaf, more of any other"},
		"bytes":            {v1alpha1.Constraint{Metric: "CompressedBytes", Max: ptr(v1alpha1.Decimal("100"))}, 1, ""},
		"another output's": {v1alpha1.Constraint{Metric: "Accuracy", Output: "box", Min: ptr(v1alpha1.Decimal("0.97"))}, 1, ""},
	} {
		got, err := tellable(c.constraint, c.samples)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v\nwant %q", name, got, err, c.want)
		}
	}
}

func TestADropThatOnlyABetterLeafShows(t *testing.T) {
	c := v1alpha1.Constraint{Metric: "AccuracyDrop", Max: ptr(v1alpha1.Decimal("0.01")), Confidence: ptr(v1alpha1.Decimal("0.95"))}
	for name, tt := range map[string]struct {
		samples  int
		accuracy float64
		want     bool
	}{
		"a model that is always right": {150, 1, false},
		"a model that is often wrong":  {150, 0.9, true},
		"too few for any":              {2, 0.5, false},
	} {
		if got := surpassable(c, tt.samples, tt.accuracy); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestSamplesThatTheOriginalWasTrainedWithAreDoubted(t *testing.T) {
	for name, c := range map[string]struct {
		decides, decide, test, tested float64 // accuracies, and of how many samples
		want                          bool
	}{
		"all right, and many wrong": {1, 200, 0.881, 1000, true},
		"a little better":           {0.95, 200, 0.93, 1000, false},
		"a little better of many":   {0.95, 50000, 0.93, 50000, true},
		"worse":                     {0.8, 1000, 0.9, 1000, false},
		"few":                       {1, 10, 0.88, 100, false},
	} {
		got := known(c.decides, interval.Share(c.decides, c.decide, interval.Default), c.test, interval.Share(c.test, c.tested, interval.Default))
		if (got != "") != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := known(1, interval.Interval{}, 0.5, interval.Interval{}); got != "" {
		t.Errorf("without intervals: %q", got)
	}
}
