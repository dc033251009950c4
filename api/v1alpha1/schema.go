package v1alpha1

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

//go:embed crd.yaml
var crdYAML []byte

// CRD returns the resource's definition, as YAML, with all its rules. The one that is installed in clusters is made of it, see hack/crd.
func CRD() []byte { return bytes.Clone(crdYAML) }

// validator is the definition's schema, compiled.
type validator struct {
	schema  *structural.Structural
	openAPI validation.SchemaValidator
	cel     *cel.Validator
}

var compiled = sync.OnceValues(func() (*validator, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(crdYAML, &crd); err != nil {
		return nil, fmt.Errorf("read the embedded CRD: %w", err)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		return nil, err
	}
	s, err := structural.NewStructural(&internal)
	if err != nil {
		return nil, err
	}
	openAPI, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return nil, err
	}
	return &validator{schema: s, openAPI: openAPI, cel: cel.NewValidator(s, true, celconfig.PerCallLimit)}, nil
})

// validate applies the schema and its rules to a whole object.
func validate(object map[string]any) error {
	v, err := compiled()
	if err != nil {
		return err
	}
	if err := v.unknownFields(object); err != nil {
		return err
	}
	quote(object, v.schema)
	problems := validation.ValidateCustomResource(nil, object, v.openAPI)
	problems = append(problems, listtype.ValidateListSetsAndMaps(nil, v.schema, object)...)
	if len(problems) == 0 {
		found, _ := v.cel.Validate(context.Background(), nil, v.schema, object, nil, celconfig.RuntimeCELCostBudget)
		for _, problem := range found {
			problems = append(problems, locate(problem, object)...)
		}
	}
	return describe(problems, v.schema)
}

// Check applies the schema and its rules to the spec of a pipeline that an API server has taken: its rules do not compare numbers.
func (p *OptimizationPipeline) Check() error {
	data, err := json.Marshal(OptimizationPipeline{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind},
		ObjectMeta: metav1.ObjectMeta{Name: p.Name},
		Spec:       p.Spec,
	})
	if err != nil {
		return fmt.Errorf("encode the spec: %w", err)
	}
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &object); err != nil {
		return fmt.Errorf("read the spec: %w", err)
	}
	return validate(object)
}

// quote writes the numbers that the schema's rules read, and that are no integers, as text: the shortest that stands for them.
func quote(value any, s *structural.Structural) any {
	switch value := value.(type) {
	case float64:
		if s.XIntOrString {
			return strconv.FormatFloat(value, 'g', -1, 64)
		}
	case []any:
		for i := range value {
			if s.Items != nil {
				value[i] = quote(value[i], s.Items)
			}
		}
	case map[string]any:
		for name := range value {
			if child, ok := s.Properties[name]; ok {
				value[name] = quote(value[name], &child)
			} else if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
				value[name] = quote(value[name], s.AdditionalProperties.Structural)
			}
		}
	}
	return value
}

// unknownFields reports fields the schema does not have, with the nearest name it has.
func (v *validator) unknownFields(object map[string]any) error {
	var copied map[string]any
	raw, err := json.Marshal(object)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &copied); err != nil {
		return err
	}
	unknown := pruning.PruneWithOptions(copied, v.schema, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) == 0 {
		return nil
	}
	sort.Strings(unknown)
	messages := make([]string, len(unknown))
	for i, path := range unknown {
		messages[i] = fmt.Sprintf("%s: unknown field", path)
		if name, top := strings.CutPrefix(path, "spec."); top && lookUp(v.schema, "spec.runPolicy."+name) != nil {
			messages[i] += "; it is one of spec.runPolicy"
		} else if podShape.MatchString(path) {
			messages[i] += "; what a pod may be given stands in template itself, such as resources, env, nodeSelector, tolerations and labels"
		} else if names := fieldsBeside(v.schema, path); len(names) > 0 {
			messages[i] += suggestion(path[strings.LastIndex(path, ".")+1:], names)
		} else if other := joined(path); lookUp(v.schema, other) != nil {
			messages[i] += "; did you mean " + other + "?"
		}
	}
	return errors.New(strings.Join(messages, "; "))
}

// podShape are the paths of a template that is written as a Job's.
var podShape = regexp.MustCompile(`[.]template[.](metadata|spec|containers)$`)

// joined is a path whose last two names are one: training.maxEpochs of training.epochs.max.
func joined(path string) string {
	names := strings.Split(path, ".")
	if len(names) < 3 || names[len(names)-2] == "" {
		return ""
	}
	above, last := names[len(names)-2], names[len(names)-1]
	return strings.Join(append(names[:len(names)-2], last+strings.ToUpper(above[:1])+above[1:]), ".")
}

// describe turns the validator's findings into one error: path, what is wrong, what is allowed. s, nil for none, is the schema that the
// paths are in.
func describe(problems field.ErrorList, s *structural.Structural) error {
	if len(problems) == 0 {
		return nil
	}
	messages := make([]string, 0, len(problems))
	for _, p := range consequences(problems) {
		path := strings.TrimPrefix(strings.TrimPrefix(p.Field, "<nil>."), "<nil>")
		text := inWords(p, path, s)
		if path != "" {
			text = path + ": " + text
		}
		messages = append(messages, text)
	}
	return errors.New(strings.Join(messages, "; "))
}

// patternWords say in words what the schema's patterns say.
var patternWords = map[string]string{
	`^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$`:                                                 `a number such as 3, 0.5 or 1e-4`,
	`^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?(/0*([1-9][0-9]*([.][0-9]*)?|[.]0*[1-9][0-9]*))?$`: `a number such as 3, 0.5, 1e-4 or "1/255"`,
	`^sha256:[0-9a-f]{64}$`:                                       "sha256: and 64 hexadecimal digits",
	`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`:                             "a DNS label: a-z, 0-9 and -, and no - at either end",
	`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`:                            "the name of an object: a-z, 0-9, - and ., beginning and ending with a letter or digit",
	`^https?://[^/?#@]+/?$`:                                       "http:// or https://, a host and perhaps a port",
	`^[a-z]([a-z0-9_]*[a-z0-9])?$`:                                "small letters, digits and _, a letter first and no _ at the end, such as npu_cycles",
	`^[a-z0-9-]+$`:                                                "a region such as us-east-1",
	`^([1-9][0-9]{0,2}x[1-9][0-9]{0,2}|[1-9][0-9]?:[1-9][0-9]?)$`: `a block such as "1x4" or a ratio such as "2:4"`,
	`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9._/-]+$`:           "a domain, / and a name, such as example.com/controller",
	`^[A-Za-z_][A-Za-z0-9_]*$`:                                    "the name of an environment variable: letters, digits and _",
}

var bracket = regexp.MustCompile(`\[[^]]*\]`)

// lookUp returns the schema at a path such as spec.stages[0].name, nil where there is none.
func lookUp(s *structural.Structural, path string) *structural.Structural {
	if path == "" {
		return s
	}
	for _, part := range strings.Split(bracket.ReplaceAllString(path, ".[]"), ".") {
		switch {
		case part == "[]" && s.Items != nil:
			s = s.Items
		case part == "[]" && s.AdditionalProperties != nil:
			s = s.AdditionalProperties.Structural
		default:
			next, ok := s.Properties[part]
			if !ok {
				return nil
			}
			s = &next
		}
		if s == nil {
			return nil
		}
	}
	return s
}

// fieldsBeside returns the fields the schema has where the last element of path is not one.
func fieldsBeside(s *structural.Structural, path string) []string {
	parent := ""
	if i := strings.LastIndex(path, "."); i >= 0 {
		parent = path[:i]
	}
	at := lookUp(s, parent)
	if at == nil {
		return nil
	}
	names := make([]string, 0, len(at.Properties))
	for name := range at.Properties {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
