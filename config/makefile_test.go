package config

import (
	"os/exec"
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
