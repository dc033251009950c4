package v1alpha1

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/version"

	"espalier.dev/espalier/internal/crdtest"
)

// Releases of Kubernetes that docs/operator.md names: the oldest, and the one whose modules go.mod holds.
var releases = []*version.Version{version.MajorMinor(1, 31), version.MajorMinor(1, 32), version.MajorMinor(1, 37)}

func TestEveryRuleCompilesInTheReleasesThatAreNamed(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range releases {
		if rules := crdtest.Compile(t, v.schema, release); rules < 50 {
			t.Errorf("Kubernetes %s: %d rules were compiled", release, rules)
		}
	}
}
