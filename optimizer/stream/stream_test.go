package stream_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

const goldens = "../exec/integer/testdata/streaming/"

// states are the pairs of the networks that hand their state on themselves.
var states = map[string][]tflite.StatePair{
	"frames_int8": {{Input: "near_in", Output: "near_out"}, {Input: "far_in", Output: "far_out"}},
	"gru_f32":     {{Input: "h", Output: "h_next"}},
}

// The answers are those of LiteRT's reference kernels over 1,000 steps, of the networks that hack/peers/streaming.py makes.
func TestUnrolledNetworksGiveWhatTheirStepsGive(t *testing.T) {
	for name, most := range map[string]int{"ring_int8": 1000, "ring_f32": 20, "mixed_int8": 50, "frames_int8": 1000, "gru_f32": 50, "delay_f32": 50} {
		t.Run(name, func(t *testing.T) {
			inputs, outputs := raw(t, name, "input_0"), raw(t, name, "output_0")
			for _, steps := range []int{1, 2, 7, most} {
				m := model(t, name)
				shape := samplesOf(m, steps)
				if n, err := stream.Whole(m, [][]int{shape}); err != nil || n != steps {
					t.Fatalf("%d steps of %v: %v", n, shape, err)
				}
				for _, batch := range []int{1, 2} {
					if batch*steps > 1000 {
						continue
					}
					e, err := integer.Compile(m, batch)
					if err != nil {
						t.Fatal(err)
					}
					if err := e.SetInputBytes(0, bytes.Repeat(inputs[:len(inputs)/1000*steps], batch)); err != nil {
						t.Fatal(err)
					}
					if err := e.Run(); err != nil {
						t.Fatal(err)
					}
					last := len(outputs) / 1000
					want := bytes.Repeat(outputs[(steps-1)*last:][:last], batch)
					if got := e.OutputBytes(0); !equal(got, want, strings.HasSuffix(name, "f32")) {
						t.Errorf("%d steps, batch %d: got % x, want % x", steps, batch, got, want)
					}
				}
			}
		})
	}
}

// Asked at each step, a network gives what LiteRT's reference kernels gave at each of them; of an end in a SOFTMAX or LOGISTIC that is one
// operator for all steps, behind which a loss can attach.
func TestNetworksAnswerAtEachStep(t *testing.T) {
	for name, steps := range map[string]int{"ring_int8": 40, "ring_f32": 12, "mixed_int8": 25, "frames_int8": 40, "gru_f32": 20, "delay_f32": 20} {
		t.Run(name, func(t *testing.T) {
			inputs, outputs := raw(t, name, "input_0"), raw(t, name, "output_0")
			m := model(t, name)
			m.SetEachStep(true)
			if _, err := stream.Whole(m, [][]int{samplesOf(m, steps)}); err != nil {
				t.Fatal(err)
			}
			e, err := integer.Compile(m, 2)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.SetInputBytes(0, bytes.Repeat(inputs[:len(inputs)/1000*steps], 2)); err != nil {
				t.Fatal(err)
			}
			if err := e.Run(); err != nil {
				t.Fatal(err)
			}
			if got, want := e.OutputBytes(0), bytes.Repeat(outputs[:len(outputs)/1000*steps], 2); !equal(got, want, strings.HasSuffix(name, "f32")) {
				t.Errorf("got % x, want % x", got, want)
			}
			if shape := m.Subgraph().Tensors[m.Subgraph().Outputs[0]].Shape; len(shape) < 3 || shape[1] != int32(steps) {
				t.Errorf("an output of %v for %d steps", shape, steps)
			}
			ends := 0
			for _, o := range m.Subgraph().Operators {
				if code, _ := m.Op(o); code == schema.BuiltinOperatorSOFTMAX || code == schema.BuiltinOperatorLOGISTIC && name != "gru_f32" {
					ends++
				}
			}
			if want := 1; name != "delay_f32" && ends != want {
				t.Errorf("%d SOFTMAX or LOGISTIC at the end, want %d", ends, want)
			}
		})
	}
}

func TestTargetsTellAtWhichStepsANetworkAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		network string
		targets [][]int
		want    bool
	}{
		"one class a sequence":        {"ring_int8", [][]int{{}}, false},
		"a row of a single step":      {"ring_int8", [][]int{{3}}, false},
		"a class a step":              {"ring_int8", [][]int{{5}}, true},
		"a row a step":                {"ring_int8", [][]int{{5, 3}}, true},
		"one number for the last":     {"mixed_int8", [][]int{{1}}, false},
		"yes or no a step":            {"mixed_int8", [][]int{{5}}, true},
		"of another number of steps":  {"mixed_int8", [][]int{{4}}, false},
		"a class for each of many":    {"ring_int8", [][]int{{15}}, true},
		"one of each":                 {"mixed_int8", [][]int{{5}, {}}, false},
		"none":                        {"mixed_int8", nil, false},
		"of a network that has pairs": {"gru_f32", [][]int{{5, 1}}, true},
	} {
		m := model(t, tc.network)
		if got, steps := stream.EachStep(m, [][]int{samplesOf(m, 5)}, tc.targets); got != tc.want || steps != 5 {
			t.Errorf("%s: %t, %d steps", name, got, steps)
		}
	}
}

// What samples of so many steps are, and which of the inputs they are for.
func TestSamplesOfANetworkWithState(t *testing.T) {
	for _, name := range []string{"ring_int8", "frames_int8", "gru_f32"} {
		m := model(t, name)
		s, err := stream.Open(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, steps := range []int{1, 7} {
			if got, want := s.Samples(steps), samplesOf(m, steps); len(got) != 1 || !slices.Equal(got[0], want) {
				t.Errorf("%s: samples of %d steps are %v, want %v", name, steps, got, want)
			}
		}
		pairs, _ := m.States()
		for i, in := range m.Subgraph().Inputs {
			if want := slices.ContainsFunc(pairs, func(p [2]int) bool { return p[0] == int(in) }); s.Holds(i) != want {
				t.Errorf("%s: input %d is a state: %v", name, i, !want)
			}
		}
	}
}

// A state that is zero throughout shows in no answer, even where every operator of the step does.
func TestStatesThatNoStepReadsAreUnreached(t *testing.T) {
	for name, tc := range map[string]struct {
		network string
		steps   int
		chunk   int
		reached bool
	}{
		"one step of a recurrent unit": {"gru_f32", 1, 0, false},
		"two":                          {"gru_f32", 2, 0, true},
		"two steps of what is remembered for two": {"delay_f32", 2, 0, false},
		"three":                                          {"delay_f32", 3, 0, true},
		"two, after those of other chunks":               {"delay_f32", 3, 2, true},
		"one, after those of other chunks":               {"gru_f32", 3, 1, true},
		"one step of rings that the answer depends upon": {"ring_f32", 1, 0, false},
	} {
		m := model(t, tc.network)
		m.SetChunk(tc.chunk)
		s, u, err := stream.Sequence(m, [][]int{samplesOf(m, tc.steps)})
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Unreached(s); (got == "") != tc.reached {
			t.Errorf("%s: unreached is %q", name, got)
		}
	}
}

// The answers are those of LiteRT's reference kernel over 300 steps.
func TestAFloatSVDFIsAStateAndAConvolution(t *testing.T) {
	inputs, outputs := rawOf(t, "../exec/integer/testdata/recurrent/svdf_f32.npz", "input_0", true), rawOf(t, "../exec/integer/testdata/recurrent/svdf_f32.npz", "output_0", true)
	for _, each := range []bool{false, true} {
		m, err := tflite.ReadFile("../exec/integer/testdata/recurrent/svdf_f32.tflite")
		if err != nil {
			t.Fatal(err)
		}
		m.SetEachStep(each)
		if _, err := stream.Whole(m, [][]int{{300, 6}}); err != nil {
			t.Fatal(err)
		}
		e, err := integer.Compile(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.SetInputBytes(0, inputs); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		want := outputs
		if !each {
			want = outputs[len(outputs)/300*299:]
		}
		if got := e.OutputBytes(0); !equal(got, want, true) {
			t.Errorf("each step %t: other answers than the kernel's", each)
		}
	}
}

// A quantized SVDF stays what it is, in as many operators as there are steps: its answers are those of LiteRT's reference kernel, bit for bit.
func TestQuantizedSVDFsOfASequenceShareTheirMemory(t *testing.T) {
	inputs, outputs := rawOf(t, "../exec/integer/testdata/recurrent/svdf_int8.npz", "input_0", false), rawOf(t, "../exec/integer/testdata/recurrent/svdf_int8.npz", "output_0", false)
	for _, each := range []bool{false, true} {
		m, err := tflite.ReadFile("../exec/integer/testdata/recurrent/svdf_int8.tflite")
		if err != nil {
			t.Fatal(err)
		}
		m.SetEachStep(each)
		if steps, err := stream.Whole(m, [][]int{{300, 6}}); err != nil || steps != 300 {
			t.Fatalf("%d steps: %v", steps, err)
		}
		e, err := integer.Compile(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		want := outputs
		if !each {
			want = outputs[len(outputs)/300*299:]
		}
		for range 2 {
			e.Reset()
			if err := e.SetInputBytes(0, inputs); err != nil {
				t.Fatal(err)
			}
			if err := e.Run(); err != nil {
				t.Fatal(err)
			}
			if got := e.OutputBytes(0); !bytes.Equal(got, want) {
				t.Errorf("each step %t: other answers than the kernel's", each)
			}
		}
	}
}

// equal compares raw values, floats to a relative 1e-5.
func equal(a, b []byte, float bool) bool {
	if !float || len(a) != len(b) {
		return bytes.Equal(a, b)
	}
	for i := 0; i < len(a); i += 4 {
		x, y := math.Float32frombits(binary.LittleEndian.Uint32(a[i:])), math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))
		if math.Abs(float64(x-y)) > 1e-5*max(1, math.Abs(float64(y))) {
			return false
		}
	}
	return true
}

// A step that was opened and closed again is the network that it was: opened once more it gives the same.
func TestAClosedStepIsTheFileAgain(t *testing.T) {
	for _, name := range []string{"ring_int8", "mixed_int8", "frames_int8", "delay_f32"} {
		m := model(t, name)
		s, err := stream.Open(m)
		if err != nil {
			t.Fatal(err)
		}
		closed, err := s.Close(s.Model, identity(s.Model))
		if err != nil {
			t.Fatal(err)
		}
		data, err := closed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := tflite.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(again.Subgraph().Inputs), len(m.Subgraph().Inputs); got != want {
			t.Errorf("%s: %d inputs, want %d", name, got, want)
		}
		var answers [2][]byte
		for i, m := range []*tflite.Model{m, again} {
			if _, err := stream.Whole(m, [][]int{samplesOf(m, 9)}); err != nil {
				t.Fatal(err)
			}
			e, err := integer.Compile(m, 1)
			if err != nil {
				t.Fatal(err)
			}
			inputs := raw(t, name, "input_0")
			if err := e.SetInputBytes(0, inputs[:len(inputs)/1000*9]); err != nil {
				t.Fatal(err)
			}
			if err := e.Run(); err != nil {
				t.Fatal(err)
			}
			answers[i] = bytes.Clone(e.OutputBytes(0))
		}
		if !bytes.Equal(answers[0], answers[1]) {
			t.Errorf("%s: % x became % x", name, answers[0], answers[1])
		}
	}
}

// What cannot be unrolled is told with what would mend it.
func TestSamplesThatAreNoSequencesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		samples [][]int
		want    string
	}{
		"a part of a step":       {[][]int{{3, 8}}, "give [steps 2 8]"},
		"other features":         {[][]int{{8, 2}}, "give [steps 2 8]"},
		"more inputs than there": {[][]int{{4, 2, 8}, {1}}, "has 1 inputs besides its state, samples have 2"},
		"too many steps":         {[][]int{{100_000, 2, 8}}, "cut them into shorter sequences"},
	} {
		if _, err := stream.Whole(model(t, "ring_int8"), tc.samples); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestStepsOfOneDimensionAreTakenFlatOrOneBehindTheOther has an explicit state that counts steps of one dimension.
func TestStepsOfOneDimensionAreTakenFlatOrOneBehindTheOther(t *testing.T) {
	for _, tc := range []struct {
		sample []int
		steps  int // 0: refused
	}{{[]int{12}, 2}, {[]int{2, 6}, 2}, {[]int{2, 1, 6}, 2}, {[]int{12, 1}, 2}, {[]int{6, 2}, 0}, {[]int{3, 4}, 0}} {
		steps, err := stream.Whole(model(t, "gru_f32"), [][]int{tc.sample})
		if (err == nil) != (tc.steps > 0) || steps != tc.steps {
			t.Errorf("%v: %d steps, %v", tc.sample, steps, err)
		}
	}
}

func TestStatesThatDoNotFitAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		pairs []tflite.StatePair
		want  string
	}{
		"no such input":       {[]tflite.StatePair{{Input: "near", Output: "near_out"}}, `no input "near"`},
		"no such output":      {[]tflite.StatePair{{Input: "near_in", Output: "out"}}, `no output "out"`},
		"of different shapes": {[]tflite.StatePair{{Input: "near_in", Output: "far_out"}}, "so they are alike"},
		"one input twice":     {[]tflite.StatePair{{Input: "near_in", Output: "near_out"}, {Input: "near_in", Output: "far_out"}}, "that of two states"},
	} {
		m, err := tflite.ReadFile(filepath.Join(goldens, "frames_int8.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SetStates(tc.pairs); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func model(t *testing.T, name string) *tflite.Model {
	t.Helper()
	m, err := tflite.ReadFile(filepath.Join(goldens, name+".tflite"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetStates(states[name]); err != nil {
		t.Fatal(err)
	}
	return m
}

// samplesOf is the shape of samples of so many steps of the input that is no state.
func samplesOf(m *tflite.Model, steps int) []int {
	pairs, _ := m.States()
	for _, t := range m.Subgraph().Inputs {
		if !slices.ContainsFunc(pairs, func(p [2]int) bool { return p[0] == int(t) }) {
			shape := []int{steps}
			for _, d := range m.Subgraph().Tensors[t].Shape[1:] {
				shape = append(shape, int(d))
			}
			return shape
		}
	}
	return nil
}

// identity has every tensor of a model in its place.
func identity(m *tflite.Model) []int {
	same := make([]int, len(m.Subgraph().Tensors))
	for i := range same {
		same[i] = i
	}
	return same
}

// raw reads an array of a golden as its bytes.
func raw(t *testing.T, name, key string) []byte {
	t.Helper()
	return rawOf(t, filepath.Join(goldens, name+".npz"), key, strings.HasSuffix(name, "f32"))
}

func rawOf(t *testing.T, path, key string, float bool) []byte {
	t.Helper()
	r, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if float {
		var values []float32
		if err := r.Read(key+".npy", &values); err != nil {
			t.Fatal(err)
		}
		return tflite.Float32Bytes(values)
	}
	var values []int8
	if err := r.Read(key+".npy", &values); err != nil {
		t.Fatal(err)
	}
	return tflite.Int8Bytes(values)
}

// FuzzSequence opens and unrolls whatever tflite.Read accepts: errors, never a panic.
func FuzzSequence(f *testing.F) {
	for _, name := range []string{"ring_int8", "frames_int8", "delay_f32"} {
		good, err := os.ReadFile(filepath.Join(goldens, name+".tflite"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(good, "near_in", "near_out")
		for i := 8; i < len(good); i += 211 {
			flipped := bytes.Clone(good)
			flipped[i] ^= 0x81
			f.Add(flipped, "near_in", "far_out")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, in, out string) {
		m, err := tflite.Read(data)
		if err != nil {
			return
		}
		_ = m.SetStates([]tflite.StatePair{{Input: in, Output: out}})
		s, err := stream.Open(m)
		if err != nil || s == nil {
			return
		}
		for _, chunk := range []int{0, 2} {
			m.SetChunk(chunk)
			_, u, err := stream.Sequence(m, [][]int{samplesOf(m, 3)})
			if err == nil && u != nil {
				_ = u.Unreached(s)
			}
		}
	})
}
