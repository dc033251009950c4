package v1alpha1

// Stage is one step: exactly one technique, on the model or on an earlier stage. A quantize stage yields a leaf only; any other a float
// model that later stages build on, and the leaf that quantizing it after training gives.
//
// +kubebuilder:validation:ExactlyOneOf=fineTune;prune;cluster;quantize
type Stage struct {
	// name of the stage, and of its leaf: a DNS label of at most 40 characters.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name,omitempty"`
	// from names the earlier stage this one works on, which is no quantize stage, or is model. Default: the nearest such before it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	From string `json:"from,omitempty"`
	// fineTune trains the weights and nothing else, such as on samples of one's own before others are compressed for, or once more with
	// other settings; zeros and clusters of its input are kept.
	// +optional
	FineTune *FineTune `json:"fineTune,omitempty"`
	// prune sets the smallest weights to zero, or takes out channels, and trains what is left.
	// +optional
	Prune *Prune `json:"prune,omitempty"`
	// cluster makes weights share few values, keeps the zeros of its input, and trains values and memberships.
	// +optional
	Cluster *Cluster `json:"cluster,omitempty"`
	// quantize trains with int8 arithmetic in the loop and keeps the zeros and clusters of its input: QAT, PQAT, CQAT or PCQAT.
	// +optional
	Quantize *Quantize `json:"quantize,omitempty"`
	// training overrides the pipeline's, field by field.
	// +optional
	Training Training `json:"training,omitempty,omitzero"`
	// template overrides the pipeline's, field by field; labels, annotations and environment are merged.
	// +optional
	Template PodTemplate `json:"template,omitempty,omitzero"`
	// activeDeadlineSeconds overrides the pipeline's.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
}

// FineTune trains weights; what there is to say of that is in the stage's training.
type FineTune struct{}

// Prune sets the smallest weights to zero, or takes out the channels that matter least.
//
// +kubebuilder:validation:XValidation:rule="has(self.structure) && self.structure == 'Channels' ? has(self.channels) != has(self.multiplications) && !has(self.sparsity) : has(self.sparsity) && !has(self.channels) && !has(self.multiplications)",message="structure Channels goes with channels, such as 0.25 for a quarter of them taken out, or with multiplications, such as 0.5 for half of them left, and not with both; structure Weights with sparsity"
// +kubebuilder:validation:XValidation:rule="!has(self.structure) || self.structure != 'Channels' || !(has(self.scope) || has(self.schedule) || has(self.pattern))",message="scope, schedule and pattern are of structure Weights: channels are taken out of every layer at once"
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || self.rules.all(r, has(self.structure) && self.structure == 'Channels' ? !has(dyn(r).sparsity) && !has(r.pattern) : !has(dyn(r).channels))",message="rules of structure Channels have channels or skip, those of structure Weights sparsity, pattern or skip"
// +kubebuilder:validation:XValidation:rule="!has(self.reconstruct) || !self.reconstruct || !has(self.schedule) || self.schedule == 'Constant'",message="reconstruct chooses all zeros at once: leave schedule out, or write Constant"
// +kubebuilder:validation:XValidation:rule="!has(self.branches) || !self.branches || has(self.multiplications)",message="branches goes with multiplications of structure Channels, such as 0.5: whole branches go as far as that takes them"
type Prune struct {
	// structure: Weights sets single weights, or those of a pattern, to zero. Channels takes whole channels out: layers get smaller, and
	// take less time and memory. Default Weights.
	// +optional
	// +kubebuilder:validation:Enum=Weights;Channels
	Structure string `json:"structure,omitempty"`
	// sparsity is the share of zeros of structure Weights, in [0, 1), a decimal. With a pattern such as "2:4" it is that of the pattern.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1, such as 0.5 for half of the weights"
	Sparsity Decimal `json:"sparsity,omitempty"`
	// channels is the share of every layer's channels that structure Channels takes out, in [0, 1), a decimal. Layers that are added to each
	// other, or joined in another way, lose the same ones; every layer keeps one. Half of the channels are about a quarter of the
	// multiplications.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1, such as 0.25 for a quarter of the channels"
	Channels *Decimal `json:"channels,omitempty"`
	// multiplications is the share that structure Channels leaves, at most, of those of the network that the stage works on, in (0, 1), a
	// decimal, in place of channels: layers lose the channels that cost the answers least for the multiplications that go with them.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) < 1.0",message="must be above 0 and below 1, such as 0.5 for half of the multiplications"
	Multiplications *Decimal `json:"multiplications,omitempty"`
	// branches has multiplications take whole branches of residual additions out first: the operators on one side, so that the addition passes on
	// its other side. Those go that the answers miss least for the multiplications that go with them, until another would leave too few; channels
	// make up the rest. That saves more time than as many multiplications by channels alone.
	// +optional
	Branches bool `json:"branches,omitempty"`
	// scope: Layer gives every layer that sparsity; Global spreads one budget over the layers by LAMP. Default Layer.
	// +optional
	// +kubebuilder:validation:Enum=Layer;Global
	Scope string `json:"scope,omitempty"`
	// schedule: Constant prunes at once, Polynomial raises the sparsity over the first half of the stage, in fewer than 300 steps at once too;
	// with maxEpochs or maxMinutes three epochs count for the stage. Default Polynomial.
	// +optional
	// +kubebuilder:validation:Enum=Constant;Polynomial
	Schedule string `json:"schedule,omitempty"`
	// pattern keeps zeros together: "1x4", "1x16" … are blocks of any sparsity. "2:4" is two zeros of every four, which fixes the
	// sparsity: it has to say the same, 0.5 here. Default: none.
	// +optional
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]{0,2}x[1-9][0-9]{0,2}|[1-9][0-9]?:[1-9][0-9]?)$`
	// +kubebuilder:validation:MaxLength=8
	Pattern string `json:"pattern,omitempty"`
	// reconstruct chooses the zeros, or the channels, at once, before training, by what each costs its layer's output on up to 512 training
	// samples without their labels, and refits the weights that stay. Default: in stages of fewer than 300 steps, or none, of networks where it
	// takes some seconds.
	// +optional
	Reconstruct *bool `json:"reconstruct,omitempty"`
	// rules change how layers are pruned, by name; the first that matches counts, and one that matches nothing is an error.
	// Depthwise kernels are pruned only by a rule; of structure Channels they lose the channels that they read.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Rules []PruneRule `json:"rules,omitempty"`
}

// The structures that a prune stage takes out.
const (
	PruneWeights  = "Weights"
	PruneChannels = "Channels"
)

// PruneRule changes how layers are pruned.
//
// +kubebuilder:validation:XValidation:rule="(has(self.skip) && self.skip) != (has(self.sparsity) || has(self.pattern) || has(self.channels))",message="a rule either skips layers or gives them a sparsity, pattern or channels"
type PruneRule struct {
	// layers is a pattern for names of weights; * stands for any run of characters, ? for any one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Layers string `json:"layers,omitempty"`
	// sparsity of these layers, in [0, 1).
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1"
	Sparsity *Decimal `json:"sparsity,omitempty"`
	// channels of these layers, and of those that lose the same ones: the share that is taken out, in [0, 1).
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1"
	Channels *Decimal `json:"channels,omitempty"`
	// pattern of these layers' zeros. One such as "2:4" fixes their sparsity: leave sparsity out, or have it say the same.
	// +optional
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]{0,2}x[1-9][0-9]{0,2}|[1-9][0-9]?:[1-9][0-9]?)$`
	// +kubebuilder:validation:MaxLength=8
	Pattern string `json:"pattern,omitempty"`
	// skip leaves these layers alone.
	// +optional
	Skip bool `json:"skip,omitempty"`
}

// Cluster makes weights share values.
type Cluster struct {
	// clusters is the largest number of distinct codes a tensor (with scope Channel: a channel) may hold, zero included.
	// +required
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	Clusters int32 `json:"clusters,omitempty"`
	// scope of the codes: Shared by a tensor under a scale per output channel, Tensor with one scale, or Channel. Default Shared.
	// +optional
	// +kubebuilder:validation:Enum=Shared;Tensor;Channel
	Scope string `json:"scope,omitempty"`
	// entropy weighs compressed size against error when codes are chosen: 0 is plain k-means, 1 saves bits as long as a bit costs
	// no more error than a good quantizer trades for it. Default 1.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) <= 1000.0",message="must be at least 0 and at most 1000"
	Entropy *Decimal `json:"entropy,omitempty"`
	// sensitivity weighs errors by squared gradients. Default false.
	// +optional
	Sensitivity bool `json:"sensitivity,omitempty"`
	// reconstruct gives codes out by the error of the layer's output on up to 512 training samples without their labels, and fits
	// scales and biases to them, before training. Default: in stages of fewer than 300 steps, or none, of networks where it takes some seconds,
	// unless the stage trains and the network knows the validation samples by heart.
	// +optional
	Reconstruct *bool `json:"reconstruct,omitempty"`
	// rules change how layers are clustered, by name; the first that matches counts, and one that matches nothing is an error.
	// Depthwise kernels are clustered only by a rule.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Rules []ClusterRule `json:"rules,omitempty"`
}

// ClusterRule changes how layers are clustered.
//
// +kubebuilder:validation:XValidation:rule="(has(self.skip) && self.skip) != (has(self.clusters) || has(self.entropy))",message="a rule either skips layers or gives them clusters or entropy"
type ClusterRule struct {
	// layers is a pattern for names of weights; * stands for any run of characters, ? for any one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Layers string `json:"layers,omitempty"`
	// clusters of these layers.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	Clusters *int32 `json:"clusters,omitempty"`
	// entropy of these layers.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) <= 1000.0",message="must be at least 0 and at most 1000"
	Entropy *Decimal `json:"entropy,omitempty"`
	// skip leaves these layers alone.
	// +optional
	Skip bool `json:"skip,omitempty"`
}

// Quantize trains with integer arithmetic in the loop. What it says of its leaf overrides the pipeline's leaf, field by field.
//
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || self.weights != 'Int4' || !has(self.activations) || self.activations != 'Int16'",message="weights Int4 go with activations Int8 only"
type Quantize struct {
	// calibration seeds the activation ranges.
	// +optional
	Calibration Calibration `json:"calibration,omitempty,omitzero"`
	// ranges of activations during training: Frozen, Tracked as a moving average, or Learned. Default Tracked.
	// +optional
	// +kubebuilder:validation:Enum=Frozen;Tracked;Learned
	Ranges string `json:"ranges,omitempty"`
	// preserve: Auto keeps whatever the input holds, zeros, clusters or both; None trains all weights freely. Default Auto.
	// +optional
	// +kubebuilder:validation:Enum=Auto;None
	Preserve string `json:"preserve,omitempty"`
	// inputOutput is the type of the leaf's inputs and outputs. Default: the pipeline's.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Float32
	InputOutput string `json:"inputOutput,omitempty"`
	// perTensorDense gives fully connected layers one weight scale. Default: the pipeline's.
	// +optional
	PerTensorDense *bool `json:"perTensorDense,omitempty"`
	// keepFloat names layers that stay float, instead of those that the pipeline names; [] is none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	KeepFloat []string `json:"keepFloat,omitzero"`
	// reconstruct rounds weights by the error of their layer's output, before training. Default: the pipeline's.
	// +optional
	Reconstruct *bool `json:"reconstruct,omitempty"`
	// equalize scales channels against each other, before training. Default: the pipeline's.
	// +optional
	Equalize *bool `json:"equalize,omitempty"`
	// activations to train with: Int8, or Int16 with weights of 8 bits (16x8). Default: the pipeline's.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Int16
	Activations string `json:"activations,omitempty"`
	// weights to train with: Int8, or Int4, which takes half the space. Default: the pipeline's.
	// +optional
	// +kubebuilder:validation:Enum=Int8;Int4
	Weights string `json:"weights,omitempty"`
	// rules give layers other activations or weights, instead of those of the pipeline; [] is none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Rules []LeafRule `json:"rules,omitzero"`
	// encode holds weights of 8 bits encoded in the file of the leaf. Default: the pipeline's.
	// +optional
	// +kubebuilder:validation:Enum=None;Auto;LUT;Huffman;Prune
	Encode string `json:"encode,omitempty"`
	// names of tensors in the leaf, but for inputs, outputs and signatures. Default: the pipeline's.
	// +optional
	// +kubebuilder:validation:Enum=Keep;Drop
	Names string `json:"names,omitempty"`
}

// Calibration observes activations on some samples.
//
// +kubebuilder:validation:XValidation:rule="!has(self.percentile) || (has(self.method) && self.method == 'Percentile')",message="percentile applies to method Percentile only"
type Calibration struct {
	// method of turning observations into ranges. OutputError tries what the others give, range by range, and takes what leaves the
	// least error in the network's outputs. Default MinMax.
	// +optional
	// +kubebuilder:validation:Enum=MinMax;MovingAverage;Percentile;MSE;OutputError
	Method string `json:"method,omitempty"`
	// percentile of method Percentile, above 50 and at most 100. Default 99.99.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 50.0 && double(self) <= 100.0",message="must be above 50 and at most 100"
	Percentile *Decimal `json:"percentile,omitempty"`
	// samples of the training split that are observed. Default 512.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Samples *int32 `json:"samples,omitempty"`
}
