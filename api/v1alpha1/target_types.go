package v1alpha1

// Target is a runtime on a device. A leaf is measured with the arithmetic of the runtime, ArenaBytes is what the runtime allocates
// (missing where the compiler of an accelerator plans memory), and a leaf with an operator that does not run there fails, naming the
// layer and what to change. LatencyMicros stays that of the computer that measures.
type Target struct {
	// runtime is what runs the leaf: LiteRT, or TFLM, TensorFlow Lite for Microcontrollers. Default LiteRT.
	// +optional
	// +kubebuilder:validation:Enum=LiteRT;TFLM
	Runtime string `json:"runtime,omitempty"`
	// device is a name of the catalogue, as `espalier targets` lists it, with this runtime. Default: any device, litert or tflm.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Device string `json:"device,omitempty"`
}

// OneScale reports whether the device takes one scale a tensor only, as the catalogue says of it. Channels are equalized for it unless the
// manifest says otherwise.
func (t Target) OneScale() bool { return t.Device == "stm32mp2" }
