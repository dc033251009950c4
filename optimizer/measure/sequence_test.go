package measure

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// sequences are n random ones of a shape. Their targets are the sums of the first number of every step so far, at each step or at the last.
type sequences struct {
	n     int
	shape []int
	each  bool
}

func (s sequences) Len() int                { return s.n }
func (s sequences) Inputs() []dataset.Array { return []dataset.Array{{Name: "x", Shape: s.shape}} }

func (s sequences) Targets() []dataset.Target {
	shape := []int{1}
	if s.each {
		shape = []int{s.shape[0], 1}
	}
	return []dataset.Target{{Name: "y", Kind: dataset.Value, Shape: shape}}
}

func (s sequences) Read(i int, x [][]float32) error {
	random := rand.New(rand.NewPCG(uint64(i), 7))
	for k := range x[0] {
		x[0][k] = float32(random.NormFloat64())
	}
	return nil
}

func (s sequences) Truth(i int, y [][]float32) error {
	x := make([]float32, numel(s.shape))
	if err := s.Read(i, [][]float32{x}); err != nil {
		return err
	}
	var sum float32
	for t := range s.shape[0] {
		sum += x[t*len(x)/s.shape[0]]
		y[0][min(t, len(y[0])-1)] = sum
	}
	return nil
}

const streams = "../exec/integer/testdata/streaming/"

// Step by step, as where sequences are too long to be unrolled, networks answer as the whole sequence does, bit for bit, in batches too.
func TestSequencesStepByStepAreAnsweredAsWholeOnes(t *testing.T) {
	const steps, samples = 20, 11
	for name, states := range map[string][]tflite.StatePair{
		"ring_int8": nil, "ring_f32": nil, "mixed_int8": nil, "delay_f32": nil,
		"frames_int8": {{Input: "near_in", Output: "near_out"}, {Input: "far_in", Output: "far_out"}}, "gru_f32": {{Input: "h", Output: "h_next"}},
	} {
		for _, each := range []bool{false, true} {
			m, err := tflite.ReadFile(streams + name + ".tflite")
			if err != nil {
				t.Fatal(err)
			}
			if states != nil {
				if err := m.SetStates(states); err != nil {
					t.Fatal(err)
				}
			}
			m.SetEachStep(each)
			step, err := stream.Open(m)
			if err != nil {
				t.Fatal(err)
			}
			source := sequences{samples, step.Samples(steps)[0], each}
			var of [2]*Answers
			for i, chunk := range []int{0, 7} {
				m.SetChunk(chunk)
				content, err := m.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				n, err := read(content, untold{source}, 4)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if stepwise := n.chunks != nil; stepwise != (chunk > 0) {
					t.Fatalf("%s: step by step %t", name, stepwise)
				}
				if of[i], err = run(context.Background(), n, untold{source}, Options{}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if _, err := TimeLatency(context.Background(), content, source, LatencyOptions{Budget: 1}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if diff := cmp.Diff(of[0].Outputs, of[1].Outputs, cmp.AllowUnexported(of[0].Outputs[0])); diff != "" {
				t.Errorf("%s, each step %t: outputs are described otherwise (-whole +step by step)\n%s", name, each, diff)
			}
			for k := range of[0].columns {
				a, b := of[0].columns[k], of[1].columns[k]
				if diff := cmp.Diff([][]float32{a.values, a.scores}, [][]float32{b.values, b.scores}); diff != "" {
					t.Errorf("%s, each step %t, output %d: answers (-whole +step by step)\n%s", name, each, k, diff)
				}
				for i := range a.classes.len() {
					if a.classes.at(i) != b.classes.at(i) {
						t.Errorf("%s, each step %t, output %d: class %d is %d, of the whole sequence %d", name, each, k, i, b.classes.at(i), a.classes.at(i))
					}
				}
			}
		}
	}
}

// adder is a network whose one state adds up what it hears.
func adder(t *testing.T, each bool) []byte {
	t.Helper()
	b := tflitetest.New()
	x, state := b.Input("x", 1, 1), b.Input("state", 1, 1)
	next := b.Add("next", x, state, tflitetest.None)
	b.Output(b.Op("answer", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 1}}, []int32{1, 1}, next))
	b.Output(next)
	m := b.Model()
	if err := m.SetStates([]tflite.StatePair{{Input: "state", Output: "next"}}); err != nil {
		t.Fatal(err)
	}
	m.SetEachStep(each)
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Sequences of any length are answered, after all their steps or at each, in memory that their answers alone fill; two are compared by their
// first steps.
func TestLongSequencesAreAnswered(t *testing.T) {
	const steps = 200_000
	for _, each := range []bool{false, true} {
		content, source := adder(t, each), sequences{3, []int{steps, 1}, each}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		answers, err := Run(context.Background(), content, source, Options{Workers: 1, Batch: 1})
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 100 {
			t.Errorf("each step %t: %d MiB", each, mb)
		}
		if m := answers.Metrics(nil); m[MeanSquaredError] != 0 {
			t.Errorf("each step %t: %v", each, m)
		}
		c, err := Compare(context.Background(), content, content, source, 2, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Layers) == 0 {
			t.Errorf("each step %t: no layer is compared", each)
		}
	}
}
