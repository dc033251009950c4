package report

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// peersWalk is the report of a walk over TFMOT's MNIST leaves, as if they were our own.
func peersWalk(t *testing.T) *Data {
	t.Helper()
	mnist, err := dataset.Open(testmaterial.Path(t, "mnist"), dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: "1/255"}})
	if err != nil {
		t.Fatal(err)
	}
	defer mnist.Close()
	w := walker{t: t, source: dataset.First(mnist.Test, 1000)}
	w.original = w.read("models/mnist_cnn_float.tflite")
	if w.answers, err = measure.Run(context.Background(), w.bytes("models/mnist_cnn_float.tflite"), w.source, measure.Options{}); err != nil {
		t.Fatal(err)
	}
	metrics := w.answers.Metrics(nil)
	metrics[measure.FileBytes], metrics[measure.CompressedBytes] = 83752, float64(measure.CompressedSize(w.bytes("models/mnist_cnn_float.tflite")))
	d := &Data{
		Pipeline: "mnist-cnn", Split: "validation", Tool: "espalier v0.1.0, algorithm 1, amd64 AVX-512",
		Verdict:     Verdict{Outcome: Met, Stage: "pcqat", Reason: "It is the first leaf that does; the walk stopped there."},
		Model:       Input{URI: "models/mnist_cnn_float.tflite", Digest: "sha256:" + strings.Repeat("3f", 32), Facts: []string{"4 operators", "20,410 parameters"}},
		Dataset:     Input{URI: "mnist/", Digest: mnist.Digest, Facts: []string{"60,000 training samples", "10,000 test samples", "10 classes"}},
		Constraints: []Constraint{{Metric: measure.AccuracyDrop, Max: "0.005"}, {Metric: measure.CompressedBytes, Max: "7500"}},
		Notes:       mnist.Notes,
		Stages: []Stage{
			{Name: "baseline", Kind: Baseline, State: StateCompleted, Seconds: 2, Settings: "calibration on 500 samples", Metrics: metrics.Values(),
				Layers: w.layers("models/mnist_cnn_float.tflite"), Leaf: w.leaf("PTQ", "ptq", false)},
			w.float("prune", "prune", "", "pruned", "sparsity 0.5 · 3 epochs", false),
			{Name: "pqat", Kind: "quantize", Final: true, Input: "prune", State: StateCompleted, Settings: "2 epochs", Seconds: 14, Leaf: w.leaf("PQAT", "pqat", false), Epochs: []Epoch{{0.06, 0.978}, {0.055, 0.979}}},
			w.float("cluster", "cluster", "prune", "sparse_clustered", "8 clusters, keeps zeros · 3 epochs", true),
			{Name: "pcqat", Kind: "quantize", Final: true, Input: "cluster", State: StateCompleted, Settings: "2 epochs", Seconds: 15, Leaf: w.leaf("PCQAT", "pcqat", false), Epochs: []Epoch{{0.08, 0.97}, {0.07, 0.975}, {0.066, 0.977}}},
			{Name: "cluster-only", Kind: "cluster", Input: "model", State: StateSkipped, Settings: "8 clusters"},
			{Name: "cqat", Kind: "quantize", Final: true, Input: "cluster-only", State: StateSkipped},
		},
		Decisions: []Decision{
			{"baseline", "leaf rejected", "CompressedBytes is 18882, 11382 above max 7500"},
			{"prune", "leaf rejected", "AccuracyDrop is 0.0069, 0.0019 above max 0.005; CompressedBytes is 13928, 6428 above max 7500"},
			{"pqat", "leaf rejected", "CompressedBytes is 13673, 6173 above max 7500"},
			{"cluster", "leaf rejected", "AccuracyDrop is 0.0059, 0.0009 above max 0.005; CompressedBytes is 8314, 814 above max 7500"},
			{"pcqat", "selected", "it meets every constraint and comes first"},
			{"cluster-only", "skipped", "a leaf was selected before it"},
			{"cqat", "skipped", "a leaf was selected before it"},
		},
	}
	d.judge()
	d.stage("pcqat").Leaf.Selected = true
	return d
}

type walker struct {
	t        *testing.T
	source   dataset.Source
	original *tflite.Model
	answers  *measure.Answers
}

func (w walker) bytes(path string) []byte {
	data, err := os.ReadFile(testmaterial.Path(w.t, path))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w walker) read(path string) *tflite.Model {
	m, err := tflite.Read(w.bytes(path))
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w walker) layers(path string) []Layer {
	layers, err := Layers(w.read(path), w.original)
	if err != nil {
		w.t.Fatal(err)
	}
	return layers
}

// clusters lists all kernels of a leaf.
func (w walker) clusters(path string) []measure.Clustered {
	var list []measure.Clustered
	for _, k := range weight.Kernels(w.read(path)) {
		list = append(list, measure.Clustered{Tensor: k.Tensor})
	}
	return list
}

func (w walker) leaf(technique, name string, clustered bool) *Leaf {
	path := "peers/tfmot_mnist_cnn/" + name + ".tflite"
	options := measure.LeafOptions{Original: w.answers, LatencyBudget: 1}
	if clustered {
		options.Clustered = w.clusters(path)
	}
	r, err := measure.Leaf(context.Background(), w.bytes(path), w.source, options)
	if err != nil {
		w.t.Fatal(err)
	}
	return &Leaf{Technique: technique, Metrics: r.Metrics.Values(), Layers: w.layers(path),
		File: &File{Path: "leaves/" + name + ".tflite", Digest: "sha256:" + strings.Repeat("0a1b", 16), Bytes: int(r.Metrics[measure.FileBytes])}}
}

func (w walker) float(name string, kind string, input, file, settings string, clustered bool) Stage {
	return Stage{Name: name, Kind: kind, Input: input, State: StateCompleted, Settings: settings, Seconds: 21,
		Layers: w.layers("peers/tfmot_mnist_cnn/" + file + "_float.tflite"), Leaf: w.leaf("PTQ", file+"_ptq", clustered),
		Model:  &File{Path: "models/" + name + ".tflite", Digest: "sha256:" + strings.Repeat("9c", 32), Bytes: 83752},
		Epochs: []Epoch{{0.12, 0.96}, {0.09, 0.97}, {0.08, 0.973}}}
}

// judge fills in what leaves miss.
func (d *Data) judge() {
	number := func(text string, otherwise float64) float64 {
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v
		}
		return otherwise
	}
	for i := range d.Stages {
		leaf := d.Stages[i].Leaf
		if leaf == nil {
			continue
		}
		for _, c := range d.Constraints {
			text := value(leaf.Metrics, c.Metric)
			v := number(text, 0)
			if v <= number(c.Max, math.Inf(1)) && v >= number(c.Min, math.Inf(-1)) {
				continue
			}
			leaf.Missed = append(leaf.Missed, Shortfall{Constraint: c, Value: text, Text: fmt.Sprintf("%s is %s, out of bounds", c.Metric, text)})
		}
	}
}

// TestReportOfPeers writes the page to a folder to look at: ESPALIER_REPORT says which.
func TestReportOfPeers(t *testing.T) {
	d := peersWalk(t)
	dir := os.Getenv("ESPALIER_REPORT")
	if dir == "" {
		dir = t.TempDir()
	}
	f, err := os.Create(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, d); err != nil {
		t.Fatal(err)
	}
}
