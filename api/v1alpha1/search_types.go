package v1alpha1

// Search looks for the smallest leaf that meets every constraint, instead of stages that say how: it tries stages of its own, each
// decided from what every layer tolerates and from what the leaves before it gave, most of them without training. What training there is,
// is as the pipeline's training says; with 0 epochs there is none. In a cluster one stage, search, makes all of them.
type Search struct {
	// minimize is the metric to have least of among the leaves that meet every constraint. Trials lower CompressedBytes, and FileBytes and
	// FlashBytes of encoded weights, by codes and zeros; ArenaBytes, Multiplications, LatencyMicros and other files by fewer channels; what a
	// measurement gives by both. Default: the first leaf that meets the constraints is taken, and ends the search.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9_]*[a-z0-9])?$') || self in ['FileBytes', 'FlashBytes', 'CompressedBytes', 'ArenaBytes', 'Multiplications', 'LatencyMicros']",message="a search makes FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications or LatencyMicros less, or what a measurement gives: bound other metrics by constraints"
	Minimize Metric `json:"minimize,omitempty"`
	// maxTrials bounds how many leaves are made and measured, besides the baseline's. Default 24.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	MaxTrials *int32 `json:"maxTrials,omitempty"`
	// maxMinutes bounds the time: once the trials so far took that long, no other begins. Default 60.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) <= 100000.0",message="must be above 0 and at most 100000"
	MaxMinutes *Decimal `json:"maxMinutes,omitempty"`
}
