package float

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// readModel reads a model of the material.
func readModel(t testing.TB, path string) *tflite.Model {
	t.Helper()
	m, err := tflite.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// readFloats reads one array of a golden.
func readFloats(t testing.TB, r *npz.Reader, key string) []float32 {
	t.Helper()
	var values []float32
	if err := r.Read(key+".npy", &values); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return values
}

// worst returns the largest error of got relative to the largest value wanted.
func worst(got, want []float32) (err float64, at int) {
	top := 1e-6
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	for i, v := range want {
		d := math.Abs(float64(got[i])-float64(v)) / top
		if !(d <= err) {
			err, at = d, i
		}
	}
	return err, at
}

const relativeTolerance = 1e-5

func TestFloatModelsGiveTheReferenceKernelsOutputs(t *testing.T) {
	for _, path := range testmaterial.Glob(t, "models/*.tflite", "models/ops/*_f32.tflite") {
		name := strings.TrimSuffix(filepath.Base(path), ".tflite")
		golden := strings.Replace(strings.TrimSuffix(path, ".tflite")+".npz", "/models/", "/goldens/", 1)
		r, err := npz.Open(golden)
		if err != nil {
			continue
		}
		m := readModel(t, path)
		if isQuantized(m) {
			r.Close()
			continue
		}
		t.Run(name, func(t *testing.T) {
			defer r.Close()
			checkOutputs(t, m, r, 8)
			checkOutputs(t, m, r, 3)
		})
	}
}

func isQuantized(m *tflite.Model) bool {
	for _, tensor := range m.Subgraph().Tensors {
		if tensor.Type == schema.TensorTypeINT8 {
			return true
		}
	}
	return false
}

// checkOutputs runs the golden's eight samples in micro-batches, in every kind of Exec.
func checkOutputs(t *testing.T, m *tflite.Model, r *npz.Reader, microBatch int) {
	t.Helper()
	n, err := Compile(m, microBatch)
	if err != nil {
		t.Fatal(err)
	}
	const samples = 8
	for kind, e := range map[string]*Exec{"keeping": n.NewExec(false), "training": n.NewExec(true), "reusing": n.NewForwardExec()} {
		outputs := make([][]float32, len(n.Graph.Outputs))
		for first := 0; first < samples; first += microBatch {
			count := min(microBatch, samples-first)
			if err := e.SetBatch(count); err != nil {
				t.Fatal(err)
			}
			for i := range n.Graph.Inputs {
				x := readFloats(t, r, "input_"+strconv.Itoa(i))
				per := len(x) / samples
				e.SetInput(i, x[first*per:(first+count)*per])
			}
			e.Forward()
			for i := range outputs {
				outputs[i] = append(outputs[i], e.Output(i)...)
			}
		}
		for i, got := range outputs {
			want := readFloats(t, r, "reference_"+strconv.Itoa(i))
			if len(got) != len(want) {
				t.Fatalf("%s Exec of %d: output %d has %d values, want %d", kind, microBatch, i, len(got), len(want))
			}
			if err, at := worst(got, want); err > relativeTolerance {
				t.Errorf("%s Exec of %d: output %d differs by %.2g at %d: got %v, want %v", kind, microBatch, i, err, at, got[at], want[at])
			}
		}
	}
}

func TestEveryTensorMatchesTheReferenceKernels(t *testing.T) {
	for _, name := range []string{"mnist_cnn_float", "kws_ref_float", "pretrainedResnet", "ad01_fp32"} {
		t.Run(name, func(t *testing.T) {
			m := readModel(t, testmaterial.Path(t, "models/"+name+".tflite"))
			r, err := npz.Open(testmaterial.Path(t, "goldens/"+name+".npz"))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			n, err := Compile(m, 1)
			if err != nil {
				t.Fatal(err)
			}
			e := n.NewExec(false)
			x := readFloats(t, r, "input_0")
			e.SetInput(0, x[:len(x)/8])
			e.Forward()
			checked := 0
			for _, key := range r.Keys() {
				index, ok := strings.CutPrefix(strings.TrimSuffix(key, ".npy"), "tensor_")
				if !ok || !strings.Contains(r.Header(key).Descr.Type, "f4") {
					continue
				}
				i, _ := strconv.Atoi(index)
				if n.Graph.Tensors[i].Producer < 0 {
					continue
				}
				want := readFloats(t, r, "tensor_"+index)
				if err, at := worst(e.Tensor(i), want); err > relativeTolerance {
					t.Errorf("%s differs by %.2g at %d: got %v, want %v", &n.Graph.Tensors[i], err, at, e.Tensor(i)[at], want[at])
				}
				checked++
			}
			if checked == 0 {
				t.Error("no tensor was compared")
			}
		})
	}
}
