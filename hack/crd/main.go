// Command crd writes the definition that is installed in clusters from the one that manifests are validated by.
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
	if len(args) != 2 {
		return fmt.Errorf("usage: go run ./hack/crd DEFINITION INSTALLED")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if data, err = installed(data); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return os.WriteFile(args[1], data, 0o644)
}

// installed returns the definition to install.
func installed(data []byte) ([]byte, error) {
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
		if err := open(root, ""); err != nil {
			return nil, err
		}
	}
	out, err := yaml.Marshal(crd)
	if err != nil {
		return nil, err
	}
	return append([]byte("---\n"), out...), nil
}
