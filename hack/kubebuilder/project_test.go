// Package kubebuilder tests that kubebuilder's own loader reads PROJECT, in a module of its own: the operator does not need kubebuilder.
package kubebuilder

import (
	"os"
	"testing"

	"github.com/spf13/afero"
	yamlstore "sigs.k8s.io/kubebuilder/v4/pkg/config/store/yaml"
	_ "sigs.k8s.io/kubebuilder/v4/pkg/config/v3" // the version of PROJECT
	"sigs.k8s.io/kubebuilder/v4/pkg/machinery"
	"sigs.k8s.io/kubebuilder/v4/pkg/model/resource"
	"sigs.k8s.io/yaml"
)

func TestProjectIsWhatIsInstalled(t *testing.T) {
	store := yamlstore.New(machinery.Filesystem{FS: afero.NewBasePathFs(afero.NewOsFs(), "../..")})
	if err := store.Load(); err != nil {
		t.Fatal(err)
	}
	project := store.Config()
	if got := project.GetRepository(); got != "espalier.dev/espalier" {
		t.Errorf("repository %s", got)
	}
	data, err := os.ReadFile("../../config/crd/bases/espalier.dev_optimizationpipelines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Group, Scope string
			Names        struct{ Kind, Plural string }
			Versions     []struct{ Name string }
		}
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	for _, version := range crd.Spec.Versions {
		r, err := project.GetResource(resource.GVK{Domain: "espalier.dev", Version: version.Name, Kind: crd.Spec.Names.Kind})
		if err != nil {
			t.Fatal(err)
		}
		if r.QualifiedGroup() != crd.Spec.Group || r.Path != "espalier.dev/espalier/api/"+version.Name || !r.Controller ||
			r.API == nil || r.API.Namespaced != (crd.Spec.Scope == "Namespaced") || r.API.CRDVersion != "v1" {
			t.Errorf("PROJECT has %+v, the definition %+v", r, crd.Spec)
		}
	}
	if resources, err := project.GetResources(); err != nil || len(resources) != len(crd.Spec.Versions) {
		t.Errorf("%d resources: %v", len(resources), err)
	}
}
