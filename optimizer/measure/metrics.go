package measure

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Name is the name of a metric.
type Name string

// The metrics a leaf can have.
const (
	Accuracy         Name = "Accuracy"         // share of answers that are right, at every position
	AccuracyDrop     Name = "AccuracyDrop"     // accuracy of the float original minus the leaf's
	Agreement        Name = "Agreement"        // share of answers that are the original's; of an embedding the mean cosine with the original's
	AUC              Name = "AUC"              // area under the ROC curve, of two classes
	MeanIoU          Name = "MeanIoU"          // of a class at every position: intersection over union, mean over classes
	F1               Name = "F1"               // of several labels: mean over labels
	MeanSquaredError Name = "MeanSquaredError" // of numbers; of an autoencoder against its input
	RelativeError    Name = "RelativeError"    // of numbers: error as a share of the target's own spread; without a target, of the original's
	Sparsity         Name = "Sparsity"         // zeros over the weights of kernels prunable by default
	Clusters         Name = "Clusters"         // largest count of distinct codes among the clustered tensors, 255 without any
	FileBytes        Name = "FileBytes"
	FlashBytes       Name = "FlashBytes"      // of a target with TFLM: the file as it lies in flash, encoded weights and all
	CompressedBytes  Name = "CompressedBytes" // of the file under DEFLATE level 9
	ArenaBytes       Name = "ArenaBytes"      // activations for one sample
	Multiplications  Name = "Multiplications" // of convolutions and matrix products, for one sample
	LatencyMicros    Name = "LatencyMicros"   // median of one sample on one thread of this machine
)

// Names are the metrics in the order they are shown.
var Names = []Name{Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1, MeanSquaredError, RelativeError, Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications, LatencyMicros}

// Metrics are the figures of a model; those that it cannot have, such as Accuracy without labels, are absent.
type Metrics map[Name]float64

// Value is a metric as it is written down.
type Value struct {
	Name  Name
	Value string
}

// Values lists the metrics in the order of Names, formatted.
func (m Metrics) Values() []Value {
	var out []Value
	for _, name := range Names {
		if v, ok := m[name]; ok {
			out = append(out, Value{name, Format(v)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name.Output() != "" {
			out = append(out, Value{name, Format(m[name])})
		}
	}
	return out
}

// Of is the metric of an output that is not the main one: "MeanSquaredError/box".
func (n Name) Of(output string) Name { return n + "/" + Name(output) }

// Output is the output that a metric is of, "" of the main one's and those of the whole model.
func (n Name) Output() string {
	_, output, _ := strings.Cut(string(n), "/")
	return output
}

// Metric is the name without the output.
func (n Name) Metric() Name {
	metric, _, _ := strings.Cut(string(n), "/")
	return Name(metric)
}

// OfAnswers reports whether the metric is of answers to samples. The others are of the file, or of the machine.
func (n Name) OfAnswers() bool {
	return !slices.Contains([]Name{Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications, LatencyMicros}, n.Metric())
}

// Format writes a metric as a decimal of at most six places.
func Format(v float64) string {
	text := strconv.FormatFloat(v, 'f', 6, 64)
	text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	if text == "-0" {
		return "0"
	}
	return text
}

// Higher reports whether more of a metric is better.
func (n Name) Higher() bool {
	return slices.Contains([]Name{Accuracy, Agreement, AUC, MeanIoU, F1, Sparsity}, n.Metric())
}
