package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
)

// Constraint bounds one metric of a leaf. Accuracy, Agreement, AUC, MeanIoU, F1 and Sparsity are bounded from below by min, all others
// from above by max; the other bound may be there as well. What measurements give may be bounded by either.
//
// +kubebuilder:validation:XValidation:rule="has(self.min) || has(self.max)",message="a constraint needs min or max"
// +kubebuilder:validation:XValidation:rule="!(has(self.min) || has(self.max)) || (self.metric in ['Accuracy', 'Agreement', 'AUC', 'MeanIoU', 'F1', 'Sparsity'] ? has(self.min) : has(self.max) || self.metric.matches('^[a-z]'))",message="more of Accuracy, Agreement, AUC, MeanIoU, F1 and Sparsity is better: bound them by min; less of every other metric is: bound it by max"
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",message="min must not be above max"
// +kubebuilder:validation:XValidation:rule="!(self.metric in ['Accuracy', 'AccuracyDrop', 'Agreement', 'AUC', 'MeanIoU', 'F1', 'Sparsity']) || ((!has(self.min) || double(self.min) <= 1.0) && (!has(self.max) || double(self.max) <= 1.0))",message="Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1 and Sparsity are shares, at most 1: write 0.95 for 95 %"
// +kubebuilder:validation:XValidation:rule="!has(self.output) || size(self.output) == 0 || !(self.metric in ['Sparsity', 'Clusters', 'FileBytes', 'FlashBytes', 'CompressedBytes', 'ArenaBytes', 'Multiplications', 'LatencyMicros'])",message="Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications and LatencyMicros are of the whole model: leave output out"
// +kubebuilder:validation:XValidation:rule="!has(self.output) || size(self.output) == 0 || !self.metric.matches('^[a-z]')",message="what measurements give is of the whole leaf: leave output out"
// +kubebuilder:validation:XValidation:rule="!has(self.confidence) || (self.metric in ['Accuracy', 'AccuracyDrop', 'Agreement'] && (!has(self.output) || size(self.output) == 0))",message="only Accuracy, AccuracyDrop and Agreement of the main output have a confidence: leave it out, or output"
type Constraint struct {
	// metric that is bounded, always of the emitted leaf, on the split that decides: Accuracy; AccuracyDrop, the float model's accuracy minus
	// the leaf's; Agreement, the share of answers that leaf and original model have in common, of an embedding the mean cosine between theirs,
	// which needs no labels; AUC; MeanIoU, of a class at every position the intersection over union, mean over classes; F1, of several labels,
	// mean over labels; MeanSquaredError; RelativeError, the error as a share of the target's own spread, without a target of the original's
	// answers; Sparsity, the share of zeros in the weights that are pruned by default; Clusters, the most distinct codes of a clustered
	// tensor, 255 where none is; FileBytes; FlashBytes, what the model takes of the flash of a target with TFLM, encoded weights as they lie
	// there; CompressedBytes, of the file under DEFLATE level 9; ArenaBytes, the memory of activations; Multiplications of convolutions and matrix products for one sample; LatencyMicros, the median of one sample on one thread of the node it ran on; or the name of one that measurements give.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9_]*[a-z0-9])?$') || self in ['Accuracy', 'AccuracyDrop', 'Agreement', 'AUC', 'MeanIoU', 'F1', 'MeanSquaredError', 'RelativeError', 'Sparsity', 'Clusters', 'FileBytes', 'FlashBytes', 'CompressedBytes', 'ArenaBytes', 'Multiplications', 'LatencyMicros']",message="a metric is Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1, MeanSquaredError, RelativeError, Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications or LatencyMicros, or one that measurements give, whose names have small letters, digits and _"
	Metric Metric `json:"metric,omitempty"`
	// output names the output of the model that the metric is of, as the lines before the first stage do. Default: the main output,
	// the first with labels.
	// +optional
	// +default=""
	// +kubebuilder:validation:MaxLength=63
	Output string `json:"output,omitempty"`
	// min is the least value allowed, a decimal.
	// +optional
	Min *Decimal `json:"min,omitempty"`
	// max is the largest value allowed, a decimal.
	// +optional
	Max *Decimal `json:"max,omitempty"`
	// confidence has not the measured value but the interval around it meet the bounds, such as "0.95": the two-sided interval in which
	// the metric of all samples of the kind lies, of AccuracyDrop between the models sample by sample. Default: the value itself.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.5 && double(self) < 1.0",message="must be at least 0.5 and below 1, such as 0.95"
	Confidence *Decimal `json:"confidence,omitempty"`
}

// Metric names what is measured of a leaf: one of the constants, or a name that measurements give.
//
// +kubebuilder:validation:MaxLength=27
type Metric string

// The metrics.
const (
	Accuracy         Metric = "Accuracy"
	AccuracyDrop     Metric = "AccuracyDrop"
	Agreement        Metric = "Agreement"
	AUC              Metric = "AUC"
	MeanIoU          Metric = "MeanIoU"
	F1               Metric = "F1"
	MeanSquaredError Metric = "MeanSquaredError"
	RelativeError    Metric = "RelativeError"
	Sparsity         Metric = "Sparsity"
	Clusters         Metric = "Clusters"
	FileBytes        Metric = "FileBytes"
	FlashBytes       Metric = "FlashBytes"
	CompressedBytes  Metric = "CompressedBytes"
	ArenaBytes       Metric = "ArenaBytes"
	Multiplications  Metric = "Multiplications"
	LatencyMicros    Metric = "LatencyMicros"
)

// The bounds of metrics in a status.
const (
	MaxMetrics     = 12
	MaxMetricName  = 27
	MaxMetricValue = 16
)

// Of is the name, in a status, of the metric of an output that is not the main one: MeanSquaredError/box. Of an output whose name is long
// or has spaces it is the beginning, and a few digits that tell it from others.
func (m Metric) Of(output string) string {
	if output == "" {
		return string(m)
	}
	word := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, output)
	room := MaxMetricName - len(m) - len("/")
	if word == output && len(word) <= room {
		return string(m) + "/" + word
	}
	sum := sha256.Sum256([]byte(output))
	digits := "~" + hex.EncodeToString(sum[:2])
	word = strings.ToValidUTF8(word[:max(0, min(len(word), room-len(digits)))], "")
	return string(m) + "/" + word + digits
}

// HigherIsBetter reports whether more of the metric is better.
func (m Metric) HigherIsBetter() bool {
	return m == Accuracy || m == Agreement || m == AUC || m == MeanIoU || m == F1 || m == Sparsity
}

// Selection says which satisfying leaf is taken.
//
// +kubebuilder:validation:XValidation:rule="!has(self.objective) || (has(self.strategy) && self.strategy == 'Best')",message="objective applies to strategy Best only"
type Selection struct {
	// strategy: First takes the first leaf that satisfies and skips the rest; Best runs all and takes the satisfying leaf with the
	// best objective. Default First.
	// +optional
	// +kubebuilder:validation:Enum=First;Best
	Strategy string `json:"strategy,omitempty"`
	// objective of strategy Best: least, or of Accuracy, Agreement, AUC, MeanIoU, F1 and Sparsity most; of what a measurement gives,
	// least. Default CompressedBytes.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9_]*[a-z0-9])?$') || self in ['Accuracy', 'AccuracyDrop', 'Agreement', 'AUC', 'MeanIoU', 'F1', 'MeanSquaredError', 'RelativeError', 'Sparsity', 'Clusters', 'FileBytes', 'FlashBytes', 'CompressedBytes', 'ArenaBytes', 'Multiplications', 'LatencyMicros']",message="a metric is Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1, MeanSquaredError, RelativeError, Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications or LatencyMicros, or one that measurements give, whose names have small letters, digits and _"
	Objective Metric `json:"objective,omitempty"`
}

// The strategies.
const (
	SelectFirst = "First"
	SelectBest  = "Best"
)
