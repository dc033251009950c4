package v1alpha1

import (
	"testing"

	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Releases of Kubernetes that docs/operator.md names: the oldest, and the one whose modules go.mod holds.
var releases = []*version.Version{version.MajorMinor(1, 31), version.MajorMinor(1, 32), version.MajorMinor(1, 37)}

func TestEveryRuleCompilesInTheReleasesThatAreNamed(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range releases {
		env := environment.MustBaseEnvSet(release)
		rules := 0
		visit(v.schema, "", func(path string, s *structural.Structural) {
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
		if rules < 50 {
			t.Errorf("Kubernetes %s: %d rules were compiled", release, rules)
		}
	}
}
