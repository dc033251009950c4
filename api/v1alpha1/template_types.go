package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PodTemplate is the part of a Job's pod that a pipeline may shape. The rest is the operator's: one container under restricted pod
// security, with the claims and secrets that the spec's addresses name.
type PodTemplate struct {
	// labels added to Jobs and pods, such as kueue.x-k8s.io/queue-name. Those of espalier.dev are the operator's. A queue name set
	// on the pipeline itself is passed on as well.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('espalier.dev/'))",message="labels of espalier.dev are the operator's"
	Labels map[string]string `json:"labels,omitempty"`
	// annotations added to Jobs and pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('espalier.dev/'))",message="annotations of espalier.dev are the operator's"
	Annotations map[string]string `json:"annotations,omitempty"`
	// image of the stage runner. Default: the operator's own.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`
	// imagePullPolicy of the image. Default: Kubernetes's, Always for :latest and else IfNotPresent.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets of the pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []LocalReference `json:"imagePullSecrets,omitempty"`
	// serviceAccountName of the pods, where the cloud's identities hang on it. Default: the namespace's default account. No token
	// is mounted.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// resources of the container: its requests and limits, as kubectl explain pod.spec.containers.resources says.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty,omitzero"`
	// cacheSizeLimit bounds the scratch volume into which models and datasets are fetched. Default 10Gi.
	// +optional
	CacheSizeLimit *resource.Quantity `json:"cacheSizeLimit,omitempty"`
	// env are environment variables of the container, such as proxies.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Env []EnvVar `json:"env,omitempty"`
	// nodeSelector of the pods. Absent: kubernetes.io/arch: arm64. {} runs anywhere.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector *map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the pods, as kubectl explain pod.spec.tolerations says.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// affinity of the pods, as kubectl explain pod.spec.affinity says.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// priorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// runtimeClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName string `json:"runtimeClassName,omitempty"`
	// securityContext of the pods, within restricted pod security.
	// +optional
	SecurityContext *SecurityContext `json:"securityContext,omitempty"`
	// terminationGracePeriodSeconds is the time a stopped stage has to save its checkpoint. Default 60.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// EnvVar is an environment variable.
type EnvVar struct {
	// name of the variable. Those that begin with ESPALIER_ are the operator's.
	// +required
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('ESPALIER_')",message="variables that begin with ESPALIER_ are the operator's"
	Name string `json:"name,omitempty"`
	// value of the variable.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// SecurityContext is who the pods run as: what claims and policies may ask for.
type SecurityContext struct {
	// runAsUser is the numeric user. Default: the image's, 65532.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// runAsGroup is the numeric group. Default: the image's.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
	// fsGroup owns the volumes of claims. Default 65532 where the stage uses a claim; else none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	FSGroup *int64 `json:"fsGroup,omitempty"`
	// supplementalGroups of the process, where a claim's files belong to one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	SupplementalGroups []int64 `json:"supplementalGroups,omitempty"`
}
