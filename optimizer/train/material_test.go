package train

import (
	"context"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// openMaterial opens a model of the material and its data.
func openMaterial(t testing.TB, model, data string, spec dataset.Spec) (*tflite.Model, *dataset.Dataset) {
	t.Helper()
	m, err := tflite.ReadFile(testmaterial.Path(t, "models/"+model+".tflite"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open(testmaterial.Path(t, data), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return m, d
}

var mnistSpec = dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: "1/255"}}

// compile makes a network and, for every kernel, a weight tensor.
func compile(t testing.TB, m *tflite.Model) (*float.Network, map[int]*weight.Tensor) {
	t.Helper()
	n, err := float.Compile(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[int]*weight.Tensor{}
	for _, p := range n.Params {
		if p.Kind == float.Bias || p.Kind == float.Constant {
			continue
		}
		w, err := weight.New(p.Name, p.Shape, p.Axis, p.Value)
		if err != nil {
			t.Fatal(err)
		}
		weights[p.Tensor] = w
	}
	return n, weights
}

// attach plans and calibrates int8 quantization of a task's network and quantizes its weights.
func attach(t testing.TB, m *tflite.Model, task *Task, mode RangeMode) {
	t.Helper()
	n := task.Network
	plan, err := quantize.NewPlan(n.Graph, quantize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := quantize.Calibrate(context.Background(), n, plan, quantize.Calibration{}, quantize.FeedOf(task.Train), min(512, task.Train.Len()))
	if err != nil {
		t.Fatal(err)
	}
	quants, err := plan.Attach(n, plan.Params(stats.Ranges))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range task.Weights {
		if err := w.Quantize(w.Channels()); err != nil {
			t.Fatal(err)
		}
	}
	task.Ranges = &Ranges{Plan: plan, Quants: quants, Range: stats.Ranges, Mode: mode}
}

func TestFineTuningRaisesTheAccuracyOfTheMNISTNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	m, d := openMaterial(t, "mnist_cnn_float", "mnist", mnistSpec)
	for _, c := range []struct {
		name string
		mode RangeMode
	}{{"float", ""}, {"quantized, ranges frozen", Frozen}, {"quantized, ranges tracked", Tracked}, {"quantized, ranges learned", Learned}} {
		t.Run(c.name, func(t *testing.T) {
			task := Task{Train: d.Train, Validation: d.Test}
			task.Network, task.Weights = compile(t, m)
			if c.mode != "" {
				attach(t, m, &task, c.mode)
			}
			config := DefaultConfig()
			config.Epochs, config.BatchSize, config.LearningRate = 1, 128, 1e-3
			trainer, err := New(task, config)
			if err != nil {
				t.Fatal(err)
			}
			before, err := trainer.Evaluate(d.Test)
			if err != nil {
				t.Fatal(err)
			}
			result, err := trainer.Run(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("before %+v, after %+v, training %+v, %.0f samples/s", before, *result.Validation, result.Training, float64(result.Samples)/result.Elapsed.Seconds())
			if result.Validation.Accuracy < 0.979 || result.Validation.Accuracy < before.Accuracy {
				t.Errorf("accuracy went from %.4f to %.4f", before.Accuracy, result.Validation.Accuracy)
			}
		})
	}
}
