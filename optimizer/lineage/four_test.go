package lineage

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Weights of leaves are what is asked for, of a layer that a rule names what the rule says; a network that came with 4 bits stays so unless
// told otherwise. Whatever the order of techniques, with and without training, zeros and clusters are kept: the leaves' own check sees to it.
func TestWeightsAreThoseAskedFor(t *testing.T) {
	i8, i4 := schema.TensorTypeINT8, schema.TensorTypeINT4
	float := read(t, networks()["convolution and dense"])
	packed := fast(float)
	packed.Leaf.Weights = Weights4
	made, err := packed.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	lineages := map[string]*Network{"float": float, "int8": quantized8(t, float, true), "int4": read(t, made.Leaf)}
	for name, tc := range map[string]struct {
		from        string
		options     LeafOptions
		conv, dense schema.TensorType
	}{
		"float to int4":         {"float", LeafOptions{Weights: Weights4}, i4, i4},
		"int8 to int4":          {"int8", LeafOptions{Weights: Weights4}, i4, i4},
		"int4 as it is":         {"int4", LeafOptions{}, i4, i4},
		"int4 to int8":          {"int4", LeafOptions{Weights: Weights8}, i8, i8},
		"a layer of int4":       {"float", LeafOptions{Rules: []LeafRule{{Layers: "dense*", Weights: Weights4}}}, i8, i4},
		"all but a layer":       {"float", LeafOptions{Weights: Weights4, Rules: []LeafRule{{Layers: "dense*", Weights: Weights8}}}, i4, i8},
		"one scale":             {"float", LeafOptions{Weights: Weights4, PerTensorDense: true}, i4, i4},
		"int16 keeps 8 bits":    {"float", LeafOptions{Weights: Weights4, Rules: []LeafRule{{Layers: "dense*", Activations: Activations16}}}, i4, i8},
		"with reconstruction":   {"float", LeafOptions{Weights: Weights4, Reconstruct: true}, i4, i4},
		"and inputs that float": {"float", LeafOptions{Weights: Weights4, IO: Float32}, i4, i4},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range [][]Technique{{qat}, {half, qat}, {eight, qat}, {half, eight, qat}, {eight, half, qat}} {
				n := lineages[tc.from]
				run := fast(n)
				run.Leaf = tc.options
				baseline, err := run.Baseline(context.Background(), n)
				if err != nil {
					t.Fatal(err)
				}
				leaves := []*Outcome{baseline}
				for _, technique := range order {
					out, err := run.Apply(context.Background(), n, technique)
					if err != nil {
						t.Fatalf("%v: %v", order, err)
					}
					n = out.Network
					leaves = append(leaves, out)
				}
				for i, out := range leaves {
					conv, dense := weightsIn(t, out.Leaf, schema.BuiltinOperatorCONV_2D), weightsIn(t, out.Leaf, schema.BuiltinOperatorFULLY_CONNECTED)
					if conv != tc.conv || dense != tc.dense {
						t.Errorf("%v, leaf %d: weights are %s and %s, want %s and %s", order, i, conv, dense, tc.conv, tc.dense)
					}
				}
			}
		})
	}
}

// Clusters chosen with 8 bits are within 4 where the leaf of the next stage asks for it, no more of them, and zeros stay.
func TestClustersOfEightBitsBecomeFour(t *testing.T) {
	for name, m := range networks() {
		t.Run(name, func(t *testing.T) {
			n := read(t, m)
			for _, technique := range []Technique{half, eight} {
				out, err := fast(n).Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatal(err)
				}
				n = out.Network
			}
			run := fast(n)
			run.Leaf.Weights = Weights4
			leaf, err := run.Baseline(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			trained, err := run.Apply(context.Background(), n, qat)
			if err != nil {
				t.Fatal(err)
			}
			for _, out := range []*Outcome{leaf, trained} {
				if len(out.Promises) == 0 {
					t.Error("nothing is promised of the leaf")
				}
			}
		})
	}
}

// A layer that LiteRT has no 4-bit kernel for keeps 8 bits, and a note says so.
func TestLayersWithoutAFourBitKernelAreNamed(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := fast(n)
	run.Leaf.Weights, run.Leaf.Activations = Weights4, Activations16
	out, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(out.Notes, func(note string) bool {
		return strings.Contains(note, "keep 8 bits") && strings.Contains(note, "int16 activations")
	}) {
		t.Errorf("no note says that weights keep 8 bits: %q", out.Notes)
	}
	if !slices.ContainsFunc(out.Warnings, func(warning string) bool { return strings.Contains(warning, "int16 activations") }) {
		t.Errorf("nor is it said at once: %q", out.Warnings)
	}
}

// weightsIn is the type of the weights of the first operator of a kind.
func weightsIn(t *testing.T, m *tflite.Model, kind schema.BuiltinOperator) schema.TensorType {
	t.Helper()
	g := m.Subgraph()
	for _, o := range g.Operators {
		if code, _ := m.Op(o); code == kind {
			return g.Tensors[o.Inputs[1]].Type
		}
	}
	t.Fatalf("no %s in the leaf", kind)
	return 0
}

// Files with int4 weights of other tools (hack/peers/fourbit.py), which use the code −8 too, are read as what they stand for, and their
// leaves answer as they do.
func TestInt4FilesOfOthersKeepTheirAnswers(t *testing.T) {
	files, err := filepath.Glob("../exec/integer/testdata/int4/*_a8.tflite")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			m, err := tflite.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n := read(t, m)
			run := fast(n)
			inputs := unlabelled{run.Data.Train.(*memory)}
			run.Data = &dataset.Dataset{Train: inputs, Test: inputs}
			run.Training.Distillation.Weight = 1
			for _, options := range []LeafOptions{{}, {Weights: Weights4, Rules: []LeafRule{{Layers: "*", Weights: Weights4}}}, {Weights: Weights8}} {
				run.Leaf = options
				out, err := run.Baseline(context.Background(), n)
				if err != nil {
					t.Fatal(err)
				}
				want := schema.TensorTypeINT4
				if options.Weights == Weights8 {
					want = schema.TensorTypeINT8
				}
				g := out.Leaf.Subgraph()
				if got := g.Tensors[g.Operators[0].Inputs[1]].Type; got != want {
					t.Errorf("%+v: weights are %s, want %s", options, got, want)
				}
				if a, b := answersOf(t, m), answersOf(t, out.Leaf); !bytes.Equal(a, b) {
					t.Errorf("%+v: the leaf answers otherwise than the file", options)
				}
			}
		})
	}
}

// unlabelled are samples without labels.
type unlabelled struct{ *memory }

func (unlabelled) Targets() []dataset.Target { return nil }

// answersOf are the bytes of the first output for a few inputs.
func answersOf(t *testing.T, m *tflite.Model) []byte {
	t.Helper()
	e, err := integer.Compile(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	var answers []byte
	input := make([]byte, e.Graph().Tensors[e.Graph().Inputs[0]].Numel())
	for k := range 8 {
		for i := range input {
			input[i] = byte(i*37 + k*101)
		}
		if err := e.SetInputBytes(0, input); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, e.OutputBytes(0)...)
	}
	return answers
}
