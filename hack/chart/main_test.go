package main

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const folder = "../../dist/chart/espalier"

// helm runs it; without bin/helm the test is skipped.
func helm(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	binary, absErr := filepath.Abs("../../bin/helm")
	if absErr != nil {
		t.Fatal(absErr)
	}
	if _, statErr := os.Stat(binary); statErr != nil {
		t.Skip("needs Helm: run `make tools`")
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if err != nil {
		return stderr.String(), err
	}
	return stdout.String(), nil
}

// rendered are the objects of a release, by kind and name, without what only a chart has.
func rendered(t *testing.T, release string, args ...string) map[string]object {
	t.Helper()
	text, err := helm(t, append([]string{"template", release, folder, "--namespace", namespace, "--kube-version", "1.31.0"}, args...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var all []object
	for document := range strings.SplitSeq(text, "\n---\n") {
		var o object
		if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if o != nil {
			all = append(all, o)
		}
	}
	return plain(t, all)
}

// plain are objects by kind and name, without the labels and annotations that differ between kustomize and Helm.
func plain(t *testing.T, objects []object) map[string]object {
	t.Helper()
	out := map[string]object{}
	for _, o := range objects {
		strip(map[string]any(o))
		text, err := yaml.Marshal(o) // numbers of one type
		if err != nil {
			t.Fatal(err)
		}
		var again object
		if err := yaml.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		key := again["kind"].(string) + " " + again.name()
		if n, ok := again.metadata()["namespace"].(string); ok && n != namespace {
			key += " in " + n
		}
		if out[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		out[key] = again
	}
	return out
}

func strip(value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, label := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart", "helm.sh/resource-policy"} {
			delete(v, label)
		}
		for key, inner := range v {
			strip(inner)
			if m, ok := inner.(map[string]any); ok && len(m) == 0 && key == "labels" {
				delete(v, key)
			}
		}
	case []any:
		for _, inner := range v {
			strip(inner)
		}
	}
}

// manifests are those that kustomize makes of folders of config.
func manifests(t *testing.T, folders ...string) map[string]object {
	t.Helper()
	var all []object
	for _, f := range folders {
		objects, err := render(filepath.Join("..", "..", "config", f))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, objects...)
	}
	out := plain(t, all)
	delete(out, "Namespace "+namespace)
	for _, o := range out { // which the chart sets everywhere
		if labels, ok := o.metadata()["labels"].(map[string]any); ok && labels["app.kubernetes.io/name"] == nil {
			labels["app.kubernetes.io/name"] = "espalier"
		}
	}
	return out
}

func TestTheChartIsWhatConfigMakes(t *testing.T) {
	want, err := chart("../../config")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		got[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got[name] != string(text) {
			t.Errorf("dist/chart/espalier/%s is old: run make generate", name)
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("dist/chart/espalier/%s is of no manifest any more: run make generate", name)
		}
	}
}

func TestTheChartPassesHelmsLint(t *testing.T) {
	for name, args := range map[string][]string{
		"as it is":   nil,
		"everything": {"--set=metrics.podMonitor=true,metrics.rules=true,metrics.dashboard=true,networkPolicy.egress=true,namespaces={a,b}"},
		"nothing":    {"--set=metrics.enabled=false,crds.install=false,networkPolicy.ingress=false,roles.aggregate=false"},
	} {
		if text, err := helm(t, append([]string{"lint", "--strict", folder}, args...)...); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

func TestAReleaseIsWhatKustomizeRenders(t *testing.T) {
	tests := map[string]struct {
		args    []string
		folders []string
	}{
		"default":    {nil, []string{"default"}},
		"everything": {[]string{"--set=metrics.podMonitor=true,metrics.rules=true,metrics.dashboard=true,networkPolicy.egress=true"}, []string{"default", "egress", "prometheus", "grafana"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(manifests(t, tt.folders...), rendered(t, "espalier", tt.args...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAReleaseOfSomeNamespacesHasTheRightsThereAlone(t *testing.T) {
	got := rendered(t, "espalier", "--set=namespaces={team-a,team-b}")
	all := manifests(t, "default")
	for key := range got {
		if strings.HasPrefix(key, "ClusterRole") && strings.HasSuffix(key, "-manager") {
			t.Errorf("%s is in the whole cluster", key)
		}
	}
	for _, n := range []string{"team-a", "team-b"} {
		role, binding := got["Role espalier-manager in "+n], got["RoleBinding espalier-manager in "+n]
		if role == nil || binding == nil {
			t.Fatalf("%s has no role and binding: %v", n, slices.Sorted(maps.Keys(got)))
		}
		if diff := cmp.Diff(all["ClusterRole espalier-manager"]["rules"], role["rules"]); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(all["ClusterRoleBinding espalier-manager"]["subjects"], binding["subjects"]); diff != "" {
			t.Error(diff)
		}
		if kind := at(map[string]any(binding), "roleRef", "kind"); kind != "Role" {
			t.Errorf("%s: the binding is to a %v", n, kind)
		}
	}
	if args := container(t, got, "espalier-controller-manager")["args"].([]any); !slices.Contains(args, any("--namespace=team-a")) || !slices.Contains(args, any("--namespace=team-b")) {
		t.Errorf("it runs with %v", args)
	}
}

func container(t *testing.T, objects map[string]object, deployment string) map[string]any {
	t.Helper()
	containers, ok := at(map[string]any(objects["Deployment "+deployment]), "spec", "template", "spec", "containers").([]any)
	if !ok || len(containers) != 1 {
		t.Fatalf("no Deployment %s of one container: %v", deployment, slices.Sorted(maps.Keys(objects)))
	}
	return containers[0].(map[string]any)
}

func TestValuesReachTheManager(t *testing.T) {
	got := rendered(t, "espalier", "--set=limits.maxInFlight=0,limits.maxPriority=5,limits.qps=7,verbose=true,metrics.enabled=false,priorityClassName=high,nodeSelector.pool=ops",
		"--set=image.repository=registry.example.com:5000/espalier,image.tag=v2,image.pullPolicy=Always,imagePullSecrets[0].name=pull",
		"--set=policy.allowedImages={registry.example.com/*},policy.allowedIDs=500-600,policy.sharedStoreReuse=true,stages.requests.cpu=1,stages.requests.memory=1Gi", "--set-json=stages.limits={}",
		"--set=serviceAccountAnnotations.a=b,podAnnotations.c=d,resources.limits.memory=1Gi")
	c := container(t, got, "espalier-controller-manager")
	want := []any{"manager", "--leader-elect", "--max-in-flight=0", "--max-priority=5", "--qps=7", "--stage-limits=", "--stage-requests=cpu=1,memory=1Gi", "--allowed-images=registry.example.com/*", "--allowed-ids=500-600", "--shared-store-reuse", "--metrics-bind-address=0", "--verbose"}
	if diff := cmp.Diff(want, c["args"]); diff != "" {
		t.Error(diff)
	}
	const image = "registry.example.com:5000/espalier:v2"
	if c["image"] != image || at(c["env"].([]any)[0], "value") != image || c["imagePullPolicy"] != "Always" || at(c, "resources", "limits", "memory") != "1Gi" || at(c, "resources", "limits", "cpu") != "2" {
		t.Errorf("the container is %v", c)
	}
	pod := at(map[string]any(got["Deployment espalier-controller-manager"]), "spec", "template", "spec")
	if at(pod, "priorityClassName") != "high" || at(pod, "nodeSelector", "pool") != "ops" || cmp.Diff([]any{map[string]any{"name": "pull"}}, at(pod, "imagePullSecrets")) != "" {
		t.Errorf("the pod is %v", pod)
	}
	if at(map[string]any(got["ServiceAccount espalier-controller-manager"]), "metadata", "annotations", "a") != "b" {
		t.Error("the service account lacks its annotation")
	}
	for key := range got {
		if strings.Contains(key, "metrics") {
			t.Errorf("there is %s without metrics", key)
		}
	}
	file := filepath.Join(t.TempDir(), "values.yaml") // whose numbers Helm reads as floats
	if err := os.WriteFile(file, []byte("limits: {maxInFlight: 1000000}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := container(t, rendered(t, "espalier", "-f", file), "espalier-controller-manager"); !slices.Contains(c["args"].([]any), any("--max-in-flight=1000000")) {
		t.Errorf("a million in flight is %v", c["args"])
	}
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	if c := container(t, rendered(t, "espalier", "--set=image.digest="+digest), "espalier-controller-manager"); c["image"] != "ghcr.io/espalier-dev/espalier@"+digest {
		t.Errorf("by digest it runs %v", c["image"])
	}
}

func TestReleasesOfOtherNamesDoNotMeet(t *testing.T) {
	first, second := rendered(t, "espalier"), rendered(t, "second", "--set=crds.install=false,metrics.podMonitor=true")
	for key := range second {
		if first[key] != nil || !strings.Contains(key, " second-espalier-") {
			t.Errorf("both have %s", key)
		}
	}
	binding := map[string]any(second["ClusterRoleBinding second-espalier-manager"])
	if second["ClusterRole "+at(binding, "roleRef", "name").(string)] == nil {
		t.Errorf("it binds %v", at(binding, "roleRef"))
	}
	if account := at(map[string]any(second["Deployment second-espalier-controller-manager"]), "spec", "template", "spec", "serviceAccountName").(string); second["ServiceAccount "+account] == nil {
		t.Errorf("the account %s is not there", account)
	}
}

func TestAMistypedValueIsRefused(t *testing.T) {
	for set, want := range map[string]string{
		"maxInFlight=3":                                 "maxInFlight",
		"limits.maxinflight=3":                          "maxinflight",
		"limits.maxInFlight=-1":                         "/limits/maxInFlight",
		"limits.maxInFlight=many":                       "/limits/maxInFlight",
		"limits.concurrency=0":                          "/limits/concurrency",
		"limits.qps=0":                                  "/limits/qps",
		"image.name=x":                                  "name",
		"image.repository=":                             "/image/repository",
		"image.repository=registry.example.com/Upper":   "/image/repository",
		"image.pullPolicy=always":                       "/image/pullPolicy",
		"image.digest=sha256:12":                        "/image/digest",
		"image.tag=a b":                                 "/image/tag",
		"namespaces=team-a":                             "/namespaces",
		"namespaces={Team_A}":                           "/namespaces/0",
		"policy.allowedIDs=1000":                        "/policy/allowedIDs",
		"policy.allowImages={a}":                        "allowImages",
		"metrics.podmonitor=true":                       "podmonitor",
		"metrics.enabled=false,metrics.podMonitor=true": "/metrics",
		"networkPolicy.apiServerPorts={https}":          "/networkPolicy/apiServerPorts/0",
		"networkPolicy.apiServerPorts={70000}":          "/networkPolicy/apiServerPorts/0",
		"crds.keep=always":                              "/crds/keep",
		"replicas=-1":                                   "/replicas",
	} {
		text, err := helm(t, "template", "espalier", folder, "--kube-version", "1.31.0", "--set", set)
		if err == nil || !strings.Contains(text, "values don't meet the specifications of the schema") || !strings.Contains(text, want) {
			t.Errorf("--set %s: %v: %.300s", set, err, text)
		}
	}
}

func TestTheDefinitionStaysUnlessItIsNotToBeKept(t *testing.T) {
	for args, want := range map[string]bool{"crds.keep=true": true, "crds.keep=false": false} {
		text, err := helm(t, "template", "espalier", folder, "--kube-version", "1.31.0", "--set", args, "--show-only", "templates/customresourcedefinition-optimizationpipelines.espalier.dev.yaml")
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if got := strings.Contains(text, "helm.sh/resource-policy: keep"); got != want {
			t.Errorf("%s: kept: %t", args, got)
		}
	}
}
