// Package kueue runs a real Kueue on a control plane of tests, as Kueue's own installation has it: its manifests, its webhooks, its
// certificates. `make bin/kueue` builds it. The test stands in for what a control plane without nodes lacks: it runs the manager as a
// process, leads the webhooks' Service to it, and hands it its Secret.
package kueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/test/controlplane"
)

const (
	namespace = "kueue-system"
	service   = "kueue-webhook-service"
	secret    = "kueue-webhook-server-cert"
	settings  = "kueue-manager-config"
	// patience is how long Kueue may take to start and to answer.
	patience = 90 * time.Second
)

// Kueue is one that runs.
type Kueue struct {
	t       testing.TB
	client  client.Client
	folder  string
	webhook int // ports
	health  int
	log     bytes.Buffer // read when the process has ended
}

// Start installs Kueue and runs it until the test ends. Without its binary the test is skipped.
func Start(t testing.TB, plane *controlplane.ControlPlane) {
	t.Helper()
	binary, manifest := built(t)
	c, err := client.New(plane.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := &Kueue{t: t, client: c, folder: t.TempDir(), webhook: freePort(t), health: freePort(t)}
	k.install(manifest)
	k.run(binary, plane.Kubeconfig)
	k.until("ready", k.ready)
}

// Need skips a test where Kueue is not built.
func Need(t testing.TB) {
	t.Helper()
	built(t)
}

// built returns the manager and the manifests of its installation.
func built(t testing.TB) (binary, manifest string) {
	t.Helper()
	root, err := controlplane.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(root, "bin", "kueue")
	for _, path := range []string{binary, binary + ".yaml"} {
		if _, err := os.Stat(path); err != nil {
			t.Skip("needs Kueue: run `make bin/kueue`, about three minutes")
		}
	}
	return binary, binary + ".yaml"
}

// install creates what Kueue's manifests hold, without what only nodes could carry out.
func (k *Kueue) install(manifest string) {
	k.t.Helper()
	text, err := os.ReadFile(manifest)
	if err != nil {
		k.t.Fatal(err)
	}
	var later []*unstructured.Unstructured
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			k.t.Fatalf("%s: %v", manifest, err)
		}
		switch object.GetKind() {
		case "Namespace", "CustomResourceDefinition":
			k.create(object)
		case "Deployment", "APIService": // its pod is this test's process; the visibility server is off
		default:
			later = append(later, object)
		}
	}
	for _, object := range later {
		k.create(object)
	}
}

func (k *Kueue) create(object *unstructured.Unstructured) {
	k.t.Helper()
	switch object.GetKind() {
	case "Service":
		if object.GetName() != service {
			return
		}
		object.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": "localhost"}
	case "ConfigMap":
		if object.GetName() == settings {
			k.configure(object)
		}
	}
	lead(object.Object, int64(k.webhook))
	k.until("there", func(ctx context.Context) error { // a kind takes a moment to be served
		if err := k.client.Create(ctx, object); !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
}

// lead has every webhook be called at the manager's port.
func lead(value any, port int64) {
	switch v := value.(type) {
	case map[string]any:
		if s, ok := v["service"].(map[string]any); ok && s["name"] == service {
			s["port"] = port
		}
		for _, inner := range v {
			lead(inner, port)
		}
	case []any:
		for _, inner := range v {
			lead(inner, port)
		}
	}
}

// configure takes over the installation's configuration, with this machine's ports and folder.
func (k *Kueue) configure(object *unstructured.Unstructured) {
	k.t.Helper()
	text, _, err := unstructured.NestedString(object.Object, "data", "controller_manager_config.yaml")
	if err != nil {
		k.t.Fatal(err)
	}
	config := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil || config["kind"] != "Configuration" {
		k.t.Fatalf("the configuration of Kueue: %v\n%s", err, text)
	}
	config["namespace"] = namespace
	config["health"] = map[string]any{"healthProbeBindAddress": fmt.Sprintf("127.0.0.1:%d", k.health)}
	config["metrics"] = map[string]any{"bindAddress": "0"}
	config["webhook"] = map[string]any{"host": "127.0.0.1", "port": k.webhook, "certDir": k.certificates()}
	config["leaderElection"] = map[string]any{"leaderElect": false}
	config["featureGates"] = map[string]any{"VisibilityOnDemand": false} // serves at a port that cannot be chosen
	data, err := yaml.Marshal(config)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(k.config(), data, 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k *Kueue) config() string       { return filepath.Join(k.folder, "config.yaml") }
func (k *Kueue) certificates() string { return filepath.Join(k.folder, "certificates") }

// run runs the manager as a process that ends with the test.
func (k *Kueue) run(binary, kubeconfig string) {
	k.t.Helper()
	if err := os.Mkdir(k.certificates(), 0o700); err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config="+k.config())
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	cmd.Stdout, cmd.Stderr = &k.log, &k.log
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go k.mount(ctx)
	k.t.Cleanup(func() {
		cancel()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // ended by a signal
		kill.Stop()
		if k.t.Failed() {
			k.t.Logf("the end of Kueue's log:\n%s", tail(k.log.String(), 60))
		}
	})
}

// mount writes the certificates that Kueue keeps in its Secret to where its pod would have them.
func (k *Kueue) mount(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		var s corev1.Secret
		if k.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secret}, &s) != nil || len(s.Data["tls.crt"]) == 0 {
			continue
		}
		for name, data := range s.Data {
			path := filepath.Join(k.certificates(), name)
			if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
				continue
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				k.t.Error(err)
				return
			}
		}
	}
}

// ready reports whether Kueue is, and its webhooks are called: for its own kinds, and for Jobs.
func (k *Kueue) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", k.health), http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", response.Status)
	}
	flavor := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": map[string]any{"name": "probe"},
	}}
	if err := k.client.Create(ctx, flavor, client.DryRunAll); err != nil {
		return err
	}
	job := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "batch/v1", "kind": "Job",
		"metadata": map[string]any{"name": "probe", "namespace": metav1.NamespaceDefault, "labels": map[string]any{"kueue.x-k8s.io/queue-name": "probe"}},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"restartPolicy": "Never", "containers": []any{map[string]any{"name": "probe", "image": "probe"}},
		}}},
	}}
	if err := k.client.Create(ctx, job, client.DryRunAll); err != nil {
		return err
	}
	if held, _, _ := unstructured.NestedBool(job.Object, "spec", "suspend"); !held {
		return errors.New("a Job of a queue is not held back")
	}
	return nil
}

// until tries until it works.
func (k *Kueue) until(what string, try func(context.Context) error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			k.t.Fatalf("Kueue is not %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
