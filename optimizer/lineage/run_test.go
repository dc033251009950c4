package lineage

import (
	"context"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

func TestSharesOfZeros(t *testing.T) {
	for _, c := range []struct {
		mask []uint8
		want float64
	}{{nil, 0}, {[]uint8{1, 1}, 0}, {[]uint8{0, 1, 0, 0}, 0.75}} {
		if got := sparsity(c.mask); got != c.want {
			t.Errorf("%v: %v, want %v", c.mask, got, c.want)
		}
	}
}

// The first leaf is of the network itself, but where weights are held to something: then of what is held.
func TestBaselinesOfNetworksThatAreHeldToSomething(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	out, err := untrained(n).Baseline(context.Background(), n)
	if err != nil || out.Network != n || len(out.Warnings) > 0 {
		t.Fatalf("another network %t, warnings %q, %v", out.Network != n, out.Warnings, err)
	}
	clustered, err := untrained(n).Apply(context.Background(), n, eight)
	if err != nil {
		t.Fatal(err)
	}
	m := clustered.Network.Model().Clone()
	k := clustered.Network.Kernels()[1]
	values, err := m.Float32s(m.Subgraph().Tensors[k.Tensor])
	if err != nil {
		t.Fatal(err)
	}
	distinct := func(row []float32) int { return len(slices.Compact(slices.Sorted(slices.Values(row)))) }
	had := distinct(values[:k.Shape[1]])
	values[3] += 1e-7 // as another tool may round
	m.SetData(m.Subgraph().Tensors[k.Tensor], tflite.Float32Bytes(values))
	m.DeleteMetadata(weight.MetadataName)
	near := read(t, m)
	out, err = untrained(n).Baseline(context.Background(), near)
	if err != nil {
		t.Fatal(err)
	}
	if distinct(values[:k.Shape[1]]) != had+1 {
		t.Fatal("the value that is another was the only one of its code")
	}
	if got, err := out.Network.model.Float32s(out.Network.model.Subgraph().Tensors[k.Tensor]); err != nil || distinct(got[:k.Shape[1]]) != had {
		t.Errorf("the leaf is not of the %d codes that the weights are held to: %v", had, err)
	}
}

func TestBaselinesWarnOfNumbersThatInt8HardlySees(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("y", b.Input("x", 1, 2), tflitetest.Weights(1, 8), nil, 4, tflitetest.None))
	n := read(t, b.Model())
	r := untrained(n)
	m := unlabelled{&memory{shape: []int{2}, classes: 1, x: [][]float32{{1000, 0}, {-1000, 1}}}}
	r.Data = &dataset.Dataset{Train: m, Test: m}
	out, err := r.Baseline(context.Background(), n)
	if err != nil || len(out.Warnings) != 1 || !strings.HasPrefix(out.Warnings[0], `input "x" goes from -1000 to 1000`) {
		t.Errorf("%q, %v", out.Warnings, err)
	}
}

// Codes that are few enough stay, and more are chosen anew; leaves do not count as few what has another scope.
func TestClustersThatAreFewEnoughStay(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := untrained(n)
	made, err := run.Apply(context.Background(), n, eight)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		again Cluster
		stay  bool
	}{
		"as many":         {eight, true},
		"more":            {Cluster{Options: cluster.Options{Clusters: 9, Entropy: 1}}, true},
		"fewer":           {Cluster{Options: cluster.Options{Clusters: 7, Entropy: 1}}, false},
		"fewer, measured": {Cluster{Options: cluster.Options{Clusters: 7, Entropy: 1}, Measure: true, Reconstruct: On}, false},
	} {
		out, err := run.Apply(context.Background(), made.Network, c.again)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range n.Kernels() {
			said := slices.ContainsFunc(out.Notes, func(note string) bool {
				return strings.HasPrefix(note, "weights \""+k.Name+"\" are clustered already, 8 codes, and stay as they are")
			})
			was, is := made.Network.States()[k.Tensor], out.Network.States()[k.Tensor]
			if said != c.stay || (is.Clusters == was.Clusters) != c.stay || is.Clusters > c.again.Clusters {
				t.Errorf("%s: %q has %d codes, had %d; notes %q", name, k.Name, is.Clusters, was.Clusters, out.Notes)
			}
		}
	}
	if made.Network.States()[n.Kernels()[0].Tensor].Clusters != 8 {
		t.Fatal("there are fewer codes from the start")
	}
	single := untrained(n)
	single.Leaf.PerTensorDense = true
	out, err := single.Apply(context.Background(), made.Network, eight)
	if err != nil {
		t.Fatal(err)
	}
	if s := out.Network.States()[n.Kernels()[1].Tensor]; len(s.Scale) != 1 || s.Clusters > 8 {
		t.Errorf("the dense layer has %d scales and %d codes", len(s.Scale), s.Clusters)
	}
}

// A pattern that rows do not divide into is warned of, for the weights that have such rows.
func TestPatternsThatRowsDoNotDivideInto(t *testing.T) {
	n := read(t, networks()["dense layers only"]) // rows of 72 and 6
	out, err := untrained(n).Apply(context.Background(), n, Prune{Options: prune.Options{Pattern: prune.Pattern{Zeros: 2, Of: 4}, Schedule: half.Schedule}})
	if err != nil || len(out.Warnings) != 1 || !strings.HasPrefix(out.Warnings[0], `weights "dense/kernel": rows of 6 are no multiple of 4`) {
		t.Errorf("warnings %q, %v", out.Warnings, err)
	}
}

// Integers of an int8 network are where its training starts, and what its leaf has after a technique that changes nothing.
func TestQuantizeStartsFromGivenIntegers(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	for name, single := range map[string]bool{"a scale a channel": false, "one scale": true} {
		first := fast(float)
		first.Leaf.PerTensorDense = single
		out, err := first.Baseline(context.Background(), float)
		if err != nil {
			t.Fatal(err)
		}
		coarse := out.Leaf.Clone() // codes that leave part of the range unused, which another choice of scales would not
		for _, k := range weight.Kernels(coarse) {
			tensor := coarse.Subgraph().Tensors[k.Tensor]
			codes := slices.Clone(coarse.Data(tensor))
			for i, code := range codes {
				codes[i] = uint8(int8(code) / 2)
			}
			coarse.SetData(tensor, codes)
		}
		n := read(t, coarse)
		for _, technique := range []Technique{qat, Prune{}} {
			for _, reconstruct := range []bool{false, true} {
				run := untrained(n)
				run.Leaf.PerTensorDense, run.Leaf.Reconstruct = single, reconstruct
				made, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatal(err)
				}
				for i, k := range weight.Kernels(made.Leaf) {
					given, now := coarse.Subgraph().Tensors[weight.Kernels(coarse)[i].Tensor], made.Leaf.Subgraph().Tensors[k.Tensor]
					if !slices.Equal(given.Quantization.Scale, now.Quantization.Scale) {
						t.Errorf("%s, %s, reconstructed %t: %q has other scales", name, technique, reconstruct, k.Name)
					}
					if !reconstruct && !slices.Equal(coarse.Data(given), made.Leaf.Data(now)) {
						t.Errorf("%s, %s: %q has other integers", name, technique, k.Name)
					}
				}
			}
		}
	}
}

// Notes are of what was done, in stages too: ranges that were searched, and none where they were not.
func TestNotesOfSearchedRanges(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	for _, method := range []quantize.Method{quantize.MinMax, quantize.OutputError} {
		run := untrained(n)
		run.Leaf.Calibration.Method = method
		for _, technique := range []Technique{qat, half} {
			out, err := run.Apply(context.Background(), n, technique)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(out.Notes, "") || slices.Contains(out.Notes, "the leaf's ") {
				t.Errorf("%s, %s: a note says nothing: %q", method, technique, out.Notes)
			}
			said := slices.ContainsFunc(out.Notes, func(note string) bool { return strings.Contains(note, "ranges") })
			if said != (method == quantize.OutputError) {
				t.Errorf("%s, %s: notes %q", method, technique, out.Notes)
			}
		}
	}
}
