// Command install renders a kustomization into one file to apply:
//
//	go run ./hack/install [-image IMAGE] FOLDER FILE
//
// With -image the manager and its stages run that image instead of the kustomization's.
//
//go:generate go run . ../../config/default ../../dist/install.yaml
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	image := flag.String("image", "", "image of the manager and its stages, as repository:tag or repository@digest")
	flag.Parse()
	if err := run(*image, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		os.Exit(1)
	}
}

func run(image string, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: go run ./hack/install [-image IMAGE] FOLDER FILE")
	}
	folder, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	if image != "" {
		overlay, err := overlay(folder, image)
		if err != nil {
			return err
		}
		defer os.RemoveAll(overlay)
		folder = overlay
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // as the kustomization says
	rendered, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return fmt.Errorf("render %s: %w", args[0], err)
	}
	text, err := rendered.AsYaml()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(args[1]), 0o755); err != nil {
		return err
	}
	return os.WriteFile(args[1], text, 0o644)
}

// overlayText sets the image of the manager, and by a replacement of its own that of the stages.
const overlayText = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- %s
images:
- name: ghcr.io/espalier-dev/espalier
  newName: %s
  %s
replacements:
- source:
    kind: Deployment
    name: espalier-controller-manager
    fieldPath: spec.template.spec.containers.[name=manager].image
  targets:
  - select: {kind: Deployment, name: espalier-controller-manager}
    fieldPaths: ["spec.template.spec.containers.[name=manager].env.[name=ESPALIER_IMAGE].value"]
`

// overlay writes a kustomization that runs another image, and returns its folder.
func overlay(base, image string) (string, error) {
	name, version, err := split(image)
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "espalier-install-*")
	if err != nil {
		return "", err
	}
	// links, as of macOS's /tmp, are followed by kustomize: the way to the base is to be from where they lead
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return "", err
	}
	resource, err := filepath.Rel(folder, base)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(overlayText, filepath.ToSlash(resource), name, version)
	return folder, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o644)
}

// split takes an image's version, a tag or digest, off its name, as a line of a kustomization.
func split(image string) (name, version string, err error) {
	if name, digest, found := strings.Cut(image, "@"); found && name != "" {
		return name, fmt.Sprintf("digest: %q", digest), nil
	}
	i := strings.LastIndex(image, ":")
	if i < 1 || strings.Contains(image[i:], "/") {
		return "", "", fmt.Errorf("image %q has no tag or digest: which one is to run must not change by itself", image)
	}
	return image[:i], fmt.Sprintf("newTag: %q", image[i+1:]), nil
}
