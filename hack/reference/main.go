// Command reference writes docs/manifest.md: every field of an OptimizationPipeline with its type, its bounds and what it means, from
// the Go types (their order and comments) and the CRD (bounds and rules).
//
//	go run ./hack/reference API-FOLDER FILE
//
//go:generate go run . ../../api/v1alpha1 ../../docs/manifest.md
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: go run ./hack/reference API-FOLDER FILE")
	}
	comments, err := typeComments(args[0])
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(v1alpha1.CRD(), &crd); err != nil {
		return err
	}
	g := &generator{comments: comments, known: map[reflect.Type]bool{}}
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	g.intro(root)
	for _, part := range []struct {
		field, title string
		of           any
	}{{"spec", "The spec", v1alpha1.OptimizationPipelineSpec{}}, {"status", "The status", v1alpha1.OptimizationPipelineStatus{}}} {
		fmt.Fprintf(&g.out, "\n## %s\n", part.title)
		schema := root.Properties[part.field]
		g.section(reflect.TypeOf(part.of), &schema, part.field)
		for len(g.queue) > 0 {
			next := g.queue[0]
			g.queue = g.queue[1:]
			g.section(next.t, next.schema, next.path)
		}
	}
	if len(g.missing) > 0 {
		return fmt.Errorf("without a comment: %s", strings.Join(g.missing, ", "))
	}
	return os.WriteFile(args[1], []byte(g.out.String()), 0o644)
}

// typeComments are the comments of a package's types, without markers.
func typeComments(folder string) (map[string]string, error) {
	set := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no Go file", folder)
	}
	documented, err := doc.NewFromFiles(set, files, "espalier.dev/espalier/api/v1alpha1")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, t := range documented.Types {
		var lines []string
		for line := range strings.SplitSeq(t.Doc, "\n") {
			if !strings.HasPrefix(line, "+") {
				lines = append(lines, line)
			}
		}
		out[t.Name] = oneLine(strings.Join(lines, " "))
	}
	return out, nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
