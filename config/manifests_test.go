// Package config tests the manifests beside it: what kustomize makes of them is what a cluster takes.
package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"espalier.dev/espalier/api/v1alpha1"
)

// rendered is what kustomize makes of a folder, as YAML.
func rendered(t *testing.T, folder string) string {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// objects decodes every document strictly into its type: an unknown or repeated field fails.
func objects(t *testing.T, text string) []client.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []client.Object
	for document := range strings.SplitSeq(text, "\n---\n") {
		object, kind, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Errorf("%v: %v\n%.200s", kind, err, document)
			continue
		}
		out = append(out, object.(client.Object))
	}
	return out
}

// of picks the objects of one type.
func of[T client.Object](objects []client.Object) []T {
	var out []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// named picks the object of one type and name.
func named[T client.Object](t *testing.T, objects []client.Object, name string) T {
	t.Helper()
	for _, o := range of[T](objects) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	t.Fatalf("no %T %s", none, name)
	return none
}

func TestEveryKustomizationRendersIntoItsKinds(t *testing.T) {
	for folder, want := range map[string]int{"default": 15, "namespaced": 15, "prometheus": 5, "grafana": 1, "egress": 1} {
		t.Run(folder, func(t *testing.T) {
			if got := objects(t, rendered(t, folder)); len(got) != want {
				t.Errorf("%d objects, want %d", len(got), want)
			}
		})
	}
}

func TestTheOneFileInstallIsWhatTheDefaultRenders(t *testing.T) {
	file, err := os.ReadFile("../dist/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rendered(t, "default"), string(file)); diff != "" {
		t.Errorf("dist/install.yaml is old: run make generate\n%s", diff)
	}
}

func TestTheNamespaceComesBeforeWhatIsInIt(t *testing.T) {
	for _, folder := range []string{"default", "namespaced"} {
		if text := rendered(t, folder); !strings.HasPrefix(text, "apiVersion: v1\nkind: Namespace\n") {
			t.Errorf("%s begins with %.60q", folder, text)
		}
	}
}

func TestThePodsSatisfyRestrictedPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for _, folder := range []string{"default", "namespaced"} {
		deployments := of[*appsv1.Deployment](objects(t, rendered(t, folder)))
		if len(deployments) != 1 {
			t.Fatalf("%s: %d Deployments", folder, len(deployments))
		}
		pod := deployments[0].Spec.Template
		for _, check := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !check.Allowed {
				t.Errorf("%s: %s: %s", folder, check.ForbiddenReason, check.ForbiddenDetail)
			}
		}
		pod.Spec.Containers[0].SecurityContext = nil
		if policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec)).Allowed {
			t.Error("the evaluator admits a container without a security context")
		}
	}
}

func TestTheManagerIsHeldToItsLimits(t *testing.T) {
	container := named[*appsv1.Deployment](t, objects(t, rendered(t, "default")), "espalier-controller-manager").Spec.Template.Spec.Containers[0]
	memory, limit := container.Resources.Requests.Memory().Value(), container.Resources.Limits.Memory().Value()
	if memory < limit/10*8 || memory > limit/10*9 {
		t.Errorf("GOMEMLIMIT is the request, %d, of a limit of %d: want 80 to 90 %%", memory, limit)
	}
	for name, resource := range map[string]string{"GOMAXPROCS": "limits.cpu", "GOMEMLIMIT": "requests.memory"} {
		found := false
		for _, v := range container.Env {
			found = found || v.Name == name && v.ValueFrom != nil && v.ValueFrom.ResourceFieldRef != nil && v.ValueFrom.ResourceFieldRef.Resource == resource
		}
		if !found {
			t.Errorf("%s is not %s", name, resource)
		}
	}
	if container.LivenessProbe == nil || container.ReadinessProbe == nil {
		t.Error("no probes")
	}
}

func TestTheStagesRunInTheManagersImage(t *testing.T) {
	for _, folder := range []string{"default", "namespaced", "samples/gitops/operator"} {
		container := named[*appsv1.Deployment](t, objects(t, rendered(t, folder)), "espalier-controller-manager").Spec.Template.Spec.Containers[0]
		for _, v := range container.Env {
			if v.Name == "ESPALIER_IMAGE" && v.Value != container.Image {
				t.Errorf("%s: the stages run %s, the manager %s", folder, v.Value, container.Image)
			}
		}
	}
}

// rules are all that roles of a rendering allow, by role.
func rules(all []client.Object) map[string][]rbacv1.PolicyRule {
	out := map[string][]rbacv1.PolicyRule{}
	for _, r := range of[*rbacv1.ClusterRole](all) {
		out["ClusterRole "+r.Name] = r.Rules
	}
	for _, r := range of[*rbacv1.Role](all) {
		out["Role "+r.Name] = r.Rules
	}
	return out
}

func TestRolesAreNarrow(t *testing.T) {
	for _, folder := range []string{"default", "namespaced", "prometheus"} {
		for role, list := range rules(objects(t, rendered(t, folder))) {
			for _, rule := range list {
				every := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs)
				if slices.ContainsFunc(every, func(s string) bool { return strings.Contains(s, "*") }) {
					t.Errorf("%s: %s has a wildcard: %v", folder, role, rule)
				}
				for _, word := range []string{"secrets", "pods/exec", "pods/log", "serviceaccounts/token", "escalate", "bind", "impersonate"} {
					if slices.Contains(every, word) {
						t.Errorf("%s: %s grants %s", folder, role, word)
					}
				}
			}
		}
	}
}

func TestANamespacedInstallMayDoTheSameInItsNamespaceAlone(t *testing.T) {
	all, here := objects(t, rendered(t, "default")), objects(t, rendered(t, "namespaced"))
	if diff := cmp.Diff(rules(all)["ClusterRole espalier-manager"], rules(here)["Role espalier-manager"]); diff != "" {
		t.Error(diff)
	}
	for _, b := range of[*rbacv1.ClusterRoleBinding](here) {
		if b.Name != "espalier-metrics-auth" {
			t.Errorf("%s is bound in the whole cluster", b.RoleRef.Name)
		}
	}
	args := named[*appsv1.Deployment](t, here, "espalier-controller-manager").Spec.Template.Spec.Containers[0].Args
	if !slices.Contains(args, "--namespace=$(POD_NAMESPACE)") {
		t.Errorf("it watches every namespace: %v", args)
	}
}

func TestEveryBindingBindsWhatIsThere(t *testing.T) {
	for _, folder := range []string{"default", "namespaced"} {
		all := objects(t, rendered(t, folder))
		account := named[*appsv1.Deployment](t, all, "espalier-controller-manager").Spec.Template.Spec.ServiceAccountName
		roles, bindings := rules(all), map[string]rbacv1.Subject{}
		for _, b := range of[*rbacv1.ClusterRoleBinding](all) {
			bindings[b.RoleRef.Kind+" "+b.RoleRef.Name] = b.Subjects[0]
		}
		for _, b := range of[*rbacv1.RoleBinding](all) {
			bindings[b.RoleRef.Kind+" "+b.RoleRef.Name] = b.Subjects[0]
		}
		if len(bindings) != 3 {
			t.Errorf("%s: %d bindings, want those of the manager, its Lease and its metrics", folder, len(bindings))
		}
		for role, subject := range bindings {
			if roles[role] == nil {
				t.Errorf("%s: %s is bound and is not there", folder, role)
			}
			if subject.Name != account || subject.Namespace != "espalier-system" {
				t.Errorf("%s: %s is bound to %s/%s, not to the manager", folder, role, subject.Namespace, subject.Name)
			}
		}
	}
}

func TestSelectorsFindTheManager(t *testing.T) {
	all := slices.Concat(objects(t, rendered(t, "default")), objects(t, rendered(t, "prometheus")), objects(t, rendered(t, "egress")))
	pod := named[*appsv1.Deployment](t, all, "espalier-controller-manager").Spec.Template
	policy := named[*networkingv1.NetworkPolicy](t, all, "espalier-controller-manager")
	egress := named[*networkingv1.NetworkPolicy](t, all, "espalier-controller-manager-egress")
	monitor := named[*monitoringv1.PodMonitor](t, all, "espalier-controller-manager")
	for what, selector := range map[string]metav1.LabelSelector{"NetworkPolicy": policy.Spec.PodSelector, "egress": egress.Spec.PodSelector, "PodMonitor": monitor.Spec.Selector} {
		chosen, err := metav1.LabelSelectorAsSelector(&selector)
		if err != nil {
			t.Fatal(err)
		}
		if chosen.Empty() || !chosen.Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s does not find the manager: %s", what, chosen)
		}
		if chosen.Matches(labels.Set{"app.kubernetes.io/name": "espalier", "app.kubernetes.io/component": "stage"}) {
			t.Errorf("%s finds the stages too: %s", what, chosen)
		}
	}
}

// reaches says whether pods that policies select may open a connection to a port of some address.
func reaches(policies []*networkingv1.NetworkPolicy, protocol corev1.Protocol, port int) bool {
	isolated := false
	for _, p := range policies {
		if !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			continue
		}
		isolated = true
		for _, rule := range p.Spec.Egress {
			if len(rule.To) > 0 {
				continue
			}
			if len(rule.Ports) == 0 || slices.ContainsFunc(rule.Ports, func(o networkingv1.NetworkPolicyPort) bool {
				return *o.Protocol == protocol && o.Port.IntValue() == port
			}) {
				return true
			}
		}
	}
	return !isolated
}

func TestTheManagerReachesAnAPIServerOnWhateverPort(t *testing.T) {
	ports := []int{443, 6443, 7443, 8443, 16443, 26443}
	for _, folder := range []string{"default", "namespaced"} {
		policies := of[*networkingv1.NetworkPolicy](objects(t, rendered(t, folder)))
		if len(policies) != 1 {
			t.Fatalf("%s: %d policies", folder, len(policies))
		}
		for _, port := range ports {
			if !reaches(policies, corev1.ProtocolTCP, port) {
				t.Errorf("%s cuts the manager off from an API server at port %d", folder, port)
			}
		}
		policies = append(policies, of[*networkingv1.NetworkPolicy](objects(t, rendered(t, "egress")))...)
		for _, port := range ports {
			if got, want := reaches(policies, corev1.ProtocolTCP, port), port == 443 || port == 6443; got != want {
				t.Errorf("%s with egress: port %d is reached: %t, want %t", folder, port, got, want)
			}
		}
		if !reaches(policies, corev1.ProtocolUDP, 53) || !reaches(policies, corev1.ProtocolTCP, 53) {
			t.Errorf("%s with egress: no DNS", folder)
		}
	}
}

func TestNoManifestIsLeftOut(t *testing.T) {
	var files []string
	for _, folder := range []string{"crd", "egress", "grafana", "image", "manager", "namespaced", "network-policy", "prometheus", "rbac"} {
		text, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if name := filepath.Base(f); name != "kustomization.yaml" && !strings.Contains(string(text), name) {
				files = append(files, f)
			}
		}
	}
	if len(files) > 0 {
		t.Errorf("in no kustomization: %v", files)
	}
}
