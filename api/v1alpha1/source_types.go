package v1alpha1

// Location is where something is, and how to get at it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.s3) || self.uri.startsWith('s3://')",message="s3 applies to s3:// addresses only"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsSecretRef) || self.uri.matches('^(s3|gs|azblob)://')",message="credentialsSecretRef applies to s3://, gs:// and azblob:// addresses only"
type Location struct {
	// uri is an s3://bucket/key, gs://bucket/key, azblob://container/key, pvc://claim/path or file:///path address; for
	// `espalier run` also a path, relative to the manifest.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.contains('://') || self.matches('^((s3|gs|azblob)://[^/]+(/.*)?|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?|file:///.*)$')",message="uri must be s3://bucket/key, gs://bucket/key, azblob://container/key, pvc://claim/path, file:///path or a path"
	// +kubebuilder:validation:XValidation:rule="!self.contains('://') || !self.matches('/[.][.](/|$)')",message="uri must not climb out of its place with .."
	URI string `json:"uri,omitempty"`
	// s3 says how to reach the server of an s3:// address. Where a model or dataset has neither s3 nor credentialsSecretRef, those
	// of artifacts apply; `s3: {}` says that it is Amazon's, without credentials.
	// +optional
	S3 *S3Options `json:"s3,omitempty"`
	// credentialsSecretRef names the secret with the credentials for uri. For s3:// its keys are AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY and, where there is one, AWS_SESSION_TOKEN; for gs:// GOOGLE_APPLICATION_CREDENTIALS, the JSON of a
	// service account; for azblob:// AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN. It is mounted as
	// files in the Job's pod and read nowhere else. Without one the pod's own identity counts.
	// +optional
	CredentialsSecretRef *LocalReference `json:"credentialsSecretRef,omitempty"`
}

// S3Options say how to reach an S3 server.
type S3Options struct {
	// endpoint is the server's address, such as https://minio:9000. Default: Amazon's for the region.
	// +optional
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@]+/?$`
	// +kubebuilder:validation:MaxLength=512
	Endpoint string `json:"endpoint,omitempty"`
	// region of the bucket. Default us-east-1.
	// +optional
	// +kubebuilder:validation:Pattern=`^[a-z0-9-]+$`
	// +kubebuilder:validation:MaxLength=64
	Region string `json:"region,omitempty"`
	// pathStyle puts the bucket into the path, as most servers that are not Amazon's want it, and not into the host name.
	// +optional
	PathStyle bool `json:"pathStyle,omitempty"`
	// caSecretRef names the secret whose key ca.crt holds the certificates to trust, besides the system's.
	// +optional
	CASecretRef *LocalReference `json:"caSecretRef,omitempty"`
}

// LocalReference names an object in the pipeline's namespace.
type LocalReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// ModelSource is where the model is.
type ModelSource struct {
	Location `json:",inline"`
	// digest pins the content: sha256: and 64 hexadecimal digits. Another content is an error. Without it the first attempt pins
	// what it finds.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
}

// NetworkSource is the model and what of it is worked on.
type NetworkSource struct {
	ModelSource `json:",inline"`
	// signature is the key of the signature to work on, where the model has several; the others are carried through as they are.
	// Without it that is the only one, or serving_default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Signature string `json:"signature,omitempty"`
	// states are the inputs and outputs by which the network hands its state on from step to step, in pairs: samples then are sequences
	// of steps, and the first step finds zeros. What a network keeps in variables needs no pair.
	// +optional
	// +listType=map
	// +listMapKey=input
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	States []StatePair `json:"states,omitempty"`
	// chunk is how many steps of a sequence a network with state is trained over at once: truncated backpropagation through time, state being
	// carried from chunk to chunk. Default: whole sequences, where steps times operators are at most 100,000; else as many steps as make 4,000.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=50000
	Chunk *int32 `json:"chunk,omitempty"`
}

// StatePair is state that a step hands on to the next.
type StatePair struct {
	// input is what a step finds: the name of an input, as the signature has it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Input string `json:"input,omitempty"`
	// output is what the step before left: the name of an output of the same shape.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Output string `json:"output,omitempty"`
}

// ArtifactStore is where models, leaves, checkpoints and reports are kept, by content. Pipelines may share one: what one computed the
// others reuse.
type ArtifactStore struct {
	Location `json:",inline"`
}
