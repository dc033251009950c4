package measure

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

func material(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(testmaterial.Path(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(t testing.TB, path string, spec dataset.Spec) *dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(testmaterial.Path(t, path), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// The accuracies are those of LiteRT 2's reference kernels on the same files and samples. material/README.md has XNNPACK's, which
// differ by one sample for four of them.
func TestLeavesOfAPeer(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 samples through eight models")
	}
	mnist := open(t, "mnist", dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: "1/255"}})
	original, err := Run(context.Background(), material(t, "models/mnist_cnn_float.tflite"), mnist.Test, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := Format(original.Metrics(nil)[Accuracy]); got != "0.9797" {
		t.Errorf("the float model's accuracy is %s, want 0.9797", got)
	}
	tests := map[string]struct {
		accuracy  string
		sparsity  float64
		clustered bool
		clusters  float64
	}{
		"ptq":                  {"0.9795", 0.0214, false, 255},
		"pruned_ptq":           {"0.9728", 0.5, false, 255},
		"clustered_ptq":        {"0.9786", 0, true, 21},
		"sparse_clustered_ptq": {"0.9738", 0.5, true, 16},
		"qat":                  {"0.9814", 0.0269, false, 255},
		"pqat":                 {"0.9794", 0.5, false, 255},
		"cqat":                 {"0.9781", 0, false, 255},
		"pcqat":                {"0.9765", 0.5967, false, 255},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			model := material(t, filepath.Join("peers/tfmot_mnist_cnn", name+".tflite"))
			options := LeafOptions{Original: original, LatencyBudget: -1}
			if tt.clustered {
				options.Clustered = kernelsOf(t, model)
			}
			r, err := Leaf(context.Background(), model, mnist.Test, options)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.Metrics.Values())
			if got := Format(r.Metrics[Accuracy]); got != tt.accuracy {
				t.Errorf("accuracy %s, want %s", got, tt.accuracy)
			}
			if got := r.Metrics[Sparsity]; math.Abs(got-tt.sparsity) > 1e-4 {
				t.Errorf("sparsity %v, want about %v", got, tt.sparsity)
			}
			if got := r.Metrics[Clusters]; got != tt.clusters {
				t.Errorf("%v clusters, want %v", got, tt.clusters)
			}
		})
	}
}

// kernelsOf lists all kernels of a leaf.
func kernelsOf(t *testing.T, model []byte) []Clustered {
	t.Helper()
	m, err := tflite.Read(model)
	if err != nil {
		t.Fatal(err)
	}
	var list []Clustered
	for _, k := range weight.Kernels(m) {
		list = append(list, Clustered{Tensor: k.Tensor})
	}
	return list
}

// The accuracies are those of material/README.md, of the int8 model by LiteRT's reference kernels (XNNPACK's: 0.902).
func TestAccuracyOfPublishedModels(t *testing.T) {
	kws := dataset.Spec{Stored: dataset.Stored{Scale: "0.5847029", ZeroPoint: 83}}
	tests := map[string]struct {
		model, data string
		spec        dataset.Spec
		want        string
	}{
		"keyword spotting, float": {"models/kws_ref_float.tflite", "kws01/kws01_int8.npz", kws, "0.913"},
		"keyword spotting, int8":  {"models/kws_ref_model.tflite", "kws01/kws01_int8.npz", kws, "0.901"},
		"spoken digits, float":    {"models/fsdd_ds_cnn_l_float.tflite", "fsdd/fsdd_mfcc.npz", dataset.Spec{}, "0.881"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			answers, err := Run(context.Background(), material(t, tt.model), open(t, tt.data, tt.spec).Test, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := Format(answers.Metrics(nil)[Accuracy]); got != tt.want {
				t.Errorf("accuracy %s, want %s", got, tt.want)
			}
		})
	}
}
