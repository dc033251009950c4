package lineage

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// What is asked of leaves holds for the baseline's and for those of every technique, whatever the network came as.
func TestLeafOptionsHoldForEveryLeaf(t *testing.T) {
	m := networks()["convolution and dense"]
	float := read(t, m)
	for name, n := range map[string]*Network{"float": float, "int8": quantized8(t, float, true)} {
		for _, io := range []IO{Int8, Float32} {
			run := fast(n)
			run.Leaf = LeafOptions{IO: io, KeepFloat: []string{"dense*"}, PerTensorDense: true}
			leaves := map[string]*tflite.Model{}
			out, err := run.Baseline(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			leaves["baseline"] = out.Leaf
			for _, technique := range []Technique{half, eight, qat} {
				made, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatalf("%s: %v", technique.Kind().Name, err)
				}
				leaves[technique.Kind().Name] = made.Leaf
			}
			for leaf, m := range leaves {
				want := schema.TensorTypeINT8
				if io == Float32 {
					want = schema.TensorTypeFLOAT32
				}
				g := m.Subgraph()
				for _, at := range append(append([]int32{}, g.Inputs...), g.Outputs...) {
					if got := g.Tensors[at].Type; got != want {
						t.Errorf("%s, leaf of %s: %q is %s, want %s", name, leaf, g.Tensors[at].Name, got, want)
					}
				}
				if got := computes(t, m, schema.BuiltinOperatorFULLY_CONNECTED); got != schema.TensorTypeFLOAT32 {
					t.Errorf("%s, leaf of %s: the layer to keep float gives %s", name, leaf, got)
				}
				if got := computes(t, m, schema.BuiltinOperatorCONV_2D); got != schema.TensorTypeINT8 {
					t.Errorf("%s, leaf of %s: the other layer gives %s", name, leaf, got)
				}
			}
		}
	}
}

// Dense layers have one scale in every leaf that is asked to, whatever the network came as and went through.
func TestPerTensorDenseHoldsAfterEveryTechnique(t *testing.T) {
	m := networks()["convolution and dense"]
	float := read(t, m)
	int8 := quantized8(t, float, true)
	clustered, err := fast(int8).Apply(context.Background(), int8, eight)
	if err != nil {
		t.Fatal(err)
	}
	foreign := read(t, clustered.Leaf) // int8 and clustered with a scale a channel, found as such in the file
	for name, n := range map[string]*Network{"float": float, "int8": int8, "int8 and clustered": foreign} {
		for _, order := range [][]Technique{{half}, {eight}, {qat}, {half, eight, qat}, {eight, half, qat}} {
			run, at := fast(n), n
			run.Leaf.PerTensorDense = true
			for _, technique := range order {
				out, err := run.Apply(context.Background(), at, technique)
				if name == "int8 and clustered" && order[0].Kind().Name != "cluster" {
					if err == nil || !strings.Contains(err.Error(), "dense/kernel") || !strings.Contains(err.Error(), "scope Tensor") {
						t.Errorf("%s, %s: got %v, want what to do about the scales", name, technique, err)
					}
					break
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, technique, err)
				}
				at = out.Network
				if got := denseScales(t, out.Leaf); got != 1 {
					t.Errorf("%s, leaf of %s among %v: %d scales", name, technique, order, got)
				}
			}
		}
	}
	run := fast(float)
	run.Leaf.PerTensorDense = true
	channel := eight
	channel.Scope = weight.PerChannel
	if _, err := run.Apply(context.Background(), float, channel); err == nil || !strings.Contains(err.Error(), "scope Tensor") {
		t.Errorf("scope Channel: got %v", err)
	}
}

// denseScales is the number of scales that the kernel of the one dense layer has.
func denseScales(t *testing.T, m *tflite.Model) int {
	t.Helper()
	g := m.Subgraph()
	for _, op := range g.Operators {
		if m.OperatorCodes[op.OpcodeIndex].BuiltinCode == schema.BuiltinOperatorFULLY_CONNECTED {
			return len(g.Tensors[op.Inputs[1]].Quantization.Scale)
		}
	}
	t.Fatal("no dense layer in the leaf")
	return 0
}

// computes is the type of what the one operator of a kind gives.
func computes(t *testing.T, m *tflite.Model, kind schema.BuiltinOperator) schema.TensorType {
	t.Helper()
	g := m.Subgraph()
	for _, op := range g.Operators {
		if m.OperatorCodes[op.OpcodeIndex].BuiltinCode == kind {
			return g.Tensors[op.Outputs[0]].Type
		}
	}
	t.Fatalf("no %s in the leaf", kind)
	return 0
}

// On any network leaves whose ranges are searched pass their checks, alone and with all else that needs no training, and say what was gained; an int8
// original keeps its ranges.
func TestLeavesWithSearchedRanges(t *testing.T) {
	for name, m := range networks() {
		for _, all := range []bool{false, true} {
			n := read(t, m)
			run := untrained(n)
			run.Leaf = LeafOptions{Calibration: quantize.Calibration{Method: quantize.OutputError}, Equalize: &all, Reconstruct: all}
			ranges := 0
			run.Progress = func(p train.Progress) {
				if ranges = max(ranges, p.Ranges); p.Accuracy >= 0 {
					t.Errorf("%s: accuracy %v, which nothing measures", name, p.Accuracy)
				}
			}
			out, err := run.Apply(context.Background(), n, half)
			if err != nil {
				t.Fatalf("%s, with all %t: %v", name, all, err)
			}
			said := slices.ContainsFunc(out.Notes, func(note string) bool {
				return strings.HasPrefix(note, "the leaf's activation ranges were chosen by the error of the outputs")
			})
			if !said || ranges == 0 {
				t.Errorf("%s, with all %t: %d ranges, notes %q", name, all, ranges, out.Notes)
			}
			run.Leaf.Equalize, run.Leaf.Reconstruct = nil, false
			if _, err = run.Apply(context.Background(), quantized8(t, n, true), half); err != nil {
				t.Fatalf("%s in int8: %v", name, err)
			}
		}
	}
}

// An int8 original is the leaf that options ask for where they ask for nothing that it is not.
func TestInt8OriginalsThatAreTheLeaf(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	device := device(t, "stm32mp2") // takes one scale
	single := fast(float)
	single.Leaf.Target = device
	out, err := single.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	one, many := read(t, out.Leaf), quantized8(t, float, true)
	for name, c := range map[string]struct {
		network *Network
		options LeafOptions
		want    bool
	}{
		"nothing":                       {many, LeafOptions{}, true},
		"what it is":                    {many, LeafOptions{IO: Int8, Activations: Activations8, Weights: Weights8}, true},
		"float inputs":                  {many, LeafOptions{IO: Float32}, false},
		"float inputs that it has":      {quantized8(t, float, false), LeafOptions{IO: Float32}, true},
		"int8 instead of float inputs":  {quantized8(t, float, false), LeafOptions{IO: Int8}, false},
		"wider activations":             {many, LeafOptions{Activations: Activations16}, false},
		"narrower weights":              {many, LeafOptions{Weights: Weights4}, false},
		"a layer in float":              {many, LeafOptions{KeepFloat: []string{"dense*"}}, false},
		"one scale for dense layers":    {many, LeafOptions{PerTensorDense: true}, false},
		"a rule":                        {many, LeafOptions{Rules: []LeafRule{{Layers: "*", Weights: Weights8}}}, false},
		"a device that takes one scale": {many, LeafOptions{Target: device}, false},
		"which it has":                  {one, LeafOptions{Target: device}, true},
	} {
		if got := c.options.unchanged(c.network); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// A kernel that came with one scale keeps one, and its integers with it.
func TestKernelsOfOneScaleKeepIt(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	single := fast(float)
	single.Leaf.PerTensorDense = true
	out, err := single.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	n := read(t, out.Leaf)
	for _, again := range []bool{false, true} { // asked for again, or not
		run := untrained(n)
		run.Leaf.PerTensorDense = again
		plan, err := run.plan(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range plan.Layers {
			if (l.Scales > 1) != strings.HasPrefix(l.Name, "first") {
				t.Errorf("%s: %d scales", l.Name, l.Scales)
			}
		}
		made, err := run.Apply(context.Background(), n, Prune{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(contents(n.Given()), contents(made.Leaf)); d != "" {
			t.Errorf("a prune that adds no zeros makes another leaf:\n%s", d)
		}
	}
}

func TestLargestCodes(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	four := fast(float)
	four.Leaf.Weights = Weights4
	out, err := four.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		network *Network
		options LeafOptions
		want    []int // of convolution and dense layer; nil: none has bounds of its own
	}{
		"8 bits":              {float, LeafOptions{}, nil},
		"a rule for 8 bits":   {float, LeafOptions{Rules: []LeafRule{{Layers: "dense*", Weights: Weights8}}}, nil},
		"4 bits":              {float, LeafOptions{Weights: Weights4}, []int{7, 7}},
		"a rule for 4 bits":   {float, LeafOptions{Rules: []LeafRule{{Layers: "first*", Activations: Activations8}, {Layers: "dense*", Weights: Weights4}}}, []int{127, 7}},
		"given with 4 bits":   {read(t, out.Leaf), LeafOptions{}, []int{7, 7}},
		"given, 8 bits asked": {read(t, out.Leaf), LeafOptions{Weights: Weights8}, []int{127, 127}},
	} {
		run := fast(c.network)
		run.Leaf = c.options
		largest, err := run.largest(c.network)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, k := range c.network.Kernels() {
			if most, ok := largest[k.Tensor]; ok {
				got = append(got, most)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPromisesGoWhereTensorsWent(t *testing.T) {
	a, b, c := weight.State{Axis: 1}, weight.State{Axis: 2}, weight.State{Axis: 3}
	want := map[int]weight.State{2: a, 0: b}
	if d := cmp.Diff(want, byIndex([]int{2, 0, -1}, map[int]weight.State{0: a, 1: b, 2: c})); d != "" {
		t.Error(d)
	}
}

func TestWhatClassifies(t *testing.T) {
	for name, c := range map[string]struct {
		output answer.Output
		want   bool
	}{
		"classes with labels":    {answer.Output{Kind: answer.Classes}, true},
		"without":                {answer.Output{Kind: answer.Classes, Target: -1}, false},
		"the number of a class":  {answer.Output{Kind: answer.Classes, Activation: answer.Position}, false},
		"classes at positions":   {answer.Output{Kind: answer.PositionClasses}, false},
		"numbers with a target":  {answer.Output{Kind: answer.Values}, false},
		"by the second of three": {answer.Output{Kind: answer.Classes, Target: 1}, true},
	} {
		if got := (&Run{Outputs: []answer.Output{c.output, {Kind: answer.Classes}}}).classifies(); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
