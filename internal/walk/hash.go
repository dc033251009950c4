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
// result in the store, wherever it was computed.
type Inputs struct {
	AlgorithmVersion string `json:"algorithmVersion"`
	KernelClass      string `json:"kernelClass,omitempty"`
	Technique        any    `json:"technique"`           // the stage's prune, cluster or quantize section, or baseline
	Training         any    `json:"training,omitempty"`  // effective, field by field
	Leaf             any    `json:"leaf,omitempty"`      // the leaf options, where they are not the defaults and the technique does not say them
	Dataset          any    `json:"dataset"`             // how samples are prepared, without the address
	Parent           string `json:"parent"`              // digest of the model it works on
	Data             string `json:"data"`                // digest of the dataset
	Teacher          string `json:"teacher"`             // digest of the pipeline's original model
	Signature        string `json:"signature,omitempty"` // of the original model that is worked on
}

// Hash returns "sha256:" and the hexadecimal digest of the inputs' canonical JSON.
func (in Inputs) Hash() (string, error) { return hash(in) }

// StageInputs returns a stage's inputs as far as the spec says them: the effective configuration, with every default filled in and every
// number in its one text, so that only what changes the result changes the hash. Digests and versions are the caller's to add.
func StageInputs(spec *v1alpha1.OptimizationPipelineSpec, name string) (Inputs, error) {
	in := Inputs{Dataset: preparation(spec), Signature: spec.Model.Signature}
	if name == Baseline {
		in.Technique, in.Leaf = Baseline, leafInputs(spec.Leaf)
		return in, nil
	}
	stage := spec.Stage(name)
	if stage == nil {
		return in, fmt.Errorf("the pipeline has no stage %q", name)
	}
	technique, section := stage.Technique()
	leaf := spec.EffectiveLeaf(stage)
	if q, ok := section.(v1alpha1.Quantize); ok {
		section = q.With(leaf).Defaulted()
		leaf = v1alpha1.LeafOptions{InputOutput: intOnly(leaf.InputOutput)}
	}
	in.Technique, in.Leaf = map[string]any{technique: canonical(section)}, leafInputs(leaf)
	in.Training = canonical(spec.Effective(stage).Defaulted())
	return in, nil
}

// leafInputs are leaf options as they are hashed: nil where they are the defaults.
func leafInputs(o v1alpha1.LeafOptions) any {
	o = o.Defaulted()
	if reflect.DeepEqual(o, v1alpha1.LeafOptions{}.Defaulted()) {
		return nil
	}
	return canonical(o)
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
	return canonical(dataset)
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

// BaselineHash tells one reading of the inputs from another: by where they are said to be and by the rerun token, not by what was found
// there. It names no result in the store.
func BaselineHash(spec *v1alpha1.OptimizationPipelineSpec, v Versions) string {
	place := func(l v1alpha1.Location) string {
		if l.S3 == nil {
			return l.URI
		}
		return l.S3.Endpoint + " " + l.URI
	}
	text, err := hash(struct {
		Algorithm, Rerun     string
		Model, Data          string
		ModelPin, DatasetPin string
		Dataset              any
		Signature            string `json:",omitempty"`
		Leaf                 any    `json:",omitempty"`
	}{
		v.Algorithm, v.Rerun, place(spec.ModelLocation()), place(spec.DatasetLocation()), spec.Model.Digest, spec.Dataset.Digest, preparation(spec), spec.Model.Signature, leafInputs(spec.Leaf),
	})
	if err != nil {
		return ""
	}
	return text
}

// publishHash names what is published: the answer and every leaf it was found among.
func (w *walk) publishHash() string {
	type leaf struct {
		Stage, State, Leaf, Model string
		Metrics                   []v1alpha1.MetricValue
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
	text, err := hash(struct {
		Location, Selected string
		Met                bool
		Constraints        any
		Leaves             []leaf
	}{location, w.d.Selected, w.d.Met, w.spec.Constraints, leaves})
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
