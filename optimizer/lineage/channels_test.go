package lineage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/reconstruct"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

var (
	narrow  = Channels{Options: channel.Options{Share: 0.5}}
	refit   = Channels{Options: channel.Options{Share: 0.5}, Reconstruct: On}
	quarter = Channels{Options: channel.Options{Share: 0.25}, Reconstruct: On}
	budget  = Channels{Options: channel.Options{Multiplications: 0.7}, Reconstruct: On}
)

// Channels are taken out before and after whatever else is done, of any network: what weights are held to stays with what is left of them.
func TestChannelsGoInAnyOrder(t *testing.T) {
	orders := [][]Technique{
		{narrow, half, eight, qat}, {refit, eight, half, qat}, {half, eight, quarter, qat}, {eight, refit, half}, {half, narrow, quarter, qat}, {budget, eight, qat},
	}
	for name, m := range networks() {
		for _, given := range []string{"float", "int8"} {
			t.Run(name+"/"+given, func(t *testing.T) {
				n := read(t, m)
				if given == "int8" {
					n = quantized8(t, n, true)
				}
				for i, order := range orders {
					run := fast(n)
					switch i {
					case 1:
						run.Leaf.Activations = Activations16
					case 2:
						run.Leaf.Weights = Weights4
					}
					walkChannels(t, run, n, order)
				}
			})
		}
	}
}

func walkChannels(t *testing.T, run *Run, n *Network, order []Technique) {
	t.Helper()
	done := ""
	for _, technique := range order {
		done = strings.TrimPrefix(fmt.Sprintf("%s → %s", done, technique), " → ")
		if err := technique.Check(n); err != nil {
			if _, ok := technique.(Channels); ok && (strings.Contains(err.Error(), "no channels can be cut") || strings.Contains(err.Error(), "ask for at least")) {
				continue
			}
			t.Fatalf("%s: %v", done, err)
		}
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Errorf("%s: %v", done, err)
			return
		}
		if _, cuts := technique.(Channels); cuts {
			for at, state := range n.States() {
				now, kept := out.Network.States()[at]
				if !kept || state.Mask != nil && now.Mask == nil || now.Clusters > state.Clusters {
					t.Errorf("%s: weights %d were held to %d zeros and %d clusters, now to %d and %d", done, at, state.Pruned(), state.Clusters, now.Pruned(), now.Clusters)
				}
			}
			smaller(t, done, n, out)
		}
		n = out.Network
		if !n.Final() {
			if n, err = n.Next(stored(t, n.Model())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// smaller checks that some weights of a leaf lost channels, and inputs and outputs none.
func smaller(t *testing.T, done string, before *Network, out *Outcome) {
	t.Helper()
	less := false
	for i, k := range out.Network.Kernels() {
		less = less || numelOf(k.Shape) < numelOf(before.Kernels()[i].Shape)
	}
	if !less {
		t.Errorf("%s: no weights lost channels", done)
	}
	if !slices.ContainsFunc(out.Notes, func(note string) bool { return strings.HasPrefix(note, "multiplications: ") }) {
		t.Errorf("%s: the notes %q do not say how many multiplications are left", done, out.Notes)
	}
	shapes := func(m *tflite.Model) (list [][]int32) {
		g := m.Subgraph()
		for _, at := range slices.Concat(g.Inputs, g.Outputs) {
			list = append(list, g.Tensors[at].Shape)
		}
		return list
	}
	if diff := cmp.Diff(shapes(before.Given()), shapes(out.Leaf)); diff != "" {
		t.Errorf("%s: inputs or outputs of the leaf are others:\n%s", done, diff)
	}
}

// An int8 network keeps the integers and scales of the channels that are left.
func TestChannelsKeepIntegers(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	single := fast(float)
	single.Leaf.Target = device(t, "stm32mp2") // takes one scale
	leaf, err := single.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Network{quantized8(t, float, true), read(t, leaf.Leaf)} {
		keepIntegers(t, n)
	}
}

func keepIntegers(t *testing.T, n *Network) {
	t.Helper()
	out, err := untrained(n).Apply(context.Background(), n, narrow)
	if err != nil {
		t.Fatal(err)
	}
	given := n.Given()
	byName := map[string]int{}
	for i, tensor := range out.Leaf.Subgraph().Tensors {
		byName[tensor.Name] = i
	}
	for _, k := range weight.Kernels(given) {
		cuts := out.Network.cuts[slices.IndexFunc(out.Network.model.Subgraph().Tensors, func(has *schema.TensorT) bool { return has.Name == k.Name })]
		if len(cuts) == 0 {
			t.Errorf("weights %q lost no channels", k.Name)
		}
		was, now := given.Subgraph().Tensors[k.Tensor], out.Leaf.Subgraph().Tensors[byName[k.Name]]
		if !slices.Equal(channel.Values(given.Data(was), k.Shape, cuts), out.Leaf.Data(now)) {
			t.Errorf("weights %q have other integers", k.Name)
		}
		want := was.Quantization.Scale
		if len(want) > 1 {
			want = scales(want, k.Axis, cuts)
		}
		if !slices.Equal(want, now.Quantization.Scale) {
			t.Errorf("weights %q have other scales", k.Name)
		}
	}
}

// A network that lost channels is of its lineage only with the record of them.
func TestChannelsAreRecorded(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := fast(n)
	out, err := run.Apply(context.Background(), n, narrow)
	if err != nil {
		t.Fatal(err)
	}
	m := stored(t, out.Network.Model())
	m.DeleteMetadata(channel.MetadataName)
	if _, err := n.Next(m); err == nil || !strings.Contains(err.Error(), "in the network it should be made from") {
		t.Errorf("without the record: got %v", err)
	}
	other := read(t, networks()["dense layers only"])
	if _, err := other.Next(stored(t, out.Network.Model())); err == nil {
		t.Error("a network of another lineage is taken")
	}
	again := read(t, out.Network.Model()) // the first of a lineage of its own
	if _, err := again.Next(stored(t, again.Model())); err != nil {
		t.Error(err)
	}
	if _, has := out.Leaf.Metadata(channel.MetadataName); has {
		t.Error("the leaf has the record of channels")
	}
}

// Refitting makes up for much of what the channels gave.
func TestRefittedLayersAreNearerToWhatTheyGave(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := untrained(n)
	noise := map[Reconstruction]float64{}
	for _, technique := range []Channels{narrow, refit} {
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Fatal(err)
		}
		noise[technique.Reconstruct] = distance(t, run, n, out.Network)
		if held := out.Network.States(); len(held) > 0 {
			t.Errorf("what is left is held to %v", held)
		}
	}
	if noise[On] > 0.1*noise[Off] {
		t.Errorf("outputs are %.3g off with refitting, %.3f without", noise[On], noise[Off])
	}
}

// What is left of clustered and pruned weights has the values that it had, with the scales, codes and zeros of the channels that are left.
func TestChannelsKeepCodesOfEveryScope(t *testing.T) {
	for _, c := range []struct {
		scope        weight.Scope
		scales, sets bool // one an output channel
	}{{weight.Shared, true, false}, {weight.PerTensor, false, false}, {weight.PerChannel, true, true}} {
		t.Run(string(c.scope), func(t *testing.T) {
			n := read(t, networks()["convolution and dense"])
			run := untrained(n)
			run.Leaf.PerTensorDense = c.scope == weight.PerTensor
			for _, technique := range []Technique{half, Cluster{Options: cluster.Options{Clusters: 6, Scope: c.scope}}} {
				out, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatal(err)
				}
				n = out.Network
			}
			out, err := run.Apply(context.Background(), n, narrow)
			if err != nil {
				t.Fatal(err)
			}
			count := func(many bool, k weight.Kernel) int {
				if many {
					return k.Shape[k.Axis]
				}
				return 1
			}
			for i, k := range out.Network.Kernels() {
				was, state, cuts := n.States()[k.Tensor], out.Network.States()[k.Tensor], out.Network.cuts[k.Tensor]
				values := func(n *Network) []float32 {
					v, err := n.model.Float32s(n.model.Subgraph().Tensors[k.Tensor])
					if err != nil {
						t.Fatal(err)
					}
					return v
				}
				whole := n.Kernels()[i].Shape
				if !slices.Equal(values(out.Network), channel.Values(values(n), whole, cuts)) {
					t.Errorf("weights %q have other values", k.Name)
				}
				if !slices.Equal(state.Shape, k.Shape) || !slices.Equal(state.Mask, channel.Values(was.Mask, whole, cuts)) {
					t.Errorf("weights %q of %v are held to zeros of %v", k.Name, k.Shape, state.Shape)
				}
				if len(state.Scale) != count(c.scales, k) || len(state.CodeSets) != count(c.sets, k) {
					t.Errorf("weights %q of %v have %d scales and %d sets of codes", k.Name, k.Shape, len(state.Scale), len(state.CodeSets))
				}
			}
		})
	}
}

// No more multiplications are left than are asked for, however channels are judged, and the same ones go again.
func TestChannelsForAShareOfTheMultiplications(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	before, err := multiplications(n.model)
	if err != nil {
		t.Fatal(err)
	}
	for _, reconstruct := range []Reconstruction{On, Off} {
		technique := Channels{Options: channel.Options{Multiplications: 0.5}, Reconstruct: reconstruct}
		var first []byte
		for range 2 {
			out, err := untrained(n).Apply(context.Background(), n, technique)
			if err != nil {
				t.Fatal(err)
			}
			after, err := multiplications(out.Network.model)
			if err != nil {
				t.Fatal(err)
			}
			if after > before/2 || after < before/4 {
				t.Errorf("%d of %d multiplications are left", after, before)
			}
			leaf, err := out.Leaf.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = leaf
			} else if !bytes.Equal(first, leaf) {
				t.Error("the leaf is another the second time")
			}
		}
	}
	few := Channels{Options: channel.Options{Multiplications: 0.001}}
	if err := few.Check(n); err == nil || !strings.Contains(err.Error(), "ask for at least") {
		t.Errorf("fewer multiplications than any channels leave: %v", err)
	}
}

func TestNotesOfCutChannels(t *testing.T) {
	n := read(t, image(gauss(1, 8*9*2, 0.3), func(b *tflitetest.Builder, x int32) int32 {
		return b.Conv("second", x, gauss(4, 64, 0.4), gauss(5, 8, 0.1), 8, 1, 1, 1, schema.PaddingSAME, tflitetest.ReLU)
	}))
	quarter := channel.Options{Share: 0.25, Rules: []channel.Rule{{Layers: "first*", Skip: true}}}
	out, err := untrained(n).Apply(context.Background(), n, Channels{Options: quarter})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`weights "second/kernel": [8 1 1 8], now [6 1 1 8]`,
		`weights "dense/kernel": [4 128], now [4 96]`,
		"multiplications: 3840, now 3456 (90.0 %)", // 16 pixels by 8·18 and 8·8 or 6·8, and 4·128 or 4·96
	}
	at := slices.Index(out.Notes, want[0])
	if at < 0 || len(out.Notes) < at+len(want) {
		t.Fatalf("notes %q", out.Notes)
	}
	if d := cmp.Diff(want, out.Notes[at:at+len(want)]); d != "" || strings.Contains(out.Notes[at-1], "now") {
		t.Errorf("%s, after %q", d, out.Notes[at-1])
	}
}

// Of inputs that do not go together, a weight costs its square times its input's, beside the squares of the outputs.
func TestCostsOfChannelsByHand(t *testing.T) {
	kernel, squares := []float32{1, -0.5, 0.25, 2, 0.1, -3}, []float64{4, 1, 9} // two outputs of three channels
	b := tflitetest.New()
	y := b.Dense("hidden", b.Input("x", 1, 3), []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}, nil, 3, tflitetest.ReLU)
	b.Output(b.Dense("dense", y, kernel, nil, 2, tflitetest.None))
	n := read(t, b.Model())
	m := &memory{shape: []int{3}, classes: 1}
	for i, square := range squares { // a third of the samples each
		x := make([]float32, 3)
		x[i] = float32(math.Sqrt(3 * square))
		m.x = append(m.x, x)
	}
	r := untrained(n)
	r.Data = &dataset.Dataset{Train: unlabelled{m}, Test: unlabelled{m}}
	w, s := noted(t, r, n)
	got, err := w.costs(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	energy, damping := 0.0, reconstruct.Damping*(4+1+9)/3
	want := make([]float64, 3)
	for i, v := range kernel {
		square := float64(v) * float64(v)
		energy += square * squares[i%3]
		want[i%3] += square * (squares[i%3] + damping)
	}
	for i, unit := range s.Groups[0].Units {
		if is := got[unit]; math.Abs(is-want[i]/energy) > 1e-4 {
			t.Errorf("channel %d costs %.5f, want %.5f", i, is, want[i]/energy)
		}
	}
	if !slices.Equal(w.notes, []string{"said before"}) {
		t.Errorf("looking leaves notes: %q", w.notes)
	}
}

// noted is work on a network that something was said of before, and how its channels hang together.
func noted(t *testing.T, r *Run, n *Network) (*Work, *channel.Structure) {
	t.Helper()
	if err := r.describe(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	w, err := r.open(n)
	if err != nil {
		t.Fatal(err)
	}
	w.Note("said before")
	s, err := channel.Couple(n.model)
	if err != nil {
		t.Fatal(err)
	}
	return w, s
}

// Of two channels that are alike either is missed little, and one very much once the other is gone. Nothing of the network changes.
func TestLossesAreThoseOfChannelsThatAreLeft(t *testing.T) {
	b := tflitetest.New()
	filters := gauss(1, 4*9*2, 0.4)
	copy(filters[18:36], filters[:18])
	y := b.Conv("first", b.Input("x", 1, 4, 4, 2), filters, []float32{0.1, 0.1, -0.2, 0}, 4, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = b.Conv("second", y, gauss(4, 5*4, 0.4), gauss(5, 5, 0.1), 5, 1, 1, 1, schema.PaddingSAME, tflitetest.ReLU)
	b.Output(b.Dense("dense", b.Flatten("flat", y), gauss(6, 4*80, 0.3), gauss(7, 4, 0.1), 4, tflitetest.None))
	n := read(t, b.Model())
	r := untrained(n)
	w, s := noted(t, r, n)
	slopes, err := w.sensitivity(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	parameters := func() (all []float32) {
		for _, p := range w.net.Params {
			all = append(all, p.Value...)
		}
		return all
	}
	before, tensors := parameters(), maps.Clone(w.Tensors)
	units := s.Groups[0].Units
	losses := func(removed map[int]bool) map[int]float64 {
		all, err := w.losses(context.Background(), s, s.Of(removed), slopes)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	with, without := losses(nil), losses(map[int]bool{units[1]: true})
	if with[units[0]] > 0.1*with[units[2]] || without[units[0]] < 10*with[units[0]] || without[units[1]] != 0 {
		t.Errorf("channels %v lose %v, and without the second %v", units, with, without)
	}
	for _, unit := range s.Groups[1].Units {
		if with[unit] <= 0 {
			t.Errorf("losses %v are none for unit %d", with, unit)
		}
	}
	if !slices.Equal(before, parameters()) || !maps.Equal(tensors, w.Tensors) || !slices.Equal(w.notes, []string{"said before"}) {
		t.Errorf("looking changes the network, or says %q", w.notes)
	}
}

func TestBiasesAreFoundBesideTheirWeights(t *testing.T) {
	b := tflitetest.New()
	w := b.Const("both/kernel", gauss(4, 8, 0.6), 1, 1, 1, 8)
	x := b.Input("x", 1, 4, 4, 8)
	y := b.Op("plus", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), x, w) // reads them too, first
	y = b.Op("both", schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions,
		&schema.DepthwiseConv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DepthMultiplier: 1, DilationWFactor: 1, DilationHFactor: 1}, b.Shape(x), y, w, b.Const("both/bias", gauss(1, 8, 1), 8))
	y = b.Conv("without", y, gauss(5, 64, 0.3), nil, 8, 1, 1, 1, schema.PaddingSAME, tflitetest.None)
	b.Output(b.Dense("dense", b.Flatten("flat", y), gauss(6, 4*128, 0.1), gauss(7, 4, 0.1), 4, tflitetest.None))
	g, err := ir.Parse(b.Model(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for kernel, want := range map[string]string{"both/kernel": "both/bias", "without/kernel": "", "dense/kernel": "dense/bias"} {
		got, at := "", biasOf(g, slices.IndexFunc(g.Tensors, func(t ir.Tensor) bool { return t.Name == kernel }))
		if at >= 0 {
			got = g.Tensors[at].Name
		}
		if got != want {
			t.Errorf("beside %q lies %q, want %q", kernel, got, want)
		}
	}
}
