package lineage

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/prune"
)

// On any network the expected errors of zeros and codes in one layer go with those that they have, over layers and levels.
func TestExpectedErrorsGoWithMeasuredOnes(t *testing.T) {
	var logs []float64
	for _, name := range slices.Sorted(maps.Keys(networks())) {
		n := read(t, networks()[name])
		run := untrained(n)
		layers, _, err := run.Sensitivity(context.Background(), n)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w, err := run.open(n)
		if err != nil {
			t.Fatal(err)
		}
		spread, err := w.spread(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		values := float64(run.Data.Train.Len() * run.Outputs[0].Size)
		var expected, measured []float64
		add := func(technique Technique, of float64) {
			made, err := run.Apply(context.Background(), n, technique)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if is := distance(t, run, n, made.Network) / values / (spread[0] * spread[0]); is > 0 && of > 0 {
				expected, measured = append(expected, math.Log(of)), append(measured, math.Log(is))
			}
		}
		for _, l := range layers {
			for _, v := range l.Prune {
				if v.Level == 0.3 || v.Level == 0.5 {
					add(Prune{Options: prune.Options{Schedule: half.Schedule, Rules: []prune.Rule{{Layers: l.Name, Sparsity: &v.Level}, {Layers: "*", Skip: true}}}}, v.Error)
				}
			}
			for _, v := range l.Cluster {
				if v.Level == 16 || v.Level == 8 {
					add(Cluster{Options: cluster.Options{Clusters: 16, Entropy: cluster.DefaultEntropy}, Rules: []cluster.Rule{{Layers: l.Name, Clusters: int(v.Level)}, {Layers: "*", Skip: true}}}, v.Error)
				}
			}
		}
		if r := stat.Correlation(expected, measured, nil); len(expected) > 3 && r < 0.8 {
			t.Errorf("%s: the logarithms of %d errors correlate by %.2f only", name, len(expected), r)
		}
		for i := range expected {
			logs = append(logs, measured[i]-expected[i])
		}
	}
	if mean := math.Exp(stat.Mean(logs, nil)); len(logs) < 20 || mean < 0.25 || mean > 4 {
		t.Errorf("%d measured errors are %.2f times the expected ones", len(logs), mean)
	}
}

func TestSensitivityIsReproducibleAndInterruptible(t *testing.T) {
	n := read(t, networks()[slices.Sorted(maps.Keys(networks()))[0]])
	run := untrained(n)
	first, _, err := run.Sensitivity(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := run.Sensitivity(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range first {
		if l.Int8 != again[i].Int8 || !slices.Equal(l.Prune, again[i].Prune) || !slices.Equal(l.Cluster, again[i].Cluster) {
			t.Errorf("%s: %+v, then %+v", l.Name, l, again[i])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := run.Sensitivity(ctx, n); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
