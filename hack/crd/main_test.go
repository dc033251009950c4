package main

import (
	"context"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/crdtest"
)

func definition(t *testing.T) []byte {
	t.Helper()
	out, err := installed(v1alpha1.CRD())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheInstalledDefinitionIsMadeOfTheEmbeddedOne(t *testing.T) {
	got, err := os.ReadFile("../../config/crd/bases/espalier.dev_optimizationpipelines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(definition(t)), string(got)); diff != "" {
		t.Errorf("run go generate ./api/...:\n%s", diff)
	}
}

func TestAnAPIServerAcceptsTheInstalledDefinition(t *testing.T) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(definition(t), &crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &internal, nil); err != nil {
		t.Fatal(err)
	}
	internal.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	for _, problem := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), &internal) { // CEL costs among them
		t.Error(problem)
	}
	compact, err := yaml.YAMLToJSON(definition(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the installed definition has %d bytes as JSON", len(compact))
	if limit := 128 << 10; len(compact) > limit {
		t.Errorf("the definition has %d bytes, more than half of what kubectl apply can keep in an annotation", len(compact))
	}
}

func schemaOf(t *testing.T, data []byte) *structural.Structural {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		t.Fatal(err)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		t.Fatal(err)
	}
	s, err := structural.NewStructural(&internal)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryInstalledRuleCompilesFromKubernetes131On(t *testing.T) {
	for _, release := range []*version.Version{version.MajorMinor(1, 31), version.MajorMinor(1, 37)} {
		if rules := crdtest.Compile(t, schemaOf(t, definition(t)), release); rules < 25 {
			t.Errorf("Kubernetes %s: %d rules were compiled", release, rules)
		}
	}
}

func TestOnlyRulesThatCompareNumbersAreLeftToTheOperator(t *testing.T) {
	kept := map[string]bool{}
	crdtest.Visit(schemaOf(t, definition(t)), "", func(path string, s *structural.Structural) {
		for _, r := range s.XValidations {
			kept["."+path+": "+r.Message] = true
		}
	})
	var left []string
	crdtest.Visit(schemaOf(t, v1alpha1.CRD()), "", func(path string, s *structural.Structural) {
		for _, r := range s.XValidations {
			if name := "." + path + ": " + r.Message; !kept[name] && !s.XIntOrString {
				left = append(left, name)
			}
		}
	})
	want := []string{
		".spec: a search cannot make every weight zero: Sparsity has a min below 1, such as 0.5",
		".spec: a layer has at least 2 clusters: Clusters has a max of 2 or more, such as 16",
		".spec.constraints[]: min must not be above max",
		".spec.constraints[]: Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1 and Sparsity are shares, at most 1: write 0.95 for 95 %",
		".spec.dataset.split: validation and test together must leave something to train on: less than 1",
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Error(diff)
	}
}

// TestKubernetesOwnTypesAreNotDescribedAgain holds the list of them to the fields of the Go types.
func TestKubernetesOwnTypesAreNotDescribedAgain(t *testing.T) {
	var want []string
	template := reflect.TypeFor[v1alpha1.PodTemplate]()
	for i := range template.NumField() {
		f := template.Field(i)
		of := f.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct && of.PkgPath() == "k8s.io/api/core/v1" {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, "."+name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, kubernetes); diff != "" {
		t.Errorf("fields of Kubernetes's types (-) and those that are named so (+):\n%s", diff)
	}
	crdtest.Visit(schemaOf(t, definition(t)), "", func(path string, s *structural.Structural) {
		for _, name := range kubernetes {
			above, below, inside := strings.Cut(path, "template"+name)
			if inside && (s.Description == "") != (below != "") {
				t.Errorf("%stemplate%s%s is described as %q", above, name, below, s.Description)
			}
		}
	})
}

// TestRulesDoNotSeeWhatHasNoSchema is why a pod template is a type of its own: docs/design.md.
func TestRulesDoNotSeeWhatHasNoSchema(t *testing.T) {
	open := &structural.Structural{
		Generic:              structural.Generic{Type: "object"},
		Extensions:           structural.Extensions{XPreserveUnknownFields: true},
		ValidationExtensions: structural.ValidationExtensions{XValidations: apiextensionsv1.ValidationRules{{Rule: "!has(self.spec.hostNetwork)"}}},
	}
	results, err := cel.Compile(open, model.SchemaDeclType(open, false), celconfig.PerCallLimit, environment.MustBaseEnvSet(version.MajorMinor(1, 37)), cel.NewExpressionsEnvLoader())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Error == nil || !strings.Contains(results[0].Error.Detail, "undefined field 'spec'") {
		t.Errorf("the rule compiles: %+v", results)
	}
}

func TestARuleThatCannotBeSaidIsAnError(t *testing.T) {
	number := func(rule string) map[string]any {
		return map[string]any{"x-kubernetes-int-or-string": true, rules: []any{map[string]any{"rule": rule}}}
	}
	for name, tt := range map[string]struct {
		schema map[string]any
		want   string
	}{
		"of a number": {number("double(self) != 1.0"), "not the bounds of one number"},
		"of an object that reads a number": {
			map[string]any{"properties": map[string]any{"min": number("double(self) > 0.0")}, rules: []any{map[string]any{"rule": "self.min != 1"}}},
			"compare it as double(self.min)",
		},
	} {
		if err := open(tt.schema, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error saying %q", name, err, tt.want)
		}
	}
}
