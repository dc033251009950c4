package stream_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/sbinet/npyio/npz"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
)

const goldens = "../exec/integer/testdata/streaming/"

// The answers are those of LiteRT's reference kernels over 1,000 steps.
func TestUnrolledNetworksGiveWhatTheirStepsGive(t *testing.T) {
	for name, states := range map[string][]tflite.StatePair{"ring_int8": nil} {
		t.Run(name, func(t *testing.T) {
			inputs, outputs := read[int8](t, name, "input_0"), read[int8](t, name, "output_0")
			for _, steps := range []int{1, 2, 7, 1000} {
				m := model(t, name, states)
				shape := samplesOf(m, steps)
				if n, err := stream.Whole(m, [][]int{shape}); err != nil || n != steps {
					t.Fatalf("%d steps of %v: %v", n, shape, err)
				}
				for _, batch := range []int{1, 2} {
					e, err := integer.Compile(m, batch)
					if err != nil {
						t.Fatal(err)
					}
					size := len(inputs) / 1000 * steps
					sample := tflite.Int8Bytes(inputs[:size])
					if err := e.SetInputBytes(0, bytes.Repeat(sample, batch)); err != nil {
						t.Fatal(err)
					}
					if err := e.Run(); err != nil {
						t.Fatal(err)
					}
					last := len(outputs) / 1000
					want := tflite.Int8Bytes(outputs[(steps-1)*last:][:last])
					if !bytes.Equal(e.OutputBytes(0), bytes.Repeat(want, batch)) {
						t.Errorf("%d steps, batch %d: got % x, want % x", steps, batch, e.OutputBytes(0), want)
					}
				}
			}
		})
	}
}

func model(t *testing.T, name string, states []tflite.StatePair) *tflite.Model {
	t.Helper()
	m, err := tflite.ReadFile(filepath.Join(goldens, name+".tflite"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetStates(states); err != nil {
		t.Fatal(err)
	}
	return m
}

// samplesOf is the shape of samples of so many steps of the first input.
func samplesOf(m *tflite.Model, steps int) []int {
	shape := []int{steps}
	for _, d := range m.Subgraph().Tensors[m.Subgraph().Inputs[0]].Shape[1:] {
		shape = append(shape, int(d))
	}
	return shape
}

func read[T any](t *testing.T, name, key string) []T {
	t.Helper()
	r, err := npz.Open(filepath.Join(goldens, name+".npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var values []T
	if err := r.Read(key+".npy", &values); err != nil {
		if err = r.Read(key, &values); err != nil {
			t.Fatal(err)
		}
	}
	return values
}
