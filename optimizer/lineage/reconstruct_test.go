package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gonum.org/v1/gonum/floats"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/reconstruct"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
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
	halfReconstructed = Prune{Options: half.Options, Reconstruct: On}
	blocks            = Prune{Options: prune.Options{Sparsity: 0.5, Pattern: prune.Pattern{Rows: 1, Columns: 4}, Schedule: half.Schedule}, Reconstruct: On}
	global            = Prune{Options: prune.Options{Sparsity: 0.5, Scope: prune.Global, Schedule: half.Schedule}, Reconstruct: On}
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
					better.Reconstruct = On
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
		run.Progress = func(p train.Progress) {
			if layers = p.Layer; p.Layers != 2 || p.Accuracy >= 0 {
				t.Errorf("%d layers, accuracy %v, which nothing measures", p.Layers, p.Accuracy)
			}
		}
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

// layerOf calls f with the reconstruction of a layer as the network has it.
func layerOf(t *testing.T, n *Network, name string, f func(r *reconstruction, t *weight.Tensor)) {
	t.Helper()
	run := untrained(n)
	if err := run.describe(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	w, err := run.open(n)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	if err := w.reconstruct(context.Background(), nil, func(r *reconstruction, tensor *weight.Tensor) error {
		if r.layer.Name == name {
			found = true
			f(r, tensor)
		}
		return nil
	}); err != nil || !found {
		t.Fatalf("%q is found: %t, %v", name, found, err)
	}
}

// The note of a layer says how near its outputs are to those of the original, over all samples that were looked at.
func TestNotesOfReconstructedLayers(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := untrained(n)
	out, err := run.Apply(context.Background(), n, halfReconstructed)
	if err != nil {
		t.Fatal(err)
	}
	var execs []*float.Exec
	for _, n := range []*Network{n, out.Network} {
		net, err := float.Compile(n.model, 1)
		if err != nil {
			t.Fatal(err)
		}
		execs = append(execs, net.NewExec(false))
	}
	last, squares, energy := execs[0].Network().LossTensor(0), 0.0, 0.0
	for i := range run.Data.Train.Len() {
		for _, e := range execs {
			if err := run.Data.Train.Read(i, [][]float32{e.Input(0)}); err != nil {
				t.Fatal(err)
			}
			e.Forward()
		}
		for k, v := range execs[0].Tensor(last) {
			d := float64(v - execs[1].Tensor(last)[k])
			squares, energy = squares+d*d, energy+float64(v)*float64(v)
		}
	}
	want := fmt.Sprintf(`weights "dense/kernel": outputs of the layer at %.1f dB`, 10*math.Log10(energy/squares))
	if !slices.Contains(out.Notes, want) || !slices.Contains(out.Notes, `weights "dense/kernel": 50.00 % zeros`) {
		t.Errorf("notes %q, want %q", out.Notes, want)
	}
	for _, no := range []string{" parts", "rounds instead", "are not reconstructed"} {
		if slices.ContainsFunc(out.Notes, func(note string) bool { return strings.Contains(note, no) }) {
			t.Errorf("a note says that something is left out: %q", out.Notes)
		}
	}
	if len(out.Warnings) > 0 {
		t.Errorf("warnings %q", out.Warnings)
	}
}

// Of a layer that already has zeros as many more are chosen as are missing, and biases make up for what they gave.
func TestZerosThatThereAreCount(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := untrained(n)
	for _, share := range []float64{0.25, 0.5, 0.5, 0.375} {
		out, err := run.Apply(context.Background(), n, Prune{Options: prune.Options{Sparsity: share, Schedule: half.Schedule}, Reconstruct: On})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range n.Kernels() {
			want := max(int(share*float64(numelOf(k.Shape))), n.States()[k.Tensor].Pruned())
			if got := out.Network.States()[k.Tensor].Pruned(); got != want {
				t.Errorf("%q with share %v has %d zeros, want %d", k.Name, share, got, want)
			}
		}
		bias := biasOf(out.graph(t), n.Kernels()[0].Tensor)
		if share == 0.25 && slices.Equal(n.model.Data(n.model.Subgraph().Tensors[bias]), out.Network.model.Data(out.Network.model.Subgraph().Tensors[bias])) {
			t.Error("the bias stays as it is")
		}
		n = out.Network
	}
}

func (o *Outcome) graph(t *testing.T) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(o.Network.model, 0)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNothingToReconstruct(t *testing.T) {
	b := tflitetest.New()
	w := b.Const("both/kernel", gauss(4, 16, 0.6), 4, 4)
	x := b.Input("x", 1, 4)
	y := b.Op("both", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 4}, x, w)
	b.Output(b.Op("plus", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{4, 4}, y, w))
	n := read(t, b.Model())
	run := untrained(n)
	run.Data.Train = unlabelled{run.Data.Train.(*memory)}
	out, err := run.Apply(context.Background(), n, halfReconstructed)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Warnings, []string{"reconstruct does nothing here: none of the weights can be reconstructed (the notes of the report say why)"}) ||
		!slices.Contains(out.Notes, `weights "both/kernel" are read by other operators too, and are not reconstructed`) {
		t.Errorf("warnings %q, notes %q", out.Warnings, out.Notes)
	}
	auto := halfReconstructed
	auto.Reconstruct = Auto
	if out, err = run.Apply(context.Background(), n, auto); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(out.Notes, "weights are not reconstructed before training: no layer can be") || len(out.Warnings) > 0 {
		t.Errorf("by itself: warnings %q, notes %q", out.Warnings, out.Notes)
	}
}

// With as many samples as are looked at, or more, nothing is said of their number.
func TestReconstructionOfManySamples(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	run := untrained(n)
	run.Data = samples(reconstructSamples+1, 4, 72)
	out, err := run.Apply(context.Background(), n, halfReconstructed)
	if err != nil || len(out.Warnings) > 0 {
		t.Errorf("%v, %q", err, out.Warnings)
	}
}

// The bias of a layer is the sum of what its parts say, group by group.
func TestPartsShareTheBias(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	layerOf(t, n, "first/kernel", func(r *reconstruction, _ *weight.Tensor) {
		at, net := r.layer.Bias, r.w.net
		r = &reconstruction{w: &Work{net: net}}
		r.layer = &reconstruct.Layer{Bias: at, Groups: 2, Outputs: 4, Taps: 6}
		for part := range 6 { // three of each group
			r.layer.Parts = append(r.layer.Parts, reconstruct.Part{Group: part / 3, From: 2 * (part % 3), Taps: 2})
		}
		r.bias = [][]float64{{1, 2, 3, 4}, {10, 20, 30, 40}, {100, 200, 300, 400}, {-1, -2, -3, -4}, {0, 0, 0, 0}, {5, 5, 5, 5}}
		r.setBias(1, 2, 50)
		r.setBias(5, 0, 7)
		bias := net.Param(at).Value
		if bias[2] != 3+50+300 || bias[4] != -1+7 {
			t.Errorf("the biases are %v", bias)
		}
		was := slices.Clone(bias)
		r.layer.Bias = reconstruct.None
		if r.setBias(0, 0, 9); !slices.Equal(bias, was) {
			t.Error("a layer without a bias has one set")
		}
	})
}

// Codes cost by how often they occur, in the set that their output has; pruned weights cost nothing.
func TestBitsOfCodes(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	layerOf(t, n, "dense/kernel", func(r *reconstruction, _ *weight.Tensor) { // 4 outputs of 6
		codes := slices.Concat([]int8{1, 1, 1, -2, -2, 0}, []int8{-2, -2, -2, -2, 1, 1}, make([]int8, 12))
		mask := slices.Concat([]uint8{1, 1, 1, 1, 1, 0}, slices.Repeat([]uint8{1}, 6), make([]uint8, 12))
		bit := func(count, of float64) float64 { return math.Log2((of + 1) / (count + 1)) }
		for name, c := range map[string]struct {
			sets [][]int8
			mask []uint8
			want [][]float64
		}{
			"one set":       {[][]int8{{-2, 0, 1}}, mask, [][]float64{{bit(6, 11), bit(0, 11), bit(5, 11)}}},
			"and no zeros":  {[][]int8{{-2, 0, 1}}, nil, [][]float64{{bit(6, 24), bit(13, 24), bit(5, 24)}}},
			"an output one": {[][]int8{{-2, 1}, {-2, 1}, {0}, {0}}, mask, [][]float64{{bit(2, 5), bit(3, 5)}, {bit(4, 6), bit(2, 6)}, {0}, {0}}},
		} {
			if d := cmp.Diff(c.want, r.bits(&weight.State{CodeSets: c.sets, Mask: c.mask}, codes), cmpopts.EquateApprox(0, 1e-12)); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	})
}

// Scales that codes had are found again, of each output, of halves or of all; the moments of inputs are those of what an output's weights are multiplied with.
func TestScalesAndMomentsOfALayer(t *testing.T) {
	for _, scale := range [][]float32{{0.5, 0.25, 0.125, 1}, {0.5, 0.25}, {0.5}} {
		codes, values := make([]int8, 24), make([]float32, 24)
		for i := range codes {
			codes[i] = int8(i*5%11 - 5)
			values[i] = float32(codes[i]) * scale[weight.ScaleIndex(i/6, len(scale), 4)]
		}
		b := tflitetest.New()
		b.Output(b.Dense("dense", b.Input("x", 1, 6), values, gauss(2, 4, 0.1), 4, tflitetest.None))
		n := read(t, b.Model())
		layerOf(t, n, "dense/kernel", func(r *reconstruction, tensor *weight.Tensor) {
			state := weight.State{Shape: []int{4, 6}, Scale: slices.Repeat([]float32{3}, len(scale))}
			r.fitScales(&state, codes)
			for c, s := range state.Scale {
				if s < 0.999*scale[c] || s > 1.01*scale[c] { // scales are rounded up to eight bits
					t.Errorf("scale %d is %v, want %v", c, s, scale[c])
				}
			}
			if r.fitScales(&state, make([]int8, 24)); state.Scale[0] < 0.9*scale[0] {
				t.Errorf("codes that are all 0 have scale %v", state.Scale)
			}
			x, want := make([]float32, 6), make([]float64, 6)
			data := r.w.run.Data.Train
			for i := range data.Len() {
				if err := data.Read(i, [][]float32{x}); err != nil {
					t.Fatal(err)
				}
				for k, v := range x {
					want[k] += float64(v) * float64(v) / float64(data.Len())
				}
			}
			damping := reconstruct.Damping * floats.Sum(want) / 6
			for i, m := range r.moments(24) {
				if math.Abs(float64(m)-want[i%6]-damping) > 1e-4 {
					t.Errorf("weight %d: moment %v, want %v", i, m, want[i%6]+damping)
				}
			}
		})
	}
}

// By itself a stage starts from reconstructed weights where it has few steps and they are quickly made, and then as if it had been told to.
func TestShortStagesStartFromReconstructedWeights(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	for name, start := range map[string]func(Reconstruction) Technique{
		"zeros":    func(r Reconstruction) Technique { return Prune{Options: half.Options, Reconstruct: r} },
		"clusters": func(r Reconstruction) Technique { return Cluster{Options: four.Options, Reconstruct: r} },
		"channels": func(r Reconstruction) Technique { return Channels{Options: narrow.Options, Reconstruct: r} },
	} {
		t.Run(name, func(t *testing.T) {
			made := map[Reconstruction][]byte{}
			for _, choice := range []Reconstruction{Off, On, Auto} {
				out, err := untrained(n).Apply(context.Background(), n, start(choice))
				if err != nil {
					t.Fatal(err)
				}
				if made[choice], err = out.Leaf.Marshal(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(made[Auto], made[On]) || bytes.Equal(made[Auto], made[Off]) {
				t.Error("a stage without steps does not start from reconstructed weights")
			}
		})
	}
	for name, tt := range map[string]struct {
		steps int
		work  float64
		want  bool
	}{
		"no steps":             {0, 0, true},
		"few":                  {prune.ShortRun - 1, 0, true},
		"many":                 {prune.ShortRun, 0, false},
		"as much as it may be": {1, autoWork / 4, true},
		"too much":             {1, autoWork, false},
	} {
		run := untrained(n)
		run.Training = train.DefaultConfig()
		run.Training.Epochs, run.Training.BatchSize = tt.steps, run.Data.Train.Len()
		w, err := run.open(n)
		if err != nil {
			t.Fatal(err)
		}
		work := func(*reconstruct.Layer) float64 { return tt.work }
		if got := w.reconstructs(Auto, work); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
		if noted := slices.ContainsFunc(w.notes, func(note string) bool { return strings.Contains(note, "reconstruct: false") }); noted != tt.want {
			t.Errorf("%s: notes %q", name, w.notes)
		}
		if noted := slices.ContainsFunc(w.notes, func(note string) bool { return strings.Contains(note, "reconstruct: true") }); noted != (tt.work >= autoWork) {
			t.Errorf("%s: notes %q", name, w.notes)
		}
		if w.reconstructs(Off, work) || !w.reconstructs(On, work) {
			t.Errorf("%s: what is said does not count", name)
		}
	}
}

// Clusters of a network that knows the validation samples by heart begin with those that are nearest.
func TestClustersAreNotReconstructedWhereNothingCouldUndoTraining(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	run := fast(n)
	run.Data.Validation = run.Data.Train
	run.Training.Epochs, run.Training.LearningRate = 300, 1e-2
	out, err := run.Apply(context.Background(), n, FineTune{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		network    *Network
		validation dataset.Source
		choice     Reconstruction
		want       bool
	}{
		"known by heart":          {out.Network, run.Data.Train, Auto, false},
		"said all the same":       {out.Network, run.Data.Train, On, true},
		"not known":               {n, run.Data.Train, Auto, true},
		"no samples to decide by": {out.Network, nil, Auto, true},
	} {
		run := fast(n)
		run.Data.Validation, run.Training.FindRate = tt.validation, true
		w, err := run.open(tt.network)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.reconstructsClusters(tt.choice)
		if err != nil || got != tt.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
		if noted := slices.ContainsFunc(w.notes, func(note string) bool { return strings.Contains(note, "by heart") }); noted == tt.want || noted != (len(w.once) == 1) {
			t.Errorf("%s: notes %q", name, w.notes)
		}
	}
}

// What deciding a layer's weights takes goes with the cube of the inputs of each part, by output where outputs keep different ones.
func TestWorkOfDecidingALayer(t *testing.T) {
	l := &reconstruct.Layer{Weight: 1, Outputs: 6, Groups: 1, Taps: 20}
	l.Split(10) // two parts of 10
	dense, sparse := &Work{}, &Work{Tensors: map[int]*weight.Tensor{1: {Mask: []uint8{1}}}}
	for name, c := range map[string]struct{ got, want float64 }{
		"zeros":                   {pruning(l), 2 * 1000 * 6 / 4},
		"channels":                {cutting(l), 2 * 1000 * 6 / 24},
		"codes":                   {dense.clustering(l), 2*1000 + 10*clusterRounds*2*100*6},
		"codes of what has zeros": {sparse.clustering(l), 2 * 1000 * 6 * (clusterRounds + 1) / 6},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}
