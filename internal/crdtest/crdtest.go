// Package crdtest walks the schemas of definitions and compiles their rules as API servers do, for tests.
package crdtest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Visit calls f for a schema and everything below it, with paths such as spec.stages[].name; the schema's own is path.
func Visit(s *structural.Structural, path string, f func(path string, s *structural.Structural)) {
	f(path, s)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		child := s.Properties[name]
		Visit(&child, strings.TrimPrefix(path+"."+name, "."), f)
	}
	if s.Items != nil {
		Visit(s.Items, path+"[]", f)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		Visit(s.AdditionalProperties.Structural, path+"{}", f)
	}
}

// Compile compiles every rule of a definition's schema as a release of Kubernetes does, and returns how many there are.
func Compile(t *testing.T, schema *structural.Structural, release *version.Version) int {
	t.Helper()
	env, rules := environment.MustBaseEnvSet(release), 0
	Visit(schema, "", func(path string, s *structural.Structural) {
		if len(s.XValidations) == 0 {
			return
		}
		results, err := cel.Compile(s, model.SchemaDeclType(s, s.XEmbeddedResource || path == ""), celconfig.PerCallLimit, env, cel.NewExpressionsEnvLoader())
		if err != nil {
			t.Errorf("Kubernetes %s: %s: %v", release, path, err)
		}
		for i, r := range results {
			rules++
			if r.Error != nil {
				t.Errorf("Kubernetes %s: %s: %s: %v", release, path, s.XValidations[i].Rule, r.Error)
			}
		}
	})
	return rules
}
