package lineage

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// Over many draws the gradient of an answer's log-likelihood has mean zero, and its mean square is the Fisher information of the loss tensor.
func TestDrawnAnswersGiveTheFisherInformation(t *testing.T) {
	logistic := func(z float64) float64 { return 1 / (1 + math.Exp(-z)) }
	e1, e2 := math.Exp(1), math.Exp(2)
	first, second := 1/(1+e1+e2), e2/(1+2*e2)
	for name, c := range map[string]struct {
		output answer.Output
		z      []float32
		want   []float64
	}{
		"a class":                      {answer.Output{Loss: answer.CrossEntropy, Positions: 1}, []float32{0, 1, 2}, []float64{first * (1 - first), e1 * first * (1 - e1*first), e2 * first * (1 - e2*first)}},
		"of large scores":              {answer.Output{Loss: answer.CrossEntropy, Positions: 1}, []float32{1000, 1000}, []float64{0.25, 0.25}},
		"a class at each position":     {answer.Output{Loss: answer.CrossEntropy, Positions: 2}, []float32{0, 0, 0, 2, 0, 2}, []float64{2. / 36, 2. / 36, 2. / 36, second * (1 - second) / 4, second / e2 * (1 - second/e2) / 4, second * (1 - second) / 4}},
		"scores held to numbers":       {answer.Output{Classes: 2, Activation: answer.Plain, Loss: answer.MeanSquaredError, Positions: 1}, []float32{3, 3}, []float64{0.25, 0.25}},
		"shares held to numbers":       {answer.Output{Classes: 2, Activation: answer.Softmax, Loss: answer.MeanSquaredError, Positions: 1}, []float32{3, 3}, []float64{1. / 4, 1. / 4}},
		"yes or no for several labels": {answer.Output{Loss: answer.BinaryCrossEntropy, Positions: 1}, []float32{0, 2}, []float64{1. / 16, logistic(2) * logistic(-2) / 4}},
		"numbers":                      {answer.Output{Loss: answer.MeanSquaredError, Positions: 1}, []float32{5, -7}, []float64{1. / 4, 1. / 4}},
		"numbers by their spread":      {answer.Output{Loss: answer.MeanSquaredError, Positions: 2, Spread: []float64{2, 4}}, []float32{5, -7, 1, 1}, []float64{1. / 64, 1. / 256, 1. / 64, 1. / 256}},
	} {
		const n = 4096
		mean, square := make([]float64, len(c.z)), make([]float64, len(c.z))
		for sample := range n {
			gradient := make([]float32, len(c.z))
			likelihoodGradient(&c.output, gradient, c.z, sample)
			for i, g := range gradient {
				mean[i] += float64(g) / n
				square[i] += float64(g) * float64(g) / n
			}
		}
		for i, want := range c.want {
			if !(math.Abs(mean[i]) <= 0.02*math.Sqrt(want) && math.Abs(square[i]-want) <= 0.02*want) {
				t.Errorf("%s: value %d has mean %.4f and mean square %.5f, want 0 and %.5f", name, i, mean[i], square[i], want)
			}
		}
	}
	likelihoodGradient(&answer.Output{Loss: answer.CrossEntropy, Positions: 1}, nil, []float32{1, 2}, 0) // no gradient reaches it
}

// Of a single layer the squared gradient of a weight is that of its output times its input's square.
func TestSensitivityOfASingleLayer(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Softmax("softmax", b.Dense("dense", b.Input("x", 1, 6), gauss(1, 4*6, 0.5), gauss(2, 4, 0.1), 4, tflitetest.None)))
	n := read(t, b.Model())
	r := fast(n)
	r.Data = samples(10, 2, 6)
	if err := r.describe(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	w, err := r.open(n)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.sensitivity(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	kernel := w.Kernels[0].Tensor
	if len(got) != 1 || len(got[kernel]) != 24 {
		t.Fatalf("of %d weights", len(got[kernel]))
	}
	values, err := n.Model().Float32s(n.Model().Subgraph().Tensors[kernel])
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, 24)
	drawn := r.draw(SensitivitySamples)
	if len(drawn) != 10 {
		t.Fatalf("%d samples drawn", len(drawn))
	}
	bias := gauss(2, 4, 0.1)
	for sample, at := range drawn {
		x, z, g := make([]float32, 6), slices.Clone(bias), make([]float32, 4)
		if err := r.Data.Train.Read(at, [][]float32{x}); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			z[i/6] += v * x[i%6]
		}
		likelihoodGradient(&r.Outputs[0], g, z, sample)
		for i := range want {
			d := float64(g[i/6]) * float64(x[i%6])
			want[i] += d * d / 10
		}
	}
	for i := range want {
		if math.Abs(float64(got[kernel][i])-want[i]) > 1e-4*(want[i]+1e-3) {
			t.Errorf("weight %d: %g, want %g", i, got[kernel][i], want[i])
		}
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.sensitivity(stopped); err == nil {
		t.Error("it does not end where it is interrupted")
	}
}

// What a cut leaves out, and what was zero, is not among the weights that count.
func TestWeightsOfCutChannelsDoNotCount(t *testing.T) {
	w := &weight.Tensor{Shape: []int{2, 3, 2}, Mask: []uint8{1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1}}
	w.Latent = make([]float32, 12)
	for _, c := range []struct {
		cuts []channel.Cut
		want []uint8
	}{
		{nil, w.Mask},
		{[]channel.Cut{{Axis: 1, Of: 3, Kept: []int{0, 2}}}, []uint8{1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1}},
		{[]channel.Cut{{Axis: 0, Of: 2, Kept: []int{1}}, {Axis: 2, Of: 2, Kept: []int{0}}}, []uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0}},
	} {
		if got := kept(w, c.cuts); !slices.Equal(got, c.want) {
			t.Errorf("%v keeps %v, want %v", c.cuts, got, c.want)
		}
	}
}

// A choice among classes is not told by what all scores have in common.
func TestScoresOfAChoiceAreCentred(t *testing.T) {
	classes := &answer.Output{Kind: answer.Classes, Classes: 3, Positions: 2}
	if got := centred(classes, []float32{1, 2, 3, 5, 5, 8}); !slices.Equal(got, []float64{-1, 0, 1, -1, -1, 2}) {
		t.Errorf("two choices: %v", got)
	}
	numbers := &answer.Output{Kind: answer.Values, Positions: 1}
	if got := centred(numbers, []float32{1, 2, 3}); !slices.Equal(got, []float64{1, 2, 3}) {
		t.Errorf("numbers: %v", got)
	}
	for n, want := range map[int]int{4095: 4095, 5000: 4096} {
		if got := centred(numbers, make([]float32, n)); len(got) != want {
			t.Errorf("of %d numbers %d", n, len(got))
		}
	}
	wide := &answer.Output{Kind: answer.Classes, Classes: 3000, Positions: 2}
	if got := centred(wide, make([]float32, 6000)); len(got) != 6000 {
		t.Errorf("of two choices among 3000 %d scores", len(got))
	}
	chosen := &answer.Output{Kind: answer.Classes, Classes: 3, Positions: 1}
	if got := centred(chosen, []float32{2}); !slices.Equal(got, []float64{2}) {
		t.Errorf("the number of a class: %v", got)
	}
}

func TestClustersByMeasuredSensitivityAreMade(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	measured := eight
	measured.Measure = true
	out, err := untrained(n).Apply(context.Background(), n, measured)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := untrained(n).Apply(context.Background(), n, eight)
	if err != nil {
		t.Fatal(err)
	}
	differ := false
	for at, s := range out.Network.States() {
		if s.Clusters > 8 {
			t.Errorf("weights %d have %d clusters", at, s.Clusters)
		}
		differ = differ || !cmp.Equal(s, plain.Network.States()[at])
	}
	if !differ {
		t.Error("what weights matter changes nothing")
	}
}

func TestQuantizingFreelyKeepsNothing(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	pruned, err := fast(n).Apply(context.Background(), n, half)
	if err != nil {
		t.Fatal(err)
	}
	for _, free := range []bool{false, true} {
		out, err := fast(n).Apply(context.Background(), pruned.Network, Quantize{Free: free})
		if err != nil {
			t.Fatal(err)
		}
		if kept := slices.ContainsFunc(slices.Collect(maps.Values(out.Promises)), func(p weight.State) bool { return p.Mask != nil }); kept == free {
			t.Errorf("free %v: zeros are promised: %v", free, kept)
		}
		if said := strings.Contains(strings.Join(out.Notes, "\n"), "zeros and clusters of the input are not kept: preserve is None"); said != free {
			t.Errorf("free %v: %v", free, out.Notes)
		}
	}
}

// Answers are drawn by the number of the sample: the classes, or yes and no, that lie at the shares of the golden ratio's sequence.
func TestAnswersAreDrawnBySample(t *testing.T) {
	for sample, want := range [][]float64{{0.618034, 0.372911}, {0.236068, 0.990946}, {0.854102, 0.608980}} {
		u := draws(sample)
		for i := range want {
			if got := u(); math.Abs(got-want[i]) > 1e-6 {
				t.Errorf("draw %d of sample %d is %v, want %v", i, sample, got, want[i])
			}
		}
	}
	for _, c := range []struct {
		p    []float32
		u    float64
		want int
	}{{[]float32{0.5, 0.5}, 0, 0}, {[]float32{0.5, 0.5}, 0.49, 0}, {[]float32{0.5, 0.5}, 0.5, 1}, {[]float32{0, 1}, 0, 1}, {[]float32{0.3, 0.3, 0.3}, 0.99, 2}} {
		if got := drawn(c.p, c.u); got != c.want {
			t.Errorf("at share %v of %v lies class %d, want %d", c.u, c.p, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		output answer.Output
		want   []float32 // of samples 0 and 1, which lie at 0.62 and 0.24
	}{
		"yes at 88 %": {answer.Output{Loss: answer.BinaryCrossEntropy, Positions: 1}, []float32{-0.119203, -0.119203}},
		"a number":    {answer.Output{Loss: answer.MeanSquaredError, Positions: 1}, []float32{1, -1}},
	} {
		for sample, want := range c.want {
			g := []float32{0}
			if likelihoodGradient(&c.output, g, []float32{2}, sample); math.Abs(float64(g[0]-want)) > 1e-6 {
				t.Errorf("%s: sample %d has gradient %v, want %v", name, sample, g[0], want)
			}
		}
	}
}
