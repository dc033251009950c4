package main

import "slices"

// kubernetes are the fields of a pod template whose types are Kubernetes's.
var kubernetes = []string{".affinity", ".resources", ".tolerations"}

// shorten drops what is said of the fields inside Kubernetes's own types.
func shorten(schema map[string]any) {
	for name, child := range children(schema) {
		if name != ".template" {
			shorten(child)
			continue
		}
		for name, field := range children(child) {
			if slices.Contains(kubernetes, name) {
				silence(field)
			}
		}
	}
}

// silence drops the descriptions of all that is below a field.
func silence(schema map[string]any) {
	for _, child := range children(schema) {
		delete(child, "description")
		silence(child)
	}
}
