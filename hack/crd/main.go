// Command crd makes two definitions of the one that controller-gen writes: the one that manifests are validated by, and the one that is
// installed in clusters.
//
// Neither describes the fields of Kubernetes's own types: what is inside an affinity, kubectl explains of a pod, and at ten times the
// length of what a template takes without.
//
// An API server's rules cannot read a field that may be a number or text: its int-or-string type refuses 0.5, and of a field without a
// type rules see no more than that it is there. So the installed definition leaves the type of such a field open, has bounds of numbers
// in place of rules, and leaves to the operator what compares two numbers, or looks at one in quotes.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: go run ./hack/crd GENERATED DEFINITION INSTALLED")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	for i, of := range []func([]byte) ([]byte, error){embedded, installed} {
		if data, err = of(data); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err := os.WriteFile(args[i+1], data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// embedded returns the definition to validate by, of the generated one.
func embedded(data []byte) ([]byte, error) {
	return changed(data, func(root map[string]any) error {
		shorten(root)
		return nil
	})
}

// installed returns the definition to install, of the embedded one.
func installed(data []byte) ([]byte, error) {
	return changed(data, func(root map[string]any) error { return open(root, "") })
}

// changed returns a definition whose schemas are changed.
func changed(data []byte, change func(root map[string]any) error) ([]byte, error) {
	var crd map[string]any
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return nil, err
	}
	spec, _ := crd["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	if len(versions) == 0 {
		return nil, fmt.Errorf("it has no versions")
	}
	for _, v := range versions {
		version, _ := v.(map[string]any)
		schema, _ := version["schema"].(map[string]any)
		root, _ := schema["openAPIV3Schema"].(map[string]any)
		if root == nil {
			return nil, fmt.Errorf("version %v has no schema", version["name"])
		}
		if err := change(root); err != nil {
			return nil, err
		}
	}
	out, err := yaml.Marshal(crd)
	if err != nil {
		return nil, err
	}
	return append([]byte("---\n"), out...), nil
}
