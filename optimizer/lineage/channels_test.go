package lineage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

var (
	narrow  = Channels{Options: channel.Options{Share: 0.5}}
	refit   = Channels{Options: channel.Options{Share: 0.5}, Reconstruct: true}
	quarter = Channels{Options: channel.Options{Share: 0.25}, Reconstruct: true}
)

// Channels are taken out before and after whatever else is done, of any network: what weights are held to stays with what is left of them.
func TestChannelsGoInAnyOrder(t *testing.T) {
	orders := [][]Technique{
		{narrow, half, eight, qat}, {refit, eight, half, qat}, {half, eight, quarter, qat}, {eight, refit, half}, {half, narrow, quarter, qat},
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
			if _, ok := technique.(Channels); ok && strings.Contains(err.Error(), "no channels can be cut") {
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
	n := quantized8(t, read(t, networks()["convolution and dense"]), true)
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
		if !slices.Equal(scales(was.Quantization.Scale, k.Axis, cuts), now.Quantization.Scale) {
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
	noise := map[bool]float64{}
	for _, technique := range []Channels{narrow, refit} {
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Fatal(err)
		}
		noise[technique.Reconstruct] = distance(t, run, n, out.Network)
	}
	if noise[true] > 0.8*noise[false] {
		t.Errorf("outputs are %.3g off with refitting, %.3f without", noise[true], noise[false])
	}
}
