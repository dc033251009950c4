// Command chart makes the Helm chart from the manifests in config/, which stay the one source:
//
//	go run ./hack/chart CONFIG FOLDER
//
// Values, their schema and helpers are files of config/chart, into which defaults are filled; every template is an object that kustomize
// renders, with what differs between installations put in.
//
//go:generate go run . ../../config ../../dist/chart/espalier
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: go run ./hack/chart CONFIG FOLDER")
	}
	files, err := chart(args[0])
	if err != nil {
		return err
	}
	if err := os.RemoveAll(args[1]); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(args[1], name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chart returns the chart's files by their path in it.
func chart(config string) (map[string][]byte, error) {
	var objects []object
	for _, folder := range []string{"default", "egress", "prometheus", "grafana"} {
		rendered, err := render(filepath.Join(config, folder))
		if err != nil {
			return nil, err
		}
		objects = append(objects, rendered...)
	}
	defaults, err := defaultsOf(objects) // before templates changes the objects
	if err != nil {
		return nil, err
	}
	files, err := templates(objects)
	if err != nil {
		return nil, err
	}
	source := filepath.Join(config, "chart")
	for _, name := range []string{"Chart.yaml", "values.yaml"} {
		t, err := template.New(name).Delims("[[", "]]").Option("missingkey=error").ParseFiles(filepath.Join(source, name))
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, defaults); err != nil {
			return nil, err
		}
		files[name] = text.Bytes()
	}
	for _, name := range []string{"values.schema.json", "templates/_helpers.tpl", "templates/NOTES.txt"} {
		if files[name], err = os.ReadFile(filepath.Join(source, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// object is what kustomize renders.
type object map[string]any

// render renders a kustomization.
func render(folder string) ([]object, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	rendered, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", folder, err)
	}
	var out []object
	for _, r := range rendered.Resources() {
		m, err := r.Map()
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// defaultsOf are the defaults of values, as the manifests have them.
func defaultsOf(objects []object) (map[string]any, error) {
	var deployment appsv1.Deployment
	if err := find(objects, "Deployment", manager, &deployment); err != nil {
		return nil, err
	}
	var egress networkingv1.NetworkPolicy
	if err := find(objects, "NetworkPolicy", manager+"-egress", &egress); err != nil {
		return nil, err
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	repository, tag, found := strings.Cut(container.Image, ":")
	if !found {
		return nil, fmt.Errorf("the manager's image %q has no tag", container.Image)
	}
	resources, err := yaml.Marshal(container.Resources)
	if err != nil {
		return nil, err
	}
	var ports []string
	for _, p := range egress.Spec.Egress[apiServerRule].Ports {
		ports = append(ports, p.Port.String())
	}
	return map[string]any{
		"repository": repository, "tag": tag, "pullPolicy": container.ImagePullPolicy, "replicas": *deployment.Spec.Replicas,
		"resources": strings.TrimRight(indent(string(resources), "  "), "\n"), "ports": "[" + strings.Join(ports, ", ") + "]",
	}, nil
}

// find decodes the object of a kind and name.
func find(objects []object, kind, name string, into any) error {
	for _, o := range objects {
		if o["kind"] == kind && o.name() == name {
			text, err := yaml.Marshal(o)
			if err != nil {
				return err
			}
			return yaml.UnmarshalStrict(text, into)
		}
	}
	return fmt.Errorf("no %s %s", kind, name)
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by) + "\n"
}
