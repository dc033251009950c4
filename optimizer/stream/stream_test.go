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
		same := make([]int, len(s.Model.Subgraph().Tensors))
		for i := range same {
			same[i] = i
		}
		closed, err := s.Close(s.Model, same)
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

// raw reads an array of a golden as its bytes.
func raw(t *testing.T, name, key string) []byte {
	t.Helper()
	r, err := npz.Open(filepath.Join(goldens, name+".npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if strings.HasSuffix(name, "f32") {
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
		_, u, err := stream.Sequence(m, [][]int{samplesOf(m, 3)})
		if err == nil && u != nil {
			_ = u.Unreached(s)
		}
	})
}
