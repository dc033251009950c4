package v1alpha1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Decode reads the one pipeline of a YAML or JSON file and validates it by the same schema and rules as an API server: an unknown field
// or a bad value is an error that names its path and what is allowed. Other documents of the file, such as the secret or claim beside
// the pipeline, are skipped; two pipelines are an error.
func Decode(data []byte) (*OptimizationPipeline, error) {
	raw, err := onlyPipeline(data)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return nil, err
	}
	if err := validate(object); err != nil {
		return nil, err
	}
	var p OptimizationPipeline
	strict, err := kjson.UnmarshalStrict(raw, &p)
	if err := errors.Join(append(strict, err)...); err != nil {
		return nil, fmt.Errorf("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if err := describe(checkMetadata(&p), nil); err != nil {
		return nil, err
	}
	return &p, nil
}

// DecodeDataset reads what a manifest's dataset section says of how a dataset is stored and prepared, without its address, and validates it
// as Decode does.
func DecodeDataset(text []byte) (DatasetSource, error) {
	var d DatasetSource
	if err := CheckScalars(text); err != nil {
		return d, err
	}
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return d, notYAML(err)
	}
	var section map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &section); err != nil {
		return d, errors.New("is no mapping of the fields of a dataset, such as {preprocessing: {scale: 1/255}}")
	}
	if _, there := section["uri"]; there {
		return d, errors.New("uri: leave it out, the dataset is named already")
	}
	if section == nil {
		return d, nil
	}
	section["uri"] = "data"
	stage := map[string]any{"name": "prune", "prune": map[string]any{"sparsity": "0.5"}}
	if err := validate(map[string]any{"apiVersion": GroupVersion.String(), "kind": Kind, "metadata": map[string]any{"name": "x"}, "spec": map[string]any{
		"model": map[string]any{"uri": "model"}, "dataset": section, "stages": []any{stage}}}); err != nil {
		return d, errors.New(strings.ReplaceAll(err.Error(), "spec.dataset.", ""))
	}
	strict, err := kjson.UnmarshalStrict(raw, &d)
	return d, errors.Join(append(strict, err)...)
}

// notYAML says what is wrong with a document.
func notYAML(err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
	return fmt.Errorf("not valid YAML: %s", strings.TrimSpace(strings.ReplaceAll(strings.TrimPrefix(text, "unmarshal errors:"), "\n", ";")))
}

// document is one of a file's.
type document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	unread     error  // values that another reader would read otherwise
	raw        []byte // as JSON
}

// onlyPipeline returns the one pipeline of a YAML stream, as JSON.
func onlyPipeline(data []byte) ([]byte, error) {
	documents, err := split(data)
	if err != nil {
		return nil, err
	}
	isPipeline := func(d document) bool { return d.APIVersion == GroupVersion.String() && d.Kind == Kind }
	i := slices.IndexFunc(documents, isPipeline)
	switch {
	case len(documents) == 0:
		return nil, errors.New("the manifest is empty")
	case i < 0:
		d := documents[0]
		return nil, fmt.Errorf("the manifest is %s, kind %s; want apiVersion: %s, kind: %s", orNothing(d.APIVersion), orNothing(d.Kind), GroupVersion, Kind)
	case slices.ContainsFunc(documents[i+1:], isPipeline):
		return nil, errors.New("the file holds more than one pipeline; give each a file of its own")
	}
	return documents[i].raw, documents[i].unread
}

// split returns the non-empty documents of a YAML stream.
func split(data []byte) ([]document, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var documents []document
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		raw, err := yaml.YAMLToJSONStrict(text)
		unread := CheckScalars(text)
		if err != nil && unread != nil { // a number that is not finite cannot be JSON
			return nil, unread
		}
		if err != nil {
			return nil, notYAML(err)
		}
		if string(raw) == "null" {
			continue
		}
		d := document{unread: unread, raw: raw}
		if err := yaml.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("the manifest is not a mapping; it starts with apiVersion: %s", GroupVersion)
		}
		documents = append(documents, d)
	}
}

func orNothing(text string) string {
	if text == "" {
		return "(nothing)"
	}
	return text
}

// checkMetadata applies an API server's own rules to names, labels and annotations.
func checkMetadata(p *OptimizationPipeline) field.ErrorList {
	meta := p.ObjectMeta.DeepCopy()
	if meta.Namespace == "" {
		meta.Namespace = "default"
	}
	path := field.NewPath("metadata")
	problems := apivalidation.ValidateObjectMeta(meta, true, apivalidation.NameIsDNSSubdomain, path)
	if token := p.Annotations[RerunAnnotation]; len(token) > MaxRerunToken {
		problems = append(problems, field.TooLong(path.Child("annotations").Key(RerunAnnotation), "", MaxRerunToken))
	}
	return problems
}
