package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	fluxkustomize "github.com/fluxcd/kustomize-controller/api/v1"
	fluxsource "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
)

// sample is one document of a sample.
type sample struct {
	where, kind, text string
}

// samples are all documents below config/samples: of files as they are, and of kustomizations as they render.
func samples(t *testing.T) []sample {
	t.Helper()
	var out []sample
	add := func(where, text string) {
		for document := range strings.SplitSeq(text, "\n---\n") {
			var of struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(document), &of); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			out = append(out, sample{where, of.APIVersion + " " + of.Kind, document})
		}
	}
	err := filepath.WalkDir("samples", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case entry.Name() == "kustomization.yaml" && path != "samples/gitops/operator/kustomization.yaml": // that one is tested as an install
			add(path, rendered(t, filepath.Dir(path)))
		case filepath.Ext(path) == ".yaml" && entry.Name() != "kustomization.yaml":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			add(path, string(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// notOurs are kinds that are checked by their owners' types, or by nobody here where the type would bring a whole project along.
var notOurs = map[string]func() any{
	"v1 Namespace":                                 func() any { return &corev1.Namespace{} },
	"v1 PersistentVolumeClaim":                     func() any { return &corev1.PersistentVolumeClaim{} },
	"source.toolkit.fluxcd.io/v1 GitRepository":    func() any { return &fluxsource.GitRepository{} },
	"kustomize.toolkit.fluxcd.io/v1 Kustomization": func() any { return &fluxkustomize.Kustomization{} },
	"argoproj.io/v1alpha1 Application":             nil,
	"kueue.x-k8s.io/v1beta2 ResourceFlavor":        nil,
	"kueue.x-k8s.io/v1beta2 ClusterQueue":          nil,
	"kueue.x-k8s.io/v1beta2 LocalQueue":            nil,
	"kueue.x-k8s.io/v1beta2 WorkloadPriorityClass": nil,
}

func TestSamplesAreWhatTheirKindsSay(t *testing.T) {
	pipelines := 0
	for _, s := range samples(t) {
		if s.kind != v1alpha1.GroupVersion.String()+" "+v1alpha1.Kind {
			object, known := notOurs[s.kind]
			switch {
			case !known:
				t.Errorf("%s: a %s?", s.where, s.kind)
			case object != nil:
				if err := yaml.UnmarshalStrict([]byte(s.text), object()); err != nil {
					t.Errorf("%s: %v", s.where, err)
				}
			}
			continue
		}
		pipelines++
		p, err := v1alpha1.Decode([]byte(s.text)) // strictly, against the schema and its rules
		if err != nil {
			t.Errorf("%s: %v", s.where, err)
			continue
		}
		if len(p.Spec.Measurements) == 0 { // which clusters do not run
			checkRunsInACluster(t, s.where, p)
		}
	}
	if pipelines < 10 {
		t.Errorf("%d pipelines in the samples", pipelines)
	}
}

// checkRunsInACluster reports what would keep a sample from running there.
func checkRunsInACluster(t *testing.T, where string, p *v1alpha1.OptimizationPipeline) {
	t.Helper()
	if p.Spec.Artifacts == nil {
		t.Errorf("%s: %s keeps its artifacts nowhere", where, p.Name)
		return
	}
	for _, uri := range []string{p.Spec.Model.URI, p.Spec.Dataset.URI, p.Spec.Artifacts.URI} {
		if !slices.Contains([]string{"s3", "gs", "azblob", "pvc"}, v1alpha1.Scheme(uri)) {
			t.Errorf("%s: %s is not where a pod can get it", where, uri)
		}
	}
}

func TestABatchDiffersWhereItSays(t *testing.T) {
	names, models := map[string]bool{}, map[string]bool{}
	for document := range strings.SplitSeq(rendered(t, "samples/batch"), "\n---\n") {
		p, err := v1alpha1.Decode([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		names[p.Name], models[p.Spec.Model.URI] = true, true
		if strings.Contains(document, "replaced") {
			t.Errorf("%s has an address of the base", p.Name)
		}
	}
	if len(names) != 3 || len(models) != 3 {
		t.Errorf("names %v, models %v", names, models)
	}
}
