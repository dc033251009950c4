package integer_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// The networks and answers are those of hack/peers/recurrent.py. An LSTM begins every sequence anew; SVDF goes on until it is reset.
func TestRecurrentOperatorsGiveTheReferenceKernelsAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/recurrent/*.tflite")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d networks: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".tflite")
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			g := openGolden(t, strings.TrimSuffix(file, ".tflite")+".npz", "")
			if strings.HasPrefix(name, "lstm") && !strings.Contains(name, "coupled") { // TFLM wants all gates
				e, err := integer.Compile(m, 0, integer.TFLM())
				if err != nil {
					t.Fatal(err)
				}
				g.outputs = "tflm_"
				checkOutputs(t, e, g)
			}
			g.outputs = "output_"
			e := compile(t, m, 0)
			checkOutputs(t, e, g)
			checkOutputs(t, e.Clone(), g)
			keeps := strings.HasPrefix(name, "svdf")
			if e.Stateful() != keeps {
				t.Errorf("stateful: %v", e.Stateful())
			}
			last := bytes.Clone(e.OutputBytes(0))
			if err := e.Run(); err != nil || bytes.Equal(last, e.OutputBytes(0)) == keeps {
				t.Errorf("the same input once more gives the same: %v, %v", bytes.Equal(last, e.OutputBytes(0)), err)
			}
			e.Reset()
			checkOutputs(t, e, g)
		})
	}
}

func TestRecurrentOperatorsThatCannotRunSayWhy(t *testing.T) {
	for want, change := range map[string]func(m *tflite.Model){
		"is not INT16 of a scale that is a power of two":                           func(m *tflite.Model) { tensor(m, "cell_state").Quantization.Scale[0] = 0.001 },
		"has scale 2^-16, LiteRT's kernel computes the tanh of 2^-15 to 2^-9 only": func(m *tflite.Model) { tensor(m, "cell_state").Quantization.Scale[0] = 1.0 / (1 << 16) },
		"peephole connections inside a quantized one are not supported": func(m *tflite.Model) {
			m.Subgraph().Operators[0].Inputs[9] = m.Subgraph().Operators[0].Inputs[12]
		},
		"only those that activate by TANH": func(m *tflite.Model) {
			m.Subgraph().Operators[0].BuiltinOptions.Value.(*schema.UnidirectionalSequenceLSTMOptionsT).FusedActivationFunction = schema.ActivationFunctionTypeRELU
		},
		"does not say how its hidden values are quantized": func(m *tflite.Model) { m.Subgraph().Operators[0].Intermediates = nil },
	} {
		m, err := tflite.ReadFile("testdata/recurrent/lstm_int8.tflite")
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		if _, err := integer.Compile(m, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func tensor(m *tflite.Model, name string) *schema.TensorT {
	for _, t := range m.Subgraph().Tensors {
		if t.Name == name {
			return t
		}
	}
	return nil
}
