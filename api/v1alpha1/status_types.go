package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OptimizationPipelineStatus is what was done and decided.
type OptimizationPipelineStatus struct {
	// conditions: Ready sums up; Reconciling says that something will still happen, Stalled that nothing will until spec or the
	// annotation espalier.dev/rerun changes, never both; ConstraintsMet says whether a leaf meets every constraint; Published, whether a
	// leaf is published, for which generation, or why none is.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// progress is completed stages of the spec / stages of the spec, such as 4/5.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Progress string `json:"progress,omitempty"`
	// algorithmVersion of the optimizer that made the results. An upgrade of the operator does not run a finished pipeline again.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AlgorithmVersion string `json:"algorithmVersion,omitempty"`
	// rerun is the last token of the annotation espalier.dev/rerun that was acted on.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Rerun string `json:"rerun,omitempty"`
	// baseline is what was read: pinned digests and the float model's metrics.
	// +optional
	Baseline *Baseline `json:"baseline,omitempty"`
	// stages, in the order of the spec, after the implicit baseline and before the implicit publish.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=34
	Stages []StageStatus `json:"stages,omitempty"`
	// selected is the leaf that was taken, by this generation. It is empty until there is an answer.
	// +optional
	Selected *Selected `json:"selected,omitempty"`
	// published is the leaf for use: the one that was published last. It stands, whatever is edited meanwhile, until another one is
	// published or an answer without a leaf withdraws it.
	// +optional
	Published *Published `json:"published,omitempty"`
}

// Baseline is what every stage starts from.
type Baseline struct {
	// modelDigest pins the model's content.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	ModelDigest string `json:"modelDigest,omitempty"`
	// datasetDigest pins the dataset's content.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	DatasetDigest string `json:"datasetDigest,omitempty"`
	// metrics of the model as given.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=12
	Metrics []MetricValue `json:"metrics,omitempty"`
}

// MetricValue is one measured number.
type MetricValue struct {
	// name of the metric; of an output that is not the main one with its name, such as MeanSquaredError/box.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=27
	Name string `json:"name,omitempty"`
	// value, a decimal with at most six places.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Value string `json:"value,omitempty"`
}

// StageState is where a stage stands.
//
// +kubebuilder:validation:Enum=Pending;Queued;Running;Stopping;Completed;Failed;Skipped
type StageState string

// The states.
const (
	StagePending   StageState = "Pending"
	StageQueued    StageState = "Queued"
	StageRunning   StageState = "Running"
	StageStopping  StageState = "Stopping"
	StageCompleted StageState = "Completed"
	StageFailed    StageState = "Failed"
	StageSkipped   StageState = "Skipped"
)

// StageStatus is one stage's outcome.
type StageStatus struct {
	// name of the stage.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name,omitempty"`
	// input is the stage it works on, or model.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Input string `json:"input,omitempty"`
	// state of the stage: Pending, it waits for its input, its turn or a retry; Queued, for quota, capacity or a volume; Running;
	// Stopping; Completed; Failed, for good; Skipped, it cannot run or the answer is known without it.
	// +optional
	State StageState `json:"state,omitempty"`
	// attempt counts from 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempt int32 `json:"attempt,omitempty"`
	// failures are the attempts that failed since the stage's inputs, the spec and the annotation espalier.dev/rerun are what they are.
	// They count against retries, whatever becomes of their Jobs; a stage that completed has none. VersionMismatch is not counted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Failures int32 `json:"failures,omitempty"`
	// lastFailure is the last attempt that failed, counted or not.
	// +optional
	LastFailure *StageFailure `json:"lastFailure,omitempty"`
	// job of the current or last attempt.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Job string `json:"job,omitempty"`
	// inputHash names the stage's result in the store.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	InputHash string `json:"inputHash,omitempty"`
	// reused says that the result was there already.
	// +optional
	Reused bool `json:"reused,omitempty"`
	// startTime of the stage.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime of the stage.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// settings are what the stage trains with, defaults filled in.
	// +optional
	Settings *StageSettings `json:"settings,omitempty"`
	// model is the float model that later stages build on.
	// +optional
	Model *Artifact `json:"model,omitempty"`
	// leaf is the deployable int8 model.
	// +optional
	Leaf *Leaf `json:"leaf,omitempty"`
	// message says why the stage stands where it does; of a failure, the reason, a colon and the cause.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// StageFailure is an attempt that failed.
type StageFailure struct {
	// attempt that failed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempt int32 `json:"attempt,omitempty"`
	// time at which it did.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// message says why: the reason, a colon and the cause.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// StageSettings are the settings of a training that defaults and the pipeline most often decide. The report has all.
type StageSettings struct {
	// epochs over the training samples. Where the validation loss decides, it is there once the stage has trained.
	// +optional
	Epochs *int32 `json:"epochs,omitempty"`
	// batchSize of one step.
	// +optional
	BatchSize int32 `json:"batchSize,omitempty"`
	// learningRate at the start of the schedule, a decimal. Where the manifest names none it is there once the stage has found one.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	LearningRate string `json:"learningRate,omitempty"`
	// optimizer of the training.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	Optimizer string `json:"optimizer,omitempty"`
	// schedule of the learning rate.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	Schedule string `json:"schedule,omitempty"`
	// seed of everything random.
	// +optional
	Seed *int64 `json:"seed,omitempty"`
}

// Artifact is a file in the store.
type Artifact struct {
	// digest of its content.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
}

// Leaf is a deployable model and what was measured of it.
type Leaf struct {
	// digest of its content.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
	// metrics of the emitted file on the validation split.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=12
	Metrics []MetricValue `json:"metrics,omitempty"`
	// samples that Accuracy, AccuracyDrop and Agreement tell as much as: those of the validation split; of a model with many answers a
	// sample, as many as would have one answer each and vary as much. Intervals follow from it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Samples int32 `json:"samples,omitempty"`
	// changed are those samples that only one of model and leaf answers right.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Changed int32 `json:"changed,omitempty"`
}

// MetricInterval is where a metric of all samples of the kind lies, with the confidence that a constraint asks for, else 0.95.
type MetricInterval struct {
	// name of the metric.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=12
	Name string `json:"name,omitempty"`
	// low end, a decimal with at most four places.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=7
	Low string `json:"low,omitempty"`
	// high end, a decimal with at most four places.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=7
	High string `json:"high,omitempty"`
	// confidence of the interval, a decimal.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Confidence string `json:"confidence,omitempty"`
}

// Selected is the leaf that was taken.
type Selected struct {
	// stage the leaf is of.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Stage string `json:"stage,omitempty"`
	// digest of the file's content.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
	// uri of the file: where it is published, and until then in the store. It holds the digest, so that it leads to no other leaf.
	// +optional
	// +kubebuilder:validation:MaxLength=1280
	URI string `json:"uri,omitempty"`
	// metrics of the leaf.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=12
	Metrics []MetricValue `json:"metrics,omitempty"`
	// intervals of Accuracy, AccuracyDrop and Agreement.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=3
	Intervals []MetricInterval `json:"intervals,omitempty"`
}

// Published is the leaf that was published last.
type Published struct {
	// generation of the spec that it is the answer of.
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// stage the leaf is of.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Stage string `json:"stage,omitempty"`
	// digest of the file's content.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
	// uri of the file. It holds the digest, so that it leads to no other leaf; what it leads to stays until the publication after the next.
	// +optional
	// +kubebuilder:validation:MaxLength=1280
	URI string `json:"uri,omitempty"`
	// time at which it was published.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// metrics of the leaf.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=12
	Metrics []MetricValue `json:"metrics,omitempty"`
}

// Condition types.
const (
	ConditionReady          = "Ready"
	ConditionReconciling    = "Reconciling"
	ConditionStalled        = "Stalled"
	ConditionConstraintsMet = "ConstraintsMet"
	ConditionPublished      = "Published"
)

// RerunAnnotation holds a token, at most 63 characters of any kind: another token than the last has the model and the dataset read
// anew, and every stage that follows from what changed run again.
const RerunAnnotation = "espalier.dev/rerun"

// The bounds of texts in a status, in bytes, so that the largest status stays under 64 KiB.
const (
	MaxStageMessage     = 256
	MaxConditionMessage = 1024
	MaxRerunToken       = 63
)
