package v1alpha1

// Training are the settings of a stage's training. A stage overrides the pipeline's field by field; epochs in one place set maxEpochs and
// maxMinutes in the other aside, and the reverse.
//
// +kubebuilder:validation:XValidation:rule="!has(self.epochs) || !(has(self.maxEpochs) || has(self.maxMinutes))",message="epochs is how many there are: leave maxEpochs and maxMinutes out, or it"
type Training struct {
	// epochs over the training samples, neither more nor less. Default 3; 0 trains nothing: the technique is applied and measured.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Epochs *int32 `json:"epochs,omitempty"`
	// maxEpochs has the validation loss decide how many epochs there are, up to so many: the learning rate stays until the loss has not
	// fallen for earlyStopEpochs (default here 2), then falls to 0 from the best weights. Default: epochs counts.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxEpochs *int32 `json:"maxEpochs,omitempty"`
	// maxMinutes of a stage's training, a decimal: as with maxEpochs, up to as many epochs as fit by the speed of the first, at least 3. The
	// result says how many those are; maxEpochs of that number gives the same bytes on any machine.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) <= 100000.0",message="must be above 0 and at most 100000"
	MaxMinutes *Decimal `json:"maxMinutes,omitempty"`
	// batchSize is the samples of one optimizer step. Default 64.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	BatchSize *int32 `json:"batchSize,omitempty"`
	// learningRate at the start of the schedule, a decimal above 0. Default: found by a short test of rates at the beginning of the
	// stage's training, which goes back and on with less if it diverges, and ends with the best of its weights and those before it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) <= 1000.0",message="must be above 0 and at most 1000"
	LearningRate *Decimal `json:"learningRate,omitempty"`
	// optimizer. Default Adam.
	// +optional
	// +kubebuilder:validation:Enum=Adam;AdamW;SGD
	Optimizer string `json:"optimizer,omitempty"`
	// momentum of SGD, in [0, 1). Default 0.9.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1"
	Momentum *Decimal `json:"momentum,omitempty"`
	// weightDecay is AdamW's and SGD's decoupled decay. Default 0.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) <= 1000.0",message="must be at least 0 and at most 1000"
	WeightDecay *Decimal `json:"weightDecay,omitempty"`
	// schedule of the learning rate over the stage: Constant, Cosine down to 0, or Step. Default Cosine.
	// +optional
	// +kubebuilder:validation:Enum=Constant;Cosine;Step
	Schedule string `json:"schedule,omitempty"`
	// stepEpochs is how many epochs lie between changes of schedule Step. Default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	StepEpochs *int32 `json:"stepEpochs,omitempty"`
	// stepFactor is what each change of schedule Step multiplies the learning rate by, in (0, 1]. Default 0.5.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) <= 1.0",message="must be above 0 and at most 1"
	StepFactor *Decimal `json:"stepFactor,omitempty"`
	// warmupEpochs raise the learning rate linearly first, a decimal. Default 0.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) <= 10000.0",message="must be at least 0 and at most 10000"
	WarmupEpochs *Decimal `json:"warmupEpochs,omitempty"`
	// clipNorm bounds the norm of all gradients together. Default 0: no bound, or where the learning rate is found four times the greatest
	// norm that its test met.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) <= 1000000000.0",message="must be at least 0 and at most 1e9"
	ClipNorm *Decimal `json:"clipNorm,omitempty"`
	// labelSmoothing is the share of a label spread over all classes, in [0, 1). Default 0.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1"
	LabelSmoothing *Decimal `json:"labelSmoothing,omitempty"`
	// classWeights weigh the loss by class, one decimal each. Default: all 1.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:XValidation:rule="double(self) >= 0.0",message="must be at least 0"
	ClassWeights []Decimal `json:"classWeights,omitempty"`
	// distillation mixes the original model's answers into the loss. Without labels it is the whole loss.
	// +optional
	Distillation *Distillation `json:"distillation,omitempty"`
	// earlyStopEpochs ends a stage after so many epochs without a better validation loss, and goes back to the best. Default 0:
	// never.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	EarlyStopEpochs *int32 `json:"earlyStopEpochs,omitempty"`
	// seed of everything random. Default 1. The same seed gives the same bytes.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Seed *int64 `json:"seed,omitempty"`
}

// Distillation has the pipeline's original model teach.
type Distillation struct {
	// weight of the teacher in the loss, in [0, 1]; the labels have the rest. Default 0.5; without labels it is 1.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) <= 1.0",message="must be at least 0 and at most 1"
	Weight *Decimal `json:"weight,omitempty"`
	// temperature softens both answers, a decimal. Default 2.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.001 && double(self) <= 1000.0",message="must be at least 0.001 and at most 1000"
	Temperature *Decimal `json:"temperature,omitempty"`
}
