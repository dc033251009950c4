package integer_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
)

// TestGoldens runs every model of the material that has answers of LiteRT's reference kernels: whole outputs of eight inputs, and
// every intermediate tensor of the first. Files with int8 activations must agree bit for bit, float ones to a relative 1e-5.
func TestGoldens(t *testing.T) {
	for _, path := range testmaterial.Glob(t, "goldens/*.npz", "goldens/ops/*.npz") {
		name := strings.TrimSuffix(filepath.Base(path), ".npz")
		t.Run(name, func(t *testing.T) {
			m := modelOf(t, path, name)
			g := openGolden(t, path, name)
			for _, variant := range []struct {
				name    string
				batch   int
				options []integer.Option
			}{{"fast", 0, nil}, {"reference", 0, []integer.Option{integer.Reference()}}, {"batch of 8", 8, nil}, {"batch of 3", 3, nil}} {
				t.Run(variant.name, func(t *testing.T) {
					e, err := integer.Compile(m, variant.batch, variant.options...)
					if err != nil {
						t.Fatal(err)
					}
					if e.Batch() == 1 {
						checkTensors(t, e, g)
					}
					checkOutputs(t, e, g)
					checkOutputs(t, e.Clone(), g)
				})
			}
		})
	}
}

// answers of a golden that are not what the model computes.
var answers = map[string]struct {
	key       string  // of the outputs to compare with, if not reference_
	tolerance float64 // relative, if not exact (int8) or 1e-5 (float)
}{
	// LiteRT quantizes the activations of hybrid operators on the fly; here their weights become float.
	"kws_ref_model_float32": {tolerance: 0.05},
	// The reference kernel of LiteRT 2.3.0 answers −1 whatever the input; the default path is right.
	"sum_hw_int8": {key: "default_"},
}

func modelOf(t *testing.T, golden, name string) *tflite.Model {
	t.Helper()
	var path string
	switch {
	case filepath.Base(filepath.Dir(golden)) == "ops":
		path = testmaterial.Path(t, "models/ops/"+name+".tflite")
	case strings.HasSuffix(name, "qat") || name == "ptq":
		path = testmaterial.Path(t, "peers/tfmot_mnist_cnn/"+name+".tflite")
	default:
		path = testmaterial.Path(t, "models/"+name+".tflite")
	}
	m, err := tflite.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// golden is one file of answers.
type golden struct {
	*npz.Reader
	outputs   string  // prefix of the outputs' keys
	tolerance float64 // relative, of floats
	integers  bool    // int8 activations
}

func openGolden(t *testing.T, path, name string) golden {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := npz.NewReader(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	g := golden{r, "reference_", 1e-5, r.Header("input_0.npy").Descr.Type == "|i1"}
	if answer, ok := answers[name]; ok {
		g.outputs, g.tolerance = cmp.Or(answer.key, g.outputs), cmp.Or(answer.tolerance, g.tolerance)
	}
	return g
}

// raw returns an array as little-endian bytes and its descriptor; nil if there is none.
func (g golden) raw(t *testing.T, key string) (data []byte, dtype string, shape []int) {
	t.Helper()
	h := g.Header(key)
	if h == nil {
		return nil, "", nil
	}
	dtype, shape = h.Descr.Type, h.Descr.Shape
	var err error
	var values any
	switch dtype {
	case "<f4":
		var v []float32
		err, values = g.Read(key, &v), &v
	case "|i1":
		var v []int8
		err, values = g.Read(key, &v), &v
	case "<i2":
		var v []int16
		err, values = g.Read(key, &v), &v
	case "|u1":
		var v []uint8
		err, values = g.Read(key, &v), &v
	case "<i4":
		var v []int32
		err, values = g.Read(key, &v), &v
	case "<i8":
		var v []int64
		err, values = g.Read(key, &v), &v
	default:
		t.Fatalf("%s has type %s", key, dtype)
	}
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	var b bytes.Buffer
	switch v := values.(type) {
	case *[]float32:
		err = binary.Write(&b, binary.LittleEndian, *v)
	case *[]int8:
		err = binary.Write(&b, binary.LittleEndian, *v)
	case *[]int16:
		err = binary.Write(&b, binary.LittleEndian, *v)
	case *[]uint8:
		err = binary.Write(&b, binary.LittleEndian, *v)
	case *[]int32:
		err = binary.Write(&b, binary.LittleEndian, *v)
	case *[]int64:
		err = binary.Write(&b, binary.LittleEndian, *v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), dtype, shape
}

// setInputs sets samples of the golden's inputs from i on.
func setInputs(t *testing.T, e *integer.Executor, g golden, i, count int) {
	t.Helper()
	for k := range e.Graph().Inputs {
		data, _, shape := g.raw(t, fmt.Sprintf("input_%d.npy", k))
		sample := len(data) / shape[0]
		if err := e.SetInputBytes(k, data[i*sample:(i+count)*sample]); err != nil {
			t.Fatal(err)
		}
	}
}

func checkTensors(t *testing.T, e *integer.Executor, g golden) {
	if g.outputs != "reference_" {
		return
	}
	setInputs(t, e, g, 0, 1)
	checked := 0
	err := e.RunEach(func(n *ir.Node) error {
		for _, i := range n.Outputs {
			want, dtype, _ := g.raw(t, fmt.Sprintf("tensor_%d.npy", i))
			if want == nil {
				continue
			}
			checked++
			if d := g.difference(e.Tensor(i), want, dtype); d != "" {
				t.Errorf("%s: %s: %s", n, &e.Graph().Tensors[i], d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Error("no tensor was compared")
	}
}

func checkOutputs(t *testing.T, e *integer.Executor, g golden) {
	_, _, shape := g.raw(t, "input_0.npy")
	outputs := make([][]byte, len(e.Graph().Outputs))
	for i := 0; i < shape[0]; i += e.Batch() {
		count := min(e.Batch(), shape[0]-i)
		setInputs(t, e, g, i, count)
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		for k := range outputs {
			data := e.OutputBytes(k)
			outputs[k] = append(outputs[k], data[:len(data)*count/e.Batch()]...)
		}
	}
	for k, got := range outputs {
		want, dtype, _ := g.raw(t, fmt.Sprintf("%s%d.npy", g.outputs, k))
		if d := g.difference(got, want, dtype); d != "" {
			t.Errorf("output %d: %s", k, d)
		}
	}
}

// difference says how raw data differs from a golden's, empty if it does not. Large tensors are there as their SHA-256, which
// says nothing of floats.
func (g golden) difference(got, want []byte, dtype string) string {
	if dtype == "|u1" && len(want) == sha256.Size && len(got) != len(want) {
		sum := sha256.Sum256(got)
		if g.integers && !bytes.Equal(sum[:], want) {
			return fmt.Sprintf("%d bytes with another SHA-256", len(got))
		}
		return ""
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
	}
	if dtype == "<f4" {
		return g.floatDifference(got, want)
	}
	count, first := 0, -1
	for i := range got {
		if got[i] != want[i] {
			count++
			if first < 0 {
				first = i
			}
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d bytes differ, byte %d is %d, want %d", count, len(got), first, int8(got[first]), int8(want[first]))
}

func (g golden) floatDifference(got, want []byte) string {
	largest, worst, at := 0.0, 0.0, 0
	for i := 0; i < len(want); i += 4 {
		w := float64(math.Float32frombits(binary.LittleEndian.Uint32(want[i:])))
		d := math.Abs(w - float64(math.Float32frombits(binary.LittleEndian.Uint32(got[i:]))))
		largest = max(largest, math.Abs(w))
		if !(d <= worst) {
			worst, at = d, i/4
		}
	}
	if worst <= g.tolerance*largest {
		return ""
	}
	return fmt.Sprintf("element %d is off by %v, %v of the largest", at, worst, worst/largest)
}

// TestEveryModelRuns compiles and runs every model of the material, with and without answers, uint8 and float ones too.
func TestEveryModelRuns(t *testing.T) {
	for _, path := range testmaterial.Glob(t, "models/*.tflite", "models/ops/*.tflite", "peers/*/*.tflite") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m, err := tflite.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			e := compile(t, m, 2)
			if err := e.Run(); err != nil && !strings.Contains(err.Error(), "not defined for negative numbers") {
				t.Fatal(err)
			}
			for i := range e.Graph().Outputs {
				for _, v := range e.Output(i) {
					if math.IsNaN(float64(v)) {
						t.Fatalf("output %d holds NaN", i)
					}
				}
			}
		})
	}
}
