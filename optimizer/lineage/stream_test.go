package lineage

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

const streams = "../exec/integer/testdata/streaming/"

// streamed reads a network with state of the integer executor's goldens, for samples of eight steps.
func streamed(t *testing.T, name string, states []tflite.StatePair) *Network {
	t.Helper()
	return streamedAt(t, name, states, false, 0)
}

// streamedAt is streamed of a network that is asked at each step, or at the last alone, and trained in chunks, or whole sequences.
func streamedAt(t *testing.T, name string, states []tflite.StatePair, each bool, chunk int) *Network {
	t.Helper()
	m, err := tflite.ReadFile(streams + name + ".tflite")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetStates(states); err != nil {
		t.Fatal(err)
	}
	pairs, err := m.States()
	if err != nil {
		t.Fatal(err)
	}
	var shape []int
	for _, at := range m.Subgraph().Inputs {
		if slices.ContainsFunc(pairs, func(p [2]int) bool { return p[0] == int(at) }) {
			continue
		}
		shape = []int{8}
		for _, d := range m.Subgraph().Tensors[at].Shape[1:] {
			shape = append(shape, int(d))
		}
	}
	m.SetEachStep(each)
	m.SetChunk(chunk)
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Read(content, shape)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every technique, in the order of a tree, works on networks with state; leaves are one step, of the file's form, and keep what was found.
func TestNetworksWithStateGoThroughTheTree(t *testing.T) {
	frames := []tflite.StatePair{{Input: "near_in", Output: "near_out"}, {Input: "far_in", Output: "far_out"}}
	for name, tc := range map[string]struct {
		states  []tflite.StatePair
		classes int
	}{
		"ring_f32": {nil, 3}, "ring_int8": {nil, 3}, "mixed_f32": {nil, 2}, "mixed_int8": {nil, 2}, "frames_f32": {frames, 4}, "frames_int8": {frames, 4},
		"gru_f32": {[]tflite.StatePair{{Input: "h", Output: "h_next"}}, 3}, "delay_f32": {nil, 2}, "../recurrent/svdf_f32": {nil, 5}, "../recurrent/svdf_int8": {nil, 5},
	} {
		in(t, name, func(t *testing.T, chunk int) {
			n := streamedAt(t, name, tc.states, false, chunk)
			run := fast(n)
			run.Data = samples(24, tc.classes, numbers(n)...)
			baseline, err := run.Baseline(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			checkStepLeaf(t, n, baseline.Leaf)
			if err := (Channels{}).Check(n); err == nil || !strings.Contains(err.Error(), "keeps state") {
				t.Errorf("channels of a network with state: %v", err)
			}
			for _, technique := range []Technique{half, Quantize{}, eight, Quantize{}} {
				out, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatalf("%s: %v", technique, err)
				}
				checkStepLeaf(t, n, out.Leaf)
				if len(out.Promises) == 0 {
					t.Errorf("%s: nothing is promised of the leaf", technique)
				}
				if out.Verification == nil || len(out.SNR) == 0 {
					t.Errorf("%s: the leaf was not checked", technique)
				}
				if !out.Network.Final() {
					again, err := n.Next(stored(t, out.Network.Model()))
					if err != nil {
						t.Fatal(err)
					}
					n = again
				}
			}
			run.Leaf.IO = Float32
			out, err := run.Apply(context.Background(), n, Quantize{})
			if err != nil {
				t.Fatal(err)
			}
			float := 0
			for _, at := range out.Leaf.Subgraph().Inputs {
				if out.Leaf.Subgraph().Tensors[at].Type == schema.TensorTypeFLOAT32 {
					float++
				}
			}
			if float != 1 {
				t.Errorf("with inputs of float the leaf takes %d, and all but its state should be", float)
			}
		})
	}
}

// labelled is samples with a class at each of eight steps.
type labelled struct{ *memory }

func (l labelled) Targets() []dataset.Target {
	return []dataset.Target{{Name: "y", Shape: []int{8}, Kind: dataset.Class, Classes: l.classes}}
}

func (l labelled) Truth(i int, y [][]float32) error {
	for k := range y[0] {
		y[0][k] = float32((i + k/3) % l.classes)
	}
	return nil
}

// Loss, ranges and checks are of the answers at all steps; a leaf is one step and remembers that.
func TestNetworksAnswerAtEachStep(t *testing.T) {
	for name, tc := range map[string]struct {
		states  []tflite.StatePair
		classes int
	}{
		"ring_f32": {nil, 3}, "mixed_f32": {nil, 2}, "mixed_int8": {nil, 2}, "gru_f32": {[]tflite.StatePair{{Input: "h", Output: "h_next"}}, 3}, "../recurrent/svdf_f32": {nil, 5},
	} {
		in(t, name, func(t *testing.T, chunk int) {
			n := streamedAt(t, name, tc.states, true, chunk)
			run := fast(n)
			made := labelled{samples(24, tc.classes, numbers(n)...).Train.(*memory)}
			run.Data = &dataset.Dataset{Train: made, Test: made}
			for _, technique := range []Technique{half, Quantize{}, eight, Quantize{}} {
				out, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatalf("%s: %v", technique, err)
				}
				if o := run.Outputs[0]; o.Kind != answer.PositionClasses || o.Positions != 8 || o.Target != 0 || o.Loss == answer.MeanSquaredError && !strings.Contains(name, "svdf") {
					t.Fatalf("the output is %+v", o)
				}
				checkStepLeaf(t, n, out.Leaf)
				if !out.Leaf.EachStep() {
					t.Errorf("%s: the leaf does not remember that it answers at each step", technique)
				}
				if !out.Network.Final() {
					n = out.Network
				}
			}
		})
	}
}

// Where samples are so short that the state, or a part of it, plays no part in any answer, nothing is known of its ranges.
func TestSequencesThatDoNotReachTheStateAreRefused(t *testing.T) {
	m, err := tflite.ReadFile(streams + "ring_f32.tflite")
	if err != nil {
		t.Fatal(err)
	}
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(content, []int{1, 2, 8}); err == nil || !strings.Contains(err.Error(), "give longer sequences, [steps 2 8]") {
		t.Errorf("one step: %v", err)
	}
	if _, err := Read(content); !errors.As(err, new(*ir.OpenError)) || !strings.Contains(err.Error(), ", is one step: ") || strings.Contains(err.Error(), "size is open") {
		t.Errorf("no samples: %v", err)
	}
}

// checkStepLeaf checks that a leaf is a step in int8, with the borders of the file and nothing converted inside.
func checkStepLeaf(t *testing.T, n *Network, m *tflite.Model) {
	t.Helper()
	given, leaf := n.Given().Subgraph(), m.Subgraph()
	if len(given.Inputs) != len(leaf.Inputs) || len(given.Outputs) != len(leaf.Outputs) {
		t.Fatalf("%d inputs and %d outputs, the file has %d and %d", len(leaf.Inputs), len(leaf.Outputs), len(given.Inputs), len(given.Outputs))
	}
	for i, at := range leaf.Inputs {
		if !slices.Equal(leaf.Tensors[at].Shape, given.Tensors[given.Inputs[i]].Shape) {
			t.Errorf("input %d is %v, the file's %v", i, leaf.Tensors[at].Shape, given.Tensors[given.Inputs[i]].Shape)
		}
	}
	if got, most := conversions(m), conversions(n.Given()); got > most {
		t.Errorf("%d QUANTIZE and DEQUANTIZE, the file has %d", got, most)
	}
	if data, err := m.Marshal(); err != nil {
		t.Error(err)
	} else if _, err := measure.File(data, nil); err != nil {
		t.Error(err)
	}
}

// conversions counts QUANTIZE and DEQUANTIZE.
func conversions(m *tflite.Model) (n int) {
	for _, o := range m.Subgraph().Operators {
		if code, _ := m.Op(o); code == schema.BuiltinOperatorQUANTIZE || code == schema.BuiltinOperatorDEQUANTIZE {
			n++
		}
	}
	return n
}

// numbers is the shape of a network's samples.
func numbers(n *Network) []int { return n.Samples()[0] }

// in runs a test on a network of whole sequences and on chunks of it, which eight steps are no multiple of.
func in(t *testing.T, name string, test func(t *testing.T, chunk int)) {
	t.Run(name, func(t *testing.T) { test(t, 0) })
	t.Run(name+" in chunks", func(t *testing.T) { test(t, 3) })
}

// A quantized LSTM is the first leaf as it is; what techniques make of the network has its steps, quantized anew, and none of them in float.
func TestQuantizedLSTMsGoThroughTheTree(t *testing.T) {
	for _, name := range []string{"lstm_int8", "lstm_coupled_clipped_int8"} {
		content, err := os.ReadFile("../exec/integer/testdata/recurrent/" + name + ".tflite")
		if err != nil {
			t.Fatal(err)
		}
		n, err := Read(content)
		if err != nil {
			t.Fatal(err)
		}
		run := fast(n)
		made := unlabelled{samples(24, 1, numbers(n)...).Train.(*memory)}
		run.Data = &dataset.Dataset{Train: made, Test: made}
		baseline, err := run.Baseline(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := baseline.Leaf.Op(baseline.Leaf.Subgraph().Operators[0]); code != schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM {
			t.Errorf("%s: the first leaf begins with %s", name, code)
		}
		for _, technique := range []Technique{half, Quantize{}, eight, Quantize{}} {
			out, err := run.Apply(context.Background(), n, technique)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, technique, err)
			}
			if computesFloat(out.Leaf) {
				t.Errorf("%s: %s: the leaf computes in float", name, technique)
			}
			if !out.Network.Final() {
				n = out.Network
			}
		}
	}
}

// Of tensors that share a quantization what is known of one is known of all, and of those of no class it stays as it is.
func TestWhatIsKnownOfAClass(t *testing.T) {
	params := func(scale float32) quantize.Params { return quantize.Params{Scale: scale} }
	alike := []int{0, 1, 0, 0, quantize.None, 1, quantize.None}
	got := known(map[int]quantize.Params{2: params(2), 4: params(4), 5: params(5)}, alike)
	want := map[int]quantize.Params{0: params(2), 2: params(2), 3: params(2), 1: params(5), 5: params(5), 4: params(4)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Tensors of steps are alike where one of the step stands for them; a state that is found is alike to what is left, through all that hand it on.
func TestStepsOfAStateAreAlike(t *testing.T) {
	m := networks()["dense layers only"]
	s := &streaming{model: m, states: [][2]int{{3, 2}, {5, 3}, {1, 4}}, tensor: []int{0, 2, 3, stream.None, 5, 4, 1, 6}}
	if got, want := s.alike(), []int{0, 2, 2, quantize.None, 2, 1, 1, 6}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A step that gives anything else than the sequence that was checked is no leaf.
func TestStepsAreHeldAgainstTheCheckedSequence(t *testing.T) {
	n := streamed(t, "ring_int8", nil)
	run := fast(n)
	run.Data = samples(24, 3, numbers(n)...)
	out, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	whole := out.Leaf.Clone()
	if _, err := stream.Whole(whole, [][]int{numbers(n)}); err != nil {
		t.Fatal(err)
	}
	if err := run.checkStep(context.Background(), n, out.Leaf, whole); err != nil {
		t.Errorf("the leaf: %v", err)
	}
	other := out.Leaf.Clone()
	for _, k := range weight.Kernels(other) {
		tensor := other.Subgraph().Tensors[k.Tensor]
		codes := slices.Clone(other.Data(tensor))
		for i := range codes {
			codes[i] = uint8(-int8(codes[i]))
		}
		other.SetData(tensor, codes)
	}
	if err := run.checkStep(context.Background(), n, other, whole); err == nil || !strings.Contains(err.Error(), "is another than that of the checked sequence") {
		t.Errorf("weights of the other sign: %v", err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if err := run.checkStep(stopped, n, out.Leaf, whole); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A step of int16 takes and gives floats where that is asked for; its state stays int16.
func TestStepsOfInt16WithFloatBorders(t *testing.T) {
	n := streamed(t, "gru_f32", []tflite.StatePair{{Input: "h", Output: "h_next"}})
	run := untrained(n)
	run.Data = samples(24, 3, numbers(n)...)
	run.Leaf.IO, run.Leaf.Activations = Float32, Activations16
	out, err := run.Apply(context.Background(), n, half)
	if err != nil {
		t.Fatal(err)
	}
	g := out.Leaf.Subgraph()
	types := map[schema.TensorType]int{}
	for _, at := range slices.Concat(g.Inputs, g.Outputs) {
		types[g.Tensors[at].Type]++
	}
	if types[schema.TensorTypeFLOAT32] != 2 || types[schema.TensorTypeINT16] != 2 {
		t.Errorf("inputs and outputs are %v", types)
	}
}

// Sequences that are too long to be unrolled are cut without being asked to, which a note says; the leaf takes all their steps.
func TestSequencesThatAreTooLongAreTrainedInChunks(t *testing.T) {
	const steps = 60_000
	m, err := tflite.ReadFile(streams + "delay_f32.tflite")
	if err != nil {
		t.Fatal(err)
	}
	step, err := stream.Open(m)
	if err != nil {
		t.Fatal(err)
	}
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	shape := step.Samples(steps)[0]
	n, err := Read(content, shape)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(n.Notes(), "\n"); !strings.Contains(notes, "samples have 60000 steps: trained, calibrated and checked over chunks of ") {
		t.Errorf("notes: %s", notes)
	}
	run := fast(n)
	run.Data, run.Training.Epochs = samples(6, 2, shape...), 1
	out, err := run.Apply(context.Background(), n, half)
	if err != nil {
		t.Fatal(err)
	}
	checkStepLeaf(t, n, out.Leaf)
	leaf, err := out.Leaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if answers, err := measure.Run(context.Background(), leaf, run.Data.Test, measure.Options{Outputs: run.Outputs}); err != nil || answers.Len() != 6 {
		t.Errorf("the leaf's answers: %v", err)
	}
}
