package lineage

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
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

// Every value has the same share of the gradient, with a sign drawn for it, and adds to what is there; scores of a choice lose what they share.
func TestGradientsOfOutputsAreDrawnSigns(t *testing.T) {
	numbers := &answer.Output{Kind: answer.Values, Positions: 1}
	for name, c := range map[string]struct {
		output *answer.Output
		row    int // values without their mean
		spread float64
		by     float64
	}{
		"numbers":                 {numbers, 0, 2, 0.25},
		"of no spread":            {numbers, 0, 0, 0},
		"scores at two positions": {&answer.Output{Kind: answer.PositionClasses, Classes: 2, Positions: 2}, 2, 0.5, 1},
		"a class at each":         {&answer.Output{Kind: answer.PositionClasses, Classes: 2, Positions: 4}, 0, 0.5, 1},
	} {
		for sample := range 8 {
			got, want, u := []float32{1, 2, 3, 4}, make([]float64, 4), draws(sample)
			outputGradient(c.output, got, c.spread, sample)
			for i := range want {
				want[i] = c.by
				if u() < 0.5 {
					want[i] = -c.by
				}
			}
			if c.row > 0 {
				for scores := range slices.Chunk(want, c.row) {
					floats.AddConst(-stat.Mean(scores, nil), scores)
				}
			}
			for i, g := range got {
				if math.Abs(float64(g)-float64(i+1)-want[i]) > 1e-6 {
					t.Errorf("%s, sample %d: %v and 1 to 4 gives %v", name, sample, want, got)
					break
				}
			}
		}
	}
	outputGradient(numbers, nil, 1, 0) // no gradient reaches it
}

// What a layer's levels cost is made of the mean squared gradients of its weights, and channels of those of a factor on them.
func TestSensitivityOfTwoLayersByHand(t *testing.T) {
	kernel1, bias1, kernel2, bias2 := gauss(1, 4*6, 0.5), gauss(2, 4, 0.3), gauss(3, 3*4, 0.5), gauss(4, 3, 0.1)
	b := tflitetest.New()
	y := b.Dense("hidden", b.Input("x", 1, 6), kernel1, bias1, 4, tflitetest.ReLU)
	b.Output(b.Softmax("softmax", b.Dense("dense", y, kernel2, bias2, 3, tflitetest.None)))
	n := read(t, b.Model())
	r := fast(n)
	r.Data = samples(10, 2, 6)
	layers, notes, err := r.Sensitivity(context.Background(), n)
	if err != nil || len(layers) != 2 || len(notes) > 0 {
		t.Fatalf("%d layers, notes %q, %v", len(layers), notes, err)
	}

	x, before, h, z := make([]float32, 6), make([]float64, 4), make([]float64, 4), make([]float32, 3)
	forward := func(sample int) {
		if err := r.Data.Train.Read(sample, [][]float32{x}); err != nil {
			t.Fatal(err)
		}
		for i := range h {
			before[i] = float64(bias1[i])
			for k, v := range x {
				before[i] += float64(v * kernel1[i*6+k])
			}
			h[i] = max(before[i], 0)
		}
		for o := range z {
			z[o] = bias2[o]
			for i, v := range h {
				z[o] += float32(v) * kernel2[o*4+i]
			}
		}
	}
	drawn := r.draw(SensitivitySamples)
	var values []float64
	for _, at := range drawn {
		forward(at)
		mean := float64(z[0]+z[1]+z[2]) / 3
		values = append(values, float64(z[0])-mean, float64(z[1])-mean, float64(z[2])-mean)
	}
	slopes, gates := [2][]float64{make([]float64, 24), make([]float64, 12)}, make([]float64, 4)
	for sample, at := range drawn {
		forward(at)
		g := make([]float32, 3)
		outputGradient(&r.Outputs[0], g, stat.StdDev(values, nil), sample)
		for i, v := range h {
			back := 0.0
			for o, d := range g {
				slopes[1][o*4+i] += math.Pow(float64(d)*v, 2) / 10
				if v > 0 {
					back += float64(d * kernel2[o*4+i])
				}
			}
			gates[i] += math.Pow(back*before[i], 2) / 10
			for k, v := range x {
				slopes[0][i*6+k] += math.Pow(back*float64(v), 2) / 10
			}
		}
	}

	w, err := r.open(n)
	if err != nil {
		t.Fatal(err)
	}
	near := cmpopts.EquateApprox(1e-3, 1e-9)
	for i, k := range w.Kernels {
		var slope []float32
		for _, v := range slopes[i] {
			slope = append(slope, float32(v))
		}
		want, err := sensitivity.Of(k, w.Tensors[k.Tensor], k.Shape[k.Axis], slope)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			slices.Sort(gates)
			for _, share := range sensitivity.Channels {
				cut := int(math.Round(share * 4))
				level := sensitivity.Level{Level: share, Bits: float64(4-cut) / 4}
				for _, gate := range gates[:cut] {
					level.Error += gate
				}
				want.Channels = append(want.Channels, level)
			}
			want.Multiplications = 4 * 6
		}
		if d := cmp.Diff(want, layers[i], near); d != "" {
			t.Errorf("%s: %s", k.Name, d)
		}
	}
}

// Weights that no gradient reaches have no levels, and a note says so.
func TestSensitivityWithoutAGradient(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 6)
	step := b.Unary("step", schema.BuiltinOperatorFLOOR, b.Dense("before", x, gauss(1, 4*6, 2), nil, 4, tflitetest.None))
	b.Output(b.Dense("dense", step, gauss(3, 3*4, 0.5), nil, 3, tflitetest.None))
	n := read(t, b.Model())
	r := fast(n)
	r.Data = samples(10, 2, 6)
	layers, notes, err := r.Sensitivity(context.Background(), n)
	if err != nil || len(layers) != 1 || layers[0].Name != "dense/kernel" || !strings.Contains(strings.Join(notes, "\n"), `weights "before/kernel" do not train: no gradient reaches them`) {
		t.Errorf("%+v, notes %q, %v", layers, notes, err)
	}
}

// A network without channels to take out has the other levels.
func TestSensitivityWithoutChannels(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("dense", b.Input("x", 1, 6), gauss(3, 4*6, 0.5), nil, 4, tflitetest.None))
	n := read(t, b.Model())
	layers, _, err := fast(n).Sensitivity(context.Background(), n)
	if err != nil || len(layers) != 1 || layers[0].Channels != nil || len(layers[0].Prune) != len(sensitivity.Sparsities) || len(layers[0].Cluster) != len(sensitivity.Clusters) {
		t.Errorf("%+v, %v", layers, err)
	}
}
