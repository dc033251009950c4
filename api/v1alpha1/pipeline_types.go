package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OptimizationPipeline compresses a trained network stage by stage until a leaf, a deployable int8 .tflite, meets every constraint of
// the device it is meant for.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=optpipe,categories=espalier
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.progress`
// +kubebuilder:printcolumn:name="Selected",type=string,JSONPath=`.status.selected.stage`
// +kubebuilder:printcolumn:name="Published",type=string,JSONPath=`.status.published.stage`
// +kubebuilder:printcolumn:name="Accuracy",type=string,JSONPath=`.status.published.metrics[?(@.name=="Accuracy")].value`
// +kubebuilder:printcolumn:name="Compressed",type=string,JSONPath=`.status.published.metrics[?(@.name=="CompressedBytes")].value`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Model",type=string,priority=1,JSONPath=`.spec.model.uri`
// +kubebuilder:printcolumn:name="Leaf",type=string,priority=1,JSONPath=`.status.published.uri`
// +kubebuilder:selectablefield:JSONPath=`.spec.runPolicy.suspend`
// +kubebuilder:selectablefield:JSONPath=`.spec.model.uri`
// +kubebuilder:selectablefield:JSONPath=`.status.selected.stage`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 characters, of a-z, 0-9 and -, and no - at either end"
type OptimizationPipeline struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec says what to compress, how, and what the device needs.
	// +required
	Spec OptimizationPipelineSpec `json:"spec,omitzero"`
	// status says what was done and decided.
	// +optional
	// +default={"observedGeneration": -1}
	Status OptimizationPipelineStatus `json:"status,omitempty,omitzero"`
}

// OptimizationPipelineList is a list of pipelines.
//
// +kubebuilder:object:root=true
type OptimizationPipelineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OptimizationPipeline `json:"items"`
}

// OptimizationPipelineSpec says what to compress, how, and what the device needs. Every field may be changed at any time: constraints
// and selection are decided again from what was measured; a stage whose settings changed, and what builds on it, runs again; the
// template counts from the next attempt on.
//
// +kubebuilder:validation:XValidation:rule="has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",message="managedBy cannot be changed"
// +kubebuilder:validation:XValidation:rule="has(self.stages) != has(self.search)",message="give either stages, what to try, or search, which finds that"
// +kubebuilder:validation:XValidation:rule="!has(self.search) || (has(self.constraints) && size(self.constraints) > 0)",message="a search needs constraints to tell which leaves will do, such as {metric: AccuracyDrop, max: 0.01}"
// +kubebuilder:validation:XValidation:rule="!has(self.search) || !has(self.constraints) || !self.constraints.exists(c, c.metric == 'Sparsity' && has(c.min) && double(c.min) >= 1.0)",message="a search cannot make every weight zero: Sparsity has a min below 1, such as 0.5"
// +kubebuilder:validation:XValidation:rule="!has(self.search) || !has(self.constraints) || !self.constraints.exists(c, c.metric == 'Clusters' && has(c.max) && double(c.max) < 2.0)",message="a layer has at least 2 clusters: Clusters has a max of 2 or more, such as 16"
// +kubebuilder:validation:XValidation:rule="!has(self.search) || !has(self.measurements) || self.measurements.all(m, !has(m.job))",message="a search measures its trials beside them, in one Job: leave job out of measurements, or give stages in place of search"
// +kubebuilder:validation:XValidation:rule="!has(self.search) || !has(self.selection)",message="selection applies to stages: of a search, search.minimize says which leaf is taken"
// +kubebuilder:validation:XValidation:rule="!has(self.constraints) || self.constraints.all(c, !c.metric.matches('^[a-z]') || (has(self.measurements) && self.measurements.exists(n, has(n.metrics) ? n.metrics.exists(y, y.name == c.metric) : n.name == c.metric)))",message="a constraint whose metric begins with a small letter is on one that measurements give: name it there, or write the metric as Accuracy and CompressedBytes are written"
// +kubebuilder:validation:XValidation:rule="!has(self.selection) || !has(self.selection.objective) || !self.selection.objective.matches('^[a-z]') || (has(self.measurements) && self.measurements.exists(n, has(n.metrics) ? n.metrics.exists(y, y.name == self.selection.objective) : n.name == self.selection.objective))",message="an objective that begins with a small letter is one that measurements give: name it there, or write the metric as Accuracy and CompressedBytes are written"
// +kubebuilder:validation:XValidation:rule="!has(self.search) || !has(self.search.minimize) || !self.search.minimize.matches('^[a-z]') || (has(self.measurements) && self.measurements.exists(n, has(n.metrics) ? n.metrics.exists(y, y.name == self.search.minimize) : n.name == self.search.minimize))",message="minimize that begins with a small letter is of a metric that measurements give: name it there, or write the metric as Accuracy and CompressedBytes are written"
type OptimizationPipelineSpec struct {
	// model is the trained network: a float .tflite as every converter emits it, or an int8 one, which then is the first leaf.
	// +required
	Model NetworkSource `json:"model,omitzero"`
	// dataset is what the stages train on, calibrate with and measure on.
	// +required
	Dataset DatasetSource `json:"dataset,omitzero"`
	// artifacts is where models, leaves and reports are kept. Needed in a cluster; `espalier run` keeps them in its output folder.
	// +optional
	Artifacts *ArtifactStore `json:"artifacts,omitempty"`
	// outputs say how outputs of the model are trained where that is not to be recognised.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Outputs []Output `json:"outputs,omitempty"`
	// training holds the defaults of every stage; a stage overrides field by field.
	// +optional
	Training Training `json:"training,omitempty,omitzero"`
	// leaf says how leaves are made, the baseline's and those of every stage; a quantize stage overrides it field by field.
	// +optional
	Leaf LeafOptions `json:"leaf,omitempty,omitzero"`
	// target is what leaves are for. Metrics are those of its runtime, and a leaf that does not run there is never taken. Default: LiteRT.
	// +optional
	Target Target `json:"target,omitempty,omitzero"`
	// stages are the steps, in the order they are tried. A stage works on the nearest before it that yields a model, all but
	// quantize, or on the pipeline's model where there is none, unless from says otherwise.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(s, !(s.name in ['baseline', 'model', 'publish']))",message="baseline, model and publish are reserved: name the stage otherwise"
	// +kubebuilder:validation:XValidation:rule="self.all(s, !has(s.from) || s.from == 'model' || self.exists(t, t.name == s.from))",message="from must name a stage of this pipeline, or be model"
	// +kubebuilder:validation:XValidation:rule="[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31].all(i, i >= size(self) || !has(self[i].from) || ![0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31].exists(j, j >= i && j < size(self) && self[j].name == self[i].from))",message="from must name an earlier stage: move that stage up"
	// +kubebuilder:validation:XValidation:rule="self.all(s, !has(s.from) || !self.exists(t, t.name == s.from && has(t.quantize)))",message="from must name a stage that yields a model: a quantize stage yields only a leaf"
	Stages []Stage `json:"stages,omitempty"`
	// search finds the stages, in place of stages.
	// +optional
	Search *Search `json:"search,omitempty"`
	// constraints must all hold on one leaf. Without any, every stage runs and the last leaf is taken. A status has as many metrics.
	// +optional
	// +listType=map
	// +listMapKey=metric
	// +listMapKey=output
	// +kubebuilder:validation:MaxItems=12
	Constraints []Constraint `json:"constraints,omitempty"`
	// measurements are programs that measure leaves, for metrics of one's own: what a compiler for the device estimates, or a board
	// shows. Every leaf is measured, also one that a stage made before. A status has 12 metrics: those that constraints are on first, then
	// these.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=6
	// +kubebuilder:validation:XValidation:rule="self.map(m, has(m.metrics) ? size(m.metrics) : 1).sum() <= 6",message="measurements give at most 6 metrics"
	// +kubebuilder:validation:XValidation:rule="self.all(m, has(m.metrics) ? m.metrics.all(x, self.exists_one(n, has(n.metrics) ? n.metrics.exists(y, y.name == x.name) : n.name == x.name)) : self.exists_one(n, has(n.metrics) ? n.metrics.exists(y, y.name == m.name) : n.name == m.name))",message="two measurements give a metric of one name: name one of them otherwise"
	Measurements []Measurement `json:"measurements,omitempty"`
	// selection says which satisfying leaf is taken.
	// +optional
	Selection Selection `json:"selection,omitempty,omitzero"`
	// runPolicy says how the stages are run: how many at a time, how often, how long.
	// +optional
	RunPolicy RunPolicy `json:"runPolicy,omitempty,omitzero"`
	// priority of the pipeline among those that wait for a place: higher goes first, and so do its stages. The installation bounds it
	// (--max-priority, default 0): what is above counts as that bound. Default 0.
	// +optional
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority,omitempty"`
	// managedBy names the controller that walks the pipeline, such as example.com/controller. The operator leaves a pipeline alone
	// that another one is named for. Default: espalier.dev/operator. It cannot be changed.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9._/-]+$`
	ManagedBy string `json:"managedBy,omitempty"`
	// template shapes the Jobs' pods.
	// +optional
	Template PodTemplate `json:"template,omitempty,omitzero"`
}

// RunPolicy says how the stages of a pipeline are run. None of it changes what they make.
type RunPolicy struct {
	// parallelism is how many stages may run side by side, and in a cluster how many Jobs make trials of a search. Default 1. The leaf
	// selected does not depend on it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	Parallelism *int32 `json:"parallelism,omitempty"`
	// suspend stops the running Jobs and starts no others; set to false again, they resume from their checkpoints.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// retries is how often a stage that failed for a passing reason is tried again. What fails the same way every time (a bad
	// model, dataset or setting) is not tried again. Default 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	Retries *int32 `json:"retries,omitempty"`
	// backoffSeconds is how long to wait before the second attempt; the wait doubles with each attempt, up to an hour. Default 10.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	BackoffSeconds *int32 `json:"backoffSeconds,omitempty"`
	// activeDeadlineSeconds bounds one attempt of a stage, counted from when its container starts. Publishing has an hour at least.
	// Default 86400, a day.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
	// startDeadlineSeconds bounds how long a Job may take to start, once no queue holds it back: for a node, an image, a volume.
	// After that another takes its place, which counts against no retry. Default 3600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	StartDeadlineSeconds *int64 `json:"startDeadlineSeconds,omitempty"`
	// nodeLostSeconds is how long the node of a running stage may not answer before the next attempt starts on another one, from the
	// checkpoint. Default 600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	NodeLostSeconds *int64 `json:"nodeLostSeconds,omitempty"`
	// ttlSecondsAfterFinished is how long finished Jobs are kept once their result is recorded. Default 3600. The pipeline itself
	// is never deleted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// ManagedByOperator is what managedBy says of pipelines that are the operator's, beside nothing.
const ManagedByOperator = "espalier.dev/operator"

// ManagedByAnother reports whether another controller than the operator walks the pipeline.
func (s *OptimizationPipelineSpec) ManagedByAnother() bool {
	return s.ManagedBy != "" && s.ManagedBy != ManagedByOperator
}
