// Package e2e walks pipelines on a real cluster that hack/cluster makes on this machine: kubelets and containerd, stages in arm64
// containers (emulated where the machine is not arm64), an S3 server, claims.
//
//	make e2e        # Linux, root
package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/test/controlplane"
)

// What cluster.sh uses: the bucket server's key and its place, the node that runs stages.
const (
	accessKey, secretKey = "espalier", "espalier-secret"
	edgeNode             = "edge"
)

// A cluster beside the one that `make cluster-up` makes.
var settings = map[string]string{
	"ESPALIER_CLUSTER_DIR": "/tmp/espalier-e2e", "ESPALIER_CLUSTER_PORT": "16540", "ESPALIER_CLUSTER_BRIDGE": "espalier1", "ESPALIER_CLUSTER_SUBNET": "10.89.0",
}

const endpoint = "http://10.89.0.1:16550"

var (
	root, _ = filepath.Abs("../..")
	folder  = settings["ESPALIER_CLUSTER_DIR"]
	kube    client.Client // nil where there is no cluster
)

func TestMain(m *testing.M) {
	if os.Getenv("ESPALIER_E2E") == "" {
		os.Exit(m.Run()) // every test skips
	}
	log.SetLogger(logr.Discard())
	code, err := onCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// onCluster runs the tests on a new cluster and checks that nothing is left of it.
func onCluster(run func() int) (code int, err error) {
	if err := script("down"); err != nil { // what a run that was killed left, with its namespaces and its settings of the kernel
		return 0, err
	}
	before, err := machine()
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := script("down"); e != nil {
			err = errors.Join(err, e)
			return
		}
		after, e := machine()
		err = errors.Join(err, e)
		for _, line := range leftovers(before, after) {
			err = errors.Join(err, errors.New("the cluster left behind "+line))
		}
	}()
	for _, verb := range []string{"up", "operator"} {
		if err := script(verb); err != nil {
			return 0, err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(folder, "kubeconfig"))
	if err != nil {
		return 0, err
	}
	config.QPS, config.Burst = 100, 200 // of tests that run beside each other
	scheme := k8sruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return 0, err
	}
	if kube, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return 0, err
	}
	return run(), nil
}

func script(verb string) error {
	command := exec.Command("hack/cluster/cluster.sh", verb)
	command.Dir, command.Stdout, command.Stderr, command.Env = root, os.Stderr, os.Stderr, environ()
	if err := command.Run(); err != nil {
		return fmt.Errorf("cluster.sh %s: %w", verb, err)
	}
	return nil
}

func environ() []string {
	env := os.Environ()
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return env
}

// machine lists what a cluster could leave behind: mounts, network interfaces, firewall rules, processes, control groups, folders,
// kernel settings.
func machine() (map[string]bool, error) {
	found := map[string]bool{}
	add := func(kind string, lines ...string) {
		for _, line := range lines {
			if line != "" {
				found[kind+" "+line] = true
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[1]; at != "/proc/sys/fs/binfmt_misc" { // emulation stays
			add("mount", at)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		add("interface", i.Name)
	}
	for _, table := range []string{"filter", "nat", "mangle"} {
		if rules, err := exec.Command("iptables", "-t", table, "-S").Output(); err == nil {
			add("rule", strings.Split(string(rules), "\n")...)
		}
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if line := strings.ReplaceAll(string(text), "\x00", " "); err == nil && strings.Contains(line, folder) {
			add("process", line)
		}
	}
	for _, pattern := range []string{folder, "/var/lib/kubelet", "/run/containerd/*", "/var/log/containers/*", "/var/log/pods/*", "/etc/cni/net.d/*", "/run/netns/*", "/sys/fs/cgroup/*/k8s.io", "/sys/fs/cgroup/k8s.io"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		add("path", paths...)
	}
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/ip_forward"} {
		value, _ := os.ReadFile("/proc/sys/" + name)
		add("setting", name+" "+strings.TrimSpace(string(value)))
	}
	return found, nil
}

func leftovers(before, after map[string]bool) (left []string) {
	for _, line := range slices.Sorted(maps.Keys(after)) {
		if !before[line] {
			left = append(left, line)
		}
	}
	return left
}

// namespace makes a namespace under restricted pod security with the bucket's secret. On failure the test says what is in it.
func namespace(t *testing.T, name string) string {
	t.Helper()
	if kube == nil {
		t.Skip("needs a cluster of its own: run `make e2e` as root on Linux")
	}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "s3"}, StringData: map[string]string{"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey}},
	} {
		if err := kube.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, args := range [][]string{{"get", "optpipe,jobs,pods,pvc", "-o", "wide"}, {"get", "optpipe", "-o", "yaml"}, {"get", "events"}, {"logs", "--prefix", "--tail=20", "-l", "espalier.dev/pipeline"}} {
				out, _ := kubectl(context.Background(), append([]string{"-n", name}, args...)...)
				t.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
			}
		}
		_, _ = kubectl(context.Background(), "delete", "namespace", name, "--wait=false")
	})
	return name
}

func kubectl(ctx context.Context, args ...string) (string, error) {
	bin, err := controlplane.Bin()
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, filepath.Join(bin, "kubectl"), append([]string{"--kubeconfig", filepath.Join(folder, "kubeconfig")}, args...)...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// pipeline is the demo of hack/cluster, changed.
func pipeline(t *testing.T, namespace string, change func(*v1alpha1.OptimizationPipelineSpec)) *v1alpha1.OptimizationPipeline {
	t.Helper()
	return named(t, namespace, "", change)
}

// named is the demo's pipeline, changed, under another name.
func named(t *testing.T, namespace, name string, change func(*v1alpha1.OptimizationPipelineSpec)) *v1alpha1.OptimizationPipeline {
	t.Helper()
	p, err := v1alpha1.Decode(manifest(t))
	if err != nil {
		t.Fatal(err)
	}
	p.Namespace = namespace
	if name != "" {
		p.Name = name
	}
	if change != nil {
		change(&p.Spec)
	}
	if err := kube.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func manifest(t *testing.T) []byte {
	t.Helper()
	return []byte(strings.ReplaceAll(string(read(t, filepath.Join(root, "hack/cluster/demo.yaml"))), "ENDPOINT", endpoint))
}

// await reads a pipeline until it is as asked for. A pipeline that is stalled will not be.
func await(t *testing.T, p *v1alpha1.OptimizationPipeline, what string, done func(*v1alpha1.OptimizationPipeline) bool) {
	t.Helper()
	end := time.Now().Add(10 * time.Minute)
	for {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		if done(p) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("gave up waiting until %s", what)
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
				t.Fatalf("waiting until %s: %s: %s", what, c.Reason, c.Message)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func condition(p *v1alpha1.OptimizationPipeline, kind string) string {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return string(c.Status) + " " + c.Reason
		}
	}
	return "none"
}

// pods of a pipeline's stage; of all its stages with "".
func pods(t *testing.T, p *v1alpha1.OptimizationPipeline, stage string) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	children(t, &list, p, stage)
	return list.Items
}

// children lists what belongs to a pipeline's stage; to all its stages with "".
func children(t *testing.T, list client.ObjectList, p *v1alpha1.OptimizationPipeline, stage string) {
	t.Helper()
	labels := client.MatchingLabels{"espalier.dev/pipeline": p.Name}
	if stage != "" {
		labels["espalier.dev/stage"] = stage
	}
	if err := kube.List(t.Context(), list, client.InNamespace(p.Namespace), labels); err != nil {
		t.Fatal(err)
	}
}

// binary is the one in the image of an architecture.
func binary(arch string) string { return filepath.Join(root, "bin", "espalier-linux-"+arch) }

// espalier runs this machine's binary.
func espalier(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary(runtime.GOARCH), args...).Output()
	if err != nil {
		t.Fatalf("espalier %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
