package controllers

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
)

const (
	installNamespace = "espalier-system"
	installAccount   = "system:serviceaccount:espalier-system:espalier-controller-manager"
)

// auditor notes what a controller asks the API server for, and what that forbids.
type auditor struct {
	resolve   *request.RequestInfoFactory
	mu        sync.Mutex
	asked     sets.Set[string]
	forbidden sets.Set[string]
}

func newAuditor() *auditor {
	return &auditor{
		resolve: &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")},
		asked:   sets.New[string](), forbidden: sets.New[string](),
	}
}

func (a *auditor) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		info, err := a.resolve.NewRequestInfo(r)
		if err != nil {
			return nil, err
		}
		response, err := next.RoundTrip(r)
		a.mu.Lock()
		defer a.mu.Unlock()
		if info.IsResourceRequest {
			a.asked.Insert(permission(info.Verb, info.APIGroup, info.Resource, info.Subresource))
		}
		if err == nil && response.StatusCode == http.StatusForbidden {
			a.forbidden.Insert(r.Method + " " + r.URL.Path)
		}
		return response, err
	})
}

// permission is "verb resource/subresource.group".
func permission(verb, group, resource, subresource string) string {
	if subresource != "" {
		resource += "/" + subresource
	}
	return fmt.Sprintf("%s %s.%s", verb, resource, group)
}

// install applies the roles and bindings of dist/install.yaml and returns what the manager may do.
func install(t *testing.T, c client.Client) sets.Set[string] {
	t.Helper()
	text, err := os.ReadFile("../dist/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bound, rules := sets.New[string](), map[string][]rbacv1.PolicyRule{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var of struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &of); err != nil {
			t.Fatal(err)
		}
		kinds := map[string]func() client.Object{
			"Namespace":   func() client.Object { return &corev1.Namespace{} },
			"ClusterRole": func() client.Object { return &rbacv1.ClusterRole{} }, "ClusterRoleBinding": func() client.Object { return &rbacv1.ClusterRoleBinding{} },
			"Role": func() client.Object { return &rbacv1.Role{} }, "RoleBinding": func() client.Object { return &rbacv1.RoleBinding{} },
		}
		if kinds[of.Kind] == nil {
			continue
		}
		object := kinds[of.Kind]()
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			rules[o.Name] = o.Rules
		case *rbacv1.Role:
			rules[o.Name] = o.Rules
		case *rbacv1.ClusterRoleBinding:
			bound.Insert(o.RoleRef.Name)
		case *rbacv1.RoleBinding:
			bound.Insert(o.RoleRef.Name)
		}
	}
	may := sets.New[string]()
	for role := range bound {
		for _, rule := range rules[role] {
			for _, verb := range rule.Verbs {
				for _, resource := range rule.Resources {
					name, sub, _ := strings.Cut(resource, "/")
					may.Insert(permission(verb, rule.APIGroups[0], name, sub))
				}
			}
		}
	}
	return may
}

// notSeen are permissions that this test does not see used, and why they are there all the same.
var notSeen = map[string]string{
	"list jobs.batch": "caches list where an API server has no streaming lists",
	"list pods.":      "caches list",
	"list optimizationpipelines.espalier.dev":              "caches list",
	"update optimizationpipelines/finalizers.espalier.dev": "asked for by the API server's own OwnerReferencesPermissionEnforcement, on here",
	"create tokenreviews.authentication.k8s.io":            "of the metrics endpoint, off here; see the manager's test",
	"create subjectaccessreviews.authorization.k8s.io":     "of the metrics endpoint, off here",
	"patch events.":              "of leader election, when an event repeats",
	"patch events.events.k8s.io": "when an event repeats",
}

func TestTheInstalledRolesAreWhatTheControllerCalls(t *testing.T) {
	plane := controlplane.Start(t, controlplane.Options{ControllerManager: true, Arguments: map[string]string{
		"enable-admission-plugins": "OwnerReferencesPermissionEnforcement",
	}})
	w := newWorldOn(t, rest.CopyConfig(plane.Config))
	may := install(t, w.client)
	a := newAuditor()
	w.config = rest.CopyConfig(w.config)
	w.config.Impersonate.UserName = installAccount
	w.config.Wrap(a.wrap)
	const image = "registry.example.com/espalier@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	pod := w.managerPod("registry.example.com/espalier:v1")
	w.runsAs(pod, image)
	if manager, err := client.New(w.config, client.Options{}); err != nil {
		t.Fatal(err)
	} else if got, err := PinImage(t.Context(), manager, client.ObjectKeyFromObject(pod), "registry.example.com/espalier:v1"); err != nil || got != image {
		t.Errorf("the manager may not see what its own image is: %q, %v", got, err)
	}
	w.play = func(order *stage.Order, _ *corev1.Pod) act { return act{hang: order.Pipeline == "suspended"} }
	running := w.run(func(_ *Options, o *ctrl.Options, _ *Reconciler) {
		o.LeaderElection, o.LeaderElectionNamespace, o.LeaderElectionID = true, installNamespace, "manager.espalier.dev"
		o.LeaderElectionReleaseOnCancel = true
	})

	w.pipeline("on-a-claim", func(p *v1alpha1.OptimizationPipeline) { p.Spec.Artifacts.URI = "pvc://claim/here" })
	w.settled("on-a-claim", walk.ReasonAllStagesRun)
	w.pipeline("suspended")
	for attempt := int32(1); attempt <= 2; attempt++ {
		w.until("suspended", "running", func(p *v1alpha1.OptimizationPipeline) bool {
			s := stageStatus(&p.Status, walk.Baseline)
			return s.State == v1alpha1.StageRunning && s.Attempt == attempt
		})
		if attempt == 1 { // by hand: the controller asks whether it is gone
			job := w.jobs("suspended", walk.Baseline)[0]
			if err := w.client.Delete(t.Context(), &job, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.edit("suspended", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = true })
	w.settled("suspended", walk.ReasonSuspended)
	w.quota("pods")
	w.pipeline("without-pods")
	w.waits("without-pods", reasonQuotaExceeded)
	time.Sleep(time.Second) // the last events are on their way
	running.stop()

	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.forbidden) > 0 {
		t.Errorf("forbidden: %v", sets.List(a.forbidden))
	}
	want := a.asked.Union(sets.KeySet(notSeen))
	if diff := cmp.Diff(sets.List(want), sets.List(may)); diff != "" {
		t.Errorf("what is asked for (-) and what the roles allow (+):\n%s", diff)
	}
	for _, permission := range slices.Sorted(maps.Keys(notSeen)) {
		if a.asked.Has(permission) && !strings.HasPrefix(notSeen[permission], "caches list") && !strings.HasPrefix(permission, "patch events") {
			t.Errorf("%s is used: take it off the list", permission)
		}
	}
}
