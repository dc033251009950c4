package walk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"espalier.dev/espalier/api/v1alpha1"
)

// Inputs are everything a stage's result depends on; image, resources and names are not among them. The same inputs name the same
// result in the store, wherever it was computed. Sections of the manifest are as written has them.
type Inputs struct {
	Form             int    `json:"form"`
	AlgorithmVersion string `json:"algorithmVersion"`
	KernelClass      string `json:"kernelClass,omitempty"`
	Technique        any    `json:"technique"`           // the stage's prune, cluster or quantize section, or baseline
	Training         any    `json:"training,omitempty"`  // effective, field by field
	Leaf             any    `json:"leaf,omitempty"`      // the leaf options, where they are not the defaults and the technique does not say them
	Dataset          any    `json:"dataset,omitempty"`   // how samples are prepared, without the address
	Outputs          any    `json:"outputs,omitempty"`   // what the manifest says of outputs, by name
	Target           any    `json:"target,omitempty"`    // what leaves are for, where that is not LiteRT
	Parent           string `json:"parent"`              // digest of the model it works on
	Data             string `json:"data"`                // digest of the dataset
	Teacher          string `json:"teacher"`             // digest of the pipeline's original model
	Signature        string `json:"signature,omitempty"` // of the original model that is worked on
	States           any    `json:"states,omitempty"`    // pairs of its inputs and outputs that are state, by input
	Chunk            *int32 `json:"chunk,omitempty"`     // steps of a sequence that are trained over at once
}

// Hash returns "sha256:" and the hexadecimal digest of the inputs' canonical JSON.
func (in Inputs) Hash() (string, error) { return hash(in) }

// StageInputs returns a stage's inputs as far as the spec says them: the effective configuration, so written that only what changes the
// result changes the hash. Digests and versions are the caller's to add.
func StageInputs(spec *v1alpha1.OptimizationPipelineSpec, name string) (Inputs, error) {
	in := Inputs{Form: form, Signature: spec.Model.Signature, Chunk: spec.Model.Chunk}
	var n notes
	if spec.Target.OneScale() {
		n.otherwise = []string{"leaf.equalize", "quantize.equalize"}
	}
	in.Dataset, in.Outputs = n.write("dataset", preparation(spec)), n.outputs(spec)
	in.Target, in.States = n.write("target", spec.Target), states(spec)
	if name == Baseline {
		in.Technique, in.Leaf = Baseline, n.write("leaf", spec.EffectiveLeaf(nil).Defaulted())
		return in, n.err
	}
	stage := spec.Stage(name)
	if stage == nil {
		return in, fmt.Errorf("the pipeline has no stage %q", name)
	}
	technique, section := stage.Technique()
	if technique == "" && spec.Search != nil {
		technique, section = Search, searched{spec.Search, spec.Constraints}
	}
	leaf := spec.EffectiveLeaf(stage)
	if q, ok := section.(v1alpha1.Quantize); ok {
		section = q.With(leaf).Defaulted()
		leaf = v1alpha1.LeafOptions{InputOutput: intOnly(leaf.InputOutput)}
	}
	in.Technique, in.Leaf = map[string]any{technique: n.write(technique, section)}, n.write("leaf", leaf.Defaulted())
	in.Training = n.write("training", spec.Effective(stage).Defaulted())
	return in, n.err
}

// notes writes sections down, and keeps the first error.
type notes struct {
	otherwise []string // paths at which something else than usual is assumed
	err       error
}

// write is nil where a section says nothing.
func (n *notes) write(path string, section any) any {
	fields, err := written(path, section, n.otherwise...)
	if n.err == nil {
		n.err = err
	}
	if fields == nil {
		return nil
	}
	return fields
}

// outputs are what the spec says of outputs, by name, nil for nothing.
func (n *notes) outputs(spec *v1alpha1.OptimizationPipelineSpec) any {
	if len(spec.Outputs) == 0 {
		return nil
	}
	out := map[string]any{}
	for _, o := range spec.Outputs {
		out[o.Name] = n.write("output", o)
	}
	return out
}

// searched is what the trials of a search follow from, besides what stages' results do.
type searched struct {
	*v1alpha1.Search `json:",inline"`
	Constraints      []v1alpha1.Constraint `json:"constraints"`
}

// states are the outputs that are state, by the input; nil for none.
func states(spec *v1alpha1.OptimizationPipelineSpec) any {
	if len(spec.Model.States) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, s := range spec.Model.States {
		out[s.Input] = s.Output
	}
	return out
}

// intOnly is Int8 where inputs and outputs are that whatever the model's are. A quantize section has Int8 for both.
func intOnly(io string) string {
	if io == "Int8" {
		return io
	}
	return ""
}

// preparation is what the spec says of the dataset besides its address.
func preparation(spec *v1alpha1.OptimizationPipelineSpec) v1alpha1.DatasetSource {
	dataset := *spec.Dataset.DeepCopy()
	dataset.ModelSource = v1alpha1.ModelSource{}
	return dataset
}

// StageHash names the result of a stage of the spec in the store, given what the baseline pinned and the digest of the model it works
// on.
func StageHash(spec *v1alpha1.OptimizationPipelineSpec, name string, v Versions, pinned v1alpha1.Baseline, parent string) string {
	in, err := StageInputs(spec, name)
	if err != nil {
		return ""
	}
	in.AlgorithmVersion, in.KernelClass = v.Algorithm, v.KernelClass
	in.Parent, in.Data, in.Teacher = parent, pinned.DatasetDigest, pinned.ModelDigest
	text, err := in.Hash()
	if err != nil {
		return ""
	}
	return text
}

// MeasuredHash names a stage's result together with what measurements give of its leaf: it is the result's own hash where there are none.
// programs tell what runs each measurement from others that may go by the same name.
func MeasuredHash(result string, measurements []v1alpha1.Measurement, programs []string) string {
	if len(measurements) == 0 || result == "" {
		return result
	}
	all := make([]measured, len(measurements))
	for i := range measurements {
		all[i] = measuredBy(&measurements[i], programs[i])
	}
	text, err := hash(struct {
		Form         int        `json:"form"`
		Result       string     `json:"result"`
		Measurements []measured `json:"measurements"`
	}{form, result, all})
	if err != nil {
		return ""
	}
	return text
}

// MeasurementHash names what a measurement gives of a leaf, whichever stage made it.
func MeasurementHash(leaf string, m *v1alpha1.Measurement, program string) (string, error) {
	return hash(struct {
		Form        int      `json:"form"`
		Leaf        string   `json:"leaf"`
		Measurement measured `json:"measurement"`
	}{form, leaf, measuredBy(m, program)})
}

// measured is what the values of a measurement depend on, besides the leaf.
type measured struct {
	Command []string `json:"command"`
	Program string   `json:"program"`
	Metrics []string `json:"metrics"`
}

func measuredBy(m *v1alpha1.Measurement, program string) measured {
	out := measured{Command: m.Command, Program: program}
	for _, g := range m.Gives() {
		out.Metrics = append(out.Metrics, g.Name)
	}
	return out
}

// AttemptHash names what an attempt of a stage makes in a cluster: its result, and what the measurements' images give of its leaf.
func AttemptHash(spec *v1alpha1.OptimizationPipelineSpec, result string) string {
	images := make([]string, len(spec.Measurements))
	for i := range spec.Measurements {
		images[i] = spec.Measurements[i].Image
	}
	return MeasuredHash(result, spec.Measurements, images)
}

// SensitivityHash names what every layer of the network tolerates in the store, given what the baseline pinned.
func SensitivityHash(spec *v1alpha1.OptimizationPipelineSpec, v Versions, pinned v1alpha1.Baseline) (string, error) {
	in, err := StageInputs(spec, Baseline)
	if err != nil {
		return "", err
	}
	in.Technique, in.Leaf = "sensitivity", nil
	in.AlgorithmVersion, in.KernelClass = v.Algorithm, v.KernelClass
	in.Parent, in.Data, in.Teacher = pinned.ModelDigest, pinned.DatasetDigest, pinned.ModelDigest
	return in.Hash()
}

// BaselineHash tells one reading of the inputs from another: by where they are said to be and by the rerun token, not by what was found
// there. It names no result in the store.
func BaselineHash(spec *v1alpha1.OptimizationPipelineSpec, v Versions) string {
	place := func(l v1alpha1.Location) string {
		if l.S3 == nil {
			return l.URI
		}
		return l.S3.Endpoint + " " + l.URI
	}
	in, err := StageInputs(spec, Baseline)
	if err != nil {
		return ""
	}
	in.AlgorithmVersion = v.Algorithm
	text, err := hash(struct {
		Inputs     Inputs `json:"inputs"`
		Rerun      string `json:"rerun,omitempty"`
		Model      string `json:"model"`
		Dataset    string `json:"dataset"`
		ModelPin   string `json:"modelPin,omitempty"`
		DatasetPin string `json:"datasetPin,omitempty"`
	}{in, v.Rerun, place(spec.ModelLocation()), place(spec.DatasetLocation()), spec.Model.Digest, spec.Dataset.Digest})
	if err != nil {
		return ""
	}
	return text
}

// publishHash names what is published: the answer and every leaf it was found among.
func (w *walk) publishHash() string {
	type leaf struct {
		Stage   string                 `json:"stage"`
		State   string                 `json:"state"`
		Leaf    string                 `json:"leaf,omitempty"`
		Model   string                 `json:"model,omitempty"`
		Metrics []v1alpha1.MetricValue `json:"metrics,omitempty"`
	}
	var leaves []leaf
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		l := leaf{Stage: s.Name, State: string(s.State), Model: s.fact.Model}
		if s.fact.Leaf != nil {
			l.Leaf, l.Metrics = s.fact.Leaf.Digest, s.fact.Leaf.Metrics
		}
		leaves = append(leaves, l)
	}
	location := ""
	if w.spec.Artifacts != nil {
		location = w.spec.Artifacts.URI
	}
	var n notes
	constraints := []any{}
	for _, c := range w.spec.Constraints {
		constraints = append(constraints, n.write("constraint", c))
	}
	if n.err != nil {
		return ""
	}
	text, err := hash(struct {
		Form        int    `json:"form"`
		Location    string `json:"location"`
		Selected    string `json:"selected,omitempty"`
		Met         bool   `json:"met"`
		Constraints []any  `json:"constraints"`
		Leaves      []leaf `json:"leaves"`
	}{form, location, w.d.Selected, w.d.Met, constraints, leaves})
	if err != nil {
		return ""
	}
	return text
}

func hash(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("hash the stage's inputs: %w", err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// canonical returns a copy of v with every number in its one text.
func canonical[T any](v T) T {
	copied := reflect.New(reflect.TypeOf(v)).Elem()
	canonicalize(copied, reflect.ValueOf(v))
	return copied.Interface().(T)
}

// canonicalize copies src to dst.
func canonicalize(dst, src reflect.Value) {
	switch number := src.Interface().(type) {
	case v1alpha1.Decimal:
		dst.Set(reflect.ValueOf(number.Canonical()))
		return
	case v1alpha1.Quotient:
		dst.Set(reflect.ValueOf(number.Canonical()))
		return
	}
	switch src.Kind() {
	case reflect.Pointer:
		if !src.IsNil() {
			dst.Set(reflect.New(src.Type().Elem()))
			canonicalize(dst.Elem(), src.Elem())
		}
	case reflect.Struct:
		for i := range src.NumField() {
			canonicalize(dst.Field(i), src.Field(i))
		}
	case reflect.Slice:
		if !src.IsNil() {
			dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
			for i := range src.Len() {
				canonicalize(dst.Index(i), src.Index(i))
			}
		}
	default:
		dst.Set(src)
	}
}
