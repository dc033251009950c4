package v1alpha1

import "slices"

// LeafOptions say how leaves are made, the baseline's and those of every stage. A quantize stage may say otherwise for its own.
//
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || self.weights != 'Int4' || !has(self.activations) || self.activations != 'Int16'",message="weights Int4 go with activations Int8 only"
type LeafOptions struct {
	// calibration finds the ranges of activations.
	// +optional
	Calibration Calibration `json:"calibration,omitempty,omitzero"`
	// inputOutput is the type of leaves' inputs and outputs. Int8 is that of the activations beside them, which Int16 makes int16.
	// Default: as those of an int8 model, else Int8.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Float32
	InputOutput string `json:"inputOutput,omitempty"`
	// perTensorDense gives fully connected layers one weight scale, for runtimes without per-channel ones (TensorFlow Lite before
	// 2.17, TFLM before 2024); cluster stages give them scope Tensor. Default false.
	// +optional
	PerTensorDense *bool `json:"perTensorDense,omitempty"`
	// keepFloat names layers that stay float: patterns for names of their weights and outputs, in which * stands for any run of
	// characters, ? for any one. One that matches nothing is an error.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	KeepFloat []string `json:"keepFloat,omitempty"`
	// reconstruct rounds weights by the error of their layer's output on up to 512 training samples without their labels, and sets
	// biases to what makes up for it. Default false.
	// +optional
	Reconstruct *bool `json:"reconstruct,omitempty"`
	// equalize scales channels against each other before quantization, which changes nothing of what the float network answers, such that the
	// quantized outputs have the least error on up to 512 training samples without their labels. It helps where channels of one activation
	// differ much in size, as behind depthwise convolutions. RELU6 stays, and what it lets through is what it lets through of these samples.
	// Default false, but true for a target that takes one scale a tensor.
	// +optional
	Equalize *bool `json:"equalize,omitempty"`
	// activations of leaves: Int8, or Int16 with weights of 8 bits (16x8), which is nearer to float and takes twice the memory of
	// activations. Operators without an int16 kernel stay float. Default: as the model's, else Int8.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Int16
	Activations string `json:"activations,omitempty"`
	// weights of leaves: Int8, or Int4, which takes half the space. Layers of which LiteRT has no kernel for it keep 8 bits, which the
	// report says. Fully connected layers for TFLM need perTensorDense. Default: as the model's, else Int8.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Int4
	Weights string `json:"weights,omitempty"`
	// rules give layers other activations or weights, by name; of each the first that matches and says so counts, and one that matches
	// nothing is an error.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Rules []LeafRule `json:"rules,omitempty"`
	// encode holds weights of 8 bits encoded in the file, which TFLM's DECODE operator decodes as it runs: LUT, Huffman, Prune, or Auto,
	// for each tensor the smallest, where the file gets smaller by it. The device needs memory for what is decoded, and LiteRT does not
	// run such a file. It needs a target with TFLM. Default None.
	// +optional
	// +kubebuilder:validation:Enum=None;Auto;LUT;Huffman;Prune
	Encode string `json:"encode,omitempty"`
	// names of tensors in leaves, but for inputs, outputs and signatures: Keep, as the model has them, or Drop. No runtime asks for them, and in
	// small networks they are a good part of the file; commands call tensors by their operators then. Models between stages keep theirs.
	// Default Keep; Drop in a search for a target with TFLM that minimizes or bounds FileBytes, FlashBytes or CompressedBytes.
	// +optional
	// +kubebuilder:validation:Enum=Keep;Drop
	Names string `json:"names,omitempty"`
}

// DropNames are leaf options' names of leaves that have none of inner tensors.
const DropNames = "Drop"

// LeafRule changes how layers are quantized.
//
// +kubebuilder:validation:XValidation:rule="has(self.activations) || has(self.weights)",message="a rule says activations, weights, or both"
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || self.weights != 'Int4' || !has(self.activations) || self.activations != 'Int16'",message="weights Int4 go with activations Int8 only"
type LeafRule struct {
	// layers is a pattern for names of weights and outputs; * stands for any run of characters, ? for any one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Layers string `json:"layers,omitempty"`
	// activations of these layers.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Int16
	Activations string `json:"activations,omitempty"`
	// weights of these layers.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Int4
	Weights string `json:"weights,omitempty"`
}

// Encoded reports whether weights lie encoded in the file.
func (o LeafOptions) Encoded() bool { return o.Encode != "" && o.Encode != "None" }

// EffectiveLeaf merges the pipeline's leaf options, with what a search assumes, and those of a quantize stage, field by field; the stage's
// win. A nil stage is the baseline.
func (s *OptimizationPipelineSpec) EffectiveLeaf(stage *Stage) LeafOptions {
	o := s.Leaf
	if o.Names == "" && s.Search != nil && s.Target.Runtime == "TFLM" && s.bytesCount() {
		o.Names = DropNames
	}
	if stage == nil || stage.Quantize == nil {
		return o
	}
	q := stage.Quantize
	if q.Calibration.Method != "" && q.Calibration.Method != o.Calibration.Method {
		o.Calibration.Percentile = nil
	}
	overrideText(&o.Calibration.Method, q.Calibration.Method)
	override(&o.Calibration.Percentile, q.Calibration.Percentile)
	override(&o.Calibration.Samples, q.Calibration.Samples)
	overrideText(&o.InputOutput, q.InputOutput)
	override(&o.PerTensorDense, q.PerTensorDense)
	override(&o.Reconstruct, q.Reconstruct)
	override(&o.Equalize, q.Equalize)
	if q.KeepFloat != nil {
		o.KeepFloat = q.KeepFloat
	}
	overrideText(&o.Activations, q.Activations)
	overrideText(&o.Weights, q.Weights)
	if q.Rules != nil {
		o.Rules = q.Rules
	}
	overrideText(&o.Encode, q.Encode)
	overrideText(&o.Names, q.Names)
	return o
}

// bytesCount reports whether the search minimizes or a constraint bounds the size of the leaf's file.
func (s *OptimizationPipelineSpec) bytesCount() bool {
	sizes := []Metric{FileBytes, FlashBytes, CompressedBytes}
	return slices.Contains(sizes, s.Search.Minimize) || slices.ContainsFunc(s.Constraints, func(c Constraint) bool { return slices.Contains(sizes, c.Metric) })
}

// With returns the stage's settings with the leaf options that hold for it.
func (q Quantize) With(o LeafOptions) Quantize {
	q.Calibration, q.InputOutput, q.PerTensorDense, q.KeepFloat, q.Reconstruct = o.Calibration, o.InputOutput, o.PerTensorDense, o.KeepFloat, o.Reconstruct
	q.Equalize, q.Activations, q.Weights, q.Rules, q.Encode, q.Names = o.Equalize, o.Activations, o.Weights, o.Rules, o.Encode, o.Names
	return q
}

// Defaulted returns the options with every default filled in, except the types of activations, of weights and of inputs and
// outputs, which may be the model's.
func (o LeafOptions) Defaulted() LeafOptions {
	o.Calibration = o.Calibration.Defaulted()
	if !Or(o.PerTensorDense, false) {
		o.PerTensorDense = nil
	}
	if !Or(o.Reconstruct, false) {
		o.Reconstruct = nil
	}
	if len(o.KeepFloat) == 0 {
		o.KeepFloat = nil
	}
	if len(o.Rules) == 0 {
		o.Rules = nil
	}
	if !o.Encoded() {
		o.Encode = ""
	}
	if o.Names != DropNames {
		o.Names = ""
	}
	return o
}

// Defaulted returns the settings with every default filled in.
func (c Calibration) Defaulted() Calibration {
	c.Method, c.Samples = or(c.Method, "MinMax"), orDefault(c.Samples, DefaultCalibrationSample)
	if c.Method == "Percentile" {
		c.Percentile = orDefault(c.Percentile, "99.99")
	}
	return c
}
