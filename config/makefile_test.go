package config

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func TestTheMakefileHasWhatKubebuildersUsersType(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make")
	}
	for target, does := range map[string]string{
		"manifests": "go generate ./api/... ./controllers/...", "install": "kubectl apply --server-side -k config/crd", "uninstall": "kubectl delete --ignore-not-found -k config/crd",
		"deploy": "kubectl apply --server-side -f out/install.yaml", "undeploy": "kubectl delete --ignore-not-found -f out/install.yaml",
		"run": "bin/espalier manager --image 'registry.example/espalier:v1'", "docker-build": "go run ./hack/image", "generate": "go generate ./...", "test": "go test",
	} {
		cmd := exec.Command("make", "-n", target, "IMAGE=registry.example/espalier:v1")
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), does) {
			t.Errorf("make %s does not %s: %v\n%s", target, does, err, out)
		}
	}
}

func TestTheImageHasTheBinariesOfBuild(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make")
	}
	built := map[string][]string{}
	for _, target := range []string{"build", "image"} {
		cmd := exec.Command("make", "-n", target, "VERSION=v1")
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		built[target] = regexp.MustCompile(`go build .*? -o bin/espalier`).FindAllString(string(out), -1)
	}
	if len(built["build"]) != 1 || len(built["image"]) != 1 || built["build"][0] != built["image"][0] || !strings.Contains(built["build"][0], "-tags 'disable_grpc_modules'") {
		t.Errorf("build and image build otherwise: %q", built)
	}
}
