package lineage

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

func fast(n *Network) *Run {
	config := train.DefaultConfig()
	config.Epochs, config.BatchSize, config.LearningRate, config.Distillation.Weight = 1, 16, 1e-3, 0
	return &Run{Data: data(n), Training: config}
}

var (
	half  = Prune{Options: prune.Options{Sparsity: 0.5, Schedule: prune.Schedule{Kind: prune.Constant}}}
	eight = Cluster{Options: cluster.Options{Clusters: 8, Entropy: 1}}
	four  = Cluster{Options: cluster.Options{Clusters: 4, Entropy: 1}}
	qat   = Quantize{}
)

// Whatever the order, no technique undoes the ones before it, on any network.
func TestEveryOrderOfTechniquesKeepsWhatItFinds(t *testing.T) {
	orders := [][]Technique{
		{half, qat}, {eight, qat}, {half, eight, qat}, {eight, half, qat}, {half, half, four, qat}, {eight, four, half, qat}, {qat},
	}
	for name, m := range networks() {
		for _, given := range []string{"float", "int8", "int8 with float inputs"} {
			t.Run(name+"/"+given, func(t *testing.T) {
				n := read(t, m)
				if given != "float" {
					n = quantized8(t, n, given == "int8")
				}
				for _, order := range orders {
					walkOrder(t, n, order)
				}
			})
		}
	}
}

// quantized8 is the lineage that starts at a network's own leaf.
func quantized8(t *testing.T, n *Network, int8 bool) *Network {
	t.Helper()
	run := fast(n)
	run.Leaf.IO = Float32
	if int8 {
		run.Leaf.IO = Int8
	}
	out, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, out.Leaf)
}

func walkOrder(t *testing.T, n *Network, order []Technique) {
	t.Helper()
	run := fast(n)
	done := ""
	for _, technique := range order {
		done = strings.TrimPrefix(fmt.Sprintf("%s → %s", done, technique.Kind().Name), " → ")
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Errorf("%s: %v", done, err)
			return
		}
		for at, state := range n.States() {
			now, kept := out.Network.States()[at]
			if !kept || now.Pruned() < state.Pruned() || state.Clustered() && now.Clusters > max(state.Clusters, 2) {
				t.Errorf("%s: weights %d had %d zeros and %d clusters, now %d and %d", done, at, state.Pruned(), state.Clusters, now.Pruned(), now.Clusters)
			}
		}
		n = out.Network
		if !n.Final() { // as the next stage finds it
			if n, err = n.Next(stored(t, n.Model())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func stored(t *testing.T, m *tflite.Model) *tflite.Model {
	t.Helper()
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := tflite.Read(content)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// What a technique does not change, an int8 network keeps: integers, scales, ranges.
func TestAnInt8NetworkKeepsItsIntegers(t *testing.T) {
	for name, m := range networks() {
		for _, int8 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/int8 inputs %v", name, int8), func(t *testing.T) {
				n := quantized8(t, read(t, m), int8)
				run := fast(n)
				run.Training.Epochs = 0
				out, err := run.Apply(context.Background(), n, Prune{})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(contents(n.Given()), contents(out.Leaf)); diff != "" {
					t.Errorf("a prune that adds no zeros makes another leaf:\n%s", diff)
				}
			})
		}
	}
}

// contents lists the tensors of a leaf, whatever their order, with types, quantizations and digests of their data.
func contents(m *tflite.Model) []string {
	var list []string
	for _, t := range m.Subgraph().Tensors {
		q := t.Quantization
		text := fmt.Sprintf("%s %s %v %x", t.Name, t.Type, t.Shape, sha256.Sum256(m.Data(t)))
		if q != nil {
			text += fmt.Sprintf(" %v %v %d", q.Scale, q.ZeroPoint, q.QuantizedDimension)
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func TestClustersCountOnlyWhereTheLineageMadeThem(t *testing.T) {
	found := func(n *Network) (counting, found int) {
		for _, s := range n.States() {
			switch {
			case s.Clustered() && s.Found:
				found++
			case s.Clustered():
				counting++
			}
		}
		return counting, found
	}
	constant := networks()["a 1x1 depthwise kernel"]
	for _, k := range weight.Kernels(constant) {
		if strings.HasPrefix(k.Name, "scale") {
			tensor := constant.Subgraph().Tensors[k.Tensor]
			constant.SetData(tensor, tflite.Float32Bytes([]float32{1, 1, 1, 1, 1, 1, 1, 1}))
		}
	}
	for name, tc := range map[string]struct {
		model           *tflite.Model
		counting, found int
	}{
		"no weights repeat":                  {networks()["a 1x1 depthwise kernel"], 0, 0},
		"a constant kernel among others":     {constant, 0, 1},
		"ternary weights in a smaller layer": {networks()["ternary weights"], 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := read(t, tc.model)
			if counting, found := found(n); counting != tc.counting || found != tc.found {
				t.Errorf("as read, %d clustered tensors count and %d do not; want %d, %d", counting, found, tc.counting, tc.found)
			}
			run := fast(n)
			pruned, err := run.Apply(context.Background(), n, half)
			if err != nil {
				t.Fatal(err)
			}
			if counting, found := found(pruned.Network); counting != tc.counting || found != tc.found {
				t.Errorf("pruned, %d count and %d do not; want %d, %d", counting, found, tc.counting, tc.found)
			}
			clustered, err := run.Apply(context.Background(), pruned.Network, eight)
			if err != nil {
				t.Fatal(err)
			}
			if counting, _ := found(clustered.Network); counting != 2 {
				t.Errorf("clustered, %d tensors count; want 2", counting)
			}
		})
	}
}

func TestAStoredModelOfAnotherLineageIsRefused(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	if _, err := n.Next(networks()["one channel"]); err == nil {
		t.Error("a model of another network was taken for the next of this one")
	}
}
