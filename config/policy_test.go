package config

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/test/controlplane"
)

// pipelineOf is a pipeline that every sample policy accepts, changed.
func pipelineOf(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	p := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: espalier.dev/v1alpha1
kind: OptimizationPipeline
metadata: {name: p, namespace: default}
spec:
  model: {uri: s3://models/m.tflite}
  dataset: {uri: s3://datasets/d.npz}
  artifacts: {uri: s3://compressed/default/here, credentialsSecretRef: {name: espalier-s3}}
  stages:
  - {name: prune, prune: {sparsity: "0.5"}}
`), p); err != nil {
		t.Fatal(err)
	}
	var change map[string]any
	if err := yaml.Unmarshal([]byte(spec), &change); err != nil {
		t.Fatal(err)
	}
	for field, value := range change {
		if err := unstructured.SetNestedField(p.Object, value, "spec", field); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestTheSamplePoliciesRefuseWhatTheySay(t *testing.T) {
	plane := controlplane.Start(t, controlplane.Options{})
	c, err := client.New(rest.CopyConfig(plane.Config), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(rendered(t, "policy"), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), object); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	const image = "registry.example.com/espalier:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tests := map[string]struct{ spec, want string }{
		"nothing of the kind":            {"", ""},
		"an image by digest":             {"template: {image: '" + image + "'}", ""},
		"an image by tag":                {"template: {image: 'registry.example.com/espalier:1'}", "by digest"},
		"a stage's image":                {"stages: [{name: prune, prune: {sparsity: '0.5'}, template: {image: docker.io/tenant/own}}]", "by digest"},
		"a measurement of one's own":     {"measurements: [{name: cycles, command: [x], image: '" + strings.Replace(image, "registry", "hostile", 1) + "'}]", "images of measurements"},
		"a measurement":                  {"measurements: [{name: cycles, command: [x], image: '" + image + "'}]", ""},
		"another secret":                 {"artifacts: {uri: s3://compressed/default/, credentialsSecretRef: {name: payroll}}", "begin with espalier-"},
		"another secret for a model":     {"model: {uri: s3://models/m.tflite, credentialsSecretRef: {name: payroll}}", "begin with espalier-"},
		"another secret for trust":       {"dataset: {uri: s3://datasets/d.npz, s3: {caSecretRef: {name: payroll}}}", "begin with espalier-"},
		"a server without TLS":           {"model: {uri: s3://models/m.tflite, s3: {endpoint: http://collector.example.com}}", "over https"},
		"a server with TLS":              {"model: {uri: s3://models/m.tflite, s3: {endpoint: https://minio.example.com}}", ""},
		"the store of another namespace": {"artifacts: {uri: s3://compressed/other/}", "each namespace to its own"},
		"a claim for pipelines":          {"artifacts: {uri: pvc://espalier-store/here}", ""},
		"another claim":                  {"dataset: {uri: pvc://payroll/d.npz}", "on claims whose names begin"},
		"a priority":                     {"template: {priorityClassName: system-cluster-critical}", "do not choose priority class"},
		"a group":                        {"template: {securityContext: {supplementalGroups: [0]}}", "user or groups"},
		"every taint":                    {"template: {tolerations: [{operator: Exists}]}", "taints of espalier.dev"},
		"a taint":                        {"template: {tolerations: [{key: espalier.dev/edge, operator: Exists}]}", ""},
		"min above max":                  {"constraints: [{metric: FileBytes, min: '2.5', max: 1.5}]", "min must not be above max"},
		"min and max":                    {"constraints: [{metric: FileBytes, min: 1.5, max: '2.5'}]", ""},
		"percents":                       {"constraints: [{metric: Accuracy, min: 95}]", "write 0.95 for 95 %"},
		"nothing to train on":            {"dataset: {uri: s3://datasets/d.npz, split: {validation: 0.5, test: '0.5'}}", "leave something to train on"},
		"a sparsity in quotes":           {"stages: [{name: prune, prune: {sparsity: '1.5'}}]", "at least 0 and below 1"},
		"a learning rate in quotes":      {"stages: [{name: prune, prune: {sparsity: 0.5}, training: {learningRate: '-1e-3'}}]", "above 0 and at most 1000"},
		"numbers that are right":         {"training: {learningRate: 1e-3}", ""},
		"an annotation":                  {"template: {annotations: {iam.amazonaws.com/role: payroll}}", "annotations of pods"},
		"an annotation that is ours":     {"template: {annotations: {example.com/team: a}}", ""},
	}
	refused := func(p *unstructured.Unstructured) error { return c.Create(t.Context(), p, client.DryRunAll) }
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // until every policy is in force
		missing := ""
		for name, tt := range tests {
			if tt.want != "" && refused(pipelineOf(t, tt.spec)) == nil {
				missing = name
				break
			}
		}
		if missing == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is accepted", missing)
		}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := refused(pipelineOf(t, tt.spec))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.IsForbidden(err) && !errors.IsInvalid(err) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
