package lineage

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// uneven is a network whose first activation has channels that are up to a hundred times smaller than others, and count as much: a
// depthwise convolution makes up for it.
func uneven(act tflitetest.Act) *tflite.Model {
	first, bias, second := gauss(1, 8*9*2, 0.3), gauss(7, 8, 0.1), gauss(4, 9*8, 0.4)
	for c := range 8 {
		by := float32(math.Pow(10, -2*float64(c)/7))
		for i := range 18 {
			first[c*18+i] *= by
		}
		bias[c] *= by
		for i := range 9 {
			second[i*8+c] /= by
		}
	}
	b := tflitetest.New()
	y := b.Conv("first", b.Input("x", 1, 6, 6, 2), first, bias, 8, 3, 3, 1, schema.PaddingSAME, act)
	y = b.Depthwise("depthwise", y, second, gauss(5, 8, 0.1), 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	b.Output(b.Softmax("softmax", b.Dense("dense", b.Flatten("flat", y), gauss(3, 4*6*6*8, 0.2), gauss(8, 4, 0.1), 4, tflitetest.None)))
	return b.Model()
}

// decibels are those of the last layer of a network's leaf.
func decibels(t *testing.T, run *Run, n *Network, equalize, reconstruct bool) (last float64, out *Outcome) {
	t.Helper()
	run.Leaf.Equalize, run.Leaf.Reconstruct = &equalize, reconstruct
	if err := run.describe(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	out = &Outcome{Network: n}
	if err := run.leaf(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	for _, layer := range out.SNR {
		if strings.HasPrefix(layer.Name, "dense") {
			last = layer.Decibel
		}
	}
	return last, out
}

func TestEqualizedLeavesAreNearerToTheNetwork(t *testing.T) {
	for name, act := range map[string]tflitetest.Act{"RELU": tflitetest.ReLU, "RELU6": tflitetest.ReLU6} {
		t.Run(name, func(t *testing.T) {
			n := read(t, uneven(act))
			run := untrained(n)
			plain, _ := decibels(t, run, n, false, false)
			both, _ := decibels(t, run, n, true, true)
			equalized, out := decibels(t, run, n, true, false)
			if equalized < plain+10 || both < plain+10 {
				t.Errorf("%.1f dB, with reconstruct %.1f, %.1f without equalize", equalized, both, plain)
			}
			if said := strings.Join(out.Notes, "\n"); !strings.Contains(said, "channels equalized, 15 of 16") {
				t.Errorf("notes: %s", said)
			}
		})
	}
}

// On any network, float, pruned or clustered, the leaf passes its checks and keeps what the network is held to, and is hardly ever noisier;
// an int8 network keeps its integers.
func TestEqualizedLeavesKeepWhatTheyAreHeldTo(t *testing.T) {
	for name, m := range networks() {
		n := read(t, m)
		run := untrained(n)
		for _, before := range []Technique{nil, half, eight} {
			from := n
			if before != nil {
				run.Leaf = LeafOptions{}
				out, err := run.Apply(context.Background(), n, before)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				from = out.Network
			}
			plain, _ := decibels(t, run, from, false, false)
			equalized, out := decibels(t, run, from, true, false)
			if equalized < plain-1 {
				t.Errorf("%s: %.1f dB, %.1f without equalize", name, equalized, plain)
			}
			for at, state := range from.States() {
				if got := out.Promises[at]; got.Pruned() != state.Pruned() || state.Clusters != got.Clusters {
					t.Errorf("%s: tensor %d is promised %d zeros and %d clusters, held to %d and %d", name, at, got.Pruned(), got.Clusters, state.Pruned(), state.Clusters)
				}
			}
		}
	}
	given := quantized8(t, read(t, networks()["convolution and dense"]), true)
	run := untrained(given)
	run.Leaf.Equalize = new(true)
	if made, note, err := run.equalize(context.Background(), given); err != nil || made != given || !strings.Contains(note, "keeps its integers") {
		t.Errorf("an int8 network: %q, %v", note, err)
	}
}

func TestAQuantizeStageStartsFromEqualizedChannels(t *testing.T) {
	n := read(t, uneven(tflitetest.ReLU))
	run := fast(n)
	run.Leaf.Equalize, run.Leaf.Reconstruct = new(true), true
	baseline, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	run.Training.Epochs = 0
	stage, err := run.Apply(context.Background(), n, qat)
	if err != nil {
		t.Fatal(err)
	}
	if string(marshal(t, baseline.Leaf)) != string(marshal(t, stage.Leaf)) {
		t.Error("the baseline's leaf and that of a quantize stage without training differ")
	}
	run.Training.Epochs = 1
	if _, err := run.Apply(context.Background(), n, qat); err != nil {
		t.Error(err)
	}
}

func TestLargeNetworksAreEqualizedOnFewerSamples(t *testing.T) {
	for _, c := range []struct {
		classes         int
		multiplications int64
		want            int
	}{
		{1, 0, 64}, {1, 1000, 64},
		{1, 1e9, 27}, // 6 mixes for all and for the class, three passes each: 36 of 10⁹ in 10¹²
		{3, 1e9, 16}, // 72: 13, which are too few
		{1, 1e12, 16},
	} {
		if got := triedOn(c.classes, c.multiplications); got != c.want {
			t.Errorf("%d classes, %d multiplications: %d samples, want %d", c.classes, c.multiplications, got, c.want)
		}
	}
}

// The error of a try is the sum of squares over all outputs of all samples, told beside that of the outputs themselves.
func TestErrorsOfEqualization(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("y", b.Input("x", 1, 2), []float32{1, 2, 3, 4}, nil, 2, tflitetest.None))
	n := read(t, b.Model())
	m := &memory{shape: []int{2}, classes: 1, x: [][]float32{{1, 0}, {0, 1}, {1, 1}}}
	r := untrained(n)
	r.Data = &dataset.Dataset{Train: unlabelled{m}, Test: unlabelled{m}}
	if err := r.describe(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	e, err := r.newEqualization(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	if want := 1. + 9 + 4 + 16 + 9 + 49; e.energy != want || len(e.drawn) != 3 {
		t.Errorf("the squares of %d samples' outputs are %v, want %v of 3", len(e.drawn), e.energy, want)
	}
	other := tflitetest.New() // 0.5 off in one output where x₀ is 1, which two samples have
	other.Output(other.Dense("y", other.Input("x", 1, 2), []float32{1, 2, 3.5, 4}, nil, 2, tflitetest.None))
	net, err := float.Compile(other.Model(), 1)
	if err != nil {
		t.Fatal(err)
	}
	noise, err := e.noise(context.Background(), net)
	if err != nil || noise != 0.5 {
		t.Errorf("squared error %v, %v, want 0.5", noise, err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.noise(stopped, net); err == nil {
		t.Error("it does not end where it is interrupted")
	}
}

// Searched ranges are those of the equalized network: tries are judged by plain ones.
// Neither where there is no noise, nor where nothing but noise is, has a ratio that is a number.
func TestDecibelsAreNumbers(t *testing.T) {
	for _, c := range []struct{ signal, noise, want float64 }{{88, 88, 0}, {88, 8.8, 10}, {88, 0.088, 30}, {88, 0, 120}, {88, 1e-30, 120}, {0, 0, 120}, {0, 1, -120}, {1, 10, -10}} {
		if got := decibel(c.signal, c.noise); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v beside %v is %v dB, want %v", c.noise, c.signal, got, c.want)
		}
	}
}

// A layer of zeros is met exactly, and clustered exactly: what is noted of it is no infinity.
func TestLayersOfZerosHaveNoInfiniteRatio(t *testing.T) {
	b := tflitetest.New()
	hidden := b.Dense("hidden", b.Input("x", 1, 8), make([]float32, 8*8), nil, 8, tflitetest.ReLU)
	b.Output(b.Dense("dense", hidden, gauss(3, 8*4, 0.4), gauss(8, 4, 0.1), 4, tflitetest.None))
	n := read(t, b.Model())
	for _, reconstruct := range []Reconstruction{Off, On} {
		out, err := untrained(n).Apply(context.Background(), n, Cluster{Options: cluster.Options{Clusters: 8, Entropy: 1}, Reconstruct: reconstruct})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(out.Notes, "\n")
		if strings.Contains(notes, "Inf") || !strings.Contains(notes, "hidden") {
			t.Errorf("reconstructed %v:\n%s", reconstruct, notes)
		}
	}
}

// Weights with one scale are equalized without being asked: the leaf of a device that takes no more is that of equalize, unless that is refused.
func TestLeavesOfOneScaleAreEqualized(t *testing.T) {
	n := read(t, uneven(tflitetest.ReLU))
	for name, want := range map[string]bool{"stm32mp2": true, "hexagon": false, "cortex-m4": false} {
		leaf := func(asked *bool) *Outcome {
			run := untrained(n)
			run.Leaf.Target, run.Leaf.Equalize = device(t, name), asked
			out, err := run.Baseline(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		plain, asked, refused := leaf(nil), leaf(new(true)), leaf(new(false))
		said := strings.Contains(strings.Join(plain.Notes, "\n"), "channels equalized")
		if said != want || bytes.Equal(marshal(t, plain.Leaf), marshal(t, asked.Leaf)) != want {
			t.Errorf("%s: %q", name, plain.Notes)
		}
		if strings.Contains(strings.Join(refused.Notes, "\n"), "equalize") || bytes.Equal(marshal(t, plain.Leaf), marshal(t, refused.Leaf)) == want {
			t.Errorf("%s, refused: %q", name, refused.Notes)
		}
	}
}

// Of a clustered network it is the clusters that keep channels as they are, not what the network is.
func TestWhyEqualizationDoesNothing(t *testing.T) {
	n := read(t, uneven(tflitetest.ReLU))
	clustered, err := untrained(n).Apply(context.Background(), n, Cluster{Options: cluster.Options{Clusters: 8, Entropy: 1}})
	if err != nil {
		t.Fatal(err)
	}
	b := tflitetest.New()
	b.Output(b.Softmax("softmax", b.Dense("dense", b.Input("x", 1, 8), gauss(3, 4*8, 0.2), nil, 4, tflitetest.None)))
	for want, of := range map[string]*Network{"clustered weights, which stay as they are": clustered.Network, "without changing the network": read(t, b.Model())} {
		for _, asked := range []bool{true, false} {
			run := untrained(of)
			if asked {
				run.Leaf.Equalize = &asked
			}
			if err := run.describe(context.Background(), of); err != nil {
				t.Fatal(err)
			}
			same, note, err := run.equalize(context.Background(), of)
			if err != nil || same != of || !strings.HasSuffix(note, want) && asked || note != "" && !asked {
				t.Errorf("asked for %v: %q, %v, want %q", asked, note, err, want)
			}
		}
	}
}

func TestEqualizationBesideSearchedRanges(t *testing.T) {
	n := read(t, uneven(tflitetest.ReLU))
	models := map[quantize.Method][]byte{}
	for _, method := range []quantize.Method{quantize.MinMax, quantize.OutputError, quantize.MSE} {
		run := untrained(n)
		run.Leaf.Calibration.Method = method
		if err := run.describe(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		made, _, err := run.equalize(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		models[method] = marshal(t, made.model)
	}
	if !bytes.Equal(models[quantize.MinMax], models[quantize.OutputError]) || bytes.Equal(models[quantize.MinMax], models[quantize.MSE]) {
		t.Error("tries are not judged by the ranges of the method, or of MinMax where that searches")
	}
}
