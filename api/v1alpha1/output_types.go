package v1alpha1

// Output says how one output of the model is trained. Outputs that are not named are trained as they are recognised.
//
// +kubebuilder:validation:XValidation:rule="!has(self.loss) || self.loss != 'None' || !has(self.target)",message="an output of loss None is not trained: leave target out"
// +kubebuilder:validation:XValidation:rule="!has(self.loss) || self.loss != 'None' || !has(self.weight)",message="an output of loss None is not trained: leave weight out"
type Output struct {
	// name of the output in the model's signature; where it has none, of its tensor.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// target is the dataset's target that it is to give, by name. Default: the target that is named like the output, else one that
	// fits; without any, the original model's answers.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Target string `json:"target,omitempty"`
	// loss compares the output with its target: Auto, by what the output is; CrossEntropy, of class scores that no softmax follows;
	// BinaryCrossEntropy, of yes or no that no sigmoid follows; MeanSquaredError, of numbers; None, the output is not trained.
	// Default Auto.
	// +optional
	// +kubebuilder:validation:Enum=Auto;CrossEntropy;BinaryCrossEntropy;MeanSquaredError;None
	Loss string `json:"loss,omitempty"`
	// weight multiplies its loss, a decimal above 0. Losses of several outputs are first made comparable: each counts 1 for an answer
	// that knows nothing of its sample. Default 1.
	// +optional
	Weight *Decimal `json:"weight,omitempty"`
}
