package v1alpha1

import corev1 "k8s.io/api/core/v1"

// Measurement is a program that measures a leaf where only it can: a compiler's estimate, a board. It is run once a leaf, with the path of
// the leaf's file as its last argument, and prints one JSON object: {"metrics": {"npu_cycles": 123}}, with a finite number for every metric
// that it is to give, or null where the leaf has none. Nothing else is on its standard output; what it says on standard error is for people.
//
// +kubebuilder:validation:XValidation:rule="!has(self.unit) || !has(self.metrics)",message="unit is that of a measurement's only metric: give every one of metrics its own"
type Measurement struct {
	// name of the measurement and, without metrics, of the metric that it gives.
	// +required
	// +kubebuilder:validation:MaxLength=27
	// +kubebuilder:validation:Pattern=`^[a-z]([a-z0-9_]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// command is the program and its arguments; the leaf's path is added. `espalier run` starts it where the manifest lies, if it is
	// told to by --allow-commands; in a cluster it is of the image, and starts in the image's working directory.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Command []string `json:"command,omitempty"`
	// image that has the command, by its digest, so that values are of one image for good. Needed in a cluster, where a container of it runs
	// beside the stage's, or in a Job of its own, as no root and without secrets, claims or a token; `espalier run` does not look at it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^@ ]+@sha256:[0-9a-f]{64}$')",message="name the image by its digest, such as registry.example.com/vela@sha256:0123…"
	Image string `json:"image,omitempty"`
	// job has a cluster measure in a Job of its own, on nodes that the stages need not run on: one with a board, or where a compiler is
	// licensed. {} is any node. Default: beside the stage.
	// +optional
	Job *MeasurementJob `json:"job,omitempty"`
	// unit of the metric, for people.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Unit string `json:"unit,omitempty"`
	// metrics that it gives. Default: one, of the measurement's name.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	Metrics []MeasuredMetric `json:"metrics,omitempty"`
	// timeoutSeconds bounds one run; what takes longer is killed. Default 600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`
	// retries is how often a run that failed is tried again. Default 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retries *int32 `json:"retries,omitempty"`
}

// MeasurementJob says where a measurement's own Job runs, and with what. The rest of its pod is as that of the stage whose leaf it measures.
type MeasurementJob struct {
	// nodeSelector of the pod. Default: any node that the stage runner's image runs on, of linux on amd64 or arm64.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the pod, as kubectl explain pod.spec.tolerations says.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// resources of the measurement's container, such as the one by which a device plugin hands out a board. Default: what stages have.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty,omitzero"`
}

// MeasuredMetric is a metric that a measurement gives.
type MeasuredMetric struct {
	// name of the metric, for constraints and selection.objective.
	// +required
	// +kubebuilder:validation:MaxLength=27
	// +kubebuilder:validation:Pattern=`^[a-z]([a-z0-9_]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// unit of the metric, for people.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Unit string `json:"unit,omitempty"`
}

// Defaults of a measurement.
const (
	DefaultMeasurementTimeout = 600
	DefaultMeasurementRetries = 1
)

// Measurement is the measurement of a name, nil where there is none.
func (s *OptimizationPipelineSpec) Measurement(name string) *Measurement {
	for i := range s.Measurements {
		if s.Measurements[i].Name == name {
			return &s.Measurements[i]
		}
	}
	return nil
}

// MeasuresInJob reports whether a measurement has a Job of its own.
func (s *OptimizationPipelineSpec) MeasuresInJob(name string) bool {
	m := s.Measurement(name)
	return m != nil && m.Job != nil
}

// Gives are the metrics that the measurement gives.
func (m *Measurement) Gives() []MeasuredMetric {
	if len(m.Metrics) > 0 {
		return m.Metrics
	}
	return []MeasuredMetric{{Name: m.Name, Unit: m.Unit}}
}

// Measured reports whether a metric is one that a measurement gives: their names begin with a small letter.
func (m Metric) Measured() bool { return m != "" && m[0] >= 'a' && m[0] <= 'z' }
