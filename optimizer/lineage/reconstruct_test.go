package lineage

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/reconstruct"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// untrained is a run that only applies techniques.
func untrained(n *Network) *Run {
	r := fast(n)
	r.Training.Epochs = 0
	return r
}

// distance is the mean squared distance between the last outputs before softmax of two networks of one lineage.
func distance(t *testing.T, r *Run, a, b *Network) float64 {
	t.Helper()
	var execs []*float.Exec
	for _, n := range []*Network{a, b} {
		net, err := float.Compile(n.model, 1)
		if err != nil {
			t.Fatal(err)
		}
		execs = append(execs, net.NewExec(false))
	}
	var sum float64
	tensor := execs[0].Network().LossTensor(0)
	for i := range r.Data.Train.Len() {
		for _, e := range execs {
			if err := r.Data.Train.Read(i, [][]float32{e.Input(0)}); err != nil {
				t.Fatal(err)
			}
			e.Forward()
		}
		for k, v := range execs[0].Tensor(tensor) {
			d := float64(v - execs[1].Tensor(tensor)[k])
			sum += d * d
		}
	}
	return sum
}

var (
	halfReconstructed = Prune{Options: half.Options, Reconstruct: true}
	blocks            = Prune{Options: prune.Options{Sparsity: 0.5, Pattern: prune.Pattern{Rows: 1, Columns: 4}, Schedule: half.Schedule}, Reconstruct: true}
	global            = Prune{Options: prune.Options{Sparsity: 0.5, Scope: prune.Global, Schedule: half.Schedule}, Reconstruct: true}
)

// On any network, float or int8, zeros are exactly as many as without reconstruction, the leaf passes its checks, and what the network
// answers is hardly ever further from the original.
func TestReconstructedPruningIsNearerToTheOriginal(t *testing.T) {
	for _, tc := range []struct {
		name               string
		plain, reconstruct Prune
	}{
		{"single weights", half, halfReconstructed},
		{"blocks", Prune{Options: blocks.Options}, blocks},
		{"one budget", Prune{Options: global.Options}, global},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ratios, count := 0.0, 0.0
			for name, m := range networks() {
				for _, given := range []string{"float", "int8"} {
					n := read(t, m)
					if given == "int8" {
						n = quantized8(t, n, true)
					}
					run := untrained(n)
					plain, err := run.Apply(context.Background(), n, tc.plain)
					if err != nil {
						t.Fatalf("%s, %s: %v", name, given, err)
					}
					made, err := run.Apply(context.Background(), n, tc.reconstruct)
					if err != nil {
						t.Fatalf("%s, %s: %v", name, given, err)
					}
					for at, state := range plain.Network.States() {
						got, allowed := made.Network.States()[at], max(tc.plain.Pattern.Columns-1, 0)
						if d := got.Pruned() - state.Pruned(); d < -allowed || d > allowed {
							t.Errorf("%s, %s: %d zeros in tensor %d, want %d", name, given, got.Pruned(), at, state.Pruned())
						}
					}
					before, after := distance(t, run, n, plain.Network), distance(t, run, n, made.Network)
					if before > 0 {
						ratios, count = ratios+math.Log(max(after, 1e-9*before)/before), count+1
					}
				}
			}
			if mean := math.Exp(ratios / count); mean > 0.5 {
				t.Errorf("the squared distance to the original is %.2f of that without reconstruction", mean)
			}
		})
	}
}

// On any network and in every scope, codes are at most as many as asked for, zeros are kept, the leaf passes its checks, and what the
// network answers is nearer to what it was clustered from.
func TestReconstructedClustersAreNearerToWhatTheyAreOf(t *testing.T) {
	for _, scope := range []weight.Scope{weight.Shared, weight.PerTensor, weight.PerChannel} {
		t.Run(string(scope), func(t *testing.T) {
			ratios, count := 0.0, 0.0
			for name, m := range networks() {
				n := read(t, m)
				for _, sparse := range []bool{false, true} {
					run := untrained(n)
					if sparse {
						pruned, err := run.Apply(context.Background(), n, halfReconstructed)
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						n = pruned.Network
					}
					plain := Cluster{Options: cluster.Options{Clusters: 6, Scope: scope, Entropy: 1}}
					better := plain
					better.Reconstruct = true
					before, err := run.Apply(context.Background(), n, plain)
					if err != nil {
						t.Fatalf("%s, sparse %t: %v", name, sparse, err)
					}
					after, err := run.Apply(context.Background(), n, better)
					if err != nil {
						t.Fatalf("%s, sparse %t: %v", name, sparse, err)
					}
					for at, state := range after.Network.States() {
						if was, ok := n.States()[at]; ok && was.Mask != nil && !slices.Equal(was.Mask, state.Mask) {
							t.Errorf("%s: zeros of tensor %d are not kept", name, at)
						}
						if state.Clustered() && !state.Found && state.Clusters > 6 {
							t.Errorf("%s: tensor %d has %d clusters", name, at, state.Clusters)
						}
					}
					if was := distance(t, run, n, before.Network); was > 0 {
						ratios, count = ratios+math.Log(max(distance(t, run, n, after.Network), 1e-9*was)/was), count+1
					}
				}
			}
			if mean := math.Exp(ratios / count); mean > 0.7 {
				t.Errorf("the squared distance to the original is %.2f of that without reconstruction", mean)
			}
		})
	}
}

// On any network the leaf of reconstructed integers passes its checks, and the outputs of its last layers are no noisier on average. A
// network that was pruned or clustered keeps what it is held to.
func TestReconstructedLeavesAreNearerToTheNetwork(t *testing.T) {
	var gain, count float64
	for name, m := range networks() {
		n := read(t, m)
		run := untrained(n)
		if err := run.describe(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		for _, before := range []Technique{nil, half, eight} {
			from := n
			if before != nil {
				out, err := run.Apply(context.Background(), n, before)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				from = out.Network
			}
			last := map[bool]float64{}
			for _, reconstruct := range []bool{false, true} {
				run.Leaf.Reconstruct = reconstruct
				out := &Outcome{Network: from}
				if err := run.leaf(context.Background(), out); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for at, state := range from.States() {
					if got := out.Promises[at]; state.Mask != nil && !slices.Equal(state.Mask, got.Mask) || state.Clusters != got.Clusters {
						t.Errorf("%s: tensor %d is promised %d zeros and %d clusters, held to %d and %d", name, at, got.Pruned(), got.Clusters, state.Pruned(), state.Clusters)
					}
				}
				for _, layer := range out.SNR {
					if strings.HasPrefix(layer.Name, "dense") {
						last[reconstruct] = layer.Decibel
					}
				}
			}
			run.Leaf.Reconstruct = false
			gain, count = gain+last[true]-last[false], count+1
		}
	}
	if mean := gain / count; !(mean > 0.2) {
		t.Errorf("reconstruction gains %.2f dB on average", mean)
	}
}

// A quantize stage starts from reconstructed integers.
func TestQuantizeWithoutTrainingIsTheReconstructedLeaf(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := untrained(n)
	run.Leaf.Reconstruct = true
	baseline, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	stage, err := run.Apply(context.Background(), n, qat)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, m := range []*tflite.Model{baseline.Leaf, stage.Leaf} {
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(data))
	}
	if files[0] != files[1] {
		t.Error("the baseline's leaf and that of a quantize stage without training differ")
	}
}

// Reconstruction gives the same bytes whatever the number of processors, tells how far it is, and stops when it is told.
func TestReconstructionIsReproducibleToldAndInterruptible(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	var bytes []string
	for range 2 {
		run := untrained(n)
		layers := 0
		run.Progress = func(p train.Progress) { layers = p.Layer }
		out, err := run.Apply(context.Background(), n, halfReconstructed)
		if err != nil {
			t.Fatal(err)
		}
		if layers != 2 {
			t.Errorf("progress ended at layer %d of 2", layers)
		}
		data, err := out.Network.model.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		bytes = append(bytes, string(data))
	}
	if bytes[0] != bytes[1] {
		t.Error("two runs differ")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := untrained(n).Apply(ctx, n, halfReconstructed); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNotReconstructedIsNamedOnce(t *testing.T) {
	kernels := []weight.Kernel{{Tensor: 1, Name: "conv"}, {Tensor: 2, Name: "recurrent"}, {Tensor: 3, Name: "wide"}}
	got := unreconstructed(kernels, []*reconstruct.Layer{{Weight: 1}}, []string{`weights "wide": each output has 4000 inputs`})
	if len(got) != 1 || !strings.HasPrefix(got[0], `weights "recurrent" are not of`) {
		t.Errorf("%q", got)
	}
}

func TestLayersOfManyInputsHaveTheirZerosChosenInFewerRounds(t *testing.T) {
	for taps, want := range map[int]int{27: 8, 576: 8, 1024: 3, 2048: 1, 4608: 3} { // the last in parts
		l := &reconstruct.Layer{Taps: taps, Outputs: 1001, Groups: 1}
		l.Split(reconstruct.MaxTaps)
		if got := rounds(l); got != want {
			t.Errorf("%d inputs: %d rounds, want %d", taps, got, want)
		}
	}
}

// Of a layer with more inputs than one factorization takes, what is left is nearer too, in parts and, quantized, as a whole.
func TestWideLayersAreReconstructed(t *testing.T) {
	const inputs = reconstruct.MaxTaps + 2
	b := tflitetest.New()
	y := b.Dense("wide", b.Dense("hidden", b.Input("x", 1, 4), gauss(1, inputs*4, 0.5), gauss(2, inputs, 0.2), inputs, tflitetest.ReLU), gauss(3, 4*inputs, 0.05), gauss(4, 4, 0.1), 4, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	n := read(t, b.Model())
	plain, better := untrained(n), untrained(n)
	plain.Leaf.Weights, better.Leaf.Weights = Weights4, Weights4
	better.Leaf.Reconstruct = true
	for name, c := range map[string]struct {
		plain, reconstruct Technique
		parts              bool
	}{
		"zeros":    {half, halfReconstructed, true},
		"clusters": {four, Cluster{Options: four.Options, Reconstruct: true}, false},
		"integers": {Quantize{}, Quantize{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := plain.Apply(context.Background(), n, c.plain)
			if err != nil {
				t.Fatal(err)
			}
			after, err := better.Apply(context.Background(), n, c.reconstruct)
			if err != nil {
				t.Fatal(err)
			}
			if was, is := distance(t, plain, n, before.Network), distance(t, plain, n, after.Network); is > 0.3*was {
				t.Errorf("squared distance %v, %v without reconstruction", is, was)
			}
			said := slices.ContainsFunc(after.Notes, func(note string) bool {
				return strings.HasPrefix(note, `weights "wide/kernel": an output's 2050 inputs are reconstructed in 5 parts`)
			})
			if said != c.parts {
				t.Errorf("in parts: %t, want %t; notes %q", said, c.parts, after.Notes)
			}
		})
	}
}
