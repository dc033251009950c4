package main

import (
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// installed returns the document of dist/install.yaml that a test looks for.
func installed[T any](t *testing.T, kind, name string) *T {
	t.Helper()
	text, err := os.ReadFile("../../dist/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var of struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &of); err != nil {
			t.Fatal(err)
		}
		if of.Kind == kind && of.Metadata.Name == name {
			object := new(T)
			if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
				t.Fatal(err)
			}
			return object
		}
	}
	t.Fatalf("dist/install.yaml has no %s %s", kind, name)
	return nil
}

func TestTheInstalledManagerIsStartedAsItUnderstands(t *testing.T) {
	container := installed[appsv1.Deployment](t, "Deployment", "espalier-controller-manager").Spec.Template.Spec.Containers[0]
	if container.Args[0] != "manager" {
		t.Fatalf("it runs %v", container.Args)
	}
	cmd := newManagerCommand(&ioStreams{Out: io.Discard, Err: io.Discard})
	if err := cmd.ParseFlags(append(slices.Clone(container.Args[1:]), "--namespace=lab")); err != nil { // the last one is config/namespaced's
		t.Fatal(err)
	}
	if !slices.ContainsFunc(container.Env, func(v corev1.EnvVar) bool { return v.Name == imageEnv && v.Value != "" }) {
		t.Errorf("it is not told which image the stages run: %s", imageEnv)
	}
	for port, flag := range map[string]string{"metrics": "metrics-bind-address", "probes": "health-probe-bind-address"} {
		_, number, err := net.SplitHostPort(cmd.Flag(flag).Value.String())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool {
			return p.Name == port && strconv.Itoa(int(p.ContainerPort)) == number
		}) {
			t.Errorf("port %s is not --%s's, %s", port, flag, number)
		}
	}
}

func TestTheInstalledManagerMayHoldItsLease(t *testing.T) {
	role := installed[rbacv1.Role](t, "Role", "espalier-leader-election")
	for _, rule := range role.Rules {
		if len(rule.ResourceNames) > 0 && !slices.Equal(rule.ResourceNames, []string{leaderElectionID}) {
			t.Errorf("the role is for the Lease %v, the manager takes %s", rule.ResourceNames, leaderElectionID)
		}
	}
}
